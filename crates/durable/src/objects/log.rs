//! The log, open for writing: appending, flushing, and going on in another file when one is full or has failed.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::batch::{Batch, Change};
use super::cipher::context;
use super::frame::{self, DOUBTFUL, HEADER, Header, Kind, Record, SEALED};
use super::index::{Entry, Id};
use super::reader::{Reader, Shared};
use super::segment::{self, Expected, Segment};
use super::tidy::Drain;
use super::{CipherError, Error, Found, Settings};
use crate::fs::{File, Fs, Open};
use crate::place::flush_way_to;
use crate::window::zero_fill;

/// Beyond so many bytes that no flush has covered, the next write flushes first: this is what is kept in memory so that
/// it can be written anew when a flush fails.
pub(super) const MAX_PENDING: usize = 1024 * 1024;

/// A log, open for writing. It has the directory to itself until it is dropped.
pub struct Log<F: Fs> {
    pub(super) fs: F,
    pub(super) settings: Settings,
    pub(super) shared: Arc<Shared<F>>,
    /// The number of the last record.
    pub(super) seq: u64,
    pub(super) active: Option<Active<F::File>>,
    /// The newest segment and up to where it counts, for the header of its successor; `None` before the first.
    pub(super) newest: Option<Newest>,
    /// The number of the next segment.
    pub(super) next_number: u32,
    /// The frames that no flush has covered.
    pub(super) pending: Vec<u8>,
    pub(super) extents: BTreeMap<u32, Extent>,
    /// Segments whose records all stand elsewhere too, oldest first.
    pub(super) leaving: Vec<Leaving>,
    pub(super) drain: Option<Drain>,
    /// Segments up to this one are to be emptied, whatever their use.
    pub(super) rewrite_through: u32,
    pub(super) mark_due: bool,
    /// Whether a failed write was taken back since the last flush.
    pub(super) undone: bool,
    pub(super) flushes: u64,
    pub(super) _lock: F::File,
}

/// The segment that is written.
pub(super) struct Active<T> {
    pub segment: Arc<Segment<T>>,
    /// Behind the last record.
    pub end: u32,
    /// Up to where a flush has covered it.
    pub flushed: u32,
    /// Size of the file, zeros ahead included.
    pub size: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Newest {
    pub number: u32,
    /// Up to where its records count; what is behind that stands in `pending`.
    pub end: u32,
}

/// What must be known of a segment to read it again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// Behind its last record.
    pub end: u32,
    /// No record in it has this number or a lower one.
    pub after_seq: u64,
    /// Whether bytes of it are damaged: it is kept aside when it leaves.
    pub flawed: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    pub number: u32,
    pub stage: Stage,
}

/// How far the leave of a segment has come. Each flush that succeeds brings it further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its live records are written elsewhere.
    Copied,
    /// They are durable there.
    Safe,
    /// A record says that the segment has left.
    Noted,
}

/// A record to be written; the log numbers it.
pub(super) struct Draft<'a> {
    pub kind: Kind,
    pub flags: u8,
    /// The number it was born with, for a copy.
    pub born: Option<u64>,
    pub key: &'a [u8],
    pub value: &'a [u8],
    /// Whether the value is still to be sealed.
    pub seal: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn new(kind: Kind, key: &'a [u8]) -> Draft<'a> {
        Draft { kind, flags: 0, born: None, key, value: &[], seal: false }
    }
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Keys that have a value.
    pub records: usize,
    /// Those of them whose value is known to be damaged.
    pub lost: usize,
    /// Bytes of the newest record of each key, frames included.
    pub live: u64,
    /// Bytes of all segments.
    pub total: u64,
    /// Files.
    pub segments: usize,
    /// Bytes that no flush has covered.
    pub unflushed: usize,
    /// Flushes of a file since the log was opened.
    pub flushes: u64,
}

impl<F: Fs> Log<F> {
    /// Reads beside this log.
    pub fn reader(&self) -> Reader<F> {
        Reader(Arc::clone(&self.shared))
    }

    /// As [`Reader::get`].
    ///
    /// # Errors
    /// As there.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.reader().get(key)
    }

    /// Calls `each` with every key that has a value, in no order, without reading values.
    pub fn keys(&self, mut each: impl FnMut(Found<'_>)) -> Result<(), Error> {
        for (number, extent) in &self.extents {
            let contents = self.load(*number, *extent)?.contents;
            for item in contents.iter() {
                let entry = self.shared.read().index.get(self.shared.id(item.key));
                if let Some(entry) = entry.filter(|entry| entry.is_at(*number, item.offset)) {
                    let (lost, doubtful) = (entry.is_lost(), entry.is_doubtful());
                    each(Found { key: item.key, len: item.value_len, lost, doubtful });
                }
            }
        }
        Ok(())
    }

    /// How much there is.
    pub fn usage(&self) -> Usage {
        let state = self.shared.read();
        Usage {
            records: state.index.len(),
            lost: state.index.lost(),
            live: state.index.live(),
            total: self.extents.values().map(|extent| u64::from(extent.end)).sum(),
            segments: self.extents.len(),
            unflushed: self.pending.len(),
            flushes: self.flushes,
        }
    }

    pub(super) fn load(&self, number: u32, extent: Extent) -> Result<segment::Loaded, Error> {
        let segment = self.shared.read().segments.get(&number).cloned();
        let Some(segment) = segment else { return Ok(segment::Loaded::default()) };
        let salt = Some(self.shared.salt);
        let expected = Expected { number, salt, after_seq: extent.after_seq, bound: Some(extent.end) };
        segment::load(&segment.file, expected).map_err(|source| self.shared.failed("read", number, source))
    }

    /// Writes the changes, in order, with one call. When it returns they are with the kernel: every reader sees them,
    /// and the death of the process does not undo them.
    ///
    /// # Errors
    /// Then no reader sees any of them. After a full disk the log goes on where it was once there is space. Until the next
    /// flush a power cut can still bring one of them to light.
    pub fn append(&mut self, batch: &Batch) -> Result<(), Error> {
        batch.check()?;
        let mut drafts = Vec::with_capacity(batch.len());
        for change in &batch.changes {
            match change {
                Change::Put { key, value, seal } => {
                    let draft = Draft::new(Kind::Put, key);
                    drafts.push(Draft { value: (**value).as_ref(), seal: *seal, ..draft });
                }
                Change::Delete { key } => drafts.push(Draft::new(Kind::Delete, key)),
            }
        }
        let len = batch.changes.iter().map(Change::frame_len).fold(0, u32::saturating_add);
        self.write(&drafts, len)
    }

    /// Makes everything appended so far durable. Costs nothing when it is.
    ///
    /// # Errors
    /// Then it is not known to be. It stays in memory, and the next call tries again, with another file.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() && !self.undone {
            self.go_further();
            return Ok(());
        }
        let Some(active) = &self.active else { return self.begin_segment() };
        self.flushes += 1;
        match active.segment.file.sync_data() {
            Ok(()) => {
                self.flushed();
                Ok(())
            }
            // What the kernel could not write it may count as written from now on: no later flush of this file proves
            // anything. The records are written to another one.
            Err(_) => {
                self.leave_active();
                self.begin_segment()
            }
        }
    }

    /// Flushes, and says in the log that it did, so that damage behind this point can be told from unfinished writes.
    ///
    /// # Errors
    /// As [`Log::flush`].
    pub fn close(mut self) -> Result<(), Error> {
        self.flush()?;
        if self.mark_due { self.write(&[], 0) } else { Ok(()) }
    }

    /// Writes records; `len` is what their frames take at most.
    pub(super) fn write(&mut self, drafts: &[Draft<'_>], len: u32) -> Result<(), Error> {
        self.make_way(len)?;
        let Some(active) = &self.active else { return Ok(()) };
        let (start, number) = (active.end, active.segment.number);
        let mut frames = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
        let noted = self.write_notes(&mut frames)?;
        let mut places = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let offset = start + segment::offset(frames.len() as u64);
            places.push((offset, self.encode(&mut frames, draft)?));
        }
        if frames.is_empty() {
            return Ok(());
        }
        let Some(active) = &mut self.active else { return Ok(()) };
        if let Err(source) = active.segment.file.write_at(&frames, u64::from(start)) {
            self.undo(frames.len());
            return Err(self.shared.failed("write", number, source));
        }
        active.end = start + segment::offset(frames.len() as u64);
        active.size = active.size.max(u64::from(active.end));
        let end = active.end;
        self.extents.entry(number).and_modify(|extent| extent.end = end);
        self.pending.append(&mut frames);
        (self.mark_due, self.leaving) = (false, noted);
        self.enter(number, drafts, &places);
        self.write_ahead();
        Ok(())
    }

    /// What the log has to say for itself before the next record, and the segments that have left by it.
    fn write_notes(&mut self, frames: &mut Vec<u8>) -> Result<Vec<Leaving>, Error> {
        if self.mark_due {
            self.encode(frames, &Draft::new(Kind::Mark, &[]))?;
        }
        let mut leaving = self.leaving.clone();
        for one in leaving.iter_mut().filter(|one| one.stage == Stage::Safe) {
            self.encode(frames, &Draft::new(Kind::Drained, &one.number.to_le_bytes()))?;
            one.stage = Stage::Noted;
        }
        Ok(leaving)
    }

    fn encode(&mut self, frames: &mut Vec<u8>, draft: &Draft<'_>) -> Result<u32, Error> {
        // A number is never given twice, not even after a failure: what a failed write has left behind has a lower
        // one than what comes to stand before it.
        self.seq += 1;
        let born = draft.born.unwrap_or(self.seq);
        let (mut flags, mut sealed) = (draft.flags, Vec::new());
        if draft.seal {
            flags |= SEALED;
            sealed = match &self.settings.cipher {
                Some(cipher) => cipher.seal(&context(self.shared.salt, born, draft.key), draft.value),
                None => Err(CipherError("there is no key to seal it with".to_owned())),
            }
            .map_err(|source| Error::Sealed { key: draft.key.to_vec(), source })?;
        }
        let value = if draft.seal { &sealed[..] } else { draft.value };
        let record = Record { kind: draft.kind, flags, seq: self.seq, born, key: draft.key, value };
        frame::encode(frames, self.shared.salt, &record)
            .ok_or_else(|| Error::too_large("value", draft.key, value.len(), frame::MAX_STORED))
    }

    /// Shows the records to readers.
    fn enter(&self, number: u32, drafts: &[Draft<'_>], places: &[(u32, u32)]) {
        let mut state = self.shared.write();
        for (draft, (offset, len)) in drafts.iter().zip(places) {
            let id = self.shared.id(draft.key);
            match draft.kind {
                Kind::Put | Kind::Lost => {
                    state.index.put(id, entry(number, *offset, *len, draft.kind, draft.flags));
                }
                Kind::Delete => state.index.remove(id),
                Kind::Drained | Kind::Mark => {}
            }
        }
    }

    /// Sees to it that there is a segment with room for so many bytes.
    fn make_way(&mut self, len: u32) -> Result<(), Error> {
        if self.pending.len() > MAX_PENDING {
            self.flush()?;
        }
        if self.active.is_none() {
            return self.begin_segment();
        }
        let full = self.active.as_ref().is_some_and(|active| {
            active.end > HEADER && active.end.saturating_add(len) > self.settings.segment
        });
        if full { self.next_segment() } else { Ok(()) }
    }

    /// Takes away what a failed write has left behind the last record, within the space that the file has anyway.
    fn undo(&mut self, len: usize) {
        let Some(active) = &self.active else { return };
        let (start, file) = (u64::from(active.end), &active.segment.file);
        let end = (start + len as u64).min(active.size);
        let undone = file.set_len(active.size.max(start)).and_then(|()| zero_fill(file, start, end));
        self.undone = true;
        if undone.is_err() {
            self.leave_active();
        }
    }

    /// Writes zeros ahead. They are a kindness to the next flush: a disk too full for them may still take records.
    fn write_ahead(&mut self) {
        let (room, limit) = (u64::from(self.settings.room), u64::from(self.settings.segment));
        let Some(active) = &mut self.active else { return };
        let end = u64::from(active.end);
        if room > 0 && end + room / 4 > active.size && active.size < limit {
            let target = (end + room).next_multiple_of(4096);
            if let Ok(size) = zero_fill(&active.segment.file, active.size, target) {
                active.size = size;
            }
        }
    }

    /// Closes the segment with its table of contents and begins another.
    pub(super) fn next_segment(&mut self) -> Result<(), Error> {
        if let Some(active) = &self.active {
            self.flushes += 1;
            let (file, number) = (&active.segment.file, active.segment.number);
            // Without contents it takes longer to open, and that is all.
            let _ = self.extents.get(&number).map(|extent| self.write_contents(active, *extent));
            if file.sync_data().is_ok() {
                self.flushed();
            }
        }
        self.leave_active();
        self.begin_segment()
    }

    fn write_contents(&self, active: &Active<F::File>, extent: Extent) -> io::Result<()> {
        let (file, number) = (&active.segment.file, active.segment.number);
        let salt = self.shared.salt;
        let expected = Expected { number, salt: Some(salt), after_seq: extent.after_seq, bound: None };
        let loaded = segment::by_frames(file, active.end, &expected)?;
        let sealed = loaded.contents.seal(salt, number, active.end, loaded.last_seq);
        let Some(sealed) = sealed.filter(|_| loaded.end == active.end && loaded.gaps.is_empty()) else {
            return Ok(());
        };
        let end = u64::from(active.end) + sealed.len() as u64;
        let written = file.write_at(&sealed, u64::from(active.end));
        file.set_len(if written.is_ok() { end } else { u64::from(active.end) })
    }

    /// Everything written so far is durable.
    fn flushed(&mut self) {
        self.pending = Vec::new();
        (self.mark_due, self.undone) = (true, false);
        if let Some(active) = &mut self.active {
            active.flushed = active.end;
        }
        self.go_further();
    }

    /// Brings the segments that leave a stage further: everything written is durable.
    fn go_further(&mut self) {
        for number in self.leaving.extract_if(.., |one| one.stage == Stage::Noted).map(|one| one.number) {
            let flawed = self.extents.remove(&number).is_some_and(|extent| extent.flawed);
            self.shared.write().segments.remove(&number);
            // If it stays, the next one to open the log knows that it has left.
            let _ = segment::discard(&self.fs, &self.shared.dir, number, flawed);
        }
        self.leaving.iter_mut().for_each(|one| one.stage = Stage::Safe);
    }

    /// Stops writing to the segment. What no flush has covered stays in `pending` and counts there no more.
    pub(super) fn leave_active(&mut self) {
        if let Some(active) = self.active.take() {
            self.newest = Some(Newest { number: active.segment.number, end: active.flushed });
        }
    }

    /// Begins another segment with everything that no flush has covered, flushed.
    pub(super) fn begin_segment(&mut self) -> Result<(), Error> {
        let previous = self.newest.unwrap_or(Newest { number: 0, end: 0 });
        let number = self.next_number;
        let header = Header {
            salt: self.shared.salt,
            number,
            oldest: self.extents.keys().next().copied().unwrap_or(number),
            previous: previous.number,
            previous_end: previous.end,
            first_seq: self.seq + 1,
        };
        let (frames, moved) = self.renumber(number);
        let path = segment::path(&self.shared.dir, number);
        let (file, size) = self.make_file(&path, &header, &frames).map_err(|(what, source)| {
            // Nobody was told of anything in it. Should it stay: it holds all that it should.
            let _ = self.fs.remove_file(&path);
            Error::Io { what, path: path.clone(), source }
        })?;
        let segment = Arc::new(Segment { number, file });
        let end = HEADER + segment::offset(frames.len() as u64);
        let mut state = self.shared.write();
        state.segments.insert(number, Arc::clone(&segment));
        for (id, entry) in moved {
            let from_pending = |old: Entry| {
                old.segment == number || (old.segment == previous.number && old.offset >= previous.end)
            };
            if state.index.get(id).is_some_and(from_pending) {
                state.index.put(id, entry);
            }
        }
        drop(state);
        self.extents.entry(previous.number).and_modify(|extent| extent.end = previous.end);
        let after_seq = header.first_seq - 1;
        self.extents.insert(number, Extent { end, after_seq, flawed: false });
        (self.newest, self.next_number) = (Some(Newest { number, end }), number + 1);
        self.active = Some(Active { segment, end, flushed: end, size });
        self.flushed();
        Ok(())
    }

    /// The pending frames under new numbers, and the places of the records that keys have among them.
    fn renumber(&mut self, number: u32) -> (Vec<u8>, Vec<(Id, Entry)>) {
        let (mut frames, mut moved, mut place) = (Vec::with_capacity(self.pending.len()), Vec::new(), 0);
        let salt = self.shared.salt;
        while let Some(record) = self.pending.get(place..).and_then(|rest| frame::parse(rest, Some(salt))) {
            self.seq += 1;
            let offset = HEADER + segment::offset(frames.len() as u64);
            let copy = Record { seq: self.seq, ..record };
            let len = frame::encode(&mut frames, salt, &copy).unwrap_or_default();
            if matches!(record.kind, Kind::Put | Kind::Lost) {
                let entry = entry(number, offset, len, record.kind, record.flags);
                moved.push((self.shared.id(record.key), entry));
            }
            place += usize::try_from(len).unwrap_or_default();
        }
        (frames, moved)
    }

    /// Makes the file, durably; it and its size with the zeros ahead. It gets its name when it is whole, because by it
    /// the segment before ends where its header says.
    fn make_file(
        &mut self,
        path: &Path,
        header: &Header,
        frames: &[u8],
    ) -> Result<(F::File, u64), (&'static str, io::Error)> {
        let new = self.shared.dir.join(segment::UNFINISHED);
        match self.fs.remove_file(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(("remove", e)),
            _ => {}
        }
        self.flushes += 1;
        let made = self.write_file(&new, header, frames).and_then(|made| {
            self.fs.rename(&new, path).map_err(|e| ("rename", e))?;
            Ok(made)
        });
        if made.is_err() {
            // On a full disk it would keep space that others need.
            let _ = self.fs.remove_file(&new);
        }
        let made = made?;
        let first = header.previous == 0;
        flush_way_to(&self.fs, &self.shared.dir, first).map_err(|(_, e)| ("flush the entry of", e))?;
        Ok(made)
    }

    fn write_file(
        &self,
        new: &Path,
        header: &Header,
        frames: &[u8],
    ) -> Result<(F::File, u64), (&'static str, io::Error)> {
        let file = self.fs.open(new, Open::CreateNew(0o600)).map_err(|e| ("create", e))?;
        let bytes = [&frame::encode_header(header), frames].concat();
        file.write_at(&bytes, 0).map_err(|e| ("write", e))?;
        let (end, room) = (bytes.len() as u64, u64::from(self.settings.room));
        let size = if room > 0 { zero_fill(&file, end, end + room).unwrap_or(end) } else { end };
        file.sync_data().map_err(|e| ("flush", e))?;
        Ok((file, size))
    }
}

/// The entry of a record.
pub(super) fn entry(segment: u32, offset: u32, len: u32, kind: Kind, flags: u8) -> Entry {
    let mut entry = Entry::new(segment, offset, len);
    if kind == Kind::Lost {
        entry = entry.lost();
    }
    if flags & DOUBTFUL != 0 { entry.doubtful() } else { entry }
}
