//! Any JSON: what is read is JSON by another's judgement too, and what becomes protobuf says the same in both encodings.

#![no_main]

use edgekeep_fuzz::{objects, seeds};
use libfuzzer_sys::fuzz_target;
use wire::json::{Tape, compact};
use wire::object::with_resource_version;
use wire::transcode::{to_json, to_protobuf};
use wire::{Encoding, Object};

fuzz_target!(
    init: {
        let objects = objects(Encoding::Json);
        seeds(&objects.iter().map(Vec::as_slice).collect::<Vec<_>>());
    },
    |data: &[u8]| {
        // serde_json wants UTF-8 in strings, in pairs of surrogates, and numbers of some size; Go and we do not.
        if serde_json::from_slice::<serde_json::Value>(data).is_ok() {
            assert!(Tape::parse(data).is_ok());
        }
        assert_eq!(wire::json::check(data).is_ok(), Tape::parse(data).is_ok());
        let mut out = Vec::new();
        if compact(&mut out, data).is_ok() {
            assert!(Tape::parse(&out).is_ok());
        }
        if let Ok(made) = to_protobuf(data) {
            let json = to_json(&made.bytes).expect("what was written can be read");
            assert!(json.complete);
            // Raw JSON inside is escaped anew on the way out, so it is compared as JSON.
            let again = to_protobuf(&json.bytes).expect("what was written can be read");
            assert_eq!(to_json(&again.bytes).expect("it can be read"), json);
        }
        if let Ok(view) = Object::parse(data, Encoding::Json) {
            let _ = (view.header(), view.owner_references(), view.finalizers(), view.text(&["status", "podIPs", "ip"]));
            if let Ok(spliced) = with_resource_version(data, Encoding::Json, "7")
                && Tape::parse(data).is_ok()
            {
                assert!(Tape::parse(&spliced).is_ok());
            }
            let alone = view.to_bytes();
            if wire::json::check(data).is_ok() {
                assert_eq!(Object::parse(&alone, Encoding::Json).expect("it is an object").header(), view.header());
            }
        }
    }
);
