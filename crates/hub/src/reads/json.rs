//! Objects in JSON, whatever encoding they came in.

use serde_json::Value;
use wire::{Encoding, transcode};

/// An object, as far as the table knows its fields; `None` if it cannot be read.
pub fn of(bytes: &[u8], encoding: Encoding) -> Option<Value> {
    let json = transcode::transcode(bytes, encoding, Encoding::Json).ok()?;
    serde_json::from_slice(&json.bytes).ok()
}

/// An object with all of its fields; `None` if some would be lost.
pub fn whole(bytes: &[u8], encoding: Encoding) -> Option<Value> {
    if encoding == Encoding::Json {
        return serde_json::from_slice(bytes).ok();
    }
    let json = transcode::transcode(bytes, encoding, Encoding::Json).ok().filter(|json| json.complete)?;
    serde_json::from_slice(&json.bytes).ok()
}
