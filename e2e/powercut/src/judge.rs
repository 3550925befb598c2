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
use crate::recording::Recording;

/// So many of the pods come back in the roomy network; each costs a call of the plugin.
const RETURNING: usize = 8;
/// In how many of 100 cuts the power is cut once more while the node comes back.
const AGAIN: u64 = 25;
/// So many come that were never there.
const NEWCOMERS: usize = 4;

/// What came of a cut.
pub struct Verdict {
    /// Where the log was cut, and what became of the writes that no flush had covered; once more for a second cut.
    pub cuts: Vec<(usize, Fates)>,
    /// What was owed.
    pub owed: Owed,
    /// What the node did not keep.
    pub broken: Vec<String>,
    /// The disk that it did not keep it on; empty if it did.
    pub disk: Vec<u8>,
}

/// Cuts the power of a recorded node and looks what it knows at its next boot; at times it is cut once more in the middle of
/// that. `name` is the machine's.
///
/// # Errors
///
/// The rig itself failed; that the node does not come up is a broken promise.
pub async fn cut(recording: &Recording, name: &str, rng: &mut Rng) -> Result<Verdict> {
    let position = recording.position(rng);
    let log = recording.log.get(..position).context("a cut beyond the log")?;
    let (mut disk, fates) = cut::content(&recording.base, log, rng);
    let (mut cuts, owed) = (vec![(position, fates)], recording.diary.owed(position));
    let (mut broken, log) = examine(recording, name, &owed, &disk, rng).await;
    if broken.is_empty() && rng.chance(AGAIN) {
        let position = rng.index(log.len() + 1);
        let (again, fates) = cut::content(&disk, log.get(..position).unwrap_or_default(), rng);
        cuts.push((position, fates));
        disk = again;
        (broken, _) = examine(recording, name, &owed, &disk, rng).await;
    }
    if broken.is_empty() {
        disk = Vec::new();
    }
    Ok(Verdict { cuts, owed, broken, disk })
}

/// What is broken on a node that boots from this disk, and what it writes to the disk meanwhile.
async fn examine(
    recording: &Recording,
    name: &str,
    owed: &Owed,
    disk: &[u8],
    rng: &mut Rng,
) -> (Vec<String>, Vec<Entry>) {
    match Machine::boot(&recording.start, name, disk.to_vec()).await {
        Ok(machine) => {
            let broken = ask(&machine, owed, rng).await;
            (broken.unwrap_or_else(|failed| vec![format!("{failed:#}")]), machine.disk.take_log())
        }
        Err(failed) => (vec![format!("{failed:#}")], Vec::new()),
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
    match Kubelet::connect(&target).await?.list().await {
        Ok(listed) => broken.extend(owed.objects_broken(&listed.objects, listed.version)),
        // Where it had answered nobody, it owes no answer.
        Err(failed) if owed.version > 0 => broken.push(format!("{failed:#}")),
        Err(_) => {}
    }
    broken.extend(proxy::broken(&target).await?);
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
