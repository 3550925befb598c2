//! What must be true of everything that a client is shown.

use std::collections::{BTreeMap, BTreeSet};

use view::{Key, ResourceId};

/// An invariant that does not hold.
#[derive(Debug)]
pub struct Violation {
    pub what: &'static str,
    pub text: String,
}

pub type Check = Result<(), Violation>;

pub fn broken<T>(what: &'static str, text: String) -> Result<T, Violation> {
    Err(Violation { what, text })
}

/// An object as a client got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    pub key: Key,
    pub uid: String,
    /// The version that the client was shown.
    pub rv: u64,
    /// The cloud's version of the content.
    pub content: u64,
}

/// What is known about the whole run, whoever was shown it.
#[derive(Debug, Default)]
pub struct Oracle {
    /// What each view RV stood for.
    numbers: BTreeMap<(ResourceId, u64), (Key, String, Option<u64>)>,
    /// Objects that were gone when all was quiet and flushed: nothing brings them back.
    dead: BTreeSet<String>,
    /// All objects that were ever shown.
    uids: BTreeSet<String>,
    /// Objects that were there then, and still are: nothing hides them.
    pub stays: BTreeMap<(ResourceId, Key), String>,
}

impl Oracle {
    pub fn forget_versions(&mut self) {
        self.dead.clear();
        self.stays.clear();
    }

    /// All is quiet: these are alive, and what was shown and is not among them is dead.
    pub fn quiet(&mut self, live: BTreeMap<(ResourceId, Key), String>) {
        let alive: BTreeSet<&String> = live.values().collect();
        let dead = self.uids.iter().filter(|uid| !alive.contains(uid));
        self.dead = dead.cloned().collect();
        self.stays = live
            .into_iter()
            .filter(|((resource, _), _)| *resource.resource() != *"persistentvolumeclaims")
            .collect();
    }

    /// An object was shown; `gone`: as deleted.
    pub fn shown(&mut self, resource: &ResourceId, got: &Got, gone: bool) -> Check {
        self.uids.insert(got.uid.clone());
        if !gone && self.dead.contains(&got.uid) {
            return broken("resurrected", format!("{got:?} was gone before"));
        }
        if !resource.is_overlaid() {
            return Ok(());
        }
        let content = (!gone).then_some(got.content);
        let now = (got.key.clone(), got.uid.clone(), content);
        let before = self.numbers.entry((resource.clone(), got.rv)).or_insert_with(|| now.clone());
        let same_content = before.2.is_none() || content.is_none() || before.2 == content;
        if before.0 == now.0 && before.1 == now.1 && same_content {
            before.2 = before.2.or(content);
            return Ok(());
        }
        broken("number", format!("view RV {} stood for {before:?} and now for {now:?}", got.rv))
    }

    /// A name was said to be absent.
    pub fn absent(&self, resource: &ResourceId, key: &Key) -> Check {
        match self.stays.get(&(resource.clone(), key.clone())) {
            Some(uid) => broken("hidden", format!("{key} is {uid} and was said to be absent")),
            None => Ok(()),
        }
    }
}
