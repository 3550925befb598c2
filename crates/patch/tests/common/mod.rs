//! Objects and requests that several tests use.

#![allow(dead_code, reason = "each test uses some of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is part of tests")]

use patch::{Form, Outcome, Release, Served, Write};
use serde_json::{Value, json};
use wire::schema::Kind;
use wire::{Resource, Status};

/// A bound pod as the API server shows it, with a label, a finalizer and a status.
pub fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": "7",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {"app": "web"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "r1"}],
            "managedFields": [{"manager": "kubelet", "operation": "Update"}]
        },
        "spec": {
            "containers": [{"name": "c", "image": "i", "resources": {}}],
            "nodeName": "edge", "terminationGracePeriodSeconds": 30
        },
        "status": {
            "phase": "Pending", "qosClass": "BestEffort",
            "conditions": [
                {"type": "Ready", "status": "False", "lastProbeTime": null, "lastTransitionTime": "2026-01-02T03:04:05Z"},
                {"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-01-02T03:04:05Z"}
            ]
        }
    })
}

/// A node as the API server shows it.
pub fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "edge", "uid": "n1", "resourceVersion": "9", "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {"kubernetes.io/hostname": "edge", "team": "a"}},
        "spec": {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24"], "taints": [{"key": "k", "effect": "NoSchedule"}]},
        "status": {"capacity": {"cpu": "4"}, "allocatable": {"cpu": "4"},
            "addresses": [{"type": "InternalIP", "address": "10.0.0.7"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "nodeInfo": {"machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "", "osImage": "",
                "containerRuntimeVersion": "", "kubeletVersion": "v1.36.2", "kubeProxyVersion": "",
                "operatingSystem": "", "architecture": ""}}
    })
}

/// `path` as in `pods/status`; the object says the rest.
pub fn resource(object: &Value, path: &str) -> Resource {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let api_version = text("/apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let (resource, subresource) = path.split_once('/').unwrap_or((path, ""));
    Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: text("/metadata/namespace"),
        resource: resource.to_owned(),
        name: text("/metadata/name"),
        subresource: subresource.to_owned(),
        rest: String::new(),
    }
}

/// A write by the cluster's administrator, by the rules of this release.
pub fn write<'a>(object: &Value, resource: &'a Resource, release: u16) -> Write<'a> {
    let kind = object["kind"].as_str().unwrap();
    let served = Kind::find(&resource.group, &resource.version, kind)
        .map_or(Served::Custom { status: true }, Served::BuiltIn);
    Write { resource, served, release: Release::minor(release), node: None }
}

/// Applies a patch as the administrator.
pub fn patch(object: &Value, path: &str, form: Form, patch: &Value) -> Result<Value, Status> {
    let resource = resource(object, path);
    let write = write(object, &resource, 36);
    match patch::patch(object, &write, form, patch.to_string().as_bytes())? {
        Outcome::Stored(object) => Ok(object),
        Outcome::Removed(object) => panic!("removed: {object}"),
    }
}

/// Replaces an object as the administrator.
pub fn put(object: &Value, path: &str, body: Value) -> Result<Value, Status> {
    let resource = resource(object, path);
    Ok(patch::update(object, &write(object, &resource, 36), body)?.object().clone())
}

/// Code and message of an answer.
pub fn answer(result: Result<Value, Status>) -> String {
    let status = result.expect_err("it was taken");
    format!("{} {}", status.code, status.message)
}

/// The object with one member changed.
pub fn with(object: &Value, pointer: &str, value: Value) -> Value {
    let mut object = object.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
    object
}
