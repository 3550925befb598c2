//! Network namespaces by name, and work done inside one.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::sys::run;

/// Where the namespace `name` is to be found.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(name)
}

/// Makes the namespace `name`.
///
/// # Errors
///
/// It exists already, or `ip` may not make it.
pub fn add(name: &str) -> Result<()> {
    run(&["ip", "netns", "add", name]).map(drop)
}

/// Takes the name away; the namespace ends with its last process. A name that is not there is success.
///
/// # Errors
///
/// `ip` could not remove it.
pub fn delete(name: &str) -> Result<()> {
    if !path(name).exists() {
        return Ok(());
    }
    run(&["ip", "netns", "delete", name]).map(drop)
}

/// Takes away the name `name` and every one made of it, a hyphen and more.
///
/// # Errors
///
/// `ip` could not remove one.
pub fn delete_all(name: &str) -> Result<()> {
    let derived = format!("{name}-");
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let found = entry.file_name().to_string_lossy().into_owned();
        if found == name || found.starts_with(&derived) {
            delete(&found)?;
        }
    }
    Ok(())
}

/// Does `work` on a thread of its own that has moved into the namespace at `place`.
///
/// # Errors
///
/// The namespace cannot be entered, or the thread ended without a result.
pub async fn inside<T: Send + 'static>(place: &Path, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let name = place.display();
    let file = File::open(place).with_context(|| format!("cannot open network namespace {name}"))?;
    let (send, receive) = tokio::sync::oneshot::channel();
    // A thread that has moved must never do anything else afterwards: no pool.
    std::thread::spawn(move || {
        let moved = move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network));
        let _ = send.send(moved.map(|()| work()));
    });
    receive
        .await
        .map_err(|_| anyhow!("work inside network namespace {name} broke off"))?
        .with_context(|| format!("cannot enter network namespace {name}"))
}
