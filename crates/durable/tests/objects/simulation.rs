//! Random days of a log: writes, flushes, deaths, power cuts, full and failing disks.

use testkit::power_cut::Fault;

use crate::broken::Sabotage;
use crate::seeds;
use crate::world::{Check, SEGMENT, World};

const STEPS: usize = 60;

/// One thing that happens.
fn step(world: &mut World) -> Check {
    match world.rng.below(100) {
        0..50 => {
            let changes = world.draw();
            world.tell(format!("write {} changes", changes.len()));
            world.append(&changes)?;
        }
        50..62 => {
            world.tell("flush");
            world.flush()?;
        }
        62..76 => {
            let budget = world.rng.index(6000);
            world.tell(format!("tidy {budget}"));
            world.tidy(budget)?;
        }
        76..79 => {
            world.tell("write everything anew");
            let done = world.log.as_mut().map_or(Ok(()), durable::objects::Log::rewrite);
            world.expected(done)?;
        }
        79..81 => {
            let troubles = world.log.as_mut().map(durable::objects::Log::verify);
            if let Some(Ok(troubles)) = troubles
                && !troubles.is_empty()
            {
                return Err(format!("checking found {troubles:?}"));
            }
        }
        81..84 => {
            world.tell("close");
            let done = world.log.take().map_or(Ok(()), durable::objects::Log::close);
            world.expected(done)?;
            world.open(false)?;
        }
        84..88 => {
            world.tell("death");
            world.open(false)?;
        }
        88..92 => {
            let n = world.rng.index(12);
            let fault = match world.rng.below(2) {
                0 => Fault::Death,
                _ => Fault::DeathHalfway(world.rng.next_u64()),
            };
            world.tell(format!("doomed: {fault:?} at call {n}"));
            world.doom(n, fault);
        }
        92..94 => {
            let n = world.rng.index(8);
            let fault =
                *world.rng.pick(&[Fault::NoSpace, Fault::ReadOnly, Fault::FlushFails, Fault::NoSpace]);
            world.tell(format!("{fault:?} from call {n} on"));
            world.process.fail_after(n, fault);
        }
        94..96 => {
            world.tell("the disk is well");
            world.process.clear_faults();
        }
        96..98 => world.disk.settle(),
        _ => world.power_cut()?,
    }
    if world.process.is_dead() {
        if world.rng.chance(50) {
            return world.power_cut();
        }
        world.process.clear_faults();
        world.tell("death");
        world.open(false)?;
    }
    world.look()
}

/// When all is well again the log is as small as it promises.
fn small_again(world: &mut World) -> Check {
    world.process.clear_faults();
    world.open(false)?;
    let log = world.log.as_mut().unwrap();
    for _ in 0..200 {
        log.tidy(4096).and_then(|_| log.flush()).map_err(|error| error.to_string())?;
    }
    let usage = log.usage();
    // Two segments, and one that a large record has made larger.
    let bound = usage.live * 3 + u64::from(SEGMENT) * 2 + 10_000;
    if usage.total > bound || usage.segments > 40 {
        return Err(format!("{usage:?} is more than {bound}"));
    }
    let files = world.disk.list(crate::world::DIR).unwrap();
    let there = files.iter().filter(|name| name.starts_with("segment-")).count();
    if there > usage.segments + 3 {
        return Err(format!("{there} files for {} segments", usage.segments));
    }
    world.look()
}

pub fn run(world: &mut World) -> Check {
    for _ in 0..STEPS {
        step(world)?;
    }
    world.flush()?;
    world.power_cut()?;
    small_again(world)
}

pub fn expect(world: &World, seed: u64, check: Check) {
    if let Err(violation) = check {
        let story = world.story.join("\n");
        panic!("{story}\n\nSIM_SEED={seed} repeats it: {violation}");
    }
}

#[test]
fn p4_p5_what_was_said_is_there_whatever_happens_to_the_machine() {
    for seed in seeds(1500) {
        let mut world = World::new(seed, Sabotage::None);
        let check = run(&mut world);
        expect(&world, seed, check);
    }
}
