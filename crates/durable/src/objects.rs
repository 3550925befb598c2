//! A log of objects: keyed records on disk, each with its own checksum, found through a small index in memory.
//!
//! Invariants (`docs/formats/object-log.md` has the bytes and the argument):
//! - a record is written once, behind all others, and stands for itself: damage costs the records it hits and no other;
//! - a record that was lost is told as lost, by its key where anything still names it; it never looks like a deletion;
//! - the oldest segment is the one that is emptied, so a deletion is forgotten only when nothing older is left that it
//!   could have deleted;
//! - what a flush has covered stays; after a failed flush everything since the last good one is written anew, to another
//!   file.
//!
//! [`Log`] is the core: it does what it is told, in the caller's thread, and knows no clock. [`writer::Writer`] gives it
//! a thread. [`Reader`]s read beside it.

mod all;
mod batch;
mod cipher;
mod engine;
mod error;
mod frame;
mod index;
mod log;
mod open;
mod reader;
mod segment;
mod tidy;

pub mod numbers;
pub mod rounds;
pub mod writer;

use std::sync::Arc;
use std::time::Duration;

pub use batch::Batch;
pub use cipher::{Cipher, CipherError};
pub use engine::{Engine, Lookup};
pub use error::{Error, Trouble};
pub use log::{Log, Usage};
pub use open::Opened;
pub use reader::{Found, Reader};

/// Longest key in bytes.
pub const MAX_KEY: usize = 1024;
/// Longest value in bytes: five times what the API server takes in one request.
pub const MAX_VALUE: usize = 8 * 1024 * 1024 - 2048;
/// Version of the format; a log with a segment of a higher one is left alone.
pub const VERSION: u32 = 1;

/// What a log is opened with.
#[derive(Clone)]
pub struct Settings {
    /// From how many bytes on a segment is closed and another begun.
    pub segment: u32,
    /// How many bytes of zeros are written ahead of the records, so that a flush need not flush a new size too; 0 for
    /// none. Worth it where single records are flushed.
    pub room: u32,
    /// How long to wait for another process that still has the log, at most.
    pub wait: Duration,
    /// A random number: the name of a new log, and the secret by which keys are hashed in memory.
    pub entropy: u64,
    /// Seals the values that are to be sealed. Without one they can be neither written nor read.
    pub cipher: Option<Arc<dyn Cipher>>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("segment", &self.segment)
            .field("room", &self.room)
            .field("wait", &self.wait)
            .field("cipher", &self.cipher.is_some())
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// For few records that matter, many of them flushed one by one.
    pub fn keep(entropy: u64) -> Settings {
        let wait = Duration::from_secs(10);
        Settings { segment: 1024 * 1024, room: 64 * 1024, wait, entropy, cipher: None }
    }

    /// For many records that are flushed together.
    pub fn cache(entropy: u64) -> Settings {
        Settings { segment: 4 * 1024 * 1024, room: 0, ..Settings::keep(entropy) }
    }
}
