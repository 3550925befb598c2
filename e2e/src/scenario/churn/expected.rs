//! What must come of each call, by the documented order of choice alone: the pod's own addresses; else ones that
//! nobody is bound to; else those parked first; last those whose pod only a reboot has stopped, the oldest first.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

/// The addresses of one pod, one of each family.
pub type Addresses = Vec<IpAddr>;

/// Whose addresses an ADD must give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// The pod's own.
    Own(Addresses),
    /// Ones that nobody was bound to.
    Unbound(Addresses),
    /// Those of this pod, which is next to give its own up.
    Of(String, Addresses),
    /// None are left.
    None,
}

/// The pool as it must be.
pub struct Expected {
    unbound: VecDeque<Addresses>,
    parked: VecDeque<(String, Addresses)>,
    rebooted: VecDeque<(String, Addresses)>,
    /// In the order in which they were given.
    live: VecDeque<(String, Addresses)>,
}

impl Expected {
    /// A pool of `unbound` addresses, in the order of the round robin.
    pub fn new(unbound: impl IntoIterator<Item = Addresses>) -> Self {
        let unbound = unbound.into_iter().collect();
        Self { unbound, parked: VecDeque::new(), rebooted: VecDeque::new(), live: VecDeque::new() }
    }

    /// The pod gets a sandbox.
    pub fn add(&mut self, name: &str) -> Due {
        let due = self.due(name);
        let given = match &due {
            Due::Own(addresses) | Due::Unbound(addresses) | Due::Of(_, addresses) => addresses.clone(),
            Due::None => return due,
        };
        self.live.push_back((name.to_owned(), given));
        due
    }

    fn due(&mut self, name: &str) -> Due {
        for waiting in [&mut self.parked, &mut self.rebooted] {
            if let Some((_, own)) = take(waiting, name) {
                return Due::Own(own);
            }
        }
        if let Some(addresses) = self.unbound.pop_front() {
            return Due::Unbound(addresses);
        }
        let oldest = self.parked.pop_front().or_else(|| self.rebooted.pop_front());
        oldest.map_or(Due::None, |(victim, addresses)| Due::Of(victim, addresses))
    }

    /// The pod's sandbox ends, one of an earlier boot included.
    pub fn del(&mut self, name: &str) {
        let ended = take(&mut self.live, name).or_else(|| take(&mut self.rebooted, name));
        self.parked.extend(ended);
    }

    /// Every sandbox ends and nobody says so.
    pub fn reboot(&mut self) {
        self.rebooted.append(&mut self.live);
    }

    /// Who must be live with which address.
    pub fn holders(&self) -> BTreeMap<IpAddr, &str> {
        let pairs = self.live.iter().flat_map(|(name, own)| own.iter().map(move |one| (*one, name.as_str())));
        pairs.collect()
    }

    /// How many pods are live.
    pub fn live(&self) -> usize {
        self.live.len()
    }
}

fn take(from: &mut VecDeque<(String, Addresses)>, name: &str) -> Option<(String, Addresses)> {
    let place = from.iter().position(|(other, _)| other == name)?;
    from.remove(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(last: u8) -> Addresses {
        vec![IpAddr::from([10, 0, 0, last])]
    }

    #[test]
    fn the_oldest_parked_goes_first_and_a_pod_that_comes_back_in_time_keeps_its_own() {
        let mut pool = Expected::new([one(2), one(3)]);
        assert_eq!(pool.add("a"), Due::Unbound(one(2)));
        assert_eq!(pool.add("b"), Due::Unbound(one(3)));
        assert_eq!(pool.add("c"), Due::None);
        pool.del("b");
        pool.del("a");
        assert_eq!(pool.add("c"), Due::Of("b".to_owned(), one(3)));
        assert_eq!(pool.add("a"), Due::Own(one(2)));
    }

    #[test]
    fn what_only_a_reboot_stopped_is_taken_last() {
        let mut pool = Expected::new([one(2), one(3)]);
        pool.add("a");
        pool.add("b");
        pool.reboot();
        pool.del("b");
        assert_eq!(pool.add("c"), Due::Of("b".to_owned(), one(3)));
        assert_eq!(pool.add("d"), Due::Of("a".to_owned(), one(2)));
    }
}
