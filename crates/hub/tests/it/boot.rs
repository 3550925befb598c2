//! P9: the hub says whether the node would survive a reboot, and that is what kubelet then meets.

use std::collections::BTreeMap;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use hub::daemon::Daemon;
use hub::service_manager::Given;
use node::doctor::{Answer, Ask, Boot, Finding, Gravity, examine};
use serde_json::{Value, json};
use testkit::cloud::Rule;
use testkit::relay::Mode;

use crate::bench::{Bench, Client, NODE};
use crate::process::plain;

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap()
}

/// What the hub says of a boot.
async fn told(bench: &Bench) -> Boot {
    let stream = tokio::net::UnixStream::connect(&bench.config.admin).await.unwrap();
    let (code, text) = plain(stream, "/boot", None).await;
    assert_eq!(code, 200, "{text}");
    Boot::from_json(&serde_json::from_str(&text).unwrap()).unwrap()
}

/// Asks as kubelet does when it boots, until nothing new comes of it; leaves out what `skips` says. Gives what there is to
/// say of the answers.
async fn boots(kubelet: &mut Client, skips: impl Fn(&str) -> bool) -> Boot {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut answers: BTreeMap<Ask, Answer> = BTreeMap::new();
    loop {
        let mut open = Vec::new();
        let mut answer = |ask: &Ask| match answers.get(ask) {
            Some(answer) => answer.clone(),
            None => {
                open.push(ask.clone());
                Answer::Unknown
            }
        };
        let boot = examine(NODE, now, &mut answer, &sha256);
        if open.is_empty() {
            return boot;
        }
        for ask in open {
            let target = ask.target();
            let body = ask.body().map(|body| body.to_string()).unwrap_or_default();
            let given = match skips(&target) {
                true => Answer::Unknown,
                false => {
                    let json = [("content-type", "application/json"), ("accept", "application/json")];
                    let answer = kubelet.ask(ask.method(), &target, &json, &body).await;
                    match answer.code {
                        200 | 201 => Answer::Known(answer.json()),
                        404 => Answer::Absent,
                        503 => Answer::Unknown,
                        _ => panic!("{target}: {answer:?}"),
                    }
                }
            };
            answers.insert(ask, given);
        }
    }
}

/// A cloud with a node and pods that need something of every kind.
async fn bench() -> Bench {
    let bench = Bench::new().await;
    let all = ["get", "list", "watch", "create"];
    let node = || Rule::user(&format!("system:node:{NODE}")).can(&all);
    let core = [
        "configmaps",
        "secrets",
        "serviceaccounts",
        "serviceaccounts/token",
        "persistentvolumeclaims",
        "persistentvolumes",
    ];
    bench.cloud.allow(node().on("", &core));
    bench.cloud.allow(node().on("node.k8s.io", &["runtimeclasses"]));
    bench.cloud.allow(node().on("storage.k8s.io", &["csidrivers", "csinodes", "volumeattachments"]));
    let uid = {
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE},
            "status": {"images": [{"names": ["docker.io/library/web:1"]}]},
        });
        bench.cloud.put("", "nodes", node);
        bench.cloud.get("", "nodes", "", NODE).unwrap()["metadata"]["uid"].clone()
    };
    let put = |group: &str, resource: &str, object: Value| bench.cloud.put(group, resource, object);
    let plain = |api: &str, kind: &str, name: &str| {
        let metadata = json!({"name": name, "namespace": "default"});
        json!({"apiVersion": api, "kind": kind, "metadata": metadata})
    };
    for name in ["settings", "kube-root-ca.crt"] {
        put("", "configmaps", plain("v1", "ConfigMap", name));
    }
    put("", "secrets", plain("v1", "Secret", "password"));
    put("", "serviceaccounts", plain("v1", "ServiceAccount", "sa"));
    let mut claim = plain("v1", "PersistentVolumeClaim", "data");
    claim["spec"] = json!({"volumeName": "pv"});
    put("", "persistentvolumeclaims", claim);
    put(
        "",
        "persistentvolumes",
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"},
            "spec": {"csi": {"driver": "d", "volumeHandle": "h"}},
        }),
    );
    let hex: String =
        sha256(format!("hd{NODE}").as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    put(
        "storage.k8s.io",
        "volumeattachments",
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": format!("csi-{hex}")},
        }),
    );
    put(
        "storage.k8s.io",
        "csinodes",
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "CSINode",
            "metadata": {"name": NODE, "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": uid}]},
        }),
    );
    put("", "pods", pod());
    bench
}

/// A pod that needs something of every kind.
fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "default", "name": "web-0"},
        "spec": {
            "nodeName": NODE, "serviceAccountName": "sa", "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": "c", "image": "web:1", "imagePullPolicy": "IfNotPresent",
                "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "password", "key": "p"}}}],
            }],
            "volumes": [
                {"name": "s", "configMap": {"name": "settings"}},
                {"name": "n", "configMap": {"name": "none", "optional": true}},
                {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "t", "projected": {"sources": [
                    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                    {"serviceAccountToken": {"path": "vault", "expirationSeconds": 7200, "audience": "vault"}},
                    {"configMap": {"name": "kube-root-ca.crt"}},
                ]}},
            ],
        },
        "status": {"phase": "Running", "podIP": "10.0.0.5", "podIPs": [{"ip": "10.0.0.5"}]},
    })
}

/// The link is cut, and the hub starts anew on what it has stored.
pub async fn cold(bench: Bench) -> Bench {
    bench.cloud.link().switch(Mode::Refuse).await.unwrap();
    bench.cloud.link().reset();
    let Bench { cloud, daemon, config, scratch } = bench;
    daemon.stop().await;
    let daemon = Daemon::begin(config.clone(), Given::default()).unwrap();
    let bench = Bench { cloud, daemon, config, scratch };
    bench.judges(false).await;
    bench
}

#[tokio::test]
async fn p9_a_boot_of_which_the_hub_knows_everything_is_green_and_kubelet_is_answered_everything() {
    let bench = bench().await;
    let mut kubelet = bench.as_kubelet().await;
    let online = boots(&mut kubelet, |_| false).await;
    assert_eq!(online.findings, []);
    drop(kubelet);
    let told_before = told(&bench).await;
    assert_eq!(told_before, online);
    assert_eq!((told_before.questions, told_before.tokens.len(), told_before.pods.len()), (13, 2, 1));
    let bench = cold(bench).await;
    bench.cloud.forget_requests();
    assert_eq!(told(&bench).await, told_before, "a hub that starts cold knows as much");
    let mut kubelet = bench.as_kubelet().await;
    assert_eq!(boots(&mut kubelet, |_| false).await, told_before);
    assert_eq!(bench.cloud.requests().len(), 0, "nothing could go there");
}

#[tokio::test]
async fn p9_what_the_hub_says_would_be_missed_is_what_kubelet_is_refused() {
    for skipped in [
        "/api/v1/pods",
        "services",
        "runtimeclasses",
        "csidrivers",
        "csinodes",
        "secrets",
        "settings",
        "none",
        "/token",
        "persistentvolumeclaims",
        "persistentvolumes/pv",
        "volumeattachments",
    ] {
        let bench = bench().await;
        let mut kubelet = bench.as_kubelet().await;
        boots(&mut kubelet, |target| target.contains(skipped)).await;
        drop(kubelet);
        let told_before = told(&bench).await;
        assert!(misses(&told_before), "a false green without {skipped}");
        let bench = cold(bench).await;
        let mut kubelet = bench.as_kubelet().await;
        assert_eq!(boots(&mut kubelet, |_| false).await, told_before, "without {skipped}");
    }
}

#[tokio::test]
async fn p9_a_hub_that_kubelet_has_asked_nothing_yet_is_not_green() {
    let bench = bench().await;
    let boot = told(&bench).await;
    assert!(misses(&boot) && boot.pods.is_empty() && boot.tokens.is_empty(), "{boot:?}");
}

#[tokio::test]
async fn p9_what_the_hub_knows_but_does_not_store_is_missed() {
    let bench = Bench::with(|config, _, _| {
        std::fs::create_dir_all(&config.state_dir).unwrap();
        std::fs::write(config.state_dir.join("keep"), "in the way").unwrap();
    })
    .await;
    let boot = told(&bench).await;
    let named =
        |finding: &Finding| finding.gravity == Gravity::Missing && finding.what == "the hub's log keep";
    assert!(boot.findings.iter().any(named), "{boot:?}");
}

fn misses(boot: &Boot) -> bool {
    boot.findings.iter().any(|finding| finding.gravity == Gravity::Missing)
}
