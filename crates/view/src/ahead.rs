//! News ahead of the cloud's order, of resources whose versions are the cloud's: the answer to a write, to a GET, to a
//! list of a part.
//!
//! They lie over the object until the order has caught up with them, and only a reader of that very name is shown them.
//! Each has a record of its own beside the object's.

use crate::collection::{Collection, Deletion, Over, shown_at};
use crate::object::Object;
use crate::outlet::Outlet;
use crate::persist::Barrier;
use crate::record;
use crate::resource::Key;
use crate::scope::Scope;
use crate::version::CloudRv;

impl Collection {
    /// Keeps an object that is newer than what its sets were read up to.
    pub(crate) fn put_ahead(&mut self, out: &mut Outlet, key: Key, object: Object, rv: CloudRv) {
        if let Some(log) = out.policy.log_of(&self.id) {
            let record = self.object_record(out, &key, &object, None, true);
            let (_, barrier) = out.persist(log, record.into_iter().collect(), false);
            self.barrier.merge(barrier);
        }
        let entry = self.entries.entry(key.clone()).or_default();
        entry.over = Some(Over { object: Some(object), ahead: Some(rv) });
        self.ahead.insert(key);
    }

    /// An object that came and went before the cloud's order got there: whoever was told of it is told that it is gone.
    pub(crate) fn delete_ahead(&mut self, out: &mut Outlet, key: &Key, by: &Deletion) {
        let over = self.entries.remove(key).and_then(|entry| entry.over);
        let Some(object) = over.filter(|over| over.ahead.is_some()).and_then(|over| over.object) else {
            return;
        };
        let barrier = self.forget_ahead(out, key);
        let gone = out.with_bytes(&self.id, &object);
        self.push_numbered(out, key, Some(&object), None, gone, shown_at(by, &object), barrier, None);
    }

    /// Drops news inside a scope that the cloud's order has caught up with.
    pub(crate) fn settle_ahead(&mut self, out: &mut Outlet, scope: &Scope, position: CloudRv) {
        let keys: Vec<Key> = self.ahead.iter().filter(|key| scope.may_take(key)).cloned().collect();
        for key in keys {
            let entry = self.entries.get(&key);
            let ahead = entry.and_then(|entry| entry.over.as_ref()).and_then(|over| over.ahead);
            let Some(ahead) = ahead else {
                // The order brought the same or something newer.
                self.forget_ahead(out, &key);
                continue;
            };
            // Of what is not in this scope now, only the order of a wider one can tell.
            let newest = entry.and_then(|entry| entry.newest().or(entry.cloud.as_ref()));
            if ahead <= position && newest.is_none_or(|newest| scope.takes(&newest.header)) {
                self.forget_ahead(out, &key);
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.over = None;
                }
                if self.entries.get(&key).is_some_and(|entry| entry.cloud.is_none()) {
                    self.entries.remove(&key);
                }
            }
        }
    }

    pub(crate) fn forget_ahead(&mut self, out: &mut Outlet, key: &Key) -> Barrier {
        self.ahead.remove(key);
        // Only overlaid objects move between logs, so it lies where the marks lie.
        let Some(log) = out.policy.log_of(&self.id) else { return Barrier::default() };
        out.persist(log, vec![record::delete_ahead(&self.id, key)], false).1
    }
}
