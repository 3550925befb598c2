//! `edgekeep adopt cni` and `edgekeep revert cni`: what was found, what is changed, what remains to be done by hand.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cni::retain::{Keys, Policy};
use durable::os::OsFs;
use lease::machine::Dirs;
use node::adopt::Report;
use node::adopt::disk::{Disk, Places};
use node::adopt::plan::{Fate, FilePlan, Held, Program};
use node::adopt::rules::{As, Verdict};
use serde_json::{Value, json};

use super::{diff, tell as tell_as, word};
use crate::args::{AdoptAs, AdoptCni, CniPlaces, RevertCni};
use crate::{Failure, variable};

pub fn adopt(what: &AdoptCni) -> Result<ExitCode, Failure> {
    let mut places = places(&what.cni);
    if let Some(plugin) = &what.plugin {
        places.plugin = vec![plugin.clone()];
    } else if let Ok(here) = std::env::current_exe() {
        places.plugin.push(here.with_file_name("edgekeep-ipam"));
    }
    let disk = Disk::machine();
    let dry = what.cni.dry_run;
    if what.refresh {
        let report = node::adopt::refresh(&disk, &places, dry)?;
        return tell(&report, &what.cni, report.complete());
    }
    let how = match what.how {
        AdoptAs::Auto => As::Auto,
        AdoptAs::EdgekeepIpam => As::OwnName,
        AdoptAs::HostLocal => As::StockName,
    };
    let mut report = node::adopt::adopt(&disk, &places, how, &state_dirs(&what.cni.root)?, dry)?;
    if !dry {
        take_over(&mut report, &what.cni.root)?;
    }
    let any = report.has(Verdict::Change) || report.has(Verdict::Done);
    if !any {
        report.notes.push(
            "nothing here takes its addresses from host-local: no pod of this node keeps its address".into(),
        );
    }
    tell(&report, &what.cni, any && report.complete())
}

pub fn revert(what: &RevertCni) -> Result<ExitCode, Failure> {
    let report = node::adopt::revert(&Disk::machine(), &places(&what.cni), what.purge, what.cni.dry_run)?;
    tell(&report, &what.cni, report.complete())
}

fn places(cni: &CniPlaces) -> Places {
    let mut places = Places::usual(&cni.root).instead(&cni.conf_dir, &cni.bin_dir);
    if let Some(dir) = &cni.backup_dir {
        places.backup.clone_from(dir);
    }
    places
}

/// Where the plugin keeps its bindings on this machine; of another root nothing is known.
fn state_dirs(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    if root != Path::new("/") {
        return Ok(Vec::new());
    }
    let node = lease::machine::node_file(&OsFs, variable).map_err(|e| e.msg)?;
    Ok(vec![Dirs::resolve(variable, &node).state])
}

/// Takes the leases over that stand in the adopted networks' directories. At the next call of the plugin it would be too
/// late for a pod that is the first to stop, and through stock host-local: whose its address was would not be known.
fn take_over(report: &mut Report, root: &Path) -> Result<(), Failure> {
    let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let node = lease::machine::node_file(&OsFs, variable).map_err(|e| e.msg)?;
    let mut dirs = Dirs::resolve(variable, &node);
    for dir in [&mut dirs.state, &mut dirs.run, &mut dirs.cni_cache] {
        *dir = below(dir);
    }
    let now = lease::machine::now(&OsFs, variable).map_err(|e| e.to_string())?;
    let adopted = report.plan.files.iter().filter(|file| {
        let has = |wanted| file.findings.iter().any(|finding| finding.verdict == wanted);
        (has(Verdict::Change) || has(Verdict::Done)) && !has(Verdict::Cannot)
    });
    let networks: BTreeSet<&String> = adopted.filter_map(|file| file.network.as_ref()).collect();
    let policy = Policy::resolve(&Keys::default(), &node.keys);
    let mut notes = Vec::new();
    for data_dir in &report.plan.data_dirs {
        for network in &networks {
            let places = dirs.places(&below(data_dir), network);
            if !places.data.is_dir() {
                continue;
            }
            match lease::take_over(&OsFs, &places, &now, &policy) {
                Ok(said) => notes.extend(said),
                Err(e) => notes
                    .push(format!("the leases in {} were not taken over yet: {e}", places.data.display())),
            }
        }
    }
    report.notes.append(&mut notes);
    Ok(())
}

fn tell(report: &Report, cni: &CniPlaces, complete: bool) -> Result<ExitCode, Failure> {
    let dry = cni.dry_run;
    tell_as(cni.output, || text(report, dry), || document(report, dry, complete), complete)
}

fn text(report: &Report, dry: bool) -> String {
    let mut advised = BTreeSet::new();
    let mut out: String = report.plan.files.iter().map(|one| file(one, &mut advised)).collect();
    for program in &report.plan.programs {
        let (does, why) = fate(program);
        out += &format!("{}\n  {does:<7} {why}\n", program.path.display());
    }
    for note in &report.notes {
        out += &format!("\nnote: {note}\n");
    }
    let end = match (report.changes(), dry) {
        (false, _) => "Nothing to change.".to_owned(),
        (true, true) => "Nothing was changed: this was a dry run.".to_owned(),
        (true, false) if report.complete() => "Done.".to_owned(),
        (true, false) => "Done, but for what says `cannot`.".to_owned(),
    };
    format!("{out}\n{end}\n")
}

/// One configuration; advice that was given before is not repeated.
fn file<'a>(file: &'a FilePlan, advised: &mut BTreeSet<&'a str>) -> String {
    let about: Vec<String> = [
        file.network.as_ref().map(|network| format!("network {network}")),
        file.runtime.then(|| "the first in its directory, which is the one that a runtime uses".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let about = if about.is_empty() { String::new() } else { format!(" ({})", about.join("; ")) };
    let mut out = format!("{}{about}\n", file.path.display());
    for finding in &file.findings {
        let place = if finding.place.is_empty() { String::new() } else { format!("{}: ", finding.place) };
        out += &format!("  {:<7} {place}{}\n", word(finding.verdict), finding.text);
    }
    out += &diff(&node::adopt::diff(file));
    for advice in file.advice.iter().filter(|advice| advised.insert(advice)) {
        out += &format!("  to do   {advice}\n");
    }
    out
}

/// What becomes of a program: in one word, and why.
fn fate(program: &Program) -> (&'static str, String) {
    match &program.fate {
        Fate::Put { over: Held::Absent } => ("install", "edgekeep-ipam is put there".into()),
        Fate::Put { over: Held::Ours { .. } } => {
            ("update", "edgekeep-ipam of another version stands there".into())
        }
        Fate::Put { over: Held::Foreign } => {
            ("replace", "edgekeep-ipam is put in its place, a copy is kept".into())
        }
        Fate::Back(_) => ("restore", "what stood there before comes back".into()),
        Fate::Gone => ("remove", "edgekeep-ipam is not needed any more".into()),
        Fate::Stays(why) => ("keep", why.clone()),
        Fate::Stuck(why) => ("cannot", why.clone()),
    }
}

fn document(report: &Report, dry: bool, complete: bool) -> Value {
    let files = report.plan.files.iter().map(|file| {
        json!({
            "path": file.path.display().to_string(),
            "runtime": file.runtime,
            "network": file.network,
            "findings": file.findings.iter().map(|finding| json!({
                "place": finding.place, "verdict": word(finding.verdict), "text": finding.text,
            })).collect::<Vec<_>>(),
            "toDo": file.advice,
            "diff": node::adopt::diff(file),
        })
    });
    let programs = report.plan.programs.iter().map(|program| {
        let (does, why) = fate(program);
        json!({ "path": program.path.display().to_string(), "action": does, "why": why })
    });
    json!({
        "dryRun": dry,
        "complete": complete,
        "changes": report.changes(),
        "files": files.collect::<Vec<_>>(),
        "programs": programs.collect::<Vec<_>>(),
        "notes": report.notes,
        "backup": report.backup.display().to_string(),
    })
}
