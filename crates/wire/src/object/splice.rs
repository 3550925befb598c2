//! Changes of a few bytes in an object, all others as they are.

use std::borrow::Cow;
use std::ops::Range;

use super::meta;
use crate::json::{self, scan};
use crate::media::Encoding;
use crate::proto::{self, Envelope, FieldValue, Fields, MAGIC, Malformed};
use crate::schema::{Cardinality, Kind, Message, Place, Scalar, name_id};

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

/// The object with the text at a path of JSON names changed, or taken out where `change` gives nothing; every other byte
/// stays. Where no text stands there, the object stays as it is. Of protobuf only kinds that the table knows can be
/// entered, and no list.
///
/// This is how a resourceVersion is put right wherever else it can stand: `preconditions` of a DeleteOptions,
/// `involvedObject` of an Event.
pub fn with_text<'a>(
    object: &'a [u8],
    encoding: Encoding,
    path: &[&str],
    change: impl FnOnce(&str) -> Option<String>,
) -> Result<Cow<'a, [u8]>, Malformed> {
    match encoding {
        Encoding::Json => Ok(json_with_text(object, path, change)),
        Encoding::Protobuf => {
            let Envelope { api_version, kind, raw } = Envelope::parse(object)?;
            let message = Kind::of(api_version, kind).map(Kind::message);
            let Some(numbers) = message.and_then(|message| numbers(message, path)) else {
                return Ok(Cow::Borrowed(object));
            };
            match change_in_message(raw, &numbers, change)? {
                None => Ok(Cow::Borrowed(object)),
                Some(changed) => {
                    let inner = object.get(MAGIC.len()..).unwrap_or_default();
                    let mut out = MAGIC.to_vec();
                    out.extend_from_slice(&replace_field(inner, 2, |_| Ok(changed))?);
                    Ok(Cow::Owned(out))
                }
            }
        }
    }
}

/// The numbers of the fields on a path, if it leads through messages to a text.
fn numbers(mut message: Message, path: &[&str]) -> Option<Vec<u32>> {
    let (last, parents) = path.split_last()?;
    let mut numbers = Vec::new();
    let own = |message: Message, name| match message.place_of(name_id(name)?) {
        Place::Own(place) => message.fields().get(place).filter(|row| row.cardinality == Cardinality::One),
        _ => None,
    };
    for parent in parents {
        let row = own(message, parent).filter(|row| row.kind == Scalar::Message)?;
        numbers.push(u32::from(row.number));
        message = row.target();
    }
    numbers.push(u32::from(own(message, last).filter(|row| row.kind == Scalar::String)?.number));
    Some(numbers)
}

/// The message with the text changed; `None` where there is none.
fn change_in_message(
    message: &[u8],
    numbers: &[u32],
    change: impl FnOnce(&str) -> Option<String>,
) -> Result<Option<Vec<u8>>, Malformed> {
    let Some((number, rest)) = numbers.split_first() else { return Ok(None) };
    let Some(FieldValue::Bytes(content)) = super::last_field(message, *number) else { return Ok(None) };
    if !rest.is_empty() {
        let Some(changed) = change_in_message(content, rest, change)? else { return Ok(None) };
        return replace_field(message, *number, |_| Ok(changed)).map(Some);
    }
    if content.is_empty() {
        return Ok(None);
    }
    // Nothing and no text are the same to a reader of JSON, but a pointer to no text is something.
    match change(&String::from_utf8_lossy(content)) {
        Some(text) => replace_field(message, *number, |_| Ok(text.into_bytes())).map(Some),
        None => without_field(message, *number).map(Some),
    }
}

/// A message without its fields of this number.
fn without_field(message: &[u8], number: u32) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::with_capacity(message.len());
    let mut fields = Fields::new(message);
    let mut start = 0;
    while let Some(field) = fields.next() {
        let end = fields.position();
        if field?.0 != number {
            out.extend_from_slice(message.get(start..end).unwrap_or_default());
        }
        start = end;
    }
    Ok(out)
}

fn json_with_text<'a>(
    object: &'a [u8],
    path: &[&str],
    change: impl FnOnce(&str) -> Option<String>,
) -> Cow<'a, [u8]> {
    let Some((last, parents)) = path.split_last() else { return Cow::Borrowed(object) };
    let parent = scan::find(object, parents);
    let value = parent.clone().and_then(|parent| scan::member(object, parent, last));
    let text = value.clone().and_then(|value| scan::text(object, value)).filter(|text| !text.is_empty());
    let (Some(parent), Some(value), Some(text)) = (parent, value, text) else { return Cow::Borrowed(object) };
    let (place, put) = match change(&text) {
        Some(text) => {
            let mut put = Vec::new();
            json::push_string(&mut put, &text);
            (value, put)
        }
        None => {
            let inner = object.get(parent.clone()).unwrap_or_default();
            (parent, without_members(inner, &[last]).into_owned())
        }
    };
    let mut out = object.get(..place.start).unwrap_or_default().to_vec();
    out.extend_from_slice(&put);
    out.extend_from_slice(object.get(place.end..).unwrap_or_default());
    Cow::Owned(out)
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
