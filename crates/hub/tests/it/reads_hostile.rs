//! What a hostile client, a full disk and a cloud in trouble make of the hub's reads: nothing.

use base64::Engine as _;
use serde_json::json;
use testkit::cloud::{Rule, User};
use testkit::relay::Mode;

use crate::bench::{Bench, NODE, certificate, kubeconfig, next, until};
use crate::reads::{OWN_PODS, SERVICES, bench, cut, list, names, restart, watch};

const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
const JSON: (&str, &str) = ("content-type", "application/json");

fn service(name: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": name},
        "spec": {"clusterIP": "10.0.0.9", "ports": [{"port": 80}]}})
}

/// A token that says it is this service account's.
fn token_of(namespace: &str, name: &str, uid: &str) -> String {
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let claims = json!({"iss": "https://kubernetes", "sub": format!("system:serviceaccount:{namespace}:{name}"), "kubernetes.io":
        {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}}});
    format!("{}.{}.{}", encode("{}"), encode(&claims.to_string()), encode("x"))
}

#[tokio::test]
async fn p8_a_forged_token_that_the_api_server_takes_for_none_is_nobodys() {
    let bench = bench().await;
    bench.cloud.allow(
        Rule::user("system:serviceaccount:kube-system:proxy").can(&["list", "watch"]).on("", &["services"]),
    );
    let opaque = bench.cloud.token(&User::service_account("kube-system", "proxy", "uid-1"));
    let token = token_of("kube-system", "proxy", "uid-1");
    bench.cloud.world(|world| {
        let holder = world.tokens.remove(&opaque).unwrap();
        world.tokens.insert(token.clone(), holder);
    });
    let mine = format!("Bearer {token}");
    assert_eq!(bench.client(None).await.get(SERVICES, &[("authorization", &mine)]).await.code, 200);
    // The same claims under another signature; the API server reads no token behind two spaces.
    let forged = format!("Bearer  {token}x");
    let headers = [("authorization", forged.as_str())];
    let mut thief = bench.client(None).await;
    assert_eq!(thief.get("/version", &headers).await.code, 200, "everybody may ask that");
    cut(&bench).await;
    assert_eq!(thief.get(SERVICES, &headers).await.code, 503);
}

#[tokio::test]
async fn p4_a_delete_that_is_only_tried_removes_nothing() {
    let bench = bench().await;
    bench.cloud.put("", "services", service("web"));
    let mut kubelet = bench.as_kubelet().await;
    let answer = list(&mut kubelet, SERVICES).await;
    let mut body = watch(&mut kubelet, SERVICES, &answer).await;
    let path = "/api/v1/namespaces/default/services/web";
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]}).to_string();
    assert_eq!(kubelet.ask("DELETE", path, &[JSON], &options).await.code, 200);
    assert_eq!(kubelet.ask("DELETE", &format!("{path}?dryRun=All"), &[], "").await.code, 200);
    bench.cloud.put("", "services", service("other"));
    let event = String::from_utf8(next(&mut body).await.unwrap().unwrap().to_vec()).unwrap();
    assert!(event.contains("\"ADDED\"") && event.contains("\"other\""), "{event}");
    cut(&bench).await;
    let bench = restart(bench).await;
    let mut kubelet = bench.as_kubelet().await;
    assert_eq!(names(&list(&mut kubelet, SERVICES).await.json()), ["other", "web"]);
}

#[tokio::test]
async fn a_pod_that_is_being_deleted_comes_under_a_version_of_the_hubs() {
    let bench = bench().await;
    let mut kubelet = bench.as_kubelet().await;
    let before = list(&mut kubelet, OWN_PODS).await.json();
    let path = "/api/v1/namespaces/default/pods/one";
    let answer = kubelet.ask("DELETE", path, &[JSON], "").await;
    assert_eq!(answer.code, 200, "{answer:?}");
    let rv = |value: &serde_json::Value| -> u64 {
        value["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    };
    let after = list(&mut kubelet, OWN_PODS).await.json();
    assert!(rv(&answer.json()) >= rv(&before) && rv(&answer.json()) <= rv(&after), "{answer:?} {after}");
}

#[tokio::test]
async fn p4_what_no_log_takes_is_served_from_memory() {
    let scratch_has_no_cache = |config: &mut hub::config::Config| {
        std::fs::create_dir_all(&config.state_dir).unwrap();
        // Neither can a log be opened here, nor can it be thrown away.
        std::fs::write(config.state_dir.join("cache"), "not a directory").unwrap();
    };
    let bench = Bench::with(|config, cloud, _| {
        scratch_has_no_cache(config);
        let node = Rule::user(&format!("system:node:{NODE}")).can(&["list", "watch"]);
        cloud.allow(node.on("discovery.k8s.io", &["endpointslices"]));
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": "default", "name": "web-1"}, "endpoints": []});
        cloud.put("discovery.k8s.io", "endpointslices", slice);
    })
    .await;
    assert!(bench.daemon.standing().store[1].failing.is_some(), "the cache cannot be opened");
    let mut kubelet = bench.as_kubelet().await;
    for online in [true, false] {
        assert_eq!(names(&list(&mut kubelet, SLICES).await.json()), ["web-1"], "{online}");
        let path = format!(
            "{SLICES}?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        );
        let mut body = kubelet.send("GET", &path, &[], "").await.unwrap().into_body();
        let mut told = String::new();
        while !told.contains("k8s.io/initial-events-end") {
            told.push_str(std::str::from_utf8(&next(&mut body).await.unwrap().unwrap()).unwrap());
        }
        assert!(told.contains("\"web-1\""), "{online}: {told}");
        if online {
            cut(&bench).await;
        }
    }
}

#[tokio::test]
async fn p8_users_that_were_handed_over_stay_themselves_when_files_change() {
    let bench = Bench::with(|config, cloud, dir| {
        config.handed_over = ["ada", "bob"]
            .map(|name| {
                let path = dir.join(format!("{name}.conf"));
                let user = certificate(&cloud.credential(&User::new(name, &["ops"])));
                std::fs::write(&path, kubeconfig(&cloud.url(), &cloud.ca(), &user)).unwrap();
                path
            })
            .to_vec();
        cloud.allow(Rule::user("ada").can(&["list", "watch"]).on("", &["services"]));
        cloud.allow(Rule::user("bob").can(&["list", "watch"]).on("", &["services"]));
    })
    .await;
    let ada = bench.cloud.credential(&User::new("ada", &["ops"]));
    let mut ada = bench.client(Some(&ada)).await;
    let answer = list(&mut ada, SERVICES).await;
    let _body = watch(&mut ada, SERVICES, &answer).await;
    until("the stream", || bench.cloud.watches() == 1).await;
    let [one, two] = [0, 1].map(|at| std::fs::read(&bench.config.handed_over[at]).unwrap());
    std::fs::write(&bench.config.handed_over[0], two).unwrap();
    std::fs::write(&bench.config.handed_over[1], one).unwrap();
    bench.daemon.read_again();
    bench.cloud.forget_requests();
    cut(&bench).await;
    bench.cloud.link().switch(Mode::Pass).await.unwrap();
    bench.judges(true).await;
    until("the stream again", || bench.cloud.watches() == 1).await;
    assert!(bench.cloud.requests().iter().all(|seen| seen.user != "bob"), "{:?}", bench.cloud.requests());
}

#[tokio::test]
async fn p8_what_the_cloud_takes_away_a_watch_over_anothers_stream_does_not_show() {
    let bench = bench().await;
    let rule = || Rule::user("system:serviceaccount:a:b").can(&["list", "watch"]).on("", &["services"]);
    bench.cloud.allow(rule());
    let mine = format!("Bearer {}", bench.cloud.token(&User::service_account("a", "b", "uid-1")));
    let mut pod = bench.client(None).await;
    assert_eq!(pod.get(SERVICES, &[("authorization", &mine)]).await.code, 200);
    let mut kubelet = bench.as_kubelet().await;
    let answer = list(&mut kubelet, SERVICES).await;
    let _body = watch(&mut kubelet, SERVICES, &answer).await;
    until("kubelet's stream", || bench.cloud.watches() == 1).await;
    // A hub that starts anew does not know how long ago it was granted.
    let bench = restart(bench).await;
    bench.judges(true).await;
    let mut kubelet = bench.as_kubelet().await;
    let answer = list(&mut kubelet, SERVICES).await;
    let _body = watch(&mut kubelet, SERVICES, &answer).await;
    bench.cloud.world(|world| world.rules.retain(|one| format!("{one:?}").contains("system:node")));
    let mut pod = bench.client(None).await;
    for query in ["?watch=true&resourceVersion=0", "?resourceVersion=0"] {
        let answer =
            pod.send("GET", &format!("{SERVICES}{query}"), &[("authorization", &mine)], "").await.unwrap();
        assert_eq!(answer.status(), 403, "{query}");
    }
}

#[tokio::test]
async fn a_document_is_kept_once_whatever_its_query_says() {
    let bench = bench().await;
    let mut kubelet = bench.as_kubelet().await;
    for number in 0..10 {
        assert_eq!(kubelet.get(&format!("/version?x={number}"), &[]).await.code, 200);
    }
    cut(&bench).await;
    let answer = kubelet.get("/version?timeout=32s", &[]).await;
    assert_eq!(answer.code, 200, "{answer:?}");
}
