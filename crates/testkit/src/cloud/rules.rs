//! What a kind's strategy does to an object before it is written: which parts of a body count, and which are the
//! server's own (`pkg/registry/*/*/strategy.go`, `apiserver:pkg/registry/rest`).

use serde_json::{Value, json};
use wire::Status;
use wire::status::Cause;

use super::kinds::Kind;
use super::object::{at, carry, carry_meta, finalizers, map, member, meta, terminating, text};

/// Metadata that no client can change.
const SERVERS_OWN: [&str; 6] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"];

/// Makes a body an object that can be created.
pub fn on_create(kind: &Kind, object: &mut Value) {
    for key in SERVERS_OWN {
        meta(object).remove(key);
    }
    // kubelet registers its node with the status in the same body.
    if kind.status && kind.resource != "nodes" {
        map(object).remove("status");
    }
    if counts_generations(kind) {
        meta(object).insert("generation".into(), 1.into());
    }
    match kind.resource.as_str() {
        "pods" => pod_defaults(object),
        "namespaces" => drop(member(object, "status").insert("phase".into(), "Active".into())),
        _ => {}
    }
}

fn pod_defaults(pod: &mut Value) {
    let spec = member(pod, "spec");
    for (key, value) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("serviceAccountName", json!("default")),
        ("schedulerName", json!("default-scheduler")),
        ("enableServiceLinks", json!(true)),
    ] {
        spec.entry(key).or_insert(value);
    }
    map(pod).insert("status".into(), json!({"phase": "Pending", "qosClass": "BestEffort"}));
}

/// Kinds whose `metadata.generation` counts changes of their spec.
fn counts_generations(kind: &Kind) -> bool {
    kind.custom || matches!(kind.group.as_str(), "apps" | "batch" | "networking.k8s.io")
}

/// Makes a body the next state of an object: of the part that was not addressed the old counts.
///
/// # Errors
/// 422 where the kind forbids the change.
pub fn on_update(kind: &Kind, subresource: &str, old: &Value, new: &mut Value) -> Result<(), Status> {
    for key in SERVERS_OWN {
        carry_meta(old, new, key);
    }
    if subresource == "status" {
        on_status(kind, old, new);
    } else {
        if kind.status {
            carry(old, new, "status");
        }
        if kind.resource == "pods" {
            pod_spec_stays(old, new)?;
        }
        if counts_generations(kind) && old.get("spec") != new.get("spec") {
            let generation = at(old, "metadata.generation").and_then(Value::as_i64).unwrap_or(0);
            meta(new).insert("generation".into(), (generation + 1).into());
        }
    }
    no_new_finalizers(kind, old, new)
}

/// Of a body for the status everything but the status is the old, and of pods and nodes also the metadata is taken.
fn on_status(kind: &Kind, old: &Value, new: &mut Value) {
    let keys: Vec<String> = [&*new, old]
        .into_iter()
        .filter_map(Value::as_object)
        .flat_map(|map| map.keys().cloned())
        .filter(|key| !matches!(key.as_str(), "status" | "metadata" | "kind" | "apiVersion"))
        .collect();
    for key in keys {
        carry(old, new, &key);
    }
    match kind.resource.as_str() {
        "nodes" => {}
        "pods" => {
            carry_meta(old, new, "ownerReferences");
            // Decided when the pod was made.
            if let Some(class) = at(old, "status.qosClass").cloned() {
                member(new, "status").insert("qosClass".into(), class);
            }
        }
        _ => {
            for key in ["labels", "annotations", "finalizers", "ownerReferences"] {
                carry_meta(old, new, key);
            }
        }
    }
}

/// Of a pod's spec only images, the deadline and additional tolerations may change.
fn pod_spec_stays(old: &Value, new: &Value) -> Result<(), Status> {
    let fixed = |pod: &Value| {
        let mut spec = pod.get("spec").cloned().unwrap_or_default();
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                map(container).remove("image");
            }
        }
        for key in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"] {
            map(&mut spec).remove(key);
        }
        spec
    };
    if fixed(old) == fixed(new) {
        return Ok(());
    }
    let detail = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`, \
                  `spec.initContainers[*].image`, `spec.activeDeadlineSeconds` or `spec.tolerations` (only additions to \
                  existing tolerations)";
    let cause = Cause { reason: "FieldValueForbidden".into(), message: detail.into(), field: "spec".into() };
    Err(Status::invalid("", "Pod", &text(old, "metadata.name"), vec![cause]))
}

fn no_new_finalizers(kind: &Kind, old: &Value, new: &Value) -> Result<(), Status> {
    let before = finalizers(old);
    let added: Vec<String> = finalizers(new).into_iter().filter(|one| !before.contains(one)).collect();
    if !terminating(old) || added.is_empty() {
        return Ok(());
    }
    let list = added.iter().map(|one| wire::gotext::quote(one)).collect::<Vec<_>>().join(", ");
    let message = format!(
        "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{list}}}"
    );
    let cause = Cause { reason: "FieldValueForbidden".into(), message, field: "metadata.finalizers".into() };
    Err(twice(kind, &text(old, "metadata.name"), cause))
}

/// 422 for what is true of all metadata: it is checked once for all kinds and once more by the kind itself.
pub fn twice(kind: &Kind, name: &str, cause: Cause) -> Status {
    Status::invalid(&kind.group, &kind.kind, name, vec![cause.clone(), cause])
}
