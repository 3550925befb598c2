//! An object as the API server would give it back after reading it.

use std::borrow::Cow;

use serde_json::{Map, Value};
use wire::schema::{Field, Kind, Message, Shape};
use wire::transcode::{message_to_json, message_to_protobuf};

use crate::release::Release;
use crate::write::Served;

/// An object that a write made of the present one, and the present one itself, both in the form in which the API server
/// gives them back.
pub(crate) struct Both<'a> {
    /// The object.
    pub(crate) object: Value,
    /// The present one; an older cloud writes some zeros that the table leaves out.
    pub(crate) current: Cow<'a, Value>,
}

/// Reads an object as the API server does: unknown members are dropped, nulls are absent, what is left out where
/// something must stand is zero, times and the like stand in their one form.
///
/// A member of the object that is what it was in `current` is not read again: it stands as the API server gave it. For a
/// status, which is what a node writes, that is most of the object.
///
/// An object whose present form `current` has members that the table does not know keeps all of its members, and so
/// does every object of a cloud newer than the table: there, nobody can say which members the cloud does not know.
///
/// # Errors
/// Where a value has not the type of its field: what is wrong, in words.
pub(crate) fn of<'a>(
    value: Value,
    current: &'a Value,
    served: Served,
    release: Release,
) -> Result<Both<'a>, String> {
    match served {
        Served::BuiltIn(kind) => built_in(value, current, kind, release),
        Served::Custom { .. } => {
            let read = custom(current.clone()).map_or(Cow::Borrowed(current), Cow::Owned);
            Ok(Both { object: custom(value)?, current: read })
        }
    }
}

fn built_in<'a>(value: Value, current: &'a Value, kind: Kind, release: Release) -> Result<Both<'a>, String> {
    let (value, same) = without_same(value, current, kind.message());
    let rest = match current {
        Value::Object(members) => {
            let others = members.iter().filter(|(name, _)| !same.contains_key(*name));
            Value::Object(others.map(|(name, member)| (name.clone(), member.clone())).collect())
        }
        other => other.clone(),
    };
    let mut object = changed(value, &rest, kind, release)?;
    // Where a member must stand, its zero does in place of one that is apart.
    let read = changed(rest.clone(), &rest, kind, release).map(|read| without(read, &same));
    let read = read.ok().filter(|read| *read != rest);
    let current = read.map_or(Cow::Borrowed(current), |mut read| {
        extend(&mut read, same.clone());
        Cow::Owned(read)
    });
    extend(&mut object, same);
    Ok(Both { object, current })
}

fn without(mut object: Value, members: &Map<String, Value>) -> Value {
    if let Value::Object(object) = &mut object {
        object.retain(|name, _| !members.contains_key(name));
    }
    object
}

fn extend(object: &mut Value, members: Map<String, Value>) {
    if let Value::Object(object) = object {
        object.extend(members);
    }
}

/// The object without the members that are the same as in `current` and of which nothing is unknown; and those.
fn without_same(value: Value, current: &Value, message: Message) -> (Value, Map<String, Value>) {
    let Value::Object(members) = value else { return (value, Map::new()) };
    let is_same = |name: &str, member: &Value| {
        let message = message.field(name).and_then(Field::message);
        current.get(name) == Some(member) && message.is_some_and(|message| is_plain(member, message))
    };
    let (same, others): (Map<_, _>, Map<_, _>) =
        members.into_iter().partition(|(name, member)| is_same(name, member));
    (Value::Object(others), same)
}

/// Whether the table knows each member, and none is null.
fn is_plain(value: &Value, message: Message) -> bool {
    let Value::Object(members) = value else { return false };
    members.iter().all(|(name, member)| {
        let Some(field) = message.field(name) else { return false };
        match (field.message(), field.shape(), member) {
            (_, _, Value::Null) => false,
            (None, _, _) => true,
            (Some(message), Shape::List, Value::Array(list)) => list.iter().all(|one| is_plain(one, message)),
            (Some(message), Shape::Map, Value::Object(map)) => map.values().all(|one| is_plain(one, message)),
            (Some(message), Shape::Message, member) => is_plain(member, message),
            _ => false,
        }
    })
}

fn changed(value: Value, current: &Value, kind: Kind, release: Release) -> Result<Value, String> {
    let message = kind.message();
    let read = read(&value, message)?;
    if !read.complete && (release.is_newer_than_table() || !is_known(current, message)) {
        return Ok(value);
    }
    read.written(message, Some((&kind.api_version(), kind.name())))
}

/// The metadata of custom resources is the same as everywhere; the rest stands as it was sent.
fn custom(mut value: Value) -> Result<Value, String> {
    let message = Kind::find("", "v1", "Pod").and_then(|pod| pod.message().field("metadata")?.message());
    if let (Some(metadata), Some(message)) = (value.get_mut("metadata"), message) {
        *metadata = read(metadata, message)?.written(message, None)?;
    }
    Ok(value)
}

struct Read {
    protobuf: Vec<u8>,
    complete: bool,
}

fn read(value: &Value, message: Message) -> Result<Read, String> {
    let mut protobuf = Vec::new();
    let json = value.to_string();
    match message_to_protobuf(message, json.as_bytes(), &mut protobuf) {
        Ok(complete) => Ok(Read { protobuf, complete }),
        Err(error) => Err(error.to_string()),
    }
}

fn is_known(value: &Value, message: Message) -> bool {
    read(value, message).is_ok_and(|read| read.complete)
}

impl Read {
    fn written(&self, message: Message, head: Option<(&str, &str)>) -> Result<Value, String> {
        let mut json = Vec::new();
        message_to_json(message, &self.protobuf, head, &mut json).map_err(|error| error.to_string())?;
        serde_json::from_slice(&json).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What the whole object is when every member of it is read.
    fn read_whole(value: &Value, message: Message) -> Value {
        read(value, message).unwrap().written(message, Some(("v1", "Pod"))).unwrap()
    }

    #[test]
    fn what_a_write_left_alone_is_not_read_again_and_nobody_sees_that() {
        let kind = Kind::find("", "v1", "Pod").unwrap();
        let pod = json!({
            "metadata": {"name": "web", "annotations": {"a": "b"}, "managedFields": [{"fieldsV1": {"f:x": {}}}]},
            "spec": {"nodeName": "edge", "containers": [{"name": "c", "resources": {"limits": {"cpu": "500m"}}}]},
            "status": {"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}]},
        });
        let current = read_whole(&pod, kind.message());
        let status = json!({"phase": "Running", "startTime": "2026-01-02T04:04:05+01:00", "invented": 1, "reason": null});
        let spec = json!({"containers": [{"name": "c", "resources": {"limits": {"cpu": "0.5"}}}]});
        for (member, to) in
            [("status", status), ("spec", spec), ("metadata", json!({"name": "web", "uid": null}))]
        {
            let mut value = current.clone();
            value[member] = to;
            let both = of(value.clone(), &current, Served::BuiltIn(kind), Release::default()).unwrap();
            assert_eq!(both.object, read_whole(&value, kind.message()), "{member}");
            assert!(matches!(both.current, Cow::Borrowed(_)), "{member}");
        }
    }

    #[test]
    fn a_member_with_something_unknown_in_it_is_read_with_the_rest() {
        let message = Kind::find("", "v1", "Pod").unwrap().message();
        let has_none_apart = |spec: Value| {
            let pod = json!({"spec": spec, "status": {"phase": "Running"}});
            let (value, same) = without_same(pod.clone(), &pod, message);
            assert!(same.contains_key("status"));
            value.get("spec").is_some() && !same.contains_key("spec")
        };
        assert!(!has_none_apart(json!({"containers": [{"name": "c", "env": [{"name": "a"}]}]})));
        assert!(has_none_apart(json!({"invented": 1})));
        assert!(has_none_apart(json!({"containers": [{"name": "c", "env": [{"invented": 1}]}]})));
        assert!(has_none_apart(json!({"nodeName": null})), "a null is absent");
        assert!(has_none_apart(json!({"containers": {"name": "c"}})), "no list");
    }
}
