//! What the cloud serves: its kinds, and the rules in which kinds differ.

/// One served kind of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a rule of its own in the API server's strategies")]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural name in paths.
    pub resource: String,
    /// Kind in objects.
    pub kind: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether the status is a subresource, which a write of the object itself leaves alone.
    pub status: bool,
    /// Whether a PUT may create (`AllowCreateOnUpdate`).
    pub create_on_update: bool,
    /// Whether it is a custom resource: JSON only, no strategic merge patch.
    pub custom: bool,
}

impl Kind {
    /// A built-in kind with what most of them have.
    pub fn built_in(group: &str, version: &str, resource: &str, kind: &str) -> Self {
        let owned = str::to_owned;
        Self {
            group: owned(group),
            version: owned(version),
            resource: owned(resource),
            kind: owned(kind),
            namespaced: true,
            status: false,
            create_on_update: false,
            custom: false,
        }
    }

    /// A namespaced custom resource with a status.
    pub fn custom(group: &str, version: &str, resource: &str, kind: &str) -> Self {
        let base = Self::built_in(group, version, resource, kind);
        Self { status: true, custom: true, ..base }
    }

    /// What the field table knows of it; nothing of custom kinds and of newer ones.
    pub fn known(&self) -> Option<wire::schema::Kind> {
        if self.custom { None } else { wire::schema::Kind::find(&self.group, &self.version, &self.kind) }
    }

    /// `v1` or `group/version`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The kind of a list of these.
    pub fn list(&self) -> String {
        format!("{}List", self.kind)
    }
}

/// Letters that stand for what a kind is apart from [`Kind::built_in`]: `c` cluster-wide, `s` status subresource, `u` a
/// PUT may create.
const TABLE: &[(&str, &str, &str, &str, &str)] = &[
    ("", "v1", "configmaps", "ConfigMap", ""),
    ("", "v1", "endpoints", "Endpoints", "u"),
    ("", "v1", "events", "Event", "u"),
    ("", "v1", "namespaces", "Namespace", "cs"),
    ("", "v1", "nodes", "Node", "cs"),
    ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", "s"),
    ("", "v1", "persistentvolumes", "PersistentVolume", "cs"),
    ("", "v1", "pods", "Pod", "s"),
    ("", "v1", "secrets", "Secret", ""),
    ("", "v1", "serviceaccounts", "ServiceAccount", ""),
    ("", "v1", "services", "Service", "su"),
    ("apps", "v1", "controllerrevisions", "ControllerRevision", ""),
    ("apps", "v1", "daemonsets", "DaemonSet", "s"),
    ("apps", "v1", "deployments", "Deployment", "s"),
    ("apps", "v1", "replicasets", "ReplicaSet", "s"),
    ("apps", "v1", "statefulsets", "StatefulSet", "s"),
    ("batch", "v1", "jobs", "Job", "s"),
    ("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", "cs"),
    ("coordination.k8s.io", "v1", "leases", "Lease", "u"),
    ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", ""),
    ("events.k8s.io", "v1", "events", "Event", "u"),
    ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", ""),
    ("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", "cs"),
    ("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", "c"),
    ("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim", "s"),
    ("resource.k8s.io", "v1", "resourceslices", "ResourceSlice", "c"),
    ("storage.k8s.io", "v1", "csidrivers", "CSIDriver", "c"),
    ("storage.k8s.io", "v1", "csinodes", "CSINode", "c"),
    ("storage.k8s.io", "v1", "storageclasses", "StorageClass", "c"),
    ("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", "cs"),
];

/// The kinds of a cluster that a node has to do with.
pub fn standard() -> Vec<Kind> {
    let row = |(group, version, resource, kind, rules): &(&str, &str, &str, &str, &str)| Kind {
        namespaced: !rules.contains('c'),
        status: rules.contains('s'),
        create_on_update: rules.contains('u'),
        ..Kind::built_in(group, version, resource, kind)
    };
    TABLE.iter().map(row).collect()
}
