//! P5: a write that was answered with success is visible at once to every reader on the node, and survives; what cannot be
//! done without the cloud is refused.

use std::path::Path;

use hub::daemon::Daemon;
use hub::service_manager::Given;
use serde_json::{Value, json};
use testkit::cloud::{Rule, User};
use testkit::relay::Mode;

use crate::bench::{Answer, Bench, Client, NODE, next, until};
use crate::reads::{OWN_NODE, OWN_PODS, bench, cut, list, names, pod, restart, watch};

pub const STRATEGIC: (&str, &str) = ("content-type", "application/strategic-merge-patch+json");
pub const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("accept", "application/vnd.kubernetes.protobuf");

pub fn at(name: &str) -> String {
    format!("/api/v1/namespaces/default/pods/{name}")
}

pub async fn patch(client: &mut Client, name: &str, status: &Value) -> Answer {
    let body = json!({"status": status}).to_string();
    client.ask("PATCH", &format!("{}/status", at(name)), &[STRATEGIC], &body).await
}

pub async fn event(body: &mut hyper::body::Incoming) -> (String, Value) {
    let event: Value = serde_json::from_slice(&next(body).await.unwrap().unwrap()).unwrap();
    (event["type"].as_str().unwrap().to_owned(), event["object"].clone())
}

fn rv(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// A node that has read what kubelet reads, and is cut off.
pub async fn cut_off(change: impl FnOnce(&Bench)) -> Bench {
    let bench = bench().await;
    let node =
        || Rule::user(&format!("system:node:{NODE}")).can(&["get", "list", "watch", "create", "update"]);
    bench.cloud.allow(node().on("storage.k8s.io", &["csinodes"]).on("coordination.k8s.io", &["leases"]));
    change(&bench);
    let mut kubelet = bench.as_kubelet().await;
    list(&mut kubelet, OWN_NODE).await;
    let pods = list(&mut kubelet, OWN_PODS).await;
    // A stream follows them from now on.
    let _body = watch(&mut kubelet, OWN_PODS, &pods).await;
    cut(&bench).await;
    bench.cloud.forget_requests();
    bench
}

/// A pod that has ended and is to go.
fn ended(name: &str, finalizers: &[&str]) -> Value {
    let mut pod = pod(name);
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    pod["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    if !finalizers.is_empty() {
        pod["metadata"]["finalizers"] = finalizers.into();
    }
    pod
}

#[tokio::test]
async fn p5_a_status_is_shown_to_every_reader_at_once_and_after_a_restart() {
    let bench = cut_off(|_| {}).await;
    let mut kubelet = bench.as_kubelet().await;
    let mut other = bench.as_kubelet().await;
    let before = list(&mut other, OWN_PODS).await;
    let mut watching = watch(&mut other, OWN_PODS, &before).await;
    let status = json!({"podIP": "10.0.0.9", "podIPs": [{"ip": "10.0.0.9"}], "phase": "Running"});
    let answer = patch(&mut kubelet, "one", &status).await;
    assert_eq!(answer.code, 200, "{answer:?}");
    let merged = answer.json();
    assert_eq!((&merged["status"]["podIP"], &merged["spec"]["nodeName"]), (&json!("10.0.0.9"), &json!(NODE)));
    let (what, told) = event(&mut watching).await;
    assert_eq!((what.as_str(), &told), ("MODIFIED", &merged), "what is told is what was answered");
    assert!(rv(&merged) > rv(&before.json()));
    let shown = kubelet.get(&at("one"), &[]).await.json();
    assert_eq!(shown, merged);
    let selected = format!("{OWN_PODS},status.podIP%3D10.0.0.9");
    assert_eq!(names(&list(&mut other, &selected).await.json()), ["one"]);
    let answer = kubelet.get(&at("one"), &[PROTOBUF]).await;
    assert!(answer.body.starts_with(b"k8s\0") && answer.body.windows(8).any(|part| part == b"10.0.0.9"));

    let bench = restart(bench).await;
    let mut kubelet = bench.as_kubelet().await;
    let after = list(&mut kubelet, OWN_PODS).await.json();
    assert_eq!(after["items"][0]["status"], merged["status"]);
    assert!(rv(&after["items"][0]) > rv(&merged), "a version is issued once");
    assert_eq!(bench.cloud.requests().len(), 0);
}

#[tokio::test]
async fn p5_writes_of_one_object_add_up_and_stand_on_each_other() {
    let bench = cut_off(|_| {}).await;
    let (mut one, mut two) = (bench.as_kubelet().await, bench.as_kubelet().await);
    // At the same time, and neither is lost.
    let conditions =
        ["Ready", "Initialized"].map(|name| json!({"conditions": [{"type": name, "status": "True"}]}));
    let (first, second) =
        tokio::join!(patch(&mut one, "one", &conditions[0]), patch(&mut two, "one", &conditions[1]));
    assert_eq!((first.code, second.code), (200, 200));
    let shown = one.get(&at("one"), &[]).await.json();
    assert_eq!(shown["status"]["conditions"].as_array().unwrap().len(), 2, "{shown}");
    // Nothing new is answered as it is, and makes no version.
    let again = patch(&mut one, "one", &json!({"phase": "Running"})).await;
    assert_eq!((again.code, rv(&again.json())), (200, rv(&shown)));
    let (waiting, standing) = bench.daemon.waiting();
    assert_eq!((waiting.len(), standing.states), (1, 1), "one entry for one object");
    assert_eq!(waiting[0].writes, 2);
}

#[tokio::test]
async fn p5_what_the_api_server_would_refuse_is_refused_with_its_code() {
    let bench = cut_off(|_| {}).await;
    let mut kubelet = bench.as_kubelet().await;
    let shown = kubelet.get(&at("one"), &[]).await.json();
    for (body, code) in [
        (json!({"metadata": {"uid": "another"}, "status": {"phase": "Failed"}}), 422),
        (json!({"metadata": {"name": "two"}, "status": {"phase": "Failed"}}), 400),
        (json!({"metadata": {"resourceVersion": "999999"}, "status": {"phase": "Failed"}}), 409),
        (json!({"metadata": {"labels": {"a": "b"}}}), 403),
        (json!({"status": {"$patch": "what"}}), 500),
    ] {
        let path = format!("{}/status", at("one"));
        let answer = kubelet.ask("PATCH", &path, &[STRATEGIC], &body.to_string()).await;
        assert_eq!(answer.code, code, "{body}: {answer:?}");
        answer.message();
    }
    assert_eq!(
        patch(&mut kubelet, "none", &json!({"phase": "Failed"})).await.code,
        503,
        "it may run elsewhere"
    );
    assert_eq!(kubelet.get(&at("one"), &[]).await.json(), shown, "nothing is half-applied");
    // The version that it was shown is a precondition that holds.
    let body = json!({"metadata": {"resourceVersion": shown["metadata"]["resourceVersion"]}, "status": {"phase": "Failed"}});
    let answer =
        kubelet.ask("PATCH", &format!("{}/status", at("one")), &[STRATEGIC], &body.to_string()).await;
    assert_eq!(answer.code, 200, "{answer:?}");
}

#[tokio::test]
async fn p5_a_pod_that_was_finished_with_is_gone_and_stays_gone() {
    let bench = cut_off(|bench| {
        bench.cloud.put("", "pods", ended("done", &[]));
        bench.cloud.put("", "pods", ended("job", &["batch.kubernetes.io/job-tracking"]));
    })
    .await;
    let mut kubelet = bench.as_kubelet().await;
    let mut other = bench.as_kubelet().await;
    let before = list(&mut other, OWN_PODS).await;
    let mut watching = watch(&mut other, OWN_PODS, &before).await;
    for name in ["done", "job"] {
        let shown = patch(&mut kubelet, name, &json!({"phase": "Succeeded"})).await.json();
        assert_eq!(event(&mut watching).await.1["status"]["phase"], "Succeeded");
        let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": shown["metadata"]["uid"]}});
        let answer = kubelet.ask("DELETE", &at(name), &[JSON], &options.to_string()).await;
        assert_eq!(answer.code, 200, "{answer:?}");
        let (what, told) = event(&mut watching).await;
        // A finalizer keeps the other one.
        let expected = if name == "done" { "DELETED" } else { "MODIFIED" };
        assert_eq!((what.as_str(), &told["metadata"]["name"]), (expected, &json!(name)));
    }
    assert_eq!(names(&list(&mut kubelet, OWN_PODS).await.json()), ["job", "one", "two"]);
    let bench = restart(bench).await;
    let mut kubelet = bench.as_kubelet().await;
    assert_eq!(kubelet.get(&at("done"), &[]).await.code, 404);
    assert_eq!(patch(&mut kubelet, "done", &json!({"phase": "Running"})).await.code, 404);
    assert_eq!(names(&list(&mut kubelet, OWN_PODS).await.json()), ["job", "one", "two"]);
}

#[tokio::test]
async fn p5_only_what_kubelet_alone_knows_is_taken() {
    let bench = cut_off(|_| {}).await;
    let mut kubelet = bench.as_kubelet().await;
    let mirror =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "m", "namespace": "default"}})
            .to_string();
    let shown = kubelet.get(&at("one"), &[]).await.json();
    let finish =
        json!({"gracePeriodSeconds": 0, "preconditions": {"uid": shown["metadata"]["uid"]}}).to_string();
    for (method, path, content_type, body) in [
        ("POST", "/api/v1/namespaces/default/pods", JSON, mirror.as_str()),
        ("DELETE", "/api/v1/namespaces/default/pods/one", JSON, finish.as_str()),
        ("PATCH", "/api/v1/namespaces/default/pods/one", STRATEGIC, "{}"),
        ("PATCH", "/api/v1/namespaces/default/pods/one/status?dryRun=All", STRATEGIC, "{}"),
        ("PATCH", "/api/v1/nodes/edge-2/status", STRATEGIC, "{}"),
        ("POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests", JSON, "{}"),
        ("PATCH", "/api/v1/namespaces/default/persistentvolumeclaims/data/status", STRATEGIC, "{}"),
    ] {
        let answer = kubelet.ask(method, path, &[content_type], body).await;
        assert_eq!(answer.code, 503, "{method} {path}: {answer:?}");
        assert!(!answer.headers.contains_key("retry-after"), "client-go would wait");
    }
    assert!(bench.daemon.waiting().0.is_empty());
}

#[tokio::test]
async fn p5_the_node_says_how_it_is() {
    let bench = cut_off(|_| {}).await;
    let mut kubelet = bench.as_kubelet().await;
    let path = format!("/api/v1/nodes/{NODE}/status");
    let body =
        json!({"status": {"conditions": [{"type": "Ready", "status": "True"}], "volumesInUse": ["v"]}});
    let answer = kubelet.ask("PATCH", &path, &[STRATEGIC], &body.to_string()).await;
    assert_eq!((answer.code, &answer.json()["status"]["volumesInUse"]), (200, &json!(["v"])), "{answer:?}");
    let bench = restart(bench).await;
    let node = &list(&mut bench.as_kubelet().await, OWN_NODE).await.json()["items"][0];
    assert_eq!(node["status"]["conditions"][0]["status"], "True");
}

#[tokio::test]
async fn events_are_taken_and_the_same_is_told_once() {
    let bench = cut_off(|_| {}).await;
    let mut kubelet = bench.as_kubelet().await;
    let shown = kubelet.get(&at("one"), &[]).await.json();
    let path = "/api/v1/namespaces/default/events";
    let event = |name: &str| {
        json!({"metadata": {"name": name, "namespace": "default"}, "involvedObject": {"kind": "Pod", "apiVersion": "v1",
            "name": "one", "namespace": "default", "uid": shown["metadata"]["uid"],
            "resourceVersion": shown["metadata"]["resourceVersion"]},
            "reason": "BackOff", "message": "again", "type": "Warning", "count": 1})
    };
    for name in ["one.1", "one.2"] {
        let answer = kubelet.ask("POST", path, &[JSON], &event(name).to_string()).await;
        assert_eq!((answer.code, &answer.json()["metadata"]["name"]), (201, &json!(name)), "{answer:?}");
    }
    let change = json!({"count": 4, "lastTimestamp": "2026-01-01T00:00:00Z"}).to_string();
    let answer = kubelet.ask("PATCH", &format!("{path}/one.2"), &[STRATEGIC], &change).await;
    assert_eq!((answer.code, &answer.json()["count"]), (200, &json!(4)), "{answer:?}");
    // Upon this kubelet writes it anew, whole.
    assert_eq!(kubelet.ask("PATCH", &format!("{path}/one.3"), &[STRATEGIC], &change).await.code, 404);
    let bench = restart(bench).await;
    let mut kubelet = bench.as_kubelet().await;
    assert_eq!(kubelet.ask("POST", path, &[JSON], &event("one.4").to_string()).await.code, 201);
    let (waiting, standing) = bench.daemon.waiting();
    assert_eq!((waiting.len(), standing.events), (1, 1));
    let told = bench.daemon.content(&waiting[0].id).unwrap();
    assert_eq!((&told["count"], &told["metadata"]["name"]), (&json!(6), &json!("one.1")));
    let cloud_rv =
        bench.cloud.get("", "pods", "default", "one").unwrap()["metadata"]["resourceVersion"].clone();
    assert_eq!(told["involvedObject"]["resourceVersion"], cloud_rv, "no view RV reaches the cloud");
}

#[tokio::test]
async fn the_lease_is_renewed_in_peace_and_nothing_of_that_waits() {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}");
    let bench = bench().await;
    let node = Rule::user(&format!("system:node:{NODE}")).can(&["get", "create", "update"]);
    bench.cloud.allow(node.on("coordination.k8s.io", &["leases"]));
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": NODE, "namespace": "kube-node-lease"}, "spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}});
    bench.cloud.put("coordination.k8s.io", "leases", lease);
    let mut kubelet = bench.as_kubelet().await;
    let mut lease = kubelet.get(&path, &[]).await.json();
    lease = kubelet.ask("PUT", &path, &[JSON], &lease.to_string()).await.json();
    cut(&bench).await;
    lease["spec"]["renewTime"] = "2026-01-01T00:00:10.000000Z".into();
    for _ in 0..3 {
        let answer = kubelet.ask("PUT", &path, &[JSON], &lease.to_string()).await;
        assert_eq!(answer.code, 200, "{answer:?}");
        lease = answer.json();
    }
    assert_eq!(kubelet.get(&path, &[]).await.json(), lease);
    assert!(bench.daemon.waiting().0.is_empty());
    bench.cloud.link().switch(Mode::Pass).await.unwrap();
    bench.judges(true).await;
    let answer = kubelet.ask("PUT", &path, &[JSON], &lease.to_string()).await;
    assert_eq!(answer.code, 200, "what kubelet has is what the cloud knows: {answer:?}");
    cut(&bench).await;
    let bench = restart(bench).await;
    let mut kubelet = bench.as_kubelet().await;
    assert_eq!(kubelet.ask("PUT", &path, &[JSON], &lease.to_string()).await.code, 200, "after a cold boot");
    lease["metadata"]["uid"] = "another".into();
    assert_eq!(kubelet.ask("PUT", &path, &[JSON], &lease.to_string()).await.code, 409);
}

#[tokio::test]
async fn p8_a_daemon_marks_its_node_if_the_cloud_let_it_before_and_nobody_else_does() {
    let bench = bench().await;
    let user = User::service_account("kube-flannel", "flannel", "u");
    bench.cloud.allow(
        Rule::user(&user.name).can(&["get", "list", "watch", "patch"]).on("", &["nodes", "nodes/status"]),
    );
    let flannel = format!("Bearer {}", bench.cloud.token(&user));
    let other = User::service_account("shop", "web", "v");
    bench.cloud.allow(Rule::user(&other.name).can(&["get", "list", "watch"]).on("", &["nodes"]));
    let other = format!("Bearer {}", bench.cloud.token(&other));
    let path = format!("/api/v1/nodes/{NODE}/status");
    let mark = |value: &str| {
        json!({"metadata": {"annotations": {"flannel.alpha.coreos.com/public-ip": value}}, "status": {"conditions": [
            {"type": "NetworkUnavailable", "status": "False"}]}})
        .to_string()
    };
    list(&mut bench.as_kubelet().await, OWN_NODE).await;
    let mut daemon = bench.client(None).await;
    let (flannel, other) =
        ([STRATEGIC, ("authorization", flannel.as_str())], [STRATEGIC, ("authorization", other.as_str())]);
    assert_eq!(daemon.ask("PATCH", &path, &flannel, &mark("10.1.0.1")).await.code, 200);
    assert_eq!(daemon.ask("PATCH", &path, &other, &mark("6.6.6.6")).await.code, 403);
    cut(&bench).await;
    let answer = daemon.ask("PATCH", &path, &flannel, &mark("10.1.0.2")).await;
    assert_eq!(answer.code, 200, "{answer:?}");
    assert_eq!(daemon.ask("PATCH", &path, &other, &mark("6.6.6.6")).await.code, 503);
    // What kubelet says of the node meanwhile is beside it.
    let mut kubelet = bench.as_kubelet().await;
    let body = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}).to_string();
    assert_eq!(kubelet.ask("PATCH", &path, &[STRATEGIC], &body).await.code, 200);
    let bench = restart(bench).await;
    let node = list(&mut bench.as_kubelet().await, OWN_NODE).await.json()["items"][0].clone();
    assert_eq!(node["metadata"]["annotations"]["flannel.alpha.coreos.com/public-ip"], "10.1.0.2");
    let conditions: Vec<&str> = node["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["type"].as_str().unwrap())
        .collect();
    assert_eq!(conditions.len(), 2, "{conditions:?}");
    let (waiting, _) = bench.daemon.waiting();
    assert_eq!(waiting.len(), 2, "each is told under a credential of its own");
}

#[tokio::test]
async fn p5_what_waits_is_not_overtaken_when_the_link_is_back() {
    let bench = cut_off(|_| {}).await;
    let mut kubelet = bench.as_kubelet().await;
    let first = patch(&mut kubelet, "one", &json!({"podIP": "10.0.0.9"})).await;
    assert_eq!(first.code, 200);
    heal(&bench).await;
    // The cloud's own change of it comes in beneath.
    let mut changed = (*bench.cloud.get("", "pods", "default", "one").unwrap()).clone();
    changed["metadata"]["labels"]["new"] = "label".into();
    bench.cloud.put("", "pods", changed);
    let answer = list(&mut kubelet, OWN_PODS).await.json();
    assert_eq!(answer["items"][0]["status"]["podIP"], "10.0.0.9", "the node's own is still shown: {answer}");
    assert_eq!(answer["items"][0]["metadata"]["labels"]["new"], "label");
}

#[tokio::test]
async fn p6_a_pod_that_the_cloud_deleted_is_not_brought_back_by_what_waits() {
    let bench = cut_off(|_| {}).await;
    let mut kubelet = bench.as_kubelet().await;
    assert_eq!(patch(&mut kubelet, "one", &json!({"podIP": "10.0.0.9"})).await.code, 200);
    bench.cloud.remove("", "pods", "default", "one");
    bench.cloud.link().switch(Mode::Pass).await.unwrap();
    bench.judges(true).await;
    assert_eq!(names(&list(&mut kubelet, OWN_PODS).await.json()), ["two"]);
    cut(&bench).await;
    let bench = restart(bench).await;
    assert_eq!(names(&list(&mut bench.as_kubelet().await, OWN_PODS).await.json()), ["two"]);
}

#[tokio::test]
async fn p5_many_at_once_are_all_kept() {
    let bench = cut_off(|bench| {
        for at in 0..100 {
            bench.cloud.put("", "pods", pod(&format!("p{at:03}")));
        }
    })
    .await;
    let mut tasks = tokio::task::JoinSet::new();
    for part in 0..4 {
        let mut kubelet = bench.as_kubelet().await;
        tasks.spawn(async move {
            for at in (part..100).step_by(4) {
                let ip = format!("10.0.1.{at}");
                let answer = patch(&mut kubelet, &format!("p{at:03}"), &json!({"podIP": ip})).await;
                assert_eq!(answer.code, 200, "{answer:?}");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let bench = restart(bench).await;
    let pods = list(&mut bench.as_kubelet().await, OWN_PODS).await.json();
    let kept =
        pods["items"].as_array().unwrap().iter().filter(|pod| pod["status"]["podIP"].is_string()).count();
    assert_eq!(kept, 100);
}

pub async fn heal(bench: &Bench) {
    bench.cloud.link().switch(Mode::Pass).await.unwrap();
    bench.judges(true).await;
}

pub async fn settled(bench: &Bench) {
    until("what waits is settled", || bench.daemon.waiting().0.is_empty()).await;
}

pub fn in_cloud(bench: &Bench, name: &str) -> Value {
    bench.cloud.get("", "pods", "default", name).map_or(Value::Null, |pod| (*pod).clone())
}

#[tokio::test]
async fn p6_what_waits_reaches_the_cloud_and_both_agree() {
    let bench = cut_off(|bench| {
        bench.cloud.put("", "pods", ended("done", &[]));
    })
    .await;
    let mut kubelet = bench.as_kubelet().await;
    let before = list(&mut kubelet, OWN_PODS).await;
    let mut watching = watch(&mut kubelet, OWN_PODS, &before).await;
    for (name, status) in [("one", json!({"podIP": "10.0.0.9"})), ("two", json!({"phase": "Succeeded"}))] {
        assert_eq!(patch(&mut kubelet, name, &status).await.code, 200);
        event(&mut watching).await;
    }
    let done = patch(&mut kubelet, "done", &json!({"phase": "Succeeded"})).await.json();
    let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": done["metadata"]["uid"]}});
    assert_eq!(kubelet.ask("DELETE", &at("done"), &[JSON], &options.to_string()).await.code, 200);
    let said = json!({"metadata": {"name": "one.1", "namespace": "default"}, "involvedObject": {"kind": "Pod",
        "name": "one", "namespace": "default"}, "reason": "Started", "message": "it runs", "type": "Normal"});
    let events = "/api/v1/namespaces/default/events";
    assert_eq!(kubelet.ask("POST", events, &[JSON], &said.to_string()).await.code, 201);
    heal(&bench).await;
    // What has ended is told whether kubelet runs or not; how a living pod is only kubelet knows.
    until("the ends are told", || {
        in_cloud(&bench, "two")["status"]["phase"] == "Succeeded" && in_cloud(&bench, "done").is_null()
    })
    .await;
    assert_eq!(in_cloud(&bench, "one")["status"]["podIP"], Value::Null, "nobody knows whether it still runs");
    assert_eq!(kubelet.get(&at("one"), &[]).await.json()["status"]["podIP"], "10.0.0.9", "here it is shown");
    assert_eq!(patch(&mut kubelet, "two", &json!({"message": "done"})).await.code, 200);
    settled(&bench).await;
    assert_eq!(in_cloud(&bench, "one")["status"]["podIP"], "10.0.0.9");
    assert!(bench.cloud.get("", "events", "default", "one.1").is_some());
    assert_eq!(
        names(&list(&mut kubelet, OWN_PODS).await.json()),
        ["one", "two"],
        "and the pod is not shown again"
    );
    let report = bench.daemon.reports();
    assert_eq!(report.len(), 1, "{report:?}");
    assert_eq!(report[0]["counts"]["dropped"], Value::Null, "{report:?}");
}

#[tokio::test]
async fn p6_what_was_replaced_or_deleted_in_the_cloud_is_dropped_and_named() {
    let bench = cut_off(|_| {}).await;
    let mut kubelet = bench.as_kubelet().await;
    for name in ["one", "two"] {
        assert_eq!(patch(&mut kubelet, name, &json!({"phase": "Failed"})).await.code, 200);
    }
    bench.cloud.remove("", "pods", "default", "one");
    bench.cloud.remove("", "pods", "default", "two");
    bench.cloud.put("", "pods", pod("two"));
    heal(&bench).await;
    settled(&bench).await;
    assert!(in_cloud(&bench, "one").is_null(), "it is not resurrected");
    assert_eq!(in_cloud(&bench, "two")["status"]["phase"], "Running", "another pod of the same name");
    assert_eq!(names(&list(&mut kubelet, OWN_PODS).await.json()), ["two"]);
    let report = bench.daemon.reports();
    let said: Vec<&str> =
        report[0]["lines"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(said.len(), 2, "{report:?}");
    assert!(said.iter().all(|text| text.starts_with("dropped: ")), "{said:?}");
    let bench = restart(bench).await;
    assert_eq!(bench.daemon.reports()[0]["lines"].as_array().unwrap().len(), 2, "the report survives");
}

#[tokio::test]
async fn p6_settling_goes_on_after_a_restart_of_the_hub() {
    let bench = cut_off(|_| {}).await;
    assert_eq!(patch(&mut bench.as_kubelet().await, "one", &json!({"phase": "Succeeded"})).await.code, 200);
    let bench = restart(bench).await;
    heal(&bench).await;
    settled(&bench).await;
    assert_eq!(in_cloud(&bench, "one")["status"]["phase"], "Succeeded");
}

/// Turns over a byte a little before the end of what is written in the newest segment of the log `keep`.
fn damage(state: &Path, before_the_end: usize) {
    let segments = std::fs::read_dir(state.join("keep")).unwrap().map(|entry| entry.unwrap().path());
    let newest = segments.filter(|path| path.to_string_lossy().contains("segment-")).max().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end - before_the_end] ^= 0x55;
    std::fs::write(newest, bytes).unwrap();
}

#[tokio::test]
async fn p5_a_record_of_what_waits_that_is_damaged_is_named_and_takes_nothing_with_it() {
    let bench = cut_off(|_| {}).await;
    let mut kubelet = bench.as_kubelet().await;
    assert_eq!(patch(&mut kubelet, "one", &json!({"podIP": "10.0.0.8"})).await.code, 200);
    assert_eq!(patch(&mut kubelet, "two", &json!({"podIP": "10.0.0.9"})).await.code, 200);
    drop(kubelet);
    let Bench { cloud, daemon, config, scratch } = bench;
    daemon.stop().await;
    damage(&config.state_dir, 200);
    let daemon = Daemon::begin(config.clone(), Given::default()).unwrap();
    let bench = Bench { cloud, daemon, config, scratch };
    let mut kubelet = bench.as_kubelet().await;
    let pods = list(&mut kubelet, OWN_PODS).await.json();
    assert_eq!(names(&pods), ["one", "two"], "all pods are known still");
    assert_eq!(pods["items"][0]["status"]["podIP"], "10.0.0.8", "what else waits is shown");
    assert_eq!(bench.daemon.waiting().0.len(), 1);
    let report = bench.daemon.reports();
    assert_eq!(report[0]["lines"][0]["key"], "default/two", "{report:?}");
}
