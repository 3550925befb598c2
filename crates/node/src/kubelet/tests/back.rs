//! The way back: the best certificate on the node is kubelet's.

use testkit::power_cut::PowerCutFs;

use super::super::diff;
use super::super::plan::{DROP_IN, Hub, KUBECONFIG, Step};
use super::{CONF, LINK, do_adopt, do_revert_at, everything, node, pem, read};

const NODE: &str = "system:node:edge-1";

/// An adopted node whose hub has this certificate.
fn adopted(name: &str, hubs: &str) -> PowerCutFs {
    let fs = node(name);
    do_adopt(&fs).unwrap();
    fs.write(Hub::default().node, hubs).unwrap();
    fs
}

#[test]
fn a_certificate_that_the_hub_renewed_is_handed_to_kubelet_as_kubelet_itself_keeps_it() {
    let renewed = pem(NODE, 1900, 3000, "cluster");
    let fs = adopted("kubeadm-1.36", &renewed);
    let conf = read(&fs, CONF);
    let report = do_revert_at(&fs, 2500).unwrap();
    assert!(report.complete() && report.notes.is_empty(), "{report:?}");
    assert_eq!(read(&fs, LINK), renewed);
    assert_eq!(read(&fs, "/var/lib/kubelet/pki/kubelet-client-1970-01-01-00-31-40.pem"), renewed);
    assert_eq!(read(&fs, CONF), conf, "it names the link already");
    let Some(Step::Link(to)) = &report.files[1].step else { panic!("{report:?}") };
    assert_eq!(to.to_str(), Some("/var/lib/kubelet/pki/kubelet-client-1970-01-01-00-31-40.pem"));
    assert!(fs.read(DROP_IN).is_err() && fs.read(KUBECONFIG).is_err());
}

#[test]
fn the_link_of_a_directory_of_its_own_is_the_one_that_moves() {
    let renewed = pem(NODE, 1900, 3000, "cluster");
    let fs = adopted("kubeadm-rpm", &renewed);
    do_revert_at(&fs, 1950).unwrap();
    assert_eq!(read(&fs, "/data/kubelet/pki/kubelet-client-current.pem"), renewed);
    assert!(fs.read(LINK).is_err());
}

#[test]
fn a_kubeconfig_with_a_certificate_of_its_own_is_pointed_at_the_link_and_nothing_else_in_it_changes() {
    for name in ["kubeadm-inline", "kubeadm-own-files"] {
        let renewed = pem(NODE, 1900, 3000, "cluster");
        let fs = adopted(name, &renewed);
        let before = read(&fs, CONF);
        let report = do_revert_at(&fs, 2500).unwrap();
        assert!(report.complete(), "{report:?}");
        assert_eq!(read(&fs, LINK), renewed, "{name}");
        let now = read(&fs, CONF);
        let changed =
            now.lines().zip(before.lines()).filter(|(new, old)| new != old).map(|(new, _)| new.trim());
        let changed: Vec<_> = changed.collect();
        assert_eq!(changed, [format!("client-certificate: {LINK}"), format!("client-key: {LINK}")], "{name}");
        assert_eq!(now.lines().count(), before.lines().count());
        let shown = report.files.iter().map(diff).collect::<String>();
        assert!(shown.contains(LINK) && !shown.contains("Y2VydGlmaWNhdGU"), "a key in {shown}");
    }
}

#[test]
fn a_certificate_that_counts_longer_than_the_hubs_stays() {
    for hubs in [pem(NODE, 500, 1900, "cluster"), pem(NODE, 1000, 2000, "cluster"), "nonsense".to_owned()] {
        for name in ["kubeadm-1.36", "kubeadm-inline"] {
            let before = everything(&node(name));
            let fs = adopted(name, &hubs);
            assert!(do_revert_at(&fs, 1500).unwrap().complete());
            assert_eq!(everything(&fs), before, "{name}: {hubs}");
        }
    }
}

#[test]
fn the_certificate_of_another_node_or_cluster_is_not_handed_over() {
    for (hubs, why) in [
        (pem("system:node:other", 1900, 3000, "cluster"), "that of system:node:edge-1"),
        (pem(NODE, 1900, 3000, "other cluster"), "another cluster"),
    ] {
        let before = everything(&node("kubeadm-1.36"));
        let fs = adopted("kubeadm-1.36", &hubs);
        let report = do_revert_at(&fs, 1500).unwrap();
        assert!(report.complete() && report.notes[0].contains(why), "{report:?}");
        assert_eq!(everything(&fs), before);
    }
    // The cluster may have changed its authority since: better than a certificate that does not count.
    let fs = adopted("kubeadm-1.36", &pem(NODE, 1900, 3000, "new authority"));
    do_revert_at(&fs, 2500).unwrap();
    assert!(read(&fs, LINK).contains("new authority"));
}

#[test]
fn a_kubelet_whose_own_certificate_cannot_be_read_gets_the_hubs() {
    let renewed = pem(NODE, 1900, 3000, "cluster");
    let fs = adopted("kubeadm-1.36", &renewed);
    fs.write(LINK, "torn").unwrap();
    assert!(do_revert_at(&fs, 1950).unwrap().complete());
    assert_eq!(read(&fs, LINK), renewed);
}

#[test]
fn where_no_certificate_counts_any_more_it_says_so_and_goes_back_all_the_same() {
    let before = everything(&node("kubeadm-1.36"));
    let fs = adopted("kubeadm-1.36", &pem(NODE, 500, 1900, "cluster"));
    let report = do_revert_at(&fs, 5000).unwrap();
    assert!(report.notes[0].contains("counted until 1970-01-01 00:33:20 UTC"), "{report:?}");
    assert_eq!(everything(&fs), before);

    let fs = adopted("kubeadm-1.36", &pem(NODE, 1900, 3000, "cluster"));
    let report = do_revert_at(&fs, 5000).unwrap();
    assert!(report.notes[0].contains("counted until 1970-01-01 00:50:00 UTC"), "{report:?}");
    assert!(read(&fs, LINK).contains("to=3000"));
}

#[test]
fn kubelet_is_not_sent_away_without_a_certificate_while_one_is_there() {
    let renewed = pem(NODE, 1900, 3000, "cluster");
    let fs = adopted("kubeadm-inline", &renewed);
    // The same in JSON, which is not edited.
    let conf = read(&fs, CONF);
    let data = conf.split("client-key-data: ").nth(1).unwrap().trim().to_owned();
    let json = format!(
        r#"{{"current-context":"c","contexts":[{{"name":"c","context":{{"cluster":"k","user":"u"}}}}],"clusters":[{{"name":"k",
        "cluster":{{"server":"https://h","certificate-authority-data":"Y2x1c3Rlcg=="}}}}],
        "users":[{{"name":"u","user":{{"client-certificate-data":"{data}","client-key-data":"{data}"}}}}]}}"#
    );
    fs.write(CONF, &json).unwrap();
    let adopted = everything(&fs);
    let report = do_revert_at(&fs, 2500).unwrap();
    let why = report.cannot.clone().unwrap();
    assert!(!report.complete() && why.contains("cannot be edited") && why.contains(LINK), "{why}");
    assert_eq!(everything(&fs), adopted);

    // While its own still counts there is no haste.
    let report = do_revert_at(&fs, 1950).unwrap();
    assert!(report.complete() && report.notes[0].contains("keeps its own"), "{report:?}");
    assert!(fs.read(DROP_IN).is_err());
    assert_eq!(read(&fs, CONF), json);
}

#[test]
fn without_kubelets_kubeconfig_it_says_what_kubelet_needs() {
    let fs = adopted("kubeadm-1.36", &pem(NODE, 1900, 3000, "cluster"));
    fs.remove(CONF).unwrap();
    let report = do_revert_at(&fs, 1500).unwrap();
    assert!(report.complete() && report.notes[0].contains("kubeadm join"), "{report:?}");
    assert!(fs.read(DROP_IN).is_err());
}

#[test]
fn without_a_manifest_our_files_are_known_by_their_first_line() {
    for damaged in [false, true] {
        let before = everything(&node("kubeadm-1.36"));
        let fs = node("kubeadm-1.36");
        do_adopt(&fs).unwrap();
        if damaged {
            fs.write(format!("{}/manifest.json", super::super::BACKUP), "{").unwrap();
        } else {
            fs.remove(format!("{}/manifest.json", super::super::BACKUP)).unwrap();
        }
        assert!(do_revert_at(&fs, 1500).unwrap().complete());
        assert_eq!(everything(&fs), before);
    }
}

#[test]
fn a_file_that_somebody_put_in_the_place_of_ours_stays() {
    let fs = node("kubeadm-1.36");
    do_adopt(&fs).unwrap();
    fs.write(DROP_IN, "[Service]\nCPUAccounting=true\n").unwrap();
    let report = do_revert_at(&fs, 1500).unwrap();
    assert!(report.files.iter().any(|file| file.text.contains("not ours any more")), "{report:?}");
    assert!(read(&fs, DROP_IN).contains("CPUAccounting") && fs.read(KUBECONFIG).is_err());
}

#[test]
fn a_kubelet_that_was_pointed_at_the_hub_by_hand_has_to_go_back_by_hand() {
    let fs = node("by-hand");
    let unit = "/etc/systemd/system/kubelet.service";
    fs.write(unit, read(&fs, unit).replace("/var/lib/kubelet/kubeconfig", KUBECONFIG)).unwrap();
    fs.write(KUBECONFIG, Hub::default().kubeconfig()).unwrap();
    let before = everything(&fs);
    assert!(do_adopt(&fs).unwrap().notes[0].contains("by hand"));
    let report = do_revert_at(&fs, 1500).unwrap();
    assert!(report.cannot.unwrap().contains(unit) && report.by_hand[0].contains("own kubeconfig"));
    assert_eq!(everything(&fs), before);
}
