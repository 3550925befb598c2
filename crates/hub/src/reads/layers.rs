//! What waits for the cloud, laid over the view: all readers on the node are shown the cloud's object as the node has it by
//! now, until the cloud knows.

use std::sync::Arc;

use outbox::{Content, Entry, Id, Outbox, What, Writer};
use serde_json::Value;
use view::{Key, Object, ResourceId};
use wire::Encoding;

use super::answer::is_kept;
use super::settling::staged_key;
use super::{Reads, json, lock};

impl Reads {
    /// An object in JSON, whole; `None` if it cannot be had.
    pub(super) fn value(&self, resource: &ResourceId, object: &Object) -> Option<Value> {
        json::whole(&self.bytes(resource, object)?, object.encoding)
    }

    /// The cloud's object in JSON, with the cloud's version.
    pub(super) fn cloud_value(&self, resource: &ResourceId, object: &Object) -> Option<Value> {
        let mut value = self.value(resource, object)?;
        set_version(&mut value, object.header.rv.get());
        Some(value)
    }

    /// Lays over the cloud's object what waits of it; lifts what lay there if nothing does. `newest` has just been stored.
    pub(super) fn lay(self: &Arc<Self>, resource: &ResourceId, key: &Key, newest: Option<(&Entry, Content)>) {
        let beneath = self.lock().beneath(resource, key);
        // What the cloud has deleted is not brought back; what it has made anew is another object.
        let Some(beneath) = beneath else { return };
        let mut entries: Vec<Arc<Entry>> = {
            let outbox = lock(&self.staging.outbox);
            let of_this = |entry: &&Arc<Entry>| *entry.id.uid == *beneath.header.uid();
            let ids: Vec<Id> =
                outbox.at(resource, key).filter(of_this).map(|entry| entry.id.clone()).collect();
            ids.iter().filter_map(|id| outbox.stored_entry(id).cloned()).collect()
        };
        // kubelet's is the whole object, daemons' are members of it.
        entries.sort_by(|one, other| one.id.writer.cmp(&other.id.writer));
        if entries.is_empty() {
            if self.lock().is_laid_over(resource, key) {
                self.with(|view| view.lift(resource, key));
            }
            return;
        }
        if let [entry] = entries.as_slice()
            && entry.id.writer == Writer::Kubelet
            && entry.base.rv == beneath.header.rv.get()
            && entry.what != (What::Finished { gone: true })
        {
            // It stands on this very object, and is laid as it is.
            let bytes = match newest.filter(|(own, _)| own.id == entry.id) {
                Some((_, content)) => Some(content.bytes.into_vec()),
                None => self.content_bytes(&entry.id),
            };
            return self.lay_bytes(resource, key, bytes);
        }
        let Some(mut value) = self.value(resource, &beneath) else {
            tracing::error!(
                "{resource}/{key}: what waits of it cannot be shown, for what it is about cannot be read"
            );
            return;
        };
        for entry in &entries {
            let content = match newest.as_ref().filter(|(own, _)| own.id == entry.id) {
                Some((_, content)) => Some(Value::clone(&content.value)),
                None => self.content(&entry.id),
            };
            let Some(content) = content else {
                tracing::error!("{resource}/{key}: what waits of it cannot be read");
                continue;
            };
            if entry.what == (What::Finished { gone: true }) {
                return self.with(|view| view.lay_over(resource, key, None));
            }
            value = outbox::owned::laid_over(entry, &content, &value);
        }
        set_version(&mut value, beneath.header.rv.get());
        self.lay_bytes(resource, key, Some(value.to_string().into_bytes()));
    }

    fn lay_bytes(self: &Arc<Self>, resource: &ResourceId, key: &Key, bytes: Option<Vec<u8>>) {
        match bytes.map(|bytes| view::read(resource, bytes, Encoding::Json)) {
            Some(Ok(object)) => self.with(|view| view.lay_over(resource, key, Some(object))),
            Some(Err(e)) => tracing::error!("{resource}/{key}: what waits of it cannot be shown: {e}"),
            None => tracing::error!("{resource}/{key}: what waits of it cannot be read"),
        }
    }

    /// The content of an entry, as it is stored.
    pub(crate) fn content(&self, id: &Id) -> Option<Value> {
        serde_json::from_slice(&self.content_bytes(id)?).ok()
    }

    fn content_bytes(&self, id: &Id) -> Option<Vec<u8>> {
        let record = self.store.own(&staged_key(id))?;
        Outbox::content(&record).map(<[u8]>::to_vec)
    }

    /// Lays everything over the view that waits, at the start.
    pub(super) fn lay_all(self: &Arc<Self>) {
        let ids: Vec<Id> = lock(&self.staging.outbox).entries().map(|entry| entry.id.clone()).collect();
        for id in ids.iter().filter(|id| is_kept(&id.resource)) {
            self.lay(&id.resource, &id.key, None);
        }
    }
}

/// Gives an object this version.
pub(super) fn set_version(object: &mut Value, rv: u64) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), rv.to_string().into());
    }
}
