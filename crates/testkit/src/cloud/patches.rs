//! The patch forms.

use serde_json::Value;
use wire::Status;
use wire::media::Patch;

use super::kinds::Kind;
use super::object;

/// The API server's limit for operations in one JSON patch.
const MAX_OPERATIONS: usize = 10_000;

/// The object with a patch applied.
///
/// # Errors
/// 400 for a body that is no such patch, 415 for a form that is not known here, 422 for one that cannot be applied.
pub fn apply(_kind: &Kind, how: Patch, old: &Value, body: &[u8]) -> Result<Value, Status> {
    let patch: Value = serde_json::from_slice(body)
        .map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))?;
    let mut patched = old.clone();
    match how {
        Patch::Merge if patch.is_object() => merge(&mut patched, &patch),
        Patch::Json => {
            let Value::Array(operations) = &patch else {
                return Err(Status::bad_request(
                    "json: cannot unmarshal object into Go value of type jsonpatch.Patch",
                ));
            };
            if operations.len() > MAX_OPERATIONS {
                let text = format!(
                    "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
                    operations.len()
                );
                return Err(Status::too_large(&text));
            }
            operations.iter().try_for_each(|one| operate(&mut patched, one)).map_err(|()| unprocessable())?;
        }
        Patch::Merge => {
            return Err(Status::bad_request(
                "json: cannot unmarshal into Go value of type map[string]interface {}",
            ));
        }
        Patch::Strategic | Patch::Apply => {
            let known = ["application/json-patch+json", "application/merge-patch+json"];
            return Err(Status::unsupported_media_type(&known));
        }
    }
    Ok(patched)
}

/// 422 as the API server says it of a JSON patch that does not fit: it hides why.
fn unprocessable() -> Status {
    let details = Some(Box::default());
    let text = "the server rejected our request due to an error in our request";
    Status { details, ..Status::failure(422, "Invalid", text) }
}

/// RFC 7386, section 2.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    let map = object::map(target);
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// One operation of RFC 6902, section 4.
fn operate(target: &mut Value, operation: &Value) -> Result<(), ()> {
    let text = |key: &str| operation.get(key).and_then(Value::as_str).ok_or(());
    let value = || operation.get("value").cloned().ok_or(());
    let path = text("path")?;
    match text("op")? {
        "add" => add(target, path, value()?),
        "remove" => remove(target, path).map(drop),
        "replace" => {
            remove(target, path)?;
            add(target, path, value()?)
        }
        "move" => {
            let moved = remove(target, text("from")?)?;
            add(target, path, moved)
        }
        "copy" => {
            let copied = target.pointer(text("from")?).cloned().ok_or(())?;
            add(target, path, copied)
        }
        "test" => match target.pointer(path).unwrap_or(&Value::Null) == &value()? {
            true => Ok(()),
            false => Err(()),
        },
        _ => Err(()),
    }
}

/// Where a pointer (RFC 6901) leads: the container, and the last key.
fn parent<'a>(target: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), ()> {
    let (container, key) = path.rsplit_once('/').ok_or(())?;
    let key = key.replace("~1", "/").replace("~0", "~");
    Ok((target.pointer_mut(container).ok_or(())?, key))
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), ()> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    match parent(target, path)? {
        (Value::Object(map), key) => drop(map.insert(key, value)),
        (Value::Array(items), key) => {
            let at = if key == "-" { items.len() } else { key.parse().map_err(drop)? };
            if at > items.len() {
                return Err(());
            }
            items.insert(at, value);
        }
        _ => return Err(()),
    }
    Ok(())
}

fn remove(target: &mut Value, path: &str) -> Result<Value, ()> {
    match parent(target, path)? {
        (Value::Object(map), key) => map.remove(&key).ok_or(()),
        (Value::Array(items), key) => {
            let at: usize = key.parse().map_err(drop)?;
            if at < items.len() { Ok(items.remove(at)) } else { Err(()) }
        }
        _ => Err(()),
    }
}
