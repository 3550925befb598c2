//! P4: what the node could read before, it can read offline, also after a cold boot.

use hub::daemon::Daemon;
use hub::service_manager::Given;
use serde_json::{Value, json};
use testkit::cloud::{Options, Release, Rule, User};
use testkit::relay::Mode;

use crate::bench::{Answer, Bench, Client, NODE, next};

pub const OWN_NODE: &str = "/api/v1/nodes?fieldSelector=metadata.name%3Dedge-1";
pub const OWN_PODS: &str = "/api/v1/pods?fieldSelector=spec.nodeName%3Dedge-1";
pub const SERVICES: &str = "/api/v1/services";
const CONFIG: &str = "/api/v1/namespaces/default/configmaps?fieldSelector=metadata.name%3Dsettings";
const SECRET: &str = "/api/v1/namespaces/default/secrets/password";
const PROTOBUF: (&str, &str) = ("accept", "application/vnd.kubernetes.protobuf");

pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "default", "name": name, "labels": {"app": "a"}},
        "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running"},
    })
}

/// A cloud with what a node needs, and a hub that cuts nobody off yet.
pub async fn bench() -> Bench {
    let bench = Bench::new().await;
    let node = || Rule::user(&format!("system:node:{NODE}")).can(&["get", "list", "watch"]);
    bench.cloud.allow(node().on("", &["configmaps", "secrets"]));
    for name in ["one", "two"] {
        bench.cloud.put("", "pods", pod(name));
    }
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": "settings"},
        "data": {"a": "1"},
    });
    bench.cloud.put("", "configmaps", config);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "default", "name": "password"},
        "data": {"p": "aHVudGVyMi1odW50ZXIy"},
    });
    bench.cloud.put("", "secrets", secret);
    bench
}

/// Cuts the link; the hub knows.
pub async fn cut(bench: &Bench) {
    bench.cloud.link().switch(Mode::Refuse).await.unwrap();
    bench.cloud.link().reset();
    bench.judges(false).await;
}

/// Another hub on the same state.
pub async fn restart(bench: Bench) -> Bench {
    let Bench { cloud, daemon, config, scratch } = bench;
    daemon.stop().await;
    let daemon = Daemon::begin(config.clone(), Given::default()).unwrap();
    Bench { cloud, daemon, config, scratch }
}

pub async fn list(client: &mut Client, path: &str) -> Answer {
    let answer = client.get(path, &[]).await;
    assert_eq!(answer.code, 200, "{path}: {answer:?}");
    answer
}

pub fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

/// Follows a set from the version of `answer`.
pub async fn watch(client: &mut Client, path: &str, answer: &Answer) -> hyper::body::Incoming {
    let rv = answer.json()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let path = format!(
        "{path}{}watch=true&allowWatchBookmarks=true&resourceVersion={rv}",
        if path.contains('?') { '&' } else { '?' }
    );
    let answer = client.send("GET", &path, &[], "").await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.into_body()
}

#[tokio::test]
async fn p4_what_was_read_online_is_read_after_a_cold_boot_offline() {
    let bench = bench().await;
    let mut kubelet = bench.as_kubelet().await;
    let mut before = Vec::new();
    for path in [OWN_NODE, OWN_PODS, SERVICES, CONFIG, SECRET] {
        before.push(list(&mut kubelet, path).await.json());
    }
    drop(kubelet);
    cut(&bench).await;
    let bench = restart(bench).await;
    bench.cloud.forget_requests();
    let mut kubelet = bench.as_kubelet().await;
    for (path, before) in [OWN_NODE, OWN_PODS, SERVICES, CONFIG, SECRET].into_iter().zip(before) {
        let mut now = list(&mut kubelet, path).await.json();
        if ["NodeList", "PodList"].contains(&now["kind"].as_str().unwrap()) {
            // A hub that starts goes on above all versions that the last one may have issued.
            now["metadata"] = before["metadata"].clone();
        }
        assert_eq!(now, before, "{path}");
    }
    // With a selector that adds terms, by name, in another encoding, as a table.
    assert_eq!(
        names(&list(&mut kubelet, &format!("{OWN_PODS}&labelSelector=app%3Db")).await.json()),
        [""; 0]
    );
    assert_eq!(
        kubelet.get("/api/v1/namespaces/default/pods/one", &[]).await.json()["metadata"]["name"],
        "one"
    );
    let answer = kubelet.get(OWN_PODS, &[PROTOBUF]).await;
    assert!(answer.body.starts_with(b"k8s\0"), "{answer:?}");
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    assert_eq!(kubelet.get(OWN_PODS, &table).await.json()["rows"].as_array().unwrap().len(), 2);
    assert_eq!(bench.cloud.requests().len(), 0, "nothing could go there");
}

#[tokio::test]
async fn p4_absent_is_404_and_unknown_is_503_without_retry_after() {
    let bench = bench().await;
    let mut kubelet = bench.as_kubelet().await;
    list(&mut kubelet, SERVICES).await;
    list(&mut kubelet, OWN_PODS).await;
    cut(&bench).await;
    let bench = restart(bench).await;
    let mut kubelet = bench.as_kubelet().await;
    assert_eq!(kubelet.get("/api/v1/namespaces/default/services/none", &[]).await.code, 404);
    for path in
        ["/api/v1/pods", CONFIG, "/api/v1/namespaces/default/configmaps/settings", "/api/v1/nodes/edge-2"]
    {
        let answer = kubelet.get(path, &[]).await;
        assert_eq!(answer.code, 503, "{path}: {answer:?}");
        assert!(!answer.headers.contains_key("retry-after"));
    }
}

#[tokio::test]
async fn p4_a_watch_stays_open_while_the_cloud_goes_and_comes_and_tells_what_changed() {
    let bench = bench().await;
    let mut kubelet = bench.as_kubelet().await;
    let answer = list(&mut kubelet, OWN_PODS).await;
    let mut body = watch(&mut kubelet, OWN_PODS, &answer).await;
    bench.cloud.put("", "pods", pod("three"));
    let event = next(&mut body).await.unwrap().unwrap();
    let event: Value = serde_json::from_slice(&event).unwrap();
    assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("three")));
    cut(&bench).await;
    bench.cloud.remove("", "pods", "default", "one");
    bench.cloud.link().switch(Mode::Pass).await.unwrap();
    let event = next(&mut body).await.unwrap().unwrap();
    let event: Value = serde_json::from_slice(&event).unwrap();
    assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("DELETED"), &json!("one")));
    assert_eq!(names(&list(&mut kubelet, OWN_PODS).await.json()), ["three", "two"]);
}

#[tokio::test]
async fn p4_a_pod_that_was_deleted_before_the_cut_is_not_shown_after_a_cold_boot() {
    let bench = bench().await;
    let mut kubelet = bench.as_kubelet().await;
    let answer = list(&mut kubelet, OWN_PODS).await;
    let mut body = watch(&mut kubelet, OWN_PODS, &answer).await;
    bench.cloud.remove("", "pods", "default", "one");
    next(&mut body).await.unwrap().unwrap();
    cut(&bench).await;
    let bench = restart(bench).await;
    assert_eq!(names(&list(&mut bench.as_kubelet().await, OWN_PODS).await.json()), ["two"]);
}

#[tokio::test]
async fn p4_a_watch_list_ends_its_state_with_the_bookmark_offline_too() {
    let bench = bench().await;
    let mut kubelet = bench.as_kubelet().await;
    let path = format!(
        "{OWN_PODS}&watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    );
    for round in ["online", "offline"] {
        let mut body = kubelet.send("GET", &path, &[], "").await.unwrap().into_body();
        let mut told = Vec::new();
        while !told.ends_with(b"}\n") || !String::from_utf8_lossy(&told).contains("k8s.io/initial-events-end")
        {
            told.extend(next(&mut body).await.unwrap().unwrap());
        }
        let told = String::from_utf8(told).unwrap();
        assert_eq!(told.matches("\"ADDED\"").count(), 2, "{round}: {told}");
        if round == "online" {
            cut(&bench).await;
        }
    }
}

#[tokio::test]
async fn p8_what_kubelet_read_nobody_else_is_shown() {
    let bench = bench().await;
    list(&mut bench.as_kubelet().await, OWN_PODS).await;
    list(&mut bench.as_kubelet().await, SECRET).await;
    let bearer = format!("Bearer {}", bench.cloud.token(&User::new("ada", &["ops"])));
    cut(&bench).await;
    let mut nobody = bench.client(None).await;
    for headers in [&[][..], &[("authorization", "Bearer forged")], &[("authorization", bearer.as_str())]] {
        for path in [OWN_PODS, SECRET, "/api/v1/namespaces/default/pods/one"] {
            assert_eq!(nobody.get(path, headers).await.code, 503, "{path} {headers:?}");
        }
    }
}

#[tokio::test]
async fn p8_secrets_and_tokens_lie_sealed_on_the_disk() {
    let bench = bench().await;
    list(&mut bench.as_kubelet().await, SECRET).await;
    list(&mut bench.as_kubelet().await, CONFIG).await;
    let (_, given) = give_token(&bench, &mut bench.as_kubelet().await).await;
    let state = bench.config.state_dir.clone();
    bench.daemon.stop().await;
    let mut stored = Vec::new();
    for log in ["keep", "cache"] {
        for file in std::fs::read_dir(state.join(log)).unwrap() {
            stored.extend(std::fs::read(file.unwrap().path()).unwrap());
        }
    }
    let contains = |text: &str| stored.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(contains("settings"), "the config map is there, so this looks where things are");
    let token = given["status"]["token"].as_str().unwrap();
    for text in ["aHVudGVyMi1odW50ZXIy", "hunter2-hunter2", token] {
        assert!(!contains(text), "{text}");
    }
}

#[tokio::test]
async fn p8_a_right_that_the_cloud_takes_away_ends_what_the_view_shows() {
    let bench = bench().await;
    let mut kubelet = bench.as_kubelet().await;
    list(&mut kubelet, CONFIG).await;
    bench.cloud.world(|world| world.rules.clear());
    assert_eq!(kubelet.get(CONFIG, &[]).await.code, 403);
    cut(&bench).await;
    assert_eq!(kubelet.get(CONFIG, &[]).await.code, 503);
}

#[tokio::test]
async fn a_version_that_the_hub_issued_is_the_clouds_when_it_is_written_back() {
    let bench = bench().await;
    let mut kubelet = bench.as_kubelet().await;
    list(&mut kubelet, OWN_NODE).await;
    let path = "/api/v1/nodes/edge-1";
    let json = [("content-type", "application/json")];
    let mut node = kubelet.get(path, &[]).await.json();
    let of_the_cloud = bench.cloud.get("", "nodes", "", NODE).unwrap()["metadata"]["resourceVersion"].clone();
    assert_ne!(node["metadata"]["resourceVersion"], of_the_cloud);
    node["metadata"]["labels"] = json!({"a": "1"});
    let answer = kubelet.ask("PUT", path, &json, &node.to_string()).await;
    assert_eq!(answer.code, 200, "{answer:?}");
    let read = kubelet.get(path, &[]).await.json();
    assert_eq!(answer.json()["metadata"]["resourceVersion"], read["metadata"]["resourceVersion"]);
    let again = kubelet.ask("PUT", path, &json, &node.to_string()).await;
    assert_eq!(again.code, 409, "it has been changed since: {again:?}");
    let stray = bench.cloud.get("", "nodes", "", NODE).unwrap();
    let answer = kubelet.ask("PUT", path, &json, &stray.to_string()).await;
    assert_eq!(answer.code, 409, "a version that the hub did not issue: {answer:?}");
}

const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/sa/token";
const IN_JSON: (&str, &str) = ("content-type", "application/json");

fn token_request(seconds: u32, uid: &str) -> String {
    let pod = json!({"kind": "Pod", "apiVersion": "v1", "name": "one", "uid": uid});
    let spec = json!({"audiences": [], "expirationSeconds": seconds, "boundObjectRef": pod});
    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}).to_string()
}

/// Has kubelet be given a token for the pod `one`: the pod's uid, and the answer.
async fn give_token(bench: &Bench, kubelet: &mut Client) -> (String, Value) {
    let node = Rule::user(&format!("system:node:{NODE}")).can(&["create", "get"]);
    bench.cloud.allow(node.on("", &["serviceaccounts", "serviceaccounts/token"]));
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": "default", "name": "sa"}});
    bench.cloud.put("", "serviceaccounts", account);
    let pods = list(kubelet, OWN_PODS).await.json();
    let uid = pods["items"][0]["metadata"]["uid"].as_str().unwrap().to_owned();
    let given = kubelet.ask("POST", TOKEN, &[IN_JSON], &token_request(3607, &uid)).await;
    assert_eq!(given.code, 201, "{given:?}");
    (uid, given.json())
}

fn bearer_of(given: &Value) -> String {
    format!("Bearer {}", given["status"]["token"].as_str().unwrap())
}

#[tokio::test]
async fn p4_a_token_that_kubelet_was_given_it_is_given_again_offline() {
    let bench = bench().await;
    let (uid, given) = give_token(&bench, &mut bench.as_kubelet().await).await;
    cut(&bench).await;
    let bench = restart(bench).await;
    let mut kubelet = bench.as_kubelet().await;
    let again = kubelet.ask("POST", TOKEN, &[IN_JSON], &token_request(3607, &uid)).await;
    assert_eq!((again.code, again.json()), (201, given.clone()));
    for (seconds, uid) in [(600, uid.as_str()), (3607, "another-pod")] {
        assert_eq!(kubelet.ask("POST", TOKEN, &[IN_JSON], &token_request(seconds, uid)).await.code, 503);
    }
    // The pod itself reads what it has read before, and nothing else.
    let headers = [("authorization", bearer_of(&given))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(bench.client(None).await.get(OWN_PODS, &headers).await.code, 503);
}

#[tokio::test]
async fn p8_what_kubelet_was_given_and_told_is_given_and_told_to_nobody_else() {
    let bench = bench().await;
    let mut kubelet = bench.as_kubelet().await;
    let (uid, _) = give_token(&bench, &mut kubelet).await;
    assert_eq!(kubelet.get("/api/v1", &[]).await.code, 200);
    let other = Rule::user("system:serviceaccount:kube-system:proxy");
    bench.cloud.allow(other.can(&["create"]).on("", &["serviceaccounts/token"]));
    let bearer = format!("Bearer {}", bench.cloud.token(&User::service_account("kube-system", "proxy", "u")));
    let mine = [("authorization", bearer.as_str()), IN_JSON];
    let mut proxy = bench.client(None).await;
    assert_eq!(proxy.get("/version", &mine).await.code, 200, "the hub knows whose the token is");
    cut(&bench).await;
    assert_eq!(proxy.get("/version", &mine).await.code, 200);
    assert_eq!(proxy.get("/api/v1", &mine).await.code, 503, "only kubelet asked that");
    let answer = proxy.ask("POST", TOKEN, &mine, &token_request(3607, &uid)).await;
    assert_eq!(answer.code, 503, "only kubelet was given one: {answer:?}");
}

#[tokio::test]
async fn p8_a_token_of_a_pod_that_is_gone_is_nobodys_offline() {
    let bench = bench().await;
    let mut kubelet = bench.as_kubelet().await;
    let (_, given) = give_token(&bench, &mut kubelet).await;
    let user = Rule::user("system:serviceaccount:default:sa");
    bench.cloud.allow(user.can(&["list"]).on("", &["services"]));
    let bearer = bearer_of(&given);
    let mine = [("authorization", bearer.as_str())];
    let mut pod = bench.client(None).await;
    assert_eq!(pod.get(SERVICES, &mine).await.code, 200);
    let answer = list(&mut kubelet, OWN_PODS).await;
    let mut events = watch(&mut kubelet, OWN_PODS, &answer).await;
    cut(&bench).await;
    assert_eq!(pod.get(SERVICES, &mine).await.code, 200, "while its pod is there");
    bench.cloud.link().switch(Mode::Pass).await.unwrap();
    bench.judges(true).await;
    bench.cloud.remove("", "pods", "default", "one");
    next(&mut events).await.unwrap().unwrap();
    cut(&bench).await;
    assert_eq!(pod.get(SERVICES, &mine).await.code, 503);
}

#[tokio::test]
async fn p4_what_the_api_server_says_of_itself_it_is_told_again_offline() {
    let bench = bench().await;
    let mut kubelet = bench.as_kubelet().await;
    let before = [kubelet.get("/version", &[]).await.json(), kubelet.get("/api/v1", &[]).await.json()];
    cut(&bench).await;
    let bench = restart(bench).await;
    let mut kubelet = bench.as_kubelet().await;
    assert_eq!([kubelet.get("/version", &[]).await.json(), kubelet.get("/api/v1", &[]).await.json()], before);
    assert_eq!(kubelet.get("/apis/never.asked/v1", &[]).await.code, 503);
    assert_eq!(kubelet.get("/healthz", &[]).await.code, 200);
    assert_eq!(bench.client(None).await.get("/version", &[]).await.code, 503, "not to strangers");
}

#[tokio::test]
async fn p4_a_service_account_reads_offline_what_it_read_itself() {
    let bench = bench().await;
    bench.cloud.allow(
        Rule::user("system:serviceaccount:kube-system:proxy").can(&["list", "watch"]).on("", &["services"]),
    );
    let user = User::service_account("kube-system", "proxy", "uid-1");
    let bearer = format!("Bearer {}", bench.cloud.token(&user));
    let mine = [("authorization", bearer.as_str())];
    let mut proxy = bench.client(None).await;
    assert_eq!(proxy.get(SERVICES, &mine).await.code, 200);
    assert_eq!(proxy.get(OWN_PODS, &mine).await.code, 403);
    let forged = format!("{}x", bearer);
    cut(&bench).await;
    let bench = restart(bench).await;
    let mut proxy = bench.client(None).await;
    assert_eq!(proxy.get(SERVICES, &mine).await.code, 200);
    assert_eq!(proxy.get(OWN_PODS, &mine).await.code, 503);
    assert_eq!(proxy.get(SERVICES, &[("authorization", forged.as_str())]).await.code, 503);
}

#[tokio::test]
async fn p4_a_service_account_that_takes_nothing_but_protobuf_is_known_like_any_other() {
    let bench = bench().await;
    bench.cloud.allow(
        Rule::user("system:serviceaccount:kube-system:dns").can(&["list", "watch"]).on("", &["services"]),
    );
    let user = User::service_account("kube-system", "dns", "uid-1");
    let bearer = format!("Bearer {}", bench.cloud.token(&user));
    let mine = [("authorization", bearer.as_str()), PROTOBUF];
    assert_eq!(bench.client(None).await.get(SERVICES, &mine).await.code, 200);
    cut(&bench).await;
    let mut dns = bench.client(None).await;
    let answer = dns.get(SERVICES, &mine).await;
    assert_eq!(answer.code, 200, "the hub knew whose the token is: {answer:?}");
}

#[tokio::test]
async fn a_list_of_what_the_log_has_crosses_the_link_as_what_has_changed() {
    let bench = bench().await;
    bench.cloud.allow(
        Rule::user("system:serviceaccount:kube-system:proxy").can(&["list", "watch"]).on("", &["services"]),
    );
    let user = User::service_account("kube-system", "proxy", "uid-1");
    let bearer = format!("Bearer {}", bench.cloud.token(&user));
    let mine = [("authorization", bearer.as_str())];
    let any = format!("{SERVICES}?resourceVersion=0");
    let before = bench.client(None).await.get(&any, &mine).await.json();
    let bench = restart(bench).await;
    bench.judges(true).await;
    bench.cloud.forget_requests();
    let answer = bench.client(None).await.get(&any, &mine).await;
    assert_eq!(answer.json()["items"], before["items"]);
    let asked: Vec<String> = bench.cloud.requests().into_iter().map(|seen| seen.target).collect();
    let mut of_set = asked.iter().filter(|target| target.starts_with(SERVICES));
    assert!(
        of_set.all(|target| target.contains("limit=1") || target.contains("watch=true")),
        "no list of all: {asked:?}"
    );
    assert!(asked.iter().any(|target| target.contains("watch=true")), "{asked:?}");
}

#[tokio::test]
async fn p4_what_is_newer_than_the_table_is_shown_whole_in_every_encoding_or_not_at_all() {
    let options = Options { release: Release::Newer, ..Options::default() };
    let bench = Bench::before(crate::bench::cloud_of(options).await, |_, _, _| {}).await;
    let mut newer = pod("one");
    newer["spec"]["fromTheFuture"] = json!({"a": 1});
    bench.cloud.put("", "pods", newer);
    let mut kubelet = bench.as_kubelet().await;
    let both = [("accept", "application/vnd.kubernetes.protobuf,application/json")];
    assert!(kubelet.get(OWN_PODS, &both).await.body.starts_with(b"k8s\0"), "kept in protobuf");
    let one = "/api/v1/namespaces/default/pods/one";
    let whole = |answer: &Answer| answer.json()["spec"]["fromTheFuture"] == json!({"a": 1});
    // Another reader, in another encoding, while the cloud can be asked, and then no more.
    let answer = kubelet.get(OWN_PODS, &[]).await;
    assert_eq!(answer.json()["items"][0]["spec"]["fromTheFuture"], json!({"a": 1}), "{answer:?}");
    for path in [one, "/api/v1/namespaces/default/pods/one?resourceVersion=0"] {
        let answer = kubelet.get(path, &[]).await;
        assert!(whole(&answer), "{answer:?}");
    }
    cut(&bench).await;
    let bench = restart(bench).await;
    let mut kubelet = bench.as_kubelet().await;
    let answer = kubelet.get(one, &[]).await;
    assert!(whole(&answer), "{answer:?}");
    let answer = kubelet.get(OWN_PODS, &both).await;
    assert_eq!(answer.code, 200, "who takes JSON too is shown that: {answer:?}");
    assert_eq!(answer.json()["items"][0]["spec"]["fromTheFuture"], json!({"a": 1}));
    assert_eq!(kubelet.get(OWN_PODS, &[PROTOBUF]).await.code, 503, "half of it is shown to nobody");
}
