//! An object as the API server would give it back after reading it.

use serde_json::Value;
use wire::schema::{Kind, Message};
use wire::transcode::{message_to_json, message_to_protobuf};

use crate::release::Release;
use crate::write::Served;

/// Reads an object as the API server does: unknown members are dropped, nulls are absent, what is left out where
/// something must stand is zero, times and the like stand in their one form.
///
/// An object whose present form `current` has members that the table does not know keeps all of its members, and so
/// does every object of a cloud newer than the table: there, nobody can say which members the cloud does not know.
///
/// # Errors
/// Where a value has not the type of its field: what is wrong, in words.
pub(crate) fn of(value: Value, current: &Value, served: Served, release: Release) -> Result<Value, String> {
    match served {
        Served::BuiltIn(kind) => built_in(value, current, kind, release),
        Served::Custom { .. } => custom(value),
    }
}

fn built_in(value: Value, current: &Value, kind: Kind, release: Release) -> Result<Value, String> {
    let message = kind.message();
    let read = read(&value, message)?;
    if !read.complete && (release.is_newer_than_table() || !is_known(current, message)) {
        return Ok(value);
    }
    read.written(message, Some((&kind.api_version(), kind.name())))
}

/// The metadata of custom resources is the same as everywhere; the rest stands as it was sent.
fn custom(mut value: Value) -> Result<Value, String> {
    let message = Kind::find("", "v1", "Pod").and_then(|pod| pod.message().field("metadata")?.message());
    if let (Some(metadata), Some(message)) = (value.get_mut("metadata"), message) {
        *metadata = read(metadata, message)?.written(message, None)?;
    }
    Ok(value)
}

struct Read {
    protobuf: Vec<u8>,
    complete: bool,
}

fn read(value: &Value, message: Message) -> Result<Read, String> {
    let mut protobuf = Vec::new();
    let json = value.to_string();
    match message_to_protobuf(message, json.as_bytes(), &mut protobuf) {
        Ok(complete) => Ok(Read { protobuf, complete }),
        Err(error) => Err(error.to_string()),
    }
}

fn is_known(value: &Value, message: Message) -> bool {
    read(value, message).is_ok_and(|read| read.complete)
}

impl Read {
    fn written(&self, message: Message, head: Option<(&str, &str)>) -> Result<Value, String> {
        let mut json = Vec::new();
        message_to_json(message, &self.protobuf, head, &mut json).map_err(|error| error.to_string())?;
        serde_json::from_slice(&json).map_err(|error| error.to_string())
    }
}
