//! `adopt cni` and `revert cni`: an operator puts the plugin on a node that has its CNI, keeps it up to date (`--refresh`),
//! and takes it away again.
//!
//! Read ([`disk`]), decide ([`rules`], [`plan`], [`undo`]: pure), keep a copy ([`crate::manifest`]), change. Invariants:
//!
//! - No configuration names a program that is not there: programs come first and go last.
//! - Nothing changes before a durable manifest says what it was. So a run that was interrupted anywhere is finished by
//!   the next, in either direction.
//! - A file that is not understood keeps every byte.

pub mod disk;
pub mod plan;
pub mod rules;
pub mod text;
pub mod undo;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use durable::fs::Fs;

use crate::change::{self, locked, sweep};
use crate::manifest::{self, Entry, Manifest};
use disk::{Disk, Places};
use plan::{ConfFile, Facts, Fate, FilePlan, Held, Plan, Program};
use rules::{As, OURS, STOCK, Verdict};
use undo::Kept;

/// What was done, or would be.
#[derive(Debug)]
pub struct Report {
    /// File by file.
    pub plan: Plan,
    /// What is not about one file.
    pub notes: Vec<String>,
    /// Where copies of what was changed are kept.
    pub backup: PathBuf,
}

impl Report {
    /// Whether all that should be done was done, or can be.
    pub fn complete(&self) -> bool {
        let stuck = |program: &Program| matches!(program.fate, Fate::Stuck(_));
        !self.has(Verdict::Cannot) && !self.plan.programs.iter().any(stuck)
    }

    /// Whether any place met this fate.
    pub fn has(&self, verdict: Verdict) -> bool {
        self.plan.files.iter().flat_map(|file| &file.findings).any(|finding| finding.verdict == verdict)
    }

    /// Whether there is anything to change.
    pub fn changes(&self) -> bool {
        let program =
            |program: &Program| matches!(program.fate, Fate::Put { .. } | Fate::Back(_) | Fate::Gone);
        self.plan.files.iter().any(|file| file.change.is_some()) || self.plan.programs.iter().any(program)
    }
}

/// The change of one file as a unified diff; empty if there is none.
pub fn diff(file: &FilePlan) -> String {
    let Some(change) = &file.change else { return String::new() };
    change::diff(&file.path, Some(&change.old), Some(&change.new))
}

/// Adopts the node's CNI. `state` are directories of bindings, looked at only to warn. Errors name the file.
pub fn adopt<F: Fs>(
    disk: &Disk<'_, F>,
    places: &Places,
    how: As,
    state: &[PathBuf],
    dry: bool,
) -> Result<Report, String> {
    locked(disk.fs, &places.backup, dry, Report::changes, |dry| {
        let manifest = Manifest::load(disk.fs, &places.backup)?;
        let plugin = disk.plugin(places)?;
        let facts = disk.facts(places, plugin.as_deref())?;
        if facts.layouts.iter().all(|layout| layout.files.is_empty()) {
            return Err(format!(
                "no CNI configuration in {}; name its directory with --conf-dir",
                places.conf_dirs()
            ));
        }
        let plan = plan::plan(&facts, how);
        let notes = warnings(disk, &plan, state);
        carry_out(disk, places, &plan, plugin.as_deref(), manifest, dry)?;
        Ok(Report { plan, notes, backup: places.backup.clone() })
    })
}

/// Brings every copy of our program that stands on the node to the version that would be installed now. Changes nothing
/// else, and nothing on a node that was not adopted.
pub fn refresh<F: Fs>(disk: &Disk<'_, F>, places: &Places, dry: bool) -> Result<Report, String> {
    locked(disk.fs, &places.backup, dry, Report::changes, |dry| {
        let manifest = Manifest::load(disk.fs, &places.backup)?;
        let plugin = disk.plugin(places)?;
        let facts = disk.facts(places, plugin.as_deref())?;
        let dirs = facts.layouts.iter().flat_map(|layout| &layout.bin_dirs);
        let named = dirs.flat_map(|dir| [dir.path.join(OURS), dir.path.join(STOCK)]);
        let noted =
            manifest.entries.iter().filter(|entry| entry.after.is_none()).map(|entry| entry.path.clone());
        let mut plan = Plan::default();
        for path in named.chain(noted).collect::<BTreeSet<_>>() {
            let over = disk.held(&path, plugin.as_deref())?;
            if over == (Held::Ours { current: false }) {
                plan.programs.push(Program { path, fate: Fate::Put { over } });
            }
        }
        carry_out(disk, places, &plan, plugin.as_deref(), manifest, dry)?;
        Ok(Report { plan, notes: Vec::new(), backup: places.backup.clone() })
    })
}

/// Takes the plugin out of the node's CNI again. With `purge` the program goes even if something saved still names it.
pub fn revert<F: Fs>(disk: &Disk<'_, F>, places: &Places, purge: bool, dry: bool) -> Result<Report, String> {
    locked(disk.fs, &places.backup, dry, Report::changes, |dry| {
        let mut notes = Vec::new();
        let (manifest, readable) = match Manifest::load(disk.fs, &places.backup) {
            Ok(manifest) => (manifest, true),
            Err(why) => {
                notes.push(format!("{why}; going on without it"));
                (Manifest::default(), false)
            }
        };
        let facts = disk.facts(places, None)?;
        let mut plan = Plan { files: files_back(disk, places, &facts, &manifest), ..Plan::default() };
        let named = plan.files.iter().any(|file| file.findings.iter().any(|f| f.verdict == Verdict::Cannot));
        let saved = if purge { Vec::new() } else { disk.saved(places) };
        plan.programs = programs_back(disk, places, &facts, &manifest, (named, &saved))?;
        if !dry {
            take_back(disk, places, &plan, &manifest)?;
            if readable {
                tidy(disk, places, &plan, manifest)
                    .map_err(|e| format!("cannot tidy {}: {e}", places.backup.display()))?;
            }
        }
        Ok(Report { plan, notes, backup: places.backup.clone() })
    })
}

fn warnings<F: Fs>(disk: &Disk<'_, F>, plan: &Plan, state: &[PathBuf]) -> Vec<String> {
    let leases = plan.data_dirs.iter().filter(|dir| (disk.volatile)(dir)).map(|dir| {
        format!(
            "{} is in memory: its lease files are gone after a reboot; the bindings are kept elsewhere",
            dir.display()
        )
    });
    let bindings = state.iter().filter(|dir| (disk.volatile)(dir)).map(|dir| {
        format!(
            "{} is in memory: no pod keeps its address over a reboot; set stateDir in /etc/edgekeep/ipam.json to a \
             directory on a disk",
            dir.display()
        )
    });
    let of_release = |program: &&Program| {
        let path = program.path.to_string_lossy();
        path.contains("/rancher/k3s/data/") && !path.contains("/rancher/k3s/data/cni/")
    };
    let releases = plan.programs.iter().filter(of_release).map(|program| {
        format!(
            "{} is in a directory of this release of k3s: run this again after an upgrade of k3s, before pods start",
            program.path.display()
        )
    });
    leases.chain(bindings).chain(releases).collect()
}

/// Copies, manifest, programs, configurations: in this order.
fn carry_out<F: Fs>(
    disk: &Disk<'_, F>,
    places: &Places,
    plan: &Plan,
    plugin: Option<&[u8]>,
    mut manifest: Manifest,
    dry: bool,
) -> Result<(), String> {
    let plugin = match plugin {
        Some(plugin) => plugin,
        None if plan.programs.is_empty() => &[],
        None => {
            let looked: Vec<String> = places.plugin.iter().map(|path| path.display().to_string()).collect();
            return Err(format!("no edgekeep-ipam in {}; name it with --plugin", looked.join(" or ")));
        }
    };
    if dry {
        return Ok(());
    }
    let kept = |e| format!("cannot keep a copy in {}: {e}; nothing was changed", places.backup.display());
    let before = manifest.clone();
    note(disk, places, plan, &mut manifest).map_err(kept)?;
    if manifest != before {
        manifest.store(disk.fs, &places.backup).map_err(kept)?;
    }
    for program in &plan.programs {
        write(disk, &program.path, plugin, 0o755)?;
    }
    write_files(disk, plan)?;
    sweep(disk.fs, &disk.dirs(places));
    manifest
        .sweep(disk.fs, &places.backup)
        .map_err(|e| format!("cannot tidy {}: {e}", places.backup.display()))
}

/// Notes in the manifest what is about to change, with copies of what it was.
fn note<F: Fs>(disk: &Disk<'_, F>, places: &Places, plan: &Plan, manifest: &mut Manifest) -> io::Result<()> {
    let keep = |path: &Path, bytes: &[u8]| Manifest::keep(disk.fs, &places.backup, path, bytes).map(Some);
    for file in &plan.files {
        let Some(change) = &file.change else { continue };
        manifest.set(Entry {
            path: file.path.clone(),
            before: keep(&file.path, &change.old)?,
            after: keep(&file.path, &change.new)?,
            mode: change.mode,
        });
    }
    for Program { path, fate } in &plan.programs {
        let entry = |before, mode| Entry { path: path.clone(), before, after: None, mode };
        match fate {
            Fate::Put { over: Held::Foreign } => {
                let bytes = durable::fs::read(disk.fs, path, manifest::PROGRAM_LIMIT)?;
                let mode = (disk.mode)(path)?;
                manifest.set(entry(keep(path, &bytes)?, mode));
            }
            Fate::Put { over: Held::Absent } => manifest.set(entry(None, 0o755)),
            _ => {}
        }
    }
    Ok(())
}

fn write_files<F: Fs>(disk: &Disk<'_, F>, plan: &Plan) -> Result<(), String> {
    plan.files.iter().try_for_each(|file| match &file.change {
        Some(change) => write(disk, &file.path, &change.new, change.mode),
        None => Ok(()),
    })
}

fn write<F: Fs>(disk: &Disk<'_, F>, path: &Path, bytes: &[u8], mode: u32) -> Result<(), String> {
    change::write(disk.fs, path, bytes, mode, (disk.mode, disk.chmod))
}

/// What becomes of every configuration that was adopted or names us.
fn files_back<F: Fs>(
    disk: &Disk<'_, F>,
    places: &Places,
    facts: &Facts,
    manifest: &Manifest,
) -> Vec<FilePlan> {
    let copy = |name: &Option<String>| Manifest::copy(disk.fs, &places.backup, name.as_deref()?).ok();
    let kept = |entry: &Entry| {
        Some(Kept { before: copy(&entry.before)?, after: copy(&entry.after)?, mode: entry.mode })
    };
    let found: Vec<&ConfFile> = facts.layouts.iter().flat_map(|layout| &layout.files).collect();
    let elsewhere: Vec<ConfFile> = manifest
        .entries
        .iter()
        .filter(|entry| entry.after.is_some() && !found.iter().any(|file| file.path == entry.path))
        .filter(|entry| disk.fs.metadata(&entry.path).is_ok())
        .map(|entry| ConfFile {
            path: entry.path.clone(),
            runtime: false,
            content: disk.conf(&entry.path),
            mode: entry.mode,
        })
        .collect();
    let back = |file: &ConfFile| undo::undo(file, manifest.entry(&file.path).and_then(kept).as_ref());
    found.into_iter().chain(&elsewhere).filter_map(back).collect()
}

/// What becomes of the programs. `needed`: whether a configuration goes on naming ours, and what saved files name it.
fn programs_back<F: Fs>(
    disk: &Disk<'_, F>,
    places: &Places,
    facts: &Facts,
    manifest: &Manifest,
    needed: (bool, &[PathBuf]),
) -> Result<Vec<Program>, String> {
    let mut programs = Vec::new();
    let mut own = BTreeSet::new();
    for entry in manifest.entries.iter().filter(|entry| entry.after.is_none()) {
        let fate = match (disk.held(&entry.path, None)?, &entry.before) {
            (Held::Ours { .. }, Some(before)) => match Manifest::copy(disk.fs, &places.backup, before) {
                Ok(_) => Fate::Back(before.clone()),
                Err(e) => Fate::Stuck(format!("its copy {before} cannot be read ({e}); {REINSTALL}")),
            },
            (Held::Ours { .. }, None) if entry.path.ends_with(STOCK) => Fate::Gone,
            (Held::Ours { .. }, None) => {
                own.insert(entry.path.clone());
                continue;
            }
            _ => continue,
        };
        programs.push(Program { path: entry.path.clone(), fate });
    }
    for dir in facts.layouts.iter().flat_map(|layout| &layout.bin_dirs) {
        let (stock, ours) = (dir.path.join(STOCK), dir.path.join(OURS));
        if matches!(dir.stock, Held::Ours { .. }) && manifest.entry(&stock).is_none() {
            let fate =
                Fate::Stuck(format!("it is edgekeep-ipam and no copy of host-local was kept; {REINSTALL}"));
            let program = Program { path: stock, fate };
            if !programs.contains(&program) {
                programs.push(program);
            }
        }
        if matches!(dir.own, Held::Ours { .. })
            && manifest.entry(&ours).is_none_or(|entry| entry.before.is_none())
        {
            own.insert(ours);
        }
    }
    let fate = match needed {
        (true, _) => Fate::Stuck("a configuration still names it".into()),
        (_, [first, rest @ ..]) => Fate::Stays(format!(
            "pods that were made with it still call it when they end ({}{}); run this again when they are gone, or remove the \
             file then. With --purge it goes at once, and those pods cannot end cleanly",
            first.display(),
            if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) }
        )),
        _ => Fate::Gone,
    };
    programs.extend(own.into_iter().map(|path| Program { path, fate: fate.clone() }));
    Ok(programs)
}

const REINSTALL: &str = "install the CNI plugins anew, which brings the stock host-local back";

/// Configurations first, programs after them.
fn take_back<F: Fs>(
    disk: &Disk<'_, F>,
    places: &Places,
    plan: &Plan,
    manifest: &Manifest,
) -> Result<(), String> {
    write_files(disk, plan)?;
    for Program { path, fate } in &plan.programs {
        match fate {
            Fate::Back(copy) => {
                let bytes = Manifest::copy(disk.fs, &places.backup, copy)
                    .map_err(|e| format!("cannot read the copy {copy} of {}: {e}", path.display()))?;
                let mode = manifest.entry(path).map_or(0o755, |entry| entry.mode);
                write(disk, path, &bytes, mode)?;
            }
            Fate::Gone => {
                let gone = disk
                    .fs
                    .remove_file(path)
                    .and_then(|()| path.parent().map_or(Ok(()), |dir| disk.fs.sync_dir(dir)));
                gone.map_err(|e| format!("cannot remove {}: {e}", path.display()))?;
            }
            Fate::Put { .. } | Fate::Stays(_) | Fate::Stuck(_) => {}
        }
    }
    sweep(disk.fs, &disk.dirs(places));
    Ok(())
}

/// Forgets what is done with: entries stay only for what a later run has to finish.
fn tidy<F: Fs>(disk: &Disk<'_, F>, places: &Places, plan: &Plan, mut manifest: Manifest) -> io::Result<()> {
    let open_file = |file: &FilePlan| file.findings.iter().any(|finding| finding.verdict == Verdict::Cannot);
    let open_program = |program: &Program| matches!(program.fate, Fate::Stays(_) | Fate::Stuck(_));
    let files = plan.files.iter().filter(|file| open_file(file)).map(|file| &file.path);
    let programs = plan.programs.iter().filter(|program| open_program(program)).map(|program| &program.path);
    let open: BTreeSet<&PathBuf> = files.chain(programs).collect();
    manifest.entries.retain(|entry| open.contains(&entry.path));
    if manifest.entries.is_empty() {
        Manifest::remove(disk.fs, &places.backup)?;
    } else {
        manifest.store(disk.fs, &places.backup)?;
    }
    manifest.sweep(disk.fs, &places.backup)
}
