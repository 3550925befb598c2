//! A node with every kind of pod, whose hub knows everything; then less and less of it.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_795_526_158;
const NODE: &str = "/api/v1/nodes?fieldSelector=metadata.name%3Dn1&resourceVersion=0";
const PODS: &str = "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1&resourceVersion=0";
const SERVICES: &str = "/api/v1/services?fieldSelector=spec.clusterIP%21%3DNone&resourceVersion=0";
const RUNTIME_CLASSES: &str = "/apis/node.k8s.io/v1beta1/runtimeclasses?resourceVersion=0";
const CSI_DRIVERS: &str = "/apis/storage.k8s.io/v1/csidrivers?resourceVersion=0";
const CSI_NODE: &str = "/apis/storage.k8s.io/v1/csinodes/n1";

fn of(resource: &str, name: &str) -> String {
    format!("/api/v1/namespaces/shop/{resource}?fieldSelector=metadata.name%3D{name}&resourceVersion=0")
}

/// A token request: method, target and what it is for.
fn token(account: &str, pod: &str, audience: &str, seconds: Option<i64>) -> String {
    format!("/api/v1/namespaces/shop/serviceaccounts/{account}/token {pod} {audience} {seconds:?}")
}

/// No digest, but another one for every text of the tests.
fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    bytes.iter().enumerate().for_each(|(at, byte)| out[at % 32] ^= byte);
    out
}

fn attachment(handle: &str) -> String {
    let hex: String =
        sha256(format!("{handle}disks.examplen1").as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    format!("/apis/storage.k8s.io/v1/volumeattachments/csi-{hex}")
}

/// What the hub knows, by how it is asked.
#[derive(Clone)]
struct Hub(BTreeMap<String, Value>);

impl Hub {
    fn examine(&self) -> Boot {
        self.asked().0
    }

    /// The examination, and all that was asked.
    fn asked(&self) -> (Boot, Vec<String>) {
        let mut asked = Vec::new();
        let mut answer = |ask: &Ask| {
            let target = match ask {
                Ask::Token(bound) => {
                    token(&bound.account, &bound.pod, &bound.audiences.join(","), bound.seconds)
                }
                ask => ask.target(),
            };
            let known = self.0.get(&target).cloned();
            asked.push(target);
            match known {
                Some(Value::Null) => Answer::Absent,
                Some(known) if ask.needs_content() => Answer::Known(known),
                Some(known) => Answer::Known(match known.get("items").and_then(Value::as_array) {
                    Some(items) => json!({ "items": vec![Value::Null; items.len()] }),
                    None => Value::Null,
                }),
                None => Answer::Unknown,
            }
        };
        let boot = examine("n1", NOW, &mut answer, &sha256);
        (boot, asked)
    }

    fn without(&self, target: &str) -> Hub {
        let mut less = self.clone();
        assert!(less.0.remove(target).is_some(), "{target} was not known");
        less
    }

    fn with(&self, target: &str, value: Value) -> Hub {
        let mut other = self.clone();
        other.0.insert(target.to_owned(), value);
        other
    }

    /// With this at a place in the pod of a number.
    fn with_pod(&self, number: usize, pointer: &str, key: &str, value: Value) -> Hub {
        let mut pods = self.0[PODS].clone();
        pods["items"][number].pointer_mut(pointer).unwrap()[key] = value;
        self.with(PODS, pods)
    }
}

fn pod(name: &str, spec: Value) -> Value {
    let mut pod = json!({
        "metadata": { "namespace": "shop", "name": name, "uid": format!("u-{name}") },
        "spec": spec,
        "status": { "phase": "Running", "podIP": "10.22.0.5", "podIPs": [{ "ip": "10.22.0.5" }, { "ip": "fd00::5" }] },
    });
    pod["spec"]["nodeName"] = "n1".into();
    pod["spec"]["tolerations"] = json!([{ "operator": "Exists" }]);
    if pod["spec"].get("containers").is_none() {
        pod["spec"]["containers"] =
            json!([{ "name": "c", "image": "web:1", "imagePullPolicy": "IfNotPresent" }]);
    }
    pod
}

fn pods() -> Vec<Value> {
    vec![
        pod(
            "env",
            json!({
                "serviceAccountName": "web",
                "imagePullSecrets": [{ "name": "pull" }],
                "initContainers": [{ "name": "i", "image": "web:1", "imagePullPolicy": "Never", "envFrom": [
                    { "configMapRef": { "name": "init" } }, { "secretRef": { "name": "init" } },
                ] }],
                "containers": [{ "name": "c", "image": "web:1", "imagePullPolicy": "IfNotPresent", "env": [
                    { "name": "A", "valueFrom": { "secretKeyRef": { "name": "key", "key": "k" } } },
                    { "name": "B", "valueFrom": { "configMapKeyRef": { "name": "key", "key": "k", "optional": true } } },
                    { "name": "C", "valueFrom": { "fieldRef": { "fieldPath": "status.hostIP" } } },
                    { "name": "D", "value": "plain" },
                ] }],
            }),
        ),
        pod(
            "volumes",
            json!({
                "serviceAccountName": "web",
                "volumes": [
                    { "name": "s", "secret": { "secretName": "mounted" } },
                    { "name": "m", "configMap": { "name": "mounted", "optional": true } },
                    { "name": "kube-api-access-x", "projected": { "sources": [
                        { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
                        { "configMap": { "name": "kube-root-ca.crt" } },
                        { "downwardAPI": {} },
                    ] } },
                    { "name": "p", "projected": { "sources": [
                        { "serviceAccountToken": { "audience": "vault", "path": "vault" } },
                        { "secret": { "name": "projected" } },
                    ] } },
                    { "name": "e", "emptyDir": {} },
                ],
            }),
        ),
        pod(
            "disk",
            json!({
                "volumes": [
                    { "name": "d", "persistentVolumeClaim": { "claimName": "data" } },
                    { "name": "scratch", "ephemeral": {} },
                    { "name": "i", "csi": { "driver": "inline.example", "nodePublishSecretRef": { "name": "inline" } } },
                ],
                "resourceClaims": [{ "name": "gpu", "resourceClaimName": "gpu" }],
            }),
        ),
        pod("host", json!({ "hostNetwork": true })),
    ]
}

fn hub() -> Hub {
    let any = || json!({ "metadata": { "name": "x" } });
    let one = || json!({ "items": [any()] });
    let exp = URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{}}}"#, NOW + 60));
    let given = || json!({ "status": { "token": format!("e30.{exp}.x"), "expirationTimestamp": "2026-11-24T13:15:00Z" } });
    let claim = |volume: &str| json!({ "spec": { "volumeName": volume } });
    let node = json!({
        "metadata": { "name": "n1", "uid": "u-n1" },
        "status": { "images": [{ "names": ["docker.io/library/web@sha256:aa", "docker.io/library/web:1"] }] },
    });
    let disk = json!({ "metadata": { "name": "pv-1" }, "spec": { "csi": {
        "driver": "disks.example", "volumeHandle": "h1",
        "nodeStageSecretRef": { "name": "stage", "namespace": "storage" },
    } } });
    let plain = json!({ "metadata": { "name": "pv-2" }, "spec": { "local": { "path": "/mnt" } } });
    let drivers = json!({ "items": [
        { "metadata": { "name": "disks.example" }, "spec": {} },
        { "metadata": { "name": "inline.example" }, "spec": { "attachRequired": false, "tokenRequests": [{ "audience": "csi" }] } },
    ] });
    let mut known: Vec<(String, Value)> = vec![
        (NODE.into(), json!({ "items": [node] })),
        (PODS.into(), json!({ "items": pods() })),
        (SERVICES.into(), json!({ "items": null })),
        (RUNTIME_CLASSES.into(), json!({ "items": [] })),
        (CSI_DRIVERS.into(), drivers),
        (CSI_NODE.into(), json!({ "metadata": { "ownerReferences": [{ "uid": "u-n1" }] } })),
        ("/api/v1/namespaces/shop/secrets/inline".into(), any()),
        ("/api/v1/namespaces/storage/secrets/stage".into(), any()),
        ("/api/v1/namespaces/shop/persistentvolumeclaims/data".into(), claim("pv-1")),
        ("/api/v1/namespaces/shop/persistentvolumeclaims/disk-scratch".into(), claim("pv-2")),
        ("/api/v1/persistentvolumes/pv-1".into(), disk),
        ("/api/v1/persistentvolumes/pv-2".into(), plain),
        ("/apis/resource.k8s.io/v1beta1/namespaces/shop/resourceclaims/gpu".into(), any()),
        (attachment("h1"), any()),
        (token("web", "volumes", "", Some(3607)), given()),
        (token("web", "volumes", "vault", Some(3600)), given()),
        (token("default", "disk", "csi", None), given()),
    ];
    for name in ["pull", "init", "key", "mounted", "projected"] {
        known.push((of("secrets", name), one()));
    }
    for name in ["init", "key", "mounted", "kube-root-ca.crt"] {
        known.push((of("configmaps", name), one()));
    }
    Hub(known.into_iter().collect())
}

fn missing(boot: &Boot) -> Vec<&Finding> {
    boot.findings.iter().filter(|finding| finding.gravity == Gravity::Missing).collect()
}

#[test]
fn p9_a_hub_that_knows_all_that_kubelet_asks_is_green() {
    let (boot, asked) = hub().asked();
    assert_eq!(boot.findings, []);
    let asked: BTreeSet<String> = asked.into_iter().collect();
    let known: BTreeSet<String> = hub().0.into_keys().collect();
    assert_eq!(
        known.difference(&asked).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "nothing is known in vain"
    );
    assert_eq!((boot.questions, boot.tokens.len(), boot.pods.len()), (23, 3, 4));
    assert_eq!(boot.tokens[0].until, Some(NOW + 60));
    assert_eq!((boot.pods[0].addresses.len(), boot.pods[3].addresses.len()), (2, 0));
}

#[test]
fn p9_whatever_single_thing_the_hub_does_not_know_is_missed_by_name() {
    let whole = hub();
    for target in whole.0.keys() {
        let boot = whole.without(target).examine();
        let missing = missing(&boot);
        assert!(!missing.is_empty(), "a false green without {target}");
        let word = target.rsplit(['/', '=', ' ']).next().unwrap();
        let named = |finding: &&Finding| {
            finding.what.contains(word) || finding.pods.len() == 1 || target.contains("resourceVersion=0")
        };
        assert!(missing.iter().any(named), "{target}: {missing:?}");
        assert!(missing.iter().all(|finding| !finding.to_do.is_empty()), "{target}: {missing:?}");
    }
}

#[test]
fn what_is_missing_says_whom_it_strikes() {
    let boot = hub().without(&of("secrets", "mounted")).examine();
    let [finding] = missing(&boot)[..] else { panic!("{boot:?}") };
    assert_eq!(
        (finding.what.as_str(), &finding.pods[..]),
        ("secret shop/mounted", &["shop/volumes".to_owned()][..])
    );

    let two = hub().with_pod(3, "/spec", "volumes", json!([{ "secret": { "secretName": "mounted" } }]));
    let boot = two.without(&of("secrets", "mounted")).examine();
    assert_eq!(missing(&boot)[0].pods, ["shop/host", "shop/volumes"]);

    let boot = hub().without(SERVICES).examine();
    assert!(
        missing(&boot)[0].pods.is_empty() && missing(&boot)[0].why.contains("kubelet starts no container")
    );
}

#[test]
fn an_optional_object_that_does_not_exist_is_fine_and_one_that_nobody_knows_is_not() {
    for absent in [Value::Null, json!({ "items": [] })] {
        assert_eq!(hub().with(&of("configmaps", "mounted"), absent.clone()).examine().findings, []);
        // A pull secret that does not exist keeps no pod from starting.
        assert_eq!(hub().with(&of("secrets", "pull"), absent.clone()).examine().findings, []);
        let boot = hub().with(&of("secrets", "mounted"), absent).examine();
        assert!(missing(&boot).is_empty() && boot.findings[0].gravity == Gravity::Note, "{boot:?}");
    }
    // One pod can do without it, the other cannot.
    let both = hub().with_pod(3, "/spec", "volumes", json!([{ "configMap": { "name": "mounted" } }]));
    assert_eq!(both.with(&of("configmaps", "mounted"), Value::Null).examine().findings.len(), 1);
}

#[test]
fn either_form_of_a_question_will_do() {
    let services = hub().0[SERVICES].clone();
    let older = hub().without(SERVICES).with("/api/v1/services?resourceVersion=0", services);
    assert_eq!(older.examine().findings, []);
    let fetched = hub().without(&of("secrets", "key")).with("/api/v1/namespaces/shop/secrets/key", json!({}));
    assert_eq!(fetched.examine().findings, []);
}

#[test]
fn what_kubelet_does_not_start_needs_nothing() {
    let less = hub().without(&of("secrets", "mounted"));
    for (pointer, key, value) in [
        ("/status", "phase", json!("Succeeded")),
        ("/status", "phase", json!("Failed")),
        ("/metadata", "deletionTimestamp", json!("2026-11-24T13:15:58Z")),
        ("/metadata", "annotations", json!({ "kubernetes.io/config.mirror": "x" })),
    ] {
        assert_eq!(less.with_pod(1, pointer, key, value.clone()).examine().findings, [], "{value}");
    }
    assert_eq!(missing(&less.with_pod(1, "/status", "phase", json!("Unknown")).examine()).len(), 1);
}

#[test]
fn a_node_without_its_objects_starts_nothing() {
    for (broken, what, why) in [
        (hub().with(NODE, json!({ "items": [] })), "node n1", "does not exist in the cluster"),
        (hub().with(CSI_NODE, Value::Null), "CSI node n1", "kubelet makes it"),
        (
            hub().with(CSI_NODE, json!({ "metadata": { "ownerReferences": [{ "uid": "old" }] } })),
            "CSI node n1",
            "belongs to another Node",
        ),
    ] {
        let boot = broken.examine();
        assert!(missing(&boot).iter().any(|f| f.what == what && f.why.contains(why)), "{boot:?}");
    }
}

#[test]
fn a_token_that_has_ended_is_named_and_does_not_keep_the_pod_from_starting() {
    let ended = json!({ "status": { "token": "opaque", "expirationTimestamp": "2026-11-24T13:00:00Z" } });
    let boot = hub().with(&token("web", "volumes", "vault", Some(3600)), ended).examine();
    let [finding] = &boot.findings[..] else { panic!("{boot:?}") };
    assert_eq!((finding.gravity, finding.area), (Gravity::Note, Area::Tokens));
    assert!(
        finding.what.contains("shop/web for vault") && finding.why.contains("2026-11-24 13:00:00 UTC"),
        "{finding:?}"
    );
}

#[test]
fn images_that_are_pulled_at_every_start_or_are_not_there_are_missed() {
    let image = |image: &str, policy: &str| {
        let containers = json!([{ "name": "c", "image": image, "imagePullPolicy": policy }]);
        hub().with_pod(3, "/spec", "containers", containers)
    };
    for (hub, gravity) in [
        (image("web:1", "Always"), Some(Gravity::Missing)),
        (image("web", ""), Some(Gravity::Missing)),
        (image("web:2", "IfNotPresent"), Some(Gravity::Missing)),
        (image("web:2", "Never"), Some(Gravity::Missing)),
        (image("web:1@sha256:aa", "Never"), None),
        (image("docker.io/web:1", "Never"), None),
    ] {
        let boot = hub.examine();
        assert_eq!(boot.findings.first().map(|f| (f.area, f.gravity)), gravity.map(|g| (Area::Images, g)));
    }
    // A container that runs has its image, whatever kubelet tells.
    let running = json!([{ "name": "c", "state": { "running": {} } }]);
    let runs = image("web:2", "Never").with_pod(3, "/status", "containerStatuses", running);
    assert_eq!(runs.examine().findings, []);
    let volume = json!([{ "name": "v", "image": { "reference": "data:1", "pullPolicy": "Always" } }]);
    assert_eq!(missing(&hub().with_pod(3, "/spec", "volumes", volume).examine()).len(), 1);
}

#[test]
fn an_image_that_kubelet_may_not_have_told_of_is_unknown_and_never_taken_for_good() {
    let full: Vec<Value> = (0..50).map(|n| json!({ "names": [format!("x/{n}:1")] })).collect();
    let many_names = json!([{ "names": ["a/1:1", "a/2:1", "a/3:1", "a/4:1", "a/5:1"] }]);
    for images in [json!(full), json!([]), Value::Null, many_names] {
        let node = json!({ "items": [{ "metadata": { "uid": "u-n1" }, "status": { "images": images } }] });
        let boot = hub().with(NODE, node).examine();
        let [finding] = &boot.findings[..] else { panic!("{boot:?}") };
        assert_eq!((finding.gravity, finding.what.as_str()), (Gravity::Unknown, "image web:1"));
        assert_eq!(finding.pods.len(), 4);
    }
}

#[test]
fn what_no_hub_can_answer_is_said() {
    let sources =
        json!([{ "name": "p", "projected": { "sources": [{ "podCertificate": { "signerName": "s" } }] } }]);
    assert_eq!(missing(&hub().with_pod(3, "/spec", "volumes", sources).examine()).len(), 1);
    let bundle =
        json!([{ "name": "p", "projected": { "sources": [{ "clusterTrustBundle": { "name": "b" } }] } }]);
    assert_eq!(missing(&hub().with_pod(3, "/spec", "volumes", bundle).examine()).len(), 1);
    let migrated = json!({ "metadata": { "name": "pv-2" }, "spec": { "azureDisk": { "diskName": "d" } } });
    let boot = hub().with("/api/v1/persistentvolumes/pv-2", migrated).examine();
    assert_eq!(boot.findings[0].gravity, Gravity::Unknown);
    let unbound = hub().with("/api/v1/namespaces/shop/persistentvolumeclaims/data", json!({ "spec": {} }));
    assert_eq!(unbound.examine().findings[0].gravity, Gravity::Note);
}

#[test]
fn what_the_hub_says_is_read_back_as_the_same() {
    for hub in
        [hub(), Hub(BTreeMap::new()), hub().without(SERVICES).with_pod(0, "/status", "podIPs", json!(5))]
    {
        let boot = hub.examine();
        assert_eq!(Boot::from_json(&boot.to_json()), Some(boot));
    }
    let whole = hub().without(SERVICES).examine().to_json();
    for key in ["node", "questions", "tokens", "pods", "findings"] {
        let mut less = whole.clone();
        less.as_object_mut().unwrap().remove(key);
        assert_eq!(Boot::from_json(&less), None, "{key}");
    }
    let mut odd = whole;
    odd["findings"][0]["gravity"] = "dreadful".into();
    assert_eq!(Boot::from_json(&odd), None, "a finding that is not understood is no green");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z./%=,\u{e9}]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{0,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_odd_value_anywhere_ends_nothing_and_hides_nothing_else(
        number in 0usize..4,
        place in prop::sample::select(vec!["/metadata", "/spec", "/status", "/spec/containers/0"]),
        key in prop::sample::select(vec![
            "containers", "initContainers", "volumes", "imagePullSecrets", "resourceClaims", "env", "envFrom", "image",
            "podIPs", "annotations", "name", "serviceAccountName", "hostNetwork",
        ]),
        value in any_json(),
    ) {
        let boot = hub().without(SERVICES).with_pod(number, place, key, value).examine();
        prop_assert!(missing(&boot).iter().any(|finding| finding.what.contains("services")));
        prop_assert_eq!(Boot::from_json(&boot.to_json()), Some(boot));
    }
}
