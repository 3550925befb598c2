//! Versions in YAML: found where it is JSON, else only known to be absent.
//!
//! kubectl and client-go send their apply patches as JSON under the media type of YAML. Whoever writes YAML himself is told
//! to send JSON if there is any way in which a version could stand there; a reader of YAML of our own could always be at
//! odds with the API server's.

use std::borrow::Cow;

use super::{Change, NotMapped, Place, json};
use crate::json::Tape;

/// The body with its versions changed, if it is JSON; as it is, if it surely holds none.
pub(super) fn change<'a>(
    body: &'a [u8],
    places: &[Place],
    change: &mut dyn Change,
) -> Result<Cow<'a, [u8]>, NotMapped> {
    match Tape::parse(body) {
        Ok(tape) => json::change_in(&tape, body, places, change),
        Err(_) if is_surely_without_version(body) => Ok(Cow::Borrowed(body)),
        Err(_) => Err(NotMapped::Yaml),
    }
}

/// Whether no key of the document can be `resourceVersion`: neither as it stands nor in another encoding (UTF-16 has a zero
/// byte in each of its letters), by escapes that stand for letters or join lines, or in base64 (`!!binary`, a tag that
/// also goes by its full name or by one that a directive gives it).
fn is_surely_without_version(body: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(body) else { return false };
    let may_spell_letters = |next: char| matches!(next, 'x' | 'u' | 'U' | '\r' | '\n') || !next.is_ascii();
    !["resourceVersion", "\0", "!!", "!<", "%TAG"].iter().any(|trace| text.contains(trace))
        && !text
            .match_indices('\\')
            .any(|(at, _)| text.get(at + 1..).is_some_and(|rest| rest.starts_with(may_spell_letters)))
}
