//! Events, of which the same is told once, with a count. kubelet folds those of one run of its own the same way
//! (`client-go:tools/record/events_cache.go`); after a restart it says them again under new names.

use std::sync::LazyLock;

use patch::{Form, Outcome, Release, Served, Write, patch};
use serde_json::{Map, Value, json};
use view::{Key, ResourceId};
use wire::schema::Kind;
use wire::{Resource, Status};

use crate::entry::{Id, Writer};

/// So many names of one event are remembered; kubelet changes the last one only.
const MOST_NAMES: usize = 8;

/// Names the entry of the event that was first written at this place.
pub fn id(key: &Key) -> Id {
    // One for all of them: there may be thousands.
    static EVENTS: LazyLock<ResourceId> = LazyLock::new(|| ResourceId::new("", "v1", "events", ""));
    Id::new(EVENTS.clone(), key.clone(), "", Writer::Kubelet)
}

/// What makes two events the same: everything that is said but when, how often and under which name.
pub fn print(event: &Value) -> String {
    let part = |name: &str| event.get(name).unwrap_or(&Value::Null);
    let mut about = part("involvedObject").clone();
    if let Some(about) = about.as_object_mut() {
        about.remove("resourceVersion");
    }
    json!([about, part("reason"), part("message"), part("type"), part("source")]).to_string()
}

/// Judges a new event as the API server does (`pkg/apis/core/validation/events.go`), and gives it what the API server
/// gives an object when it is made.
///
/// # Errors
/// 400 and 422 as the API server; 503 for an event without a name of its own.
pub fn made(mut event: Value, resource: &Resource, uid: &str, created: &str) -> Result<Value, Status> {
    let text = |event: &Value, path: &str| {
        event.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let Some(members) = event.as_object() else { return Err(Status::bad_request("the event is no object")) };
    let said = members.get("kind").and_then(Value::as_str).unwrap_or("Event");
    if said != "Event" || members.get("apiVersion").is_some_and(|version| version != "v1") {
        return Err(Status::bad_request(format!("the object provided is no v1 Event: {said}")));
    }
    if text(&event, "/metadata/name").is_empty() {
        return Err(Status::unavailable(
            "the cluster cannot be reached: a name is given by the API server only",
        ));
    }
    let namespace = text(&event, "/metadata/namespace");
    if !namespace.is_empty() && namespace != resource.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let about = text(&event, "/involvedObject/namespace");
    if !about.is_empty() && about != resource.namespace {
        let cause = wire::status::Cause {
            reason: "FieldValueInvalid".to_owned(),
            message: format!("Invalid value: \"{about}\": does not match event.namespace"),
            field: "involvedObject.namespace".to_owned(),
        };
        return Err(Status::invalid("", "Event", &text(&event, "/metadata/name"), vec![cause]));
    }
    if let Some(metadata) = event.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("namespace".to_owned(), resource.namespace.as_str().into());
        metadata.insert("uid".to_owned(), uid.into());
        metadata.insert("creationTimestamp".to_owned(), created.into());
        metadata.insert("resourceVersion".to_owned(), "1".into());
    }
    if let Some(members) = event.as_object_mut() {
        members.insert("kind".to_owned(), "Event".into());
        members.insert("apiVersion".to_owned(), "v1".into());
    }
    Ok(event)
}

/// How often an event says that it happened.
pub fn count(event: &Value) -> i64 {
    event.get("count").and_then(Value::as_i64).unwrap_or(1).max(1)
}

/// Folds an event, as it is now under `name`, into what is known of the same; the count is that of all names.
pub fn fold(known: &mut Value, names: &mut Vec<(String, i64)>, name: &str, event: &Value) {
    match names.iter_mut().find(|(own, _)| own == name) {
        Some((_, times)) => *times = count(event),
        None => names.push((name.to_owned(), count(event))),
    }
    while names.len() > MOST_NAMES {
        forget_oldest(names);
    }
    let Some(members) = known.as_object_mut() else { return };
    let total = names.iter().fold(0_i64, |sum, (_, times)| sum.saturating_add(*times));
    members.insert("count".to_owned(), total.into());
    for member in ["lastTimestamp", "message", "series"] {
        if let Some(value) = event.get(member).filter(|value| !value.is_null()) {
            members.insert(member.to_owned(), value.clone());
        }
    }
}

/// The oldest name's count goes to those of which only the number is known.
fn forget_oldest(names: &mut Vec<(String, i64)>) {
    let Some(at) = names.iter().position(|(name, _)| !name.is_empty()) else { return };
    let (_, times) = names.remove(at);
    match names.iter_mut().find(|(name, _)| name.is_empty()) {
        Some((_, others)) => *others = others.saturating_add(times),
        None => names.insert(0, (String::new(), times)),
    }
}

/// The event as who wrote it under `name` knows it.
pub fn under_name(known: &Value, names: &[(String, i64)], name: &str) -> Value {
    let mut event = known.clone();
    let times = names.iter().find(|(own, _)| own == name).map_or(1, |(_, times)| *times);
    if let Some(members) = event.as_object_mut() {
        members.insert("count".to_owned(), times.into());
        let metadata = members.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("name".to_owned(), name.into());
        }
    }
    event
}

/// Applies a patch to an event.
///
/// # Errors
/// The API server's answer to it.
pub fn patched(
    event: &Value,
    resource: &Resource,
    form: Form,
    release: Release,
    body: &[u8],
) -> Result<Value, Status> {
    let kind =
        Kind::find("", "v1", "Event").ok_or_else(|| Status::internal_error("the table has no Event"))?;
    let write = Write { resource, served: Served::BuiltIn(kind), release, node: None };
    match patch(event, &write, form, body)? {
        Outcome::Stored(event) | Outcome::Removed(event) => Ok(event),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, times: i64, last: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "shop"}, "involvedObject": {"kind": "Pod", "name": "web",
            "namespace": "shop", "uid": "u1", "resourceVersion": name}, "reason": "BackOff", "message": "again",
            "type": "Warning", "source": {"component": "kubelet"}, "count": times, "lastTimestamp": last})
    }

    fn resource() -> Resource {
        Resource {
            version: "v1".into(),
            namespace: "shop".into(),
            resource: "events".into(),
            ..Resource::default()
        }
    }

    #[test]
    fn what_is_said_again_under_another_name_is_the_same() {
        assert_eq!(print(&event("web.1", 1, "a")), print(&event("web.2", 7, "b")));
        let mut other = event("web.3", 1, "a");
        other["message"] = "something else".into();
        assert_ne!(print(&event("web.1", 1, "a")), print(&other));
    }

    #[test]
    fn counts_of_all_names_add_up_and_a_change_counts_once() {
        let mut known = event("web.1", 1, "a");
        let mut names = vec![("web.1".to_owned(), 1)];
        fold(&mut known, &mut names, "web.2", &event("web.2", 3, "b"));
        assert_eq!((known["count"].as_i64(), known["lastTimestamp"].as_str()), (Some(4), Some("b")));
        let mine = under_name(&known, &names, "web.2");
        assert_eq!((mine["count"].as_i64(), mine["metadata"]["name"].as_str()), (Some(3), Some("web.2")));
        let body = br#"{"count":5,"lastTimestamp":"2026-01-01T00:00:05Z"}"#;
        let named = Resource { name: "web.2".into(), ..resource() };
        let mine = patched(&mine, &named, Form::Strategic, Release::default(), body).unwrap();
        fold(&mut known, &mut names, "web.2", &mine);
        assert_eq!(known["count"], 6);
        assert_eq!(known["metadata"]["name"], "web.1");
    }

    #[test]
    fn names_are_bounded_and_no_count_is_lost() {
        let mut known = event("web.0", 1, "a");
        let mut names = vec![("web.0".to_owned(), 1)];
        for at in 1..100 {
            let name = format!("web.{at}");
            fold(&mut known, &mut names, &name, &event(&name, 1, "a"));
        }
        assert_eq!(known["count"], 100);
        assert_eq!(names.len(), MOST_NAMES);
    }

    #[test]
    fn an_event_that_the_api_server_would_refuse_is_refused() {
        let made = |event: Value| made(event, &resource(), "u", "t").map_err(|status| status.code);
        assert!(made(event("web.1", 1, "a")).is_ok());
        for (path, value, code) in [
            ("/metadata/name", json!(""), 503),
            ("/metadata/namespace", json!("other"), 400),
            ("/involvedObject/namespace", json!("other"), 422),
        ] {
            let mut odd = event("web.1", 1, "a");
            *odd.pointer_mut(path).unwrap() = value;
            assert_eq!(made(odd), Err(code), "{path}");
        }
        assert_eq!(made(json!([])), Err(400));
        assert_eq!(made(json!({"kind": "Pod", "metadata": {"name": "x"}})), Err(400));
    }
}
