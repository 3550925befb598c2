//! P4: what kubelet 1.36 says when it starts, in the order and the forms in which it says it (`pkg/kubelet` at v1.36;
//! protobuf, watch-lists and what it falls back to), is answered online, and again after a cold boot without the cloud.

use hyper::body::Incoming;
use serde_json::{Value, json};
use testkit::cloud::{Options, Release, Rule};
use wire::watch::{Decoder, EventType};
use wire::{Encoding, List, Object};

use crate::bench::{Answer, Bench, Client, NODE, cloud_of, next};
use crate::boot::cold;

/// What typed clients of built-in kinds take, in kubelet.
const ACCEPT: (&str, &str) = ("accept", "application/vnd.kubernetes.protobuf,application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/vnd.kubernetes.protobuf");
const STRATEGIC: (&str, &str) = ("content-type", "application/strategic-merge-patch+json");

/// How its reflectors begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// With the state in a watch, as they do unless told otherwise (client-go's feature `WatchListClient`).
    WatchList,
    /// With a list and a watch from there: what they fall back to.
    List,
}

/// kubelet, and what it has heard.
struct Kubelet {
    client: Client,
    begin: Begin,
    /// A line for each answer.
    heard: Vec<String>,
    /// Watches that it holds.
    held: Vec<Incoming>,
}

/// Kind, name and uid.
fn line(object: &[u8], encoding: Encoding) -> String {
    let object = Object::parse(object, encoding).unwrap();
    format!("{} {} {}", object.kind(), object.name(), object.uid())
}

fn protobuf(object: &Value) -> Vec<u8> {
    wire::transcode::to_protobuf(object.to_string().as_bytes()).unwrap().bytes
}

fn json_of(object: &[u8]) -> Value {
    serde_json::from_slice(&wire::transcode::to_json(object).unwrap().bytes).unwrap()
}

impl Kubelet {
    async fn ask(&mut self, method: &str, path: &str, kind: (&str, &str), body: &[u8]) -> Answer {
        let answer = self.client.ask(method, path, &[ACCEPT, kind], body).await;
        assert!(answer.body.starts_with(b"k8s\0"), "{method} {path} is not answered in protobuf: {answer:?}");
        let code = answer.code;
        self.heard.push(format!("{method} {path}: {code} {}", line(&answer.body, Encoding::Protobuf)));
        answer
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, PROTOBUF, &[]).await
    }

    /// What a reflector does with a set: its objects, and a watch that stays.
    async fn informs(&mut self, path: &str, selector: &str) {
        let selector = if selector.is_empty() { String::new() } else { format!("&fieldSelector={selector}") };
        let mut told = match self.begin {
            Begin::WatchList => self.watch_list(path, &selector).await,
            Begin::List => self.list_and_watch(path, &selector).await,
        };
        told.sort();
        self.heard.push(format!("{path}: {told:?}"));
    }

    async fn watch(&mut self, target: &str) -> Incoming {
        let answer = self.client.send("GET", target, &[ACCEPT], &[][..]).await.unwrap();
        assert_eq!(answer.status(), 200, "{target}");
        let form = answer.headers()["content-type"].to_str().unwrap();
        assert_eq!(form, "application/vnd.kubernetes.protobuf;stream=watch", "{target}");
        answer.into_body()
    }

    async fn watch_list(&mut self, path: &str, selector: &str) -> Vec<String> {
        let target = format!(
            "{path}?allowWatchBookmarks=true{selector}&resourceVersionMatch=NotOlderThan&sendInitialEvents=true\
             &timeoutSeconds=437&watch=true"
        );
        let mut body = self.watch(&target).await;
        let (mut decoder, mut told) = (Decoder::new(Encoding::Protobuf), Vec::new());
        loop {
            while let Some(event) = decoder.next_event().unwrap() {
                if event.ends_initial_events(Encoding::Protobuf) {
                    self.held.push(body);
                    return told;
                }
                assert_eq!(event.event, EventType::Added, "{target}");
                told.push(line(&event.object, Encoding::Protobuf));
            }
            decoder.push(&next(&mut body).await.unwrap_or_else(|| panic!("{target} ends")).unwrap());
        }
    }

    async fn list_and_watch(&mut self, path: &str, selector: &str) -> Vec<String> {
        let target = format!("{path}?limit=500&resourceVersion=0{selector}");
        let answer = self.client.get(&target, &[ACCEPT]).await;
        assert_eq!(answer.code, 200, "{target}: {answer:?}");
        let list = List::parse(&answer.body, Encoding::Protobuf).unwrap();
        let rv = &list.meta.resource_version;
        let target = format!(
            "{path}?allowWatchBookmarks=true{selector}&resourceVersion={rv}&timeoutSeconds=437&watch=true"
        );
        let held = self.watch(&target).await;
        self.held.push(held);
        list.items.iter().map(|item| line(&item.to_bytes(), Encoding::Protobuf)).collect()
    }

    /// All that it says until its pods run. `heartbeat` tells this boot from others.
    async fn boots(&mut self, heartbeat: &str) {
        self.informs("/api/v1/nodes", &format!("metadata.name%3D{NODE}")).await;
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
        let answer = self.ask("POST", "/api/v1/nodes", PROTOBUF, &protobuf(&node)).await;
        assert_eq!(answer.code, 409, "it is there already: {answer:?}");
        let uid = json_of(&self.get(&format!("/api/v1/nodes/{NODE}")).await.body)["metadata"]["uid"].clone();
        self.informs("/api/v1/pods", &format!("spec.nodeName%3D{NODE}")).await;
        self.informs("/api/v1/services", "spec.clusterIP%21%3DNone").await;
        self.informs("/apis/node.k8s.io/v1/runtimeclasses", "").await;
        self.informs("/apis/storage.k8s.io/v1/csidrivers", "").await;
        let csi = self.get(&format!("/apis/storage.k8s.io/v1/csinodes/{NODE}?resourceVersion=0")).await;
        assert_eq!(json_of(&csi.body)["metadata"]["ownerReferences"][0]["uid"], uid);
        self.renews(heartbeat).await;
        self.reports_node(heartbeat).await;
        self.starts_pod(heartbeat).await;
    }

    async fn renews(&mut self, heartbeat: &str) {
        let path =
            format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}?timeout=10s");
        let mut lease = json_of(&self.get(&path).await.body);
        lease["spec"]["renewTime"] = heartbeat.replace('Z', ".000000Z").into();
        let answer = self.ask("PUT", &path, PROTOBUF, &protobuf(&lease)).await;
        assert_eq!((answer.code, &json_of(&answer.body)["spec"]), (200, &lease["spec"]));
    }

    async fn reports_node(&mut self, heartbeat: &str) {
        let ready = json!({"type": "Ready", "lastHeartbeatTime": heartbeat, "status": "True"});
        let patch =
            json!({"status": {"$setElementOrder/conditions": [{"type": "Ready"}], "conditions": [ready]}});
        let path = format!("/api/v1/nodes/{NODE}/status?timeout=10s");
        let answer = self.ask("PATCH", &path, STRATEGIC, patch.to_string().as_bytes()).await;
        let merged = json_of(&answer.body);
        assert_eq!(
            (answer.code, &merged["status"]["conditions"][0]["lastHeartbeatTime"]),
            (200, &json!(heartbeat))
        );
        assert_eq!(
            merged["status"]["volumesInUse"],
            json!(["kubernetes.io/csi/d^h"]),
            "mounts wait for these"
        );
    }

    async fn starts_pod(&mut self, heartbeat: &str) {
        let default = |rest: &str| format!("/api/v1/namespaces/default/{rest}");
        self.informs(&default("configmaps"), "metadata.name%3Dsettings").await;
        self.informs(&default("secrets"), "metadata.name%3Dpassword").await;
        let pod = self.get(&default("pods/web-0")).await;
        let uid = json_of(&pod.body)["metadata"]["uid"].clone();
        let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": "web-0", "uid": uid});
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": [], "expirationSeconds": 3607, "boundObjectRef": bound},
        });
        let path = default("serviceaccounts/sa/token");
        let given = self.ask("POST", &path, PROTOBUF, &protobuf(&request)).await;
        let token = json_of(&given.body)["status"]["token"].clone();
        self.heard.push(format!("the token {token}"));
        self.get(&default("persistentvolumeclaims/data")).await;
        self.get("/api/v1/persistentvolumes/pv").await;
        let patch = json!({
            "metadata": {"uid": uid},
            "status": {"startTime": heartbeat, "podIP": "10.0.0.5", "podIPs": [{"ip": "10.0.0.5"}]},
        });
        let path = default("pods/web-0/status");
        let answer = self.ask("PATCH", &path, STRATEGIC, patch.to_string().as_bytes()).await;
        let merged = json_of(&answer.body);
        assert_eq!((answer.code, &merged["status"]["startTime"]), (200, &json!(heartbeat)));
        assert_eq!(merged["spec"]["nodeName"], NODE);
        let event = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("web-0.{heartbeat}"), "namespace": "default"},
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web-0", "uid": uid},
            "reason": "Started", "type": "Normal", "count": 1,
        });
        let answer =
            self.client.ask("POST", &default("events"), &[ACCEPT, PROTOBUF], &protobuf(&event)).await;
        assert_eq!(answer.code, 201, "{answer:?}");
    }
}

/// A cloud with what the pod of these tests needs, and what kubelet may do there.
async fn bench(release: Release) -> Bench {
    let bench = Bench::before(cloud_of(Options { release, ..Options::default() }).await, |_, _, _| {}).await;
    let all = ["get", "list", "watch", "create", "update", "patch"];
    let node = || Rule::user(&format!("system:node:{NODE}")).can(&all);
    let core = [
        "nodes/status",
        "pods/status",
        "configmaps",
        "secrets",
        "serviceaccounts",
        "serviceaccounts/token",
        "persistentvolumeclaims",
        "persistentvolumes",
    ];
    bench.cloud.allow(node().on("", &core));
    bench.cloud.allow(node().on("node.k8s.io", &["runtimeclasses"]));
    bench.cloud.allow(node().on("storage.k8s.io", &["csidrivers", "csinodes"]));
    bench.cloud.allow(node().on("coordination.k8s.io", &["leases"]));
    let put = |group: &str, resource: &str, object: Value| bench.cloud.put(group, resource, object);
    put(
        "",
        "nodes",
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE},
            "status": {"volumesInUse": ["kubernetes.io/csi/d^h"], "conditions": [{"type": "Ready", "status": "Unknown"}]},
        }),
    );
    let uid = bench.cloud.get("", "nodes", "", NODE).unwrap()["metadata"]["uid"].clone();
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": uid}]);
    put(
        "storage.k8s.io",
        "csinodes",
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": NODE, "ownerReferences": owner},
        }),
    );
    put(
        "coordination.k8s.io",
        "leases",
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": NODE, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": NODE, "leaseDurationSeconds": 40},
        }),
    );
    let plain = |kind: &str, name: &str, rest: Value| {
        let mut object =
            json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}});
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        object
    };
    put("", "services", plain("Service", "web", json!({"spec": {"clusterIP": "10.96.0.7"}})));
    put("", "services", plain("Service", "headless", json!({"spec": {"clusterIP": "None"}})));
    put("", "configmaps", plain("ConfigMap", "settings", json!({"data": {"a": "1"}})));
    put("", "secrets", plain("Secret", "password", json!({"data": {"p": "aHVudGVyMg=="}})));
    put("", "serviceaccounts", plain("ServiceAccount", "sa", json!({})));
    put(
        "",
        "persistentvolumeclaims",
        plain("PersistentVolumeClaim", "data", json!({"spec": {"volumeName": "pv"}})),
    );
    put(
        "",
        "persistentvolumes",
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"}}),
    );
    let spec =
        json!({"nodeName": NODE, "serviceAccountName": "sa", "containers": [{"name": "c", "image": "i"}]});
    put("", "pods", plain("Pod", "web-0", json!({"spec": spec, "status": {"phase": "Running"}})));
    bench
}

/// Boots online, then cold and cut off, and hears the same both times.
async fn plays(release: Release, begin: Begin) {
    let bench = bench(release).await;
    let client = bench.as_kubelet().await;
    let mut kubelet = Kubelet { client, begin, heard: Vec::new(), held: Vec::new() };
    kubelet.boots("2026-01-01T00:00:00Z").await;
    let online = kubelet.heard.join("\n");
    for told in ["Node edge-1", "Pod web-0", "Service web", "ConfigMap settings", "Secret password"] {
        assert!(online.contains(told), "{told} in {online}");
    }
    assert!(!online.contains("Service headless"), "{online}");
    drop(kubelet.client);
    drop(kubelet.held);
    let bench = cold(bench).await;
    bench.cloud.forget_requests();
    let client = bench.as_kubelet().await;
    let mut kubelet = Kubelet { client, begin, heard: Vec::new(), held: Vec::new() };
    kubelet.boots("2026-01-02T00:00:00Z").await;
    assert_eq!(kubelet.heard.join("\n"), online, "{release:?} {begin:?}");
    assert_eq!(bench.cloud.requests().len(), 0, "nothing could go there");
}

#[tokio::test]
async fn p4_what_kubelet_1_36_asks_in_watch_lists_is_answered_again_after_a_cold_boot() {
    plays(Release::V1_36, Begin::WatchList).await;
}

#[tokio::test]
async fn p4_what_kubelet_1_36_falls_back_to_is_answered_again_after_a_cold_boot() {
    plays(Release::V1_36, Begin::List).await;
}

#[tokio::test]
async fn p4_kubelet_1_36_has_its_watch_lists_also_where_the_cloud_does_not_know_them() {
    plays(Release::V1_20, Begin::WatchList).await;
}
