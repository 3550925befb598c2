//! What one run owns on this machine: a directory in the cache, network namespaces and a control group, all under one
//! name. The directory's lock says whether the run still lives; what a killed run left is removed by the next.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{cgroup, netns};

/// The directory and the name of this run; both end with it.
pub struct RunDir {
    /// The directory, on disk: what lies here outlives a reboot of the node.
    pub path: PathBuf,
    /// Name of the node's network namespace and of the parent of all control groups; other machines' namespaces have
    /// this name, a hyphen and a word of their own.
    pub name: String,
    // Held as long as the process lives, however it ends.
    _lock: File,
}

impl RunDir {
    /// Makes a directory for this process under `cache`, after removing what runs that were killed left there.
    ///
    /// # Errors
    ///
    /// The cache cannot be written. Leftovers that resist are reported on stderr only.
    pub fn create(cache: &Path) -> Result<Self> {
        let runs = cache.join("e2e/runs");
        fs::create_dir_all(&runs).with_context(|| format!("cannot make {}", runs.display()))?;
        // Between a directory and its lock lies a moment in which it would look abandoned.
        let gate = lock_file(&cache.join("e2e/runs.lock"))?;
        gate.lock().context("cannot lock the list of runs")?;
        remove_leftovers(&runs);

        let id = std::process::id().to_string();
        let path = runs.join(&id);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let lock = lock_file(&path.join("lock"))?;
        lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Self { path, name: name_of(&id), _lock: lock })
    }

    /// A directory below this one, made if need be.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn sub(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Where a cloud lives, if this run has one. The node is kept from seeing it: the cluster's keys are there.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn cloud(&self) -> Result<PathBuf> {
        self.sub("cloud")
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path, &self.name) {
            eprintln!("edgekeep-e2e: not everything is cleaned up: {error:#}");
        }
    }
}

fn name_of(id: &str) -> String {
    format!("edgekeep-e2e-{id}")
}

fn lock_file(path: &Path) -> Result<File> {
    let made = File::options().read(true).write(true).create(true).truncate(false).open(path);
    made.with_context(|| format!("cannot open {}", path.display()))
}

/// A run whose lock is free has no process: the kernel killed its node together with it.
fn remove_leftovers(runs: &Path) {
    let Ok(entries) = fs::read_dir(runs) else { return };
    for entry in entries.flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        let free = lock_file(&entry.path().join("lock")).is_ok_and(|lock| lock.try_lock().is_ok());
        if free {
            eprintln!("edgekeep-e2e: removing what the killed run {id} left");
            if let Err(error) = remove(&entry.path(), &name_of(&id)) {
                eprintln!("edgekeep-e2e: run {id} is not wholly removed: {error:#}");
            }
        }
    }
}

fn remove(path: &Path, name: &str) -> Result<()> {
    let groups = cgroup::remove(name).and(cgroup::remove(&format!("{name}-cloud")));
    let network = netns::delete_all(name);
    fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))?;
    groups.and(network)
}
