//! What a patch adds, without the parts that speak only to the patching.

use serde_json::Value;

use super::DIRECTIVE;

/// The value without nulls as members and without directives; `None` if it is itself a directive.
pub(super) fn added(mut value: Value) -> Option<Value> {
    without_nulls(&mut value);
    without_directives(&mut value).then_some(value)
}

/// Removes members that are null, at any depth. Nulls in arrays stay.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(elements) => elements.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// Removes objects that hold `$patch`, at any depth, and says whether the value itself may stay. Other directives are
/// no fields of anything and go when the object is read.
pub(super) fn without_directives(value: &mut Value) -> bool {
    match value {
        Value::Object(members) => {
            if members.contains_key(DIRECTIVE) {
                return false;
            }
            members.retain(|_, value| without_directives(value));
        }
        Value::Array(elements) => elements.retain_mut(without_directives),
        _ => {}
    }
    true
}
