//! Reading protobuf: fields one after the other, nothing copied.

use std::fmt;

use super::MAGIC;

/// Bytes that are no protobuf, or no envelope of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

/// What a field holds on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValue<'a> {
    /// A varint: numbers and truth values.
    Varint(u64),
    /// Eight bytes: a floating point number.
    Fixed64(u64),
    /// Four bytes; Kubernetes has none.
    Fixed32(u32),
    /// Text, bytes or a message.
    Bytes(&'a [u8]),
}

/// The fields of a message in the order in which they stand, each with the place where it begins.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// Reads the fields of a message.
    pub fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields { bytes, at: 0 }
    }

    /// Reads on from a place that was returned before.
    pub(crate) fn from(bytes: &'a [u8], at: usize) -> Fields<'a> {
        Fields { bytes, at }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.at
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(Malformed("a number is cut off"))?;
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            value |= bits.checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return if shift == 63 && bits > 1 {
                    Err(Malformed("a number is too large"))
                } else {
                    Ok(value)
                };
            }
        }
        Err(Malformed("a number is too long"))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Malformed> {
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len));
        let taken =
            end.and_then(|end| self.bytes.get(self.at..end)).ok_or(Malformed("a field is cut off"))?;
        self.at += taken.len();
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u32, FieldValue<'a>), Malformed> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number != 0);
        let number = number.ok_or(Malformed("a field has no number"))?;
        let value = match tag & 7 {
            0 => FieldValue::Varint(self.varint()?),
            1 => FieldValue::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = self.varint()?;
                FieldValue::Bytes(self.take(len)?)
            }
            5 => FieldValue::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Malformed("a field has a wire type that Kubernetes does not use")),
        };
        Ok((number, value))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N as u64)?.try_into().map_err(|_| Malformed("a field is cut off"))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, FieldValue<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.at = self.bytes.len();
        }
        Some(field)
    }
}

/// The varints of a packed list.
pub(crate) fn packed(bytes: &[u8]) -> impl Iterator<Item = Result<u64, Malformed>> {
    let mut fields = Fields::new(bytes);
    std::iter::from_fn(move || {
        let more = fields.at < fields.bytes.len();
        more.then(|| {
            let value = fields.varint();
            if value.is_err() {
                fields.at = fields.bytes.len();
            }
            value
        })
    })
}

/// An object in its envelope (`runtime.Unknown` behind [`MAGIC`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// `v1` or `group/version`.
    pub api_version: &'a str,
    /// The kind's name.
    pub kind: &'a str,
    /// The message.
    pub raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Opens an envelope. Only plain protobuf inside is read; what is compressed or of another type is refused.
    pub fn parse(bytes: &'a [u8]) -> Result<Envelope<'a>, Malformed> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(Malformed("it does not begin with k8s\\0"))?;
        let mut envelope = Envelope { api_version: "", kind: "", raw: b"" };
        let mut has_message = false;
        for field in Fields::new(rest) {
            match field? {
                (1, FieldValue::Bytes(type_meta)) => {
                    for field in Fields::new(type_meta) {
                        match field? {
                            (1, FieldValue::Bytes(text)) => envelope.api_version = utf8(text)?,
                            (2, FieldValue::Bytes(text)) => envelope.kind = utf8(text)?,
                            _ => {}
                        }
                    }
                }
                (2, FieldValue::Bytes(raw)) => (envelope.raw, has_message) = (raw, true),
                (3, FieldValue::Bytes(encoding)) if !encoding.is_empty() => {
                    return Err(Malformed("the object is compressed"));
                }
                (4, FieldValue::Bytes(kind))
                    if !matches!(kind, b"" | b"application/vnd.kubernetes.protobuf") =>
                {
                    return Err(Malformed("the envelope holds something else than protobuf"));
                }
                _ => {}
            }
        }
        // Without this, a list cut off in front of its message would be an empty one.
        if has_message { Ok(envelope) } else { Err(Malformed("the envelope holds no message")) }
    }
}

fn utf8(text: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(text).map_err(|_| Malformed("the type is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_they_stand() {
        let bytes = b"\x08\x96\x01\x12\x02ab\x19\x01\0\0\0\0\0\0\0\x25\x02\0\0\0";
        let fields: Vec<_> = Fields::new(bytes).map(Result::unwrap).collect();
        let expected = [
            (1, FieldValue::Varint(150)),
            (2, FieldValue::Bytes(b"ab")),
            (3, FieldValue::Fixed64(1)),
            (4, FieldValue::Fixed32(2)),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn bytes_that_are_no_protobuf_end_the_reading_once() {
        let broken: [&[u8]; 9] = [
            b"\x00\x00",
            b"\x08",
            b"\x08\xff",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x12\x05ab",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0b\x0c",
            b"\xf8\xff\xff\xff\xff\x01\x00",
        ];
        for bytes in broken {
            let fields: Vec<_> = Fields::new(bytes).collect();
            assert!(matches!(fields.as_slice(), [Err(_)]), "{bytes:?}");
        }
    }

    #[test]
    fn an_envelope_gives_back_what_was_put_into_it() {
        let bytes = crate::proto::envelope("apps/v1", "Deployment", b"\x08\x01");
        let opened = Envelope::parse(&bytes).unwrap();
        assert_eq!(
            (opened.api_version, opened.kind, opened.raw),
            ("apps/v1", "Deployment", &b"\x08\x01"[..])
        );
    }

    #[test]
    fn what_is_no_plain_envelope_is_refused() {
        assert!(Envelope::parse(b"{}").is_err());
        assert!(Envelope::parse(b"k8s").is_err());
        assert!(Envelope::parse(b"k8s\0\x0a\x04\x0a\x02v1").is_err());
        assert!(Envelope::parse(b"k8s\0\x0a\x03\x0a\x01\xff").is_err());
        assert!(Envelope::parse(b"k8s\0\x1a\x04gzip").is_err());
        assert!(Envelope::parse(b"k8s\0\x22\x10application/json").is_err());
    }
}
