//! Connections to the cloud that requests share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use access::lend::Credential;

use super::http2::Sender;

/// Requests at a time on one connection, below what API servers allow (100 to 250 streams): kubelet alone may have
/// more watches than that.
const STREAMS: usize = 80;
/// Connections for one key.
const CONNECTIONS: usize = 16;
/// How long a connection without requests is kept.
const IDLE: Duration = Duration::from_secs(300);
/// Into how many lots those are drawn who come with a credential of their own: what one of them leaves unread does not
/// hold up the others of other lots.
const LOTS: u64 = 16;

/// Requests with equal keys may share a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    credential: Credential,
    lot: u64,
}

impl Key {
    /// The key of requests under `credential`; `drawn` is any number that tells one caller from another.
    #[must_use]
    pub fn new(credential: Credential, drawn: u64) -> Self {
        let lot = if credential == Credential::Own { drawn % LOTS } else { 0 };
        Self { credential, lot }
    }
}

/// A connection.
pub struct Shared {
    sender: Sender,
    generation: u64,
    place: usize,
    /// Told off: what is under way may end, nothing new is sent.
    retired: AtomicBool,
    idle_since: Mutex<Instant>,
}

impl Shared {
    /// Whether it is one of those that may be: what is told off, or was made under older credentials, only ends.
    fn counts(&self, generation: u64) -> bool {
        self.generation == generation && !self.retired.load(Ordering::Relaxed)
    }

    fn takes(&self, generation: u64) -> bool {
        self.counts(generation) && !self.sender.is_closed() && self.sender.active() < STREAMS
    }
}

/// The right to one request on a connection, until it is dropped.
pub struct Ticket(Arc<Shared>);

impl Ticket {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.sender.begins();
        Self(shared.clone())
    }

    /// What sends the request.
    #[must_use]
    pub fn sender(&self) -> &Sender {
        &self.0.sender
    }

    /// Which API server the connection leads to.
    #[must_use]
    pub fn place(&self) -> usize {
        self.0.place
    }

    /// Nothing new is to be sent over this connection.
    pub fn retire(&self) {
        self.0.retired.store(true, Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.0.sender.ends() {
            *self.0.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }
}

/// All of them.
#[derive(Default)]
pub struct Pool {
    all: Mutex<HashMap<Key, Vec<Arc<Shared>>>>,
    dialling: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
    /// Whether the last connection that could have been shared can not be.
    unshared: AtomicBool,
}

/// What is to be had.
pub enum Take {
    /// A place on a connection.
    Ticket(Ticket),
    /// A connection has to be made.
    Connect,
    /// No more may be made.
    Full,
}

impl Pool {
    /// Looks for a place on a connection made under the credentials of `generation`.
    #[must_use]
    pub fn take(&self, key: Key, generation: u64) -> Take {
        let mut all = self.lock();
        let Some(list) = all.get_mut(&key) else { return Take::Connect };
        list.retain(|one| !one.sender.is_closed());
        match list.iter().find(|one| one.takes(generation)) {
            Some(shared) => Take::Ticket(Ticket::new(shared)),
            None if list.iter().filter(|one| one.counts(generation)).count() >= CONNECTIONS => Take::Full,
            None => Take::Connect,
        }
    }

    /// Adds a connection and takes a place on it.
    pub fn add(&self, key: Key, generation: u64, place: usize, sender: Sender) -> Ticket {
        let shared = Arc::new(Shared {
            sender,
            generation,
            place,
            retired: AtomicBool::new(false),
            idle_since: Mutex::new(Instant::now()),
        });
        let ticket = Ticket::new(&shared);
        self.lock().entry(key).or_default().push(shared);
        ticket
    }

    /// Who connects for `key` holds this, so that others wait for the outcome.
    #[must_use]
    pub fn dialling(&self, key: Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut dialling = self.dialling.lock().unwrap_or_else(PoisonError::into_inner);
        dialling.entry(key).or_default().clone()
    }

    /// Whether somebody who waits for another one's connection may hope for a place on it.
    #[must_use]
    pub fn is_worth_waiting(&self) -> bool {
        !self.unshared.load(Ordering::Relaxed)
    }

    /// Notes whether a connection just made can be shared.
    pub fn made(&self, can_be_shared: bool) {
        self.unshared.store(!can_be_shared, Ordering::Relaxed);
    }

    /// Nothing new is sent over what is open now: its way may be dead while its ends do not know.
    pub fn retire_all(&self) {
        for shared in self.lock().values().flatten() {
            shared.retired.store(true, Ordering::Relaxed);
        }
    }

    /// Lets go of connections that are of no use any more: idle for long, told off, or closed.
    pub fn sweep(&self, now: Instant) {
        self.lock().retain(|_, list| {
            list.retain(|one| {
                if one.sender.is_closed() {
                    return false;
                }
                let since = *one.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
                let idle = one.sender.active() == 0;
                let old = now.saturating_duration_since(since) > IDLE;
                !(idle && (old || one.retired.load(Ordering::Relaxed)))
            });
            !list.is_empty()
        });
    }

    /// How many are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().values().flatten().filter(|one| !one.sender.is_closed()).count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Arc<Shared>>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
