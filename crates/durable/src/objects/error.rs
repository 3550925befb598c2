//! What can go wrong, and what was found damaged, in words for an operator.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::{CipherError, VERSION};

/// Why something was not done.
#[derive(Debug)]
pub enum Error {
    /// A system call failed.
    Io {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log was written by a newer release.
    Newer {
        /// The segment that says so.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The newest record of this key is damaged. It was not deleted: what it said is not known.
    Unreadable {
        /// The key.
        key: Vec<u8>,
        /// The segment.
        path: PathBuf,
        /// Where its frame begins.
        offset: u32,
    },
    /// The record is there and cannot be sealed or opened.
    Sealed {
        /// The key of the record.
        key: Vec<u8>,
        /// Why.
        source: CipherError,
    },
    /// What stands under the key of a counter is no number.
    NoNumber {
        /// The key.
        key: Vec<u8>,
    },
    /// A key or a value that no log takes.
    TooLarge {
        /// Which of them.
        what: &'static str,
        /// The key of the record.
        key: Vec<u8>,
        /// Its length in bytes.
        len: usize,
        /// The most that is taken.
        limit: usize,
    },
}

impl Error {
    pub(super) fn too_large(what: &'static str, key: &[u8], len: usize, limit: usize) -> Error {
        Error::TooLarge { what, key: key.to_vec(), len, limit }
    }

    /// Whether the disk, or the quota, is full: nothing is broken, and it goes on when space returns.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Error::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }
}

/// A key as a reader can read it.
pub(super) fn shown(key: &[u8]) -> String {
    let shown: String = String::from_utf8_lossy(key).escape_debug().take(200).collect();
    format!("\"{shown}\"")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { path, .. } if self.is_full() => write!(
                f,
                "no space to write {}: nothing more is stored until there is; what is stored can be read",
                path.display()
            ),
            Error::Io { what, path, source } if source.kind() == io::ErrorKind::TimedOut => write!(
                f,
                "cannot {what} {0}: another process has it; end that one first (`fuser -v {0}/lock` names it)",
                path.display()
            ),
            Error::Io { what, path, source } => write!(f, "cannot {what} {}: {source}", path.display()),
            Error::Newer { path, version } => write!(
                f,
                "{} has format {version}, written by a newer edgekeep; this one knows up to {VERSION}: \
                 install the newer release again, or move the directory away to start without what is in it",
                path.display()
            ),
            Error::Unreadable { key, path, offset } => write!(
                f,
                "the record of {} at byte {offset} of {} is damaged: its content is lost, it was not deleted",
                shown(key),
                path.display()
            ),
            Error::Sealed { key, source } => write!(f, "the sealed record of {}: {source}", shown(key)),
            Error::NoNumber { key } => {
                write!(f, "the record of {} is no number; numbers already given are not known", shown(key))
            }
            Error::TooLarge { what, key, len, limit } => {
                write!(f, "a {what} of {len} bytes, of {}, is more than can be stored ({limit})", shown(key))
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            Error::Sealed { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Damage that was met. Nothing of it was taken for a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The newest record of this key cannot be read.
    Lost {
        /// The key.
        key: Vec<u8>,
        /// Number of the segment.
        segment: u32,
        /// Where its frame begins.
        offset: u32,
    },
    /// Bytes that had been flushed hold no record any more, and nothing tells of which key it was. Every record before
    /// it counts as doubtful: one may have been replaced or deleted by what is lost.
    Damaged {
        /// Number of the segment.
        segment: u32,
        /// Where the bytes begin.
        offset: u32,
        /// How many.
        len: u32,
    },
    /// Bytes that nobody was told to be flushed hold no whole record: writes that a power cut, or the death of the
    /// process, cut off. What was there before them stands.
    Torn {
        /// The key, where it can be read.
        key: Option<Vec<u8>>,
        /// Number of the segment.
        segment: u32,
        /// Where the bytes begin.
        offset: u32,
        /// How many.
        len: u32,
    },
    /// A whole segment is missing. Every older record counts as doubtful.
    Missing {
        /// Its number.
        segment: u32,
    },
    /// The header of a segment is damaged. Its records are read all the same.
    Header {
        /// Its number.
        segment: u32,
    },
    /// A segment of another log. It is left where it is.
    Foreign {
        /// Its number.
        segment: u32,
    },
}

impl Trouble {
    /// The segment it was met in.
    pub(super) fn segment(&self) -> u32 {
        match self {
            Trouble::Lost { segment, .. }
            | Trouble::Damaged { segment, .. }
            | Trouble::Torn { segment, .. }
            | Trouble::Missing { segment }
            | Trouble::Header { segment }
            | Trouble::Foreign { segment } => *segment,
        }
    }

    /// Whether something that was flushed is lost.
    pub fn is_loss(&self) -> bool {
        matches!(self, Trouble::Lost { .. } | Trouble::Damaged { .. } | Trouble::Missing { .. })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Lost { key, segment, offset } => {
                write!(f, "the record of {} is damaged (segment {segment}, byte {offset})", shown(key))
            }
            Trouble::Damaged { segment, offset, len } => write!(
                f,
                "{len} bytes of segment {segment} from byte {offset} are damaged, of which key nothing tells; \
                 older records may be out of date"
            ),
            Trouble::Torn { key: Some(key), segment, offset, .. } => {
                write!(f, "a write of {} was cut off (segment {segment}, byte {offset})", shown(key))
            }
            Trouble::Torn { key: None, segment, offset, len } => {
                write!(f, "writes were cut off: {len} bytes of segment {segment} from byte {offset}")
            }
            Trouble::Missing { segment } => {
                write!(f, "segment {segment} is missing; older records may be out of date")
            }
            Trouble::Header { segment } => {
                write!(f, "the header of segment {segment} is damaged; its records are read all the same")
            }
            Trouble::Foreign { segment } => {
                write!(f, "segment {segment} belongs to another log and is not read")
            }
        }
    }
}
