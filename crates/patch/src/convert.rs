//! What the API server changes in an object by reading it: twin fields of one fact, and a default
//! (`pkg/apis/core/v1/conversion.go`, `defaults.go`).

use serde_json::{Value, json};
use wire::Resource;

use crate::metadata;

/// Annotations in which very old clients kept init containers.
const DROPPED_ANNOTATIONS: [&str; 4] = [
    "pod.beta.kubernetes.io/init-containers",
    "pod.alpha.kubernetes.io/init-containers",
    "pod.beta.kubernetes.io/init-container-statuses",
    "pod.alpha.kubernetes.io/init-container-statuses",
];

/// Changes the object as reading it would.
pub(crate) fn read(object: &mut Value, resource: &Resource) {
    match (resource.group.as_str(), resource.resource.as_str()) {
        ("", "pods") => {
            twin(
                object.get_mut("status"),
                "podIP",
                "podIPs",
                |ip| json!({ "ip": ip }),
                |first| first.get("ip"),
            );
            drop_annotations(object);
            alias(object.get_mut("spec"), "serviceAccountName", "serviceAccount");
        }
        ("apps", "deployments" | "statefulsets" | "daemonsets" | "replicasets")
        | ("batch", "jobs")
        | ("", "replicationcontrollers") => {
            alias(object.pointer_mut("/spec/template/spec"), "serviceAccountName", "serviceAccount");
        }
        ("", "nodes") => {
            twin(object.get_mut("spec"), "podCIDR", "podCIDRs", Value::from, |first| Some(first));
            default_allocatable(object);
        }
        _ => {}
    }
}

/// The single field says what the list begins with; where both differ, the single one is right and the list is it
/// alone, because old clients know only the former.
fn twin(
    holder: Option<&mut Value>,
    single: &str,
    list: &str,
    element: fn(String) -> Value,
    text: fn(&Value) -> Option<&Value>,
) {
    let Some(holder) = holder.and_then(Value::as_object_mut) else { return };
    let first = holder.get(list).and_then(|list| text(list.get(0)?)?.as_str()).map(str::to_owned);
    let said = holder.get(single).and_then(Value::as_str).filter(|said| !said.is_empty()).map(str::to_owned);
    match (said, first) {
        (Some(said), first) if first.as_ref() != Some(&said) => {
            holder.insert(list.to_owned(), json!([element(said)]));
        }
        (None, Some(first)) if !first.is_empty() => {
            holder.insert(single.to_owned(), first.into());
        }
        _ => {}
    }
}

/// An old name of a field holds what the new one does; where the new one is empty, it is what the old one says.
fn alias(holder: Option<&mut Value>, new: &str, old: &str) {
    let Some(holder) = holder.and_then(Value::as_object_mut) else { return };
    let said = |name: &str| holder.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let Some(both) = said(new).or_else(|| said(old)).map(str::to_owned) else { return };
    for name in [new, old] {
        holder.insert(name.to_owned(), both.as_str().into());
    }
}

fn drop_annotations(object: &mut Value) {
    let Some(metadata) = metadata::of_mut(object) else { return };
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        for name in DROPPED_ANNOTATIONS {
            annotations.remove(name);
        }
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
}

fn default_allocatable(node: &mut Value) {
    let Some(status) = node.get_mut("status").and_then(Value::as_object_mut) else { return };
    if let (Some(capacity), false) = (status.get("capacity").cloned(), status.contains_key("allocatable")) {
        status.insert("allocatable".to_owned(), capacity);
    }
}
