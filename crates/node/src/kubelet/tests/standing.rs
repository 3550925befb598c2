//! Whatever leads kubelet away from the hub is noticed and named.

use testkit::power_cut::PowerCutFs;

use super::super::plan::{DROP_IN, Hub, KUBECONFIG};
use super::super::{Standing, standing};
use super::{CONF, NOW, do_adopt, do_revert, node, on, pem, read};

fn stands(fs: &PowerCutFs) -> Standing {
    on(fs, NOW, |machine| standing(machine, &Hub::default())).unwrap()
}

/// After this change of an adopted node it is adrift, for this reason.
fn adrift(change: impl Fn(&PowerCutFs), why: &str) {
    let fs = node("kubeadm-1.36");
    do_adopt(&fs).unwrap();
    fs.write(Hub::default().node, pem("system:node:edge-1", 1000, 2000, "cluster")).unwrap();
    assert_eq!(stands(&fs), Standing::AtHub);
    change(&fs);
    match stands(&fs) {
        Standing::Adrift(reasons) => {
            assert!(reasons.iter().any(|reason| reason.contains(why)), "{reasons:?}")
        }
        other => panic!("{why}: {other:?}"),
    }
}

#[test]
fn before_and_after_it_is_not_adopted() {
    let fs = node("kubeadm-1.36");
    assert_eq!(stands(&fs), Standing::NotAdopted);
    do_adopt(&fs).unwrap();
    assert_eq!(stands(&fs), Standing::AtHub);
    do_revert(&fs).unwrap();
    assert_eq!(stands(&fs), Standing::NotAdopted);
    assert_eq!(stands(&node("k3s")), Standing::NotAdopted);
}

#[test]
fn one_that_was_pointed_at_the_hub_by_hand_is_there_too() {
    let fs = node("by-hand");
    let unit = "/etc/systemd/system/kubelet.service";
    let flags = format!("{KUBECONFIG} --rotate-certificates=false");
    fs.write(unit, read(&fs, unit).replace("/var/lib/kubelet/kubeconfig", &flags)).unwrap();
    fs.write(KUBECONFIG, Hub::default().kubeconfig()).unwrap();
    for path in [Hub::default().authority, Hub::default().certificate, Hub::default().key] {
        fs.write(path, "made").unwrap();
    }
    assert_eq!(stands(&fs), Standing::AtHub);
}

#[test]
fn a_file_of_ours_that_is_gone_or_changed_is_noticed() {
    adrift(|fs| fs.remove(DROP_IN).unwrap(), "90-edgekeep.conf is gone");
    adrift(|fs| fs.remove(KUBECONFIG).unwrap(), "kubelet.conf is gone");
    adrift(|fs| fs.write(KUBECONFIG, "{").unwrap(), "cannot use /etc/edgekeep/kubelet.conf");
    let edit = |old: &'static str, new: &'static str| {
        move |fs: &PowerCutFs| fs.write(KUBECONFIG, read(fs, KUBECONFIG).replace(old, new)).unwrap()
    };
    adrift(edit("127.0.0.1:10461", "10.0.0.1:6443"), "leads to https://10.0.0.1:6443");
    adrift(edit("kubelet.key", "other.key"), "was changed by hand");
    adrift(|fs| fs.remove(Hub::default().key).unwrap(), "/var/lib/edgekeep/hub/pki/kubelet.key is gone");
}

#[test]
fn what_goes_before_our_drop_in_is_noticed() {
    let late = "/run/systemd/system/kubelet.service.d/99-x.conf";
    let text =
        "[Service]\nEnvironment=\"KUBELET_KUBECONFIG_ARGS=--kubeconfig=/etc/kubernetes/kubelet.conf\"\n";
    adrift(|fs| fs.write(late, text).unwrap(), "99-x.conf says --kubeconfig=/etc/kubernetes/kubelet.conf");
    let file = "KUBELET_EXTRA_ARGS=--rotate-certificates\n";
    adrift(
        |fs| fs.write("/etc/default/kubelet", file).unwrap(),
        "/etc/default/kubelet says --rotate-certificates",
    );
    let mask = "/etc/systemd/system/kubelet.service";
    adrift(|fs| fs.write(mask, "").unwrap(), "no unit starts a kubelet");
}

#[test]
fn a_join_after_the_adoption_is_noticed() {
    let bootstrap = |fs: &PowerCutFs| fs.write("/etc/kubernetes/bootstrap-kubelet.conf", "x").unwrap();
    let joining = |fs: &PowerCutFs| {
        fs.remove(CONF).unwrap();
        bootstrap(fs);
    };
    adrift(joining, "under way or was broken off");
    adrift(|fs| fs.remove(CONF).unwrap(), "as after `kubeadm reset`");
    let rejoined = |fs: &PowerCutFs| fs.write(super::LINK, pem("system:node:b", 1, 2, "cluster")).unwrap();
    adrift(rejoined, "of another cluster or node");
    let other = |fs: &PowerCutFs| {
        fs.write(CONF, read(fs, CONF).replace("Y2x1c3Rlcg==", "b3RoZXI=")).unwrap();
        fs.write(super::LINK, pem("system:node:edge-1", 1000, 2000, "other")).unwrap();
    };
    adrift(other, "of another cluster or node");
}

#[test]
fn a_cluster_whose_nodes_are_signed_by_another_authority_than_its_servers_is_no_other_cluster() {
    let fs = node("kubeadm-1.36");
    fs.write(CONF, read(&fs, CONF).replace("Y2x1c3Rlcg==", "b3RoZXI=")).unwrap();
    do_adopt(&fs).unwrap();
    fs.write(Hub::default().node, pem("system:node:edge-1", 1900, 3000, "cluster")).unwrap();
    assert_eq!(stands(&fs), Standing::AtHub);
    do_revert(&fs).unwrap();
    assert!(read(&fs, super::LINK).contains("to=3000"));
}

#[test]
fn a_bootstrap_kubeconfig_that_was_put_there_for_the_hub_is_no_join() {
    let fs = node("kubeadm-1.36");
    do_adopt(&fs).unwrap();
    fs.write("/etc/kubernetes/bootstrap-kubelet.conf", "x").unwrap();
    assert_eq!(stands(&fs), Standing::AtHub);
}
