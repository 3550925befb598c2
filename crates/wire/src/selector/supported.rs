//! Which fields can be selected of which kind, and what stands in them.
//!
//! The API server keeps this in two places for each kind: the conversion of field labels (`pkg/apis/<group>/<version>/
//! conversion.go`) says which are known, the registry's strategy (`pkg/registry/<group>/<resource>/strategy.go`) what
//! each one's value is.

use std::borrow::Cow;

use super::{FieldSelector, FieldTerm};
use crate::gotext::quote;
use crate::object::Object;
use crate::schema::Kind;
use crate::status::Status;

/// Fields that can be selected beside the name, by group and kind. Kinds that are not here have name and namespace.
const SUPPORTED: [(&str, &str, &[&str]); 13] = [
    (
        "",
        "Pod",
        &[
            "metadata.namespace",
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
    ),
    ("", "Node", &["spec.unschedulable"]),
    ("", "Namespace", &["status.phase"]),
    ("", "Secret", &["metadata.namespace", "type"]),
    ("", "Service", &["metadata.namespace", "spec.clusterIP", "spec.type"]),
    ("", "ReplicationController", &["metadata.namespace", "status.replicas"]),
    (
        "",
        "Event",
        &[
            "metadata.namespace",
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
    ),
    (
        "events.k8s.io",
        "Event",
        &[
            "metadata.namespace",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
    ),
    ("batch", "Job", &["metadata.namespace", "status.successful"]),
    ("resource.k8s.io", "ResourceSlice", &["spec.nodeName", "spec.driver"]),
    ("certificates.k8s.io", "CertificateSigningRequest", &["spec.signerName"]),
    ("certificates.k8s.io", "ClusterTrustBundle", &["spec.signerName"]),
    ("certificates.k8s.io", "PodCertificateRequest", &["spec.signerName", "spec.podName", "spec.nodeName"]),
];

impl FieldSelector {
    /// The selector in the field names of a kind; 400 in the API server's words for a field that cannot be selected
    /// there. `None` stands for a custom kind: what its definition makes selectable is not known here, so only name and
    /// namespace are taken.
    pub fn resolve(&self, kind: Option<Kind>) -> Result<FieldSelector, Status> {
        let terms = self.terms().iter().map(|term| {
            let field = label(kind, &term.field).map_err(Status::bad_request)?;
            Ok(FieldTerm { field: field.to_owned(), ..term.clone() })
        });
        Ok(FieldSelector::from_terms(terms.collect::<Result<_, Status>>()?))
    }

    /// Whether an object is taken. The selector must have been resolved for its kind.
    pub fn takes(&self, object: &Object<'_>) -> bool {
        self.is_empty() || self.matches(|field| value(object, field))
    }
}

/// The name under which a kind knows a field.
fn label(kind: Option<Kind>, field: &str) -> Result<&str, String> {
    let Some(kind) = kind else {
        return match field {
            "metadata.name" | "metadata.namespace" => Ok(field),
            _ => Err(format!("field label not supported: {field}")),
        };
    };
    let supported = SUPPORTED.iter().find(|(group, name, _)| *group == kind.group() && *name == kind.name());
    match (kind.name(), field, supported) {
        (_, "metadata.name", _) | (_, "metadata.namespace", None) => Ok(field),
        // From old clients.
        ("Pod", "spec.host", Some(_)) => Ok("spec.nodeName"),
        (_, _, Some((.., fields))) if fields.contains(&field) => Ok(field),
        ("Job", _, Some(_)) => Err(format!("field label {} not supported for Job", quote(field))),
        ("ResourceSlice", _, Some(_)) => {
            let name = format!("{}, Kind=ResourceSlice", kind.api_version());
            Err(format!("field label not supported for {name}: {field}"))
        }
        (_, _, Some(_)) => Err(format!("field label not supported: {field}")),
        (_, _, None) => Err(format!(
            "{} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
            quote(field)
        )),
    }
}

/// What stands in a field that can be selected.
fn value<'a>(object: &Object<'a>, field: &str) -> Cow<'a, str> {
    let at = |path: &[&str]| object.text(path).filter(|text| !text.is_empty());
    let found = match (object.kind(), field) {
        (_, "metadata.name") => Some(object.name()),
        (_, "metadata.namespace") => Some(object.namespace()),
        // It can be asked for, but the API server gives it no value.
        ("Pod", "status.podIPs") => None,
        ("Pod", "status.podIP") => at(&["status", "podIPs", "ip"]).or_else(|| at(&["status", "podIP"])),
        ("Pod", "spec.hostNetwork") => at(&["spec", "hostNetwork"]).or(Some("false".into())),
        ("Node", "spec.unschedulable") => at(&["spec", "unschedulable"]).or(Some("false".into())),
        ("Job", "status.successful") => at(&["status", "succeeded"]).or(Some("0".into())),
        ("ReplicationController", "status.replicas") => at(&["status", "replicas"]).or(Some("0".into())),
        ("Event", "source") => at(&["source", "component"]).or_else(|| at(&["reportingComponent"])),
        (_, field) => match field.split_once('.') {
            Some((first, second)) => at(&[first, second]),
            None => at(&[field]),
        },
    };
    found.unwrap_or_default()
}
