//! Opening a log: which segments belong to it, what each of them holds, and what of that is damaged.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use super::frame::{self, BAD, DOUBTFUL, HEADER, Header, Item, Kind, Parsed};
use super::index::{Id, Index};
use super::log::{Active, Extent, Leaving, Log, Newest, Stage, entry};
use super::reader::{Shared, State};
use super::segment::{self, Expected, Gap, Loaded, Segment};
use super::{Error, Settings, Trouble};
use crate::fs::{File, Fs, Open};
use crate::place::{create_dir_durably, flush_way_to};

/// A log that was opened.
pub struct Opened<F: Fs> {
    /// The log.
    pub log: Log<F>,
    /// What was met on the way, the first thousand of it.
    pub troubles: Vec<Trouble>,
}

/// Held by the process that has the log.
const LOCK: &str = "lock";

/// So many troubles are told; whoever has more has one.
const MAX_TROUBLES: usize = 1000;

/// A file with the name of a segment.
struct Candidate<T> {
    number: u32,
    file: T,
    header: Option<Header>,
}

/// What has been read so far.
struct Recovery {
    index: Index,
    extents: BTreeMap<u32, Extent>,
    troubles: Vec<Trouble>,
    secret: u64,
    salt: Option<u32>,
    seq: u64,
    /// Segments up to this one have left.
    drained: u32,
    /// Records before such a place, in a segment and at an offset, may have been replaced by one that is lost there.
    doubts: BTreeMap<u32, u32>,
    /// The frames that no flush is known to have covered, by segment.
    loose: BTreeMap<u32, Vec<u8>>,
}

impl<F: Fs> Log<F> {
    /// Opens the log of a directory, or makes it. Reads the keys of all records, and the values only of the newest
    /// segment; no value is kept.
    ///
    /// # Errors
    /// When another process has it, when a newer release wrote it (then nothing is touched), when the disk does not
    /// answer. Damage is no error: it is told in [`Opened::troubles`].
    pub fn open(fs: F, dir: &Path, settings: Settings) -> Result<Opened<F>, Error> {
        let failed = |what| move |source| Error::Io { what, path: dir.to_path_buf(), source };
        create_dir_durably(&fs, dir, 0o700).map_err(failed("create"))?;
        let lock =
            open_file(&fs, &dir.join(LOCK), Open::Create(0o600)).map_err(failed("open the lock of"))?;
        lock.lock(settings.wait).map_err(failed("lock"))?;
        let mut candidates = candidates(&fs, dir)?;
        // Whoever made the newest file may have died before its name was durable.
        match flush_way_to(&fs, dir, candidates.len() <= 1) {
            Err((_, e)) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => {}
            other => other.map_err(|(path, source)| Error::Io { what: "flush", path, source })?,
        }
        let top = candidates.last().map_or(0, |last| last.number);
        let salt = candidates.iter().rev().find_map(|one| one.header).map(|header| header.salt);
        let mut recovery = Recovery::new(settings.entropy, salt);
        candidates.retain(|one| {
            let ours =
                one.header.is_none_or(|header| Some(header.salt) == salt && header.number == one.number);
            if !ours {
                recovery.tell(Trouble::Foreign { segment: one.number });
            }
            ours
        });
        let headers = candidates.iter().filter_map(|one| one.header);
        let floor = headers.map(|header| header.oldest.saturating_sub(1)).max().unwrap_or(0);
        recovery.drained = floor;
        let newest = recovery.read_all(dir, &candidates)?;
        recovery.conclude(&candidates);
        let salt = recovery.salt.unwrap_or_else(|| segment::offset(settings.entropy & 0xffff_ffff));
        let (mut segments, mut leaving) = (BTreeMap::new(), Vec::new());
        for Candidate { number, file, .. } in candidates {
            // The record that says that a segment has left must be durable before the segment goes.
            if number <= floor || (number <= recovery.drained && recovery.loose.is_empty()) {
                let flawed = recovery.extents.remove(&number).is_some_and(|extent| extent.flawed);
                // What cannot be removed is known to have left, next time too.
                let _ = segment::discard(&fs, dir, number, flawed);
                continue;
            }
            if number <= recovery.drained {
                leaving.push(Leaving { number, stage: Stage::Noted });
            }
            segments.insert(number, Arc::new(Segment { number, file }));
        }
        let Recovery { index, extents, troubles, seq, loose, secret, .. } = recovery;
        let state = RwLock::new(State { index, segments });
        let shared = Shared { dir: dir.to_path_buf(), salt, secret, cipher: settings.cipher.clone(), state };
        let mut log = Log {
            fs,
            settings,
            shared: Arc::new(shared),
            seq,
            active: None,
            newest: newest.map(|newest| Newest { number: newest.number, end: newest.flushed }),
            next_number: top + 1,
            pending: loose.into_values().flatten().collect(),
            extents,
            leaving,
            drain: None,
            rewrite_through: 0,
            mark_due: false,
            undone: false,
            flushes: 0,
            _lock: lock,
        };
        if let Some(newest) = newest.filter(|newest| newest.goes_on && log.pending.is_empty()) {
            log.go_on(newest)?;
        }
        Ok(Opened { log, troubles })
    }

    /// Throws away all that a log has, for good: for one that can be filled again. The log must be closed.
    ///
    /// # Errors
    /// When another process has it, or the disk does not answer; then part of it may be left.
    pub fn remove(fs: &F, dir: &Path, wait: Duration) -> Result<(), Error> {
        let failed = |what| move |source| Error::Io { what, path: dir.to_path_buf(), source };
        let lock = match fs.open(&dir.join(LOCK), Open::Write) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed("open the lock of"))?,
        };
        lock.lock(wait).map_err(failed("lock"))?;
        segment::remove_all(fs, dir).map_err(failed("empty"))
    }

    /// Goes on in the newest segment.
    fn go_on(&mut self, newest: NewestSegment) -> Result<(), Error> {
        let number = newest.number;
        let segment = self.shared.read().segments.get(&number).cloned();
        if let Some(segment) = segment {
            let size = segment.file.len().map_err(|source| self.shared.failed("read", number, source))?;
            self.active = Some(Active { segment, end: newest.end, flushed: newest.flushed, size });
        }
        Ok(())
    }
}

/// The newest segment of a log that is opened.
#[derive(Debug, Clone, Copy)]
struct NewestSegment {
    number: u32,
    end: u32,
    flushed: u32,
    /// Whether nothing is odd about it, so that it can be written on unless something in it waits for a flush: what a
    /// flush of an earlier process could not write, the kernel may count as written, so it goes to another file.
    goes_on: bool,
}

/// Opens for writing; for reading where the file system allows no more: what is stored can still be shown.
fn open_file<F: Fs>(fs: &F, path: &Path, how: Open) -> io::Result<F::File> {
    match fs.open(path, how) {
        Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => fs.open(path, Open::Read),
        other => other,
    }
}

/// The files with the names of segments, lowest number first.
fn candidates<F: Fs>(fs: &F, dir: &Path) -> Result<Vec<Candidate<F::File>>, Error> {
    let mut numbers = Vec::new();
    fs.read_dir(dir, &mut |name| {
        numbers.extend(segment::number(name));
        Ok(())
    })
    .map_err(|source| Error::Io { what: "list", path: dir.to_path_buf(), source })?;
    numbers.sort_unstable();
    let mut found = Vec::new();
    for number in numbers {
        let path = segment::path(dir, number);
        let failed = |what| {
            let path = path.clone();
            move |source| Error::Io { what, path, source }
        };
        let file = open_file(fs, &path, Open::Write).map_err(failed("open"))?;
        let bytes = segment::read(&file, 0, HEADER).map_err(failed("read"))?;
        let header = match frame::parse_header(&bytes) {
            Parsed::Valid(header) => Some(header),
            Parsed::Newer(version) => return Err(Error::Newer { path, version }),
            Parsed::Broken => None,
        };
        found.push(Candidate { number, file, header });
    }
    Ok(found)
}

impl Recovery {
    fn new(secret: u64, salt: Option<u32>) -> Recovery {
        Recovery {
            index: Index::default(),
            extents: BTreeMap::new(),
            troubles: Vec::new(),
            secret,
            salt,
            seq: 0,
            drained: 0,
            doubts: BTreeMap::new(),
            loose: BTreeMap::new(),
        }
    }

    fn tell(&mut self, trouble: Trouble) {
        if self.troubles.len() < MAX_TROUBLES {
            self.troubles.push(trouble);
        }
    }

    /// Reads what has not left.
    fn read_all<T: File>(
        &mut self,
        dir: &Path,
        candidates: &[Candidate<T>],
    ) -> Result<Option<NewestSegment>, Error> {
        let floor = self.drained;
        let mut newest = None;
        for (at, one) in candidates.iter().enumerate().filter(|(_, one)| one.number > floor) {
            let failed = |source| Error::Io { what: "read", path: segment::path(dir, one.number), source };
            let next = candidates.get(at + 1);
            let follows = next.and_then(|next| next.header).filter(|next| next.previous == one.number);
            let bound = follows.map(|next| next.previous_end);
            let after_seq = one.header.map_or(self.seq, |header| header.first_seq.saturating_sub(1));
            let expected = Expected { number: one.number, salt: self.salt, after_seq, bound };
            let loaded = match next {
                Some(_) => segment::load(&one.file, expected),
                None => segment::load_newest(&one.file, expected),
            }
            .map_err(failed)?;
            // When its successor was made, a flush had covered all of a segment that counted. Where neither that one nor
            // its own contents say any more how much this was, something behind what is left must be taken for lost.
            let whole = if loaded.sealed { loaded.seen } else { loaded.size.max(loaded.seen + 8) };
            let bound = next.map(|_| bound.unwrap_or(whole));
            newest = Some(self.take(one, &loaded, after_seq, bound).map_err(failed)?);
        }
        Ok(newest)
    }

    /// Takes over what a segment holds. Up to `bound` a flush has covered all of it.
    fn take<T: File>(
        &mut self,
        one: &Candidate<T>,
        loaded: &Loaded,
        after_seq: u64,
        bound: Option<u32>,
    ) -> io::Result<NewestSegment> {
        let number = one.number;
        let flushed = bound.unwrap_or(loaded.marked);
        self.seq = self.seq.max(loaded.last_seq);
        self.salt = self.salt.or(loaded.salt);
        let mut odd = one.header.is_none() || loaded.sealed || loaded.torn.is_some();
        let mut flawed = false;
        match one.header {
            Some(_) => {}
            // A segment gets its name when it has its header: nothing of what it held is left.
            None if loaded.contents.iter().next().is_none() => {
                flawed = self.tell_gap(number, &Gap { offset: 0, len: HEADER }, true);
            }
            None => self.tell(Trouble::Header { segment: number }),
        }
        for gap in &loaded.gaps {
            odd = true;
            flawed |= self.tell_gap(number, gap, gap.offset < flushed);
        }
        let end = match (bound, loaded.torn) {
            (None, torn) => torn,
            (Some(bound), _) if bound > loaded.seen => {
                Some(Gap { offset: loaded.seen, len: bound - loaded.seen })
            }
            (Some(_), _) => None,
        };
        if let Some(gap) = end {
            flawed |= self.tell_gap(number, &gap, bound.is_some());
        }
        for item in loaded.contents.iter() {
            if item.flags & BAD == 0 {
                self.apply(number, &item);
                if item.offset >= flushed && item.kind != Kind::Mark {
                    let frame = segment::read(&one.file, item.offset, item.len())?;
                    self.loose.entry(number).or_default().extend(frame);
                }
                continue;
            }
            odd = true;
            let (key, offset) = (item.key.to_vec(), item.offset);
            if item.offset < flushed {
                flawed = true;
                self.index.put(Id::of(self.secret, item.key), self.entry(number, &item).lost());
                self.tell(Trouble::Lost { key, segment: number, offset });
            } else {
                self.tell(Trouble::Torn { key: Some(key), segment: number, offset, len: item.len() });
            }
        }
        // A damaged record at the end of what was flushed is still one that has to be remembered as lost.
        let end = if bound.is_some() { loaded.seen } else { loaded.end };
        self.extents.insert(number, Extent { end, after_seq, flawed });
        Ok(NewestSegment { number, end: loaded.end, flushed, goes_on: !odd && bound.is_none() })
    }

    /// Whether something is lost there.
    fn tell_gap(&mut self, segment: u32, gap: &Gap, was_flushed: bool) -> bool {
        let Gap { offset, len } = *gap;
        if was_flushed {
            self.doubts.insert(segment, offset);
            self.tell(Trouble::Damaged { segment, offset, len });
        } else {
            self.tell(Trouble::Torn { key: None, segment, offset, len });
        }
        was_flushed
    }

    fn entry(&self, number: u32, item: &Item<'_>) -> super::index::Entry {
        entry(number, item.offset, item.len(), item.kind, item.flags & DOUBTFUL)
    }

    fn apply(&mut self, number: u32, item: &Item<'_>) {
        let id = Id::of(self.secret, item.key);
        match item.kind {
            Kind::Put | Kind::Lost => self.index.put(id, self.entry(number, item)),
            Kind::Delete => self.index.remove(id),
            Kind::Drained => {
                let left = item.key.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
                self.drained = self.drained.max(left);
            }
            Kind::Mark => {}
        }
    }

    /// Forgets what has left, and finds out what is missing. A segment that has left may be back after a power cut: what
    /// it says was true once.
    fn conclude<T>(&mut self, candidates: &[Candidate<T>]) {
        let drained = self.drained;
        self.index.forget_through(drained);
        self.loose.retain(|segment, _| *segment > drained);
        self.doubts.retain(|segment, _| *segment > drained);
        self.troubles
            .retain(|trouble| matches!(trouble, Trouble::Foreign { .. }) || trouble.segment() > drained);
        for one in candidates {
            let previous = one.header.map_or(one.number.saturating_sub(1), |header| header.previous);
            if previous > drained && candidates.iter().all(|one| one.number != previous) {
                self.tell(Trouble::Missing { segment: previous });
                self.doubts.insert(previous, u32::MAX);
            }
        }
        if let Some((segment, offset)) = self.doubts.pop_last() {
            self.index.doubt_before(segment, offset);
        }
    }
}
