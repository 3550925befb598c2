//! The changes of a resource, in the order in which they were shown, as far back as they are kept.
//!
//! One history serves all watchers of a resource: each has a place in it and takes what follows at its own speed, so a
//! watcher that does not read costs nothing, and is ended when the history has moved past its place.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use wire::Encoding;

use crate::object::{Header, Object};
use crate::persist::Barrier;
use crate::resource::Key;
use crate::scope::Scope;
use crate::version::Shown;

/// What a change is to a watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// The object came to be, or entered the watcher's set.
    Added,
    /// It was and is in the set.
    Modified,
    /// It is no more, or left the set.
    Deleted,
}

/// A change of one object.
#[derive(Debug)]
pub struct Event {
    /// Counts the events of the resource.
    pub(crate) index: u64,
    /// The object's place.
    pub key: Key,
    /// The resourceVersion that the change is shown under.
    pub shown: Shown,
    /// The change is news to clients below this version too: it was found late.
    pub(crate) until: Option<Shown>,
    /// What was kept decoded of the object before.
    pub(crate) old: Option<Arc<Header>>,
    /// Sets that it had left before, though that does not show in its header.
    pub(crate) left: Vec<Scope>,
    /// Those of them that it is still not in.
    pub(crate) hidden: Vec<Scope>,
    /// Where the object is not gone: the set that it left.
    pub(crate) leaves: Option<Scope>,
    /// The object now.
    pub(crate) new: Option<Object>,
    /// What a watcher is shown for whom the object is gone; `None` if its bytes are lost.
    pub(crate) gone: Option<Object>,
    /// What must pass before anybody sees the event.
    pub(crate) barrier: Barrier,
    frames: [OnceLock<Arc<[u8]>>; 6],
}

/// What an event is made of.
#[derive(Debug)]
pub(crate) struct Draft {
    pub key: Key,
    pub shown: Shown,
    pub until: Option<Shown>,
    pub old: Option<Arc<Header>>,
    pub left: Vec<Scope>,
    pub hidden: Vec<Scope>,
    pub leaves: Option<Scope>,
    pub new: Option<Object>,
    pub gone: Option<Object>,
    pub barrier: Barrier,
}

impl Draft {
    /// Whether watchers of this scope, or of a part of it, are told.
    pub fn concerns(&self, scope: &Scope) -> bool {
        let is_out = |sets: &[Scope]| sets.iter().any(|set| scope.is_within(set));
        let was = self.old.as_ref().is_some_and(|old| scope.takes(old)) && !is_out(&self.left);
        let is = self.new.as_ref().is_some_and(|new| scope.takes(&new.header)) && !is_out(&self.hidden);
        (was || is) && self.leaves.as_ref().is_none_or(|leaves| scope.is_within(leaves))
    }
}

impl Event {
    /// What the change is to a watcher of this scope; `None` if it is nothing to it.
    pub fn change_in(&self, scope: &Scope) -> Option<Change> {
        if self.leaves.as_ref().is_some_and(|leaves| !scope.is_within(leaves)) {
            return None;
        }
        let is_out = |sets: &[Scope]| sets.iter().any(|set| scope.is_within(set));
        let was = self.old.as_ref().is_some_and(|old| scope.takes(old)) && !is_out(&self.left);
        let is = self.new.as_ref().is_some_and(|new| scope.takes(&new.header)) && !is_out(&self.hidden);
        match (was, is) {
            (false, false) => None,
            (false, true) => Some(Change::Added),
            (true, true) => Some(Change::Modified),
            (true, false) => Some(Change::Deleted),
        }
    }

    /// The object that a watcher is shown, with [`Event::shown`] as its resourceVersion.
    pub fn object(&self, change: Change) -> Option<&Object> {
        match change {
            Change::Deleted => self.gone.as_ref(),
            Change::Added | Change::Modified => self.new.as_ref(),
        }
    }

    /// Whether a client at this version has not seen the change.
    pub(crate) fn is_after(&self, version: Shown) -> bool {
        self.until.unwrap_or(self.shown) > version
    }

    /// The bytes of the change on the wire, made once for all watchers of one encoding who are shown whole objects.
    pub fn frame(&self, change: Change, encoding: Encoding, make: impl FnOnce() -> Vec<u8>) -> Arc<[u8]> {
        let kind = match change {
            Change::Added => 0,
            Change::Modified => 1,
            Change::Deleted => 2,
        };
        let place = kind + if encoding == Encoding::Json { 0 } else { 3 };
        match self.frames.get(place) {
            Some(frame) => Arc::clone(frame.get_or_init(|| make().into())),
            None => make().into(),
        }
    }

    fn weight(&self) -> usize {
        let objects = [&self.new, &self.gone];
        300 + objects.into_iter().flatten().map(Object::weight).sum::<usize>()
    }
}

/// How much of a resource's past is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// At most so many changes.
    pub events: usize,
    /// At most so many bytes, roughly; one change is always kept.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { events: 4096, bytes: 1 << 20 }
    }
}

/// A place in the history: a version, and among events of one version the order in which they came.
pub(crate) type Place = (Shown, u64);

/// The changes that are kept, in the order in which watchers are told them.
#[derive(Debug, Default)]
pub(crate) struct History {
    events: BTreeMap<Place, Arc<Event>>,
    bytes: usize,
    /// The index that the next event gets.
    head: u64,
    /// Clients below this version may have missed a change that is not kept any more.
    floor: Option<Shown>,
    /// The last place that was given up.
    dropped: Option<Place>,
}

impl History {
    /// The index that the next event will get.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Adds a change behind those that were told up to a version; returns its index.
    pub fn push(&mut self, draft: Draft, told: Option<Shown>, limits: Limits) -> u64 {
        let Draft { key, shown, until, old, left, hidden, leaves, new, gone, barrier } = draft;
        let (index, frames) = (self.head, Default::default());
        let place = (told.map_or(shown, |told| told.max(shown)), index);
        let event = Event { index, key, shown, until, old, left, hidden, leaves, new, gone, barrier, frames };
        self.head += 1;
        self.bytes += event.weight();
        self.events.insert(place, Arc::new(event));
        while self.events.len() > limits.events.max(1) || (self.bytes > limits.bytes && self.events.len() > 1)
        {
            self.drop_oldest();
        }
        index
    }

    fn drop_oldest(&mut self) {
        if let Some((place, event)) = self.events.pop_first() {
            self.bytes -= event.weight().min(self.bytes);
            self.dropped = self.dropped.max(Some(place));
            self.raise_floor(event.until.unwrap_or(event.shown));
        }
    }

    /// Clients below this version must read everything anew.
    pub fn raise_floor(&mut self, floor: Shown) {
        self.floor = self.floor.max(Some(floor));
    }

    /// Forgets everything, for versions have begun anew.
    pub fn clear(&mut self) {
        self.events.clear();
        (self.bytes, self.floor, self.dropped) = (0, None, None);
    }

    /// The first event at a place or behind it; `Err` if there were such that are not kept any more.
    pub fn at(&self, place: Place) -> Result<Option<(Place, &Arc<Event>)>, Forgotten> {
        if self.dropped.is_some_and(|dropped| place <= dropped) {
            return Err(Forgotten);
        }
        Ok(self.events.range(place..).next().map(|(place, event)| (*place, event)))
    }

    /// The version at which the last event stands.
    pub fn last(&self) -> Option<Shown> {
        self.events.last_key_value().map(|((version, _), _)| *version)
    }

    /// The events at a place and behind it.
    pub fn from(&self, place: Place) -> impl Iterator<Item = &Event> {
        self.events.range(place..).map(|(_, event)| &**event)
    }

    /// The place of the first change that a client at this version has not seen; `Err` if such a change is not kept any
    /// more.
    pub fn after(&self, version: Shown) -> Result<Option<Place>, Forgotten> {
        if self.floor.is_some_and(|floor| version < floor) {
            return Err(Forgotten);
        }
        Ok(self.events.iter().find(|(_, event)| event.is_after(version)).map(|(place, _)| *place))
    }
}

/// The history does not go back so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forgotten;
