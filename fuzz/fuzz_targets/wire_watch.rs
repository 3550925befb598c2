//! Any stream, cut anywhere: the same events whole as in pieces, and what is read is written to the same events.

#![no_main]

use edgekeep_fuzz::{objects, seeds};
use libfuzzer_sys::fuzz_target;
use wire::Encoding;
use wire::watch::{Decoder, Event, EventType, push_event};

fuzz_target!(
    init: {
        let mut streams = Vec::new();
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            let mut stream = vec![3];
            for object in objects(encoding) {
                push_event(&mut stream, encoding, EventType::Added, &object);
            }
            streams.push(stream);
        }
        seeds(&streams.iter().map(Vec::as_slice).collect::<Vec<_>>());
    },
    |data: &[u8]| {
        let Some((size, stream)) = data.split_first() else { return };
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            let whole = read(encoding, stream, stream.len());
            assert_eq!(read(encoding, stream, usize::from(*size)), whole);
            let mut again = Vec::new();
            for event in &whole.0 {
                push_event(&mut again, encoding, event.event, &event.object);
            }
            assert_eq!(read(encoding, &again, again.len()), (whole.0, true));
        }
    }
);

/// The events in a stream that comes in pieces of this size, and whether nothing was wrong with it.
fn read(encoding: Encoding, stream: &[u8], size: usize) -> (Vec<Event>, bool) {
    let mut decoder = Decoder::new(encoding);
    let mut events = Vec::new();
    for chunk in stream.chunks(size.max(1)) {
        decoder.push(chunk);
        loop {
            match decoder.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(_) => return (events, false),
            }
        }
    }
    (events, true)
}
