//! A disk that remembers every write and flush, in their order.

use std::sync::{Mutex, PoisonError};

/// What reached the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Bytes were written.
    Write {
        /// Where, in bytes from the disk's beginning.
        at: usize,
        /// What.
        data: Box<[u8]>,
        /// Whether they were durable when the write was answered (FUA).
        through: bool,
    },
    /// Everything written before became durable.
    Flush,
}

/// The disk. Shared between who serves it and who watches it.
#[derive(Debug)]
pub struct Disk {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    content: Vec<u8>,
    log: Vec<Entry>,
    requests: u64,
}

impl Disk {
    /// A disk with this content and an empty log.
    pub fn new(content: Vec<u8>) -> Self {
        Self { state: Mutex::new(State { content, log: Vec::new(), requests: 0 }) }
    }

    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.with(|state| state.content.len())
    }

    /// How many entries the log has. What somebody hears now depends on none that come after.
    pub fn position(&self) -> usize {
        self.with(|state| state.log.len())
    }

    /// How often it was asked for something.
    pub fn requests(&self) -> u64 {
        self.with(|state| state.requests)
    }

    /// The bytes from `at` on; `None` beyond the disk's end.
    pub fn read(&self, at: usize, length: usize) -> Option<Vec<u8>> {
        self.with(|state| {
            state.requests += 1;
            state.content.get(at..at.checked_add(length)?).map(<[u8]>::to_vec)
        })
    }

    /// Writes. Says whether it fits the disk; if not, nothing is written.
    pub fn write(&self, at: usize, data: Box<[u8]>, through: bool) -> bool {
        self.with(|state| {
            state.requests += 1;
            let end = at.checked_add(data.len());
            let Some(place) = end.and_then(|end| state.content.get_mut(at..end)) else { return false };
            place.copy_from_slice(&data);
            state.log.push(Entry::Write { at, data, through });
            true
        })
    }

    /// Makes everything so far durable.
    pub fn flush(&self) {
        self.with(|state| state.log.push(Entry::Flush));
    }

    /// The log up to now; it begins anew.
    pub fn take_log(&self) -> Vec<Entry> {
        self.with(|state| std::mem::take(&mut state.log))
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
