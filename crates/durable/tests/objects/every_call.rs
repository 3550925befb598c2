//! Death of the process, and loss of power, at every single call of opening, writing, flushing and tidying.

use testkit::power_cut::Fault;
use testkit::rng::Rng;

use crate::broken::Sabotage;
use crate::seeds;
use crate::simulation::expect;
use crate::world::{Check, World};

/// What is tried again and again from one state.
#[derive(Debug, Clone, Copy)]
enum Trial {
    Write,
    WriteAndFlush,
    Tidy,
    Rewrite,
    FailedFlush,
    FullDisk,
    Close,
}

const TRIALS: [Trial; 7] = [
    Trial::Write,
    Trial::WriteAndFlush,
    Trial::Tidy,
    Trial::Rewrite,
    Trial::FailedFlush,
    Trial::FullDisk,
    Trial::Close,
];

impl Trial {
    fn run(self, world: &mut World) -> Check {
        if !world.start()? {
            return Ok(());
        }
        world.look()?;
        let changes = world.draw();
        match self {
            Trial::Write => world.append(&changes),
            Trial::WriteAndFlush => world.append(&changes).and_then(|()| world.flush()),
            Trial::Tidy => (0..6).try_for_each(|_| world.tidy(3000).and_then(|()| world.flush())),
            Trial::Rewrite => {
                let done = world.log.as_mut().unwrap().rewrite();
                world.expected(done)?;
                (0..20).try_for_each(|_| world.tidy(3000).and_then(|()| world.flush()))
            }
            Trial::FailedFlush => {
                world.process.fail_after(1, Fault::FlushFails);
                world.append(&changes)?;
                world.flush()?;
                world.flush()
            }
            Trial::FullDisk => {
                world.process.fail_after(0, Fault::NoSpace);
                world.append(&changes)?;
                if !world.process.is_dead() {
                    world.look()?;
                    world.disk.clear_faults();
                }
                world.append(&changes)?;
                world.flush()
            }
            Trial::Close => {
                world.append(&changes)?;
                let done = world.log.take().unwrap().close();
                world.expected(done)
            }
        }
    }
}

fn cut_off_at(world: &mut World, trial: Trial, n: usize, fault: Fault, power: bool) -> Result<bool, String> {
    world.doom(n, fault);
    trial.run(world)?;
    let died = world.process.is_dead();
    world.disk.clear_faults();
    if power {
        world.power_cut()?;
    } else {
        world.open(false)?;
        // What was told after the death is as durable as if nobody had died.
        world.flush()?;
        world.power_cut()?;
    }
    let changes = world.draw();
    world.append(&changes)?;
    world.look()?;
    world.open(false)?;
    Ok(died)
}

#[test]
fn p4_p5_what_was_said_is_there_after_a_death_or_power_cut_at_every_call() {
    for seed in seeds(8) {
        let mut world = World::new(seed, Sabotage::None);
        let mut rng = Rng::new(seed).fork();
        let steps = 20 + rng.index(60);
        let check = (0..steps).try_for_each(|_| {
            let changes = world.draw();
            world.append(&changes)?;
            world.tidy(4000)?;
            if world.rng.chance(30) { world.flush() } else { Ok(()) }
        });
        expect(&world, seed, check);
        world.log = None;
        for trial in TRIALS {
            'calls: for n in 0.. {
                for way in 0..4 {
                    let fault = if way % 2 == 0 { Fault::Death } else { Fault::DeathHalfway(rng.next_u64()) };
                    let mut fork = world.fork();
                    fork.rng = rng.fork();
                    fork.tell(format!("{trial:?} {fault:?} at {n}, power {}", way >= 2));
                    match cut_off_at(&mut fork, trial, n, fault, way >= 2) {
                        Ok(true) => {}
                        Ok(false) => break 'calls,
                        Err(violation) => expect(&fork, seed, Err(violation)),
                    }
                }
            }
        }
    }
}
