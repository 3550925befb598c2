//! What the view asks of the hub.

use std::fmt;

use crate::mark::Identity;
use crate::persist::Write;
use crate::resource::{Key, ResourceId};
use crate::scope::Scope;
use crate::version::{CloudRv, ViewRv};
use crate::watch::WatcherId;

/// Names a stream from the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(crate) u64);

/// A stream that is to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Its name in everything that is reported about it.
    pub stream: StreamId,
    /// Of which resource.
    pub resource: ResourceId,
    /// Which objects.
    pub scope: Scope,
    /// Under whose credential.
    pub identity: Identity,
    /// `None`: read everything, from etcd (no resourceVersion), by watch-list or list and watch, then follow. Else go on from
    /// this version; but first, unless `is_proven`, ask what the cloud's version is, by a short list that is no older than
    /// `reached`, and report it with [`crate::View::revision`]: a watch from a version that the cloud has not reached says
    /// nothing at all.
    pub from: Option<CloudRv>,
    /// What is known to have been: the answer is not to come from an API server that has not heard of it.
    pub reached: Option<CloudRv>,
    /// Whether another stream's answer has just shown that: then that question has time, a minute if it is answered.
    pub is_proven: bool,
}

/// Something that the hub must do, in the order in which it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write this, and report with [`crate::View::written`] and [`crate::View::flushed`].
    Persist(Write),
    /// There may be something for this watcher: [`crate::View::pull`].
    Wake(WatcherId),
    /// Answers that had to wait for this resource may be possible now: ask again.
    AskAgain(ResourceId),
    /// Open a stream.
    Open(Open),
    /// Close a stream; nothing more is to be reported about it.
    Close(StreamId),
    /// The cloud's object under a layer changed: whoever laid it lays it anew or lifts it.
    Beneath {
        /// The resource.
        resource: ResourceId,
        /// The object's place.
        key: Key,
    },
    /// An operator should know.
    Report(Trouble),
}

/// Something that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// View RVs have overtaken the cloud's: a client that falls back to the cloud now may hear nothing.
    CloudTooYoung {
        /// The resource.
        resource: ResourceId,
        /// The view RV.
        issued: ViewRv,
    },
    /// The cloud's versions went back: its etcd was restored from a backup.
    CloudRestored {
        /// The resource by which that showed.
        resource: ResourceId,
        /// The version that the hub had read.
        had: CloudRv,
        /// The version that the cloud has.
        has: CloudRv,
    },
    /// An empty list under another identity than the one that saw objects there: not believed.
    EmptyNotBelieved {
        /// The resource.
        resource: ResourceId,
        /// The scope.
        scope: Scope,
        /// Who read it.
        identity: Identity,
    },
    /// A record cannot be understood; it was left out.
    BadRecord {
        /// Its key, as far as it is text.
        key: String,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::CloudTooYoung { resource, issued } => write!(
                f,
                "the hub has numbered more changes of {resource} ({issued}) than the cloud has had in all: a client that goes from \
                 the hub to the API server now may miss changes until the cloud has caught up"
            ),
            Trouble::CloudRestored { resource, had, has } => write!(
                f,
                "the cloud was restored from a backup: it is at version {has}, {resource} had been read up to {had}; everything \
                 is read anew"
            ),
            Trouble::EmptyNotBelieved { resource, scope, identity } => write!(
                f,
                "the cloud shows {} no {resource} ({scope}) where others saw some: not believed, what is known stays",
                identity.as_str()
            ),
            Trouble::BadRecord { key } => {
                write!(f, "a stored record cannot be understood and is left out: {key:?}")
            }
        }
    }
}
