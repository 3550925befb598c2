//! What is sent to the cloud.

use serde_json::{Map, Value, json};

use crate::entry::{Id, Writer};

/// A request to the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// The header `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Value,
}

/// What makes the present object of the cloud the wanted one: a merge patch of its status, which holds for this object
/// in this version only. `None` if nothing differs.
pub(crate) fn patch(id: &Id, fresh: &Value, desired: &Value) -> Option<Request> {
    let mut body = patch::diff(&without_nulls(fresh), &without_nulls(desired));
    let members = body.as_object_mut().filter(|members| !members.is_empty())?;
    let version = fresh.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
    let metadata = members.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("uid".to_owned(), (*id.uid).into());
        metadata.insert("resourceVersion".to_owned(), version);
    }
    let status = if id.resource.resource() == "csinodes" { "" } else { "/status" };
    let content_type = "application/merge-patch+json";
    Some(Request {
        method: "PATCH",
        path: format!("{}{status}{}", place(id), manager(id)),
        content_type,
        body,
    })
}

/// The final deletion of this very pod.
pub(crate) fn delete(id: &Id) -> Request {
    let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
        "preconditions": {"uid": id.uid}});
    Request { method: "DELETE", path: place(id), content_type: "application/json", body }
}

/// The event as a new one. What the node gave it, the cloud gives anew; a version of the view means nothing there.
pub(crate) fn event(id: &Id, event: &Value) -> Request {
    let mut body = event.clone();
    let strip = |holder: Option<&mut Value>, names: &[&str]| {
        if let Some(members) = holder.and_then(Value::as_object_mut) {
            names.iter().for_each(|name| drop(members.remove(*name)));
        }
    };
    let given = ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"];
    strip(body.get_mut("metadata"), &given);
    strip(body.get_mut("involvedObject"), &["resourceVersion"]);
    strip(body.get_mut("regarding"), &["resourceVersion"]);
    let path = format!("{}{}", collection(id), manager(id));
    Request { method: "POST", path, content_type: "application/json", body }
}

/// What may have changed of an event that the cloud has: how often, and when last.
pub(crate) fn event_again(id: &Id, event: &Value) -> Request {
    const CHANGES: [&str; 4] = ["count", "lastTimestamp", "message", "series"];
    let members = CHANGES.iter().filter_map(|name| Some(((*name).to_owned(), event.get(name)?.clone())));
    let body = members.filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>().into();
    let path = format!("{}{}", place(id), manager(id));
    Request { method: "PATCH", path, content_type: "application/merge-patch+json", body }
}

fn collection(id: &Id) -> String {
    let (group, version, name) = (id.resource.group(), id.resource.version(), id.resource.resource());
    let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    match id.key.namespace() {
        "" => format!("{root}/{name}"),
        namespace => format!("{root}/namespaces/{namespace}/{name}"),
    }
}

fn place(id: &Id) -> String {
    format!("{}/{}", collection(id), id.key.name())
}

/// The cloud notes who wrote which field by this name, else by the program that sends.
fn manager(id: &Id) -> &'static str {
    match id.writer {
        Writer::Kubelet => "?fieldManager=kubelet",
        Writer::Daemon(_) => "",
    }
}

/// A null is an absent member to the cloud; one that is written out in one of two objects is no difference.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}
