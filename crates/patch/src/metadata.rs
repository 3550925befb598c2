//! Members of `metadata`, and which of them a write can change (`apiserver:pkg/registry/rest/update.go`,
//! `apimachinery:pkg/api/validation/objectmeta.go`).

use serde_json::{Map, Value};
use wire::gotext::quote;
use wire::status::Cause;

use crate::time;

/// An object's metadata; empty if it has none.
pub(crate) fn of(object: &Value) -> &Map<String, Value> {
    static EMPTY: std::sync::OnceLock<Map<String, Value>> = std::sync::OnceLock::new();
    object.get("metadata").and_then(Value::as_object).unwrap_or_else(|| EMPTY.get_or_init(Map::new))
}

/// An object's metadata, to be changed; made if it has none.
pub(crate) fn of_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.as_object_mut()?.entry("metadata").or_insert_with(|| Value::Object(Map::new())).as_object_mut()
}

/// A text of an object's metadata; empty if it is absent.
pub(crate) fn text<'o>(object: &'o Value, name: &str) -> &'o str {
    of(object).get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A whole number of an object's metadata.
pub(crate) fn number(object: &Value, name: &str) -> Option<i64> {
    of(object).get(name).and_then(Value::as_i64)
}

/// An object's finalizers.
pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    let list = of(object).get("finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// Whether the object is being deleted.
pub(crate) fn is_deleting(object: &Value) -> bool {
    !text(object, "deletionTimestamp").is_empty()
}

/// Sets a member, or removes it.
pub(crate) fn set(object: &mut Value, name: &str, value: Option<Value>) {
    let Some(metadata) = of_mut(object) else { return };
    match value {
        Some(value) => metadata.insert(name.to_owned(), value),
        None => metadata.remove(name),
    };
}

/// Makes a member what it is in `current`.
pub(crate) fn keep(object: &mut Value, current: &Value, name: &str) {
    set(object, name, of(current).get(name).cloned());
}

/// Puts back what a write cannot change, silently, as the API server does.
pub(crate) fn restore(object: &mut Value, current: &Value) {
    // managedFields record who wrote what; a local edit leaves them alone. Nobody sets a selfLink.
    for name in ["managedFields", "selfLink"] {
        keep(object, current, name);
    }
    if text(object, "uid").is_empty() {
        keep(object, current, "uid");
    }
    for name in ["creationTimestamp", "deletionTimestamp"] {
        if !text(current, name).is_empty() {
            keep(object, current, name);
        }
    }
    if number(object, "deletionGracePeriodSeconds").is_none() {
        keep(object, current, "deletionGracePeriodSeconds");
    }
    remove_repeated_owners(object);
}

/// Owner references that are equal in everything count once.
fn remove_repeated_owners(object: &mut Value) {
    let list = of_mut(object).and_then(|metadata| metadata.get_mut("ownerReferences"));
    if let Some(Value::Array(owners)) = list {
        let mut seen = std::collections::HashSet::new();
        owners.retain(|owner| seen.insert(owner.to_string()));
    }
}

/// What of a write's metadata the API server refuses because it differs from the present one.
pub(crate) fn refused(object: &Value, current: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if is_deleting(current) {
        let old: Vec<&str> = finalizers(current).collect();
        let mut new: Vec<&str> = finalizers(object).filter(|name| !old.contains(name)).collect();
        new.sort_unstable();
        new.dedup();
        if !new.is_empty() {
            let names: Vec<String> = new.into_iter().map(quote).collect();
            let names = format!("[]string{{{}}}", names.join(", "));
            causes.push(Cause {
                reason: "FieldValueForbidden".to_owned(),
                message: format!("Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers {names}"),
                field: "metadata.finalizers".to_owned(),
            });
        }
    }
    let immutable: [(&str, GoText); 6] = [
        ("name", go_text),
        ("namespace", go_text),
        ("uid", go_text),
        ("creationTimestamp", go_time),
        ("deletionTimestamp", go_time),
        ("deletionGracePeriodSeconds", Value::to_string),
    ];
    for (name, write) in immutable {
        let (new, old) = (of(object).get(name), of(current).get(name));
        if new != old {
            causes.push(Cause {
                reason: "FieldValueInvalid".to_owned(),
                message: format!(
                    "Invalid value: {}: field is immutable",
                    new.map_or("null".to_owned(), write)
                ),
                field: format!("metadata.{name}"),
            });
        }
    }
    causes
}

/// How Go prints a value.
type GoText = fn(&Value) -> String;

fn go_text(value: &Value) -> String {
    quote(value.as_str().unwrap_or_default())
}

fn go_time(value: &Value) -> String {
    time::go(value.as_str().unwrap_or_default())
}
