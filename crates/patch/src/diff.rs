//! The difference between two values, as a JSON merge patch.

use serde_json::{Map, Value};

/// The merge patch (RFC 7386) that makes `new` of `old`: members that vanished are null, members that are equal are
/// left out, arrays are whole. Empty if nothing differs.
///
/// A merge patch cannot say that a member shall be null, so nulls of `new` come out as absent members. Where `new` has
/// no nulls, applying the difference to `old` gives `new` again. The same holds at the root: values that are not both
/// objects differ by `new` itself.
pub fn diff(old: &Value, new: &Value) -> Value {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => Value::Object(members(old, new)),
        _ => new.clone(),
    }
}

fn members(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter_map(|(key, value)| match (old.get(key), value) {
        (Some(old), value) if old == value => None,
        (Some(Value::Object(old)), Value::Object(new)) => {
            Some((key.clone(), Value::Object(members(old, new))))
        }
        (_, value) => Some((key.clone(), value.clone())),
    });
    gone.chain(changed).collect()
}
