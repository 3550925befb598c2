//! What is shown, in the form and encoding that a caller reads.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use view::ResourceId;
use wire::media::{Accepted, Form, Served};
use wire::request::Query;
use wire::schema::Kind;
use wire::table::{self, Include};
use wire::watch::{EventType, bookmark, push_event};
use wire::{Encoding, ListMeta, ListWriter, Object, Status, partial, transcode};

use super::lock;
use crate::store::{OWN, OwnRecord};

/// Names of a resource's kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// `v1` or `group/version`.
    pub api_version: String,
    /// Of an object.
    pub kind: String,
    /// Of a list.
    pub list: String,
}

/// The kind of a built-in resource.
pub fn built_in(resource: &ResourceId) -> Option<Kind> {
    Kind::of_resource(resource.group(), resource.version(), resource.resource())
}

/// Whether a resource's kind is in the table.
pub fn served(resource: &ResourceId) -> Served {
    if built_in(resource).is_some() { Served::BuiltIn } else { Served::Custom }
}

/// Kinds of custom resources, as the cloud's answers named them.
#[derive(Default)]
pub struct Kinds(Mutex<HashMap<ResourceId, (String, String)>>);

/// Behind [`OWN`], begins the keys of their records.
const KIND: u8 = b'k';

impl Kinds {
    /// The names of a resource's kinds, if they are known.
    pub fn names(&self, resource: &ResourceId) -> Option<Names> {
        let api_version = match resource.group() {
            "" => resource.version().to_owned(),
            group => format!("{group}/{}", resource.version()),
        };
        if let Some(kind) = built_in(resource) {
            let list =
                kind.list().map_or_else(|| format!("{}List", kind.name()), |list| list.name().to_owned());
            return Some(Names { api_version, kind: kind.name().to_owned(), list });
        }
        let (kind, list) = lock(&self.0).get(resource)?.clone();
        Some(Names { api_version, kind, list })
    }

    /// An object of this kind came. What is to be stored, if that is news.
    pub fn learn(&self, resource: &ResourceId, kind: &str) -> Option<OwnRecord> {
        if kind.is_empty() || built_in(resource).is_some() {
            return None;
        }
        let list = format!("{kind}List");
        let mut known = lock(&self.0);
        if known.get(resource).is_some_and(|(known, _)| known == kind) {
            return None;
        }
        let text = format!("{}\0{}\0{}", resource.group(), resource.version(), resource.resource());
        let key = [&[OWN, KIND][..], text.as_bytes()].concat();
        let value = format!("{kind}\0{list}").into_bytes();
        known.insert(resource.clone(), (kind.to_owned(), list));
        Some((key, value))
    }

    /// Takes over a record that [`Kinds::learn`] made; others are not looked at.
    pub fn load(&self, key: &[u8], value: &[u8]) {
        let Some(text) = key.strip_prefix(&[OWN, KIND]) else { return };
        let (Ok(text), Ok(value)) = (std::str::from_utf8(text), std::str::from_utf8(value)) else { return };
        let mut parts = text.splitn(3, '\0');
        let (Some(group), Some(version), Some(resource)) = (parts.next(), parts.next(), parts.next()) else {
            return;
        };
        let Some((kind, list)) = value.split_once('\0') else { return };
        let resource = ResourceId::new(group, version, resource, "");
        lock(&self.0).insert(resource, (kind.to_owned(), list.to_owned()));
    }
}

/// Why something cannot be shown.
#[derive(Debug)]
pub enum Failed {
    /// It is newer than the table: in the caller's encoding some of its fields would be missing.
    Newer,
    /// It cannot be, for another reason.
    Status(Status),
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        Failed::Status(status)
    }
}

/// How a caller is shown objects of one resource.
#[derive(Debug, Clone)]
pub struct Rendering {
    accepted: Accepted,
    kind: Option<Kind>,
    names: Names,
    include: Include,
    /// Seconds since 1970, for ages in tables.
    now: i64,
}

/// An object's bytes as they are kept.
pub type Kept = (Arc<[u8]>, Encoding);

impl Rendering {
    /// In the form `accepted`; the query says what rows of a table include.
    pub fn new(
        accepted: Accepted,
        resource: &ResourceId,
        names: Names,
        query: &Query,
        now: i64,
    ) -> Result<Self, Status> {
        let include = match accepted.form {
            Form::Table(_) => Include::of(query)?,
            _ => Include::default(),
        };
        Ok(Self { accepted, kind: built_in(resource), names, include, now })
    }

    /// `Content-Type` of an answer.
    pub fn content_type(&self) -> &'static str {
        self.accepted.content_type()
    }

    /// `Content-Type` of a watch.
    pub fn stream_content_type(&self) -> &'static str {
        self.accepted.stream_content_type()
    }

    /// The encoding of frames, if whole objects are shown.
    pub fn shared_encoding(&self) -> Option<Encoding> {
        (self.accepted.form == Form::Object).then_some(self.accepted.encoding)
    }

    fn table(&self, version: wire::media::MetaVersion, headers: bool) -> table::Options {
        table::Options { include: self.include, version, headers, now: self.now }
    }

    /// One object.
    pub fn object(&self, bytes: &[u8], encoding: Encoding) -> Result<Vec<u8>, Failed> {
        self.formed(bytes, encoding, true, "")
    }

    fn formed(&self, bytes: &[u8], encoding: Encoding, headers: bool, rv: &str) -> Result<Vec<u8>, Failed> {
        match self.accepted.form {
            Form::Object => self.whole(bytes, encoding).map(Cow::into_owned),
            Form::Metadata(version) | Form::MetadataList(version) => {
                let object = parse(bytes, encoding)?;
                let made = partial::metadata_only(&object, version, self.accepted.encoding);
                made.map(|made| made.bytes).map_err(unreadable)
            }
            Form::Table(version) => {
                let object = parse(bytes, encoding)?;
                let rv = if rv.is_empty() { object.resource_version().into_owned() } else { rv.to_owned() };
                let meta = ListMeta { resource_version: rv, ..ListMeta::default() };
                table::table(self.kind, [&object], &meta, self.table(version, headers)).map_err(unreadable)
            }
        }
    }

    /// The object in the caller's encoding.
    fn whole<'a>(&self, bytes: &'a [u8], encoding: Encoding) -> Result<Cow<'a, [u8]>, Failed> {
        if encoding == self.accepted.encoding {
            return Ok(Cow::Borrowed(bytes));
        }
        match transcode::transcode(bytes, encoding, self.accepted.encoding) {
            Ok(made) if made.complete => Ok(Cow::Owned(made.bytes)),
            Ok(_) | Err(transcode::Error::UnknownKind { .. }) => Err(Failed::Newer),
            Err(e) => Err(unreadable(e)),
        }
    }

    /// A list.
    pub fn list(&self, objects: &[Kept], rv: &str) -> Result<Vec<u8>, Failed> {
        let meta = ListMeta { resource_version: rv.to_owned(), ..ListMeta::default() };
        match self.accepted.form {
            Form::Object => {
                let size = objects.iter().map(|(bytes, _)| bytes.len()).sum();
                let names = &self.names;
                let mut writer =
                    ListWriter::new(&names.api_version, &names.list, &meta, self.accepted.encoding, size);
                for (bytes, encoding) in objects {
                    let whole = self.whole(bytes, *encoding)?;
                    writer.push_stored(&whole).map_err(|e| unreadable(e.into()))?;
                }
                Ok(writer.finish())
            }
            Form::Metadata(version) | Form::MetadataList(version) => {
                let parsed = parse_all(objects)?;
                let made = partial::metadata_list(&parsed, &meta, version, self.accepted.encoding);
                made.map(|made| made.bytes).map_err(unreadable)
            }
            Form::Table(version) => {
                let parsed = parse_all(objects)?;
                table::table(self.kind, &parsed, &meta, self.table(version, true)).map_err(unreadable)
            }
        }
    }

    /// Appends an event. `first`: nothing was sent on this stream before.
    pub fn event(
        &self,
        out: &mut Vec<u8>,
        event: EventType,
        bytes: &[u8],
        encoding: Encoding,
        first: bool,
    ) -> Result<(), Failed> {
        let object = self.formed(bytes, encoding, first, "")?;
        push_event(out, self.accepted.encoding, event, &object);
        Ok(())
    }

    /// Appends a bookmark.
    pub fn bookmark(&self, out: &mut Vec<u8>, rv: &str, end_of_state: bool) {
        let (encoding, names) = (self.accepted.encoding, &self.names);
        let object = bookmark(&names.api_version, &names.kind, rv, end_of_state, encoding);
        // A table's bookmark has the object in a row; clients of tables read its version from there.
        let formed = match self.accepted.form {
            Form::Object => object,
            _ => self.formed(&object, encoding, false, rv).unwrap_or(object),
        };
        push_event(out, encoding, EventType::Bookmark, &formed);
    }

    /// Appends an ERROR.
    pub fn error(&self, out: &mut Vec<u8>, status: &Status) {
        push_event(out, self.accepted.encoding, EventType::Error, &status.encode(self.accepted.encoding));
    }
}

fn parse(bytes: &[u8], encoding: Encoding) -> Result<Object<'_>, Failed> {
    Object::parse(bytes, encoding).map_err(|e| unreadable(e.into()))
}

fn parse_all(objects: &[Kept]) -> Result<Vec<Object<'_>>, Failed> {
    objects.iter().map(|(bytes, encoding)| parse(bytes, *encoding)).collect()
}

/// What the cloud sent cannot be put into the form that was asked for.
fn unreadable(error: transcode::Error) -> Failed {
    Failed::Status(Status::internal_error(&error.to_string()))
}
