//! What a write makes of the object that the node shows: the API server's own rules, and those of a node without it.

use patch::{DeleteOptions, Deletion, Form, Outcome, Release, Served, Write};
use serde_json::Value;
use wire::media::{self, Encoding};
use wire::schema::Kind;
use wire::{Resource, Status, transcode};

use crate::allow::Allowed;

/// A write that is on the list.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// What it is on the list as.
    pub allowed: Allowed,
    /// The resource that it names.
    pub resource: &'a Resource,
    /// The header `Content-Type`.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// This node's name.
    pub node: &'a str,
    /// The cloud's release.
    pub release: Release,
    /// Seconds since 1970, by the node's clock.
    pub now: i64,
}

/// What a write comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Staged {
    /// Nothing changes.
    Same,
    /// The object is this now. Its resourceVersion is still that of the present one.
    Changed(Value),
    /// The pod has ended for good, and this is the last of it.
    Ended {
        /// The pod.
        last: Value,
        /// Whether it is gone; else finalizers keep it.
        gone: bool,
    },
}

/// Applies a write to the object as the node shows it.
///
/// # Errors
/// The API server's answer to the same write; 503 for what it might have taken, and the node alone cannot.
pub fn stage(asked: &Asked<'_>, present: &Value) -> Result<Staged, Status> {
    let Resource { group, version, resource, .. } = asked.resource;
    let kind = Kind::of_resource(group, version, resource).ok_or_else(|| {
        Status::unavailable("the cluster cannot be reached, and this node does not know this kind")
    })?;
    let node = (asked.allowed != Allowed::Members).then_some(asked.node);
    let write =
        Write { resource: asked.resource, served: Served::BuiltIn(kind), release: asked.release, node };
    match asked.allowed {
        Allowed::FinalDelete => return delete(asked, &write, present),
        Allowed::Members => check_members(asked, present)?,
        _ => {}
    }
    let outcome = if media::patch(asked.content_type, media::Served::BuiltIn).is_ok() {
        let patch = media::patch(asked.content_type, media::Served::BuiltIn)?;
        let form = Form::of(patch).ok_or_else(|| {
            Status::unavailable("server-side apply needs the API server, which cannot be reached")
        })?;
        patch::patch(present, &write, form, asked.body)?
    } else {
        patch::update(present, &write, json(asked)?)?
    };
    match outcome {
        Outcome::Stored(object) if object == *present => Ok(Staged::Same),
        Outcome::Stored(object) => {
            check_kept(asked, present, &object)?;
            Ok(Staged::Changed(object))
        }
        // A status that took a pod's last finalizer: nobody on a node does that.
        Outcome::Removed(_) => Err(Status::unavailable("only the API server ends an object this way")),
    }
}

/// The body of a PUT or DELETE, in JSON.
fn json(asked: &Asked<'_>) -> Result<Value, Status> {
    let encoding = match media::body(asked.content_type)? {
        media::Body::Object(encoding) => encoding,
        media::Body::Yaml => return Err(Status::unavailable("YAML is read by the API server only")),
    };
    let made = transcode::transcode(asked.body, encoding, Encoding::Json).map_err(|e| e.to_status())?;
    if !made.complete {
        let why = "the body has fields that are newer than this hub: they would be lost";
        return Err(Status::unavailable(why));
    }
    serde_json::from_slice(&made.bytes).map_err(|e| Status::bad_request(e.to_string()))
}

/// The final deletion: at once, of this very pod, which the cloud wants gone.
fn delete(asked: &Asked<'_>, write: &Write<'_>, present: &Value) -> Result<Staged, Status> {
    let options = match asked.body {
        [] => DeleteOptions::default(),
        _ => DeleteOptions::of(&json(asked)?),
    };
    let is_final = options.grace_period_seconds == Some(0) && options.uid.is_some();
    let is_wanted = text(present, "/metadata/deletionTimestamp").is_some();
    let is_mirror = present.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some();
    // What it would refuse it refuses here too: another uid, a pod of another node.
    let deletion = patch::delete(present, write, &options, asked.now)?;
    if !(is_final && is_wanted) || is_mirror {
        let why = "the cluster cannot be reached: only a pod that was to be deleted before can be finished with now";
        return Err(Status::unavailable(why));
    }
    match deletion {
        Deletion::Removed(last) => Ok(Staged::Ended { last, gone: true }),
        Deletion::Marked(last) | Deletion::Pending(last) => Ok(Staged::Ended { last, gone: false }),
    }
}

/// A daemon marks its own node, or a pod that runs here.
fn check_members(asked: &Asked<'_>, present: &Value) -> Result<(), Status> {
    let on_node = asked.resource.resource == "nodes" || text(present, "/spec/nodeName") == Some(asked.node);
    if on_node {
        return Ok(());
    }
    Err(Status::unavailable("the cluster cannot be reached, and this pod runs on another node"))
}

/// What a node without its cloud does not decide, though the API server might let it; and what would be shown here and
/// never told, for it is not the writer's to tell (`owned.rs`).
fn check_kept(asked: &Asked<'_>, present: &Value, object: &Value) -> Result<(), Status> {
    let kept: &[&str] = match asked.allowed {
        Allowed::CsiNode => &["/metadata/uid", "/metadata/ownerReferences"],
        Allowed::NodeStatus => &["/metadata/uid", "/metadata/finalizers"],
        Allowed::Members => return check_members_alone(present, object),
        _ => &["/metadata/uid", "/metadata/finalizers", "/metadata/annotations", "/metadata/labels"],
    };
    let differs =
        |path: &&&str| present.pointer(path).and_then(essence) != object.pointer(path).and_then(essence);
    match kept.iter().find(differs) {
        None => Ok(()),
        Some(path) => {
            let field = path.trim_start_matches('/').replace('/', ".");
            Err(Status::unavailable(format!(
                "the cluster cannot be reached: {field} is not changed without it"
            )))
        }
    }
}

/// A daemon's annotations and conditions are told; whatever else it changes would be lost.
fn check_members_alone(present: &Value, object: &Value) -> Result<(), Status> {
    let rest = |object: &Value| {
        let mut object = object.clone();
        for (holder, member) in [("/metadata", "annotations"), ("/status", "conditions")] {
            if let Some(members) = object.pointer_mut(holder).and_then(Value::as_object_mut) {
                members.remove(member);
            }
        }
        essence(&object)
    };
    if rest(present) == rest(object) {
        return Ok(());
    }
    let why = "the cluster cannot be reached: without it only annotations and conditions can be set";
    Err(Status::unavailable(why))
}

/// A value without what stands for nothing: releases differ in which zeros they write. `None` if nothing is left.
fn essence(value: &Value) -> Option<Value> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Number(number) if number.as_f64() == Some(0.0) => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(items) => {
            let items = items.iter().map(|item| essence(item).unwrap_or_default());
            Some(items.collect::<Vec<_>>().into()).filter(|items: &Value| *items != Value::Array(Vec::new()))
        }
        Value::Object(members) => {
            let left = members.iter().filter_map(|(name, value)| Some((name.clone(), essence(value)?)));
            let left: serde_json::Map<String, Value> = left.collect();
            (!left.is_empty()).then_some(Value::Object(left))
        }
        other => Some(other.clone()),
    }
}

fn text<'o>(object: &'o Value, path: &str) -> Option<&'o str> {
    object.pointer(path).and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
