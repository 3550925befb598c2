//! JSON merge patches (RFC 7386), as the API server's library applies them (`json-patch`'s `merge.go`).

use serde_json::{Map, Value};

use crate::release::Release;

/// Applies a merge patch: members that are null go, objects are merged, all else replaces what was there.
///
/// The result has no null that the patch brought, except inside of arrays from release 30 on, as the RFC has it; an
/// array that replaces an object keeps its nulls in every release.
pub fn apply(current: &mut Map<String, Value>, patch: Map<String, Value>, release: Release) {
    for (key, value) in patch {
        if value.is_null() {
            current.remove(&key);
            continue;
        }
        match current.get_mut(&key) {
            Some(now) => replace(now, value, release),
            None => {
                current.insert(key, without_nulls(value, release));
            }
        }
    }
}

fn replace(now: &mut Value, value: Value, release: Release) {
    match (now, value) {
        (Value::Object(now), Value::Object(value)) => apply(now, value, release),
        (now @ Value::Object(_), value) => *now = value,
        (now, value) => *now = without_nulls(value, release),
    }
}

/// The value without members that are null.
fn without_nulls(value: Value, release: Release) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value, release)))
                .collect(),
        ),
        Value::Array(elements) => elements
            .into_iter()
            .filter(|value| release.keeps_nulls_in_arrays() || !value.is_null())
            .map(|value| without_nulls(value, release))
            .collect(),
        value => value,
    }
}
