//! The errors that a program sees: those of Linux by number, and death.

use std::error::Error;
use std::{fmt, io};

pub(super) const ENOENT: i32 = 2;
pub(super) const EIO: i32 = 5;
pub(super) const EBADF: i32 = 9;
pub(super) const EEXIST: i32 = 17;
pub(super) const EXDEV: i32 = 18;
pub(super) const ENOTDIR: i32 = 20;
pub(super) const EISDIR: i32 = 21;
pub(super) const EINVAL: i32 = 22;
pub(super) const EFBIG: i32 = 27;
pub(super) const ENOSPC: i32 = 28;
pub(super) const EROFS: i32 = 30;
pub(super) const ENAMETOOLONG: i32 = 36;
pub(super) const ENOTEMPTY: i32 = 39;

/// The error that the kernel reports under this number.
pub(super) fn errno<T>(number: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(number))
}

#[derive(Debug)]
struct Death(&'static str);

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Death {}

/// What every call of a process that has died returns.
pub(super) fn death() -> io::Error {
    io::Error::other(Death("this simulated process is dead; start another with process()"))
}

/// What every call on a file returns that was opened before the last boot.
pub(super) fn stale() -> io::Error {
    io::Error::other(Death("this file was opened before the last simulated boot; open it again"))
}

/// Whether the error means that the simulated process did not live to see an answer: no real kernel returns it, and a
/// program under test must not be judged by what it does afterwards. Finds it below errors that were wrapped around it.
pub fn is_death(error: &io::Error) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.is::<Death>() {
            return true;
        }
        // An `io::Error` names as its source the source of what it wraps, not what it wraps.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
    }
    false
}
