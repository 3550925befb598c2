//! The frame of a CNI call, row by row of the contract's first section.

use std::process::Stdio;

use serde_json::json;

use crate::node::{Node, OURS, VERSIONS};

#[test]
fn without_a_command_it_says_on_stderr_what_it_is() {
    let node = Node::new();
    let said = node.call("", &node.dual()).run();
    said.silent();
    let lines: Vec<&str> = said.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{said:?}");
    assert!(lines[0].starts_with("CNI edgekeep-ipam plugin "), "{said:?}");
    assert_eq!(lines[1], format!("CNI protocol versions supported: {}", VERSIONS.join(", ")));
}

#[test]
fn version_is_answered_without_reading_stdin() {
    let node = Node::new();
    // A pipe that stays open: whoever read it would wait for ever.
    let mut command = node.call("VERSION", &json!({})).without("CNI_PATH").command();
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    let said = child.wait_with_output().unwrap();
    drop(stdin);
    assert!(said.status.success());
    assert_eq!(
        String::from_utf8(said.stdout).unwrap(),
        "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n"
    );
}

#[test]
fn missing_variables_are_listed_in_order_and_only_those_that_the_command_needs() {
    let node = Node::new();
    let bare = |command: &str| {
        let call = node.call(command, &node.dual());
        ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]
            .iter()
            .fold(call, |call, name| call.without(name))
    };
    for (command, missing) in [
        ("ADD", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ("CHECK", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ("DEL", "CNI_CONTAINERID,CNI_IFNAME,CNI_PATH"),
        ("GC", "CNI_PATH"),
        ("STATUS", "CNI_PATH"),
    ] {
        let said = bare(command).run();
        said.assert_refused(4, &format!("required env variables [{missing}] missing"));
    }
    node.call("DEL", &node.dual()).env("CNI_NETNS", "").run().silent();
    node.call("ADD", &node.dual())
        .without("CNI_IFNAME")
        .run()
        .assert_refused(4, "required env variables [CNI_IFNAME] missing");
}

#[test]
fn container_ids_and_interface_names_are_held_to_the_specification() {
    let node = Node::new();
    let with = |key: &str, value: &str| node.call("ADD", &node.dual()).env(key, value).run();
    for id in ["a/b", "../up", "-x", ".x", "a b", "é"] {
        let said = with("CNI_CONTAINERID", id);
        said.assert_refused(4, "invalid characters in containerID");
        assert_eq!(said.document()["details"], id);
    }
    with("CNI_IFNAME", "sixteen-bytes-xx").assert_refused(4, "interface name is too long");
    with("CNI_IFNAME", "..").assert_refused(4, "interface name is . or ..");
    for name in ["a/b", "a:b", "a b"] {
        with("CNI_IFNAME", name).assert_refused(4, "interface name contains / or : or whitespace characters");
    }
    // Where they are not needed nobody looks at them.
    node.call("STATUS", &node.dual()).env("CNI_CONTAINERID", "a/b").env("CNI_IFNAME", "..").run().silent();
}

#[test]
fn stdin_is_judged_before_the_command_and_the_name_before_the_version() {
    let node = Node::new();
    let with = |command: &str, stdin: &str| node.call(command, &json!({})).stdin(stdin).run().refused();
    for command in ["ADD", "FOO", "GC"] {
        let (code, msg) = with(command, "{");
        assert_eq!(code, 6);
        assert!(msg.starts_with("error unmarshall network config: "), "{msg}");
    }
    assert_eq!(with("ADD", ""), (6, with("ADD", "").1));
    assert_eq!(with("ADD", r#"{"cniVersion":"9"}"#), (7, "missing network name".into()));
    assert_eq!(with("FOO", r#"{"name":""}"#), (7, "missing network name".into()));
    for name in ["a/b", "..", ".hidden", "a b", "/etc"] {
        let (code, msg) = with("ADD", &json!({ "name": name }).to_string());
        assert_eq!((code, msg.as_str()), (7, "invalid characters found in network name"), "{name}");
    }
    assert_eq!(with("FOO", &node.dual().to_string()), (4, "unknown CNI_COMMAND: FOO".into()));
    assert_eq!(with("add", &node.dual().to_string()), (4, "unknown CNI_COMMAND: add".into()));
    assert!(!node.data().exists() && !node.state().exists(), "a refused call leaves nothing behind");
}

#[test]
fn each_command_is_open_from_its_version_on() {
    let node = Node::new();
    for (at, version) in VERSIONS.iter().enumerate() {
        for (command, since) in [("ADD", 0), ("CHECK", 4), ("GC", 6), ("STATUS", 6), ("DEL", 0)] {
            let mut network = node.network(&["10.1.0.0/24"]);
            network["cniVersion"] = json!(version);
            network["cni.dev/valid-attachments"] = json!([{ "containerID": "c0", "ifname": "eth0" }]);
            let said = node.call(command, &network).run();
            match at >= since {
                true if command == "ADD" => assert_eq!(said.ok()["cniVersion"], *version),
                true => said.silent(),
                false => {
                    said.assert_refused(1, &format!("config version does not allow {command}"));
                    assert_eq!(said.document()["cniVersion"], *version);
                }
            }
        }
    }
}

#[test]
fn a_version_that_is_none_of_the_seven_is_incompatible() {
    let node = Node::new();
    for version in ["0.5.0", "1", "1.0", "banana", "0.4.0 "] {
        let mut network = node.dual();
        network["cniVersion"] = json!(version);
        let said = node.call("ADD", &network).run();
        said.assert_refused(1, "incompatible CNI versions");
        let supported = VERSIONS.map(|version| format!("\"{version}\"")).join(" ");
        assert_eq!(
            said.document()["details"],
            format!("config is \"{version}\", plugin supports [{supported}]")
        );
    }
    let mut network = node.dual();
    network["cniVersion"] = json!("1.2.0");
    for command in ["CHECK", "GC", "STATUS"] {
        let said = node.call(command, &network).run();
        said.assert_refused(1, &format!("plugin version does not allow {command}"));
    }
}

#[test]
fn an_absent_or_empty_version_is_the_oldest() {
    let node = Node::new();
    let mut network = node.small();
    for (version, container) in [(json!(""), "a"), (json!(null), "b")] {
        network["cniVersion"] = version;
        let said = node.about("ADD", &network, "web", container).run().ok();
        assert_eq!(said["cniVersion"], "0.1.0");
        assert!(said["ip4"]["ip"].is_string(), "{said}");
    }
}

#[test]
fn in_the_plugins_own_netns_one_error_is_given_and_no_lease() {
    let node = Node::new();
    let ours = |command: &str| node.call(command, &node.dual()).env("CNI_NETNS", "/proc/self/ns/net");
    let text = "plugin's netns and netns from CNI_NETNS should not be the same";
    ours("ADD").run().assert_refused(8, text);
    assert!(node.lease_files().is_empty());
    // Nothing is bound either: the first address is the next to be given.
    assert_eq!(node.up(&node.dual(), "web", "c1")[0].to_string(), "10.1.0.2");
    ours("DEL").env("CNI_CONTAINERID", "c1").run().assert_refused(8, text);
    assert!(node.lease_files().is_empty(), "the skeleton says so after the deed");
    for value in ["1", "true", "TRUE"] {
        ours("ADD").env("CNI_CONTAINERID", &format!("o-{value}")).env("CNI_NETNS_OVERRIDE", value).run().ok();
        ours("DEL")
            .env("CNI_CONTAINERID", &format!("o-{value}"))
            .env("CNI_NETNS_OVERRIDE", value)
            .run()
            .silent();
    }
    ours("ADD").env("CNI_NETNS_OVERRIDE", "yes").run().assert_refused(8, text);
    // A path that cannot be opened is not looked into.
    node.call("ADD", &node.dual()).env("CNI_NETNS", "/nowhere/at/all").run().ok();
}

#[test]
fn every_command_works_under_the_name_host_local() {
    let node = Node::new();
    let link = node.dir.join("host-local");
    std::os::unix::fs::symlink(OURS, &link).unwrap();
    let network = node.dual();
    let named = |command: &str| node.about(command, &network, "web", "c1").program(&link);
    let first = named("ADD").run().addresses();
    named("CHECK").run().silent();
    named("STATUS").run().silent();
    named("DEL").run().silent();
    named("CHECK").run().assert_refused(999, "host-local: Failed to find address added by container c1");
    assert_eq!(named("ADD").env("CNI_CONTAINERID", "c2").run().addresses(), first);
}

#[test]
fn arguments_that_are_no_pairs_are_refused_but_never_keep_a_sandbox_from_going() {
    let node = Node::new();
    let network = node.dual();
    let with = |command: &str, args: &str| node.call(command, &network).env("CNI_ARGS", args).run();
    for (args, msg) in [
        ("IP=10.1.0.9;", "ARGS: invalid pair \"\""),
        ("A=b=c", "ARGS: invalid pair \"A=b=c\""),
        ("A=b;C=d", "ARGS: unknown args [\"A=b\" \"C=d\"]"),
        ("IP=x", "ARGS: error parsing value of pair \"IP=x\": invalid IP address x"),
    ] {
        with("ADD", args).assert_refused(999, msg);
        with("CHECK", args).assert_refused(999, msg);
        with("DEL", args).silent();
    }
    with("ADD", "A=b;IgnoreUnknown=TRUE").ok();
    assert_eq!(node.lease_files().len(), 2);
    with("DEL", ";;;=").silent();
    assert!(node.lease_files().is_empty());
}

#[test]
fn a_del_tells_nothing_and_can_be_repeated_for_what_was_never_there() {
    let node = Node::new();
    for _ in 0..3 {
        let said = node.call("DEL", &node.dual()).env("CNI_NETNS", "").run();
        said.silent();
    }
    assert!(node.lease_files().is_empty());
}
