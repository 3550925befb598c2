//! Numbers that do not depend on how fast the machine is: flushes, bytes, memory. They may fail the command.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::stage::{self, FullPool, Side};
use super::strace::Strace;
use crate::cni_driver::{Call, Pod, Verb};
use crate::{Result, dist, scratch};

/// How many ADDs come at once.
pub const SWARM: usize = 64;
/// How long each flush takes while they do.
const SLOW_FLUSH: Duration = Duration::from_millis(20);

/// A number and what it is held to.
pub struct Count {
    /// What was counted.
    pub what: String,
    /// What was found.
    pub found: u64,
    /// Flushes, bytes, KiB.
    pub unit: &'static str,
    /// What it must be.
    pub bound: Bound,
}

/// What a count must be.
#[derive(Clone, Copy)]
pub enum Bound {
    /// This and nothing else: a flush too few is as wrong as one too many.
    Exactly(u64),
    /// This or less.
    AtMost(u64),
    /// From the first to the second, both included.
    Between(u64, u64),
    /// Told, not judged.
    Any,
}

impl Count {
    /// Whether the count is as it must be.
    pub const fn holds(&self) -> bool {
        match self.bound {
            Bound::Exactly(wanted) => self.found == wanted,
            Bound::AtMost(limit) => self.found <= limit,
            Bound::Between(least, most) => least <= self.found && self.found <= most,
            Bound::Any => true,
        }
    }
}

/// The size of the static binary.
pub fn size(program: &Path) -> Result<Count> {
    let found = fs::metadata(program).map_err(|e| format!("cannot read {}: {e}", program.display()))?.len();
    let bound = Bound::AtMost(dist::PLUGIN_LIMIT);
    Ok(Count { what: "static binary".into(), found, unit: "bytes", bound })
}

/// Flushes per kind of call, on a node of its own with 250 leases below `root`.
pub fn flushes(strace: &Strace, program: &Path, root: &Path) -> Result<Vec<Count>> {
    let mut counts = Vec::new();
    let mut count = |what: &str, bound, found| {
        counts.push(Count { what: what.to_owned(), found, unit: "flushes", bound });
    };

    let mut fresh = Side::empty(program, &root.join("fresh"))?;
    let first = add_somebody(&mut fresh, |side, call| strace.flushes(&side.plugin, call))?;
    count("the first ADD on a node, which makes the files", Bound::Any, first);

    let mut side = Side::new(program, &root.join("node"), 250)?;
    let birth = add_somebody(&mut side, |side, call| strace.flushes(&side.plugin, call))?;
    count("ADD that makes a binding", Bound::Exactly(1), birth);
    let of = |side: &Side, verb, new: Option<&str>| {
        let (pod, container) = side.sandbox(0)?;
        let call = Call { verb, container: new.unwrap_or(container), pod, config: &side.config };
        strace.flushes(&side.plugin, call)
    };
    count("DEL", Bound::Exactly(0), of(&side, Verb::Del, None)?);
    count("DEL once more", Bound::Exactly(0), of(&side, Verb::Del, None)?);
    count("ADD that brings a pod home", Bound::Exactly(0), of(&side, Verb::Add, Some("home-1"))?);
    side.boot();
    scratch::remove_dir(&root.join("node/run"))?;
    let home = of(&side, Verb::Add, Some("home-2"))?;
    count("ADD that brings a pod home, the first after a reboot", Bound::Exactly(0), home);

    let mut pool = FullPool::new(&side, &root.join("node"), 250, 3)?;
    let reuse = pool.reuse_under(|plugin, call| strace.flushes(plugin, call))?;
    count("ADD that reuses a gone address", Bound::Exactly(1), reuse);

    let slowed = slowed_swarm(strace, &mut side)?;
    let what = format!("{SWARM} ADDs at once, each flush slowed to {} ms", SLOW_FLUSH.as_millis());
    count(&what, Bound::Between(1, 16), slowed);
    Ok(counts)
}

/// The peak memory of ordinary calls on a node with `leases` leases.
pub fn memory(strace: &Strace, side: &mut Side, leases: u32) -> Result<Count> {
    let peak_of = |side: &Side, call: Call<'_>| strace.peak_memory(&side.plugin, call);
    let mut peak = add_somebody(side, peak_of)?;
    let (pod, container) = side.sandbox(0)?;
    for (verb, container) in [(Verb::Del, container), (Verb::Del, container), (Verb::Add, "home-again")] {
        peak = peak.max(peak_of(side, Call { verb, container, pod, config: &side.config })?);
    }
    let bound = match leases {
        0..=250 => Bound::AtMost(1536),
        251..=60_000 => Bound::AtMost(2560),
        _ => Bound::Any,
    };
    let what = format!("peak memory of DEL and ADD at {leases} leases");
    Ok(Count { what, found: peak, unit: "KiB", bound })
}

/// The peak memory of the very first call on a node where host-local left `leases` leases.
pub fn memory_of_first_call(strace: &Strace, program: &Path, root: &Path, leases: u32) -> Result<Count> {
    let mut side = Side::empty(program, root)?;
    stage::lay_out_leases(&root.join("data").join(stage::ROOMY), leases)?;
    let found = add_somebody(&mut side, |side, call| strace.peak_memory(&side.plugin, call))?;
    let what = format!("peak memory of the first call ever, which finds {leases} leases of host-local");
    Ok(Count { what, found, unit: "KiB", bound: Bound::Any })
}

/// Hands `look` the ADD of a pod that has never been here.
fn add_somebody(side: &mut Side, look: impl Fn(&Side, Call<'_>) -> Result<u64>) -> Result<u64> {
    let (pod, container) = (side.pod("somebody"), side.container());
    look(side, Call { verb: Verb::Add, container: &container, pod: &pod, config: &side.config })
}

fn slowed_swarm(strace: &Strace, side: &mut Side) -> Result<u64> {
    let newcomers = newcomers(side);
    strace.slowed_flushes(&side.plugin, &adds(side, &newcomers), SLOW_FLUSH)
}

/// Pods that come at once, each with the container id of its sandbox.
type Newcomers = Vec<(Pod, String)>;

fn newcomers(side: &mut Side) -> Newcomers {
    (0..SWARM).map(|_| (side.pod("swarm"), side.container())).collect()
}

fn adds<'a>(side: &'a Side, newcomers: &'a Newcomers) -> Vec<Call<'a>> {
    let add =
        |(pod, container): &'a (Pod, String)| Call { verb: Verb::Add, container, pod, config: &side.config };
    newcomers.iter().map(add).collect()
}

/// Starts 64 ADDs at once and measures until the last has ended; takes the addresses back outside that time.
pub fn swarm(side: &mut Side) -> Result<Duration> {
    let newcomers = newcomers(side);
    let calls = adds(side, &newcomers);
    let begun = Instant::now();
    let children = calls.iter().map(|call| side.plugin.spawn(*call)).collect::<Result<Vec<_>>>()?;
    let mut outputs = Vec::new();
    for child in children {
        outputs.push(child.wait_with_output().map_err(|e| format!("cannot wait for the plugin: {e}"))?);
    }
    let took = begun.elapsed();

    let mut given = BTreeSet::new();
    for (call, output) in calls.iter().zip(&outputs) {
        given.extend(side.plugin.addresses(*call, output)?);
    }
    if given.len() != SWARM {
        return Err(format!("{SWARM} pods that came at once got {} different addresses", given.len()));
    }
    for call in calls {
        side.plugin.run(Call { verb: Verb::Del, ..call })?;
    }
    Ok(took)
}
