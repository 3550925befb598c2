//! Back to stock host-local with pods running, and nothing of edgekeep left on the node: no pod notices, every address
//! is freed by its pod's end, none is given twice, none leaks.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::checks::Checks;
use crate::cni::{self, OURS, STOCK_IPAM};
use crate::pods::Restart;
use crate::run_dir::RunDir;
use crate::scenario::Options;
use crate::stage::Stage;

const PODS: usize = 20;
/// Pods that ended before: the rollback sets their parked addresses free.
const PARKED: usize = 3;
const ENDED: usize = 8;

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let list = cni::list(&[cni::bridge(&cni::dual_stack(OURS))]);
    let mut stage = Stage::set_up(dir, options, "rollback", &list, checks).await?;
    let played = play(&mut stage).await;
    stage.close(played)
}

async fn play(stage: &mut Stage<'_>) -> Result<()> {
    let step = "under edgekeep-ipam";
    let mut pods = stage.start((0..PODS + PARKED).map(|number| format!("pod-{number:02}"))).await?;
    stage.end(pods.split_off(PODS)).await?;
    stage.check_live(step, &pods).await?;

    let step = "rolled back";
    stage.configure(&cni::list(&[cni::bridge(&cni::dual_stack(STOCK_IPAM))])).await?;
    let gone = wipe(stage);
    stage.check(step, "nothing of edgekeep is on the node", gone);
    stage.check_live(step, &pods).await?;

    stage.shuffle.order(&mut pods);
    let mut left = pods.split_off(ENDED);
    stage.end(pods).await?;
    let exact = stage.only_leases_of(&left);
    stage.check(step, "deletes free the addresses of the deleted pods, and only those", exact);

    left.extend(stage.start((0..ENDED).map(|number| format!("new-{number}"))).await?);
    stage.check_live("new pods", &left).await?;
    let left = stage.restart(left, &[Restart::RemoveFirst, Restart::RemoveLast]).await?;
    stage.check_live("all restarted", &left).await?;
    let exact = stage.only_leases_of(&left);
    stage.check("all restarted", "lease files are exactly those of the running pods", exact);
    stage.end(left).await?;
    let exact = stage.only_leases_of(&[]);
    stage.check("all pods ended", "no lease file is left over", exact);
    let gone = is_wiped(stage);
    stage.check("all pods ended", "nothing of edgekeep has come back", gone);
    Ok(())
}

fn wipe(stage: &Stage<'_>) -> Result<String> {
    let plugin = stage.cni.programs.join(OURS);
    fs::remove_file(&plugin).with_context(|| format!("cannot remove {}", plugin.display()))?;
    stage.node.run(&["rm", "-r", "/var/lib/edgekeep", "/run/edgekeep"])?;
    is_wiped(stage)
}

fn is_wiped(stage: &Stage<'_>) -> Result<String> {
    let found = stage.node.run(&["find", "/run", "/var/lib", "-name", "*edgekeep*"])?;
    if !found.is_empty() {
        bail!("left over: {found}");
    }
    Ok("program, state and run directory".to_owned())
}
