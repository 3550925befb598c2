//! Protobuf to JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Error, MAX_DEPTH, output_limit, special};
use crate::json;
use crate::partial;
use crate::proto::{self, FieldValue, Fields};
use crate::schema::{Cardinality, Codec, FieldRow, MAX_FIELDS, Message, Scalar};

/// The number of `ObjectMeta.clusterName`.
const CLUSTER_NAME: u32 = 15;

/// Appends a message; `head` is its `apiVersion` and `kind`. The result says whether every field was known.
pub(super) fn message(
    message: Message,
    raw: &[u8],
    head: Option<(&str, &str)>,
    out: &mut Vec<u8>,
) -> Result<bool, Error> {
    let limit = out.len().saturating_add(output_limit(raw.len()));
    let mut writer = Writer { out, limit, complete: true };
    match head {
        Some((api_version, kind)) => writer.object_with_head(message, raw, api_version, kind)?,
        None => writer.message(message, raw, 0)?,
    }
    Ok(writer.complete)
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    limit: usize,
    complete: bool,
}

/// Where the values of a field stand in a message: from the first of its fields to behind the last one.
#[derive(Clone, Copy, Default)]
struct Span {
    start: usize,
    end: usize,
}

impl Span {
    fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Whether a field that the table does not know says nothing: up to 1.23 every `ObjectMeta` has a `clusterName`, which has
/// always been empty (`api:` apimachinery meta/v1/types.go), and text is written whether it is empty or not. Of other
/// fields even an empty one may mean something.
fn is_retired(message: Message, number: u32, value: &FieldValue<'_>) -> bool {
    number == CLUSTER_NAME
        && matches!(value, FieldValue::Bytes([]))
        && partial::object_meta().is_ok_and(|meta| meta == message)
}

impl Writer<'_> {
    fn object_with_head(
        &mut self,
        message: Message,
        raw: &[u8],
        api_version: &str,
        kind: &str,
    ) -> Result<(), Error> {
        self.out.extend_from_slice(b"{\"kind\":");
        json::push_string(self.out, kind);
        self.out.extend_from_slice(b",\"apiVersion\":");
        json::push_string(self.out, api_version);
        // The items of an empty list are an empty array there, never null.
        let items_at = self.out.len();
        self.members(message, raw, 0)?;
        if self.out.get(items_at..).is_some_and(|members| members.ends_with(b",\"items\":null")) {
            self.out.truncate(self.out.len() - 4);
            self.out.extend_from_slice(b"[]");
        }
        self.out.push(b'}');
        Ok(())
    }

    fn message(&mut self, message: Message, raw: &[u8], depth: usize) -> Result<(), Error> {
        if self.out.len() > self.limit {
            return Err(Error::TooLarge);
        }
        if depth > MAX_DEPTH {
            return Err(Error::malformed("it is nested too deeply"));
        }
        match message.codec() {
            Codec::Plain => {
                self.out.push(b'{');
                self.members(message, raw, depth)?;
                self.out.push(b'}');
                Ok(())
            }
            Codec::Quantity => special::push_quantity(raw, self.out),
            Codec::IntOrString => special::push_int_or_string(raw, self.out),
            Codec::Time => special::push_time(raw, self.out),
            Codec::MicroTime => special::push_micro_time(raw, self.out),
            Codec::Raw => special::push_raw(raw, self.out),
            Codec::OrArray => self.or_array(message, raw, depth),
            Codec::OrBool => self.or_bool(message, raw, depth),
            Codec::Items => self.items(message, raw, depth),
        }
    }

    /// The members of a message, without braces.
    fn members(&mut self, message: Message, raw: &[u8], depth: usize) -> Result<(), Error> {
        let spans = self.spans(message, raw)?;
        for (row, span) in message.fields().iter().zip(spans) {
            self.member(row, raw, span, depth).map_err(|error| error.within(row.json_name()))?;
        }
        Ok(())
    }

    /// Where the values of each field stand.
    fn spans(&mut self, message: Message, raw: &[u8]) -> Result<[Span; MAX_FIELDS], Error> {
        let mut spans = [Span::default(); MAX_FIELDS];
        let mut fields = Fields::new(raw);
        let mut start = 0;
        while let Some(field) = fields.next() {
            let end = fields.position();
            let (number, value) = field?;
            match message.numbered(number) {
                None => self.complete &= is_retired(message, number, &value),
                Some((place, row)) => {
                    let Some(span) = spans.get_mut(place) else { continue };
                    if span.is_empty() {
                        span.start = start;
                    } else if row.cardinality == Cardinality::One && row.kind == Scalar::Message {
                        return Err(Error::malformed("a field stands twice").within(row.json_name()));
                    } else if row.cardinality == Cardinality::One {
                        span.start = start;
                    }
                    span.end = end;
                }
            }
            start = end;
        }
        Ok(spans)
    }

    fn member(&mut self, row: &FieldRow, raw: &[u8], span: Span, depth: usize) -> Result<(), Error> {
        let mut values =
            Values { row, fields: Fields::from(raw.get(..span.end).unwrap_or_default(), span.start) };
        if row.cardinality == Cardinality::One {
            return self.one(row, values.next().transpose()?, depth);
        }
        if span.is_empty() {
            if !row.omits_empty() {
                self.name(row);
                self.out.extend_from_slice(b"null");
            }
            return Ok(());
        }
        self.name(row);
        if row.cardinality == Cardinality::Map {
            return self.map(row, values, depth);
        }
        self.out.push(b'[');
        for (at, value) in values.enumerate() {
            let inside = |error: Error| error.within(&format!("[{at}]"));
            self.element(row, value.map_err(inside)?, depth).map_err(inside)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn one(&mut self, row: &FieldRow, value: Option<FieldValue<'_>>, depth: usize) -> Result<(), Error> {
        if row.is_inline() {
            return self.members(row.target(), bytes(value.unwrap_or(FieldValue::Bytes(b"")))?, depth + 1);
        }
        match (value, row.kind) {
            (None, _) if row.is_pointer() && row.omits_empty() => return Ok(()),
            (None, _) if row.is_pointer() => return self.null(row),
            // Lists that are messages on the wire, and bytes, know null.
            (None, Scalar::Bytes) => return if row.omits_empty() { Ok(()) } else { self.null(row) },
            (None, Scalar::Message) if row.target().codec() == Codec::Items => {
                return if row.omits_empty() { Ok(()) } else { self.null(row) };
            }
            (None | Some(FieldValue::Bytes(b"")), Scalar::Message) if row.omits_zero() => return Ok(()),
            (None | Some(FieldValue::Varint(0) | FieldValue::Fixed64(0) | FieldValue::Bytes(b"")), kind)
                if row.omits_empty() && !row.is_pointer() && kind != Scalar::Message =>
            {
                return Ok(());
            }
            _ => {}
        }
        let zero = match row.kind {
            Scalar::String | Scalar::Bytes | Scalar::Message => FieldValue::Bytes(b""),
            Scalar::Int32 | Scalar::Int64 | Scalar::Bool => FieldValue::Varint(0),
            Scalar::Double => FieldValue::Fixed64(0),
        };
        self.name(row);
        self.value(row, value.unwrap_or(zero), depth)
    }

    fn null(&mut self, row: &FieldRow) -> Result<(), Error> {
        self.name(row);
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    /// Appends an element of a list; a packed one is several.
    fn element(&mut self, row: &FieldRow, value: FieldValue<'_>, depth: usize) -> Result<(), Error> {
        if let (Scalar::Int32 | Scalar::Int64 | Scalar::Bool, FieldValue::Bytes(packed)) = (row.kind, value) {
            for number in proto::packed(packed) {
                self.separate();
                self.value(row, FieldValue::Varint(number?), depth)?;
            }
            return Ok(());
        }
        self.separate();
        self.value(row, value, depth)
    }

    /// Appends a map in the order of its keys; of two entries with one key the last counts.
    fn map(&mut self, row: &FieldRow, values: Values<'_>, depth: usize) -> Result<(), Error> {
        let mut entries: Vec<(&[u8], FieldValue<'_>)> = Vec::new();
        for value in values {
            let (mut key, mut content): (&[u8], _) = (b"", FieldValue::Bytes(b""));
            for field in Fields::new(bytes(value?)?) {
                match field? {
                    (1, FieldValue::Bytes(text)) => key = text,
                    (2, value) => content = value,
                    _ => self.complete = false,
                }
            }
            entries.push((key, content));
        }
        if !entries.is_sorted_by(|a, b| a.0 < b.0) {
            // Stable, so that the last of equal ones stays last.
            entries.sort_by_key(|(key, _)| *key);
            entries.reverse();
            entries.dedup_by_key(|(key, _)| *key);
            entries.reverse();
        }
        self.out.push(b'{');
        for (key, content) in entries {
            self.separate();
            json::push_lossy(self.out, key);
            self.out.push(b':');
            self.value(row, content, depth).map_err(|error| error.within(&String::from_utf8_lossy(key)))?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Appends a value of a field.
    fn value(&mut self, row: &FieldRow, value: FieldValue<'_>, depth: usize) -> Result<(), Error> {
        if self.out.len() > self.limit {
            return Err(Error::TooLarge);
        }
        match (row.kind, value) {
            (Scalar::Message, FieldValue::Bytes(raw)) => return self.message(row.target(), raw, depth + 1),
            (Scalar::String, FieldValue::Bytes(text)) => json::push_lossy(self.out, text),
            (Scalar::Bytes, FieldValue::Bytes(bytes)) => {
                self.out.push(b'"');
                let start = self.out.len();
                self.out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
                let room = self.out.get_mut(start..).unwrap_or_default();
                let written = STANDARD.encode_slice(bytes, room);
                debug_assert!(written.is_ok(), "there is room for all of it");
                self.out.push(b'"');
            }
            (Scalar::Int32, FieldValue::Varint(number)) => self.number(special::to_i32(number)),
            (Scalar::Int64, FieldValue::Varint(number)) => self.number(number.cast_signed()),
            (Scalar::Bool, FieldValue::Varint(number)) => {
                self.out.extend_from_slice(if number == 0 { b"false" } else { b"true" });
            }
            (Scalar::Double, FieldValue::Fixed64(bits)) => {
                if !json::push_float(self.out, f64::from_bits(bits)) {
                    return Err(Error::malformed("a number is none that JSON knows"));
                }
            }
            _ => return Err(Error::malformed("the field has another wire type")),
        }
        Ok(())
    }

    fn number(&mut self, number: impl std::fmt::Display) {
        use std::io::Write as _;
        let written = write!(self.out, "{number}");
        debug_assert!(written.is_ok(), "a Vec takes all that is written to it");
    }

    fn or_array(&mut self, message: Message, raw: &[u8], depth: usize) -> Result<(), Error> {
        let spans = self.spans(message, raw)?;
        let mut parts = message.fields().iter().zip(spans);
        let (Some((object, object_span)), Some((array, array_span))) = (parts.next(), parts.next()) else {
            return Err(Error::malformed("the table does not say what it is"));
        };
        let values = |row, span: Span| Values {
            row,
            fields: Fields::from(raw.get(..span.end).unwrap_or_default(), span.start),
        };
        if !array_span.is_empty() {
            self.out.push(b'[');
            for value in values(array, array_span) {
                self.element(array, value?, depth)?;
            }
            self.out.push(b']');
            return Ok(());
        }
        match values(object, object_span).next() {
            Some(value) => self.value(object, value?, depth),
            None => {
                self.out.extend_from_slice(b"null");
                Ok(())
            }
        }
    }

    fn or_bool(&mut self, message: Message, raw: &[u8], depth: usize) -> Result<(), Error> {
        let mut allows = false;
        let mut object = None;
        for field in Fields::new(raw) {
            match field? {
                (1, FieldValue::Varint(value)) => allows = value != 0,
                (2, FieldValue::Bytes(schema)) => object = Some(schema),
                _ => self.complete = false,
            }
        }
        match (object, message.numbered(2)) {
            (Some(schema), Some((_, row))) => self.message(row.target(), schema, depth + 1),
            _ => {
                self.out.extend_from_slice(if allows { b"true" } else { b"false" });
                Ok(())
            }
        }
    }

    fn items(&mut self, message: Message, raw: &[u8], depth: usize) -> Result<(), Error> {
        self.out.push(b'[');
        for field in Fields::new(raw) {
            match (field?, message.numbered(1)) {
                ((1, value), Some((_, row))) => self.element(row, value, depth)?,
                _ => self.complete = false,
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn name(&mut self, row: &FieldRow) {
        self.separate();
        json::push_string(self.out, row.json_name());
        self.out.push(b':');
    }

    fn separate(&mut self) {
        if !matches!(self.out.last(), Some(b'{' | b'[')) {
            self.out.push(b',');
        }
    }
}

/// The values of one field, in the order in which they stand.
struct Values<'a> {
    row: &'a FieldRow,
    fields: Fields<'a>,
}

impl<'a> Iterator for Values<'a> {
    type Item = Result<FieldValue<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.fields.next()? {
                Ok((number, value)) if number == u32::from(self.row.number) => return Some(Ok(value)),
                Ok(_) => {}
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}

fn bytes(value: FieldValue<'_>) -> Result<&[u8], Error> {
    match value {
        FieldValue::Bytes(bytes) => Ok(bytes),
        _ => Err(Error::malformed("the field has another wire type")),
    }
}
