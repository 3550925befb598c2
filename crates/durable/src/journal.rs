//! An append-only file of records that tells, after any crash, which of them it still has.
//!
//! Invariants (`docs/formats/journal.md` has the bytes and the argument):
//! - every record is a frame with its own length, sequence number, salt of the file and checksum, so that recycled,
//!   zeroed or foreign bytes never pass for one;
//! - a frame is written once, behind all others, and never changed: what a flush has covered stays;
//! - reading goes on behind damage: each frame stands for itself, what cannot be read is reported by offset;
//! - a file is replaced only by a finished, flushed one.
//!
//! It does not lock: callers hold a lock of their own while they append or rewrite.

use std::io;
use std::path::{Path, PathBuf};

use crate::fs::{File, Fs, Open};
use crate::window::{Window, zero_fill, zeros};
use frame::{ALIGN, FILE_HEADER, FILE_HEADER_LEN, FRAME_HEADER, Header, padded};

mod frame;
mod replace;

pub use replace::Writer;

/// Largest record in bytes.
pub const MAX_RECORD: usize = 64 * 1024;
/// Version of the format; a file of a higher one is left alone.
pub const VERSION: u32 = 1;

const FILE_NAME: &str = "journal";
const NEW_NAME: &str = "journal.new";
/// The file grows in zero-filled steps, so that a flush of a record need not flush a changed size too.
const STEP: u64 = 64 * 1024;
/// Room kept behind the last record, so that a full disk does not stop the next hundred of them.
const RESERVE: u64 = 16 * 1024;
/// How much is read at a time.
const WINDOW: usize = 16 * 1024;

/// Which file, by the salt it was made with: a rewritten journal is another generation.
pub type Generation = u64;

/// Where a record stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Offset of its frame in bytes.
    pub offset: u64,
    /// Length of the frame in bytes, padding included.
    pub len: u32,
}

impl Span {
    /// The offset behind it.
    pub fn end(self) -> u64 {
        self.offset + u64::from(self.len)
    }
}

/// What a scan meets.
#[derive(Debug)]
pub enum Seen<'a> {
    /// A whole record.
    Record(Span, &'a [u8]),
    /// Bytes that hold no record although records stand behind them: corruption, or records that nobody had flushed
    /// when the power went.
    Damaged(Span),
    /// Bytes behind the last record that are no record: the end of a write that the crash cut off.
    Torn(Span),
}

/// Why the journal cannot be used.
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
    /// The file was written by a newer release.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A record asked for by its place is not there (any more): the caller's own index is wrong or the disk is.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Offset of the frame.
        offset: u64,
    },
    /// A record larger than [`MAX_RECORD`].
    TooLarge {
        /// The file it was for.
        path: PathBuf,
        /// Its length in bytes.
        len: usize,
    },
}

impl Error {
    fn too_large(path: &Path, payload: &[u8]) -> Self {
        Error::TooLarge { path: path.to_path_buf(), len: payload.len() }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Io { what, path, source } => write!(f, "cannot {what} {}: {source}", path.display()),
            Error::Newer { path, version } => write!(
                f,
                "{} has format {version}, written by a newer edgekeep; this one knows up to {VERSION}: \
                 install the newer release again, or move the file away to start without its bindings",
                path.display()
            ),
            Error::Unreadable { path, offset } => {
                write!(f, "the record at byte {offset} of {} cannot be read", path.display())
            }
            Error::TooLarge { path, len } => {
                write!(f, "a record of {len} bytes is more than {} takes ({MAX_RECORD})", path.display())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The journal of one directory, open for appending.
#[derive(Debug)]
pub struct Journal<F: Fs> {
    path: PathBuf,
    file: F::File,
    generation: Generation,
    end: u64,
    seq: u64,
    size: u64,
    header_broken: bool,
}

/// Where appending goes on: what a caller keeps so as not to scan again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tail {
    /// Offset behind the last record.
    pub end: u64,
    /// Sequence number of the last record.
    pub seq: u64,
}

impl<F: Fs> Journal<F> {
    /// Opens the journal of `dir`. `None` when there is none. Nothing is read but the header: [`Journal::scan`]
    /// must follow before anything is appended.
    pub fn open(fs: &F, dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(FILE_NAME);
        let file = match fs.open(&path, Open::Write) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { what: "open", path, source }),
        };
        let (journal, placed) = Self::from_file(path, file)?;
        if !placed {
            replace::place(fs, dir, &journal.file, true)?;
        }
        Ok(Some(journal))
    }

    /// As [`Journal::open`], for reading only: works for a reader that may not write.
    pub fn open_read(fs: &F, dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(FILE_NAME);
        match fs.open(&path, Open::Read) {
            Ok(file) => Self::from_file(path, file).map(|(journal, _)| Some(journal)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { what: "open", path, source }),
        }
    }

    /// The journal, and whether its name is known to be durable.
    fn from_file(path: PathBuf, file: F::File) -> Result<(Self, bool), Error> {
        let mut head = [0; FILE_HEADER_LEN];
        let failed = |what, source| Error::Io { what, path: path.clone(), source };
        let n = file.read_at(&mut head, 0).map_err(|e| failed("read", e))?;
        let size = file.len().map_err(|e| failed("read", e))?;
        let (generation, placed, header_broken) = match frame::parse_header(head.get(..n).unwrap_or_default())
        {
            Header::Valid { generation, placed } => (generation, placed, false),
            Header::Newer(version) => return Err(Error::Newer { path, version }),
            // Without its header the file still has frames, each of which carries the salt. Its owner replaces it.
            Header::Broken => (0, false, true),
        };
        Ok((Journal { path, file, generation, end: FILE_HEADER, seq: 0, size, header_broken }, placed))
    }

    /// Which file this is.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Where appending goes on.
    pub fn tail(&self) -> Tail {
        Tail { end: self.end, seq: self.seq }
    }

    /// The open file, for a flush after the caller's lock is gone.
    pub fn into_file(self) -> F::File {
        self.file
    }

    /// Size of the file in bytes, room ahead included.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads on behind `from`, where an earlier scan or append of this generation ended, or from the beginning, and
    /// calls `each` with everything met, in order. Stops behind `limit` records; `true` when the end was reached.
    pub fn scan(
        &mut self,
        from: Option<Tail>,
        limit: usize,
        mut each: impl FnMut(Seen<'_>) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let start = Tail { end: FILE_HEADER, seq: 0 };
        Tail { end: self.end, seq: self.seq } = from.unwrap_or(start);
        if from.is_none() && self.header_broken {
            each(Seen::Damaged(Span { offset: 0, len: span_len(0, FILE_HEADER) }))?;
        }
        let mut window = Window::new(WINDOW);
        let (mut at, mut records) = (self.end, 0);
        // Whether any of the bytes passed over since the last record is not zero.
        let mut dirty = false;
        while at < self.size {
            let Some((seq, generation, span, payload)) = self.frame_at(&mut window, at)? else {
                let ahead = window.fill(&self.file, at, ALIGN).map_err(|e| self.failed("read", e))?;
                let zeros = zeros::<ALIGN>(ahead);
                dirty |= zeros == 0;
                at += zeros.max(ALIGN as u64);
                continue;
            };
            // Records are written without a gap: zeros too stand where one was lost.
            if at > self.end {
                each(Seen::Damaged(Span { offset: self.end, len: span_len(self.end, at) }))?;
            }
            (self.seq, self.generation, self.end) = (seq, generation, span.end());
            (at, dirty) = (self.end, false);
            each(Seen::Record(span, payload))?;
            records += 1;
            if records == limit {
                return Ok(false);
            }
        }
        if dirty {
            each(Seen::Torn(Span { offset: self.end, len: span_len(self.end, self.size) }))?;
        }
        Ok(true)
    }

    /// The frame at `at`, if there is one that may follow the last: its number, generation, place and payload.
    fn frame_at<'w>(&self, window: &'w mut Window, at: u64) -> Result<Option<Found<'w>>, Error> {
        let head = window.fill(&self.file, at, FRAME_HEADER).map_err(|e| self.failed("read", e))?;
        let Some(len) = frame::claimed_len(head, self.generation, self.seq) else { return Ok(None) };
        let bytes = window.fill(&self.file, at, FRAME_HEADER + len).map_err(|e| self.failed("read", e))?;
        Ok(frame::check(bytes)
            .map(|frame| (frame.seq, frame.generation, Span { offset: at, len: padded(len) }, frame.payload)))
    }

    /// Reads one record by its place.
    pub fn read(&self, span: Span) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; usize::try_from(span.len).unwrap_or(0).min(MAX_RECORD * 2)];
        let n = self.file.read_at(&mut bytes, span.offset).map_err(|e| self.failed("read", e))?;
        bytes.truncate(n);
        let frame = frame::check(&bytes).filter(|frame| frame.generation == self.generation);
        match frame.map(|frame| frame.payload.len()) {
            Some(len) => {
                bytes.drain(..FRAME_HEADER);
                bytes.truncate(len);
                Ok(bytes)
            }
            None => Err(Error::Unreadable { path: self.path.clone(), offset: span.offset }),
        }
    }

    /// Copies bytes as they are, for a report about damage.
    pub fn raw(&self, span: Span, limit: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; usize::try_from(span.len).unwrap_or(limit).min(limit)];
        let n = self.file.read_at(&mut bytes, span.offset).map_err(|e| self.failed("read", e))?;
        bytes.truncate(n);
        Ok(bytes)
    }

    /// Appends one record in one write. It is visible to every process at once and durable after a flush.
    pub fn append(&mut self, payload: &[u8]) -> Result<Span, Error> {
        let frame = frame::encode(self.generation, self.seq + 1, payload);
        let frame = frame.ok_or_else(|| Error::too_large(&self.path, payload))?;
        let span = Span { offset: self.end, len: span_len(0, frame.len() as u64) };
        if span.end() + RESERVE > self.size {
            // Room ahead is a kindness; a disk too full for it may still take the record.
            if let Ok(size) = zero_fill(&self.file, self.size.max(self.end), target_size(span.end())) {
                self.size = size;
            }
        }
        self.file.write_at(&frame, span.offset).map_err(|e| self.failed("write", e))?;
        self.seq += 1;
        self.end = span.end();
        self.size = self.size.max(self.end);
        Ok(span)
    }

    fn failed(&self, what: &'static str, source: io::Error) -> Error {
        Error::Io { what, path: self.path.clone(), source }
    }
}

/// The end of the last whole record that follows `from` without a gap: up to where a flush now would reach.
pub(crate) fn contiguous_end(file: &impl File, generation: Generation, from: u64) -> io::Result<u64> {
    let (mut end, mut buffer) = (from, vec![0; WINDOW]);
    loop {
        let n = file.read_at(&mut buffer, end)?;
        let mut bytes = buffer.get(..n).unwrap_or_default();
        let mut moved = false;
        while let Some(frame) = frame::check(bytes).filter(|frame| frame.generation == generation) {
            let len = padded(frame.payload.len());
            end += u64::from(len);
            bytes = usize::try_from(len).ok().and_then(|len| bytes.get(len..)).unwrap_or_default();
            moved = true;
        }
        if !moved {
            return Ok(end);
        }
    }
}

type Found<'w> = (u64, Generation, Span, &'w [u8]);

fn span_len(start: u64, end: u64) -> u32 {
    u32::try_from(end.saturating_sub(start)).unwrap_or(u32::MAX)
}

fn target_size(end: u64) -> u64 {
    (end + RESERVE).next_multiple_of(STEP)
}
