//! The machine's half: what must stand on it so that a boot without the cloud brings back what runs now.

use std::path::{Path, PathBuf};

use durable::fs::Fs;

use super::addresses;
use super::boot::Boot;
use super::disk::{Disk, Needed};
use super::finding::{Finding, Gravity};
use super::question::Kind;
use super::{network, start};
use crate::adopt;
use crate::kubelet;

const STATE: &str = "put it on a disk: `stateDir` in /etc/edgekeep/hub.yaml";
const CHECK: &str = "see what `edgekeep adopt kubelet --check` says of it";
const BINDINGS: &str = "put it on a disk: `stateDir` in /etc/edgekeep/ipam.json";

/// Where things are on the node, as paths of the node.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The hub's configuration, which need not be there.
    pub config: PathBuf,
    /// The directory in which the hub keeps what must survive.
    pub state: PathBuf,
    /// kubelet's kubeconfig as the cluster made it, which the hub reads.
    pub kubeconfig: PathBuf,
    /// The directory of the bindings.
    pub bindings: PathBuf,
}

/// The node as this program sees it.
pub struct Here<'a, F: Fs> {
    /// Its files.
    pub machine: &'a kubelet::machine::Machine<'a, F>,
    /// Its CNI.
    pub cni: &'a adopt::disk::Disk<'a, F>,
    /// Where its CNI may be.
    pub places: &'a adopt::disk::Places,
    /// The hub as kubelet sees it.
    pub hub: &'a kubelet::plan::Hub,
    /// Where things are.
    pub paths: &'a Paths,
    /// The kernel's id of this boot.
    pub boot: &'a str,
}

/// What there is to say of the machine. `boot` is what the hub said; without it nothing is said of pods.
pub fn look<F: Fs>(here: &Here<'_, F>, boot: Option<&Boot>) -> Vec<Finding> {
    let Here { machine, paths, .. } = here;
    let disk = Disk::of(machine);
    let mut findings: Vec<Finding> = start::hub(machine).into_iter().collect();
    let kubelet = start::kubelet(machine, here.hub, boot.is_some_and(is_heard));
    findings.extend(kubelet.findings);
    // Whatever cannot be told of pods, they may need a network.
    let pods = boot.map_or(&[][..], |boot| &boot.pods);
    let needed = boot.is_none() || pods.iter().any(|pod| !pod.host_network);
    let root = (here.cni.real)(&machine.root).unwrap_or_else(|_| machine.root.clone());
    let network = network::look(here.cni, here.places, &root, &disk, needed);
    findings.extend(network.findings);
    let mut on_disk = vec![
        Needed::read(&paths.config, "the hub's configuration", STATE).if_there(),
        Needed::written(&paths.state, "the hub's state", STATE),
        Needed::read(&paths.kubeconfig, "the way to the cloud, which the hub reads", CHECK),
    ];
    on_disk.extend(kubelet.needed);
    if network.ours {
        on_disk.push(Needed::written(&paths.bindings, "the bindings", BINDINGS));
        let state = (machine.real)(&machine.root, &paths.bindings);
        findings.extend(addresses::findings(machine.fs, &state, here.boot, pods));
    } else {
        findings.extend(addresses::not_ours(pods));
    }
    findings.extend(disk.findings(on_disk));
    findings
}

/// Whether kubelet of this node has asked the hub for its node and its pods.
fn is_heard(boot: &Boot) -> bool {
    let unheard = [Kind::Node, Kind::Pods].map(|kind| kind.what(&boot.node));
    !boot.findings.iter().any(|f| f.gravity == Gravity::Missing && unheard.contains(&f.what))
}

/// Where a path of the node is below its root.
pub fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
