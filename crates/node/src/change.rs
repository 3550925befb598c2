//! Changing files that belong to somebody else: one run at a time, each file as a whole, and seen before it is done.

mod unified;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durable::fs::{File, Fs, Open};
use durable::place::{UNFINISHED, create_dir_durably, replace_file};

/// How long to wait for another run.
const WAIT: Duration = Duration::from_secs(10);

/// What becomes of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is changed.
    Change,
    /// It is as it should be already.
    Done,
    /// There is nothing to do with it.
    Leave,
    /// It should be changed and cannot be.
    Cannot,
}

/// Reads the permissions of a file, and sets them.
pub type Modes = (fn(&Path) -> io::Result<u32>, fn(&Path, u32) -> io::Result<()>);

/// Looks first, and again under the lock in `backup` that keeps two runs apart before anything changes; `run` is told
/// whether only to look. Where there is nothing to do and nothing to tidy up, not even a lock is made.
pub fn locked<F: Fs, R>(
    fs: &F,
    backup: &Path,
    dry: bool,
    changes: impl Fn(&R) -> bool,
    run: impl Fn(bool) -> Result<R, String>,
) -> Result<R, String> {
    let report = run(true)?;
    let untouched = fs.metadata(backup).is_err();
    if dry || untouched && !changes(&report) {
        return Ok(report);
    }
    let path = backup.join("lock");
    let take = || {
        // What is above it is shared with the bindings, which anybody may look at.
        create_dir_durably(fs, backup.parent().unwrap_or(backup), 0o755)?;
        create_dir_durably(fs, backup, 0o700)?;
        let file = fs.open(&path, Open::Create(0o600))?;
        file.lock(WAIT)?;
        Ok(file)
    };
    let _lock = take().map_err(|e: io::Error| match e.kind() {
        io::ErrorKind::TimedOut => format!("another run holds {}; try again when it is done", path.display()),
        io::ErrorKind::PermissionDenied => format!("cannot open {}: {e}; run this as root", path.display()),
        _ => format!("cannot open {}: {e}", path.display()),
    })?;
    run(false)
}

/// Makes `path` a file with this content and these permissions. Errors name the file.
pub fn write<F: Fs>(fs: &F, path: &Path, bytes: &[u8], mode: u32, modes: Modes) -> Result<(), String> {
    let (read, set) = modes;
    let done = replace_file(fs, path, bytes, mode).and_then(|()| match read(path)? {
        same if same == mode => Ok(()),
        _ => set(path, mode),
    });
    done.map_err(|e| {
        format!(
            "cannot write {}: {e}; what was changed before it stays, run this again to go on",
            path.display()
        )
    })
}

/// Removes what an interrupted run left half written in these directories.
pub fn sweep<F: Fs>(fs: &F, dirs: &[PathBuf]) {
    for dir in dirs {
        let mut stale = Vec::new();
        // What cannot be listed or removed does no harm: nobody loads it, and the next run meets it again.
        let _ = fs.read_dir(dir, &mut |name| {
            if name.starts_with('.') && name.ends_with(UNFINISHED) {
                stale.push(dir.join(name));
            }
            Ok(())
        });
        for path in stale {
            let _ = fs.remove_file(&path);
        }
    }
}

/// The change of one file as a unified diff; what is not there is like an empty file.
pub fn diff(path: &Path, old: Option<&[u8]>, new: Option<&[u8]>) -> String {
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let name = |bytes: Option<&[u8]>| bytes.map_or("/dev/null".into(), |_| path.display().to_string());
    let (from, to) = (text(old), text(new));
    unified::unified(&from, &to, (&name(old), &name(new)))
}
