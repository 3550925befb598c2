//! `edgekeep doctor` through the real program: a node that is adopted as operators do it, and one thing broken at a time.
//! None may be a false green.

// A test: where something is not there that must be, to end at that line is the answer.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cold_boot.rs"]
mod cold_boot;
#[path = "support/kubeadm.rs"]
mod kubeadm;
mod support;

use cold_boot::{ColdBoot, Hub, NODE, PODS, attachment, named};
use serde_json::{Value, json};

/// What is done to a node.
type Act = fn(&mut ColdBoot);
/// What is broken, how, and what doctor must name.
type Breakage = (&'static str, Act, &'static str);

/// Breaks one thing after the other, each on a node of its own.
fn each_is(code: i32, breakages: &[Breakage]) {
    for (what, breaks, named) in breakages {
        let mut boot = ColdBoot::new();
        breaks(&mut boot);
        let (found, said) = boot.doctor(&[]);
        assert_eq!(found, code, "{what}:\n{said}");
        let word = if code == 1 { "missing " } else { "unknown " };
        let named_so = |line: &str| line.starts_with(word) && line.contains(named);
        assert!(said.lines().any(named_so), "{what}: {named} is not named:\n{said}");
    }
}

#[test]
fn p9_a_node_that_would_survive_is_green() {
    let boot = ColdBoot::new();
    let (code, said) = boot.doctor(&[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.lines().filter(|line| line.starts_with("ok ")).count() == 9, "{said}");
    assert!(
        said.contains("Yes: this node would survive") && said.contains("first ends 2027-01-01"),
        "{said}"
    );
}

#[test]
fn p9_pods_that_an_outage_deletes_are_named_and_the_node_boots_all_the_same() {
    let mut boot = ColdBoot::new();
    let usual = |key: &str| json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 });
    let both = json!([usual("node.kubernetes.io/not-ready"), usual("node.kubernetes.io/unreachable")]);
    boot.show(PODS, "/items/0/spec/tolerations", both);
    let (code, said) = boot.doctor(&[]);
    assert_eq!(code, 0, "{said}");
    for line in [
        "ok       outage     2 pods outlast an outage of any length\n",
        "note     outage     an outage of more than 300 seconds\n",
        "strikes shop/web-0\n",
        "Yes: this node would survive a reboot with the link cut. One of its pods would not outlast a long outage.\n",
    ] {
        assert!(said.contains(line), "{line}{said}");
    }
}

#[test]
fn to_look_changes_nothing() {
    let boot = ColdBoot::new();
    let files = || {
        let mut all = boot.node.all();
        all.retain(|(path, _)| !path.ends_with("admin.sock"));
        all
    };
    let before = files();
    assert_eq!(boot.doctor(&[]).0, 0);
    assert_eq!(files(), before);
}

#[test]
fn p9_whatever_the_hub_could_not_answer_is_missing_by_name() {
    each_is(
        1,
        &[
            ("the node was never read", |b| b.forget(NODE), "node edge-1"),
            ("the pods were never read", |b| b.forget(PODS), "the list of this node's pods"),
            ("services", |b| b.forget("/api/v1/services?resourceVersion=0"), "the list of services"),
            (
                "runtime classes",
                |b| b.forget("/apis/node.k8s.io/v1/runtimeclasses?resourceVersion=0"),
                "the list of runtime classes",
            ),
            (
                "CSI drivers",
                |b| b.forget("/apis/storage.k8s.io/v1/csidrivers?resourceVersion=0"),
                "the list of CSI drivers",
            ),
            ("CSI node", |b| b.forget("/apis/storage.k8s.io/v1/csinodes/edge-1"), "CSI node edge-1"),
            (
                "the node was made anew under its name",
                |b| b.show(NODE, "/items/0/metadata/uid", "other".into()),
                "CSI node edge-1",
            ),
            ("a secret", |b| b.forget(&named("secrets", "db")), "secret shop/db"),
            ("a pull secret", |b| b.forget(&named("secrets", "pull")), "secret shop/pull"),
            (
                "a config map",
                |b| b.forget(&named("configmaps", "kube-root-ca.crt")),
                "config map shop/kube-root-ca.crt",
            ),
            ("an optional one", |b| b.forget(&named("configmaps", "extra")), "config map shop/extra"),
            (
                "a token",
                |b| b.forget("/api/v1/namespaces/shop/serviceaccounts/web/token"),
                "token of shop/web for the API server, bound to pod web-0",
            ),
            (
                "a claim",
                |b| b.forget("/api/v1/namespaces/shop/persistentvolumeclaims/data"),
                "persistent volume claim shop/data",
            ),
            ("a volume", |b| b.forget("/api/v1/persistentvolumes/pv"), "persistent volume pv"),
            ("its attachment", |b| b.forget(&attachment()), "attachment of volume pv"),
            (
                "a pod that came a moment ago",
                |b| {
                    let env = json!([{ "secretRef": { "name": "new" } }]);
                    b.show(
                        PODS,
                        "/items/2/spec/containers/0",
                        json!({ "name": "c", "image": "web:1", "imagePullPolicy": "Never", "envFrom": env }),
                    );
                },
                "secret kube-system/new",
            ),
            (
                "an image that is pulled each time",
                |b| b.show(PODS, "/items/0/spec/containers/0/imagePullPolicy", "Always".into()),
                "image web:1",
            ),
            (
                "an image that was collected",
                |b| b.show(NODE, "/items/0/status/images/1", json!({ "names": ["x:1"] })),
                "image db:1",
            ),
        ],
    );
}

#[test]
fn p9_whatever_would_not_start_is_missing_by_name() {
    each_is(
        1,
        &[
            ("the hub does not run", |b| b.hub = Hub::Silent, "the hub"),
            ("the hub is masked", |b| b.mask("edgekeep-hub.service"), "edgekeep-hub.service"),
            (
                "the hub was removed",
                |b| b.remove("usr/lib/systemd/system/edgekeep-hub.service"),
                "edgekeep-hub.service",
            ),
            (
                "the hub's configuration is broken",
                |b| b.node.write("etc/edgekeep/hub.yaml", "listn: x\n"),
                "the hub's configuration",
            ),
            (
                "kubelet is disabled",
                |b| b.remove("etc/systemd/system/multi-user.target.wants/kubelet.service"),
                "kubelet.service",
            ),
            ("kubelet is masked", |b| b.mask("kubelet.service"), "kubelet.service"),
            (
                "kubelet's unit is in /run",
                |b| {
                    let unit = b.node.read("usr/lib/systemd/system/kubelet.service");
                    b.remove("usr/lib/systemd/system/kubelet.service");
                    b.node.write("run/systemd/system/kubelet.service", &unit);
                },
                "kubelet.service",
            ),
            (
                "kubelet's program is gone",
                |b| b.remove("usr/bin/kubelet"),
                "kubelet itself, /usr/bin/kubelet",
            ),
            (
                "kubelet's configuration is gone",
                |b| b.remove("var/lib/kubelet/config.yaml"),
                "kubelet's configuration",
            ),
            (
                "its authority is gone",
                |b| b.remove("etc/kubernetes/pki/ca.crt"),
                "/etc/kubernetes/pki/ca.crt",
            ),
            (
                "containerd is disabled",
                |b| b.remove("etc/systemd/system/multi-user.target.wants/containerd.service"),
                "containerd.service",
            ),
        ],
    );
}

#[test]
fn p9_whatever_leads_kubelet_past_the_hub_is_missing_by_name() {
    each_is(
        1,
        &[
            (
                "kubelet was never adopted",
                |b| assert_eq!(b.node.say("revert kubelet").0, 0),
                "kubelet's way to the hub",
            ),
            (
                "the drop-in is gone",
                |b| b.remove("etc/systemd/system/kubelet.service.d/90-edgekeep.conf"),
                "kubelet's way to the hub",
            ),
            (
                "a variable leads kubelet elsewhere",
                |b| {
                    let file =
                        b.node.read("etc/default/kubelet").replace("=--config", "=--kubeconfig=/x --config");
                    b.node.write("etc/default/kubelet", &file);
                },
                "kubelet's way to the hub",
            ),
            (
                "the way to the hub is gone",
                |b| b.remove("etc/edgekeep/kubelet.conf"),
                "/etc/edgekeep/kubelet.conf",
            ),
            (
                "kubelet's key for the hub is gone",
                |b| b.remove("var/lib/edgekeep/hub/pki/kubelet.key"),
                "kubelet's way",
            ),
            ("kubeadm reset", |b| b.remove("etc/kubernetes/kubelet.conf"), "/etc/kubernetes/kubelet.conf"),
        ],
    );
}

#[test]
fn p9_whatever_a_reboot_would_take_away_is_missing_by_name() {
    fn tmpfs(b: &ColdBoot, at: &str) {
        b.mount(&format!("40 21 0:40 / {at} rw - tmpfs tmpfs rw"));
    }
    each_is(
        1,
        &[
            ("the hub's state is in memory", |b| tmpfs(b, "/var/lib/edgekeep/hub"), "the hub's state"),
            ("the hub's state was removed", |b| b.remove("var/lib/edgekeep/hub"), "the hub's state"),
            ("the bindings are in memory", |b| tmpfs(b, "/var/lib/edgekeep/ipam"), "the bindings"),
            ("kubelet's directory is in memory", |b| tmpfs(b, "/var/lib/kubelet"), "kubelet's directory"),
            (
                "kubelet's certificates are in memory",
                |b| tmpfs(b, "/var/lib/kubelet/pki"),
                "kubelet's certificates",
            ),
            ("images are in memory", |b| tmpfs(b, "/var/lib/containerd"), "the runtime's images"),
            (
                "containerd keeps images elsewhere",
                |b| {
                    b.node.write(
                        "etc/containerd/config.toml",
                        "version = 2\nroot = \"/run/images\"\n[grpc]\nroot = \"/x\"\n",
                    )
                },
                "the runtime's images, /run/images",
            ),
            ("the CNI configuration is in memory", |b| tmpfs(b, "/etc/cni/net.d"), "the CNI configuration"),
            ("CNI plugins are in memory", |b| tmpfs(b, "/opt/cni/bin"), "CNI plugins"),
            ("all of /etc is in memory", |b| tmpfs(b, "/etc"), "what starts kubelet"),
            (
                "the root is an overlay in memory",
                |b| {
                    b.mount("41 1 0:41 / / rw - overlay overlayroot rw,lowerdir=/media/ro,upperdir=/run/upper,workdir=/run/work")
                },
                "the hub's state",
            ),
            (
                "the disk became read-only",
                |b| b.mount("42 21 8:2 / /var ro - ext4 /dev/sda2 rw,errors=remount-ro"),
                "the hub's state",
            ),
            (
                "the hub's state is a link into memory",
                |b| {
                    let (state, run) = (b.node.path("var/lib/edgekeep/hub"), b.node.path("run/hub"));
                    std::fs::create_dir_all(run.parent().unwrap()).unwrap();
                    std::fs::rename(&state, run).unwrap();
                    std::os::unix::fs::symlink("/run/hub", state).unwrap();
                },
                "the hub's state",
            ),
        ],
    );
}

#[test]
fn p9_whatever_pods_would_lack_of_their_network_is_missing_by_name() {
    each_is(
        1,
        &[
            (
                "a binding was released",
                |b| {
                    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_edgekeep"));
                    command.args(["leases", "release", "shop/web-0", "--force", "--state-dir"]);
                    command
                        .arg(b.node.path("var/lib/edgekeep/ipam"))
                        .arg("--run-dir")
                        .arg(b.node.path("run/ipam"));
                    assert!(command.output().unwrap().status.success());
                },
                "address 10.244.1.5",
            ),
            (
                "a pod has another address than the one that is held",
                |b| b.show(PODS, "/items/1/status/podIP", "10.244.1.9".into()),
                "address 10.244.1.9",
            ),
            ("the journal is gone", |b| b.remove("var/lib/edgekeep/ipam/cbr0"), "address 10.244.1.5"),
            ("all bindings are gone", |b| b.remove("var/lib/edgekeep/ipam"), "the bindings"),
            (
                "the CNI configuration is gone",
                |b| b.remove("etc/cni/net.d/10-bridge.conflist"),
                "the CNI configuration",
            ),
            (
                "the CNI configuration is torn",
                |b| b.node.write("etc/cni/net.d/10-bridge.conflist", "{\"name\":"),
                "10-bridge.conflist",
            ),
            ("a plugin is gone", |b| b.remove("opt/cni/bin/bridge"), "CNI plugin bridge"),
            ("a chained plugin is gone", |b| b.remove("opt/cni/bin/portmap"), "CNI plugin portmap"),
            ("our plugin is gone", |b| b.remove("opt/cni/bin/edgekeep-ipam"), "CNI plugin edgekeep-ipam"),
            ("the CNI was reverted", |b| assert_eq!(b.node.say("revert cni").0, 0), "10-bridge.conflist"),
            (
                "another configuration goes first",
                |b| {
                    b.node.write(
                        "etc/cni/net.d/00-x.conf",
                        r#"{"name":"x","type":"bridge","ipam":{"type":"host-local"}}"#,
                    )
                },
                "00-x.conf",
            ),
        ],
    );
}

#[test]
fn p9_what_cannot_be_found_out_is_never_green() {
    each_is(
        2,
        &[
            (
                "the hub is of an older version",
                |b| b.hub = Hub::Says("HTTP/1.0 404 Not Found\r\n\r\nhere is /status\n"),
                "the hub",
            ),
            (
                "the hub says something odd",
                |b| b.hub = Hub::Says("HTTP/1.0 200 OK\r\n\r\n{\"findings\":[]}"),
                "the hub",
            ),
            ("kubelet tells of no images", |b| b.show(NODE, "/items/0/status", json!({})), "image web:1"),
            ("file systems are not told", |b| b.remove("proc/self/mountinfo"), "the hub's state"),
            (
                "the runtime is none that we know",
                |b| {
                    let file = b.node.read("etc/default/kubelet").replace("containerd.sock", "other.sock");
                    b.node.write("etc/default/kubelet", &file);
                },
                "the runtime at unix:///run/containerd/other.sock",
            ),
            (
                "the CNI has addresses of its own",
                |b| {
                    let conf =
                        r#"{"name":"k8s","plugins":[{"type":"bridge","ipam":{"type":"calico-ipam"}}]}"#;
                    b.node.write("etc/cni/net.d/00-calico.conflist", conf);
                    b.node.write("opt/cni/bin/calico-ipam", "calico");
                },
                "00-calico.conflist",
            ),
            (
                "kubelet's configuration is not understood",
                |b| b.node.write("var/lib/kubelet/config.yaml", "a: *b\n"),
                "kubelet's configuration",
            ),
        ],
    );
}

#[test]
fn what_does_no_harm_is_green() {
    let harmless: [(&str, Act); 5] = [
        ("host-local's directory is in memory", |b| b.mount("40 21 0:40 / /var/lib/cni rw - tmpfs tmpfs rw")),
        ("a token has ended", |b| {
            let token = "/api/v1/namespaces/shop/serviceaccounts/web/token";
            b.show(token, "/status/expirationTimestamp", "2026-01-01T00:00:00Z".into());
        }),
        ("a pod has finished", |b| {
            b.show(PODS, "/items/0/status/phase", "Succeeded".into());
            b.forget(&named("secrets", "db"));
        }),
        ("an optional config map does not exist", |b| {
            b.show(&named("configmaps", "extra"), "/items", json!([]));
        }),
        ("the hub is started by its socket alone", |b| {
            b.node.write("etc/systemd/system/sockets.target.wants/edgekeep-hub.socket", "");
            let path = "etc/systemd/system/kubelet.service.d/90-edgekeep.conf";
            let without = b.node.read(path).replace("edgekeep-hub.service", "");
            b.node.write(path, &without);
        }),
    ];
    for (what, does) in harmless {
        let mut boot = ColdBoot::new();
        does(&mut boot);
        let (code, said) = boot.doctor(&[]);
        assert_eq!(code, 0, "{what}:\n{said}");
    }
}

#[test]
fn a_node_on_which_only_the_host_has_a_network_needs_no_cni() {
    let mut boot = ColdBoot::new();
    for number in [0, 1] {
        boot.show(
            PODS,
            &format!("/items/{number}/metadata"),
            json!({ "deletionTimestamp": "2026-11-24T00:00:00Z" }),
        );
    }
    boot.remove("etc/cni/net.d/10-bridge.conflist");
    let (code, said) = boot.doctor(&[]);
    assert!(code == 0 && said.contains("note "), "{said}");
}

#[test]
fn a_cni_that_is_elsewhere_can_be_named() {
    let boot = ColdBoot::new();
    for (from, to) in [("etc/cni/net.d", "data/conf"), ("opt/cni/bin", "data/bin")] {
        std::fs::create_dir_all(boot.node.path("data")).unwrap();
        std::fs::rename(boot.node.path(from), boot.node.path(to)).unwrap();
    }
    assert_eq!(boot.doctor(&[]).0, 1);
    let at = |path: &str| boot.node.path(path).display().to_string();
    let (code, said) = boot.doctor(&["--conf-dir", &at("data/conf"), "--bin-dir", &at("data/bin")]);
    assert_eq!(code, 0, "{said}");
    boot.mount("40 21 0:40 / /data rw - tmpfs tmpfs rw");
    let (code, said) = boot.doctor(&["--conf-dir", &at("data/conf"), "--bin-dir", &at("data/bin")]);
    assert!(code == 1 && said.contains("in memory (tmpfs)"), "{said}");
}

#[test]
fn without_its_hub_the_machine_is_still_looked_at() {
    let mut boot = ColdBoot::new();
    boot.hub = Hub::Silent;
    boot.remove("usr/bin/kubelet");
    let (code, said) = boot.doctor(&[]);
    assert!(
        code == 1 && said.contains("the hub does not answer at") && said.contains("kubelet itself"),
        "{said}"
    );
    assert!(said.contains("unknown  objects") && said.contains("2 things would be missing"), "{said}");
}

#[test]
fn the_report_for_programs_is_one_json_document() {
    let mut boot = ColdBoot::new();
    let say = |boot: &ColdBoot| serde_json::from_str::<Value>(&boot.doctor(&["-o", "json"]).1).unwrap();
    let report = say(&boot);
    assert_eq!((&report["verdict"], &report["findings"]), (&json!("survives"), &json!([])));
    assert_eq!(report["hub"]["tokens"][0]["until"], 1_798_761_600);
    boot.forget(&named("secrets", "db"));
    let report = say(&boot);
    assert_eq!(report["verdict"], "misses");
    let finding = &report["findings"][0];
    assert_eq!((&finding["area"], &finding["gravity"]), (&json!("objects"), &json!("missing")));
    assert_eq!((&finding["what"], &finding["pods"]), (&json!("secret shop/db"), &json!(["shop/web-0"])));
    assert!(finding["why"].is_string() && finding["toDo"].is_string());
    boot.hub = Hub::Silent;
    assert_eq!(say(&boot)["hub"], Value::Null);
}
