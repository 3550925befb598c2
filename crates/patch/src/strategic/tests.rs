use serde_json::json;
use wire::schema::Kind;

use super::*;

fn message(kind: &str) -> Message {
    let (version, kind) = kind.split_once(' ').unwrap_or(("v1", kind));
    Kind::of(version, kind).unwrap().message()
}

fn object(value: Value) -> Object {
    let Value::Object(object) = value else { panic!("{value} is no object") };
    object
}

fn apply_at(release: u16, kind: &str, current: Value, patch: Value) -> Result<Value, Error> {
    apply(object(current), object(patch), message(kind), Release::minor(release)).map(Value::Object)
}

/// The result for a current server.
fn apply_to(kind: &str, current: Value, patch: Value) -> Value {
    apply_at(36, kind, current, patch).unwrap()
}

fn refusal(kind: &str, current: Value, patch: Value) -> String {
    let status = apply_at(36, kind, current, patch).unwrap_err().to_status();
    format!("{} {}", status.code, status.message)
}

fn pod(status: Value) -> Value {
    json!({ "status": status })
}

#[test]
fn members_are_merged_replaced_and_removed() {
    let current =
        json!({"metadata": {"labels": {"a": "1", "b": "2"}, "name": "p"}, "status": {"phase": "Pending"}});
    let patch =
        json!({"metadata": {"labels": {"b": null, "c": "3", "d": null}}, "status": {"phase": "Running"}});
    let result =
        json!({"metadata": {"labels": {"a": "1", "c": "3"}, "name": "p"}, "status": {"phase": "Running"}});
    assert_eq!(apply_to("Pod", current, patch), result);
}

#[test]
fn elements_with_a_merge_key_are_merged_one_by_one() {
    let current = pod(json!({"conditions": [
        {"type": "Ready", "status": "False", "reason": "x"}, {"type": "PodScheduled", "status": "True"}]}));
    let patch = pod(json!({"conditions": [
        {"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "True", "reason": null}]}));
    // What the patch names comes in the patch's order, and before what the current list did not know.
    let result = pod(json!({"conditions": [{"type": "Initialized", "status": "True"},
        {"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}]}));
    assert_eq!(apply_to("Pod", current, patch), result);
}

#[test]
fn lists_without_strategy_are_replaced_whole_and_sets_of_values_united() {
    let current = json!({"metadata": {"finalizers": ["a", "b"]},
        "status": {"containerStatuses": [{"name": "c", "ready": true}]}});
    let patch = json!({"metadata": {"finalizers": ["b", "c"]},
        "status": {"containerStatuses": [{"name": "d"}]}});
    let result = json!({"metadata": {"finalizers": ["a", "b", "c"]},
        "status": {"containerStatuses": [{"name": "d"}]}});
    assert_eq!(apply_to("Pod", current, patch), result);
}

#[test]
fn kubelets_change_of_a_pods_addresses_leaves_only_the_new_ones() {
    let current = pod(json!({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}));
    let patch = pod(json!({"$setElementOrder/podIPs": [{"ip": "10.0.0.2"}], "podIP": "10.0.0.2", "podIPs": [
        {"ip": "10.0.0.2"}, {"$patch": "delete", "ip": "10.0.0.1"}, {"$patch": "delete", "ip": "fd00::1"}]}));
    let result = pod(json!({"podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.2"}]}));
    assert_eq!(apply_to("Pod", current, patch), result);
}

#[test]
fn an_element_with_the_directive_replace_empties_the_list_first() {
    let current = json!({"status": {"addresses": [
        {"type": "InternalIP", "address": "a"}, {"type": "InternalIP", "address": "b"}]}});
    let patch = json!({"status": {"addresses": [
        {"type": "InternalIP", "address": "c"}, {"type": "InternalIP", "address": "d"}, {"$patch": "replace"}]}});
    let result = json!({"status": {"addresses": [
        {"type": "InternalIP", "address": "c"}, {"type": "InternalIP", "address": "d"}]}});
    assert_eq!(apply_to("Node", current, patch), result);
}

#[test]
fn an_object_with_a_directive_replaces_or_empties_what_is_there() {
    let current = json!({"metadata": {"annotations": {"a": "1", "b": "2"}, "labels": {"c": "3"}}});
    let patch =
        json!({"metadata": {"annotations": {"$patch": "replace", "x": "y"}, "labels": {"$patch": "delete"}}});
    let result = json!({"metadata": {"annotations": {"x": "y"}, "labels": {}}});
    assert_eq!(apply_to("Pod", current, patch), result);
}

#[test]
fn retain_keys_removes_what_it_does_not_name() {
    let current = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let result = json!({"spec": {"strategy": {"type": "Recreate"}}});
    assert_eq!(apply_to("apps/v1 Deployment", current.clone(), patch), result);
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["rollingUpdate"], "type": "Recreate"}}});
    assert_eq!(refusal("apps/v1 Deployment", current, patch), "400 invalid patch format of retainKeys");
}

#[test]
fn values_are_deleted_from_sets() {
    let current = json!({"metadata": {"finalizers": ["a", "b", "c"]}});
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b", "x"]}});
    assert_eq!(apply_to("Pod", current, patch), json!({"metadata": {"finalizers": ["a", "c"]}}));
    let both = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b", "c"], "finalizers": ["d"]}});
    for release in [20, 36] {
        let absent = json!({"metadata": {}});
        assert_eq!(
            apply_at(release, "Pod", absent, both.clone()),
            Ok(json!({"metadata": {"finalizers": ["d"]}}))
        );
    }
    let absent = json!({"metadata": {}});
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"]}});
    assert_eq!(apply_to("Pod", absent, patch), json!({"metadata": {}}));
}

#[test]
fn an_order_alone_only_reorders_and_leaves_others_where_they_were() {
    let list = |types: &[&str]| {
        let elements: Vec<_> = types.iter().map(|name| json!({ "type": name })).collect();
        Value::Array(elements)
    };
    let cases: [(&[&str], &[&str], &[&str]); 4] = [
        (&["a", "b", "c"], &["c", "a"], &["b", "c", "a"]),
        (&["a", "x", "b"], &["a", "b"], &["a", "x", "b"]),
        (&["x", "a", "b"], &["b", "a"], &["x", "b", "a"]),
        (&["a", "b"], &[], &["a", "b"]),
    ];
    for (old, order, new) in cases {
        let patch = pod(json!({"$setElementOrder/conditions": list(order)}));
        let result = apply_to("Pod", pod(json!({"conditions": list(old)})), patch);
        assert_eq!(result, pod(json!({"conditions": list(new)})), "{old:?} by {order:?}");
    }
    let patch = pod(json!({"$setElementOrder/conditions": list(&["a"])}));
    assert_eq!(apply_to("Pod", pod(json!({})), patch), pod(json!({})), "a list that is nowhere");
}

#[test]
fn what_is_added_loses_nulls_and_directives_unless_the_server_is_old() {
    let patch = json!({"metadata": {"labels": {"a": null, "b": "2"}},
        "status": {"conditions": [{"type": "Ready", "reason": null}, {"type": "Old", "$patch": "delete"}]}});
    let clean = json!({"metadata": {"labels": {"b": "2"}}, "status": {"conditions": [{"type": "Ready"}]}});
    assert_eq!(apply_at(36, "Pod", json!({}), patch.clone()), Ok(clean));
    assert_eq!(apply_at(20, "Pod", json!({}), patch.clone()), Ok(patch));
}

#[test]
fn ports_with_one_number_and_two_protocols_are_one_port() {
    let current =
        json!({"spec": {"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}});
    let patch = json!({"spec": {"ports": [{"port": 53, "name": "dns"}]}});
    let result = json!({"spec": {"ports": [{"port": 53, "protocol": "TCP", "name": "dns"}, {"port": 53, "protocol": "UDP"}]}});
    assert_eq!(apply_to("Service", current, patch), result);
}

#[test]
fn faults_are_answered_as_the_api_server_answers_them() {
    let conditions = || pod(json!({"conditions": [{"type": "Ready"}]}));
    let cases = [
        (pod(json!({"$patch": "merge"})), "500 unknown patch type: merge in map: map[$patch:merge]"),
        (
            pod(json!({"conditions": [{"status": "True"}]})),
            "500 map: map[status:True] does not contain declared merge key: type",
        ),
        (
            pod(json!({"conditions": [{"$patch": "merge", "type": "Ready"}]})),
            "500 merging lists cannot yet be specified in the patch",
        ),
        (
            pod(json!({"conditions": ["a"]})),
            "500 list element types are not identical: [[map[type:Ready]] [a]]",
        ),
        (
            pod(json!({"conditions": [[]]})),
            "500 list element types are not identical: [[map[type:Ready]] [[]]]",
        ),
        (
            pod(json!({"$setElementOrder/conditions": [{"type": "B"}], "conditions": [{"type": "A"}]})),
            "500 The order in patch list:\n[map[type:A]]\n doesn't match $setElementOrder list:\n[map[type:B]]\n",
        ),
        (
            pod(json!({"$setElementOrder/conditions": {}})),
            "500 expected a []interface {}, but received a map[string]interface {}",
        ),
        (pod(json!({"$setElementOrder": []})), "400 invalid patch format of setElementOrder list"),
        (pod(json!({"$deleteFromPrimitiveList": []})), "400 invalid patch format of primitive list"),
        (pod(json!({"$retainKeys": "type"})), "400 invalid patch format of retainKeys"),
    ];
    for (patch, answer) in cases {
        assert_eq!(refusal("Pod", conditions(), patch.clone()), answer, "{patch}");
    }
    let current = json!({"metadata": {"finalizers": []}});
    let patch = json!({"metadata": {"finalizers": [["a"]]}});
    let text = "422 the server rejected our request due to an error in our request";
    assert_eq!(refusal("Pod", current, patch), text);
}
