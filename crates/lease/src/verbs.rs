//! What the plugin's commands do to the bindings.

use std::net::IpAddr;
use std::time::Duration;

use cni::range::RangeSet;
use cni::retain::{Hold, PodKey, RepeatAdd};
use durable::fs::Fs;

use crate::binding::{Binding, Class, Identity, State, Why};
use crate::choose::Choice;
use crate::error::Error;
use crate::index::Key;
use crate::record::{Network, Record};
use crate::store::{Store, trouble};

/// How many expired bindings one command ends at the most, so that none takes long.
const EXPIRE_AT_ONCE: usize = 64;

/// An ADD.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose sandbox it is.
    pub identity: Identity,
    /// The sandbox's container id.
    pub container: String,
    /// The interface in it.
    pub ifname: String,
    /// Path of its network namespace.
    pub netns: String,
    /// Addresses asked for by configuration, runtime or pod.
    pub requested: Vec<IpAddr>,
}

/// Which bindings an operator means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one that has this address.
    Address(IpAddr),
    /// All of a pod, by namespace and name.
    Pod(String, String),
}

impl Which {
    /// Whether a binding is meant.
    pub fn is(&self, binding: &Binding) -> bool {
        match self {
            Which::Address(address) => binding.addresses.contains(address),
            Which::Pod(namespace, name) => binding.pod() == Some((namespace, name)),
        }
    }
}

impl<F: Fs> Store<'_, F> {
    /// Gives the sandbox one address per range set, in their order.
    pub fn add(&mut self, request: &Request, sets: &[RangeSet]) -> Result<Vec<IpAddr>, Error> {
        self.expire()?;
        match self.try_add(request, sets) {
            // A lease file where none should be: look at the directory as it is, once.
            Err(Error::Interfered(_)) => {
                self.adopt()?;
                self.try_add(request, sets)
            }
            other => other,
        }
    }

    fn try_add(&mut self, request: &Request, sets: &[RangeSet]) -> Result<Vec<IpAddr>, Error> {
        let held = self.held_by(&request.container, &request.ifname)?;
        if let Some((_, binding)) = &held
            && self.policy.repeat_add == RepeatAdd::Error
            && request.requested.is_empty()
        {
            let address = binding.addresses.first().copied().unwrap_or(IpAddr::from([0; 4]));
            return Err(Error::Duplicate { address, container: binding.container.clone() });
        }
        let (home, others) = self.home(request, held)?;
        let choices = self.choose(sets, &request.requested, home.as_ref().map(|(slot, b)| (*slot, b)))?;
        let addresses: Vec<IpAddr> = choices.iter().map(|choice| choice.address).collect();
        let slot = home.as_ref().map_or_else(|| self.free_slot(), |(slot, _)| Ok(*slot))?;
        let home = home.map(|(_, binding)| binding);
        if let Some(address) = home.as_ref().and_then(|home| self.wrested(home, request, sets, &addresses)) {
            return Err(Error::Duplicate { address, container: request.container.clone() });
        }
        let new = Binding {
            identity: request.identity.clone(),
            ifname: request.ifname.clone(),
            addresses: addresses.clone(),
            container: request.container.clone(),
            id_only: false,
            netns: request.netns.clone(),
            state: State::Live,
            why: Why::Added,
            boot: self.now.boot.clone(),
            since: self.now.wall,
            since_up: self.now.uptime,
            born: home.as_ref().map_or(self.now.wall, |home| home.born),
            foreign: false,
        };
        let repeated = home.as_ref().is_some_and(|home| {
            let as_before = Binding { since: home.since, since_up: home.since_up, ..new.clone() };
            *home == as_before
        });
        if !repeated {
            self.move_in(slot, home.as_ref(), new, &choices)?;
            self.retire(&others)?;
            self.record_network(home.as_ref(), request, sets, &addresses)?;
        }
        self.need_durable(slot)?;
        Ok(addresses)
    }

    /// An address that the sandbox has and that would be taken from it although it may go on using it: by a repeated
    /// ADD that asks for another one.
    fn wrested(
        &self,
        home: &Binding,
        request: &Request,
        sets: &[RangeSet],
        addresses: &[IpAddr],
    ) -> Option<IpAddr> {
        let running = home.class(&self.now.boot) == Class::Live && home.container == request.container;
        let lost = |address: &&IpAddr| {
            !addresses.contains(address) && sets.iter().any(|set| set.get(**address).is_some())
        };
        home.addresses.iter().find(lost).filter(|_| running).copied()
    }

    /// Makes `new` the binding in `slot`: in the journal, then in the directory, then in the index.
    fn move_in(
        &mut self,
        slot: u32,
        home: Option<&Binding>,
        new: Binding,
        choices: &[Choice],
    ) -> Result<(), Error> {
        let mut displaced: Vec<(u32, Binding)> = Vec::new();
        for choice in choices {
            if let Some((other, binding)) =
                self.by_address(choice.address)?.filter(|(other, _)| *other != slot)
            {
                self.reused += 1;
                self.note(format!(
                    "{} goes to {}: {} held it, {} for {} s",
                    choice.address,
                    new.identity,
                    binding.identity,
                    binding.class(&self.now.boot).as_str(),
                    self.now.wall.saturating_sub(binding.since).max(0),
                ));
                displaced.push((other, binding));
            }
        }
        let record = Record::Bind { slot, binding: new };
        let Record::Bind { binding: new, .. } = &record else { return Ok(()) };
        let span = self.append(&record)?;
        self.unseal();
        if let Err(e) = self.show(home, new) {
            // The journal says what did not come to pass: say so behind it. Should that fail too, the directory, left
            // unsealed, has the last word at the next call.
            let undo = match home {
                Some(home) => Record::Bind { slot, binding: home.clone() },
                None => Record::End { slot },
            };
            self.apply(&record, span)?;
            self.commit(&undo)?;
            // Whose addresses were to be reused keep them; durably, for they may have been told so.
            for (slot, binding) in &displaced {
                self.commit(&Record::Bind { slot: *slot, binding: binding.clone() })?;
            }
            self.reused = 0;
            if !displaced.is_empty() {
                self.flush_now()?;
            }
            return Err(e);
        }
        self.apply(&record, span)?;
        for (set, choice) in choices.iter().enumerate().filter(|(_, choice)| choice.moves_cursor) {
            if let Err(e) = self.directory.set_cursor(set, choice.address) {
                self.note(format!("the place of the round robin could not be noted: {e}"));
            }
        }
        self.consistent();
        Ok(())
    }

    /// Lets the directory show that `new` has its addresses and `home` has them no more.
    fn show(&self, home: Option<&Binding>, new: &Binding) -> Result<(), Error> {
        if let Some(home) = home {
            self.release(home)?;
        }
        for (done, address) in new.addresses.iter().enumerate() {
            if let Err(e) = self.directory.claim(*address, &new.container, &new.ifname) {
                for address in new.addresses.iter().take(done) {
                    self.directory.release(*address)?;
                }
                return Err(e);
            }
        }
        Ok(())
    }

    /// Removes the lease files that are this binding's.
    pub(crate) fn release(&self, binding: &Binding) -> Result<(), Error> {
        for address in &binding.addresses {
            if self.directory.is_held_by(*address, &binding.container, binding.file_ifname())? {
                self.directory.release(*address)?;
            }
        }
        Ok(())
    }

    /// The binding to come home to, and the pod's other ones, which it makes superfluous.
    #[allow(clippy::type_complexity)] // a binding with its slot, and a list of such
    fn home(
        &self,
        request: &Request,
        held: Option<(u32, Binding)>,
    ) -> Result<(Option<(u32, Binding)>, Vec<(u32, Binding)>), Error> {
        let mut all = self.of_identity(&request.identity, &request.ifname)?;
        // The latest first: that is where the pod was last seen. One that was superseded comes behind, for the late
        // DEL of its sandbox may be the last thing that was heard.
        let mut aged = Vec::new();
        for (slot, binding) in all.drain(..) {
            let offset = self.place(slot)?.map_or(0, |place| place.span.offset);
            aged.push((binding.state == State::Gone, std::cmp::Reverse(offset), slot, binding));
        }
        aged.sort_by_key(|(gone, offset, ..)| (*gone, *offset));
        let (mut home, mut others) = (held, Vec::new());
        for (.., slot, binding) in aged {
            let same = is_same(&binding.identity, &request.identity, self.policy.key);
            if home.as_ref().is_some_and(|(own, _)| *own == slot) {
                continue;
            }
            // Its own sandbox keeps nobody from coming home: the runtime asks again for one that GC has parked.
            let own = binding.container == request.container;
            if home.is_none() && same && (own || !self.is_occupied(&binding)) {
                home = Some((slot, binding));
            } else {
                others.push((slot, binding));
            }
        }
        Ok((home, others))
    }

    /// Every binding of the pod's interface, also those of an earlier pod of that name.
    pub(crate) fn of_identity(
        &self,
        identity: &Identity,
        ifname: &str,
    ) -> Result<Vec<(u32, Binding)>, Error> {
        match identity {
            Identity::Pod { namespace, name, .. } => {
                let pod = Some((namespace.as_str(), name.as_str()));
                self.find(Key::Pod(namespace, name, ifname), |b| b.pod() == pod && b.ifname == ifname)
            }
            Identity::Container(id) => {
                self.find(Key::Container(id, ifname), |b| b.identity == *identity && b.ifname == ifname)
            }
        }
    }

    /// The live binding of a container's interface, also of a lease in the old form.
    fn held_by(&self, container: &str, ifname: &str) -> Result<Option<(u32, Binding)>, Error> {
        let live = |found: Option<(u32, Binding)>| {
            found.filter(|(_, binding)| binding.class(&self.now.boot) == Class::Live)
        };
        match live(self.by_container(container, ifname)?) {
            None => Ok(live(self.by_container(container, "")?)),
            found => Ok(found),
        }
    }

    /// Those that are not in use are held for nobody any more.
    pub(crate) fn retire(&mut self, others: &[(u32, Binding)]) -> Result<(), Error> {
        for (slot, binding) in others {
            let class = binding.class(&self.now.boot);
            // One whose address the pod has just been given has ended.
            let there = self.binding(*slot)?.is_some_and(|present| present == *binding);
            if there && matches!(class, Class::Parked | Class::Awaited) {
                self.set_state(*slot, binding, State::Gone, Why::Replaced)?;
            }
        }
        self.bound_gone()
    }

    pub(crate) fn set_state(
        &mut self,
        slot: u32,
        binding: &Binding,
        state: State,
        why: Why,
    ) -> Result<(), Error> {
        // No network namespace lives through a reboot; its path may be another's by now.
        let netns = if binding.boot == self.now.boot { binding.netns.clone() } else { String::new() };
        let binding = Binding {
            state,
            why,
            netns,
            boot: self.now.boot.clone(),
            since: self.now.wall,
            since_up: self.now.uptime,
            ..binding.clone()
        };
        self.commit(&Record::Bind { slot, binding })
    }

    /// Ends the oldest of more bindings of gone pods than are kept.
    pub(crate) fn bound_gone(&mut self) -> Result<(), Error> {
        let mut next = self.index.first(Class::Gone);
        while self.index.count(Class::Gone) > self.policy.max_gone {
            let Some(slot) = next else { break };
            next = self.index.next(slot).map_err(trouble)?;
            // The record is all that keeps the address of a sandbox that may still run from being unbound.
            if self.binding(slot)?.is_some_and(|binding| !self.is_occupied(&binding)) {
                self.commit(&Record::End { slot })?;
            }
        }
        Ok(())
    }

    /// Ends bindings that were held for as long as the policy says, by time that the node was up: the wall clock of a
    /// node that has just booted means nothing.
    fn expire(&mut self) -> Result<(), Error> {
        let Hold::For(hold) = self.policy.hold else { return Ok(()) };
        for class in [Class::Parked, Class::Awaited] {
            let mut next = self.index.first(class);
            let mut ended = 0;
            while let Some(slot) = next.filter(|_| ended < EXPIRE_AT_ONCE) {
                next = self.index.next(slot).map_err(trouble)?;
                let Some(binding) = self.binding(slot)? else { break };
                let since = if binding.boot == self.now.boot { binding.since_up } else { 0 };
                if Duration::from_secs(self.now.uptime.saturating_sub(since)) < hold {
                    break;
                }
                if !self.is_occupied(&binding) {
                    self.commit(&Record::End { slot })?;
                    ended += 1;
                }
            }
        }
        Ok(())
    }

    fn record_network(
        &mut self,
        home: Option<&Binding>,
        request: &Request,
        sets: &[RangeSet],
        addresses: &[IpAddr],
    ) -> Result<(), Error> {
        let old = self.network()?;
        let mut new = Network {
            directory: self.places.data.display().to_string(),
            sets: sets.iter().map(ranges).collect(),
            reused: old.reused + std::mem::take(&mut self.reused),
            ..old.clone()
        };
        let lost = home.map_or_else(Vec::new, |home| {
            home.addresses.iter().filter(|address| !addresses.contains(address)).copied().collect()
        });
        for address in lost.iter().filter(|_| request.requested.is_empty()) {
            new.given_up += 1;
            self.note(format!(
                "{} gives up {address}: it is no longer in a range of this network",
                request.identity
            ));
        }
        if new == old { Ok(()) } else { self.commit(&Record::Network(new)) }
    }

    /// Takes the addresses of a sandbox back and parks them for its pod. An unknown one is as good as released.
    pub fn del(&mut self, container: &str, ifname: &str, identity: Option<&Identity>) -> Result<(), Error> {
        let found = match self.by_container(container, ifname)? {
            None => self.by_container(container, "")?,
            found => found,
        };
        let Some((slot, mut binding)) = found else { return Ok(()) };
        let mut class = binding.class(&self.now.boot);
        if let (Identity::Container(_), Some(identity @ Identity::Pod { .. })) = (&binding.identity, identity)
        {
            // A lease of stock host-local: now we learn whose it was.
            binding.identity = identity.clone();
            ifname.clone_into(&mut binding.ifname);
            class = class.max(Class::Parked);
        } else if binding.netns.is_empty() && matches!(class, Class::Parked | Class::Gone) {
            return Ok(());
        }
        self.unseal();
        self.release(&binding)?;
        binding.netns = String::new();
        let parked = self.park(slot, &binding, class, Why::Deleted);
        if let Err(e) = parked {
            // The sandbox is free to go: the lease file is removed. That the address is parked will be seen from that.
            self.note(format!("the release of {container} was not recorded: {e}"));
            return Ok(());
        }
        self.consistent();
        Ok(())
    }

    fn park(&mut self, slot: u32, binding: &Binding, class: Class, why: Why) -> Result<(), Error> {
        if class == Class::Gone {
            return self.set_state(slot, binding, State::Gone, binding.why);
        }
        // What may still be in use is parked all the same, and expires later.
        let parked = Binding { state: State::Parked, ..binding.clone() };
        if self.policy.hold == Hold::For(Duration::ZERO) && !self.is_occupied(&parked) {
            return self.commit(&Record::End { slot });
        }
        let elsewhere = self
            .of_identity(&binding.identity, &binding.ifname)?
            .into_iter()
            .any(|(other, b)| other != slot && b.class(&self.now.boot) == Class::Live);
        let (state, why) = if elsewhere { (State::Gone, Why::Replaced) } else { (State::Parked, why) };
        self.set_state(slot, binding, state, why)?;
        self.bound_gone()
    }

    /// Parks every live binding whose attachment is not among `valid`, given as container id and interface. Its
    /// network namespace stays on record: a sandbox that the runtime forgot may still run in it.
    pub fn collect(&mut self, valid: &[(String, String)]) -> Result<usize, Error> {
        let mut collected = 0;
        for slot in self.slots(Class::Live)? {
            let Some(binding) = self.binding(slot)? else { continue };
            let named = |(container, ifname): &(String, String)| {
                *container == binding.container && (binding.id_only || *ifname == binding.ifname)
            };
            if !valid.iter().any(named) {
                self.unseal();
                self.release(&binding)?;
                self.park(slot, &binding, Class::Live, Why::Collected)?;
                self.consistent();
                collected += 1;
            }
        }
        Ok(collected)
    }

    /// Ends bindings on an operator's word; those whose sandbox may run only if `force` says so. What cannot be ended
    /// is an error, and then none is.
    pub fn forget(&mut self, which: &Which, force: bool) -> Result<Vec<Binding>, Error> {
        let mut found = Vec::new();
        for class in Class::ALL {
            for slot in self.slots(class)? {
                let Some(binding) = self.binding(slot)?.filter(|binding| which.is(binding)) else { continue };
                if !force && (class == Class::Live || self.is_occupied(&binding)) {
                    return Err(Error::InUse { identity: binding.identity, container: binding.container });
                }
                found.push((slot, binding));
            }
        }
        for (slot, binding) in &found {
            self.unseal();
            self.release(binding)?;
            self.commit(&Record::End { slot: *slot })?;
            self.consistent();
        }
        if !found.is_empty() {
            self.need_flush();
        }
        Ok(found.into_iter().map(|(_, binding)| binding).collect())
    }

    /// Whether the container's interface holds a lease.
    pub fn check(&self, container: &str, ifname: &str) -> Result<(), Error> {
        if let Some((_, binding)) = self.held_by(container, ifname)? {
            for address in &binding.addresses {
                if self.directory.is_held_by(*address, &binding.container, binding.file_ifname())? {
                    return Ok(());
                }
            }
        }
        Err(Error::NotFound)
    }

    /// Whether one more pod could be given addresses.
    pub fn status(&mut self, sets: &[RangeSet]) -> Result<(), Error> {
        // A runtime that is told no sends no ADD, which would see to this otherwise.
        self.expire()?;
        sets.iter().enumerate().try_for_each(|(at, set)| self.can_serve(at, set))
    }
}

fn ranges(set: &RangeSet) -> Vec<(IpAddr, IpAddr, Option<IpAddr>)> {
    set.ranges().iter().map(|range| (range.start, range.end, range.gateway)).collect()
}

/// Whether two identities are one, by the policy's idea of what names a pod.
fn is_same(one: &Identity, other: &Identity, key: PodKey) -> bool {
    match (one, other) {
        (Identity::Pod { uid: a, .. }, Identity::Pod { uid: b, .. }) => key == PodKey::Name || a == b,
        _ => one == other,
    }
}
