//! Calls of the plugin inside, as a runtime makes them. A sandbox is an id, and a file where its network namespace would be.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::diary::Place;
use crate::machine::{Done, Machine};
use crate::node::PLUGIN;

/// A network with room for every pod that is ever named.
pub const ROOMY: &str = "roomy";
/// A network in which addresses change hands.
pub const TIGHT: &str = "tight";
/// How many addresses a family of [`TIGHT`] has.
pub const TIGHT_SIZE: usize = 13;

fn config(network: &str) -> Value {
    let ranges = match network {
        TIGHT => json!([[{"subnet": "10.2.0.0/28"}], [{"subnet": "fd00:2::/124", "rangeEnd": "fd00:2::e"}]]),
        _ => json!([[{"subnet": "10.1.0.0/16"}], [{"subnet": "fd00:1::/112"}]]),
    };
    json!({
        "cniVersion": "1.0.0", "name": network, "type": "bridge",
        "ipam": {"type": "edgekeep-ipam", "ranges": ranges},
    })
}

/// Calls the plugin for the sandbox `container` of a pod.
///
/// # Errors
///
/// There is no answer.
pub async fn call(
    machine: &Machine,
    verb: &str,
    place: &Place,
    container: &str,
    unflushed: bool,
) -> Result<Done> {
    let netns = format!("/run/netns/{container}");
    let mut order = json!({
        "argv": [PLUGIN],
        "env": {
            "CNI_COMMAND": verb, "CNI_CONTAINERID": container, "CNI_NETNS": netns, "CNI_IFNAME": "eth0",
            "CNI_PATH": "/opt/cni/bin",
            "CNI_ARGS": format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", place.pod),
        },
        "stdin": config(&place.network).to_string(),
        "unflushed": unflushed,
    });
    let file = if verb == "ADD" { "makes" } else { "removes" };
    if let Some(order) = order.as_object_mut() {
        order.insert(file.into(), netns.into());
    }
    machine.order(order).await
}

/// The addresses in the answer to an ADD.
///
/// # Errors
///
/// It failed, or names none of either family.
pub fn addresses(done: &Done, place: &Place) -> Result<Vec<String>> {
    let result = done.clone().success(&format!("ADD of {place}"))?;
    let result: Value = serde_json::from_str(&result).with_context(|| format!("no result: {result}"))?;
    let ips = result.get("ips").and_then(Value::as_array).into_iter().flatten();
    let texts = ips.filter_map(|ip| ip.get("address").and_then(Value::as_str));
    let addresses: Vec<String> =
        texts.map(|text| text.split_once('/').map_or(text, |(address, _)| address).to_owned()).collect();
    if addresses.len() != 2 { bail!("ADD of {place} gave {addresses:?}") } else { Ok(addresses) }
}
