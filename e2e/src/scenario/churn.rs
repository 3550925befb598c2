//! A full /28 under churn: pods of Deployments, new names each time, and pods of a StatefulSet, the same names always,
//! for 2000 rounds with some reboots. The plugin is real, the runtime is not: thousands of sandboxes take too long.
//!
//! Every single answer is compared with what the documented order of choice says.

mod expected;
mod sandboxes;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::json;

use crate::checks::Checks;
use crate::run_dir::RunDir;
use crate::scenario::Options;
use crate::shuffle::Shuffle;
use expected::{Due, Expected};
use sandboxes::Sandboxes;

const ROUNDS: usize = 2000;
/// Addresses of a /28 without network, gateway and broadcast.
const POOL: u8 = 13;
const STATEFUL: usize = 4;
const DEPLOYED: usize = 6;
/// As long as a StatefulSet's pod is away, no more addresses than this change hands: as many as are always parked
/// before it, so that it must come home.
const SPARE: usize = 3;
const ROUNDS_PER_BOOT: usize = 400;
const ROUNDS_PER_FULL: usize = 50;

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let plugin = options.plugin.canonicalize()?;
    let ranges = json!([[{"subnet": "10.9.0.0/28"}], [{"subnet": "fd00:9::/124", "rangeEnd": "fd00:9::e"}]]);
    let pool = (2..2 + POOL).map(|last| {
        let v4 = std::net::Ipv4Addr::new(10, 9, 0, last);
        let v6 = std::net::Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, u16::from(last));
        vec![v4.into(), v6.into()]
    });
    let mut churn = Churn {
        real: Sandboxes::new(plugin, dir.sub("churn")?, &ranges)?,
        expected: Expected::new(pool),
        shuffle: Shuffle::new(options.seed),
        deployed: Vec::new(),
        named: 0,
        counts: BTreeMap::new(),
    };
    let played = churn.play();
    // The first thing that went otherwise ends the play: from there on nothing is comparable.
    churn.tell(checks, played);
    Ok(())
}

struct Churn {
    real: Sandboxes,
    expected: Expected,
    shuffle: Shuffle,
    /// Names of the Deployments' running pods.
    deployed: Vec<String>,
    named: usize,
    counts: BTreeMap<&'static str, usize>,
}

impl Churn {
    fn play(&mut self) -> Result<()> {
        for number in 0..STATEFUL {
            self.add(&stateful(number))?;
        }
        for _ in 0..DEPLOYED + SPARE {
            self.deploy()?;
        }
        self.scale_down(DEPLOYED)?;
        for round in 1..=ROUNDS {
            self.round(round)?;
            self.compare_directory()?;
        }
        Ok(())
    }

    fn round(&mut self, round: usize) -> Result<()> {
        if round.is_multiple_of(ROUNDS_PER_BOOT) {
            return self.reboot();
        }
        if round.is_multiple_of(ROUNDS_PER_FULL) {
            return self.fill();
        }
        match self.shuffle.below(10) {
            0..=4 => self.replace(),
            5..=6 => self.surge(),
            _ => self.restart_stateful(),
        }
    }

    /// A Deployment's pod ends, then another comes in its place.
    fn replace(&mut self) -> Result<()> {
        self.scale_down(self.deployed.len() - 1)?;
        self.deploy()
    }

    /// Another one comes, then one ends: a rolling update.
    fn surge(&mut self) -> Result<()> {
        self.deploy()?;
        self.scale_down(self.deployed.len() - 1)
    }

    fn restart_stateful(&mut self) -> Result<()> {
        let name = stateful(self.shuffle.below(STATEFUL));
        self.del(&name)?;
        for _ in 0..self.shuffle.below(SPARE + 1) {
            self.replace()?;
        }
        self.come_home(&name)
    }

    /// Every address live; one pod more must be refused and leave no trace.
    fn fill(&mut self) -> Result<()> {
        while self.expected.live() < usize::from(POOL) {
            self.deploy()?;
        }
        let Err(refused) = self.real.add("one-too-many") else { bail!("a full range gave one more address") };
        if !format!("{refused:#}").contains("no IP addresses available in range set: 10.9.0.1-10.9.0.14") {
            bail!("a full range refused with {refused:#}");
        }
        *self.counts.entry("full").or_default() += 1;
        let name = stateful(self.shuffle.below(STATEFUL));
        self.del(&name)?;
        self.come_home(&name)?;
        self.scale_down(DEPLOYED)
    }

    /// Every pod comes back, some before the runtime says that the old sandbox is dead; then newcomers, one more
    /// than are parked, so that the last takes the place of a pod that did not come back.
    fn reboot(&mut self) -> Result<()> {
        self.real.reboot()?;
        self.expected.reboot();
        *self.counts.entry("reboots").or_default() += 1;
        for number in 0..STATEFUL {
            let name = stateful(number);
            if self.shuffle.below(2) == 0 {
                self.del(&name)?;
            }
            self.come_home(&name)?;
        }
        let mut before = std::mem::take(&mut self.deployed);
        for _ in 0..=SPARE {
            self.deploy()?;
        }
        // Some come back; if the last newcomer took theirs, they take in turn what was stopped first.
        let gone = before.split_off(DEPLOYED - self.deployed.len());
        for name in before {
            self.add(&name)?;
            self.deployed.push(name);
        }
        // The others are not wanted any more, and the runtime says so.
        gone.iter().try_for_each(|name| self.del(name))
    }

    fn deploy(&mut self) -> Result<()> {
        self.named += 1;
        let name = format!("web-{:05}", self.named);
        self.add(&name)?;
        self.deployed.push(name);
        Ok(())
    }

    /// Ends pods of Deployments, any of them, until `left` are left.
    fn scale_down(&mut self, left: usize) -> Result<()> {
        while self.deployed.len() > left {
            let chosen = self.shuffle.below(self.deployed.len());
            let name = self.deployed.swap_remove(chosen);
            self.del(&name)?;
        }
        Ok(())
    }

    fn come_home(&mut self, name: &str) -> Result<()> {
        match self.add(name)? {
            Due::Own(_) => {
                *self.counts.entry("home").or_default() += 1;
                Ok(())
            }
            due => bail!("the play is wrong: {name} was not to come home but to get {due:?}"),
        }
    }

    fn del(&mut self, name: &str) -> Result<()> {
        self.expected.del(name);
        self.real.del(name)
    }

    fn add(&mut self, name: &str) -> Result<Due> {
        let before: BTreeMap<_, _> = self
            .expected
            .holders()
            .into_iter()
            .map(|(address, holder)| (address, holder.to_owned()))
            .collect();
        let given = self.real.add(name)?;
        if let Some((address, holder)) = given.iter().find_map(|one| before.get_key_value(one)) {
            bail!("{address} was given to {name} while {holder} was live on it");
        }
        let due = self.expected.add(name);
        let kind = match &due {
            Due::Own(addresses) if *addresses == given => "own",
            Due::Unbound(addresses) if *addresses == given => "unbound",
            Due::Of(_, addresses) if *addresses == given => "reclaimed",
            _ => bail!("{name} got {given:?}, due was {due:?}"),
        };
        *self.counts.entry(kind).or_default() += 1;
        Ok(due)
    }

    /// The directory holds what live pods have, and no more.
    fn compare_directory(&self) -> Result<()> {
        let there = self.real.leases()?;
        let holders = self.expected.holders();
        let container = |name: &&str| self.real.container(name).unwrap_or_default().to_owned();
        let expected: BTreeMap<_, _> =
            holders.iter().map(|(address, name)| (*address, container(name))).collect();
        if there != expected {
            bail!("lease files {there:?}, live are {holders:?}");
        }
        Ok(())
    }

    fn tell(&self, checks: &mut Checks, played: Result<()>) {
        let count = |what: &str| self.counts.get(what).copied().unwrap_or_default();
        let held = |what: &str, claim: &str| match count(what) {
            0 => Err(anyhow::anyhow!("never came to pass")),
            times => Ok(format!("{times} {claim}")),
        };
        let whole = played.map(|()| format!("{ROUNDS} rounds, {} reboots", count("reboots")));
        checks.record("churn: every answer is the one due, no address is shared, no lease file leaks", whole);
        checks.record("churn: StatefulSet pods always come home", held("home", "times"));
        checks.record("churn: the oldest is reclaimed first", held("reclaimed", "times, as computed"));
        checks.record("churn: a full range refuses and stays as it is", held("full", "times"));
    }
}

fn stateful(number: usize) -> String {
    format!("db-{number}")
}
