//! Where an object is stored, and which of its changes must survive a power cut before anybody sees them (design §6.6).

use crate::object::Header;
use crate::resource::ResourceId;

/// One of the two logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Log {
    /// What the node cannot boot without.
    Keep,
    /// The rest; it may be thrown away.
    Cache,
}

/// What kubelet asks for before and while it starts pods (`pkg/kubelet`, wire.md §1.4), other than nodes and pods.
const NEEDED_TO_BOOT: [(&str, &str); 11] = [
    ("", "secrets"),
    ("", "configmaps"),
    ("", "services"),
    ("", "serviceaccounts"),
    ("", "persistentvolumes"),
    ("", "persistentvolumeclaims"),
    ("node.k8s.io", "runtimeclasses"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "volumeattachments"),
    ("resource.k8s.io", "resourceclaims"),
];

/// What is stored of a resource, for a node of this name.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The node's name.
    pub node: Box<str>,
}

impl Policy {
    /// The log of a resource, its marks and its objects alike, for a mark must not survive what it vouches for; `None` for
    /// what lives in memory only: leases are about now, and events are not read.
    pub fn log_of(&self, resource: &ResourceId) -> Option<Log> {
        match (resource.group(), resource.resource()) {
            ("coordination.k8s.io", "leases") if resource.is_overlaid() => None,
            (_, "events") => None,
            ("", "pods" | "nodes") => Some(Log::Keep),
            name if NEEDED_TO_BOOT.contains(&name) => Some(Log::Keep),
            _ => Some(Log::Cache),
        }
    }

    /// Whether an object's bytes are kept in memory once a log has them: what the node needs to boot is little, and is
    /// asked for often.
    pub fn is_held(&self, resource: &ResourceId, header: &Header) -> bool {
        match (resource.group(), resource.resource()) {
            ("", "pods" | "nodes") => self.is_own(resource, header),
            _ => self.log_of(resource) != Some(Log::Cache),
        }
    }

    /// Whether its values are sealed.
    pub fn is_secret(&self, resource: &ResourceId) -> bool {
        (resource.group(), resource.resource()) == ("", "secrets")
    }

    /// Whether it is this node, or a pod on it.
    pub fn is_own(&self, resource: &ResourceId, header: &Header) -> bool {
        match (resource.group(), resource.resource()) {
            ("", "nodes") => *self.node == *header.key.name(),
            ("", "pods") => *self.node == *header.field("spec.nodeName"),
            _ => false,
        }
    }

    /// Whether this change must be flushed before it is shown: arrival, terminal phase, deletion mark and deletion of
    /// the node and its pods.
    pub fn must_flush(&self, resource: &ResourceId, old: Option<&Header>, new: Option<&Header>) -> bool {
        let own = |header: &&Header| self.is_own(resource, header);
        match (old.filter(own), new.filter(own)) {
            (None, None) => false,
            (Some(old), Some(new)) => {
                old.uid() != new.uid() || old.deleting != new.deleting || is_terminal(old) != is_terminal(new)
            }
            _ => true,
        }
    }
}

/// Whether a pod has finished.
fn is_terminal(header: &Header) -> bool {
    matches!(header.field("status.phase"), "Succeeded" | "Failed")
}
