//! Versions in JSON: in an object, in a patch that looks like one, in the operations of a JSON patch.
//!
//! Of members with one key each is changed, for what a second one does to the first depends on who reads.

use std::borrow::Cow;
use std::ops::Range;

use super::{Change, NotMapped, Place, is_none};
use crate::json::{Node, Tape, push_string};

/// The object, or merge patch, with its versions changed.
pub(super) fn change<'a>(
    body: &'a [u8],
    places: &[Place],
    change: &mut dyn Change,
) -> Result<Cow<'a, [u8]>, NotMapped> {
    change_in(&Tape::parse(body)?, body, places, change)
}

/// The same, of a document that has been read already.
pub(super) fn change_in<'a>(
    tape: &Tape<'a>,
    body: &'a [u8],
    places: &[Place],
    change: &mut dyn Change,
) -> Result<Cow<'a, [u8]>, NotMapped> {
    let mut edits = Edits { change, of: Vec::new() };
    for place in places {
        edits.below(tape.root(), place.names)?;
    }
    Ok(edits.splice(body))
}

/// The JSON patch (RFC 6902) with the versions in the values of its operations changed. What an operation does is the
/// cloud's business; those that have no use for a value may carry one.
pub(super) fn change_operations<'a>(
    body: &'a [u8],
    places: &[Place],
    change: &mut dyn Change,
) -> Result<Cow<'a, [u8]>, NotMapped> {
    let tape = Tape::parse(body)?;
    let mut edits = Edits { change, of: Vec::new() };
    for operation in tape.root().elements() {
        let Some(path) = operation.member("path").and_then(Node::text) else { continue };
        for place in places {
            let Some(names) = names_below(&path, place.names) else { continue };
            for (_, value) in operation.members().filter(|(key, _)| is(*key, "value")) {
                if names.is_empty() {
                    edits.change.enter(&|_, _| String::new());
                }
                edits.below(value, names)?;
            }
        }
    }
    Ok(edits.splice(body))
}

/// The names that lead on to a version from where a pointer leads to (RFC 6901), if it is on the way.
///
/// As the API server's library has it, a pointer counts from its first slash on. Its escapes need no decoding: none of them
/// stands for a letter.
fn names_below<'n>(pointer: &str, names: &'n [&'n str]) -> Option<&'n [&'n str]> {
    if pointer.is_empty() {
        return Some(names);
    }
    let (_, tokens) = pointer.split_once('/')?;
    tokens.split('/').try_fold(names, |names, token| {
        let (name, rest) = names.split_first()?;
        (*name == token).then_some(rest)
    })
}

fn is(key: Node<'_, '_>, name: &str) -> bool {
    key.text().is_some_and(|key| key == name)
}

/// Texts to be put in place of others, and who says which.
struct Edits<'c> {
    change: &'c mut dyn Change,
    of: Vec<(Range<usize>, String)>,
}

impl Edits<'_> {
    /// Notes what becomes of the versions to which names lead from a value.
    fn below(&mut self, value: Node<'_, '_>, names: &[&str]) -> Result<(), NotMapped> {
        let Some((name, rest)) = names.split_first() else { return self.version(value) };
        if rest.is_empty() {
            let text = |name: &str| value.member(name).and_then(Node::text).unwrap_or_default().into_owned();
            self.change.enter(&|name, _| text(name));
        }
        for (_, value) in value.members().filter(|(key, _)| is(*key, name)) {
            self.below(value, rest)?;
        }
        Ok(())
    }

    fn version(&mut self, value: Node<'_, '_>) -> Result<(), NotMapped> {
        if let Some(version) = value.text().filter(|version| !is_none(version)) {
            let changed = self.change.version(&version)?;
            if changed != version {
                self.of.push((value.span(), changed));
            }
        }
        Ok(())
    }

    /// The document with all that was noted put into it.
    fn splice(mut self, document: &[u8]) -> Cow<'_, [u8]> {
        if self.of.is_empty() {
            return Cow::Borrowed(document);
        }
        self.of.sort_by_key(|(place, _)| place.start);
        let mut out = Vec::with_capacity(document.len() + 16 * self.of.len());
        let mut done = 0;
        for (place, text) in &self.of {
            out.extend_from_slice(document.get(done..place.start).unwrap_or_default());
            push_string(&mut out, text);
            done = place.end;
        }
        out.extend_from_slice(document.get(done..).unwrap_or_default());
        Cow::Owned(out)
    }
}
