//! Strategic merge patches: merge patches that know which lists are sets of named things.
//!
//! What is done is what `apimachinery:pkg/util/strategicpatch/patch.go` does (`StrategicMergeMapPatch`), oddities
//! included, since kubelet computes its patches against exactly that. In the order in which they act on one object:
//!
//! | in the patch | does |
//! |---|---|
//! | `$patch: replace` | the rest of this object becomes the value |
//! | `$patch: delete` | the value becomes empty |
//! | `$retainKeys: [k…]` | members of the current object that are not named go |
//! | `$setElementOrder/f: [e…]` | the list `f` is merged, then ordered: named elements as named, others as they were |
//! | `$deleteFromPrimitiveList/f: [v…]` | these values leave the list `f` |
//! | `f: null` | the member goes |
//! | `f: […]` | a list with a merge key is merged element by element, a set of values is united, others are replaced |
//! | an element with `$patch: delete` | elements with its key go |
//! | an element with `$patch: replace` | the current elements go, the patch's others stay |

mod clean;
mod list;
mod order;
mod place;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use serde_json::{Map, Value};
use wire::Status;
use wire::schema::Message;
use wire::status::Details;

use crate::release::Release;
use crate::text;
use place::Place;

type Object = Map<String, Value>;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

/// Why a strategic merge patch cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A directive has not the form of one: 400.
    Format(&'static str),
    /// A list in a list: 422.
    ListOfLists,
    /// All else, for which the API server has no code of its own: 500, with these words.
    Other(String),
}

impl Error {
    const PRIMITIVE_LIST: Error = Error::Format("invalid patch format of primitive list");
    const RETAIN_KEYS: Error = Error::Format("invalid patch format of retainKeys");
    const SET_ORDER: Error = Error::Format("invalid patch format of setElementOrder list");

    fn bad_type(expected: &Value, found: &Value) -> Error {
        Error::Other(format!(
            "expected a {}, but received a {}",
            text::go_type(expected),
            text::go_type(found)
        ))
    }

    fn not_a_list(found: &Value) -> Error {
        Error::bad_type(&Value::Array(Vec::new()), found)
    }

    fn not_an_object(found: &Value) -> Error {
        Error::bad_type(&Value::Object(Object::new()), found)
    }

    fn no_merge_key(element: &Object, key: &str) -> Error {
        let element = text::go(&Value::Object(element.clone()));
        Error::Other(format!("map: {element} does not contain declared merge key: {key}"))
    }

    fn unknown_directive(directive: &Value, object: Object) -> Error {
        let directive = match directive {
            Value::String(directive) => directive.clone(),
            other => format!("%!s({}={})", text::go_type(other), text::go(other)),
        };
        let object = text::go(&Value::Object(object));
        Error::Other(format!("unknown patch type: {directive} in map: {object}"))
    }

    /// The API server's answer (`interpretStrategicMergePatchError` in its `handlers/patch.go`).
    pub fn to_status(&self) -> Status {
        match self {
            Error::Format(what) => Status::bad_request(*what),
            Error::ListOfLists => unprocessable(),
            Error::Other(what) => Status::failure(500, "", what.as_str()),
        }
    }
}

/// 422 for a patch that could be read but not applied; the API server says no more.
pub(crate) fn unprocessable() -> Status {
    let text = "the server rejected our request due to an error in our request";
    Status { details: Some(Box::new(Details::default())), ..Status::failure(422, "Invalid", text) }
}

/// Applies `patch` to `current`, an object of this message.
///
/// # Errors
/// See [`Error`]. Nothing is said about which of several faults is found.
pub fn apply(current: Object, patch: Object, message: Message, release: Release) -> Result<Object, Error> {
    Merger { release }.object(current, patch, Place::Message(message))
}

struct Merger {
    release: Release,
}

impl Merger {
    fn object(&self, mut current: Object, mut patch: Object, place: Place) -> Result<Object, Error> {
        if let Some(directive) = patch.get(DIRECTIVE) {
            return match directive.as_str() {
                Some("replace") => {
                    patch.remove(DIRECTIVE);
                    Ok(patch)
                }
                Some("delete") => Ok(Object::new()),
                _ => Err(Error::unknown_directive(&directive.clone(), patch)),
            };
        }
        retain_keys(&mut current, &mut patch)?;
        self.ordered_lists(&mut current, &mut patch, place)?;
        // The API server takes members in no order. Deleting last is what a patch with both means.
        let (deletes, others): (Vec<_>, Vec<_>) =
            patch.into_iter().partition(|(key, _)| key.starts_with(DELETE_FROM));
        for (key, value) in others.into_iter().chain(deletes) {
            self.member(&mut current, key, value, place)?;
        }
        Ok(current)
    }

    fn member(&self, current: &mut Object, key: String, value: Value, place: Place) -> Result<(), Error> {
        let is_delete_list = key.starts_with(DELETE_FROM);
        let key = match is_delete_list {
            true => Some(directed_field(&key, DELETE_FROM).ok_or(Error::PRIMITIVE_LIST)?)
                .filter(|field| !field.is_empty())
                .map_or_else(|| key.clone(), str::to_owned),
            false => key,
        };
        if value.is_null() {
            current.remove(&key);
            return Ok(());
        }
        let slot = current.get_mut(&key).filter(|now| text::go_type(now) == text::go_type(&value));
        match (slot, value) {
            (Some(Value::Object(now)), Value::Object(value)) => {
                *now = self.object(std::mem::take(now), value, place.field(&key)?.place)?;
            }
            (Some(Value::Array(now)), Value::Array(value)) => {
                let list = place.list(&key)?;
                let merged = self.list(std::mem::take(now), value, list, is_delete_list)?;
                *now = merged.elements;
            }
            (Some(now), value) => *now = value,
            (None, value) => self.add(current, key, value, is_delete_list),
        }
        Ok(())
    }

    /// Takes a value that has nothing in the current object to be merged with.
    fn add(&self, current: &mut Object, key: String, value: Value, is_delete_list: bool) {
        if !self.release.cleans_added_values() {
            current.insert(key, value);
        } else if !is_delete_list {
            match clean::added(value) {
                Some(value) => current.insert(key, value),
                None => current.remove(&key),
            };
        }
    }
}

/// The field after the slash of `$directive/field`.
fn directed_field<'k>(key: &'k str, directive: &str) -> Option<&'k str> {
    let (found, field) = key.split_once('/')?;
    (found == directive).then_some(field)
}

/// Acts on `$retainKeys` and takes it out of the patch.
fn retain_keys(current: &mut Object, patch: &mut Object) -> Result<(), Error> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else { return Err(Error::RETAIN_KEYS) };
    let keys: HashSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let is_exempt = |key: &str| key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !is_exempt(key) && !keys.contains(key.as_str())) {
        return Err(Error::RETAIN_KEYS);
    }
    current.retain(|key, _| keys.contains(key.as_str()));
    Ok(())
}
