//! The Kubernetes 1.36 API as a table: which messages there are, which fields they have, and how those stand in
//! protobuf and in JSON.
//!
//! ```
//! use wire::schema::{Kind, Shape};
//!
//! let pod = Kind::find("", "v1", "Pod").unwrap();
//! let containers = pod.message().field("spec").unwrap().message().unwrap().field("containers").unwrap();
//! assert_eq!(containers.shape(), Shape::List);
//! assert_eq!(containers.merge_key(), Some("name"));
//! assert!(containers.merges() && !containers.retains_keys());
//! ```
//!
//! The table is read-only data of the program; nothing of it is built at run time.

mod kind;
mod rows;

#[cfg(test)]
mod tests;

pub use kind::Kind;
pub(crate) use rows::{Cardinality, Codec, FieldRow, MAX_FIELDS};

pub(crate) use rows::name_id;
use rows::{FIELDS, MERGES, MESSAGES, MergeRow, MessageRow, name};

/// What a field's type is made of.
pub(crate) use rows::Kind as Scalar;

/// A message of the API: what stands in braces in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Message(u16);

/// A field of a message.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    row: &'static FieldRow,
}

/// Where a field stands that JSON has among the members of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At this place of [`Message::fields`].
    Own(usize),
    /// In a message that is inlined.
    Inlined,
    /// It is no field of the message.
    Nowhere,
}

/// What stands in a field in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One value without fields known here: text, a number, a quantity, a time, or any JSON whatsoever.
    Value,
    /// An object with known fields.
    Message,
    /// An array; of objects if [`Field::message`] gives one, else of values.
    List,
    /// An object with any keys; its values are objects if [`Field::message`] gives one, else values.
    Map,
}

impl Message {
    fn row(self) -> &'static MessageRow {
        // Numbers of messages come from the table, so this is always there.
        MESSAGES.get(usize::from(self.0)).unwrap_or(const { &MessageRow::EMPTY })
    }

    pub(crate) fn codec(self) -> Codec {
        self.row().codec
    }

    /// Whether `kind` and `apiVersion` are members of it in JSON.
    pub(crate) fn has_type_meta(self) -> bool {
        self.row().type_meta
    }

    /// The fields in the order of JSON.
    pub(crate) fn fields(self) -> &'static [FieldRow] {
        let row = self.row();
        let first = usize::from(row.first);
        FIELDS.get(first..first + usize::from(row.len)).unwrap_or_default()
    }

    /// The fields in the order of their numbers, each with its place in [`Message::fields`].
    pub(crate) fn by_number(self) -> impl Iterator<Item = (usize, &'static FieldRow)> {
        let fields = self.fields();
        fields.iter().filter_map(|row| Some((usize::from(row.nth), fields.get(usize::from(row.nth))?)))
    }

    /// The field with this number, and its place in [`Message::fields`].
    pub(crate) fn numbered(self, number: u32) -> Option<(usize, &'static FieldRow)> {
        let number = u8::try_from(number).ok()?;
        self.fields().iter().enumerate().find(|(_, row)| row.number == number)
    }

    /// Where the field with this name stands, by the number of its name.
    pub(crate) fn place_of(self, id: u16) -> Place {
        let fields = self.fields();
        match fields.iter().position(|row| row.name == id && !row.is_inline()) {
            Some(place) => Place::Own(place),
            None if self.find(id).is_some() => Place::Inlined,
            None => Place::Nowhere,
        }
    }

    /// The field that has this name in JSON, inlined messages included.
    pub fn field(self, json_name: &str) -> Option<Field> {
        self.find(name_id(json_name).filter(|_| !json_name.is_empty())?)
    }

    fn find(self, id: u16) -> Option<Field> {
        let fields = self.fields();
        let own = fields.iter().find(|row| row.name == id && !row.is_inline()).map(|row| Field { row });
        own.or_else(|| fields.iter().filter(|row| row.is_inline()).find_map(|row| row.target().find(id)))
    }
}

impl Field {
    /// What stands in it.
    pub fn shape(self) -> Shape {
        match self.row.cardinality {
            Cardinality::List => Shape::List,
            Cardinality::Map => Shape::Map,
            Cardinality::One if self.message().is_some() => Shape::Message,
            // A list that is a message of its own on the wire.
            Cardinality::One if self.is_wrapped_list() => Shape::List,
            Cardinality::One => Shape::Value,
        }
    }

    /// The message that the field, its elements or its values are; `None` for values without known fields.
    pub fn message(self) -> Option<Message> {
        let message = (self.row.kind == Scalar::Message).then(|| self.row.target())?;
        (message.codec() == Codec::Plain).then_some(message)
    }

    fn is_wrapped_list(self) -> bool {
        self.row.kind == Scalar::Message && self.row.target().codec() == Codec::Items
    }

    /// Whether a strategic merge patch merges the list or object instead of replacing it (`patchStrategy=merge`).
    pub fn merges(self) -> bool {
        self.merge_row().merge
    }

    /// Whether a strategic merge patch may name the keys to keep (`patchStrategy=retainKeys`).
    pub fn retains_keys(self) -> bool {
        self.merge_row().retain_keys
    }

    /// The member by which elements of a merged list are told apart; `None` for lists of values.
    pub fn merge_key(self) -> Option<&'static str> {
        Some(name(self.merge_row().key)).filter(|key| !key.is_empty())
    }

    fn merge_row(self) -> &'static MergeRow {
        MERGES.get(usize::from(self.row.merge)).unwrap_or(const { &MergeRow::NONE })
    }

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        name(self.row.name)
    }
}
