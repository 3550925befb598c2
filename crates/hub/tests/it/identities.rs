//! P8: who comes through the hub, and as whom the cloud sees them.

use serde_json::json;
use testkit::cloud::{Authority, Credential, Rule, User};

use crate::bench::{Bench, NODE, certificate, kubeconfig};

const OWN_NODE: &str = "/api/v1/nodes/edge-1";
const ALWAYS: (i64, i64) = (0, 7_258_118_400);

fn admin() -> User {
    User::new("ada", &["ops"])
}

#[tokio::test]
async fn p8_kubelets_requests_go_on_with_the_nodes_certificate_and_nothing_else() {
    let bench = Bench::new().await;
    let mut kubelet = bench.as_kubelet().await;
    let headers =
        [("authorization", "Bearer stray"), ("x-remote-user", "root"), ("x-remote-group", "system:masters")];
    assert_eq!(kubelet.get(OWN_NODE, &headers).await.code, 200);
    let seen = &bench.cloud.requests()[0];
    assert_eq!(seen.certificate.as_deref(), Some("system:node:edge-1"));
    assert_eq!((seen.token.as_deref(), seen.user.as_str()), (None, "system:node:edge-1"));
    assert!(seen.headers.iter().all(|(name, _)| !name.starts_with("x-remote-")), "{:?}", seen.headers);
}

#[tokio::test]
async fn p8_who_has_the_nodes_own_key_is_the_node() {
    let bench = Bench::new().await;
    let credential = bench.cloud.credential(&User::node(NODE));
    assert_eq!(bench.client(Some(&credential)).await.get(OWN_NODE, &[]).await.code, 200);
    assert_eq!(bench.cloud.requests()[0].user, "system:node:edge-1");
}

#[tokio::test]
async fn p8_a_token_goes_on_as_it_came_over_a_connection_that_shows_no_certificate() {
    let bench = Bench::new().await;
    bench.cloud.allow(Rule::user("ada").can(&["get", "list"]).on("", &["nodes"]));
    let bearer = format!("Bearer {}", bench.cloud.token(&admin()));
    // kubelet first: its connection to the cloud is there to be misused.
    bench.as_kubelet().await.get(OWN_NODE, &[]).await;
    let mut ada = bench.client(None).await;
    let answer = ada.get("/api/v1/nodes", &[("authorization", &bearer), ("x-remote-user", "root")]).await;
    assert_eq!(answer.code, 200);
    let requests = bench.cloud.requests();
    let seen = requests.last().unwrap();
    assert_eq!((seen.certificate.as_deref(), seen.user.as_str()), (None, "ada"));
    assert_ne!(seen.connection, requests[0].connection);
    assert_eq!(seen.header("x-remote-user"), None);
}

#[tokio::test]
async fn p8_a_forged_token_is_refused_by_the_api_server_itself() {
    let bench = Bench::new().await;
    let answer = bench.client(None).await.get(OWN_NODE, &[("authorization", "Bearer forged")]).await;
    assert_eq!((answer.code, answer.message().as_str()), (401, "Unauthorized"));
    assert_eq!(bench.cloud.requests().len(), 1, "the hub cannot know, and does not guess");
}

#[tokio::test]
async fn p8_who_brings_nothing_is_anonymous_whatever_they_call_themselves() {
    let bench = Bench::new().await;
    let mut nobody = bench.client(None).await;
    let answer =
        nobody.get(OWN_NODE, &[("user-agent", "kubelet/v1.36.2 (linux/amd64) kubernetes/abc")]).await;
    assert!(matches!(answer.code, 401 | 403), "{answer:?}");
    assert_eq!(bench.cloud.requests()[0].certificate, None);
}

#[tokio::test]
async fn p8_a_certificate_of_the_clusters_is_refused_and_told_what_to_do() {
    let bench = Bench::new().await;
    for user in [admin(), User::new("kubernetes-admin", &["system:masters"]), User::node("edge-2")] {
        let credential = bench.cloud.credential(&user);
        let answer = bench.client(Some(&credential)).await.get(OWN_NODE, &[]).await;
        assert_eq!(answer.code, 403);
        let said = answer.message();
        assert!(
            said.contains("cannot pass on the client certificate") && said.contains("handedOver"),
            "{said}"
        );
    }
    assert_eq!(bench.cloud.requests().len(), 0, "nothing was sent for them");
}

#[tokio::test]
async fn p8_a_handed_over_kubeconfig_is_used_for_its_user_and_for_no_other() {
    let bench = Bench::with(|config, cloud, dir| {
        let path = dir.join("ada.conf");
        let user = certificate(&cloud.credential(&admin()));
        std::fs::write(&path, kubeconfig(&cloud.url(), &cloud.ca(), &user)).unwrap();
        config.handed_over = vec![path];
    })
    .await;
    bench.cloud.allow(Rule::user("ada").can(&["get"]).on("", &["nodes"]));
    let ada = bench.cloud.credential(&admin());
    assert_eq!(bench.client(Some(&ada)).await.get(OWN_NODE, &[]).await.code, 200);
    assert_eq!(bench.cloud.requests()[0].user, "ada");
    for other in
        [User::new("bob", &["ops"]), User::new("ada", &["ops", "system:masters"]), User::new("ada", &[])]
    {
        let credential = bench.cloud.credential(&other);
        assert_eq!(bench.client(Some(&credential)).await.get(OWN_NODE, &[]).await.code, 403, "{other:?}");
    }
}

#[tokio::test]
async fn a_handed_over_kubeconfig_that_cannot_be_used_is_named_and_costs_nothing_else() {
    let bench = Bench::with(|config, cloud, dir| {
        let (good, bad) = (dir.join("ada.conf"), dir.join("bad.conf"));
        let user = certificate(&cloud.credential(&admin()));
        std::fs::write(&good, kubeconfig(&cloud.url(), &cloud.ca(), &user)).unwrap();
        std::fs::write(&bad, "this is no kubeconfig").unwrap();
        config.handed_over = vec![bad, dir.join("missing.conf"), good];
    })
    .await;
    let names_both = |wrong: Option<String>| {
        let wrong = wrong.unwrap();
        assert!(wrong.contains("bad.conf") && wrong.contains("missing.conf"), "{wrong}");
        assert!(!wrong.contains("ada.conf"), "{wrong}");
    };
    names_both(bench.daemon.standing().files);
    bench.cloud.allow(Rule::user("ada").can(&["get"]).on("", &["nodes"]));
    let ada = bench.cloud.credential(&admin());
    assert_eq!(bench.client(Some(&ada)).await.get(OWN_NODE, &[]).await.code, 200);
    std::fs::write(bench.scratch.0.join("ada.conf"), "nor is this").unwrap();
    bench.daemon.read_again();
    let standing = bench.daemon.standing();
    assert!(standing.files.is_some_and(|wrong| wrong.contains("ada.conf")));
    assert_eq!(standing.handed_over, [""; 0], "the rest was read again all the same");
    assert_eq!(bench.client(Some(&ada)).await.get(OWN_NODE, &[]).await.code, 403);
    assert_eq!(bench.as_kubelet().await.get(OWN_NODE, &[]).await.code, 200);
}

#[tokio::test]
async fn p8_a_certificate_of_a_stranger_or_of_yesterday_is_nobodys() {
    let bench = Bench::new().await;
    let stranger = Authority::new("kubernetes", ALWAYS);
    let forged = stranger.client(&User::node(NODE), ALWAYS);
    let of_the_hubs_name = Authority::new("edgekeep hub", ALWAYS).client(&User::node(NODE), ALWAYS);
    let expired = bench.cloud.credential_between(&User::node(NODE), 0, 1_000_000_000);
    let not_yet = bench.cloud.credential_between(&User::node(NODE), 7_000_000_000, 7_100_000_000);
    for credential in [&forged, &of_the_hubs_name, &expired, &not_yet] {
        let answer = bench.client(Some(credential)).await.get(OWN_NODE, &[]).await;
        assert_eq!((answer.code, answer.message().as_str()), (401, "Unauthorized"));
    }
    assert_eq!(bench.cloud.requests().len(), 0);
}

#[tokio::test]
async fn p8_a_server_certificate_is_no_client_certificate() {
    let bench = Bench::new().await;
    let server = bench.cloud.world(|world| world.authority.server(&["edge-1"], ALWAYS));
    assert_eq!(bench.client(Some(&server)).await.get(OWN_NODE, &[]).await.code, 401);
}

#[tokio::test]
async fn p8_a_certificate_without_its_key_does_not_get_past_the_handshake() {
    let bench = Bench::new().await;
    let stolen =
        Credential { certificate: bench.kubelet().certificate, key: bench.cloud.credential(&admin()).key };
    // The library refuses to show it even before the hub could.
    assert!(hub::tls::identity(stolen.certificate.as_bytes(), stolen.key.as_bytes()).is_err());
}

#[tokio::test]
async fn p8_a_bad_certificate_does_not_spoil_a_good_token() {
    let bench = Bench::new().await;
    bench.cloud.allow(Rule::user("ada").can(&["get"]).on("", &["nodes"]));
    let bearer = format!("Bearer {}", bench.cloud.token(&admin()));
    let expired = bench.cloud.credential_between(&User::node(NODE), 0, 1_000_000_000);
    let answer = bench.client(Some(&expired)).await.get(OWN_NODE, &[("authorization", &bearer)]).await;
    assert_eq!(answer.code, 200);
    assert_eq!(bench.cloud.requests()[0].user, "ada");
}

#[tokio::test]
async fn p8_impersonation_is_the_api_servers_to_allow_and_never_rides_on_the_node() {
    let bench = Bench::new().await;
    let answer = bench.as_kubelet().await.get(OWN_NODE, &[("impersonate-user", "admin")]).await;
    assert_eq!(answer.code, 403);
    assert!(answer.message().contains("cannot impersonate"), "{answer:?}");
    assert_eq!(bench.cloud.requests().len(), 0);
    let bearer = format!("Bearer {}", bench.cloud.token(&admin()));
    let headers = [("authorization", bearer.as_str()), ("impersonate-user", "admin")];
    let answer = bench.client(None).await.get(OWN_NODE, &headers).await;
    assert_eq!(answer.code, 403, "ada may not");
    assert_eq!(bench.cloud.requests()[0].header("impersonate-user"), Some("admin"), "asked as she asked");
}

#[tokio::test]
async fn p8_an_operators_certificate_of_the_hubs_is_never_sent_on() {
    let bench = Bench::new().await;
    let authority =
        hub::pki::Authority::open_or_make(&durable::os::OsFs, &bench.config.state_dir.join("pki")).unwrap();
    let user =
        access::caller::User { name: "edgekeep:operator".into(), groups: vec!["system:masters".into()] };
    let minted = authority.client(&user).unwrap();
    let credential = Credential { certificate: minted.certificate, key: minted.key };
    let answer = bench.client(Some(&credential)).await.get(OWN_NODE, &[]).await;
    assert_eq!(answer.code, 403);
    assert_eq!(bench.cloud.requests().len(), 0);
}

#[tokio::test]
async fn p8_what_the_cloud_says_of_the_node_itself_is_not_said_to_kubelet() {
    let bench = Bench::new().await;
    let refusal = wire::Status::unauthorized();
    bench.cloud.fault(testkit::cloud::Fault::new(testkit::cloud::Trouble::Refuse(refusal, None)));
    let answer = bench.as_kubelet().await.get(OWN_NODE, &[]).await;
    assert_eq!(answer.code, 503, "kubelet exits when it is told 401 while its certificate has expired");
    assert!(answer.message().contains("does not accept the node's certificate"));
}

#[tokio::test]
async fn errors_come_in_the_encoding_that_the_caller_reads() {
    let bench = Bench::new().await;
    let credential = bench.cloud.credential(&admin());
    let mut ada = bench.client(Some(&credential)).await;
    let protobuf = "application/vnd.kubernetes.protobuf,application/json";
    let answer = ada.get(OWN_NODE, &[("accept", protobuf)]).await;
    assert_eq!(answer.headers["content-type"], "application/vnd.kubernetes.protobuf");
    assert!(answer.body.starts_with(b"k8s\0"), "{:?}", answer.body);
    let answer = ada
        .get(OWN_NODE, &[("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")])
        .await;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.json()["details"], json!({"name": "edge-1", "kind": "nodes"}));
}
