//! Whole states of a set, as a list gives them: what is new in it, and what is missing from it.

use std::collections::BTreeSet;

use crate::collection::{Collection, Deletion, From, Over};
use crate::effect::Trouble;
use crate::mark::{Asked, Identity};
use crate::object::Object;
use crate::outlet::Outlet;
use crate::resource::Key;
use crate::scope::Scope;
use crate::stream::Reading;
use crate::version::{CloudRv, Shown};

impl Collection {
    /// An object of a state that is being delivered by a stream.
    pub fn take_initial(&mut self, out: &mut Outlet, reading: &mut Reading, object: Object) {
        reading.seen.insert(object.header.key.clone());
        let has_watchers = self
            .marks
            .iter()
            .any(|mark| mark.asked == Asked::Set && mark.complete && mark.scope.takes(&object.header));
        if self.id.is_overlaid() || !has_watchers {
            self.upsert(out, object, From::Stream);
        } else if self.is_newer(&object) {
            reading.held.push(object);
        } else {
            self.recode(out, object);
        }
    }

    /// Whether this is another version than the one that is known.
    fn is_newer(&self, object: &Object) -> bool {
        let known = self.entries.get(&object.header.key).filter(|entry| entry.epoch == self.epoch);
        let cloud = known.and_then(|entry| entry.cloud.as_ref());
        cloud.is_none_or(|cloud| object.header.rv > cloud.header.rv)
    }

    /// A stream has delivered a whole state.
    pub fn complete(&mut self, out: &mut Outlet, reading: Reading, scope: &Scope, rv: CloudRv) {
        let Reading { seen, mut held } = reading;
        self.remove_missing(out, scope, rv, &seen);
        for object in &held {
            self.remove_replaced(out, object);
        }
        held.sort_by_key(|object| object.header.rv);
        for object in held {
            self.upsert(out, object, From::Stream);
        }
        self.saw(rv);
        self.mark_complete(out, scope, rv);
        self.settle_ahead(out, scope, rv);
    }

    /// What is known in the scope and not in its state is gone, or has left the set.
    fn remove_missing(&mut self, out: &mut Outlet, scope: &Scope, rv: CloudRv, seen: &BTreeSet<Key>) {
        let mut missing = Vec::new();
        for (key, entry) in &self.entries {
            let Some(cloud) = &entry.cloud else {
                let ahead =
                    entry.newest().filter(|ahead| ahead.header.rv <= rv && scope.takes(&ahead.header));
                if ahead.is_some() && !seen.contains(key) {
                    missing.push(key.clone());
                }
                continue;
            };
            let newer = entry.epoch == self.epoch && cloud.header.rv > rv;
            if !newer && !seen.contains(key) && scope.takes(&cloud.header) {
                missing.push(key.clone());
            }
        }
        for key in missing {
            let leaves = (!scope.is_lasting()).then(|| scope.clone());
            let deletion = Deletion { rv, last: None, leaves, found_missing: Some(self.told_up_to(&key)) };
            if self.entries.get(&key).is_some_and(|entry| entry.cloud.is_none()) {
                self.delete_ahead(out, &key, &deletion);
            } else {
                self.delete(out, &key, deletion);
            }
        }
    }

    /// Up to which version watchers who see an object have been told everything.
    fn told_up_to(&self, key: &Key) -> Option<Shown> {
        let entry = self.entries.get(key)?;
        self.told(&entry.cloud.as_ref().or(entry.newest())?.header, &entry.left)
    }

    /// An object that took the name of another: the other one is gone first.
    fn remove_replaced(&mut self, out: &mut Outlet, object: &Object) {
        let key = &object.header.key;
        let known = self.entries.get(key).and_then(|entry| entry.cloud.as_ref());
        if known.is_some_and(|known| !known.is_same(object)) {
            // Gone just before the new one came.
            let before = CloudRv::stored(object.header.rv.get() - 1).unwrap_or(object.header.rv);
            let deletion =
                Deletion { rv: before, last: None, leaves: None, found_missing: Some(self.told_up_to(key)) };
            self.delete(out, key, deletion);
        }
    }

    fn mark_complete(&mut self, out: &mut Outlet, scope: &Scope, rv: CloudRv) {
        self.number_empty(out, rv);
        let now = if self.id.is_overlaid() { Shown::view(self.sequence.last()) } else { Shown::cloud(rv) };
        let excludes = self.entries.values().any(|entry| entry.left.contains(scope));
        // View RVs say nothing of what came in between: it is not told at all.
        let (overlaid, read) = (self.id.is_overlaid(), Shown::cloud(rv));
        let told = if overlaid { read } else { self.current(scope) };
        let mark = self.marks.entry(scope, Asked::Set);
        let before = mark.clone();
        mark.excludes = excludes;
        // Changes while nobody kept count of them cannot be told to anybody.
        let unbroken = mark.complete && mark.position.is_some();
        if !(unbroken || mark.complete && self.id.is_overlaid()) {
            // Who has read it meanwhile was given a version.
            mark.since = mark.since.max(now);
        }
        mark.complete = true;
        mark.read_anew(rv, told);
        // Where only the position moved, the next bookmark will do: what comes twice is known by its version.
        let is_same = before.since == mark.since && before.excludes == excludes;
        if !before.complete || before.position.is_none() || !is_same {
            self.store_mark(out, scope, Asked::Set);
        }
        // What is part of it was read with it.
        for mark in self.marks.iter_mut().filter(|mark| mark.complete && mark.scope.is_within(scope)) {
            let told = if overlaid { read } else { mark.told() };
            mark.read_anew(rv, told);
        }
    }

    /// Sees to it that an overlaid resource has a version to show, also when nothing of it was ever there, and one above
    /// all that may have been issued when that is not known any more.
    fn number_empty(&mut self, out: &mut Outlet, rv: CloudRv) {
        if std::mem::take(&mut self.unnumbered) {
            self.sequence.skip_to(rv.get());
            self.history.raise_floor(Shown::view(self.sequence.last()));
        }
        if self.id.is_overlaid() && self.sequence.last().get() == 0 {
            self.number(out);
            self.barrier.merge(self.sequence.barrier(&out.progress));
        }
    }

    /// Whether an empty state is to be believed: only from somebody to whom the cloud granted the set before, where
    /// objects of it are known.
    pub fn believes_empty(&mut self, out: &mut Outlet, who: &Identity, scope: &Scope, trusted: bool) -> bool {
        let known = |entry: &crate::collection::Entry| {
            entry.cloud.as_ref().is_some_and(|cloud| scope.takes(&cloud.header))
        };
        let believed = trusted || !self.entries.values().any(known);
        if !believed {
            let (resource, scope, identity) = (self.id.clone(), scope.clone(), who.clone());
            out.report(Trouble::EmptyNotBelieved { resource, scope, identity });
        }
        believed
    }

    /// The answer to a client's own list.
    pub fn take_list(
        &mut self,
        out: &mut Outlet,
        who: &Identity,
        scope: &Scope,
        objects: Vec<Object>,
        rv: CloudRv,
    ) {
        let known = self.marks.find(scope, Asked::Set);
        let trusted = known.is_some_and(|mark| mark.readers.contains(who));
        let believed = !objects.is_empty() || self.believes_empty(out, who, scope, trusted);
        let mark = self.marks.entry(scope, Asked::Set);
        if mark.readers.insert(who.clone()) {
            self.store_mark(out, scope, Asked::Set);
        }
        let seen: BTreeSet<Key> = objects.iter().map(|object| object.header.key.clone()).collect();
        // Whatever changed since a state that is older than what is known would be undone by it.
        let covering = self.marks.covering(scope);
        let stale = self.tombs.outdates(rv) || covering.is_some_and(|mark| mark.position > Some(rv));
        let ordered = !self.id.is_overlaid() && covering.is_some();
        if stale || ordered || !believed {
            for object in objects {
                self.upsert(out, object, From::Answer);
            }
            self.saw(rv);
            if ordered && believed && !stale {
                self.hide_missing(scope, rv, &seen);
            }
            return;
        }
        let (held, same): (Vec<Object>, Vec<Object>) =
            objects.into_iter().partition(|object| self.is_newer(object));
        for object in same {
            self.recode(out, object);
        }
        self.complete(out, Reading { seen, held }, scope, rv);
    }

    /// What a list shows to be gone is not read any more; watchers hear of it from the stream, in its order.
    fn hide_missing(&mut self, scope: &Scope, rv: CloudRv, seen: &BTreeSet<Key>) {
        if !scope.is_lasting() {
            return;
        }
        for (key, entry) in &mut self.entries {
            let gone =
                entry.cloud.as_ref().is_some_and(|cloud| cloud.header.rv <= rv && scope.takes(&cloud.header));
            let newer = entry.over.as_ref().is_some_and(|over| over.ahead > Some(rv));
            if gone && !newer && !seen.contains(key) {
                entry.over = Some(Over { object: None, ahead: Some(rv) });
                self.ahead.insert(key.clone());
            }
        }
    }
}
