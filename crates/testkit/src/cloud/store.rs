//! What the cloud knows, with its history: etcd and the API server's watch cache in one.
//!
//! There is one revision for everything; each write takes the next. Two windows bound what of the past can be asked
//! for, as in a real cluster: etcd's compaction decides which lists of an earlier moment are possible, and the watch
//! cache, which begins anew when the API server starts, decides from where a watch can go on.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::object::at_revision;

/// Where an object is kept. Ordered as etcd's keys are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// API group.
    pub group: String,
    /// Plural name of the resource.
    pub resource: String,
    /// Namespace; empty for kinds without.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// Whether it is of this resource, and in this namespace unless that is empty.
    pub fn is_in(&self, group: &str, resource: &str, namespace: &str) -> bool {
        self.group == group
            && self.resource == resource
            && (namespace.is_empty() || self.namespace == namespace)
    }
}

/// One write.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its revision.
    pub revision: u64,
    /// Which object.
    pub key: Key,
    /// The object before; `None` where it was made.
    pub before: Option<Arc<Value>>,
    /// The object afterwards; `None` where it was deleted.
    pub after: Option<Arc<Value>>,
}

/// Objects of one moment.
pub type Objects = BTreeMap<Key, Arc<Value>>;

/// What can be brought back by [`Store::restore`].
#[derive(Debug, Clone)]
pub struct Backup {
    revision: u64,
    objects: Objects,
}

/// The store.
#[derive(Debug, Clone)]
pub struct Store {
    revision: u64,
    objects: Objects,
    history: Vec<Event>,
    /// The state just before the first event of the history.
    base: Objects,
    compacted: u64,
    remembered: u64,
    frozen: Option<u64>,
    /// Counts how often the API server has begun anew: streams of an earlier one are broken.
    pub starts: u64,
}

impl Store {
    /// An empty store whose next write gets the revision after `revision`.
    pub fn new(revision: u64) -> Self {
        Self {
            revision,
            objects: Objects::new(),
            history: Vec::new(),
            base: Objects::new(),
            compacted: 0,
            remembered: 0,
            frozen: None,
            starts: 0,
        }
    }

    /// The revision of the last write.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The revision up to which the watch cache has read: what reads at "0", reads at N and watches see.
    pub fn cached_revision(&self) -> u64 {
        self.frozen.unwrap_or(self.revision)
    }

    /// A watch can go on from this revision and later ones.
    pub fn remembered(&self) -> u64 {
        self.remembered
    }

    /// Lists of this moment and later ones are possible.
    pub fn compacted(&self) -> u64 {
        self.compacted
    }

    /// The object as it is.
    pub fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.objects.get(key).cloned()
    }

    /// All objects as they are.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// All objects as they were at `revision`; `None` if that is compacted or still to come.
    pub fn objects_at(&self, revision: u64) -> Option<Objects> {
        if revision == self.revision {
            return Some(self.objects.clone());
        }
        (self.compacted..=self.revision).contains(&revision).then(|| self.replayed(revision))
    }

    /// The history up to `revision`, laid over what was before it.
    fn replayed(&self, revision: u64) -> Objects {
        let mut objects = self.base.clone();
        for event in self.history.iter().filter(|event| event.revision <= revision) {
            match &event.after {
                Some(object) => objects.insert(event.key.clone(), Arc::clone(object)),
                None => objects.remove(&event.key),
            };
        }
        objects
    }

    /// All objects as the watch cache has them.
    pub fn cached(&self) -> Objects {
        match self.frozen {
            Some(revision) => self.replayed(revision),
            None => self.objects.clone(),
        }
    }

    /// The writes after one revision and up to another, oldest first.
    pub fn events(&self, after: u64, up_to: u64) -> impl Iterator<Item = &Event> {
        let start = self.history.partition_point(|event| event.revision <= after);
        self.history[start..].iter().take_while(move |event| event.revision <= up_to)
    }

    /// Writes an object, whose resourceVersion becomes the new revision. Gives the object as it is then.
    pub fn put(&mut self, key: Key, object: &Value) -> Arc<Value> {
        self.revision += 1;
        let after = Arc::new(at_revision(object, self.revision));
        let before = self.objects.insert(key.clone(), Arc::clone(&after));
        let revision = self.revision;
        self.history.push(Event { revision, key, before, after: Some(Arc::clone(&after)) });
        after
    }

    /// Deletes an object, if it is there.
    pub fn delete(&mut self, key: &Key) {
        if let Some(before) = self.objects.remove(key) {
            self.revision += 1;
            let event =
                Event { revision: self.revision, key: key.clone(), before: Some(before), after: None };
            self.history.push(event);
        }
    }

    /// etcd forgets what was before `revision`: lists of an earlier moment and continue tokens for them end with 410.
    /// Watches are not touched by it: the watch cache remembers.
    pub fn compact(&mut self, revision: u64) {
        self.compacted = self.compacted.max(revision.min(self.revision));
        self.trim();
    }

    /// The API server begins anew: its watch cache starts with the present state, and watches from earlier revisions end
    /// with 410.
    pub fn restart(&mut self) {
        self.starts += 1;
        self.frozen = None;
        self.remembered = self.revision;
        self.trim();
    }

    /// The API server's watch cache stops to follow etcd, as that of a server cut off from it: reads at "0" and watches
    /// show the past, reads at "" and writes the present.
    pub fn freeze(&mut self) {
        self.frozen = Some(self.revision);
    }

    /// The watch cache follows again.
    pub fn thaw(&mut self) {
        self.frozen = None;
    }

    /// What a backup of etcd holds.
    pub fn backup(&self) -> Backup {
        Backup { revision: self.revision, objects: self.objects.clone() }
    }

    /// etcd is restored: objects and the revision go back, and revisions that were given out are given again to other
    /// writes. The API server begins anew.
    pub fn restore(&mut self, backup: &Backup) {
        let starts = self.starts;
        *self = Self::new(backup.revision);
        self.objects = backup.objects.clone();
        self.base = backup.objects.clone();
        self.compacted = backup.revision;
        self.starts = starts;
        self.restart();
    }

    /// Forgets history that neither lists nor watches can ask for.
    fn trim(&mut self) {
        let floor = self.compacted.min(self.remembered).min(self.cached_revision());
        let end = self.history.partition_point(|event| event.revision <= floor);
        if end > 0 {
            self.base = self.replayed(floor);
            self.history.drain(..end);
        }
    }
}
