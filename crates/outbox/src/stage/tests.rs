//! What is taken, what is refused, and how.

use serde_json::json;

use super::*;

const STRATEGIC: &str = "application/strategic-merge-patch+json";

fn resource(group: &str, resource: &str, namespace: &str, name: &str, subresource: &str) -> Resource {
    Resource {
        group: group.into(),
        version: "v1".into(),
        namespace: namespace.into(),
        resource: resource.into(),
        name: name.into(),
        subresource: subresource.into(),
        rest: String::new(),
    }
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": "5"},
        "spec": {"nodeName": "edge", "containers": [{"name": "c", "image": "i", "resources": {}}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]},
    })
}

fn ended(finalizers: &[&str]) -> Value {
    let mut pod = pod();
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    pod["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    pod["status"]["phase"] = "Succeeded".into();
    if !finalizers.is_empty() {
        pod["metadata"]["finalizers"] = finalizers.into();
    }
    pod
}

fn status(present: &Value, body: &Value) -> Result<Staged, Status> {
    let resource = resource("", "pods", "shop", "web", "status");
    let body = body.to_string();
    stage(&asked(Allowed::PodStatus, &resource, STRATEGIC, body.as_bytes()), present)
}

fn asked<'a>(allowed: Allowed, resource: &'a Resource, content_type: &'a str, body: &'a [u8]) -> Asked<'a> {
    Asked {
        allowed,
        resource,
        content_type,
        body,
        node: "edge",
        release: Release::default(),
        now: 1_800_000_000,
    }
}

fn delete(present: &Value, options: &Value) -> Result<Staged, Status> {
    let resource = resource("", "pods", "shop", "web", "");
    let body = options.to_string();
    stage(&asked(Allowed::FinalDelete, &resource, "application/json", body.as_bytes()), present)
}

fn options() -> Value {
    json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": {"uid": "u1"}})
}

#[test]
fn a_status_is_what_the_api_server_would_have_made_of_it() {
    let body = json!({"metadata": {"uid": "u1"}, "status": {
        "podIP": "10.0.0.9", "podIPs": [{"ip": "10.0.0.9"}, {"$patch": "delete", "ip": "10.0.0.1"}],
    }});
    let Staged::Changed(now) = status(&pod(), &body).unwrap() else { panic!("not changed") };
    assert_eq!(now["status"]["podIP"], "10.0.0.9");
    assert_eq!(now["status"]["podIPs"], json!([{"ip": "10.0.0.9"}]));
    assert_eq!(now["spec"], pod()["spec"]);
    let again = json!({"metadata": {"uid": "u1"}, "status": {"phase": "Running"}});
    assert_eq!(status(&pod(), &again).unwrap(), Staged::Same);
}

#[test]
fn a_body_that_lies_about_uid_name_or_namespace_is_refused_as_the_api_server_does() {
    for (metadata, code) in
        [(json!({"uid": "u2"}), 422), (json!({"name": "other"}), 400), (json!({"namespace": "other"}), 400)]
    {
        let refused =
            status(&pod(), &json!({"metadata": metadata, "status": {"phase": "Failed"}})).unwrap_err();
        assert_eq!(refused.code, code, "{metadata} {refused:?}");
    }
    let refused = delete(&ended(&[]), &json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "u2"}}));
    assert_eq!(refused.unwrap_err().code, 409);
    let mut foreign = pod();
    foreign["spec"]["nodeName"] = "other".into();
    assert_eq!(status(&foreign, &json!({"status": {"phase": "Failed"}})).unwrap_err().code, 403);
}

#[test]
fn a_pod_that_has_ended_is_gone_unless_a_finalizer_keeps_it() {
    let Staged::Ended { gone: true, .. } = delete(&ended(&[]), &options()).unwrap() else {
        panic!("it stays")
    };
    let kept = delete(&ended(&["batch.kubernetes.io/job-tracking"]), &options()).unwrap();
    let Staged::Ended { last, gone: false } = kept else { panic!("it is gone") };
    assert_eq!(last["metadata"]["finalizers"], json!(["batch.kubernetes.io/job-tracking"]));
}

#[test]
fn only_the_final_deletion_of_a_pod_that_is_to_go_is_taken() {
    assert_eq!(delete(&pod(), &options()).unwrap_err().code, 503, "nobody wants it gone");
    let graceful = json!({"gracePeriodSeconds": 30, "preconditions": {"uid": "u1"}});
    assert_eq!(delete(&ended(&[]), &graceful).unwrap_err().code, 503);
    assert_eq!(delete(&ended(&[]), &json!({"gracePeriodSeconds": 0})).unwrap_err().code, 503, "which one?");
    let mut mirror = ended(&[]);
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "hash"});
    assert_eq!(delete(&mirror, &options()).unwrap_err().code, 503);
}

#[test]
fn finalizers_are_not_touched_without_the_cloud() {
    let kept = json!({"metadata": {"uid": "u1", "$deleteFromPrimitiveList/finalizers": ["x"]}});
    let mut present = pod();
    present["metadata"]["finalizers"] = json!(["x"]);
    assert_eq!(status(&present, &kept).unwrap_err().code, 503);
}

#[test]
fn p5_what_would_not_be_told_is_not_taken() {
    // kubelet writes no metadata with a pod's status, and nothing of it would be settled.
    for metadata in [json!({"annotations": {"a": "b"}}), json!({"labels": {"a": "b"}})] {
        let refused = status(&pod(), &json!({"metadata": metadata, "status": {"phase": "Failed"}}));
        assert!([403, 503].contains(&refused.unwrap_err().code), "{metadata}");
    }
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "edge", "uid": "n1",
        "resourceVersion": "5"}, "spec": {}, "status": {}});
    let mark = |subresource: &str, body: Value| {
        let resource = resource("", "nodes", "", "edge", subresource);
        let body = body.to_string();
        stage(&asked(Allowed::Members, &resource, STRATEGIC, body.as_bytes()), &node)
    };
    let annotations = json!({"metadata": {"annotations": {"a": "b"}}});
    assert!(matches!(mark("", annotations.clone()), Ok(Staged::Changed(_))));
    let condition = json!({"type": "NetworkUnavailable", "status": "False", "reason": "r", "message": "m",
        "lastHeartbeatTime": null, "lastTransitionTime": null});
    let both = json!({"metadata": {"annotations": {"a": "b"}}, "status": {"conditions": [condition]}});
    assert!(matches!(mark("status", both), Ok(Staged::Changed(_))));
    for (subresource, body) in [
        ("", json!({"metadata": {"labels": {"a": "b"}}})),
        ("", json!({"spec": {"unschedulable": true}})),
        ("", json!({"metadata": {"annotations": {"a": "b"}, "finalizers": ["f"]}})),
        ("status", json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}})),
    ] {
        assert_eq!(mark(subresource, body.clone()).unwrap_err().code, 503, "{body}");
    }
}

#[test]
fn a_csinode_keeps_its_owner() {
    let present = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "CSINode",
        "metadata": {"name": "edge", "uid": "c1", "resourceVersion": "9", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": "edge", "uid": "n1"}]},
        "spec": {"drivers": null},
    });
    let resource = resource("storage.k8s.io", "csinodes", "", "edge", "");
    let put = |object: &Value| {
        let body = object.to_string();
        stage(&asked(Allowed::CsiNode, &resource, "application/json", body.as_bytes()), &present)
    };
    let mut with = present.clone();
    with["spec"]["drivers"] = json!([{"name": "d", "nodeID": "edge", "topologyKeys": null}]);
    assert!(matches!(put(&with).unwrap(), Staged::Changed(_)));
    with["metadata"]["ownerReferences"][0]["uid"] = "n2".into();
    assert_eq!(put(&with).unwrap_err().code, 503);
    with["metadata"]["ownerReferences"][0]["uid"] = "n1".into();
    with["metadata"]["resourceVersion"] = "8".into();
    assert_eq!(put(&with).unwrap_err().code, 409);
}

#[test]
fn what_cannot_be_read_is_refused_and_changes_nothing() {
    let resource = resource("", "pods", "shop", "web", "status");
    for (content_type, body, code) in [
        (STRATEGIC, "{", 400),
        ("application/merge-patch+json", "[]", 400),
        ("application/json-patch+json", "{}", 400),
        ("application/json", "null", 400),
        ("text/plain", "{}", 415),
        ("application/apply-patch+yaml", "{}", 503),
    ] {
        let refused = stage(&asked(Allowed::PodStatus, &resource, content_type, body.as_bytes()), &pod());
        assert_eq!(refused.unwrap_err().code, code, "{content_type} {body}");
    }
}
