//! The objects of one resource: what the cloud has, what is laid over it, and what clients were shown of that.
//!
//! What clients are shown of a change is `show.rs`. Invariants:
//! - an object never goes back to an older version, whichever way the older one comes in;
//! - of an overlaid resource whatever comes in is shown at once, under a view RV that says in which order;
//! - of every other resource clients are shown changes in the cloud's own order, so that each of them can go on at the
//!   cloud with the last version it saw. What is known ahead of that order (the answer to a write, to a GET) lies over
//!   the object and is only read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::effect::Effect;
use crate::history::History;
use crate::mark::{Asked, Mark, Marks};
use crate::numbers::Sequence;
use crate::object::{Body, Header, Object};
use crate::outlet::Outlet;
use crate::persist::Barrier;
use crate::record;
use crate::resource::{Key, ResourceId};
use crate::scope::Scope;
use crate::tombstone::{Tombstone, Tombstones};
use crate::version::{CloudRv, Shown};

/// What lies over the cloud's object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Over {
    /// The object, or that there is none.
    pub object: Option<Object>,
    /// Where it is not a layer but news ahead of the cloud's order: the version it is true for.
    pub ahead: Option<CloudRv>,
}

/// One name.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub cloud: Option<Object>,
    pub over: Option<Over>,
    /// The version under which it was last shown.
    pub shown: Option<Shown>,
    /// The history's head when it was last shown: changes before that are in it.
    pub stamp: u64,
    /// Versions of the cloud can be compared within one epoch only.
    pub epoch: u64,
    /// The version in which a log has the cloud's object, as far as the log said so.
    pub logged: Option<u64>,
    /// Sets that the object has left, though its header does not say so: nobody said what it is now.
    pub left: Vec<Scope>,
}

impl Entry {
    /// The newest that is known: what a reader of this name is shown.
    pub fn newest(&self) -> Option<&Object> {
        self.over.as_ref().map_or(self.cloud.as_ref(), |over| over.object.as_ref())
    }

    /// What a reader of a set is shown: layers, but nothing that is ahead of the order in which the set is told.
    pub fn visible(&self) -> Option<&Object> {
        let layer = self.over.as_ref().filter(|over| over.ahead.is_none());
        layer.map_or(self.cloud.as_ref(), |over| over.object.as_ref())
    }

    /// What a reader of this set is shown.
    pub fn visible_in(&self, scope: &Scope) -> Option<&Object> {
        let left = self.left.iter().any(|left| scope.is_within(left));
        self.visible().filter(|object| !left && scope.takes(&object.header))
    }
}

/// From where an object comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// The stream that reads its set.
    Stream,
    /// The answer to a request.
    Answer,
}

/// A deletion.
#[derive(Debug, Clone)]
pub(crate) struct Deletion {
    /// The version at which the object was gone.
    pub rv: CloudRv,
    /// Its last state, where the cloud sent it.
    pub last: Option<Object>,
    /// The set that it may only have left; `None`: it exists no more, whatever comes.
    pub leaves: Option<Scope>,
    /// It was found missing by a list at `rv`; its set had been read up to this version before.
    pub found_missing: Option<Option<Shown>>,
}

impl Deletion {
    /// One of an unknown version after this one, for good.
    pub fn after(rv: CloudRv) -> Deletion {
        let rv = CloudRv::stored(rv.get() + 1).unwrap_or(rv);
        Deletion { rv, last: None, leaves: None, found_missing: None }
    }
}

/// The objects of one resource.
#[derive(Debug)]
pub(crate) struct Collection {
    pub id: ResourceId,
    pub entries: BTreeMap<Key, Entry>,
    pub tombs: Tombstones,
    pub history: History,
    pub marks: Marks,
    pub sequence: Sequence,
    pub epoch: u64,
    /// The highest version of the cloud that was seen in this epoch.
    pub seen: Option<CloudRv>,
    /// What must pass before the present state may be shown.
    pub barrier: Barrier,
    /// Whether a watcher waits for the logs.
    pub blocked: bool,
    /// Whether a watcher, or who would be one, waits for a set to be read further.
    pub held: bool,
    /// Names of which something is known ahead of the cloud's order.
    pub ahead: BTreeSet<Key>,
    /// Whether the reservation of view RVs was lost, so that it is not known which were issued.
    pub unnumbered: bool,
    /// Whether it was said that the cloud is too young.
    pub warned: bool,
}

impl Collection {
    pub fn new(id: ResourceId, epoch: u64) -> Collection {
        Collection {
            id,
            entries: BTreeMap::new(),
            tombs: Tombstones::default(),
            history: History::default(),
            marks: Marks::default(),
            sequence: Sequence::default(),
            epoch,
            seen: None,
            barrier: Barrier::default(),
            blocked: false,
            held: false,
            ahead: BTreeSet::new(),
            unnumbered: false,
            warned: false,
        }
    }

    /// The version of the present state.
    pub fn current(&self, scope: &Scope) -> Shown {
        if self.id.is_overlaid() {
            return Shown::view(self.sequence.last());
        }
        self.marks.covering(scope).map_or(Shown::stored(0), Mark::told)
    }

    /// Up to which version a set may be told; `None` where whatever is known may be.
    pub fn told_limit(&self, scope: &Scope) -> Option<Shown> {
        (!self.id.is_overlaid()).then(|| self.current(scope))
    }

    /// Up to which version some watchers have been told everything about an object that was this and left these sets.
    pub fn told(&self, header: &Header, left: &[Scope]) -> Option<Shown> {
        let has_left = |mark: &Mark| left.iter().any(|left| mark.scope.is_within(left));
        let sees = |mark: &&Mark| is_read(mark, header) && !has_left(mark);
        self.marks.iter().filter(sees).map(Mark::told).max()
    }

    /// The sets that an object has left.
    pub fn left(&self, key: &Key) -> &[Scope] {
        self.entries.get(key).map_or(&[], |entry| &entry.left)
    }

    /// Those of them that were read further than what is known of the object: only newer news of it can be in them.
    pub fn still_left(&self, key: &Key) -> Vec<Scope> {
        let entry = self.entries.get(key).filter(|entry| entry.epoch == self.epoch);
        let Some(cloud) = entry.and_then(|entry| entry.cloud.as_ref()) else { return Vec::new() };
        let is_passed = |scope: &&Scope| {
            let mark = self.marks.find(scope, Asked::Set);
            mark.is_some_and(|mark| mark.complete && mark.position >= Some(cloud.header.rv))
        };
        self.left(key).iter().filter(is_passed).cloned().collect()
    }

    /// Sets that were read further than this and do not have it: it has left them since, or its name is another's.
    fn has_left(&self, object: &Object, before: Option<&Object>, left: &[Scope]) -> Vec<Scope> {
        let passed = |mark: &&Mark| mark.position >= Some(object.header.rv) && is_read(mark, &object.header);
        let is_out = |scope: &Scope| left.iter().any(|left| scope.is_within(left));
        let had = |scope: &Scope| before.is_some_and(|before| scope.takes(&before.header)) && !is_out(scope);
        let new = |scope: &Scope| !had(scope) && !left.contains(scope);
        self.marks.iter().filter(passed).map(|mark| &mark.scope).filter(|scope| new(scope)).cloned().collect()
    }

    pub fn saw(&mut self, rv: CloudRv) {
        self.seen = self.seen.max(Some(rv));
    }

    /// An object came in. Whether it is news.
    pub fn upsert(&mut self, out: &mut Outlet, object: Object, from: From) -> bool {
        let (key, rv) = (object.header.key.clone(), object.header.rv);
        self.saw(rv);
        if !self.is_news(&object) {
            self.recode(out, object);
            return false;
        }
        let overlaid = self.id.is_overlaid();
        let entry = self.entries.entry(key.clone()).or_default();
        let mut ahead = None;
        if !overlaid {
            let newer = entry.over.as_ref().and_then(|over| over.ahead).is_some_and(|ahead| ahead > rv);
            let known = entry.cloud.as_ref().map_or(&object.header, |cloud| &cloud.header);
            let read = |mark: &Mark| is_read(mark, &object.header) || is_read(mark, known);
            let in_order = from == From::Stream || !self.marks.iter().any(read);
            match (newer, in_order) {
                (true, false) => return false,
                (false, false) => {
                    self.put_ahead(out, key, object, rv);
                    return true;
                }
                // What is newer stays over it: in between, whoever has this version from the cloud is told what follows.
                (true, true) => ahead = entry.over.take(),
                (false, true) => entry.over = None,
            }
        }
        self.put_cloud(out, key.clone(), object);
        if let Some(entry) = self.entries.get_mut(&key).filter(|_| ahead.is_some()) {
            entry.over = ahead;
        }
        true
    }

    fn is_news(&self, object: &Object) -> bool {
        let (key, rv) = (&object.header.key, object.header.rv);
        if let Some(tomb) = self.tombs.get(key) {
            let same = tomb.header.uid() == object.header.uid();
            let older = if tomb.dead { rv < tomb.rv } else { rv <= tomb.rv };
            if older || (same && tomb.dead) {
                return false;
            }
        }
        match self.entries.get(key) {
            Some(Entry { cloud: Some(cloud), epoch, .. }) if *epoch == self.epoch => rv > cloud.header.rv,
            Some(Entry { cloud: Some(_), .. }) => true,
            // Where a set was read further than that and has no such object, it is gone already.
            _ => !self.marks.iter().any(|mark| {
                mark.scope.is_lasting() && is_read(mark, &object.header) && mark.position >= Some(rv)
            }),
        }
    }

    /// The cloud has this object now.
    fn put_cloud(&mut self, out: &mut Outlet, key: Key, object: Object) {
        let before = self.entries.get(&key).and_then(Entry::visible).cloned();
        let hidden = self.has_left(&object, before.as_ref(), self.left(&key));
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.left.extend(hidden);
        let cloud = entry.cloud.replace(object.clone());
        entry.epoch = self.epoch;
        if let Some(over) = &entry.over {
            let laid_on = cloud.as_ref().or(over.object.as_ref());
            if laid_on.is_some_and(|laid_on| laid_on.is_same(&object)) {
                self.store_beneath(out, &key, &object);
                out.effects.push(Effect::Beneath { resource: self.id.clone(), key });
                return;
            }
            entry.over = None;
        }
        let old = if self.id.is_overlaid() { before } else { cloud };
        if let Some(other) = old.as_ref().filter(|old| !old.is_same(&object)) {
            self.show_replaced(out, &key, other, object.header.rv);
            self.show(out, &key, None, Some(object), None);
        } else {
            self.show(out, &key, old, Some(object), None);
        }
        if self.tombs.remove(&key) {
            self.forget_tombs(out, &[key]);
        }
    }

    /// Another object has taken the name: the old one is gone first.
    fn show_replaced(&mut self, out: &mut Outlet, key: &Key, old: &Object, by: CloudRv) {
        let told = self.told(&old.header, self.left(key));
        // Gone just before the new one came.
        let rv = CloudRv::stored(by.get() - 1).unwrap_or(by);
        let deletion = Deletion { rv, last: None, leaves: None, found_missing: Some(told) };
        self.show_deleted(out, key, Some(old.clone()), old.clone(), deletion);
    }

    /// A deletion came in. Whether it is news.
    pub fn delete(&mut self, out: &mut Outlet, key: &Key, deletion: Deletion) -> bool {
        self.saw(deletion.rv);
        let entry = self.entries.get_mut(key);
        let known = entry.filter(|entry| entry.cloud.is_some());
        let Some(entry) = known else {
            let news = self.tombs.get(key).is_none_or(|tomb| tomb.rv < deletion.rv);
            if let Some(last) = deletion.last.filter(|_| news && deletion.leaves.is_none()) {
                let shown = Shown::stored(0);
                self.bury(out, key, Tombstone { header: last.header, rv: deletion.rv, shown, dead: true });
            }
            return false;
        };
        let Some(cloud) = entry.cloud.clone() else { return false };
        let newer = entry.epoch == self.epoch && cloud.header.rv >= deletion.rv;
        if newer || deletion.last.as_ref().is_some_and(|last| !last.is_same(&cloud)) {
            self.show_passed(out, key, &cloud, deletion);
            return false;
        }
        if let Some(scope) = &deletion.leaves
            && self.marks.iter().any(|mark| mark.scope.is_lasting() && is_read(mark, &cloud.header))
        {
            // Somebody may read a set that it is in whatever has changed about it.
            let scope = scope.clone();
            self.leave(out, key, scope, deletion);
            return true;
        }
        let before = entry.visible().cloned();
        entry.cloud = None;
        // What only left a set is still there.
        let gone_until = if deletion.leaves.is_some() { None } else { Some(deletion.rv) };
        let ahead =
            entry.over.as_ref().and_then(|over| over.ahead).is_some_and(|ahead| Some(ahead) > gone_until);
        if !ahead {
            entry.over = None;
        }
        let (old, left) =
            (if self.id.is_overlaid() { before } else { Some(cloud.clone()) }, entry.left.clone());
        self.show_deleted(out, key, old, cloud, deletion);
        if self.entries.get(key).is_some_and(|entry| entry.over.is_none()) {
            self.entries.remove(key);
        }
        self.readmit(out, left);
        true
    }

    /// An object that had left these sets without saying so is gone: where it was the last one, a set has again what its
    /// selectors say.
    fn readmit(&mut self, out: &mut Outlet, left: Vec<Scope>) {
        for scope in left {
            let is_last = !self.entries.values().any(|entry| entry.left.contains(&scope));
            let mark = self.marks.entry(&scope, Asked::Set);
            if is_last && std::mem::take(&mut mark.excludes) {
                self.store_mark(out, &scope, Asked::Set);
            }
        }
    }

    /// The object is not in a set any more, and nothing else is known.
    fn leave(&mut self, out: &mut Outlet, key: &Key, scope: Scope, by: Deletion) {
        let Some(entry) = self.entries.get(key) else { return };
        let Some(old) = entry.visible().cloned() else { return };
        if entry.left.contains(&scope) {
            return;
        }
        let bytes = by.last.clone().filter(|last| last.bytes().is_some());
        let gone = bytes.or_else(|| out.with_bytes(&self.id, &old));
        let at = shown_at(&by, &old);
        let at = if self.id.is_overlaid() { (self.number(out), None) } else { at };
        // Nothing but the set's own stream can tell that again, so it must not go on from here after a restart.
        let mark = self.marks.entry(&scope, Asked::Set);
        let known = std::mem::replace(&mut mark.excludes, true);
        let barrier = if known { Barrier::default() } else { self.store_mark(out, &scope, Asked::Set) };
        self.push_numbered(out, key, Some(&old), None, gone, at, barrier, Some(scope.clone()));
        if let Some(entry) = self.entries.get_mut(key) {
            entry.left.push(scope.clone());
        }
    }

    fn show_deleted(
        &mut self,
        out: &mut Outlet,
        key: &Key,
        old: Option<Object>,
        cloud: Object,
        by: Deletion,
    ) {
        let own_log = out.policy.log_of(&self.id);
        let bytes = by.last.clone().filter(|last| last.bytes().is_some());
        let gone = bytes.or_else(|| out.with_bytes(&self.id, old.as_ref().unwrap_or(&cloud)));
        let at = shown_at(&by, &cloud);
        let must_flush = out.policy.must_flush(&self.id, Some(&cloud.header), None);
        // The tombstone goes first: with both or the first alone the object is gone, with none nothing happened.
        // Where it was found missing, it was gone at the latest by then: whoever has less has not heard of it.
        let shown = if self.id.is_overlaid() { self.number(out) } else { at.1.unwrap_or(at.0) };
        // Where it is not known when it was gone, another may have had the name since any later version.
        let exact = by.leaves.is_none() && by.found_missing.is_none();
        // Versions from before they began anew say nothing: then it may be any.
        let is_of_epoch = self.entries.get(key).is_some_and(|entry| entry.epoch == self.epoch);
        let last_known = if is_of_epoch { cloud.header.rv } else { CloudRv::FIRST };
        let (dead, rv) = (by.leaves.is_none(), if exact { by.rv } else { last_known.min(by.rv) });
        let tomb = Tombstone { header: Arc::clone(&cloud.header), rv, shown, dead };
        let mut barrier = Barrier::default();
        if let Some(log) = own_log {
            let tomb = record::put_tombstone(&self.id, key, self.epoch, &tomb);
            let records = vec![tomb, record::delete_object(&self.id, key)];
            barrier = out.persist(log, records, must_flush).1;
        }
        self.bury(out, key, tomb);
        if let Some(old) = old {
            let at = if self.id.is_overlaid() { (shown, None) } else { at };
            self.push_numbered(out, key, Some(&old), None, gone, at, barrier, None);
        } else {
            self.barrier.merge(barrier);
        }
    }

    fn bury(&mut self, out: &mut Outlet, key: &Key, tomb: Tombstone) {
        let evicted = self.tombs.insert(key.clone(), tomb);
        self.forget_tombs(out, &evicted);
    }

    fn forget_tombs(&mut self, out: &mut Outlet, keys: &[Key]) {
        let Some(log) = out.policy.log_of(&self.id).filter(|_| !keys.is_empty()) else { return };
        out.persist(log, keys.iter().map(|key| record::delete_tombstone(&self.id, key)).collect(), false);
    }

    /// Lays an object, or its absence, over the cloud's; or takes away what lay there.
    pub fn lay(&mut self, out: &mut Outlet, key: &Key, over: Option<Option<Object>>) {
        let entry = self.entries.entry(key.clone()).or_default();
        let before = entry.visible().cloned();
        entry.over = over.map(|object| Over { object, ahead: None });
        let after = entry.visible().cloned();
        match (&before, &after) {
            (None, None) => {}
            (Some(old), None) => self.hide(out, key, old),
            (Some(old), Some(new)) if !old.is_same(new) => {
                self.hide(out, key, old);
                self.show(out, key, None, after, None);
            }
            _ => {
                let bytes = after.as_ref().and_then(|after| out.with_bytes(&self.id, after));
                self.show(out, key, before, bytes.or(after), None);
            }
        }
        self.let_go_beneath(key);
        if self.entries.get(key).is_some_and(|entry| entry.cloud.is_none() && entry.over.is_none()) {
            self.entries.remove(key);
        }
    }

    /// The bytes of what something is laid over are not read while it lies there: the log has them.
    fn let_go_beneath(&mut self, key: &Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let is_layer = entry.over.as_ref().is_some_and(|over| over.ahead.is_none());
        let logged = entry.logged;
        let cloud = entry.cloud.as_mut().filter(|cloud| is_layer && logged == Some(cloud.header.rv.get()));
        if let Some(cloud) = cloud {
            cloud.body = Body::Stored;
        }
    }

    /// Stores a mark.
    pub fn store_mark(&mut self, out: &mut Outlet, scope: &Scope, asked: Asked) -> Barrier {
        let Some(log) = out.policy.log_of(&self.id) else { return Barrier::default() };
        let record =
            self.marks.find(scope, asked).and_then(|mark| record::put_mark(&self.id, self.epoch, mark));
        let Some(record) = record else { return Barrier::default() };
        let (_, barrier) = out.persist(log, vec![record], false);
        self.barrier.merge(barrier);
        barrier
    }

    /// The cloud's versions have begun anew.
    pub fn begin_epoch(&mut self, out: &mut Outlet, epoch: u64) {
        self.epoch = epoch;
        self.seen = None;
        for mark in self.marks.iter_mut() {
            (mark.position, mark.skipped) = (None, (Shown::stored(0), Shown::stored(0)));
            // What the tombs said is to be known to the next hub: whoever has not seen it begins anew. Where versions are
            // the cloud's it is the lowest one until the set is read anew: one from before would be above all that comes.
            let overlaid = self.id.is_overlaid();
            mark.since =
                if overlaid { Shown::view(self.sequence.last()) } else { mark.since.min(Shown::FIRST) };
        }
        let marks: Vec<Mark> = self.marks.iter().cloned().collect();
        for mark in marks {
            self.store_mark(out, &mark.scope, mark.asked);
        }
        let keys = self.tombs.clear();
        self.forget_tombs(out, &keys);
        if !self.id.is_overlaid() {
            self.history.clear();
            for entry in self.entries.values_mut() {
                entry.over = None;
            }
            for key in self.ahead.clone() {
                self.forget_ahead(out, &key);
            }
            self.entries.retain(|_, entry| entry.cloud.is_some());
        }
    }
}

/// Whether a set that this object is in is read by a stream, whose order its changes are shown in.
fn is_read(mark: &Mark, header: &Header) -> bool {
    mark.asked == Asked::Set && mark.complete && mark.scope.takes(header)
}

/// The version under which a deletion is shown where versions are the cloud's, and up to which it may have happened.
pub(crate) fn shown_at(by: &Deletion, cloud: &Object) -> (Shown, Option<Shown>) {
    let rv = Shown::cloud(by.rv);
    match by.found_missing {
        None => (rv, None),
        // Behind everything that was told of the object itself.
        Some(told) => (told.max(Some(Shown::cloud(cloud.header.rv))).unwrap_or(rv).min(rv), Some(rv)),
    }
}
