//! Promises P4, P5's view of forwarded writes, P6's view of deletions, and P8 of the view under chance: seeded runs of a
//! hub between a cloud and informers, with links that are cut, hubs that are killed, power cuts at any point of any
//! write, damaged records, compactions and restored backups.
//!
//! `SIM_RUNS=100000 cargo test -p view --test simulation` runs more; a failure prints its seed, and `SIM_SEED=<seed>`
//! repeats that run alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod broken;
mod client;
mod cloud;
mod disk;
mod faults;
mod hub;
mod oracle;
mod world;

use faults::Faults;
use oracle::Check;
use testkit::rng::seeds;
use world::World;

/// What a broken variant does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Nothing.
    None,
    /// The log `keep` says that it flushed, and did not.
    FlushLies,
    /// Reservations of view RVs are not written.
    ReservesNothing,
    /// Writes are reported as done when they are handed out.
    ShowsBeforeWritten,
    /// A stream that breaks in the middle of a state passes for a whole one.
    TakesABreakForTheEnd,
    /// Streams go on without asking how far the cloud is.
    TrustsTheRevision,
    /// Lost records are not told.
    LosesSilently,
}

const STEPS: usize = 300;

fn run(world: &mut World) -> Check {
    for round in 0..4 {
        for _ in 0..STEPS / 4 {
            world.step()?;
        }
        world.quiet(round)?;
    }
    Ok(())
}

/// Ends the test with everything that is needed to understand and to repeat the run.
fn expect(world: &World, seed: u64, check: Check) {
    if let Err(violation) = check {
        let log = world.log.join("\n");
        panic!("{log}\n\nSIM_SEED={seed} repeats it: {}: {}", violation.what, violation.text);
    }
}

/// Seeds that found something once, with what it was.
#[test]
fn p4_p6_p8_runs_that_failed_once_hold() {
    const SEEDS: [(u64, &str); 21] = [
        (1, "a tombstone from before an etcd was restored hides what has the name now"),
        (66, "that a reservation of view RVs was lost is forgotten by the hub after the next"),
        (170, "that an object had left a set is forgotten, and who was told goes on all the same"),
        (261, "a name is read as it was before, since a set that it is not in has caught up"),
        (327, "what a slower stream brings is told behind what came after it"),
        (897, "a watch waits for versions that a restored cloud reaches much later"),
        (1051, "a set is told what it has passed, for another's stream is slower"),
        (1572, "a state ends without what changed while it was told"),
        (2531, "an etcd was restored, and one log knows it and the other does not"),
        (2552, "where a reservation is lost, numbers are issued anew"),
        (4801, "the end of something is told to who was told its successor"),
        (5448, "a number is taken for reserved whose reservation did not survive"),
        (6801, "an end before an etcd was restored is unknown to the next hub, and its clients go on"),
        (7259, "what was found missing is taken as known by who has not heard of it"),
        (9850, "a record is lost, and who has its object goes on"),
        (10_587, "the mark that tells what left a set is lost"),
        (10_762, "a list of everything skips what a client has from the cloud"),
        (13_031, "a set is read anew past the version that a watch has from the cloud"),
        (13_368, "a list shows what its version comes before"),
        (16_324, "a set is read for the first time past the version that a watch of it has"),
        (20_863, "the record of an object outlives it, and then its tombstone"),
    ];
    for (seed, _) in SEEDS {
        let mut world = World::new(seed, Sabotage::None, Faults::all());
        let check = run(&mut world);
        expect(&world, seed, check);
    }
}

#[test]
fn p4_p6_p8_hold_whatever_happens_to_link_hub_cloud_and_power() {
    for seed in seeds(3000) {
        let mut world = World::new(seed, Sabotage::None, Faults::all());
        let check = run(&mut world);
        expect(&world, seed, check);
    }
}

#[test]
fn p4_informers_see_no_gap_no_duplicate_and_no_relist_when_only_the_link_goes_and_comes() {
    for seed in seeds(2000) {
        let mut world = World::new(seed, Sabotage::None, Faults { cuts: true, ..Faults::none() });
        let check = run(&mut world).and_then(|()| world.nobody_relisted());
        expect(&world, seed, check);
    }
}
