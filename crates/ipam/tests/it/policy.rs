//! The keys of our own, `ipam.retain` and the file for the whole node.

use serde_json::{Value, json};

use crate::node::{Node, ip};

fn with(mut network: Value, retain: Value) -> Value {
    network["ipam"]["retain"] = retain;
    network
}

fn add_with_uid(node: &Node, network: &Value, container: &str, uid: &str) -> Vec<std::net::IpAddr> {
    node.sandbox(container);
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID={uid}");
    node.about("ADD", network, "web", container).env("CNI_ARGS", &args).run().addresses()
}

#[test]
fn with_key_uid_a_pod_made_anew_is_another_pod() {
    let mut node = Node::new();
    let network = with(node.dual(), json!({ "key": "uid" }));
    let first = add_with_uid(&node, &network, "c1", "one");
    node.down(&network, "web", "c1");
    assert_eq!(add_with_uid(&node, &network, "c2", "one"), first);
    node.reboot();
    let second = add_with_uid(&node, &network, "c3", "two");
    assert_ne!(second, first);
    // The address of the pod that was replaced is the first to be used again, although there are parked ones.
    (0..11).for_each(|n| drop(node.up(&network, &format!("p{n}"), &format!("p{n}"))));
    node.down(&network, "p0", "p0");
    assert_eq!(node.up(&network, "x", "x")[0], first[0]);
}

#[test]
fn with_hold_0s_an_address_is_free_as_soon_as_it_is_released() {
    let node = Node::new();
    let network = with(node.small(), json!({ "hold": "0s" }));
    for n in 0..30 {
        let pod = format!("p{n}");
        let got = node.up(&network, &pod, &pod);
        assert_eq!(got, [ip(&format!("10.1.0.{}", n % 13 + 2))], "round robin, as stock host-local");
        node.down(&network, &pod, &pod);
    }
}

#[test]
fn with_reclaim_never_a_parked_address_waits_for_its_pod() {
    let node = Node::new();
    let network = with(node.small(), json!({ "reclaim": "never" }));
    (0..13).for_each(|n| drop(node.up(&network, &format!("p{n}"), &format!("c{n}"))));
    node.down(&network, "p4", "c4");
    let (code, msg) = node.add(&network, "x", "x").refused();
    assert_eq!(code, 999);
    assert!(msg.contains("no IP addresses available in range set: 10.1.0.1-10.1.0.14"), "{msg}");
    node.call("STATUS", &network).run().assert_refused(50, &msg);
    let asks = node.about("ADD", &network, "x", "x").env("CNI_ARGS", "IP=10.1.0.6").run();
    assert_eq!(asks.refused().0, 999, "nor to one who asks for it");
    assert_eq!(node.up(&network, "p4", "c4-again"), [ip("10.1.0.6")]);
}

#[test]
fn with_repeat_add_error_a_repeated_add_is_refused_as_by_stock_host_local() {
    let node = Node::new();
    let network = with(node.dual(), json!({ "repeatAdd": "error" }));
    let home = node.up(&network, "web", "c1");
    node.add(&network, "web", "c1").assert_refused(
        999,
        "failed to allocate for range 0: 10.1.0.2 has been allocated to c1, duplicate allocation is not allowed",
    );
    node.about("CHECK", &network, "web", "c1").run().silent();
    assert_eq!(node.lease_files().len(), 2, "the refusal takes nothing away");
    // A second interface and a new sandbox are no repetition.
    let other = node.about("ADD", &network, "web", "c1").env("CNI_IFNAME", "net1").run().addresses();
    assert_ne!(other, home);
    node.down(&network, "web", "c1");
    assert_eq!(node.up(&network, "web", "c2"), home);
}

#[test]
fn max_gone_bounds_what_is_kept_of_pods_that_do_not_come_back() {
    let mut node = Node::new();
    let network = with(node.network(&["10.1.0.0/24"]), json!({ "key": "uid", "maxGone": 2 }));
    for n in 0..6 {
        add_with_uid(&node, &network, &format!("c{n}"), &format!("uid-{n}"));
        node.reboot();
    }
    // Of the six, the last is parked by the reboot, two are gone and kept, three have ended: their addresses are
    // free again when the round robin comes by.
    node.plant("last_reserved_ip.0", "10.1.0.254");
    let got: Vec<_> = (0..4).map(|n| node.up(&network, &format!("p{n}"), &format!("p{n}"))[0]).collect();
    assert_eq!(got, ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.8"].map(ip));
}

#[test]
fn an_unknown_key_of_ours_is_refused_by_name_and_those_of_others_are_not_looked_at() {
    let node = Node::new();
    let mut network = with(node.dual(), json!({ "hodl": "7d" }));
    let (code, msg) = node.call("ADD", &network).run().refused();
    assert_eq!(code, 7);
    assert!(msg.contains("ipam.retain") && msg.contains("\"hodl\""), "{msg}");
    network["ipam"]["retain"] = json!({ "hold": "a week" });
    let (code, msg) = node.call("ADD", &network).run().refused();
    assert_eq!(code, 7);
    assert!(msg.contains("hold") && msg.contains("a week"), "{msg}");
    let mut network = node.dual();
    network["ipam"]["someone-elses"] = json!({ "deep": [1, { "retain": 7 }] });
    network["prevResult"] = json!("nonsense");
    network["dns"] = json!(5);
    node.call("ADD", &network).run().ok();
}

#[test]
fn the_nodes_file_speaks_where_the_network_is_silent() {
    let node = Node::new();
    let file = node.dir.join("ipam.json");
    std::fs::write(&file, r#"{"repeatAdd":"error","hold":"0s"}"#).unwrap();
    node.up(&node.dual(), "web", "c1");
    node.add(&node.dual(), "web", "c1").refused();
    node.add(&with(node.dual(), json!({ "repeatAdd": "same" })), "web", "c1").ok();
}

#[test]
fn a_nodes_file_that_cannot_be_read_is_named_but_lets_sandboxes_go() {
    let node = Node::new();
    let network = node.dual();
    node.up(&network, "web", "c1");
    let file = node.dir.join("ipam.json");
    for content in ["{", "[]", r#"{"holdd":"1h"}"#, r#"{"stateDir":"relative"}"#] {
        std::fs::write(&file, content).unwrap();
        let (code, msg) = node.call("ADD", &network).run().refused();
        assert_eq!(code, 7, "{msg}");
        assert!(msg.contains(file.to_str().unwrap()), "{msg}");
    }
    let said = node.about("DEL", &network, "web", "c1").run();
    said.silent();
    assert!(said.stderr.contains(file.to_str().unwrap()), "{said:?}");
    assert!(node.lease_files().is_empty());
}

#[test]
fn the_nodes_file_can_move_the_state() {
    let mut node = Node::new();
    let elsewhere = node.dir.join("elsewhere");
    let text = json!({ "stateDir": elsewhere.join("s"), "runDir": elsewhere.join("r") }).to_string();
    std::fs::write(node.dir.join("ipam.json"), text).unwrap();
    let network = node.dual();
    let call = |node: &Node, container: &str| {
        node.sandbox(container);
        let call = node.about("ADD", &network, "web", container);
        call.without("EDGEKEEP_STATE_DIR").without("EDGEKEEP_RUN_DIR").run().addresses()
    };
    let home = call(&node, "c1");
    assert!(elsewhere.join("s/net/journal").exists() && elsewhere.join("r/net").exists());
    assert!(!node.state().exists());
    node.reboot();
    node.wipe_data();
    assert_eq!(call(&node, "c2"), home);
}

#[test]
fn hold_counts_time_that_the_node_is_up() {
    let mut node = Node::new();
    let network = with(node.small(), json!({ "hold": "1s" }));
    let home = node.up(&network, "web", "c1");
    node.up(&network, "db", "c2");
    // A boot of which the machine has seen more than a second already.
    node.reboot();
    assert_eq!(node.up(&network, "web", "c3"), [ip("10.1.0.4")], "round robin goes on; nothing is held");
    node.plant("last_reserved_ip.0", "10.1.0.14");
    assert_eq!(node.up(&network, "new", "n"), home);
    let week = with(node.small(), json!({ "hold": "36500d" }));
    node.down(&week, "new", "n");
    assert_eq!(node.up(&week, "new", "n2"), home);
}

#[test]
fn a_status_sees_addresses_whose_hold_has_passed_as_an_add_would() {
    let node = Node::new();
    let mut network = node.small();
    network["cniVersion"] = json!("1.1.0");
    network["ipam"]["retain"] = json!({ "hold": "0s", "reclaim": "never" });
    let mut holding = network.clone();
    holding["ipam"]["retain"]["hold"] = json!("forever");
    let mut pods = 0;
    while node.add(&holding, &format!("p{pods}"), &format!("c{pods}")).exit == Some(0) {
        pods += 1;
    }
    for n in 0..pods {
        node.down(&holding, &format!("p{n}"), &format!("c{n}"));
    }
    assert_eq!(
        node.call("STATUS", &holding).run().refused().0,
        50,
        "held for ever, and never to be reclaimed"
    );
    node.call("STATUS", &network).run().silent();
}

#[test]
fn a_typo_in_the_policy_keeps_no_pod_from_ending() {
    let node = Node::new();
    let mut network = node.dual();
    node.up(&network, "web", "c1");
    network["ipam"]["retain"] = json!({ "hodl": "1h" });
    assert!(node.add(&network, "db", "c2").refused().1.contains("hodl"));
    node.down(&network, "web", "c1");
    assert!(node.lease_files().is_empty());
}
