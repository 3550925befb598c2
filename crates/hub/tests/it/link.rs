//! What befalls the link, and what clients meet then.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use testkit::cloud::Options;
use testkit::relay::Mode;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::bench::{Bench, next, soon, until};

const OWN_NODE: &str = "/api/v1/nodes/edge-1";
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");
/// Events are not kept: their watches are the cloud's.
const PASSED: &str = "/api/v1/events?watch=true";

#[tokio::test]
async fn a_cloud_that_refuses_is_known_at_once_and_found_again() {
    let bench = Bench::new().await;
    let mut kubelet = bench.as_kubelet().await;
    bench.cloud.link().switch(Mode::Refuse).await.unwrap();
    bench.cloud.link().reset();
    let answer = kubelet.get(OWN_NODE, &[]).await;
    assert!(matches!(answer.code, 503 | 504), "{answer:?}");
    bench.judges(false).await;
    let answer = kubelet.get(OWN_NODE, &[]).await;
    assert_eq!(answer.code, 503);
    assert!(answer.message().contains("cannot be reached"), "{answer:?}");
    assert!(!answer.headers.contains_key("retry-after"), "client-go would wait inside the call");
    bench.cloud.link().switch(Mode::Pass).await.unwrap();
    bench.judges(true).await;
    assert_eq!(
        kubelet.get(OWN_NODE, &[]).await.code,
        200,
        "over the connection that kubelet has had all along"
    );
}

#[tokio::test]
async fn a_black_hole_is_found_out_and_what_was_sent_into_it_is_answered_after_it() {
    let bench = Bench::new().await;
    let mut early = bench.as_kubelet().await;
    assert_eq!(early.get(OWN_NODE, &[]).await.code, 200);
    bench.cloud.link().switch(Mode::BlackHole).await.unwrap();
    // A write: what is read is the view's to answer.
    let sent = tokio::spawn(async move { early.ask("PATCH", OWN_NODE, &[MERGE], "{}").await });
    bench.judges(false).await;
    let answer = bench.as_kubelet().await.ask("PATCH", OWN_NODE, &[MERGE], "{}").await;
    assert_eq!(answer.code, 503);
    assert!(answer.message().contains("black hole"), "{answer:?}");
    assert!(!sent.is_finished(), "a request that was sent is not given up before its client does");
    bench.cloud.link().switch(Mode::Pass).await.unwrap();
    assert_eq!(soon("the early answer", sent).await.unwrap().code, 200);
    bench.judges(true).await;
}

#[tokio::test]
async fn a_request_that_waits_for_a_connection_is_answered_when_the_cloud_is_given_up() {
    let bench = Bench::new().await;
    bench.cloud.link().switch(Mode::BlackHole).await.unwrap();
    // Nobody of this lot has a connection yet, so nothing can be sent.
    let answer = bench.client(None).await.get(OWN_NODE, &[("authorization", "Bearer x")]).await;
    assert_eq!(answer.code, 503);
    assert!(
        answer.message().contains("cannot be reached"),
        "by the verdict, not by a limit of its own: {answer:?}"
    );
}

#[tokio::test]
async fn a_watch_that_breaks_is_broken_for_its_client_too() {
    let bench = Bench::new().await;
    let mut kubelet = bench.as_kubelet().await;
    let watch = kubelet.send("GET", PASSED, &[], "").await.unwrap();
    until("the watch in the cloud", || bench.cloud.watches() == 1).await;
    bench.cloud.link().reset();
    let mut body = watch.into_body();
    assert!(next(&mut body).await.unwrap().is_err(), "a clean end would say that nothing was missed");
    // The cloud itself is there all the time: nothing else is refused.
    assert_eq!(kubelet.get(OWN_NODE, &[]).await.code, 200);
    assert_eq!(bench.daemon.standing().losses, 0);
}

#[tokio::test]
async fn of_several_api_servers_one_that_answers_is_used() {
    let bench = Bench::with(|config, cloud, _| {
        // Nothing listens on port 1.
        config.servers = vec!["https://127.0.0.1:1".into(), cloud.url()];
    })
    .await;
    assert_eq!(bench.as_kubelet().await.get(OWN_NODE, &[]).await.code, 200);
}

/// Passes connections on to `to`; of those made when `hold` is set, one goes no further and is given out instead.
async fn doorman(to: SocketAddr, hold: Arc<AtomicBool>) -> (SocketAddr, mpsc::UnboundedReceiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (held, holds) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            if hold.swap(false, Ordering::Relaxed) {
                let _ = held.send(from);
                continue;
            }
            tokio::spawn(async move {
                let mut to = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    (address, holds)
}

#[tokio::test]
async fn a_cloud_without_http2_is_served_and_a_slow_connection_to_it_is_in_nobody_elses_way() {
    let hold = Arc::new(AtomicBool::new(false));
    let cloud = crate::bench::cloud_of(Options { http2: false, ..Options::default() }).await;
    let (door, mut holds) = doorman(cloud.address(), hold.clone()).await;
    let bench = Bench::before(cloud, |config, _, _| config.servers = vec![format!("https://{door}")]).await;
    let mut kubelet = bench.as_kubelet().await;
    assert_eq!(kubelet.get(OWN_NODE, &[]).await.code, 200);
    hold.store(true, Ordering::Relaxed);
    let mut slow = bench.as_kubelet().await;
    let waits = tokio::spawn(async move { slow.get(OWN_NODE, &[]).await.code });
    let held = soon("a connection", holds.recv()).await.unwrap();
    assert_eq!(kubelet.get(OWN_NODE, &[]).await.code, 200);
    // The hub still waits for the slow one: it was not given up first.
    soon("its hello", held.readable()).await.unwrap();
    let mut hello = [0; 4096];
    let end = loop {
        match held.try_read(&mut hello) {
            Ok(read) if read > 0 => {}
            end => break end,
        }
    };
    assert_eq!(end.map_err(|e| e.kind()), Err(std::io::ErrorKind::WouldBlock));
    waits.abort();
}

#[tokio::test]
async fn a_server_that_is_not_the_clusters_is_told_nothing() {
    let stranger = crate::bench::cloud().await;
    let bench = Bench::new().await;
    let url = stranger.url();
    let scratch = crate::bench::Scratch::new();
    let node = bench.cloud.credential(&testkit::cloud::User::node(crate::bench::NODE));
    let mut config = crate::bench::config(&scratch, &bench.cloud, &node);
    config.servers = vec![url];
    let daemon = hub::daemon::Daemon::begin(config.clone(), hub::service_manager::Given::default()).unwrap();
    until("the verdict", || daemon.standing().link_text().contains("TLS")).await;
    assert_eq!(stranger.requests().len(), 0);
}
