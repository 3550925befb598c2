//! The protobuf wire format, and the envelope in which Kubernetes sends a message.
//!
//! Kubernetes writes a message the way gogo's generator does for proto2: fields in ascending order, every field that
//! is not a pointer written even when it is zero (`apimachinery:pkg/runtime/serializer/protobuf`).

mod read;
mod write;

pub(crate) use read::packed;
pub use read::{Envelope, FieldValue, Fields, Malformed};
pub(crate) use write::{begin, end};
pub use write::{push_bytes, push_message, push_string, push_varint, push_varint_field, varint_len};

/// What a Kubernetes object in protobuf begins with, before the envelope (`runtime.Unknown`).
pub const MAGIC: &[u8; 4] = b"k8s\0";

/// The envelope around a message: magic, type, message, and the two empty fields that the API server writes after it.
pub fn envelope(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let type_len = field_len(api_version.len()) + field_len(kind.len());
    let mut out = Vec::with_capacity(MAGIC.len() + field_len(type_len) + field_len(message.len()) + 4);
    out.extend_from_slice(MAGIC);
    push_message(&mut out, 1, |out| {
        push_string(out, 1, api_version);
        push_string(out, 2, kind);
    });
    push_bytes(&mut out, 2, message);
    push_bytes(&mut out, 3, b"");
    push_bytes(&mut out, 4, b"");
    out
}

/// The length of a length-delimited field with a number below 16.
fn field_len(content: usize) -> usize {
    1 + varint_len(content as u64) + content
}
