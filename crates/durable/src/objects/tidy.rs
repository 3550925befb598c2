//! Keeping the log small: the oldest segment's live records are written anew at the end, then it is removed.
//!
//! Because it is always the oldest one, a deletion in it has nothing left to delete and can be forgotten, and every
//! record is read and checked once in each round through the log. A round copies what is live while at least twice as
//! much is written, so copying adds at most half of what is written.

use super::frame::{self, Contents, DOUBTFUL, Kind, SEALED};
use super::log::{Draft, Extent, Leaving, Log, Stage};
use super::segment;
use super::{Error, Trouble};
use crate::fs::Fs;

/// The log may be this many times as large as what is live in it, and two segments.
const FACTOR: u64 = 3;
/// More segments than their bytes need, by this many, are tidied away: power cuts leave small ones.
const SPARE_SEGMENTS: u64 = 16;
/// So many bytes of copies are written with one call.
const COPY: usize = 64 * 1024;

/// A segment that is being emptied.
pub(super) struct Drain {
    number: u32,
    contents: Contents,
    /// Up to where its entries are done.
    place: usize,
}

/// A record on its way from one segment to another.
struct Copy {
    kind: Kind,
    flags: u8,
    born: Option<u64>,
    key: Vec<u8>,
    value: Vec<u8>,
    seal: bool,
}

impl<F: Fs> Log<F> {
    /// Does a part of the work that keeps the log small: reads and copies about `budget` bytes. `true`: more is to be
    /// done. A caller that gives twice the bytes it appends after each batch keeps the log within its bounds.
    ///
    /// # Errors
    /// Nothing is lost by one; the next call goes on where this one stopped.
    pub fn tidy(&mut self, budget: usize) -> Result<bool, Error> {
        if self.leaving.iter().any(|one| one.stage == Stage::Safe) {
            self.write(&[], 0)?;
        }
        let Some(mut drain) = self.drain.take().map_or_else(|| self.next_drain(), |drain| Ok(Some(drain)))?
        else {
            return Ok(false);
        };
        match self.drain_some(&mut drain, budget) {
            Ok(true) => {
                self.leaving.push(Leaving { number: drain.number, stage: Stage::Copied });
                Ok(self.oldest().is_some_and(|(number, _)| self.is_due(number)))
            }
            Ok(false) => {
                self.drain = Some(drain);
                Ok(true)
            }
            Err(error) => {
                self.drain = Some(drain);
                Err(error)
            }
        }
    }

    /// Lets [`Log::tidy`] write everything anew that stands in the log now: so that all of it is checked once, or sealed
    /// with a new key.
    ///
    /// # Errors
    /// As [`Log::flush`].
    pub fn rewrite(&mut self) -> Result<(), Error> {
        self.next_segment()?;
        self.rewrite_through = self.newest.map_or(0, |newest| newest.number.saturating_sub(1));
        Ok(())
    }

    /// Reads and checks every record that is live. What is damaged is told, and by the log remembered as lost.
    ///
    /// # Errors
    /// When the disk does not answer.
    pub fn verify(&mut self) -> Result<Vec<Trouble>, Error> {
        let mut troubles = Vec::new();
        let extents: Vec<(u32, Extent)> =
            self.extents.iter().map(|(number, extent)| (*number, *extent)).collect();
        for (number, extent) in extents {
            let contents = self.load(number, extent)?.contents;
            for item in contents.iter() {
                let id = self.shared.id(item.key);
                let live = self.shared.read().index.get(id).filter(|entry| entry.is_at(number, item.offset));
                let Some(entry) = live.filter(|entry| !entry.is_lost()) else { continue };
                if self.read_live(number, item.offset, item.len(), item.key)?.is_none() {
                    self.shared.write().index.put(id, entry.lost());
                    let key = item.key.to_vec();
                    troubles.push(Trouble::Lost { key, segment: number, offset: item.offset });
                }
            }
        }
        Ok(troubles)
    }

    /// The oldest segment that still has something only it has, unless it is the newest of all.
    fn oldest(&self) -> Option<(u32, Extent)> {
        let left = self.leaving.last().map_or(0, |one| one.number);
        let newest = self.newest.map_or(0, |newest| newest.number);
        let (number, extent) = self.extents.range(left.saturating_add(1)..).next()?;
        (*number < newest).then_some((*number, *extent))
    }

    fn is_due(&self, oldest: u32) -> bool {
        let (mut total, mut count) = (0, 0);
        for extent in self.extents.range(oldest..).map(|(_, extent)| extent) {
            (total, count) = (total + u64::from(extent.end), count + 1);
        }
        let segment = u64::from(self.settings.segment);
        let live = self.shared.read().index.live();
        oldest <= self.rewrite_through
            || total > live * FACTOR + segment * 2
            || count > total / segment * 2 + SPARE_SEGMENTS
    }

    fn next_drain(&mut self) -> Result<Option<Drain>, Error> {
        let Some((number, extent)) = self.oldest().filter(|(number, _)| self.is_due(*number)) else {
            return Ok(None);
        };
        let loaded = self.load(number, extent)?;
        if !loaded.gaps.is_empty() || loaded.seen < extent.end {
            self.extents.entry(number).and_modify(|extent| extent.flawed = true);
        }
        Ok(Some(Drain { number, contents: loaded.contents, place: 0 }))
    }

    /// Copies records until the budget is spent; whether the segment is empty now.
    fn drain_some(&mut self, drain: &mut Drain, budget: usize) -> Result<bool, Error> {
        let (mut copies, mut bytes, mut spent, mut place) = (Vec::new(), 0, 0, drain.place);
        while let Some((item, next)) = drain.contents.at(place) {
            place = next;
            spent += 64;
            let entry = self.shared.read().index.get(self.shared.id(item.key));
            if let Some(entry) = entry.filter(|entry| entry.is_at(drain.number, item.offset)) {
                let doubt = if entry.is_doubtful() { DOUBTFUL } else { 0 };
                let copy = self.copy(drain.number, &item, doubt)?;
                bytes += copy.key.len() + copy.value.len();
                spent += copy.value.len();
                copies.push(copy);
            }
            if bytes >= COPY {
                self.write_copies(&copies)?;
                (drain.place, bytes) = (place, 0);
                copies.clear();
            }
            if spent >= budget {
                break;
            }
        }
        self.write_copies(&copies)?;
        drain.place = place;
        Ok(drain.contents.at(place).is_none())
    }

    /// The record as it is to be written anew.
    fn copy(&mut self, number: u32, item: &frame::Item<'_>, doubt: u8) -> Result<Copy, Error> {
        let key = item.key.to_vec();
        let found = match item.kind {
            Kind::Put => self.read_live(number, item.offset, item.len(), item.key)?,
            _ => None,
        };
        let Some((flags, born, value)) = found else {
            if item.kind == Kind::Put {
                self.extents.entry(number).and_modify(|extent| extent.flawed = true);
            }
            return Ok(Copy {
                kind: Kind::Lost,
                flags: doubt,
                born: None,
                key,
                value: Vec::new(),
                seal: false,
            });
        };
        let old_key = flags & SEALED != 0
            && self.settings.cipher.as_ref().is_some_and(|cipher| !cipher.is_current(&value));
        if old_key && let Ok(value) = self.shared.unseal(&key, born, &value) {
            let flags = flags & !SEALED | doubt;
            return Ok(Copy { kind: Kind::Put, flags, born: None, key, value, seal: true });
        }
        // What cannot be opened is kept as it is: a lost key may be found again.
        Ok(Copy { kind: Kind::Put, flags: flags | doubt, born: Some(born), key, value, seal: false })
    }

    /// Flags, birth and stored value of a live record; `None` if it is damaged.
    fn read_live(
        &self,
        number: u32,
        offset: u32,
        len: u32,
        key: &[u8],
    ) -> Result<Option<(u8, u64, Vec<u8>)>, Error> {
        let segment = self.shared.read().segments.get(&number).cloned();
        let Some(segment) = segment else { return Ok(None) };
        let bytes = segment::read(&segment.file, offset, len)
            .map_err(|source| self.shared.failed("read", number, source))?;
        let record = frame::parse(&bytes, Some(self.shared.salt)).filter(|record| record.key == key);
        Ok(record.map(|record| (record.flags, record.born, record.value.to_vec())))
    }

    fn write_copies(&mut self, copies: &[Copy]) -> Result<(), Error> {
        if copies.is_empty() {
            return Ok(());
        }
        let drafts: Vec<Draft<'_>> = copies
            .iter()
            .map(|copy| Draft {
                kind: copy.kind,
                flags: copy.flags,
                born: copy.born,
                key: &copy.key,
                value: &copy.value,
                seal: copy.seal,
            })
            .collect();
        let len = copies.iter().map(|copy| frame::frame_len(copy.key.len(), size_of_value(&copy.value)));
        let len = len.fold(0, u32::saturating_add);
        self.write(&drafts, len)
    }
}

/// Length of a stored value, and what sealing it may add.
fn size_of_value(value: &[u8]) -> u32 {
    u32::try_from(value.len() + 64).unwrap_or(u32::MAX)
}
