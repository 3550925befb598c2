//! Interrupted at any call, by the end of the process or of the power: the node works, and the next run finishes.

use testkit::power_cut::{Fault, PowerCutFs};

use super::super::rules::As;
use super::back::{BIN, CONF, PLUGIN, STOCK, do_adopt, do_revert, everything, node};

/// At no moment a configuration names a program that is not there, whole; and host-local is always there, whole.
fn works(fs: &PowerCutFs, files: &[(&str, &str)], at: &str) {
    let program = |name: &str| fs.read(format!("{BIN}/{name}")).unwrap_or_default();
    for (name, _) in files {
        let text = String::from_utf8(fs.read(format!("{CONF}/{name}")).unwrap()).unwrap();
        assert!(text.ends_with("}\n"), "{at}: {name} is torn");
        assert!(
            !text.contains("edgekeep-ipam") || program("edgekeep-ipam") == PLUGIN,
            "{at}: {name} names nothing"
        );
    }
    assert!([PLUGIN, STOCK].contains(&program("host-local").as_slice()), "{at}: host-local is torn");
}

fn interrupted(
    files: &[(&str, &str)],
    from: &PowerCutFs,
    run: fn(&PowerCutFs),
    before: &PowerCutFs,
    after: &PowerCutFs,
) {
    for n in 0.. {
        let base = from.fork();
        base.fail_after(n, Fault::DeathHalfway(n as u64));
        run(&base);
        let done = !base.is_dead();
        for cut in [None, Some(1), Some(2), Some(3)] {
            let at = format!("call {n}, cut {cut:?}");
            let fs = base.fork();
            if let Some(seed) = cut {
                fs.power_cut(seed * 1000 + n as u64);
            }
            works(&fs, files, &at);
            let forth = fs.fork();
            do_adopt(&forth, As::Auto).unwrap();
            assert!(everything(&forth) == everything(after), "{at}: adopted");
            for back in [forth, fs] {
                do_revert(&back).unwrap();
                assert!(everything(&back) == everything(before), "{at}: reverted");
                let left = back.list("/var/lib/edgekeep/adopt/cni").unwrap_or_default();
                assert!(left.iter().all(|name| name == "lock"), "{at}: {left:?}");
            }
        }
        if done {
            assert!(n > 30, "only {n} calls");
            return;
        }
    }
}

#[test]
fn adoption_and_its_way_back_survive_an_end_at_any_call() {
    for files in [
        &[("10-flannel.conflist", "flannel.conflist"), ("20-bridge.conf", "bridge.conf")][..],
        &[("10-canal.conflist", "calico-host-local.conflist"), ("20-vlan.conf", "vlan.conf")],
    ] {
        let before = node(files);
        let after = before.fork();
        do_adopt(&after, As::Auto).unwrap();
        after.settle();
        interrupted(files, &before, |fs| drop(do_adopt(fs, As::Auto)), &before, &after);
        interrupted(files, &after, |fs| drop(do_revert(fs)), &before, &after);
    }
}
