//! The node's certificate is renewed, got anew when the cloud refuses it, and never stands between kubelet and the hub.

use hub::daemon::Daemon;
use hub::service_manager::Given;
use serde_json::json;
use testkit::cloud::{Cloud, Rule, User};

use crate::bench::{Bench, NODE, Scratch, certificate, cloud, config, kubeconfig, until};

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

fn now(cloud: &Cloud) -> i64 {
    cloud.world(|world| world.now)
}

/// A hub whose node has a certificate that is valid from `from` until `until`, in seconds from now.
async fn bench(from: i64, until: i64) -> Bench {
    let (cloud, scratch) = (cloud().await, Scratch::new());
    cloud.allow(
        Rule::group("system:bootstrappers")
            .can(&["create", "get"])
            .on("certificates.k8s.io", &["certificatesigningrequests"]),
    );
    let node = cloud.credential_between(&User::node(NODE), now(&cloud) + from, now(&cloud) + until);
    let config = config(&scratch, &cloud, &node);
    let daemon = Daemon::begin(config.clone(), Given::default()).unwrap();
    Bench { cloud, daemon, config, scratch }
}

fn bootstrap(bench: &Bench) {
    let user = User::new("system:bootstrap:abcdef", &["system:bootstrappers"]);
    let token = bench.cloud.token(&user);
    let text = kubeconfig(&bench.cloud.url(), &bench.cloud.ca(), &json!({"token": token}));
    std::fs::write(&bench.config.bootstrap_kubeconfig, text).unwrap();
}

#[tokio::test]
async fn a_certificate_past_a_third_of_its_life_is_renewed_as_the_node() {
    let bench = bench(-5000, 5000).await;
    let first = bench.daemon.standing().certificate.unwrap();
    until("a new certificate", || bench.daemon.standing().certificate.unwrap() != first).await;
    let asked: Vec<_> = bench.cloud.requests().into_iter().filter(|one| one.path() == REQUESTS).collect();
    assert_eq!((asked.len(), asked[0].user.as_str()), (1, "system:node:edge-1"));
    let kept = std::fs::read_to_string(bench.config.state_dir.join("node/current.pem")).unwrap();
    assert!(
        kept.contains("BEGIN CERTIFICATE") && kept.contains("PRIVATE KEY"),
        "both in one file, as kubelet has it"
    );
    assert_eq!(bench.as_kubelet().await.get("/api/v1/nodes/edge-1", &[]).await.code, 200);
}

#[tokio::test]
async fn a_young_certificate_is_left_alone() {
    let bench = bench(-100, 100_000).await;
    bench.judges(true).await;
    assert_eq!(bench.as_kubelet().await.get("/api/v1/nodes/edge-1", &[]).await.code, 200);
    assert!(bench.cloud.requests().iter().all(|one| one.path() != REQUESTS));
}

#[tokio::test]
async fn an_expired_certificate_is_replaced_with_the_bootstrap_token_and_kubelet_never_locked_out() {
    let bench = bench(-5000, -10).await;
    bench.judges(true).await;
    let mut kubelet = bench.as_kubelet().await;
    let answer = kubelet.get("/api/v1/nodes/edge-1", &[]).await;
    assert_eq!(answer.code, 503, "not 401: {answer:?}");
    until("the trouble is told", || bench.daemon.standing().renewal.trouble.is_some()).await;
    let told = bench.daemon.standing().renewal.trouble.unwrap();
    assert!(told.contains("bootstrap.conf") && told.contains("kubeadm token create"), "{told}");
    bootstrap(&bench);
    until("a new certificate", || !bench.daemon.standing().renewal.refused).await;
    assert_eq!(kubelet.get("/api/v1/nodes/edge-1", &[]).await.code, 200);
}

#[tokio::test]
async fn a_node_that_was_joined_anew_meanwhile_is_taken_as_it_is() {
    let bench = bench(-5000, -10).await;
    bench.judges(true).await;
    let fresh =
        bench.cloud.credential_between(&User::node(NODE), now(&bench.cloud) - 5, now(&bench.cloud) + 50_000);
    let text = kubeconfig(&bench.cloud.url(), &bench.cloud.ca(), &certificate(&fresh));
    std::fs::write(&bench.config.kubeconfig, text).unwrap();
    until("the new certificate", || {
        bench.daemon.standing().certificate.is_some_and(|(_, end)| end > std::time::SystemTime::now())
    })
    .await;
    assert_eq!(bench.as_kubelet().await.get("/api/v1/nodes/edge-1", &[]).await.code, 200);
}

#[tokio::test]
async fn a_node_without_any_certificate_gets_its_first_one() {
    let bench = bench(-100, 100_000).await;
    let (config, scratch, cloud) = (bench.config.clone(), bench.scratch, bench.cloud);
    bench.daemon.stop().await;
    std::fs::remove_file(&config.kubeconfig).unwrap();
    std::fs::remove_file(config.state_dir.join("node/current.pem")).unwrap();
    let token = cloud.token(&User::new("system:bootstrap:abcdef", &["system:bootstrappers"]));
    std::fs::write(
        &config.bootstrap_kubeconfig,
        kubeconfig(&cloud.url(), &cloud.ca(), &json!({"token": token})),
    )
    .unwrap();
    let config = hub::config::Config { node_name: Some(NODE.into()), ..config };
    let daemon = Daemon::begin(config.clone(), Given::default()).unwrap();
    let bench = Bench { cloud, daemon, config, scratch };
    until("the first certificate", || bench.daemon.standing().certificate.is_some()).await;
    assert_eq!(bench.as_kubelet().await.get("/api/v1/nodes/edge-1", &[]).await.code, 200);
}
