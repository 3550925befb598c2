//! GC and STATUS, driven as libcni does: it keeps the attachments, sends DEL for those no longer valid, then GC.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::node::{Node, ip};

/// The part of a runtime that remembers attachments.
struct Libcni<'a> {
    node: &'a Node,
    network: Value,
    /// Container id to pod.
    attached: BTreeMap<String, String>,
}

impl Libcni<'_> {
    fn new(node: &Node) -> Libcni<'_> {
        Libcni { node, network: node.dual(), attached: BTreeMap::new() }
    }

    fn add(&mut self, pod: &str, container: &str) -> Vec<std::net::IpAddr> {
        self.attached.insert(container.to_owned(), pod.to_owned());
        self.node.up(&self.network, pod, container)
    }

    /// DEL for cached attachments that are not valid, then GC with the list under both names.
    fn gc(&mut self, valid: &[&str]) -> crate::node::Output {
        let gone: Vec<_> =
            self.attached.clone().into_iter().filter(|(id, _)| !valid.contains(&id.as_str())).collect();
        for (container, pod) in gone {
            self.node.about("DEL", &self.network, &pod, &container).env("CNI_NETNS", "").run().silent();
            self.attached.remove(&container);
        }
        self.send_gc(valid)
    }

    fn send_gc(&self, valid: &[&str]) -> crate::node::Output {
        let list: Vec<Value> =
            valid.iter().map(|id| json!({ "containerID": id, "ifname": "eth0" })).collect();
        let mut network = self.network.clone();
        network["cni.dev/valid-attachments"] = json!(list);
        network["cni.dev/attachments"] = json!(list);
        let call = self.node.call("GC", &network);
        ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]
            .iter()
            .fold(call, |call, name| call.without(name))
            .run()
    }
}

#[test]
fn gc_parks_what_no_attachment_names_and_leaves_the_rest() {
    let node = Node::new();
    let mut runtime = Libcni::new(&node);
    let homes: Vec<_> = (0..6).map(|n| runtime.add(&format!("p{n}"), &format!("c{n}"))).collect();
    // Two that libcni itself has forgotten: no DEL for them.
    runtime.attached.remove("c1");
    runtime.attached.remove("c4");
    ["c1", "c4", "c5"].iter().for_each(|container| node.kill(container));
    let said = runtime.gc(&["c0", "c2", "c3"]);
    said.silent();
    assert!(said.stderr.contains("2 leases"), "{said:?}");
    let left: Vec<String> = node.lease_files().into_values().collect();
    assert_eq!(left.len(), 6);
    assert!(left.iter().all(|owner| ["c0\r\neth0", "c2\r\neth0", "c3\r\neth0"].contains(&owner.as_str())));
    // Parked, not freed: newcomers get others, the pods come home.
    assert!(!homes.contains(&node.up(&runtime.network, "new", "n")));
    for n in [4, 1, 5] {
        assert_eq!(node.up(&runtime.network, &format!("p{n}"), &format!("again-{n}")), homes[n]);
    }
    let again = runtime.send_gc(&["c0", "c2", "c3", "n", "again-4", "again-1", "again-5"]);
    again.silent();
    assert!(!again.stderr.contains("leases"), "{again:?}");
}

#[test]
fn gc_looks_at_the_interface_too() {
    let node = Node::new();
    let mut runtime = Libcni::new(&node);
    runtime.add("web", "c1");
    let network = runtime.network.clone();
    node.about("ADD", &network, "web", "c1").env("CNI_IFNAME", "net1").run().ok();
    runtime.send_gc(&["c1"]).silent();
    assert!(node.lease_files().into_values().all(|owner| owner == "c1\r\neth0"));
}

#[test]
fn gc_of_everything_empties_the_directory() {
    let node = Node::new();
    let mut runtime = Libcni::new(&node);
    (0..3).for_each(|n| drop(runtime.add(&format!("p{n}"), &format!("c{n}"))));
    node.plant("10.1.0.14", "stranger\r\neth0");
    node.plant("10.1.0.13", "stranger-of-old");
    runtime.send_gc(&[]).silent();
    assert!(node.lease_files().is_empty());
}

#[test]
fn gc_without_a_list_is_refused_for_it_would_empty_the_network() {
    let node = Node::new();
    let mut runtime = Libcni::new(&node);
    runtime.add("web", "c1");
    let said = node.call("GC", &runtime.network).run();
    let (code, msg) = said.refused();
    assert_eq!(code, 7);
    assert!(msg.contains("cni.dev/valid-attachments"), "{msg}");
    for list in [
        json!("c1"),
        json!({}),
        json!([{ "containerID": "c1" }]),
        json!([1]),
        json!([{ "containerID": 5, "ifname": "eth0" }]),
    ] {
        let mut network = runtime.network.clone();
        network["cni.dev/valid-attachments"] = list;
        assert_eq!(node.call("GC", &network).run().refused().0, 7);
    }
    assert_eq!(node.lease_files().len(), 2);
}

#[test]
fn gc_touches_no_other_network() {
    let node = Node::new();
    let mut runtime = Libcni::new(&node);
    runtime.add("web", "c1");
    let mut other = node.network(&["10.2.0.0/28"]);
    other["name"] = json!("other");
    node.up(&other, "web", "c1");
    runtime.send_gc(&[]).silent();
    assert!(node.data().join("other/10.2.0.2").exists());
}

#[test]
fn status_fails_only_when_nothing_can_be_handed_out() {
    let node = Node::new();
    let network = node.small();
    let status = || node.call("STATUS", &network).run();
    status().silent();
    (0..13).for_each(|n| drop(node.up(&network, &format!("p{n}"), &format!("c{n}"))));
    let full = "failed to allocate for range 0: no IP addresses available in range set: 10.1.0.1-10.1.0.14";
    status().assert_refused(50, full);
    node.down(&network, "p3", "c3");
    status().silent();
    assert_eq!(node.up(&network, "x", "x"), [ip("10.1.0.5")]);
    status().assert_refused(50, full);
}

#[test]
fn status_fails_when_one_of_several_sets_is_full() {
    let node = Node::new();
    let network = node.network(&["fd00:1::/64", "10.1.0.0/30"]);
    node.call("STATUS", &network).run().silent();
    node.up(&network, "a", "a");
    let (code, msg) = node.call("STATUS", &network).run().refused();
    assert_eq!(code, 50);
    assert!(msg.contains("10.1.0.1-10.1.0.2"), "{msg}");
}

#[test]
fn after_a_reboot_everything_counts_as_usable_again() {
    let mut node = Node::new();
    let network = node.small();
    (0..13).for_each(|n| drop(node.up(&network, &format!("p{n}"), &format!("c{n}"))));
    node.call("STATUS", &network).run().refused();
    node.reboot();
    node.call("STATUS", &network).run().silent();
}

#[test]
fn status_changes_nothing() {
    let node = Node::new();
    let network = node.dual();
    node.up(&network, "web", "c1");
    let look = || (crate::node::files(&node.leases()), std::fs::read(node.state().join("journal")).unwrap());
    let before = look();
    (0..5).for_each(|_| node.call("STATUS", &network).run().silent());
    assert!(look() == before);
}
