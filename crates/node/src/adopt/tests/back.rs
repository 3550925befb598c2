//! Adoption and the way back on a whole node.

use std::path::{Path, PathBuf};

use testkit::power_cut::PowerCutFs;

use super::super::disk::{Disk, Places};
use super::super::plan::Fate;
use super::super::rules::{As, Verdict};
use super::super::{Report, adopt, revert};
use super::testdata;

pub const CONF: &str = "/etc/cni/net.d";
pub const BIN: &str = "/opt/cni/bin";
pub const PLUGIN: &[u8] = b"ELF edgekeep-ipam 1";
pub const STOCK: &[u8] = b"ELF host-local 1.6";

/// A node with these configurations, everything on the disk.
pub fn node(files: &[(&str, &str)]) -> PowerCutFs {
    let fs = PowerCutFs::new();
    for (name, data) in files {
        fs.write(format!("{CONF}/{name}"), testdata(data)).unwrap();
    }
    for (name, bytes) in [("bridge", &b"ELF bridge"[..]), ("portmap", b"ELF portmap"), ("host-local", STOCK)]
    {
        fs.write(format!("{BIN}/{name}"), bytes).unwrap();
    }
    fs.write("/usr/libexec/edgekeep/edgekeep-ipam", PLUGIN).unwrap();
    fs.settle();
    fs
}

pub fn disk(fs: &PowerCutFs) -> Disk<'_, PowerCutFs> {
    Disk {
        fs,
        real: |path| Ok(path.to_path_buf()),
        mode: |_| Ok(0o644),
        chmod: |_, _| Ok(()),
        volatile: |path| path.starts_with("/run"),
    }
}

pub fn places() -> Places {
    Places::usual(Path::new("/"))
}

pub fn do_adopt(fs: &PowerCutFs, how: As) -> Result<Report, String> {
    adopt(&disk(fs), &places(), how, &[PathBuf::from("/var/lib/edgekeep/ipam")], false)
}

pub fn do_revert(fs: &PowerCutFs) -> Result<Report, String> {
    revert(&disk(fs), &places(), false, false)
}

/// Everything in the directories that belong to the node.
pub fn everything(fs: &PowerCutFs) -> Vec<(String, Vec<u8>)> {
    let files = [CONF, BIN]
        .into_iter()
        .flat_map(|dir| fs.list(dir).unwrap().into_iter().map(move |name| format!("{dir}/{name}")));
    files.map(|path| (path.clone(), fs.read(path).unwrap())).collect()
}

fn names_us(fs: &PowerCutFs, name: &str) -> bool {
    String::from_utf8(fs.read(format!("{CONF}/{name}")).unwrap()).unwrap().contains("edgekeep-ipam")
}

const FILES: [(&str, &str); 3] = [
    ("10-flannel.conflist", "flannel.conflist"),
    ("20-bridge.conf", "bridge.conf"),
    ("99-loopback.conf", "loopback.conf"),
];

#[test]
fn there_and_back_leaves_the_node_as_it_was() {
    let fs = node(&FILES);
    let before = everything(&fs);
    let report = do_adopt(&fs, As::Auto).unwrap();
    assert!(report.complete() && report.changes());
    assert!(report.plan.files[0].runtime && !report.plan.files[1].runtime);
    assert_eq!(fs.read(format!("{BIN}/edgekeep-ipam")).unwrap(), PLUGIN);
    assert!(names_us(&fs, "10-flannel.conflist") && names_us(&fs, "20-bridge.conf"));
    let adopted = everything(&fs);

    let again = do_adopt(&fs, As::Auto).unwrap();
    assert!(again.complete() && !again.changes());
    assert_eq!(everything(&fs), adopted);

    assert!(do_revert(&fs).unwrap().complete());
    assert_eq!(everything(&fs), before);
    assert_eq!(fs.list("/var/lib/edgekeep/adopt/cni").unwrap(), ["lock"]);
    assert!(!do_revert(&fs).unwrap().changes());
}

#[test]
fn under_the_name_host_local_the_stock_program_is_kept_and_comes_back() {
    let fs = node(&[("10-canal.conflist", "calico-host-local.conflist")]);
    let before = everything(&fs);
    do_adopt(&fs, As::Auto).unwrap();
    assert_eq!(fs.read(format!("{BIN}/host-local")).unwrap(), PLUGIN);
    assert_eq!(fs.read("/var/lib/edgekeep/adopt/cni/1-host-local").unwrap(), STOCK);

    // A new version of ours must not become the copy of the stock program.
    fs.write("/usr/libexec/edgekeep/edgekeep-ipam", b"ELF edgekeep-ipam 2").unwrap();
    do_adopt(&fs, As::Auto).unwrap();
    assert_eq!(fs.read(format!("{BIN}/host-local")).unwrap(), b"ELF edgekeep-ipam 2");

    // A daemon that copies its own again: that one is what comes back.
    fs.write(format!("{BIN}/host-local"), b"ELF host-local 1.9").unwrap();
    do_adopt(&fs, As::Auto).unwrap();
    do_revert(&fs).unwrap();
    assert_eq!(fs.read(format!("{BIN}/host-local")).unwrap(), b"ELF host-local 1.9");
    fs.write(format!("{BIN}/host-local"), STOCK).unwrap();
    assert_eq!(everything(&fs), before);
}

#[test]
fn a_stock_program_without_a_copy_is_not_taken_away() {
    let fs = node(&[("10-canal.conflist", "calico-host-local.conflist")]);
    fs.write(format!("{BIN}/host-local"), b"ELF edgekeep-ipam 0").unwrap();
    do_adopt(&fs, As::Auto).unwrap();
    let report = do_revert(&fs).unwrap();
    assert!(
        !report.complete()
            && matches!(&report.plan.programs[0].fate, Fate::Stuck(why) if why.contains("install"))
    );
    assert_eq!(fs.read(format!("{BIN}/host-local")).unwrap(), PLUGIN);
}

#[test]
fn what_somebody_changed_since_is_kept_but_for_our_word() {
    let fs = node(&FILES);
    let before = everything(&fs);
    do_adopt(&fs, As::Auto).unwrap();
    let flannel = format!("{CONF}/10-flannel.conflist");
    fs.write(&flannel, testdata("flannel.conflist")).unwrap();
    let bridge = format!("{CONF}/20-bridge.conf");
    let changed = String::from_utf8(fs.read(&bridge).unwrap()).unwrap().replace("cni0", "br7");
    fs.write(&bridge, &changed).unwrap();

    let report = do_revert(&fs).unwrap();
    assert!(report.plan.files[1].findings[0].text.contains("changed since"));
    assert_eq!(fs.read(&bridge).unwrap(), changed.replace("edgekeep-ipam", "host-local").into_bytes());
    fs.write(&bridge, testdata("bridge.conf")).unwrap();
    assert_eq!(everything(&fs), before);
}

#[test]
fn a_daemon_that_writes_its_file_anew_is_adopted_anew_and_reverted_to_its_last_word() {
    let fs = node(&FILES);
    do_adopt(&fs, As::Auto).unwrap();
    let path = format!("{CONF}/10-flannel.conflist");
    fs.write(&path, testdata("k3s.conflist")).unwrap();
    do_adopt(&fs, As::Auto).unwrap();
    assert!(names_us(&fs, "10-flannel.conflist"));
    do_revert(&fs).unwrap();
    assert_eq!(fs.read(&path).unwrap(), testdata("k3s.conflist"));
}

#[test]
fn a_file_adopted_in_two_steps_does_not_go_back_to_the_half() {
    let fs = node(&[("00-multus.conf", "multus.conf")]);
    do_adopt(&fs, As::Auto).unwrap();
    let path = format!("{CONF}/00-multus.conf");
    let half = String::from_utf8(fs.read(&path).unwrap()).unwrap().replace("dhcp", "host-local");
    fs.write(&path, &half).unwrap();
    do_adopt(&fs, As::Auto).unwrap();
    do_revert(&fs).unwrap();
    assert!(!names_us(&fs, "00-multus.conf"));
}

#[test]
fn without_a_manifest_our_word_still_becomes_host_local() {
    let fs = node(&FILES);
    do_adopt(&fs, As::Auto).unwrap();
    for name in fs.list("/var/lib/edgekeep/adopt/cni").unwrap() {
        fs.remove(format!("/var/lib/edgekeep/adopt/cni/{name}")).unwrap();
    }
    assert!(do_revert(&fs).unwrap().complete());
    assert!(!names_us(&fs, "10-flannel.conflist"));
    assert_eq!(fs.read(format!("{CONF}/20-bridge.conf")).unwrap(), testdata("bridge.conf"));
    assert!(!fs.list(BIN).unwrap().contains(&"edgekeep-ipam".to_owned()));
}

#[test]
fn a_manifest_that_is_not_understood_stops_adoption_and_survives_the_way_back() {
    let fs = node(&FILES);
    do_adopt(&fs, As::Auto).unwrap();
    let manifest = "/var/lib/edgekeep/adopt/cni/manifest.json";
    fs.write(manifest, b"{").unwrap();
    assert!(do_adopt(&fs, As::Auto).unwrap_err().contains(manifest));
    let report = do_revert(&fs).unwrap();
    assert!(report.notes[0].contains(manifest) && !names_us(&fs, "20-bridge.conf"));
    assert_eq!(fs.read(manifest).unwrap(), b"{");
    assert!(fs.list("/var/lib/edgekeep/adopt/cni").unwrap().len() > 3);
}

#[test]
fn the_program_stays_while_pods_that_were_made_with_it_name_it() {
    let fs = node(&FILES);
    do_adopt(&fs, As::Auto).unwrap();
    let saved = "/var/lib/cni/flannel/1f6ea80c";
    fs.write(saved, br#"{"name":"cbr0","ipam":{"type":"edgekeep-ipam"}}"#).unwrap();
    let report = do_revert(&fs).unwrap();
    assert!(report.complete() && !names_us(&fs, "10-flannel.conflist"));
    assert!(matches!(&report.plan.programs[0].fate, Fate::Stays(why) if why.contains(saved)));
    assert_eq!(fs.read(format!("{BIN}/edgekeep-ipam")).unwrap(), PLUGIN);

    fs.remove(saved).unwrap();
    assert_eq!(do_revert(&fs).unwrap().plan.programs[0].fate, Fate::Gone);
    assert!(!fs.list(BIN).unwrap().contains(&"edgekeep-ipam".to_owned()));
    assert_eq!(fs.list("/var/lib/edgekeep/adopt/cni").unwrap(), ["lock"]);
}

#[test]
fn purge_takes_the_program_whatever_names_it() {
    let fs = node(&FILES);
    do_adopt(&fs, As::Auto).unwrap();
    fs.write(
        "/var/lib/cni/results/cbr0-1f6e-eth0",
        br#"{"config":"eyJpcGFtIjp7InR5cGUiOiJlZGdla2VlcC1pcGFtIn19"}"#,
    )
    .unwrap();
    let held = revert(&disk(&fs), &places(), false, true).unwrap();
    assert!(matches!(&held.plan.programs[0].fate, Fate::Stays(_)));
    revert(&disk(&fs), &places(), true, false).unwrap();
    assert!(!fs.list(BIN).unwrap().contains(&"edgekeep-ipam".to_owned()));
}

#[test]
fn the_program_stays_while_a_configuration_that_is_not_understood_names_it() {
    let fs = node(&FILES);
    do_adopt(&fs, As::Auto).unwrap();
    fs.write(format!("{CONF}/20-bridge.conf"), br#"{"ipam":{"type":"edgekeep-ipam"}"#).unwrap();
    let report = do_revert(&fs).unwrap();
    assert!(!report.complete() && matches!(&report.plan.programs[0].fate, Fate::Stuck(_)));
    assert_eq!(fs.read(format!("{BIN}/edgekeep-ipam")).unwrap(), PLUGIN);
}

#[test]
fn a_dry_run_makes_no_change_whatsoever() {
    let fs = node(&FILES);
    let before = everything(&fs);
    let report = adopt(&disk(&fs), &places(), As::Auto, &[], true).unwrap();
    assert!(report.changes() && !super::super::diff(&report.plan.files[0]).is_empty());
    assert_eq!(everything(&fs), before);
    assert!(fs.list("/var/lib").is_err());
    do_adopt(&fs, As::Auto).unwrap();
    let before = everything(&fs);
    assert!(revert(&disk(&fs), &places(), true, true).unwrap().changes());
    assert_eq!(everything(&fs), before);
}

#[test]
fn without_a_program_to_install_nothing_changes() {
    let fs = node(&FILES);
    fs.remove("/usr/libexec/edgekeep/edgekeep-ipam").unwrap();
    let before = everything(&fs);
    assert!(do_adopt(&fs, As::Auto).unwrap_err().contains("--plugin"));
    fs.write("/usr/libexec/edgekeep/edgekeep-ipam", b"something else").unwrap();
    assert!(do_adopt(&fs, As::Auto).unwrap_err().contains("is not edgekeep-ipam"));
    assert_eq!(everything(&fs), before);
}

#[test]
fn a_node_without_configuration_is_an_error_that_says_where_it_looked() {
    let error = do_adopt(&node(&[]), As::Auto).unwrap_err();
    assert!(error.contains("/etc/cni/net.d") && error.contains("--conf-dir"), "{error}");
}

#[test]
fn leases_and_bindings_in_memory_are_named() {
    let fs = node(&[("10-p2p.conflist", "ptp.conflist")]);
    let state = [PathBuf::from("/run/edgekeep/ipam")];
    let report = adopt(&disk(&fs), &places(), As::Auto, &state, true).unwrap();
    assert!(
        report.notes[0].contains("/run/cni/networks") && report.notes[1].contains("stateDir"),
        "{:?}",
        report.notes
    );
}

#[test]
fn only_what_libcni_would_load_is_looked_at() {
    let fs = node(&FILES);
    for name in ["10-flannel.conflist.bak", "calico-kubeconfig", "README"] {
        fs.write(format!("{CONF}/{name}"), testdata("bridge.conf")).unwrap();
    }
    fs.write(format!("{CONF}/30-x.json"), testdata("vlan.conf")).unwrap();
    fs.write(format!("{CONF}/40-huge.conf"), vec![b' '; (1 << 20) + 1]).unwrap();
    let report = do_adopt(&fs, As::Auto).unwrap();
    let names: Vec<_> =
        report.plan.files.iter().map(|file| file.path.file_name().unwrap().to_str().unwrap()).collect();
    let want = ["10-flannel.conflist", "20-bridge.conf", "30-x.json", "40-huge.conf", "99-loopback.conf"];
    assert_eq!(names, want);
    let huge = &report.plan.files[3].findings[0];
    assert!(huge.verdict == Verdict::Cannot && huge.text.contains("larger than"), "{huge:?}");
}

#[test]
fn a_refresh_brings_our_programs_up_to_date_and_touches_nothing_else() {
    let refresh = |fs: &PowerCutFs| super::super::refresh(&disk(fs), &places(), false).unwrap();
    let fs = node(&FILES);
    let before = everything(&fs);
    assert!(!refresh(&fs).changes());
    assert_eq!(everything(&fs), before);
    assert!(fs.list("/var/lib").is_err(), "not even a lock on a node that was not adopted");

    do_adopt(&fs, As::Auto).unwrap();
    let flannel = format!("{CONF}/10-flannel.conflist");
    fs.write(&flannel, testdata("flannel.conflist")).unwrap();
    fs.write("/usr/libexec/edgekeep/edgekeep-ipam", b"ELF edgekeep-ipam 2").unwrap();
    assert!(refresh(&fs).changes());
    assert_eq!(fs.read(format!("{BIN}/edgekeep-ipam")).unwrap(), b"ELF edgekeep-ipam 2");
    assert_eq!(fs.read(format!("{BIN}/host-local")).unwrap(), STOCK);
    assert_eq!(fs.read(&flannel).unwrap(), testdata("flannel.conflist"));
    do_revert(&fs).unwrap();
    assert_eq!(everything(&fs), before);
}

#[test]
fn the_way_back_of_what_never_was_adopted_makes_nothing() {
    let fs = node(&FILES);
    assert!(do_revert(&fs).unwrap().complete());
    assert!(fs.list("/var/lib").is_err());
}

#[test]
fn a_directory_of_one_release_of_k3s_is_pointed_out() {
    let fs = PowerCutFs::new();
    let k3s = "/var/lib/rancher/k3s";
    fs.write(format!("{k3s}/agent/etc/cni/net.d/10-flannel.conflist"), testdata("k3s.conflist")).unwrap();
    fs.write(format!("{k3s}/data/current/bin/host-local"), STOCK).unwrap();
    fs.write("/usr/libexec/edgekeep/edgekeep-ipam", PLUGIN).unwrap();
    let report = do_adopt(&fs, As::Auto).unwrap();
    assert!(report.notes[0].contains("after an upgrade of k3s"), "{:?}", report.notes);
    assert_eq!(fs.read(format!("{k3s}/data/current/bin/edgekeep-ipam")).unwrap(), PLUGIN);
}

#[test]
fn a_list_that_goes_on_in_files_of_its_own_is_followed() {
    let fs = node(&FILES);
    fs.write(format!("{CONF}/05-split.conflist"), br#"{"cniVersion":"1.1.0","name":"split"}"#).unwrap();
    let part = format!("{CONF}/split/10-vlan.conf");
    fs.write(&part, testdata("vlan.conf")).unwrap();
    fs.write(format!("{CONF}/other/10-vlan.conf"), testdata("vlan.conf")).unwrap();
    assert!(do_adopt(&fs, As::Auto).unwrap().complete());
    assert!(names_us(&fs, "split/10-vlan.conf") && !names_us(&fs, "other/10-vlan.conf"));
    do_revert(&fs).unwrap();
    assert_eq!(fs.read(&part).unwrap(), testdata("vlan.conf"));
}
