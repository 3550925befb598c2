//! A log on whose disk every record is older than all that are not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use durable::objects::{Batch, Engine, Error, Usage};

/// An engine that writes nothing more once it could not write something.
///
/// Batches that stand for themselves are no part of that order: each of them says all there is to say of its object, and
/// whoever wrote it was told whether it is there.
pub struct InOrder<E> {
    engine: E,
    stopped: Arc<AtomicBool>,
    by_itself: fn(&Batch) -> bool,
}

impl<E> InOrder<E> {
    /// Around `engine`; sets `stopped` when it stops. `by_itself` tells which batches stand for themselves.
    pub fn new(engine: E, stopped: Arc<AtomicBool>, by_itself: fn(&Batch) -> bool) -> Self {
        Self { engine, stopped, by_itself }
    }
}

impl<E: Engine> Engine for InOrder<E> {
    type Reader = E::Reader;

    fn reader(&self) -> E::Reader {
        self.engine.reader()
    }

    fn append(&mut self, batch: &Batch) -> Result<(), Error> {
        if (self.by_itself)(batch) {
            return self.engine.append(batch);
        }
        if self.stopped.load(Ordering::Relaxed) {
            return Ok(());
        }
        let appended = self.engine.append(batch);
        if appended.is_err() {
            self.stopped.store(true, Ordering::Relaxed);
        }
        appended
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.engine.flush()
    }

    fn tidy(&mut self, budget: usize) -> Result<bool, Error> {
        self.engine.tidy(budget)
    }

    fn usage(&self) -> Usage {
        self.engine.usage()
    }

    fn close(self) -> Result<(), Error> {
        self.engine.close()
    }
}
