//! Which addresses an ADD gets.
//!
//! The rule (design §5.5): a requested address; else the pod's own; else one that nobody is bound to, round robin as
//! host-local goes; else the one whose pod has been gone longest; else the longest parked; last those whose pod is
//! awaited, because the reboot has stopped it or the API server has it. An address whose sandbox may still run is never chosen (P2).

use std::io;
use std::net::IpAddr;
use std::path::Path;

use cni::range::{Range, RangeSet};
use cni::retain::Reclaim;
use durable::fs::Fs;

use crate::binding::{Binding, Class, State};
use crate::error::Error;
use crate::occupancy::{self, address, number};
use crate::store::{Store, trouble};

/// What was chosen for one range set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub address: IpAddr,
    /// Whether the round robin goes on behind it: it was not the pod's own.
    pub moves_cursor: bool,
}

impl<F: Fs> Store<'_, F> {
    /// One address per range set for a pod whose present binding is `home`, or an error that says which set has none.
    pub(crate) fn choose(
        &self,
        sets: &[RangeSet],
        requested: &[IpAddr],
        home: Option<(u32, &Binding)>,
    ) -> Result<Vec<Choice>, Error> {
        let mut left = requested.to_vec();
        let mut chosen: Vec<Choice> = Vec::new();
        for (at, set) in sets.iter().enumerate() {
            let wanted = left.iter().position(|address| set.get(*address).is_some());
            let choice = match wanted.map(|position| left.remove(position)) {
                Some(address) => {
                    self.check_requested(at, set, address, home)?;
                    Choice { address, moves_cursor: true }
                }
                None => match home.and_then(|(_, binding)| self.own(set, binding, &chosen)) {
                    Some(address) => Choice { address, moves_cursor: false },
                    None => {
                        let address = self.pick(at, set, &chosen, home.map(|(slot, _)| slot))?;
                        Choice { address, moves_cursor: true }
                    }
                },
            };
            chosen.push(choice);
        }
        if left.is_empty() { Ok(chosen) } else { Err(Error::NotAllRequested(left)) }
    }

    /// Whether a range set could serve one more pod.
    pub(crate) fn can_serve(&self, at: usize, set: &RangeSet) -> Result<(), Error> {
        self.pick(at, set, &[], None).map(|_| ())
    }

    fn check_requested(
        &self,
        at: usize,
        set: &RangeSet,
        address: IpAddr,
        home: Option<(u32, &Binding)>,
    ) -> Result<(), Error> {
        if set.get(address).is_some_and(|range| range.gateway == Some(address)) {
            return Err(Error::Gateway { set: at, address });
        }
        let taken = match self.by_address(address)? {
            Some((slot, _)) if home.is_some_and(|(own, _)| own == slot) => false,
            Some((_, holder)) => !self.may_reclaim(holder.class(&self.now.boot)) || self.is_occupied(&holder),
            None => false,
        };
        if taken || self.directory.is_blocked(address) {
            Err(Error::Unavailable { set: at, address, ranges: set.to_string() })
        } else {
            Ok(())
        }
    }

    fn pick(&self, at: usize, set: &RangeSet, chosen: &[Choice], home: Option<u32>) -> Result<IpAddr, Error> {
        if let Some(address) = self.unbound(at, set, chosen)? {
            return Ok(address);
        }
        for class in Class::REUSABLE.into_iter().filter(|class| self.may_reclaim(*class)) {
            let mut next = self.index.first(class);
            while let Some(slot) = next {
                next = self.index.next(slot).map_err(trouble)?;
                if home == Some(slot) {
                    continue;
                }
                if let Some(binding) = self.binding(slot)?
                    && let Some(address) = self.own(set, &binding, chosen)
                    && !self.is_occupied(&binding)
                {
                    return Ok(address);
                }
            }
        }
        Err(Error::Exhausted { set: at, ranges: set.to_string() })
    }

    /// The next address after the cursor that nobody is bound to.
    fn unbound(&self, at: usize, set: &RangeSet, chosen: &[Choice]) -> Result<Option<IpAddr>, Error> {
        let ranges = set.ranges();
        let cursor = self.directory.cursor(at);
        let start = cursor.and_then(|cursor| {
            ranges.iter().position(|range| range.contains(cursor)).map(|position| (position, cursor))
        });
        // From behind the cursor to the end of its range, round all the others, and up to the cursor at last.
        let (first, cursor) = match start {
            Some((position, cursor)) => (position, Some(cursor)),
            None => (0, None),
        };
        for step in 0..=ranges.len() {
            let Some(range) = ranges.get((first + step) % ranges.len()) else { break };
            let (mut from, mut to) = (number(range.start), number(range.end));
            match cursor.map(number) {
                Some(cursor) if step == 0 => from = cursor.saturating_add(1),
                Some(cursor) if step == ranges.len() => to = cursor,
                None if step == ranges.len() => break,
                _ => {}
            }
            if let Some(address) = self.unbound_in(range, from, to, chosen)? {
                return Ok(Some(address));
            }
        }
        Ok(None)
    }

    fn unbound_in(
        &self,
        range: &Range,
        from: u128,
        to: u128,
        chosen: &[Choice],
    ) -> Result<Option<IpAddr>, Error> {
        let mut from = from;
        while from <= to {
            let Some(found) = occupancy::next_clear(&self.index, from, to).map_err(trouble)? else { break };
            let candidate = address(found, range.start);
            let skip = range.gateway == Some(candidate)
                || chosen.iter().any(|choice| choice.address == candidate)
                || self.by_address(candidate)?.is_some()
                || self.directory.is_blocked(candidate);
            if !skip {
                return Ok(Some(candidate));
            }
            let Some(next) = found.checked_add(1) else { break };
            from = next;
        }
        Ok(None)
    }

    /// Whether bindings of this class may be given to another pod.
    fn may_reclaim(&self, class: Class) -> bool {
        match class {
            Class::Gone => true,
            Class::Parked | Class::Awaited => self.policy.reclaim == Reclaim::Pressure,
            Class::Live => false,
        }
    }

    /// Whether a sandbox may still use the addresses: made under this boot, not said to be dead by its runtime, and
    /// its network namespace still stands. Of a lease that another program made the namespace is not known: as long
    /// as it is live, its sandbox may run.
    pub(crate) fn is_occupied(&self, binding: &Binding) -> bool {
        let ours = binding.boot == self.now.boot;
        if binding.netns.is_empty() {
            return ours && binding.state == State::Live;
        }
        // Only that it is not there says that it is gone; a path that cannot be looked at may still lead to it.
        let gone = |e: io::Error| matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        ours && !self.fs.metadata(Path::new(&binding.netns)).is_err_and(gone)
    }

    /// The address of a binding that a set can go on serving.
    fn own(&self, set: &RangeSet, binding: &Binding, chosen: &[Choice]) -> Option<IpAddr> {
        binding.addresses.iter().copied().find(|address| {
            set.get(*address).is_some_and(|range| range.gateway != Some(*address))
                && !chosen.iter().any(|choice| choice.address == *address)
                && !self.directory.is_blocked(*address)
        })
    }
}
