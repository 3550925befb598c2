//! Same pod, same address; no address twice; what was answered is durable; what it costs.

use testkit::power_cut::Fault;

use crate::bench::{Bench, DATA, RUN, held, ips, set};

fn dual() -> Bench {
    Bench::with(vec![set("10.1.0.0/24", "10.1.0.2", "10.1.0.9"), set("fd00::/64", "fd00::2", "fd00::9")])
}

#[test]
fn p1_a_pod_gets_both_its_addresses_again_after_del_and_after_reboot() {
    let mut bench = dual();
    let first = bench.add("web-0", "c1");
    assert_eq!(first, ips("10.1.0.2 fd00::2"));
    bench.add("web-1", "c2");
    bench.del("web-0", "c1");
    assert_eq!(bench.add("web-0", "c3"), first);
    bench.reboot();
    bench.add("other", "c4");
    assert_eq!(bench.add("web-0", "c5"), first);
}

#[test]
fn p1_each_interface_of_a_pod_comes_home_to_its_own_address() {
    let mut bench = Bench::up_to(9);
    let eth0 = bench.add_one("web-0", "c1");
    bench.ifname = "net1".into();
    let net1 = bench.add_one("web-0", "c1");
    assert_ne!(eth0, net1);
    bench.del("web-0", "c1");
    assert_eq!(bench.add_one("web-0", "c2"), net1);
    bench.ifname = "eth0".into();
    bench.del("web-0", "c1");
    assert_eq!(bench.add_one("web-0", "c2"), eth0);
}

#[test]
fn p3_power_cut_after_add_loses_nothing_that_was_answered() {
    for seed in 0..50 {
        let mut bench = dual();
        let first = bench.add("web-0", "c1");
        bench.disk.power_cut(seed);
        bench.boot += 1;
        bench.add("other", "c2");
        assert_eq!(bench.add("web-0", "c3"), first, "seed {seed}");
    }
}

#[test]
fn a_record_whose_slot_cannot_be_costs_no_memory_and_nobody_an_address() {
    // The index has a place for each slot up to the highest.
    for slot in [7_u32, 4097, 100_000, (1 << 20) - 1, 1 << 20, u32::MAX] {
        let mut bench = dual();
        let first = bench.add("web-0", "c1");
        let second = bench.add("web-1", "c2");
        bench.rewrite_journal(|record| {
            // A binding's slot is behind its kind, its names are at its end.
            if record.windows(5).any(|name| name == b"web-0") {
                record[1..5].copy_from_slice(&slot.to_le_bytes());
            }
        });
        bench.reboot();
        assert_eq!(bench.add("web-1", "c3"), second, "slot {slot}");
        if slot < 1 << 20 {
            assert_eq!(bench.add("web-0", "c4"), first, "slot {slot}");
        }
        let third = bench.add("web-2", "c5");
        assert!(third != first && third != second, "slot {slot}");
    }
}

#[test]
fn an_answer_after_a_dead_process_is_as_durable_as_any() {
    // The process that made directory and journal dies at each of its calls; what the next one answers must stand.
    for n in 0..200 {
        let mut bench = dual();
        let fs = bench.disk.process();
        fs.fail_after(n, Fault::Death);
        let (now, places, policy) = (bench.now(), bench.places(), bench.policy.clone());
        let opened = lease::Store::open(&fs, &places, &now, &policy).is_ok();
        fs.kill();
        let first = bench.add("web-0", "c1");
        for seed in 0..8 {
            let mut again = dual();
            again.disk = bench.disk.fork();
            again.disk.power_cut(seed);
            again.boot += 1;
            again.add("other", "c2");
            assert_eq!(again.add("web-0", "c3"), first, "death at call {n}, seed {seed}");
        }
        if opened {
            return;
        }
    }
}

#[test]
fn p2_a_sandbox_that_may_still_run_keeps_its_address() {
    let mut bench = Bench::up_to(9);
    let old = bench.add_one("web-0", "c1");
    // The runtime forgot c1; its network namespace stands.
    let new = bench.add_one("web-0", "c2");
    assert_ne!(old, new);
    assert_eq!(bench.file(&old).as_deref(), Some("c1\r\neth0"));
}

#[test]
fn an_address_moves_on_when_its_old_sandbox_is_gone_and_the_late_del_does_not_match() {
    let mut bench = Bench::up_to(9);
    let old = bench.add_one("web-0", "c1");
    bench.kill("c1");
    assert_eq!(bench.add_one("web-0", "c2"), old);
    bench.del("web-0", "c1");
    assert_eq!(bench.file(&old).as_deref(), Some("c2\r\neth0"));
    assert_eq!(bench.held(&old), held("live", "default/web-0"));
}

#[test]
fn p2_gc_that_misses_a_running_sandbox_gives_its_address_to_nobody() {
    let mut bench = Bench::up_to(3);
    let old = bench.add_one("web-0", "c1");
    bench.collect(&[]);
    assert_eq!(bench.file(&old), None, "GC parks");
    assert_ne!(bench.add_one("a", "c2"), old);
    assert!(bench.try_add("b", "c3").is_err(), "rather fail than give an address twice");
    bench.kill("c1");
    assert_eq!(bench.add_one("b", "c3"), old);
}

#[test]
fn p2_no_bound_on_gone_bindings_frees_an_address_that_may_be_in_use() {
    let mut bench = Bench::up_to(9);
    bench.policy.max_gone = 0;
    let old = bench.add_one("web-0", "c1");
    let new = bench.add_one("web-0", "c2");
    bench.collect(&["c2"]);
    let others: Vec<String> = (0..6).map(|n| bench.add_one(&format!("job-{n}"), &format!("j{n}"))).collect();
    assert!(!others.contains(&old) && !others.contains(&new), "{others:?}");
    assert!(bench.try_add("job-6", "j6").is_err());
}

#[test]
fn p2_holding_for_no_time_frees_no_address_that_may_be_in_use() {
    let mut bench = Bench::up_to(3);
    bench.policy.hold = cni::retain::Hold::For(std::time::Duration::ZERO);
    let old = bench.add_one("web-0", "c1");
    bench.collect(&[]);
    assert_ne!(bench.add_one("a", "c2"), old);
    assert!(bench.try_add("b", "c3").is_err());
}

#[test]
fn a_first_add_costs_one_flush_and_coming_home_and_del_cost_none() {
    let mut bench = dual();
    bench.add("web-0", "c1");
    let flushes = |bench: &Bench| bench.disk.all_flushes();
    let before = flushes(&bench);
    bench.add("web-1", "c2");
    assert_eq!(flushes(&bench) - before, 1);
    bench.del("web-0", "c1");
    bench.add("web-0", "c3");
    bench.add("web-0", "c3");
    bench.collect(&["c3"]);
    bench.status().unwrap();
    assert_eq!(flushes(&bench) - before, 1);
}

#[test]
fn a_repeated_add_gets_the_same_and_a_repeated_del_is_a_success() {
    let mut bench = dual();
    let first = bench.add("web-0", "c1");
    assert_eq!(bench.add("web-0", "c1"), first);
    bench.del("web-0", "c1");
    bench.del("web-0", "c1");
    bench.del("nobody", "never-heard-of");
    assert_eq!(bench.disk.list(DATA).unwrap(), ["last_reserved_ip.0", "last_reserved_ip.1", "lock"]);
}

#[test]
fn one_add_takes_all_its_addresses_or_none() {
    let mut bench =
        Bench::with(vec![set("10.1.0.0/24", "10.1.0.2", "10.1.0.9"), set("fd00::/64", "fd00::2", "fd00::2")]);
    bench.add("web-0", "c1");
    let error = bench.try_add("web-1", "c2").unwrap_err().to_string();
    assert!(error.contains("no IP addresses available in range set: fd00::2-fd00::2"), "{error}");
    assert_eq!(bench.file("10.1.0.3"), None);
    assert_eq!(bench.view().rows.len(), 1);
}

#[test]
fn a_failed_add_ends_nobodys_binding() {
    let mut bench = Bench::up_to(2);
    let first = bench.add_one("web-0", "c1");
    bench.del("web-0", "c1");
    let fs = bench.disk.process();
    fs.fail_after(0, Fault::NoSpace);
    let _ = durable::fs::Fs::metadata(&fs, std::path::Path::new("/"));
    assert!(bench.try_add("other", "c2").is_err(), "no space for its lease file");
    fs.clear_faults();
    assert_eq!(bench.held(&first), held("parked", "default/web-0"));
    assert_eq!(bench.add_one("web-0", "c3"), first);
}

#[test]
fn the_path_of_a_network_namespace_means_nothing_after_a_reboot() {
    let mut bench = Bench::up_to(3);
    assert_eq!(bench.add_one("web-0", "c1"), "10.1.0.2");
    assert_eq!(bench.add_one("web-0", "c2"), "10.1.0.3");
    bench.reboot();
    assert_eq!(bench.add_one("web-0", "c3"), "10.1.0.3");
    bench.disk.write(Bench::netns("c1"), "another's").unwrap();
    assert_eq!(bench.add_one("other", "c4"), "10.1.0.2");
}

#[test]
fn p3_coming_home_needs_no_flush_to_survive_a_power_cut() {
    for seed in 0..200 {
        let mut bench = dual();
        bench.add("other", "c1");
        let first = bench.add("web-0", "c2");
        bench.del("web-0", "c2");
        bench.disk.settle();
        bench.add("web-0", "c3");
        bench.disk.power_cut(seed);
        bench.boot += 1;
        bench.add("another", "c4");
        assert_eq!(bench.add("web-0", "c5"), first, "seed {seed}");
    }
}

#[test]
fn an_index_that_was_cut_short_anywhere_is_made_anew() {
    let mut bench = dual();
    let first = bench.add("web-0", "c1");
    let index = format!("{RUN}/net/index");
    let len = bench.disk.read(&index).unwrap().len() as u64;
    for cut in (0..200).chain((200..len).step_by(1000)).chain([len - 1]) {
        bench.disk.truncate(&index, cut).unwrap();
        bench.run(|store| store.check("c1", "eth0")).unwrap();
        assert_eq!(bench.add("web-0", "c1"), first, "cut at {cut}");
    }
}
