//! Every configuration in the documents is one that the plugin loads, after what its main plugin does to it.

// A test: where something is not there that must be, to end at that line is the answer.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

use cni::retain::NodeFile;
use cni::{Call, Env, Json};

/// The fenced JSON blocks of a document.
fn blocks(name: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)).unwrap();
    let parts = text.split("```json\n").skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

fn get<'a>(json: &'a Json, key: &str) -> Option<&'a Json> {
    let Json::Object(members) = json else { return None };
    members.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

fn set(json: &mut Json, key: &str, value: Json) {
    let Json::Object(members) = json else { panic!("no object") };
    members.retain(|(name, _)| name != key);
    members.push((key.to_owned(), value));
}

fn is(json: &Json, key: &str, text: &str) -> bool {
    get(json, key) == Some(&Json::text(text))
}

/// What the main plugin hands to the IPAM plugin, or `None` where it has none.
fn delegated(network: &Json, plugin: &Json) -> Option<Json> {
    let mut config = plugin.clone();
    for key in ["name", "cniVersion"] {
        let value = get(network, key).cloned().unwrap_or(Json::text("0.3.1"));
        set(&mut config, key, value);
    }
    let mut ipam = get(plugin, "ipam")?.clone();
    if is(plugin, "type", "flannel") {
        // It fills in the node's range from /run/flannel/subnet.env.
        set(&mut ipam, "ranges", Json::parse(br#"[[{"subnet":"10.244.3.0/24"}]]"#).unwrap());
    }
    if is(&ipam, "subnet", "usePodCidr") {
        // Calico puts the node's range there, for this type alone.
        assert!(is(&ipam, "type", "host-local"));
        set(&mut ipam, "subnet", Json::text("10.244.3.0/24"));
    } else {
        assert!(is(&ipam, "type", "edgekeep-ipam"));
    }
    set(&mut config, "ipam", ipam);
    Some(config)
}

fn load(config: &Json) -> Result<Call, cni::Error> {
    let env = Env::from_vars(|name| {
        let value = match name {
            "CNI_COMMAND" => "ADD",
            "CNI_CONTAINERID" => "c1",
            "CNI_NETNS" => "/run/netns/c1",
            "CNI_IFNAME" => "eth0",
            "CNI_PATH" => "/opt/cni/bin",
            _ => return None,
        };
        Some(value.to_owned())
    });
    env.request()?;
    Call::parse(&env, config.to_pretty().as_bytes())
}

#[test]
fn every_network_configuration_in_the_documents_is_loaded() {
    let mut loaded = 0;
    for document in ["docs/choosing-a-cni.md", "README.md"] {
        for block in blocks(document) {
            let mut network =
                Json::parse(block.as_bytes()).unwrap_or_else(|e| panic!("{document}: {e}: {block}"));
            if get(&network, "name").is_none() {
                // The README shows one plugin of a list.
                set(&mut network, "name", Json::text("edge"));
            }
            let plugins = match get(&network, "plugins") {
                Some(Json::List(plugins)) => plugins.clone(),
                _ => vec![network.clone()],
            };
            let configs: Vec<Json> =
                plugins.iter().filter_map(|plugin| delegated(&network, plugin)).collect();
            assert!(!configs.is_empty(), "{document}: no plugin has ipam: {block}");
            for config in configs {
                load(&config).unwrap_or_else(|e| panic!("{document}: {e:?}: {block}"));
                loaded += 1;
            }
        }
    }
    assert_eq!(loaded, 6);
}

#[test]
fn every_node_wide_configuration_in_the_documents_is_loaded() {
    for block in blocks("docs/directories.md") {
        NodeFile::parse("docs/directories.md", block.as_bytes()).unwrap();
    }
}
