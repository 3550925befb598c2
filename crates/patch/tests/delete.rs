//! What a DELETE does to an object.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{pod, resource, with, write};
use patch::{DeleteOptions, Deletion, Write, delete};
use serde_json::{Value, json};
use wire::Status;

/// 2026-01-02T03:05:00Z.
const NOW: i64 = 1_767_323_100;

fn deleted(object: &Value, path: &str, options: Value) -> Result<Deletion, Status> {
    let resource = resource(object, path);
    delete(object, &write(object, &resource, 36), &DeleteOptions::of(&options), NOW)
}

fn marked(object: &Value, at: &str, seconds: i64) -> Value {
    let object = with(object, "/metadata/deletionTimestamp", json!(at));
    with(&object, "/metadata/deletionGracePeriodSeconds", json!(seconds))
}

#[test]
fn the_final_delete_of_a_pod_removes_it() {
    let pod = with(&pod(), "/status/phase", json!("Succeeded"));
    let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "u1"}});
    let last = marked(&pod, "2026-01-02T03:05:00Z", 0);
    assert_eq!(deleted(&pod, "pods", options.clone()), Ok(Deletion::Removed(last)));
    let dying = marked(&pod, "2026-01-02T03:05:30Z", 30);
    let last = marked(&pod, "2026-01-02T03:05:00Z", 0);
    assert_eq!(deleted(&dying, "pods", options), Ok(Deletion::Removed(last)));
}

#[test]
fn a_pod_with_finalizers_stays_marked_after_the_final_delete() {
    let pod = with(&pod(), "/metadata/finalizers", json!(["batch.kubernetes.io/job-tracking"]));
    let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "u1"}});
    let stays = marked(&pod, "2026-01-02T03:05:00Z", 0);
    assert_eq!(deleted(&pod, "pods", options.clone()), Ok(Deletion::Marked(stays.clone())));
    // And after the same delete again.
    assert_eq!(deleted(&stays, "pods", options), Ok(Deletion::Marked(stays)));
}

#[test]
fn a_running_pod_is_given_its_time() {
    let stays = |at, seconds| Ok(Deletion::Marked(marked(&pod(), at, seconds)));
    assert_eq!(deleted(&pod(), "pods", json!({})), stays("2026-01-02T03:05:30Z", 30));
    assert_eq!(deleted(&pod(), "pods", json!({"gracePeriodSeconds": 5})), stays("2026-01-02T03:05:05Z", 5));
    let unbound = with(&pod(), "/spec/nodeName", json!(""));
    assert!(matches!(deleted(&unbound, "pods", json!({})), Ok(Deletion::Removed(_))));
}

#[test]
fn the_time_to_end_can_only_be_shortened() {
    let dying = marked(&pod(), "2026-01-02T03:05:20Z", 30);
    assert_eq!(
        deleted(&dying, "pods", json!({"gracePeriodSeconds": 40})),
        Ok(Deletion::Pending(dying.clone()))
    );
    assert_eq!(deleted(&dying, "pods", json!({})), Ok(Deletion::Pending(dying.clone())));
    let sooner = marked(&pod(), "2026-01-02T03:05:10Z", 20);
    assert_eq!(deleted(&dying, "pods", json!({"gracePeriodSeconds": 20})), Ok(Deletion::Marked(sooner)));
    // What would have been over already ends now, but not without notice.
    let at_once = marked(&pod(), "2026-01-02T03:05:00Z", 1);
    assert_eq!(deleted(&dying, "pods", json!({"gracePeriodSeconds": 3})), Ok(Deletion::Marked(at_once)));
}

#[test]
fn preconditions_hold_or_it_is_409() {
    let text = |options| {
        let status = deleted(&pod(), "pods", options).unwrap_err();
        format!("{} {}", status.code, status.message)
    };
    assert_eq!(
        text(json!({"preconditions": {"uid": "u2"}})),
        "409 Operation cannot be fulfilled on Pod \"web\": the UID in the precondition (u2) does not match \
         the UID in record (u1). The object might have been deleted and then recreated"
    );
    assert_eq!(
        text(json!({"preconditions": {"uid": "u1", "resourceVersion": "6"}})),
        "409 Operation cannot be fulfilled on Pod \"web\": the ResourceVersion in the precondition (6) does not \
         match the ResourceVersion in record (7). The object might have been modified"
    );
}

#[test]
fn other_kinds_go_at_once_unless_finalizers_or_the_policy_hold_them() {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "m", "namespace": "shop", "uid": "m1", "resourceVersion": "2", "generation": 1}});
    let delete = |object: &Value, options| deleted(object, "configmaps", options).unwrap();
    assert_eq!(delete(&map, json!({})), Deletion::Removed(map.clone()));
    assert_eq!(delete(&map, json!({"propagationPolicy": "Background"})), Deletion::Removed(map.clone()));
    for (policy, finalizer) in [("Orphan", "orphan"), ("Foreground", "foregroundDeletion")] {
        let stays =
            with(&with(&map, "/metadata/finalizers", json!([finalizer])), "/metadata/generation", json!(2));
        let stays = marked(&stays, "2026-01-02T03:05:00Z", 0);
        assert_eq!(delete(&map, json!({"propagationPolicy": policy})), Deletion::Marked(stays.clone()));
        // Another policy later takes the first one back.
        let gone = delete(&stays, json!({"propagationPolicy": "Background"}));
        assert!(matches!(gone, Deletion::Removed(_)), "{gone:?}");
    }
    let text = deleted(&map, "configmaps", json!({"propagationPolicy": "Never", "orphanDependents": true}));
    let causes = text.unwrap_err().details.unwrap().causes;
    assert_eq!(
        causes.iter().map(|cause| cause.reason.as_str()).collect::<Vec<_>>(),
        ["FieldValueInvalid", "FieldValueNotSupported"]
    );
}

#[test]
fn a_kubelet_deletes_only_its_own_pods() {
    let resource = resource(&pod(), "pods");
    let by = |node| {
        let write = Write { node: Some(node), ..write(&pod(), &resource, 36) };
        delete(&pod(), &write, &DeleteOptions::default(), NOW)
    };
    assert!(by("edge").is_ok());
    let status = by("far").unwrap_err();
    assert_eq!(
        (status.code, status.message.as_str()),
        (
            403,
            "pods \"web\" is forbidden: node \"far\" can only delete pods with spec.nodeName set to itself"
        )
    );
}
