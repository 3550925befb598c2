use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::entry::{Base, Id, Writer};
use view::{Key, ResourceId};

fn entry(resource: &str, what: What) -> Entry {
    let resource =
        ResourceId::new(if resource == "csinodes" { "storage.k8s.io" } else { "" }, "v1", resource, "");
    let id = Id::new(resource, Key::new("", "x"), "u", Writer::Kubelet);
    let base = Base::default();
    Entry { id, base, what, since: 0, last: 0, boot: "".into(), writes: 1, size: 0 }
}

fn a_pod(status: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "uid": "u", "resourceVersion": "7"},
        "spec": {"nodeName": "edge"}, "status": status})
}

fn a_node(metadata: Value, status: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {}, "status": status})
}

#[test]
fn what_kubelet_has_for_a_pod_takes_the_place_of_what_the_cloud_thought() {
    let local = a_pod(json!({"phase": "Running", "podIP": "10.0.0.9", "podIPs": [{"ip": "10.0.0.9"}],
        "startTime": "2026-01-01T00:00:00Z", "containerStatuses": [{"name": "a", "restartCount": 3}],
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:09Z"}]}));
    let fresh = a_pod(
        json!({"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "message": "old",
        "startTime": "2026-01-01T00:00:00Z", "containerStatuses": [{"name": "a", "restartCount": 0}],
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-02T00:00:00Z"}]}),
    );
    assert_eq!(pod(&local, &fresh), local);
}

#[test]
fn what_others_wrote_into_a_pods_status_stays() {
    let foreign = json!({"qosClass": "Burstable", "nominatedNodeName": "other", "resize": "Proposed",
        "resourceClaimStatuses": [{"name": "c", "resourceClaimName": "x"}],
        "conditions": [{"type": "example.com/gate", "status": "True"}, {"type": "DisruptionTarget", "status": "False"}],
        "newerThanThisHub": {"a": 1}});
    let local = a_pod(json!({"phase": "Pending", "qosClass": "BestEffort", "nominatedNodeName": "edge",
        "resourceClaimStatuses": [], "extendedResourceClaimStatus": {"requestMappings": []},
        "conditions": [{"type": "example.com/gate", "status": "False"}, {"type": "DisruptionTarget", "status": "True"}],
        "newerThanThisHub": {"a": 2}, "kubeletIsNewer": true}));
    let laid = pod(&local, &a_pod(foreign.clone()));
    let mut wanted = foreign;
    wanted["phase"] = "Pending".into();
    wanted["kubeletIsNewer"] = true.into();
    assert_eq!(laid["status"], wanted);
    let first = pod(&local, &a_pod(json!({})));
    assert_eq!(first["status"]["qosClass"], "BestEffort", "nobody has set it yet");
}

#[test]
fn a_pod_that_ended_in_the_cloud_never_comes_back_to_life() {
    let fresh = a_pod(json!({"phase": "Failed", "reason": "NodeLost", "message": "gone"}));
    for phase in ["Running", "Pending", "Unknown", ""] {
        assert_eq!(pod(&a_pod(json!({"phase": phase, "podIP": "10.0.0.9"})), &fresh), fresh);
    }
    let local = a_pod(json!({"phase": "Succeeded", "reason": "Completed",
        "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 0}}}]}));
    let laid = pod(&local, &fresh);
    assert_eq!(laid.pointer("/status/phase"), Some(&"Failed".into()), "nor from one end to the other");
    assert_eq!(laid.pointer("/status/reason"), Some(&"NodeLost".into()));
    assert_eq!(laid.pointer("/status/containerStatuses"), local.pointer("/status/containerStatuses"));
}

#[test]
fn a_disruption_is_told_only_with_kubelets_own_end_of_the_pod() {
    let disrupted = |phase: &str, conditions: Value| a_pod(json!({"phase": phase, "conditions": conditions}));
    let own = json!([{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}]);
    let cloud = json!([{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]);
    let of = |local: &Value, fresh: &Value| pod(local, fresh).pointer("/status/conditions").cloned();
    assert_eq!(
        of(&disrupted("Failed", own.clone()), &disrupted("Running", cloud.clone())),
        Some(own.clone())
    );
    assert_eq!(
        of(&disrupted("Failed", own.clone()), &disrupted("Failed", cloud.clone())),
        Some(cloud.clone())
    );
    assert_eq!(
        of(&disrupted("Running", own.clone()), &disrupted("Running", cloud.clone())),
        Some(cloud.clone())
    );
    assert_eq!(of(&disrupted("Running", own), &disrupted("Running", json!([]))), Some(json!([])));
    assert_eq!(of(&disrupted("Failed", json!([])), &disrupted("Running", cloud.clone())), Some(cloud));
}

#[test]
fn the_generation_sent_is_the_one_kubelet_observed_never_lower_than_the_clouds() {
    let observed = |of_pod: i64, of_ready: i64| {
        a_pod(json!({"phase": "Running", "observedGeneration": of_pod,
            "conditions": [{"type": "Ready", "status": "True", "observedGeneration": of_ready}]}))
    };
    for (local, fresh, wanted) in
        [((3, 2), (5, 4), (5, 4)), ((6, 5), (5, 4), (6, 5)), ((5, 4), (5, 4), (5, 4))]
    {
        assert_eq!(
            pod(&observed(local.0, local.1), &observed(fresh.0, fresh.1)),
            observed(wanted.0, wanted.1)
        );
    }
    let old = a_pod(json!({"phase": "Running"}));
    assert_eq!(pod(&old, &old), old, "a kubelet and a cloud that know no such thing");
}

#[test]
fn the_cloud_keeps_what_is_its_own_of_a_node() {
    let local = a_node(
        json!({"labels": {"kubernetes.io/hostname": "edge", "topology.kubernetes.io/zone": "a", "team": "old"},
            "annotations": {"csi.volume.kubernetes.io/nodeid": "{\"d\":\"1\"}", "flannel": "old"}}),
        json!({"capacity": {"cpu": "8", "example.com/gpu": "1"}, "allocatable": {"cpu": "7"},
            "addresses": [{"type": "InternalIP", "address": "10.0.0.9"}], "images": [], "volumesInUse": ["v"],
            "volumesAttached": [], "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026"},
                {"type": "NetworkUnavailable", "status": "True"}]}),
    );
    let fresh = a_node(
        json!({"labels": {"topology.kubernetes.io/zone": "b", "team": "new"},
            "annotations": {"flannel": "new", "volumes.kubernetes.io/controller-managed-attach-detach": "true"}}),
        json!({"capacity": {"cpu": "4", "example.com/fpga": "2"}, "allocatable": {"cpu": "3"},
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}], "nodeInfo": {"bootID": "a"},
            "volumesAttached": [{"name": "v", "devicePath": "/dev/x"}],
            "conditions": [{"type": "NetworkUnavailable", "status": "False"}, {"type": "Ready", "status": "Unknown"}]}),
    );
    let wanted = a_node(
        json!({"labels": {"kubernetes.io/hostname": "edge", "topology.kubernetes.io/zone": "b", "team": "new"},
            "annotations": {"flannel": "new", "csi.volume.kubernetes.io/nodeid": "{\"d\":\"1\"}"}}),
        json!({"capacity": {"cpu": "8", "example.com/fpga": "2"}, "allocatable": {"cpu": "7"},
            "addresses": [{"type": "InternalIP", "address": "10.0.0.9"}], "images": [], "volumesInUse": ["v"],
            "volumesAttached": [{"name": "v", "devicePath": "/dev/x"}],
            "conditions": [{"type": "NetworkUnavailable", "status": "False"},
                {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026"}]}),
    );
    assert_eq!(laid_over(&entry("nodes", What::State), &local, &fresh), wanted);
}

#[test]
fn a_cloud_provider_keeps_the_addresses_it_gave_a_node() {
    let local = a_node(
        json!({"name": "edge"}),
        json!({"addresses": [{"type": "InternalIP", "address": "10.0.0.9"}]}),
    );
    let mut fresh =
        a_node(json!({"name": "edge"}), json!({"addresses": [{"type": "InternalIP", "address": "1.1.1.1"}]}));
    fresh["spec"]["providerID"] = "aws:///i-1".into();
    assert_eq!(node(&local, &fresh).pointer("/status/addresses"), fresh.pointer("/status/addresses"));
    fresh["status"]["addresses"] = json!([]);
    assert_eq!(node(&local, &fresh).pointer("/status/addresses"), local.pointer("/status/addresses"));
}

#[test]
fn of_a_daemons_entry_only_the_members_it_set_count() {
    let named = |annotations: &[&str], conditions: &[&str]| {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        entry("nodes", What::Members { annotations: names(annotations), conditions: names(conditions) })
    };
    let local = a_node(
        json!({"annotations": {"vtep": "aa", "other": "local"}}),
        json!({"conditions": [{"type": "NetworkUnavailable", "status": "False"}, {"type": "Ready", "status": "False"}]}),
    );
    let fresh = a_node(
        json!({"annotations": {"vtep": "bb", "other": "cloud", "gone": "1"}, "labels": {"l": "1"}}),
        json!({"conditions": [{"type": "Ready", "status": "True"}]}),
    );
    let wanted = a_node(
        json!({"annotations": {"vtep": "aa", "other": "cloud"}, "labels": {"l": "1"}}),
        json!({"conditions": [{"type": "Ready", "status": "True"}, {"type": "NetworkUnavailable", "status": "False"}]}),
    );
    assert_eq!(laid_over(&named(&["vtep", "gone"], &["NetworkUnavailable"]), &local, &fresh), wanted);
    let bare = json!({"kind": "Pod", "metadata": {"name": "web"}});
    assert_eq!(laid_over(&named(&["a"], &["b"]), &bare, &bare), bare, "nothing is made of nothing");
}

#[test]
fn a_csinode_keeps_the_clouds_identity_and_has_kubelets_drivers() {
    let csinode = |uid: &str, rv: &str, drivers: Value| {
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": "edge", "uid": uid,
            "resourceVersion": rv, "ownerReferences": [{"uid": "n"}]}, "spec": {"drivers": drivers}})
    };
    let (local, fresh) = (csinode("u", "3", json!([{"name": "d"}])), csinode("u", "9", json!([])));
    let wanted = csinode("u", "9", json!([{"name": "d"}]));
    assert_eq!(laid_over(&entry("csinodes", What::Object), &local, &fresh), wanted);
}

/// Statuses of some members, owned and foreign, known and unknown.
fn statuses() -> impl Strategy<Value = Value> {
    let types = ["Ready", "PodScheduled", "DisruptionTarget", "example.com/gate", "Initialized"];
    let condition =
        (proptest::sample::select(types.to_vec()), "[TF]", 0..4i64).prop_map(|(name, status, observed)| {
            let mut condition = json!({"type": name, "status": status});
            if observed > 0 {
                condition["observedGeneration"] = observed.into();
            }
            condition
        });
    let conditions = proptest::collection::vec(condition, 0..6).prop_map(|mut list| {
        let mut seen = std::collections::BTreeSet::new();
        list.retain(|condition| seen.insert(text(condition, "type").to_owned()));
        Value::from(list)
    });
    let phase = proptest::sample::select(vec!["Pending", "Running", "Succeeded", "Failed", "Unknown"]);
    let texts = ["podIP", "reason", "message", "qosClass", "nominatedNodeName", "unknown"];
    let texts = proptest::collection::btree_map(proptest::sample::select(texts.to_vec()), "[a-c]", 0..6);
    (phase, proptest::option::of(conditions), texts, 0..4i64).prop_map(
        |(phase, conditions, texts, observed)| {
            let mut status = json!({"phase": phase});
            if observed > 0 {
                status["observedGeneration"] = observed.into();
            }
            if let Some(conditions) = conditions {
                status["conditions"] = conditions;
            }
            for (name, value) in texts {
                status[name] = value.into();
            }
            status
        },
    )
}

proptest! {
    #[test]
    fn an_object_that_is_as_the_node_has_it_is_left_alone(status in statuses()) {
        prop_assert_eq!(pod(&a_pod(status.clone()), &a_pod(status.clone())), a_pod(status.clone()));
        let node_of = |status| a_node(json!({"name": "edge"}), status);
        prop_assert_eq!(node(&node_of(status.clone()), &node_of(status.clone())), node_of(status));
    }

    #[test]
    fn laid_over_once_is_laid_over_for_good(local in statuses(), fresh in statuses()) {
        let once = pod(&a_pod(local.clone()), &a_pod(fresh.clone()));
        prop_assert_eq!(pod(&a_pod(local), &once), once);
    }

    #[test]
    fn owned_is_the_nodes_and_foreign_is_the_clouds(local in statuses(), fresh in statuses()) {
        let (local, fresh) = (a_pod(local), a_pod(fresh));
        let laid = pod(&local, &fresh);
        prop_assert_eq!(&laid["metadata"], &fresh["metadata"]);
        prop_assert_eq!(&laid["spec"], &fresh["spec"]);
        prop_assert_eq!(laid["status"].get("nominatedNodeName"), fresh["status"].get("nominatedNodeName"));
        prop_assert!(!is_terminal(&fresh) || laid["status"]["phase"] == fresh["status"]["phase"]);
        let find = |object: &Value, name: &str| {
            list(object, "/status/conditions").iter().find(|condition| text(condition, "type") == name).cloned()
        };
        prop_assert_eq!(find(&laid, "example.com/gate"), find(&fresh, "example.com/gate"));
        let observed = |object: &Value| object.pointer("/status/observedGeneration").and_then(Value::as_i64);
        prop_assert!(observed(&laid) >= observed(&fresh));
        if !is_terminal(&fresh) || is_terminal(&local) {
            prop_assert_eq!(laid["status"].get("podIP"), local["status"].get("podIP"));
            let status = |object: &Value| find(object, "Ready").map(|ready| ready["status"].clone());
            prop_assert_eq!(status(&laid), status(&local));
        }
    }
}
