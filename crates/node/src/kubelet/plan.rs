//! What has to change so that kubelet talks to the hub, or why that cannot be. Pure.

use std::path::{Path, PathBuf};

use crate::change::Verdict;

use super::flags::Flags;
use super::layout::Layout;
use super::machine::{Setup, Start, UNIT};
use super::unit::UnitFile;

/// The kubeconfig with which kubelet comes to the hub.
pub const KUBECONFIG: &str = "/etc/edgekeep/kubelet.conf";
/// The drop-in that hands it to kubelet.
pub const DROP_IN: &str = "/etc/systemd/system/kubelet.service.d/90-edgekeep.conf";
/// Its name among the drop-ins of all directories.
pub const DROP_IN_NAME: &str = "90-edgekeep.conf";
/// The variable in which kubeadm's drop-in has the kubeconfigs.
pub const VARIABLE: &str = "KUBELET_KUBECONFIG_ARGS";
/// Where kubelet keeps certificates unless it is told otherwise (cmd/kubelet/app/options).
pub const CERT_DIR: &str = "/var/lib/kubelet/pki";
/// By this line our files are known.
pub const MARK: &str =
    "# Written by `edgekeep adopt kubelet`; `edgekeep revert kubelet` takes it away again.\n";

/// The hub as kubelet sees it, in paths of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hub {
    /// `https://host:port`.
    pub server: String,
    /// The hub's own authority.
    pub authority: PathBuf,
    /// The certificate that the hub made for kubelet.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The node's certificate in the cluster and its key, which the hub renews.
    pub node: PathBuf,
}

impl Default for Hub {
    fn default() -> Hub {
        let pki = Path::new("/var/lib/edgekeep/hub/pki");
        Hub {
            server: "https://127.0.0.1:10461".into(),
            authority: pki.join("ca.crt"),
            certificate: pki.join("kubelet.crt"),
            key: pki.join("kubelet.key"),
            node: "/var/lib/edgekeep/hub/node/current.pem".into(),
        }
    }
}

impl Hub {
    /// The kubeconfig that leads to the hub.
    pub fn kubeconfig(&self) -> String {
        let quoted = |path: &Path| format!("{:?}", path.to_string_lossy());
        format!(
            "{MARK}apiVersion: v1\nkind: Config\nclusters:\n- name: edgekeep\n  cluster:\n    server: {:?}\n    \
             certificate-authority: {}\nusers:\n- name: kubelet\n  user:\n    client-certificate: {}\n    client-key: {}\n\
             contexts:\n- name: edgekeep\n  context:\n    cluster: edgekeep\n    user: kubelet\ncurrent-context: edgekeep\n",
            self.server,
            quoted(&self.authority),
            quoted(&self.certificate),
            quoted(&self.key),
        )
    }
}

/// The drop-in. `--rotate-certificates=false` on the command line goes before kubelet's configuration file
/// (cmd/kubelet/app/server.go, `kubeletConfigFlagPrecedence`).
pub fn drop_in() -> UnitFile {
    let text = format!(
        "{MARK}# kubelet talks to the edgekeep hub on this node, with a certificate that the hub made for it. The hub has the\n\
         # node's certificate in the cluster and renews it, so kubelet does not.\n[Unit]\n\
         Wants=edgekeep-hub.socket edgekeep-hub.service\nAfter=edgekeep-hub.socket edgekeep-hub.service\n\n[Service]\n\
         Environment=\"{VARIABLE}=--kubeconfig={KUBECONFIG} --rotate-certificates=false\"\n"
    );
    UnitFile { path: DROP_IN.into(), text }
}

/// How kubelet comes to the cluster without us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// Its kubeconfig.
    pub kubeconfig: PathBuf,
    /// The directory of its certificates.
    pub cert_dir: PathBuf,
}

/// A verdict on how kubelet is started here.
#[derive(Debug, PartialEq, Eq)]
pub enum Way {
    /// Our drop-in brings it to the hub.
    DropIn(Original),
    /// Somebody brought it there by hand.
    ByHand {
        /// The file that says so.
        from: PathBuf,
    },
    /// It cannot be brought there by us.
    Cannot {
        /// What was found and why it cannot.
        why: String,
        /// What to do by hand.
        by_hand: Option<String>,
    },
}

/// How kubelet can be brought to the hub. `layouts` are other distributions that are installed here.
pub fn way(start: &Start, layouts: &[Layout]) -> Way {
    let cannot = |why: String, by_hand: Option<String>| Way::Cannot { why, by_hand };
    let setup = match start {
        Start::Unit(setup) => setup,
        Start::Masked(path) => {
            let why = format!("{} is masked: systemd starts no kubelet here", path.display());
            return cannot(why, Some(format!("systemctl unmask {UNIT}")));
        }
        Start::Absent => return elsewhere(layouts),
    };
    let Some(flags) = setup.flags(DROP_IN_NAME, None) else {
        let why = format!("{} has no ExecStart=", setup.unit.main.path.display());
        return cannot(why, Some("install kubelet with kubeadm's drop-in, 10-kubeadm.conf".into()));
    };
    let Some(original) = original(&flags) else {
        let why = format!("{UNIT} starts a kubelet without --kubeconfig, which talks to no API server");
        return cannot(why, None);
    };
    if original.kubeconfig == Path::new(KUBECONFIG) {
        let from = flags.value("kubeconfig").map(|flag| flag.from).unwrap_or_default();
        return Way::ByHand { from };
    }
    if !setup.unit.expands(VARIABLE) {
        let from = flags.value("kubeconfig").map(|flag| flag.from).unwrap_or_default();
        let why = format!(
            "{UNIT} does not take its kubeconfig from {VARIABLE}, as kubeadm's does, but `--kubeconfig={}` from {}",
            original.kubeconfig.display(),
            from.display()
        );
        return cannot(why, Some(by_hand(&from)));
    }
    let wanted = drop_in();
    match setup.flags(DROP_IN_NAME, Some(&wanted)).map(|flags| obstacles(&flags)) {
        Some(obstacles) if obstacles.is_empty() => Way::DropIn(original),
        obstacles => {
            let obstacles = obstacles.unwrap_or_default();
            let texts: Vec<_> = obstacles.iter().map(|obstacle| obstacle.text.clone()).collect();
            let from = obstacles.into_iter().next().map(|obstacle| obstacle.from).unwrap_or_default();
            let why = format!("a drop-in would not be enough: {}", texts.join("; "));
            let what =
                "take that out, or move it to a drop-in or variable that is read before 90-edgekeep.conf";
            cannot(why, Some(format!("in {}, {what}; then run this again", from.display())))
        }
    }
}

fn by_hand(from: &Path) -> String {
    format!(
        "in {}, put `--kubeconfig={KUBECONFIG} --rotate-certificates=false` in its place and take --bootstrap-kubeconfig \
         out; `edgekeep adopt kubelet --print-kubeconfig` prints what belongs into {KUBECONFIG}",
        from.display()
    )
}

fn elsewhere(layouts: &[Layout]) -> Way {
    match layouts {
        [] => {
            Way::Cannot { why: format!("no {UNIT} was found: nothing here starts a kubelet"), by_hand: None }
        }
        [layout, ..] => Way::Cannot {
            why: format!("this node runs {}: {}", layout.name, layout.how),
            by_hand: Some(format!(
                "{}; `edgekeep adopt kubelet --print-kubeconfig` prints what belongs into {KUBECONFIG}. This is not tried \
                 in our tests",
                layout.by_hand
            )),
        },
    }
}

/// How kubelet with these arguments comes to the cluster.
pub fn original(flags: &Flags) -> Option<Original> {
    let kubeconfig = flags.value("kubeconfig").filter(|flag| !flag.value.is_empty())?.value.into();
    let cert_dir = flags.value("cert-dir").map_or_else(|| CERT_DIR.into(), |flag| flag.value.into());
    Some(Original { kubeconfig, cert_dir })
}

/// Why kubelet with given arguments would not talk to the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// In words.
    pub text: String,
    /// The file that makes it so.
    pub from: PathBuf,
}

/// All that keeps kubelet with these arguments from the hub, or lets it leave the hub.
pub fn obstacles(flags: &Flags) -> Vec<Obstacle> {
    let mut found = Vec::new();
    match flags.value("kubeconfig") {
        Some(flag) if flag.value == KUBECONFIG => {}
        Some(flag) => {
            let text = format!("{} says --kubeconfig={}", flag.from.display(), flag.value);
            found.push(Obstacle { text, from: flag.from });
        }
        None => found.push(Obstacle { text: "kubelet gets no --kubeconfig".into(), from: UNIT.into() }),
    }
    if let Some(flag) = flags.value("bootstrap-kubeconfig").filter(|flag| !flag.value.is_empty()) {
        let text = format!("{} says --bootstrap-kubeconfig={}", flag.from.display(), flag.value);
        found.push(Obstacle { text, from: flag.from });
    }
    match flags.switch("rotate-certificates") {
        Some((false, _)) => {}
        Some((true, from)) => {
            found.push(Obstacle { text: format!("{} says --rotate-certificates", from.display()), from });
        }
        None => {
            let text = "kubelet gets no --rotate-certificates=false".into();
            found.push(Obstacle { text, from: UNIT.into() });
        }
    }
    found
}

/// One file and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Its path.
    pub path: PathBuf,
    /// The verdict.
    pub verdict: Verdict,
    /// What was found or will be done.
    pub text: String,
    /// What is done.
    pub step: Option<Step>,
}

/// What is done to a file.
#[derive(Clone, PartialEq, Eq)]
pub enum Step {
    /// It gets this content.
    Write {
        /// What was in it, if it was there.
        old: Option<Vec<u8>>,
        /// What will be in it.
        new: Vec<u8>,
        /// Its permissions.
        mode: u32,
    },
    /// It goes.
    Remove {
        /// What was in it.
        old: Vec<u8>,
    },
    /// It gets this content, which is nobody's to see.
    Secret(Vec<u8>),
    /// It becomes a symbolic link to this path.
    Link(PathBuf),
}

/// Not the bytes: there are keys among them.
impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Write { new, mode, .. } => write!(f, "Write({} bytes, {mode:o})", new.len()),
            Step::Remove { .. } => f.write_str("Remove"),
            Step::Secret(bytes) => write!(f, "Secret({} bytes)", bytes.len()),
            Step::Link(to) => write!(f, "Link({})", to.display()),
        }
    }
}

/// The file is to be `new`; `old` is what stands there.
pub fn wanted(path: PathBuf, old: Option<Vec<u8>>, new: &str, mode: u32, what: &str) -> FileChange {
    let new = new.as_bytes().to_vec();
    if old.as_ref() == Some(&new) {
        return FileChange { path, verdict: Verdict::Done, text: format!("is there: {what}"), step: None };
    }
    let text = match &old {
        None => what.to_owned(),
        Some(old) if old.starts_with(MARK.as_bytes()) => format!("is written anew: {what}"),
        Some(_) => format!("takes the place of another file, of which a copy is kept: {what}"),
    };
    FileChange { path, verdict: Verdict::Change, text, step: Some(Step::Write { old, new, mode }) }
}

/// How kubelet is started now.
pub fn present(setup: &Setup) -> Option<Flags> {
    let ours = setup.unit.drop_ins.get(DROP_IN_NAME);
    setup.flags(DROP_IN_NAME, ours)
}
