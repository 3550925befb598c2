//! Reading beside the writer: the index says where, one `pread` fetches the record.
//!
//! Invariant: the lock is held while the index is looked at or changed, never while a file is read or written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::cipher::context;
use super::frame::{self, Kind, SEALED};
use super::index::{Entry, Id, Index};
use super::segment::{self, Segment};
use super::{Cipher, CipherError, Error};
use crate::fs::Fs;

/// What is shared by the log and its readers.
pub(super) struct Shared<F: Fs> {
    pub dir: PathBuf,
    pub salt: u32,
    pub secret: u64,
    pub cipher: Option<Arc<dyn Cipher>>,
    pub state: RwLock<State<F::File>>,
}

/// Where everything is. The index names only segments that are here.
pub(super) struct State<T> {
    pub index: Index,
    pub segments: BTreeMap<u32, Arc<Segment<T>>>,
}

impl<F: Fs> Shared<F> {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State<F::File>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State<F::File>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn id(&self, key: &[u8]) -> Id {
        Id::of(self.secret, key)
    }

    pub(super) fn failed(&self, what: &'static str, segment: u32, source: std::io::Error) -> Error {
        Error::Io { what, path: segment::path(&self.dir, segment), source }
    }

    fn unreadable(&self, key: &[u8], entry: Entry) -> Error {
        let path = segment::path(&self.dir, entry.segment);
        Error::Unreadable { key: key.to_vec(), path, offset: entry.offset }
    }

    /// What was sealed.
    pub(super) fn unseal(&self, key: &[u8], born: u64, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let opened = match &self.cipher {
            Some(cipher) => cipher.open(&context(self.salt, born, key), sealed),
            None => Err(CipherError("there is no key to open it with".to_owned())),
        };
        opened.map_err(|source| Error::Sealed { key: key.to_vec(), source })
    }
}

/// Reads a log, from any thread, also while it is written.
pub struct Reader<F: Fs>(pub(super) Arc<Shared<F>>);

impl<F: Fs> Clone for Reader<F> {
    fn clone(&self) -> Self {
        Reader(Arc::clone(&self.0))
    }
}

/// A key that a log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Length of its value as it is stored, in bytes.
    pub len: u32,
    /// Whether the value is known to be damaged: [`Reader::get`] will say so.
    pub lost: bool,
    /// Whether the value may be out of date, or deleted, by a record that was lost and that nothing names.
    pub doubtful: bool,
}

impl<F: Fs> Reader<F> {
    /// The value of a key; `None` if it has none. Costs one `pread`.
    ///
    /// # Errors
    /// [`Error::Unreadable`] and [`Error::Sealed`] say that there is a record, which cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let id = self.0.id(key);
        let (entry, segment) = {
            let state = self.0.read();
            let Some(entry) = state.index.get(id) else { return Ok(None) };
            (entry, state.segments.get(&entry.segment).cloned())
        };
        let Some(segment) = segment.filter(|_| !entry.is_lost()) else {
            return Err(self.0.unreadable(key, entry));
        };
        let bytes = segment::read(&segment.file, entry.offset, entry.len())
            .map_err(|source| self.0.failed("read", entry.segment, source))?;
        let record = frame::parse(&bytes, Some(self.0.salt));
        let Some(record) = record.filter(|record| record.key == key && record.kind == Kind::Put) else {
            let mut state = self.0.write();
            if state.index.get(id) == Some(entry) {
                state.index.put(id, entry.lost());
            }
            return Err(self.0.unreadable(key, entry));
        };
        if record.flags & SEALED != 0 {
            return self.0.unseal(key, record.born, record.value).map(Some);
        }
        let (start, len) = (frame::HEAD + key.len(), record.value.len());
        let mut value = bytes;
        value.drain(..start);
        value.truncate(len);
        Ok(Some(value))
    }
}
