//! What ADD prints: in each version's shape, for one and several range sets, with routes and DNS.

use serde_json::{Value, json};

use crate::node::{Node, VERSIONS};

/// A network with routes of both families.
fn routed(node: &Node, version: &str) -> Value {
    let mut network = node.dual();
    network["cniVersion"] = json!(version);
    network["ipam"]["routes"] = json!([
        { "dst": "0.0.0.0/0" },
        { "dst": "10.9.0.7/16", "gw": "10.1.0.1", "mtu": 1400, "advmss": 1360, "priority": 5, "table": 0, "scope": 0 },
        { "dst": "::/0", "gw": "fd00:1::1", "mtu": 0 },
    ]);
    network
}

#[test]
fn each_version_gets_its_own_shape() {
    let node = Node::new();
    let mid_route = json!({
        "dst": "10.9.0.7/16", "gw": "10.1.0.1", "mtu": 1400, "advmss": 1360, "priority": 5, "table": 0, "scope": 0
    });
    for (at, version) in VERSIONS.iter().enumerate() {
        let said =
            node.about("ADD", &routed(&node, version), &format!("web-{at}"), &format!("c{at}")).run().ok();
        let (v4, v6) = (format!("10.1.0.{}/28", at + 2), format!("fd00:1::{}/64", at + 2));
        let expected = match at {
            0 | 1 => json!({
                "cniVersion": version,
                "ip4": { "ip": v4, "gateway": "10.1.0.1",
                    "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "10.9.0.7/16", "gw": "10.1.0.1" }] },
                "ip6": { "ip": v6, "gateway": "fd00:1::1", "routes": [{ "dst": "::/0", "gw": "fd00:1::1" }] },
                "dns": {},
            }),
            2..=4 => json!({
                "cniVersion": version,
                "ips": [
                    { "version": "4", "address": v4, "gateway": "10.1.0.1" },
                    { "version": "6", "address": v6, "gateway": "fd00:1::1" },
                ],
                "routes": [{ "dst": "0.0.0.0/0" }, mid_route, { "dst": "::/0", "gw": "fd00:1::1" }],
                "dns": {},
            }),
            _ => json!({
                "cniVersion": version,
                "ips": [
                    { "address": v4, "gateway": "10.1.0.1" },
                    { "address": v6, "gateway": "fd00:1::1" },
                ],
                "routes": [{ "dst": "0.0.0.0/0" }, mid_route, { "dst": "::/0", "gw": "fd00:1::1" }],
            }),
        };
        assert_eq!(said, expected, "{version}");
    }
}

#[test]
fn the_document_is_indented_and_ends_without_a_newline() {
    let node = Node::new();
    let said = node.add(&node.small(), "web", "c1");
    let golden = "{\n    \"cniVersion\": \"1.1.0\",\n    \"ips\": [\n        {\n            \"address\": \"10.1.0.2/28\",\n            \
                  \"gateway\": \"10.1.0.1\"\n        }\n    ]\n}";
    assert_eq!(said.stdout, golden);
}

#[test]
fn addresses_come_in_the_order_of_the_range_sets() {
    let node = Node::new();
    let mut network = node.network(&["fd00:2::/64", "10.2.0.0/24"]);
    network["ipam"]["subnet"] = json!("10.3.0.0/24");
    network["runtimeConfig"] = json!({ "ipRanges": [[{ "subnet": "10.4.0.0/24" }]] });
    let said = node.up(&network, "web", "c1");
    assert_eq!(
        said.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.4.0.2", "10.3.0.2", "fd00:2::2", "10.2.0.2"]
    );
    // The cursors are numbered so too.
    assert_eq!(std::fs::read_to_string(node.leases().join("last_reserved_ip.2")).unwrap(), "fd00:2::2");
}

#[test]
fn mask_and_gateway_are_those_of_the_range_that_held_the_address() {
    let node = Node::new();
    let mut network = node.small();
    network["ipam"]["ranges"] = json!([[
        { "subnet": "10.1.0.0/30" },
        { "subnet": "10.2.0.0/24", "rangeStart": "10.2.0.9", "rangeEnd": "10.2.0.9", "gateway": "10.2.0.254" },
    ]]);
    let first = node.about("ADD", &network, "a", "c1").run().ok();
    assert_eq!(first["ips"], json!([{ "address": "10.1.0.2/30", "gateway": "10.1.0.1" }]));
    let second = node.about("ADD", &network, "b", "c2").run().ok();
    assert_eq!(second["ips"], json!([{ "address": "10.2.0.9/24", "gateway": "10.2.0.254" }]));
    let third = node.about("ADD", &network, "c", "c3").run();
    third.refused();
}

#[test]
fn the_explicit_ends_of_a_range_are_handed_out_even_where_they_are_network_and_broadcast() {
    let node = Node::new();
    let mut network = node.small();
    network["ipam"]["ranges"] =
        json!([[{ "subnet": "10.1.0.0/30", "rangeStart": "10.1.0.0", "rangeEnd": "10.1.0.3" }]]);
    let got: Vec<String> =
        (0..3).map(|n| node.up(&network, &format!("p{n}"), &format!("c{n}"))[0].to_string()).collect();
    assert_eq!(got, ["10.1.0.0", "10.1.0.2", "10.1.0.3"], "the gateway is left out");
}

#[test]
fn dns_settings_come_from_the_file_named_and_from_nowhere_else() {
    let node = Node::new();
    let file = node.dir.join("resolv.conf");
    std::fs::write(
        &file,
        "# comment\nnameserver 10.0.0.53\n nameserver fd00::53 \ndomain a.example\ndomain b.example\n\
         search x.example y.example\nsearch z.example\noptions ndots:5 rotate\noptions\nlookup file bind\n",
    )
    .unwrap();
    let mut network = node.small();
    network["ipam"]["resolvConf"] = json!(file);
    let said = node.about("ADD", &network, "web", "c1").run().ok();
    assert_eq!(
        said["dns"],
        json!({
            "nameservers": ["10.0.0.53", "fd00::53"], "domain": "b.example",
            "search": ["x.example", "y.example", "z.example"], "options": ["ndots:5", "rotate"],
        })
    );
    // Read on ADD only, and before anything is given away.
    std::fs::remove_file(&file).unwrap();
    node.about("CHECK", &network, "web", "c1").run().silent();
    let (code, msg) = node.about("ADD", &network, "db", "c2").run().refused();
    assert_eq!(code, 999);
    assert!(msg.contains(file.to_str().unwrap()), "{msg}");
    assert_eq!(node.lease_files().len(), 1);
    node.about("DEL", &network, "web", "c1").run().silent();
}

#[test]
fn a_route_without_destination_is_refused_and_named() {
    let node = Node::new();
    let mut network = node.small();
    network["ipam"]["routes"] = json!([{ "dst": "0.0.0.0/0" }, { "gw": "10.1.0.1" }]);
    let (code, msg) = node.call("ADD", &network).run().refused();
    assert_eq!(code, 999);
    assert!(msg.contains("ipam.routes[1]"), "{msg}");
    assert!(node.lease_files().is_empty());
}

#[test]
fn ipv6_addresses_with_many_leading_zeros_stay_ipv6() {
    let node = Node::new();
    let network = node.network(&["::a00:0/112"]);
    let said = node.about("ADD", &network, "web", "c1").run().ok();
    assert_eq!(said["ips"][0]["address"], "::a00:2/112");
    assert!(node.leases().join("::a00:2").exists());
}

#[test]
fn keys_match_in_any_case_and_the_last_one_wins() {
    let node = Node::new();
    let text = format!(
        r#"{{"CNIVERSION":"1.0.0","NAME":"net","ipam":{{"ranges":[]}},"IPAM":{{"Subnet":"10.7.0.0/24",
            "SUBNET":"10.8.0.0/24","DataDir":{}}}}}"#,
        json!(node.data())
    );
    let said = node.call("ADD", &json!({})).stdin(text).run().ok();
    assert_eq!(said["ips"][0]["address"], "10.8.0.2/24");
    assert_eq!(said["cniVersion"], "1.0.0");
}

#[test]
fn leases_have_the_bytes_and_modes_of_host_local() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::new();
    node.add(&node.dual(), "web", "c1").ok();
    let mode = |name: &str| std::fs::metadata(node.leases().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(node.lease_files().into_values().collect::<Vec<_>>(), ["c1\r\neth0", "c1\r\neth0"]);
    assert_eq!(mode("10.1.0.2"), 0o600);
    assert_eq!(mode("lock"), 0o750);
    assert_eq!(mode("."), 0o755);
    assert_eq!(std::fs::read_to_string(node.leases().join("last_reserved_ip.0")).unwrap(), "10.1.0.2");
    assert_eq!(std::fs::read_to_string(node.leases().join("last_reserved_ip.1")).unwrap(), "fd00:1::2");
    let names: Vec<String> = crate::node::files(&node.leases()).into_keys().collect();
    assert_eq!(names, ["10.1.0.2", "fd00:1::2", "last_reserved_ip.0", "last_reserved_ip.1", "lock"]);
}
