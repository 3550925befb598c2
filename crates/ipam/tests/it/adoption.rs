//! Taking over what other programs left in host-local's directory, taking turns with them, and the way back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testkit::rng::Rng;

use crate::node::{Node, files, ip, stock};

#[test]
fn a_lease_of_stock_host_local_is_released_and_then_held_for_the_pod_that_it_was() {
    let node = Node::new();
    let network = node.small();
    node.plant("10.1.0.5", "c1\r\neth0");
    node.plant("10.1.0.6", "c2");
    node.about("CHECK", &network, "web", "c1").run().silent();
    node.about("CHECK", &network, "db", "c2").run().silent();
    assert_eq!(node.up(&network, "new", "n"), [ip("10.1.0.2")]);
    // Only its DEL says whose sandbox it was.
    node.down(&network, "web", "c1");
    node.down(&network, "db", "c2");
    assert_eq!(node.lease_files().len(), 1);
    assert_eq!(node.up(&network, "db", "c3"), [ip("10.1.0.6")]);
    assert_eq!(node.up(&network, "web", "c4"), [ip("10.1.0.5")]);
}

#[test]
fn p1_pods_of_adopted_leases_named_in_libcnis_cache_are_at_home_after_a_reboot() {
    let mut node = Node::new();
    let network = node.dual();
    for (n, pod) in ["web", "db"].iter().enumerate() {
        node.plant(&format!("10.1.0.{}", n + 5), &format!("{pod}-id\r\neth0"));
        node.plant(&format!("fd00:1::{}", n + 5), &format!("{pod}-id\r\neth0"));
        let cached = json!({
            "kind": "cniCacheV1", "containerId": format!("{pod}-id"), "ifName": "eth0", "networkName": "net",
            "cniArgs": [["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", "default"], ["K8S_POD_NAME", pod]],
        });
        fs::create_dir_all(node.dir.join("results")).unwrap();
        fs::write(node.dir.join(format!("results/net-{pod}-id-eth0")), cached.to_string()).unwrap();
    }
    node.up(&network, "new", "n");
    node.reboot();
    node.wipe_data();
    assert_eq!(node.up(&network, "other", "o")[0], ip("10.1.0.3"));
    assert_eq!(node.up(&network, "db", "c1"), [ip("10.1.0.6"), ip("fd00:1::6")]);
    assert_eq!(node.up(&network, "web", "c2"), [ip("10.1.0.5"), ip("fd00:1::5")]);
}

#[test]
fn a_lease_of_nobody_knows_whom_ends_with_the_boot() {
    let mut node = Node::new();
    let network = node.small();
    node.plant("10.1.0.5", "stranger\r\neth0");
    (0..12).for_each(|n| drop(node.up(&network, &format!("p{n}"), &format!("p{n}"))));
    node.add(&network, "one-more", "m").refused();
    node.reboot();
    assert_eq!(node.up(&network, "one-more", "m"), [ip("10.1.0.5")]);
}

#[test]
fn a_file_older_than_this_boots_marker_is_from_an_earlier_boot() {
    let node = Node::new();
    let network = node.small();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime = uptime.split('.').next().unwrap();
    fs::create_dir_all(node.run_dir()).unwrap();
    fs::write(node.run_dir().join("boot-marker"), format!("boot-0 {now} {uptime}\n")).unwrap();
    node.plant("10.1.0.2", "old\r\neth0");
    node.plant("10.1.0.3", "young\r\neth0");
    let file = fs::File::options().write(true).open(node.leases().join("10.1.0.2")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    drop(file);
    (0..11).for_each(|n| drop(node.up(&network, &format!("p{n}"), &format!("p{n}"))));
    assert_eq!(node.up(&network, "x", "x"), [ip("10.1.0.2")], "once nothing else is free");
    node.add(&network, "y", "y").refused();
    assert_eq!(node.lease_files()[&ip("10.1.0.3")], "young\r\neth0");
}

#[test]
fn p1_openyurts_reservations_become_bindings() {
    let mut node = Node::new();
    let network = node.small();
    node.plant("10.1.0.7_default_web", "");
    node.plant("10.1.0.8_default_db", "");
    // Of a pod that runs: both files.
    node.plant("10.1.0.8", "db-id\r\neth0");
    node.plant("10.1.0.2_kube-system_dns", "");
    assert_eq!(node.up(&network, "new", "n"), [ip("10.1.0.3")]);
    assert!(files(&node.leases()).keys().all(|name| !name.contains("_d")), "{:?}", files(&node.leases()));
    node.reboot();
    node.wipe_data();
    assert_eq!(node.up(&network, "web", "w"), [ip("10.1.0.7")]);
    assert_eq!(node.up(&network, "db", "d"), [ip("10.1.0.8")]);
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=kube-system;K8S_POD_NAME=dns";
    let dns = node.about("ADD", &network, "dns", "k").env("CNI_ARGS", args).run();
    assert_eq!(dns.addresses(), [ip("10.1.0.2")]);
}

#[test]
fn p1_openyurts_reservations_of_both_families_become_one_binding() {
    let mut node = Node::new();
    let network = node.dual();
    node.plant("10.1.0.7_default_web", "");
    node.plant("fd00:1::7_default_web", "");
    for boot in 0..3 {
        assert_eq!(node.up(&network, "web", &format!("c{boot}")), [ip("10.1.0.7"), ip("fd00:1::7")]);
        node.reboot();
    }
}

#[test]
fn a_torn_lease_file_is_recovered_and_named() {
    let node = Node::new();
    let network = node.small();
    let home = node.up(&network, "web", "c1");
    // What a crash between create and write leaves: for an address that is nobody's, and for one that is in use.
    node.plant("10.1.0.9", "");
    node.plant("10.1.0.2", "");
    let said = node.add(&network, "db", "c2");
    assert_eq!(said.addresses(), [ip("10.1.0.3")]);
    for name in ["10.1.0.9", "10.1.0.2"] {
        assert!(said.stderr.contains(node.leases().join(name).to_str().unwrap()), "{said:?}");
    }
    assert_eq!(node.lease_files()[&ip("10.1.0.2")], "c1\r\neth0", "written again");
    assert!(!node.leases().join("10.1.0.9").exists(), "free again");
    node.about("CHECK", &network, "web", "c1").run().silent();
    node.down(&network, "web", "c1");
    assert_eq!(node.up(&network, "web", "c3"), home);
}

#[test]
fn the_content_of_a_file_that_is_no_lease_is_put_aside_and_named() {
    let node = Node::new();
    let network = node.small();
    node.plant("10.1.0.2", "<html>not a lease</html>");
    let said = node.add(&network, "web", "c1");
    assert_eq!(said.addresses(), [ip("10.1.0.2")]);
    assert!(said.stderr.contains(node.leases().join("10.1.0.2").to_str().unwrap()), "{said:?}");
    let kept: Vec<String> = files(&node.state())
        .into_iter()
        .filter(|(name, _)| name.starts_with("damaged"))
        .map(|(_, content)| content)
        .collect();
    assert_eq!(kept, ["<html>not a lease</html>"]);
}

#[test]
fn strangers_files_are_left_alone() {
    let node = Node::new();
    let network = node.small();
    let strangers = ["README", "10.1.0.999", ".hidden", "10.1.0.3.bak", "1_2_3_4"];
    strangers.iter().for_each(|name| node.plant(name, "c1\r\neth0 or whatever"));
    fs::create_dir_all(node.leases().join("10.1.0.4/deep")).unwrap();
    let said = node.add(&network, "web", "c1");
    assert_eq!(said.addresses(), [ip("10.1.0.2")]);
    assert!(said.stderr.contains("10.1.0.4"), "a directory in the place of a lease is named: {said:?}");
    let got: Vec<String> =
        (0..11).map(|n| node.up(&network, &format!("p{n}"), &format!("p{n}"))[0].to_string()).collect();
    assert!(!got.contains(&"10.1.0.4".to_owned()), "{got:?}");
    node.down(&network, "web", "c1");
    strangers.iter().for_each(|name| assert!(node.leases().join(name).exists(), "{name}"));
}

#[test]
fn a_pipe_in_the_place_of_a_lease_keeps_nobody_waiting() {
    let node = Node::new();
    let network = node.small();
    node.up(&network, "web", "c1");
    let made = std::process::Command::new("mkfifo").arg(node.leases().join("10.1.0.3")).status().unwrap();
    assert!(made.success());
    let said = node.about("ADD", &network, "db", "c2").run_by(&["timeout", "-s", "KILL", "10"]);
    assert_eq!(said.addresses(), [ip("10.1.0.4")]);
    assert!(said.stderr.contains("10.1.0.3"), "{said:?}");
    node.about("DEL", &network, "web", "c1").run_by(&["timeout", "-s", "KILL", "10"]).silent();
}

/// Somebody who hands out and takes back addresses in one directory.
enum Actor {
    Ours,
    /// Stock host-local's rules, by hand.
    Model,
    /// Stock host-local itself.
    Stock(PathBuf),
}

/// Stock host-local for one range, from 2 to `last` of each of the two families.
fn model_add(node: &Node, container: &str, last: u32) -> Vec<IpAddr> {
    let form = [|n: u32| format!("10.1.0.{n}"), |n: u32| format!("fd00:1::{n:x}")];
    let mut got = Vec::new();
    for (set, form) in form.iter().enumerate() {
        let cursor = files(&node.leases()).remove(&format!("last_reserved_ip.{set}"));
        let at = (2..=last).find(|n| cursor.as_deref() == Some(form(*n).as_str())).unwrap_or(1);
        let order = (at + 1..=last).chain(2..=at);
        let free = order.into_iter().find(|n| !node.leases().join(form(*n)).exists()).unwrap();
        node.plant(&form(free), &format!("{container}\r\neth0"));
        node.plant(&format!("last_reserved_ip.{set}"), &form(free));
        got.push(ip(&form(free)));
    }
    got
}

fn model_del(node: &Node, container: &str) {
    for (address, owner) in node.lease_files() {
        if owner == format!("{container}\r\neth0") {
            fs::remove_file(node.leases().join(address.to_string())).unwrap();
        }
    }
}

impl Actor {
    fn add(&self, node: &Node, network: &Value, pod: &str, container: &str, last: u32) -> Vec<IpAddr> {
        node.sandbox(container);
        let call = node.about("ADD", network, pod, container);
        match self {
            Actor::Ours => call.run().addresses(),
            Actor::Model => model_add(node, container, last),
            Actor::Stock(path) => call.program(path).run().addresses(),
        }
    }

    fn del(&self, node: &Node, network: &Value, pod: &str, container: &str) {
        let call = node.about("DEL", network, pod, container);
        match self {
            Actor::Ours => call.run().silent(),
            Actor::Model => model_del(node, container),
            Actor::Stock(path) => call.program(path).run().silent(),
        }
        node.kill(container);
    }

    fn check(&self, node: &Node, network: &Value, pod: &str, container: &str) {
        let call = node.about("CHECK", network, pod, container);
        match self {
            Actor::Ours => call.run().silent(),
            Actor::Model => {}
            Actor::Stock(path) => call.program(path).run().silent(),
        }
    }
}

/// Lets two actors take turns at random. After every call the directory holds exactly the leases of the sandboxes
/// that run; a pod that only ours has served comes home.
fn take_turns(other: &Actor, subnet: &str, last: u32, steps: u32, seed: u64) {
    let node = Node::new();
    let mut network = node.network(&[subnet, "fd00:1::/124"]);
    network["cniVersion"] = json!("1.0.0");
    if last > 14 {
        network["ipam"]["ranges"][1][0]["subnet"] = json!("fd00:1::/64");
    }
    let mut rng = Rng::new(seed);
    let mut running: BTreeMap<String, (String, Vec<IpAddr>)> = BTreeMap::new();
    let mut home: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for step in 0..steps {
        let pod = format!("pod-{}", rng.below(9));
        let ours = rng.chance(50);
        let actor = if ours { &Actor::Ours } else { other };
        match running.get(&pod).cloned() {
            Some((container, _)) if rng.chance(30) => actor.check(&node, &network, &pod, &container),
            Some((container, _)) => {
                actor.del(&node, &network, &pod, &container);
                running.remove(&pod);
            }
            None => {
                let container = format!("{pod}-{step}");
                let got = actor.add(&node, &network, &pod, &container, last);
                if !ours {
                    home.remove(&pod);
                } else if let Some(home) = home.get(&pod).filter(|_| last > 14) {
                    assert_eq!(got, *home, "{pod} in step {step}, seed {seed}");
                }
                if ours {
                    home.insert(pod.clone(), got.clone());
                }
                running.insert(pod, (container, got));
            }
        }
        let expected: BTreeMap<IpAddr, String> = running
            .values()
            .flat_map(|(container, got)| got.iter().map(move |ip| (*ip, format!("{container}\r\neth0"))))
            .collect();
        assert_eq!(expected.len(), running.len() * 2, "shared in step {step}, seed {seed}: {running:?}");
        assert_eq!(node.lease_files(), expected, "step {step}, seed {seed}");
    }
}

#[test]
fn p2_turns_with_the_rules_of_stock_host_local_stay_right() {
    for seed in 0..3 {
        take_turns(&Actor::Model, "10.1.0.0/28", 14, 60, seed);
        take_turns(&Actor::Model, "10.1.0.0/24", 254, 60, seed + 100);
    }
}

#[test]
fn p2_turns_with_stock_host_local_itself_stay_right() {
    let Some(stock) = stock() else { return };
    take_turns(&Actor::Stock(stock.clone()), "10.1.0.0/28", 14, 80, 7);
    take_turns(&Actor::Stock(stock), "10.1.0.0/24", 254, 80, 8);
}

#[test]
fn p2_stock_host_local_first_after_a_reboot_takes_nothing_that_is_then_given_twice() {
    let stock = stock().map_or(Actor::Model, Actor::Stock);
    for wipe in [false, true] {
        let mut node = Node::new();
        let mut network = node.dual();
        network["cniVersion"] = json!("1.0.0");
        let homes: Vec<_> = (0..6).map(|n| node.up(&network, &format!("p{n}"), &format!("c{n}"))).collect();
        node.reboot();
        if wipe {
            node.wipe_data();
        }
        let taken = [stock.add(&node, &network, "s0", "s0", 14), stock.add(&node, &network, "s1", "s1", 14)];
        let mut seen: BTreeSet<IpAddr> = taken.iter().flatten().copied().collect();
        for (n, home) in homes.iter().enumerate() {
            let got = node.up(&network, &format!("p{n}"), &format!("again{n}"));
            assert!(got.iter().all(|ip| seen.insert(*ip)), "{got:?} twice, wiped: {wipe}");
            if !taken.iter().flatten().any(|ip| home.contains(ip)) {
                assert_eq!(got, *home, "wiped: {wipe}");
            }
        }
    }
}

#[test]
fn after_edgekeep_is_taken_away_the_directory_is_what_stock_host_local_expects() {
    let mut node = Node::new();
    let mut network = node.dual();
    network["cniVersion"] = json!("1.0.0");
    let homes: Vec<_> = (0..5).map(|n| node.up(&network, &format!("p{n}"), &format!("c{n}"))).collect();
    node.down(&network, "p1", "c1");
    node.down(&network, "p3", "c3");
    // Nothing but the leases of those that run, the cursors and the lock: parked addresses are free to stock.
    let names: Vec<String> = files(&node.leases()).into_keys().collect();
    assert_eq!(
        names,
        [
            "10.1.0.2",
            "10.1.0.4",
            "10.1.0.6",
            "fd00:1::2",
            "fd00:1::4",
            "fd00:1::6",
            "last_reserved_ip.0",
            "last_reserved_ip.1",
            "lock"
        ]
    );
    assert_eq!(fs::read_to_string(node.leases().join("last_reserved_ip.0")).unwrap(), "10.1.0.6");
    assert_eq!(fs::read_to_string(node.leases().join("last_reserved_ip.1")).unwrap(), "fd00:1::6");
    fs::remove_dir_all(node.dir.join("state")).unwrap();
    fs::remove_dir_all(node.run_dir()).unwrap();
    let Some(stock) = stock() else { return };
    node.program = stock;
    node.about("CHECK", &network, "p0", "c0").run().silent();
    assert_eq!(node.up(&network, "new", "n")[0], ip("10.1.0.7"));
    for n in [0, 2, 4] {
        node.down(&network, &format!("p{n}"), &format!("c{n}"));
    }
    node.down(&network, "new", "n");
    assert!(node.lease_files().is_empty());
    // And back again: the round robin goes on, nothing is left over.
    node.program = crate::node::OURS.into();
    let again = node.up(&network, "p0", "c9");
    assert_eq!(again[0], ip("10.1.0.8"));
    assert!(!homes.contains(&again));
}
