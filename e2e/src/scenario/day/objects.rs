//! The objects of the day. They name their node, as no scheduler runs.

use anyhow::Result;
use serde_json::{Value, json};

use crate::fields::with;
use crate::image;
use crate::kubelet::NODE;
use crate::pods::PORT;
use crate::sys;

/// The namespace that the day is spent in.
pub const NAMESPACE: &str = "day";
/// What a web pod answers to `GET /nonce`.
pub const PAGE: &str = "a page from a config map";
/// The port of the node that leads to the web service.
pub const NODE_PORT: u16 = 30080;

/// What the workloads stand on.
pub fn foundations() -> Vec<Value> {
    let port = json!({"port": 80, "targetPort": PORT, "nodePort": NODE_PORT});
    vec![
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("page"), "data": {"nonce": PAGE}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta("secret"), "stringData": {"word": "mellon"}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("reader")}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta("reader"),
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}]
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta("reader"),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": "reader"}]
        }),
        service("web", json!({"type": "NodePort", "ports": [port]})),
        service("db", json!({"clusterIP": "None", "ports": [{"port": 80, "targetPort": PORT}]})),
    ]
}

/// What runs.
pub fn workloads() -> Vec<Value> {
    let stateful =
        json!({"serviceName": "db", "replicas": 2, "selector": labels("db"), "template": template("db")});
    let deployed = json!({"replicas": 2, "selector": labels("app"), "template": template("app")});
    let job = json!({"template": {"spec": ending(&["sh", "-c", "echo done by $WORD"], json!({}))}});
    let count = "for n in 1 2 3 4 5 6; do echo line $n; busybox sleep 0.3; done";
    let always = json!({"restartPolicy": "Always"});
    vec![
        pod("web", &web_spec()),
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta("db"), "spec": stateful}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("app"), "spec": deployed}),
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta("once"), "spec": job}),
        pod("counter", &ending(&["sh", "-c", count], json!({}))),
        pod("crash", &with(ending(&["sh", "-c", "echo falling; exit 3"], json!({})), always)),
        pod("echo", &ending(&["cat"], json!({"stdin": true, "stdinOnce": true}))),
        pod("in-cluster", &in_cluster_spec()),
    ]
}

/// A static pod, as a manifest on the node.
///
/// # Errors
///
/// No uid can be made.
pub fn static_pod() -> Result<Value> {
    // It may refer to nothing of the API.
    let container = with(container(&["httpd", "-f", "-p", &PORT.to_string()]), json!({"env": []}));
    // Its uid is made of what the manifest holds: the next day's is another pod.
    let meta = with(meta("static"), json!({"annotations": {"uid": sys::uuid()?}}));
    let spec = json!({"terminationGracePeriodSeconds": 1, "containers": [container]});
    Ok(with(pod("static", &spec), json!({"metadata": meta})))
}

fn meta(name: &str) -> Value {
    json!({"namespace": NAMESPACE, "name": name, "labels": {"app": name}})
}

fn labels(app: &str) -> Value {
    json!({"matchLabels": {"app": app}})
}

fn service(name: &str, spec: Value) -> Value {
    let spec = with(spec, json!({"selector": {"app": name}}));
    json!({"apiVersion": "v1", "kind": "Service", "metadata": meta(name), "spec": spec})
}

fn pod(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta(name), "spec": spec})
}

fn template(app: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": web_spec()})
}

fn container(args: &[&str]) -> Value {
    json!({
        "name": "main", "image": image::BUSYBOX, "imagePullPolicy": "Never", "args": args,
        "env": [{"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "word", "optional": true}}}]
    })
}

fn web_spec() -> Value {
    let serve = container(&["httpd", "-f", "-p", &PORT.to_string(), "-h", "/page"]);
    let container = with(
        serve,
        json!({
            "volumeMounts": [{"name": "page", "mountPath": "/page"}],
            "readinessProbe": {"httpGet": {"path": "/nonce", "port": PORT}, "periodSeconds": 1}
        }),
    );
    json!({
        "nodeName": NODE, "serviceAccountName": "reader", "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "page", "configMap": {"name": "page"}}]
    })
}

/// A pod that ends by itself; `more` is what else its container has.
fn ending(args: &[&str], more: Value) -> Value {
    json!({
        "nodeName": NODE, "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
        "containers": [with(container(args), more)]
    })
}

/// The client-go program in a pod, with nothing but what every pod is given.
fn in_cluster_spec() -> Value {
    let words = ["/programs/clientgo", "--namespace", NAMESPACE, "get", "v1/configmaps", "page"];
    let mounts = json!([{"name": "programs", "mountPath": "/programs"}]);
    let volumes = json!([{"name": "programs", "hostPath": {"path": "/var/lib/e2e/programs"}}]);
    let spec = ending(&[], json!({"command": words, "volumeMounts": mounts}));
    with(spec, json!({"serviceAccountName": "reader", "volumes": volumes}))
}
