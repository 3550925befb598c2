//! `edgekeep adopt kubelet` and `edgekeep revert kubelet` through the real program, with real certificates, below a root of
//! their own.

// A test: where something is not there that must be, to end at that line is the answer.
#![allow(clippy::unwrap_used)]

#[path = "support/kubeadm.rs"]
mod kubeadm;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kubeadm::{Cluster, PKI, kubeadm};
use support::Node;

const CONF: &str = "etc/edgekeep/kubelet.conf";
const DROP_IN: &str = "etc/systemd/system/kubelet.service.d/90-edgekeep.conf";
const HUBS: &str = "var/lib/edgekeep/hub/node/current.pem";

/// Every file of the node, but for the hub's and for copies.
fn of_others(node: &Node) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    node.all().into_iter().filter(|(path, _)| !path.to_string_lossy().contains("var/lib/edgekeep")).collect()
}

#[test]
fn there_and_back_through_the_program_leaves_every_byte() {
    let node = kubeadm("back", &Cluster::new());
    let before = of_others(&node);
    let (code, said) = node.say("adopt kubelet --dry-run");
    assert!(
        code == 0 && said.contains("+    server: \"https://127.0.0.1:10461\"") && said.contains("dry run"),
        "{said}"
    );
    assert_eq!(node.all(), before);
    assert_eq!(node.say("adopt kubelet --check").0, 3);

    let (code, said) = node.say("adopt kubelet");
    assert!(code == 0 && said.contains("Done."), "{said}");
    assert!(
        node.read(CONF).contains("/var/lib/edgekeep/hub/pki/kubelet.crt")
            && !node.read(CONF).contains("edgekeep-kubelet")
    );
    assert!(node.read(DROP_IN).contains("--kubeconfig=/etc/edgekeep/kubelet.conf"));
    let mode = |path: &str| fs::metadata(node.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(CONF), mode(DROP_IN), mode("var/lib/edgekeep/hub/pki/kubelet.key")),
        (0o600, 0o644, 0o600)
    );
    assert!(node.say("adopt kubelet").1.contains("Nothing to change"));
    assert_eq!(node.say("adopt kubelet --check").0, 0);

    assert_eq!(node.say("revert kubelet").0, 0);
    assert_eq!(of_others(&node), before);
    assert!(node.say("revert kubelet").1.contains("Nothing to change"));
}

#[test]
fn a_renewed_certificate_is_behind_kubelets_link_after_the_way_back() {
    let cluster = Cluster::new();
    let node = kubeadm("renewed", &cluster);
    node.say("adopt kubelet");
    let renewed = cluster.node("edge-1", 2150);
    node.write(HUBS, &renewed);
    let (code, said) = node.say("revert kubelet");
    assert!(code == 0 && said.contains("counts until 2150-01-01") && !said.contains("PRIVATE KEY"), "{said}");
    let link = node.path(PKI).join("kubelet-client-current.pem");
    let to = fs::read_link(&link).unwrap();
    // As a path of the node, whatever directory its root is here.
    assert_eq!(to, Path::new("/").join(PKI).join("kubelet-client-2020-01-01-00-00-00.pem"));
    let pem = format!("{PKI}/kubelet-client-2020-01-01-00-00-00.pem");
    assert_eq!(node.read(&pem), renewed);
    assert_eq!(fs::metadata(node.path(&pem)).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!node.read(&format!("{PKI}/kubelet-client-1.pem")).is_empty(), "the old one stays beside it");
}

#[test]
fn a_certificate_of_another_cluster_a_worse_one_and_one_without_its_key_are_not_handed_over() {
    let cluster = Cluster::new();
    let renewed = cluster.node("edge-1", 2150);
    let without_key = renewed.split("-----BEGIN PRIVATE").next().unwrap().to_owned();
    let wrong_key = without_key.clone()
        + "-----BEGIN PRIVATE"
        + cluster.node("edge-1", 2150).split("-----BEGIN PRIVATE").nth(1).unwrap();
    for (hubs, why) in [
        (Cluster::new().node("edge-1", 2150), "another cluster"),
        (cluster.node("edge-1", 2090), ""),
        (without_key, "cannot be used"),
        (wrong_key, "cannot be used"),
        (cluster.node("edge-2", 2150), "system:node:edge-2"),
    ] {
        let node = kubeadm("worse", &cluster);
        let before = of_others(&node);
        node.say("adopt kubelet");
        node.write(HUBS, &hubs);
        let (code, said) = node.say("revert kubelet");
        assert!(code == 0 && said.contains(why), "{why}: {said}");
        assert_eq!(of_others(&node), before, "{why}");
    }
}

#[test]
fn what_cannot_be_adopted_has_its_exit_code_and_says_what_to_do_by_hand() {
    let node = Node::new("kubelet-k3s");
    node.write("etc/systemd/system/k3s-agent.service", "[Service]\nExecStart=/usr/local/bin/k3s agent\n");
    let before = node.all();
    let (code, said) = node.say("adopt kubelet");
    assert!(code == 3 && said.contains("this node runs k3s") && said.contains("to do "), "{said}");
    assert_eq!(node.all(), before);
    let (code, said) = node.say("adopt kubelet --print-kubeconfig");
    assert!(code == 0 && said.contains("server: \"https://127.0.0.1:10461\""), "{said}");
}

#[test]
fn the_hubs_configuration_says_where_it_is() {
    let node = kubeadm("config", &Cluster::new());
    let head = "apiVersion: hub.edgekeep/v1alpha1\nkind: HubConfiguration\n";
    let text = format!("{head}listen: ['169.254.77.1:444', '127.0.0.1:444']\nstateDir: /data/hub\n");
    node.write("etc/edgekeep/hub.yaml", &text);
    assert_eq!(node.say("adopt kubelet").0, 0);
    assert!(
        node.read(CONF).contains("https://127.0.0.1:444\"") && node.path("data/hub/pki/kubelet.crt").exists()
    );
    assert_eq!(node.say("adopt kubelet --check").0, 0);
    node.write("etc/edgekeep/hub.yaml", &text.replace("444", "445"));
    let (code, said) = node.say("adopt kubelet --check");
    assert!(code == 3 && said.contains("the hub is at https://127.0.0.1:445"), "{said}");

    // A configuration that is broken stops the adoption and not the way back.
    node.write("etc/edgekeep/hub.yaml", "listn: x\n");
    assert_eq!(node.say("adopt kubelet").0, 1);
    let (code, said) = node.say("revert kubelet");
    assert!(code == 0 && said.contains("as if it were not there") && !node.path(DROP_IN).exists(), "{said}");
}

#[test]
fn the_report_for_programs_is_one_json_document() {
    let node = kubeadm("json", &Cluster::new());
    let say = |words: &str| serde_json::from_slice::<serde_json::Value>(&node.run(words).stdout).unwrap();
    let report = say("adopt kubelet -o json");
    assert_eq!(
        (&report["complete"], &report["changes"], &report["restart"]),
        (&true.into(), &true.into(), &"notNeeded".into())
    );
    assert_eq!(report["files"][1]["verdict"], "change");
    assert!(report["files"][1]["path"].as_str().unwrap().ends_with(DROP_IN));
    assert!(report["files"][0]["diff"].as_str().unwrap().contains("+++"));
    assert_eq!(say("adopt kubelet --check -o json")["standing"], "atHub");
    node.write("etc/default/kubelet", "KUBELET_EXTRA_ARGS=--kubeconfig=/x\n");
    let standing = say("adopt kubelet --check -o json");
    assert_eq!(standing["standing"], "adrift");
    assert!(standing["reasons"][0].as_str().unwrap().contains("/etc/default/kubelet says --kubeconfig=/x"));
    let report = say("adopt kubelet -o json");
    assert!(
        report["complete"] == false && report["cannot"].is_string() && report["toDo"][0].is_string(),
        "{report}"
    );
}
