//! P6, P9: what waits for the cloud is said, and why; what would become of it is said without a word to the cloud; and the cloud
//! hears what was lost.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::cloud::{Fault, Trouble};

use crate::bench::{Bench, NODE, until};
use crate::process::plain;
use crate::reads::{OWN_PODS, cut, list, names, pod};
use crate::staging::{STRATEGIC, at, cut_off, heal, in_cloud, patch, settled};

async fn told(bench: &Bench, path: &str) -> Value {
    let stream = tokio::net::UnixStream::connect(&bench.config.admin).await.unwrap();
    let (code, text) = plain(stream, path, None).await;
    assert_eq!(code, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn of<'v>(document: &'v Value, list: &str, name: &str) -> &'v Value {
    let key = format!("default/{name}");
    document[list].as_array().unwrap().iter().find(|line| line["key"] == *key).unwrap()
}

#[tokio::test]
async fn p9_what_waits_and_why_is_said_and_what_would_become_of_it() {
    let bench = cut_off(|_| {}).await;
    let mut kubelet = bench.as_kubelet().await;
    for name in ["one", "two"] {
        assert_eq!(patch(&mut kubelet, name, &json!({"podIP": "10.0.0.9"})).await.code, 200);
    }
    let document = told(&bench, "/settle").await;
    assert_eq!((&document["cloud"], &document["reports"]), (&json!("down"), &json!([])));
    assert_eq!(of(&document, "waiting", "one")["standing"], "waits for the cloud");
    let plan = told(&bench, "/settle/plan").await;
    assert_eq!(of(&plan, "plan", "one")["current"], false, "that is against what was known last: {plan}");

    bench.cloud.remove("", "pods", "default", "two");
    heal(&bench).await;
    until("the pod that is gone is dropped", || bench.daemon.waiting().0.len() == 1).await;
    let document = told(&bench, "/settle").await;
    assert_eq!(of(&document, "waiting", "one")["standing"], "waits for kubelet to write");
    assert_eq!(document["kubelet"], false);
    let lines = document["reports"][0]["lines"].as_array().unwrap();
    assert_eq!(lines[0]["text"], "dropped: the object is gone in the cloud");

    bench.cloud.forget_requests();
    let plan = told(&bench, "/settle/plan").await;
    let line = of(&plan, "plan", "one");
    assert_eq!((&line["would"], &line["current"]), (&json!("sent"), &json!(true)), "{plan}");
    assert_eq!(line["body"]["status"]["podIP"], "10.0.0.9");
    // An Event tells meanwhile that a pod was dropped.
    let is_write = |seen: &&testkit::cloud::Seen| seen.method != "GET" && !seen.target.contains("/events");
    assert_eq!(bench.cloud.requests().iter().filter(is_write).count(), 0, "a plan sends nothing");
    assert_eq!(in_cloud(&bench, "one")["status"]["podIP"], Value::Null);

    assert_eq!(patch(&mut kubelet, "one", &json!({"message": "it lives"})).await.code, 200);
    settled(&bench).await;
    let status = in_cloud(&bench, "one")["status"].clone();
    assert_eq!(
        (&status["podIP"], &status["message"]),
        (&json!("10.0.0.9"), &json!("it lives")),
        "one after the other"
    );
    assert_eq!(told(&bench, "/settle").await["waiting"], json!([]));
    assert_eq!(told(&bench, "/settle/plan").await["plan"], json!([]));
    assert_eq!(kubelet.get(&at("one"), &[]).await.json()["status"]["podIP"], "10.0.0.9");
}

#[tokio::test]
async fn p6_the_cloud_hears_of_losses_in_an_event_on_the_node() {
    let bench = cut_off(|_| {}).await;
    let mut kubelet = bench.as_kubelet().await;
    for name in ["one", "two"] {
        assert_eq!(patch(&mut kubelet, name, &json!({"phase": "Succeeded"})).await.code, 200);
    }
    bench.cloud.remove("", "pods", "default", "two");
    bench.cloud.put("", "pods", pod("two"));
    heal(&bench).await;
    settled(&bench).await;
    let events = || -> Vec<Value> {
        let posts =
            bench.cloud.requests().into_iter().filter(|seen| seen.method == "POST" && seen.code == 201);
        let posts = posts.filter(|seen| seen.target.starts_with("/api/v1/namespaces/default/events"));
        posts.map(|seen| serde_json::from_slice(&seen.body).unwrap()).collect()
    };
    until("the event is there", || !events().is_empty()).await;
    let event = &events()[0];
    assert_eq!(event["reason"], "SettledWithLosses", "{event}");
    assert_eq!(
        (&event["involvedObject"]["kind"], &event["involvedObject"]["name"]),
        (&json!("Node"), &json!(NODE))
    );
    assert_eq!(event["type"], "Warning");
    assert!(event["message"].as_str().unwrap().contains("told 1 changes"), "{event}");
    assert!(event["message"].as_str().unwrap().contains("dropped 1"), "{event}");
}

#[tokio::test]
async fn p6_the_node_is_not_shown_ready_before_it_is_known_which_pods_have_ended() {
    let bench = cut_off(|_| {}).await;
    let mut kubelet = bench.as_kubelet().await;
    assert_eq!(patch(&mut kubelet, "two", &json!({"phase": "Succeeded"})).await.code, 200);
    // The cloud is slow to take it.
    bench.cloud.fault(Fault::new(Trouble::Late(Duration::from_millis(700))).on("patch", "pods").named("two"));
    heal(&bench).await;
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}).to_string();
    let path = format!("/api/v1/nodes/{NODE}/status");
    assert_eq!(kubelet.ask("PATCH", &path, &[STRATEGIC], &ready).await.code, 200);
    assert_eq!(
        in_cloud(&bench, "two")["status"]["phase"],
        "Succeeded",
        "a replacement could be scheduled here"
    );
}

#[tokio::test]
async fn p6_a_pod_that_turns_out_to_be_gone_is_not_shown_as_it_was_before_it_ended() {
    let bench = cut_off(|_| {}).await;
    let mut kubelet = bench.as_kubelet().await;
    assert_eq!(patch(&mut kubelet, "two", &json!({"phase": "Succeeded"})).await.code, 200);
    // It goes after it was looked at, and the watch that will say so is behind: kubelet would run it once more.
    let pods = wire::status::GroupResource { group: "", resource: "pods" };
    let gone = wire::Status::not_found(pods, "two");
    bench.cloud.fault(Fault::new(Trouble::Refuse(gone, None)).on("patch", "pods").named("two"));
    heal(&bench).await;
    settled(&bench).await;
    cut(&bench).await;
    assert_eq!(names(&list(&mut kubelet, OWN_PODS).await.json()), ["one"]);
}

#[tokio::test]
async fn p6_the_nodes_pods_are_read_from_the_api_servers_memory_and_from_its_store_only_if_that_is_behind() {
    for behind in [0, 1] {
        let bench = cut_off(|_| {}).await;
        let mut kubelet = bench.as_kubelet().await;
        assert_eq!(patch(&mut kubelet, "one", &json!({"phase": "Succeeded"})).await.code, 200);
        let status = wire::Status::resource_version_too_large(2, 1);
        let fault = Fault::new(Trouble::Refuse(status, Some(1))).on("list", "pods").times(behind);
        bench.cloud.fault(fault);
        bench.cloud.forget_requests();
        heal(&bench).await;
        settled(&bench).await;
        let requests = bench.cloud.requests();
        let lists = requests.iter().filter(|seen| {
            seen.method == "GET" && seen.target.contains("/pods?") && !seen.target.contains("watch=true")
        });
        let (remembered, stored): (Vec<_>, Vec<_>) =
            lists.partition(|seen| seen.target.contains("resourceVersion="));
        assert!(!remembered.is_empty(), "{requests:?}");
        assert_eq!(stored.len(), usize::try_from(behind).unwrap(), "{requests:?}");
        assert_eq!(in_cloud(&bench, "one")["status"]["phase"], "Succeeded");
    }
}
