//! One test for each kind of configuration; the files stand in `testdata`, named by their CNI.

mod back;
mod crash;
mod property;

use super::plan::{BinDir, ConfFile, Facts, Fate, FilePlan, Held, Layout, Plan, plan};
use super::rules::{As, Verdict};

pub fn testdata(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn bin_dir(own: Held, stock: Held) -> BinDir {
    let names = ["bridge", "ptp", "portmap", "flannel", "host-local"].map(str::to_owned).into();
    BinDir { path: "/opt/cni/bin".into(), given: false, names, own, stock }
}

fn node(dir: &str, name: &str, content: Vec<u8>, bin_dirs: Vec<BinDir>) -> Facts {
    let path = format!("{dir}/{name}").into();
    let file = ConfFile { path, runtime: true, content: Ok(content), mode: 0o644 };
    Facts { layouts: vec![Layout { files: vec![file], bin_dirs }] }
}

fn planned(name: &str, how: As) -> Plan {
    let bins = vec![bin_dir(Held::Absent, Held::Foreign)];
    plan(&node("/etc/cni/net.d", name, testdata(name), bins), how)
}

/// The lines that go and come, without their indent.
fn lines(file: &FilePlan) -> Vec<String> {
    let diff = super::diff(file);
    let changed = diff.lines().skip(2).filter(|line| line.starts_with(['+', '-']));
    changed.map(|line| format!("{}{}", &line[..1], line[1..].trim())).collect()
}

fn programs(plan: &Plan) -> Vec<&str> {
    plan.programs.iter().map(|program| program.path.to_str().unwrap()).collect()
}

/// Adopted by one word in its configuration.
fn by_word(name: &str, lines_want: &[&str]) -> FilePlan {
    let mut plan = planned(name, As::Auto);
    assert_eq!(programs(&plan), ["/opt/cni/bin/edgekeep-ipam"], "{name}");
    let file = plan.files.remove(0);
    assert_eq!(lines(&file), lines_want, "{name}");
    assert!(file.findings.iter().all(|finding| finding.verdict != Verdict::Cannot), "{:?}", file.findings);
    file
}

/// Untouched, with this verdict and these words.
fn untouched(name: &str, verdict: Verdict, words: &[&str]) -> FilePlan {
    let mut plan = planned(name, As::Auto);
    assert_eq!(programs(&plan), [""; 0], "{name}");
    let file = plan.files.remove(0);
    assert_eq!(file.change, None, "{name}");
    assert_eq!(file.findings[0].verdict, verdict, "{:?}", file.findings);
    for word in words {
        assert!(file.findings[0].text.contains(word), "{word}: {:?}", file.findings);
    }
    file
}

fn advised(file: &FilePlan, words: &[&str]) {
    let advice = file.advice.join("\n");
    for word in words {
        assert!(advice.contains(word), "{word} in {advice}");
    }
}

const WORD: [&str; 2] = ["-\"type\": \"host-local\",", "+\"type\": \"edgekeep-ipam\","];

#[test]
fn bridge_changes_one_word_in_conf_and_conflist() {
    let file = by_word("bridge.conf", &WORD);
    assert_eq!((file.network.as_deref(), file.advice.len()), (Some("edge"), 0));
    let file = by_word(
        "bridge.conflist",
        &[
            "-\"ipam\": { \"ranges\": [ [ { \"subnet\": \"10.85.0.0/16\" } ] ], \"routes\": [ { \"dst\": \"0.0.0.0/0\" } ], \"type\":\"host-local\" }",
            "+\"ipam\": { \"ranges\": [ [ { \"subnet\": \"10.85.0.0/16\" } ] ], \"routes\": [ { \"dst\": \"0.0.0.0/0\" } ], \"type\":\"edgekeep-ipam\" }",
        ],
    );
    let verdicts: Vec<Verdict> = file.findings.iter().map(|finding| finding.verdict).collect();
    assert_eq!(verdicts, [Verdict::Change, Verdict::Leave, Verdict::Leave]);
    assert_eq!(file.findings[1].place, "plugins[1]");
}

#[test]
fn ptp_macvlan_ipvlan_vlan_and_tap_change_one_word() {
    let one_word = |name: &str| {
        let mut plan = planned(name, As::Auto);
        let change = plan.files.remove(0).change.unwrap();
        let (old, new) = (String::from_utf8(change.old).unwrap(), String::from_utf8(change.new).unwrap());
        assert_eq!(new, old.replacen("\"host-local\"", "\"edgekeep-ipam\"", 1), "{name}");
        plan
    };
    for name in ["macvlan.conf", "ipvlan.conflist", "vlan.conf", "tap.conflist"] {
        let data: Vec<_> = one_word(name).data_dirs.into_iter().collect();
        assert_eq!(data, [std::path::Path::new("/var/lib/cni/networks")], "{name}");
    }
    let data: Vec<_> = one_word("ptp.conflist").data_dirs.into_iter().collect();
    assert_eq!(data, [std::path::Path::new("/run/cni/networks")]);
}

#[test]
fn host_device_is_adopted_and_its_leak_after_a_reboot_named() {
    let file = by_word(
        "host-device.conf",
        &[
            "-\"ipam\": { \"type\": \"host-local\", \"subnet\": \"172.16.9.0/28\" }",
            "+\"ipam\": { \"type\": \"edgekeep-ipam\", \"subnet\": \"172.16.9.0/28\" }",
        ],
    );
    advised(&file, &["plugins#1196"]);
}

#[test]
fn other_sources_of_addresses_are_left_alone_with_the_reason() {
    untouched("macvlan-dhcp.conf", Verdict::Leave, &["DHCP server"]);
    untouched("macvlan-static.conf", Verdict::Leave, &["written into the configuration"]);
    untouched("macvlan-whereabouts.conf", Verdict::Leave, &["whole cluster"]);
    untouched("loopback.conf", Verdict::Leave, &["no addresses"]);
}

#[test]
fn flannel_is_given_a_top_level_ipam_and_the_config_map_is_named() {
    let file = by_word("flannel.conflist", &["+\"ipam\": {\"type\": \"edgekeep-ipam\"},"]);
    advised(
        &file,
        &["kube-flannel-cfg", "cni-conf.json", "{\"type\": \"edgekeep-ipam\"}", "once every node", "#532"],
    );
    by_word("flannel-routes.conflist", &["+\"type\": \"edgekeep-ipam\","]);
    by_word(
        "flannel-typed.conf",
        &[
            "-\"ipam\": { \"type\": \"host-local\", \"dataDir\": \"/var/lib/cni/flannel-leases\" }",
            "+\"ipam\": { \"type\": \"edgekeep-ipam\", \"dataDir\": \"/var/lib/cni/flannel-leases\" }",
        ],
    );
}

#[test]
fn flannel_with_a_subnet_of_its_own_or_a_delegate_that_it_refuses_is_not_touched() {
    untouched("flannel-subnet.conflist", Verdict::Cannot, &["overlaps the ranges", "take `subnet` out"]);
    let refused = br#"{"name":"a","type":"flannel","delegate":{"ipam":{"type":"host-local"}}}"#;
    let bins = vec![bin_dir(Held::Absent, Held::Foreign)];
    let plan = plan(&node("/etc/cni/net.d", "10-f.conf", refused.to_vec(), bins), As::Auto);
    assert!(plan.files[0].findings[0].text.contains("`delegate` with `ipam`"));
    assert_eq!(plan.files[0].change, None);
}

#[test]
fn k3s_writes_its_flannel_configuration_at_each_start_and_its_option_is_named() {
    let dir = "/var/lib/rancher/k3s/agent/etc/cni/net.d";
    let bins = vec![bin_dir(Held::Absent, Held::Foreign)];
    let plan = plan(&node(dir, "10-flannel.conflist", testdata("k3s.conflist"), bins), As::Auto);
    assert_eq!(lines(&plan.files[0]), ["+\"ipam\":{\"type\":\"edgekeep-ipam\"},"]);
    advised(&plan.files[0], &["flannel-cni-conf: /etc/rancher/k3s/flannel-cni.conflist", dir]);
}

#[test]
fn calico_with_host_local_is_adopted_under_the_name_host_local_only() {
    let plan = planned("calico-host-local.conflist", As::Auto);
    assert_eq!(programs(&plan), ["/opt/cni/bin/host-local"]);
    assert_eq!(plan.programs[0].fate, Fate::Put { over: Held::Foreign });
    assert_eq!((&plan.files[0].change, plan.files[0].findings[0].verdict), (&None, Verdict::Change));
    assert!(plan.files[0].findings[0].text.contains("usePodCidr"));
    advised(&plan.files[0], &["install-cni", "SKIP_CNI_BINARIES", "UPDATE_CNI_BINARIES=false"]);

    let plan = planned("calico-host-local.conflist", As::OwnName);
    assert_eq!((programs(&plan).len(), plan.files[0].findings[0].verdict), (0, Verdict::Cannot));
    assert!(plan.files[0].findings[0].text.contains("--as host-local"));
}

#[test]
fn calico_ipam_cannot_be_replaced_and_our_name_under_calico_is_pointed_out() {
    untouched("calico-ipam.conflist", Verdict::Cannot, &["whole cluster", "usePodCidr"]);
    let plan = planned("calico-by-hand.conflist", As::Auto);
    assert_eq!(plan.files[0].findings[0].verdict, Verdict::Cannot);
    assert!(plan.files[0].findings[0].text.contains("set it back to host-local"));
}

#[test]
fn the_kindnet_of_kind_is_adopted_under_the_name_host_local_and_the_newer_one_refused() {
    let plan = planned("kindnet.conflist", As::Auto);
    assert_eq!(programs(&plan), ["/opt/cni/bin/host-local"]);
    assert!(plan.files[0].findings[0].text.contains("compiled in"));
    assert!(plan.data_dirs.contains(std::path::Path::new("/run/cni-ipam-state")));
    untouched("kindnet-own-ipam.conflist", Verdict::Cannot, &["database of its own"]);
}

#[test]
fn antrea_is_recognised_and_refused() {
    untouched("antrea.conflist", Verdict::Cannot, &["inside its own image"]);
    assert_eq!(planned("antrea.conflist", As::StockName).files[0].findings[0].verdict, Verdict::Cannot);
}

#[test]
fn cilium_is_adopted_where_it_delegates_and_told_how_to_where_it_does_not() {
    let file = by_word("cilium-delegated.conflist", &WORD);
    advised(&file, &["cni.customConf=true", "read-cni-conf"]);
    untouched("cilium.conflist", Verdict::Cannot, &["ipam.mode=delegated-plugin", "cni.customConf=true"]);
    let plan = planned("cilium-chained.conflist", As::Auto);
    assert_eq!(plan.files[0].findings[1].verdict, Verdict::Leave);
    assert!(plan.files[0].change.is_some());
}

#[test]
fn kube_router_is_adopted_and_its_config_map_named() {
    let word = ["-\"type\":\"host-local\"", "+\"type\":\"edgekeep-ipam\""];
    let file = by_word("10-kuberouter.conflist", &word);
    advised(&file, &["kube-router-cfg", "cni-conf.json"]);
}

#[test]
fn each_delegate_of_multus_is_adopted_by_its_own_rule_and_attachments_in_the_api_are_named() {
    let file = by_word(
        "multus.conf",
        &[
            "-{ \"type\": \"flannel\", \"delegate\": { \"isDefaultGateway\": true } },",
            "+{ \"type\": \"flannel\", \"ipam\": {\"type\": \"edgekeep-ipam\"}, \"delegate\": { \"isDefaultGateway\": true } },",
            "-{ \"name\": \"storage\", \"type\": \"macvlan\", \"master\": \"eth2\", \"ipam\": { \"type\": \"host-local\", \"subnet\": \"10.50.0.0/24\" } },",
            "+{ \"name\": \"storage\", \"type\": \"macvlan\", \"master\": \"eth2\", \"ipam\": { \"type\": \"edgekeep-ipam\", \"subnet\": \"10.50.0.0/24\" } },",
        ],
    );
    advised(&file, &["NetworkAttachmentDefinition", "edgekeep-ipam"]);
    assert_eq!(file.findings[0].place, "delegates[0].plugins[0]");
    let file = untouched("multus-shim.conf", Verdict::Leave, &["10-flannel.conflist"]);
    advised(&file, &["NetworkAttachmentDefinition"]);
}

#[test]
fn a_plugin_that_no_rule_knows_is_adopted_under_the_name_host_local_only() {
    untouched("sriov.conf", Verdict::Cannot, &["does not know this plugin", "--as host-local"]);
    assert_eq!(programs(&planned("sriov.conf", As::StockName)), ["/opt/cni/bin/host-local"]);
}

#[test]
fn where_one_network_needs_the_name_host_local_all_go_by_it() {
    let bins = vec![bin_dir(Held::Absent, Held::Foreign)];
    let mut facts = node("/etc/cni/net.d", "10-canal.conflist", testdata("calico-host-local.conflist"), bins);
    let other = node("/etc/cni/net.d", "20-bridge.conf", testdata("bridge.conf"), Vec::new());
    facts.layouts[0].files.extend(other.layouts.into_iter().flat_map(|layout| layout.files));
    let plan = plan(&facts, As::Auto);
    assert_eq!((programs(&plan), &plan.files[1].change), (vec!["/opt/cni/bin/host-local"], &None));
    assert_eq!(plan.files[1].findings[0].verdict, Verdict::Change);
}

#[test]
fn under_the_name_host_local_no_configuration_changes() {
    for name in
        ["bridge.conf", "flannel.conflist", "multus.conf", "cilium-delegated.conflist", "kindnet.conflist"]
    {
        let plan = planned(name, As::StockName);
        assert_eq!(
            (programs(&plan), &plan.files[0].change),
            (vec!["/opt/cni/bin/host-local"], &None),
            "{name}"
        );
    }
}

#[test]
fn what_is_adopted_already_stays_as_it_is() {
    let mut plan = planned("multus.conf", As::Auto);
    let adopted = plan.files.remove(0).change.unwrap().new;
    let ours = Held::Ours { current: true };
    let again = super::plan::plan(
        &node("/etc/cni/net.d", "multus.conf", adopted, vec![bin_dir(ours, Held::Foreign)]),
        As::Auto,
    );
    assert_eq!((programs(&again).len(), &again.files[0].change), (0, &None));
    assert_eq!(again.files[0].findings[0].verdict, Verdict::Done);

    let bins = || vec![bin_dir(Held::Absent, ours)];
    let again = plan_of("calico-host-local.conflist", bins());
    assert_eq!((programs(&again).len(), again.files[0].findings[0].verdict), (0, Verdict::Done));
    let again = plan_of("bridge.conf", bins());
    assert_eq!((&again.files[0].change, again.files[0].findings[0].verdict), (&None, Verdict::Done));
}

fn plan_of(name: &str, bins: Vec<BinDir>) -> Plan {
    plan(&node("/etc/cni/net.d", name, testdata(name), bins), As::Auto)
}

#[test]
fn another_version_of_our_program_is_replaced_and_not_kept_as_if_it_were_stock() {
    let plan =
        plan_of("calico-host-local.conflist", vec![bin_dir(Held::Absent, Held::Ours { current: false })]);
    assert_eq!(plan.programs[0].fate, Fate::Put { over: Held::Ours { current: false } });
}

#[test]
fn no_configuration_names_us_where_no_directory_of_plugins_is_known() {
    for name in ["bridge.conf", "calico-host-local.conflist"] {
        let plan = plan_of(name, Vec::new());
        assert_eq!((programs(&plan).len(), &plan.files[0].change), (0, &None));
        let last = plan.files[0].findings.last().unwrap();
        assert!(last.verdict == Verdict::Cannot && last.text.contains("--bin-dir"), "{last:?}");
    }
}

#[test]
fn what_different_readers_would_read_differently_is_left_untouched() {
    for (text, why) in [
        (
            &br#"{"name":"a","type":"bridge","ipam":{"type":"host-local"},"ipam":{"type":"dhcp"}}"#[..],
            "more than once",
        ),
        (br#"{"name":"a","type":"bridge","ipam":{"type":"host-local","TYPE":"dhcp"}}"#, "more than once"),
        (br#"{"name":"a","type":"bridge","IPAM":{"type":"host-local"}}"#, "`IPAM`"),
        (
            br#"{"name":"a","plugins":[{"type":"bridge","ipam":{"type":"host-local"}},{}]}"#,
            "plugins[1] names no plugin",
        ),
        (br#"{"name":"a","type":"bridge","ipam":{"type":7}}"#, "not a string"),
        (br#"{"name":"a","type":"bridge","ipam":null}"#, "not an object"),
        (br#"{"name":"a","plugins":{}}"#, "not a list"),
        (br#"{"name":"a","type":"bridge","ipam":{"type":"host-local"}"#, "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"{\"name\":\"\xff\"}", "not UTF-8"),
        (b"", "not JSON"),
        (b"[]", "object is expected"),
    ] {
        let bins = vec![bin_dir(Held::Absent, Held::Foreign)];
        let plan = plan(&node("/etc/cni/net.d", "10-x.conf", text.to_vec(), bins), As::Auto);
        let last = plan.files[0].findings.last().unwrap();
        assert_eq!((last.verdict, &plan.files[0].change, programs(&plan).len()), (Verdict::Cannot, &None, 0));
        assert!(last.text.contains(why) && last.text.contains("left untouched"), "{why}: {}", last.text);
    }
}
