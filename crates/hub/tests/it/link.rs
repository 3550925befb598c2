//! What befalls the link, and what clients meet then.

use testkit::relay::Mode;

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
