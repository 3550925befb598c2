//! The file system of the machine, by the standard library alone.

use std::fs::{DirBuilder, FileTimes, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use crate::fs::{File, Fs, Meta, Open, Stamp};

/// `O_CREAT` of Linux, the same on every architecture we build for. The standard library makes a file only when it is
/// also opened for writing; host-local opens its lock for reading.
const O_CREAT: i32 = 0o100;
/// `O_NONBLOCK` of Linux, the same on every architecture we build for; without a meaning for regular files.
const O_NONBLOCK: i32 = 0o4000;

/// The file system of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFs;

/// An open file of the machine; shared with the thread that waits for its lock.
#[derive(Debug)]
pub struct OsFile(std::fs::File);

impl Fs for OsFs {
    type File = OsFile;

    fn open(&self, path: &Path, how: Open) -> io::Result<OsFile> {
        let mut options = OpenOptions::new();
        options.read(true);
        match how {
            // A pipe in the place of a file must not keep anybody waiting.
            Open::Read => options.custom_flags(O_NONBLOCK),
            Open::Write => options.write(true),
            Open::Create(mode) => options.write(true).create(true).truncate(false).mode(mode),
            Open::CreateNew(mode) => options.write(true).create_new(true).mode(mode),
            Open::ReadCreate(mode) => options.custom_flags(O_CREAT).mode(mode),
        };
        options.open(path).map(OsFile)
    }

    fn metadata(&self, path: &Path) -> io::Result<Meta> {
        let meta = std::fs::metadata(path)?;
        Ok(Meta {
            len: meta.len(),
            dir: meta.is_dir(),
            file: meta.is_file(),
            owner: meta.uid(),
            mode: meta.mode() & 0o7777,
            dev: meta.dev(),
            ino: meta.ino(),
            mtime: Stamp { secs: meta.mtime(), nanos: u32::try_from(meta.mtime_nsec()).unwrap_or(0) },
        })
    }

    fn read_dir(&self, path: &Path, each: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> {
        for entry in std::fs::read_dir(path)? {
            each(&entry?.file_name().to_string_lossy())?;
        }
        Ok(())
    }

    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(mode).create(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        match std::fs::File::open(path)?.sync_all() {
            // One that cannot flush a directory (squashfs, proc: EINVAL) or cannot change it has nothing to flush.
            Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::ReadOnlyFilesystem) => Ok(()),
            other => other,
        }
    }

    fn set_mtime(&self, path: &Path, mtime: Stamp) -> io::Result<()> {
        let since = Duration::new(mtime.secs.unsigned_abs(), mtime.nanos);
        let time = if mtime.secs < 0 { None } else { SystemTime::UNIX_EPOCH.checked_add(since) };
        let time = time.ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
        std::fs::File::open(path)?.set_times(FileTimes::new().set_modified(time))
    }
}

impl File for OsFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    /// Waits in the kernel's queue, so that nobody is passed over, but in a thread of its own: `flock` knows no time
    /// limit. A waiter given up on lives until the process ends, which for its callers is at once.
    fn lock(&self, wait: Duration) -> io::Result<()> {
        match self.0.try_lock() {
            Ok(()) => return Ok(()),
            Err(std::fs::TryLockError::WouldBlock) => {}
            Err(std::fs::TryLockError::Error(e)) => return Err(e),
        }
        let file = self.0.try_clone()?;
        let (done, locked) = mpsc::channel();
        std::thread::Builder::new().stack_size(32 * 1024).spawn(move || {
            // Nobody listens any more once the time is up: then the answer does not matter.
            let _ = done.send(file.lock());
        })?;
        locked.recv_timeout(wait).unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }
}
