//! What a store keeps beside an object's bytes.

use std::borrow::Cow;

use super::{Body, Object, last_field, meta};
use crate::json::scan;
use crate::proto::{FieldValue, Fields};

/// The part of an object's metadata that is asked for again and again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// Namespace; empty for what has none.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
    /// UID.
    pub uid: Box<str>,
    /// resourceVersion, as some server wrote it.
    pub resource_version: Box<str>,
    /// Generation; 0 for none.
    pub generation: i64,
    /// Whether it has a deletionTimestamp.
    pub deleting: bool,
    /// Labels in the order of their keys.
    pub labels: Box<[(Box<str>, Box<str>)]>,
}

impl Header {
    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        let at = self.labels.binary_search_by(|(own, _)| own.as_ref().cmp(key)).ok()?;
        self.labels.get(at).map(|(_, value)| value.as_ref())
    }
}

/// Who an object belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnerReference {
    /// `v1` or `group/version`.
    pub api_version: String,
    /// The owner's kind.
    pub kind: String,
    /// The owner's name.
    pub name: String,
    /// The owner's UID.
    pub uid: String,
    /// Whether the owner manages the object.
    pub controller: bool,
}

impl<'a> Object<'a> {
    /// Reads what a store keeps, in one pass over the metadata.
    pub fn header(&self) -> Header {
        let mut header = match &self.body {
            Body::Json { .. } => self.json_header(),
            Body::Protobuf { .. } => self.protobuf_header(),
        };
        if !header.labels.is_sorted_by(|a, b| a.0 < b.0) {
            let mut labels = std::mem::take(&mut header.labels).into_vec();
            // Stable and read backwards, so that of equal keys the last one stays.
            labels.reverse();
            labels.sort_by(|a, b| a.0.cmp(&b.0));
            labels.dedup_by(|a, b| a.0 == b.0);
            header.labels = labels.into();
        }
        header
    }

    fn json_header(&self) -> Header {
        let mut header = Header::default();
        let Body::Json { text, metadata: Some(metadata), .. } = &self.body else { return header };
        for (key, value) in scan::members(text, metadata.clone()) {
            let read = |value| scan::text(text, value).unwrap_or_default().as_ref().into();
            match text.get(key.start + 1..key.end - 1).unwrap_or_default() {
                b"namespace" => header.namespace = read(value),
                b"name" => header.name = read(value),
                b"uid" => header.uid = read(value),
                b"resourceVersion" => header.resource_version = read(value),
                b"generation" => {
                    let number = text.get(value).and_then(|number| std::str::from_utf8(number).ok());
                    header.generation = number.and_then(|number| number.parse().ok()).unwrap_or(0);
                }
                b"deletionTimestamp" => header.deleting = text.get(value.start) == Some(&b'"'),
                b"labels" => {
                    let members = scan::members(text, value);
                    header.labels = members.map(|(key, value)| (read(key), read(value))).collect();
                }
                _ => {}
            }
        }
        header
    }

    fn protobuf_header(&self) -> Header {
        let mut header = Header::default();
        let message = self.meta_message();
        for (number, value) in Fields::new(message).map_while(Result::ok) {
            match (number, value) {
                (meta::NAMESPACE, FieldValue::Bytes(text)) => header.namespace = boxed(text),
                (meta::NAME, FieldValue::Bytes(text)) => header.name = boxed(text),
                (meta::UID, FieldValue::Bytes(text)) => header.uid = boxed(text),
                (meta::RESOURCE_VERSION, FieldValue::Bytes(text)) => header.resource_version = boxed(text),
                (meta::GENERATION, FieldValue::Varint(number)) => header.generation = number.cast_signed(),
                // An empty time is the zero one: null in JSON.
                (meta::DELETION_TIMESTAMP, FieldValue::Bytes(time)) => header.deleting = !time.is_empty(),
                _ => {}
            }
        }
        let labels = entries(message, meta::LABELS).into_iter();
        header.labels = labels.map(|(key, value)| (key.as_ref().into(), value.as_ref().into())).collect();
        header
    }

    /// Owners, in the order in which they stand.
    pub fn owner_references(&self) -> Vec<OwnerReference> {
        match &self.body {
            Body::Json { text, .. } => {
                let Some(list) = self.meta_member("ownerReferences") else { return Vec::new() };
                let owner = |place| {
                    let member = |key| scan::member(text, std::ops::Range::clone(&place), key);
                    let read = |key| {
                        member(key).and_then(|value| scan::text(text, value)).unwrap_or_default().into_owned()
                    };
                    OwnerReference {
                        api_version: read("apiVersion"),
                        kind: read("kind"),
                        name: read("name"),
                        uid: read("uid"),
                        controller: member("controller")
                            .is_some_and(|value| text.get(value.start) == Some(&b't')),
                    }
                };
                scan::elements(text, list).map(owner).collect()
            }
            Body::Protobuf { .. } => self.repeated(meta::OWNER_REFERENCES).map(owner_of_message).collect(),
        }
    }

    /// Finalizers, in the order in which they stand.
    pub fn finalizers(&self) -> Vec<Cow<'a, str>> {
        match &self.body {
            Body::Json { text, .. } => {
                let Some(list) = self.meta_member("finalizers") else { return Vec::new() };
                scan::elements(text, list).filter_map(|value| scan::text(text, value)).collect()
            }
            Body::Protobuf { .. } => self.repeated(meta::FINALIZERS).map(String::from_utf8_lossy).collect(),
        }
    }

    /// The contents of a repeated field of the metadata.
    fn repeated(&self, number: u32) -> impl Iterator<Item = &'a [u8]> {
        Fields::new(self.meta_message()).map_while(Result::ok).filter_map(move |field| match field {
            (own, FieldValue::Bytes(content)) if own == number => Some(content),
            _ => None,
        })
    }
}

fn owner_of_message(message: &[u8]) -> OwnerReference {
    let text = |number| match last_field(message, number) {
        Some(FieldValue::Bytes(text)) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    };
    OwnerReference {
        kind: text(1),
        name: text(3),
        uid: text(4),
        api_version: text(5),
        controller: last_field(message, 6) == Some(FieldValue::Varint(1)),
    }
}

/// The entries of a map of strings in a message.
pub(super) fn entries(message: &[u8], number: u32) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let mut entries = Vec::new();
    for field in Fields::new(message).map_while(Result::ok) {
        if let (own, FieldValue::Bytes(entry)) = field
            && own == number
        {
            let text = |number| match last_field(entry, number) {
                Some(FieldValue::Bytes(text)) => String::from_utf8_lossy(text),
                _ => Cow::Borrowed(""),
            };
            entries.push((text(1), text(2)));
        }
    }
    entries
}

fn boxed(text: &[u8]) -> Box<str> {
    String::from_utf8_lossy(text).as_ref().into()
}
