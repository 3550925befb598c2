//! The control groups of one machine's pods: below one of the machine's own name in every hierarchy (v1) or in the one
//! (v2).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::sys::wait_until;

const ROOT: &str = "/sys/fs/cgroup";

/// Makes the groups named `name`.
///
/// # Errors
///
/// One cannot be made.
pub fn make(name: &str) -> Result<()> {
    for top in hierarchies() {
        let group = top.join(name);
        fs::create_dir(&group).with_context(|| format!("cannot make {}", group.display()))?;
        // A new group of this controller may use nothing, and groups below it then neither.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(all) = fs::read_to_string(top.join(file)) {
                fs::write(group.join(file), all).with_context(|| format!("cannot write {file}"))?;
            }
        }
        // In the one hierarchy, controllers must be handed down.
        for controller in
            fs::read_to_string(group.join("cgroup.controllers")).iter().flat_map(|all| all.split_whitespace())
        {
            fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"))
                .with_context(|| format!("cannot hand down {controller}"))?;
        }
    }
    Ok(())
}

/// Kills what still runs in the groups named `name` and removes them.
///
/// # Errors
///
/// A group stays busy for ten seconds.
pub fn remove(name: &str) -> Result<()> {
    let gone = wait_until(Duration::from_secs(10), || {
        let groups = tops(name);
        for group in &groups {
            empty(group);
        }
        groups.iter().all(|group| !group.exists())
    });
    if !gone {
        bail!("control groups {name} under {ROOT} stay busy; see cgroup.procs in them");
    }
    Ok(())
}

fn tops(name: &str) -> Vec<PathBuf> {
    hierarchies().into_iter().map(|top| top.join(name)).filter(|group| group.is_dir()).collect()
}

/// The root of each hierarchy; with v1 there is a mere directory above them.
fn hierarchies() -> Vec<PathBuf> {
    if Path::new(ROOT).join("cgroup.procs").exists() {
        return vec![PathBuf::from(ROOT)];
    }
    directories(Path::new(ROOT)).into_iter().filter(|top| top.join("cgroup.procs").exists()).collect()
}

/// One attempt: a group whose processes are still dying is left to the next.
fn empty(group: &Path) {
    for below in directories(group) {
        empty(&below);
    }
    for id in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
        if let Some(pid) = id.parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = fs::remove_dir(group);
}

fn directories(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}
