//! `edgekeep adopt cni` and `edgekeep revert cni` through the real program, below a root of their own.

// A test: where something is not there that must be, to end at that line is the answer.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use support::Node;

const FLANNEL: &str = "{\n  \"name\": \"cbr0\",\n  \"plugins\": [\n    {\n      \"type\": \"flannel\",\n      \
                       \"delegate\": { \"isDefaultGateway\": true }\n    },\n    { \"type\": \"portmap\" }\n  ]\n}\n";
const BRIDGE: &str =
    r#"{ "name": "edge", "type": "bridge", "ipam": { "type": "host-local", "subnet": "10.1.0.0/24" } }"#;
const CALICO: &str = r#"{ "name": "k8s", "plugins": [ { "type": "calico", "ipam": { "type": "host-local", "subnet": "usePodCidr" } } ] }"#;

/// A node with flannel and the stock plugins.
fn node(name: &str) -> Node {
    let node = Node::new(&format!("adopt-{name}"));
    node.write("opt/cni/bin/host-local", "stock");
    node.write("opt/cni/bin/bridge", "bridge");
    node.write("usr/libexec/edgekeep/edgekeep-ipam", "edgekeep 1");
    node.write("etc/cni/net.d/10-flannel.conflist", FLANNEL);
    node
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_dry_run_shows_the_difference_and_changes_nothing() {
    let node = node("dry");
    let before = node.all();
    let (code, said) = node.say("adopt cni --dry-run");
    assert_eq!(code, 0, "{said}");
    for line in [
        "+      \"ipam\": {\"type\": \"edgekeep-ipam\"},",
        "kube-flannel-cfg",
        "install edgekeep-ipam",
        "dry run",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
    assert_eq!(node.all(), before);
    assert!(!node.path("var/lib/edgekeep").exists());
}

#[test]
fn there_and_back_through_the_program_leaves_every_byte_and_permission() {
    let node = node("back");
    let conf = node.path("etc/cni/net.d/10-flannel.conflist");
    fs::set_permissions(&conf, PermissionsExt::from_mode(0o600)).unwrap();
    let before = node.all();
    assert_eq!(node.say("adopt cni").0, 0);
    assert!(node.read("etc/cni/net.d/10-flannel.conflist").contains("edgekeep-ipam"));
    assert_eq!((mode(&conf), mode(&node.path("opt/cni/bin/edgekeep-ipam"))), (0o600, 0o755));
    assert_eq!(mode(&node.path("var/lib/edgekeep/adopt/cni")), 0o700);

    let (code, said) = node.say("adopt cni");
    assert!(code == 0 && said.contains("Nothing to change"), "{said}");
    assert_eq!(node.say("revert cni").0, 0);
    assert_eq!((node.all(), mode(&conf)), (before, 0o600));
}

#[test]
fn a_program_that_runs_is_replaced_and_brought_back() {
    let node = node("busy");
    node.write("etc/cni/net.d/10-flannel.conflist", CALICO);
    let stock = node.path("opt/cni/bin/host-local");
    // By another process: a child that another test starts meanwhile would inherit the file open for writing, and what is
    // open for writing cannot be started.
    assert!(
        Command::new("cp").args(["--preserve=mode", "/bin/sleep"]).arg(&stock).status().unwrap().success()
    );
    let before = node.all();
    let mut running = Command::new(&stock).arg("60").spawn().unwrap();
    assert_eq!(node.say("adopt cni").0, 0);
    assert_eq!(fs::read(&stock).unwrap(), b"edgekeep 1");
    assert_eq!(node.say("revert cni").0, 0);
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!((node.all(), mode(&stock)), (before, mode(Path::new("/bin/sleep"))));
}

#[test]
fn what_cannot_be_adopted_has_its_exit_code_and_stays() {
    let node = node("cannot");
    node.write("etc/cni/elsewhere.conf", BRIDGE);
    symlink("../elsewhere.conf", node.path("etc/cni/net.d/20-link.conf")).unwrap();
    symlink("nowhere", node.path("etc/cni/net.d/25-broken.conf")).unwrap();
    node.write("etc/cni/net.d/30-torn.conf", "{ \"type\":");
    node.write("etc/cni/net.d/40-bridge.conf", BRIDGE);
    symlink("40-bridge.conf", node.path("etc/cni/net.d/50-again.conf")).unwrap();
    let (code, said) = node.say("adopt cni");
    assert_eq!(code, 3, "{said}");
    for words in
        ["symbolic link to", "20-link.conf", "25-broken.conf", "is not JSON", "but for what says `cannot`"]
    {
        assert!(said.contains(words), "{words} in {said}");
    }
    assert_eq!(
        (node.read("etc/cni/elsewhere.conf"), node.read("etc/cni/net.d/30-torn.conf")),
        (BRIDGE.into(), "{ \"type\":".into())
    );
    assert!(node.read("etc/cni/net.d/40-bridge.conf").contains("edgekeep-ipam"));
    assert!(
        node.path("etc/cni/net.d/20-link.conf").is_symlink()
            && node.path("etc/cni/net.d/50-again.conf").is_symlink()
    );
    assert_eq!(node.say("revert cni").0, 0);
    assert_eq!(node.read("etc/cni/net.d/40-bridge.conf"), BRIDGE);
}

#[test]
fn named_directories_and_a_named_program_go_before_the_usual_ones() {
    let node = node("flags");
    node.write("c/10-x.conf", BRIDGE);
    node.write("b/bridge", "bridge");
    node.write("p/mine", "edgekeep 7");
    symlink("c", node.path("linked")).unwrap();
    let at = |path: &str| node.path(path).display().to_string();
    let words = format!("--conf-dir {} --bin-dir {} --backup-dir {}", at("linked"), at("b"), at("k"));
    assert_eq!(node.say(&format!("adopt cni {words} --plugin {}", at("p/mine"))).0, 0);
    assert_eq!(node.read("b/edgekeep-ipam"), "edgekeep 7");
    assert!(node.read("c/10-x.conf").contains("edgekeep-ipam") && node.path("k/manifest.json").exists());
    assert_eq!(node.read("etc/cni/net.d/10-flannel.conflist"), FLANNEL);
    // The way back needs no more than the place of the copies.
    assert_eq!(node.say(&format!("revert cni --backup-dir {}", at("k"))).0, 0);
    assert_eq!((node.read("c/10-x.conf"), node.read("b/edgekeep-ipam")), (BRIDGE.into(), String::new()));
}

#[test]
fn the_report_for_programs_is_one_json_document() {
    let node = node("json");
    let report: serde_json::Value = serde_json::from_slice(&node.run("adopt cni -o json").stdout).unwrap();
    assert_eq!((&report["complete"], &report["dryRun"]), (&true.into(), &false.into()));
    assert_eq!(
        (&report["files"][0]["network"], &report["files"][0]["runtime"]),
        (&"cbr0".into(), &true.into())
    );
    assert_eq!(report["files"][0]["findings"][0]["verdict"], "change");
    assert!(report["files"][0]["diff"].as_str().unwrap().contains("+++"));
    assert_eq!(report["programs"][0]["action"], "install");
}

#[test]
fn a_refresh_is_quiet_where_nothing_was_adopted_and_replaces_what_was() {
    let node = node("refresh");
    let before = node.all();
    assert_eq!(node.say("adopt cni --refresh").0, 0);
    assert_eq!(node.all(), before);
    node.say("adopt cni");
    node.write("usr/libexec/edgekeep/edgekeep-ipam", "edgekeep 2");
    assert_eq!(node.say("adopt cni --refresh").0, 0);
    assert_eq!(node.read("opt/cni/bin/edgekeep-ipam"), "edgekeep 2");
}

#[test]
fn without_configuration_or_with_a_wrong_program_it_fails_and_says_what_to_do() {
    let node = node("fail");
    let (code, said) = node.say(&format!("adopt cni --plugin {}", node.path("opt/cni/bin/bridge").display()));
    assert!(code == 1 && said.contains("--plugin"), "{said}");
    fs::remove_file(node.path("etc/cni/net.d/10-flannel.conflist")).unwrap();
    let (code, said) = node.say("adopt cni");
    assert!(code == 1 && said.contains("--conf-dir"), "{said}");
}

#[test]
fn p1_leases_of_running_pods_are_taken_over_at_once_so_that_the_first_to_stop_keeps_its_address_too() {
    let node = node("take-over");
    node.write("var/lib/cni/networks/cbr0/10.244.1.5", "c1\r\neth0");
    node.write(
        "var/lib/cni/results/cbr0-c1-eth0",
        r#"{"kind":"cniCacheV1","cniArgs":[["K8S_POD_NAMESPACE","shop"],["K8S_POD_NAME","web-0"]]}"#,
    );
    assert_eq!(node.say("adopt cni --dry-run").0, 0);
    assert!(!node.path("var/lib/edgekeep/ipam/cbr0").exists(), "a dry run takes nothing over");
    assert_eq!(node.say("adopt cni").0, 0);
    let leases = Command::new(env!("CARGO_BIN_EXE_edgekeep"))
        .args(["leases", "-o", "json", "--state-dir"])
        .arg(node.path("var/lib/edgekeep/ipam"))
        .output()
        .unwrap();
    let text = String::from_utf8(leases.stdout).unwrap();
    assert!(text.contains("web-0") && text.contains("10.244.1.5") && text.contains("foreign"), "{text}");
}

#[test]
fn leases_are_shown_checked_exported_and_released() {
    let node = node("leases");
    node.write("var/lib/cni/networks/cbr0/10.244.1.5", "c1\r\neth0");
    node.write(
        "var/lib/cni/results/cbr0-c1-eth0",
        r#"{"kind":"cniCacheV1","cniArgs":[["K8S_POD_NAMESPACE","shop"],["K8S_POD_NAME","web-0"]]}"#,
    );
    assert_eq!(node.say("adopt cni").0, 0);
    let state = node.path("var/lib/edgekeep/ipam");
    let run = node.path("run/edgekeep/ipam");
    let leases = |words: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgekeep"));
        command.arg("leases").args(words.split_whitespace());
        let Output { status, stdout, stderr } =
            command.arg("--state-dir").arg(&state).arg("--run-dir").arg(&run).output().unwrap();
        (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
    };
    assert!(leases("--pod shop/web-0").1.contains("10.244.1.5"));
    assert!(!leases("--pod shop/web-1").1.contains("10.244.1.5"));
    assert!(!leases("--state parked").1.contains("10.244.1.5"));
    let (code, said) = leases("check");
    assert_eq!(code, 0, "{said}");
    let out = node.path("out");
    assert_eq!(leases(&format!("export --to {}", out.display())).0, 0);
    assert!(out.join("cbr0/10.244.1.5_shop_web-0").exists(), "OpenYurt's layout");
    let (code, said) = leases("release shop/web-0");
    assert!(code == 1 && said.contains("--force"), "{said}");
    assert_eq!(leases("release shop/web-0 --force").0, 0);
    assert!(!node.path("var/lib/cni/networks/cbr0/10.244.1.5").exists());
    let (code, said) = leases("release 10.244.1.5");
    assert!(code == 1 && said.contains("nothing is held"), "{said}");
    node.write("var/lib/cni/networks/cbr0/10.244.1.6", "c2\r\neth0");
    assert!(leases("").1.contains("10.244.1.6"), "a lease that another program made since is shown too");
}
