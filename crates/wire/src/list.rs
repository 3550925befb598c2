//! Lists, cut into their items and put together from objects, without decoding an item.
//!
//! Items of built-in kinds stand in a list without envelope, `apiVersion` and `kind`: the list says those for all.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::json::{self, scan};
use crate::media::Encoding;
use crate::object::{Object, splice};
use crate::proto::{self, Envelope, FieldValue, Fields, Malformed};
use crate::schema::Kind;

/// A list as some server sent it.
#[derive(Debug, Clone)]
pub struct List<'a> {
    /// `v1` or `group/version`.
    pub api_version: Cow<'a, str>,
    /// The list's kind: `PodList`.
    pub kind: Cow<'a, str>,
    /// What the server said of the list.
    pub meta: ListMeta,
    /// The items, in the order in which they stand.
    pub items: Vec<Object<'a>>,
}

/// What is said of a list as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListMeta {
    /// The state that the list shows.
    pub resource_version: String,
    /// Where to go on, if it was cut off; else empty.
    pub continue_token: String,
    /// How many objects are left, where the server knows.
    pub remaining: Option<i64>,
}

/// Kind of a list's items: `Pod` of `PodList`; empty where the list may hold anything.
fn item_kind(list_kind: &str) -> &str {
    list_kind.strip_suffix("List").unwrap_or_default()
}

impl<'a> List<'a> {
    /// Cuts a list into its items. JSON is checked as a whole, of protobuf the frame.
    pub fn parse(bytes: &'a [u8], encoding: Encoding) -> Result<List<'a>, Malformed> {
        match encoding {
            Encoding::Json => List::from_json(bytes),
            Encoding::Protobuf => List::from_protobuf(bytes),
        }
    }

    fn from_json(text: &'a [u8]) -> Result<List<'a>, Malformed> {
        json::check(text).map_err(|error| Malformed(error.what))?;
        let root = scan::root(text).filter(|root| text.get(root.start) == Some(&b'{'));
        let root = root.ok_or(Malformed("it is no JSON object"))?;
        let member = |name| scan::member(text, root.clone(), name);
        let read = |value| scan::text(text, value).unwrap_or_default();
        let api_version = member("apiVersion").map(read).unwrap_or_default();
        let kind = member("kind").map(read).unwrap_or_default();
        let meta = member("metadata").map_or_else(ListMeta::default, |meta| {
            let member = |name| scan::member(text, meta.clone(), name);
            let number = member("remainingItemCount").and_then(|value| text.get(value));
            ListMeta {
                resource_version: member("resourceVersion").map(read).unwrap_or_default().into_owned(),
                continue_token: member("continue").map(read).unwrap_or_default().into_owned(),
                remaining: number.and_then(|number| std::str::from_utf8(number).ok()?.parse().ok()),
            }
        });
        let items = match member("items") {
            Some(items) if text.get(items.start) == Some(&b'[') => {
                let mut objects = Vec::new();
                for item in scan::elements(text, items) {
                    let item = text.get(item).unwrap_or_default();
                    objects.push(Object::json_item(item, &api_version, item_kind(&kind))?);
                }
                objects
            }
            Some(items) if text.get(items.start) == Some(&b'n') => Vec::new(),
            _ => return Err(Malformed("it has no items")),
        };
        Ok(List { api_version, kind, meta, items })
    }

    fn from_protobuf(bytes: &'a [u8]) -> Result<List<'a>, Malformed> {
        let Envelope { api_version, kind, raw } = Envelope::parse(bytes)?;
        if !kind.ends_with("List") {
            return Err(Malformed("it is no list"));
        }
        let mut list = List {
            api_version: api_version.into(),
            kind: kind.into(),
            meta: ListMeta::default(),
            items: Vec::new(),
        };
        for field in Fields::new(raw) {
            match field? {
                (1, FieldValue::Bytes(meta)) => list.meta = ListMeta::from_protobuf(meta)?,
                (2, FieldValue::Bytes(item)) => {
                    list.items.push(Object::message(api_version.into(), item_kind(kind).into(), item));
                }
                _ => {}
            }
        }
        Ok(list)
    }
}

impl ListMeta {
    fn from_protobuf(message: &[u8]) -> Result<ListMeta, Malformed> {
        let mut meta = ListMeta::default();
        for field in Fields::new(message) {
            match field? {
                (2, FieldValue::Bytes(text)) => {
                    meta.resource_version = String::from_utf8_lossy(text).into_owned()
                }
                (3, FieldValue::Bytes(text)) => {
                    meta.continue_token = String::from_utf8_lossy(text).into_owned()
                }
                (4, FieldValue::Varint(number)) => meta.remaining = Some(number.cast_signed()),
                _ => {}
            }
        }
        Ok(meta)
    }

    pub(crate) fn push_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (name, value) in [("resourceVersion", &self.resource_version), ("continue", &self.continue_token)]
        {
            if !value.is_empty() {
                separate(out);
                json::push_string(out, name);
                out.push(b':');
                json::push_string(out, value);
            }
        }
        if let Some(remaining) = self.remaining {
            separate(out);
            out.extend_from_slice(format!("\"remainingItemCount\":{remaining}").as_bytes());
        }
        out.push(b'}');
    }

    fn push_protobuf(&self, out: &mut Vec<u8>) {
        proto::push_string(out, 1, "");
        proto::push_string(out, 2, &self.resource_version);
        proto::push_string(out, 3, &self.continue_token);
        if let Some(remaining) = self.remaining {
            proto::push_varint_field(out, 4, remaining.cast_unsigned());
        }
    }
}

fn separate(out: &mut Vec<u8>) {
    if !matches!(out.last(), Some(b'{' | b'[')) {
        out.push(b',');
    }
}

/// Appends a JSON object without `kind` and `apiVersion`. Where these come first, as the API server writes them, the rest
/// is not looked at.
fn push_without_type(out: &mut Vec<u8>, object: &[u8]) {
    let (mut kind, mut api_version, mut end) = (false, false, 0);
    for (key, value) in scan::members(object, 0..object.len()).take(2) {
        kind |= object.get(key.clone()) == Some(b"\"kind\"");
        api_version |= object.get(key) == Some(b"\"apiVersion\"");
        end = value.end;
    }
    if !(kind && api_version) {
        out.extend_from_slice(&splice::without_members(object, &["kind", "apiVersion"]));
        return;
    }
    out.push(b'{');
    let next = scan::next_child(object, end).and_then(|next| object.get(next..));
    out.extend_from_slice(next.unwrap_or(b"}"));
}

/// A list in the making: items one after the other, then [`ListWriter::finish`].
#[derive(Debug)]
pub struct ListWriter {
    api_version: String,
    kind: String,
    encoding: Encoding,
    /// Whether items go without `apiVersion` and `kind`: those of custom kinds keep them.
    bare_items: bool,
    out: Vec<u8>,
}

impl ListWriter {
    /// Begins a list of this kind (`PodList`). `size` is about how many bytes the items have together.
    pub fn new(
        api_version: &str,
        kind: &str,
        meta: &ListMeta,
        encoding: Encoding,
        size: usize,
    ) -> ListWriter {
        let mut out = Vec::with_capacity(size + size / 64 + 256);
        match encoding {
            Encoding::Json => {
                out.extend_from_slice(b"{\"kind\":");
                json::push_string(&mut out, kind);
                out.extend_from_slice(b",\"apiVersion\":");
                json::push_string(&mut out, api_version);
                out.extend_from_slice(b",\"metadata\":");
                meta.push_json(&mut out);
                out.extend_from_slice(b",\"items\":[");
            }
            Encoding::Protobuf => proto::push_message(&mut out, 1, |out| meta.push_protobuf(out)),
        }
        let bare_items = Kind::of(api_version, kind).is_some();
        ListWriter { api_version: api_version.to_owned(), kind: kind.to_owned(), encoding, bare_items, out }
    }

    /// Adds an item; it must be in the list's encoding, as the caller has made it.
    pub fn push(&mut self, item: &Object<'_>) {
        match self.encoding {
            Encoding::Protobuf => proto::push_bytes(&mut self.out, 2, item.body()),
            Encoding::Json => {
                separate(&mut self.out);
                self.push_json(item.body());
            }
        }
    }

    /// Adds an object as a store has it: on its own, in the list's encoding. It is hardly looked at, so this is the way
    /// to write long lists.
    pub fn push_stored(&mut self, object: &[u8]) -> Result<(), Malformed> {
        match self.encoding {
            Encoding::Protobuf => proto::push_bytes(&mut self.out, 2, Envelope::parse(object)?.raw),
            Encoding::Json => {
                separate(&mut self.out);
                self.push_json(object.trim_ascii());
            }
        }
        Ok(())
    }

    fn push_json(&mut self, object: &[u8]) {
        if self.bare_items {
            push_without_type(&mut self.out, object);
        } else {
            self.out.extend_from_slice(object);
        }
    }

    /// Adds an item that is put as it stands: JSON, or a message without envelope.
    pub fn push_raw(&mut self, item: &[u8]) {
        match self.encoding {
            Encoding::Protobuf => proto::push_bytes(&mut self.out, 2, item),
            Encoding::Json => {
                separate(&mut self.out);
                self.out.extend_from_slice(item);
            }
        }
    }

    /// The list, as the API server would write it.
    pub fn finish(mut self) -> Vec<u8> {
        match self.encoding {
            Encoding::Json => {
                self.out.extend_from_slice(b"]}\n");
                self.out
            }
            Encoding::Protobuf => proto::envelope(&self.api_version, &self.kind, &self.out),
        }
    }
}
