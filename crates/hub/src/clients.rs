//! How many may be connected to the hub, and who has to go when there are too many.
//!
//! A connection is a stranger's until a request on it was made by somebody who could prove who they are. Strangers have
//! little room, and the oldest one of the address with the most of them makes room for the next: who opens connections
//! without end is in the way of its own address first. Of those who come with a token, only so many are known that there is
//! always room for who comes with a certificate, kubelet above all.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
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
    certified: usize,
    bearers: usize,
    strangers: BTreeMap<u64, Stranger>,
}

struct Stranger {
    from: IpAddr,
    go: Arc<Notify>,
}

impl List {
    fn known(&self) -> usize {
        self.certified + self.bearers
    }

    /// Takes the oldest stranger of the address with the most of them off the list.
    fn crowded_out(&mut self) -> Option<Arc<Notify>> {
        let mut crowds: HashMap<IpAddr, usize> = HashMap::new();
        for stranger in self.strangers.values() {
            *crowds.entry(stranger.from).or_default() += 1;
        }
        let (crowd, _) = crowds.into_iter().max_by_key(|(_, size)| *size)?;
        let oldest = self.strangers.iter().find(|(_, one)| one.from == crowd).map(|(number, _)| *number)?;
        self.strangers.remove(&oldest).map(|stranger| stranger.go)
    }
}

/// How somebody has proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// With a client certificate.
    Certificate,
    /// With a token that the cloud took.
    Token,
}

/// The right to a connection, until it is dropped.
pub struct Admitted {
    clients: Arc<Clients>,
    number: u64,
    known: Mutex<Option<Proof>>,
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
    pub fn admit(self: &Arc<Self>, from: IpAddr) -> Option<Admitted> {
        let mut list = self.lock();
        let full = list.known() + list.strangers.len() >= self.most;
        if full || list.strangers.len() >= self.most_strangers {
            self.sent_away.fetch_add(1, Ordering::Relaxed);
            list.crowded_out()?.notify_one();
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let go = Arc::new(Notify::new());
        list.strangers.insert(number, Stranger { from, go: go.clone() });
        Some(Admitted { clients: self.clone(), number, known: Mutex::new(None), go })
    }

    /// How many there are: known, and strangers.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let list = self.lock();
        (list.known(), list.strangers.len())
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted {
    /// Whoever is at the other end has proved who they are. Of too many with a token the latest stay strangers.
    pub fn is_known(&self, proof: Proof) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some() {
            return;
        }
        let mut list = self.clients.lock();
        if proof == Proof::Token && list.bearers >= self.clients.most / 4 * 3 {
            return;
        }
        // One that is being sent away already stays on no list.
        if list.strangers.remove(&self.number).is_some() {
            match proof {
                Proof::Certificate => list.certified += 1,
                Proof::Token => list.bearers += 1,
            }
            *known = Some(proof);
        }
    }

    /// Ends when this connection has to go.
    pub async fn sent_away(&self) {
        self.go.notified().await;
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list = self.clients.lock();
        match known {
            None => drop(list.strangers.remove(&self.number)),
            Some(Proof::Certificate) => list.certified = list.certified.saturating_sub(1),
            Some(Proof::Token) => list.bearers = list.bearers.saturating_sub(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const POD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 244, 0, 7));

    #[test]
    fn strangers_push_each_other_out_and_nobody_else() {
        let clients = Clients::new(10, 3);
        let kubelet = clients.admit(HERE).unwrap();
        kubelet.is_known(Proof::Certificate);
        let crowd: Vec<_> = (0..100).map(|_| clients.admit(HERE).unwrap()).collect();
        assert_eq!(clients.count(), (1, 3));
        assert_eq!(clients.sent_away.load(Ordering::Relaxed), 97);
        crowd[0].is_known(Proof::Certificate);
        assert_eq!(clients.count(), (1, 3), "who was sent away does not come back");
        drop(crowd);
        drop(kubelet);
        assert_eq!(clients.count(), (0, 0));
    }

    #[test]
    fn a_crowd_is_in_the_way_of_its_own_address() {
        let clients = Clients::new(100, 10);
        let kubelet = clients.admit(HERE).unwrap();
        let _crowd: Vec<_> = (0..100).map(|_| clients.admit(POD).unwrap()).collect();
        kubelet.is_known(Proof::Certificate);
        assert_eq!(clients.count(), (1, 9), "kubelet was in the middle of its handshake all the time");
    }

    #[test]
    fn tokens_leave_room_for_certificates() {
        let clients = Clients::new(8, 8);
        let pods: Vec<_> = (0..20)
            .filter_map(|_| {
                let pod = clients.admit(POD)?;
                pod.is_known(Proof::Token);
                Some(pod)
            })
            .collect();
        assert_eq!(clients.count().0, 6);
        let kubelet = clients.admit(HERE).unwrap();
        kubelet.is_known(Proof::Certificate);
        assert_eq!(clients.count().0, 7);
        drop(pods);
    }

    #[test]
    fn a_room_full_of_known_ones_takes_nobody_else() {
        let clients = Clients::new(2, 2);
        let both: Vec<_> = (0..2).map(|_| clients.admit(HERE).unwrap()).collect();
        both.iter().for_each(|one| one.is_known(Proof::Certificate));
        assert!(clients.admit(HERE).is_none());
        drop(both);
        assert!(clients.admit(HERE).is_some());
    }
}
