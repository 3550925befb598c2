//! Stands in for the CNI plugin of flannel: builds the configuration of the main plugin from what flanneld left in
//! /run, keeps it on disk under the container's id, and replays what it kept at DEL, whatever the configuration says
//! by then.
//!
//! Built from the contract of the real one (`host-local.md` §7), which Debian does not package.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, io};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value, json};

/// What flanneld says of this node's subnet.
const SUBNET: &str = "/run/flannel/subnet.env";
/// Where the finished configurations are kept.
const KEPT: &str = "/var/lib/cni/flannel";

/// Plays the plugin.
pub fn play() -> Result<ExitCode> {
    let mut stdin = String::new();
    io::stdin().read_to_string(&mut stdin)?;
    match variable("CNI_COMMAND")?.as_str() {
        "ADD" => {
            let delegated = delegated(&serde_json::from_str(&stdin)?, &read_subnet()?)?.to_string();
            keep(&delegated)?;
            delegate(&delegated)
        }
        "DEL" => del(),
        "VERSION" => {
            println!(r#"{{"cniVersion":"1.0.0","supportedVersions":["0.3.0","0.3.1","0.4.0","1.0.0"]}}"#);
            Ok(ExitCode::SUCCESS)
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("no {name} in the environment"))
}

fn kept() -> Result<PathBuf> {
    Ok(Path::new(KEPT).join(variable("CNI_CONTAINERID")?))
}

fn keep(text: &str) -> Result<()> {
    fs::create_dir_all(KEPT)?;
    let mut file = File::create(kept()?)?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

/// A file that is not there, or not whole, is success without a word to anybody.
fn del() -> Result<ExitCode> {
    let path = kept()?;
    let Ok(text) = fs::read_to_string(&path) else { return Ok(ExitCode::SUCCESS) };
    if serde_json::from_str::<Value>(&text).is_err() {
        return Ok(ExitCode::SUCCESS);
    }
    let status = delegate(&text)?;
    if status == ExitCode::SUCCESS {
        fs::remove_file(&path)?;
    }
    Ok(status)
}

/// Runs the main plugin that the configuration names; its words are ours.
fn delegate(text: &str) -> Result<ExitCode> {
    let config: Value = serde_json::from_str(text)?;
    let plugin =
        config.get("type").and_then(Value::as_str).ok_or_else(|| anyhow!("no type to delegate to"))?;
    let path = variable("CNI_PATH")?;
    let program = path.split(':').map(|place| Path::new(place).join(plugin)).find(|program| program.exists());
    let program = program.ok_or_else(|| anyhow!("failed to find plugin {plugin:?} in path {path}"))?;
    let mut child = Command::new(program).stdin(Stdio::piped()).spawn()?;
    child.stdin.take().ok_or_else(|| anyhow!("no pipe to {plugin}"))?.write_all(text.as_bytes())?;
    Ok(if child.wait()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_subnet() -> Result<BTreeMap<String, String>> {
    let text =
        fs::read_to_string(SUBNET).with_context(|| format!("loadFlannelSubnetEnv failed: open {SUBNET}"))?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Ok(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

/// The main plugin's configuration.
fn delegated(config: &Value, subnet: &BTreeMap<String, String>) -> Result<Value> {
    let given = config.get("delegate").and_then(Value::as_object).cloned().unwrap_or_default();
    if given.contains_key("name") || given.contains_key("ipam") {
        bail!("'delegate' dictionary must not have 'name' or 'ipam' field, it'll be set by flannel");
    }
    let mut made = given;
    for key in ["name", "cniVersion", "runtimeConfig"] {
        if let Some(value) = config.get(key) {
            made.insert(key.to_owned(), value.clone());
        }
    }
    made.entry("type").or_insert_with(|| json!("bridge"));
    let masquerades = subnet.get("FLANNEL_IPMASQ").is_some_and(|value| value == "true");
    made.entry("ipMasq").or_insert_with(|| json!(!masquerades));
    if let Some(mtu) = subnet.get("FLANNEL_MTU").and_then(|value| value.parse::<u64>().ok()) {
        made.entry("mtu").or_insert_with(|| json!(mtu));
    }
    if made.get("type") == Some(&json!("bridge")) {
        made.entry("isGateway").or_insert_with(|| json!(true));
    }
    made.insert("ipam".to_owned(), ipam(config, subnet)?);
    Ok(Value::Object(made))
}

fn ipam(config: &Value, subnet: &BTreeMap<String, String>) -> Result<Value> {
    let mut ipam: Map<String, Value> =
        config.get("ipam").and_then(Value::as_object).cloned().unwrap_or_default();
    ipam.entry("type").or_insert_with(|| json!("host-local"));
    let (mut ranges, mut routes) = (Vec::new(), Vec::new());
    if let Some(Value::Array(own)) = ipam.get("routes") {
        routes.clone_from(own);
    }
    for family in ["", "IPV6_"] {
        if let Some(own) = subnet.get(&format!("FLANNEL_{family}SUBNET")) {
            ranges.push(json!([{"subnet": network(own)?}]));
        }
        let networks = subnet.get(&format!("FLANNEL_{family}NETWORK")).map_or("", String::as_str);
        routes.extend(networks.split(',').filter(|one| !one.is_empty()).map(|one| json!({"dst": one})));
    }
    ipam.insert("ranges".to_owned(), Value::Array(ranges));
    ipam.insert("routes".to_owned(), Value::Array(routes));
    Ok(Value::Object(ipam))
}

/// The network that an address with its prefix length lies in.
fn network(text: &str) -> Result<String> {
    let wrong = || anyhow!("{text} is no address with a prefix length");
    let (address, length) = text.split_once('/').ok_or_else(wrong)?;
    let bits: u32 = length.parse().ok().ok_or_else(wrong)?;
    let network = match address.parse().ok().ok_or_else(wrong)? {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32u32.checked_sub(bits).ok_or_else(wrong)?).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128u32.checked_sub(bits).ok_or_else(wrong)?).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    };
    Ok(format!("{network}/{bits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet() -> BTreeMap<String, String> {
        let pairs = [
            ("FLANNEL_NETWORK", "10.244.0.0/16"),
            ("FLANNEL_SUBNET", "10.244.3.1/24"),
            ("FLANNEL_MTU", "1450"),
            ("FLANNEL_IPMASQ", "true"),
        ];
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn the_whole_migration_is_the_type_at_the_top() {
        let config = json!({
            "name": "cbr0", "cniVersion": "0.3.1", "type": "flannel",
            "ipam": {"type": "edgekeep-ipam", "retain": {"hold": "7d"}},
            "delegate": {"isDefaultGateway": true}, "prevResult": {}, "args": {}
        });
        let expected = json!({
            "name": "cbr0", "cniVersion": "0.3.1", "type": "bridge", "isDefaultGateway": true, "isGateway": true,
            "ipMasq": false, "mtu": 1450,
            "ipam": {
                "type": "edgekeep-ipam", "retain": {"hold": "7d"},
                "ranges": [[{"subnet": "10.244.3.0/24"}]], "routes": [{"dst": "10.244.0.0/16"}]
            }
        });
        assert_eq!(delegated(&config, &subnet()).unwrap(), expected);
    }

    #[test]
    fn a_delegate_that_brings_its_own_ipam_is_refused() {
        assert!(delegated(&json!({"delegate": {"ipam": {}}}), &subnet()).is_err());
    }

    #[test]
    fn host_bits_are_masked_in_both_families() {
        assert_eq!(network("10.244.0.65/26").unwrap(), "10.244.0.64/26");
        assert_eq!(network("fd00::1/122").unwrap(), "fd00::/122");
        assert!(network("10.0.0.1/33").is_err());
    }
}
