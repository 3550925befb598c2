//! File systems that break one rule each, to prove that the checks would notice.

use std::io;
use std::path::Path;
use std::time::Duration;

use durable::fs::{File, Fs, Meta, Open, Stamp};
use testkit::power_cut::PowerCutFs;

/// Which rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// None: the disk is honest.
    None,
    /// `sync_data` says yes and does nothing.
    FlushLies,
    /// `sync_dir` says yes and does nothing.
    DirFlushLies,
    /// A flush that fails says yes.
    FailedFlushLies,
    /// Every eighth write is not there, and nobody says so.
    DropsWrites,
    /// Removed files stay.
    RemovesNothing,
    /// Reads give the bytes of the beginning of the file.
    ReadsElsewhere,
    /// A write that fails says yes.
    FullDiskLies,
}

/// A process on a machine whose file system is broken in one way.
#[derive(Debug, Clone)]
pub struct Broken {
    pub disk: PowerCutFs,
    pub how: Sabotage,
}

pub struct BrokenFile {
    file: <PowerCutFs as Fs>::File,
    how: Sabotage,
}

impl Fs for Broken {
    type File = BrokenFile;

    fn open(&self, path: &Path, how: Open) -> io::Result<BrokenFile> {
        Ok(BrokenFile { file: self.disk.open(path, how)?, how: self.how })
    }

    fn metadata(&self, path: &Path) -> io::Result<Meta> {
        self.disk.metadata(path)
    }

    fn read_dir(&self, path: &Path, each: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> {
        self.disk.read_dir(path, each)
    }

    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.disk.create_dir_all(path, mode)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        if self.how == Sabotage::RemovesNothing {
            return self.disk.metadata(path).map(|_| ());
        }
        self.disk.remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.how == Sabotage::DirFlushLies { Ok(()) } else { self.disk.sync_dir(path) }
    }

    fn set_mtime(&self, path: &Path, mtime: Stamp) -> io::Result<()> {
        self.disk.set_mtime(path, mtime)
    }
}

impl File for BrokenFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let elsewhere = self.how == Sabotage::ReadsElsewhere && buf.len() < 4096 && offset > 512;
        self.file.read_at(buf, if elsewhere { 64 } else { offset })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let dropped = self.how == Sabotage::DropsWrites && offset > 64 && (offset / 8).is_multiple_of(8);
        match self.file.write_at(bytes, offset) {
            _ if dropped => Ok(()),
            Err(_) if self.how == Sabotage::FullDiskLies => Ok(()),
            other => other,
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.how {
            Sabotage::FlushLies => Ok(()),
            Sabotage::FailedFlushLies => self.file.sync_data().or(Ok(())),
            _ => self.file.sync_data(),
        }
    }

    fn lock(&self, wait: Duration) -> io::Result<()> {
        self.file.lock(wait)
    }
}
