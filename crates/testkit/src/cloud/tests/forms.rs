use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::{Encoding, transcode};

use super::*;
use crate::cloud::Kind;
use crate::cloud::contract::client::secured;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

#[tokio::test]
async fn objects_and_lists_can_be_had_and_sent_in_protobuf() {
    let cloud = start(Release::V1_36).await;
    let client = admin(&cloud).await;
    let body =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"n": "1"}});
    let body = transcode::to_protobuf(body.to_string().as_bytes()).unwrap().bytes;
    let headers = [("content-type", PROTOBUF), ("accept", PROTOBUF)];
    let made = client.send("POST", MAPS, &headers, body).await.unwrap();
    assert_eq!((made.code, made.header("content-type")), (201, PROTOBUF));
    let json = client.get(&format!("{MAPS}/a")).await.unwrap().json;
    let read: Value = serde_json::from_slice(&transcode::to_json(&made.body).unwrap().bytes).unwrap();
    assert_eq!(read, json);
    let list = client.send("GET", MAPS, &headers, "").await.unwrap();
    let list = wire::List::parse(&list.body, Encoding::Protobuf).unwrap();
    assert_eq!((list.kind.as_ref(), list.items[0].name().as_ref()), ("ConfigMapList", "a"));
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "other"}});
    let options = transcode::to_protobuf(options.to_string().as_bytes()).unwrap().bytes;
    let refused = client.send("DELETE", &format!("{MAPS}/a"), &headers, options).await.unwrap();
    assert_eq!(refused.code, 409);
}

#[tokio::test]
async fn a_watch_in_protobuf_is_framed() {
    let cloud = start(Release::V1_36).await;
    let client = admin(&cloud).await;
    cloud.put("", "configmaps", config_map("a", "1"));
    let path = format!("{MAPS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=1");
    let reply = client.send("GET", &path, &[("accept", PROTOBUF)], "").await.unwrap();
    assert_eq!(reply.header("content-type"), "application/vnd.kubernetes.protobuf;stream=watch");
    let first = u32::from_str_radix(&hex(&reply.body[..4]), 16).unwrap() as usize;
    let second = 4 + first;
    let rest = u32::from_str_radix(&hex(&reply.body[second..second + 4]), 16).unwrap() as usize;
    assert!(reply.body[4..second].windows(5).any(|bytes| bytes == b"ADDED"));
    assert!(reply.body[second..second + 4 + rest].windows(8).any(|bytes| bytes == b"BOOKMARK"));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn newer_fields_and_kinds_survive_both_encodings_and_are_unknown_to_the_table() {
    let cloud = start(Release::Newer).await;
    cloud.add_kind(Kind::built_in("future.k8s.io", "v1", "gadgets", "Gadget"));
    let client = admin(&cloud).await;
    cloud.put("", "configmaps", json!({"metadata": {"name": "a"}, "data": {"n": "1"}, "newField": {"x": 1}}));
    cloud.put("future.k8s.io", "gadgets", json!({"metadata": {"name": "g"}, "spec": {"y": [1, 2]}}));
    for (path, member) in [
        (format!("{MAPS}/a"), "/newField/x"),
        ("/apis/future.k8s.io/v1/namespaces/default/gadgets/g".into(), "/spec/y/1"),
    ] {
        let headers = [("accept", PROTOBUF), ("content-type", PROTOBUF)];
        let sent = client.send("GET", &path, &headers, "").await.unwrap();
        assert_eq!(sent.header("content-type"), PROTOBUF);
        assert!(transcode::has_unknown_fields(&sent.body, Encoding::Protobuf).unwrap(), "{path}");
        let put = client.send("PUT", &path, &headers, sent.body).await.unwrap();
        assert_eq!(put.code, 200, "{}", put.text());
        let json = client.get(&path).await.unwrap().json;
        assert!(json.pointer(member).is_some(), "{json}");
    }
}

#[tokio::test]
async fn a_custom_resource_is_json_only_and_takes_no_strategic_patch() {
    let cloud = start(Release::V1_36).await;
    cloud.add_kind(Kind::custom("example.com", "v1", "widgets", "Widget"));
    let client = admin(&cloud).await;
    let path = "/apis/example.com/v1/namespaces/default/widgets";
    let made = client.post(path, &json!({"metadata": {"name": "w"}, "spec": {"a": 1}})).await.unwrap().json;
    assert_eq!(made["metadata"]["generation"], 1);
    let one = format!("{path}/w");
    let accept = [("accept", "application/vnd.kubernetes.protobuf, application/json")];
    let reply = client.send("GET", &one, &accept, "").await.unwrap();
    assert_eq!(reply.header("content-type"), "application/json");
    let form = contract::client::STRATEGIC;
    assert_eq!(client.patch(&one, form, &json!({})).await.unwrap().code, 415);
    let merge = contract::client::MERGE;
    let changed = client.patch(&one, merge, &json!({"spec": {"a": 2}})).await.unwrap().json;
    assert_eq!(changed["metadata"]["generation"], 2);
}

#[tokio::test]
async fn a_connection_is_handed_over_for_exec_and_echoes() {
    let cloud = start(Release::V1_36).await;
    cloud.put("", "pods", json!({"metadata": {"name": "p"}}));
    let target = target(&cloud, Some(cloud.credential(&User::admin())));
    let stream = secured(&target, b"http/1.1").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let request = Request::post("/api/v1/namespaces/default/pods/p/exec?command=cat")
        .header("host", "kubernetes")
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1")
        .body(Empty::<bytes::Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["upgrade"], "SPDY/3.1");
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"hello");
    assert_eq!(cloud.requests()[0].http, "HTTP/1.1");
}

#[tokio::test]
async fn http_1_1_serves_too() {
    let cloud = start(Release::V1_36).await;
    let target = target(&cloud, None);
    let stream = secured(&target, b"http/1.1").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/version").header("host", "x").body(Empty::<bytes::Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["minor"], "36");
}
