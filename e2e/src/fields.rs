//! Fields of JSON objects by pointer (RFC 6901).

use anyhow::{Result, anyhow};
use serde_json::Value;

/// The text at `pointer`.
///
/// # Errors
///
/// There is none.
pub fn text_at<'v>(value: &'v Value, pointer: &str) -> Result<&'v str> {
    value.pointer(pointer).and_then(Value::as_str).ok_or_else(|| anyhow!("no text at {pointer}"))
}

/// Sets the field at `pointer`, whose object must be there.
///
/// # Errors
///
/// It is not.
pub fn set(value: &mut Value, pointer: &str, new: Value) -> Result<()> {
    let place = pointer.rsplit_once('/');
    let object = place.and_then(|(object, key)| Some((value.pointer_mut(object)?.as_object_mut()?, key)));
    let (object, key) = object.ok_or_else(|| anyhow!("no object for {pointer}"))?;
    object.insert(key.to_owned(), new);
    Ok(())
}

/// `object` with the members of `others` too.
pub fn with(mut object: Value, others: Value) -> Value {
    if let (Value::Object(members), Value::Object(others)) = (&mut object, others) {
        members.extend(others);
    }
    object
}
