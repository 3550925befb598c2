//! Walking down a JSON document without noting anything: for the few fields of an object that are read often.
//!
//! What is passed over is not checked; a document that is no JSON gives no value or a wrong one, never a panic.

use std::borrow::Cow;
use std::ops::Range;

use super::text::unescape;

/// The place of the value at a path of keys, from the document's root.
pub fn find(text: &[u8], path: &[&str]) -> Option<Range<usize>> {
    path.iter().try_fold(root(text)?, |object, key| member(text, object, key))
}

/// The place of the document's value, without space around it.
pub fn root(text: &[u8]) -> Option<Range<usize>> {
    let start = skip_space(text, 0);
    Some(start..skip_value(text, start)?)
}

/// Walks over the members of the document, which must be an object, and gives its place. Keys are given without quotes; one
/// with an escape is given as it would be without.
pub fn object(text: &[u8], mut visit: impl FnMut(&[u8], Range<usize>)) -> Option<Range<usize>> {
    let start = skip_space(text, 0);
    if text.get(start) != Some(&b'{') {
        return None;
    }
    let mut end = start + 1;
    for (key, value) in members(text, start..text.len()) {
        end = value.end;
        let raw = text.get(key.start + 1..key.end - 1).unwrap_or_default();
        if raw.contains(&b'\\') {
            visit(unescape(raw).as_bytes(), value);
        } else {
            visit(raw, value);
        }
    }
    let end = skip_space(text, end);
    (text.get(end) == Some(&b'}')).then_some(start..end + 1)
}

/// The place of a member of the object at a place. Of two with one key the last counts, as in Go.
pub fn member(text: &[u8], object: Range<usize>, key: &str) -> Option<Range<usize>> {
    let plain = key.bytes().all(|byte| byte >= 0x20 && !b"\"\\".contains(&byte));
    let mut found = None;
    for (name, value) in members(text, object) {
        let raw = text.get(name.start + 1..name.end - 1).unwrap_or_default();
        // An escaped key is rare; compare its text only then.
        if raw == key.as_bytes() && plain || raw.contains(&b'\\') && unescape(raw) == key {
            found = Some(value);
        }
    }
    found
}

/// The members of the object at a place: the places of key and value. Nothing if there is no object.
pub fn members(text: &[u8], object: Range<usize>) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let mut at = entry(text, &object, b'{');
    std::iter::from_fn(move || {
        let start = at?;
        at = None;
        if text.get(start) != Some(&b'"') {
            return None;
        }
        let name = start..skip_string(text, start)?;
        let colon = skip_space(text, name.end);
        if text.get(colon) != Some(&b':') {
            return None;
        }
        let value = skip_space(text, colon + 1);
        let value = value..skip_value(text, value)?;
        at = next(text, value.end, object.end);
        Some((name, value))
    })
}

/// The places of the elements of the array at a place. Nothing if there is no array.
pub fn elements(text: &[u8], array: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut at = entry(text, &array, b'[');
    std::iter::from_fn(move || {
        let start = at?;
        let value = start..skip_value(text, start)?;
        at = next(text, value.end, array.end);
        Some(value)
    })
}

/// The text of the string at a place; `None` if something else stands there.
pub fn text(text: &[u8], value: Range<usize>) -> Option<Cow<'_, str>> {
    text.get(value)?.strip_prefix(b"\"")?.strip_suffix(b"\"").map(unescape)
}

/// Where the first child of an array or object begins.
fn entry(text: &[u8], of: &Range<usize>, opening: u8) -> Option<usize> {
    (text.get(of.start) == Some(&opening)).then(|| skip_space(text, of.start + 1))
}

/// Where the child behind a comma begins.
fn next(text: &[u8], after: usize, end: usize) -> Option<usize> {
    next_child(text, after).filter(|child| *child < end)
}

/// Where the child of an array or object begins that follows the one that ends at a place.
pub(crate) fn next_child(text: &[u8], after: usize) -> Option<usize> {
    let comma = skip_space(text, after);
    (text.get(comma) == Some(&b',')).then(|| skip_space(text, comma + 1))
}

fn skip_space(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

/// Behind the closing quote of the string that begins at a place.
fn skip_string(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        match text.get(at)? {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// Behind the value that begins at a place.
fn skip_value(text: &[u8], start: usize) -> Option<usize> {
    match text.get(start)? {
        b'"' => skip_string(text, start),
        b'{' | b'[' => skip_nested(text, start),
        b't' | b'f' | b'n' | b'-' | b'0'..=b'9' => {
            let len = text.get(start..)?.iter().position(|byte| b",]} \t\r\n".contains(byte));
            Some(len.map_or(text.len(), |len| start + len))
        }
        _ => None,
    }
}

/// Behind the array or object that begins at a place.
fn skip_nested(text: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0_usize);
    loop {
        let rest = text.get(at..)?;
        at += rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']'))?;
        match text.get(at)? {
            b'"' => at = skip_string(text, at)?,
            b'{' | b'[' => (at, depth) = (at + 1, depth + 1),
            _ if depth == 1 => return Some(at + 1),
            _ => (at, depth) = (at + 1, depth.saturating_sub(1)),
        }
    }
}
