//! What the node has said to somebody, each with how far its disk was then; and what it owes after a cut.
//!
//! Something that was said at a position is owed by every cut at this position or a later one. Something that was begun at
//! a position, like the deletion of a pod, may have had its effect in every cut later than that, whether or not anybody
//! has heard of it.

use std::collections::{BTreeMap, BTreeSet};

/// A pod in a network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The network.
    pub network: String,
    /// The pod's name.
    pub pod: String,
}

/// What somebody has heard from the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The plugin: this pod has these addresses.
    Bound(Place, Vec<String>),
    /// The hub: this pod is there.
    Shown(Shown),
    /// The hub: the pod with this uid is there no more.
    Gone(String),
    /// The hub: everything up to this version.
    Version(u64),
    /// The hub, to a write of kubelet's while the cloud could not be reached: done. Writes to one pod are counted.
    Staged {
        /// The pod's uid.
        uid: String,
        /// Which of the writes to it.
        round: u64,
    },
}

/// What the hub showed of a pod. Whatever else changes of it may be forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// Its uid.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Whether it is to be deleted.
    pub ending: bool,
    /// Whether it has finished.
    pub finished: bool,
    /// Which staged write its status shows.
    pub round: u64,
}

/// What was begun, by somebody who did not wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// A sandbox ends in a network where addresses are short: the binding may go to another pod.
    Parked(Place),
    /// The cloud deletes the pod with this uid.
    Deleted(String),
    /// The cloud can be reached: what was staged goes there.
    Healed,
}

/// All that was heard and begun, in order.
#[derive(Debug, Default)]
pub struct Diary {
    said: Vec<(usize, Said)>,
    begun: Vec<(usize, Begun)>,
}

/// What a node owes that lost power at some position.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// Bindings, and whether each must be there: one that need not be has its address or is no more.
    pub bindings: BTreeMap<Place, (Vec<String>, bool)>,
    /// The node and the pods that must be there as they were shown, or further on.
    pub objects: BTreeMap<String, Shown>,
    /// Pods that may be gone; as they were shown if they are there.
    pub perhaps: BTreeMap<String, Shown>,
    /// Pods that must not be there again.
    pub gone: BTreeSet<String>,
    /// Versions begin above this one.
    pub version: u64,
}

impl Diary {
    /// Notes what was heard.
    pub fn hear(&mut self, position: usize, said: Said) {
        self.said.push((position, said));
    }

    /// Notes what is about to be begun.
    pub fn begin(&mut self, position: usize, begun: Begun) {
        self.begun.push((position, begun));
    }

    /// The positions at which the node came to owe more: bindings, pods, staged writes.
    pub fn promises(&self) -> [Vec<usize>; 3] {
        let mut promises = [const { Vec::new() }; 3];
        let [bindings, pods, staged] = &mut promises;
        let mut known: BTreeMap<&str, Shown> = BTreeMap::new();
        for (position, said) in &self.said {
            match said {
                Said::Bound(..) => bindings.push(*position),
                Said::Shown(shown) => {
                    let before = known.entry(&shown.uid).or_default();
                    let mut now = before.clone();
                    now.take(shown);
                    if now != *before {
                        *before = now;
                        pods.push(*position);
                    }
                }
                Said::Gone(_) => pods.push(*position),
                Said::Staged { .. } => staged.push(*position),
                Said::Version(_) => {}
            }
        }
        promises
    }

    /// What is owed by a node that lost power when its disk's log had `cut` entries.
    pub fn owed(&self, cut: usize) -> Owed {
        let mut owed = Owed::default();
        let said = self.said.iter().filter(|(position, _)| *position <= cut);
        let begun = self.begun.iter().filter(|(position, _)| *position < cut);
        // In the order of their positions; at the same one, first what was heard.
        let mut all: Vec<(usize, Result<&Said, &Begun>)> = said.map(|(at, said)| (*at, Ok(said))).collect();
        all.extend(begun.map(|(at, begun)| (*at, Err(begun))));
        all.sort_by_key(|(at, what)| (*at, what.is_err()));
        for (_, what) in all {
            match what {
                Ok(said) => owed.hear(said),
                Err(begun) => owed.begin(begun),
            }
        }
        owed
    }
}

impl Owed {
    fn hear(&mut self, said: &Said) {
        match said {
            Said::Bound(place, addresses) => {
                self.bindings.insert(place.clone(), (addresses.clone(), true));
            }
            Said::Shown(shown) => {
                if let Some(perhaps) = self.perhaps.get_mut(&shown.uid) {
                    perhaps.take(shown);
                } else if !self.gone.contains(&shown.uid) {
                    self.objects.entry(shown.uid.clone()).or_default().take(shown);
                }
            }
            Said::Gone(uid) => {
                self.objects.remove(uid);
                self.perhaps.remove(uid);
                self.gone.insert(uid.clone());
            }
            Said::Version(version) => self.version = self.version.max(*version),
            Said::Staged { uid, round } => {
                for pods in [&mut self.objects, &mut self.perhaps] {
                    if let Some(pod) = pods.get_mut(uid) {
                        pod.round = pod.round.max(*round);
                    }
                }
            }
        }
    }

    fn begin(&mut self, begun: &Begun) {
        match begun {
            Begun::Parked(place) => {
                self.bindings.entry(place.clone()).and_modify(|(_, must)| *must = false);
            }
            Begun::Deleted(uid) => {
                if !self.gone.contains(uid) {
                    let shown = self.objects.remove(uid).unwrap_or_default();
                    self.perhaps.insert(uid.clone(), Shown { uid: uid.clone(), ..shown });
                }
            }
            Begun::Healed => {
                for pod in self.objects.values_mut().chain(self.perhaps.values_mut()) {
                    pod.round = 0;
                }
            }
        }
    }

    /// What is wrong with the bindings that the node has after the cut.
    pub fn bindings_broken(&self, found: &[(Place, Vec<String>)]) -> Vec<String> {
        let mut broken = Vec::new();
        let mut holders: BTreeMap<&str, &Place> = BTreeMap::new();
        for (place, addresses) in found {
            for address in addresses {
                // Ranges of different networks do not overlap.
                if let Some(other) = holders.insert(address, place) {
                    broken.push(format!("{address} is bound to {other} and to {place}"));
                }
            }
        }
        let found: BTreeMap<&Place, &Vec<String>> = found.iter().map(|(place, held)| (place, held)).collect();
        for (place, (addresses, must)) in &self.bindings {
            match found.get(place) {
                Some(held) if *held == addresses => {}
                None if !must => {}
                // Its addresses went to another pod, and it got others since.
                Some(_) if !must => {}
                Some(held) => broken.push(format!("{place} was told {addresses:?} and is bound to {held:?}")),
                None => broken.push(format!("{place} was told {addresses:?}, of which nothing is known")),
            }
        }
        broken
    }

    /// What is wrong with the pods that the hub shows after the cut, at this version.
    pub fn objects_broken(&self, found: &[Shown], version: u64) -> Vec<String> {
        let mut broken = Vec::new();
        if version < self.version {
            broken.push(format!("version {version} is shown after {}", self.version));
        }
        let found: BTreeMap<&str, &Shown> = found.iter().map(|pod| (pod.uid.as_str(), pod)).collect();
        for uid in self.gone.iter().filter(|uid| found.contains_key(uid.as_str())) {
            broken.push(format!("the pod {uid} is back, which was shown as deleted"));
        }
        for (uid, was) in self.objects.iter().chain(&self.perhaps) {
            let name = &was.name;
            match found.get(uid.as_str()) {
                None if self.objects.contains_key(uid) => {
                    broken.push(format!("the pod {name} is not shown any more"))
                }
                None => {}
                Some(is) if was.ending && !is.ending => {
                    broken.push(format!("the pod {name} is not to be deleted any more"))
                }
                Some(is) if was.finished && !is.finished => {
                    broken.push(format!("the pod {name} has not finished any more"))
                }
                Some(is) if is.round < was.round => {
                    broken.push(format!(
                        "the pod {name} shows write {} where {} was answered",
                        is.round, was.round
                    ));
                }
                Some(_) => {}
            }
        }
        broken
    }
}

impl Shown {
    /// Nothing that was shown once is taken back.
    fn take(&mut self, newer: &Shown) {
        let Shown { uid, name, ending, finished, round } = newer.clone();
        *self = Shown {
            uid,
            name,
            ending: self.ending || ending,
            finished: self.finished || finished,
            round: self.round.max(round),
        };
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}", self.pod, self.network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(pod: &str) -> Place {
        Place { network: "n".into(), pod: pod.into() }
    }

    fn bound(pod: &str, address: &str) -> Said {
        Said::Bound(place(pod), vec![address.into()])
    }

    fn shown(uid: &str) -> Shown {
        Shown { uid: uid.into(), name: uid.into(), ..Shown::default() }
    }

    fn found(pod: &str, address: &str) -> (Place, Vec<String>) {
        (place(pod), vec![address.into()])
    }

    #[test]
    fn a_binding_is_owed_from_the_position_at_which_it_was_heard() {
        let mut diary = Diary::default();
        diary.hear(5, bound("a", "1"));
        assert_eq!(diary.owed(4), Owed::default());
        let owed = diary.owed(5);
        assert_eq!(owed.bindings_broken(&[found("a", "1")]), [""; 0]);
        assert_eq!(owed.bindings_broken(&[]), ["a in n was told [\"1\"], of which nothing is known"]);
        assert_eq!(owed.bindings_broken(&[found("a", "2")]).len(), 1);
    }

    #[test]
    fn a_binding_that_was_parked_may_have_gone_to_another_and_is_never_shared() {
        let mut diary = Diary::default();
        diary.hear(5, bound("a", "1"));
        diary.begin(6, Begun::Parked(place("a")));
        assert_eq!(
            diary.owed(6).bindings_broken(&[found("b", "1")]).len(),
            1,
            "it cannot have had an effect yet"
        );
        let owed = diary.owed(7);
        assert_eq!(owed.bindings_broken(&[found("b", "1")]), [""; 0]);
        assert_eq!(owed.bindings_broken(&[found("a", "1"), found("b", "1")]).len(), 1);
        diary.hear(8, bound("a", "1"));
        assert_eq!(diary.owed(8).bindings_broken(&[found("b", "1")]).len(), 1, "it was told once more");
    }

    #[test]
    fn what_was_shown_of_a_pod_is_owed_and_nothing_is_taken_back() {
        let mut diary = Diary::default();
        diary.hear(1, Said::Shown(shown("a")));
        diary.hear(2, Said::Shown(Shown { finished: true, ..shown("a") }));
        diary.hear(3, Said::Shown(Shown { ending: true, finished: true, ..shown("a") }));
        diary.hear(3, Said::Version(9));
        let owed = diary.owed(3);
        assert_eq!(owed.objects_broken(&[Shown { ending: true, finished: true, ..shown("a") }], 9), [""; 0]);
        assert_eq!(owed.objects_broken(&[shown("a")], 10), ["the pod a is not to be deleted any more"]);
        assert_eq!(
            owed.objects_broken(&[], 8),
            ["version 8 is shown after 9", "the pod a is not shown any more"]
        );
        assert_eq!(diary.owed(2).objects_broken(&[shown("a")], 0), ["the pod a has not finished any more"]);
    }

    #[test]
    fn a_pod_that_the_cloud_deletes_may_be_there_until_it_was_shown_as_gone() {
        let mut diary = Diary::default();
        diary.hear(1, Said::Shown(shown("a")));
        diary.begin(2, Begun::Deleted("a".into()));
        assert_eq!(diary.owed(2).objects_broken(&[], 0).len(), 1);
        for there in [vec![], vec![shown("a")]] {
            assert_eq!(diary.owed(3).objects_broken(&there, 0), [""; 0]);
        }
        diary.hear(4, Said::Gone("a".into()));
        assert_eq!(diary.owed(4).objects_broken(&[], 0), [""; 0]);
        assert_eq!(diary.owed(4).objects_broken(&[shown("a")], 0).len(), 1);
    }

    #[test]
    fn what_is_shown_once_more_is_no_new_promise() {
        let mut diary = Diary::default();
        diary.hear(1, Said::Shown(shown("a")));
        diary.hear(2, Said::Shown(shown("a")));
        diary.hear(3, Said::Shown(Shown { finished: true, ..shown("a") }));
        diary.hear(4, Said::Version(7));
        diary.hear(5, bound("a", "1"));
        diary.hear(6, Said::Gone("a".into()));
        assert_eq!(diary.promises(), [vec![5], vec![1, 3, 6], vec![]]);
    }

    #[test]
    fn a_staged_write_is_owed_until_the_cloud_can_be_reached() {
        let mut diary = Diary::default();
        diary.hear(1, Said::Shown(shown("a")));
        diary.hear(2, Said::Staged { uid: "a".into(), round: 3 });
        diary.begin(4, Begun::Healed);
        let of = |round| [Shown { round, ..shown("a") }];
        assert_eq!(diary.owed(4).objects_broken(&of(2), 0), ["the pod a shows write 2 where 3 was answered"]);
        assert_eq!(diary.owed(4).objects_broken(&of(4), 0), [""; 0]);
        assert_eq!(diary.owed(5).objects_broken(&of(0), 0), [""; 0]);
    }
}
