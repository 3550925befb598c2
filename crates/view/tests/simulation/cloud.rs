//! A model of the cloud: one etcd revision for everything, a watch cache that goes back only so far, backups.

use std::collections::BTreeMap;

use testkit::rng::Rng;
use view::{Change, Key, Object, ResourceId, Scope};
use wire::Encoding;

/// An object as the cloud has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    pub uid: String,
    pub rv: u64,
    pub node: &'static str,
    pub phase: &'static str,
    pub headless: bool,
}

impl Thing {
    /// The object in bytes, as an API server sends it.
    pub fn object(&self, resource: &ResourceId, key: &Key) -> Object {
        let labels = if self.headless { r#""headless":"""# } else { "" };
        let json = format!(
            r#"{{"kind":"X","apiVersion":"v1","metadata":{{"name":"{}","namespace":"{}","uid":"{}","resourceVersion":"{}","labels":{{{labels}}}}},"spec":{{"nodeName":"{}"}},"status":{{"phase":"{}"}},"content":{}}}"#,
            key.name(),
            key.namespace(),
            self.uid,
            self.rv,
            self.node,
            self.phase,
            self.rv
        );
        view::read(resource, json.into_bytes(), Encoding::Json).unwrap()
    }

    pub fn is_in(&self, resource: &ResourceId, key: &Key, scope: &Scope) -> bool {
        scope.takes(&self.object(resource, key).header)
    }
}

pub type Place = (ResourceId, Key);

#[derive(Debug, Clone)]
struct Past {
    rv: u64,
    place: Place,
    old: Option<Thing>,
    new: Option<Thing>,
}

#[derive(Debug, Clone)]
pub struct Cloud {
    pub revision: u64,
    pub things: BTreeMap<Place, Thing>,
    past: Vec<Past>,
    /// Watches from before this revision are answered with 410.
    pub floor: u64,
    uids: u64,
    backup: Option<(u64, BTreeMap<Place, Thing>)>,
}

impl Cloud {
    pub fn new() -> Cloud {
        let (revision, floor) = (10_000, 10_000);
        Cloud { revision, things: BTreeMap::new(), past: Vec::new(), floor, uids: 0, backup: None }
    }

    fn commit(&mut self, place: &Place, new: Option<Thing>) {
        self.revision += 1;
        let rv = self.revision;
        let new = new.map(|new| Thing { rv, ..new });
        let old = match &new {
            Some(new) => self.things.insert(place.clone(), new.clone()),
            None => self.things.remove(place),
        };
        self.past.push(Past { rv, place: place.clone(), old, new });
    }

    pub fn create(&mut self, place: &Place, rng: &mut Rng) {
        self.uids += 1;
        let node = *rng.pick(&["n1", "n1", "n2"]);
        let (uid, phase, headless) = (format!("u{}", self.uids), "Running", rng.chance(30));
        self.commit(place, Some(Thing { uid, rv: 0, node, phase, headless }));
    }

    pub fn change(&mut self, place: &Place, rng: &mut Rng) {
        let Some(old) = self.things.get(place).cloned() else { return };
        let phase = if rng.chance(20) { "Succeeded" } else { old.phase };
        let headless = old.headless ^ rng.chance(25);
        self.commit(place, Some(Thing { phase, headless, ..old }));
    }

    pub fn delete(&mut self, place: &Place) {
        if self.things.contains_key(place) {
            self.commit(place, None);
        }
    }

    /// Other resources are written too.
    pub fn idle(&mut self, steps: u64) {
        self.revision += steps;
    }

    pub fn compact(&mut self) {
        self.floor = self.revision;
        self.past.clear();
    }

    pub fn back_up(&mut self) {
        self.backup = Some((self.revision, self.things.clone()));
    }

    pub fn has_backup(&self) -> bool {
        self.backup.is_some()
    }

    /// Etcd is restored from the last backup; the API servers start anew. Whether there was one.
    pub fn restore(&mut self) -> bool {
        let Some((revision, things)) = self.backup.take() else { return false };
        (self.revision, self.things) = (revision, things);
        self.compact();
        true
    }

    pub fn state(&self, resource: &ResourceId, scope: &Scope) -> Vec<(Key, Thing)> {
        let of = |((id, key), thing): (&Place, &Thing)| {
            (id == resource && thing.is_in(id, key, scope)).then(|| (key.clone(), thing.clone()))
        };
        self.things.iter().filter_map(of).collect()
    }

    /// The first change of a scope after a revision, as a watch tells it, and the revision up to which all is told.
    pub fn next(&self, resource: &ResourceId, scope: &Scope, after: u64) -> Next {
        if after < self.floor {
            return Next::Expired;
        }
        for past in self.past.iter().filter(|past| past.rv > after && past.place.0 == *resource) {
            let (id, key) = (&past.place.0, &past.place.1);
            let was = past.old.as_ref().filter(|old| old.is_in(id, key, scope));
            let is = past.new.as_ref().filter(|new| new.is_in(id, key, scope));
            let (change, thing) = match (was, is) {
                (None, None) => continue,
                (None, Some(new)) => (Change::Added, new.clone()),
                (Some(_), Some(new)) => (Change::Modified, new.clone()),
                (Some(old), None) => (Change::Deleted, Thing { rv: past.rv, ..old.clone() }),
            };
            return Next::Event(past.rv, change, thing.object(id, key));
        }
        Next::Nothing
    }
}

pub enum Next {
    Event(u64, Change, Object),
    Nothing,
    Expired,
}
