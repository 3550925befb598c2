//! Changes of a few bytes in an object, all others as they are.

use std::borrow::Cow;
use std::ops::Range;

use super::meta;
use crate::json::{self, scan};
use crate::media::Encoding;
use crate::proto::{self, Envelope, FieldValue, Fields, MAGIC, Malformed};

/// The object with another `metadata.resourceVersion`; every other byte stays.
pub fn with_resource_version(object: &[u8], encoding: Encoding, version: &str) -> Result<Vec<u8>, Malformed> {
    match encoding {
        Encoding::Json => json_with_version(object, version),
        Encoding::Protobuf => {
            // What stands around the message is kept, fields that we do not know included.
            Envelope::parse(object)?;
            let inner = object.get(MAGIC.len()..).unwrap_or_default();
            let message = |raw: &[u8]| {
                replace_field(raw, 1, |metadata| {
                    replace_field(metadata, meta::RESOURCE_VERSION, |_| Ok(version.as_bytes().to_vec()))
                })
            };
            let mut out = MAGIC.to_vec();
            out.extend_from_slice(&replace_field(inner, 2, message)?);
            Ok(out)
        }
    }
}

/// A message with the content of its field of this number changed; where it has none, one is put where its number
/// belongs.
fn replace_field(
    message: &[u8],
    number: u32,
    change: impl FnOnce(&[u8]) -> Result<Vec<u8>, Malformed>,
) -> Result<Vec<u8>, Malformed> {
    let (mut found, mut content): (Option<Range<usize>>, &[u8]) = (None, b"");
    let mut insert_at = message.len();
    let mut fields = Fields::new(message);
    let mut start = 0;
    while let Some(field) = fields.next() {
        let end = fields.position();
        match field? {
            (own, FieldValue::Bytes(bytes)) if own == number => {
                if found.is_some() {
                    return Err(Malformed("a field stands twice"));
                }
                (found, content) = (Some(start..end), bytes);
            }
            (own, _) if own == number => return Err(Malformed("a field has another wire type")),
            (own, _) if own > number && insert_at == message.len() => insert_at = start,
            _ => {}
        }
        start = end;
    }
    let place = found.unwrap_or(insert_at..insert_at);
    let content = change(content)?;
    let mut out = Vec::with_capacity(message.len() + content.len() + 12);
    out.extend_from_slice(message.get(..place.start).unwrap_or_default());
    proto::push_bytes(&mut out, number, &content);
    out.extend_from_slice(message.get(place.end..).unwrap_or_default());
    Ok(out)
}

fn json_with_version(object: &[u8], version: &str) -> Result<Vec<u8>, Malformed> {
    let root = scan::root(object).filter(|root| object.get(root.start) == Some(&b'{'));
    let root = root.ok_or(Malformed("it is no JSON object"))?;
    let mut member = b"\"resourceVersion\":".to_vec();
    json::push_string(&mut member, version);
    let metadata =
        scan::member(object, root.clone(), "metadata").filter(|place| object.get(place.start) == Some(&b'{'));
    let Some(metadata) = metadata else {
        let mut whole = b"\"metadata\":{".to_vec();
        whole.extend_from_slice(&member);
        whole.push(b'}');
        return Ok(insert_at(object, root, &whole));
    };
    match scan::member(object, metadata.clone(), "resourceVersion") {
        Some(place) => {
            let mut out = Vec::with_capacity(object.len() + version.len());
            out.extend_from_slice(object.get(..place.start).unwrap_or_default());
            json::push_string(&mut out, version);
            out.extend_from_slice(object.get(place.end..).unwrap_or_default());
            Ok(out)
        }
        None => Ok(insert_at(object, metadata, &member)),
    }
}

/// A JSON object with members put in front of its own.
pub(super) fn insert_members(object: &[u8], members: &[u8]) -> Vec<u8> {
    match scan::root(object) {
        Some(root) if !members.is_empty() => insert_at(object, root, members),
        _ => object.to_vec(),
    }
}

/// The document with members put in front of those of the object at a place.
fn insert_at(document: &[u8], object: Range<usize>, members: &[u8]) -> Vec<u8> {
    let (before, after) = document.split_at_checked(object.start + 1).unwrap_or((document, b""));
    let mut out = Vec::with_capacity(document.len() + members.len() + 1);
    out.extend_from_slice(before);
    out.extend_from_slice(members);
    if scan::members(document, object).next().is_some() {
        out.push(b',');
    }
    out.extend_from_slice(after);
    out
}

/// A JSON object without those of its members that have one of these names.
pub(crate) fn without_members<'a>(object: &'a [u8], names: &[&str]) -> Cow<'a, [u8]> {
    let Some(root) = scan::root(object) else { return Cow::Borrowed(object) };
    let drop =
        |key: &Range<usize>| scan::text(object, key.clone()).is_some_and(|key| names.contains(&key.as_ref()));
    if !scan::members(object, root.clone()).any(|(key, _)| drop(&key)) {
        return Cow::Borrowed(object);
    }
    let mut out = Vec::with_capacity(object.len());
    out.push(b'{');
    for (key, value) in scan::members(object, root) {
        if !drop(&key) {
            if out.len() > 1 {
                out.push(b',');
            }
            out.extend_from_slice(object.get(key.start..value.end).unwrap_or_default());
        }
    }
    out.push(b'}');
    Cow::Owned(out)
}
