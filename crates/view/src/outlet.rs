//! Where effects gather, and what every resource needs to make them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::effect::{Effect, Trouble};
use crate::history::Limits;
use crate::object::Object;
use crate::persist::{Barrier, Progress, Record, Write};
use crate::policy::{Log, Policy};
use crate::resource::{Key, ResourceId};

/// Where the bytes are that the view does not hold any more: the logs.
///
/// The view asks only when an object is gone or leaves a set and its last bytes must be shown once more.
pub trait Shelf: Send {
    /// The bytes of the record of an object, as the view last had them written; `None` if they cannot be read.
    fn fetch(&self, resource: &ResourceId, key: &Key) -> Option<Arc<[u8]>>;
}

/// An object whose bytes are on their way to a log.
#[derive(Debug)]
pub(crate) struct Underway {
    pub log: Log,
    pub number: u64,
    pub resource: ResourceId,
    pub key: Key,
    pub version: u64,
}

pub(crate) struct Outlet {
    pub policy: Policy,
    pub limits: Limits,
    pub progress: Progress,
    pub shelf: Box<dyn Shelf>,
    pub effects: Vec<Effect>,
    pub underway: VecDeque<Underway>,
}

impl Outlet {
    /// Hands records out to be written; what depends on them waits for the barrier.
    pub fn persist(&mut self, log: Log, records: Vec<Record>, flush: bool) -> (u64, Barrier) {
        let number = self.progress.hand_out(log);
        self.effects.push(Effect::Persist(Write { log, number, records, flush }));
        (number, Barrier::after(log, number, flush))
    }

    pub fn report(&mut self, trouble: Trouble) {
        // The same thing said twice in a row helps nobody.
        let effect = Effect::Report(trouble);
        if !self.effects.contains(&effect) {
            self.effects.push(effect);
        }
    }

    pub fn ask_again(&mut self, resource: &ResourceId) {
        let effect = Effect::AskAgain(resource.clone());
        if !self.effects.contains(&effect) {
            self.effects.push(effect);
        }
    }

    /// The object with its bytes, fetched if they are not here.
    pub fn with_bytes(&self, resource: &ResourceId, object: &Object) -> Option<Object> {
        if object.bytes().is_some() {
            return Some(object.clone());
        }
        let bytes = self.shelf.fetch(resource, &object.header.key)?;
        Some(Object { body: crate::object::Body::Held(bytes), ..object.clone() })
    }
}
