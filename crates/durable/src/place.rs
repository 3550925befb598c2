//! Directories and files that are still there after a power cut.

use std::io;
use std::path::{Path, PathBuf};

use crate::fs::{File, Fs, Open};

/// Makes `dir` and its missing parents, and flushes the entry of each that was missing. Costs one look when it is
/// there already: whoever made it may then have died before the flush, which is why a journal flushes the way to its
/// directory once more when it is new.
pub fn create_dir_durably<F: Fs>(fs: &F, dir: &Path, mode: u32) -> io::Result<()> {
    if fs.metadata(dir).is_ok_and(|meta| meta.dir) {
        return Ok(());
    }
    let parents: Vec<&Path> = dir.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
    let there = parents.iter().position(|path| fs.metadata(path).is_ok_and(|meta| meta.dir));
    fs.create_dir_all(dir, mode)?;
    for parent in parents.iter().take(there.map_or(parents.len(), |at| at + 1)) {
        fs.sync_dir(parent)?;
    }
    Ok(())
}

/// Flushes the entries of `dir` and, when `first`, of all directories above it: whoever made them may have died before
/// it flushed the entries that lead there.
pub(crate) fn flush_way_to<F: Fs>(fs: &F, dir: &Path, first: bool) -> Result<(), (PathBuf, io::Error)> {
    let above = dir.ancestors().skip(1).filter(|path| first && !path.as_os_str().is_empty());
    for (above, path) in std::iter::once(dir).chain(above).enumerate() {
        match fs.sync_dir(path) {
            // A directory that we may not even read is not one that we have made an entry in.
            Err(e) if above > 0 && e.kind() == io::ErrorKind::PermissionDenied => {}
            other => other.map_err(|source| (path.to_path_buf(), source))?,
        }
    }
    Ok(())
}

/// Ends the names of files that [`replace_file`] has not finished.
pub const UNFINISHED: &str = ".edgekeep-new";

/// Makes `path` a file with this content, whatever stands there: a reader, and a power cut, meet the old file or the new
/// one, never part of it, and a program that runs from the old file goes on. `mode` is before umask. What an earlier call
/// left unfinished is swept away; it is hidden and keeps none of the usual endings, so that nobody loads it.
pub fn replace_file<F: Fs>(fs: &F, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let new: PathBuf = dir.join(format!(".{}{UNFINISHED}", name.to_string_lossy()));
    match fs.remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let write = || {
        let file = fs.open(&new, Open::CreateNew(mode))?;
        file.write_at(bytes, 0)?;
        file.sync_data()
    };
    let written = write().and_then(|()| fs.rename(&new, path));
    if written.is_err() {
        // The error that matters is the first one; the next call sweeps what this one cannot.
        let _ = fs.remove_file(&new);
    }
    written.and_then(|()| fs.sync_dir(dir))
}

/// Whether what is kept in `dir` is lost at every reboot because its file system is in memory.
pub fn is_volatile(dir: &Path) -> bool {
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return false };
    let Some(mount) = mount_of(&mounts, dir) else { return false };
    // An overlay, as on a read-only root, keeps what is written in its upper directory.
    let upper = mount.options.split(',').find_map(|option| option.strip_prefix("upperdir="));
    let below = upper.filter(|_| mount.kind == "overlay").and_then(|dir| mount_of(&mounts, Path::new(dir)));
    matches!(below.unwrap_or(mount).kind, "tmpfs" | "ramfs")
}

/// What mountinfo says of a file system: its type and its own options.
struct Mount<'a> {
    kind: &'a str,
    options: &'a str,
}

/// The file system that a path is on, by its device number.
fn mount_of<'a>(mounts: &'a str, path: &Path) -> Option<Mount<'a>> {
    use std::os::unix::fs::MetadataExt;
    let device = std::fs::metadata(path).ok()?.dev();
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    let device = format!("{major}:{minor}");
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&device))?;
    let mut rest = line.split(" - ").nth(1)?.split(' ');
    Some(Mount { kind: rest.next()?, options: rest.nth(1).unwrap_or_default() })
}
