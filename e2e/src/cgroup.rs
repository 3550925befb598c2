//! The control groups of one run's pods: found by the run's own name in every hierarchy (v1) or in the one (v2).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::sys::wait_until;

const ROOT: &str = "/sys/fs/cgroup";

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
    let mut places = vec![PathBuf::from(ROOT)];
    places.extend(directories(Path::new(ROOT)));
    places.into_iter().map(|place| place.join(name)).filter(|group| group.is_dir()).collect()
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
