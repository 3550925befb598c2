//! Selectors of lists and watches, applied to objects.

use serde_json::Value;
use wire::selector::{FieldSelector, LabelSelector};
use wire::{ListOptions, Status};

use super::kinds::Kind;
use super::object::{at, text};
use super::store::Key;

/// Which objects a list or watch is about.
#[derive(Debug, Clone)]
pub struct Selection {
    group: String,
    resource: String,
    namespace: String,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// The selection of a request.
    ///
    /// # Errors
    /// 400 for a field that this kind cannot be selected by.
    pub fn new(kind: &Kind, namespace: &str, options: &ListOptions) -> Result<Self, Status> {
        for term in options.field_selector.terms() {
            let general = matches!(term.field.as_str(), "metadata.name" | "metadata.namespace");
            if !general && !supported(kind).contains(&term.field.as_str()) {
                return Err(Status::bad_request(format!("field label not supported: {}", term.field)));
            }
        }
        Ok(Self {
            group: kind.group.clone(),
            resource: kind.resource.clone(),
            namespace: namespace.to_owned(),
            labels: options.label_selector.clone(),
            fields: options.field_selector.clone(),
        })
    }

    /// Whether this key can be meant at all.
    pub fn covers(&self, key: &Key) -> bool {
        key.is_in(&self.group, &self.resource, &self.namespace)
    }

    /// Whether an object under a covered key is taken.
    pub fn takes(&self, object: &Value) -> bool {
        let label = |name: &str| at(object, "metadata.labels").and_then(|labels| labels.get(name)?.as_str());
        self.labels.matches(label) && self.fields.matches(|field| value(object, field))
    }

    /// Whether all objects of a namespace, or of the cluster, are taken.
    pub fn takes_all(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }
}

/// The fields by which a kind can be selected (`pkg/apis/*/v1/conversion.go` and the registries' `SelectableFields`).
fn supported(kind: &Kind) -> &'static [&'static str] {
    match (kind.group.as_str(), kind.resource.as_str()) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("", "secrets") => &["type"],
        ("", "namespaces") => &["status.phase"],
        ("" | "events.k8s.io", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("batch", "jobs") => &["status.successful"],
        ("certificates.k8s.io", _) => &["spec.signerName"],
        ("resource.k8s.io", "resourceslices") => &["spec.nodeName", "spec.driver"],
        _ => &[],
    }
}

/// The value of a field as selectors see it.
fn value(object: &Value, field: &str) -> String {
    match field {
        "spec.hostNetwork" | "spec.unschedulable" => {
            (at(object, field).and_then(Value::as_bool) == Some(true)).to_string()
        }
        "source" => text(object, "source.component"),
        "status.podIPs" => text(object, "status.podIP"),
        field => text(object, field),
    }
}
