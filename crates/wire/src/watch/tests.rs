use super::*;
use crate::object::Object;
use crate::status::Status;

const POD: &str = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a\"}{","resourceVersion":"5"},"spec":{"containers":null},"status":{}}"#;

fn pod(encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Json => POD.as_bytes().to_vec(),
        Encoding::Protobuf => transcode::to_protobuf(POD.as_bytes()).unwrap().bytes,
    }
}

/// A stream of one event of each type, and the events.
fn stream(encoding: Encoding) -> (Vec<u8>, Vec<Event>) {
    let gone = Status::expired("too old resource version: 1 (5)").encode(encoding);
    let events = [
        (EventType::Added, pod(encoding)),
        (EventType::Modified, pod(encoding)),
        (EventType::Deleted, pod(encoding)),
        (EventType::Bookmark, bookmark("v1", "Pod", "9", true, encoding)),
        (EventType::Error, gone.trim_ascii_end().to_vec()),
    ];
    let mut out = Vec::new();
    for (event, object) in &events {
        push_event(&mut out, encoding, *event, object);
    }
    (out, events.map(|(event, object)| Event { event, object }).to_vec())
}

#[test]
fn frames_are_the_api_servers() {
    let mut json = Vec::new();
    push_event(&mut json, Encoding::Json, EventType::Added, b"{\"a\":1}\n");
    assert_eq!(json, b"{\"type\":\"ADDED\",\"object\":{\"a\":1}}\n");
    let mut protobuf = Vec::new();
    push_event(&mut protobuf, Encoding::Protobuf, EventType::Added, b"k8s\0x");
    assert_eq!(protobuf, b"\0\0\0\x10\x0a\x05ADDED\x12\x07\x0a\x05k8s\0x");
}

#[test]
fn p4_events_are_read_wherever_the_stream_is_cut() {
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let (bytes, expected) = stream(encoding);
        for size in [1, 2, 3, 7, 64, bytes.len()] {
            let mut decoder = Decoder::new(encoding);
            let mut events = Vec::new();
            for chunk in bytes.chunks(size) {
                decoder.push(chunk);
                while let Some(event) = decoder.next_event().unwrap() {
                    events.push(event);
                }
            }
            assert_eq!(events, expected, "{encoding:?} {size}");
            assert!(decoder.is_between_frames());
        }
    }
}

#[test]
fn a_stream_that_ends_in_a_frame_is_noticed() {
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let (bytes, _) = stream(encoding);
        let mut decoder = Decoder::new(encoding);
        decoder.push(&bytes[..bytes.len() - 2]);
        while decoder.next_event().unwrap().is_some() {}
        assert!(!decoder.is_between_frames());
    }
}

#[test]
fn p4_the_end_of_the_initial_events_is_said_and_seen() {
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        for (api_version, kind) in [("v1", "Pod"), ("apps/v1", "Deployment"), ("example.com/v1", "Widget")] {
            let object = bookmark(api_version, kind, "17", true, encoding);
            let end = Event { event: EventType::Bookmark, object: object.clone() };
            assert!(end.ends_initial_events(encoding));
            let object = Object::parse(&object, encoding).unwrap();
            assert_eq!(
                (object.api_version(), object.kind(), &*object.resource_version()),
                (api_version, kind, "17")
            );
            assert_eq!(object.name(), "");
            let other = Event { object: bookmark(api_version, kind, "17", false, encoding), ..end.clone() };
            assert!(!other.ends_initial_events(encoding));
            let added = Event { event: EventType::Added, ..end };
            assert!(!added.ends_initial_events(encoding));
        }
    }
    assert_eq!(
        String::from_utf8(bookmark("v1", "Pod", "17", true, Encoding::Json)).unwrap(),
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"17","annotations":{"k8s.io/initial-events-end":"true"}},"spec":{"containers":null},"status":{}}"#
    );
}

#[test]
fn what_is_no_event_ends_the_stream() {
    let refused = |encoding, bytes: &[u8]| {
        let mut decoder = Decoder::new(encoding);
        decoder.push(bytes);
        decoder.next_event().is_err()
    };
    for bytes in
        [&b"x"[..], b"1", b"{}", b"[]", br#"{"type":"ADDED"}"#, br#"{"type":"OTHER","object":{}}"#, b"}"]
    {
        assert!(refused(Encoding::Json, bytes), "{bytes:?}");
    }
    for bytes in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\0", b"\0\0\0\x02\x0a\x05", b"\0\0\0\x07\x0a\x05ADDED"] {
        assert!(refused(Encoding::Protobuf, bytes), "{bytes:?}");
    }
    // A document that never ends is given up before it fills the memory.
    let mut decoder = Decoder::new(Encoding::Json);
    decoder.push(b"{\"type\":\"");
    let mib = vec![b'a'; 1 << 20];
    let gave_up = (0..40).any(|_| {
        decoder.push(&mib);
        decoder.next_event().is_err()
    });
    assert!(gave_up);
}

proptest::proptest! {
    #[test]
    fn no_stream_panics(chunks in proptest::collection::vec(proptest::collection::vec(0_u8..=255, 0..30), 0..10), json in "[{}\\[\\]\"a:, \\\\]{0,80}") {
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            let mut decoder = Decoder::new(encoding);
            for chunk in chunks.iter().map(Vec::as_slice).chain([json.as_bytes()]) {
                decoder.push(chunk);
                while let Ok(Some(_)) = decoder.next_event() {}
            }
        }
    }
}
