//! What a kind's strategy does to an object before it is made, and what of a pod's spec may change afterwards
//! (`pkg/registry/*/*/strategy.go`, `pkg/apis/core/validation`). The rest of an update's rules are those of `patch`.

use serde_json::{Value, json};
use wire::Status;
use wire::status::Cause;

use super::kinds::Kind;
use super::object::{map, member, meta, text};

/// Metadata that no client can set.
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
    if kind.custom || matches!(kind.group.as_str(), "apps" | "batch" | "networking.k8s.io") {
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
    // The field's old name, which the API server keeps beside it (`pkg/apis/core/v1/conversion.go`).
    let account = spec.get("serviceAccountName").cloned().unwrap_or_default();
    spec.insert("serviceAccount".to_owned(), account);
    map(pod).insert("status".into(), json!({"phase": "Pending", "qosClass": "BestEffort"}));
}

/// Of a pod's spec only images, the deadline and additional tolerations may change.
///
/// # Errors
/// 422.
pub fn pod_spec_stays(old: &Value, new: &Value) -> Result<(), Status> {
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
