//! Where the newest record of each key is.
//!
//! Keys are not kept: an entry is 28 bytes whatever the key, found by 128 bits of a keyed hash. Two keys that share all
//! of them are not to be expected in the life of the universe, and nobody who does not know the secret can look for a
//! pair; every read compares the key that stands on the disk all the same.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

/// What a key is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id([u32; 4]);

impl Id {
    pub(super) fn of(secret: u64, key: &[u8]) -> Id {
        let half = |which: u64| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(secret);
            hasher.write_u64(which);
            hasher.write(key);
            hasher.finish()
        };
        let parts = |half: u64| [half >> 32, half & 0xffff_ffff].map(|part| u32::try_from(part).unwrap_or(0));
        let ([a, b], [c, d]) = (parts(half(1)), parts(half(2)));
        Id([a, b, c, d])
    }
}

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub segment: u32,
    pub offset: u32,
    packed: u32,
}

/// The length of a frame has at most this many bits; the ones above hold what is known of the record.
const LEN_BITS: u32 = 24;
const LOST: u32 = 1 << 24;
const DOUBTFUL: u32 = 1 << 25;

impl Entry {
    pub(super) fn new(segment: u32, offset: u32, len: u32) -> Entry {
        Entry { segment, offset, packed: len & ((1 << LEN_BITS) - 1) }
    }

    /// The same, of a record that cannot be read.
    pub(super) fn lost(self) -> Entry {
        Entry { packed: self.packed | LOST, ..self }
    }

    /// The same, of a record that may be out of date.
    pub(super) fn doubtful(self) -> Entry {
        Entry { packed: self.packed | DOUBTFUL, ..self }
    }

    /// Length of the frame.
    pub(super) fn len(self) -> u32 {
        self.packed & ((1 << LEN_BITS) - 1)
    }

    pub(super) fn is_lost(self) -> bool {
        self.packed & LOST != 0
    }

    pub(super) fn is_doubtful(self) -> bool {
        self.packed & DOUBTFUL != 0
    }

    /// Whether it stands for the record at this place.
    pub(super) fn is_at(self, segment: u32, offset: u32) -> bool {
        self.segment == segment && self.offset == offset
    }
}

/// Where the newest record of each key is, and how many bytes they have together.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: BTreeMap<Id, Entry>,
    live: u64,
    lost: usize,
}

impl Index {
    pub(super) fn get(&self, id: Id) -> Option<Entry> {
        self.entries.get(&id).copied()
    }

    pub(super) fn put(&mut self, id: Id, entry: Entry) {
        self.live += u64::from(entry.len());
        self.lost += usize::from(entry.is_lost());
        if let Some(old) = self.entries.insert(id, entry) {
            self.left(old);
        }
    }

    pub(super) fn remove(&mut self, id: Id) {
        if let Some(old) = self.entries.remove(&id) {
            self.left(old);
        }
    }

    fn left(&mut self, old: Entry) {
        self.live -= u64::from(old.len());
        self.lost -= usize::from(old.is_lost());
    }

    /// Forgets what stands in segments up to this one.
    pub(super) fn forget_through(&mut self, segment: u32) {
        let gone: Vec<Entry> = self
            .entries
            .extract_if(.., |_, entry| entry.segment <= segment)
            .map(|(_, entry)| entry)
            .collect();
        gone.into_iter().for_each(|entry| self.left(entry));
    }

    /// Everything before this place counts as doubtful.
    pub(super) fn doubt_before(&mut self, segment: u32, offset: u32) {
        for entry in self.entries.values_mut().filter(|one| (one.segment, one.offset) < (segment, offset)) {
            *entry = entry.doubtful();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of the newest records, frames included.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// How many cannot be read.
    pub(super) fn lost(&self) -> usize {
        self.lost
    }
}
