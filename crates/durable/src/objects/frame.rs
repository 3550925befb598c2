//! The bytes of a segment: its header, the frame around each record, its table of contents. `docs/formats/object-log.md`
//! has the layout.
//!
//! Nothing here reads a file. Invariant: whatever the bytes, a parser returns only what an encoder was given.

use super::{MAX_KEY, MAX_VALUE, VERSION};
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::checksum::bulk as checksum;

/// Length of a segment's header in bytes.
pub(super) const HEADER: u32 = 64;
const HEADER_LEN: usize = 64;
const HEADER_SUMMED: usize = 40;
/// Length of a frame's head in bytes, without the key.
pub(super) const HEAD: usize = 40;
/// Where the part of the head begins that its checksum covers.
const HEAD_SUMMED: usize = 8;
/// Frames start at multiples of this.
pub(super) const ALIGN: usize = 8;
/// Length of what ends a sealed segment.
pub(super) const TRAILER: usize = 40;
const TRAILER_SUMMED: usize = 36;
/// Length of an entry of the contents, without the key.
const ENTRY: usize = 12;

const MAGIC: &[u8; 8] = b"EKOBJECT";
const MARKER: &[u8; 4] = b"EKob";
const TRAILER_MAGIC: &[u8; 8] = b"EKOBTOC\n";

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The key has this value.
    Put,
    /// The key has none.
    Delete,
    /// The key had a value that could not be read any more.
    Lost,
    /// The segment that the key names holds nothing any more that is not also behind it.
    Drained,
    /// Everything before this record is durable.
    Mark,
}

impl Kind {
    fn parse(byte: u8) -> Option<Kind> {
        [Kind::Put, Kind::Delete, Kind::Lost, Kind::Drained, Kind::Mark]
            .into_iter()
            .find(|kind| kind.number() == byte)
    }

    fn number(self) -> u8 {
        match self {
            Kind::Put => 1,
            Kind::Delete => 2,
            Kind::Lost => 3,
            Kind::Drained => 4,
            Kind::Mark => 5,
        }
    }
}

/// The value is sealed.
pub(super) const SEALED: u8 = 1;
/// A record of unknown key was lost behind the place that this one was copied from.
pub(super) const DOUBTFUL: u8 = 2;
/// In contents only: the value did not match its checksum.
pub(super) const BAD: u8 = 4;

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Tells this log from others.
    pub salt: u32,
    pub number: u32,
    /// Segments below this one were no part of the log any more when this one was made.
    pub oldest: u32,
    /// The segment before this one; 0 for none.
    pub previous: u32,
    /// Where the records of that one end.
    pub previous_end: u32,
    /// No record here has a lower number.
    pub first_seq: u64,
}

/// What a file begins with.
pub(super) enum Parsed {
    Valid(Header),
    Newer(u32),
    Broken,
}

pub(super) fn encode_header(header: &Header) -> [u8; HEADER_LEN] {
    let mut bytes = MAGIC.to_vec();
    let numbers = [VERSION, header.salt, header.number, header.oldest, header.previous, header.previous_end];
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes.extend_from_slice(&header.first_seq.to_le_bytes());
    let sum = checksum(&[&bytes]);
    bytes.extend_from_slice(&sum.to_le_bytes());
    let mut whole = [0; HEADER_LEN];
    whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    whole
}

pub(super) fn parse_header(bytes: &[u8]) -> Parsed {
    let parse = || {
        let summed = bytes.get(..HEADER_SUMMED)?;
        if !summed.starts_with(MAGIC) || checksum(&[summed]) != u32_at(bytes, HEADER_SUMMED)? {
            return None;
        }
        let version = u32_at(bytes, 8)?;
        if version > VERSION {
            return Some(Parsed::Newer(version));
        }
        Some(Parsed::Valid(Header {
            salt: u32_at(bytes, 12)?,
            number: u32_at(bytes, 16)?,
            oldest: u32_at(bytes, 20)?,
            previous: u32_at(bytes, 24)?,
            previous_end: u32_at(bytes, 28)?,
            first_seq: u64_at(bytes, 32)?,
        }))
    };
    parse().unwrap_or(Parsed::Broken)
}

/// A record to be written, or one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub kind: Kind,
    pub flags: u8,
    /// Its place in the order of all records of the log.
    pub seq: u64,
    /// The number under which its value was first written; copies keep it.
    pub born: u64,
    pub key: &'a [u8],
    pub value: &'a [u8],
}

/// Appends the frame of a record; its length. `None` for one that is too large.
pub(super) fn encode(into: &mut Vec<u8>, salt: u32, record: &Record<'_>) -> Option<u32> {
    let key_len = u16::try_from(record.key.len()).ok().filter(|_| record.key.len() <= MAX_KEY)?;
    let value_len = u32::try_from(record.value.len()).ok().filter(|_| record.value.len() <= MAX_STORED)?;
    let start = into.len();
    let mut summed = Vec::with_capacity(HEAD + record.key.len());
    summed.extend_from_slice(&checksum(&[record.value]).to_le_bytes());
    summed.extend_from_slice(&value_len.to_le_bytes());
    summed.extend_from_slice(&key_len.to_le_bytes());
    summed.extend_from_slice(&[record.kind.number(), record.flags]);
    summed.extend_from_slice(&salt.to_le_bytes());
    summed.extend_from_slice(&record.seq.to_le_bytes());
    summed.extend_from_slice(&record.born.to_le_bytes());
    summed.extend_from_slice(record.key);
    into.extend_from_slice(MARKER);
    into.extend_from_slice(&checksum(&[&summed]).to_le_bytes());
    into.extend_from_slice(&summed);
    into.extend_from_slice(record.value);
    into.resize(start + (into.len() - start).next_multiple_of(ALIGN), 0);
    u32::try_from(into.len() - start).ok()
}

/// A sealed value is this much longer than what was sealed, at most.
pub(super) const MAX_STORED: usize = MAX_VALUE + 64;

/// The head of a frame whose checksum holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub kind: Kind,
    pub flags: u8,
    pub seq: u64,
    pub born: u64,
    pub key: &'a [u8],
    pub value_len: u32,
    value_sum: u32,
}

/// How many bytes must be there to read the head at the start of `bytes`, if one may stand there.
pub(super) fn head_len(bytes: &[u8], salt: Option<u32>) -> Option<usize> {
    let key = usize::from(u16_at(bytes, 16)?);
    let ours = bytes.starts_with(MARKER) && salt.is_none_or(|salt| u32_at(bytes, 20) == Some(salt));
    (ours && key <= MAX_KEY).then_some(HEAD + key)
}

/// The head at the start of `bytes`, if there is a whole one of this log, and the salt it bears.
pub(super) fn parse_head(bytes: &[u8], salt: Option<u32>) -> Option<(Head<'_>, u32)> {
    let len = head_len(bytes, salt)?;
    let summed = bytes.get(HEAD_SUMMED..len)?;
    if checksum(&[summed]) != u32_at(bytes, 4)? {
        return None;
    }
    let head = Head {
        kind: Kind::parse(*bytes.get(18)?)?,
        flags: *bytes.get(19)?,
        seq: u64_at(bytes, 24)?,
        born: u64_at(bytes, 32)?,
        key: bytes.get(HEAD..len)?,
        value_len: u32_at(bytes, 12)
            .filter(|len| usize::try_from(*len).is_ok_and(|len| len <= MAX_STORED))?,
        value_sum: u32_at(bytes, 8)?,
    };
    Some((head, u32_at(bytes, 20)?))
}

/// The record at the start of `bytes`, if head and value are whole.
pub(super) fn parse(bytes: &[u8], salt: Option<u32>) -> Option<Record<'_>> {
    let (head, _) = parse_head(bytes, salt)?;
    let value = bytes.get(HEAD + head.key.len()..)?.get(..usize::try_from(head.value_len).ok()?)?;
    (checksum(&[value]) == head.value_sum).then_some(Record {
        kind: head.kind,
        flags: head.flags,
        seq: head.seq,
        born: head.born,
        key: head.key,
        value,
    })
}

/// Length of the frame of a record, padding included.
pub(super) fn frame_len(key: usize, value: u32) -> u32 {
    let key = u32::try_from(HEAD + key).unwrap_or(u32::MAX);
    key.saturating_add(value).checked_next_multiple_of(8).unwrap_or(u32::MAX)
}

/// What a segment holds: one entry for each record, in order. This is what a table of contents is on the disk, and what
/// reading the frames of a segment without one gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents(Vec<u8>);

/// An entry of the contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub offset: u32,
    pub value_len: u32,
    pub kind: Kind,
    pub flags: u8,
    pub key: &'a [u8],
}

impl Item<'_> {
    /// Length of the frame.
    pub(super) fn len(&self) -> u32 {
        frame_len(self.key.len(), self.value_len)
    }
}

impl Contents {
    pub(super) fn push(&mut self, item: &Item<'_>) {
        // A key that was read or written has at most MAX_KEY bytes.
        let key_len = u16::try_from(item.key.len()).unwrap_or_default();
        self.0.extend_from_slice(&item.offset.to_le_bytes());
        self.0.extend_from_slice(&item.value_len.to_le_bytes());
        self.0.extend_from_slice(&key_len.to_le_bytes());
        self.0.extend_from_slice(&[item.kind.number(), item.flags]);
        self.0.extend_from_slice(item.key);
    }

    /// The entry at this place among the bytes, and the place of the next.
    pub(super) fn at(&self, place: usize) -> Option<(Item<'_>, usize)> {
        let bytes = self.0.get(place..)?;
        let key_len = usize::from(u16_at(bytes, 8)?);
        let item = Item {
            offset: u32_at(bytes, 0)?,
            value_len: u32_at(bytes, 4)?,
            kind: Kind::parse(*bytes.get(10)?)?,
            flags: *bytes.get(11)?,
            key: bytes.get(ENTRY..ENTRY + key_len)?,
        };
        Some((item, place + ENTRY + key_len))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Item<'_>> {
        let mut place = 0;
        std::iter::from_fn(move || {
            let (item, next) = self.at(place)?;
            place = next;
            Some(item)
        })
    }

    /// Contents and trailer as they end a sealed segment whose records end at `end`.
    pub(super) fn seal(&self, salt: u32, number: u32, end: u32, last_seq: u64) -> Option<Vec<u8>> {
        let len = u32::try_from(self.0.len()).ok()?;
        let mut trailer = TRAILER_MAGIC.to_vec();
        trailer.extend([salt, number, end, len].iter().flat_map(|number| number.to_le_bytes()));
        trailer.extend_from_slice(&last_seq.to_le_bytes());
        trailer.extend_from_slice(&checksum(&[&self.0]).to_le_bytes());
        trailer.extend_from_slice(&checksum(&[&trailer]).to_le_bytes());
        Some([&self.0[..], &trailer].concat())
    }
}

/// What ends a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trailer {
    pub salt: u32,
    pub number: u32,
    /// Where the records end and the contents begin.
    pub end: u32,
    /// Length of the contents in bytes.
    pub len: u32,
    pub last_seq: u64,
    sum: u32,
}

impl Trailer {
    pub(super) fn parse(bytes: &[u8]) -> Option<Trailer> {
        let summed = bytes.get(..TRAILER_SUMMED)?;
        if !summed.starts_with(TRAILER_MAGIC) || checksum(&[summed]) != u32_at(bytes, TRAILER_SUMMED)? {
            return None;
        }
        Some(Trailer {
            salt: u32_at(bytes, 8)?,
            number: u32_at(bytes, 12)?,
            end: u32_at(bytes, 16)?,
            len: u32_at(bytes, 20)?,
            last_seq: u64_at(bytes, 24)?,
            sum: u32_at(bytes, 32)?,
        })
    }

    /// The contents, if these bytes are they.
    pub(super) fn contents(&self, bytes: Vec<u8>) -> Option<Contents> {
        (checksum(&[&bytes]) == self.sum).then_some(Contents(bytes))
    }
}
