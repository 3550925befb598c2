//! What a store does for those who wait: one flush for all of them, and one now and then for everybody else.
//!
//! No thread and no clock: the time is passed in, so that every order of events can be tested. [`super::writer`] adds
//! both.

use std::sync::Arc;
use std::time::Duration;

use super::{Batch, Engine, Error, Usage};

/// How far a batch must have come before its caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// With the kernel: the death of the process does not undo it.
    Written,
    /// On the disk: a power cut does not undo it.
    Flushed,
}

/// Called once, by the thread of the store, when the batch has come that far or cannot.
pub type Done = Box<dyn FnOnce(Result<(), Arc<Error>>) + Send>;

/// A batch and who waits for it.
pub struct Job {
    /// The changes.
    pub batch: Batch,
    /// How far they must come.
    pub until: Durability,
    /// Who is told.
    pub done: Done,
}

/// How a store is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// How much there is.
    pub usage: Usage,
    /// Why the last attempt to write, flush or tidy failed; `None` when it did not.
    pub failing: Option<String>,
    /// Whether that is for want of space.
    pub full: bool,
}

/// A store and its duties.
pub struct Rounds<E> {
    engine: E,
    interval: Duration,
    /// When the oldest record that no flush has covered was written.
    unflushed_since: Option<Duration>,
    /// When there is more to tidy.
    untidy: bool,
    failing: Option<Arc<Error>>,
}

/// What is tidied in a round at least.
const BUDGET: usize = 64 * 1024;

impl<E: Engine> Rounds<E> {
    /// `interval`: how old a record may get before it is flushed.
    pub fn new(engine: E, interval: Duration) -> Rounds<E> {
        Rounds { engine, interval, unflushed_since: None, untidy: true, failing: None }
    }

    /// The store.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// How it is doing.
    pub fn standing(&self) -> Standing {
        Standing {
            usage: self.engine.usage(),
            failing: self.failing.as_ref().map(ToString::to_string),
            full: self.failing.as_ref().is_some_and(|error| error.is_full()),
        }
    }

    /// Does these jobs, and what is due. Answers at what time it wants to be called again, jobs or not; `now` is any
    /// clock that only goes forward.
    pub fn round(&mut self, jobs: Vec<Job>, now: Duration) -> Option<Duration> {
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        for Job { batch, until, done } in jobs {
            bytes += batch.bytes();
            let appended = self.engine.append(&batch).map_err(Arc::new);
            match &appended {
                Ok(()) => self.failing = None,
                Err(error) if matches!(**error, Error::Io { .. }) => self.failing = Some(Arc::clone(error)),
                // The batch is at fault, not the store.
                Err(_) => {}
            }
            match (appended, until) {
                (Ok(()), Durability::Flushed) => waiting.push(done),
                (appended, _) => done(appended),
            }
            self.unflushed_since.get_or_insert(now);
        }
        let due = self.unflushed_since.is_some_and(|since| now.saturating_sub(since) >= self.interval);
        if !waiting.is_empty() || due {
            let flushed = self.engine.flush().map_err(Arc::new);
            if let Err(error) = &flushed {
                self.failing = Some(Arc::clone(error));
            } else if bytes == 0 {
                self.failing = None;
            }
            // One that failed is tried again when it would be due again.
            self.unflushed_since = flushed.is_err().then_some(now);
            waiting.into_iter().for_each(|done| done(flushed.clone()));
        }
        if bytes > 0 || self.untidy {
            self.tidy(bytes.saturating_mul(2).max(BUDGET), now);
        }
        let flush_at = self.unflushed_since.map(|since| since + self.interval);
        let tidy_at = self.untidy.then(|| now + self.interval);
        flush_at.into_iter().chain(tidy_at).min()
    }

    fn tidy(&mut self, budget: usize, now: Duration) {
        let unflushed = self.engine.usage().unflushed;
        match self.engine.tidy(budget) {
            Ok(more) => self.untidy = more,
            Err(error) => {
                self.untidy = true;
                self.failing = Some(Arc::new(error));
            }
        }
        if self.engine.usage().unflushed > unflushed {
            self.unflushed_since.get_or_insert(now);
        }
    }

    /// Flushes and ends.
    ///
    /// # Errors
    /// When the last flush failed.
    pub fn finish(self) -> Result<(), Error> {
        self.engine.close()
    }
}
