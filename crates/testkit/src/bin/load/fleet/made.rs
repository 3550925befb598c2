//! What of a node stands in the cloud before the cut.

use serde_json::{Value, json};

use crate::target::whole;
use crate::{Result, Target, objects, stage};

/// Pods of a node, and how many of them have ended by the time the link is back.
pub(super) const PODS: u32 = 10;
pub(super) const ENDED: u32 = 3;
/// Events of a node.
pub(super) const EVENTS: u32 = 10;

const JSON: (&str, &str) = ("content-type", "application/json");
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");

pub(super) fn node_name(at: u32) -> String {
    format!("edge-{at}")
}

pub(super) fn pod_path(at: u32, pod: u32) -> String {
    format!("/api/v1/namespaces/default/pods/n{at}-app-{pod}")
}

/// How kubelet tells a pod to be, at another address in each round.
pub(super) fn status(at: u32, pod: u32, round: u32) -> Value {
    let mut status = stage::status(pod, at % 250, round);
    if let Some(members) = status.as_object_mut() {
        members.insert("hostIP".to_owned(), "192.0.2.2".into());
    }
    status
}

/// The node's conditions, as kubelet writes them.
pub(super) fn conditions(seconds: u32) -> Value {
    let condition = |name: &str, status: &str| {
        json!({"type": name, "status": status, "reason": "KubeletSays", "message": "kubelet says so",
            "lastHeartbeatTime": moment(seconds), "lastTransitionTime": moment(0)})
    };
    json!([
        condition("MemoryPressure", "False"),
        condition("DiskPressure", "False"),
        condition("PIDPressure", "False"),
        condition("Ready", "True")
    ])
}

/// Some second of a day; later ones are later.
pub(super) fn moment(seconds: u32) -> String {
    format!("2026-11-01T{:02}:{:02}:{:02}Z", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

/// Makes a node and its pods, of which some are to end.
pub(super) async fn node(mut admin: Target, at: u32) -> Result<()> {
    let name = node_name(at);
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"conditions": conditions(0), "addresses": [{"type": "InternalIP", "address": "192.0.2.2"}]}});
    write(&mut admin, "POST", "/api/v1/nodes", JSON, &node).await?;
    for pod in 0..PODS {
        let mut object = objects::pod(pod);
        let path = pod_path(at, pod);
        let (collection, pod_name) = path.rsplit_once('/').ok_or("no name")?;
        for (place, member, value) in
            [("/metadata", "name", Value::from(pod_name)), ("/spec", "nodeName", name.as_str().into())]
        {
            if let Some(members) = object.pointer_mut(place).and_then(Value::as_object_mut) {
                members.insert(member.to_owned(), value);
            }
        }
        write(&mut admin, "POST", collection, JSON, &object).await?;
        let status = json!({"status": status(at, pod, 1)});
        write(&mut admin, "PATCH", &format!("{path}/status"), MERGE, &status).await?;
        if pod < ENDED {
            write(&mut admin, "DELETE", &path, JSON, &json!({"gracePeriodSeconds": 3600})).await?;
        }
    }
    Ok(())
}

/// Sends an object, and returns what came back.
pub(super) async fn write(
    target: &mut Target,
    method: &str,
    path: &str,
    content_type: (&str, &str),
    body: &Value,
) -> Result<Value> {
    let headers = [content_type, ("accept", "application/json")];
    let answer = whole(target.send(method, path, &headers, body.to_string().into()).await?).await;
    Ok(serde_json::from_slice(&answer.map_err(|error| format!("{method} {path}: {error}"))?)?)
}
