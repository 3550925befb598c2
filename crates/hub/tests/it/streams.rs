//! What passes through: piece by piece, both ways, and one client's slowness is its own.

use serde_json::json;
use testkit::cloud::{Authority, Rule, User};

use crate::bench::{Bench, Client, next, soon, until};

fn service(number: usize) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("s{number}")}, "spec": {"type": "ClusterIP"}})
}

#[tokio::test]
async fn an_event_reaches_its_watcher_when_it_happens() {
    for shared in [true, false] {
        let bench = Bench::new().await;
        let mut client = match shared {
            true => bench.as_kubelet().await,
            false => bench.client1(Some(&bench.kubelet())).await,
        };
        let watch =
            client.send("GET", "/api/v1/services?watch=true&resourceVersion=0", &[], "").await.unwrap();
        assert_eq!(watch.status(), 200);
        let mut body = watch.into_body();
        for number in 0..3 {
            bench.cloud.put("", "services", service(number));
            let piece = next(&mut body).await.unwrap().unwrap();
            let text = String::from_utf8_lossy(&piece);
            assert!(text.contains(&format!("\"s{number}\"")), "{text}");
        }
    }
}

#[tokio::test]
async fn a_body_arrives_whole_and_the_answer_comes_back() {
    let bench = Bench::new().await;
    let mut kubelet = bench.as_kubelet().await;
    let mut long = service(1);
    long["metadata"]["annotations"] = json!({"long": "x".repeat(200_000)});
    let headers = [("content-type", "application/json")];
    let answer =
        kubelet.ask("POST", "/api/v1/namespaces/default/services", &headers, &long.to_string()).await;
    assert_eq!(answer.code, 201, "{answer:?}");
    assert_eq!(bench.cloud.requests()[0].body.len(), long.to_string().len());
    let read = kubelet.get("/api/v1/namespaces/default/services/s1", &[]).await;
    assert_eq!(read.json()["metadata"]["annotations"]["long"].as_str().unwrap().len(), 200_000);
}

#[tokio::test]
async fn path_and_query_are_passed_on_to_the_letter() {
    let bench = Bench::new().await;
    let odd = "/api/v1/services?fieldSelector=metadata.name%3Dedge-1&labelSelector=a%20in%20(b,c)&x=%2F%00&x";
    bench.as_kubelet().await.get(odd, &[]).await;
    bench.as_kubelet().await.get("//api/v1/%6eodes/..%2f?a=b?c", &[]).await;
    let seen: Vec<String> = bench.cloud.requests().into_iter().map(|one| one.target).collect();
    assert_eq!(seen, [odd, "//api/v1/%6eodes/..%2f?a=b?c"]);
}

#[tokio::test]
async fn who_does_not_read_is_in_nobody_elses_way() {
    let bench = Bench::new().await;
    bench.cloud.allow(Rule::group("ops").can(&["list", "watch"]).on("", &["services"]));
    for number in 0..400 {
        let mut long = service(number);
        long["metadata"]["annotations"] = json!({"long": "x".repeat(20_000)});
        bench.cloud.put("", "services", long);
    }
    // Answers of eight megabytes each, none of which is ever read.
    let bearer = format!("Bearer {}", bench.cloud.token(&User::new("sloth", &["ops"])));
    let mut unread = Vec::new();
    for _ in 0..4 {
        let mut client = bench.client(None).await;
        let headers = [("authorization", bearer.as_str())];
        let answer = client.send("GET", "/api/v1/services", &headers, "").await;
        unread.push((client, answer));
    }
    let mut kubelet = bench.as_kubelet().await;
    assert_eq!(kubelet.get("/api/v1/nodes/edge-1", &[]).await.code, 200);
    let bearer = format!("Bearer {}", bench.cloud.token(&User::new("other", &["ops"])));
    let answer = soon("another client's list", async {
        bench.client(None).await.get("/api/v1/services", &[("authorization", &bearer)]).await
    })
    .await;
    assert_eq!(answer.code, 200);
    assert_eq!(answer.json()["items"].as_array().unwrap().len(), 400);
    let codes: Vec<u16> =
        unread.iter().map(|(_, answer)| answer.as_ref().unwrap().status().as_u16()).collect();
    assert_eq!(codes, [200, 200, 200, 429], "who does not read is given no more of the node's memory");
}

#[tokio::test]
async fn a_client_that_goes_takes_its_request_with_it() {
    let bench = Bench::new().await;
    let mut kubelet = bench.as_kubelet().await;
    let watch = kubelet.send("GET", "/api/v1/events?watch=true", &[], "").await.unwrap();
    until("the watch in the cloud", || bench.cloud.watches() == 1).await;
    drop(watch);
    until("its end", || bench.cloud.watches() == 0).await;
    assert_eq!(bench.daemon.standing().answers, (0, 0));
}

#[tokio::test]
async fn more_watches_than_one_connection_takes_are_all_served() {
    let bench = Bench::new().await;
    let mut watches = Vec::new();
    for _ in 0..3 {
        let mut kubelet = bench.as_kubelet().await;
        for _ in 0..100 {
            let answer = kubelet.send("GET", "/api/v1/services?watch=true&resourceVersion=0", &[], "").await;
            watches.push(answer.unwrap().into_body());
        }
        // The connection must live as long as its watches.
        std::mem::forget(kubelet);
    }
    bench.cloud.put("", "services", service(1));
    for body in &mut watches {
        assert!(next(body).await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_and_the_cloud_is_asked_in_one() {
    let bench = Bench::new().await;
    let kubelet = bench.kubelet();
    let two: [Client; 2] = [bench.client(Some(&kubelet)).await, bench.client1(Some(&kubelet)).await];
    for mut client in two {
        assert_eq!(client.get("/api/v1/nodes/edge-1", &[]).await.code, 200);
    }
    let seen = bench.cloud.requests();
    assert!(seen.iter().all(|one| one.http == "HTTP/2.0"), "{seen:?}");
    assert_eq!(seen[0].connection, seen[1].connection);
}

/// An API server that answers everything with the same bytes and headers.
async fn parrot(
    authority: &Authority,
    body: &'static [u8],
    headers: &'static [(&str, &str)],
) -> std::net::SocketAddr {
    let own = authority.server(&["127.0.0.1"], (0, 7_000_000_000));
    let identity = hub::tls::identity(own.certificate.as_bytes(), own.key.as_bytes()).unwrap();
    let acceptor =
        tokio_rustls::TlsAcceptor::from(hub::tls::server(hub::tls::Current::new(identity)).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service = hyper::service::service_fn(move |_| async move {
                let mut answer =
                    hyper::Response::new(http_body_util::Full::new(hyper::body::Bytes::from_static(body)));
                for (name, value) in headers {
                    answer.headers_mut().append(*name, value.parse().unwrap());
                }
                Ok::<_, std::convert::Infallible>(answer)
            });
            let h2 = stream.get_ref().1.alpn_protocol() == Some(hub::tls::H2);
            let stream = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(async move {
                let executor = hyper_util::rt::TokioExecutor::new();
                if h2 {
                    drop(
                        hyper::server::conn::http2::Builder::new(executor)
                            .serve_connection(stream, service)
                            .await,
                    );
                } else {
                    drop(hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await);
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn what_is_compressed_stays_as_it_is_and_headers_come_back_as_they_are() {
    const ZIPPED: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\xff not even valid";
    const HEADERS: &[(&str, &str)] = &[
        ("content-encoding", "gzip"),
        ("audit-id", "7"),
        ("warning", "299 - \"a\""),
        ("warning", "299 - \"b\""),
    ];
    let authority = Authority::new("kubernetes", (0, 7_000_000_000));
    let address = parrot(&authority, ZIPPED, HEADERS).await;
    let bench = Bench::with(|config, cloud, dir| {
        let node = authority.client(&User::node(crate::bench::NODE), (0, 7_000_000_000));
        let user = crate::bench::certificate(&node);
        let text = crate::bench::kubeconfig(&format!("https://{address}"), &authority.certificate, &user);
        config.kubeconfig = dir.join("parrot.conf");
        std::fs::write(&config.kubeconfig, text).unwrap();
        let _ = cloud;
    })
    .await;
    for mut client in [bench.as_kubelet().await, bench.client1(Some(&bench.kubelet())).await] {
        let answer = client.get("/api/v1/pods", &[("accept-encoding", "gzip")]).await;
        assert_eq!(answer.body, ZIPPED);
        assert_eq!(answer.headers["content-encoding"], "gzip");
        assert_eq!(answer.headers["audit-id"], "7");
        assert_eq!(answer.headers.get_all("warning").iter().count(), 2);
    }
}
