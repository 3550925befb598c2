//! Any protobuf: what becomes JSON is JSON, becomes protobuf again, and from there on both stay as they are. What the
//! table does not know is noticed or never there.

#![no_main]

use edgekeep_fuzz::{objects, seeds};
use libfuzzer_sys::fuzz_target;
use wire::object::with_resource_version;
use wire::proto::{Envelope, envelope};
use wire::schema::Kind;
use wire::transcode::{has_unknown_fields, to_json, to_protobuf};
use wire::{Encoding, Object};

fuzz_target!(
    init: {
        let objects = objects(Encoding::Protobuf);
        seeds(&objects.iter().map(Vec::as_slice).collect::<Vec<_>>());
    },
    |data: &[u8]| {
        check(data);
        // The same bytes as a message of some kind.
        if let Some((kind, raw)) = data.split_first()
            && let Some(kind) = Kind::all().nth(usize::from(*kind))
        {
            check(&envelope(&kind.api_version(), kind.name(), raw));
        }
    }
);

fn check(object: &[u8]) {
    let Ok(made) = to_json(object) else { return };
    let json: serde_json::Value = serde_json::from_slice(&made.bytes).expect("it is JSON");
    let opened = Envelope::parse(object).expect("it was read");
    assert_eq!(json["kind"], opened.kind);
    assert_eq!(has_unknown_fields(object, Encoding::Protobuf), Ok(!made.complete));
    let back = to_protobuf(&made.bytes).expect("what was written can be read");
    assert!(back.complete);
    let again = to_json(&back.bytes).expect("what was written can be read");
    assert_eq!(to_protobuf(&again.bytes).expect("it can be read").bytes, back.bytes);

    let view = Object::parse(object, Encoding::Protobuf).expect("it was read");
    let _ = (view.header(), view.owner_references(), view.finalizers(), view.text(&["spec", "nodeName"]));
    // Admission reviews and the like have something else where objects have their metadata.
    if json["metadata"].is_object()
        && !view.kind().ends_with("List")
        && view.kind() != "Status"
        && let Ok(spliced) = with_resource_version(object, Encoding::Protobuf, "7")
    {
        let spliced = Object::parse(&spliced, Encoding::Protobuf).expect("it was spliced");
        assert_eq!(spliced.resource_version(), "7");
        assert_eq!(spliced.name(), view.name());
    }
}
