//! Whatever stands in units and files of variables: adoption either leads kubelet to the hub or changes nothing, and the
//! way back gives the same bytes.

use proptest::prelude::*;
use testkit::power_cut::PowerCutFs;

use super::super::{Standing, standing};
use super::{Hub, NOW, do_adopt, do_revert, everything, node, on};

/// Pieces of which units are made, those that matter and some that do not.
const PIECES: [&str; 14] = [
    "[Service]\n",
    "[Unit]\n",
    "Environment=\"KUBELET_KUBECONFIG_ARGS=--kubeconfig=/etc/kubernetes/kubelet.conf\"\n",
    "Environment=KUBELET_KUBECONFIG_ARGS=\n",
    "Environment=\n",
    "EnvironmentFile=-/etc/default/kubelet\n",
    "EnvironmentFile=\n",
    "ExecStart=\n",
    "ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_EXTRA_ARGS\n",
    "ExecStart=/usr/bin/kubelet --kubeconfig=/etc/kubernetes/kubelet.conf ${KUBELET_KUBECONFIG_ARGS}\n",
    "ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS --rotate-certificates\n",
    "# a comment \\\n",
    "Restart=always \\\n",
    "nonsense\n",
];
const VARIABLES: [&str; 6] = [
    "",
    "KUBELET_EXTRA_ARGS=--v=2\n",
    "KUBELET_EXTRA_ARGS=--kubeconfig=/k\n",
    "KUBELET_KUBECONFIG_ARGS=\"--kubeconfig=/etc/kubernetes/kubelet.conf\"\n",
    "KUBELET_EXTRA_ARGS='--rotate-certificates\n",
    "\\",
];

fn site(pieces: &[&str], name: &str, variables: &str) -> PowerCutFs {
    let fs = node("kubeadm-1.36");
    fs.write(format!("/etc/systemd/system/kubelet.service.d/{name}"), pieces.concat()).unwrap();
    fs.write("/etc/default/kubelet", variables).unwrap();
    fs
}

proptest! {
    #[test]
    fn adoption_leads_to_the_hub_or_changes_nothing_and_the_way_back_is_the_same(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..8),
        name in prop::sample::select(&["05-a.conf", "10-kubeadm.conf", "50-b.conf", "95-c.conf"][..]),
        variables in prop::sample::select(&VARIABLES[..]),
    ) {
        let fs = site(&pieces, name, variables);
        let before = everything(&fs);
        let report = do_adopt(&fs).unwrap();
        let stands = on(&fs, NOW, |machine| standing(machine, &Hub::default())).unwrap();
        if report.complete() {
            prop_assert_eq!(stands, Standing::AtHub);
        } else {
            prop_assert_eq!(&everything(&fs), &before);
        }
        prop_assert!(do_revert(&fs).unwrap().complete());
        prop_assert_eq!(everything(&fs), before);
    }

    #[test]
    fn random_bytes_end_nothing(
        unit in prop::collection::vec(any::<u8>(), 0..200),
        variables in prop::collection::vec(any::<u8>(), 0..100),
        conf in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let fs = node("kubeadm-1.36");
        fs.write("/etc/systemd/system/kubelet.service.d/95-x.conf", unit).unwrap();
        fs.write("/etc/default/kubelet", variables).unwrap();
        fs.write("/etc/kubernetes/kubelet.conf", conf).unwrap();
        let before = everything(&fs);
        let _ = do_adopt(&fs);
        let _ = do_revert(&fs);
        prop_assert_eq!(everything(&fs), before);
    }
}
