//! A node after its power was cut: booted from what its disk holds, without its cloud, and asked for all that it owes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testkit::rng::Rng;

use crate::cut::{self, Fates};
use crate::diary::{Owed, Place};
use crate::disk::Entry;
use crate::kubelet::{self, Kubelet};
use crate::machine::Machine;
use crate::node;
use crate::plugin::{self, ROOMY, TIGHT};
use crate::proxy;
use crate::pulse::Stalled;
use crate::recording::Recording;

/// So many of the pods come back in the roomy network; each costs a call of the plugin.
const RETURNING: usize = 8;
/// In how many of 100 cuts the power is cut once more while the node comes back.
const AGAIN: u64 = 25;
/// So many come that were never there.
const NEWCOMERS: usize = 4;
/// How often a disk is booted until the guest on it says something.
pub const BOOTS: usize = 3;
/// How long what is served without being stored may take, in seconds of the guest's.
const SERVED: u64 = 300;

/// What came of a cut.
#[derive(Debug)]
pub struct Verdict {
    /// Where the log was cut, and what became of the writes that no flush had covered; once more for a second cut.
    pub cuts: Vec<(usize, Fates)>,
    /// What was owed.
    pub owed: Owed,
    /// Whether the guest gave a verdict, at one of its boots.
    pub spoke: bool,
    /// What the node did not keep, by that verdict.
    pub broken: Vec<String>,
    /// Why there was none, for each boot that gave none.
    pub stalls: Vec<String>,
    /// The disk that it did not keep it on, or that never spoke; empty where all is well.
    pub disk: Vec<u8>,
}

/// Cuts the power of a recorded node and looks what it knows at its next boot; at times it is cut once more in the middle of
/// that. `name` is the machine's.
///
/// # Errors
///
/// The rig itself failed; that the node never comes up is a broken promise.
pub async fn cut(recording: &Recording, name: &str, rng: &mut Rng) -> Result<Verdict> {
    let position = recording.position(rng);
    let log = recording.log.get(..position).context("a cut beyond the log")?;
    let (mut disk, fates) = cut::content(&recording.base, log, rng);
    let (mut cuts, owed) = (vec![(position, fates)], recording.diary.owed(position));
    let mut seen = examine(recording, name, &owed, &disk, rng).await;
    let mut stalls = std::mem::take(&mut seen.stalls);
    if seen.kept() && rng.chance(AGAIN) {
        let position = rng.index(seen.log.len() + 1);
        let (again, fates) = cut::content(&disk, seen.log.get(..position).unwrap_or_default(), rng);
        cuts.push((position, fates));
        disk = again;
        seen = examine(recording, name, &owed, &disk, rng).await;
        stalls.append(&mut seen.stalls);
    }
    if seen.kept() {
        disk = Vec::new();
    }
    Ok(Verdict { cuts, owed, spoke: seen.spoke, broken: seen.broken, stalls, disk })
}

/// What was seen of a disk.
#[derive(Debug, Default)]
struct Examined {
    /// Whether the guest gave a verdict.
    spoke: bool,
    /// What is broken, by that.
    broken: Vec<String>,
    /// Why there was none, for each boot that gave none.
    stalls: Vec<String>,
    /// What the guest wrote to the disk.
    log: Vec<Entry>,
}

impl Verdict {
    /// Whether all that was promised was kept.
    pub fn kept(&self) -> bool {
        self.spoke && self.broken.is_empty()
    }
}

impl Examined {
    fn kept(&self) -> bool {
        self.spoke && self.broken.is_empty()
    }
}

/// Boots a node from this disk and asks it, until it has given a verdict. One that stood still has given none, whatever was
/// seen of it: what is wrong with the disk is wrong again.
async fn examine(recording: &Recording, name: &str, owed: &Owed, disk: &[u8], rng: &mut Rng) -> Examined {
    // The same questions at each boot.
    let questions = rng.fork();
    let mut seen = Examined::default();
    while seen.stalls.len() < BOOTS {
        match once(recording, name, owed, disk, &mut questions.clone()).await {
            Ok((broken, log)) => return Examined { spoke: true, broken, log, ..seen },
            Err(Stalled(why)) => seen.stalls.push(why),
        }
    }
    seen
}

/// One boot: what is broken, and what the guest wrote to the disk.
async fn once(
    recording: &Recording,
    name: &str,
    owed: &Owed,
    disk: &[u8],
    rng: &mut Rng,
) -> Result<(Vec<String>, Vec<Entry>), Stalled> {
    let machine = match Machine::boot(&recording.start, name, disk.to_vec()).await {
        Ok(machine) => machine,
        // That it does not come up is seen to have nothing to do with the disk, or it is seen again.
        Err(failed) => return Err(Stalled(format!("{failed:#}"))),
    };
    let broken = match ask(&machine, owed, rng).await {
        Ok(broken) => broken,
        Err(failed) if failed.is::<Stalled>() => return Err(Stalled(format!("{failed:#}"))),
        Err(failed) => vec![format!("{failed:#}")],
    };
    match machine.pulse.lockup().filter(|_| !broken.is_empty()) {
        Some(line) => Err(Stalled(format!("its kernel: {line}; it said: {}", broken.join("; ")))),
        None => Ok((broken, machine.disk.take_log())),
    }
}

async fn ask(machine: &Machine, owed: &Owed, rng: &mut Rng) -> Result<Vec<String>> {
    let mounts =
        machine.order(json!({"argv": ["/bin/busybox", "cat", "/proc/mounts"]})).await?.success("cat")?;
    if !mounts.lines().any(|line| line.starts_with("/dev/vda /var/lib ext4 rw")) {
        bail!("the file system is not mounted: {mounts}");
    }
    let mut bindings = leases(machine).await?;
    // What stands in host-local's directory is of the boot before; the plugin's first call sees to it.
    bindings.retain(|(place, _)| !place.pod.is_empty());
    let mut broken = owed.bindings_broken(&bindings);
    let target = kubelet::start_hub(machine, false).await?;
    match Kubelet::connect(machine, &target).await?.list().await {
        Err(stalled) if stalled.is::<Stalled>() => return Err(stalled),
        Ok(listed) => broken.extend(owed.objects_broken(&listed.objects, listed.version)),
        // Where it had answered nobody, it owes no answer.
        Err(failed) if owed.version > 0 => broken.push(format!("{failed:#}")),
        Err(_) => {}
    }
    let served = machine.pulse.within(SERVED, "what kube-proxy asks", proxy::broken(&target));
    broken.extend(served.await??);
    broken.extend(come_home(machine, owed, rng).await?);
    broken.extend(owed.bindings_broken(&leases(machine).await?));
    Ok(broken)
}

/// The bindings as `edgekeep leases` tells them.
async fn leases(machine: &Machine) -> Result<Vec<(Place, Vec<String>)>> {
    let order = json!({"argv": [node::EDGEKEEP, "leases", "--output", "json"]});
    let told = machine.order(order).await?.success("edgekeep leases")?;
    let told: Value = serde_json::from_str(&told).with_context(|| format!("edgekeep leases says {told}"))?;
    let of = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let rows = of(&told, "networks").into_iter().flat_map(|network| of(&network, "leases"));
    Ok(rows
        .map(|row| {
            let text = |at: &str| row.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
            let place = Place { network: text("/network"), pod: text("/pod/name") };
            let addresses =
                of(&row, "addresses").iter().filter_map(|one| Some(one.as_str()?.to_owned())).collect();
            (place, addresses)
        })
        .collect())
}

/// Some of the pods get new sandboxes, and some pods come that were never there: the first are at home, and nobody shares.
async fn come_home(machine: &Machine, owed: &Owed, rng: &mut Rng) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let mut owned: Vec<(&Place, &Vec<String>)> =
        owed.bindings.iter().filter(|(_, (_, must))| *must).map(|(place, (home, _))| (place, home)).collect();
    rng.shuffle(&mut owned);
    // Newcomers take addresses of those that need not be there any more, and of those only.
    let (mut returning, roomy): (Vec<_>, Vec<_>) =
        owned.into_iter().partition(|(place, _)| place.network == TIGHT);
    returning.extend(roomy.into_iter().take(RETURNING));
    let newcomer = |number| Place {
        network: if number == 0 { ROOMY } else { TIGHT }.to_owned(),
        pod: format!("new-{number}"),
    };
    let newcomers: Vec<Place> = (0..NEWCOMERS).map(newcomer).collect();
    let mut live: BTreeMap<String, &Place> = BTreeMap::new();
    let all = returning
        .iter()
        .map(|(place, home)| (*place, Some(*home)))
        .chain(newcomers.iter().map(|new| (new, None)));
    for (number, (place, home)) in all.enumerate() {
        let done = plugin::call(machine, "ADD", place, &format!("ff{number:062x}"), false).await?;
        // Of those that were never there, some may find the network full.
        let full = home.is_none() && done.out.contains("no IP addresses available");
        if full {
            continue;
        }
        let addresses = match plugin::addresses(&done, place) {
            Ok(addresses) => addresses,
            Err(failed) => {
                broken.push(format!("{failed:#}"));
                continue;
            }
        };
        if home.is_some_and(|home| *home != addresses) {
            broken.push(format!("{place} was told {home:?} and came back to {addresses:?}"));
        }
        for address in addresses {
            if let Some(other) = live.insert(address.clone(), place) {
                broken.push(format!("{address} is given to {other} and to {place}"));
            }
        }
    }
    Ok(broken)
}
