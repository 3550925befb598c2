//! Putting a journal into its place: a new file, whole and flushed before it bears the name, and the name flushed
//! before anybody may rely on it.
//!
//! The name is flushed last, so a process can die when others see the new file already and a power cut would still
//! bring back the old one, or none. The header therefore says whether the name is durable; whoever opens a file that
//! does not say so flushes the name first.

use std::io;
use std::path::Path;

use super::frame::{self, FILE_HEADER, PLACED, PLACED_AT};
use super::{Error, FILE_NAME, Generation, Journal, NEW_NAME, WINDOW, target_size};
use crate::fs::{File, Fs, Open};
use crate::place::flush_way_to;
use crate::window::zero_fill;

/// Fills a new generation.
pub struct Writer<'a, F: Fs> {
    file: &'a F::File,
    path: &'a Path,
    generation: Generation,
    end: u64,
    seq: u64,
    buffer: Vec<u8>,
}

impl<F: Fs> Writer<'_, F> {
    /// Adds one record.
    pub fn add(&mut self, payload: &[u8]) -> Result<(), Error> {
        let frame = frame::encode(self.generation, self.seq + 1, payload);
        self.buffer.extend_from_slice(&frame.ok_or_else(|| Error::too_large(self.path, payload))?);
        self.seq += 1;
        if self.buffer.len() >= WINDOW { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> Result<(), Error> {
        let written = self.file.write_at(&self.buffer, self.end);
        written.map_err(|source| Error::Io { what: "write", path: self.path.to_path_buf(), source })?;
        self.end += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl<F: Fs> Journal<F> {
    /// Makes a new generation that holds the records that `fill` writes, flushed, and puts it in the place of what was
    /// there. After an error the old one still stands, but for one case: where only the flush of the directory failed
    /// the new one has the name, and opening it tries that flush again.
    pub fn replace(
        fs: &F,
        dir: &Path,
        generation: Generation,
        fill: impl FnOnce(&mut Writer<'_, F>) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let (path, new) = (dir.join(FILE_NAME), dir.join(NEW_NAME));
        let failed = |what| move |source| Error::Io { what, path: dir.join(NEW_NAME), source };
        // What a crash left half-written has no value: only the rename makes it a journal.
        match fs.remove_file(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("remove")(e)),
            _ => {}
        }
        let file = fs.open(&new, Open::CreateNew(0o600)).map_err(failed("create"))?;
        let first = fs.metadata(&path).is_err();
        let written = write_whole(&file, &new, generation.max(1), fill)
            .and_then(|journal| fs.rename(&new, &path).map_err(failed("rename")).map(|()| journal));
        let (end, seq, size) = written.inspect_err(|_| {
            // On a full disk it would keep the space that the old journal needs to go on.
            let _ = fs.remove_file(&new);
        })?;
        place(fs, dir, &file, first)?;
        Ok(Journal { path, file, generation: generation.max(1), end, seq, size, header_broken: false })
    }
}

/// End, last sequence number and size of the file that now holds what `fill` writes, flushed.
fn write_whole<F: Fs>(
    file: &F::File,
    path: &Path,
    generation: Generation,
    fill: impl FnOnce(&mut Writer<'_, F>) -> Result<(), Error>,
) -> Result<(u64, u64, u64), Error> {
    let failed = |what| move |source| Error::Io { what, path: path.to_path_buf(), source };
    file.write_at(&frame::encode_header(generation), 0).map_err(failed("write"))?;
    let mut writer = Writer::<F> { file, path, generation, end: FILE_HEADER, seq: 0, buffer: Vec::new() };
    fill(&mut writer)?;
    writer.write_out()?;
    let (end, seq) = (writer.end, writer.seq);
    let size = zero_fill(file, end, target_size(end)).map_err(failed("write"))?;
    file.sync_data().map_err(failed("flush"))?;
    Ok((end, seq, size))
}

/// Makes the name of the journal in `dir` durable and says so in its header. `first`: no journal was durable there
/// before.
pub(super) fn place<F: Fs>(fs: &F, dir: &Path, file: &F::File, first: bool) -> Result<(), Error> {
    flush_way_to(fs, dir, first).map_err(|(path, source)| Error::Io { what: "flush", path, source })?;
    // Lost, it costs one more flush of the directory.
    let _ = file.write_at(&[PLACED], PLACED_AT);
    Ok(())
}
