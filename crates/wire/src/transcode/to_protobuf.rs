//! JSON to protobuf.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Error, MAX_DEPTH, output_limit, special};
use crate::json::Node;
use crate::proto;
use crate::schema::{Cardinality, Codec, FieldRow, MAX_FIELDS, Message, Place, Scalar, name_id};

/// Appends an object as a message. The result says whether every member was known.
pub(super) fn message(message: Message, object: Node<'_, '_>, out: &mut Vec<u8>) -> Result<bool, Error> {
    let limit = out.len().saturating_add(output_limit(object.raw().len()));
    let mut writer = Writer { out, limit, complete: true };
    writer.message(message, Some(object), 0)?;
    Ok(writer.complete)
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    limit: usize,
    complete: bool,
}

/// The value of each field of a message, in the order of its fields.
type Found<'t, 'a> = [Option<Node<'t, 'a>>; MAX_FIELDS];

/// No value for any field.
const NOTHING: Found<'static, 'static> = [None; MAX_FIELDS];

impl Writer<'_> {
    /// Appends the content of a message; nothing stands for the zero one.
    fn message(&mut self, message: Message, object: Option<Node<'_, '_>>, depth: usize) -> Result<(), Error> {
        if self.out.len() > self.limit {
            return Err(Error::TooLarge);
        }
        if depth > MAX_DEPTH {
            return Err(Error::malformed("it is nested too deeply"));
        }
        let object = object.filter(|object| !object.is_null());
        match message.codec() {
            Codec::Plain => {
                let Some(object) = object else { return self.fields(message, None, &NOTHING, depth) };
                expect(object, b'{', "an object")?;
                // The object itself says its type, whatever it is.
                let has_type = depth == 0 || message.has_type_meta();
                let (found, complete) = find(message, object, has_type);
                self.complete &= complete;
                self.fields(message, Some(object), &found, depth)
            }
            Codec::Quantity => special::write_quantity(object, self.out),
            Codec::IntOrString => special::write_int_or_string(object, self.out),
            Codec::Time => special::write_time(object, self.out),
            Codec::MicroTime => special::write_micro_time(object, self.out),
            Codec::Raw => special::write_raw(object, self.out),
            Codec::OrArray => self.either(message, object, depth),
            Codec::OrBool => self.or_bool(message, object, depth),
            Codec::Items => {
                let (Some(items), Some((_, row))) = (object, message.numbered(1)) else { return Ok(()) };
                self.list(row, items, depth)
            }
        }
    }

    /// Appends the fields of a message in the order of their numbers.
    fn fields(
        &mut self,
        message: Message,
        object: Option<Node<'_, '_>>,
        found: &Found<'_, '_>,
        depth: usize,
    ) -> Result<(), Error> {
        for (place, row) in message.by_number() {
            if row.is_inline() {
                let target = row.target();
                // Members of the parent are unknown to it; the parent knows better.
                let inner = object.map_or(NOTHING, |object| find(target, object, true).0);
                let start = proto::begin(self.out, row.number.into());
                self.fields(target, object, &inner, depth + 1)?;
                proto::end(self.out, start);
            } else {
                let value = found.get(place).copied().flatten().filter(|value| !value.is_null());
                self.field(row, value, depth).map_err(|error| error.within(row.json_name()))?;
            }
        }
        Ok(())
    }

    fn field(&mut self, row: &FieldRow, value: Option<Node<'_, '_>>, depth: usize) -> Result<(), Error> {
        match (row.cardinality, value) {
            (Cardinality::List, Some(list)) => self.list(row, list, depth),
            (Cardinality::Map, Some(map)) => self.map(row, map, depth),
            (Cardinality::List | Cardinality::Map, None) => Ok(()),
            (Cardinality::One, None) if row.is_pointer() || row.kind == Scalar::Bytes => Ok(()),
            (Cardinality::One, None)
                if row.kind == Scalar::Message && row.target().codec() == Codec::Items =>
            {
                Ok(())
            }
            (Cardinality::One, value) => self.value(row, u32::from(row.number), value, depth),
        }
    }

    fn list(&mut self, row: &FieldRow, list: Node<'_, '_>, depth: usize) -> Result<(), Error> {
        expect(list, b'[', "an array")?;
        for (at, element) in list.elements().enumerate() {
            let element = Some(element).filter(|element| !element.is_null());
            self.value(row, u32::from(row.number), element, depth)
                .map_err(|error| error.within(&format!("[{at}]")))?;
        }
        Ok(())
    }

    /// Appends a map in the order of its keys; of two members with one key the last counts.
    fn map(&mut self, row: &FieldRow, map: Node<'_, '_>, depth: usize) -> Result<(), Error> {
        expect(map, b'{', "an object")?;
        let mut entries: Vec<_> =
            map.members().map(|(key, value)| (key.text().unwrap_or_default(), value)).collect();
        if !entries.is_sorted_by(|a, b| a.0 < b.0) {
            // Stable, so that the last of equal ones stays last.
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.reverse();
            entries.dedup_by(|a, b| a.0 == b.0);
            entries.reverse();
        }
        for (key, value) in entries {
            let start = proto::begin(self.out, row.number.into());
            proto::push_string(self.out, 1, &key);
            let value = Some(value).filter(|value| !value.is_null());
            self.value(row, 2, value, depth).map_err(|error| error.within(&key))?;
            proto::end(self.out, start);
        }
        Ok(())
    }

    /// Appends a field with this number; nothing stands for zero.
    fn value(
        &mut self,
        row: &FieldRow,
        number: u32,
        value: Option<Node<'_, '_>>,
        depth: usize,
    ) -> Result<(), Error> {
        if self.out.len() > self.limit {
            return Err(Error::TooLarge);
        }
        match row.kind {
            Scalar::Message => {
                let start = proto::begin(self.out, number);
                self.message(row.target(), value, depth + 1)?;
                proto::end(self.out, start);
            }
            Scalar::String => {
                let text = value.map(|value| value.text().ok_or_else(|| wants(value, "a string")));
                proto::push_string(self.out, number, &text.transpose()?.unwrap_or_default());
            }
            Scalar::Bytes => {
                let bytes = value.map(decode).transpose()?.unwrap_or_default();
                proto::push_bytes(self.out, number, &bytes);
            }
            Scalar::Int32 => {
                let value: i32 = value.map_or(Ok(0), |value| integer(value, "a whole number of 32 bits"))?;
                proto::push_varint_field(self.out, number, i64::from(value).cast_unsigned());
            }
            Scalar::Int64 => {
                let value: i64 = value.map_or(Ok(0), |value| integer(value, "a whole number of 64 bits"))?;
                proto::push_varint_field(self.out, number, value.cast_unsigned());
            }
            Scalar::Bool => {
                let truth = match value.map_or(b'f', Node::first_byte) {
                    b't' => 1,
                    b'f' => 0,
                    _ => return Err(wants_any(value, "true or false")),
                };
                proto::push_varint_field(self.out, number, truth);
            }
            Scalar::Double => {
                let value: f64 = value.map_or(Ok(0.0), |value| integer(value, "a number"))?;
                proto::push_varint(self.out, u64::from(number) << 3 | 1);
                self.out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
        }
        Ok(())
    }

    /// The first field for an object, the second for an array.
    fn either(&mut self, message: Message, value: Option<Node<'_, '_>>, depth: usize) -> Result<(), Error> {
        let Some(value) = value else { return Ok(()) };
        match (value.first_byte(), message.numbered(1), message.numbered(2)) {
            (b'{', Some((_, row)), _) => self.value(row, 1, Some(value), depth),
            (b'[', _, Some((_, row))) => self.list(row, value, depth),
            _ => Err(wants(value, "an object or an array")),
        }
    }

    fn or_bool(&mut self, message: Message, value: Option<Node<'_, '_>>, depth: usize) -> Result<(), Error> {
        let allows = match value.map_or(b'f', Node::first_byte) {
            b'{' | b't' => 1,
            b'f' => 0,
            _ => return Err(wants_any(value, "an object, true or false")),
        };
        proto::push_varint_field(self.out, 1, allows);
        match (value.filter(|value| value.first_byte() == b'{'), message.numbered(2)) {
            (Some(value), Some((_, row))) => self.value(row, 2, Some(value), depth),
            _ => Ok(()),
        }
    }
}

/// The members of an object that are fields of the message itself, and whether all others are known at least. Of two
/// with one name the last counts.
fn find<'t, 'a>(message: Message, object: Node<'t, 'a>, has_type: bool) -> (Found<'t, 'a>, bool) {
    let mut found = NOTHING;
    let mut complete = true;
    for (name, value) in object.members() {
        let name = name.text().unwrap_or_default();
        match name_id(&name).map_or(Place::Nowhere, |id| message.place_of(id)) {
            Place::Own(place) => {
                if let Some(slot) = found.get_mut(place) {
                    *slot = Some(value);
                }
            }
            Place::Inlined => {}
            Place::Nowhere => complete &= has_type && matches!(&*name, "kind" | "apiVersion"),
        }
    }
    (found, complete)
}

/// Base64 as Go reads it: line breaks are passed over.
fn decode(value: Node<'_, '_>) -> Result<Vec<u8>, Error> {
    let text = value.text().ok_or_else(|| wants(value, "a string in base64"))?;
    let decoded = if text.contains(['\r', '\n']) {
        STANDARD.decode(text.replace(['\r', '\n'], ""))
    } else {
        STANDARD.decode(text.as_bytes())
    };
    decoded.map_err(|error| Error::malformed(format!("it is no base64: {error}")))
}

fn integer<T: std::str::FromStr>(value: Node<'_, '_>, what: &str) -> Result<T, Error> {
    let number =
        matches!(value.first_byte(), b'-' | b'0'..=b'9').then(|| std::str::from_utf8(value.raw()).ok());
    number.flatten().and_then(|number| number.parse().ok()).ok_or_else(|| wants(value, what))
}

fn expect(value: Node<'_, '_>, first: u8, what: &str) -> Result<(), Error> {
    if value.first_byte() == first { Ok(()) } else { Err(wants(value, what)) }
}

fn wants_any(value: Option<Node<'_, '_>>, what: &str) -> Error {
    value.map_or_else(|| Error::malformed(format!("{what} is missing")), |value| wants(value, what))
}

pub(super) fn wants(value: Node<'_, '_>, what: &str) -> Error {
    let is = match value.first_byte() {
        b'{' => "an object",
        b'[' => "an array",
        b'"' => "a string",
        b't' | b'f' => "a truth value",
        b'n' => "null",
        _ => "a number",
    };
    Error::malformed(format!("{what} is wanted, {is} stands there"))
}
