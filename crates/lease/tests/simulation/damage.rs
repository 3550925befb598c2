//! Damage at rest: flipped bits and missing ends of the journal. Nothing that can be read is lost, and what is lost is
//! named; nobody panics, no live address is given twice.

use std::collections::BTreeMap;

use testkit::rng::Rng;

use crate::broken::Sabotage;
use crate::oracle::{Check, broken};
use crate::world::{By, World};
use crate::{expect, seeds};

/// A machine on which pods came and went in order, and where the journal ended when each was told its addresses.
fn quiet(seed: u64) -> (World, BTreeMap<String, u64>, Check) {
    let mut world = World::new(seed, Sabotage::None);
    (world.plan.faults, world.plan.mixed) = (false, false);
    let mut told_at = BTreeMap::new();
    for round in 0..3 {
        for pod in world.pods.clone() {
            if world.rng.chance(if round == 0 { 60 } else { 30 }) {
                let old = (0..world.sandboxes.len())
                    .find(|at| world.sandboxes[*at].current && world.sandboxes[*at].pod == pod);
                let check = old.map_or(Ok(()), |at| {
                    world.sandboxes[at].current = false;
                    let _ = world.disk.remove(world.sandboxes[at].netns.clone());
                    world.del(at, By::Ours)
                });
                if let Err(violation) = check.and_then(|()| world.start(&pod, By::Ours, 0)) {
                    return (world, told_at, Err(violation));
                }
                told_at.insert(pod, used(&world));
            }
        }
    }
    (world, told_at, Ok(()))
}

/// Where the journal's last record ends, but for zeros; nowhere in a run that never made one.
fn used(world: &World) -> u64 {
    let bytes = world.disk.read(world.places.state.join("journal")).unwrap_or_default();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1)
}

fn homes_lost(world: &World) -> Vec<String> {
    let rows = world.rows();
    let stands =
        |home: &Vec<std::net::IpAddr>| rows.iter().any(|row| row.addresses == *home && row.pod().is_some());
    world.oracle.homes.iter().filter(|(_, home)| !stands(home)).map(|(pod, _)| pod.clone()).collect()
}

/// Commands that read through the index, which may fail where it points at what is damaged; then one that reads the
/// whole journal, which must not.
fn recover(world: &mut World) -> Check {
    (world.damaged, world.dirty) = (true, true);
    world.status()?;
    let current: Vec<usize> = (0..world.sandboxes.len()).filter(|at| world.sandboxes[*at].current).collect();
    for at in current {
        world.check(at)?;
    }
    let _ = world.disk.remove(world.places.run.join("index"));
    let before = world.log.len();
    world.status()?;
    match world.log.get(before).filter(|line| line.contains("Failed") && !line.contains("Exhausted")) {
        Some(line) => broken("damage", format!("still {line}")),
        None => Ok(()),
    }
}

fn is_named(world: &World) -> bool {
    world.notes.iter().any(|note| note.contains("/journal"))
}

fn after_a_flip(world: &mut World, rng: &mut Rng) -> Check {
    let path = world.places.state.join("journal");
    let at = rng.below(used(world));
    if rng.chance(50) {
        world.reboot(None);
    }
    world.log(format!("bit flipped in byte {at}"));
    world.disk.flip_bit(&path, at, u8::try_from(rng.below(8)).unwrap()).unwrap();
    let known = world.oracle.homes.clone();
    recover(world)?;
    let lost = homes_lost(world);
    if lost.len() > 1 {
        return broken("damage", format!("one bit cost {lost:?} of {known:?}"));
    }
    world.oracle.homes.retain(|pod, _| !lost.contains(pod));
    world.come_home()?;
    if !lost.is_empty() && !is_named(world) {
        return broken("damage", format!("nobody was told of the loss of {lost:?}"));
    }
    world.nothing_leaked()
}

fn after_a_cut(world: &mut World, rng: &mut Rng, told_at: &BTreeMap<String, u64>) -> Check {
    let path = world.places.state.join("journal");
    // A cut between two records is no different from their never having been written: cut into one.
    let Ok(bytes) = world.disk.read(&path) else { return Ok(()) };
    let frames: Vec<usize> = (0..bytes.len() - 4).filter(|at| bytes[*at..].starts_with(b"EKfr")).collect();
    let at = *rng.pick(&frames) as u64 + 1 + rng.below(60);
    if rng.chance(50) {
        world.reboot(None);
    }
    world.log(format!("journal cut at byte {at}"));
    world.disk.truncate(&path, at).unwrap();
    recover(world)?;
    let lost = homes_lost(world);
    if let Some(pod) = lost.iter().find(|pod| told_at.get(*pod).is_some_and(|end| end + 8 <= at)) {
        return broken("damage", format!("{pod} was recorded before the cut and is lost"));
    }
    world.oracle.homes.retain(|pod, _| !lost.contains(pod));
    world.come_home()?;
    if !lost.is_empty() && !is_named(world) {
        return broken("damage", format!("nobody was told of the loss of {lost:?}"));
    }
    world.nothing_leaked()
}

fn each(usual: u64, damage: impl Fn(&mut World, &mut Rng, &BTreeMap<String, u64>) -> Check) {
    for seed in seeds(usual) {
        let (mut world, told_at, check) = quiet(seed);
        let mut rng = world.rng.fork();
        let check = check.and_then(|()| damage(&mut world, &mut rng, &told_at));
        expect(&world, seed, check);
    }
}

#[test]
fn a_flipped_bit_costs_one_binding_at_the_most_and_is_named() {
    each(150, |world, rng, _| after_a_flip(world, rng));
}

#[test]
fn a_journal_that_was_cut_short_keeps_every_binding_before_the_cut() {
    each(150, after_a_cut);
}
