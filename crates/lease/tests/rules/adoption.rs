//! What other programs left in the directory (§5.7).

use lease::boot::Marker;
use std::path::Path;

use crate::bench::{Bench, CACHE, DATA, RUN, held, set};

const CACHED: &str = r#"{"kind":"cniCacheV1","containerId":"s1","cniArgs":[["IgnoreUnknown","1"],
    ["K8S_POD_NAMESPACE","default"],["K8S_POD_NAME","web-0"],["K8S_POD_UID","u1"]],"ifName":"eth0"}"#;

#[test]
fn a_lease_of_stock_host_local_is_live_until_its_del_and_then_held_for_the_pod_that_the_del_names() {
    let mut bench = Bench::up_to(9);
    bench.stock_lease("10.1.0.2", "s1\r\neth0");
    assert_eq!(bench.add_one("other", "c1"), "10.1.0.3");
    assert_eq!(bench.held("10.1.0.2"), held("foreign", "s1"));
    bench.del("web-0", "s1");
    assert_eq!(bench.file("10.1.0.2"), None);
    assert_eq!(bench.held("10.1.0.2"), held("parked", "default/web-0"));
    assert_eq!(bench.add_one("web-0", "c2"), "10.1.0.2");
}

#[test]
fn a_lease_in_the_old_form_is_adopted_released_and_learnt_from_too() {
    let mut bench = Bench::up_to(9);
    bench.stock_lease("10.1.0.2", "s1\n");
    bench.add("other", "c1");
    bench.del("web-0", "s1");
    assert_eq!(bench.file("10.1.0.2"), None);
    assert_eq!(bench.add_one("web-0", "c2"), "10.1.0.2");
    assert_eq!(bench.file("10.1.0.2").as_deref(), Some("c2\r\neth0"));
}

#[test]
fn whose_a_stock_lease_is_stands_in_the_cache_of_libcni() {
    let mut bench = Bench::up_to(9);
    bench.stock_lease("10.1.0.2", "s1\r\neth0");
    bench.disk.write(format!("{CACHE}/net-s1-eth0"), CACHED).unwrap();
    bench.add("other", "c1");
    assert_eq!(bench.held("10.1.0.2"), held("foreign", "default/web-0"));
    bench.reboot();
    assert_eq!(bench.add_one("web-0", "c2"), "10.1.0.2");
}

#[test]
fn what_the_cache_of_libcni_says_in_any_shape_harms_nobody() {
    for cached in
        ["", "{", "[]", r#"{"cniArgs":7}"#, r#"{"cniArgs":[["K8S_POD_NAME"]]}"#, r#"{"cniArgs":[[1,2]]}"#]
    {
        let mut bench = Bench::up_to(9);
        bench.stock_lease("10.1.0.2", "s1\r\neth0");
        bench.disk.write(format!("{CACHE}/net-s1-eth0"), cached).unwrap();
        bench.add("other", "c1");
        assert_eq!(bench.held("10.1.0.2"), held("foreign", "s1"), "{cached}");
    }
}

#[test]
fn an_openyurt_reservation_is_held_for_its_pod_and_its_file_goes() {
    let mut bench = Bench::up_to(9);
    // One pod runs now, as OpenYurt writes it: the bare id, and an empty file that names the pod. One is away.
    bench.stock_lease("10.1.0.5", "s1");
    bench.stock_lease("10.1.0.5_default_web-0", "");
    bench.stock_lease("10.1.0.2_default_web-1", "");
    assert_eq!(bench.add_one("other", "c1"), "10.1.0.3");
    assert_eq!(bench.held("10.1.0.5"), held("foreign", "default/web-0"));
    assert_eq!(bench.held("10.1.0.2"), held("parked", "default/web-1"));
    assert_eq!(bench.file("10.1.0.5_default_web-0"), None);
    assert_eq!(bench.file("10.1.0.2_default_web-1"), None);
    assert_eq!(bench.add_one("web-1", "c2"), "10.1.0.2");
    bench.reboot();
    assert_eq!(bench.add_one("web-0", "c3"), "10.1.0.5");
}

#[test]
fn openyurt_reservations_are_not_lost_by_a_power_cut_in_the_middle() {
    for n in 0..200 {
        let mut bench = Bench::up_to(9);
        bench.stock_lease("10.1.0.5_default_web-0", "");
        bench.disk.settle();
        let fs = bench.disk.process();
        fs.fail_after(n, testkit::power_cut::Fault::Death);
        let (now, places, policy) = (bench.now(), bench.places(), bench.policy.clone());
        let survived = lease::Store::open(&fs, &places, &now, &policy).is_ok();
        fs.kill();
        bench.disk.power_cut(n as u64);
        bench.boot += 1;
        assert_eq!(bench.add_one("web-0", "c1"), "10.1.0.5", "death at call {n}");
        if survived {
            return;
        }
    }
}

#[test]
fn torn_empty_and_foreign_files_are_put_aside_by_name_and_leak_nothing() {
    let mut bench = Bench::up_to(4);
    bench.stock_lease("10.1.0.2", "");
    bench.stock_lease("10.1.0.3", "not a lease at all\n\n{}");
    bench.stock_lease("10.1.0.4", "\u{0}\u{0}\u{0}");
    bench.stock_lease("notes.txt", "mine");
    for (n, pod) in ["a", "b", "c"].into_iter().enumerate() {
        bench.add(pod, &format!("c{n}"));
    }
    for address in ["10.1.0.2", "10.1.0.3", "10.1.0.4"] {
        assert!(
            bench.notes.iter().any(|note| note.contains(&format!("{DATA}/{address}"))),
            "{:?}",
            bench.notes
        );
    }
    assert_eq!(bench.file("notes.txt").as_deref(), Some("mine"));
    let kept = bench.disk.read("/var/lib/edgekeep/ipam/net/damaged-lease-10.1.0.3").unwrap();
    assert_eq!(kept, b"not a lease at all\n\n{}");
}

#[test]
fn a_torn_file_of_a_live_lease_is_written_again() {
    let mut bench = Bench::up_to(4);
    bench.add("a", "c1");
    bench.disk.remove(format!("{DATA}/10.1.0.2")).unwrap();
    bench.stock_lease("10.1.0.2", "");
    bench.status().unwrap();
    assert_eq!(bench.file("10.1.0.2").as_deref(), Some("c1\r\neth0"));
}

#[test]
fn at_the_first_call_of_a_boot_every_lease_file_is_from_an_earlier_one() {
    let mut bench = Bench::up_to(4);
    bench.add("a", "c1");
    bench.stock_lease("10.1.0.3", "s1\r\neth0");
    bench.status().unwrap();
    bench.reboot();
    bench.status().unwrap();
    assert_eq!((bench.file("10.1.0.2"), bench.file("10.1.0.3")), (None, None));
}

#[test]
fn a_lease_that_stock_host_local_made_first_after_a_reboot_is_live() {
    let mut bench = Bench::up_to(4);
    bench.add("a", "c1");
    bench.reboot();
    bench.stock_lease("10.1.0.3", "s1\r\neth0");
    assert_eq!(bench.add_one("b", "c2"), "10.1.0.4");
    assert_eq!(bench.held("10.1.0.3"), held("foreign", "s1"));
}

#[test]
fn the_boot_marker_tells_old_files_from_new_ones() {
    let mut bench = Bench::up_to(5);
    bench.add("a", "c1");
    bench.del("a", "c1");
    bench.stock_lease("10.1.0.2", "s1\r\neth0");
    bench.stock_lease("10.1.0.3", "s2\r\neth0");
    bench.reboot();
    let now = bench.now();
    Marker::make(&bench.disk.process(), Path::new(RUN), &now).unwrap();
    bench.wait(5);
    bench.stock_lease("10.1.0.4", "s3\r\neth0");
    bench.status().unwrap();
    assert_eq!(bench.held("10.1.0.4"), held("foreign", "s3"));
    assert_eq!((bench.file("10.1.0.2"), bench.file("10.1.0.3")), (None, None));
    assert_eq!(bench.add_one("a", "c2"), "10.1.0.2", "a dead stranger takes nothing from a pod");
}

#[test]
fn a_marker_is_not_believed_once_the_clock_was_set() {
    let mut bench = Bench::up_to(5);
    bench.add("a", "c1");
    bench.reboot();
    bench.disk.advance(std::time::Duration::from_secs(3600));
    let now = bench.now();
    Marker::make(&bench.disk.process(), Path::new(RUN), &now).unwrap();
    bench.disk.set_time(std::time::Duration::from_secs(1_000_000_000));
    bench.stock_lease("10.1.0.3", "s1\r\neth0");
    bench.status().unwrap();
    assert_eq!(bench.held("10.1.0.3"), held("foreign", "s1"));
}

#[test]
fn a_script_that_sweeps_the_directory_frees_no_address_of_a_running_sandbox() {
    let mut bench = Bench::up_to(3);
    bench.add("a", "c1");
    bench.disk.remove(format!("{DATA}/10.1.0.2")).unwrap();
    assert_eq!(bench.add_one("b", "c2"), "10.1.0.3");
    assert!(bench.try_add("c", "c3").is_err());
    bench.kill("c1");
    assert_eq!(bench.add_one("a", "c4"), "10.1.0.2");
}

#[test]
fn a_del_through_stock_host_local_parks_the_binding() {
    let mut bench = Bench::up_to(9);
    bench.add("a", "c1");
    bench.disk.remove(format!("{DATA}/10.1.0.2")).unwrap();
    bench.kill("c1");
    bench.status().unwrap();
    assert_eq!(bench.held("10.1.0.2"), held("parked", "default/a"));
    assert_eq!(bench.add_one("a", "c2"), "10.1.0.2");
}

#[test]
fn a_lease_file_of_an_earlier_sandbox_takes_nothing_from_its_pod() {
    for stock_ran_first in [false, true] {
        let mut bench = Bench::up_to(9);
        bench.add("web-0", "c1");
        bench.del("web-0", "c1");
        bench.add("web-0", "c2");
        bench.reboot();
        // A power cut may bring back what was removed before the last flush of the directory.
        bench.stock_lease("10.1.0.2", "c1\r\neth0");
        if stock_ran_first {
            bench.stock_lease("10.1.0.9", "s1\r\neth0");
        }
        bench.add("other", "c3");
        assert_eq!(bench.held("10.1.0.2"), held("parked", "default/web-0"));
        assert_eq!(bench.add_one("web-0", "c4"), "10.1.0.2");
    }
}

#[test]
fn p1_a_pod_comes_home_after_a_reboot_however_long_its_lease_file_took_to_be_written() {
    let mut bench = Bench::up_to(9);
    bench.add("web-0", "c1");
    // On a slow machine many wait for one lock; and the power went before the directory was sealed again.
    bench.wait(60);
    bench.disk.remove(format!("{DATA}/10.1.0.2")).unwrap();
    bench.stock_lease("10.1.0.2", "c1\r\neth0");
    bench.reboot();
    assert_eq!(bench.add_one("web-0", "c2"), "10.1.0.2");
}

#[test]
fn the_beginning_of_a_lease_is_no_lease_in_the_old_form() {
    let mut bench = Bench::up_to(4);
    bench.add("a", "c1");
    bench.disk.remove(format!("{DATA}/10.1.0.2")).unwrap();
    bench.stock_lease("10.1.0.2", "c");
    bench.status().unwrap();
    assert_eq!(bench.file("10.1.0.2").as_deref(), Some("c1\r\neth0"));
    assert_eq!(bench.held("10.1.0.2"), held("live", "default/a"));
}

#[test]
fn p1_a_pod_is_at_home_where_stock_host_local_put_it_last() {
    let mut bench = Bench::up_to(9);
    assert_eq!(bench.add_one("web-0", "c1"), "10.1.0.2");
    bench.del("web-0", "c1");
    bench.stock_lease("10.1.0.3", "s0\r\neth0");
    bench.disk.write(format!("{CACHE}/net-s0-eth0"), CACHED).unwrap();
    bench.reboot();
    // Stock host-local runs first, and the DEL of the dead sandbox s0 is late: it looks live.
    bench.stock_lease("10.1.0.4", "s1\r\neth0");
    bench.disk.write(format!("{CACHE}/net-s1-eth0"), CACHED).unwrap();
    bench.del("web-0", "s1");
    assert_eq!(bench.add_one("web-0", "c2"), "10.1.0.4");
}

#[test]
fn a_sandbox_that_loses_one_of_its_addresses_to_another_program_keeps_the_other_and_leaks_nothing() {
    let mut bench =
        Bench::with(vec![set("10.1.0.0/24", "10.1.0.2", "10.1.0.3"), set("fd00::/64", "fd00::2", "fd00::3")]);
    bench.add("a", "c1");
    bench.disk.remove(format!("{DATA}/fd00::2")).unwrap();
    bench.stock_lease("fd00::2", "s1\r\neth0");
    bench.status().unwrap();
    assert_eq!(bench.held("10.1.0.2"), held("live", "default/a"));
    assert_eq!(bench.held("fd00::2"), held("foreign", "s1"));
    bench.del("a", "c1");
    assert_eq!(bench.file("10.1.0.2"), None);
    assert_eq!(bench.add_one("a", "c2"), "10.1.0.2");
}
