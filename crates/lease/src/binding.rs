//! What a binding is, and what it is under a given boot.

use std::net::IpAddr;

/// Whom a binding belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// A pod, by what the runtime says of it in `CNI_ARGS`.
    Pod {
        /// `K8S_POD_NAMESPACE`.
        namespace: String,
        /// `K8S_POD_NAME`.
        name: String,
        /// `K8S_POD_UID`; empty where the runtime sends none.
        uid: String,
    },
    /// A container of a runtime that knows no pods, by its id.
    Container(String),
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Identity::Pod { namespace, name, .. } => write!(f, "{namespace}/{name}"),
            Identity::Container(id) => f.write_str(id),
        }
    }
}

/// What the journal says of a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A sandbox has the addresses, if it was made under the present boot.
    Live,
    /// No sandbox has them; they wait for their pod.
    Parked,
    /// The pod is not expected back; first to be given to another.
    Gone,
}

/// What brought a binding into its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// An ADD was answered.
    Added,
    /// Taken over from host-local's directory.
    Adopted,
    /// The runtime sent DEL.
    Deleted,
    /// The runtime no longer names the attachment among its valid ones (GC).
    Collected,
    /// Another program removed the lease file.
    FileRemoved,
    /// The pod has another binding by now.
    Replaced,
    /// Taken over from OpenYurt's reservation files.
    OpenYurt,
    /// The API server has no such pod any more.
    PodDeleted,
    /// The API server has the pod, which has no sandbox now.
    PodAwaited,
}

/// A binding: in one network, this identity's interface has these addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Whose it is.
    pub identity: Identity,
    /// The interface in the sandbox, e.g. `eth0`.
    pub ifname: String,
    /// One address per range set, in the order of the sets.
    pub addresses: Vec<IpAddr>,
    /// The sandbox that has, or had last, the addresses.
    pub container: String,
    /// Whether the lease file holds the container id alone, as before host-local 0.8.
    pub id_only: bool,
    /// Path of the sandbox's network namespace; empty once the runtime has said (DEL) that the sandbox is dead.
    pub netns: String,
    /// Its state, to be read together with `boot`.
    pub state: State,
    /// How it came into that state.
    pub why: Why,
    /// The boot under which that happened; empty for a boot before this one that nobody recorded.
    pub boot: String,
    /// When that happened, by the wall clock, in seconds since 1970. For people: nothing is decided by it but whether
    /// a lease file is the one that was written then.
    pub since: i64,
    /// When that happened, in seconds since that boot.
    pub since_up: u64,
    /// When the binding was made, by the wall clock, in seconds since 1970.
    pub born: i64,
    /// Whether the lease was made by another program (stock host-local).
    pub foreign: bool,
}

/// What a binding is under the present boot; also the lists in which bindings wait to be reused, first to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Its pod is not expected back.
    Gone,
    /// Parked by a DEL or other evidence.
    Parked,
    /// Its pod most likely comes back: its sandbox ended with an earlier boot, or the pod is known to exist.
    Awaited,
    /// In use.
    Live,
}

impl Class {
    /// Those that another pod may be given, in that order.
    pub const REUSABLE: [Class; 3] = [Class::Gone, Class::Parked, Class::Awaited];
    /// The words for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Gone => "gone",
            Class::Parked => "parked",
            Class::Awaited => "awaited",
            Class::Live => "live",
        }
    }
    /// All, in the order in which a rewritten journal keeps them.
    pub const ALL: [Class; 4] = [Class::Gone, Class::Parked, Class::Awaited, Class::Live];
}

impl Binding {
    /// What the binding is under this boot.
    pub fn class(&self, boot: &str) -> Class {
        match self.state {
            State::Gone => Class::Gone,
            State::Parked if self.why == Why::PodAwaited => Class::Awaited,
            State::Parked => Class::Parked,
            State::Live if self.boot == boot => Class::Live,
            // A container of which only stock host-local knew the id: under Kubernetes ids do not come back.
            State::Live if self.foreign && self.pod().is_none() => Class::Gone,
            State::Live => Class::Awaited,
        }
    }

    /// The interface as the lease file has it: nothing in the old form.
    pub fn file_ifname(&self) -> &str {
        if self.id_only { "" } else { &self.ifname }
    }

    /// Namespace and name, where it belongs to a pod.
    pub fn pod(&self) -> Option<(&str, &str)> {
        match &self.identity {
            Identity::Pod { namespace, name, .. } => Some((namespace, name)),
            Identity::Container(_) => None,
        }
    }
}
