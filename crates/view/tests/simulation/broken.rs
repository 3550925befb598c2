//! For each kind of fault a variant of the hub that does something wrong, and the proof that the checks notice.

use crate::faults::Faults;
use crate::world::World;
use crate::{Sabotage, expect, run};

/// Runs until the check objects, and says to what; every objection must be to one of `wanted`.
fn caught(how: Sabotage, faults: Faults, wanted: &[&str]) {
    for seed in 0..200 {
        let mut world = World::new(seed, how, faults);
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
fn the_check_catches_a_disk_that_lies_about_flushing() {
    let faults = Faults { cuts: true, power: true, ..Faults::none() };
    caught(Sabotage::FlushLies, faults, &["number", "resurrected", "gap", "older", "hidden", "differs"]);
}

#[test]
fn the_check_catches_view_rvs_that_were_not_reserved() {
    let faults = Faults { cuts: true, kills: true, power: true, ..Faults::none() };
    caught(Sabotage::ReservesNothing, faults, &["number", "young", "older"]);
}

#[test]
fn the_check_catches_answers_that_are_sent_before_they_are_written() {
    let faults = Faults { cuts: true, kills: true, ..Faults::none() };
    caught(Sabotage::ShowsBeforeWritten, faults, &["older", "gap", "number", "differs", "young"]);
}

#[test]
fn the_check_catches_a_broken_stream_that_passes_for_a_whole_one() {
    let faults = Faults { cuts: true, compactions: true, ..Faults::none() };
    caught(Sabotage::TakesABreakForTheEnd, faults, &["hidden", "differs", "gap"]);
}

#[test]
fn the_check_catches_a_restored_cloud_that_nobody_looks_for() {
    let faults = Faults { cuts: true, restores: true, ..Faults::none() };
    caught(Sabotage::TrustsTheRevision, faults, &["differs"]);
}

#[test]
fn the_check_catches_lost_records_that_pass_for_deletions() {
    let faults = Faults { cuts: true, kills: true, damage: true, ..Faults::none() };
    caught(Sabotage::LosesSilently, faults, &["hidden", "gap", "differs"]);
}
