//! Objects of the size that they have in real clusters.

use serde_json::{Value, json};

use crate::Result;

/// Where objects of a kind are, and one of them.
pub(crate) fn object(kind: &str, namespace: &str, number: u32) -> Result<(String, Value)> {
    let core = format!("/api/v1/namespaces/{namespace}");
    let slices = format!("/apis/discovery.k8s.io/v1beta1/namespaces/{namespace}/endpointslices");
    Ok(match kind {
        "pods" => (format!("{core}/pods"), pod(number)),
        "services" => (format!("{core}/services"), service(number)),
        "endpointslices" => (slices, slice(number)),
        _ => return Err(format!("no objects of kind {kind}").into()),
    })
}

/// Of 7 KB as the API server sends it in JSON: what a Deployment's pod with an environment, probes and annotations takes.
pub(crate) fn pod(number: u32) -> Value {
    let variables: Vec<Value> = (0..24)
        .map(|n| json!({"name": format!("SETTING_{n}"), "value": format!("{n}-{:040}", u64::from(number) * 7919 + n)}))
        .collect();
    let checksum = format!("{number:064x}");
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("app-{number}"),
            "labels": {"app": format!("app-{}", number % 20), "pod-template-hash": "5d4f8c7b9d", "tier": "web", "release": "stable"},
            "annotations": {"checksum/config": checksum, "prometheus.io/scrape": "true", "prometheus.io/port": "9090"}
        },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "main",
                "image": format!("edgekeep.invalid/app@sha256:{checksum}"),
                "args": ["--listen=:8080", "--config=/etc/app/config.yaml"],
                "env": variables,
                "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}],
                "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
                "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}},
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}]
            }],
            "volumes": [{"name": "config", "configMap": {"name": format!("app-{}", number % 20)}}]
        }
    })
}

/// Of 1.5 KB. Headless, so that figures are not those of kube-proxy's rules.
fn service(number: u32) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": format!("service-{number}"),
            "labels": {"app": format!("app-{number}"), "release": "stable", "tier": "web"},
            "annotations": {"description": format!("{number:0400}")}
        },
        "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80}, {"name": "metrics", "port": 9090}]}
    })
}

/// Of 1.2 KB with three endpoints; two to a service, as those that have grown over a hundred endpoints have.
fn slice(number: u32) -> Value {
    let endpoints: Vec<Value> = (0..3)
        .map(|n| {
            json!({
                "addresses": [format!("10.{}.{}.{}", 128 + number / 60_000, (number / 240) % 250, (number % 240) + n)],
                "conditions": {"ready": true},
                "targetRef": {"kind": "Pod", "namespace": "figures", "name": format!("app-{number}-{n}")},
                "topology": {"kubernetes.io/hostname": format!("node-{}", number % 100)}
            })
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1beta1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("service-{}-{number}", number / 2),
            "labels": {
                "kubernetes.io/service-name": format!("service-{}", number / 2),
                "endpointslice.kubernetes.io/managed-by": "edgekeep-e2e"
            }
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]
    })
}
