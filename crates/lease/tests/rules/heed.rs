//! What the API server knows of pods, told to the bindings (§5.5, §5.6).

use lease::{Binding, Heeded, State, Why, Word};

use crate::bench::{Bench, held};

/// The binding of a pod as it is now.
fn binding(bench: &Bench, pod: &str) -> Binding {
    let rows = bench.view().rows.into_iter();
    let mut found = rows.map(|row| row.binding).filter(|one| one.pod() == Some(("default", pod)));
    found.next().unwrap()
}

fn say(bench: &mut Bench, said: &[(Binding, Word)]) -> Heeded {
    bench.run(|store| store.heed(said)).unwrap()
}

fn hear(bench: &mut Bench, pod: &str, word: Word) -> Heeded {
    let said = [(binding(bench, pod), word)];
    say(bench, &said)
}

const NOTHING: Heeded = Heeded { gone: 0, awaited: 0 };

#[test]
fn bindings_of_deleted_pods_are_reused_first_and_those_of_awaited_pods_last() {
    let mut bench = Bench::up_to(5);
    for (pod, container) in [("awaited", "c1"), ("parked", "c2"), ("deleted", "c3"), ("rebooted", "c4")] {
        bench.add(pod, container);
    }
    bench.reboot();
    for (pod, container) in [("awaited", "c1"), ("parked", "c2"), ("deleted", "c3")] {
        bench.del(pod, container);
    }
    assert_eq!(hear(&mut bench, "deleted", Word::Deleted), Heeded { gone: 1, awaited: 0 });
    assert_eq!(hear(&mut bench, "awaited", Word::Exists), Heeded { gone: 0, awaited: 1 });
    assert_eq!(hear(&mut bench, "rebooted", Word::Exists), NOTHING, "it is awaited already");
    let reused: Vec<String> = (0..4).map(|n| bench.add_one(&format!("new-{n}"), &format!("n{n}"))).collect();
    assert_eq!(reused, ["10.1.0.4", "10.1.0.3", "10.1.0.5", "10.1.0.2"]);
}

#[test]
fn p2_what_may_be_in_use_stays_in_use_whatever_is_said_of_its_pod() {
    let mut bench = Bench::up_to(3);
    bench.add("runs", "c1");
    bench.add("forgotten", "c2");
    // The runtime no longer names the second; its sandbox runs on.
    bench.collect(&["c1"]);
    assert_eq!(hear(&mut bench, "runs", Word::Deleted), NOTHING);
    hear(&mut bench, "forgotten", Word::Deleted);
    assert!(bench.try_add("new", "n1").is_err());
    bench.kill("c2");
    assert_eq!(bench.add_one("new", "n2"), "10.1.0.3");
    // And a lease that stock host-local made is never judged dead: of its sandbox nothing is known.
    bench.stock_lease("10.1.0.9", "stock\r\neth0");
    bench.sets = vec![crate::bench::set("10.1.0.0/24", "10.1.0.2", "10.1.0.9")];
    bench.status().unwrap();
    let foreign = bench.view().rows.into_iter().find(|row| row.binding.container == "stock").unwrap().binding;
    assert_eq!(say(&mut bench, &[(foreign, Word::Deleted)]), NOTHING);
}

#[test]
fn a_live_binding_whose_sandbox_is_dead_and_whose_pod_is_deleted_is_free_to_be_reused() {
    let mut bench = Bench::up_to(2);
    bench.add("a", "c1");
    bench.kill("c1");
    assert!(bench.try_add("b", "n1").is_err(), "its DEL may still come");
    assert_eq!(hear(&mut bench, "a", Word::Deleted), Heeded { gone: 1, awaited: 0 });
    assert_eq!(bench.file("10.1.0.2"), None);
    assert_eq!(bench.add_one("b", "n2"), "10.1.0.2");
}

#[test]
fn p1_what_has_changed_since_it_was_judged_is_left_alone() {
    let mut bench = Bench::up_to(2);
    bench.add("a", "c1");
    bench.del("a", "c1");
    let judged = binding(&bench, "a");
    // The pod is made anew before the word comes.
    bench.add("a", "c2");
    assert_eq!(say(&mut bench, &[(judged.clone(), Word::Deleted)]), NOTHING);
    bench.del("a", "c2");
    assert_eq!(say(&mut bench, &[(judged, Word::Deleted)]), NOTHING, "parked again is not as it was");
    assert_eq!(bench.held("10.1.0.2"), held("parked", "default/a"));
}

#[test]
fn p1_a_pod_that_comes_back_under_its_name_comes_home_and_is_awaited_meanwhile() {
    let mut bench = Bench::up_to(3);
    bench.uid = "u-1".into();
    bench.add("db-0", "c1");
    bench.del("db-0", "c1");
    bench.add("other", "c2");
    bench.del("other", "c2");
    hear(&mut bench, "db-0", Word::Deleted);
    assert_eq!(hear(&mut bench, "db-0", Word::Exists), Heeded { gone: 0, awaited: 1 });
    assert_eq!(bench.add_one("new", "n1"), "10.1.0.3", "that of `other`, of which nothing is known");
    bench.uid = "u-2".into();
    assert_eq!(bench.add_one("db-0", "c3"), "10.1.0.2");
}

#[test]
fn p1_of_several_bindings_of_a_pod_the_last_stays_its_home() {
    let mut bench = Bench::up_to(3);
    bench.add("a", "c1");
    // The runtime forgot its sandbox, which runs on; then its pod is deleted, and one of that name made anew.
    bench.collect(&[]);
    assert_eq!(hear(&mut bench, "a", Word::Deleted).gone, 1);
    let first = binding(&bench, "a");
    assert_eq!(bench.add_one("a", "c2"), "10.1.0.3");
    bench.kill("c1");
    bench.del("a", "c2");
    assert_eq!(say(&mut bench, &[(first, Word::Exists)]), NOTHING);
    assert_eq!(bench.add_one("a", "c3"), "10.1.0.3");
}

#[test]
fn p3_what_was_heeded_survives_a_power_cut_and_is_said_once() {
    let mut bench = Bench::up_to(3);
    bench.add("a", "c1");
    bench.del("a", "c1");
    hear(&mut bench, "a", Word::Deleted);
    bench.disk.power_cut(7);
    bench.boot += 1;
    let row = binding(&bench, "a");
    assert_eq!((row.state, row.why), (State::Gone, Why::PodDeleted));
    assert_eq!(hear(&mut bench, "a", Word::Deleted), NOTHING);
    let why = bench.view().rows.into_iter().next().unwrap().why;
    assert_eq!(why, "the API server has no such pod any more");
}
