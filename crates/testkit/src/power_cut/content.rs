//! The content of one file: what programs see, what the disk has, and the changes in between.
//!
//! Invariant: `disk` changes only by [`Content::flush`], [`Content::cut`] and [`Content::flip`]; applying every change
//! to it gives `seen`, except for what a failed flush forgot.

use std::collections::BTreeMap;
use std::mem;

use crate::rng::Rng;

/// What a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;

type Sector = [u8; SECTOR];

/// What becomes of changes that nobody flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// None reached the disk.
    Nothing,
    /// All did.
    Everything,
    /// Each has its own luck.
    Mixed,
}

impl Fate {
    /// Mixed mostly; the two extremes are drawn on their own because with many sectors chance alone never gives them.
    pub(super) fn draw(rng: &mut Rng) -> Self {
        match rng.below(8) {
            0 => Self::Nothing,
            1 => Self::Everything,
            _ => Self::Mixed,
        }
    }

    /// The fate of one part of something that has this fate.
    pub(super) fn part(self, rng: &mut Rng) -> Self {
        if self == Self::Mixed { Self::draw(rng) } else { self }
    }

    /// How many of `count` steps, taken in order, reached the disk.
    fn steps(self, count: usize, rng: &mut Rng) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Everything => count,
            Self::Mixed => rng.index(count + 1),
        }
    }
}

/// One call that changed the file: the sectors it touched as they were after it, and the size after it.
#[derive(Debug, Clone)]
struct Change {
    sectors: Vec<(usize, Sector)>,
    len: usize,
    cut: Option<usize>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    seen: Vec<u8>,
    disk: Vec<u8>,
    pending: Vec<Change>,
    /// End of the space that writes have claimed; a file grown by `set_len` alone has none.
    claimed: usize,
}

impl Content {
    pub(super) fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// Whether there is something to flush.
    pub(super) fn dirty(&self) -> bool {
        !self.pending.is_empty()
    }

    /// How many of `len` bytes at `offset` can be written without new space.
    pub(super) fn room(&self, offset: usize, len: usize) -> usize {
        self.claimed.saturating_sub(offset).min(len)
    }

    /// Writes at least one byte. `tracked` is false where no disk stands behind.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8], tracked: bool) {
        let end = offset + bytes.len();
        if end > self.seen.len() {
            self.seen.resize(end, 0);
        }
        self.seen[offset..end].copy_from_slice(bytes);
        self.claimed = self.claimed.max(end);
        if tracked {
            let sectors = (offset / SECTOR..end.div_ceil(SECTOR)).map(|at| (at, self.sector(at))).collect();
            self.pending.push(Change { sectors, len: self.seen.len(), cut: None });
        }
    }

    pub(super) fn set_len(&mut self, len: usize, tracked: bool) {
        let cut = (len < self.seen.len()).then_some(len);
        if len == self.seen.len() {
            return;
        }
        self.seen.resize(len, 0);
        self.claimed = self.claimed.min(len);
        if tracked {
            self.pending.push(Change { sectors: Vec::new(), len, cut });
        }
    }

    /// Brings every change to the disk.
    pub(super) fn flush(&mut self) {
        // No chance is involved when everything arrives.
        self.arrive(Fate::Everything, &mut Rng::new(0));
    }

    /// What Linux does when writing back fails: the pages stay as they are and count as clean, so that nothing will
    /// bring them to the disk any more unless they are written again.
    pub(super) fn fail_flush(&mut self) {
        self.pending.clear();
    }

    /// Brings to the disk what this fate lets arrive; from now on programs see what the disk has.
    pub(super) fn cut(&mut self, fate: Fate, rng: &mut Rng) {
        self.arrive(fate, rng);
        self.seen.clone_from(&self.disk);
        self.claimed = self.disk.len();
    }

    /// Turns one bit over, everywhere this byte stands; false when the file is shorter.
    pub(super) fn flip(&mut self, offset: usize, bit: u8) -> bool {
        let mask = 1 << (bit % 8);
        let Some(byte) = self.seen.get_mut(offset) else { return false };
        *byte ^= mask;
        if let Some(byte) = self.disk.get_mut(offset) {
            *byte ^= mask;
        }
        for (at, sector) in self.pending.iter_mut().flat_map(|change| &mut change.sectors) {
            if *at == offset / SECTOR {
                sector[offset % SECTOR] ^= mask;
            }
        }
        true
    }

    fn sector(&self, at: usize) -> Sector {
        let mut sector = [0; SECTOR];
        let part = &self.seen[at * SECTOR..self.seen.len().min((at + 1) * SECTOR)];
        sector[..part.len()].copy_from_slice(part);
        sector
    }

    /// Sizes arrive in the order in which they were set (they are journaled); of each sector any version may be the
    /// one that arrived, but none that a truncation which arrived had cut off.
    fn arrive(&mut self, fate: Fate, rng: &mut Rng) {
        let changes = mem::take(&mut self.pending);
        let (len, sized) = self.arrived_len(&changes, fate, rng);
        let mut versions: BTreeMap<usize, Vec<Sector>> = BTreeMap::new();
        for (i, change) in changes.into_iter().enumerate() {
            for (at, sector) in change.sectors {
                versions.entry(at).or_default().push(sector);
            }
            if let Some(cut) = change.cut.filter(|_| i < sized) {
                self.disk.truncate(cut);
                cut_versions(&mut versions, cut);
            }
        }
        self.disk.resize(len, 0);
        for (at, versions) in versions {
            let arrived = fate.steps(versions.len(), rng);
            if arrived > 0 && at * SECTOR < len {
                let end = len.min((at + 1) * SECTOR);
                self.disk[at * SECTOR..end].copy_from_slice(&versions[arrived - 1][..end - at * SECTOR]);
            }
        }
    }

    /// The size on the disk, and how many of the changes have their size there.
    fn arrived_len(&self, changes: &[Change], fate: Fate, rng: &mut Rng) -> (usize, usize) {
        let mut lens = vec![(self.disk.len(), 0)];
        for (i, change) in changes.iter().enumerate() {
            if lens.last().is_none_or(|(len, _)| *len != change.len) {
                lens.push((change.len, i + 1));
            }
        }
        lens[fate.steps(lens.len() - 1, rng)]
    }
}

fn cut_versions(versions: &mut BTreeMap<usize, Vec<Sector>>, len: usize) {
    versions.split_off(&len.div_ceil(SECTOR));
    for sector in versions.get_mut(&(len / SECTOR)).into_iter().flatten() {
        sector[len % SECTOR..].fill(0);
    }
}
