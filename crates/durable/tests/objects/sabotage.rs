//! For each rule a disk that breaks it, and the proof that the checks notice.

use crate::broken::Sabotage;
use crate::simulation::run;
use crate::world::World;

fn caught(how: Sabotage) {
    for seed in 0..200 {
        let caught = std::panic::catch_unwind(|| run(&mut World::new(seed, how)).is_err());
        if caught.unwrap_or(true) {
            return;
        }
    }
    panic!("nothing was noticed of {how:?}");
}

#[test]
fn the_check_catches_a_log_that_does_not_flush() {
    caught(Sabotage::FlushLies);
}

#[test]
fn the_check_catches_a_log_that_does_not_flush_its_directory() {
    caught(Sabotage::DirFlushLies);
}

#[test]
fn the_check_catches_a_log_that_takes_a_failed_flush_for_a_good_one() {
    caught(Sabotage::FailedFlushLies);
}

#[test]
fn the_check_catches_writes_that_are_dropped() {
    caught(Sabotage::DropsWrites);
}

#[test]
fn the_check_catches_segments_that_are_never_removed() {
    caught(Sabotage::RemovesNothing);
}

#[test]
fn the_check_catches_reads_from_the_wrong_place() {
    caught(Sabotage::ReadsElsewhere);
}

#[test]
fn the_check_catches_a_log_that_overlooks_a_full_disk() {
    caught(Sabotage::FullDiskLies);
}
