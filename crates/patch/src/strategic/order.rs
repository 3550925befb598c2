//! The order of merged lists, and the directive that asks for one.

use std::collections::HashMap;

use serde_json::Value;

use super::list::{Merged, element_type, identity, object};
use super::place::{List, Place};
use super::{DIRECTIVE, Error, Merger, Object, SET_ORDER, clean, directed_field};
use crate::text;

/// Up to here, elements that an order does not name come to stand as the API server's insertion sort puts them.
const SORTED_BY_INSERTION: usize = 20;

/// What tells elements apart.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keys {
    /// Objects, by this member.
    Member(&'static str),
    /// Values, by themselves.
    Itself,
}

impl Keys {
    pub(super) fn of(are_objects: bool, key: Option<&'static str>) -> Keys {
        key.filter(|_| are_objects).map_or(Keys::Itself, Keys::Member)
    }

    fn identity(self, element: &Value) -> String {
        match self {
            Keys::Member(key) => identity(element.get(key).unwrap_or(&Value::Null)),
            Keys::Itself => identity(element),
        }
    }

    /// Where each element stands first.
    fn ranks(self, order: &[Value]) -> HashMap<String, usize> {
        let mut ranks = HashMap::with_capacity(order.len());
        for (at, element) in order.iter().enumerate() {
            ranks.entry(self.identity(element)).or_insert(at);
        }
        ranks
    }
}

impl Merger {
    /// Merges and orders each list for which the patch has `$setElementOrder`, and takes both out of the patch.
    pub(super) fn ordered_lists(
        &self,
        current: &mut Object,
        patch: &mut Object,
        place: Place,
    ) -> Result<(), Error> {
        let directives: Vec<String> =
            patch.keys().filter(|key| key.starts_with(SET_ORDER)).cloned().collect();
        for directive in directives {
            let order = match patch.remove(&directive) {
                Some(Value::Array(order)) => order,
                other => return Err(Error::not_a_list(&other.unwrap_or_default())),
            };
            let field = directed_field(&directive, SET_ORDER).ok_or(Error::SET_ORDER)?;
            let old = list_of(current, field)?;
            let new = list_of(patch, field)?;
            let list = place.list(field)?;
            fits_order(new.as_deref().unwrap_or_default(), &order, list.key)?;
            if let Some(elements) = self.ordered(old, new, &order, list)? {
                current.insert(field.to_owned(), Value::Array(elements));
                patch.remove(field);
            }
        }
        Ok(())
    }

    /// The list merged and ordered; `None` if it is nowhere.
    fn ordered(
        &self,
        old: Option<Vec<Value>>,
        new: Option<Vec<Value>>,
        order: &[Value],
        list: List,
    ) -> Result<Option<Vec<Value>>, Error> {
        let (merged, are_objects) = match (old, new) {
            (None, None) => return Ok(None),
            (Some(old), None) => {
                let kind = element_type(&[&old])?;
                (Merged { elements: old.clone(), old_order: old }, kind)
            }
            (None, Some(new)) => {
                let kind = element_type(&[&new])?;
                (Merged { elements: self.added_elements(new), old_order: Vec::new() }, kind)
            }
            (Some(old), Some(new)) => {
                let kind = element_type(&[&old, &new]);
                let merged = self.list(old, new, list, false)?;
                (merged, kind?)
            }
        };
        let (named, others) = partition(merged.elements, order, list.key)?;
        let are_objects =
            are_objects.ok_or_else(|| Error::Other("no elements in any of the given slices".to_owned()))?;
        let keys = Keys::of(are_objects, list.key);
        normalise(named, others, order, &merged.old_order, keys).map(Some)
    }

    fn added_elements(&self, mut elements: Vec<Value>) -> Vec<Value> {
        if self.release.cleans_added_values() {
            elements.retain_mut(clean::without_directives);
        }
        elements
    }
}

fn list_of(holder: &Object, field: &str) -> Result<Option<Vec<Value>>, Error> {
    match holder.get(field) {
        None => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list.clone())),
        Some(other) => Err(Error::not_a_list(other)),
    }
}

/// Checks that the elements of a patch stand in the order in the sequence in which they stand in the patch.
fn fits_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Error> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let is_delete = |element: &Object| element.get(DIRECTIVE).is_some_and(|word| word == "delete");
    let elements: Vec<&Value> = match key {
        Some(_) => {
            let objects: Result<Vec<_>, _> = patch.iter().map(|value| Ok((object(value)?, value))).collect();
            objects?.into_iter().filter(|(object, _)| !is_delete(object)).map(|(_, value)| value).collect()
        }
        None => patch.iter().collect(),
    };
    let (mut elements, mut order_left) = (elements.into_iter().peekable(), order.iter());
    while let Some(element) = elements.peek().copied() {
        if order_left.len() == 0 {
            let (patch, order) = (text::go_list(patch), text::go_list(order));
            return Err(Error::Other(format!(
                "The order in patch list:\n{patch}\n doesn't match {SET_ORDER} list:\n{order}\n"
            )));
        }
        let is_directive = element.get(DIRECTIVE).is_some();
        if is_directive || order_left.next().map(|named| same(element, named, key)).transpose()? == Some(true)
        {
            elements.next();
        }
    }
    Ok(())
}

fn same(left: &Value, right: &Value, key: Option<&str>) -> Result<bool, Error> {
    let Some(key) = key else { return Ok(identity(left) == identity(right)) };
    let (left, right) = (object(left)?, object(right)?);
    let left = left.get(key).ok_or_else(|| Error::no_merge_key(left, key))?;
    let right = right.get(key).ok_or_else(|| Error::no_merge_key(right, key))?;
    Ok(identity(left) == identity(right))
}

/// The elements that `named` names, and the others.
pub(super) fn partition(
    elements: Vec<Value>,
    named: &[Value],
    key: Option<&'static str>,
) -> Result<(Vec<Value>, Vec<Value>), Error> {
    let keys = key.map_or(Keys::Itself, Keys::Member);
    let ranks = keys.ranks(named);
    // Looking for an element, the API server stumbles over what is no object, unless it finds the element before.
    let stumble = key.and_then(|_| named.iter().position(|element| !element.is_object()));
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for element in elements {
        let found = match key {
            // The API server looks such elements up in a map, which can hold only plain values.
            None if named.iter().chain([&element]).any(|value| value.is_object() || value.is_array()) => {
                return Err(Error::Other(
                    "a list without merge key can only be ordered by plain values".to_owned(),
                ));
            }
            None => ranks.contains_key(&identity(&element)),
            Some(key) => {
                let fields = object(&element)?;
                let name = fields.get(key).ok_or_else(|| Error::no_merge_key(fields, key))?;
                let found = ranks
                    .get(&identity(name))
                    .filter(|at| named.get(**at).is_some_and(|e| e.get(key).is_some()));
                if let Some(at) = stumble.filter(|at| found.is_none_or(|found| found > at)) {
                    return Err(Error::Other(format!("value for key {at} is not a map")));
                }
                found.is_some()
            }
        };
        if found { with.push(element) } else { without.push(element) }
    }
    Ok((with, without))
}

/// `named` in the order of the patch, with `others` in the old order between them where the old order says so.
pub(super) fn normalise(
    named: Vec<Value>,
    others: Vec<Value>,
    patch_order: &[Value],
    old_order: &[Value],
    keys: Keys,
) -> Result<Vec<Value>, Error> {
    let named = sorted(named, patch_order, keys)?;
    let others = sorted(others, old_order, keys)?;
    let ranks = keys.ranks(old_order);
    let mut merged = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (None, None) => return Ok(merged),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(name)) => {
                let rank = |element| ranks.get(&keys.identity(element));
                matches!((rank(other), rank(name)), (Some(other), Some(name)) if other < name)
            }
        };
        merged.extend(if other_first { others.next() } else { named.next() });
    }
}

/// The elements in this order; those that still hold `$patch: delete` last.
fn sorted(elements: Vec<Value>, order: &[Value], keys: Keys) -> Result<Vec<Value>, Error> {
    if let Keys::Member(key) = keys {
        for element in elements.iter().chain(order) {
            let fields = object(element)?;
            fields.get(key).ok_or_else(|| Error::no_merge_key(fields, key))?;
        }
    }
    let is_delete = |element: &Value| element.get(DIRECTIVE).is_some_and(|word| word == "delete");
    let (deletes, elements): (Vec<_>, Vec<_>) =
        elements.into_iter().partition(|element| matches!(keys, Keys::Member(_)) && is_delete(element));
    let ranks = keys.ranks(order);
    let mut ranked: Vec<(Option<usize>, Value)> =
        elements.into_iter().map(|element| (ranks.get(&keys.identity(&element)).copied(), element)).collect();
    if ranked.iter().all(|(rank, _)| rank.is_some()) {
        ranked.sort_by_key(|(rank, _)| *rank);
    } else if ranked.len() <= SORTED_BY_INSERTION {
        insert_unranked(&mut ranked);
    } else {
        let (mut known, unknown): (Vec<_>, Vec<_>) = ranked.into_iter().partition(|(rank, _)| rank.is_some());
        known.sort_by_key(|(rank, _)| *rank);
        ranked = unknown.into_iter().rev().chain(known).collect();
    }
    Ok(ranked.into_iter().map(|(_, element)| element).chain(deletes).collect())
}

/// Insertion sort in which whatever has no rank is taken to come before everything, and everything before it.
fn insert_unranked(ranked: &mut [(Option<usize>, Value)]) {
    let is_less = |left: Option<usize>, right: Option<usize>| match (left, right) {
        (Some(left), Some(right)) => left < right,
        _ => true,
    };
    for end in 1..ranked.len() {
        let mut at = end;
        while let (Some((left, _)), Some((right, _))) = (ranked.get(at.wrapping_sub(1)), ranked.get(at)) {
            if !is_less(*right, *left) {
                break;
            }
            ranked.swap(at - 1, at);
            at -= 1;
        }
    }
}
