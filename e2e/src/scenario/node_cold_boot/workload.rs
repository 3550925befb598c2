//! The pods of the cold boot: of every kind of owner, with every kind of source that a mount or a variable can have.
//! They name their node, as no scheduler runs.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::answers::{ANSWER, MAIN, Places};
use crate::cluster::Cluster;
use crate::fields::{text_at, with};
use crate::kubelet::NODE;
use crate::pods::PORT;
use crate::{image, sys};

/// The namespace of all of them.
pub const NAMESPACE: &str = "boot";
/// How many pods answer.
pub const PODS: usize = 20;
/// The static pod, as the API server knows it.
pub const STATIC: &str = "static-edge";
/// The service that leads to the stateful set's pods.
pub const SERVICE: &str = "web";
/// A pod that has ended well, and where each run of it leaves a line, below the node's /var/lib.
const FINISHED: &str = "finished";
const RUNS: &str = "e2e/boot/runs";
/// What the node is told before kubelet is started, below its /var/lib.
const MOMENT: &str = "e2e/boot/moment";
const BARE: usize = 11;
/// Different pods mount different sets.
const SETS: usize = 3;
const COMING_UP: Duration = Duration::from_secs(120);

/// Tells the node a moment, which main processes read when they start.
///
/// # Errors
///
/// The node's directory cannot be written.
pub fn tell_moment(cluster: &Cluster<'_>) -> Result<String> {
    let moment = sys::uuid()?;
    let path = cluster.stage.node.var_lib().join(MOMENT);
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    fs::write(path, &moment)?;
    Ok(moment)
}

/// How often the pod that ends has run.
pub fn runs(cluster: &Cluster<'_>) -> usize {
    let path = cluster.stage.node.var_lib().join(RUNS).join(FINISHED);
    fs::read_to_string(path).map_or(0, |lines| lines.lines().count())
}

/// Starts them all and waits until they are ready; returns where they are.
///
/// # Errors
///
/// They do not come up.
pub async fn start(cluster: &mut Cluster<'_>) -> Result<Places> {
    fs::create_dir_all(cluster.stage.node.var_lib().join(RUNS))?;
    cluster.cloud.kubectl(&["label", "node", NODE, "zone=field"])?;
    cluster
        .cloud
        .apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})])?;
    // Pods need their account, which a controller makes.
    let account = ["serviceaccount", "default", "--namespace", NAMESPACE];
    sys::until("the namespace has its account", COMING_UP, || cluster.cloud.get(&account)).await?;
    let authority = ["configmap", "kube-root-ca.crt", "--namespace", NAMESPACE];
    sys::until("the authority is in the namespace", COMING_UP, || cluster.cloud.get(&authority)).await?;
    cluster.cloud.apply(&sources())?;
    cluster.cloud.apply(&workloads())?;
    write_static(cluster)?;
    sys::until("all pods are up", COMING_UP, || ready(cluster, PODS)).await?;
    sys::until("the pod that ends has ended", COMING_UP, || {
        match text_at(&pod_of(cluster, FINISHED)?, "/status/phase")? {
            "Succeeded" => Ok(()),
            other => bail!("it is {other}"),
        }
    })
    .await?;
    sys::until("the service has its endpoints", COMING_UP, || {
        let endpoints = cluster.cloud.get(&["endpoints", SERVICE, "--namespace", NAMESPACE])?;
        let there = endpoints.pointer("/subsets/0/addresses").and_then(Value::as_array).map_or(0, Vec::len);
        if there == 3 { Ok(()) } else { bail!("{there} of 3") }
    })
    .await?;
    places(cluster)
}

fn pod_of(cluster: &Cluster<'_>, name: &str) -> Result<Value> {
    cluster.cloud.get(&["pod", name, "--namespace", NAMESPACE])
}

/// The pods of the namespace that are not the one that ends, as the cloud knows them.
///
/// # Errors
///
/// It does not answer.
pub fn pods(cluster: &Cluster<'_>) -> Result<Vec<Value>> {
    let list = cluster.cloud.get(&["pods", "--namespace", NAMESPACE])?;
    let items = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(items
        .into_iter()
        .filter(|pod| text_at(pod, "/metadata/name").is_ok_and(|name| name != FINISHED))
        .collect())
}

/// That the cloud knows `count` pods and each as ready.
///
/// # Errors
///
/// One is not.
pub fn ready(cluster: &Cluster<'_>, count: usize) -> Result<()> {
    let pods = pods(cluster)?;
    if pods.len() != count {
        bail!("{} pods of {count}", pods.len());
    }
    pods.iter().try_for_each(is_ready)
}

fn is_ready(pod: &Value) -> Result<()> {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let mut ready = conditions.filter(|one| one.get("type").and_then(Value::as_str) == Some("Ready"));
    let status = ready.next().and_then(|one| one.get("status")).and_then(Value::as_str);
    if status != Some("True") {
        let name = text_at(pod, "/metadata/name").unwrap_or_default();
        bail!("{name} is not ready: {}", pod.pointer("/status/containerStatuses").unwrap_or(&Value::Null));
    }
    Ok(())
}

/// Where the cloud knows the pods to be, by name.
///
/// # Errors
///
/// One has no address.
pub fn places(cluster: &Cluster<'_>) -> Result<Places> {
    let place = |pod: Value| -> Result<(String, IpAddr)> {
        let name = text_at(&pod, "/metadata/name")?.to_owned();
        let address = text_at(&pod, "/status/podIP").with_context(|| name.clone())?.parse()?;
        Ok((name, address))
    };
    pods(cluster)?.into_iter().map(place).collect()
}

fn sources() -> Vec<Value> {
    let set = |number: usize| {
        let name = format!("set-{number}");
        let data: Value = (0..4)
            .map(|key| (format!("key-{key}"), Value::String(format!("{name} {key}\n").repeat(40))))
            .collect::<serde_json::Map<_, _>>()
            .into();
        [
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(&name), "data": data,
                   "binaryData": {"bytes": "AAH/gA=="}}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta(&name), "stringData": data,
                   "immutable": number == 0}),
        ]
    };
    let service = |name: &str, spec: Value| {
        let spec =
            with(spec, json!({"selector": {"app": "db"}, "ports": [{"port": 80, "targetPort": PORT}]}));
        json!({"apiVersion": "v1", "kind": "Service", "metadata": meta(name), "spec": spec})
    };
    let mut all: Vec<Value> = (0..SETS).flat_map(set).collect();
    all.extend([service(SERVICE, json!({})), service("db", json!({"clusterIP": "None"}))]);
    all
}

fn workloads() -> Vec<Value> {
    let owned = |kind: &str, name: &str, more: Value| {
        let template = json!({"metadata": {"labels": {"app": name}}, "spec": spec(0)});
        let spec = with(more, json!({"selector": {"matchLabels": {"app": name}}, "template": template}));
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": meta(name), "spec": spec})
    };
    let parallel = json!({"serviceName": "db", "replicas": 3, "podManagementPolicy": "Parallel"});
    let mut all = vec![
        owned("StatefulSet", "db", parallel),
        owned("Deployment", "app", json!({"replicas": 4})),
        owned("DaemonSet", "agent", json!({})),
        finished(),
    ];
    all.extend((0..BARE).map(|number| pod(&format!("bare-{number}"), &spec(number))));
    all
}

fn meta(name: &str) -> Value {
    json!({"namespace": NAMESPACE, "name": name, "labels": {"app": name}})
}

/// A pod of nobody.
pub fn pod(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta(name), "spec": spec})
}

/// What of each pod does not depend on the API.
fn container(number: usize) -> Value {
    let field =
        |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let policy = if number.is_multiple_of(2) { "Never" } else { "IfNotPresent" };
    json!({
        "name": "main", "image": image::BUSYBOX, "imagePullPolicy": policy, "args": ["sh", "-c", MAIN],
        "env": [
            {"name": "ANSWER", "value": ANSWER},
            field("POD", "metadata.name"),
            field("POD_UID", "metadata.uid"),
            field("POD_IP", "status.podIP"),
        ],
        "volumeMounts": mounts(&["moment", "scratch", "about"]),
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 2}
    })
}

fn mounts(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name, "mountPath": format!("/{name}")})).collect()
}

fn volumes() -> Vec<Value> {
    let about = json!([{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]);
    vec![
        json!({"name": "moment", "hostPath": {"path": "/var/lib/e2e/boot"}}),
        json!({"name": "scratch", "emptyDir": {}}),
        json!({"name": "about", "downwardAPI": {"items": about}}),
    ]
}

/// A pod with everything; `number` varies it.
pub fn spec(number: usize) -> Value {
    let set = format!("set-{}", number % SETS);
    let mut container = container(number);
    let more = [
        json!({"name": "WORD", "valueFrom": {"configMapKeyRef": {"name": set, "key": "key-0"}}}),
        json!({"name": "WORD_SECRET", "valueFrom": {"secretKeyRef": {"name": set, "key": "key-1"}}}),
    ];
    let both = json!([
        {"configMap": {"name": set, "items": [{"key": "key-2", "path": "from-config"}]}},
        {"secret": {"name": set, "items": [{"key": "key-3", "path": "from-secret"}]}},
    ]);
    let vault =
        json!([{"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 7200}}]);
    let mut volumes = volumes();
    volumes.extend([
        json!({"name": "config", "configMap": {"name": set}}),
        json!({"name": "secret", "secret": {"secretName": set}}),
        json!({"name": "both", "projected": {"sources": both}}),
        // There is none of this name; that, too, must be known after the boot.
        json!({"name": "maybe", "configMap": {"name": "no-such-map", "optional": true}}),
    ]);
    let mut mounted = vec!["config", "secret", "both", "maybe"];
    if number % 2 == 1 {
        volumes.push(json!({"name": "vault", "projected": {"sources": vault}}));
        mounted.push("vault");
    }
    for (list, more) in [("env", json!(more)), ("volumeMounts", mounts(&mounted))] {
        let list = container.get_mut(list).and_then(Value::as_array_mut);
        list.into_iter().for_each(|list| list.extend(more.as_array().cloned().unwrap_or_default()));
    }
    let before =
        json!({"name": "before", "image": image::BUSYBOX, "imagePullPolicy": "Never", "args": ["true"]});
    let before = if number % 4 == 2 { json!([before]) } else { json!([]) };
    with(
        placed(),
        json!({"nodeSelector": {"zone": "field"}, "initContainers": before, "containers": [container], "volumes": volumes}),
    )
}

/// On the node, for as long as it is away.
fn placed() -> Value {
    let away = ["not-ready", "unreachable"].map(
        |what| json!({"key": format!("node.kubernetes.io/{what}"), "operator": "Exists", "effect": "NoExecute"}),
    );
    json!({"nodeName": NODE, "terminationGracePeriodSeconds": 1, "tolerations": away})
}

/// It ends well, and must not run again.
fn finished() -> Value {
    let volume = json!({"name": "runs", "hostPath": {"path": format!("/var/lib/{RUNS}")}});
    let script = format!("echo run >>/runs/{FINISHED}");
    let container = json!({
        "name": "main", "image": image::BUSYBOX, "imagePullPolicy": "Never", "args": ["sh", "-c", script],
        "volumeMounts": mounts(&["runs"])
    });
    let spec = json!({"restartPolicy": "Never", "containers": [container], "volumes": [volume]});
    pod(FINISHED, &with(placed(), spec))
}

/// A manifest on the node. It may refer to nothing of the API.
fn write_static(cluster: &Cluster<'_>) -> Result<()> {
    let spec =
        json!({"terminationGracePeriodSeconds": 1, "containers": [container(0)], "volumes": volumes()});
    let manifests = cluster.stage.node.etc().join("kubernetes/manifests");
    // In one step, as kubelet reads at once what it finds; it leaves names with a dot alone.
    fs::write(manifests.join(".new"), pod("static", &spec).to_string())?;
    Ok(fs::rename(manifests.join(".new"), manifests.join("static.json"))?)
}
