//! One flush for everybody who waits: how several processes make their records durable together.
//!
//! A small file on volatile storage says up to where which generation of the journal has been flushed; whoever needs
//! more takes its lock, looks again, and flushes for all that have appended meanwhile. The file is only ever a lower
//! bound, so losing it costs a flush and no more. After a failed flush the kernel forgets which data it could not
//! write, so the generation is marked as broken: nobody flushes it again, the next writer replaces it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::checksum;
use crate::fs::{File, Fs, Open};
use crate::journal::{self, Generation};

const LEN: usize = 24;
const BROKEN: u64 = u64::MAX;

/// The file that says what has been flushed.
#[derive(Debug, Clone)]
pub struct FlushMark {
    path: PathBuf,
}

/// What the mark says of one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Every byte before this offset is durable.
    UpTo(u64),
    /// A flush failed: what was not durable then may never become so.
    Broken,
}

impl FlushMark {
    /// The mark kept in `dir`, which should be on volatile storage.
    pub fn in_dir(dir: &Path) -> Self {
        FlushMark { path: dir.join("flushed") }
    }

    /// Where it is kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is known of `generation`.
    pub fn read<F: Fs>(&self, fs: &F, generation: Generation) -> io::Result<Flushed> {
        match fs.open(&self.path, Open::Read) {
            Ok(file) => read(&file, generation),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Flushed::UpTo(0)),
            Err(e) => Err(e),
        }
    }

    /// Notes that `generation` is durable up to `offset`, as a replaced journal is.
    pub fn set<F: Fs>(&self, fs: &F, generation: Generation, offset: u64) -> io::Result<()> {
        write(&fs.open(&self.path, Open::Create(0o600))?, generation, offset)
    }

    /// Makes the records of `journal` before `offset` durable, by a flush of somebody else's or one for all.
    /// `wait` bounds the wait for others: `TimedOut` says that it was too short. A flush that fails leaves the
    /// generation marked as broken, and that mark stays until [`FlushMark::set`] names a replacement.
    pub fn flush<F: Fs>(
        &self,
        fs: &F,
        journal: &F::File,
        generation: Generation,
        offset: u64,
        wait: Duration,
    ) -> io::Result<()> {
        let mark = fs.open(&self.path, Open::Create(0o600))?;
        if covered(&mark, generation, offset)? {
            return Ok(());
        }
        mark.lock(wait)?;
        if covered(&mark, generation, offset)? {
            return Ok(());
        }
        let end = journal::contiguous_end(journal, generation, offset)?;
        if let Err(e) = journal.sync_data() {
            // Should even this fail: every file open by now is told of the lost data by its own next flush.
            let _ = write(&mark, generation, BROKEN);
            return Err(e);
        }
        // Who comes late with a replaced generation must not wipe out that its successor is broken.
        if !matches!(parse(&mark)?, Some((_, BROKEN))) {
            // The records are durable; if this cannot be noted, the next one flushes for itself.
            let _ = write(&mark, generation, end);
        }
        Ok(())
    }
}

fn covered(mark: &impl File, generation: Generation, offset: u64) -> io::Result<bool> {
    match read(mark, generation)? {
        Flushed::UpTo(end) => Ok(end >= offset),
        Flushed::Broken => Err(io::Error::other("an earlier flush of this journal failed")),
    }
}

fn read(mark: &impl File, generation: Generation) -> io::Result<Flushed> {
    Ok(match parse(mark)? {
        Some((of, BROKEN)) if of == generation => Flushed::Broken,
        Some((of, offset)) if of == generation => Flushed::UpTo(offset),
        _ => Flushed::UpTo(0),
    })
}

/// Generation and offset; `None` if what stands there was not written by us.
fn parse(mark: &impl File) -> io::Result<Option<(Generation, u64)>> {
    let mut bytes = [0; LEN];
    mark.read_at(&mut bytes, 0)?;
    let field = |at: usize| bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u64::from_le_bytes(*b));
    let sum = bytes.get(16..).and_then(|b| b.first_chunk()).map(|b| u32::from_le_bytes(*b));
    let valid = bytes.get(..16).map(|head| checksum::of(&[head])) == sum;
    Ok(field(0).zip(field(8)).filter(|_| valid))
}

fn write(mark: &impl File, generation: Generation, offset: u64) -> io::Result<()> {
    let mut bytes = [generation.to_le_bytes(), offset.to_le_bytes()].concat();
    bytes.extend_from_slice(&checksum::of(&[&bytes]).to_le_bytes());
    bytes.resize(LEN, 0);
    mark.write_at(&bytes, 0)
}
