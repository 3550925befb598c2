//! What the hub needs of a store: a few methods, behind which another engine could stand
//! (`docs/decisions/0005-the-hubs-store.md` has the figures of some).

use super::{Batch, Error, Log, Reader, Usage};
use crate::fs::Fs;

/// A store, open for writing, used by one thread. It knows no clock.
pub trait Engine {
    /// What reads beside it.
    type Reader: Lookup;

    /// Reads beside this store.
    fn reader(&self) -> Self::Reader;
    /// Hands the changes to the kernel, in order; readers see all of them, or, after an error, none.
    ///
    /// # Errors
    /// [`Error::is_full`] tells a full disk from a broken one.
    fn append(&mut self, batch: &Batch) -> Result<(), Error>;
    /// Makes everything appended so far durable.
    ///
    /// # Errors
    /// Then it is not known to be; the next call tries again.
    fn flush(&mut self) -> Result<(), Error>;
    /// Does some of the work that keeps the store small, about `budget` bytes of it; `true` if more is to be done.
    ///
    /// # Errors
    /// Nothing is lost by one.
    fn tidy(&mut self, budget: usize) -> Result<bool, Error>;
    /// How much there is.
    fn usage(&self) -> Usage;
    /// Flushes and ends.
    ///
    /// # Errors
    /// As [`Engine::flush`].
    fn close(self) -> Result<(), Error>;
}

/// Reads a store from any thread.
pub trait Lookup: Clone {
    /// The value of a key; `None` if it has none.
    ///
    /// # Errors
    /// When there is one that cannot be read: that is never told as `None`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;
}

impl<F: Fs> Engine for Log<F> {
    type Reader = Reader<F>;

    fn reader(&self) -> Reader<F> {
        Log::reader(self)
    }

    fn append(&mut self, batch: &Batch) -> Result<(), Error> {
        Log::append(self, batch)
    }

    fn flush(&mut self) -> Result<(), Error> {
        Log::flush(self)
    }

    fn tidy(&mut self, budget: usize) -> Result<bool, Error> {
        Log::tidy(self, budget)
    }

    fn usage(&self) -> Usage {
        Log::usage(self)
    }

    fn close(self) -> Result<(), Error> {
        Log::close(self)
    }
}

impl<F: Fs> Lookup for Reader<F> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Reader::get(self, key)
    }
}
