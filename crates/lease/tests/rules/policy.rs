//! The policy keys (§5.9): how long to hold, what names a pod, whether to reclaim.

use std::time::Duration;

use cni::retain::{Hold, PodKey, Reclaim, RepeatAdd};

use crate::bench::{Bench, held};

#[test]
fn by_name_a_pod_made_anew_comes_home_and_by_uid_it_does_not() {
    for (key, home) in [(PodKey::Name, true), (PodKey::Uid, false)] {
        let mut bench = Bench::up_to(9);
        bench.policy.key = key;
        bench.uid = "one".into();
        let first = bench.add_one("web-0", "c1");
        bench.del("web-0", "c1");
        bench.uid = "two".into();
        assert_eq!(bench.add_one("web-0", "c2") == first, home, "{key:?}");
        if !home {
            assert_eq!(bench.held(&first), held("gone", "default/web-0"));
        }
    }
}

#[test]
fn a_parked_binding_ends_when_the_node_was_up_for_the_hold_time() {
    let mut bench = Bench::up_to(9);
    bench.policy.hold = Hold::For(Duration::from_secs(600));
    bench.add("a", "c1");
    bench.del("a", "c1");
    bench.wait(599);
    bench.add("b", "c2");
    assert_eq!(bench.held("10.1.0.2"), held("parked", "default/a"));
    bench.wait(2);
    bench.add("c", "c3");
    assert_eq!(bench.held("10.1.0.2"), Default::default());
}

#[test]
fn a_clock_that_jumps_ends_no_binding() {
    let mut bench = Bench::up_to(9);
    bench.policy.hold = Hold::For(Duration::from_secs(600));
    bench.add("a", "c1");
    bench.del("a", "c1");
    bench.disk.advance(Duration::from_secs(10 * 365 * 86_400));
    bench.add("b", "c2");
    assert_eq!(bench.held("10.1.0.2"), held("parked", "default/a"));
    bench.reboot();
    bench.add("c", "c3");
    assert_eq!(bench.held("10.1.0.2"), held("parked", "default/a"));
}

#[test]
fn held_for_no_time_a_binding_ends_with_its_del() {
    let mut bench = Bench::up_to(9);
    bench.policy.hold = Hold::For(Duration::ZERO);
    bench.add("a", "c1");
    bench.del("a", "c1");
    assert_eq!(bench.held("10.1.0.2"), Default::default());
}

#[test]
fn where_nothing_may_be_reclaimed_only_gone_bindings_are() {
    let mut bench = Bench::up_to(3);
    bench.policy.reclaim = Reclaim::Never;
    bench.add("a", "c1");
    bench.add("b", "c2");
    bench.del("a", "c1");
    assert!(bench.try_add("c", "c3").is_err());
    assert!(bench.status().is_err());
    bench.reboot();
    assert!(bench.try_add("c", "c3").is_err());
    assert_eq!(bench.add_one("a", "c4"), "10.1.0.2");
}

#[test]
fn beyond_the_bound_the_oldest_gone_bindings_end() {
    let mut bench = Bench::up_to(20);
    bench.policy.max_gone = 2;
    bench.policy.key = PodKey::Uid;
    for n in 0..6 {
        bench.uid = format!("uid-{n}");
        bench.add("web-0", &format!("c{n}"));
        bench.del("web-0", &format!("c{n}"));
    }
    let gone: Vec<String> = bench
        .view()
        .rows
        .iter()
        .filter(|row| row.held.as_str() == "gone")
        .map(|row| row.binding.addresses[0].to_string())
        .collect();
    assert_eq!(gone, ["10.1.0.5", "10.1.0.6"]);
}

#[test]
fn a_repeated_add_is_refused_where_the_key_says_so() {
    let mut bench = Bench::up_to(9);
    bench.policy.repeat_add = RepeatAdd::Error;
    bench.add("a", "c1");
    let error = bench.try_add("a", "c1").unwrap_err().to_string();
    assert!(
        error.contains("10.1.0.2 has been allocated to c1, duplicate allocation is not allowed"),
        "{error}"
    );
    bench.del("a", "c1");
    bench.add("a", "c2");
}
