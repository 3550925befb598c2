//! Objects to bytes and back, in the form that was asked for.
//!
//! What the field table does not know, a newer release's fields and kinds, travels in protobuf as one unknown field that
//! holds the object's JSON, so that those who do not know it find what they find in real life: a field with a number
//! that they have never seen.

use serde_json::{Value, json};
use wire::media::{Accepted, Form, MetaVersion, Served};
use wire::proto::{Envelope, FieldValue, Fields, envelope, push_bytes, push_message};
use wire::schema::Kind as Known;
use wire::transcode::{self, Error, Transcoded};
use wire::watch::push_event;
use wire::{Encoding, ListMeta, ListWriter, Status};

use super::kinds::Kind;
use super::object::{map, text};
use super::read::List;
use super::watch::Type;

/// The number of the field that holds what the table does not know.
const UNKNOWN_FIELD: u32 = 1000;

/// What of a kind can be had in protobuf.
pub fn served(kind: &Kind) -> Served {
    super::write::served(kind)
}

fn to_json(object: &Value) -> Vec<u8> {
    serde_json::to_vec(object).unwrap_or_default()
}

/// The object as the API server stores it: with every member that its kind always has. One with members that the table
/// does not know, or of an unknown kind, stays as it is.
///
/// # Errors
/// When it is no object of its kind.
pub fn normal(object: &Value) -> Result<Value, Error> {
    match transcode::to_protobuf(&to_json(object)) {
        Ok(Transcoded { bytes, complete: true }) => {
            let json = transcode::to_json(&bytes)?.bytes;
            Ok(serde_json::from_slice(&json).unwrap_or_else(|_| object.clone()))
        }
        Ok(_) | Err(Error::UnknownKind { .. }) => Ok(object.clone()),
        Err(error) => Err(error),
    }
}

/// An object as a message without envelope.
fn message(object: &Value) -> Result<Vec<u8>, Status> {
    let json = to_json(object);
    match transcode::to_protobuf(&json) {
        Ok(made) => {
            let mut raw = Envelope::parse(&made.bytes).map_err(|e| Error::from(e).to_status())?.raw.to_vec();
            if !made.complete {
                push_bytes(&mut raw, UNKNOWN_FIELD, &json);
            }
            Ok(raw)
        }
        Err(Error::UnknownKind { .. }) => {
            let mut raw = Vec::new();
            push_message(&mut raw, 1, |out| metadata(object, out));
            push_bytes(&mut raw, UNKNOWN_FIELD, &json);
            Ok(raw)
        }
        Err(error) => Err(error.to_status()),
    }
}

/// Every kind has its metadata in the same form.
fn metadata(object: &Value, out: &mut Vec<u8>) {
    let meta = Known::find("", "v1", "Pod").and_then(|pod| pod.message().field("metadata")?.message());
    if let Some(meta) = meta {
        // A test's own object may hold what is no metadata; then it has none.
        let _odd = transcode::message_to_protobuf(meta, &to_json(&object["metadata"]), out);
    }
}

/// The object in a body in protobuf.
///
/// # Errors
/// 400 for bytes that are none.
pub fn from_protobuf(body: &[u8]) -> Result<Value, Status> {
    let parsed = Envelope::parse(body).map_err(|e| Error::from(e).to_status())?;
    let json = match transcode::to_json(body) {
        Ok(made) => made.bytes,
        Err(Error::UnknownKind { .. }) => b"{}".to_vec(),
        Err(error) => return Err(error.to_status()),
    };
    let known: Value = serde_json::from_slice(&json).unwrap_or_default();
    let unknown = Fields::new(parsed.raw).filter_map(Result::ok).find_map(|field| match field {
        (UNKNOWN_FIELD, FieldValue::Bytes(json)) => serde_json::from_slice(json).ok(),
        _ => None,
    });
    Ok(match unknown {
        None => known,
        Some(mut whole) => {
            lay_over(&mut whole, known);
            whole
        }
    })
}

/// What is known of an object counts, what is not stays.
fn lay_over(whole: &mut Value, known: Value) {
    match (whole, known) {
        (Value::Object(whole), Value::Object(known)) => {
            for (key, value) in known {
                lay_over(whole.entry(key).or_insert(Value::Null), value);
            }
        }
        (whole, known) => *whole = known,
    }
}

/// An object in bytes.
///
/// # Errors
/// When it is no object of its kind.
pub fn object(object: &Value, accepted: &Accepted) -> Result<Vec<u8>, Status> {
    Ok(match accepted.encoding {
        Encoding::Json => {
            let pretty = accepted.pretty.then(|| serde_json::to_vec_pretty(object).unwrap_or_default());
            let mut bytes = pretty.unwrap_or_else(|| to_json(object));
            bytes.push(b'\n');
            bytes
        }
        Encoding::Protobuf => envelope(&text(object, "apiVersion"), &text(object, "kind"), &message(object)?),
    })
}

/// A list in bytes.
///
/// # Errors
/// When an item is no object of its kind.
pub fn list(list: &List, kind: &Kind, accepted: &Accepted) -> Result<Vec<u8>, Status> {
    let meta = list.meta();
    if let Form::Table(version) = accepted.form {
        let items = list.items.iter().map(|item| &**item);
        return object(&table(items, &meta, version), accepted);
    }
    let (api_version, list_kind) = match accepted.form {
        Form::Metadata(version) | Form::MetadataList(version) => {
            (version.api_version().to_owned(), "PartialObjectMetadataList".to_owned())
        }
        _ => (kind.api_version(), kind.list()),
    };
    let mut writer = ListWriter::new(&api_version, &list_kind, &meta, accepted.encoding, 0);
    for item in &list.items {
        let mut item = formed(Value::clone(item), accepted.form);
        match accepted.encoding {
            Encoding::Json => {
                // Kind and version stand only once, at the list.
                if !kind.custom && accepted.form == Form::Object {
                    map(&mut item).retain(|key, _| key != "kind" && key != "apiVersion");
                }
                writer.push_raw(&to_json(&item));
            }
            Encoding::Protobuf => writer.push_raw(&message(&item)?),
        }
    }
    Ok(writer.finish())
}

/// An object in the form that was asked for.
pub fn formed(value: Value, form: Form) -> Value {
    match form {
        Form::Object => value,
        Form::Metadata(version) | Form::MetadataList(version) => metadata_only(&value, version.api_version()),
        Form::Table(version) => {
            let meta = ListMeta {
                resource_version: text(&value, "metadata.resourceVersion"),
                ..ListMeta::default()
            };
            table(std::iter::once(&value), &meta, version)
        }
    }
}

fn metadata_only(object: &Value, version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": version, "metadata": object["metadata"]})
}

/// What every kind can be printed as: name and time.
fn table<'a>(objects: impl Iterator<Item = &'a Value>, meta: &ListMeta, version: MetaVersion) -> Value {
    let version = version.api_version();
    let column = |name: &str, format: &str| json!({"name": name, "type": "string", "format": format, "description": "", "priority": 0});
    let row = |object: &Value| {
        let cells = [text(object, "metadata.name"), text(object, "metadata.creationTimestamp")];
        json!({"cells": cells, "object": metadata_only(object, version)})
    };
    let rows: Vec<Value> = objects.map(row).collect();
    json!({
        "kind": "Table", "apiVersion": version, "metadata": {"resourceVersion": meta.resource_version},
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
    let mut frame = Vec::new();
    push_event(&mut frame, accepted.encoding, kind, &object(&value, accepted)?);
    Ok(frame)
}
