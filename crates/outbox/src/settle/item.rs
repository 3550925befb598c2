//! One entry on its way to the cloud.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use view::{Key, ResourceId};

use super::fate::Fate;
use super::{Read, shutdown};
use crate::entry::{Entry, What, Writer};
use crate::owned::is_terminal;

/// What kind of thing an entry tells, in the order in which the cloud is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A pod has ended.
    Ended,
    /// The node's status.
    Node,
    /// A pod whose end is told is to be deleted.
    Deletion,
    /// Something else of kubelet's, or of a daemon.
    Other,
    /// A pod that has not ended.
    Running,
    /// An event.
    Event,
}

impl Class {
    fn of(entry: &Entry, local: &Value) -> Class {
        match (&entry.what, entry.id.resource.resource()) {
            (What::Event { .. }, _) => Class::Event,
            (What::Finished { .. }, _) => Class::Ended,
            (What::State, "pods") if is_terminal(local) => Class::Ended,
            (What::State, "pods") => Class::Running,
            (What::State, "nodes") => Class::Node,
            _ => Class::Other,
        }
    }

    /// Whether it is told only once kubelet has shown itself.
    pub(crate) fn needs_kubelet(self) -> bool {
        matches!(self, Class::Node | Class::Running)
    }
}

/// How an entry stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The cloud cannot be reached.
    WaitsForLink,
    /// kubelet has not written anything since the link came back.
    WaitsForKubelet,
    /// No credential of the daemon that wrote it is known.
    WaitsForCredential,
    /// It will be sent soon.
    Queued,
    /// It was sent.
    Underway,
    /// It was not taken, and is tried again.
    Retried,
    /// The cloud forbids it, in these words.
    Parked(String),
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::WaitsForLink => f.write_str("waits for the cloud"),
            Standing::WaitsForKubelet => f.write_str("waits for kubelet to write"),
            Standing::WaitsForCredential => f.write_str("waits for a token of its daemon"),
            Standing::Queued => f.write_str("will be sent"),
            Standing::Underway => f.write_str("was sent"),
            Standing::Retried => f.write_str("was not taken, is tried again"),
            Standing::Parked(message) => write!(f, "is forbidden: {message}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It can be looked at.
    Idle,
    /// It was sent.
    Underway,
    /// It is looked at again at its time.
    Waiting(Why),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    Failed,
    Forbidden(String),
    NoCredential,
}

#[derive(Debug)]
pub(crate) struct Item {
    pub entry: Arc<Entry>,
    pub class: Class,
    pub state: State,
    /// When it is looked at again, if it waits.
    pub due: Duration,
    /// Failures in a row.
    pub failures: u32,
    /// The cloud knows how this pod ended; what became of that.
    pub told: Option<Fate>,
    /// The shutdown of an earlier boot wrote it, and this boot undoes it.
    pub is_undone: bool,
    lacks_credential_since: Option<Duration>,
}

impl Item {
    pub fn new(entry: &Arc<Entry>, local: &Value, boot: &Arc<str>) -> Item {
        let class = Class::of(entry, local);
        let is_earlier = entry.boot != *boot;
        let is_state = class == Class::Ended && entry.what == What::State;
        Item {
            entry: entry.clone(),
            class,
            state: State::Idle,
            due: Duration::ZERO,
            failures: 0,
            told: None,
            is_undone: is_state && is_earlier && shutdown::is_undone_by_reboot(local),
            lacks_credential_since: None,
        }
    }

    /// Goes on where an earlier form of the same entry was.
    pub fn take_over(&mut self, former: Item) {
        (self.state, self.due, self.failures) = (former.state, former.due, former.failures);
        self.lacks_credential_since = former.lacks_credential_since;
    }

    /// The link is back: nothing is known of before but what is still on its way.
    pub fn begin_anew(&mut self) {
        self.failures = 0;
        self.lacks_credential_since = None;
        if self.state != State::Underway {
            self.state = State::Idle;
        }
    }

    /// What must have been read before it can be decided about.
    pub fn read(&self) -> Option<Read> {
        match (&self.entry.what, self.entry.id.resource.resource()) {
            (What::Event { .. }, _) => None,
            (_, "pods") => Some(Read::Pods),
            _ => Some(Read::Own(self.place())),
        }
    }

    pub fn place(&self) -> (ResourceId, Key) {
        (self.entry.id.resource.clone(), self.entry.id.key.clone())
    }

    pub fn is_event(&self) -> bool {
        self.class == Class::Event
    }

    /// Whether the cloud does not know yet that this pod has ended, and may soon.
    pub fn is_unknown_end(&self) -> bool {
        self.class == Class::Ended && !matches!(self.state, State::Waiting(Why::Forbidden(_)))
    }

    /// Whether it waits because of a failure, for which nothing but time is good.
    pub fn has_failed(&self) -> bool {
        self.state == State::Waiting(Why::Failed)
    }

    pub fn lacks_credential(&self) -> bool {
        self.state == State::Waiting(Why::NoCredential)
    }

    /// No credential was there; whether it has been waited for longer than `most`.
    pub fn miss_credential(&mut self, now: Duration, most: Duration) -> bool {
        now.saturating_sub(*self.lacks_credential_since.get_or_insert(now)) >= most
    }

    pub fn standing(&self, is_up: bool, kubelet_lives: bool) -> Standing {
        let is_ours = self.entry.id.writer == Writer::Kubelet;
        match &self.state {
            State::Underway => Standing::Underway,
            _ if !is_up => Standing::WaitsForLink,
            State::Waiting(Why::Forbidden(message)) => Standing::Parked(message.clone()),
            State::Waiting(Why::NoCredential) => Standing::WaitsForCredential,
            _ if self.class.needs_kubelet() && is_ours && !kubelet_lives => Standing::WaitsForKubelet,
            State::Waiting(Why::Failed) => Standing::Retried,
            State::Idle => Standing::Queued,
        }
    }
}
