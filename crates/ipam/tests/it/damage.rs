//! A journal that was cut off or changed on disk: what can be read is kept, what cannot is named.

use std::fs;
use std::net::IpAddr;
use std::ops::Range;

use serde_json::Value;
use testkit::rng::Rng;

use crate::node::{Node, files};

const PODS: usize = 5;

/// A node with bindings, and its journal as it was written.
struct Written {
    node: Node,
    network: Value,
    homes: Vec<Vec<IpAddr>>,
    journal: Vec<u8>,
    /// Where each pod's record stands.
    frames: Vec<Range<usize>>,
}

impl Written {
    fn new() -> Written {
        let node = Node::new();
        let network = node.dual();
        let homes = (0..PODS).map(|n| node.up(&network, &format!("pod-{n}"), &format!("c{n}"))).collect();
        let journal = fs::read(node.state().join("journal")).unwrap();
        let find = |from: usize, what: &[u8]| {
            journal[from..].windows(what.len()).position(|w| w == what).map(|at| from + at)
        };
        let starts: Vec<usize> =
            std::iter::successors(find(0, b"EKfr"), |at| find(at + 4, b"EKfr")).collect();
        let frames = (0..PODS)
            .map(|n| {
                let name = find(0, format!("pod-{n}").as_bytes()).unwrap();
                let start = *starts.iter().rfind(|start| **start < name).unwrap();
                let zeros =
                    name + journal[name..].windows(40).position(|w| w.iter().all(|b| *b == 0)).unwrap();
                // Frames start at multiples of eight.
                start
                    ..starts.iter().find(|start| **start > name).copied().unwrap_or(zeros.next_multiple_of(8))
            })
            .collect();
        Written { node, network, homes, journal, frames }
    }

    /// The end of what was written.
    fn end(&self) -> usize {
        self.frames.last().unwrap().end
    }

    /// Puts the journal in place, under a new boot.
    fn boot_with(&mut self, journal: &[u8]) {
        self.node.reboot();
        self.node.wipe_data();
        let _ = fs::remove_dir_all(self.node.state());
        fs::create_dir_all(self.node.state()).unwrap();
        fs::write(self.node.state().join("journal"), journal).unwrap();
    }

    /// Brings every pod up, the last first. Which came home, and what was said. Newcomers come before them, so that
    /// nobody gets a lost address back by chance.
    fn bring_up(&self) -> (Vec<bool>, String) {
        let mut home = vec![false; PODS];
        let mut stderr = String::new();
        for n in 0..PODS {
            let said = self.node.add(&self.network, &format!("new-{n}"), &format!("new-{n}"));
            said.ok();
            stderr += &said.stderr;
        }
        for n in (0..PODS).rev() {
            let said = self.node.add(&self.network, &format!("pod-{n}"), &format!("again-{n}"));
            home[n] = said.addresses() == self.homes[n];
            stderr += &said.stderr;
        }
        (home, stderr)
    }
}

/// The stretches of the journal that were reported: "N bytes at offset M of …".
fn reported(stderr: &str) -> Vec<Range<usize>> {
    let number = |text: Option<&str>| text.and_then(|word| word.parse::<usize>().ok());
    stderr
        .split(" bytes at offset ")
        .collect::<Vec<_>>()
        .windows(2)
        .filter_map(|pair| {
            let len = number(pair[0].split_whitespace().last())?;
            let start = number(pair[1].split_whitespace().next())?;
            Some(start..start + len)
        })
        .collect()
}

#[test]
fn p3_a_journal_cut_off_anywhere_keeps_every_binding_before_the_cut() {
    let mut written = Written::new();
    let mut rng = Rng::new(1);
    let mut cuts: Vec<usize> = (0..28).map(|_| rng.index(written.end())).collect();
    cuts.extend([0, 1, 63, 64, written.end() - 1, written.end()]);
    cuts.extend(written.frames.iter().map(|frame| frame.start));
    for cut in cuts {
        let journal = written.journal[..cut].to_vec();
        written.boot_with(&journal);
        let (home, stderr) = written.bring_up();
        for (n, frame) in written.frames.iter().enumerate() {
            assert!(home[n] || frame.end > cut, "pod-{n} lost at cut {cut}: {stderr}");
            if !home[n] && (frame.start + 8..frame.end).contains(&cut) {
                let named = reported(&stderr);
                assert!(
                    named.iter().any(|span| span.contains(&frame.start)),
                    "cut {cut}: {named:?} {stderr}"
                );
            }
        }
    }
}

#[test]
fn p3_a_flipped_bit_costs_one_binding_at_the_most_and_is_named() {
    let mut written = Written::new();
    let mut rng = Rng::new(2);
    for _ in 0..40 {
        let (at, bit) = (rng.index(written.end()), rng.below(8));
        let mut journal = written.journal.clone();
        journal[at] ^= 1 << bit;
        written.boot_with(&journal);
        let (home, stderr) = written.bring_up();
        let hit = written.frames.iter().position(|frame| frame.contains(&at));
        for n in (0..PODS).filter(|n| Some(*n) != hit) {
            assert!(home[n], "pod-{n} lost by bit {bit} of byte {at}: {stderr}");
        }
        let named = reported(&stderr);
        if named.is_empty() {
            // In padding, which has no meaning.
            assert!(home.iter().all(|home| *home), "bit {bit} of byte {at}: {stderr}");
            continue;
        }
        assert!(named.iter().any(|span| span.contains(&at)), "bit {bit} of byte {at}: {named:?} {stderr}");
        // What could not be read is there for people to look at.
        let names = files(&written.node.state()).into_keys();
        assert_eq!(names.filter(|name| name.starts_with("damaged")).count(), named.len());
    }
}

#[test]
fn p2_with_a_journal_damaged_under_running_sandboxes_nobody_gets_their_addresses() {
    let mut rng = Rng::new(3);
    for _ in 0..6 {
        let written = Written::new();
        let node = &written.node;
        let at = rng.index(written.end());
        let mut journal = written.journal.clone();
        journal[at..at + 200].fill(0xa5);
        fs::write(node.state().join("journal"), journal).unwrap();
        if rng.chance(50) {
            fs::remove_dir_all(node.run_dir()).unwrap();
        }
        for n in 0..4 {
            let got = node.up(&written.network, &format!("new-{n}"), &format!("n{n}"));
            assert!(written.homes.iter().flatten().all(|ip| !got.contains(ip)), "{got:?}, damage at {at}");
        }
        for n in 0..PODS {
            node.down(&written.network, &format!("pod-{n}"), &format!("c{n}"));
        }
        assert_eq!(node.lease_files().len(), 8, "damage at {at}");
        // A DEL says whose the sandbox was, so even a pod whose record is lost has a home.
        for (n, home) in written.homes.iter().enumerate() {
            assert_eq!(
                node.up(&written.network, &format!("pod-{n}"), &format!("d{n}")),
                *home,
                "damage at {at}"
            );
        }
    }
}

#[test]
fn a_lost_state_directory_leaves_running_pods_their_addresses() {
    let written = Written::new();
    let node = &written.node;
    fs::remove_dir_all(node.dir.join("state")).unwrap();
    let got = node.up(&written.network, "new", "n");
    assert!(!written.homes.contains(&got));
    for n in 0..PODS {
        node.down(&written.network, &format!("pod-{n}"), &format!("c{n}"));
    }
    let again: Vec<_> =
        (0..PODS).map(|n| node.up(&written.network, &format!("pod-{n}"), &format!("d{n}"))).collect();
    assert_eq!(again, written.homes);
}

#[test]
fn an_index_of_any_content_is_made_anew() {
    let written = Written::new();
    let node = &written.node;
    let mut rng = Rng::new(4);
    let index = node.run_dir().join("net/index");
    let good = fs::read(&index).unwrap();
    for n in 0..24 {
        let content = match n % 4 {
            0 => rng.bytes(4096),
            1 => good[..rng.index(good.len())].to_vec(),
            2 => Vec::new(),
            _ => {
                let mut bytes = good.clone();
                let at = rng.index(96);
                bytes[at] ^= 1 << rng.below(8);
                bytes
            }
        };
        fs::write(&index, content).unwrap();
        let pod = n % PODS;
        let said = node.about("ADD", &written.network, &format!("pod-{pod}"), &format!("c{pod}")).run();
        assert_eq!(said.addresses(), written.homes[pod], "index {n}");
    }
    assert_eq!(node.lease_files().len(), PODS * 2);
}

#[test]
fn a_journal_of_a_newer_release_is_not_touched() {
    let written = Written::new();
    let node = &written.node;
    let path = node.state().join("journal");
    let mut journal = written.journal.clone();
    // The version stands behind the magic of eight bytes: found by what it is today.
    let version = journal[8..64].iter().position(|byte| *byte == 1).unwrap() + 8;
    journal[version] = 9;
    let sum = journal.clone();
    fs::write(&path, &journal).unwrap();
    let said = node.add(&written.network, "new", "n");
    if said.exit == Some(1) {
        let (code, msg) = said.refused();
        assert_eq!(code, 5, "{msg}");
        assert!(msg.contains("newer") && msg.contains(path.to_str().unwrap()), "{msg}");
        assert_eq!(fs::read(&path).unwrap(), sum);
    }
    // Either way a sandbox can go.
    node.down(&written.network, "pod-0", "c0");
    assert!(!node.lease_files().contains_key(&written.homes[0][0]));
}
