//! The plugin's proof on real parts (promises P1 and P2): dual-stack pods keep their addresses through restarts, a
//! killed runtime and two reboots without a word, one of which also loses the IPAM plugin's dataDir.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::checks::Checks;
use crate::cni::{self, BRIDGE, OURS};
use crate::pods::{Pod, Restart};
use crate::run_dir::RunDir;
use crate::scenario::Options;
use crate::stage::Stage;
use crate::verdict::{Homes, at_home, dual_stack, homes};

const PODS: usize = 30;
const NEWCOMERS: usize = 5;
/// The port of the node that leads to the first pod.
const HOST_PORT: u16 = 30080;

/// Plays the whole scenario in `dir` and records every check.
///
/// # Errors
///
/// Something that is not a check failed, so that the run could not go on.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let port_map = json!({"type": "portmap", "snat": true, "capabilities": {"portMappings": true}});
    let list = cni::list(&[cni::bridge(&cni::dual_stack(OURS)), port_map]);
    let mut scenario = Scenario { stage: Stage::set_up(dir, options, "ipam", &list, checks).await? };
    let played = scenario.play().await;
    scenario.stage.close(played)
}

/// The stage, and what only this scenario does on it.
struct Scenario<'a> {
    stage: Stage<'a>,
}

impl Scenario<'_> {
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
        let pods = self.stage.start_pods(made.collect::<Result<_>>()?).await?;
        self.stage.check(step, "every pod has an IPv4 and an IPv6 address", dual_stack(&pods));
        self.stage.check_live(step, &pods).await?;
        Ok(pods)
    }

    /// Every sandbox is replaced under a running runtime, in another order.
    async fn restart_each(&mut self, mut pods: Vec<Pod>, homes: &Homes) -> Result<Vec<Pod>> {
        let step = "restart of each pod";
        self.stage.shuffle.order(&mut pods);
        let pods = self.stage.restart(pods, &[Restart::RemoveFirst, Restart::RemoveLast]).await?;
        self.stage.check(step, "same addresses", at_home(homes, &pods));
        self.stage.check_live(step, &pods).await?;
        Ok(pods)
    }

    /// A pod gets a second sandbox while its first one still runs. The second must not have the first one's
    /// addresses, and the end of the first must not take anything from the second.
    async fn second_beside_first(&mut self) -> Result<()> {
        let step = "second sandbox beside a live one";
        let first = self.stage.runner.start(Pod::new("twin".to_owned(), None)?).await?;
        let second = self.stage.runner.start(first.clone()).await?;
        self.stage.runner.end(first).await?;
        self.stage.check_live(step, std::slice::from_ref(&second)).await?;
        self.stage.runner.end(second).await.map(drop)
    }

    async fn kill_runtime(&mut self, pods: Vec<Pod>) -> Result<Vec<Pod>> {
        let (step, homes) = ("runtime killed", homes(&pods));
        self.stage.kill_runtime().await?;
        let there = self.sandboxes(Sandboxes::Ready).await;
        self.stage.check(step, "every sandbox is still there", there);
        let pods =
            self.stage.runner.each(pods, |runner, _, pod| async move { runner.look(pod).await }).await?;
        self.stage.check(step, "same addresses", at_home(&homes, &pods));
        self.stage.check_live(step, &pods).await?;
        Ok(pods)
    }

    /// The power goes; newcomers come first; then the pods, in another order, as kubelet would bring them.
    async fn reboot(&mut self, mut pods: Vec<Pod>, homes: &Homes, data_dir: DataDir) -> Result<Vec<Pod>> {
        let (step, day) = match data_dir {
            DataDir::Kept => ("reboot", "first"),
            DataDir::Lost => ("reboot without dataDir", "second"),
        };
        let former = self.stage.node.boot_id()?.to_owned();
        self.stage.power_cut()?;
        if matches!(data_dir, DataDir::Lost) {
            let data_dir = self.stage.node.var_lib().join("cni/networks");
            fs::remove_dir_all(&data_dir).with_context(|| format!("no dataDir at {}", data_dir.display()))?;
        }
        self.stage.node.boot()?;
        let fresh = self.is_fresh(&former);
        self.stage.check(step, "nothing of the former boot is left", fresh);
        self.stage.start_runtime().await?;
        let dead = self.sandboxes(Sandboxes::Dead).await;
        self.stage.check(step, "the runtime knows every sandbox as dead", dead);

        let newcomers = (0..NEWCOMERS).map(|number| format!("newcomer-{day}-{number}"));
        let newcomers = self.stage.start(newcomers).await?;
        self.stage.shuffle.order(&mut pods);
        let orders = [Restart::RemoveLast, Restart::StopLast, Restart::RemoveFirst];
        let pods = self.stage.restart(pods, &orders).await?;
        self.stage.check(step, "same addresses, with newcomers first", at_home(homes, &pods));
        let everyone: Vec<Pod> = pods.iter().chain(&newcomers).cloned().collect();
        self.stage.check_live(step, &everyone).await?;

        self.stage.end(newcomers).await?;
        Ok(pods)
    }

    async fn sandboxes(&self, expected: Sandboxes) -> Result<String> {
        let all = self.stage.runner.cri.sandboxes().await?;
        let fitting = all.iter().filter(|sandbox| sandbox.state == expected as i32).count();
        if (fitting, all.len()) != (PODS, PODS) {
            bail!("{fitting} of {} sandboxes are {expected:?}, {PODS} should be", all.len());
        }
        Ok(format!("{PODS} sandboxes {expected:?}"))
    }

    /// Looks from the node itself whether its reboot was one.
    fn is_fresh(&self, former: &str) -> Result<String> {
        let boot_id = self.stage.node.run(&["cat", "/proc/sys/kernel/random/boot_id"])?;
        if boot_id == former || boot_id != self.stage.node.boot_id()? {
            bail!("the boot id is {boot_id}, the former was {former}");
        }
        if self.stage.node.run(&["ip", "link", "show", BRIDGE]).is_ok() {
            bail!("the bridge {BRIDGE} is still there");
        }
        let run = self.stage.node.run(&["find", "/run", "-mindepth", "1", "-type", "f"])?;
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
