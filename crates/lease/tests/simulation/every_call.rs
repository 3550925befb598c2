//! Death of the process, and loss of power, at every single system call of a command.

use testkit::power_cut::Fault;
use testkit::rng::Rng;

use crate::broken::Sabotage;
use crate::oracle::Check;
use crate::world::{By, World};
use crate::{expect, seeds};

/// A command that is tried again and again from one state.
#[derive(Debug, Clone)]
enum Trial {
    Start(String),
    Repeat(usize),
    End(usize),
    Collect,
    Status,
}

impl Trial {
    fn draw(world: &World, rng: &mut Rng) -> Trial {
        let current: Vec<usize> =
            (0..world.sandboxes.len()).filter(|at| world.sandboxes[*at].current).collect();
        let idle: Vec<&String> = world
            .pods
            .iter()
            .filter(|pod| !current.iter().any(|at| world.sandboxes[*at].pod == **pod))
            .collect();
        match rng.below(10) {
            0..6 if !idle.is_empty() => Trial::Start((*rng.pick(&idle)).clone()),
            6 if !current.is_empty() => Trial::Repeat(*rng.pick(&current)),
            7..9 if !current.is_empty() => Trial::End(*rng.pick(&current)),
            9 => Trial::Status,
            _ => Trial::Collect,
        }
    }

    fn run(&self, world: &mut World) -> Check {
        match self {
            Trial::Start(pod) => world.start(pod, By::Ours, 0),
            Trial::Repeat(at) => world.add(*at, 0),
            Trial::End(at) => {
                world.sandboxes[*at].current = false;
                world.del(*at, By::Ours)
            }
            Trial::Collect => world.collect(&[]),
            Trial::Status => world.status(),
        }
    }
}

/// Cuts the command off at call `n`, goes on, and says whether it had reached that call.
fn cut_off_at(
    world: &mut World,
    trial: &Trial,
    n: usize,
    fault: Fault,
    power: Option<u64>,
) -> Result<bool, crate::oracle::Violation> {
    world.fault = Some((n, fault));
    trial.run(world)?;
    if !world.died {
        return Ok(false);
    }
    if power.is_some() {
        world.reboot(power);
    }
    // The runtime cleans up after the ADD that nobody answered: with a DEL, or without one.
    for at in 0..world.sandboxes.len() {
        if world.sandboxes[at].current && world.sandboxes[at].addresses.is_empty() {
            world.sandboxes[at].current = false;
            let _ = world.disk.remove(world.sandboxes[at].netns.clone());
            if n.is_multiple_of(2) {
                world.del(at, By::Ours)?;
            }
        }
    }
    world.come_home()?;
    if power.is_none() {
        // What was told after the death must be as durable as if nobody had died.
        world.reboot(Some(n as u64));
        world.come_home()?;
    }
    if n.is_multiple_of(8) {
        world.nothing_leaked()?;
    }
    Ok(true)
}

#[test]
fn p1_p2_p3_hold_after_a_death_or_power_cut_at_every_call_of_a_command() {
    for seed in seeds(20) {
        let mut world = World::new(seed, Sabotage::None);
        world.plan.faults = false;
        let mut rng = world.rng.fork();
        let check = (0..rng.below(16)).try_for_each(|_| world.step());
        expect(&world, seed, check);
        if rng.chance(30) {
            let cut = rng.chance(50).then(|| rng.next_u64());
            world.reboot(cut);
        }
        let trial = Trial::draw(&world, &mut rng);
        world.log(format!("--- trial {trial:?}"));
        'calls: for n in 0.. {
            for way in 0..4 {
                let fault = if way % 2 == 0 { Fault::Death } else { Fault::DeathHalfway(rng.next_u64()) };
                let power = (way >= 2).then(|| rng.next_u64());
                let mut fork = world.fork();
                match cut_off_at(&mut fork, &trial, n, fault, power) {
                    Ok(true) => {}
                    Ok(false) => break 'calls,
                    Err(violation) => expect(&fork, seed, Err(violation)),
                }
            }
        }
    }
}
