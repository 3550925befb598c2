//! For each invariant a variant of the hub that does something wrong, and the proof that the checks notice.

use crate::world::World;
use crate::{Sabotage, expect, run};

/// Runs until the check objects, and says to what; every objection must be to one of `wanted`.
fn caught(how: Sabotage, wanted: &[&str]) {
    for seed in 0..300 {
        let mut world = World::new(seed, how);
        if let Err(violation) = run(&mut world) {
            if !wanted.contains(&violation.what) {
                expect(&world, seed, Err(violation));
            }
            return;
        }
    }
    panic!("nothing was noticed of {how:?}");
}

#[test]
fn the_check_catches_answers_that_are_sent_before_they_are_flushed() {
    caught(Sabotage::FlushesNothing, &["lost", "again", "untold"]);
}

#[test]
fn the_check_catches_layers_that_are_lifted_before_the_cloud_has_acknowledged() {
    caught(Sabotage::LiftsEarly, &["lost", "again", "untold"]);
}

#[test]
fn the_check_catches_pods_that_come_back_to_life() {
    caught(Sabotage::OverlooksEnds, &["alive", "lost"]);
}

#[test]
fn the_check_catches_one_pod_taken_for_another() {
    caught(Sabotage::IgnoresUids, &["other"]);
}

#[test]
fn the_check_catches_a_dead_kubelet_that_is_told_to_live() {
    caught(Sabotage::SpeaksForTheDead, &["dead"]);
}

#[test]
fn the_check_catches_a_node_that_is_ready_before_its_successes_are_known() {
    caught(Sabotage::HoldsNothing, &["order"]);
}

#[test]
fn the_check_catches_a_shutdown_that_outlives_the_reboot() {
    caught(Sabotage::KeepsShutdowns, &["shutdown"]);
}

#[test]
fn the_check_catches_what_is_dropped_without_a_word() {
    caught(Sabotage::ReportsNothing, &["unreported"]);
}

#[test]
fn the_check_catches_a_node_that_goes_on_to_show_what_it_has_told() {
    caught(Sabotage::LiftsNothing, &["differs"]);
}

#[test]
fn the_check_catches_a_pod_that_is_made_again_after_it_was_gone() {
    caught(Sabotage::BringsBack, &["resurrected"]);
}
