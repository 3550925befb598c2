//! An object's bytes, looked into without decoding them.
//!
//! Every question walks to the one field that it is about. [`Header`] is what a store keeps beside the bytes.

mod fields;
mod header;
pub(crate) mod splice;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

pub use header::{Header, OwnerReference};
pub use splice::with_resource_version;

use crate::json::{self, scan};
use crate::media::Encoding;
use crate::proto::{self, Envelope, FieldValue, Fields, Malformed};
use crate::schema::Kind;

/// An object in one of its encodings: on its own, or as an item of a list.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    api_version: Cow<'a, str>,
    kind: Cow<'a, str>,
    body: Body<'a>,
}

#[derive(Debug, Clone)]
enum Body<'a> {
    /// The document, where its value stands in it, and where its metadata does.
    Json { text: &'a [u8], root: Range<usize>, metadata: Option<Range<usize>> },
    /// The message without its envelope.
    Protobuf { raw: &'a [u8] },
}

impl<'a> Object<'a> {
    /// Looks into an object that says its own `apiVersion` and `kind`. Of JSON only the frame is looked at: what came from
    /// outside and is to be kept goes through [`json::check`] first, as lists and watch events do.
    pub fn parse(bytes: &'a [u8], encoding: Encoding) -> Result<Object<'a>, Malformed> {
        match encoding {
            Encoding::Json => Object::json_item(bytes, "", ""),
            Encoding::Protobuf => {
                let Envelope { api_version, kind, raw } = Envelope::parse(bytes)?;
                Ok(Object::message(api_version.into(), kind.into(), raw))
            }
        }
    }

    /// An item of a list in protobuf: a message without envelope, whose type the list says.
    pub fn message(api_version: Cow<'a, str>, kind: Cow<'a, str>, raw: &'a [u8]) -> Object<'a> {
        Object { api_version, kind, body: Body::Protobuf { raw } }
    }

    /// An item of a list in JSON; where it does not say its own type, the list's is taken.
    pub(crate) fn json_item(text: &'a [u8], api_version: &str, kind: &str) -> Result<Object<'a>, Malformed> {
        // One walk over the document, because it is most of what looking into an object costs.
        let (mut own_version, mut own_kind, mut metadata) = (None, None, None);
        let root = scan::object(text, |key, value| match key {
            b"apiVersion" => own_version = scan::text(text, value),
            b"kind" => own_kind = scan::text(text, value),
            b"metadata" => metadata = Some(value),
            _ => {}
        });
        let root = root.ok_or(Malformed("it is no JSON object"))?;
        let api_version = own_version.unwrap_or_else(|| Cow::Owned(api_version.to_owned()));
        let kind = own_kind.unwrap_or_else(|| Cow::Owned(kind.to_owned()));
        Ok(Object { api_version, kind, body: Body::Json { text, root, metadata } })
    }

    /// In which encoding it is.
    pub fn encoding(&self) -> Encoding {
        match self.body {
            Body::Json { .. } => Encoding::Json,
            Body::Protobuf { .. } => Encoding::Protobuf,
        }
    }

    /// `v1` or `group/version`.
    pub fn api_version(&self) -> &str {
        &self.api_version
    }

    /// The kind's name: `Pod`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What the table knows of its kind, if anything.
    pub fn known_kind(&self) -> Option<Kind> {
        Kind::of(&self.api_version, &self.kind)
    }

    /// The document or message itself: of protobuf without the envelope.
    pub fn body(&self) -> &'a [u8] {
        match &self.body {
            Body::Json { text, root, .. } => text.get(root.clone()).unwrap_or_default(),
            Body::Protobuf { raw } => raw,
        }
    }

    /// The bytes of the object on its own: with `apiVersion` and `kind`, whether it was an item or not.
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.body {
            Body::Protobuf { raw } => proto::envelope(&self.api_version, &self.kind, raw),
            Body::Json { text, root, .. } => {
                let body = self.body();
                let says = |key| scan::member(text, root.clone(), key).is_some();
                let mut missing = Vec::new();
                for (key, value) in [("kind", &self.kind), ("apiVersion", &self.api_version)] {
                    if !says(key) && !value.is_empty() {
                        missing.extend_from_slice(if missing.is_empty() { b"" } else { b"," });
                        json::push_string(&mut missing, key);
                        missing.push(b':');
                        json::push_string(&mut missing, value);
                    }
                }
                splice::insert_members(body, &missing)
            }
        }
    }

    /// The document or message as it stands in a list of built-in kinds: without envelope, `apiVersion` and `kind`.
    pub fn to_item(&self) -> Cow<'a, [u8]> {
        match &self.body {
            Body::Protobuf { raw } => Cow::Borrowed(raw),
            Body::Json { .. } => splice::without_members(self.body(), &["kind", "apiVersion"]),
        }
    }

    /// The text of a field of the metadata; empty where it has none.
    fn meta_text(&self, name: &str, number: u32) -> Cow<'a, str> {
        match &self.body {
            Body::Json { text, .. } => {
                let value = self.meta_member(name).and_then(|value| scan::text(text, value));
                value.unwrap_or_default()
            }
            Body::Protobuf { .. } => match self.meta_field(number) {
                Some(FieldValue::Bytes(text)) => String::from_utf8_lossy(text),
                _ => Cow::Borrowed(""),
            },
        }
    }

    /// The place of a member of the metadata in JSON.
    fn meta_member(&self, name: &str) -> Option<Range<usize>> {
        let Body::Json { text, metadata: Some(metadata), .. } = &self.body else { return None };
        scan::member(text, metadata.clone(), name)
    }

    /// The metadata in protobuf: field 1 of every kind that has any, known or not.
    pub(crate) fn meta_message(&self) -> &'a [u8] {
        let Body::Protobuf { raw } = self.body else { return b"" };
        let has_name = |kind: Kind| kind.message().field("metadata")?.message()?.field("name");
        if self.known_kind().is_some_and(|kind| has_name(kind).is_none()) {
            return b"";
        }
        match last_field(raw, 1) {
            Some(FieldValue::Bytes(meta)) => meta,
            _ => b"",
        }
    }

    fn meta_field(&self, number: u32) -> Option<FieldValue<'a>> {
        last_field(self.meta_message(), number)
    }

    /// Name.
    pub fn name(&self) -> Cow<'a, str> {
        self.meta_text("name", meta::NAME)
    }

    /// Namespace; empty for what has none.
    pub fn namespace(&self) -> Cow<'a, str> {
        self.meta_text("namespace", meta::NAMESPACE)
    }

    /// UID.
    pub fn uid(&self) -> Cow<'a, str> {
        self.meta_text("uid", meta::UID)
    }

    /// resourceVersion, as some server wrote it.
    pub fn resource_version(&self) -> Cow<'a, str> {
        self.meta_text("resourceVersion", meta::RESOURCE_VERSION)
    }

    /// UID and resourceVersion, in one pass.
    pub fn version(&self) -> (Cow<'a, str>, Cow<'a, str>) {
        let (mut uid, mut rv) = (Cow::Borrowed(""), Cow::Borrowed(""));
        match &self.body {
            Body::Json { text, metadata, .. } => {
                for (key, value) in metadata.iter().flat_map(|place| scan::members(text, place.clone())) {
                    match text.get(key.start + 1..key.end - 1).unwrap_or_default() {
                        b"uid" => uid = scan::text(text, value).unwrap_or_default(),
                        b"resourceVersion" => rv = scan::text(text, value).unwrap_or_default(),
                        _ => {}
                    }
                }
            }
            Body::Protobuf { .. } => {
                for field in Fields::new(self.meta_message()).map_while(Result::ok) {
                    match field {
                        (meta::UID, FieldValue::Bytes(text)) => uid = String::from_utf8_lossy(text),
                        (meta::RESOURCE_VERSION, FieldValue::Bytes(text)) => {
                            rv = String::from_utf8_lossy(text)
                        }
                        _ => {}
                    }
                }
            }
        }
        (uid, rv)
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<Cow<'a, str>> {
        self.pair("labels", meta::LABELS, key)
    }

    /// The value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<Cow<'a, str>> {
        self.pair("annotations", meta::ANNOTATIONS, key)
    }

    /// All annotations.
    pub fn annotations(&self) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        self.pairs("annotations", meta::ANNOTATIONS)
    }

    fn pair(&self, name: &str, number: u32, key: &str) -> Option<Cow<'a, str>> {
        let mut pairs = self.pairs(name, number).into_iter().rev();
        pairs.find(|(own, _)| own == key).map(|(_, value)| value)
    }

    /// The entries of a map of strings in the metadata.
    fn pairs(&self, name: &str, number: u32) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        match &self.body {
            Body::Json { text, .. } => {
                let Some(map) = self.meta_member(name) else { return Vec::new() };
                let members = scan::members(text, map);
                members
                    .filter_map(|(key, value)| Some((scan::text(text, key)?, scan::text(text, value)?)))
                    .collect()
            }
            Body::Protobuf { .. } => header::entries(self.meta_message(), number),
        }
    }
}

/// Numbers of the fields of `ObjectMeta` on the wire (`api:` apimachinery meta/v1/generated.proto).
pub(crate) mod meta {
    pub const NAME: u32 = 1;
    pub const NAMESPACE: u32 = 3;
    pub const UID: u32 = 5;
    pub const RESOURCE_VERSION: u32 = 6;
    pub const GENERATION: u32 = 7;
    pub const DELETION_TIMESTAMP: u32 = 9;
    pub const LABELS: u32 = 11;
    pub const ANNOTATIONS: u32 = 12;
    pub const OWNER_REFERENCES: u32 = 13;
    pub const FINALIZERS: u32 = 14;
}

/// The last field with a number, as a decoder would take it; what cannot be read ends the message.
pub(crate) fn last_field(message: &[u8], number: u32) -> Option<FieldValue<'_>> {
    Fields::new(message).map_while(Result::ok).filter(|field| field.0 == number).last().map(|field| field.1)
}
