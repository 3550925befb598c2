//! Clients that mean harm or know no better: each gets what it asked for, and nobody else notices.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bench::{Bench, soon, tls, until};

const OWN_NODE: &str = "/api/v1/nodes/edge-1";

#[tokio::test]
async fn headers_beyond_all_measure_are_refused_and_large_tokens_are_not() {
    let bench = Bench::new().await;
    let kubelet = bench.kubelet();
    for large in [false, true] {
        let value = "x".repeat(if large { 200_000 } else { 16_000 });
        let answer = bench.client1(Some(&kubelet)).await.get(OWN_NODE, &[("x-large", &value)]).await;
        assert_eq!(answer.code, if large { 431 } else { 200 });
        let headers = [("x-large", value.as_str())];
        let answer = bench.client(Some(&kubelet)).await.send("GET", OWN_NODE, &headers, "").await;
        match answer {
            Ok(answer) => assert_eq!(answer.status().as_u16(), if large { 431 } else { 200 }),
            Err(e) => assert!(large, "{e}"),
        }
    }
}

#[tokio::test]
async fn what_is_no_http_is_answered_400_or_cut_off() {
    let bench = Bench::new().await;
    for bytes in
        [&b"\0\0\0\0\r\n\r\n"[..], b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /a b c HTTP/1.1\r\n\r\n"]
    {
        let mut stream = tls(bench.address(), &bench.ca(), Some(&bench.kubelet()), false).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut said = Vec::new();
        let _ = soon("an answer", stream.read_to_end(&mut said)).await;
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400"), "{:?}", String::from_utf8_lossy(&said));
    }
    // Not even TLS.
    let mut stream = TcpStream::connect(bench.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _ = soon("the end", stream.read_to_end(&mut Vec::new())).await;
    assert_eq!(bench.cloud.requests().len(), 0);
    assert_eq!(bench.as_kubelet().await.get(OWN_NODE, &[]).await.code, 200);
}

#[tokio::test]
async fn two_lengths_or_a_length_and_chunks_smuggle_nothing() {
    let bench = Bench::new().await;
    for head in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
    ] {
        let mut stream = tls(bench.address(), &bench.ca(), Some(&bench.kubelet()), false).await.unwrap();
        let text = format!(
            "POST /api/v1/namespaces/default/events HTTP/1.1\r\nhost: a\r\n{head}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = soon("an answer", stream.read_to_end(&mut Vec::new())).await;
    }
    // A pipelined request after a rightly ended one is no smuggling: what counts is that both ends see the same.
    let smuggled = bench.cloud.requests().iter().filter(|one| one.body.starts_with(b"GET /smuggled")).count();
    assert_eq!(smuggled, 0);
}

#[tokio::test]
async fn a_crowd_of_strangers_does_not_keep_kubelet_out() {
    let bench = Bench::with(|config, _, _| (config.connections, config.strangers) = (64, 16)).await;
    let mut kubelet = bench.as_kubelet().await;
    assert_eq!(kubelet.get(OWN_NODE, &[]).await.code, 200);
    let mut crowd = Vec::new();
    for number in 0..2000 {
        crowd.push(TcpStream::connect(bench.address()).await.unwrap());
        if number % 500 == 0 {
            assert_eq!(kubelet.get(OWN_NODE, &[]).await.code, 200, "after {number} strangers");
            assert_eq!(bench.as_kubelet().await.get(OWN_NODE, &[]).await.code, 200, "newly, after {number}");
        }
    }
    until("the crowd's end", || {
        let (known, strangers) = bench.daemon.standing().clients;
        assert!(strangers <= 16, "{known} and {strangers}");
        known >= 1 && strangers == 16
    })
    .await;
    assert_eq!(kubelet.get(OWN_NODE, &[]).await.code, 200);
}

#[tokio::test]
async fn half_closed_and_half_said_requests_end_by_themselves() {
    let bench = Bench::new().await;
    let mut stream = tls(bench.address(), &bench.ca(), Some(&bench.kubelet()), false).await.unwrap();
    stream.write_all(b"GET /api/v1/nodes HTTP/1.1\r\nhost: a").await.unwrap();
    stream.shutdown().await.unwrap();
    let _ = soon("the end", stream.read_to_end(&mut Vec::new())).await;
    drop(stream);
    until("its place is free", || bench.daemon.standing().clients == (0, 0)).await;
}

#[tokio::test]
async fn a_body_without_end_is_the_api_servers_to_refuse_and_fills_nothing_here() {
    let bench = Bench::new().await;
    let mut stream = tls(bench.address(), &bench.ca(), Some(&bench.kubelet()), false).await.unwrap();
    let head = "POST /api/v1/namespaces/default/events HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let (mut read, mut write) = tokio::io::split(stream);
    let writing = tokio::spawn(async move {
        for _ in 0..4096 {
            if write.write_all(piece.as_bytes()).await.is_err() {
                return;
            }
        }
    });
    let mut said = vec![0; 400];
    let _ = tokio::time::timeout(Duration::from_secs(60), read.read(&mut said)).await;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.starts_with("HTTP/1.1 413"), "{said}");
    writing.abort();
}
