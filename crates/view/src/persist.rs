//! "Persist, then answer": what was handed out to be written, how far that has come, and what waits for it.

use crate::policy::Log;

/// A record for a log. What the log stores is opaque to it; `record.rs` has the forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The key has this value from now on.
    Put {
        /// Key in the log.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
        /// Whether the value is to be sealed.
        seal: bool,
    },
    /// The key has no value any more.
    Delete {
        /// Key in the log.
        key: Vec<u8>,
    },
}

/// Records to be written together, in this order, after all writes with a lower number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// To which log.
    pub log: Log,
    /// Counts the writes to this log, from 1.
    pub number: u64,
    /// The records.
    pub records: Vec<Record>,
    /// Whether something waits for a flush that covers them. Without it they are flushed with others, at most 2 s later.
    pub flush: bool,
}

/// How far the two logs have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    handed_out: [u64; 2],
    written: [u64; 2],
    flushed: [u64; 2],
}

/// A state of the two logs that something waits for. The default waits for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Barrier {
    written: [u64; 2],
    flushed: [u64; 2],
}

fn of(log: Log, pair: &mut [u64; 2]) -> &mut u64 {
    let [keep, cache] = pair;
    match log {
        Log::Keep => keep,
        Log::Cache => cache,
    }
}

impl Progress {
    /// The number of the next write to a log, which is then handed out.
    pub(crate) fn hand_out(&mut self, log: Log) -> u64 {
        let number = of(log, &mut self.handed_out);
        *number += 1;
        *number
    }

    /// All writes to a log up to this one are with the kernel, or were given up because the disk takes nothing.
    pub(crate) fn written(&mut self, log: Log, number: u64) {
        let place = of(log, &mut self.written);
        *place = number.max(*place);
    }

    /// All writes to a log up to this one survive a power cut.
    pub(crate) fn flushed(&mut self, log: Log, number: u64) {
        self.written(log, number);
        let place = of(log, &mut self.flushed);
        *place = number.max(*place);
    }

    pub(crate) fn is_written(&self, log: Log, number: u64) -> bool {
        number <= *of(log, &mut self.written.clone())
    }
}

impl Barrier {
    /// Waits for a write to be with the kernel, or to survive a power cut.
    pub(crate) fn after(log: Log, number: u64, flush: bool) -> Barrier {
        let mut barrier = Barrier::default();
        *of(log, if flush { &mut barrier.flushed } else { &mut barrier.written }) = number;
        barrier
    }

    /// Waits for the other too.
    pub(crate) fn merge(&mut self, other: Barrier) {
        let pairs = self.written.iter_mut().chain(&mut self.flushed);
        for (own, other) in pairs.zip(other.written.iter().chain(&other.flushed)) {
            *own = (*own).max(*other);
        }
    }

    /// Whether there is nothing to wait for any more.
    pub fn has_passed(&self, progress: &Progress) -> bool {
        let reached = |wanted: &[u64; 2], have: &[u64; 2]| wanted.iter().zip(have).all(|(a, b)| a <= b);
        reached(&self.written, &progress.written) && reached(&self.flushed, &progress.flushed)
    }
}
