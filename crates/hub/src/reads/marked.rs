//! Which daemons the cloud let change this node and its pods. What they write while it is away is taken for that reason, and
//! for no other (P8).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use outbox::Writer;

use super::{Reads, Who, lock};
use crate::store::OWN;

/// Behind [`OWN`], begins the keys of these records.
const MARKED: u8 = b'w';
/// So many are remembered; a node has a handful of such daemons.
const MOST: usize = 256;

/// What was let through.
#[derive(Default)]
pub struct Marked(Mutex<BTreeSet<Vec<u8>>>);

impl Marked {
    /// Takes over a record that was stored; others are not looked at.
    pub fn load(&self, key: &[u8]) {
        if key.starts_with(&[OWN, MARKED]) {
            lock(&self.0).insert(key.to_vec());
        }
    }
}

/// Names who did what in which namespace.
fn key(who: &Who, about: &wire::Request) -> Option<Vec<u8>> {
    let asked = about.resource.as_ref()?;
    let what =
        format!("{}\0{}\0{}\0{}", asked.resource, asked.subresource, asked.namespace, who.identity.as_str());
    let key = [&[OWN, MARKED][..], what.as_bytes()].concat();
    (key.len() <= durable::objects::MAX_KEY).then_some(key)
}

impl Reads {
    /// Whether the cloud took the same from the same caller before.
    pub(super) fn marked_before(&self, who: &Who, about: &wire::Request) -> bool {
        key(who, about).is_some_and(|key| lock(&self.marked.0).contains(&key))
    }

    /// The cloud took a write of a caller, or refused it with 403.
    pub(super) fn note_marked(self: &Arc<Self>, who: &Who, about: &wire::Request, taken: bool) {
        let writer = Writer::Daemon(who.identity.clone());
        if who.is_kubelet() || outbox::allowed(&writer, about, &self.node).is_none() {
            return;
        }
        let Some(key) = key(who, about) else { return };
        let mut marked = lock(&self.marked.0);
        if taken && marked.len() < MOST && marked.insert(key.clone()) {
            self.store.write_own(key, Some(Vec::new()));
        } else if !taken && marked.remove(&key) {
            self.store.write_own(key, None);
        }
    }
}
