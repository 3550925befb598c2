//! Whether the cloud and its nodes show the same.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use serde_json::Value;

use crate::cloud::Cloud;
use crate::fields::text_at;
use crate::verdict::none_of;

/// Whether the cloud has given up all nodes: `Unknown`, and not one of their pods ready.
///
/// # Errors
///
/// It has not yet.
pub fn is_lost(cloud: &Cloud) -> Result<String> {
    let (nodes, pods) = (items(cloud, "nodes")?, items(cloud, "pods")?);
    let known = nodes.iter().filter(|node| ready(node) != "Unknown").count();
    let up = pods.iter().filter(|pod| ready(pod) == "True").count();
    match (known, up) {
        (0, 0) => Ok(format!("none of {} pods for ready", pods.len())),
        _ => bail!("{known} nodes are not lost yet, {up} pods are ready"),
    }
}

/// Whether each node and pod of the cloud, but for its version, is what its hub shows, told by kubelet, and every event is
/// there.
///
/// # Errors
///
/// Something differs.
pub fn agree(cloud: &Cloud, shown: &[Value]) -> Result<String> {
    let (nodes, pods) = (items(cloud, "nodes")?, items(cloud, "pods")?);
    let mut there: BTreeMap<String, Value> = BTreeMap::new();
    for object in nodes.iter().chain(&pods) {
        there.insert(name(object), plain(object));
    }
    let all = there.len();
    let mut differ = Vec::new();
    for hub in shown {
        let pods = hub.pointer("/pods/items").and_then(Value::as_array).into_iter().flatten();
        let node = hub.get("node").ok_or_else(|| anyhow!("a hub shows no node"))?;
        if ready(node) != "True" {
            differ.push(format!("{} is shown as {}", name(node), ready(node)));
        }
        for object in pods.chain([node]) {
            let told = object.pointer("/status/podIP").and_then(Value::as_str);
            // The third part of the address is the round in which it was given: the second, while the link was cut.
            if told.is_some_and(|ip| ip.split('.').nth(2) != Some("2")) {
                differ.push(format!("{} is shown at {told:?}", name(object)));
            }
            let here = plain(object);
            match there.remove(&name(object)) {
                Some(there) if there == here => {}
                other => differ.push(format!("{}: here {here}, there {other:?}", name(object))),
            }
        }
    }
    differ.extend(there.keys().map(|name| format!("{name} is only in the cloud")));
    let events = items(cloud, "events")?;
    let events = events.iter().filter(|event| text_at(event, "/reason").is_ok_and(|why| why == "Unhealthy"));
    let events = events.count();
    if events != shown.len() * 10 {
        differ.push(format!("{events} events"));
    }
    differ.truncate(5);
    none_of(&differ, format!("{all} nodes and pods, {events} events"))
}

fn items(cloud: &Cloud, resource: &str) -> Result<Vec<Value>> {
    // For nodes kubectl takes no notice of the namespace.
    let mut list = cloud.get(&[resource, "--namespace=default"])?;
    match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => Ok(items),
        _ => bail!("no list of {resource}"),
    }
}

/// The object without its version, which the hub counts by itself, and without what a list leaves out.
fn plain(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(members) = object.as_object_mut() {
        members.remove("kind");
        members.remove("apiVersion");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    object
}

fn name(object: &Value) -> String {
    text_at(object, "/metadata/name").unwrap_or_default().to_owned()
}

fn ready(object: &Value) -> &str {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let is_it = |condition: &&Value| text_at(condition, "/type").is_ok_and(|name| name == "Ready");
    conditions.filter(is_it).find_map(|condition| condition.get("status")?.as_str()).unwrap_or_default()
}
