//! Whether, after a reboot, the hub starts, the container runtime and kubelet start, and kubelet comes to the hub.

use std::path::{Path, PathBuf};

use durable::fs::Fs;

use super::disk::Needed;
use super::finding::{Area, Finding, Gravity};
use super::units::{AtBoot, at_boot};
use crate::kubelet::flags::Flags;
use crate::kubelet::layout::Layout;
use crate::kubelet::machine::{Machine, Setup, Start, UNIT};
use crate::kubelet::plan::{Hub, KUBECONFIG, present};
use crate::kubelet::{Standing, standing};
use crate::yaml::Node;

const HUB: &str = "edgekeep-hub.service";
/// A connection to it starts the hub, too.
const SOCKET: &str = "edgekeep-hub.socket";
const ENABLE_HUB: &str = "run `systemctl enable --now edgekeep-hub.service`";
const ADOPT: &str = "run `edgekeep adopt kubelet --restart`";
const REMAKE: &str = "put it on a disk";

/// A container runtime: where it listens, what starts it, and where its images are.
struct Runtime {
    socket: &'static str,
    units: &'static [&'static str],
    images: &'static str,
}

const RUNTIMES: [Runtime; 4] = [
    Runtime { socket: "containerd.sock", units: &["containerd.service"], images: "/var/lib/containerd" },
    Runtime { socket: "crio.sock", units: &["crio.service"], images: "/var/lib/containers/storage" },
    Runtime {
        socket: "cri-dockerd.sock",
        units: &["cri-docker.service", "docker.service"],
        images: "/var/lib/docker",
    },
    Runtime { socket: "dockershim.sock", units: &["docker.service"], images: "/var/lib/docker" },
];

/// What was found about the start.
#[derive(Debug, Default)]
pub struct Found {
    /// What there is to say.
    pub findings: Vec<Finding>,
    /// What kubelet and the runtime need on the disk.
    pub needed: Vec<Needed>,
}

/// Whether the hub starts at boot.
pub fn hub<F: Fs>(machine: &Machine<'_, F>) -> Option<Finding> {
    let start = at_boot(machine, HUB, &[UNIT]).and_then(|service| match service {
        AtBoot::Disabled => at_boot(machine, SOCKET, &[UNIT]),
        other => Ok(other),
    });
    unit(Area::Hub, HUB, start, ENABLE_HUB)
}

fn unit(area: Area, name: &str, state: Result<AtBoot, String>, enable: &str) -> Option<Finding> {
    let missing = |why: String| Some(Finding::new(area, Gravity::Missing, name, why).to_do(enable));
    match state {
        Ok(AtBoot::Starts) => None,
        Ok(AtBoot::Disabled) => missing("nothing starts it at boot".into()),
        Ok(AtBoot::Masked(by)) => {
            let why = format!("{} keeps it from starting", by.display());
            let to_do = format!("run `systemctl unmask {name}`");
            Some(Finding::new(area, Gravity::Missing, name, why).to_do(to_do))
        }
        Ok(AtBoot::Absent) => missing("there is no such unit, or it is gone after a reboot".into()),
        Err(why) => Some(Finding::new(area, Gravity::Unknown, name, why)),
    }
}

/// Whether kubelet starts and comes to the hub. `heard` says that the hub has been asked for this node by its kubelet.
pub fn kubelet<F: Fs>(machine: &Machine<'_, F>, hub: &Hub, heard: bool) -> Found {
    let mut found = Found::default();
    match machine.start() {
        Ok(Start::Unit(setup)) => {
            led(machine, hub, &mut found.findings);
            let enable = format!("run `systemctl enable {UNIT}`");
            found.findings.extend(unit(Area::Kubelet, UNIT, at_boot(machine, UNIT, &[]), &enable));
            files(machine, &setup, &mut found);
        }
        Ok(Start::Masked(by)) => {
            let state = Ok(AtBoot::Masked(by));
            found.findings.extend(unit(Area::Kubelet, UNIT, state, ""));
        }
        Ok(Start::Absent) => match machine.layouts().first() {
            Some(layout) => elsewhere(machine, layout, heard, &mut found.findings),
            None => found.findings.extend(unit(Area::Kubelet, UNIT, Ok(AtBoot::Absent), "")),
        },
        Err(why) => found.findings.push(Finding::new(Area::Kubelet, Gravity::Unknown, UNIT, why)),
    }
    found
}

/// Whether kubelet's next start leads it to the hub.
fn led<F: Fs>(machine: &Machine<'_, F>, hub: &Hub, findings: &mut Vec<Finding>) {
    let what = "kubelet's way to the hub";
    let mut missing = |why: String, to_do: &str| {
        findings.push(Finding::new(Area::Kubelet, Gravity::Missing, what, why).to_do(to_do));
    };
    match standing(machine, hub) {
        Ok(Standing::AtHub) => {}
        Ok(Standing::NotAdopted) => {
            missing(
                "kubelet talks to the API server directly: without the cloud it starts no pod".into(),
                ADOPT,
            );
        }
        // Each reason says what to do.
        Ok(Standing::Adrift(reasons)) => reasons.into_iter().for_each(|reason| missing(reason, "")),
        Err(why) => findings.push(Finding::new(Area::Kubelet, Gravity::Unknown, what, why)),
    }
}

/// A kubelet that is started in another way than by its unit: seen only in what it asks.
fn elsewhere<F: Fs>(machine: &Machine<'_, F>, layout: &Layout, heard: bool, findings: &mut Vec<Finding>) {
    let what = format!("kubelet of {}", layout.name);
    let finding = match heard {
        true => {
            let why = format!(
                "{}: that it still comes to the hub after a reboot cannot be read in files",
                layout.how
            );
            Finding::new(Area::Kubelet, Gravity::Note, what, why)
        }
        false => {
            let why = format!("{}, and it has not asked the hub for this node's pods", layout.how);
            Finding::new(Area::Kubelet, Gravity::Missing, what, why).to_do(layout.by_hand)
        }
    };
    findings.push(finding);
    let units = layout.marks.iter().filter(|mark| machine.is_there(Path::new(mark)));
    let names = units.filter_map(|mark| Path::new(mark).file_name()?.to_str());
    for name in names.filter(|name| name.ends_with(".service")) {
        let enable = format!("run `systemctl enable {name}`");
        findings.extend(unit(Area::Kubelet, name, at_boot(machine, name, &[]), &enable));
    }
}

/// What kubelet needs besides: its program, its files, its runtime.
fn files<F: Fs>(machine: &Machine<'_, F>, setup: &Setup, found: &mut Found) {
    let Some(flags) = present(setup) else {
        let why = format!("{} starts no kubelet: it has no ExecStart=", setup.unit.main.path.display());
        found.findings.push(Finding::new(Area::Kubelet, Gravity::Missing, UNIT, why));
        return;
    };
    let words = setup.unit.command(&setup.files).unwrap_or_default();
    let program = words.first().map(|word| PathBuf::from(&word.text)).filter(|path| path.is_absolute());
    let needed = &mut found.needed;
    needed.extend(program.map(|path| Needed::read(path, "kubelet itself", REMAKE)));
    let units = std::iter::once(&setup.unit.main).chain(setup.unit.drop_ins.values());
    needed.extend(units.map(|file| Needed::read(&file.path, "what starts kubelet", REMAKE)));
    needed.extend(setup.files.keys().map(|path| Needed::read(path, "variables that start kubelet", REMAKE)));
    needed.push(Needed::read(KUBECONFIG, "kubelet's way to the hub", ADOPT));
    let value = |name: &str| flags.value(name).map(|flag| flag.value).filter(|value| !value.is_empty());
    let root = value("root-dir").unwrap_or_else(|| "/var/lib/kubelet".into());
    let certificates = value("cert-dir").unwrap_or_else(|| format!("{root}/pki"));
    needed.push(Needed::written(root, "kubelet's directory", REMAKE));
    needed.push(Needed::written(certificates, "kubelet's certificates", REMAKE).if_there());
    let config = value("config").map(|path| config(machine, Path::new(&path), found));
    runtime(machine, &flags, config.flatten().as_ref(), found);
}

/// kubelet's configuration file.
fn config<F: Fs>(machine: &Machine<'_, F>, path: &Path, found: &mut Found) -> Option<Node> {
    found.needed.push(Needed::read(path, "kubelet's configuration", REMAKE));
    let text = String::from_utf8_lossy(&machine.read(path).ok()??).into_owned();
    let unreadable = |why: String| {
        let what = format!("kubelet's configuration, {}", path.display());
        Finding::new(Area::Kubelet, Gravity::Unknown, what, format!("it cannot be read: {why}"))
    };
    match Node::parse(&text) {
        Ok(root) => {
            let keys: [(&[&str], &str); 2] = [
                (&["authentication", "x509", "clientCAFile"], "the authority of who talks to kubelet"),
                (&["staticPodPath"], "static pods"),
            ];
            for (keys, what) in keys {
                let Some(path) = at(&root, keys).filter(|path| !path.is_empty()) else { continue };
                let needed = Needed::read(path, what, REMAKE);
                // kubelet starts without a directory of static pods, and not without the authority.
                found.needed.push(if keys.len() == 1 { needed.if_there() } else { needed });
            }
            Some(root)
        }
        Err(why) => {
            found.findings.push(unreadable(why));
            None
        }
    }
}

/// The text below these keys.
fn at(root: &Node, keys: &[&str]) -> Option<String> {
    let mut node = root;
    for key in keys {
        node = node.get(key).ok()??;
    }
    node.text().ok().map(str::to_owned)
}

/// Whether the container runtime starts, and where its images are.
fn runtime<F: Fs>(machine: &Machine<'_, F>, flags: &Flags, config: Option<&Node>, found: &mut Found) {
    let flag = |name: &str| flags.value(name).map(|flag| flag.value).filter(|value| !value.is_empty());
    let configured = || config.and_then(|config| at(config, &["containerRuntimeEndpoint"]));
    let endpoint = flag("container-runtime-endpoint").or_else(configured).unwrap_or_else(|| {
        // Before 1.24 kubelet talked to docker by itself unless it was told of another.
        let docker = flag("container-runtime").is_none_or(|kind| kind == "docker");
        let is_there = |unit: &str| !matches!(at_boot(machine, unit, &[]), Ok(AtBoot::Absent) | Err(_));
        let dockers = docker && is_there("docker.service") && !is_there("containerd.service");
        if dockers { "dockershim.sock".into() } else { "/run/containerd/containerd.sock".into() }
    });
    let known = RUNTIMES.iter().find(|runtime| endpoint.ends_with(runtime.socket));
    let Some(known) = known else {
        let why = "whether it starts at boot and keeps its images is not known: it is none that we know";
        found.findings.push(Finding::new(
            Area::Kubelet,
            Gravity::Unknown,
            format!("the runtime at {endpoint}"),
            why,
        ));
        return;
    };
    for name in known.units {
        let enable = format!("run `systemctl enable {name}`");
        let state = at_boot(machine, name, &[UNIT, HUB]);
        found.findings.extend(unit(Area::Kubelet, name, state, &enable));
    }
    let root = containerd_root(machine).filter(|_| known.socket == "containerd.sock");
    let images = root.unwrap_or_else(|| known.images.into());
    found.needed.push(Needed::written(images, "the runtime's images", REMAKE));
}

/// Where containerd keeps its images, if its configuration says so (containerd-config.toml(5)): `root`, before any table.
fn containerd_root<F: Fs>(machine: &Machine<'_, F>) -> Option<PathBuf> {
    let bytes = machine.read(Path::new("/etc/containerd/config.toml")).ok()??;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let head = text.lines().map(str::trim).take_while(|line| !line.starts_with('['));
    let value = head.filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "root")?.1;
    let path = value.trim().trim_matches(['"', '\'']);
    Some(path.into()).filter(|path: &PathBuf| path.is_absolute())
}
