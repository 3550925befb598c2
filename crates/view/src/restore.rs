//! Loading what lies in the logs.
//!
//! A record that is lost is not a deletion: whatever sets it may have belonged to are not complete any more, until the
//! cloud has told them again.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::collection::{Collection, Entry, Over};
use crate::decode::header;
use crate::effect::Trouble;
use crate::mark::Mark;
use crate::numbers::Sequence;
use crate::object::{Body, Header, Object};
use crate::outlet::Outlet;
use crate::persist::Record;
use crate::policy::{Log, Policy};
use crate::record::{self, Content, Stored};
use crate::resource::{Key, ResourceId};
use crate::tombstone::Tombstone;
use crate::version::Shown;
use crate::view::View;

/// Objects with what their records say besides their bytes.
type Objects = BTreeMap<Key, (Stored<'static>, Object)>;

/// Records of one resource, sorted.
#[derive(Debug, Default)]
struct Found {
    objects: Objects,
    ahead: Objects,
    tombs: BTreeMap<Key, (u64, Tombstone)>,
    marks: Vec<(u64, Mark)>,
    reserved: Option<u64>,
    reservation_lost: bool,
    lost: Vec<(Log, Vec<u8>, Option<Key>)>,
}

/// What is being loaded. All records of both logs go into it, then [`Loading::finish`] makes the view's state of them.
#[derive(Debug)]
pub struct Loading {
    policy: Policy,
    resources: BTreeMap<ResourceId, Found>,
    /// Logs of which records were lost that nobody knows the keys of.
    doubtful: Vec<Log>,
    troubles: Vec<Trouble>,
}

impl Found {
    /// An object; of two the newer counts.
    fn object(&mut self, place: Key, stored: Stored<'static>, object: Object) {
        let objects = if stored.ahead { &mut self.ahead } else { &mut self.objects };
        let newer =
            |(other, _): &(Stored<'_>, Object)| (other.epoch, other.cloud) > (stored.epoch, stored.cloud);
        if !objects.get(&place).is_some_and(newer) {
            objects.insert(place, (stored, object));
        }
    }

    /// The last epoch that a record is of.
    fn epoch(&self) -> u64 {
        let objects = self.objects.values().map(|(stored, _)| stored.epoch);
        let tombs = self.tombs.values().map(|(epoch, _)| *epoch);
        objects.chain(tombs).chain(self.marks.iter().map(|(epoch, _)| *epoch)).max().unwrap_or(0)
    }

    fn tombstone(&mut self, place: Key, epoch: u64, tomb: Tombstone) {
        let newer = |(other, old): &(u64, Tombstone)| (*other, old.rv) > (epoch, tomb.rv);
        if !self.tombs.get(&place).is_some_and(newer) {
            self.tombs.insert(place, (epoch, tomb));
        }
    }
}

fn found_of(resources: &mut BTreeMap<ResourceId, Found>, resource: ResourceId) -> &mut Found {
    resources.entry(resource).or_default()
}

impl Loading {
    /// Nothing yet, for the node of this name.
    pub fn new(node: &str) -> Loading {
        let policy = Policy { node: node.into() };
        Loading { policy, resources: BTreeMap::new(), doubtful: Vec::new(), troubles: Vec::new() }
    }

    /// A record as it lies in a log. Of most objects the bytes are not held.
    pub fn record(&mut self, log: Log, key: &[u8], value: &[u8]) {
        let bad = |key: &[u8]| Trouble::BadRecord { key: String::from_utf8_lossy(key).into_owned() };
        let Some((resource, content)) = record::parse(key, value) else {
            // It is lost, as if its bytes were.
            self.troubles.push(bad(key));
            self.lost(log, key);
            return;
        };
        match content {
            Content::Object(place, stored) => match header(&resource, &stored.bytes, stored.encoding) {
                Ok(header) => {
                    let object = self.object(&resource, &stored, header);
                    found_of(&mut self.resources, resource).object(place, stored.without_bytes(), object);
                }
                Err(_) => {
                    self.troubles.push(bad(key));
                    self.lost(log, key);
                }
            },
            Content::Tombstone(place, epoch, tomb) => {
                found_of(&mut self.resources, resource).tombstone(place, epoch, tomb);
            }
            Content::Mark(epoch, mark) => found_of(&mut self.resources, resource).marks.push((epoch, mark)),
            Content::Reserved(up_to) => {
                let found = found_of(&mut self.resources, resource);
                found.reserved = found.reserved.max(Some(up_to));
            }
        }
    }

    /// An object of its record, with its bytes if they are held.
    fn object(&self, resource: &ResourceId, stored: &Stored<'_>, mut header: Header) -> Object {
        header.rv = stored.cloud;
        let shown = stored.shown.is_some() == resource.is_overlaid();
        if shown && !stored.ahead && !self.policy.is_held(resource, &header) {
            return Object { header: Arc::new(header), encoding: stored.encoding, body: Body::Stored };
        }
        Object::new(header, stored.encoding, &*stored.bytes)
    }

    /// A record that is known to have been there and cannot be read.
    pub fn lost(&mut self, log: Log, key: &[u8]) {
        let Some((resource, kind, rest)) = record::parse_key(key) else {
            self.lost_unknown(log);
            return;
        };
        let found = found_of(&mut self.resources, resource);
        found.reservation_lost |= kind == 's';
        found.lost.push((log, key.to_vec(), matches!(kind, 'o' | 'a' | 't').then(|| Key::from_text(rest))));
    }

    /// Records were lost, and it is not known which.
    pub fn lost_unknown(&mut self, log: Log) {
        self.doubtful.push(log);
    }

    /// Makes an empty view into what it was.
    pub fn finish(self, view: &mut View) {
        for trouble in self.troubles {
            view.out.report(trouble);
        }
        // Versions begin anew for all resources at once, though not all of them may have got to write so.
        view.epoch = self.resources.values().map(Found::epoch).max().unwrap_or(0);
        for (resource, found) in self.resources {
            let mut collection = Collection::new(resource.clone(), view.epoch);
            let doubtful = self.doubtful.iter().any(|log| view.out.policy.log_of(&resource) == Some(*log));
            // Reservations lie in one log, so doubt about that is doubt about them.
            let doubt_numbers = self.doubtful.contains(&Log::Keep);
            collection.load(&mut view.out, found, doubtful, doubt_numbers);
            view.collections.insert(resource, collection);
        }
    }
}

impl Collection {
    fn load(&mut self, out: &mut Outlet, found: Found, doubtful: bool, doubt_numbers: bool) {
        let Found { objects, ahead, tombs, marks, reserved, reservation_lost, lost } = found;
        let mut highest = Shown::stored(0);
        for (key, (epoch, tomb)) in tombs {
            highest = highest.max(tomb.shown);
            if epoch == self.epoch {
                self.saw(tomb.rv);
                self.tombs.insert(key, tomb);
            }
        }
        let mut unshown = Vec::new();
        for (key, (stored, object)) in objects {
            let buried = self.tombs.get(&key).is_some_and(|tomb| {
                stored.epoch == self.epoch
                    && (tomb.rv >= stored.cloud || (tomb.dead && tomb.header.uid() == object.header.uid()))
            });
            if buried {
                // Its record outlived it, and would outlive the tombstone.
                if let Some(log) = out.policy.log_of(&self.id) {
                    out.persist(log, vec![record::delete_object(&self.id, &key)], false);
                }
                continue;
            }
            if stored.epoch == self.epoch {
                self.saw(stored.cloud);
            }
            highest = highest.max(stored.shown.unwrap_or(highest));
            if self.id.is_overlaid() && stored.shown.is_none() {
                unshown.push(key.clone());
            }
            self.load_object(key, &stored, object);
        }
        for (key, (stored, object)) in ahead {
            self.load_ahead(out, key, &stored, object);
        }
        self.load_marks(marks);
        // Of what was written together the reservation may be what did not survive.
        let marked = self.marks.iter().map(|mark| mark.since.get()).max().unwrap_or(0);
        let last = reserved.unwrap_or(0).max(highest.get()).max(marked);
        if self.id.is_overlaid() {
            // Where there never was a reservation that survived, no number was ever shown.
            self.unnumbered = reservation_lost || doubt_numbers;
            self.sequence = Sequence::restored(last, reserved.unwrap_or(0));
            if last > reserved.unwrap_or(0) && !self.unnumbered {
                // A number is shown from now on whose reservation did not survive.
                self.reserve(out);
                self.barrier.merge(self.sequence.barrier(&out.progress));
            }
            self.history.raise_floor(highest);
        }
        if doubtful || self.unnumbered {
            for mark in self.marks.iter_mut() {
                (mark.complete, mark.position) = (false, None);
            }
        }
        let is_of = |kinds: &str| {
            let kind = |key: &[u8]| record::parse_key(key).map(|(_, kind, _)| kind);
            lost.iter().any(|(_, key, _)| kind(key).is_some_and(|kind| kinds.contains(kind)))
        };
        // What a mark that is lost excluded is not known.
        let excludes = self.marks.iter().any(|mark| mark.excludes) || is_of("m");
        if self.id.is_overlaid() && (excludes || doubtful || is_of("oat")) {
            self.begin_anew(out);
        } else if excludes {
            self.forget_left(out);
        }
        self.forget_lost(out, lost);
        for key in unshown {
            // Something lay over it that is not laid yet; without it, it is shown under a number of its own.
            self.lay(out, &key, None);
        }
    }

    /// Clients may have what nobody knows of any more, or may have been told of an end that is forgotten: all of them read
    /// everything anew.
    fn begin_anew(&mut self, out: &mut Outlet) {
        // Where numbers were lost too, that is so in any case.
        if !self.unnumbered {
            let next = self.number(out);
            self.barrier.merge(self.sequence.barrier(&out.progress));
            self.history.raise_floor(next);
        }
    }

    /// Which objects had left a set without saying so is forgotten, and they are shown in it again: whoever was told that
    /// they left reads everything anew.
    fn forget_left(&mut self, out: &mut Outlet) {
        let told = self.marks.iter().map(|mark| mark.since).chain(self.seen.map(Shown::cloud)).max();
        let next = told.map_or(Shown::FIRST, Shown::next);
        let mut sets = Vec::new();
        for mark in self.marks.iter_mut().filter(|mark| mark.complete || mark.excludes) {
            // It is said once: whoever begins anew from here is told what there is.
            (mark.since, mark.excludes) = (next, false);
            sets.push((mark.scope.clone(), mark.asked));
        }
        for (scope, asked) in sets {
            self.store_mark(out, &scope, asked);
        }
    }

    fn load_object(&mut self, key: Key, stored: &Stored<'_>, object: Object) {
        let logged = Some(stored.cloud.get());
        let mut entry = Entry { epoch: stored.epoch, shown: stored.shown, logged, ..Entry::default() };
        entry.cloud = Some(object);
        self.entries.insert(key, entry);
    }

    fn load_ahead(&mut self, out: &mut Outlet, key: Key, stored: &Stored<'_>, object: Object) {
        let known = self.entries.get(&key).filter(|entry| entry.epoch == stored.epoch);
        let cloud = known.and_then(|entry| entry.cloud.as_ref());
        let caught_up = cloud.is_some_and(|cloud| cloud.header.rv >= stored.cloud)
            || self.tombs.get(&key).is_some_and(|tomb| tomb.rv >= stored.cloud);
        if stored.epoch != self.epoch || caught_up {
            self.forget_ahead(out, &key);
            return;
        }
        self.saw(stored.cloud);
        let entry = self.entries.entry(key.clone()).or_default();
        entry.over = Some(Over { object: Some(object), ahead: Some(stored.cloud) });
        self.ahead.insert(key);
    }

    fn load_marks(&mut self, marks: Vec<(u64, Mark)>) {
        for (epoch, mut mark) in marks {
            if let Some(position) = mark.position.filter(|_| epoch == self.epoch) {
                self.saw(position);
            }
            if epoch != self.epoch || mark.excludes {
                mark.position = None;
            }
            if !self.id.is_overlaid() {
                if epoch != self.epoch {
                    mark.since = mark.since.min(Shown::FIRST);
                }
                // An object that is not in the set now may have left it as the last thing that happened.
                let concerns = |header: &Header| match mark.scope.is_lasting() {
                    true => mark.scope.takes(header),
                    false => mark.scope.may_take(&header.key),
                };
                let objects = self.entries.values().filter(|entry| entry.epoch == self.epoch);
                let objects = objects.filter_map(|entry| entry.cloud.as_ref());
                let objects = objects.filter(|cloud| concerns(&cloud.header)).map(|cloud| cloud.header.rv);
                let tombs = self.tombs.iter().filter(|tomb| concerns(&tomb.header)).map(|tomb| tomb.shown);
                let highest = objects.chain(mark.position).map(Shown::cloud).chain(tombs).max();
                // A client that has seen the last thing that was shown has missed nothing; any other may have.
                mark.since = mark.since.max(highest.unwrap_or(mark.since));
            }
            *self.marks.entry(&mark.scope, mark.asked) = mark.clone();
        }
    }

    /// Takes back what lost records vouched for, then the records themselves.
    fn forget_lost(&mut self, out: &mut Outlet, lost: Vec<(Log, Vec<u8>, Option<Key>)>) {
        let mut doubted: Vec<Mark> = Vec::new();
        for (_, _, key) in &lost {
            let Some(key) = key else { continue };
            for mark in self.marks.iter_mut().filter(|mark| mark.scope.may_take(key)) {
                (mark.complete, mark.position) = (false, None);
                doubted.push(mark.clone());
            }
        }
        for mark in doubted {
            self.store_mark(out, &mark.scope, mark.asked);
        }
        for (log, key, place) in lost {
            let rewritten = place.is_some_and(|place| self.entries.contains_key(&place));
            // That a reservation was lost is to be known until there is another one.
            let is_reservation = record::parse_key(&key).is_some_and(|(_, kind, _)| kind == 's');
            if !rewritten && !is_reservation {
                out.persist(log, vec![Record::Delete { key }], false);
            }
        }
    }
}
