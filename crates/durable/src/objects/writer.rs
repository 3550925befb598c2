//! A store with a thread of its own, so that nobody else waits for the disk.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::rounds::{Durability, Job, Rounds, Standing};
use super::{Batch, Engine};

/// The pace of a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How old a record may get before it is flushed, if nobody asks for it earlier.
    pub interval: Duration,
    /// So many bytes of keys and values may wait for the thread.
    pub queue: usize,
}

impl Default for Pace {
    /// Two seconds, and four megabytes.
    fn default() -> Self {
        Pace { interval: Duration::from_secs(2), queue: 4 * 1024 * 1024 }
    }
}

/// A store that is written by a thread of its own. Dropping it flushes what is left and waits for that.
pub struct Writer {
    queue: Arc<Queue>,
    limit: usize,
    thread: Option<JoinHandle<()>>,
}

/// Why a batch was not taken. It comes back.
pub enum Refused {
    /// So much is waiting already: the disk is slower than what is written to it. Try again when one of the waiting
    /// batches is done.
    Busy(Job),
    /// The thread has ended.
    Ended(Job),
}

impl Refused {
    /// What was not taken.
    pub fn into_job(self) -> Job {
        match self {
            Refused::Busy(job) | Refused::Ended(job) => job,
        }
    }
}

impl std::fmt::Debug for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refused::Busy(_) => "the disk does not keep up",
            Refused::Ended(_) => "the store is closed",
        })
    }
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: Vec<Job>,
    /// Bytes that wait, those that the thread is at included.
    bytes: usize,
    closing: bool,
    standing: Standing,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn start<E: Engine + Send + 'static>(engine: E, pace: Pace) -> io::Result<Writer> {
        let queue = Arc::new(Queue::default());
        queue.lock().standing.usage = engine.usage();
        let rounds = Rounds::new(engine, pace.interval);
        let its = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || run(rounds, &its))?;
        Ok(Writer { queue, limit: pace.queue, thread: Some(thread) })
    }

    /// Hands over a batch; `done` hears of it. Batches are written in the order in which they are handed over. Does not
    /// wait.
    ///
    /// # Errors
    /// When too much is waiting already, or the thread has ended.
    pub fn submit(
        &self,
        batch: Batch,
        until: Durability,
        done: impl FnOnce(Result<(), Arc<super::Error>>) + Send + 'static,
    ) -> Result<(), Refused> {
        let job = Job { batch, until, done: Box::new(done) };
        let mut state = self.queue.lock();
        if state.closing {
            return Err(Refused::Ended(job));
        }
        let bytes = state.bytes + job.batch.bytes();
        // A single batch is taken whatever its size.
        if bytes > self.limit && state.bytes > 0 {
            return Err(Refused::Busy(job));
        }
        state.bytes = bytes;
        state.jobs.push(job);
        drop(state);
        self.queue.changed.notify_one();
        Ok(())
    }

    /// How the store is doing, as of the last round.
    pub fn standing(&self) -> Standing {
        self.queue.lock().standing.clone()
    }

    /// Bytes that wait for the thread.
    pub fn queued(&self) -> usize {
        self.queue.lock().bytes
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.lock().closing = true;
        self.queue.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has ended the process in a release build, and is a test's to see in another.
            let _ = thread.join();
        }
    }
}

fn run<E: Engine>(mut rounds: Rounds<E>, queue: &Queue) {
    let start = Instant::now();
    let mut call_at = None;
    loop {
        let mut state = queue.lock();
        while state.jobs.is_empty() && !state.closing {
            let wait = call_at.map(|at: Duration| at.saturating_sub(start.elapsed()));
            state = match wait {
                Some(Duration::ZERO) => break,
                Some(wait) => {
                    queue.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
                None => queue.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        let jobs = std::mem::take(&mut state.jobs);
        let ending = state.closing && jobs.is_empty();
        drop(state);
        if ending {
            // Whoever had to know was told; for the others there is nobody left to tell.
            let _ = rounds.finish();
            return;
        }
        let bytes: usize = jobs.iter().map(|job| job.batch.bytes()).sum();
        call_at = rounds.round(jobs, start.elapsed());
        let standing = rounds.standing();
        let mut state = queue.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
        state.standing = standing;
    }
}
