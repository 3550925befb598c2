//! What an entry makes of an object of the cloud: the members that its writer owns, laid over the object as the cloud
//! has it now.
//!
//! The same is shown on the node while the entry waits, and sent when it is settled. Whose a member is stands in
//! kubelet's sources (`pkg/kubelet/status/status_manager.go`, `types/pod_status.go`, `kubelet_node_status.go`) and in no
//! API; what is in doubt is the cloud's, for kubelet repairs what is its own within seconds of seeing it.

mod node;
mod pod;

pub use node::node;
pub use pod::{is_terminal, pod};

use serde_json::{Map, Value};

use crate::entry::{Entry, What};

/// The cloud's object as the writer of this entry would have it. `local` is the entry's content, `fresh` the object as
/// the cloud has it now, of the same UID.
///
/// Equal to `fresh` where the entry has nothing to say any more. An event is what the node says it is.
pub fn laid_over(entry: &Entry, local: &Value, fresh: &Value) -> Value {
    let resource = (entry.id.resource.group(), entry.id.resource.resource());
    match (&entry.what, resource) {
        (What::Members { annotations, conditions }, _) => members(local, fresh, annotations, conditions),
        (What::State | What::Finished { .. }, ("", "pods")) => pod(local, fresh),
        (What::State, ("", "nodes")) => node(local, fresh),
        (What::Object, _) => object(local, fresh),
        (What::Event { .. }, _) => local.clone(),
        // Nothing else is staged so; what is not understood is the cloud's.
        (What::State | What::Finished { .. }, _) => fresh.clone(),
    }
}

/// The named annotations and conditions as `local` has them; those that it has not are gone.
fn members(local: &Value, fresh: &Value, annotations: &[String], conditions: &[String]) -> Value {
    let mut object = fresh.clone();
    keys(&mut object, local, "annotations", annotations.iter().map(String::as_str));
    let is_named = |name: &str| conditions.iter().any(|own| own == name);
    if let Some(merged) = conditions_of(local, fresh, is_named) {
        set_status(&mut object, "conditions", merged);
    }
    object
}

/// An object that its writer owns as a whole. Who it is, and whose, is the cloud's to say.
fn object(local: &Value, fresh: &Value) -> Value {
    let mut object = local.clone();
    let Some(members) = object.as_object_mut() else { return fresh.clone() };
    let mut metadata = fresh.get("metadata").cloned().unwrap_or_default();
    if let Some(own) = metadata.as_object_mut() {
        for name in ["annotations", "labels"] {
            take(own, name, local.pointer(&format!("/metadata/{name}")));
        }
    }
    members.insert("metadata".to_owned(), metadata);
    for name in ["apiVersion", "kind"] {
        take(members, name, fresh.get(name));
    }
    object
}

/// Makes a member this value, or removes it.
fn take(members: &mut Map<String, Value>, name: &str, value: Option<&Value>) {
    match value {
        Some(value) => members.insert(name.to_owned(), value.clone()),
        None => members.remove(name),
    };
}

/// Makes these keys of a map in the metadata what they are in `local`. A map that stays without keys is left out, as
/// the API server does.
fn keys<'k>(object: &mut Value, local: &Value, map: &str, names: impl Iterator<Item = &'k str>) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let present = metadata.get(map).and_then(Value::as_object).cloned();
    let mut own = present.clone().unwrap_or_default();
    let said = local.get("metadata").and_then(|metadata| metadata.get(map));
    for name in names {
        take(&mut own, name, said.and_then(|said| said.get(name)));
    }
    if own.is_empty() && present.is_none_or(|present| !present.is_empty()) {
        metadata.remove(map);
    } else if !own.is_empty() {
        metadata.insert(map.to_owned(), own.into());
    }
}

/// Makes a member of the status this value, in a status made for it if need be.
fn set_status(object: &mut Value, name: &str, value: Value) {
    let Some(members) = object.as_object_mut() else { return };
    let status = members.entry("status").or_insert_with(|| Value::Object(Map::new()));
    if let Some(status) = status.as_object_mut() {
        status.insert(name.to_owned(), value);
    }
}

fn list<'o>(object: &'o Value, path: &str) -> &'o [Value] {
    object.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'o>(value: &'o Value, name: &str) -> &'o str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The conditions of both: those whose type is owned as `local` has them, all others as `fresh` has them, in the order
/// of `fresh`, so that nothing differs where nothing is new. `None` if neither has any.
fn conditions_of(local: &Value, fresh: &Value, is_owned: impl Fn(&str) -> bool) -> Option<Value> {
    let (own, present) = (list(local, "/status/conditions"), list(fresh, "/status/conditions"));
    let find = |name: &str| own.iter().find(|condition| text(condition, "type") == name);
    let kept = present.iter().filter_map(|condition| {
        let name = text(condition, "type");
        if !is_owned(name) {
            return Some(condition.clone());
        }
        find(name).map(|own| newest_observed(own.clone(), condition))
    });
    let is_new = |name: &str| present.iter().all(|condition| text(condition, "type") != name);
    let added = own.iter().filter(|condition| {
        let name = text(condition, "type");
        is_owned(name) && is_new(name)
    });
    let merged: Vec<Value> = kept.chain(added.cloned()).collect();
    let is_said = fresh.pointer("/status/conditions").is_some();
    (!merged.is_empty() || is_said).then(|| merged.into())
}

/// A generation that the cloud knows to have been observed does not become unobserved.
fn newest_observed(mut own: Value, present: &Value) -> Value {
    const NAME: &str = "observedGeneration";
    let number = |value: &Value| value.get(NAME).and_then(Value::as_i64).unwrap_or(0);
    let newest = number(&own).max(number(present));
    if let Some(own) = own.as_object_mut().filter(|_| newest > 0) {
        own.insert(NAME.to_owned(), newest.into());
    }
    own
}

#[cfg(test)]
mod tests;
