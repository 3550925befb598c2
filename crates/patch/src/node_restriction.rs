//! What a kubelet may not do with pods and nodes (`plugin/pkg/admission/noderestriction`).

use serde_json::Value;
use wire::Status;
use wire::gotext::quote;

use crate::metadata;
use crate::write::Write;

/// Labels of Kubernetes' own name spaces that a kubelet may set on its node
/// (`pkg/kubelet/apis/well_known_labels.go`).
const KUBELET_LABELS: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// 403 for what the writing node may not change.
pub(crate) fn update(current: &Value, object: &Value, write: &Write<'_>) -> Result<(), Status> {
    let Some(node) = write.node else { return Ok(()) };
    let resource = write.resource;
    let refused = match (resource.group.as_str(), resource.resource.as_str(), resource.subresource.as_str()) {
        ("", "pods", "status") => pod_status(node, current, object),
        ("", "pods", "") => Some(format!(
            "unexpected operation \"UPDATE\", node {} can only create and delete mirror pods",
            quote(node)
        )),
        ("", "nodes", _) => own_node(node, write, current, object),
        _ => None,
    };
    refused.map_or(Ok(()), |why| Err(Status::forbidden(resource.group_resource(), &resource.name, &why)))
}

/// 403 for a pod that the deleting node does not run.
pub(crate) fn delete(current: &Value, write: &Write<'_>) -> Result<(), Status> {
    let Some(node) = write.node else { return Ok(()) };
    let resource = write.resource;
    if (resource.group.as_str(), resource.resource.as_str()) != ("", "pods") || is_bound_to(current, node) {
        return Ok(());
    }
    let why = format!("node {} can only delete pods with spec.nodeName set to itself", quote(node));
    Err(Status::forbidden(resource.group_resource(), &resource.name, &why))
}

fn is_bound_to(pod: &Value, node: &str) -> bool {
    pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default() == node
}

fn pod_status(node: &str, current: &Value, object: &Value) -> Option<String> {
    if !is_bound_to(current, node) {
        return Some(format!(
            "node {} can only update pod status for pods with spec.nodeName set to itself",
            quote(node)
        ));
    }
    (labels(current) != labels(object))
        .then(|| format!("node {} cannot update labels through pod status", quote(node)))
}

fn own_node(node: &str, write: &Write<'_>, current: &Value, object: &Value) -> Option<String> {
    let name = write.resource.name.as_str();
    if name != node {
        return Some(format!("node {} is not allowed to modify node {}", quote(node), quote(name)));
    }
    let spec = |object: &Value, name: &str| object.get("spec").and_then(|spec| spec.get(name)).cloned();
    let config = spec(object, "configSource");
    if config.is_some() && config != spec(current, "configSource") {
        return Some(format!(
            "node {} is not allowed to update configSource to a new non-nil configSource",
            quote(node)
        ));
    }
    if spec(object, "taints") != spec(current, "taints") {
        return Some(format!("node {} is not allowed to modify taints", quote(node)));
    }
    let owners = |object: &Value| metadata::of(object).get("ownerReferences").cloned();
    if write.release.guards_owners_of_nodes() && owners(object) != owners(current) {
        return Some(format!("node {} is not allowed to modify ownerReferences", quote(node)));
    }
    let (old, new) = (labels(current), labels(object));
    let mut forbidden: Vec<&str> = old
        .iter()
        .filter(|label| !new.contains(label))
        .chain(new.iter().filter(|label| !old.contains(label)))
        .map(|(name, _)| *name)
        .filter(|name| is_forbidden(name))
        .collect();
    forbidden.sort_unstable();
    forbidden.dedup();
    (!forbidden.is_empty()).then(|| format!("is not allowed to modify labels: {}", forbidden.join(", ")))
}

fn labels(object: &Value) -> Vec<(&str, &Value)> {
    let labels = metadata::of(object).get("labels").and_then(Value::as_object);
    labels.into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect()
}

fn is_forbidden(label: &str) -> bool {
    let Some((space, _)) = label.split_once('/') else { return false };
    let is_in =
        |suffix: &str| space == suffix || space.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'));
    let is_kubernetes = is_in("kubernetes.io") || is_in("k8s.io");
    let is_kubelets =
        KUBELET_LABELS.contains(&label) || is_in("kubelet.kubernetes.io") || is_in("node.kubernetes.io");
    is_in("node-restriction.kubernetes.io") || is_kubernetes && !is_kubelets
}
