//! P9: each staged write can be seen. P5: one that an operator drops is reported by name, with the reason.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::bench::{Bench, NODE, soon};
use crate::process::plain;
use crate::reads::{OWN_NODE, OWN_PODS, cut, list, pod, restart, watch};
use crate::staging::{JSON, STRATEGIC, at, cut_off, event, patch};

async fn admin(bench: &Bench) -> tokio::net::UnixStream {
    tokio::net::UnixStream::connect(&bench.config.admin).await.unwrap()
}

async fn told(bench: &Bench, path: &str) -> Value {
    let (code, text) = plain(admin(bench).await, path, None).await;
    assert_eq!(code, 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

async fn drops(bench: &Bench, body: &Value) -> (u16, String) {
    let stream = TokioIo::new(admin(bench).await);
    let (mut sender, driver) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(driver);
    let request = hyper::Request::builder().method("POST").uri("/outbox/drop").header("host", "hub");
    let request = request.body(Full::new(Bytes::from(body.to_string()))).unwrap();
    let answer = soon("a drop", sender.send_request(request)).await.unwrap();
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

async fn figures(bench: &Bench) -> String {
    let token = std::fs::read_to_string(bench.config.state_dir.join("metrics.token")).unwrap();
    let stream = tokio::net::TcpStream::connect(bench.daemon.health).await.unwrap();
    plain(stream, "/metrics", Some(token.trim())).await.1
}

fn own_uid() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid()
}

#[tokio::test]
async fn p9_what_waits_is_told_with_object_writer_and_size() {
    let bench = cut_off(|_| {}).await;
    let mut kubelet = bench.as_kubelet().await;
    let none = told(&bench, "/outbox").await;
    assert_eq!((&none["entries"], &none["standing"]["since"]), (&json!([]), &Value::Null));
    patch(&mut kubelet, "one", &json!({"podIP": "10.0.0.8"})).await;
    let merged = patch(&mut kubelet, "one", &json!({"podIP": "10.0.0.9"})).await.json();
    let body = json!({"metadata": {"name": "one.1", "namespace": "default"}, "reason": "BackOff", "count": 3,
        "involvedObject": {"kind": "Pod", "apiVersion": "v1", "name": "one", "namespace": "default"}});
    let path = "/api/v1/namespaces/default/events";
    assert_eq!(kubelet.ask("POST", path, &[JSON], &body.to_string()).await.code, 201);

    let all = told(&bench, "/outbox").await;
    let of = |resource: &str| {
        let found = all["entries"].as_array().unwrap().iter().find(|one| one["resource"] == resource);
        found.cloned().unwrap()
    };
    let (pod, told_event) = (of("pods"), of("events"));
    let cloud_rv =
        bench.cloud.get("", "pods", "default", "one").unwrap()["metadata"]["resourceVersion"].clone();
    for (name, value) in [
        ("apiVersion", json!("v1")),
        ("namespace", json!("default")),
        ("name", json!("one")),
        ("uid", merged["metadata"]["uid"].clone()),
        ("what", json!({"kind": "state"})),
        ("writer", json!("kubelet")),
        ("writes", json!(2)),
        ("waitsFor", json!("link")),
    ] {
        assert_eq!(pod[name], value, "{name} of {pod}");
    }
    assert_eq!(pod["base"]["resourceVersion"], cloud_rv);
    assert_eq!(told_event["what"], json!({"kind": "event", "count": 3}));
    let bytes = pod["bytes"].as_u64().unwrap() + told_event["bytes"].as_u64().unwrap();
    let standing = &all["standing"];
    assert_eq!((&standing["states"], &standing["events"]), (&json!(1), &json!(1)));
    assert_eq!((&standing["bytes"], &standing["alarm"]), (&json!(bytes), &json!(false)));
    let content = told(&bench, &format!("/outbox/{}", pod["id"].as_str().unwrap())).await;
    assert_eq!(content["status"]["podIP"], "10.0.0.9");

    assert_eq!(told(&bench, "/status").await["outbox"]["bytes"], json!(bytes));
    let figures = figures(&bench).await;
    for line in [
        "edgekeep_hub_outbox_entries{what=\"state\"} 1",
        "edgekeep_hub_outbox_entries{what=\"event\"} 1",
        "edgekeep_hub_outbox_entries{what=\"finished\"} 0",
        &format!("edgekeep_hub_outbox_bytes {bytes}"),
        "edgekeep_hub_outbox_limit_bytes 16777216",
        "edgekeep_hub_outbox_events_given_up_total 0",
        "edgekeep_hub_staged_writes_total{what=\"state\"} 2",
        "edgekeep_hub_staged_writes_total{what=\"event\"} 1",
    ] {
        assert!(figures.lines().any(|one| one == line), "{line} is not in {figures}");
    }
}

#[tokio::test]
async fn p5_what_an_operator_drops_is_reported_by_name_and_the_clouds_state_is_shown_again() {
    let bench = cut_off(|_| {}).await;
    let mut kubelet = bench.as_kubelet().await;
    let mut other = bench.as_kubelet().await;
    let before = kubelet.get(&at("one"), &[]).await.json();
    let shown = list(&mut other, OWN_PODS).await;
    let mut watching = watch(&mut other, OWN_PODS, &shown).await;
    assert_eq!(patch(&mut kubelet, "one", &json!({"podIP": "10.0.0.9"})).await.code, 200);
    assert_eq!(event(&mut watching).await.1["status"]["podIP"], "10.0.0.9");
    let id = told(&bench, "/outbox").await["entries"][0]["id"].clone();

    // Nothing of this drops anything.
    for (body, code) in [
        (json!({"id": id, "writes": 1}), 400),
        (json!({"id": id, "writes": 1, "reason": " "}), 400),
        (json!({"id": id, "reason": "it hangs"}), 400),
        (json!({"id": "other", "writes": 1, "reason": "it hangs"}), 404),
        (json!({"id": id, "writes": 2, "reason": "it hangs"}), 409),
    ] {
        let answer = drops(&bench, &body).await;
        assert_eq!(answer.0, code, "{body}: {answer:?}");
    }
    assert_eq!(bench.daemon.waiting().0.len(), 1);

    let (code, said) = drops(&bench, &json!({"id": id, "writes": 1, "reason": "it hangs"})).await;
    assert_eq!(code, 200, "{said}");
    assert_eq!(event(&mut watching).await.1["status"], before["status"], "everybody sees the cloud's state");
    assert!(bench.daemon.waiting().0.is_empty());
    let line = |bench: &Bench| bench.daemon.reports().last().unwrap()["lines"][0].clone();
    let text = format!("dropped: by an operator: it hangs (uid {})", own_uid());
    let reported = line(&bench);
    assert_eq!((&reported["key"], &reported["text"]), (&json!("default/one"), &json!(text)));

    let bench = restart(bench).await;
    assert!(bench.daemon.waiting().0.is_empty(), "it does not come back");
    assert_eq!(line(&bench), reported);
    let mut kubelet = bench.as_kubelet().await;
    assert_eq!(kubelet.get(&at("one"), &[]).await.json()["status"], before["status"]);
    // What is said after that waits as ever.
    assert_eq!(patch(&mut kubelet, "one", &json!({"podIP": "10.0.0.10"})).await.code, 200);
    assert_eq!(bench.daemon.waiting().0.len(), 1);
}

#[tokio::test]
async fn p5_of_one_object_only_what_was_named_is_dropped() {
    let bench = cut_off(|_| {}).await;
    let mut kubelet = bench.as_kubelet().await;
    for name in ["one", "two"] {
        assert_eq!(patch(&mut kubelet, name, &json!({"podIP": "10.0.0.9"})).await.code, 200);
    }
    let path = format!("/api/v1/nodes/{NODE}/status");
    let body = json!({"status": {"volumesInUse": ["v"]}}).to_string();
    assert_eq!(kubelet.ask("PATCH", &path, &[STRATEGIC], &body).await.code, 200);
    let all = told(&bench, "/outbox").await;
    let named = |name: &str| {
        all["entries"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap()["id"].clone()
    };
    let body = json!({"id": named("two"), "writes": 1, "reason": "it hangs"});
    assert_eq!(drops(&bench, &body).await.0, 200);
    assert_eq!(drops(&bench, &body).await.0, 404, "once is enough");
    let pods = list(&mut kubelet, OWN_PODS).await.json();
    assert_eq!(pods["items"][0]["status"]["podIP"], "10.0.0.9");
    assert!(pods["items"][1]["status"]["podIP"].is_null());
    let node = &list(&mut kubelet, OWN_NODE).await.json()["items"][0];
    assert_eq!(node["status"]["volumesInUse"], json!(["v"]));
}

#[tokio::test]
async fn p5_what_cannot_be_stored_is_refused_and_reads_go_on() {
    let bench = Bench::with(|config, _, _| {
        std::fs::create_dir_all(&config.state_dir).unwrap();
        std::fs::write(config.state_dir.join("keep"), "in the way").unwrap();
    })
    .await;
    bench.cloud.put("", "pods", pod("one"));
    let mut kubelet = bench.as_kubelet().await;
    let before = list(&mut kubelet, OWN_PODS).await;
    let _body = watch(&mut kubelet, OWN_PODS, &before).await;
    cut(&bench).await;
    let answer = patch(&mut kubelet, "one", &json!({"podIP": "10.0.0.9"})).await;
    assert_eq!(answer.code, 503, "{answer:?}");
    assert!(answer.message().contains("could not store"), "{answer:?}");
    assert_eq!(list(&mut kubelet, OWN_PODS).await.json(), before.json(), "nothing of it is applied");
    assert!(bench.daemon.waiting().0.is_empty());
    let line = "edgekeep_hub_staged_writes_refused_total{reason=\"disk\"} 1";
    let figures = figures(&bench).await;
    assert!(figures.lines().any(|one| one == line), "{figures}");
}

#[tokio::test]
async fn p9_an_outbox_that_fills_up_is_told_to_the_operator_while_the_hub_is_ready() {
    let bench = cut_off(|_| {}).await;
    let mut standing = bench.daemon.standing();
    let outbox = |standing: &hub::standing::Standing| {
        standing.checks().into_iter().find(|check| check.name == "outbox").unwrap()
    };
    assert_eq!(outbox(&standing).failed, None);
    standing.outbox.alarm = true;
    let check = outbox(&standing);
    assert!(check.warns && check.failed.unwrap().contains("`edgekeep outbox`"));
}
