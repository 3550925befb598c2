//! A watch that is under way: which events it gets, from which writes.

use std::sync::Arc;

use serde_json::{Value, json};
pub use wire::watch::EventType as Type;
use wire::{ListOptions, Status};

use super::fields::Selection;
use super::kinds::Kind;
use super::object::at_revision;
use super::store::{Event, Objects, Store};

/// A watch.
#[derive(Debug)]
pub struct Watch {
    kind: Kind,
    selection: Selection,
    bookmarks: bool,
    /// Seconds after which it ends.
    pub timeout_seconds: Option<u64>,
    /// What is to be sent before anything that happens from now on.
    pending: Vec<(Type, Value)>,
    after: u64,
    starts: u64,
    over: bool,
}

impl Watch {
    pub(super) fn new(kind: Kind, selection: Selection, options: &ListOptions, starts: u64) -> Self {
        Self {
            kind,
            selection,
            bookmarks: options.allow_watch_bookmarks,
            timeout_seconds: options.timeout_seconds.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0),
            pending: Vec::new(),
            after: 0,
            starts,
            over: false,
        }
    }

    /// Begins with the state of `revision`, and says when that is complete if it may.
    pub(super) fn begin_with(&mut self, objects: &Objects, revision: u64, say_end: bool) {
        let matching = objects
            .iter()
            .filter(|(key, object)| self.selection.covers(key) && self.selection.takes(object))
            .map(|(_, object)| (Type::Added, Value::clone(object)));
        self.pending = matching.collect();
        self.after = revision;
        if say_end && self.bookmarks {
            let mut bookmark = self.bookmark(revision);
            bookmark["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
            self.pending.push((Type::Bookmark, bookmark));
        }
    }

    /// Begins with what happens after `revision`, which may still be to come: then it is silent until that has passed.
    pub(super) fn begin_after(&mut self, revision: u64) {
        self.after = revision;
    }

    /// Says that what is asked for is forgotten.
    pub(super) fn expire(&mut self, asked: u64, remembered: u64) {
        let status = Status::expired(format!("too old resource version: {asked} ({remembered})"));
        let body = status.encode(wire::Encoding::Json);
        let object = serde_json::from_slice(&body).expect("a Status encodes to JSON");
        self.pending = vec![(Type::Error, object)];
        self.over = true;
    }

    /// What has happened since it was asked last.
    pub fn next(&mut self, store: &Store) -> Vec<(Type, Value)> {
        let mut out = std::mem::take(&mut self.pending);
        if self.is_over(store) {
            return out;
        }
        let up_to = store.cached_revision();
        for event in store.events(self.after, up_to).filter(|event| self.selection.covers(&event.key)) {
            out.extend(self.seen(event));
        }
        self.after = self.after.max(up_to);
        out
    }

    /// Whether nothing more will come: it has expired, or the server it was opened at has begun anew.
    pub fn is_over(&self, store: &Store) -> bool {
        self.over || self.is_of_earlier_server(store)
    }

    /// Whether the server it was opened at has begun anew.
    pub fn is_of_earlier_server(&self, store: &Store) -> bool {
        self.starts != store.starts
    }

    /// A bookmark of how far it has come, if it may send any.
    pub fn bookmark_now(&self) -> Option<(Type, Value)> {
        self.bookmarks.then(|| (Type::Bookmark, self.bookmark(self.after)))
    }

    fn bookmark(&self, revision: u64) -> Value {
        json!({
            "kind": self.kind.kind,
            "apiVersion": self.kind.api_version(),
            "metadata": {"resourceVersion": revision.to_string(), "creationTimestamp": null},
        })
    }

    /// What a write is to this watch (`apiserver:pkg/storage/cacher/cache_watcher.go`, convertToWatchEvent): an object
    /// that leaves shows its last state inside, under the revision at which it left.
    fn seen(&self, event: &Event) -> Option<(Type, Value)> {
        let taken = |object: &Option<Arc<Value>>| {
            object.as_ref().filter(|object| self.selection.takes(object)).cloned()
        };
        match (taken(&event.before), taken(&event.after)) {
            (None, Some(after)) => Some((Type::Added, Value::clone(&after))),
            (Some(_), Some(after)) => Some((Type::Modified, Value::clone(&after))),
            (Some(before), None) => Some((Type::Deleted, at_revision(&before, event.revision))),
            (None, None) => None,
        }
    }
}
