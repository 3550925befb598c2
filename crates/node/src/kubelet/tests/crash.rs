//! Interrupted at any call, by the end of the process or of the power: kubelet can start, and the next run finishes.

use std::path::Path;

use testkit::power_cut::{Fault, PowerCutFs};

use super::super::machine::Start;
use super::super::plan::{Hub, KUBECONFIG, obstacles, present};
use super::{CONF, LINK, do_adopt, do_revert, do_revert_at, everything, node, on, pem, read};

/// At no moment kubelet is started with something that is not there, whole; and once our drop-in is gone it has the
/// certificate that counts.
fn can_start(fs: &PowerCutFs, now: u64, at: &str) {
    on(fs, now, |machine| {
        let Start::Unit(setup) = machine.start().unwrap() else { panic!("{at}: no unit") };
        let flags = present(&setup).unwrap();
        let conf = flags.value("kubeconfig").unwrap().value;
        let (_, access) =
            machine.kubeconfig(Path::new(&conf)).unwrap().unwrap_or_else(|| panic!("{at}: no {conf}"));
        if conf == KUBECONFIG {
            assert_eq!(obstacles(&flags), [], "{at}");
            assert_eq!(read(fs, KUBECONFIG), Hub::default().kubeconfig(), "{at}");
            assert!(!read(fs, "/var/lib/edgekeep/hub/pki/kubelet.key").is_empty(), "{at}");
        } else {
            assert!(machine.certificate(&access).unwrap().not_after > now, "{at}: out of date");
        }
    });
}

struct Case {
    /// The moment; the hub's certificate counts.
    now: u64,
    before: PowerCutFs,
    after: PowerCutFs,
}

fn interrupted(case: &Case, from: &PowerCutFs, run: fn(&PowerCutFs, u64)) {
    for n in 0.. {
        let base = from.fork();
        base.fail_after(n, Fault::DeathHalfway(n as u64));
        run(&base, case.now);
        let done = !base.is_dead();
        for cut in [None, Some(1), Some(2), Some(3)] {
            let at = format!("call {n}, cut {cut:?}");
            let fs = base.fork();
            if let Some(seed) = cut {
                fs.power_cut(seed * 1000 + n as u64);
            }
            can_start(&fs, case.now, &at);
            let (forth, back) = (fs.fork(), fs);
            do_revert_at(&back, case.now).unwrap();
            assert!(everything(&back) == everything(&case.before), "{at}: reverted");
            let left = back.list(super::super::BACKUP).unwrap_or_default();
            assert!(left.iter().all(|name| name == "lock"), "{at}: {left:?}");
            if case.now == super::NOW {
                do_adopt(&forth).unwrap();
                assert!(everything(&forth) == everything(&case.after), "{at}: adopted");
            }
        }
        if done {
            assert!(n > 20, "only {n} calls");
            return;
        }
    }
}

#[test]
fn adoption_and_its_way_back_survive_an_end_at_any_call() {
    for name in ["kubeadm-1.36", "kubeadm-inline"] {
        let before = node(name);
        let after = before.fork();
        do_adopt(&after).unwrap();
        after.settle();
        let case = Case { now: super::NOW, before: before.fork(), after: after.fork() };
        interrupted(&case, &before, |fs, _| drop(do_adopt(fs)));
        interrupted(&case, &after, |fs, _| drop(do_revert(fs)));
    }
}

#[test]
fn kubelet_has_the_certificate_that_counts_whenever_the_way_back_is_interrupted() {
    for name in ["kubeadm-1.36", "kubeadm-inline", "kubeadm-own-files"] {
        let adopted = node(name);
        do_adopt(&adopted).unwrap();
        adopted.write(Hub::default().node, pem("system:node:edge-1", 1900, 3000, "cluster")).unwrap();
        adopted.settle();
        // The moment is after the end of kubelet's own certificate.
        let reverted = adopted.fork();
        do_revert_at(&reverted, 2500).unwrap();
        reverted.settle();
        assert!(read(&reverted, LINK).contains("to=3000") && read(&reverted, CONF).contains(LINK), "{name}");
        let case = Case { now: 2500, before: reverted, after: adopted.fork() };
        interrupted(&case, &adopted, |fs, now| drop(do_revert_at(fs, now)));
    }
}
