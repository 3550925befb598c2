//! Merging two lists.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::order::{Keys, normalise, partition};
use super::place::List;
use super::{DIRECTIVE, Error, Merger, Object};
use crate::text;

/// A merged list.
pub(super) struct Merged {
    pub elements: Vec<Value>,
    /// The order of the current list as the API server sees it afterwards, for `$setElementOrder`. There, an element
    /// that the patch adds takes the place in memory of one that it deletes, and so counts as one of the old ones.
    pub old_order: Vec<Value>,
}

impl Merged {
    fn unordered(elements: Vec<Value>) -> Merged {
        Merged { old_order: elements.clone(), elements }
    }
}

impl Merger {
    pub(super) fn list(
        &self,
        current: Vec<Value>,
        patch: Vec<Value>,
        list: List,
        is_delete_list: bool,
    ) -> Result<Merged, Error> {
        let merges = list.merges || is_delete_list && self.release.cleans_added_values();
        if !merges {
            return Ok(Merged { old_order: current, elements: patch });
        }
        let Some(are_objects) = element_type(&[&current, &patch])? else {
            return Ok(Merged::unordered(current));
        };
        if !are_objects && is_delete_list {
            let gone: HashSet<String> = patch.iter().map(identity).collect();
            let rest = current.into_iter().filter(|value| !gone.contains(&identity(value)));
            return Ok(Merged::unordered(rest.collect()));
        }
        let (merged, patch, old, old_order) = if are_objects {
            let key = list
                .key
                .ok_or_else(|| Error::Other("cannot merge lists without merge key for struct".to_owned()))?;
            self.elements(current, patch, list, key)?
        } else {
            let merged = union(&current, &patch);
            (merged, patch, current.clone(), current)
        };
        let (named, others) = partition(merged, &patch, list.key)?;
        let keys = Keys::of(are_objects, list.key);
        let elements = normalise(named, others, &patch, &old, keys)?;
        Ok(Merged { elements, old_order })
    }

    /// Merges elements by their key. What comes back: the merged elements, the patch's without directives, the current
    /// list as it is compared with inside, and as [`Merged::old_order`].
    #[allow(clippy::type_complexity, reason = "used once, three lines above")]
    fn elements(
        &self,
        current: Vec<Value>,
        patch: Vec<Value>,
        list: List,
        key: &'static str,
    ) -> Result<(Vec<Value>, Vec<Value>, Vec<Value>, Vec<Value>), Error> {
        let before = current.len();
        let Specials { mut current, patch, replaces } = specials(current, patch, key)?;
        if replaces {
            return Ok((patch.clone(), Vec::new(), patch, current));
        }
        let freed = before - current.len();
        let kept = current.len();
        let mut places = HashMap::new();
        for (at, element) in current.iter().enumerate() {
            if let Some(value) = element.get(key) {
                places.entry(identity(value)).or_insert(at);
            }
        }
        for element in &patch {
            let Value::Object(element) = element else { return Err(Error::not_an_object(element)) };
            let name = element.get(key).ok_or_else(|| Error::no_merge_key(element, key))?;
            let at = *places.entry(identity(name)).or_insert(current.len());
            match current.get_mut(at) {
                Some(Value::Object(now)) => {
                    *now = self.object(std::mem::take(now), element.clone(), list.place)?;
                }
                _ => current.push(Value::Object(element.clone())),
            }
        }
        let old = current.iter().take(kept).cloned().collect();
        let old_order = current.iter().take(kept + freed).cloned().collect();
        Ok((current, patch, old, old_order))
    }
}

struct Specials {
    /// The current list without what the patch deletes.
    current: Vec<Value>,
    /// The patch without directives.
    patch: Vec<Value>,
    /// Whether the patch's elements are to be all there is.
    replaces: bool,
}

/// Acts on the elements of a patch that hold `$patch`.
fn specials(mut current: Vec<Value>, patch: Vec<Value>, key: &str) -> Result<Specials, Error> {
    let mut replaces = false;
    let mut rest = Vec::with_capacity(patch.len());
    let mut deleted = HashSet::new();
    for element in patch {
        let Value::Object(object) = element else { return Err(Error::not_an_object(&element)) };
        let Some(directive) = object.get(DIRECTIVE) else {
            rest.push(Value::Object(object));
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                let name = object.get(key).ok_or_else(|| Error::no_merge_key(&object, key))?;
                deleted.insert(identity(name));
            }
            Some("replace") => replaces = true,
            Some("merge") => {
                return Err(Error::Other("merging lists cannot yet be specified in the patch".to_owned()));
            }
            _ => return Err(Error::unknown_directive(&directive.clone(), object)),
        }
    }
    current.retain(|element| element.get(key).is_none_or(|name| !deleted.contains(&identity(name))));
    Ok(Specials { current, patch: rest, replaces })
}

/// All values of both lists, each once.
fn union(current: &[Value], patch: &[Value]) -> Vec<Value> {
    let mut seen = HashSet::new();
    current.iter().chain(patch).filter(|value| seen.insert(identity(value))).cloned().collect()
}

/// What two values have in common exactly if Go's `==` holds between them: `1` and `1.0` are not one value.
pub(super) fn identity(value: &Value) -> String {
    value.to_string()
}

/// Whether the elements of all lists are objects; `None` if there are no elements.
pub(super) fn element_type(lists: &[&[Value]]) -> Result<Option<bool>, Error> {
    let mut elements = lists.iter().copied().flatten();
    let Some(first) = elements.next() else { return Ok(None) };
    match first {
        Value::Array(_) => return Err(Error::ListOfLists),
        // The API server stumbles over these.
        Value::Null => return Err(Error::Other("null is no element of a list that is merged".to_owned())),
        _ => {}
    }
    if elements.any(|element| text::go_type(element) != text::go_type(first)) {
        let lists: Vec<String> = lists.iter().map(|list| text::go_list(list)).collect();
        let what = format!("list element types are not identical: [{}]", lists.join(" "));
        return Err(Error::Other(what));
    }
    Ok(Some(first.is_object()))
}

/// The value as an object.
pub(super) fn object(value: &Value) -> Result<&Object, Error> {
    value.as_object().ok_or_else(|| Error::not_an_object(value))
}
