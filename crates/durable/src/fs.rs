//! The seam between edgekeep's state and the file system.
//!
//! Every byte of state is read and written through [`Fs`], one method per system call that matters, so that a test can
//! stand in for the disk: end the process at any call, forget what was not flushed, tear what was in flight, be full.
//! Times and identities come back as plain values; nothing here decides anything.

use std::io;
use std::path::Path;
use std::time::Duration;

/// How [`Fs::open`] opens a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// Reading and writing; made with this mode (before umask) when absent.
    Create(u32),
    /// Reading and writing; `AlreadyExists` when present, made with this mode otherwise (`O_CREAT|O_EXCL`).
    CreateNew(u32),
    /// Reading only, yet made with this mode when absent: how host-local opens its `lock`.
    ReadCreate(u32),
}

/// A point in time as a file system stores it: seconds since 1970 (may be negative) and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Stamp {
    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub secs: i64,
    /// Nanoseconds within the second, below 1 000 000 000.
    pub nanos: u32,
}

/// What is known about a path without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Size in bytes.
    pub len: u64,
    /// Whether it is a directory.
    pub dir: bool,
    /// Whether it is a regular file.
    pub file: bool,
    /// The user that owns it.
    pub owner: u32,
    /// Who may do what with it: the lower twelve bits of its mode.
    pub mode: u32,
    /// Device number of the file system it is on.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Last change of the content (of a directory: of its entries).
    pub mtime: Stamp,
}

/// A file system.
pub trait Fs {
    /// An open file; closed when dropped, which also drops its lock.
    type File: File;

    /// Opens or makes a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Self::File>;
    /// Reads what is known about `path`, following symbolic links.
    fn metadata(&self, path: &Path) -> io::Result<Meta>;
    /// Calls `each` with the name of every entry of the directory, in no order; names that are not UTF-8 are passed
    /// lossily. Stops at the first error, also one returned by `each`.
    fn read_dir(&self, path: &Path, each: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()>;
    /// Makes the directory and its missing parents, each with this mode (before umask). Present already is success.
    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Renames within one file system, replacing what is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the entries of a directory durable (`fsync` of the directory).
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Sets the modification time of a directory or file.
    fn set_mtime(&self, path: &Path, mtime: Stamp) -> io::Result<()>;
}

/// An open file.
pub trait File {
    /// Reads up to `buf.len()` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, growing the file as needed; on an error any part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts or grows (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Size in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether there is no byte in it.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Makes content and size durable (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;
    /// Takes an exclusive whole-file lock (`flock`), waiting at most `wait`; `TimedOut` if it is still held then.
    /// The lock is dropped with the file.
    fn lock(&self, wait: Duration) -> io::Result<()>;
}

/// Reads a file whole, up to `limit` bytes; `FileTooLarge` beyond.
pub fn read(fs: &impl Fs, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    read_open(&fs.open(path, Open::Read)?, limit)
}

/// As [`read`], of a file that is open already.
pub fn read_open(file: &impl File, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let n = file.read_at(&mut chunk, bytes.len() as u64)?;
        let Some(part) = chunk.get(..n).filter(|part| !part.is_empty()) else { return Ok(bytes) };
        if bytes.len() + n > limit {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        bytes.extend_from_slice(part);
    }
}
