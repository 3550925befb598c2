//! Many processes at once, and processes that are killed: nothing shared, nothing lost, nothing leaked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::rng::Rng;

use crate::node::{Node, Output, Running};

/// Calls made at once: as many processes as there are calls.
fn at_once(calls: Vec<Running>) -> Vec<Output> {
    calls.into_iter().map(Running::wait).collect()
}

/// The addresses of every lease file, by container; each must name its container and interface.
fn leases_by_container(node: &Node) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let mut by: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for (address, owner) in node.lease_files() {
        let container = owner.strip_suffix("\r\neth0").unwrap_or_else(|| panic!("{address}: {owner:?}"));
        by.entry(container.to_owned()).or_default().insert(address);
    }
    by
}

/// After DEL of everything, newcomers can be given every address of the pool.
fn assert_nothing_leaked(node: &Node, network: &Value, size: usize) {
    assert_eq!(node.lease_files(), BTreeMap::new());
    let given: BTreeSet<IpAddr> =
        (0..size).map(|n| node.up(network, &format!("last-{n}"), &format!("last-{n}"))[0]).collect();
    assert_eq!(given.len(), size, "every address once");
    let (code, msg) = node.add(network, "one-more", "one-more").refused();
    assert_eq!(code, 999);
    assert!(msg.contains("no IP addresses available"), "{msg}");
}

#[test]
fn p2_48_pods_at_once_get_48_addresses_and_come_home_at_once() {
    let mut node = Node::new();
    let network = node.network(&["10.1.0.0/26", "fd00:1::/64"]);
    let start = |node: &Node, tag: &str| {
        let calls = (0..48).map(|n| {
            let container = format!("{tag}-{n}");
            node.sandbox(&container);
            node.about("ADD", &network, &format!("pod-{n}"), &container).start()
        });
        let said = at_once(calls.collect());
        said.iter().map(Output::addresses).collect::<Vec<_>>()
    };
    let first = start(&node, "a");
    assert_eq!(first.iter().flatten().collect::<BTreeSet<_>>().len(), 96);
    assert_eq!(start(&node, "a"), first, "all asked again");
    let calls = (0..48).map(|n| node.about("DEL", &network, &format!("pod-{n}"), &format!("a-{n}")).start());
    at_once(calls.collect()).iter().for_each(Output::silent);
    assert!(node.lease_files().is_empty());
    (0..48).for_each(|n| node.kill(&format!("a-{n}")));
    assert_eq!(start(&node, "b"), first, "after all were stopped");
    node.reboot();
    node.wipe_data();
    assert_eq!(start(&node, "c"), first, "after a reboot");
}

#[test]
fn p2_adds_dels_checks_and_status_at_once_do_not_disturb_each_other() {
    let node = Node::new();
    let network = node.network(&["10.1.0.0/26", "fd00:1::/64"]);
    let stable: Vec<_> = (0..8).map(|n| node.up(&network, &format!("s{n}"), &format!("s{n}"))).collect();
    (0..16).for_each(|n| drop(node.up(&network, &format!("r0-{n}"), &format!("r0-{n}"))));
    for round in 0..4 {
        let mut calls = Vec::new();
        for n in 0..16 {
            let (old, new) = (format!("r{round}-{n}"), format!("r{}-{n}", round + 1));
            node.sandbox(&new);
            calls.push(node.about("ADD", &network, &new, &new).start());
            calls.push(node.about("DEL", &network, &old, &old).start());
            let s = format!("s{}", n % 8);
            let command = if n % 2 == 0 { "CHECK" } else { "STATUS" };
            calls.push(node.about(command, &network, &s, &s).start());
        }
        let said = at_once(calls);
        let mut seen: BTreeSet<IpAddr> = stable.iter().flatten().copied().collect();
        for one in said.chunks(3) {
            assert!(one[0].addresses().into_iter().all(|ip| seen.insert(ip)), "round {round}: {:?}", one[0]);
            one[1].silent();
            one[2].silent();
        }
        (0..16).for_each(|n| node.kill(&format!("r{round}-{n}")));
        assert_eq!(leases_by_container(&node).len(), 24);
    }
}

#[test]
fn p2_the_last_addresses_are_given_to_as_many_as_there_are() {
    let node = Node::new();
    let network = node.small();
    let calls = (0..48).map(|n| {
        node.sandbox(&format!("c{n}"));
        node.about("ADD", &network, &format!("p{n}"), &format!("c{n}")).start()
    });
    let said = at_once(calls.collect());
    let (given, refused): (Vec<_>, Vec<_>) = said.iter().partition(|one| one.exit == Some(0));
    assert_eq!(given.iter().flat_map(|one| one.addresses()).collect::<BTreeSet<_>>().len(), 13);
    assert_eq!(refused.len(), 35);
    refused.iter().for_each(|one| assert_eq!(one.refused().0, 999));
    assert_eq!(node.lease_files().len(), 13);
}

/// What one pod's runtime knows.
struct Pod {
    name: String,
    /// The sandbox that was answered, with its addresses.
    live: Option<(String, Vec<IpAddr>)>,
    /// Where its last answered sandbox was, unless that is in doubt.
    home: Option<Vec<IpAddr>>,
    tried: u32,
}

/// Makes a call that may be killed on the way; `None` if it was.
fn maybe_killed(call: &crate::node::Call, rng: &mut Rng) -> Option<Output> {
    let mut running = call.start();
    if rng.chance(60) {
        let until = Instant::now() + Duration::from_micros(rng.below(6000));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let _ = running.child.kill();
    }
    let said = running.wait();
    said.exit.map(|_| said)
}

impl Pod {
    fn step(&mut self, node: &Node, network: &Value, rng: &mut Rng) {
        match self.live.clone() {
            Some((container, _)) => {
                let call = node.about("DEL", network, &self.name, &container);
                // A runtime repeats a DEL that did not come through.
                while maybe_killed(&call, rng).map(|said| said.silent()).is_none() {}
                node.kill(&container);
                self.live = None;
            }
            None => {
                let container = format!("{}-{}", self.name, self.tried);
                self.tried += 1;
                node.sandbox(&container);
                match maybe_killed(&node.about("ADD", network, &self.name, &container), rng) {
                    Some(said) => {
                        let got = said.addresses();
                        if let Some(home) = &self.home {
                            assert_eq!(got, *home, "{}: a binding that was answered is lost", self.name);
                        }
                        self.home = Some(got.clone());
                        self.live = Some((container, got));
                    }
                    None => {
                        // No answer: the runtime takes the sandbox down.
                        let del = node.about("DEL", network, &self.name, &container);
                        while maybe_killed(&del, rng).map(|said| said.silent()).is_none() {}
                        node.kill(&container);
                    }
                }
            }
        }
    }
}

#[test]
fn p2_p3_processes_killed_at_random_leave_nothing_shared_lost_or_leaked() {
    for seed in 0..2 {
        let node = Node::new();
        let network = node.network(&["10.1.0.0/26", "fd00:1::/64"]);
        let mut groups: Vec<Vec<Pod>> = (0..8)
            .map(|group| {
                let name = |n| format!("pod-{group}-{n}");
                (0..4).map(|n| Pod { name: name(n), live: None, home: None, tried: 0 }).collect()
            })
            .collect();
        // Eight runtimes' worth of workers, each with pods of its own.
        std::thread::scope(|scope| {
            for (group, pods) in groups.iter_mut().enumerate() {
                let (node, network) = (&node, &network);
                let mut rng = Rng::new(seed * 1000 + group as u64);
                scope.spawn(move || {
                    for _ in 0..36 {
                        let at = rng.index(pods.len());
                        pods[at].step(node, network, &mut rng);
                    }
                });
            }
        });
        let pods: Vec<&Pod> = groups.iter().flatten().collect();
        let expected: BTreeMap<String, BTreeSet<IpAddr>> = pods
            .iter()
            .filter_map(|pod| pod.live.clone())
            .map(|(container, got)| (container, got.into_iter().collect()))
            .collect();
        let all: BTreeSet<&IpAddr> = expected.values().flatten().collect();
        assert_eq!(all.len(), expected.len() * 2, "shared: {expected:?}");
        // One call that is let live mends what the killed ones left.
        node.call("STATUS", &network).run().silent();
        assert_eq!(leases_by_container(&node), expected, "seed {seed}");
        // A process killed between the journal and its answer may have bound addresses of pods that no answer named.
        // They are still that pod's.
        for pod in &pods {
            if let Some((container, got)) = &pod.live {
                assert_eq!(node.up(&network, &pod.name, container), *got);
                node.down(&network, &pod.name, container);
            }
        }
        for pod in &pods {
            let container = format!("{}-back", pod.name);
            let got = node.up(&network, &pod.name, &container);
            assert!(pod.home.as_ref().is_none_or(|home| *home == got), "{}", pod.name);
            node.down(&network, &pod.name, &container);
        }
        assert_nothing_leaked(&node, &network, 61);
    }
}
