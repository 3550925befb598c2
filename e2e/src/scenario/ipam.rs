//! The plugin's proof on real parts (promises P1 and P2): dual-stack pods keep their addresses through restarts, a
//! killed runtime and two reboots without a word, one of which also loses the IPAM plugin's dataDir.
//!
//! With stock host-local in its place the same run fails, which shows that a loss would be seen.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::checks::Checks;
use crate::cni::{self, BRIDGE};
use crate::ledger::Ledger;
use crate::node::Node;
use crate::pods::{PORT, Pod, Restart, Runner};
use crate::probe::{self, Question};
use crate::run_dir::RunDir;
use crate::runtime::{self, Containerd};
use crate::shuffle::Shuffle;
use crate::{image, sys};

const PODS: usize = 30;
const NEWCOMERS: usize = 5;
/// The port of the node that leads to the first pod.
const HOST_PORT: u16 = 30080;

/// What the command line chose.
pub struct Options {
    /// The `ipam.type` of the network.
    pub ipam: String,
    /// The product's plugin; not needed when `ipam` is a stock one.
    pub plugin: Option<PathBuf>,
    /// Makes the orders of the run.
    pub seed: u64,
    /// Where the runtime's log is kept when something failed.
    pub cache: PathBuf,
}

/// Addresses by pod name.
type Homes = BTreeMap<String, Vec<IpAddr>>;

struct Scenario<'a> {
    checks: &'a mut Checks,
    node: Node,
    containerd: Containerd,
    runner: Runner,
    shuffle: Shuffle,
}

/// Plays the whole scenario in `dir` and records every check.
///
/// # Errors
///
/// Something that is not a check failed, so that the run could not go on.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let mut scenario = Scenario::set_up(dir, options, checks).await?;
    let played = scenario.play().await;
    if played.is_err() || scenario.checks.any_failed() {
        let log = scenario.node.log(runtime::NAME);
        for line in runtime::complaints(&log, 8) {
            scenario.checks.note(line);
        }
        let kept = options.cache.join("e2e/containerd.log");
        fs::write(&kept, log)?;
        scenario.checks.note(&format!("the runtime's log is kept as {}", kept.display()));
    }
    played
}

impl<'a> Scenario<'a> {
    async fn set_up(dir: &RunDir, options: &Options, checks: &'a mut Checks) -> Result<Self> {
        checks.note(&format!("ipam {}, seed {}, {}", options.ipam, options.seed, runtime::version()?));
        let cni = cni::set_up(dir, &options.ipam, options.plugin.as_deref())?;
        let images = dir.sub("images")?;
        let pause = image::build_pause(&images)?;
        let archives = [
            image::archive(&images, image::PAUSE, &pause, "pause")?,
            image::archive(&images, image::BUSYBOX, Path::new("/bin/busybox"), "bin/busybox")?,
        ];

        let mut node = Node::new(dir, pause)?;
        node.boot()?;
        let mut containerd = Containerd::new(dir, &cni)?;
        let cri = containerd.start(&node).await?;
        let archives: Vec<&Path> = archives.iter().map(PathBuf::as_path).collect();
        containerd.load(&node, &cri, &archives, &[image::PAUSE, image::BUSYBOX]).await?;
        let (pages, cgroup_parent) = (dir.sub("pages")?, node.name().to_owned());
        let runner = Runner { cri, ledger: Ledger::default(), pages, cgroup_parent };
        Ok(Self { checks, node, containerd, runner, shuffle: Shuffle::new(options.seed) })
    }

    async fn play(&mut self) -> Result<()> {
        let pods = self.start().await?;
        let first = homes(&pods);
        let pods = self.restart_each(pods, &first).await?;
        self.second_beside_first().await?;
        let pods = self.kill_runtime(pods).await?;
        let last = homes(&pods);
        let pods = self.reboot(pods, &last, DataDir::Kept).await?;
        let last = homes(&pods);
        self.reboot(pods, &last, DataDir::Lost).await?;
        Ok(())
    }

    async fn start(&mut self) -> Result<Vec<Pod>> {
        let step = "start";
        let made = (0..PODS).map(|number| {
            let host_port = (number == 0).then_some(HOST_PORT);
            Pod::new(format!("pod-{number:02}"), host_port)
        });
        let made = made.collect::<Result<_>>()?;
        let pods = self.runner.each(made, |runner, _, pod| async move { runner.start(pod).await }).await?;
        self.check(step, "every pod has an IPv4 and an IPv6 address", dual_stack(&pods));
        self.check_live(step, &pods).await?;
        Ok(pods)
    }

    /// Every sandbox is replaced under a running runtime, in another order.
    async fn restart_each(&mut self, mut pods: Vec<Pod>, homes: &Homes) -> Result<Vec<Pod>> {
        let step = "restart of each pod";
        self.shuffle.order(&mut pods);
        let pods = self.replace(pods, &[Restart::RemoveFirst, Restart::RemoveLast]).await?;
        self.check(step, "same addresses", at_home(homes, &pods));
        self.check_live(step, &pods).await?;
        Ok(pods)
    }

    /// A pod gets a second sandbox while its first one still runs. The second must not have the first one's
    /// addresses, and the end of the first must not take anything from the second.
    async fn second_beside_first(&mut self) -> Result<()> {
        let step = "second sandbox beside a live one";
        let first = self.runner.start(Pod::new("twin".to_owned(), None)?).await?;
        let second = self.runner.start(first.clone()).await?;
        self.runner.end(first).await?;
        self.check_live(step, std::slice::from_ref(&second)).await?;
        self.runner.end(second).await.map(drop)
    }

    async fn kill_runtime(&mut self, pods: Vec<Pod>) -> Result<Vec<Pod>> {
        let (step, homes) = ("runtime killed", homes(&pods));
        self.containerd.kill(&self.node)?;
        self.runner.cri = self.containerd.start(&self.node).await?;
        let there = self.sandboxes(Sandboxes::Ready).await;
        self.check(step, "every sandbox is still there", there);
        let pods = self.runner.each(pods, |runner, _, pod| async move { runner.look(pod).await }).await?;
        self.check(step, "same addresses", at_home(&homes, &pods));
        self.check_live(step, &pods).await?;
        Ok(pods)
    }

    /// The power goes; newcomers come first; then the pods, in another order, as kubelet would bring them.
    async fn reboot(&mut self, mut pods: Vec<Pod>, homes: &Homes, data_dir: DataDir) -> Result<Vec<Pod>> {
        let (step, day) = match data_dir {
            DataDir::Kept => ("reboot", "first"),
            DataDir::Lost => ("reboot without dataDir", "second"),
        };
        let former = self.node.boot_id()?.to_owned();
        self.node.power_cut()?;
        self.runner.ledger.power_cut();
        if matches!(data_dir, DataDir::Lost) {
            let data_dir = self.node.var_lib().join("cni/networks");
            fs::remove_dir_all(&data_dir).with_context(|| format!("no dataDir at {}", data_dir.display()))?;
        }
        self.node.boot()?;
        let fresh = self.is_fresh(&former);
        self.check(step, "nothing of the former boot is left", fresh);
        self.runner.cri = self.containerd.start(&self.node).await?;
        let dead = self.sandboxes(Sandboxes::Dead).await;
        self.check(step, "the runtime knows every sandbox as dead", dead);

        let newcomers = (0..NEWCOMERS).map(|number| Pod::new(format!("newcomer-{day}-{number}"), None));
        let newcomers = newcomers.collect::<Result<_>>()?;
        let newcomers =
            self.runner.each(newcomers, |runner, _, pod| async move { runner.start(pod).await }).await?;
        self.shuffle.order(&mut pods);
        let orders = [Restart::RemoveLast, Restart::StopLast, Restart::RemoveFirst];
        let pods = self.replace(pods, &orders).await?;
        self.check(step, "same addresses, with newcomers first", at_home(homes, &pods));
        let everyone: Vec<Pod> = pods.iter().chain(&newcomers).cloned().collect();
        self.check_live(step, &everyone).await?;

        self.runner.each(newcomers, |runner, _, pod| async move { runner.end(pod).await }).await?;
        Ok(pods)
    }

    /// Restarts all `pods`, taking turns through `orders`.
    async fn replace(&self, pods: Vec<Pod>, orders: &[Restart]) -> Result<Vec<Pod>> {
        let turn = |place: usize| orders.get(place % orders.len().max(1)).copied();
        self.runner
            .each(pods, |runner, place, pod| {
                let order = turn(place).unwrap_or(Restart::RemoveLast);
                async move { runner.restart(pod, order).await }
            })
            .await
    }

    fn check(&mut self, step: &str, claim: &str, outcome: Result<String>) {
        self.checks.record(&format!("{step}: {claim}"), outcome);
    }

    /// What must be true of running pods after every step: each answers a fresh nonce at each of its addresses, and
    /// no address had two holders at any moment of the step.
    async fn check_live(&mut self, step: &str, pods: &[Pod]) -> Result<()> {
        let answers = self.answers(pods).await?;
        self.check(step, "every address answers with the new nonce over TCP", answers);
        let shared = self.runner.ledger.take_shared();
        let held = format!("{} addresses held", self.runner.ledger.held());
        self.check(step, "no two live sandboxes shared an address", none_of(&shared, held));
        Ok(())
    }

    async fn answers(&self, pods: &[Pod]) -> Result<Result<String>> {
        let nonce = sys::uuid()?;
        let mut questions = Vec::new();
        for pod in pods {
            // With the pod's name, so that an answer by another pod at this address is a wrong one.
            let expected = format!("{} {nonce}", pod.name);
            fs::write(self.runner.pages.join(&pod.name).join("nonce"), &expected)?;
            let own = pod.addresses.iter().map(|address| SocketAddr::new(*address, PORT));
            let mapped = pod.host_port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            questions.extend(own.chain(mapped).map(|at| Question { at, expected: expected.clone() }));
        }
        let asked = format!("{} answers of {} pods", questions.len(), pods.len());
        let failures = probe::ask(self.node.name(), questions).await?;
        Ok(none_of(&failures, asked))
    }

    async fn sandboxes(&self, expected: Sandboxes) -> Result<String> {
        let all = self.runner.cri.sandboxes().await?;
        let fitting = all.iter().filter(|sandbox| sandbox.state == expected as i32).count();
        if (fitting, all.len()) != (PODS, PODS) {
            bail!("{fitting} of {} sandboxes are {expected:?}, {PODS} should be", all.len());
        }
        Ok(format!("{PODS} sandboxes {expected:?}"))
    }

    /// Looks from the node itself whether its reboot was one.
    fn is_fresh(&self, former: &str) -> Result<String> {
        let boot_id = self.node.run(&["cat", "/proc/sys/kernel/random/boot_id"])?;
        if boot_id == former || boot_id != self.node.boot_id()? {
            bail!("the boot id is {boot_id}, the former was {former}");
        }
        if self.node.run(&["ip", "link", "show", BRIDGE]).is_ok() {
            bail!("the bridge {BRIDGE} is still there");
        }
        let run = self.node.run(&["find", "/run", "-mindepth", "1", "-type", "f"])?;
        if run != "/run/boot_id" {
            bail!("/run holds files: {run}");
        }
        Ok(format!("boot id {boot_id}"))
    }
}

/// The runtime's word on a sandbox, with its number in CRI.
#[derive(Clone, Copy, Debug)]
enum Sandboxes {
    Ready = 0,
    Dead = 1,
}

#[derive(Clone, Copy)]
enum DataDir {
    Kept,
    Lost,
}

fn homes(pods: &[Pod]) -> Homes {
    pods.iter().map(|pod| (pod.name.clone(), pod.addresses.clone())).collect()
}

fn dual_stack(pods: &[Pod]) -> Result<String> {
    let has =
        |pod: &Pod, v4: bool| pod.addresses.iter().filter(|address| address.is_ipv4() == v4).count() == 1;
    let lacking: Vec<String> = pods
        .iter()
        .filter(|pod| !has(pod, true) || !has(pod, false))
        .map(|pod| format!("{} has {:?}", pod.name, pod.addresses))
        .collect();
    none_of(&lacking, format!("{} pods", pods.len()))
}

/// Whether each pod has the addresses that it had at first; a loss is told with both.
fn at_home(homes: &Homes, pods: &[Pod]) -> Result<String> {
    let away: Vec<String> = pods
        .iter()
        .filter(|pod| homes.get(&pod.name) != Some(&pod.addresses))
        .map(|pod| {
            let home = homes.get(&pod.name).map(Vec::as_slice).unwrap_or_default();
            format!("{} has {:?}, was at {home:?}", pod.name, pod.addresses)
        })
        .collect();
    let kept = format!("{} of {} pods kept theirs", pods.len() - away.len(), pods.len());
    none_of(&away, kept.clone()).map_err(|error| error.context(kept))
}

/// Success with `detail` if there is no failure; else an error that counts them and tells the first three.
fn none_of(failures: &[String], detail: String) -> Result<String> {
    if failures.is_empty() {
        return Ok(detail);
    }
    let first: Vec<&str> = failures.iter().take(3).map(String::as_str).collect();
    let more = if failures.len() > first.len() { "; …" } else { "" };
    bail!("{} wrong: {}{more}", failures.len(), first.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, addresses: [&str; 2]) -> Pod {
        let mut pod = Pod::new(name.to_owned(), None).unwrap();
        pod.addresses = addresses.map(|address| address.parse().unwrap()).to_vec();
        pod
    }

    #[test]
    fn a_pod_that_came_back_elsewhere_in_one_family_is_away_from_home() {
        let before = [pod("a", ["10.0.0.2", "fd00::2"]), pod("b", ["10.0.0.3", "fd00::3"])];
        let after = [pod("b", ["10.0.0.3", "fd00::3"]), pod("a", ["10.0.0.2", "fd00::4"])];
        let error = at_home(&homes(&before), &after).unwrap_err();
        let told = format!("{error:#}");
        assert!(told.starts_with("1 of 2 pods kept theirs: 1 wrong: a has"), "{told}");
        assert!(at_home(&homes(&before), &before).is_ok());
    }

    #[test]
    fn a_pod_with_two_addresses_of_one_family_is_not_dual_stack() {
        assert!(dual_stack(&[pod("a", ["10.0.0.2", "fd00::2"])]).is_ok());
        assert!(dual_stack(&[pod("a", ["10.0.0.2", "10.0.0.3"])]).is_err());
    }
}
