//! The records in which the view's state lies in the logs (`docs/formats/view-records.md`).
//!
//! A key begins with the resource, so that all of a resource is found under one prefix. Every record stands for itself.

use std::borrow::Cow;
use std::sync::Arc;

use wire::Encoding;

use crate::mark::{Asked, Identity, Mark};
use crate::object::Header;
use crate::persist::Record;
use crate::resource::{Key, ResourceId};
use crate::scope::Scope;
use crate::tombstone::Tombstone;
use crate::version::{CloudRv, Shown};

/// Version of the format.
const VERSION: u64 = 1;
/// Longest key that a log takes is longer; a mark with a longer one is not stored.
const MAX_KEY: usize = 1000;

/// An object as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    pub epoch: u64,
    /// Newer than what has been read of its set, so that only reads of its name show it.
    pub ahead: bool,
    pub encoding: Encoding,
    pub cloud: CloudRv,
    /// The view RV that the bytes carry; none while something is laid over the object, and where there are none.
    pub shown: Option<Shown>,
    pub bytes: Cow<'a, [u8]>,
}

impl Stored<'_> {
    /// The same without the bytes.
    pub fn without_bytes(self) -> Stored<'static> {
        Stored { bytes: Cow::Borrowed(&[]), ..self }
    }
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    Object(Key, Stored<'a>),
    Tombstone(Key, u64, Tombstone),
    Mark(u64, Mark),
    Reserved(u64),
}

/// What all keys of a resource's records begin with.
pub fn prefix(resource: &ResourceId) -> Vec<u8> {
    format!("{}\0", resource.to_text()).into_bytes()
}

/// The key of an object's record.
pub fn object_key(resource: &ResourceId, key: &Key) -> Vec<u8> {
    full_key(resource, 'o', key.as_str())
}

fn full_key(resource: &ResourceId, kind: char, rest: &str) -> Vec<u8> {
    format!("{}\0{kind}{rest}", resource.to_text()).into_bytes()
}

/// The bytes of the object in a record's value.
pub fn object_bytes(value: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader(value);
    (reader.number()? == VERSION).then_some(())?;
    for _ in 0..4 {
        reader.number()?;
    }
    Some(reader.0)
}

/// The version of the cloud that an object's record stands for, by which a reader sees whether it is the one he wants.
pub fn object_version(value: &[u8]) -> Option<u64> {
    let mut reader = Reader(value);
    let _version = reader.number()?;
    let _epoch = reader.number()?;
    let _flags = reader.number()?;
    reader.number()
}

pub(crate) fn put_object(resource: &ResourceId, key: &Key, stored: &Stored<'_>, seal: bool) -> Record {
    let flags = u64::from(stored.encoding == Encoding::Protobuf);
    let shown = stored.shown.map_or(0, Shown::get);
    let mut value = start(&[stored.epoch, flags, stored.cloud.get(), shown]);
    value.extend_from_slice(&stored.bytes);
    let kind = if stored.ahead { 'a' } else { 'o' };
    Record::Put { key: full_key(resource, kind, key.as_str()), value, seal }
}

pub(crate) fn delete_object(resource: &ResourceId, key: &Key) -> Record {
    Record::Delete { key: object_key(resource, key) }
}

pub(crate) fn delete_ahead(resource: &ResourceId, key: &Key) -> Record {
    Record::Delete { key: full_key(resource, 'a', key.as_str()) }
}

pub(crate) fn put_tombstone(resource: &ResourceId, key: &Key, epoch: u64, tomb: &Tombstone) -> Record {
    let mut value = start(&[epoch, tomb.rv.get(), tomb.shown.get(), u64::from(tomb.dead)]);
    let (uid, labels, texts) = tomb.header.parts();
    push_number(&mut value, u64::from(uid));
    push_number(&mut value, u64::from(labels));
    value.extend_from_slice(texts.as_bytes());
    Record::Put { key: full_key(resource, 't', key.as_str()), value, seal: false }
}

pub(crate) fn delete_tombstone(resource: &ResourceId, key: &Key) -> Record {
    Record::Delete { key: full_key(resource, 't', key.as_str()) }
}

/// `None` if the scope is too long for a key.
pub(crate) fn put_mark(resource: &ResourceId, epoch: u64, mark: &Mark) -> Option<Record> {
    let position = mark.position.map_or(0, CloudRv::get);
    let flags = u64::from(mark.complete) | u64::from(mark.excludes) << 1;
    let mut value = start(&[epoch, flags, position, mark.since.get()]);
    for reader in &mark.readers {
        push_text(&mut value, reader.as_str());
    }
    let key = mark_key(resource, mark);
    (key.len() <= MAX_KEY).then_some(Record::Put { key, value, seal: false })
}

fn mark_key(resource: &ResourceId, mark: &Mark) -> Vec<u8> {
    let kind = match mark.asked {
        Asked::Set => 'm',
        Asked::Single => 'g',
    };
    full_key(resource, kind, &mark.scope.to_text())
}

pub(crate) fn put_reserved(resource: &ResourceId, up_to: u64) -> Record {
    Record::Put { key: full_key(resource, 's', ""), value: start(&[up_to]), seal: false }
}

/// The resource and kind of a record, by its key.
pub(crate) fn parse_key(key: &[u8]) -> Option<(ResourceId, char, &str)> {
    let text = std::str::from_utf8(key).ok()?;
    let mut ends = text.match_indices('\0').map(|(at, _)| at);
    let end = ends.nth(2)?;
    let resource = ResourceId::from_text(text.get(..end)?)?;
    let mut rest = text.get(end + 1..)?.chars();
    let kind = rest.next()?;
    Some((resource, kind, rest.as_str()))
}

pub(crate) fn parse<'a>(key: &[u8], value: &'a [u8]) -> Option<(ResourceId, Content<'a>)> {
    let (resource, kind, rest) = parse_key(key)?;
    let mut reader = Reader(value);
    (reader.number()? == VERSION).then_some(())?;
    let content = match kind {
        'o' | 'a' => {
            let [epoch, flags, cloud, shown] = reader.numbers()?;
            let encoding = if flags & 1 == 0 { Encoding::Json } else { Encoding::Protobuf };
            let shown = (shown > 0).then(|| Shown::stored(shown));
            let (ahead, cloud) = (kind == 'a', CloudRv::stored(cloud)?);
            let stored = Stored { epoch, ahead, encoding, cloud, shown, bytes: Cow::Borrowed(reader.0) };
            Content::Object(Key::from_text(rest), stored)
        }
        't' => {
            let [epoch, rv, shown, dead] = reader.numbers()?;
            let [uid, labels] = reader.numbers()?;
            let texts = std::str::from_utf8(reader.0).ok()?;
            let (key, rv) = (Key::from_text(rest), CloudRv::stored(rv)?);
            let lens = (u32::try_from(uid).ok()?, u32::try_from(labels).ok()?);
            let header = Arc::new(Header::from_parts(key.clone(), rv, lens, texts));
            Content::Tombstone(
                key,
                epoch,
                Tombstone { header, rv, shown: Shown::stored(shown), dead: dead == 1 },
            )
        }
        'm' | 'g' => {
            let [epoch, flags, position, since] = reader.numbers()?;
            let asked = if kind == 'm' { Asked::Set } else { Asked::Single };
            let mut readers = std::collections::BTreeSet::new();
            while !reader.0.is_empty() {
                readers.insert(Identity::new(reader.text()?));
            }
            let (scope, since) = (Scope::from_text(rest)?, Shown::stored(since));
            let (complete, excludes, position) = (flags & 1 == 1, flags & 2 == 2, CloudRv::stored(position));
            let skipped = (Shown::stored(0), Shown::stored(0));
            Content::Mark(epoch, Mark { scope, asked, complete, position, since, excludes, readers, skipped })
        }
        's' => Content::Reserved(reader.number()?),
        _ => return None,
    };
    Some((resource, content))
}

fn start(numbers: &[u64]) -> Vec<u8> {
    let mut value = Vec::new();
    push_number(&mut value, VERSION);
    for number in numbers {
        push_number(&mut value, *number);
    }
    value
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    wire::proto::push_varint(out, number);
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    push_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn numbers<const N: usize>(&mut self) -> Option<[u64; N]> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = self.number()?;
        }
        Some(numbers)
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_says_what_was_put_into_it() {
        let pods = ResourceId::new("", "v1", "pods", "");
        let key = Key::new("a", "b");
        let rv = CloudRv::stored(700).unwrap();
        let shown = Some(Shown::stored(3));
        let (encoding, bytes) = (Encoding::Protobuf, Cow::Borrowed(&b"k8s\0x"[..]));
        let stored = Stored { epoch: 2, ahead: true, encoding, cloud: rv, shown, bytes };
        let scope =
            Scope { namespace: "a".into(), labels: "x in (1,2),!y".parse().unwrap(), ..Scope::single(&key) };
        let readers = [Identity::new("kubelet"), Identity::new("sa:a:b")].into();
        let (position, since) = (Some(rv), Shown::stored(9));
        let mark = Mark {
            scope,
            asked: Asked::Single,
            complete: true,
            position,
            since,
            excludes: true,
            readers,
            skipped: (Shown::stored(0), Shown::stored(0)),
        };
        let header = Header::new(key.clone(), "u", rv, false, [("l", "1")], [("spec.nodeName", "n")]);
        let tomb = Tombstone { header: Arc::new(header), rv, shown: since, dead: true };
        let cases = [
            (put_object(&pods, &key, &stored, false), Content::Object(key.clone(), stored)),
            (put_tombstone(&pods, &key, 4, &tomb), Content::Tombstone(key, 4, tomb)),
            (put_mark(&pods, 5, &mark).unwrap(), Content::Mark(5, mark)),
            (put_reserved(&pods, 1 << 40), Content::Reserved(1 << 40)),
        ];
        for (record, content) in cases {
            let Record::Put { key, value, .. } = record else { panic!("{record:?}") };
            assert!(key.starts_with(&prefix(&pods)));
            assert_eq!(parse(&key, &value), Some((pods.clone(), content)));
            for len in 0..value.len() {
                // Whatever is cut off, nothing panics.
                let _ = parse(&key, &value[..len]);
            }
        }
    }

    #[test]
    fn the_bytes_and_version_of_an_object_are_found_in_its_record() {
        let pods = ResourceId::new("", "v1", "pods", "");
        let (key, cloud) = (Key::new("a", "b"), CloudRv::stored(300).unwrap());
        let (encoding, bytes) = (Encoding::Json, Cow::Borrowed(&b"{}"[..]));
        let stored = Stored { epoch: 0, ahead: false, encoding, cloud, shown: None, bytes };
        let Record::Put { value, .. } = put_object(&pods, &key, &stored, true) else { panic!() };
        assert_eq!(object_bytes(&value), Some(&b"{}"[..]));
        assert_eq!(object_version(&value), Some(300));
    }
}
