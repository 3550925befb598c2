//! Addresses that somebody asks for: configuration, runtime, or an annotation of the pod.

use serde_json::{Value, json};

use crate::node::{Call, Node, ip};

const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

fn asking(node: &Node, container: &str, args: &str, network: &Value) -> Call {
    node.call("ADD", network).env("CNI_CONTAINERID", container).env("CNI_ARGS", args)
}

#[test]
fn every_source_is_heard_and_the_prefix_length_means_nothing() {
    let node = Node::new();
    assert_eq!(asking(&node, "a", "IP=10.1.0.9", &node.dual()).run().addresses()[0], ip("10.1.0.9"));
    let mut network = node.dual();
    network["args"] = json!({ "cni": { "ips": ["10.1.0.10/8"] } });
    let said = asking(&node, "b", "", &network).run();
    assert_eq!(said.ok()["ips"][0]["address"], "10.1.0.10/28");
    let mut network = node.dual();
    network["runtimeConfig"] = json!({ "ips": ["fd00:1::77", "10.1.0.11"] });
    let said = asking(&node, "c", "IP=", &network).run();
    assert_eq!(said.addresses(), [ip("10.1.0.11"), ip("fd00:1::77")]);
    let mut network = node.dual();
    network["runtimeConfig"] = json!({ "ips": ["10.1.0.12"] });
    network["args"] = json!({ "cni": { "ips": ["10.1.0.12/28", "fd00:1::78"] } });
    let said = asking(&node, "d", "IP=10.1.0.12", &network).run();
    assert_eq!(said.addresses(), [ip("10.1.0.12"), ip("fd00:1::78")], "equal ones count once");
    // A requested address moves the round robin.
    assert_eq!(node.up(&node.dual(), "web", "e")[0], ip("10.1.0.13"));
}

#[test]
fn a_pods_annotation_asks_where_the_runtime_passes_it() {
    let node = Node::new();
    let mut network = node.dual();
    network["runtimeConfig"] = json!({ ANNOTATIONS: {
        "edgekeep.io/ips": "10.1.0.9, fd00:1::9 ,192.0.2.1", "other": "10.1.0.3" } });
    assert_eq!(node.up(&network, "web", "c1"), [ip("10.1.0.9"), ip("fd00:1::9")]);
    // What the runtime asks for outright speaks for its range set.
    let mut network = network.clone();
    network["runtimeConfig"][ANNOTATIONS]["edgekeep.io/ips"] = json!("10.1.0.10,fd00:1::10");
    network["args"] = json!({ "cni": { "ips": ["10.1.0.12"] } });
    assert_eq!(node.up(&network, "db", "c2"), [ip("10.1.0.12"), ip("fd00:1::10")]);
    // Another key, and none.
    let mut renamed = node.dual();
    renamed["runtimeConfig"] =
        json!({ ANNOTATIONS: { "edgekeep.io/ips": "10.1.0.7", "example.org/ip": "10.1.0.8" } });
    renamed["ipam"]["retain"] = json!({ "ipAnnotation": "example.org/ip" });
    assert_eq!(node.up(&renamed, "x", "c3")[0], ip("10.1.0.8"));
    renamed["ipam"]["retain"] = json!({ "ipAnnotation": "" });
    assert_ne!(node.up(&renamed, "y", "c4")[0], ip("10.1.0.7"));
}

#[test]
fn an_annotation_that_cannot_be_read_is_named() {
    let node = Node::new();
    let mut network = node.dual();
    network["runtimeConfig"] = json!({ ANNOTATIONS: { "edgekeep.io/ips": "10.1.0.9,banana" } });
    let (code, msg) = node.add(&network, "web", "c1").refused();
    assert_eq!(code, 999);
    assert!(msg.contains("edgekeep.io/ips") && msg.contains("\"banana\""), "{msg}");
    assert!(node.lease_files().is_empty());
}

#[test]
fn the_gateway_is_not_given() {
    let node = Node::new();
    asking(&node, "a", "IP=10.1.0.1", &node.dual())
        .run()
        .assert_refused(999, "failed to allocate for range 0: requested ip 10.1.0.1 is subnet's gateway");
}

#[test]
fn an_address_in_use_is_not_given() {
    let node = Node::new();
    node.up(&node.dual(), "web", "c1");
    asking(&node, "a", "IP=fd00:1::2", &node.dual()).run().assert_refused(
        999,
        "failed to allocate for range 1: requested IP address fd00:1::2 is not available in range set \
         fd00:1::1-fd00:1::ffff:ffff:ffff:ffff",
    );
    assert_eq!(node.lease_files().len(), 2, "nothing of the failed ADD is left");
}

#[test]
fn what_fits_no_range_is_said_to_be_left_over() {
    let node = Node::new();
    let mut network = node.dual();
    network["args"] = json!({ "cni": { "ips": ["10.1.0.9", "192.0.2.1", "10.1.0.10"] } });
    let (code, msg) = asking(&node, "a", "", &network).run().refused();
    assert_eq!((code, msg.as_str()), (999, "failed to allocate all requested IPs: 192.0.2.1 10.1.0.10"));
    assert!(node.lease_files().is_empty());
}

#[test]
fn entries_that_are_no_addresses_are_refused() {
    let node = Node::new();
    let with = |ips: Value| {
        let mut network = node.dual();
        network["runtimeConfig"] = json!({ "ips": ips });
        asking(&node, "a", "", &network).run().refused()
    };
    assert_eq!(with(json!([""])), (999, "cannot understand ip: IP <nil> not v4 nor v6".into()));
    let (code, msg) = with(json!(["10.1.0.9", null]));
    assert_eq!(code, 999);
    assert!(msg.contains("runtimeConfig.ips[1]"), "{msg}");
    assert_eq!(with(json!(["banana"])).0, 999);
    assert_eq!(with(json!("10.1.0.9")).0, 999);
    assert!(node.lease_files().is_empty());
}

#[test]
fn a_parked_address_is_given_to_whoever_asks_for_it_and_its_pod_gets_another() {
    let node = Node::new();
    let network = node.small();
    let web = node.up(&network, "web", "c1");
    node.down(&network, "web", "c1");
    let said = asking(&node, "c2", "IP=10.1.0.2", &network).run();
    assert_eq!(said.addresses(), web);
    assert_ne!(node.up(&network, "web", "c3"), web);
}

#[test]
fn p1_a_pod_that_asked_once_comes_home_to_it_without_asking() {
    let mut node = Node::new();
    let network = node.dual();
    let mut asks = network.clone();
    asks["args"] = json!({ "cni": { "ips": ["10.1.0.9", "fd00:1::99"] } });
    let asked = node.up(&asks, "web", "c1");
    node.reboot();
    assert_eq!(node.up(&network, "web", "c2"), asked);
    // Asking again for one's own address is fine, and for another moves there.
    assert_eq!(node.up(&asks, "web", "c2"), asked);
    asks["args"]["cni"]["ips"] = json!(["10.1.0.5"]);
    node.down(&network, "web", "c2");
    assert_eq!(node.up(&asks, "web", "c3"), [ip("10.1.0.5"), ip("fd00:1::99")]);
}

#[test]
fn an_address_whose_sandbox_vanished_without_a_del_is_still_its_pods() {
    let node = Node::new();
    let network = node.small();
    let home = node.up(&network, "web", "c1");
    node.kill("c1");
    let (code, msg) = asking(&node, "c2", "IP=10.1.0.2", &network).run().refused();
    assert_eq!(code, 999);
    assert!(msg.contains("requested IP address 10.1.0.2 is not available"), "{msg}");
    assert_eq!(node.up(&network, "web", "c3"), home);
}
