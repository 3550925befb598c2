//! A miniature kube-proxy, under kubelet's name: follows services and their endpoints through the hub. They are stored in
//! batches and owed to nobody; but what is answered must be all there is.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use serde_json::Value;
use testkit::cloud::contract::client::{Client, Target};

/// What it follows, each a set whose members stay the same.
pub const SETS: [&str; 2] = ["/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"];
/// How many members a set has.
pub const MEMBERS: usize = 12;

/// Lists a set and watches it until that ends; then again, also from a hub that was started anew.
///
/// # Errors
///
/// It never fails: whoever runs beside it decides when it is over.
pub async fn follow(target: &Target, path: &str) -> Result<()> {
    loop {
        // What goes wrong here goes right the next time, or is seen by kubelet, too.
        let _again = once(target, path).await;
        tokio::time::sleep(super::kubelet::PAUSE).await;
    }
}

async fn once(target: &Target, path: &str) -> Result<(), String> {
    let client = Client::connect(target).await?;
    let list = client.get(path).await?;
    let version = list.json.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or("0");
    let mut events = client.watch(&format!("{path}?watch=true&resourceVersion={version}")).await?;
    while events.next().await?.is_some() {}
    Ok(())
}

/// What is wrong with the sets as the hub answers them.
///
/// # Errors
///
/// There is no answer.
pub async fn broken(target: &Target) -> Result<Vec<String>> {
    let client = Client::connect(target).await.map_err(|e| anyhow!(e))?;
    let mut broken = Vec::new();
    for path in SETS {
        let reply = client.get(path).await.map_err(|e| anyhow!(e))?;
        let items = reply.json.get("items").and_then(Value::as_array).into_iter().flatten();
        let names: BTreeSet<&str> =
            items.filter_map(|item| item.pointer("/metadata/name")?.as_str()).collect();
        match reply.code {
            200 if names.len() == MEMBERS => {}
            200 => broken.push(format!("{path} is answered with {} of {MEMBERS}: {names:?}", names.len())),
            // It is not known, and says so.
            503 => {}
            _ => broken.push(format!("{path}: {}", reply.text())),
        }
    }
    Ok(broken)
}
