//! The hub's beginning and end, its health, its files.

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use testkit::cloud::{Credential, User};

use hub::daemon::Daemon;
use hub::service_manager::Given;

use crate::bench::{self, Bench, NODE, Scratch, next, soon, until};

pub async fn plain<S>(stream: S, path: &str, token: Option<&str>) -> (u16, String)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(driver);
    let mut request = hyper::Request::builder().uri(path).header("host", "hub");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = soon(path, sender.send_request(request.body(Empty::<Bytes>::new()).unwrap())).await.unwrap();
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

async fn health(bench: &Bench, path: &str, token: Option<&str>) -> (u16, String) {
    plain(tokio::net::TcpStream::connect(bench.daemon.health).await.unwrap(), path, token).await
}

#[tokio::test]
async fn p9_health_is_told_check_by_check_and_figures_to_who_has_the_token() {
    let bench = Bench::new().await;
    bench.as_kubelet().await.get("/api/v1/nodes/edge-1", &[]).await;
    assert_eq!(health(&bench, "/livez", None).await, (200, "ok\n".into()));
    let (code, text) = health(&bench, "/readyz", None).await;
    assert_eq!(code, 200);
    for check in ["[+]cloud ok: reachable", "[+]node-certificate ok: ends 2", "readyz check passed"] {
        assert!(text.contains(check), "{text}");
    }
    assert_eq!(health(&bench, "/metrics", None).await.0, 401);
    assert_eq!(health(&bench, "/metrics", Some("guess")).await.0, 401);
    let file = bench.config.state_dir.join("metrics.token");
    let token = std::fs::read_to_string(&file).unwrap();
    let (code, text) = health(&bench, "/metrics", Some(token.trim())).await;
    assert_eq!(code, 200);
    for line in [
        "edgekeep_hub_requests_total{caller=\"kubelet\",code=\"200\"} 1",
        "edgekeep_hub_cloud_up 1",
        "edgekeep_hub_cloud_losses 0",
        "edgekeep_hub_sent_away 0",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    use std::os::unix::fs::PermissionsExt;
    for secret in ["metrics.token", "pki/ca.key", "pki/kubelet.key", "node/current.pem"] {
        let mode = std::fs::metadata(bench.config.state_dir.join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
}

#[tokio::test]
async fn p9_the_admin_socket_tells_programs_how_the_hub_stands() {
    let bench = Bench::new().await;
    let stream = tokio::net::UnixStream::connect(&bench.config.admin).await.unwrap();
    let (code, text) = plain(stream, "/status", None).await;
    let status: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 200);
    assert_eq!(status["node"], NODE);
    assert_eq!(status["cloud"]["state"], "up");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&bench.config.admin).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[tokio::test]
async fn a_hub_that_stops_ends_watches_in_order_and_finishes_what_it_has() {
    let bench = Bench::new().await;
    let mut kubelet = bench.as_kubelet().await;
    let watch = kubelet.send("GET", "/api/v1/services?watch=true&resourceVersion=0", &[], "").await.unwrap();
    until("the watch in the cloud", || bench.cloud.watches() == 1).await;
    let stopped = tokio::spawn(bench.daemon.stop());
    let mut body = watch.into_body();
    let end = next(&mut body).await;
    assert!(end.is_none(), "a clean end, so that the client goes on from where it was: {end:?}");
    drop((body, kubelet));
    soon("the end", stopped).await.unwrap();
}

#[tokio::test]
async fn a_successor_is_known_to_kubelet_by_the_same_certificate() {
    let bench = Bench::new().await;
    let (kubelet, ca) = (bench.kubelet(), bench.ca());
    let (config, cloud) = (bench.config.clone(), bench.cloud);
    bench.daemon.stop().await;
    let daemon = Daemon::begin(config.clone(), Given::default()).unwrap();
    let again = Bench { cloud, daemon, config, scratch: bench.scratch };
    assert_eq!((again.kubelet().certificate, again.ca()), (kubelet.certificate.clone(), ca));
    again.judges(true).await;
    assert_eq!(again.client(Some(&kubelet)).await.get("/api/v1/nodes/edge-1", &[]).await.code, 200);
}

#[tokio::test]
async fn a_certificate_that_is_exchanged_is_shown_without_a_restart() {
    let bench = Bench::with(|config, cloud, dir| {
        let own: Credential = cloud.world(|world| world.authority.server(&["127.0.0.1"], (0, 7_000_000_000)));
        let pair = hub::config::Pair { certificate: dir.join("tls.crt"), key: dir.join("tls.key") };
        std::fs::write(&pair.certificate, own.certificate).unwrap();
        std::fs::write(&pair.key, own.key).unwrap();
        config.serving = Some(pair);
    })
    .await;
    let shows = async || {
        let stream = bench::tls(bench.address(), &bench.cloud.ca(), None, true).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let before = shows().await;
    let next: Credential =
        bench.cloud.world(|world| world.authority.server(&["127.0.0.1"], (0, 7_000_000_000)));
    let pair = bench.config.serving.as_ref().unwrap();
    // First the one, then the other: in between they do not fit, and what was read before stays.
    std::fs::write(&pair.certificate, next.certificate).unwrap();
    bench.daemon.read_again();
    assert!(bench.daemon.standing().files.unwrap().contains("tls.crt"));
    assert_eq!(shows().await, before);
    std::fs::write(&pair.key, next.key).unwrap();
    bench.daemon.read_again();
    assert_eq!(bench.daemon.standing().files, None);
    assert_ne!(shows().await, before);
}

#[tokio::test]
async fn two_hubs_do_not_take_each_others_socket() {
    let bench = Bench::new().await;
    let again = Daemon::begin(bench.config.clone(), Given::default());
    let error = again.err().unwrap().to_string();
    assert!(error.contains("another hub answers"), "{error}");
}

#[tokio::test]
async fn a_hub_without_a_kubeconfig_says_what_it_needs() {
    let bench = Bench::new().await;
    let mut config = bench.config.clone();
    config.kubeconfig = "/nowhere/kubelet.conf".into();
    let error = Daemon::begin(config, Given::default()).err().unwrap();
    assert!(error.to_string().contains("/nowhere/kubelet.conf"), "{error}");
    let mut config = bench.config.clone();
    config.node_name = Some("other".into());
    let error = Daemon::begin(config, Given::default()).err().unwrap();
    assert!(error.to_string().contains("nodeName is other"), "{error}");
    let _ = User::node(NODE);
}

/// Why a hub with this configuration does not begin.
async fn does_not_begin(change: impl FnOnce(&mut hub::config::Config)) -> String {
    let (cloud, scratch) = (bench::cloud().await, Scratch::new());
    let mut config = bench::config(&scratch, &cloud, &cloud.credential(&User::node(NODE)));
    change(&mut config);
    match Daemon::begin(config, Given::default()) {
        Ok(_) => panic!("it begins"),
        Err(e) => e.to_string(),
    }
}

#[tokio::test]
async fn a_hub_whose_cloud_is_itself_says_so_and_does_not_begin() {
    let own = "127.0.0.1:23999".parse().unwrap();
    for server in ["https://127.0.0.1:23999", "https://localhost:23999/"] {
        let said = does_not_begin(|config| {
            config.listen = vec![own];
            config.servers = vec![server.to_owned()];
        })
        .await;
        assert!(said.contains("this hub itself"), "{said}");
    }
    let led = does_not_begin(|config| {
        let text = std::fs::read_to_string(&config.kubeconfig).unwrap();
        let server =
            serde_json::from_str::<Value>(&text).unwrap()["clusters"][0]["cluster"]["server"].clone();
        config.listen = vec![server.as_str().unwrap().trim_start_matches("https://").parse().unwrap()];
    })
    .await;
    assert!(led.contains("this hub itself") && led.contains("kubelet.conf"), "{led}");
}

#[tokio::test]
async fn an_authority_whose_key_is_another_ones_is_named_and_not_used() {
    let said = does_not_begin(|config| {
        let [pki, other] = ["pki", "other"].map(|name| config.state_dir.join(name));
        for dir in [&pki, &other] {
            hub::pki::Authority::open_or_make(&durable::os::OsFs, dir).unwrap();
        }
        std::fs::copy(other.join("ca.key"), pki.join("ca.key")).unwrap();
    })
    .await;
    assert!(said.contains("ca.crt") && said.contains("ca.key do not fit"), "{said}");
}
