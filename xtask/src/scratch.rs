//! A directory of our own that is gone when we are done.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;

/// A fresh directory, removed with everything in it when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes a directory `<parent>/<name>-<pid>`; `parent` is made if it is missing.
    pub fn new(parent: &Path, name: &str) -> Result<Self> {
        let path = parent.join(format!("{name}-{}", std::process::id()));
        make_dir(parent)?;
        fs::create_dir(&path).map_err(|e| format!("cannot make the directory {}: {e}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.0) {
            eprintln!("xtask: cannot remove {}: {e}; remove it by hand", self.0.display());
        }
    }
}

/// Makes a directory and its parents.
pub fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| format!("cannot make the directory {}: {e}", path.display()))
}

/// Writes a whole file.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, content).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// Removes a directory with everything in it; one that is not there is fine.
pub fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {e}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a file.
pub fn remove_file(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|e| format!("cannot remove {}: {e}", path.display()))
}
