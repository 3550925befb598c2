//! Any bytes from outside: one document with the right code, never a panic, a hang or a half-written state.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use serde_json::{Value, json};
use testkit::rng::Rng;

use crate::node::{Call, Node, Output, Running, ip};

const COMMANDS: [&str; 6] = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"];

/// One document or nothing, an exit status that fits, no panic.
fn assert_well_behaved(said: &Output, what: &str) {
    assert!(!said.stderr.contains("panicked"), "{what}: {said:?}");
    match said.exit {
        Some(0) if said.stdout.is_empty() => {}
        Some(0) => drop(said.document()),
        _ => {
            let (code, msg) = said.refused();
            assert!(code > 0 && !msg.is_empty(), "{what}: {said:?}");
        }
    }
}

/// A configuration that says everything there is to say.
fn rich(node: &Node) -> Value {
    let mut network = node.dual();
    network["ipam"]["subnet"] = json!("10.3.0.0/24");
    network["ipam"]["rangeStart"] = json!("10.3.0.9");
    network["ipam"]["rangeEnd"] = json!("10.3.0.99");
    network["ipam"]["gateway"] = json!("10.3.0.1");
    network["ipam"]["routes"] = json!([{ "dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1400, "table": 1 }]);
    network["ipam"]["retain"] = json!({ "hold": "7d", "key": "uid", "reclaim": "never", "maxGone": 4 });
    network["args"] = json!({ "cni": { "ips": ["10.1.0.9"] } });
    network["runtimeConfig"] = json!({
        "ips": ["fd00:1::9/64"], "ipRanges": [[{ "subnet": "10.4.0.0/24" }]],
        "io.kubernetes.cri.pod-annotations": { "edgekeep.io/ips": "10.4.0.5" },
    });
    network["cni.dev/valid-attachments"] = json!([{ "containerID": "c0", "ifname": "eth0" }]);
    network
}

#[test]
fn random_bytes_on_stdin_are_refused_in_form() {
    let node = Node::new();
    let mut rng = Rng::new(1);
    let valid = rich(&node).to_string();
    for n in 0..150 {
        let mut cut = rng.index(valid.len());
        while !valid.is_char_boundary(cut) {
            cut -= 1;
        }
        let length = rng.index(300);
        let stdin = if n % 2 == 0 { rng.bytes(length) } else { valid.as_bytes()[..cut].to_vec() };
        let command = *rng.pick(&COMMANDS[..5]);
        let said = node.call(command, &json!({})).stdin(stdin).run();
        assert_well_behaved(&said, &format!("run {n}, {command}"));
        assert_eq!(said.refused().0, 6, "run {n}");
    }
    assert!(!node.data().exists());
}

/// Replaces one value somewhere in the document by another. dataDir stays: its default is this machine's own.
fn mutate(json: &mut Value, rng: &mut Rng) {
    let strange = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}\u{1f}é<&>\u{2028}"),
        json!("10.1.0.0/33"),
        json!("::ffff:10.0.0.0/104"),
        json!("x".repeat(5000)),
        json!([]),
        json!({}),
        json!([[[[[[{}]]]]]]),
        json!("0.0.0.0/0"),
        json!("::/0"),
    ];
    let mut at = json;
    loop {
        let stop = rng.chance(25);
        let children = match &*at {
            Value::Object(members) => members.keys().filter(|key| *key != "dataDir").count(),
            Value::Array(items) => items.len(),
            _ => 0,
        };
        if children == 0 || (stop && at.get("ipam").is_none() && at.get("dataDir").is_none()) {
            break;
        }
        let chosen = rng.index(children);
        at = match at {
            Value::Object(members) => {
                members.iter_mut().filter(|(key, _)| *key != "dataDir").nth(chosen).unwrap().1
            }
            Value::Array(items) => &mut items[chosen],
            _ => return,
        };
    }
    *at = rng.pick(&strange).clone();
}

#[test]
fn configurations_with_one_thing_wrong_are_answered_or_refused_in_form() {
    let node = Node::new();
    let mut rng = Rng::new(2);
    for n in 0..250 {
        let mut network = rich(&node);
        mutate(&mut network, &mut rng);
        let command = *rng.pick(&COMMANDS);
        let said = node.call(command, &network).env("CNI_CONTAINERID", &format!("c{n}")).run();
        assert_well_behaved(&said, &format!("run {n}, {command}, {network}"));
    }
    // After all that the network works.
    node.up(&node.network(&["10.9.0.0/24"]), "web", "w");
}

#[test]
fn random_bytes_in_the_environment_are_refused_in_form() {
    let node = Node::new();
    let mut rng = Rng::new(3);
    let names = [
        "CNI_COMMAND",
        "CNI_CONTAINERID",
        "CNI_NETNS",
        "CNI_IFNAME",
        "CNI_ARGS",
        "CNI_PATH",
        "CNI_NETNS_OVERRIDE",
        "EDGEKEEP_BOOT_ID",
    ];
    for n in 0..150 {
        let verb: &str = COMMANDS[rng.index(COMMANDS.len())];
        let call = node.call(verb, &node.dual());
        let mut command = call.command();
        for _ in 0..=rng.below(2) {
            let name = *rng.pick(&names);
            let length = rng.index(60);
            let mut value = rng.bytes(length);
            value.retain(|byte| *byte != 0);
            command.env(name, OsStr::from_bytes(&value));
        }
        let said = Running::of(command, &call.stdin).wait();
        assert_well_behaved(&said, &format!("run {n}"));
    }
    // No name made of such bytes became a file outside the places for it.
    let mut names: Vec<String> =
        fs::read_dir(&node.dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["netns", "networks", "run", "state"]);
}

#[test]
fn random_arguments_are_refused_in_form_and_a_del_takes_them_all() {
    let node = Node::new();
    let mut rng = Rng::new(4);
    let words = [
        "IP",
        "IgnoreUnknown",
        "K8S_POD_NAME",
        "K8S_POD_NAMESPACE",
        "K8S_POD_UID",
        "1",
        "10.1.0.9",
        "=",
        ";",
        "é",
        "\n",
        "..",
    ];
    for n in 0..120 {
        let args: String = (0..rng.below(12))
            .map(|_| *rng.pick(&words))
            .collect::<Vec<_>>()
            .join(*rng.pick(&["", "=", ";"]));
        let call = |command: &str| {
            node.call(command, &node.dual()).env("CNI_ARGS", &args).env("CNI_CONTAINERID", &format!("c{n}"))
        };
        assert_well_behaved(&call("ADD").run(), &args);
        call("DEL").run().silent();
    }
    assert!(node.lease_files().is_empty());
}

#[test]
fn files_that_are_none_keep_nobody_waiting() {
    let node = Node::new();
    let pipe = node.dir.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let patient = ["timeout", "-s", "KILL", "10"];
    for file in [pipe.to_str().unwrap(), "/dev/zero", "/dev/full", "/proc/self", "/dev/tty"] {
        let mut network = node.dual();
        network["ipam"]["resolvConf"] = json!(file);
        let said = node.call("ADD", &network).run_by(&patient);
        let (code, msg) = said.refused();
        assert_eq!(code, 999, "{file}");
        assert!(msg.contains(file), "{msg}");
        let said = node.call("ADD", &node.dual()).env("EDGEKEEP_CONFIG", file).run_by(&patient);
        assert_eq!(said.refused().0, 5, "{file}");
    }
    assert!(node.lease_files().is_empty());
}

#[test]
fn what_is_too_long_is_refused_by_name() {
    let node = Node::new();
    let network = node.dual();
    let long = "n".repeat(2000);
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=d;K8S_POD_NAME={long}");
    for (key, value, name) in [
        ("CNI_CONTAINERID", &long, "CNI_CONTAINERID"),
        ("CNI_NETNS", &long, "CNI_NETNS"),
        ("CNI_ARGS", &args, "K8S_POD_NAME"),
    ] {
        let (code, msg) = node.call("ADD", &network).env(key, value).run().refused();
        assert_eq!(code, 4);
        assert!(msg.contains(name), "{msg}");
    }
    node.call("DEL", &network).env("CNI_ARGS", &args).env("CNI_CONTAINERID", &long).run().silent();
    let mut network = node.dual();
    network["name"] = json!("n".repeat(300));
    assert_well_behaved(&node.call("ADD", &network).run(), "a name too long for a file");
    assert_ne!(node.call("ADD", &network).run().exit, Some(0));
}

#[test]
fn five_mebibytes_on_stdin_are_too_much() {
    let node = Node::new();
    let mut network = node.dual();
    network["padding"] = json!("x".repeat(5 << 20));
    let (code, msg) = node.call("ADD", &network).run().refused();
    assert_eq!(code, 6);
    assert!(msg.contains("4194304 bytes"), "{msg}");
    // Much is not too much.
    network["padding"] = json!("x".repeat(3 << 20));
    node.call("ADD", &network).run().ok();
}

#[test]
fn nesting_without_end_is_refused() {
    let node = Node::new();
    let text = format!("{{\"a\":{}", "[".repeat(1 << 20));
    assert_eq!(node.call("ADD", &json!({})).stdin(text).run().refused().0, 6);
}

#[test]
fn many_range_sets_are_all_served_and_too_many_refused() {
    let node = Node::new();
    for count in [255_usize, 256, 5000] {
        let ranges: Vec<Value> =
            (0..count).map(|n| json!([{ "subnet": format!("fd00:{n:x}::/64") }])).collect();
        let mut network = node.dual();
        network["ipam"]["ranges"] = json!(ranges);
        let one = node.add(&network, "a", "a");
        if count > 255 {
            let (code, msg) = one.refused();
            assert_eq!(code, 999);
            assert!(msg.contains(&count.to_string()) && msg.contains("255"), "{msg}");
            continue;
        }
        let (one, two) = (one.addresses(), node.up(&network, "b", "b"));
        assert_eq!((one.len(), two.len()), (count, count));
        assert!(one.iter().all(|address| !two.contains(address)));
        node.down(&network, "a", "a");
        node.down(&network, "b", "b");
        assert!(node.lease_files().is_empty());
        assert_eq!(node.up(&network, "a", "again"), one);
    }
    let ranges: Vec<Value> = (0..300).map(|n| json!({ "subnet": format!("fd00:{n:x}::/64") })).collect();
    let mut network = node.dual();
    network["ipam"]["ranges"] = json!([ranges]);
    assert_eq!(node.add(&network, "c", "c").refused().0, 999, "alternatives count too");
}

#[test]
fn a_lock_held_for_ever_is_named_after_the_time_that_is_allowed() {
    let node = Node::new();
    let mut network = node.dual();
    network["ipam"]["retain"] = json!({ "lockTimeout": "1s" });
    node.up(&network, "web", "c1");
    for lock in [node.leases().join("lock"), node.state().join("lock")] {
        let file = fs::File::open(&lock).unwrap();
        file.lock().unwrap();
        // All at once: they wait side by side.
        let calls: Vec<(&str, Running)> = [("ADD", "c2"), ("DEL", "c1"), ("CHECK", "c1"), ("STATUS", "c1")]
            .map(|(command, container)| (command, node.about(command, &network, "web", container).start()))
            .into();
        for (command, running) in calls {
            let (code, msg) = running.wait().refused();
            assert_eq!(code, 11, "{command}: {msg}");
            // Whoever waits for the second lock holds the first, which the others then wait for.
            assert!(msg.contains("/lock` and end it") && msg.contains("1 s"), "{command}: {msg}");
        }
        drop(file);
        assert_eq!(node.lease_files().len(), 2, "nothing was changed meanwhile");
    }
    node.about("CHECK", &network, "web", "c1").run().silent();
}

#[test]
fn a_lock_released_in_time_is_waited_for() {
    let node = Node::new();
    let network = node.dual();
    node.up(&network, "web", "c1");
    let file = fs::File::open(node.leases().join("lock")).unwrap();
    file.lock().unwrap();
    let waiting = node.about("ADD", &network, "db", "c2").start();
    drop(file);
    assert_eq!(waiting.wait().addresses()[0], ip("10.1.0.3"));
}

#[test]
fn without_a_place_for_state_nothing_is_given_but_sandboxes_can_go() {
    let node = Node::new();
    let network = node.dual();
    let file = node.dir.join("file");
    fs::write(&file, "").unwrap();
    node.plant("10.1.0.5", "c1\r\neth0");
    for (variable, place) in [
        ("EDGEKEEP_STATE_DIR", file.clone()),
        ("EDGEKEEP_STATE_DIR", file.join("below")),
        ("EDGEKEEP_RUN_DIR", file.join("below")),
        ("EDGEKEEP_STATE_DIR", "/proc/no/such".into()),
    ] {
        let call =
            |command: &str| node.about(command, &network, "web", "c1").env(variable, place.to_str().unwrap());
        let (code, msg) = call("ADD").env("CNI_CONTAINERID", "c2").run().refused();
        assert_eq!(code, 5, "{msg}");
        assert!(msg.contains(place.to_str().unwrap()), "{msg}");
        assert_eq!(node.lease_files().len(), 1, "{msg}");
        let said = call("DEL").run();
        said.silent();
        assert!(said.stderr.contains("c1"), "{said:?}");
        assert!(node.lease_files().is_empty());
        node.plant("10.1.0.5", "c1\r\neth0");
    }
    let mut network = node.dual();
    network["ipam"]["dataDir"] = json!(file.join("below"));
    let (code, msg) = node.add(&network, "web", "c3").refused();
    assert_eq!(code, 5);
    assert!(msg.contains(file.to_str().unwrap()), "{msg}");
}

/// The call with files limited to so many blocks of 512 bytes: what lies beyond cannot be written, as on a full disk.
fn on_full_disk(call: &Call, blocks: u32) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\"");
    call.run_by(&["sh", "-c", &script])
}

#[test]
fn a_full_disk_gives_nobody_an_address_that_is_not_safe_and_leaves_no_rest() {
    let mut node = Node::new();
    let network = node.dual();
    let home = node.up(&network, "web", "c1");
    for (n, blocks) in [0, 1, 2, 8, 100, 127, 128, 129, 200, 264, 265, 300, 600].into_iter().enumerate() {
        if n % 2 == 1 {
            node.reboot();
        }
        let (pod, container) = (format!("new-{blocks}"), format!("n{blocks}"));
        node.sandbox(&container);
        let said = on_full_disk(&node.about("ADD", &network, &pod, &container), blocks);
        assert_well_behaved(&said, &format!("{blocks} blocks"));
        if said.exit == Some(0) {
            // What was answered is true: it is there after a reboot.
            let got = said.addresses();
            node.reboot();
            assert_eq!(node.up(&network, &pod, &format!("{container}-again")), got, "{blocks} blocks");
            node.down(&network, &pod, &format!("{container}-again"));
        } else {
            assert_eq!(said.refused().0, 5, "{blocks} blocks: {said:?}");
            // As every runtime does after an ADD that failed.
            on_full_disk(&node.about("DEL", &network, &pod, &container), blocks).silent();
            assert!(
                node.lease_files().values().all(|owner| !owner.starts_with(&container)),
                "{blocks} blocks"
            );
        }
        assert!(
            node.lease_files().values().all(|owner| !owner.is_empty()),
            "{blocks} blocks: no empty lease file"
        );
        assert_eq!(node.up(&network, "web", "c1"), home, "{blocks} blocks");
    }
}

#[test]
fn on_a_full_disk_sandboxes_can_go() {
    for blocks in [0, 1, 64, 128, 264, 300] {
        let node = Node::new();
        let network = node.dual();
        let home = node.up(&network, "web", "c1");
        on_full_disk(&node.about("DEL", &network, "web", "c1"), blocks).silent();
        node.kill("c1");
        assert!(node.lease_files().is_empty(), "{blocks} blocks");
        assert_ne!(node.up(&network, "db", "c2"), home);
        assert_eq!(node.up(&network, "web", "c3"), home, "{blocks} blocks");
    }
}

#[test]
fn on_a_disk_full_from_the_start_no_address_is_given() {
    for blocks in [0, 1, 2, 64, 127] {
        let node = Node::new();
        let network = node.dual();
        let said = on_full_disk(&node.about("ADD", &network, "web", "c1"), blocks);
        let (code, msg) = said.refused();
        assert_eq!(code, 5, "{blocks} blocks: {msg}");
        assert!(node.lease_files().is_empty());
        assert_eq!(node.up(&network, "web", "c1"), [ip("10.1.0.2"), ip("fd00:1::2")], "{blocks} blocks");
    }
}
