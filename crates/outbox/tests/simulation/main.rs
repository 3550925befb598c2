//! Promises P5 and P6 under chance: seeded runs of a node and its cloud, with links that are cut, hubs that are killed,
//! power cuts at any moment of a write, answers that are lost, kubelets that restart or stay away, shutdowns, pods that end
//! on the node or are ended and deleted in the cloud, nodes made again, and restored backups.
//!
//! `SIM_RUNS=100000 cargo test -p outbox --test simulation` runs more; a failure prints its seed, and
//! `SIM_SEED=<seed>` repeats that run alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod broken;
#[path = "../settle/cloud.rs"]
mod cloud;
mod controllers;
mod hub;
mod kubelet;
mod oracle;
mod world;

use oracle::Check;
use testkit::rng::seeds;
use world::World;

/// What a broken variant does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Nothing.
    None,
    /// Staged writes are answered before they are flushed.
    FlushesNothing,
    /// What is laid over is lifted when it is sent, not when it is acknowledged.
    LiftsEarly,
    /// That a pod has ended in the cloud goes unseen.
    OverlooksEnds,
    /// A name is as good as a UID.
    IgnoresUids,
    /// The link is back, so kubelet lives.
    SpeaksForTheDead,
    /// The node's status is not held.
    HoldsNothing,
    /// What a shutdown wrote outlives the reboot.
    KeepsShutdowns,
    /// What is dropped is dropped without a word.
    ReportsNothing,
    /// What was settled of the node is shown on.
    LiftsNothing,
    /// What the cloud has not is made there.
    BringsBack,
}

/// Beside the steps in which all is quiet.
const STEPS: usize = 500;

fn run(world: &mut World) -> Check {
    for _ in 0..5 {
        for _ in 0..STEPS / 5 {
            world.step()?;
        }
        world.agree()?;
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
fn p5_p6_runs_that_failed_once_hold() {
    const SEEDS: [(u64, &str); 2] = [
        (
            5_382,
            "the pod garbage collector takes a pod for lost that succeeded, and kubelet goes on saying so",
        ),
        (51_620, "kubelet starts right after the cloud said that a pod is gone, and runs it once more"),
    ];
    for (seed, _) in SEEDS {
        let mut world = World::new(seed, Sabotage::None);
        let check = run(&mut world);
        expect(&world, seed, check);
    }
}

#[test]
fn p5_p6_hold_whatever_happens_to_node_cloud_and_the_link_between_them() {
    let seeds = seeds(2000);
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    let mut world = World::new(seed, Sabotage::None);
                    let check = run(&mut world);
                    expect(&world, seed, check);
                }
            });
        }
    });
}
