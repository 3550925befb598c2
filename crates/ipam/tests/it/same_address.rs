//! P1: every sandbox made for a pod gets the same addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::{Value, json};
use testkit::rng::Rng;

use crate::node::{Node, ip};

/// Brings up `count` pods and says who got what.
fn start(node: &Node, network: &Value, count: usize) -> BTreeMap<String, Vec<IpAddr>> {
    let pods = (0..count).map(|n| format!("pod-{n}"));
    pods.map(|pod| (pod.clone(), node.up(network, &pod, &format!("{pod}-{}", node.boot)))).collect()
}

/// Brings the pods up again in a random order, with as many newcomers in between as the pool allows, and checks
/// that each is at home.
fn return_home(
    node: &Node,
    network: &Value,
    pods: &BTreeMap<String, Vec<IpAddr>>,
    newcomers: usize,
    seed: u64,
) {
    let mut rng = Rng::new(seed);
    let new = (0..newcomers).map(|n| format!("new-{n}-{}", node.boot));
    let mut order: Vec<String> = pods.keys().cloned().chain(new).collect();
    rng.shuffle(&mut order);
    let mut seen = BTreeSet::new();
    for pod in &order {
        let got = node.up(network, pod, &format!("{pod}-{}", node.boot));
        if let Some(home) = pods.get(pod) {
            assert_eq!(got, *home, "{pod} in order {order:?}");
        }
        assert!(got.iter().all(|address| seen.insert(*address)), "{pod} shares {got:?}");
    }
}

#[test]
fn p1_a_new_sandbox_after_a_del_has_the_old_addresses() {
    let node = Node::new();
    let network = node.dual();
    let pods = start(&node, &network, 5);
    for round in 0..3 {
        for (pod, home) in &pods {
            let old = if round == 0 { format!("{pod}-boot-0") } else { format!("{pod}-{}", round - 1) };
            node.down(&network, pod, &old);
            assert_eq!(node.up(&network, pod, &format!("{pod}-{round}")), *home);
        }
    }
}

#[test]
fn p1_all_pods_stopped_and_started_in_another_order_beside_newcomers_are_at_home() {
    let mut node = Node::new();
    let network = node.dual();
    let pods = start(&node, &network, 9);
    pods.keys().for_each(|pod| node.down(&network, pod, &format!("{pod}-boot-0")));
    node.boot = "boot-0".into();
    return_home(&node, &network, &pods, 4, 1);
}

#[test]
fn p1_after_a_reboot_without_a_word_all_pods_are_at_home_whatever_was_wiped() {
    // What the distribution keeps of dataDir and what a power cut took, in all combinations.
    for wipe in [false, true] {
        for seed in 0..3 {
            let mut node = Node::new();
            let network = node.dual();
            let pods = start(&node, &network, 9);
            for boot in 0..2 {
                node.reboot();
                if wipe {
                    node.wipe_data();
                }
                return_home(&node, &network, &pods, 2, seed * 10 + boot);
            }
        }
    }
}

#[test]
fn p1_a_lost_run_directory_under_one_boot_changes_nothing() {
    let node = Node::new();
    let network = node.dual();
    let pods = start(&node, &network, 5);
    std::fs::remove_dir_all(node.run_dir()).unwrap();
    for (pod, home) in &pods {
        let container = format!("{pod}-boot-0");
        node.about("CHECK", &network, pod, &container).run().silent();
        assert_eq!(node.about("ADD", &network, pod, &container).run().addresses(), *home);
    }
    assert_eq!(node.up(&network, "new", "n")[0], ip("10.1.0.7"));
}

#[test]
fn p1_a_del_that_comes_after_the_new_sandboxs_add_takes_nothing_away() {
    let node = Node::new();
    let network = node.dual();
    let home = node.up(&network, "web", "old");
    // The runtime lost the sandbox: namespace gone, no DEL yet.
    node.kill("old");
    assert_eq!(node.up(&network, "web", "new"), home);
    for _ in 0..2 {
        node.about("DEL", &network, "web", "old").env("CNI_NETNS", "").run().silent();
    }
    node.about("CHECK", &network, "web", "new").run().silent();
    assert_eq!(node.lease_files().into_values().collect::<Vec<_>>(), ["new\r\neth0", "new\r\neth0"]);
    assert_ne!(node.up(&network, "db", "other"), home);
}

#[test]
fn p1_dels_of_the_old_boots_sandboxes_come_late_and_change_nothing() {
    let mut node = Node::new();
    let network = node.dual();
    let pods = start(&node, &network, 4);
    node.reboot();
    // kubelet first tears down what it remembers, some before and some after the new sandbox is up.
    for (n, (pod, home)) in pods.iter().enumerate() {
        let del = node.about("DEL", &network, pod, &format!("{pod}-boot-0")).env("CNI_NETNS", "");
        if n % 2 == 0 {
            del.run().silent();
        }
        assert_eq!(node.up(&network, pod, &format!("{pod}-boot-1")), *home);
        del.run().silent();
    }
    assert_eq!(node.lease_files().len(), 8);
}

#[test]
fn p1_several_interfaces_of_one_pod_keep_their_own_addresses() {
    let mut node = Node::new();
    let network = node.dual();
    let add = |node: &Node, container: &str, ifname: &str| {
        node.sandbox(container);
        node.about("ADD", &network, "web", container).env("CNI_IFNAME", ifname).run().addresses()
    };
    let eth0 = add(&node, "c1", "eth0");
    let net1 = add(&node, "c1", "net1");
    assert_ne!(eth0, net1);
    // Taking one interface away leaves the other.
    node.about("DEL", &network, "web", "c1").env("CNI_IFNAME", "net1").run().silent();
    node.about("CHECK", &network, "web", "c1").run().silent();
    let (code, _) = node.about("CHECK", &network, "web", "c1").env("CNI_IFNAME", "net1").run().refused();
    assert_eq!(code, 999);
    node.reboot();
    assert_eq!(add(&node, "c2", "net1"), net1, "in the other order");
    assert_eq!(add(&node, "c2", "eth0"), eth0);
}

#[test]
fn p1_a_pod_in_two_networks_is_at_home_in_each() {
    let mut node = Node::new();
    let one = node.dual();
    let mut two = node.network(&["10.2.0.0/28"]);
    two["name"] = json!("storage");
    node.up(&two, "db", "c0");
    let (first, second) = (node.up(&one, "web", "c1"), node.up(&two, "web", "c1"));
    assert_eq!(second, [ip("10.2.0.3")]);
    node.down(&one, "web", "c1");
    node.sandbox("c1");
    node.about("CHECK", &two, "web", "c1").run().silent();
    node.reboot();
    node.wipe_data();
    assert_eq!(node.up(&two, "web", "c2"), second);
    assert_eq!(node.up(&one, "web", "c2"), first);
}

#[test]
fn p1_a_container_without_a_pod_restarted_under_its_id_after_a_reboot_is_at_home() {
    // nerdctl and podman: no pod names, the same container id, no DEL before.
    let mut node = Node::new();
    let network = node.dual();
    let plain = |node: &Node, container: &str| {
        let call = node.call("ADD", &network).env("CNI_CONTAINERID", container);
        call.env("CNI_NETNS", "/var/run/netns/x").run().addresses()
    };
    let (one, two) = (plain(&node, "one"), plain(&node, "two"));
    for wipe in [false, true] {
        node.reboot();
        if wipe {
            node.wipe_data();
        }
        assert_eq!(plain(&node, "two"), two);
        assert_eq!(plain(&node, "one"), one);
    }
}

#[test]
fn p1_a_repeated_add_is_answered_with_the_same_addresses() {
    // Cilium's agent asks at each of its starts, from its own network namespace, and expects what it got before.
    let node = Node::new();
    let network = node.dual();
    let ask = || {
        let call = node.about("ADD", &network, "cilium-ingress-n1", "cilium-ingress-n1");
        call.env("CNI_NETNS", "/proc/1/ns/net").env("CNI_NETNS_OVERRIDE", "1").run()
    };
    let first = ask();
    for _ in 0..3 {
        assert_eq!(ask().ok(), first.ok());
        node.up(
            &network,
            &format!("other-{}", node.lease_files().len()),
            &format!("o{}", node.lease_files().len()),
        );
    }
    let call = node.about("DEL", &network, "cilium-ingress-n1", "cilium-ingress-n1");
    call.env("CNI_NETNS", "/proc/1/ns/net").env("CNI_NETNS_OVERRIDE", "1").run().silent();
    assert_eq!(ask().ok(), first.ok());
}

#[test]
fn p1_a_pod_made_anew_under_its_name_has_the_addresses_of_its_predecessor() {
    let node = Node::new();
    let network = node.dual();
    let home = node.up(&network, "db-0", "c1");
    node.down(&network, "db-0", "c1");
    node.sandbox("c2");
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=db-0;K8S_POD_UID=quite-another";
    assert_eq!(node.about("ADD", &network, "db-0", "c2").env("CNI_ARGS", args).run().addresses(), home);
    // A pod of that name in another namespace is another pod.
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=db-0";
    assert_ne!(node.about("ADD", &network, "db-0", "c3").env("CNI_ARGS", args).run().addresses(), home);
}

#[test]
fn p1_a_failed_start_followed_by_its_del_does_not_cost_the_address() {
    // A runtime sends DEL after any ADD that failed further down the chain.
    let node = Node::new();
    let network = node.dual();
    let home = node.up(&network, "web", "c1");
    for attempt in 2..6 {
        node.down(&network, "web", &format!("c{}", attempt - 1));
        assert_eq!(node.up(&network, "web", &format!("c{attempt}")), home);
    }
}

#[test]
fn a_changed_range_is_followed_and_the_loss_is_told() {
    let mut node = Node::new();
    node.up(&node.dual(), "web", "c1");
    node.reboot();
    let moved = node.network(&["10.5.0.0/24", "fd00:1::/64"]);
    let said = node.add(&moved, "web", "c2");
    assert_eq!(said.addresses(), [ip("10.5.0.2"), ip("fd00:1::2")], "what still fits is kept");
    assert!(said.stderr.contains("default/web gives up 10.1.0.2"), "{said:?}");
    let again = node.about("ADD", &moved, "web", "c2").run();
    assert_eq!(again.addresses(), [ip("10.5.0.2"), ip("fd00:1::2")]);
    assert!(!again.stderr.contains("gives up"), "told once: {again:?}");
}

#[test]
fn a_range_that_becomes_wider_or_gains_a_family_keeps_what_was() {
    let mut node = Node::new();
    let home = node.up(&node.small(), "web", "c1");
    node.reboot();
    let wider = node.network(&["fd00:1::/64", "10.1.0.0/16"]);
    assert_eq!(node.up(&wider, "web", "c2"), [ip("fd00:1::2"), home[0]]);
    node.down(&wider, "web", "c2");
    assert_eq!(node.up(&wider, "web", "c3"), [ip("fd00:1::2"), home[0]]);
}

#[test]
fn a_del_with_calicos_ranges_releases_and_parks_as_any_other() {
    let node = Node::new();
    let network = node.dual();
    let home = node.up(&network, "web", "c1");
    let everything = node.network(&["0.0.0.0/0", "::/0"]);
    node.about("DEL", &everything, "web", "c1").run().silent();
    node.kill("c1");
    assert!(node.lease_files().is_empty());
    assert_ne!(node.up(&network, "db", "c2"), home);
    assert_eq!(node.up(&network, "web", "c3"), home);
}

#[test]
fn a_name_without_namespace_names_no_pod() {
    let node = Node::new();
    let network = node.dual();
    let add = |container: &str| {
        let call = node.about("ADD", &network, "x", container);
        call.env("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web").run().addresses()
    };
    let first = add("one");
    node.down(&network, "x", "one");
    assert_ne!(add("two"), first);
}
