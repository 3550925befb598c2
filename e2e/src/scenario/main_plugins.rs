//! Other main plugins than bridge: ptp, whose pods hang each on a route of the node, and macvlan, whose pods the node
//! itself cannot reach, so that they are asked from beyond the master.

use anyhow::Result;
use serde_json::json;

use crate::checks::Checks;
use crate::cni::{self, OURS};
use crate::pods::Restart;
use crate::run_dir::RunDir;
use crate::scenario::Options;
use crate::stage::Stage;
use crate::verdict::{at_home, dual_stack, homes};

const PODS: usize = 10;
const NEWCOMERS: usize = 3;
/// The end of a cable on which macvlan's pods sit; the other end, in a network of its own, is their gateway.
const MASTER: &str = "ek0";
const FAR: &str = "far";

/// Plays ptp in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn ptp(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let list = cni::list(&[json!({"type": "ptp", "ipMasq": false, "ipam": cni::dual_stack(OURS)})]);
    let mut stage = Stage::set_up(dir, options, "ptp", &list, checks).await?;
    let played = play(&mut stage, |_| Ok(())).await;
    stage.close(played)
}

/// Plays macvlan in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn macvlan(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let main = json!({"type": "macvlan", "master": MASTER, "mode": "bridge", "ipam": cni::dual_stack(OURS)});
    let mut stage = Stage::set_up(dir, options, "macvlan", &cni::list(&[main]), checks).await?;
    let played = play(&mut stage, lay_cable).await;
    stage.close(played)
}

async fn play(stage: &mut Stage<'_>, wire: impl Fn(&mut Stage<'_>) -> Result<()>) -> Result<()> {
    wire(stage)?;
    let pods = stage.start((0..PODS).map(|number| format!("pod-{number}"))).await?;
    let first = homes(&pods);
    stage.check("start", "every pod has an IPv4 and an IPv6 address", dual_stack(&pods));
    stage.check_live("start", &pods).await?;

    let mut pods = stage.restart(pods, &[Restart::RemoveFirst, Restart::RemoveLast]).await?;
    stage.check("restart of each pod", "same addresses", at_home(&first, &pods));
    age_neighbours(stage)?;
    stage.check_live("restart of each pod", &pods).await?;

    stage.reboot().await?;
    wire(stage)?;
    let newcomers = stage.start((0..NEWCOMERS).map(|number| format!("newcomer-{number}"))).await?;
    stage.shuffle.order(&mut pods);
    let orders = [Restart::RemoveLast, Restart::StopLast, Restart::RemoveFirst];
    let mut pods = stage.restart(pods, &orders).await?;
    stage.check("reboot", "same addresses, with newcomers first", at_home(&first, &pods));
    pods.extend(newcomers);
    stage.check_live("reboot", &pods).await?;
    let exact = stage.only_leases_of(&pods);
    stage.check("reboot", "lease files are exactly those of the running pods", exact);
    Ok(())
}

/// Lets the machine beyond the master forget where IPv6 addresses were. It would by itself within a minute; the macvlan
/// plugin announces a pod's IPv6 address on its new MAC only since release 1.2, and that machine is none of ours.
fn age_neighbours(stage: &Stage<'_>) -> Result<()> {
    if stage.asked_from.is_some() {
        stage.node.run(&["ip", "-n", FAR, "-6", "neighbour", "flush", "dev", "ek1"])?;
    }
    Ok(())
}

fn lay_cable(stage: &mut Stage<'_>) -> Result<()> {
    let far = ["ip", "-n", FAR];
    stage.node.run(&["ip", "netns", "add", FAR])?;
    stage.node.run(&["ip", "link", "add", MASTER, "type", "veth", "peer", "name", "ek1", "netns", FAR])?;
    for address in ["10.244.0.1/26", "fd00:10:244::1/122"] {
        stage.node.run(&[&far[..], &["address", "add", address, "dev", "ek1", "nodad"]].concat())?;
    }
    stage.node.run(&[&far[..], &["link", "set", "ek1", "up"]].concat())?;
    stage.node.run(&["ip", "link", "set", MASTER, "up"])?;
    stage.asked_from = Some(stage.node.file(&format!("/run/netns/{FAR}"))?);
    Ok(())
}
