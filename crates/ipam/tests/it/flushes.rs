//! How often the disk is asked to make something durable, counted by strace, and that an answer comes after it.

use std::fs;

use serde_json::Value;

use crate::node::{Call, Node, Output, installed};

const FLUSHES: [&str; 6] = ["fsync(", "fdatasync(", "sync(", "syncfs(", "sync_file_range(", "msync("];

/// The calls to the kernel that a call of the plugin makes, as strace writes them.
fn traced(node: &Node, call: &Call) -> (Output, Vec<String>) {
    let log = node.dir.join("trace");
    let wanted = "trace=fsync,fdatasync,sync,syncfs,sync_file_range,msync,write";
    let said = call.run_by(&["strace", "-f", "-e", wanted, "-o", log.to_str().unwrap()]);
    let text = fs::read_to_string(log).unwrap();
    (said, text.lines().map(str::to_owned).collect())
}

fn is_flush(line: &str) -> bool {
    line.split_whitespace().nth(1).is_some_and(|call| FLUSHES.iter().any(|name| call.starts_with(name)))
}

/// How many flushes a call that must succeed makes.
fn count(node: &Node, call: &Call) -> usize {
    let (said, lines) = traced(node, call);
    assert_eq!(said.exit, Some(0), "{said:?}");
    lines.iter().filter(|line| is_flush(line)).count()
}

fn flushes(node: &Node, command: &str, network: &Value, pod: &str, container: &str) -> usize {
    if command == "ADD" {
        node.sandbox(container);
    }
    count(node, &node.about(command, network, pod, container))
}

#[test]
fn p3_a_birth_costs_one_flush_and_nothing_else_costs_any() {
    if !installed("strace") {
        return;
    }
    let mut node = Node::new();
    let network = node.dual();
    let counted = |node: &Node, what: &str, command: &str, pod: &str, container: &str, expected: usize| {
        assert_eq!(flushes(node, command, &network, pod, container), expected, "{what}");
    };
    // Creation, once for each network: the entries of its two new directories; the journal; its name, and the way from
    // the root to it, in case whoever made a directory on it died before flushing that; then the birth itself.
    let way = node.state().ancestors().count();
    counted(&node, "the first ADD of a network", "ADD", "a", "a1", 2 + 1 + way + 1);
    for n in 0..5 {
        counted(&node, "a birth", "ADD", &format!("p{n}"), &format!("p{n}"), 1);
    }
    counted(&node, "a repeated ADD", "ADD", "a", "a1", 0);
    counted(&node, "CHECK", "CHECK", "a", "a1", 0);
    counted(&node, "STATUS", "STATUS", "a", "a1", 0);
    counted(&node, "DEL", "DEL", "a", "a1", 0);
    counted(&node, "a repeated DEL", "DEL", "a", "a1", 0);
    counted(&node, "DEL of an unknown container", "DEL", "x", "x", 0);
    node.kill("a1");
    counted(&node, "a homecoming", "ADD", "a", "a2", 0);
    node.reboot();
    counted(&node, "the first homecoming after a reboot", "ADD", "a", "a3", 0);
    counted(&node, "another homecoming after a reboot", "ADD", "p1", "p1-1", 0);
    node.reboot();
    node.wipe_data();
    counted(&node, "a homecoming to a wiped directory", "ADD", "p2", "p2-2", 0);
    counted(&node, "a DEL from before the reboot", "DEL", "p3", "p3", 0);
    counted(&node, "a birth after a reboot", "ADD", "new", "new", 1);
}

#[test]
fn p3_an_address_that_changes_hands_costs_one_flush() {
    if !installed("strace") {
        return;
    }
    let node = Node::new();
    let network = node.small();
    (0..13).for_each(|n| drop(node.up(&network, &format!("p{n}"), &format!("c{n}"))));
    node.down(&network, "p5", "c5");
    assert_eq!(flushes(&node, "ADD", &network, "heir", "h"), 1);
}

#[test]
fn p3_no_answer_goes_out_before_its_flush() {
    if !installed("strace") {
        return;
    }
    let node = Node::new();
    let network = node.dual();
    node.up(&network, "a", "a");
    node.sandbox("b");
    let (said, lines) = traced(&node, &node.about("ADD", &network, "b", "b"));
    said.ok();
    let flush = lines.iter().rposition(|line| is_flush(line)).unwrap();
    let answer = lines.iter().position(|line| line.contains(" write(1, ")).unwrap();
    assert!(flush < answer, "{lines:?}");
    assert!(lines[flush].contains("= 0"), "{lines:?}");
}

#[test]
fn p3_an_answer_that_was_not_flushed_by_its_killed_process_is_flushed_by_the_next() {
    if !installed("strace") {
        return;
    }
    // The mark that says what has been flushed is lost with the run directory; the binding may be on disk or not.
    let node = Node::new();
    let network = node.dual();
    node.up(&network, "a", "a");
    fs::remove_dir_all(node.run_dir()).unwrap();
    assert_eq!(flushes(&node, "ADD", &network, "a", "a"), 1);
    assert_eq!(flushes(&node, "ADD", &network, "a", "a"), 0);
}
