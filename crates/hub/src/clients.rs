//! How many may be connected to the hub, and who has to go when there are too many.
//!
//! A connection is a stranger's until a request on it was made by somebody who could prove who they are. Strangers have
//! little room, and the oldest of them makes room for the next: a program that opens connections without end is in its own
//! way only.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// All connections to the hub.
pub struct Clients {
    most: usize,
    most_strangers: usize,
    next: AtomicU64,
    /// Connections that had to go.
    pub sent_away: AtomicU64,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    known: usize,
    strangers: BTreeMap<u64, Arc<Notify>>,
}

/// The right to a connection, until it is dropped.
pub struct Admitted {
    clients: Arc<Clients>,
    number: u64,
    stranger: AtomicBool,
    go: Arc<Notify>,
}

impl Clients {
    /// Room for `most` connections, `most_strangers` of them of strangers.
    #[must_use]
    pub fn new(most: usize, most_strangers: usize) -> Arc<Self> {
        let (next, sent_away, list) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::default());
        Arc::new(Self { most, most_strangers, next, sent_away, list })
    }

    /// Admits a connection, and sends the oldest stranger away if need be. `None`: everybody here is known, and the room is
    /// full.
    #[must_use]
    pub fn admit(self: &Arc<Self>) -> Option<Admitted> {
        let mut list = self.lock();
        let full = list.known + list.strangers.len() >= self.most;
        if full || list.strangers.len() >= self.most_strangers {
            self.sent_away.fetch_add(1, Ordering::Relaxed);
            let (_, go) = list.strangers.pop_first()?;
            go.notify_one();
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let go = Arc::new(Notify::new());
        list.strangers.insert(number, go.clone());
        Some(Admitted { clients: self.clone(), number, stranger: AtomicBool::new(true), go })
    }

    /// How many there are: known, and strangers.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let list = self.lock();
        (list.known, list.strangers.len())
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted {
    /// Whoever is at the other end has proved who they are.
    pub fn is_known(&self) {
        if !self.stranger.load(Ordering::Relaxed) {
            return;
        }
        let mut list = self.clients.lock();
        // One that is being sent away already stays on no list.
        if list.strangers.remove(&self.number).is_some() {
            list.known += 1;
            self.stranger.store(false, Ordering::Relaxed);
        }
    }

    /// Ends when this connection has to go.
    pub async fn sent_away(&self) {
        self.go.notified().await;
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut list = self.clients.lock();
        if self.stranger.load(Ordering::Relaxed) {
            list.strangers.remove(&self.number);
        } else {
            list.known = list.known.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_push_each_other_out_and_nobody_else() {
        let clients = Clients::new(10, 3);
        let kubelet = clients.admit().unwrap();
        kubelet.is_known();
        let crowd: Vec<_> = (0..100).map(|_| clients.admit().unwrap()).collect();
        assert_eq!(clients.count(), (1, 3));
        assert_eq!(clients.sent_away.load(Ordering::Relaxed), 97);
        crowd[0].is_known();
        assert_eq!(clients.count(), (1, 3), "who was sent away does not come back");
        drop(crowd);
        drop(kubelet);
        assert_eq!(clients.count(), (0, 0));
    }

    #[test]
    fn a_room_full_of_known_ones_takes_nobody_else() {
        let clients = Clients::new(2, 2);
        let both: Vec<_> = (0..2).map(|_| clients.admit().unwrap()).collect();
        both.iter().for_each(Admitted::is_known);
        assert!(clients.admit().is_none());
        drop(both);
        assert!(clients.admit().is_some());
    }
}
