//! What a write through this resource or subresource can change at all
//! (`pkg/registry/core/{pod,node}/strategy.go` and the strategies of other kinds).

use serde_json::Value;

use crate::metadata;
use crate::write::{Served, Write};

/// Resources that can only be updated by saying which resourceVersion is meant.
const CONDITIONAL_ONLY: [(&str, &str); 16] = [
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("certificates.k8s.io", "clustertrustbundles"),
    ("certificates.k8s.io", "podcertificaterequests"),
    ("coordination.k8s.io", "leases"),
    ("coordination.k8s.io", "leasecandidates"),
    ("node.k8s.io", "runtimeclasses"),
    ("policy", "poddisruptionbudgets"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "csistoragecapacities"),
    ("storage.k8s.io", "volumeattachments"),
];

/// Whether an update may leave the resourceVersion out.
pub(crate) fn allows_unconditional_update(write: &Write<'_>) -> bool {
    let resource = (write.resource.group.as_str(), write.resource.resource.as_str());
    matches!(write.served, Served::BuiltIn(_)) && !CONDITIONAL_ONLY.contains(&resource)
}

/// Puts back what a write through this path cannot change, and counts the generation up where it changed what was
/// asked for.
pub(crate) fn prepare(object: &mut Value, current: &Value, write: &Write<'_>) {
    let resource = (write.resource.group.as_str(), write.resource.resource.as_str());
    match (write.served, resource, write.resource.subresource.as_str()) {
        (Served::BuiltIn(_), ("", "pods"), "status") => pod_status(object, current, write),
        (Served::BuiltIn(_), ("apps", "deployments"), "status") => {
            keep(object, current, "spec");
            metadata::keep(object, current, "labels");
        }
        (Served::BuiltIn(_), _, "status") => keep(object, current, "spec"),
        (Served::Custom { .. }, _, "status") => custom_status(object, current),
        (Served::Custom { status: false }, ..) => {
            count_generation(object, current, |name| name != "metadata");
        }
        (Served::Custom { status: true }, ..) => {
            keep(object, current, "status");
            count_generation(object, current, |name| !matches!(name, "metadata" | "status"));
        }
        (Served::BuiltIn(_), ..) => {
            keep(object, current, "status");
            let annotations = |object: &Value| metadata::of(object).get("annotations").cloned();
            if resource == ("apps", "deployments") && annotations(object) != annotations(current) {
                count_up(object, current);
            } else {
                count_generation(object, current, |name| name == "spec");
            }
        }
    }
}

fn keep(object: &mut Value, current: &Value, name: &str) {
    let Some(members) = object.as_object_mut() else { return };
    match current.get(name) {
        Some(value) => members.insert(name.to_owned(), value.clone()),
        None => members.remove(name),
    };
}

/// Old kubelets spoil owner references in a way that breaks garbage collection, and drop what they do not know.
fn pod_status(object: &mut Value, current: &Value, write: &Write<'_>) {
    keep(object, current, "spec");
    for name in ["ownerReferences", "deletionTimestamp"] {
        metadata::keep(object, current, name);
    }
    if !write.release.keeps_status_of_pods() {
        return;
    }
    let (Some(status), Some(old)) = (object.get_mut("status"), current.get("status")) else { return };
    for name in ["qosClass", "observedGeneration"] {
        keep_if_absent(status, old, name);
    }
    keep_condition_generations(status, old);
}

fn keep_if_absent(object: &mut Value, old: &Value, name: &str) {
    if let (Some(members), Some(value)) = (object.as_object_mut(), old.get(name)) {
        members.entry(name).or_insert_with(|| value.clone());
    }
}

/// The n-th condition of a type keeps the observedGeneration of the n-th one of that type, unless it has its own.
fn keep_condition_generations(status: &mut Value, old: &Value) {
    let old = old.get("conditions").and_then(Value::as_array);
    let mut left: Vec<&Value> = old.into_iter().flatten().collect();
    let new = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in new.into_iter().flatten() {
        if let Some(at) = left.iter().position(|old| old.get("type") == condition.get("type")) {
            keep_if_absent(condition, left.remove(at), "observedGeneration");
        }
    }
}

/// Everything but the status stays (`apiextensions-apiserver:pkg/registry/customresource/status_strategy.go`).
fn custom_status(object: &mut Value, current: &Value) {
    let status = object.get("status").cloned();
    current.clone_into(object);
    if let Some(members) = object.as_object_mut() {
        match status {
            Some(status) => members.insert("status".to_owned(), status),
            None => members.remove("status"),
        };
    }
}

fn count_generation(object: &mut Value, current: &Value, counts: fn(&str) -> bool) {
    let counted = |object: &Value| {
        let members = object.as_object().into_iter().flatten().filter(|(name, _)| counts(name));
        members.map(|(name, value)| (name.clone(), value.clone())).collect::<serde_json::Map<_, _>>()
    };
    if counted(object) != counted(current) {
        count_up(object, current);
    }
}

/// One more than at present; kinds without a generation stay without.
fn count_up(object: &mut Value, current: &Value) {
    if let Some(generation) = metadata::number(current, "generation").filter(|generation| *generation > 0) {
        metadata::set(object, "generation", Some(generation.saturating_add(1).into()));
    }
}
