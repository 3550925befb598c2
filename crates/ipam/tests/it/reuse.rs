//! Who loses an address when the pool is full: nobody before it is; then the longest gone, the longest parked, and last
//! those whom only a reboot stopped.

use serde_json::json;

use crate::node::{Node, ip};

#[test]
fn addresses_never_bound_go_first_round_robin() {
    let node = Node::new();
    let network = node.small();
    for n in 0..13 {
        let pod = format!("p{n}");
        assert_eq!(node.up(&network, &pod, &pod), [ip(&format!("10.1.0.{}", n + 2))]);
        node.down(&network, &pod, &pod);
    }
}

#[test]
fn under_pressure_the_longest_parked_goes_first() {
    let node = Node::new();
    let network = node.small();
    (0..13).for_each(|n| drop(node.up(&network, &format!("p{n}"), &format!("c{n}"))));
    for n in [7, 3, 11] {
        node.down(&network, &format!("p{n}"), &format!("c{n}"));
    }
    let said = node.add(&network, "x", "x");
    assert_eq!(said.addresses(), [ip("10.1.0.9")], "p7 was parked first");
    assert!(said.stderr.contains("10.1.0.9 goes to default/x: default/p7 held it"), "{said:?}");
    // Coming home renews the claim: p3 is now parked after p11.
    node.up(&network, "p3", "c3-again");
    node.down(&network, "p3", "c3-again");
    assert_eq!(node.up(&network, "y", "y"), [ip("10.1.0.13")]);
    assert_eq!(node.up(&network, "z", "z"), [ip("10.1.0.5")]);
    node.add(&network, "p7", "c7-again").refused();
}

#[test]
fn those_whom_only_the_reboot_stopped_go_last() {
    let mut node = Node::new();
    let network = node.small();
    (0..13).for_each(|n| drop(node.up(&network, &format!("p{n}"), &format!("c{n}"))));
    node.reboot();
    // One is torn down by the runtime after the boot: it is the one that gives way.
    node.about("DEL", &network, "p8", "c8").env("CNI_NETNS", "").run().silent();
    assert_eq!(node.up(&network, "new", "n"), [ip("10.1.0.10")]);
    for n in (0..13).filter(|n| *n != 8) {
        let pod = format!("p{n}");
        assert_eq!(node.up(&network, &pod, &format!("{pod}-1")), [ip(&format!("10.1.0.{}", n + 2))]);
    }
    node.add(&network, "p8", "c8-1").refused();
}

#[test]
fn a_pod_with_two_sandboxes_makes_the_older_address_the_first_to_go() {
    let node = Node::new();
    let network = node.small();
    node.up(&network, "web", "c0");
    node.up(&network, "web", "c1");
    (0..11).for_each(|n| drop(node.up(&network, &format!("p{n}"), &format!("p{n}"))));
    // Parked before the superseded one: that one still goes first, for its pod lives elsewhere.
    node.down(&network, "p5", "p5");
    node.down(&network, "web", "c0");
    assert_eq!(node.up(&network, "x", "x"), [ip("10.1.0.2")]);
    assert_eq!(node.up(&network, "y", "y"), [ip("10.1.0.9")]);
}

#[test]
fn a_binding_ends_as_a_whole() {
    let node = Node::new();
    // One family is short, the other is not.
    let network = node.dual();
    (0..13).for_each(|n| drop(node.up(&network, &format!("p{n}"), &format!("c{n}"))));
    node.down(&network, "p0", "c0");
    assert_eq!(node.up(&network, "x", "x")[0], ip("10.1.0.2"));
    node.down(&network, "p1", "c1");
    let back = node.up(&network, "p0", "c0-again");
    assert_eq!(back[0], ip("10.1.0.3"));
    assert_ne!(back[1], ip("fd00:1::2"), "no address of the ended binding is left to come home to");
}

#[test]
fn the_round_robin_goes_on_where_stock_host_local_stopped_and_ignores_garbage() {
    let node = Node::new();
    let network = node.small();
    node.plant("last_reserved_ip.0", "10.1.0.8");
    assert_eq!(node.up(&network, "a", "a"), [ip("10.1.0.9")]);
    node.plant("last_reserved_ip.0", "10.1.0.14");
    assert_eq!(node.up(&network, "b", "b"), [ip("10.1.0.2")]);
    node.plant("last_reserved_ip.0", "10.1.0.12\n");
    assert_eq!(node.up(&network, "c", "c"), [ip("10.1.0.3")], "garbage: from the beginning");
    node.plant("last_reserved_ip.0", "192.0.2.1");
    assert_eq!(node.up(&network, "d", "d"), [ip("10.1.0.4")]);
}

#[test]
fn the_ranges_of_a_set_are_filled_one_after_the_other() {
    let node = Node::new();
    let mut network = node.small();
    network["ipam"]["ranges"] = json!([[{ "subnet": "10.1.0.0/30" }, { "subnet": "10.2.0.0/30" }]]);
    assert_eq!(node.up(&network, "a", "a"), [ip("10.1.0.2")]);
    assert_eq!(node.up(&network, "b", "b"), [ip("10.2.0.2")]);
    let said = node.add(&network, "c", "c");
    said.assert_refused(
        999,
        "failed to allocate for range 0: no IP addresses available in range set: 10.1.0.1-10.1.0.2,10.2.0.1-10.2.0.2",
    );
    node.down(&network, "a", "a");
    assert_eq!(node.up(&network, "c", "c"), [ip("10.1.0.2")]);
}

#[test]
fn a_set_that_is_full_leaves_no_trace_of_the_sets_before_it() {
    let node = Node::new();
    let network = node.network(&["fd00:1::/64", "10.1.0.0/30"]);
    node.up(&network, "a", "a");
    node.add(&network, "b", "b").assert_refused(
        999,
        "failed to allocate for range 1: no IP addresses available in range set: 10.1.0.1-10.1.0.2",
    );
    assert_eq!(node.lease_files().len(), 2);
    node.down(&network, "a", "a");
    assert_eq!(node.up(&network, "b", "b"), [ip("fd00:1::3"), ip("10.1.0.2")]);
}
