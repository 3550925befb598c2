//! JSON patches: the RFC's own cases, and where the API server is laxer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use patch::json_patch::{MAX_COPIED, MAX_WORK, apply};
use serde_json::{Map, Value, json};

fn operations(patch: Value) -> Vec<Map<String, Value>> {
    serde_json::from_value(patch).unwrap()
}

fn applied(document: Value, patch: Value) -> Value {
    apply(document, &operations(patch)).unwrap()
}

fn fails(document: Value, patch: Value) -> bool {
    apply(document, &operations(patch)).is_err()
}

#[test]
fn operations_do_what_rfc_6902_says() {
    let cases = [
        (json!({"a": 1}), json!([{"op": "add", "path": "/b", "value": 2}]), json!({"a": 1, "b": 2})),
        (json!({"a": [1, 3]}), json!([{"op": "add", "path": "/a/1", "value": 2}]), json!({"a": [1, 2, 3]})),
        (json!({"a": [1]}), json!([{"op": "add", "path": "/a/-", "value": [2]}]), json!({"a": [1, [2]]})),
        (json!({"a": 1, "b": 2}), json!([{"op": "remove", "path": "/b"}]), json!({"a": 1})),
        (json!({"a": [1, 2, 3]}), json!([{"op": "remove", "path": "/a/1"}]), json!({"a": [1, 3]})),
        (
            json!({"a": 1}),
            json!([{"op": "replace", "path": "/a", "value": {"b": 2}}]),
            json!({"a": {"b": 2}}),
        ),
        (
            json!({"a": {"b": 1}, "c": {}}),
            json!([{"op": "move", "from": "/a/b", "path": "/c/d"}]),
            json!({"a": {}, "c": {"d": 1}}),
        ),
        (
            json!({"a": [1, 2, 3]}),
            json!([{"op": "move", "from": "/a/0", "path": "/a/2"}]),
            json!({"a": [2, 3, 1]}),
        ),
        (
            json!({"a": {"b": [1]}}),
            json!([{"op": "copy", "from": "/a/b", "path": "/c"}]),
            json!({"a": {"b": [1]}, "c": [1]}),
        ),
        (
            json!({"a/b": 1, "m~n": 2}),
            json!([{"op": "remove", "path": "/a~1b"}, {"op": "replace", "path": "/m~0n", "value": 3}]),
            json!({"m~n": 3}),
        ),
        (json!({"": 1}), json!([{"op": "test", "path": "/", "value": 1}]), json!({"": 1})),
        (json!({"a": 1}), json!([{"op": "test", "path": "", "value": {"a": 1}}]), json!({"a": 1})),
    ];
    for (document, patch, result) in cases {
        assert_eq!(applied(document, patch.clone()), result, "{patch}");
    }
}

#[test]
fn what_rfc_6902_refuses_is_refused() {
    for patch in [
        json!([{"op": "remove", "path": "/x"}]),
        json!([{"op": "remove", "path": "/list/2"}]),
        json!([{"op": "add", "path": "/x/y", "value": 1}]),
        json!([{"op": "add", "path": "/list/3", "value": 1}]),
        json!([{"op": "add", "path": "/list/x", "value": 1}]),
        json!([{"op": "add", "path": "/a/b", "value": 1}]),
        json!([{"op": "add", "path": "", "value": 1}]),
        json!([{"op": "replace", "path": "/list/2", "value": 1}]),
        json!([{"op": "move", "from": "/x", "path": "/y"}]),
        json!([{"op": "move", "from": "/o", "path": "/o/p"}]),
        json!([{"op": "test", "path": "/a", "value": 2}]),
        json!([{"op": "test", "path": "/a", "value": 1.0}]),
        json!([{"op": "test", "path": "/a"}]),
        json!([{"op": "invented", "path": "/a"}]),
        json!([{"path": "/a"}]),
        json!([{"op": "add", "value": 1}]),
        json!([{"op": "copy", "path": "/a"}]),
        json!([{"op": "add", "path": "/b", "value": 1}, {"op": "test", "path": "/b", "value": 2}]),
    ] {
        assert!(fails(json!({"a": 1, "list": [1, 2], "o": {}}), patch.clone()), "{patch}");
    }
}

#[test]
fn the_api_servers_own_laxness_is_kept() {
    let document = || json!({"a": 1, "list": [1, 2]});
    let after = |patch| applied(document(), patch);
    assert_eq!(after(json!([{"op": "replace", "path": "/new", "value": 2}]))["new"], 2);
    assert_eq!(after(json!([{"op": "copy", "from": "/none", "path": "/new"}]))["new"], Value::Null);
    assert_eq!(after(json!([{"op": "test", "path": "/none", "value": null}])), document());
    assert_eq!(after(json!([{"op": "remove", "path": "/list/-1"}]))["list"], json!([1]));
    assert_eq!(after(json!([{"op": "add", "path": "/list/-1", "value": 3}]))["list"], json!([1, 2, 3]));
    assert_eq!(after(json!([{"op": "add", "path": "ignored/b", "value": 3}]))["b"], 3);
}

#[test]
fn copies_cannot_grow_without_bound() {
    let doubling = json!({"op": "copy", "from": "/a", "path": "/a/-"});
    let patch = Value::Array(vec![doubling; 40]);
    assert!(fails(json!({"a": ["x".repeat(1000)]}), patch));
    let once = json!([{"op": "copy", "from": "/a", "path": "/b"}]);
    assert!(!fails(json!({"a": "x".repeat(MAX_COPIED - 2)}), once.clone()));
    assert!(fails(json!({"a": "x".repeat(MAX_COPIED - 1)}), once));
}

#[test]
fn a_patch_that_would_walk_over_a_large_object_for_ever_is_refused() {
    let test = |times| Value::Array(vec![json!({"op": "test", "path": "/b", "value": 1}); times]);
    let document = || json!({"a": "x".repeat(MAX_WORK / 1000), "b": 1});
    assert!(!fails(document(), test(900)));
    assert!(fails(document(), test(1000)));
}
