//! Nodes as kubeadm and others leave them stand in `testdata/kubelet`, each below a directory of its own. Certificates
//! are played by one line that says what a real one would.

mod back;
mod crash;
mod property;
mod standing;

use std::io;
use std::path::{Path, PathBuf};

use durable::place::replace_file;
use testkit::power_cut::PowerCutFs;

use super::machine::{Certificate, Machine, Pem};
use super::plan::{DROP_IN, Hub, KUBECONFIG};
use super::{Report, adopt, diff, revert};

/// Within the life of the certificates in `testdata`.
pub const NOW: u64 = 1500;
pub const LINK: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
pub const CONF: &str = "/etc/kubernetes/kubelet.conf";

/// A certificate and key in one file.
pub fn pem(user: &str, from: u64, to: u64, authority: &str) -> String {
    format!("certificate user={user} from={from} to={to} ca={authority}\nkey\n")
}

/// The node with everything in this directory of `testdata` on its disk.
pub fn node(name: &str) -> PowerCutFs {
    fn walk(root: &Path, dir: &Path, fs: &PowerCutFs) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, fs);
            } else {
                let at = Path::new("/").join(path.strip_prefix(root).unwrap());
                fs.write(at, std::fs::read(&path).unwrap()).unwrap();
            }
        }
    }
    let fs = PowerCutFs::new();
    let root = PathBuf::from(format!("{}/testdata/kubelet/{name}", env!("CARGO_MANIFEST_DIR")));
    walk(&root, &root, &fs);
    fs.settle();
    fs
}

/// The certificate that a line plays; the authority is its name.
pub fn judge(pem: &Pem, authority: Option<&[u8]>) -> Result<Certificate, String> {
    let text = String::from_utf8_lossy(&pem.certificate).into_owned();
    let said = |key: &str| {
        let found = text.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        found.map(str::to_owned).ok_or_else(|| "no certificate in it".to_owned())
    };
    if !String::from_utf8_lossy(&pem.key).contains("key") {
        return Err("no key in it".into());
    }
    let number = |key: &str| said(key)?.parse().map_err(|e| format!("{e}"));
    let signer = said("ca")?;
    Ok(Certificate {
        user: said("user")?,
        not_before: number("from")?,
        not_after: number("to")?,
        signed: authority.map(|authority| authority == signer.as_bytes()),
    })
}

/// Runs something on the node. A symbolic link is played by a copy of what it points at.
pub fn on<R>(fs: &PowerCutFs, now: u64, run: impl FnOnce(&Machine<'_, PowerCutFs>) -> R) -> R {
    let link = |to: &Path, path: &Path| -> io::Result<()> {
        let bytes = durable::fs::read(fs, to, 1 << 20)?;
        replace_file(fs, path, &bytes, 0o600)
    };
    run(&Machine {
        fs,
        root: "/".into(),
        real: |_, path| path.to_path_buf(),
        modes: (|_| Ok(0o600), |_, _| Ok(())),
        link: &link,
        judge: &judge,
        now,
    })
}

/// What the hub makes for kubelet.
fn mint(fs: &PowerCutFs) -> Result<(), String> {
    let hub = Hub::default();
    for path in [&hub.authority, &hub.certificate, &hub.key] {
        let dir = path.parent().unwrap();
        durable::place::create_dir_durably(fs, dir, 0o700).map_err(|e| e.to_string())?;
        replace_file(fs, path, b"made by the hub", 0o600).map_err(|e| e.to_string())?;
    }
    Ok(())
}

pub fn do_adopt(fs: &PowerCutFs) -> Result<Report, String> {
    on(fs, NOW, |machine| adopt(machine, &Hub::default(), &|_| mint(fs), false))
}

pub fn do_revert_at(fs: &PowerCutFs, now: u64) -> Result<Report, String> {
    on(fs, now, |machine| revert(machine, &Hub::default(), false))
}

pub fn do_revert(fs: &PowerCutFs) -> Result<Report, String> {
    do_revert_at(fs, NOW)
}

pub fn read(fs: &PowerCutFs, path: &str) -> String {
    String::from_utf8(fs.read(path).unwrap_or_default()).unwrap()
}

/// Every file of kubeadm, kubelet, systemd and us, but for copies and what the hub owns.
pub fn everything(fs: &PowerCutFs) -> Vec<(String, Vec<u8>)> {
    let dirs = [
        "/etc/kubernetes",
        "/etc/kubernetes/pki",
        "/etc/default",
        "/etc/sysconfig",
        "/etc/edgekeep",
        "/etc/systemd/system",
        "/etc/systemd/system/kubelet.service.d",
        "/usr/lib/systemd/system",
        "/usr/lib/systemd/system/kubelet.service.d",
        "/lib/systemd/system",
        "/var/lib/kubelet",
        "/var/lib/kubelet/pki",
        "/data/kubelet/pki",
    ];
    let files = dirs.iter().flat_map(|dir| {
        let names = fs.list(dir).unwrap_or_default().into_iter();
        names.map(move |name| format!("{dir}/{name}"))
    });
    files.filter_map(|path| Some((path.clone(), fs.read(path).ok()?))).collect()
}

const JOINED: [&str; 5] =
    ["kubeadm-1.20", "kubeadm-1.36", "kubeadm-rpm", "kubeadm-inline", "kubeadm-own-files"];

#[test]
fn what_kubeadm_left_is_adopted_by_two_files_and_nothing_else_changes() {
    for name in JOINED {
        let fs = node(name);
        let before = everything(&fs);
        let report = do_adopt(&fs).unwrap();
        assert!(report.complete() && report.changes(), "{name}: {report:?}");
        let changed: Vec<_> = everything(&fs).into_iter().filter(|file| !before.contains(file)).collect();
        let paths: Vec<_> = changed.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, [KUBECONFIG, DROP_IN], "{name}");
        assert!(
            read(&fs, DROP_IN)
                .contains("--kubeconfig=/etc/edgekeep/kubelet.conf --rotate-certificates=false")
        );
        assert!(diff(&report.files[0]).contains("+    server: \"https://127.0.0.1:10461\""), "{name}");
        let again = do_adopt(&fs).unwrap();
        assert!(again.complete() && !again.changes(), "{name}: {again:?}");
    }
}

#[test]
fn there_and_back_leaves_every_byte() {
    for name in JOINED {
        let fs = node(name);
        let before = everything(&fs);
        do_adopt(&fs).unwrap();
        let report = do_revert(&fs).unwrap();
        assert!(report.complete() && report.changes(), "{name}: {report:?}");
        assert_eq!(everything(&fs), before, "{name}");
        assert_eq!(fs.list(super::BACKUP).unwrap(), ["lock"], "{name}");
        assert!(!do_revert(&fs).unwrap().changes(), "{name}");
    }
}

#[test]
fn a_dry_run_shows_what_would_be_and_changes_nothing() {
    let fs = node("kubeadm-1.36");
    let before = everything(&fs);
    let report = on(&fs, NOW, |machine| {
        adopt(machine, &Hub::default(), &|_| Err("a dry run makes no certificate".into()), true)
    });
    assert!(report.unwrap().changes());
    assert_eq!(everything(&fs), before);
    assert!(fs.list("/var/lib/edgekeep").is_err());
}

fn cannot(fs: &PowerCutFs, why: &[&str]) -> Report {
    let before = everything(fs);
    let report = do_adopt(fs).unwrap();
    let text = format!("{} {}", report.cannot.clone().unwrap_or_default(), report.by_hand.join(" "));
    for words in why {
        assert!(text.contains(words), "{words} in {text}");
    }
    assert!(!report.complete() && !report.changes());
    assert_eq!(everything(fs), before);
    report
}

#[test]
fn other_distributions_are_named_with_what_to_do_by_hand() {
    cannot(
        &node("k3s"),
        &["this node runs k3s", "kubelet-arg: [kubeconfig=", "/etc/rancher/k3s/config.yaml"],
    );
    cannot(&node("rke2"), &["this node runs RKE2", "/etc/rancher/rke2/config.yaml"]);
    cannot(&node("k0s"), &["this node runs k0s", "--kubelet-extra-args"]);
    cannot(&node("microk8s"), &["this node runs MicroK8s", "/var/snap/microk8s/current/args/kubelet"]);
    cannot(&PowerCutFs::new(), &["no kubelet.service was found"]);
}

#[test]
fn a_kubelet_that_takes_its_kubeconfig_from_elsewhere_is_not_touched() {
    cannot(
        &node("by-hand"),
        &[
            "--kubeconfig=/var/lib/kubelet/kubeconfig` from /etc/systemd/system/kubelet.service",
            "in /etc/systemd/system/kubelet.service, put `--kubeconfig=/etc/edgekeep/kubelet.conf",
            "--print-kubeconfig",
        ],
    );
    cannot(&node("nodeadm"), &["from /etc/eks/kubelet/environment", "in /etc/eks/kubelet/environment, put"]);
    cannot(&node("standalone"), &["without --kubeconfig"]);
}

#[test]
fn what_is_read_after_our_drop_in_and_undoes_it_is_named() {
    cannot(
        &node("kubeadm-1.10"),
        &["/etc/systemd/system/kubelet.service.d/10-kubeadm.conf says --rotate-certificates"],
    );
    let with = |path: &str, text: &str| {
        let fs = node("kubeadm-1.36");
        fs.write(path, text).unwrap();
        fs
    };
    cannot(
        &with("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=--kubeconfig=/k.conf\n"),
        &["/etc/default/kubelet says --kubeconfig=/k.conf", "in /etc/default/kubelet, take that out"],
    );
    // A file of variables goes before every Environment=, also that of a later drop-in.
    cannot(
        &with("/etc/default/kubelet", "KUBELET_KUBECONFIG_ARGS=--kubeconfig=/k.conf\n"),
        &["/etc/default/kubelet says --kubeconfig=/k.conf"],
    );
    let late = "/etc/systemd/system/kubelet.service.d/99-site.conf";
    let text =
        "[Service]\nEnvironment=\"KUBELET_KUBECONFIG_ARGS=--kubeconfig=/k.conf --bootstrap-kubeconfig=/b\"\n";
    cannot(&with(late, text), &["99-site.conf says --kubeconfig=/k.conf", "says --bootstrap-kubeconfig=/b"]);
    let exec = "[Service]\nExecStart=\nExecStart=/usr/bin/kubelet --kubeconfig=/k.conf\n";
    cannot(&with(late, exec), &["from /etc/systemd/system/kubelet.service.d/99-site.conf"]);
    let masked = with("/etc/systemd/system/kubelet.service", "");
    cannot(&masked, &["/etc/systemd/system/kubelet.service is masked"]);
}

#[test]
fn a_drop_in_between_that_says_something_else_does_no_harm() {
    let fs = node("kubeadm-1.36");
    let text =
        "[Service]\nEnvironment=\"KUBELET_KUBECONFIG_ARGS=--kubeconfig=/k.conf\"\nCPUAccounting=true\n";
    fs.write("/usr/lib/systemd/system/kubelet.service.d/20-kubeadm.conf", text).unwrap();
    fs.write("/k.conf", read(&fs, CONF)).unwrap();
    assert!(do_adopt(&fs).unwrap().complete());
}

#[test]
fn a_node_that_has_not_joined_or_comes_otherwise_is_not_touched() {
    let with = |conf: Option<String>| {
        let fs = node("kubeadm-1.36");
        match conf {
            Some(conf) => fs.write(CONF, conf).unwrap(),
            None => fs.remove(CONF).unwrap(),
        }
        fs
    };
    cannot(&with(None), &["/etc/kubernetes/kubelet.conf is not there", "kubeadm join"]);
    let conf = read(&node("kubeadm-1.36"), CONF);
    let user = conf.find("    client-certificate").unwrap();
    let otherwise = |user_text: &str| format!("{}    {user_text}\n", &conf[..user]);
    cannot(&with(Some(otherwise("exec: {command: aws}"))), &["/etc/kubernetes/kubelet.conf", "`exec`"]);
    cannot(&with(Some(otherwise("token: t"))), &["without a client certificate"]);
    let gone = with(Some(conf.replace("kubelet-client-current", "gone")));
    cannot(&gone, &["/var/lib/kubelet/pki/gone.pem is not there"]);
    let admin = node("kubeadm-1.36");
    admin.write(LINK, pem("kubernetes-admin", 1000, 2000, "cluster")).unwrap();
    cannot(&admin, &["comes as kubernetes-admin, which is no node"]);
}

#[test]
fn the_hub_makes_the_certificate_for_the_node_that_kubelet_is() {
    let fs = node("kubeadm-inline");
    let name = std::cell::RefCell::new(String::new());
    let note = |node: &str| {
        node.clone_into(&mut name.borrow_mut());
        mint(&fs)
    };
    on(&fs, NOW, |machine| adopt(machine, &Hub::default(), &note, false)).unwrap();
    assert_eq!(*name.borrow(), "edge-1");

    let failed = on(&node("kubeadm-1.36"), NOW, |machine| {
        adopt(machine, &Hub::default(), &|_| Err("no space".into()), false)
    });
    assert_eq!(failed.unwrap_err(), "no space");
}

#[test]
fn what_another_wrote_under_our_names_comes_back() {
    let fs = node("kubeadm-1.36");
    fs.write(KUBECONFIG, "somebody's").unwrap();
    fs.write(DROP_IN, "[Service]\nCPUAccounting=true\n").unwrap();
    let before = everything(&fs);
    let report = do_adopt(&fs).unwrap();
    assert!(report.files[0].text.contains("a copy is kept"), "{report:?}");
    fs.write(KUBECONFIG, read(&fs, KUBECONFIG) + "# a note\n").unwrap();
    do_adopt(&fs).unwrap();
    do_revert(&fs).unwrap();
    assert_eq!(everything(&fs), before);
}
