//! Resources and the keys of their objects.

use std::fmt;
use std::sync::Arc;

/// The namespace of the nodes' leases.
const NODE_LEASES: &str = "kube-node-lease";

/// A resource in a group and version. Each version is a set of its own: one version's bytes cannot stand for another's.
/// The leases of the nodes are a set of their own too, for they are overlaid and all other leases are not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    group: Arc<str>,
    version: Arc<str>,
    resource: Arc<str>,
    overlaid: bool,
}

impl ResourceId {
    /// The resource of these names that a request in this namespace is about; the namespace is empty for all of them.
    pub fn new(group: &str, version: &str, resource: &str, namespace: &str) -> ResourceId {
        let overlaid = match (group, resource) {
            ("", "pods" | "nodes" | "endpoints" | "events") => true,
            ("discovery.k8s.io", "endpointslices") | ("events.k8s.io", "events") => true,
            // kubelet gives up for good when it cannot write its own (`pkg/volume/csi/csi_plugin.go`).
            ("storage.k8s.io", "csinodes") => true,
            ("coordination.k8s.io", "leases") => namespace == NODE_LEASES,
            _ => false,
        };
        ResourceId { group: group.into(), version: version.into(), resource: resource.into(), overlaid }
    }

    /// API group; empty for the core group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Version of the group.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Plural name: `pods`.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Whether the view may show its objects changed, under view RVs (design §3).
    pub fn is_overlaid(&self) -> bool {
        self.overlaid
    }

    /// The resource as a record's key has it.
    pub(crate) fn to_text(&self) -> String {
        let overlaid = if self.overlaid { "+" } else { "" };
        format!("{}\0{}\0{}{overlaid}", self.group, self.version, self.resource)
    }

    pub(crate) fn from_text(text: &str) -> Option<ResourceId> {
        let mut parts = text.splitn(3, '\0');
        let (group, version, resource) = (parts.next()?, parts.next()?, parts.next()?);
        let plain = resource.strip_suffix('+').unwrap_or(resource);
        let overlaid = plain.len() != resource.len();
        Some(ResourceId { group: group.into(), version: version.into(), resource: plain.into(), overlaid })
    }

    /// Group and resource, for [`wire::Status`].
    pub fn group_resource(&self) -> wire::status::GroupResource<'_> {
        wire::status::GroupResource { group: &self.group, resource: &self.resource }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.group, self.version, self.resource)
    }
}

/// An object's place in its resource: `namespace/name`, or the name alone where there are no namespaces.
///
/// Keys sort as etcd sorts them, which is the order of the API server's lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The key of an object; `namespace` is empty for what has none.
    pub fn new(namespace: &str, name: &str) -> Key {
        if namespace.is_empty() { Key(name.into()) } else { Key(format!("{namespace}/{name}").into()) }
    }

    /// A key as [`Key::as_str`] gave it.
    pub fn from_text(text: &str) -> Key {
        Key(text.into())
    }

    /// The namespace; empty for what has none.
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
