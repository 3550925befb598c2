//! What can have happened in the cloud while the node was cut off, row by row. Lines of the table that are about merging
//! alone are tests of `owned`, those about what is staged at all of `allow`.

use outbox::settle::{Fate, Reason, Standing};
use outbox::{What, Writer};
use serde_json::json;

use crate::cloud::{node_at, place, pod_at};
use crate::world::{World, boot, condition, daemon, event, lost_node, node, pod, with_status};

#[test]
fn pod_force_deleted_in_the_cloud() {
    let mut world = World::new();
    let ended = world.pod_waits("job", json!({"phase": "Running"}), json!({"phase": "Succeeded"}));
    let runs = world.pod_waits("web", json!({"phase": "Pending"}), json!({"phase": "Running"}));
    let told = world.waits(
        &place("", "events", "shop", "web.1"),
        What::Event { names: vec![] },
        Writer::Kubelet,
        event("web.1"),
    );
    world.cloud.remove(&pod_at("job"));
    world.cloud.remove(&pod_at("web"));
    world.up();
    assert_eq!(world.fate(&ended), Some(&Fate::Dropped(Reason::Gone)));
    assert_eq!(world.fate(&runs), Some(&Fate::Dropped(Reason::Gone)), "that waits for no kubelet");
    assert_eq!(world.fate(&told), Some(&Fate::Sent), "what happened to it is told all the same");
    assert_eq!(world.lines(), ["POST events 200"]);
    assert!(world.cloud.get(&pod_at("web")).is_none(), "nothing is resurrected");
}

#[test]
fn pod_force_deleted_in_the_cloud_of_which_a_get_says_403() {
    let mut world = World::new();
    let ended = world.pod_waits("job", json!({"phase": "Running"}), json!({"phase": "Succeeded"}));
    let other = world.pod_waits("two", json!({"phase": "Running"}), json!({"phase": "Succeeded"}));
    // Both change between the list and the patch; one of them by going.
    world.settle.link(true, world.moment());
    world.settle.tick(world.moment(), &mut world.known);
    let read = world.settle.effects();
    assert_eq!(read.len(), 1);
    world.cloud.edit(&pod_at("two"), |pod| pod["metadata"]["labels"] = json!({"a": "1"}));
    world.settle.got(&outbox::settle::Read::Pods, outbox::settle::Got::Read, world.moment());
    let conflict = outbox::settle::Answer::Code { code: 409, message: String::new(), retry_after: None };
    world.instead = vec![Some(conflict)];
    world.unrelated.insert(pod_at("job"));
    world.cloud.remove(&pod_at("job"));
    world.go();
    assert_eq!(world.fate(&ended), Some(&Fate::Dropped(Reason::Gone)), "the list confirmed it");
    assert_eq!(world.fate(&other), Some(&Fate::Merged));
}

#[test]
fn pod_terminating_in_the_cloud() {
    let mut world = World::new();
    let id =
        world.pod_waits("web", json!({"phase": "Running"}), json!({"phase": "Running", "podIP": "10.0.0.9"}));
    let marked = json!("2026-01-02T00:00:00Z");
    world.cloud.edit(&pod_at("web"), |pod| {
        pod["metadata"]["deletionTimestamp"] = marked.clone();
        pod["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    });
    world.up();
    world.kubelet();
    assert_eq!(world.fate(&id), Some(&Fate::Merged));
    let pod = world.cloud.get(&pod_at("web")).unwrap();
    assert_eq!(pod.pointer("/metadata/deletionTimestamp"), Some(&marked), "that cannot be undone");
    assert_eq!(pod.pointer("/status/podIP"), Some(&json!("10.0.0.9")));
}

#[test]
fn pod_finished_and_finalized_offline() {
    let mut world = World::new();
    for name in ["gone", "kept"] {
        let mut object = pod(name, json!({"phase": "Running"}));
        object["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z".into();
        object["metadata"]["deletionGracePeriodSeconds"] = 30.into();
        if name == "kept" {
            object["metadata"]["finalizers"] = json!(["batch.kubernetes.io/job-tracking"]);
        }
        let object = world.both(&pod_at(name), object);
        let last = with_status(&object, json!({"phase": "Succeeded"}));
        world.waits(&pod_at(name), What::Finished { gone: name == "gone" }, Writer::Kubelet, last);
    }
    world.up();
    let lines = [
        "PATCH pods/gone/status 200",
        "PATCH pods/kept/status 200",
        "DELETE pods/gone 200",
        "DELETE pods/kept 200",
    ];
    assert_eq!(world.lines(), lines);
    assert!(world.cloud.get(&pod_at("gone")).is_none());
    assert_eq!(
        world.status("kept"),
        json!({"phase": "Succeeded"}),
        "finalizers keep it, and what it came to"
    );
    assert!(world.fates.iter().all(|(_, fate)| *fate == Fate::Sent), "{:?}", world.fates);
}

#[test]
fn a_pod_that_goes_with_its_last_status_has_been_told() {
    let mut world = World::new();
    let mut object = pod("job", json!({"phase": "Running"}));
    object["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z".into();
    object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
    let object = world.both(&pod_at("job"), object);
    let last = with_status(&object, json!({"phase": "Succeeded"}));
    let id = world.waits(&pod_at("job"), What::Finished { gone: true }, Writer::Kubelet, last);
    world.up();
    assert_eq!(world.lines(), ["PATCH pods/job/status 200"]);
    assert_eq!(world.fate(&id), Some(&Fate::Sent));
}

#[test]
fn a_deletion_that_was_made_already_is_done() {
    for code in [404, 409] {
        let mut world = World::new();
        let object = world.both(&pod_at("job"), pod("job", json!({"phase": "Succeeded"})));
        let id = world.waits(&pod_at("job"), What::Finished { gone: true }, Writer::Kubelet, object);
        world.instead =
            vec![Some(outbox::settle::Answer::Code { code, message: String::new(), retry_after: None })];
        world.up();
        assert_eq!(world.fate(&id), Some(&Fate::Sent));
    }
}

#[test]
fn pod_recreated_with_the_same_name() {
    let mut world = World::new();
    let ended = world.pod_waits("db-0", json!({"phase": "Running"}), json!({"phase": "Failed"}));
    let object = world.both(&pod_at("db-1"), pod("db-1", json!({"phase": "Running"})));
    let finished = world.waits(&pod_at("db-1"), What::Finished { gone: true }, Writer::Kubelet, object);
    for name in ["db-0", "db-1"] {
        let mut other = pod(name, json!({"phase": "Pending"}));
        other["metadata"]["uid"] = "another".into();
        world.cloud.store(&pod_at(name), other);
    }
    world.up();
    world.kubelet();
    assert_eq!(world.fate(&ended), Some(&Fate::Dropped(Reason::Replaced)));
    assert_eq!(world.fate(&finished), Some(&Fate::Dropped(Reason::Replaced)));
    assert!(world.sent.is_empty());
}

#[test]
fn pod_recreated_between_the_list_and_the_patch() {
    let mut world = World::new();
    let id = world.pod_waits("db-0", json!({"phase": "Running"}), json!({"phase": "Failed"}));
    let conflict = outbox::settle::Answer::Code { code: 409, message: String::new(), retry_after: None };
    world.instead = vec![Some(conflict)];
    world.settle.link(true, world.moment());
    world.settle.tick(world.moment(), &mut world.known);
    world.settle.effects();
    world.settle.got(&outbox::settle::Read::Pods, outbox::settle::Got::Read, world.moment());
    let mut other = pod("db-0", json!({"phase": "Pending"}));
    other["metadata"]["uid"] = "another".into();
    world.cloud.store(&pod_at("db-0"), other);
    world.go();
    assert_eq!(world.fate(&id), Some(&Fate::Dropped(Reason::Replaced)));
    assert_eq!(world.status("db-0"), json!({"phase": "Pending"}));
}

#[test]
fn cloud_phase_already_terminal() {
    let mut world = World::new();
    let runs = world.pod_waits("web", json!({"phase": "Pending"}), json!({"phase": "Running"}));
    world.cloud.edit(&pod_at("web"), |pod| pod["status"] = json!({"phase": "Failed", "reason": "NodeLost"}));
    world.up();
    world.kubelet();
    assert_eq!(world.fate(&runs), Some(&Fate::Dropped(Reason::EndedInCloud)));
    assert!(world.sent.is_empty());
}

#[test]
fn node_object_deleted() {
    let mut world = World::new();
    let own = lost_node(&mut world);
    let flannel = world.known.view[&node_at()].clone();
    let what = What::Members { annotations: vec!["vtep".into()], conditions: vec![] };
    let daemons = world.waits(&node_at(), what, daemon("flannel"), flannel);
    world.cloud.remove(&node_at());
    world.up();
    for id in [own, daemons] {
        assert_eq!(world.fate(&id), Some(&Fate::Dropped(Reason::Gone)));
    }
    assert!(world.sent.is_empty() && world.cloud.get(&node_at()).is_none());
}

#[test]
fn node_recreated_with_a_new_uid() {
    let mut world = World::new();
    let id = lost_node(&mut world);
    world.cloud.store(&node_at(), node("n2", "Unknown"));
    world.up();
    assert_eq!(world.fate(&id), Some(&Fate::Dropped(Reason::Replaced)));
    assert!(world.sent.is_empty());
}

#[test]
fn node_labels_taints_and_pod_cidr_changed_in_the_cloud() {
    let mut world = World::new();
    let id = lost_node(&mut world);
    world.cloud.edit(&node_at(), |node| {
        node["metadata"]["labels"] = json!({"zone": "new"});
        node["spec"] = json!({"podCIDR": "10.1.0.0/24", "taints": [{"key": "k", "effect": "NoSchedule"}]});
        node["status"]["volumesAttached"] = json!([{"name": "v", "devicePath": "d"}]);
    });
    let mut wanted = serde_json::Value::clone(world.cloud.get(&node_at()).unwrap());
    world.up();
    world.kubelet();
    assert_eq!(world.fate(&id), Some(&Fate::Merged));
    let node = world.cloud.get(&node_at()).unwrap();
    wanted["status"]["conditions"] = json!([condition("Ready", "True")]);
    wanted["status"]["conditions"][0]["lastHeartbeatTime"] = serde_json::Value::Null;
    assert_eq!(
        (&node["spec"], &node["metadata"]["labels"]),
        (&wanted["spec"], &wanted["metadata"]["labels"])
    );
    assert_eq!(node.pointer("/status/volumesAttached"), wanted.pointer("/status/volumesAttached"));
    assert_eq!(node.pointer("/status/conditions"), wanted.pointer("/status/conditions"));
}

#[test]
fn lease_stale_and_a_dead_kubelet_is_seen_to_be_dead() {
    let mut world = World::new();
    let node = lost_node(&mut world);
    let web =
        world.pod_waits("web", json!({"phase": "Running"}), json!({"phase": "Running", "podIP": "10.0.0.9"}));
    world.up();
    world.go_for(std::time::Duration::from_secs(3600));
    assert!(world.sent.is_empty(), "no heartbeat for a kubelet that is dead: {:?}", world.lines());
    assert_eq!(world.standing(&node), Some(Standing::WaitsForKubelet));
    assert_eq!(world.standing(&web), Some(Standing::WaitsForKubelet));
    assert!(world.settle.is_at_rest() && world.settle.next_tick(world.now).is_none());
    world.kubelet();
    assert_eq!(world.lines(), ["PATCH /api/v1/nodes/edge/status 200", "PATCH pods/web/status 200"]);
    world.down();
    world.up();
    assert!(!world.settle.has_seen_kubelet(), "it must show itself after each cut");
}

#[test]
fn resource_version_conflicts() {
    let mut world = World::new();
    let id = world.pod_waits("web", json!({"phase": "Running"}), json!({"phase": "Succeeded"}));
    world.settle.link(true, world.moment());
    world.settle.tick(world.moment(), &mut world.known);
    world.settle.effects();
    world.settle.got(&outbox::settle::Read::Pods, outbox::settle::Got::Read, world.moment());
    world.cloud.edit(&pod_at("web"), |pod| pod["status"]["nominatedNodeName"] = "x".into());
    world.go();
    assert_eq!(world.lines(), ["PATCH pods/web/status 409", "PATCH pods/web/status 200"]);
    assert_eq!(world.reads, [outbox::settle::Read::Again(pod_at("web"))]);
    assert_eq!(world.status("web"), json!({"phase": "Succeeded", "nominatedNodeName": "x"}));
    assert_eq!(world.fate(&id), Some(&Fate::Merged));
}

#[test]
fn generation_moved() {
    let mut world = World::new();
    let observed = |generation: i64| json!({"phase": "Running", "observedGeneration": generation});
    world.pod_waits(
        "lower",
        observed(3),
        json!({"phase": "Running", "podIP": "10.0.0.9", "observedGeneration": 3}),
    );
    world.cloud.edit(&pod_at("lower"), |pod| {
        pod["metadata"]["generation"] = 5.into();
        pod["status"]["observedGeneration"] = 4.into();
    });
    world.pod_waits("higher", observed(3), observed(4));
    world.cloud.edit(&pod_at("higher"), |pod| pod["metadata"]["generation"] = 9.into());
    world.up();
    world.kubelet();
    assert_eq!(world.status("lower")["observedGeneration"], 4, "not lower than the cloud's");
    assert_eq!(world.status("higher")["observedGeneration"], 4, "not one that kubelet never saw");
}

#[test]
fn status_going_backwards_in_time() {
    let mut world = World::new();
    let ready = json!({"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "conditions": [condition("Ready", "True")]});
    world.pod_waits("web", ready.clone(), ready.clone());
    world.cloud.edit(&pod_at("web"), |pod| {
        pod["status"]["conditions"] =
            json!([{"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-05T00:00:00Z"}]);
    });
    world.up();
    world.kubelet();
    // Times stand as kubelet wrote them, not as they are told.
    let mut wanted = ready;
    wanted["conditions"][0]["lastProbeTime"] = serde_json::Value::Null;
    assert_eq!(world.status("web"), wanted);
}

#[test]
fn graceful_node_shutdown_while_offline_is_withdrawn_after_a_reboot() {
    let ended =
        |reason: &str, message: &str| json!({"phase": "Failed", "reason": reason, "message": message});
    let shutdown = ended("Terminated", "Pod was terminated in response to imminent node shutdown.");
    let evicted = ended("Evicted", "The node was low on resource: memory.");
    let mut world = World::new();
    world.boot = boot("b0");
    let web = world.pod_waits("web", json!({"phase": "Running"}), shutdown.clone());
    let out = world.pod_waits("out", json!({"phase": "Running"}), evicted.clone());
    let mut job = pod("job", json!({"phase": "Running"}));
    job["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "j"}]);
    let object = world.both(&pod_at("job"), job);
    let job =
        world.waits(&pod_at("job"), What::State, Writer::Kubelet, with_status(&object, shutdown.clone()));
    world.boot = boot("b1");
    let now = world.pod_waits("now", json!({"phase": "Running"}), shutdown.clone());
    world.settle.undo_shutdown();
    world.up();
    assert_eq!(world.fate(&web), Some(&Fate::Dropped(Reason::SupersededByReboot)));
    assert_eq!(world.status("web"), json!({"phase": "Running"}));
    for (id, name, told) in [(out, "out", &evicted), (job, "job", &shutdown), (now, "now", &shutdown)] {
        assert_eq!(world.fate(&id), Some(&Fate::Sent));
        assert_eq!(&world.status(name), told);
    }
}

#[test]
fn events() {
    let mut world = World::new();
    let at = |name: &str| place("", "events", "shop", name);
    let of = || What::Event { names: vec![] };
    let new = world.waits(&at("a"), of(), Writer::Kubelet, event("a"));
    let there = world.waits(&at("b"), of(), Writer::Kubelet, event("b"));
    let mut before = event("b");
    before["count"] = 1.into();
    world.cloud.store(&at("b"), before);
    let lost = world.waits(&place("", "events", "lost", "c"), of(), Writer::Kubelet, event("c"));
    world.cloud.lost_namespaces.insert("lost".into());
    let old = world.waits(&at("d"), of(), Writer::Kubelet, event("d"));
    world.wall = Some(world.entries[&old].last + 3601);
    for id in [&new, &there, &lost] {
        let mut entry = world.entries[id].clone();
        entry.last = world.wall.unwrap() - 3600;
        world.settle.put(&entry.into(), &world.known.locals[id].clone());
    }
    world.up();
    assert_eq!(world.fate(&new), Some(&Fate::Sent));
    assert_eq!(world.fate(&there), Some(&Fate::Merged));
    assert_eq!(world.cloud.get(&at("b")).unwrap()["count"], 3, "it was there, and has happened again since");
    assert_eq!(world.fate(&lost), Some(&Fate::Dropped(Reason::NoNamespace)));
    assert_eq!(world.fate(&old), Some(&Fate::Dropped(Reason::TooOld)));
    let stored = world.cloud.get(&at("a")).unwrap();
    assert_eq!((&stored["count"], stored["metadata"].get("uid")), (&json!(3), None));
    assert_eq!(
        stored.pointer("/involvedObject/resourceVersion"),
        None,
        "a version of the view means nothing there"
    );
}

#[test]
fn events_are_not_called_old_by_a_clock_that_nobody_trusts() {
    let mut world = World::new();
    world.wall = None;
    let of = What::Event { names: vec![] };
    let id = world.waits(&place("", "events", "shop", "a"), of, Writer::Kubelet, event("a"));
    world.up();
    assert_eq!(world.fate(&id), Some(&Fate::Sent));
}

#[test]
fn etcd_restored() {
    let mut world = World::new();
    world.cloud.rv = 5000;
    let known = world.pod_waits("known", json!({"phase": "Running"}), json!({"phase": "Succeeded"}));
    let newer = world.pod_waits("newer", json!({"phase": "Running"}), json!({"phase": "Succeeded"}));
    // The backup is older than one pod, and than the deletion of another.
    world.cloud.rv = 200;
    world.cloud.remove(&pod_at("newer"));
    world.cloud.store(&pod_at("known"), pod("known", json!({"phase": "Pending"})));
    let mut back = pod("back", json!({"phase": "Running"}));
    back["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z".into();
    back["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    let last = with_status(&world.cloud.store(&pod_at("back"), back), json!({"phase": "Succeeded"}));
    let back = world.waits(&pod_at("back"), What::Finished { gone: true }, Writer::Kubelet, last);
    world.up();
    assert_eq!(world.fate(&newer), Some(&Fate::Dropped(Reason::Gone)), "nothing is resurrected");
    assert_eq!(world.fate(&known), Some(&Fate::Merged), "it is the same by its uid");
    assert_eq!(world.status("known"), json!({"phase": "Succeeded"}));
    assert_eq!(world.fate(&back), Some(&Fate::Sent));
    assert!(world.cloud.get(&pod_at("back")).is_none());
}

/// Of what kubelet asks, none of this waits: it is answered with 503, and kubelet asks again.
fn never_waits(lines: &[&str]) {
    for line in lines {
        let (method, target) = line.split_once(' ').unwrap();
        let request = wire::Request::parse(method, target).unwrap();
        assert_eq!(outbox::allowed(&Writer::Kubelet, &request, "edge"), None, "{line}");
    }
}

#[test]
fn mirror_pods() {
    never_waits(&["POST /api/v1/namespaces/kube-system/pods"]);
    // That its deletion is refused, too, is a test of `stage`. Its status is that of any pod, and is dropped with the pod that the
    // cloud has in its place.
    let mut world = World::new();
    let id = world.pod_waits("static", json!({"phase": "Pending"}), json!({"phase": "Running"}));
    let mut anew = pod("static", json!({"phase": "Pending"}));
    anew["metadata"]["uid"] = "u-anew".into();
    world.cloud.store(&pod_at("static"), anew);
    world.up();
    world.kubelet();
    assert_eq!(world.fate(&id), Some(&Fate::Dropped(Reason::Replaced)));
    assert_eq!(world.status("static")["phase"], "Pending");
}

#[test]
fn csr_token_request_reviews_evictions_and_bindings() {
    never_waits(&[
        "POST /apis/certificates.k8s.io/v1/certificatesigningrequests",
        "POST /api/v1/namespaces/shop/serviceaccounts/web/token",
        "POST /apis/authentication.k8s.io/v1/tokenreviews",
        "POST /apis/authorization.k8s.io/v1/subjectaccessreviews",
        "POST /api/v1/namespaces/shop/pods/web/eviction",
        "POST /api/v1/namespaces/shop/pods/web/binding",
    ]);
}
