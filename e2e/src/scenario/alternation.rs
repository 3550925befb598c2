//! Stock host-local and edgekeep-ipam take turns on one dataDir, with pods running all the time: each takes back what
//! the other gave, and neither gives what the other has given.

use anyhow::Result;

use crate::checks::Checks;
use crate::cni::{self, NETWORK, OURS, STOCK_IPAM};
use crate::pods::{Pod, Restart};
use crate::run_dir::RunDir;
use crate::scenario::Options;
use crate::stage::Stage;
use crate::verdict::{at_home, homes, none_of};

const TURNS: usize = 6;
/// Pods that run from the first turn to the last.
const STEADY: usize = 3;
/// Of the others, per turn: ended for good, with as many new ones in their place; and restarted.
const ENDED: usize = 3;
const RESTARTED: usize = 4;

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let list = cni::list(&[cni::bridge(&cni::dual_stack(OURS))]);
    let mut stage = Stage::set_up(dir, options, "alternation", &list, checks).await?;
    let played = play(&mut stage).await;
    stage.close(played)
}

async fn play(stage: &mut Stage<'_>) -> Result<()> {
    let steady = stage.start((0..STEADY).map(|number| format!("steady-{number}"))).await?;
    let mut changing = stage.start((0..ENDED + RESTARTED).map(|number| format!("pod-0-{number}"))).await?;
    stage.check_live(OURS, &[steady.clone(), changing.clone()].concat()).await?;
    for turn in 1..=TURNS {
        let ipam = if turn % 2 == 1 { STOCK_IPAM } else { OURS };
        let step = format!("turn {turn}, {ipam}");
        stage.configure(&cni::list(&[cni::bridge(&cni::dual_stack(ipam))])).await?;
        changing = take_turn(stage, turn, &step, ipam, changing).await?;
        check(stage, &step, &[steady.clone(), changing.clone()].concat()).await?;
    }
    let everyone = reboot(stage, steady, changing).await?;
    stage.end(everyone).await?;
    let left = stage.only_leases_of(&[]);
    stage.check("all pods ended", "no lease file is left over", left);
    Ok(())
}

/// Every one of `pods`, each of which has its addresses from the other plugin, ends or is restarted.
async fn take_turn(
    stage: &mut Stage<'_>,
    turn: usize,
    step: &str,
    ipam: &str,
    mut pods: Vec<Pod>,
) -> Result<Vec<Pod>> {
    stage.shuffle.order(&mut pods);
    let restarted = pods.split_off(ENDED.min(pods.len()));
    stage.end(pods.clone()).await?;
    let freed = freed(stage, &pods);
    stage.check(step, "DEL frees the addresses that the other plugin gave", freed);

    let before = homes(&restarted);
    let mut running = stage.restart(restarted, &[Restart::RemoveFirst, Restart::RemoveLast]).await?;
    if ipam == OURS {
        let home = at_home(&before, &running);
        stage.check(step, "restarted pods keep the addresses that the other plugin gave", home);
    }
    running.extend(stage.start((0..ENDED).map(|number| format!("pod-{turn}-{number}"))).await?);
    Ok(running)
}

/// After a reboot stock host-local comes first, and edgekeep-ipam finds its fresh leases among those of the former boot.
async fn reboot(stage: &mut Stage<'_>, steady: Vec<Pod>, changing: Vec<Pod>) -> Result<Vec<Pod>> {
    let step = "reboot, host-local first";
    let before = homes(&steady);
    stage.reboot().await?;
    stage.configure(&cni::list(&[cni::bridge(&cni::dual_stack(STOCK_IPAM))])).await?;
    let changed = stage.restart(changing, &[Restart::RemoveFirst, Restart::RemoveLast]).await?;
    stage.configure(&cni::list(&[cni::bridge(&cni::dual_stack(OURS))])).await?;
    let steady = stage.restart(steady, &[Restart::RemoveLast, Restart::StopLast]).await?;
    stage.check(step, "pods that edgekeep-ipam starts keep their addresses", at_home(&before, &steady));
    let everyone = [steady, changed].concat();
    check(stage, step, &everyone).await?;
    Ok(everyone)
}

async fn check(stage: &mut Stage<'_>, step: &str, pods: &[Pod]) -> Result<()> {
    stage.check_live(step, pods).await?;
    let exact = stage.only_leases_of(pods);
    stage.check(step, "lease files are exactly those of the running pods", exact);
    let exact = stage.only_interfaces_of(pods);
    stage.check(step, "interfaces in the kernel have exactly the addresses of the running pods", exact);
    Ok(())
}

fn freed(stage: &Stage<'_>, ended: &[Pod]) -> Result<String> {
    let there = stage.leases(NETWORK)?;
    let addresses: Vec<_> = ended.iter().flat_map(|pod| &pod.addresses).collect();
    let held = addresses.iter().filter(|address| there.contains_key(address));
    none_of(
        &held.map(|address| format!("{address} is still held")).collect::<Vec<_>>(),
        format!("{} addresses of {} pods", addresses.len(), ended.len()),
    )
}
