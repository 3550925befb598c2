//! Objects: the cloud's bytes, and the little of them that is kept decoded.

use std::sync::Arc;

use wire::Encoding;

use crate::resource::Key;
use crate::version::CloudRv;

/// What the view must know of an object: who it is, which version, and what selectors ask for.
///
/// Texts lie together in one allocation; an object of five labels takes about 300 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The object's place.
    pub key: Key,
    /// The cloud's resourceVersion.
    pub rv: CloudRv,
    /// Whether it has a deletionTimestamp.
    pub deleting: bool,
    /// Length of the UID, and of the labels behind it; fields follow them.
    uid: u32,
    labels: u32,
    /// UID, then `key\0value\0` for each label and for each field.
    texts: Box<str>,
}

impl Header {
    /// A header. `labels` and `fields` are pairs; fields are those that selectors of this resource know, but name and
    /// namespace, which stand in the key.
    pub fn new<'a>(
        key: Key,
        uid: &str,
        rv: CloudRv,
        deleting: bool,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Header {
        let mut texts = uid.to_owned();
        push_pairs(&mut texts, labels);
        let end_of_labels = texts.len();
        push_pairs(&mut texts, fields);
        let len = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let (uid, labels) = (len(uid.len()), len(end_of_labels));
        Header { key, rv, deleting, uid, labels, texts: texts.into() }
    }

    fn part(&self, from: u32, to: u32) -> &str {
        let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        self.texts.get(place(from)..place(to).min(self.texts.len())).unwrap_or_default()
    }

    /// Lengths and texts, as a record has them.
    pub(crate) fn parts(&self) -> (u32, u32, &str) {
        (self.uid, self.labels, &self.texts)
    }

    /// A header of texts that [`Header::parts`] gave.
    pub(crate) fn from_parts(key: Key, rv: CloudRv, (uid, labels): (u32, u32), texts: &str) -> Header {
        Header { key, rv, deleting: false, uid, labels, texts: texts.into() }
    }

    /// The UID.
    pub fn uid(&self) -> &str {
        self.part(0, self.uid)
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        find(self.part(self.uid, self.labels), key)
    }

    /// The value of a field; empty where it has none.
    pub fn field(&self, path: &str) -> &str {
        match path {
            "metadata.name" => self.key.name(),
            "metadata.namespace" => self.key.namespace(),
            path => find(self.part(self.labels, u32::MAX), path).unwrap_or_default(),
        }
    }
}

fn push_pairs<'a>(texts: &mut String, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
    for (key, value) in pairs {
        for text in [key, value] {
            // Nothing that the API server lets in has one; what a stranger put there must not shift the pairs.
            texts.extend(text.chars().filter(|c| *c != '\0'));
            texts.push('\0');
        }
    }
}

fn find<'a>(pairs: &'a str, key: &str) -> Option<&'a str> {
    let mut texts = pairs.split('\0');
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        if name == key {
            return Some(value);
        }
    }
    None
}

/// Where an object's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Here.
    Held(Arc<[u8]>),
    /// In the log of its resource, under [`crate::object_key`].
    Stored,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What is kept decoded.
    pub header: Arc<Header>,
    /// How the bytes are encoded.
    pub encoding: Encoding,
    /// The bytes.
    pub body: Body,
}

impl Object {
    /// An object as it came: `bytes` in `encoding`, `header` read from them.
    pub fn new(header: Header, encoding: Encoding, bytes: impl Into<Arc<[u8]>>) -> Object {
        Object { header: Arc::new(header), encoding, body: Body::Held(bytes.into()) }
    }

    /// The bytes, if they are here.
    pub fn bytes(&self) -> Option<&Arc<[u8]>> {
        match &self.body {
            Body::Held(bytes) => Some(bytes),
            Body::Stored => None,
        }
    }

    /// Whether this is the same object, not another of its name.
    pub fn is_same(&self, other: &Object) -> bool {
        self.header.uid() == other.header.uid()
    }

    /// How much memory it takes, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.header.texts.len() + 200 + self.bytes().map_or(0, |bytes| bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_gives_back_what_it_was_made_of() {
        let rv = CloudRv::parse("5").unwrap();
        let labels = [("a", "1"), ("b\0", "2\0"), ("c", "")];
        let header = Header::new(Key::new("ns", "x"), "u-1", rv, false, labels, [("spec.nodeName", "n1")]);
        assert_eq!(header.uid(), "u-1");
        assert_eq!(
            (header.label("a"), header.label("b"), header.label("c")),
            (Some("1"), Some("2"), Some(""))
        );
        assert_eq!((header.label("1"), header.label("spec.nodeName")), (None, None));
        assert_eq!((header.field("spec.nodeName"), header.field("metadata.name")), ("n1", "x"));
        assert_eq!((header.field("metadata.namespace"), header.field("a")), ("ns", ""));
    }
}
