//! Tombstones: which objects are known to be gone, so that older news does not bring them back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::object::Header;
use crate::resource::Key;
use crate::version::{CloudRv, Shown};

/// So many of them are kept for each resource.
const MOST: usize = 1024;

/// An object that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tombstone {
    /// What was last known of it.
    pub header: Arc<Header>,
    /// The version of the cloud at which it was gone, or the last one that is known where that is not.
    pub rv: CloudRv,
    /// The version under which that was shown; of the cloud's versions, the one by which it was gone.
    pub shown: Shown,
    /// Whether this object is known to exist no more. Else it may only have left a set.
    pub dead: bool,
}

/// The tombstones of a resource; the oldest make room for new ones.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    tombs: BTreeMap<Key, Tombstone>,
    order: VecDeque<(Key, CloudRv)>,
    /// Up to this version there may be deletions that no tombstone tells of.
    floor: Option<CloudRv>,
}

impl Tombstones {
    pub fn get(&self, key: &Key) -> Option<&Tombstone> {
        self.tombs.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Tombstone> {
        self.tombs.values()
    }

    /// Adds one; returns those that had to make room.
    pub fn insert(&mut self, key: Key, tomb: Tombstone) -> Vec<Key> {
        self.order.push_back((key.clone(), tomb.rv));
        self.tombs.insert(key, tomb);
        let mut gone = Vec::new();
        while self.tombs.len() > MOST || self.order.len() > 2 * MOST {
            let Some((key, rv)) = self.order.pop_front() else { break };
            if self.tombs.get(&key).is_some_and(|tomb| tomb.rv == rv) {
                self.tombs.remove(&key);
                self.floor = self.floor.max(Some(rv));
                gone.push(key);
            }
        }
        gone
    }

    /// The object came back, as another or after all.
    pub fn remove(&mut self, key: &Key) -> bool {
        self.tombs.remove(key).is_some()
    }

    /// Versions have begun anew.
    pub fn clear(&mut self) -> Vec<Key> {
        self.order.clear();
        self.floor = None;
        std::mem::take(&mut self.tombs).into_keys().collect()
    }

    /// Whether a state of the cloud at this version says nothing against a deletion.
    pub fn outdates(&self, state: CloudRv) -> bool {
        self.floor.is_some_and(|floor| state < floor)
    }
}
