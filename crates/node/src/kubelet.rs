//! `adopt kubelet` and `revert kubelet`: kubelet talks to the hub, with a certificate that the hub made, and goes back.
//!
//! Two files bring it there, a kubeconfig and a drop-in that hands it over in kubeadm's own variable; what kubeadm and
//! kubelet wrote stays untouched, so that the way back is to take the drop-in away. Read ([`machine`]), decide ([`mod@unit`],
//! [`flags`], [`plan`], [`certificates`]), keep a copy ([`crate::manifest`]), change. Invariants:
//!
//! - The drop-in comes after all that it names and goes before it: kubelet can start at any moment.
//! - kubelet's certificate in the cluster is made good before the drop-in goes.
//! - Nothing changes before a durable manifest says what it was, so the next run finishes one that was interrupted.

pub mod certificates;
pub mod flags;
pub mod layout;
pub mod machine;
pub mod plan;
mod standing;
pub mod unit;
mod words;

#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};

use durable::fs::Fs;
use durable::place::create_dir_durably;

use crate::change::{self, Verdict, locked, sweep};
use crate::manifest::{Entry, Manifest};
use machine::{Machine, Start};
use plan::{
    DROP_IN, DROP_IN_NAME, FileChange, Hub, KUBECONFIG, MARK, Original, Step, Way, drop_in, wanted, way,
};

pub use standing::{Standing, standing};

/// Where copies of what was changed are kept.
pub const BACKUP: &str = "/var/lib/edgekeep/adopt/kubelet";
/// What the cluster calls a node.
const NODE: &str = "system:node:";

/// What was done, or would be.
#[derive(Debug, Default)]
pub struct Report {
    /// File by file, in the order of the changes.
    pub files: Vec<FileChange>,
    /// Why it cannot be done; then nothing was changed.
    pub cannot: Option<String>,
    /// What to do by hand.
    pub by_hand: Vec<String>,
    /// What there is to say besides.
    pub notes: Vec<String>,
    /// Where copies are kept.
    pub backup: PathBuf,
}

impl Report {
    /// Whether all that should be done was done, or can be.
    pub fn complete(&self) -> bool {
        self.cannot.is_none() && !self.files.iter().any(|file| file.verdict == Verdict::Cannot)
    }

    /// Whether there is anything to change.
    pub fn changes(&self) -> bool {
        self.files.iter().any(|file| file.step.is_some())
    }
}

/// Points kubelet at the hub. `mint` makes sure that the hub has made kubelet's certificate for the node of this name; it
/// is called again at every run that may change something. Errors name the file.
pub fn adopt<F: Fs>(
    machine: &Machine<'_, F>,
    hub: &Hub,
    mint: &dyn Fn(&str) -> Result<(), String>,
    dry: bool,
) -> Result<Report, String> {
    let backup = machine.at(Path::new(BACKUP));
    locked(machine.fs, &backup, dry, Report::changes, |dry| {
        let mut report = Report { backup: backup.clone(), ..Report::default() };
        let start = machine.start()?;
        match way(&start, &machine.layouts()) {
            Way::Cannot { why, by_hand } => {
                report.cannot = Some(why);
                report.by_hand.extend(by_hand);
            }
            Way::ByHand { from } => report.notes.push(format!(
                "{} points kubelet at the hub already, by hand: it is left as it is",
                from.display()
            )),
            Way::DropIn(original) => {
                match node(machine, &original) {
                    Ok(name) => {
                        report.files = there(machine, hub, &start)?;
                        if !dry {
                            mint(&name)?;
                            carry_out(machine, &backup, &report.files)?;
                        }
                    }
                    Err(why) => report.cannot = Some(why),
                };
            }
        }
        Ok(report)
    })
}

/// The name of the node as which kubelet comes without us.
fn node<F: Fs>(machine: &Machine<'_, F>, original: &Original) -> Result<String, String> {
    let path = machine.at(&original.kubeconfig).display().to_string();
    let Some((_, access)) = machine.kubeconfig(&original.kubeconfig)? else {
        return Err(format!(
            "{path} is not there: this node has joined no cluster yet; run this after `kubeadm join`"
        ));
    };
    let certificate = machine.certificate(&access).map_err(|why| {
        format!("{path}: {why}. The hub needs the node's certificate, to speak to the API server as the node")
    })?;
    match certificate.user.strip_prefix(NODE) {
        Some(node) if !node.is_empty() => Ok(node.to_owned()),
        _ => Err(format!("{path} comes as {}, which is no node ({NODE}…)", certificate.user)),
    }
}

/// The two files, the drop-in last.
fn there<F: Fs>(machine: &Machine<'_, F>, hub: &Hub, start: &Start) -> Result<Vec<FileChange>, String> {
    let conf = Path::new(KUBECONFIG);
    let found = match start {
        Start::Unit(setup) => setup.unit.drop_ins.get(DROP_IN_NAME),
        Start::Masked(_) | Start::Absent => None,
    };
    let elsewhere = found.filter(|file| file.path != Path::new(DROP_IN));
    let mut what = "hands it to kubelet, and has kubelet leave the node's certificate to the hub".to_owned();
    if let Some(file) = elsewhere {
        what += &format!("; it goes before {}", file.path.display());
    }
    let old = machine.read(Path::new(DROP_IN))?;
    Ok(vec![
        wanted(machine.at(conf), machine.read(conf)?, &hub.kubeconfig(), 0o600, "kubelet's way to the hub"),
        wanted(machine.at(Path::new(DROP_IN)), old, &drop_in().text, 0o644, &what),
    ])
}

/// Brings kubelet back to the API server, with the best certificate that is on the node.
pub fn revert<F: Fs>(machine: &Machine<'_, F>, hub: &Hub, dry: bool) -> Result<Report, String> {
    let backup = machine.at(Path::new(BACKUP));
    locked(machine.fs, &backup, dry, Report::changes, |dry| {
        let mut report = Report { backup: backup.clone(), ..Report::default() };
        let (manifest, readable) = match Manifest::load(machine.fs, &backup) {
            Ok(manifest) => (manifest, true),
            Err(why) => {
                report.notes.push(format!("{why}; going on without it"));
                (Manifest::default(), false)
            }
        };
        let finish = || if readable { tidy(machine, &backup) } else { Ok(()) };
        let ours = [DROP_IN, KUBECONFIG].map(|path| back(machine, Path::new(path), &manifest, &backup));
        let ours: Vec<FileChange> =
            ours.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        if ours.is_empty() {
            if !dry {
                finish()?;
            }
            return Ok(report);
        }
        let start = machine.start()?;
        let without = match &start {
            Start::Unit(setup) => setup.flags(DROP_IN_NAME, None),
            Start::Masked(_) | Start::Absent => None,
        };
        match without.as_ref().and_then(plan::original) {
            Some(original) if original.kubeconfig == Path::new(KUBECONFIG) => {
                let from = without.and_then(|flags| flags.value("kubeconfig")).map(|flag| flag.from);
                let from = from.unwrap_or_default();
                report.cannot = Some(format!("{} points kubelet at the hub, by hand", from.display()));
                report.by_hand.push(format!(
                    "name kubelet's own kubeconfig in {} again, then run this",
                    from.display()
                ));
                return Ok(report);
            }
            Some(original) => {
                let certificate = certificates::back(machine, hub, &original)?;
                report.files = certificate.files;
                report.notes.extend(certificate.notes);
                report.cannot = certificate.cannot;
            }
            None => report.notes.push("no unit starts a kubelet with a kubeconfig here".into()),
        }
        if report.cannot.is_none() {
            report.files.extend(ours);
            if !dry {
                apply(machine, &report.files)?;
                finish()?;
            }
        }
        Ok(report)
    })
}

/// What becomes of one of our two files; `None` if it is none of ours.
fn back<F: Fs>(
    machine: &Machine<'_, F>,
    node_path: &Path,
    manifest: &Manifest,
    backup: &Path,
) -> Result<Option<FileChange>, String> {
    let path = machine.at(node_path);
    let entry = manifest.entry(&path);
    let change =
        |verdict, text: &str, step| FileChange { path: path.clone(), verdict, text: text.into(), step };
    let Some(now) = machine.read(node_path)? else {
        return Ok(entry.map(|_| change(Verdict::Done, "is gone already", None)));
    };
    let copy = |name: &Option<String>| {
        name.as_ref().map(|name| Manifest::copy(machine.fs, backup, name)).transpose()
    };
    let kept = entry.map(|entry| Ok((copy(&entry.before)?, copy(&entry.after)?, entry.mode))).transpose();
    let kept =
        kept.map_err(|e: std::io::Error| format!("cannot read a copy in {}: {e}", backup.display()))?;
    let as_left = kept.as_ref().is_some_and(|(_, after, _)| after.as_ref() == Some(&now));
    if !as_left && !now.starts_with(MARK.as_bytes()) {
        let text = "is not ours any more: left as it is";
        let before = kept.is_some_and(|(before, _, _)| before.as_ref() == Some(&now));
        let text = if before { "is as it was before" } else { text };
        return Ok(entry.map(|_| change(Verdict::Done, text, None)));
    }
    let since = if as_left || kept.is_none() { "" } else { ", although it was changed since" };
    Ok(Some(match kept {
        Some((Some(before), _, mode)) => {
            let step = Step::Write { old: Some(now), new: before, mode };
            change(Verdict::Change, &format!("becomes what it was before{since}"), Some(step))
        }
        _ => change(Verdict::Change, &format!("goes{since}"), Some(Step::Remove { old: now })),
    }))
}

/// Copies, manifest, files: in this order.
fn carry_out<F: Fs>(machine: &Machine<'_, F>, backup: &Path, files: &[FileChange]) -> Result<(), String> {
    let kept = |e| format!("cannot keep a copy in {}: {e}; nothing was changed", backup.display());
    let mut manifest = Manifest::load(machine.fs, backup)?;
    let before = manifest.clone();
    let keep = |path: &Path, bytes: &[u8]| Manifest::keep(machine.fs, backup, path, bytes).map(Some);
    for file in files {
        let Some(Step::Write { old, new, mode }) = &file.step else { continue };
        // What we wrote ourselves is not what was there before us.
        let ours = |old: &Vec<u8>| old.starts_with(MARK.as_bytes());
        let note = || {
            let earlier = manifest.entry(&file.path);
            let (before, mode) = match (old, earlier) {
                (Some(old), _) if !ours(old) => {
                    (keep(&file.path, old)?, (machine.modes.0)(&file.path).unwrap_or(*mode))
                }
                (_, Some(earlier)) => (earlier.before.clone(), earlier.mode),
                _ => (None, *mode),
            };
            Ok(Entry { path: file.path.clone(), before, after: keep(&file.path, new)?, mode })
        };
        let entry = note().map_err(kept)?;
        manifest.set(entry);
    }
    if manifest != before {
        manifest.store(machine.fs, backup).map_err(kept)?;
    }
    apply(machine, files)?;
    sweep(machine.fs, &dirs(machine));
    manifest.sweep(machine.fs, backup).map_err(|e| format!("cannot tidy {}: {e}", backup.display()))
}

fn apply<F: Fs>(machine: &Machine<'_, F>, files: &[FileChange]) -> Result<(), String> {
    files.iter().try_for_each(|file| match &file.step {
        Some(step) => one(machine, &file.path, step),
        None => Ok(()),
    })
}

fn one<F: Fs>(machine: &Machine<'_, F>, path: &Path, step: &Step) -> Result<(), String> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let failed = |what: &str, e| {
        format!(
            "cannot {what} {}: {e}; what was changed before it stays, run this again to go on",
            path.display()
        )
    };
    create_dir_durably(machine.fs, dir, 0o755).map_err(|e| failed("make the directory of", e))?;
    match step {
        Step::Write { new, mode, .. } => change::write(machine.fs, path, new, *mode, machine.modes),
        Step::Secret(bytes) => change::write(machine.fs, path, bytes, 0o600, machine.modes),
        Step::Link(to) => (machine.link)(to, path).map_err(|e| failed("make the link", e)),
        Step::Remove { .. } => match machine.fs.remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", e)),
            _ => machine.fs.sync_dir(dir).map_err(|e| failed("remove", e)),
        },
    }
}

fn dirs<F: Fs>(machine: &Machine<'_, F>) -> Vec<PathBuf> {
    let parents = [KUBECONFIG, DROP_IN].into_iter().filter_map(|path| Path::new(path).parent());
    parents.chain([Path::new(BACKUP)]).map(|dir| machine.at(dir)).collect()
}

fn tidy<F: Fs>(machine: &Machine<'_, F>, backup: &Path) -> Result<(), String> {
    sweep(machine.fs, &dirs(machine));
    Manifest::remove(machine.fs, backup)
        .and_then(|()| Manifest::default().sweep(machine.fs, backup))
        .map_err(|e| format!("cannot tidy {}: {e}", backup.display()))
}

/// The change of one file as a unified diff, without keys and certificates; empty if there is none to show.
pub fn diff(file: &FileChange) -> String {
    let (old, new) = match &file.step {
        Some(Step::Write { old, new, .. }) => (old.as_deref(), Some(new.as_slice())),
        Some(Step::Remove { old }) => (Some(old.as_slice()), None),
        Some(Step::Secret(_) | Step::Link(_)) | None => return String::new(),
    };
    let text = change::diff(&file.path, old, new);
    let shown = |line: &str| match line.split_once("-data:") {
        Some((key, _)) => format!("{key}-data: (not shown)\n"),
        None => line.to_owned(),
    };
    text.split_inclusive('\n').map(shown).collect()
}
