//! Which address a pod gets (§5.5).

use crate::bench::{Bench, held, ips, set};

#[test]
fn a_new_pod_gets_what_nobody_is_bound_to_round_robin() {
    let mut bench = Bench::up_to(5);
    assert_eq!(bench.add_one("a", "c1"), "10.1.0.2");
    bench.del("a", "c1");
    assert_eq!(bench.add_one("b", "c2"), "10.1.0.3");
    assert_eq!(bench.file("last_reserved_ip.0").as_deref(), Some("10.1.0.3"));
    assert_eq!(bench.add_one("a", "c3"), "10.1.0.2");
    assert_eq!(bench.file("last_reserved_ip.0").as_deref(), Some("10.1.0.3"), "coming home is no turn");
    assert_eq!(bench.add_one("c", "c4"), "10.1.0.4");
}

#[test]
fn under_pressure_gone_goes_first_then_parked_oldest_first_and_rebooted_last() {
    let mut bench = Bench::up_to(6);
    for (pod, container) in [("rebooted", "c1"), ("parked-a", "c2"), ("parked-b", "c3"), ("gone", "c4")] {
        bench.add(pod, container);
    }
    // The pod has a second sandbox while the first may run; then the first goes, and its address is of no use.
    bench.add("gone", "c5");
    bench.del("gone", "c4");
    assert_eq!(bench.held("10.1.0.5"), held("gone", "default/gone"));
    bench.reboot();
    bench.del("parked-b", "c3");
    bench.del("parked-a", "c2");
    let mut reused = Vec::new();
    for n in 0..5 {
        reused.push(bench.add_one(&format!("new-{n}"), &format!("n{n}")));
    }
    assert_eq!(reused, ["10.1.0.5", "10.1.0.4", "10.1.0.3", "10.1.0.2", "10.1.0.6"]);
}

#[test]
fn a_binding_ends_as_a_whole() {
    let mut bench =
        Bench::with(vec![set("10.1.0.0/24", "10.1.0.2", "10.1.0.2"), set("fd00::/64", "fd00::2", "fd00::9")]);
    bench.add("a", "c1");
    bench.del("a", "c1");
    bench.add("b", "c2");
    assert_eq!(bench.held("fd00::2"), Default::default());
    assert_eq!(bench.view().reused, 1);
}

#[test]
fn an_address_outside_its_changed_range_is_given_up_and_counted_and_the_other_family_stays() {
    let mut bench =
        Bench::with(vec![set("10.1.0.0/24", "10.1.0.2", "10.1.0.9"), set("fd00::/64", "fd00::2", "fd00::9")]);
    bench.add("a", "c1");
    bench.del("a", "c1");
    bench.sets[0] = set("10.7.0.0/24", "10.7.0.2", "10.7.0.9");
    assert_eq!(bench.add("a", "c2"), ips("10.7.0.2 fd00::2"));
    assert_eq!(bench.view().given_up, 1);
    assert!(bench.notes.iter().any(|note| note.contains("10.1.0.2")), "{:?}", bench.notes);
}

#[test]
fn a_requested_address_is_given_if_it_is_nobodys_and_outranks_the_pods_own() {
    let mut bench = Bench::up_to(9);
    assert_eq!(bench.add_one("a", "c1"), "10.1.0.2");
    bench.del("a", "c1");
    bench.requested = ips("10.1.0.7");
    assert_eq!(bench.add_one("a", "c2"), "10.1.0.7");
    let error = bench.try_add("b", "c3").unwrap_err().to_string();
    assert!(error.contains("requested IP address 10.1.0.7 is not available in range set"), "{error}");
    bench.requested = ips("10.1.0.1");
    bench.sets = vec![set("10.1.0.0/24", "10.1.0.1", "10.1.0.9")];
    let error = bench.try_add("b", "c3").unwrap_err().to_string();
    assert!(error.contains("requested ip 10.1.0.1 is subnet's gateway"), "{error}");
    bench.requested = ips("10.9.9.9");
    let error = bench.try_add("b", "c3").unwrap_err().to_string();
    assert!(error.contains("failed to allocate all requested IPs: 10.9.9.9"), "{error}");
}

#[test]
fn status_counts_what_is_parked_as_usable_and_fails_when_nothing_is() {
    let mut bench = Bench::up_to(3);
    bench.add("a", "c1");
    bench.add("b", "c2");
    assert!(bench.status().is_err());
    bench.del("a", "c1");
    bench.status().unwrap();
}

#[test]
fn a_pod_that_is_given_the_address_of_its_own_older_binding_holds_it() {
    let mut bench = Bench::up_to(2);
    assert_eq!(bench.add_one("a", "c1"), "10.1.0.2");
    // The runtime forgot c1; the pod's second sandbox gets an address of a range that is gone after the reboot.
    bench.sets = vec![set("10.7.0.0/24", "10.7.0.2", "10.7.0.2")];
    assert_eq!(bench.add_one("a", "c2"), "10.7.0.2");
    bench.reboot();
    bench.sets = vec![set("10.1.0.0/24", "10.1.0.2", "10.1.0.2")];
    assert_eq!(bench.add_one("a", "c3"), "10.1.0.2");
    assert_eq!(bench.held("10.1.0.2"), held("live", "default/a"));
    assert!(bench.try_add("b", "c4").is_err());
}
