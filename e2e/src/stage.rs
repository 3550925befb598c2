//! What every scenario stands on: a node that is up, with a runtime, a pod network and images; and the checks that
//! must hold after every step of any scenario.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::checks::Checks;
use crate::cni::{Cni, NETWORK};
use crate::ledger::Ledger;
use crate::machine::Machine;
use crate::pods::{PORT, Pod, Restart, Runner};
use crate::probe::{self, Question};
use crate::run_dir::RunDir;
use crate::runtime::{self, Containerd};
use crate::scenario::Options;
use crate::shuffle::Shuffle;
use crate::verdict::none_of;
use crate::{image, netns, sys};

/// The running node and everything to act on it with.
pub struct Stage<'a> {
    /// What held so far.
    pub checks: &'a mut Checks,
    /// The machine.
    pub node: Machine,
    /// Plugins and configuration.
    pub cni: Cni,
    /// Starts and stops pods.
    pub runner: Runner,
    /// The run's chance.
    pub shuffle: Shuffle,
    /// The network namespace that pods are asked from, where it is not the node's own.
    pub asked_from: Option<PathBuf>,
    containerd: Containerd,
    scenario: &'static str,
    failed_before: usize,
    cache: PathBuf,
}

impl<'a> Stage<'a> {
    /// For `scenario`, boots a node in `dir` whose pod network is `list`, and starts the runtime with the images loaded.
    ///
    /// # Errors
    ///
    /// A part is not installed, or did not come up.
    pub async fn set_up(
        dir: &RunDir,
        options: &Options,
        scenario: &'static str,
        list: &Value,
        checks: &'a mut Checks,
    ) -> Result<Self> {
        let cni = Cni::set_up(dir, &options.plugin)?;
        cni.write(list)?;
        let images = dir.sub("images")?;
        let pause = image::build_pause(&images)?;
        let archives = [
            image::archive(&images, image::PAUSE, &pause, "pause")?,
            image::archive(&images, image::BUSYBOX, Path::new("/bin/busybox"), "bin/busybox")?,
        ];

        let mut node = Machine::new(&dir.path, dir.name.clone(), pause)?;
        // The keys of the cluster are no business of its node.
        node.hide(dir.cloud()?);
        node.boot()?;
        let mut containerd = Containerd::new(dir, &cni)?;
        let cri = containerd.start(&node).await?;
        let archives: Vec<&Path> = archives.iter().map(PathBuf::as_path).collect();
        containerd.load(&node, &cri, &archives, &[image::PAUSE, image::BUSYBOX]).await?;
        let (pages, cgroup_parent) = (dir.sub("pages")?, node.name().to_owned());
        let runner = Runner { cri, ledger: Ledger::default(), pages, cgroup_parent };
        Ok(Self {
            failed_before: checks.failed(),
            checks,
            node,
            cni,
            runner,
            shuffle: Shuffle::new(options.seed),
            asked_from: None,
            containerd,
            scenario,
            cache: options.cache.clone(),
        })
    }

    /// Where what outlives a run is kept for people.
    pub fn keepsakes(&self) -> PathBuf {
        self.cache.join("e2e")
    }

    /// Whether the play broke off or a check of it failed.
    pub fn went_wrong(&self, played: &Result<()>) -> bool {
        played.is_err() || self.checks.failed() > self.failed_before
    }

    /// Hands back how the play went; if it went wrong, tells what the runtime complained of and keeps its log.
    ///
    /// # Errors
    ///
    /// That of the play.
    pub fn close(self, played: Result<()>) -> Result<()> {
        if self.went_wrong(&played) {
            let log = self.node.log(runtime::NAME);
            for line in runtime::complaints(&log, 8) {
                self.checks.note(line);
            }
            let kept = self.keepsakes().join(format!("containerd-{}.log", self.scenario));
            fs::write(&kept, log)?;
            self.checks.note(&format!("the runtime's log is kept as {}", kept.display()));
        }
        played
    }

    /// Records a check of `step`.
    pub fn check(&mut self, step: &str, claim: &str, outcome: Result<String>) {
        self.checks.record(&format!("{}: {step}: {claim}", self.scenario), outcome);
    }

    /// Takes the power away, which nobody hears of.
    ///
    /// # Errors
    ///
    /// Something of the node is still there.
    pub fn power_cut(&mut self) -> Result<()> {
        self.node.power_cut()?;
        self.runner.ledger.power_cut();
        Ok(())
    }

    /// Starts the runtime on a node that is up.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub async fn start_runtime(&mut self) -> Result<()> {
        self.runner.cri = self.containerd.start(&self.node).await?;
        Ok(())
    }

    /// The power goes and comes back; the runtime starts.
    ///
    /// # Errors
    ///
    /// As of its parts.
    pub async fn reboot(&mut self) -> Result<()> {
        self.power_cut()?;
        self.node.boot()?;
        self.start_runtime().await
    }

    /// Kills the runtime alone and starts it again.
    ///
    /// # Errors
    ///
    /// It was not running, or does not come back.
    pub async fn kill_runtime(&mut self) -> Result<()> {
        self.containerd.kill(&self.node)?;
        self.start_runtime().await
    }

    /// Starts the runtime again after something on the node has killed it.
    ///
    /// # Errors
    ///
    /// It still runs, or does not come back.
    pub async fn revive_runtime(&mut self) -> Result<()> {
        self.containerd.bury()?;
        self.start_runtime().await
    }

    /// Gives the runtime another configuration of the pod network and waits until it has taken it.
    ///
    /// # Errors
    ///
    /// It has not within 10 s.
    pub async fn configure(&self, list: &Value) -> Result<()> {
        self.cni.write(list)?;
        let end = tokio::time::Instant::now() + Duration::from_secs(10);
        while self.runner.cri.pod_network().await? != *list {
            if tokio::time::Instant::now() > end {
                bail!("the runtime has not taken the new CNI configuration");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Starts new pods of these names.
    ///
    /// # Errors
    ///
    /// The first failure.
    pub async fn start(&self, names: impl IntoIterator<Item = String>) -> Result<Vec<Pod>> {
        let pods = names.into_iter().map(|name| Pod::new(name, None)).collect::<Result<_>>()?;
        self.start_pods(pods).await
    }

    /// Starts pods that have no sandbox.
    ///
    /// # Errors
    ///
    /// The first failure.
    pub async fn start_pods(&self, pods: Vec<Pod>) -> Result<Vec<Pod>> {
        self.runner.each(pods, |runner, _, pod| async move { runner.start(pod).await }).await
    }

    /// Restarts all `pods`, taking turns through `orders`.
    ///
    /// # Errors
    ///
    /// The first failure.
    pub async fn restart(&self, pods: Vec<Pod>, orders: &[Restart]) -> Result<Vec<Pod>> {
        let turn = |place: usize| orders.get(place % orders.len().max(1)).copied();
        self.runner
            .each(pods, |runner, place, pod| {
                let order = turn(place).unwrap_or(Restart::RemoveLast);
                async move { runner.restart(pod, order).await }
            })
            .await
    }

    /// Ends pods for good.
    ///
    /// # Errors
    ///
    /// The first failure.
    pub async fn end(&self, pods: Vec<Pod>) -> Result<()> {
        self.runner.each(pods, |runner, _, pod| async move { runner.end(pod).await }).await.map(drop)
    }

    /// What must be true of running pods after every step: each answers a fresh nonce at each of its addresses, and
    /// no address had two holders at any moment of the step.
    ///
    /// # Errors
    ///
    /// The question could not be put.
    pub async fn check_live(&mut self, step: &str, pods: &[Pod]) -> Result<()> {
        let answers = self.answers(pods).await?;
        self.check(step, "every address answers with the new nonce over TCP", answers);
        let shared = self.runner.ledger.take_shared();
        let held = format!("{} addresses held", self.runner.ledger.held());
        self.check(step, "no two live sandboxes shared an address", none_of(&shared, held));
        Ok(())
    }

    /// Asks each pod at each of its addresses.
    ///
    /// # Errors
    ///
    /// The question could not be put; what was answered is inside.
    pub async fn answers(&self, pods: &[Pod]) -> Result<Result<String>> {
        let nonce = sys::uuid()?;
        let mut questions = Vec::new();
        for pod in pods {
            // With the pod's name, so that an answer by another pod at this address is a wrong one.
            let expected = format!("{} {nonce}", pod.name);
            fs::write(self.runner.pages.join(&pod.name).join("nonce"), &expected)?;
            let own = pod.all_addresses().into_iter().map(|address| SocketAddr::new(address, PORT));
            let mapped = pod.host_port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            questions.extend(own.chain(mapped).map(|at| Question { at, expected: expected.clone() }));
        }
        let asked = format!("{} answers of {} pods", questions.len(), pods.len());
        let from = self.asked_from.clone().unwrap_or_else(|| netns::path(self.node.name()));
        let failures = probe::ask(&from, questions).await?;
        Ok(none_of(&failures, asked))
    }

    /// Where host-local's files of `network` lie, as seen from outside.
    pub fn data_dir(&self, network: &str) -> PathBuf {
        self.node.var_lib().join("cni/networks").join(network)
    }

    /// The lease files of a network: container id by address.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn leases(&self, network: &str) -> Result<BTreeMap<IpAddr, String>> {
        let path = self.data_dir(network);
        let mut leases = BTreeMap::new();
        for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
            let entry = entry?;
            if let Ok(address) = entry.file_name().to_string_lossy().parse() {
                let content = fs::read_to_string(entry.path())?;
                leases.insert(address, content.split("\r\n").next().unwrap_or_default().to_owned());
            }
        }
        Ok(leases)
    }

    /// Whether the pod network's directory holds a lease file for each address of `pods`, naming its sandbox, and no
    /// other.
    ///
    /// # Errors
    ///
    /// One is missing, or one too many.
    pub fn only_leases_of(&self, pods: &[Pod]) -> Result<String> {
        let there: BTreeSet<_> = self.leases(NETWORK)?.into_iter().collect();
        let of = |pod: &Pod| {
            let sandbox = pod.sandbox().unwrap_or_default().to_owned();
            pod.addresses.iter().map(move |address| (*address, sandbox.clone())).collect::<Vec<_>>()
        };
        let expected: BTreeSet<_> = pods.iter().flat_map(of).collect();
        let missing =
            expected.difference(&there).map(|(address, id)| format!("{address} of {id} is missing"));
        let leaked =
            there.difference(&expected).map(|(address, id)| format!("{address} of {id} is left over"));
        none_of(&missing.chain(leaked).collect::<Vec<_>>(), format!("{} lease files", there.len()))
    }

    /// Whether the interfaces in all of the node's network namespaces have the addresses of `pods`, each once, and no
    /// other: what the kernel says, whatever runtime and plugins believe.
    ///
    /// # Errors
    ///
    /// An address is missing, one too many, or there twice.
    pub fn only_interfaces_of(&self, pods: &[Pod]) -> Result<String> {
        let each = "for n in /run/netns/*; do nsenter --net=$n ip -o address show scope global; done";
        let told = self.node.run(&["sh", "-c", each])?;
        let words = told.lines().filter_map(|line| line.split_whitespace().nth(3));
        let there = words.map(|word| word.split_once('/').map_or(word, |(address, _)| address).parse());
        let mut there: Vec<IpAddr> = there.collect::<Result<_, _>>().with_context(|| told.clone())?;
        let mut expected: Vec<IpAddr> = pods.iter().flat_map(Pod::all_addresses).collect();
        there.sort_unstable();
        expected.sort_unstable();
        if there != expected {
            bail!("{there:?} are there, {expected:?} should be");
        }
        Ok(format!("{} addresses", there.len()))
    }
}
