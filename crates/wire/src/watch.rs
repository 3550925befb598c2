//! Watch events: framed for a stream, and read from its chunks.
//!
//! In JSON one document stands after the other. In protobuf each frame is a length of four bytes, the greater first,
//! and a bare `WatchEvent` whose object is a whole envelope (`apimachinery:pkg/runtime/serializer/streaming`,
//! `…/serializer/protobuf` length-delimited framer).

mod decode;

#[cfg(test)]
mod tests;

pub use decode::{Decoder, Event};

use crate::json;
use crate::media::Encoding;
use crate::proto;
use crate::schema::Kind;
use crate::transcode;

/// The annotation of the bookmark behind the last initial event of a watch.
pub const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// It came into the watched set.
    Added,
    /// It changed inside it.
    Modified,
    /// It left it.
    Deleted,
    /// Nothing: the watch has come to this resourceVersion.
    Bookmark,
    /// The watch is over; the object is a `Status`.
    Error,
}

impl EventType {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Added => "ADDED",
            EventType::Modified => "MODIFIED",
            EventType::Deleted => "DELETED",
            EventType::Bookmark => "BOOKMARK",
            EventType::Error => "ERROR",
        }
    }

    fn parse(word: &str) -> Option<EventType> {
        let all = [
            EventType::Added,
            EventType::Modified,
            EventType::Deleted,
            EventType::Bookmark,
            EventType::Error,
        ];
        all.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Appends a frame. The object stands on its own in the stream's encoding: with `apiVersion` and `kind`.
pub fn push_event(out: &mut Vec<u8>, encoding: Encoding, event: EventType, object: &[u8]) {
    match encoding {
        Encoding::Json => {
            out.extend_from_slice(b"{\"type\":");
            json::push_string(out, event.as_str());
            out.extend_from_slice(b",\"object\":");
            out.extend_from_slice(object.trim_ascii());
            out.extend_from_slice(b"}\n");
        }
        Encoding::Protobuf => {
            let start = out.len();
            out.extend_from_slice(&[0; 4]);
            proto::push_string(out, 1, event.as_str());
            proto::push_message(out, 2, |out| proto::push_bytes(out, 1, object));
            // No frame is longer: no object is.
            let len = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
            if let Some(prefix) = out.get_mut(start..start + 4) {
                prefix.copy_from_slice(&length_prefix(len));
            }
        }
    }
}

#[allow(clippy::big_endian_bytes, reason = "the frame's own order")]
fn length_prefix(len: u32) -> [u8; 4] {
    len.to_be_bytes()
}

/// The object of a bookmark: nothing but kind and resourceVersion, and whether it ends the initial events.
pub fn bookmark(
    api_version: &str,
    kind: &str,
    resource_version: &str,
    ends_initial_events: bool,
    encoding: Encoding,
) -> Vec<u8> {
    let mut object = b"{\"kind\":".to_vec();
    json::push_string(&mut object, kind);
    object.extend_from_slice(b",\"apiVersion\":");
    json::push_string(&mut object, api_version);
    object.extend_from_slice(b",\"metadata\":{\"resourceVersion\":");
    json::push_string(&mut object, resource_version);
    if ends_initial_events {
        object.extend_from_slice(b",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}");
    }
    object.extend_from_slice(b"}}");
    if Kind::of(api_version, kind).is_none() {
        return match encoding {
            Encoding::Json => object,
            Encoding::Protobuf => bare_bookmark(api_version, kind, resource_version, ends_initial_events),
        };
    }
    // A built-in kind is written with the members that it always has.
    let protobuf = transcode::to_protobuf(&object).map_or_else(|_| object.clone(), |made| made.bytes);
    match encoding {
        Encoding::Protobuf => protobuf,
        Encoding::Json => transcode::to_json(&protobuf).map_or(object, |made| made.bytes),
    }
}

/// A bookmark of a kind that the table does not know: every kind has its metadata in field 1.
fn bare_bookmark(
    api_version: &str,
    kind: &str,
    resource_version: &str,
    ends_initial_events: bool,
) -> Vec<u8> {
    let mut raw = Vec::new();
    proto::push_message(&mut raw, 1, |out| {
        proto::push_string(out, 6, resource_version);
        if ends_initial_events {
            proto::push_message(out, 12, |out| {
                proto::push_string(out, 1, INITIAL_EVENTS_END);
                proto::push_string(out, 2, "true");
            });
        }
    });
    proto::envelope(api_version, kind, &raw)
}
