//! Objects to bytes and back, in the form that was asked for.

use serde_json::{Value, json};
use wire::media::{Accepted, Form, Served};
use wire::{Encoding, Status};

use super::kinds::Kind;
use super::object::{at, text};
use super::watch::Type;

/// What of a kind can be had in protobuf.
pub fn served(kind: &Kind) -> Served {
    super::write::served(kind)
}

/// The object in a body in protobuf.
///
/// # Errors
/// 415: not known here yet.
pub fn from_protobuf(_body: &[u8]) -> Result<Value, Status> {
    Err(Status::unsupported_media_type(&[wire::media::JSON]))
}

/// An object in bytes.
///
/// # Errors
/// 406 where it has no such form.
pub fn object(object: &Value, accepted: &Accepted) -> Result<Vec<u8>, Status> {
    match accepted.encoding {
        Encoding::Json => {
            let text =
                if accepted.pretty { serde_json::to_vec_pretty(object) } else { serde_json::to_vec(object) };
            let mut bytes = text.map_err(|e| Status::internal_error(&e.to_string()))?;
            bytes.push(b'\n');
            Ok(bytes)
        }
        Encoding::Protobuf => Err(Status::not_acceptable(&[wire::media::JSON])),
    }
}

/// An object or list in the form that was asked for.
pub fn formed(value: Value, form: Form) -> Value {
    match form {
        Form::Object => value,
        Form::Metadata(version) | Form::MetadataList(version) => {
            let version = version.api_version();
            match value.get("items").and_then(Value::as_array) {
                None => metadata_only(&value, version),
                Some(items) => {
                    let items: Vec<Value> = items.iter().map(|item| metadata_only(item, version)).collect();
                    json!({
                        "kind": "PartialObjectMetadataList", "apiVersion": version,
                        "metadata": value["metadata"], "items": items,
                    })
                }
            }
        }
        Form::Table(version) => table(&value, version.api_version()),
    }
}

fn metadata_only(object: &Value, version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": version, "metadata": object["metadata"]})
}

/// What every kind can be printed as: name and time.
fn table(value: &Value, version: &str) -> Value {
    let column = |name: &str, format: &str| json!({"name": name, "type": "string", "format": format, "description": "", "priority": 0});
    let row = |object: &Value| {
        let cells = [text(object, "metadata.name"), text(object, "metadata.creationTimestamp")];
        json!({"cells": cells, "object": metadata_only(object, version)})
    };
    let rows: Vec<Value> = match value.get("items").and_then(Value::as_array) {
        Some(items) => items.iter().map(row).collect(),
        None => vec![row(value)],
    };
    let metadata = json!({"resourceVersion": at(value, "metadata.resourceVersion")});
    json!({
        "kind": "Table", "apiVersion": version, "metadata": metadata,
        "columnDefinitions": [column("Name", "name"), column("Created At", "date")],
        "rows": rows,
    })
}

/// A watch event in bytes, with what frames it.
///
/// # Errors
/// As [`object`].
pub fn event(kind: Type, value: Value, accepted: &Accepted) -> Result<Vec<u8>, Status> {
    let value =
        if matches!(kind, Type::Bookmark | Type::Error) { value } else { formed(value, accepted.form) };
    match accepted.encoding {
        Encoding::Json => object(&json!({"type": kind.as_str(), "object": value}), &Accepted::DEFAULT),
        Encoding::Protobuf => Err(Status::not_acceptable(&[wire::media::JSON])),
    }
}
