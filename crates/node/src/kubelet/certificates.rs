//! The way back of the node's certificate: kubelet gets the best one that is on the node.
//!
//! Facts about kubelet that this rests on (cmd/kubelet/app/server.go, pkg/kubelet/certificate/bootstrap,
//! client-go/util/certificate): with `--bootstrap-kubeconfig` it does not start when the certificate that its kubeconfig
//! names, or has in it, is out of date; where it rotates, `kubelet-client-current.pem` in its directory goes before what
//! the kubeconfig says; that name must be a symbolic link.
//! So the one place for a certificate is behind that link, and a kubeconfig that has its own is pointed at the link, as
//! `kubeadm init phase kubelet-finalize` does it.

use std::path::{Path, PathBuf};

use durable::fs::Fs;

use crate::change::Verdict;
use crate::date;
use crate::kubeconfig::{Access, Credential, Source};

use super::machine::{Certificate, Machine, Pem};
use super::plan::{FileChange, Hub, Original, Step};

/// The link to the certificate that kubelet uses.
const LINK: &str = "kubelet-client-current.pem";

/// What is done about the certificate.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Back {
    /// The changes, in their order.
    pub files: Vec<FileChange>,
    /// Why kubelet would be left without a certificate that counts although one is there, and what to do by hand.
    pub cannot: Option<String>,
    /// What there is to say besides.
    pub notes: Vec<String>,
}

/// Plans it. Errors name a file that cannot be read.
pub fn back<F: Fs>(machine: &Machine<'_, F>, hub: &Hub, original: &Original) -> Result<Back, String> {
    let mut back = Back::default();
    let conf = machine.at(&original.kubeconfig);
    let (text, access) = match machine.kubeconfig(&original.kubeconfig) {
        Ok(Some(found)) => found,
        Ok(None) => {
            back.notes
                .push(format!("{} is not there: kubelet needs `kubeadm join` to have one", conf.display()));
            return Ok(back);
        }
        Err(why) => {
            back.notes.push(format!("{why}; it stays as it is"));
            return Ok(back);
        }
    };
    let own = machine.certificate(&access);
    let mut best = own.as_ref().map_or(0, |own| own.not_after);
    match hubs(machine, hub, &access) {
        Ok(Some((pem, certificate))) => match better(&certificate, own.as_ref().ok(), machine.now) {
            Ok(true) => {
                let link = link(&access, &original.cert_dir);
                match kubeconfig(machine, original, (&text, &access), &link) {
                    Ok(conf) => {
                        back.files = hand_over(machine, pem, &certificate, &link)?;
                        back.files.extend(conf);
                        best = certificate.not_after;
                    }
                    Err(why) if best <= machine.now => back.cannot = Some(by_hand(&conf, &why, &link, hub)),
                    Err(why) => back.notes.push(format!("{}: {why}; kubelet keeps its own", conf.display())),
                }
            }
            Ok(false) => {}
            Err(why) => back.notes.push(why),
        },
        Ok(None) => {}
        Err(why) => {
            back.notes.push(format!("the hub's copy of the node's certificate cannot be used: {why}"))
        }
    }
    if back.cannot.is_none() && best <= machine.now {
        back.notes.push(none_counts(best));
        back.notes.extend(own.err().map(|why| format!("{}: {why}", conf.display())));
    }
    Ok(back)
}

fn none_counts(best: u64) -> String {
    let until =
        if best == 0 { String::new() } else { format!(": the best one counted until {}", date::shown(best)) };
    format!(
        "no certificate of this node in the cluster counts any more{until}. kubelet cannot reach the API server without one: \
         docs/hub.md, \"When the node's certificate has expired\", says how it gets a new one"
    )
}

fn by_hand(conf: &Path, why: &str, link: &Path, hub: &Hub) -> String {
    format!(
        "{conf}: {why}. kubelet's own certificate does not count any more and the hub has one that does: copy {node} to \
         {link}, with permissions 0600, let `client-certificate` and `client-key` in {conf} say {link}, and run this again",
        conf = conf.display(),
        node = hub.node.display(),
        link = link.display(),
    )
}

/// The node's certificate that the hub has, as it is in its file, and what it says.
fn hubs<F: Fs>(
    machine: &Machine<'_, F>,
    hub: &Hub,
    access: &Access,
) -> Result<Option<(Vec<u8>, Certificate)>, String> {
    let Some(bytes) = machine.read(&hub.node)? else { return Ok(None) };
    let pem = Pem { certificate: bytes.clone(), key: bytes.clone() };
    Ok(Some((bytes, machine.judge(access, &pem)?)))
}

/// Whether kubelet is to get the hub's certificate instead of its own. Errors say why it must not.
fn better(hubs: &Certificate, own: Option<&Certificate>, now: u64) -> Result<bool, String> {
    let Some(own) = own else { return Ok(true) };
    if own.user != hubs.user {
        return Err(format!(
            "the hub has the certificate of {} and kubelet's own is that of {}: kubelet keeps its own",
            hubs.user, own.user
        ));
    }
    if elsewhere(hubs, own) && own.not_after > now {
        return Err("the hub's certificate is not signed by the authority that kubelet's kubeconfig trusts, as if the node \
                    had joined another cluster since: kubelet keeps its own"
            .into());
    }
    Ok(hubs.not_after > own.not_after)
}

/// Whether the hub's certificate is of an authority that the cluster of kubelet's own has not. Where the kubeconfig trusts other
/// authorities than those that sign nodes, nothing can be said.
pub fn elsewhere(hubs: &Certificate, own: &Certificate) -> bool {
    hubs.signed == Some(false) && own.signed == Some(true)
}

/// Where kubelet looks for its certificate: its kubeconfig may name the link in a directory of its own.
fn link(access: &Access, cert_dir: &Path) -> PathBuf {
    match &access.credential {
        Credential::Certificate { cert: Source::File(cert), .. } if cert.ends_with(LINK) => cert.clone(),
        _ => cert_dir.join(LINK),
    }
}

/// The certificate into a file of its own, then the link.
fn hand_over<F: Fs>(
    machine: &Machine<'_, F>,
    pem: Vec<u8>,
    certificate: &Certificate,
    link: &Path,
) -> Result<Vec<FileChange>, String> {
    let dated = dated(machine, link, &pem, certificate.not_before)?;
    let change = |path: &Path, text, step| FileChange {
        path: machine.at(path),
        verdict: Verdict::Change,
        text,
        step: Some(step),
    };
    let until = date::shown(certificate.not_after);
    let text = format!("the node's certificate, which the hub renewed; it counts until {until}");
    Ok(vec![
        change(&dated, text, Step::Secret(pem)),
        change(link, format!("points at {}", dated.display()), Step::Link(dated.clone())),
    ])
}

/// A name like those that kubelet chooses, which is free or has this very content since a run that was interrupted.
fn dated<F: Fs>(machine: &Machine<'_, F>, link: &Path, pem: &[u8], from: u64) -> Result<PathBuf, String> {
    let dir = link.parent().unwrap_or(Path::new("/"));
    for second in from..from.saturating_add(1000) {
        let path = dir.join(format!("kubelet-client-{}.pem", date::in_file_name(second)));
        if machine.read(&path)?.is_none_or(|there| there == pem) {
            return Ok(path);
        }
    }
    Err(format!("no name for a certificate is free in {}", dir.display()))
}

/// kubelet's kubeconfig with the link in place of what it says now; `None` if it says so. Errors say why it cannot be
/// edited.
fn kubeconfig<F: Fs>(
    machine: &Machine<'_, F>,
    original: &Original,
    (text, access): (&str, &Access),
    link: &Path,
) -> Result<Option<FileChange>, String> {
    let at_link = || Source::File(link.to_path_buf());
    let wanted =
        Access { credential: Credential::Certificate { cert: at_link(), key: at_link() }, ..access.clone() };
    if wanted == *access {
        return Ok(None);
    }
    let new = pointed(text, link);
    let dir = original.kubeconfig.parent().unwrap_or(Path::new("/"));
    if Access::parse(&new, dir).as_ref() != Ok(&wanted) {
        return Err("it has a certificate in a form that cannot be edited safely".into());
    }
    // Where it is a link, what it leads to is edited.
    let path = (machine.real)(&machine.root, &original.kubeconfig);
    let mode = (machine.modes.0)(&path).unwrap_or(0o600);
    let step = Step::Write { old: Some(text.as_bytes().to_vec()), new: new.into_bytes(), mode };
    let text = format!("names {} instead of a certificate that counts less long", link.display());
    Ok(Some(FileChange { path, verdict: Verdict::Change, text, step: Some(step) }))
}

/// The text with every client certificate and key in it replaced by the link; all else stays.
fn pointed(text: &str, link: &Path) -> String {
    let line = |line: &str| {
        let body = line.trim_start_matches([' ', '-']);
        let (key, _) = body.split_once(':')?;
        let new = match key {
            "client-certificate" | "client-certificate-data" => "client-certificate",
            "client-key" | "client-key-data" => "client-key",
            _ => return None,
        };
        let indent = line.strip_suffix(body)?;
        Some(format!("{indent}{new}: {}\n", link.display()))
    };
    text.split_inclusive('\n').map(|old| line(old).unwrap_or_else(|| old.to_owned())).collect()
}
