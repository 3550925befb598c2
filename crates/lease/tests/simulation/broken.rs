//! File systems that break one rule each, to prove that the checks would notice.

use std::io;
use std::path::{Path, PathBuf};
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
    /// Every flush costs two.
    FlushTwice,
    /// No network namespace is ever seen.
    BlindToNetns,
    /// Directories keep the modification time that they were given, whoever changes them.
    FrozenTimes,
    /// As `FrozenTimes`, and `CreateNew` takes what is there.
    FrozenTimesNotExclusive,
    /// The state directory is in memory, whatever its path says.
    StateInMemory,
    /// Lease files cannot be removed, and nobody says so.
    RemovesNothing,
    /// Lease files are made empty.
    WritesNoLease,
    /// About every second record that is written to the journal is not there.
    DropsJournalWrites,
}

/// Where a `FrozenTimes` keeps what time was set last.
const LAST_SET: &str = "/run/last-set";

/// A process on a machine whose file system is broken in one way.
pub struct Broken {
    pub disk: PowerCutFs,
    pub how: Sabotage,
}

pub struct BrokenFile {
    file: <PowerCutFs as Fs>::File,
    path: PathBuf,
    how: Sabotage,
}

fn is_lease(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.parse::<std::net::IpAddr>().is_ok())
}

impl Broken {
    fn is_frozen(&self) -> bool {
        matches!(self.how, Sabotage::FrozenTimes | Sabotage::FrozenTimesNotExclusive)
    }

    /// Where a path really leads.
    pub fn at<'p>(&self, path: &'p Path) -> std::borrow::Cow<'p, Path> {
        match path.strip_prefix("/var/lib/edgekeep") {
            Ok(rest) if self.how == Sabotage::StateInMemory => Path::new("/run/state").join(rest).into(),
            _ => path.into(),
        }
    }
}

impl Fs for Broken {
    type File = BrokenFile;

    fn open(&self, path: &Path, how: Open) -> io::Result<BrokenFile> {
        let how = match (self.how, how) {
            (Sabotage::FrozenTimesNotExclusive, Open::CreateNew(mode)) if is_lease(path) => {
                Open::Create(mode)
            }
            (_, how) => how,
        };
        let file = self.disk.open(&self.at(path), how)?;
        Ok(BrokenFile { file, path: path.to_path_buf(), how: self.how })
    }

    fn metadata(&self, path: &Path) -> io::Result<Meta> {
        if self.how == Sabotage::BlindToNetns && path.starts_with("/run/netns") {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut meta = self.disk.metadata(&self.at(path))?;
        if meta.dir
            && self.is_frozen()
            && let Ok(text) = self.disk.read(LAST_SET)
        {
            let text = String::from_utf8(text).unwrap();
            let (secs, nanos) = text.split_once(' ').unwrap();
            meta.mtime = Stamp { secs: secs.parse().unwrap(), nanos: nanos.parse().unwrap() };
        }
        Ok(meta)
    }

    fn read_dir(&self, path: &Path, each: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> {
        self.disk.read_dir(&self.at(path), each)
    }

    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.disk.create_dir_all(&self.at(path), mode)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        if self.how == Sabotage::RemovesNothing && is_lease(path) {
            return self.disk.metadata(path).map(|_| ());
        }
        self.disk.remove_file(&self.at(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(&self.at(from), &self.at(to))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.how == Sabotage::DirFlushLies {
            return Ok(());
        }
        self.disk.sync_dir(&self.at(path))
    }

    fn set_mtime(&self, path: &Path, mtime: Stamp) -> io::Result<()> {
        if self.is_frozen() {
            self.disk.write(LAST_SET, format!("{} {}", mtime.secs, mtime.nanos))?;
        }
        self.disk.set_mtime(&self.at(path), mtime)
    }
}

impl File for BrokenFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let journal = self.path.ends_with("net/journal");
        match self.how {
            Sabotage::WritesNoLease if is_lease(&self.path) => Ok(()),
            Sabotage::DropsJournalWrites if journal && bytes.len() < 1024 && offset.is_multiple_of(16) => {
                Ok(())
            }
            _ => self.file.write_at(bytes, offset),
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
            Sabotage::FlushLies => return Ok(()),
            Sabotage::FlushTwice => self.file.sync_data()?,
            _ => {}
        }
        self.file.sync_data()
    }

    fn lock(&self, wait: Duration) -> io::Result<()> {
        self.file.lock(wait)
    }
}
