//! Events read from the chunks of a stream.

use super::{EventType, INITIAL_EVENTS_END};
use crate::json::{self, scan};
use crate::media::Encoding;
use crate::object::Object;
use crate::proto::{FieldValue, Fields, Malformed};

/// The largest frame that is taken: no object of the API comes near to it.
const MAX_FRAME: usize = 32 << 20;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub event: EventType,
    /// The object on its own, in the stream's encoding.
    pub object: Vec<u8>,
}

impl Event {
    /// Whether this is the bookmark behind the last initial event.
    pub fn ends_initial_events(&self, encoding: Encoding) -> bool {
        self.event == EventType::Bookmark
            && Object::parse(&self.object, encoding)
                .is_ok_and(|object| object.annotation(INITIAL_EVENTS_END).as_deref() == Some("true"))
    }
}

/// Reads a stream. Chunks may be cut anywhere; no byte is looked at again when the next chunk comes. An event in JSON is
/// checked as a whole before it is given out.
#[derive(Debug)]
pub struct Decoder {
    encoding: Encoding,
    buffer: Vec<u8>,
    /// Where the frame that is being read begins in the buffer.
    start: usize,
    document: Document,
}

/// How far a JSON document has been followed.
#[derive(Debug, Default)]
struct Document {
    at: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Decoder {
    /// Reads a stream in this encoding.
    pub fn new(encoding: Encoding) -> Decoder {
        Decoder { encoding, buffer: Vec::new(), start: 0, document: Document::default() }
    }

    /// Takes in the next chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        // What was read is let go, once it is worth moving the rest.
        if self.start > self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.document.at = self.document.at.saturating_sub(self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(chunk);
    }

    /// Whether the stream has come to the end of a frame, so that it may end here.
    pub fn is_between_frames(&self) -> bool {
        self.buffer.get(self.start..).unwrap_or_default().trim_ascii().is_empty()
    }

    /// The next event that is there as a whole. After an error the stream cannot be read on.
    pub fn next_event(&mut self) -> Result<Option<Event>, Malformed> {
        let frame = match self.encoding {
            Encoding::Json => self.json_frame()?,
            Encoding::Protobuf => self.protobuf_frame()?,
        };
        let Some(frame) = frame else {
            return if self.buffer.len().saturating_sub(self.start) > MAX_FRAME {
                Err(Malformed("an event is larger than any object"))
            } else {
                Ok(None)
            };
        };
        let bytes = self.buffer.get(frame.clone()).unwrap_or_default();
        let event = match self.encoding {
            Encoding::Json => json_event(bytes),
            Encoding::Protobuf => protobuf_event(bytes),
        };
        self.start = frame.end;
        self.document = Document { at: frame.end, ..Document::default() };
        event.map(Some)
    }

    fn json_frame(&mut self) -> Result<Option<std::ops::Range<usize>>, Malformed> {
        let Document { at, depth, in_string, escaped } = &mut self.document;
        while let Some(byte) = self.buffer.get(*at) {
            *at += 1;
            match byte {
                _ if *escaped => *escaped = false,
                b'\\' if *in_string => *escaped = true,
                b'"' if *depth > 0 => *in_string = !*in_string,
                _ if *in_string => {}
                b'{' | b'[' => *depth += 1,
                b'}' | b']' if *depth == 1 => return Ok(Some(self.start..*at)),
                b'}' | b']' if *depth > 1 => *depth -= 1,
                b' ' | b'\t' | b'\r' | b'\n' if *depth == 0 => self.start = *at,
                _ if *depth == 0 => return Err(Malformed("an event does not begin with a brace")),
                _ => {}
            }
        }
        Ok(None)
    }

    fn protobuf_frame(&mut self) -> Result<Option<std::ops::Range<usize>>, Malformed> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some((prefix, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let len = usize::try_from(length(*prefix)).unwrap_or(usize::MAX);
        if len > MAX_FRAME {
            return Err(Malformed("an event is larger than any object"));
        }
        let begin = self.start + prefix.len();
        Ok((rest.len() >= len).then(|| {
            self.start = begin;
            begin..begin + len
        }))
    }
}

#[allow(clippy::big_endian_bytes, reason = "the frame's own order")]
fn length(prefix: [u8; 4]) -> u32 {
    u32::from_be_bytes(prefix)
}

fn json_event(frame: &[u8]) -> Result<Event, Malformed> {
    json::check(frame).map_err(|error| Malformed(error.what))?;
    let root = scan::root(frame).ok_or(Malformed("an event is no JSON object"))?;
    let word = scan::member(frame, root.clone(), "type").and_then(|word| scan::text(frame, word));
    let object = scan::member(frame, root, "object").and_then(|object| frame.get(object));
    event(word.as_deref(), object)
}

fn protobuf_event(frame: &[u8]) -> Result<Event, Malformed> {
    let (mut word, mut object) = (None, None);
    for field in Fields::new(frame) {
        match field? {
            (1, FieldValue::Bytes(text)) => word = std::str::from_utf8(text).ok(),
            (2, FieldValue::Bytes(extension)) => {
                for field in Fields::new(extension) {
                    if let (1, FieldValue::Bytes(raw)) = field? {
                        object = Some(raw);
                    }
                }
            }
            _ => {}
        }
    }
    event(word, object)
}

fn event(word: Option<&str>, object: Option<&[u8]>) -> Result<Event, Malformed> {
    let event = word.and_then(EventType::parse).ok_or(Malformed("an event has no type that is known"))?;
    let object = object.ok_or(Malformed("an event has no object"))?;
    Ok(Event { event, object: object.to_vec() })
}
