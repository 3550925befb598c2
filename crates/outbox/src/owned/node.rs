//! A node as kubelet would have it (`pkg/kubelet/kubelet_node_status.go`, `pkg/kubelet/nodestatus/setters.go`).

use serde_json::{Map, Value};

use super::{conditions_of, keys, set_status, take};

/// Members of a node's status that are kubelet's: as it has them, and gone where it has none. `volumesAttached` is the
/// attach-detach controller's.
const OWNED: [&str; 9] = [
    "config",
    "daemonEndpoints",
    "declaredFeatures",
    "features",
    "images",
    "nodeInfo",
    "phase",
    "runtimeHandlers",
    "volumesInUse",
];

/// All others are those of network plugins and vendors.
const CONDITIONS: [&str; 4] = ["DiskPressure", "MemoryPressure", "PIDPressure", "Ready"];

/// Labels that nobody but kubelet can know.
const LABELS: [&str; 6] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/windows-build",
];

/// Labels that kubelet may set when it starts, and a cloud provider, or a person, later: theirs once they are there.
const LABELS_WHERE_NONE: [&str; 6] = [
    "beta.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// Where kubelet says with which address it was started, for a cloud provider that sets the others.
const PROVIDED_ADDRESS: &str = "alpha.kubernetes.io/provided-node-ip";

/// Annotations that kubelet sets and removes.
const ANNOTATIONS: [&str; 3] = [
    "csi.volume.kubernetes.io/nodeid",
    PROVIDED_ADDRESS,
    "volumes.kubernetes.io/controller-managed-attach-detach",
];

/// The node as the cloud has it, with the status and the metadata that kubelet has for it.
pub fn node(local: &Value, fresh: &Value) -> Value {
    let mut node = fresh.clone();
    let Some(said) = local.get("status").filter(|status| status.is_object()) else { return node };
    for name in ["capacity", "allocatable"] {
        if let Some(resources) = resources(said.get(name), fresh.pointer(&format!("/status/{name}"))) {
            set_status(&mut node, name, resources.into());
        }
    }
    if let Some(conditions) = conditions_of(local, fresh, |name| CONDITIONS.contains(&name)) {
        set_status(&mut node, "conditions", conditions);
    }
    if !is_addressed_by_provider(local, fresh)
        && let Some(addresses) = said.get("addresses")
    {
        set_status(&mut node, "addresses", addresses.clone());
    }
    if let Some(status) = node.get_mut("status").and_then(Value::as_object_mut) {
        for name in OWNED {
            take(status, name, said.get(name));
        }
    }
    let has = |object: &Value, name: &str| {
        object.get("metadata").and_then(|metadata| metadata.get("labels")?.get(name)).is_some()
    };
    let labels = LABELS.into_iter().filter(|name| has(local, name));
    let first = LABELS_WHERE_NONE.into_iter().filter(|name| has(local, name) && !has(fresh, name));
    keys(&mut node, local, "labels", labels.chain(first));
    keys(&mut node, local, "annotations", ANNOTATIONS.into_iter());
    node
}

/// Resources of Kubernetes' own are kubelet's. Extended ones may be a third party's, which nobody but the cloud can
/// tell; those of device plugins kubelet writes again by itself.
fn resources(said: Option<&Value>, present: Option<&Value>) -> Option<Map<String, Value>> {
    let said = said.and_then(Value::as_object)?;
    let extended =
        present.and_then(Value::as_object).into_iter().flatten().filter(|(name, _)| is_extended(name));
    let own = said.iter().filter(|(name, _)| !is_extended(name));
    Some(extended.chain(own).map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// `IsExtendedResourceName` in `pkg/apis/core/v1/helper/helpers.go`.
fn is_extended(name: &str) -> bool {
    let domain = name.split_once('/').map(|(domain, _)| domain);
    domain.is_some_and(|domain| domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io"))
}

/// Whether the cloud's own controller gives the node its addresses: then kubelet leaves them alone once they are there.
/// Where that is only likely the cloud's stand, for kubelet repairs its own.
fn is_addressed_by_provider(local: &Value, fresh: &Value) -> bool {
    let annotated = |object: &Value| {
        object
            .get("metadata")
            .and_then(|metadata| metadata.get("annotations")?.get(PROVIDED_ADDRESS))
            .is_some()
    };
    let provider = fresh.pointer("/spec/providerID").and_then(Value::as_str).unwrap_or_default();
    let has_addresses = !super::list(fresh, "/status/addresses").is_empty();
    has_addresses && (annotated(local) || annotated(fresh) || !provider.is_empty())
}
