//! What the API server does around a patch or an update.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{answer, node, patch, pod, put, resource, with, write};
use patch::{Form, Outcome};
use serde_json::{Value, json};

const FORMS: [Form; 2] = [Form::Strategic, Form::Merge];

#[test]
fn a_patch_that_changes_nothing_gives_the_present_object() {
    for (object, path) in [(pod(), "pods/status"), (pod(), "pods"), (node(), "nodes/status")] {
        for form in FORMS {
            assert_eq!(patch(&object, path, form, &json!({})).unwrap(), object);
        }
        assert_eq!(patch(&object, path, Form::Json, &json!([])).unwrap(), object);
        assert_eq!(put(&object, path, object.clone()).unwrap(), object);
    }
}

#[test]
fn a_zero_that_only_an_older_cloud_writes_is_no_change() {
    let template = json!({"metadata": {"creationTimestamp": null}, "spec": {"containers": null}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata":
        {"name": "web", "namespace": "shop", "uid": "d", "resourceVersion": "3", "generation": 2},
        "spec": {"selector": null, "template": template, "strategy": {}}, "status": {}});
    let same = patch(&deployment, "deployments", Form::Merge, &json!({"spec": {"paused": null}})).unwrap();
    assert_eq!(same, deployment);
    let paused = patch(&deployment, "deployments", Form::Merge, &json!({"spec": {"paused": true}})).unwrap();
    assert_eq!(paused["metadata"]["generation"], 3);
}

#[test]
fn pods_status_keeps_what_is_not_kubelets() {
    let change = json!({
        "metadata": {"annotations": {"a": "b"}, "finalizers": ["x/y"], "ownerReferences": null,
            "deletionTimestamp": "2027-01-01T00:00:00Z", "generation": 9, "managedFields": [],
            "creationTimestamp": "2020-01-01T00:00:00Z", "selfLink": "/x"},
        "spec": {"nodeName": "other"},
        "status": {"phase": "Running", "qosClass": null}
    });
    let expected = with(&pod(), "/metadata/annotations", json!({"a": "b"}));
    let expected =
        with(&with(&expected, "/metadata/finalizers", json!(["x/y"])), "/status/phase", json!("Running"));
    for form in FORMS {
        assert_eq!(patch(&pod(), "pods/status", form, &change).unwrap(), expected);
    }
}

#[test]
fn pods_keep_their_status_when_patched_themselves() {
    let change = json!({"metadata": {"labels": {"new": "1"}}, "status": {"phase": "Failed"}});
    let expected = with(&pod(), "/metadata/labels/new", json!("1"));
    assert_eq!(patch(&pod(), "pods", Form::Merge, &change).unwrap(), expected);
}

#[test]
fn nodes_status_keeps_the_spec_and_takes_labels_and_annotations() {
    let change = json!({"metadata": {"labels": {"l": "1"}, "annotations": {"a": "2"}},
        "spec": {"unschedulable": true, "taints": null}, "status": {"volumesInUse": ["v"]}});
    let expected = with(&node(), "/metadata/labels/l", json!("1"));
    let expected = with(&expected, "/metadata/annotations", json!({"a": "2"}));
    let expected = with(&expected, "/status/volumesInUse", json!(["v"]));
    assert_eq!(patch(&node(), "nodes/status", Form::Strategic, &change).unwrap(), expected);
}

#[test]
fn observed_generations_are_not_lost() {
    let generations = json!({"status": {"observedGeneration": 3, "conditions": [{"type": "Ready", "observedGeneration": 3}]}});
    let current = patch(&pod(), "pods/status", Form::Strategic, &generations).unwrap();
    let change = json!({"status": {"observedGeneration": null, "conditions": [
        {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}]}});
    let result = patch(&current, "pods/status", Form::Merge, &change).unwrap();
    assert_eq!(result["status"]["observedGeneration"], 3);
    assert_eq!(result["status"]["conditions"][1]["observedGeneration"], 3);
    assert_eq!(result["status"]["conditions"][0].get("observedGeneration"), None);
}

#[test]
fn another_uid_is_422_by_patch_and_409_by_put() {
    let text = "422 Pod \"web\" is invalid: metadata.uid: Invalid value: \"u2\": field is immutable";
    for form in FORMS {
        assert_eq!(answer(patch(&pod(), "pods/status", form, &json!({"metadata": {"uid": "u2"}}))), text);
    }
    let body = with(&pod(), "/metadata/uid", json!("u2"));
    let text = "409 Operation cannot be fulfilled on pods \"web\": \
        StorageError: invalid object, Code: 4, Key: /registry/pods/shop/web, ResourceVersion: 0, AdditionalErrorMsg: \
        Precondition failed: UID in precondition: u2, UID in object meta: u1";
    assert_eq!(answer(put(&pod(), "pods/status", body)), text);
}

#[test]
fn a_resource_version_is_a_precondition_in_every_form() {
    let text = "409 Operation cannot be fulfilled on pods \"web\": the object has been modified; \
        please apply your changes to the latest version and try again";
    let version = |version: &str| json!({"metadata": {"resourceVersion": version}});
    for form in FORMS {
        assert_eq!(answer(patch(&pod(), "pods/status", form, &version("8"))), text);
        assert_eq!(patch(&pod(), "pods/status", form, &version("7")).unwrap(), pod());
    }
    let test = |version: &str| json!([{"op": "test", "path": "/metadata/resourceVersion", "value": version}]);
    assert_eq!(patch(&pod(), "pods", Form::Json, &test("7")).unwrap(), pod());
    let text_of_test = "422 the server rejected our request due to an error in our request";
    assert_eq!(answer(patch(&pod(), "pods", Form::Json, &test("8"))), text_of_test);
    assert_eq!(answer(put(&pod(), "pods", with(&pod(), "/metadata/resourceVersion", json!("6")))), text);
    assert_eq!(put(&pod(), "pods", with(&pod(), "/metadata/resourceVersion", json!(""))).unwrap(), pod());
}

#[test]
fn leases_cannot_be_updated_without_a_resource_version() {
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata":
        {"name": "edge", "namespace": "kube-node-lease", "uid": "l", "resourceVersion": "4"}, "spec": {"holderIdentity": "edge"}});
    let renewed = with(&lease, "/spec/renewTime", json!("2026-01-01T00:00:00.000000Z"));
    assert_eq!(put(&lease, "leases", renewed.clone()).unwrap(), renewed);
    let text = "422 leases.coordination.k8s.io \"edge\" is invalid: \
        metadata.resourceVersion: Invalid value: 0x0: must be specified for an update";
    assert_eq!(answer(put(&lease, "leases", with(&renewed, "/metadata/resourceVersion", json!("")))), text);
}

#[test]
fn a_body_that_names_another_object_is_400() {
    let change = |name: &str, value: &str| json!({"metadata": {name: value}});
    let name = "400 the name of the object (other) does not match the name on the URL (web)";
    let space = "400 the namespace of the provided object does not match the namespace sent on the request";
    for form in FORMS {
        assert_eq!(answer(patch(&pod(), "pods", form, &change("name", "other"))), name);
        assert_eq!(answer(patch(&pod(), "pods", form, &change("namespace", "other"))), space);
    }
    assert_eq!(answer(put(&pod(), "pods", with(&pod(), "/metadata/name", json!("other")))), name);
    let body = with(&pod(), "/metadata/namespace", json!("other"));
    assert_eq!(answer(put(&pod(), "pods", body.clone())), space);
    let resource = resource(&pod(), "pods");
    let old = patch::update(&pod(), &write(&pod(), &resource, 20), body).unwrap_err();
    let text = "the namespace of the object (other) does not match the namespace on the request (shop)";
    assert_eq!((old.code, old.message.as_str()), (400, text));
    let nameless = with(&pod(), "/metadata/name", Value::Null);
    let text = "400 the name of the object (web based on URL) was undeterminable: name must be provided";
    assert_eq!(answer(put(&pod(), "pods", nameless)), text);
    let version = with(&pod(), "/apiVersion", json!("apps/v2"));
    let text = "400 Pod in version \"v2\" cannot be handled as a Pod: no kind \"Pod\" is registered for version \
        \"apps/v2\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"";
    assert_eq!(answer(put(&pod(), "pods", version)), text);
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata":
        {"name": "e", "namespace": "shop", "uid": "e1", "resourceVersion": "3"}, "involvedObject": {}});
    let version = with(&event, "/apiVersion", json!("events.k8s.io/v1"));
    let text =
        "400 the API version in the data (events.k8s.io/v1) does not match the expected API version (v1)";
    assert_eq!(answer(put(&event, "events", version)), text);
    assert!(
        answer(put(&pod(), "pods", with(&pod(), "/kind", json!("Node")))).starts_with("400 Node in version")
    );
}

#[test]
fn the_type_of_an_object_cannot_be_patched() {
    let by_merge = |change: Value| answer(patch(&pod(), "pods", Form::Merge, &change));
    let invalid = "422  \"\" is invalid: patch: Invalid value: ";
    for change in [json!({"kind": "Node"}), json!({"kind": 7}), json!({"apiVersion": "v2"})] {
        assert!(by_merge(change.clone()).starts_with(invalid), "{change}");
    }
    assert_eq!(
        patch(&pod(), "pods", Form::Strategic, &json!({"kind": "Node", "apiVersion": null})).unwrap(),
        pod()
    );
    assert!(answer(patch(&pod(), "pods", Form::Strategic, &json!({"kind": 7}))).starts_with(invalid));
    let text = "400 the name of the object (web based on URL) was undeterminable: name must be provided";
    assert_eq!(by_merge(json!({"apiVersion": null})), text);
    assert_eq!(patch(&pod(), "pods", Form::Merge, &json!({"kind": null})).unwrap(), pod());
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata":
        {"name": "w", "namespace": "shop", "uid": "w1", "resourceVersion": "3"}});
    let by_merge = |change: Value| answer(patch(&widget, "widgets", Form::Merge, &change));
    let text = "422 Gadget.example.com \"w\" is invalid: kind: Invalid value: \"Gadget\": must be Widget";
    assert_eq!(by_merge(json!({"kind": "Gadget"})), text);
    let text = "422 Widget \"w\" is invalid: apiVersion: Invalid value: \"v2\": must be example.com/v1";
    assert_eq!(by_merge(json!({"apiVersion": "v2"})), text);
    assert!(by_merge(json!({"kind": null})).starts_with(invalid));
    assert!(
        by_merge(json!({"apiVersion": null})).starts_with("500 Internal error occurred: Object 'apiVersion'")
    );
}

#[test]
fn members_that_nobody_knows_are_dropped_and_types_are_checked() {
    let change = json!({"status": {"phase": "Running", "invented": {"a": 1}}, "more": true});
    let expected = with(&pod(), "/status/phase", json!("Running"));
    for form in FORMS {
        assert_eq!(patch(&pod(), "pods/status", form, &change).unwrap(), expected);
    }
    for wrong in
        [json!({"status": {"phase": 7}}), json!({"status": []}), json!({"metadata": {"labels": {"a": 1}}})]
    {
        for form in FORMS {
            let text = answer(patch(&pod(), "pods/status", form, &wrong));
            assert!(text.starts_with("422  \"\" is invalid: patch: Invalid value: "), "{text}");
        }
    }
    let text = answer(put(&pod(), "pods/status", with(&pod(), "/status", json!("x"))));
    assert!(text.starts_with("400 Pod in version \"v1\" cannot be handled as a Pod: "), "{text}");
}

#[test]
fn a_quantity_is_what_the_api_server_makes_of_it_also_of_a_number() {
    let quantities =
        [(json!(1.5), "1500m"), (json!("0.5"), "500m"), (json!(4), "4"), (json!("1.5Gi"), "1536Mi")];
    for (said, stands) in quantities {
        let mut body = node();
        body["status"]["allocatable"] = json!({"cpu": said});
        assert_eq!(
            put(&node(), "nodes/status", body.clone()).unwrap()["status"]["allocatable"]["cpu"],
            stands
        );
        let status = json!({"status": {"allocatable": {"cpu": said}}});
        for form in FORMS {
            let patched = patch(&node(), "nodes/status", form, &status).unwrap();
            assert_eq!(patched["status"]["allocatable"]["cpu"], stands);
        }
    }
    let wrong = json!({"status": {"allocatable": {"cpu": "much"}}});
    assert_eq!(patch(&node(), "nodes/status", Form::Strategic, &wrong).unwrap_err().code, 422);
}

#[test]
fn an_object_of_a_newer_cloud_keeps_what_the_table_does_not_know() {
    let newer = with(&pod(), "/status/invented", json!({"a": 1}));
    let change = json!({"status": {"phase": "Running", "alsoInvented": 1}});
    let expected = with(&with(&newer, "/status/phase", json!("Running")), "/status/alsoInvented", json!(1));
    assert_eq!(patch(&newer, "pods/status", Form::Strategic, &change).unwrap(), expected);
    let resource = resource(&pod(), "pods/status");
    let outcome =
        patch::patch(&pod(), &write(&pod(), &resource, 37), Form::Merge, change.to_string().as_bytes());
    assert_eq!(outcome.unwrap().object()["status"]["alsoInvented"], 1);
}

#[test]
fn a_pods_address_and_the_first_of_its_addresses_are_one_fact() {
    let after =
        |change: Value| patch(&pod(), "pods/status", Form::Merge, &json!({ "status": change })).unwrap();
    let ips = |object: &Value| (object["status"]["podIP"].clone(), object["status"]["podIPs"].clone());
    assert_eq!(ips(&after(json!({"podIP": "10.0.0.1"}))), (json!("10.0.0.1"), json!([{"ip": "10.0.0.1"}])));
    assert_eq!(
        ips(&after(json!({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}))),
        (json!("10.0.0.1"), json!([{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]))
    );
    let both = json!({"podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]});
    assert_eq!(ips(&after(both)), (json!("10.0.0.2"), json!([{"ip": "10.0.0.2"}])));
}

#[test]
fn a_kubelet_is_held_to_its_own_pods_and_node() {
    let by = |object: &Value, path: &str, node: &'static str, change: Value| {
        let resource = resource(object, path);
        let write = patch::Write { node: Some(node), ..write(object, &resource, 36) };
        let outcome = patch::patch(object, &write, Form::Merge, change.to_string().as_bytes());
        outcome
            .map(|_| "taken".to_owned())
            .unwrap_or_else(|status| format!("{} {}", status.code, status.message))
    };
    let (pod, node) = (pod(), node());
    let running = json!({"status": {"phase": "Running"}});
    assert_eq!(by(&pod, "pods/status", "edge", running.clone()), "taken");
    assert_eq!(
        by(&pod, "pods/status", "far", running.clone()),
        "403 pods \"web\" is forbidden: node \"far\" can only update pod status for pods with spec.nodeName set to itself"
    );
    let label = |name: &str| json!({"metadata": {"labels": {name: "x"}}});
    assert_eq!(
        by(&pod, "pods/status", "edge", label("a")),
        "403 pods \"web\" is forbidden: node \"edge\" cannot update labels through pod status"
    );
    assert!(by(&pod, "pods", "edge", running.clone()).contains("can only create and delete mirror pods"));
    for fine in [
        "a",
        "example.com/a",
        "node.kubernetes.io/a",
        "x.kubelet.kubernetes.io/a",
        "topology.kubernetes.io/zone",
    ] {
        assert_eq!(by(&node, "nodes/status", "edge", label(fine)), "taken", "{fine}");
    }
    for bad in ["kubernetes.io/a", "x.k8s.io/a", "node-restriction.kubernetes.io/a"] {
        let text = format!("403 nodes \"edge\" is forbidden: is not allowed to modify labels: {bad}");
        assert_eq!(by(&node, "nodes/status", "edge", label(bad)), text);
    }
    assert!(by(&node, "nodes/status", "far", running).contains("is not allowed to modify node"));
    let text = by(&node, "nodes", "edge", json!({"spec": {"taints": null}}));
    assert_eq!(text, "403 nodes \"edge\" is forbidden: node \"edge\" is not allowed to modify taints");
    let owned = json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "x", "uid": "y"}]}});
    let text = by(&node, "nodes/status", "edge", owned);
    assert_eq!(
        text,
        "403 nodes \"edge\" is forbidden: node \"edge\" is not allowed to modify ownerReferences"
    );
}

#[test]
fn a_custom_resource_takes_no_strategic_patch_and_its_status_only_status() {
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata":
        {"name": "w", "namespace": "shop", "uid": "w1", "resourceVersion": "3", "generation": 4},
        "spec": {"size": 1.5}, "status": {"seen": 1}});
    let text = answer(patch(&widget, "widgets", Form::Strategic, &json!({})));
    assert!(text.starts_with("415 "), "{text}");
    let change = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"size": 2}, "status": {"seen": 2}});
    let result = patch(&widget, "widgets/status", Form::Merge, &change).unwrap();
    assert_eq!(result, with(&widget, "/status/seen", json!(2)));
    let result = patch(&widget, "widgets", Form::Merge, &change).unwrap();
    let expected = with(&with(&widget, "/metadata/labels", json!({"a": "b"})), "/spec/size", json!(2));
    assert_eq!(result, with(&expected, "/metadata/generation", json!(5)));
}

#[test]
fn the_last_finalizer_of_what_is_being_deleted_takes_the_object_with_it() {
    let dying = with(&pod(), "/metadata/deletionTimestamp", json!("2026-01-02T04:00:00Z"));
    let dying = with(&dying, "/metadata/finalizers", json!(["x/y"]));
    let ended = with(&dying, "/metadata/deletionGracePeriodSeconds", json!(0));
    let graceful = with(&dying, "/metadata/deletionGracePeriodSeconds", json!(30));
    let resource = resource(&pod(), "pods");
    let change = json!({"metadata": {"finalizers": null}}).to_string();
    let outcome =
        |object: &Value| patch::patch(object, &write(object, &resource, 36), Form::Merge, change.as_bytes());
    assert!(matches!(outcome(&dying).unwrap(), Outcome::Removed(_)));
    assert!(matches!(outcome(&ended).unwrap(), Outcome::Removed(_)));
    assert!(matches!(outcome(&graceful).unwrap(), Outcome::Stored(_)));
    assert!(matches!(outcome(&pod()).unwrap(), Outcome::Stored(_)));
    let more = json!({"metadata": {"finalizers": ["x/y", "n/ew"]}});
    let text = answer(patch(&ended, "pods", Form::Merge, &more));
    assert_eq!(
        text,
        "422 Pod \"web\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added \
         if the object is being deleted, found new finalizers []string{\"n/ew\"}"
    );
}

#[test]
fn a_deletion_mark_can_be_neither_set_nor_taken_back() {
    let change =
        json!({"metadata": {"deletionTimestamp": "2027-01-01T00:00:00Z", "deletionGracePeriodSeconds": 1}});
    let text = "422 Pod \"web\" is invalid: \
        [metadata.deletionTimestamp: Invalid value: 2027-01-01 00:00:00 +0000 UTC: field is immutable, \
        metadata.deletionGracePeriodSeconds: Invalid value: 1: field is immutable]";
    assert_eq!(answer(patch(&pod(), "pods", Form::Merge, &change)), text);
    let dying = with(&pod(), "/metadata/deletionTimestamp", json!("2026-01-02T04:00:00Z"));
    let dying = with(&dying, "/metadata/deletionGracePeriodSeconds", json!(30));
    let change = json!({"metadata": {"deletionTimestamp": null, "deletionGracePeriodSeconds": null}});
    assert_eq!(patch(&dying, "pods", Form::Merge, &change).unwrap(), dying);
}

#[test]
fn bodies_that_are_no_patch_are_refused_as_such() {
    let refused = |form, body: &str, release| {
        let resource = resource(&pod(), "pods");
        let status =
            patch::patch(&pod(), &write(&pod(), &resource, release), form, body.as_bytes()).unwrap_err();
        format!("{} {}", status.code, status.message)
    };
    let map = "json: cannot unmarshal array into Go value of type map[string]interface {}";
    assert_eq!(refused(Form::Strategic, "[]", 36), format!("400 {map}"));
    assert_eq!(refused(Form::Merge, "[]", 36), format!("400 error decoding patch: {map}"));
    assert_eq!(refused(Form::Merge, "null", 36), "400 Invalid JSON Patch");
    assert_eq!(refused(Form::Merge, "{", 20), "500 Invalid JSON Patch");
    assert_eq!(
        refused(Form::Json, "{}", 20),
        "400 json: cannot unmarshal object into Go value of type jsonpatch.Patch"
    );
    assert_eq!(
        refused(Form::Json, "\"x\"", 36),
        "400 error decoding patch: json: cannot unmarshal string into Go value of type []handlers.jsonPatchOp"
    );
    for form in [Form::Strategic, Form::Merge, Form::Json] {
        assert!(refused(form, "{\"a\":", 36).starts_with("400 "));
        assert!(refused(form, "", 36).starts_with("400 "));
    }
    let many = vec![json!({"op": "test", "path": "/kind", "value": "Pod"}); 10_001];
    assert_eq!(
        refused(Form::Json, &Value::Array(many).to_string(), 36),
        "413 Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"
    );
}

#[test]
fn the_old_name_of_the_service_account_says_what_the_new_one_does() {
    let spec = |object: &Value, pointer: &str| object.pointer(pointer).cloned().unwrap();
    let both = json!({"serviceAccountName": "web", "serviceAccount": "web"});
    let pod =
        with(&with(&pod(), "/spec/serviceAccountName", json!("web")), "/spec/serviceAccount", json!("web"));
    for form in FORMS {
        let without_new = patch(&pod, "pods", form, &json!({"spec": {"serviceAccountName": null}})).unwrap();
        assert_eq!(without_new, pod, "the old name speaks where the new one is silent");
    }
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata":
        {"name": "web", "namespace": "shop", "uid": "d", "resourceVersion": "3", "generation": 2},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"spec": both}}});
    let other = json!({"spec": {"template": {"spec": {"serviceAccountName": "db"}}}});
    let changed = patch(&deployment, "deployments", Form::Merge, &other).unwrap();
    assert_eq!(spec(&changed, "/spec/template/spec/serviceAccount"), "db", "else the new one counts");
}

#[test]
fn an_old_cloud_judges_a_service_before_it_looks_at_its_version() {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata":
        {"name": "web", "namespace": "shop", "uid": "s", "resourceVersion": "3"}, "spec": {}});
    let deleting = with(&service, "/metadata/deletionTimestamp", json!("2030-01-02T03:04:05Z"));
    let wrong = with(&deleting, "/metadata/resourceVersion", json!("2"));
    let code = |release: u16, path: &str, object: &Value| {
        let resource = resource(object, path);
        patch::update(&service, &write(&service, &resource, release), object.clone()).unwrap_err().code
    };
    assert_eq!((code(22, "services", &wrong), code(23, "services", &wrong)), (422, 409));
    assert_eq!(code(22, "services/status", &wrong), 409);
    let stale = with(&service, "/metadata/resourceVersion", json!("2"));
    assert_eq!(code(22, "services", &stale), 409);
}
