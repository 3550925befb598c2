//! For each invariant a variant that breaks it, and the proof that the checks notice.

use crate::broken::Sabotage;
use crate::world::World;
use crate::{expect, run};

/// Runs until the check objects, and says to what; every objection must be to one of `wanted`.
fn caught(how: Sabotage, wanted: &[&str]) {
    for seed in 0..60 {
        let mut world = World::new(seed, how);
        // What else goes wrong in such a run would only blur what is caught.
        world.plan.faults = false;
        if let Err(violation) = run(&mut world) {
            if !wanted.contains(&violation.promise) {
                expect(&world, seed, Err(violation));
            }
            return;
        }
    }
    panic!("nothing was noticed of {how:?}");
}

#[test]
fn the_check_catches_a_disk_that_lies_about_flushing() {
    caught(Sabotage::FlushLies, &["P3"]);
}

#[test]
fn the_check_catches_a_disk_that_lies_about_flushing_directories() {
    caught(Sabotage::DirFlushLies, &["P3"]);
}

#[test]
fn the_check_catches_bindings_that_are_kept_in_memory_only() {
    caught(Sabotage::StateInMemory, &["P1", "P3"]);
}

#[test]
fn the_check_catches_journal_writes_that_are_dropped() {
    caught(Sabotage::DropsJournalWrites, &["P1", "errors", "files"]);
}

#[test]
fn the_check_catches_a_plugin_that_cannot_see_network_namespaces() {
    caught(Sabotage::BlindToNetns, &["P2"]);
}

#[test]
fn the_check_catches_a_plugin_that_overwrites_leases_it_did_not_see() {
    caught(Sabotage::FrozenTimesNotExclusive, &["P2", "files"]);
}

#[test]
fn the_check_catches_changes_of_other_programs_that_are_not_seen() {
    caught(Sabotage::FrozenTimes, &["files", "check", "order", "flushes"]);
}

#[test]
fn the_check_catches_lease_files_that_are_never_removed() {
    caught(Sabotage::RemovesNothing, &["files", "leak"]);
}

#[test]
fn the_check_catches_lease_files_that_say_nothing() {
    caught(Sabotage::WritesNoLease, &["files"]);
}

#[test]
fn the_check_catches_a_flush_too_many() {
    caught(Sabotage::FlushTwice, &["flushes"]);
}
