//! Every kind of the API, filled in every field, from one encoding to the other and back.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test")]

mod support;

use serde_json::Value;
use wire::json::compact;
use wire::object::with_resource_version;
use wire::proto::Envelope;
use wire::schema::Kind;
use wire::transcode::{has_unknown_fields, message_to_json, message_to_protobuf, to_json, to_protobuf};
use wire::{Encoding, Object};

/// A watch event stands in a frame, not in an envelope of its own; `wire::watch` has it.
const NOT_AN_OBJECT: &str = "core.v1.WatchEvent";

fn samples() -> impl Iterator<Item = support::Sample> {
    support::samples().into_iter().flatten().filter(|sample| sample.name != NOT_AN_OBJECT)
}

fn compacted(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compact(&mut out, json).unwrap();
    out
}

#[test]
fn every_sample_in_protobuf_becomes_the_bytes_of_its_json() {
    let mut wrong = Vec::new();
    for sample in samples() {
        let made = match to_json(&sample.protobuf) {
            Ok(made) => made,
            Err(error) => {
                wrong.push(format!("{}: {error}", sample.name));
                continue;
            }
        };
        let value: Value = serde_json::from_slice(&made.bytes).unwrap();
        let expected: Value = serde_json::from_slice(&sample.json).unwrap();
        if !made.complete || made.bytes != compacted(&sample.json) || value != expected {
            wrong.push(format!("{}: {}", sample.name, String::from_utf8_lossy(&made.bytes)));
        }
    }
    assert!(wrong.is_empty(), "{} samples differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_sample_in_json_becomes_the_bytes_of_its_protobuf() {
    let mut wrong = Vec::new();
    for sample in samples() {
        match to_protobuf(&sample.json) {
            Ok(made) if made.complete && made.bytes == sample.protobuf => {}
            Ok(made) => wrong.push(format!(
                "{}: {} {:?}",
                sample.name,
                made.complete,
                String::from_utf8_lossy(&made.bytes)
            )),
            Err(error) => wrong.push(format!("{}: {error}", sample.name)),
        }
    }
    assert!(wrong.is_empty(), "{} samples differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_sample_has_a_field_that_the_table_does_not_know() {
    for sample in samples() {
        assert_eq!(has_unknown_fields(&sample.json, Encoding::Json), Ok(false), "{}", sample.name);
        assert_eq!(has_unknown_fields(&sample.protobuf, Encoding::Protobuf), Ok(false), "{}", sample.name);
    }
}

#[test]
fn the_sample_of_a_watch_event_is_read_and_written_too() {
    let message = Kind::find("", "v1", "WatchEvent").unwrap().message();
    for sample in support::samples().into_iter().flatten().filter(|sample| sample.name == NOT_AN_OBJECT) {
        let raw = Envelope::parse(&sample.protobuf).unwrap().raw;
        let (mut json, mut protobuf) = (Vec::new(), Vec::new());
        assert!(message_to_json(message, raw, None, &mut json).unwrap());
        assert!(message_to_protobuf(message, &sample.json, &mut protobuf).unwrap());
        assert!(json == compacted(&sample.json) && protobuf == raw);
    }
}

#[test]
fn every_sample_has_the_same_header_in_both_encodings_and_takes_a_resource_version() {
    for sample in samples() {
        let both = [(&sample.json, Encoding::Json), (&sample.protobuf, Encoding::Protobuf)];
        let [json, protobuf] = both.map(|(bytes, encoding)| Object::parse(bytes, encoding).unwrap());
        // Lists, and a Status, have the metadata of lists.
        if json.kind().ends_with("List") || json.kind() == "Status" {
            continue;
        }
        assert_eq!(json.header(), protobuf.header(), "{}", sample.name);
        assert_eq!(json.owner_references(), protobuf.owner_references(), "{}", sample.name);
        if &*json.resource_version() == "resourceVersionValue" && json.uid() == "uidValue" {
            for (bytes, encoding) in both {
                let spliced = with_resource_version(bytes, encoding, "7").unwrap();
                assert_eq!(Object::parse(&spliced, encoding).unwrap().resource_version(), "7");
                let back = with_resource_version(&spliced, encoding, "resourceVersionValue").unwrap();
                assert!(back == *bytes, "{}", sample.name);
            }
        }
    }
}
