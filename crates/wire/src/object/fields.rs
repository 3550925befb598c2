//! Any field of an object, by its path.

use std::borrow::Cow;

use super::{Body, Object, last_field};
use crate::json::scan;
use crate::proto::FieldValue;
use crate::schema::{Cardinality, FieldRow, Message, Place, Scalar, name_id};

impl<'a> Object<'a> {
    /// The text, number or truth value at a path of JSON names, as text: `["spec", "nodeName"]`. `None` where nothing of
    /// the kind stands; of protobuf as well where the kind is not known. A list is entered at its first element.
    pub fn text(&self, path: &[&str]) -> Option<Cow<'a, str>> {
        match &self.body {
            Body::Json { text, root, .. } => {
                let place = path.iter().try_fold(root.clone(), |place, key| {
                    let value = scan::member(text, place, key)?;
                    if text.get(value.start) == Some(&b'[') {
                        scan::elements(text, value).next()
                    } else {
                        Some(value)
                    }
                })?;
                match text.get(place.start)? {
                    b'"' => scan::text(text, place),
                    b'{' | b'[' | b'n' => None,
                    _ => Some(String::from_utf8_lossy(text.get(place)?)),
                }
            }
            Body::Protobuf { raw } => message_text(self.known_kind()?.message(), raw, path),
        }
    }
}

fn message_text<'a>(message: Message, raw: &'a [u8], path: &[&str]) -> Option<Cow<'a, str>> {
    let (key, rest) = path.split_first()?;
    let row = match message.place_of(name_id(key)?) {
        Place::Own(place) => message.fields().get(place)?,
        Place::Nowhere => return None,
        Place::Inlined => {
            let has = |row: &&FieldRow| row.is_inline() && row.target().field(key).is_some();
            let inline = message.fields().iter().find(has)?;
            return message_text(inline.target(), content(raw, inline)?, path);
        }
    };
    if row.cardinality == Cardinality::Map {
        return None;
    }
    let value = if row.cardinality == Cardinality::List {
        crate::proto::Fields::new(raw).map_while(Result::ok).find(|field| field.0 == u32::from(row.number))?.1
    } else {
        last_field(raw, row.number.into())?
    };
    match (row.kind, value, rest) {
        (Scalar::Message, FieldValue::Bytes(inner), [_, ..]) => message_text(row.target(), inner, rest),
        (Scalar::String, FieldValue::Bytes(text), []) => Some(String::from_utf8_lossy(text)),
        (Scalar::Bool, FieldValue::Varint(truth), []) => {
            Some(if truth == 0 { "false" } else { "true" }.into())
        }
        (Scalar::Int32 | Scalar::Int64, FieldValue::Varint(number), []) => {
            Some(number.cast_signed().to_string().into())
        }
        _ => None,
    }
}

fn content<'a>(raw: &'a [u8], row: &FieldRow) -> Option<&'a [u8]> {
    match last_field(raw, row.number.into()) {
        Some(FieldValue::Bytes(inner)) => Some(inner),
        _ => None,
    }
}
