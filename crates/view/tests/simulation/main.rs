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
mod hub;
mod oracle;
mod world;

use oracle::Check;
use testkit::rng::seeds;
use world::{Faults, World};

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

#[test]
fn p4_p6_p8_hold_whatever_happens_to_link_hub_cloud_and_power() {
    for seed in seeds(60) {
        let mut world = World::new(seed, Sabotage::None, Faults::all());
        let check = run(&mut world);
        expect(&world, seed, check);
    }
}

#[test]
fn p4_informers_see_no_gap_no_duplicate_and_no_relist_when_only_the_link_goes_and_comes() {
    for seed in seeds(60) {
        let mut world = World::new(seed, Sabotage::None, Faults { cuts: true, ..Faults::none() });
        let check = run(&mut world).and_then(|()| world.nobody_relisted());
        expect(&world, seed, check);
    }
}
