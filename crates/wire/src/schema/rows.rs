//! The table itself; its text is `table/api-1.36.txt`, made into arrays by `build.rs`.

use super::Message;

/// A type of protobuf, or the message that a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    String,
    Int32,
    Int64,
    Bool,
    Double,
    Bytes,
    Message,
}

/// How many of it a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cardinality {
    One,
    List,
    /// From strings.
    Map,
}

/// The form of a message in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Codec {
    /// An object with a member for each field.
    Plain,
    /// A string such as `100m`.
    Quantity,
    /// A number or a string.
    IntOrString,
    /// RFC 3339 to the second, or null.
    Time,
    /// RFC 3339 to the microsecond, or null.
    MicroTime,
    /// Any JSON, as its bytes.
    Raw,
    /// Either an object or an array.
    OrArray,
    /// Either an object or a truth value.
    OrBool,
    /// An array of strings that is a message on the wire.
    Items,
}

pub(crate) struct MessageRow {
    /// Where its fields begin.
    pub first: u16,
    /// How many it has.
    pub len: u8,
    pub codec: Codec,
    /// Whether it has `kind` and `apiVersion`, which are not on the wire.
    pub type_meta: bool,
}

impl MessageRow {
    pub const EMPTY: MessageRow = MessageRow { first: 0, len: 0, codec: Codec::Plain, type_meta: false };
}

#[derive(Debug)]
pub(crate) struct FieldRow {
    /// Number of its name in JSON.
    pub name: u16,
    /// Number of the message that it holds.
    target: u16,
    /// Number on the wire.
    pub number: u8,
    /// For the n-th row of a message: which of its rows comes n-th by number.
    pub nth: u8,
    pub kind: Kind,
    pub cardinality: Cardinality,
    flags: u8,
    /// Row of the merge table.
    pub merge: u8,
}

impl FieldRow {
    /// The message that it holds.
    pub fn target(&self) -> Message {
        Message(self.target)
    }

    /// Its name in JSON.
    pub fn json_name(&self) -> &'static str {
        name(self.name)
    }

    /// A pointer in Go: absent differs from zero.
    pub fn is_pointer(&self) -> bool {
        self.flags & 1 != 0
    }

    /// Left out of JSON when it is zero; does nothing for messages that are no pointers.
    pub fn omits_empty(&self) -> bool {
        self.flags & 2 != 0
    }

    /// Left out of JSON when it is zero, whatever it is.
    pub fn omits_zero(&self) -> bool {
        self.flags & 4 != 0
    }

    /// A message on the wire whose members stand among those of its parent in JSON.
    pub fn is_inline(&self) -> bool {
        self.flags & 8 != 0
    }
}

/// What a strategic merge patch does with a field.
pub(crate) struct MergeRow {
    pub merge: bool,
    pub retain_keys: bool,
    /// Number of the key's name.
    pub key: u16,
}

impl MergeRow {
    pub const NONE: MergeRow = MergeRow { merge: false, retain_keys: false, key: 0 };
}

/// A kind of a group and version, in the order of the three.
pub(crate) struct KindRow {
    pub group: u16,
    pub version: u16,
    pub kind: u16,
    message: u16,
}

impl KindRow {
    pub fn message(&self) -> Message {
        Message(self.message)
    }
}

/// The name with this number.
pub(super) fn name(id: u16) -> &'static str {
    let end = |id: usize| NAME_ENDS.get(id).copied().map(usize::from);
    let id = usize::from(id);
    let start = id.checked_sub(1).and_then(end).unwrap_or(0);
    end(id).and_then(|end| NAMES.get(start..end)).unwrap_or_default()
}

/// The number of a name, if any field, kind or group has it.
pub(crate) fn name_id(text: &str) -> Option<u16> {
    let (mut low, mut high) = (0, u16::try_from(NAME_ENDS.len()).unwrap_or(u16::MAX));
    while low < high {
        let middle = low + (high - low) / 2;
        match name(middle).cmp(text) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => return Some(middle),
        }
    }
    None
}

include!(concat!(env!("OUT_DIR"), "/rows.rs"));

/// How many bytes the names take.
#[cfg(test)]
pub(super) fn names_size() -> usize {
    NAMES.len() + size_of_val(&NAME_ENDS)
}
