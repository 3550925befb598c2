//! One entry of the outbox: what one writer has to tell the cloud about one object.

use std::ops::Deref;
use std::sync::Arc;

use view::{Identity, Key, ResourceId};

/// Names an entry: an object, by UID, and who wrote it. Two writers' changes of one object are two entries, for each is told
/// to the cloud under the credential of its own.
///
/// A handle: copies share what they name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Arc<Named>);

/// What an [`Id`] names; its fields are read through it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Named {
    /// The resource, in the version in which it was written.
    pub resource: ResourceId,
    /// The object's place.
    pub key: Key,
    /// The object's UID; empty for an event, whose place is its identity.
    pub uid: Box<str>,
    /// Who wrote.
    pub writer: Writer,
}

impl Id {
    /// The entry of this writer about this object.
    pub fn new(resource: ResourceId, key: Key, uid: impl Into<Box<str>>, writer: Writer) -> Id {
        Id(Arc::new(Named { resource, key, uid: uid.into(), writer }))
    }
}

impl Deref for Id {
    type Target = Named;

    fn deref(&self) -> &Named {
        &self.0
    }
}

/// Who wrote something that waits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Writer {
    /// kubelet of this node; told to the cloud with the node's certificate.
    Kubelet,
    /// A daemon of a pod on this node; told to the cloud with a token of its own, never as the node.
    Daemon(Identity),
}

/// The cloud's object on which the first write that waits was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Base {
    /// The cloud's resourceVersion; zero where there was none.
    pub rv: u64,
    /// `metadata.generation`; zero where there was none.
    pub generation: i64,
}

/// What is known of an entry besides its content, which lies in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub id: Id,
    /// What it stands on.
    pub base: Base,
    /// What is to be told.
    pub what: What,
    /// The first and the last write in it, in seconds since 1970 by the node's clock, which may have been wrong.
    pub since: i64,
    /// See there.
    pub last: i64,
    /// The kernel's id of the boot in which the last write was made.
    pub boot: Arc<str>,
    /// How many writes are in it.
    pub writes: u64,
    /// Bytes of its record.
    pub size: usize,
}

/// What is to be told to the cloud. The content of an entry is the object as the node last had it, in JSON, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The state of an object: of the content counts what its writer owns (kubelet: `owned.rs`).
    State,
    /// A pod that has ended and whose containers are gone: its final status, then its deletion with grace period 0.
    Finished {
        /// Whether it is gone from the view: finalizers keep it there.
        gone: bool,
    },
    /// Members that a daemon set on a node or pod; the content has their values, and what is not in it any more was removed.
    Members {
        /// Keys of annotations.
        annotations: Vec<String>,
        /// Types of conditions of the status.
        conditions: Vec<String>,
    },
    /// A whole object that takes the place of the cloud's: the node's CSINode.
    Object,
    /// An event: the same thing said often is told once, with its count.
    Event {
        /// The names under which it was written, and how often it happened by each; an empty name stands for those that are
        /// not remembered.
        names: Vec<(String, i64)>,
    },
}

impl What {
    /// All words.
    pub const WORDS: [&str; 5] = ["state", "finished", "members", "object", "event"];

    /// What is told, in one word.
    pub fn word(&self) -> &'static str {
        match self {
            What::State => "state",
            What::Finished { .. } => "finished",
            What::Members { .. } => "members",
            What::Object => "object",
            What::Event { .. } => "event",
        }
    }
}
