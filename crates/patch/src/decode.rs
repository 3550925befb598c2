//! Bodies of patches, read as the API server reads them.

use serde_json::{Map, Value};
use wire::Status;

use crate::json_patch::MAX_OPERATIONS;
use crate::release::Release;

type Object = Map<String, Value>;

/// The body of a strategic merge patch: an object; null changes nothing.
pub(crate) fn strategic_patch(body: &[u8], release: Release) -> Result<Object, Status> {
    let value = if release.validates_fields() { json(body) } else { first_json(body) };
    match value.map_err(Status::bad_request)? {
        Value::Object(patch) => Ok(patch),
        Value::Null => Ok(Object::new()),
        other => Err(Status::bad_request(not_into(&other, "map[string]interface {}"))),
    }
}

/// The body of a merge patch: an object.
pub(crate) fn merge_patch(body: &[u8], release: Release) -> Result<Object, Status> {
    const NO_PATCH: &str = "Invalid JSON Patch";
    match (json(body), release.validates_fields()) {
        (Ok(Value::Object(patch)), _) => Ok(patch),
        (Ok(Value::Null), true) => Err(Status::bad_request(NO_PATCH)),
        (Ok(other), true) => {
            let why = not_into(&other, "map[string]interface {}");
            Err(Status::bad_request(format!("error decoding patch: {why}")))
        }
        (Err(error), true) => Err(Status::bad_request(format!("error decoding patch: {error}"))),
        // An array there becomes the object, which then is none.
        (Ok(Value::Array(_)), false) => Err(Status::invalid(
            "",
            "",
            "",
            vec![wire::status::Cause {
                reason: "FieldValueInvalid".to_owned(),
                message: "Invalid value: an array is no object".to_owned(),
                field: "patch".to_owned(),
            }],
        )),
        (_, false) => Err(Status::failure(500, "", NO_PATCH)),
    }
}

/// The body of a JSON patch: an array of objects; null changes nothing.
pub(crate) fn json_patch(body: &[u8], release: Release) -> Result<Vec<Object>, Status> {
    let (prefix, patch, operation_type) = match release.validates_fields() {
        true => ("error decoding patch: ", "[]handlers.jsonPatchOp", "handlers.jsonPatchOp"),
        false => ("", "jsonpatch.Patch", "jsonpatch.Operation"),
    };
    let refuse = |why: String| Status::bad_request(format!("{prefix}{why}"));
    let operations = match json(body).map_err(refuse)? {
        Value::Array(operations) => operations,
        Value::Null => Vec::new(),
        other => return Err(refuse(not_into(&other, patch))),
    };
    let mut read = Vec::with_capacity(operations.len().min(MAX_OPERATIONS));
    let count = operations.len();
    for operation in operations {
        match operation {
            Value::Object(operation) => read.push(operation),
            // An operation of which nothing is known.
            Value::Null => read.push(Object::new()),
            other => return Err(refuse(not_into(&other, operation_type))),
        }
    }
    if count > MAX_OPERATIONS {
        return Err(Status::too_large(&format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
        )));
    }
    Ok(read)
}

fn not_into(value: &Value, go_type: &str) -> String {
    let what = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {what} into Go value of type {go_type}")
}

fn json(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).map(as_go_reads).map_err(|error| go_error(&error))
}

/// The first of several documents, which is all that old servers read.
fn first_json(body: &[u8]) -> Result<Value, String> {
    match serde_json::Deserializer::from_slice(body).into_iter().next() {
        None => Err("EOF".to_owned()),
        Some(value) => value.map(as_go_reads).map_err(|error| go_error(&error)),
    }
}

fn go_error(error: &serde_json::Error) -> String {
    if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() }
}

/// Whole numbers beyond 63 bits are floats there.
fn as_go_reads(mut value: Value) -> Value {
    match &mut value {
        Value::Number(number) if number.is_u64() && !number.is_i64() => {
            if let Some(float) = number.as_f64().and_then(serde_json::Number::from_f64) {
                *number = float;
            }
        }
        Value::Array(elements) => {
            for element in elements {
                *element = as_go_reads(std::mem::take(element));
            }
        }
        Value::Object(members) => {
            for member in members.values_mut() {
                *member = as_go_reads(std::mem::take(member));
            }
        }
        _ => {}
    }
    value
}
