//! Any bytes as a drop-in of kubelet's unit and as a file of its variables: a command line, and our drop-in either leads it
//! to the hub or something that keeps it away is named.

#![no_main]

use std::collections::BTreeMap;

use edgekeep_fuzz::seeds;
use libfuzzer_sys::fuzz_target;
use node::kubelet::machine::{Setup, Start};
use node::kubelet::plan::{DROP_IN_NAME, Way, drop_in, obstacles, way};
use node::kubelet::unit::{Unit, UnitFile};

const MAIN: &str = "[Service]\nExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_EXTRA_ARGS\n\
                    Environment=KUBELET_KUBECONFIG_ARGS=--kubeconfig=/k.conf\nEnvironmentFile=-/e\n";

fuzz_target!(
    init: seeds(&[
        b"[Service]\nEnvironment=\"KUBELET_KUBECONFIG_ARGS=--kubeconfig=/a --bootstrap-kubeconfig=/b\"\n\0KUBELET_EXTRA_ARGS='--v=2'\n",
        b"[Service]\nExecStart=\nExecStart=-/usr/bin/kubelet --config=/c ${KUBELET_KUBECONFIG_ARGS} \\\n # c\n $$X\n\0A=\"b\\\n c\" d\n",
        b"[Service]\nEnvironmentFile=\nEnvironment=\n;c\n\0",
    ]),
    |data: &[u8]| {
        let text = String::from_utf8_lossy(data);
        let (unit, variables) = text.split_once('\0').unwrap_or((&text, ""));
        let file = |path: &str, text: &str| UnitFile { path: path.into(), text: text.to_owned() };
        let drop_ins = BTreeMap::from([("50-x.conf".to_owned(), file("/x", unit))]);
        let files = BTreeMap::from([("/e".into(), variables.to_owned())]);
        let setup = Setup { unit: Unit { main: file("/u", MAIN), drop_ins }, files };
        let with = setup.flags(DROP_IN_NAME, Some(&drop_in()));
        match way(&Start::Unit(setup), &[]) {
            Way::DropIn(_) => assert!(with.is_some_and(|flags| obstacles(&flags).is_empty())),
            Way::ByHand { .. } => {}
            Way::Cannot { why, .. } => assert!(!why.is_empty()),
        }
    }
);
