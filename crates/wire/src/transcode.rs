//! Objects from protobuf to JSON and back, for every built-in kind, driven by [`crate::schema`].
//!
//! What comes out is what the API server would have written: its order of members, its choice of what to leave out, its
//! zeros. Fields that the table does not know cannot be carried over; [`Transcoded::complete`] says whether there were
//! any. No value is built on the way: bytes become bytes.

mod quantity;
mod special;
mod to_json;
mod to_protobuf;

#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use special::parse_rfc3339;

use crate::json::{NotJson, Tape, scan};
use crate::media::Encoding;
use crate::proto::{self, Envelope, Malformed};
use crate::schema::{Kind, Message};
use crate::status::Status;

/// How deep messages may be nested; the deepest of the API are schemas within schemas.
const MAX_DEPTH: usize = 100;

/// An object in its new encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcoded {
    /// The object, without a newline at its end.
    pub bytes: Vec<u8>,
    /// Whether every field was carried over. If not, the object is newer than the table, and the result must not be
    /// written back.
    pub complete: bool,
}

/// Why an object cannot be transcoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Bytes that are no protobuf, no JSON, or not what the kind's fields hold: what is wrong, and in which field.
    Malformed {
        /// Path of the field from the object's root; empty for the object itself.
        field: String,
        /// What is wrong there.
        what: String,
    },
    /// A kind that is not built in, or newer than the table.
    UnknownKind {
        /// `v1` or `group/version`.
        api_version: String,
        /// The kind's name.
        kind: String,
    },
    /// The result would be out of proportion to the object.
    TooLarge,
}

impl Error {
    fn malformed(what: impl Into<String>) -> Error {
        Error::Malformed { field: String::new(), what: what.into() }
    }

    /// The same error, seen from the message that holds the field.
    fn within(self, name: &str) -> Error {
        match self {
            Error::Malformed { field, what } => {
                let separator =
                    if field.is_empty() || field.starts_with('[') || name.is_empty() { "" } else { "." };
                Error::Malformed { field: format!("{name}{separator}{field}"), what }
            }
            other => other,
        }
    }

    /// The answer to a caller who sent such a body.
    pub fn to_status(&self) -> Status {
        match self {
            Error::TooLarge => Status::too_large(&self.to_string()),
            _ => Status::bad_request(self.to_string()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Malformed { field, what } if field.is_empty() => {
                write!(f, "the object cannot be read: {what}")
            }
            Error::Malformed { field, what } => write!(f, "the object cannot be read: {field}: {what}"),
            Error::UnknownKind { api_version, kind } => {
                write!(f, "no kind \"{kind}\" is registered for version \"{api_version}\"")
            }
            Error::TooLarge => f.write_str("the object would grow out of proportion in the other encoding"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Malformed> for Error {
    fn from(error: Malformed) -> Error {
        Error::malformed(error.0)
    }
}

impl From<NotJson> for Error {
    fn from(error: NotJson) -> Error {
        Error::malformed(error.to_string())
    }
}

/// The object in another encoding; unchanged if it is in that one already.
pub fn transcode(object: &[u8], from: Encoding, to: Encoding) -> Result<Transcoded, Error> {
    match (from, to) {
        (Encoding::Protobuf, Encoding::Json) => to_json(object),
        (Encoding::Json, Encoding::Protobuf) => to_protobuf(object),
        _ => Ok(Transcoded { bytes: object.to_vec(), complete: true }),
    }
}

/// An object in its protobuf envelope as JSON.
pub fn to_json(object: &[u8]) -> Result<Transcoded, Error> {
    let Envelope { api_version, kind, raw } = Envelope::parse(object)?;
    let found = Kind::of(api_version, kind)
        .ok_or_else(|| Error::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() })?;
    let mut bytes = Vec::with_capacity(raw.len() * 2);
    let complete = to_json::message(found.message(), raw, Some((api_version, kind)), &mut bytes)?;
    Ok(Transcoded { bytes, complete })
}

/// An object in JSON, with `apiVersion` and `kind`, in a protobuf envelope.
pub fn to_protobuf(object: &[u8]) -> Result<Transcoded, Error> {
    let tape = Tape::parse(object)?;
    let text = |name| {
        let value = scan::root(object).and_then(|root| scan::member(object, root, name));
        value.and_then(|value| scan::text(object, value)).unwrap_or_default()
    };
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let found = Kind::of(&api_version, &kind).ok_or_else(|| Error::UnknownKind {
        api_version: api_version.clone().into_owned(),
        kind: kind.clone().into_owned(),
    })?;
    let mut raw = Vec::with_capacity(object.len());
    let complete = to_protobuf::message(found.message(), tape.root(), &mut raw)?;
    Ok(Transcoded { bytes: proto::envelope(&api_version, &kind, &raw), complete })
}

/// Appends a message without envelope as JSON. `head` is what `apiVersion` and `kind` shall say, if anything. The
/// result says whether every field was carried over.
pub fn message_to_json(
    message: Message,
    raw: &[u8],
    head: Option<(&str, &str)>,
    out: &mut Vec<u8>,
) -> Result<bool, Error> {
    to_json::message(message, raw, head, out)
}

/// Appends an object in JSON as a message without envelope. The result says whether every field was carried over.
pub fn message_to_protobuf(message: Message, json: &[u8], out: &mut Vec<u8>) -> Result<bool, Error> {
    to_protobuf::message(message, Tape::parse(json)?.root(), out)
}

/// Whether an object has fields that the table does not know, in either encoding. An object of an unknown kind has
/// nothing but such.
pub fn has_unknown_fields(object: &[u8], encoding: Encoding) -> Result<bool, Error> {
    let other = if encoding == Encoding::Json { Encoding::Protobuf } else { Encoding::Json };
    match transcode(object, encoding, other) {
        Ok(transcoded) => Ok(!transcoded.complete),
        Err(Error::UnknownKind { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// How large a result may become: several times as large as the object, and never so small that one with a few
/// members that must be written is refused.
fn output_limit(input: usize) -> usize {
    input.saturating_mul(8).saturating_add(1 << 20)
}
