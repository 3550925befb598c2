//! What must be true, by what the runtime was told, not by what the plugin believes.
//!
//! P2 and the addresses that pods were told (`homes`) are kept from answers alone. Which binding ended, and whether
//! that was in order, is judged from the journal as an operator sees it (`lease::inspect`), before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use cni::range::RangeSet;
use lease::{Binding, Identity, State, Why};
use testkit::power_cut::PowerCutFs;

use crate::stock;
use crate::world::Sandbox;

/// A promise that was broken.
#[derive(Debug, Clone)]
pub struct Violation {
    pub promise: &'static str,
    pub text: String,
}

pub type Check = Result<(), Violation>;

pub fn broken<T>(promise: &'static str, text: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { promise, text: text.into() })
}

/// What a binding is under a boot, first to be reused first: the oracle's own reading of design §5.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Gone,
    Parked,
    Awaited,
    Live,
}

pub fn kind(binding: &Binding, boot: &str) -> Kind {
    match binding.state {
        State::Gone => Kind::Gone,
        State::Parked if binding.why == Why::PodAwaited => Kind::Awaited,
        State::Parked => Kind::Parked,
        State::Live if binding.boot == boot => Kind::Live,
        State::Live if binding.foreign && binding.pod().is_none() => Kind::Gone,
        State::Live => Kind::Awaited,
    }
}

pub fn pod_of(binding: &Binding) -> Option<&str> {
    match &binding.identity {
        Identity::Pod { name, .. } => Some(name),
        Identity::Container(_) => None,
    }
}

fn same_addresses(one: &[IpAddr], other: &[IpAddr]) -> bool {
    one.iter().collect::<BTreeSet<_>>() == other.iter().collect::<BTreeSet<_>>()
}

#[derive(Debug, Clone, Default)]
pub struct Oracle {
    /// Per pod the addresses it was told last, until another legitimately got one of them.
    pub homes: BTreeMap<String, Vec<IpAddr>>,
    /// When each binding was last seen to change: its place in the order of reuse.
    seen: Vec<(Binding, u64)>,
    changes: u64,
}

impl Oracle {
    /// P2: of the sandboxes that are up, no two share an address.
    pub fn no_address_twice(&self, up: &[&Sandbox]) -> Check {
        let mut users: BTreeMap<IpAddr, &Sandbox> = BTreeMap::new();
        for sandbox in up {
            for address in &sandbox.addresses {
                let Some(other) = users.insert(*address, sandbox) else { continue };
                return broken("P2", format!("{address} is used by {other:?} and by {sandbox:?}"));
            }
        }
        Ok(())
    }

    /// P1, P3: no binding that a pod was told has ended, unless by somebody who may have its address.
    pub fn homes_stand(
        &mut self,
        rows: &[Binding],
        sets: &[RangeSet],
        may_take: impl Fn(&Binding) -> bool,
    ) -> Check {
        let mut taken = Vec::new();
        for (pod, home) in &self.homes {
            let own = |row: &&Binding| pod_of(row) == Some(pod);
            if rows.iter().filter(own).any(|row| same_addresses(&row.addresses, home)) {
                continue;
            }
            let moved = home.iter().any(|address| !sets.iter().any(|set| set.get(*address).is_some()));
            let holder = rows.iter().find(|row| {
                !own(row) && row.addresses.iter().any(|address| home.contains(address)) && may_take(row)
            });
            if holder.is_none() && !moved {
                let now: Vec<_> =
                    rows.iter().filter(|r| r.addresses.iter().any(|a| home.contains(a))).collect();
                return broken("P1", format!("the binding of {pod} to {home:?} ended; instead: {now:?}"));
            }
            taken.push(pod.clone());
        }
        taken.iter().for_each(|pod| drop(self.homes.remove(pod)));
        Ok(())
    }

    /// Notes which bindings changed; all that changed in one command count as changed at once.
    pub fn observe(&mut self, rows: &[Binding]) {
        self.changes += 1;
        let order = |row: &Binding| {
            self.seen.iter().find(|(seen, _)| seen == row).map_or(self.changes, |(_, order)| *order)
        };
        self.seen = rows.iter().map(|row| (row.clone(), order(row))).collect();
    }

    /// Nothing is known any more of the order: the power went, and some of the last changes with it.
    pub fn forget_order(&mut self) {
        self.seen.clear();
    }

    fn order(&self, row: &Binding) -> u64 {
        self.seen.iter().find(|(seen, _)| seen == row).map_or(self.changes, |(_, order)| *order)
    }

    /// §5.5: what another pod had to give was next in the order of reuse, and nothing unbound was left.
    pub fn reuse_was_next(
        &self,
        before: &[Binding],
        pod: &str,
        given: &[IpAddr],
        sets: &[RangeSet],
        boot: &str,
        stands: impl Fn(&str) -> bool,
    ) -> Check {
        let reusable = |row: &Binding| {
            kind(row, boot) != Kind::Live
                && !(row.boot == boot && !row.netns.is_empty() && stands(&row.netns))
        };
        for (at, (address, set)) in given.iter().zip(sets).enumerate() {
            let Some(victim) = before.iter().find(|row| row.addresses.contains(address)) else { continue };
            if pod_of(victim) == Some(pod) {
                continue;
            }
            if !reusable(victim) {
                return broken(
                    "P2",
                    format!("{address} was given to {pod} although it may be in use: {victim:?}"),
                );
            }
            let pool = stock::pool(set);
            let bound = |address: &IpAddr| before.iter().any(|row| row.addresses.contains(address));
            // A dual-stack pod that takes one binding's IPv4 address ends all of it: what is bound is judged before.
            if let Some(unbound) = pool.iter().find(|address| !bound(address)) {
                return broken(
                    "order",
                    format!("{address} of {victim:?} was reused while {unbound} was unbound"),
                );
            }
            let rank = |row: &Binding| (kind(row, boot), self.order(row));
            let better = before.iter().find(|row| {
                pod_of(row) != Some(pod)
                    && reusable(row)
                    && rank(row) < rank(victim)
                    && row
                        .addresses
                        .iter()
                        .any(|address| pool.contains(address) && !given[..at].contains(address))
            });
            if let Some(better) = better {
                return broken(
                    "order",
                    format!(
                        "{pod} got {address} of {victim:?} {:?}, but {better:?} {:?} was next",
                        rank(victim),
                        rank(better)
                    ),
                );
            }
        }
        Ok(())
    }
}

/// The lease files in the directory are the live leases, neither more nor less.
pub fn files_are_the_live_leases(disk: &PowerCutFs, dir: &Path, rows: &[Binding], boot: &str) -> Check {
    let files: BTreeSet<(IpAddr, String)> = stock::leases(disk, dir).into_iter().collect();
    let mut leases = BTreeSet::new();
    for row in rows.iter().filter(|row| kind(row, boot) == Kind::Live) {
        for address in &row.addresses {
            let text = match row.file_ifname() {
                "" => row.container.clone(),
                ifname => format!("{}\r\n{ifname}", row.container),
            };
            leases.insert((*address, text));
        }
    }
    if files == leases {
        return Ok(());
    }
    let only_files: Vec<_> = files.difference(&leases).collect();
    let only_leases: Vec<_> = leases.difference(&files).collect();
    broken(
        "files",
        format!("files without a live lease {only_files:?}, live leases without a file {only_leases:?}"),
    )
}
