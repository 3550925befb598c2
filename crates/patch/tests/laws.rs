//! Laws that hold for any values.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use patch::{Release, diff, merge, strategic};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use wire::schema::Kind;

/// Any JSON, small, with few names so that they meet; without nulls if so asked.
fn value(nulls: bool) -> impl Strategy<Value = Value> {
    let mut leaf = vec![
        any::<bool>().prop_map(Value::from).boxed(),
        any::<i64>().prop_map(Value::from).boxed(),
        any::<f64>().prop_map(Value::from).boxed(),
        "[a-c]{0,2}".prop_map(Value::from).boxed(),
    ];
    if nulls {
        leaf.push(Just(Value::Null).boxed());
    }
    // A float that is none becomes null.
    let leaf =
        proptest::strategy::Union::new(leaf).prop_filter("a null", move |leaf| nulls || !leaf.is_null());
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-d]", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn object(nulls: bool) -> impl Strategy<Value = Map<String, Value>> {
    proptest::collection::btree_map("[a-d]", value(nulls), 0..5).prop_map(|map| map.into_iter().collect())
}

fn merged(mut current: Map<String, Value>, patch: Map<String, Value>) -> Map<String, Value> {
    merge::apply(&mut current, patch, Release::default());
    current
}

/// Conditions of some of the types a to e, each with a status.
fn conditions() -> impl Strategy<Value = Vec<Value>> {
    let types = proptest::sample::subsequence(vec!["a", "b", "c", "d", "e"], 0..=5).prop_shuffle();
    (types, proptest::collection::vec("[TF]", 5)).prop_map(|(types, statuses)| {
        let both = types.into_iter().zip(statuses);
        both.map(|(name, status)| json!({"type": name, "status": status})).collect()
    })
}

fn strategically(current: Value, patch: Value) -> Value {
    let (Value::Object(current), Value::Object(patch)) = (current, patch) else { panic!("no objects") };
    let pod = Kind::of("v1", "Pod").unwrap().message();
    strategic::apply(current, patch, pod, Release::default()).unwrap().into()
}

fn types(conditions: &[Value]) -> Vec<&str> {
    conditions.iter().map(|condition| condition["type"].as_str().unwrap()).collect()
}

proptest! {
    #[test]
    fn the_difference_applied_to_the_old_value_gives_the_new_one(old in object(true), new in object(false)) {
        let Value::Object(patch) = diff(&old.clone().into(), &new.clone().into()) else { panic!("no object") };
        prop_assert_eq!(merged(old, patch), new);
    }

    #[test]
    fn equal_values_do_not_differ(value in object(true)) {
        prop_assert_eq!(diff(&value.clone().into(), &value.into()), json!({}));
    }

    #[test]
    fn a_difference_applied_twice_does_what_it_did_once(
        current in object(true),
        old in object(true),
        new in object(false),
    ) {
        let Value::Object(patch) = diff(&old.into(), &new.into()) else { panic!("no object") };
        let once = merged(current, patch.clone());
        prop_assert_eq!(merged(once.clone(), patch), once);
    }

    #[test]
    fn an_empty_merge_patch_changes_nothing(current in object(true)) {
        prop_assert_eq!(merged(current.clone(), Map::new()), current);
    }

    #[test]
    fn a_json_patch_that_cannot_be_applied_panics_never(
        document in value(true),
        patch in proptest::collection::vec(
            (
                proptest::sample::select(vec!["add", "remove", "replace", "move", "copy", "test"]),
                "(/[a-d0-3-]{1,2}){0,3}",
                "(/[a-d0-3-]{1,2}){0,3}",
                value(true),
            ),
            0..5,
        ),
    ) {
        let operations: Vec<_> = patch
            .into_iter()
            .map(|(op, path, from, value)| match json!({"op": op, "path": path, "from": from, "value": value}) {
                Value::Object(operation) => operation,
                _ => Map::new(),
            })
            .collect();
        let _ = patch::json_patch::apply(document, &operations);
    }

    #[test]
    fn a_merged_list_has_every_key_once_and_the_patches_values(old in conditions(), new in conditions()) {
        let result = strategically(json!({"status": {"conditions": old}}), json!({"status": {"conditions": new}}));
        let result = result["status"]["conditions"].as_array().cloned().unwrap_or_default();
        for condition in &new {
            prop_assert!(result.contains(condition));
        }
        for condition in &old {
            prop_assert!(result.contains(condition) || types(&new).contains(&condition["type"].as_str().unwrap()));
        }
        let (mut all, len) = (types(&result), result.len());
        all.sort_unstable();
        all.dedup();
        prop_assert_eq!(all.len(), len);
    }

    #[test]
    fn elements_stand_as_the_order_names_them_and_others_as_they_stood(old in conditions(), order in conditions()) {
        // An order for an empty list is an error of the API server's.
        prop_assume!(!old.is_empty());
        let patch = json!({"status": {"$setElementOrder/conditions": order}});
        let result = strategically(json!({"status": {"conditions": old}}), patch);
        let result = result["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let named = |list: &[Value], is_named: bool| -> Vec<String> {
            let names = types(list).into_iter().filter(|name| types(&order).contains(name) == is_named);
            names.map(str::to_owned).collect()
        };
        let wanted: Vec<_> = named(&order, true).into_iter().filter(|name| types(&old).contains(&name.as_str())).collect();
        prop_assert_eq!(named(&result, true), wanted);
        prop_assert_eq!(named(&result, false), named(&old, false));
    }

    #[test]
    fn a_strategic_patch_applied_twice_does_what_it_did_once(old in conditions(), new in conditions()) {
        let patch = json!({"status": {"conditions": new}});
        let once = strategically(json!({"status": {"conditions": old}}), patch.clone());
        let sorted = |value: &Value| {
            let mut list = value["status"]["conditions"].as_array().cloned().unwrap_or_default();
            list.sort_by_key(|condition| condition["type"].to_string());
            list
        };
        prop_assert_eq!(sorted(&strategically(once.clone(), patch)), sorted(&once));
    }
}
