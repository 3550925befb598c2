//! The runtime is killed between a plugin's ADD and its answer: an address was given, and nobody heard of it. Other
//! ADDs are under way at that moment. Then the runtime is started again, and so are the pods, as kubelet would.

use std::env;
use std::fs;

use anyhow::{Result, anyhow};
use serde_json::json;

use crate::checks::Checks;
use crate::cni::{self, OURS};
use crate::pods::{Pod, Restart};
use crate::run_dir::RunDir;
use crate::scenario::Options;
use crate::stage::Stage;
use crate::stand_in::killer::{REAL, TRAPS};
use crate::verdict::{at_home, homes};

const PODS: usize = 10;
const ROUNDS: usize = 4;
/// The range holds this many pods: a single leaked address would be missed.
const FULL: usize = 29;

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let ipam = json!({
        "type": OURS,
        "ranges": [[{"subnet": "10.244.0.0/27"}], [{"subnet": "fd00:10:244::/123", "rangeEnd": "fd00:10:244::1e"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    });
    let mut stage =
        Stage::set_up(dir, options, "killed-between", &cni::list(&[cni::bridge(&ipam)]), checks).await?;
    go_before(dir, &stage)?;
    let played = play(&mut stage).await;
    stage.close(played)
}

/// Puts this program before the two plugins.
fn go_before(dir: &RunDir, stage: &Stage<'_>) -> Result<()> {
    let real = dir.sub(&format!("cni/{REAL}"))?;
    for plugin in ["bridge", OURS] {
        fs::rename(stage.cni.programs.join(plugin), real.join(plugin))?;
        stage.cni.link(&env::current_exe()?, plugin)?;
    }
    Ok(())
}

async fn play(stage: &mut Stage<'_>) -> Result<()> {
    stage.node.run(&["mkdir", TRAPS])?;
    let pods = (0..PODS).map(|number| Pod::new(format!("pod-{number}"), None)).collect::<Result<_>>()?;
    let mut pods = bring_up(stage, "first start", "bridge", pods).await?;
    for round in 1..=ROUNDS {
        let plugin = if round % 2 == 0 { "bridge" } else { OURS };
        let step = format!("restart {round}, killed behind {plugin}");
        let before = homes(&pods);
        stage.shuffle.order(&mut pods);
        let ended = stage.runner.each(pods, |runner, _, pod| async move { runner.end(pod).await }).await?;
        pods = bring_up(stage, &step, plugin, ended).await?;
        stage.check(&step, "same addresses", at_home(&before, &pods));
    }

    let step = "reboot";
    let last = homes(&pods);
    stage.reboot().await?;
    stage.shuffle.order(&mut pods);
    let orders = [Restart::RemoveLast, Restart::StopLast, Restart::RemoveFirst];
    let mut pods = stage.restart(pods, &orders).await?;
    stage.check(step, "same addresses", at_home(&last, &pods));
    pods.extend(stage.start((pods.len()..FULL).map(|number| format!("filler-{number}"))).await?);
    check(stage, "range filled to the last address", &pods).await
}

/// Starts pods, one of them with a trap behind it, and once more those that did not come up.
async fn bring_up(stage: &mut Stage<'_>, step: &str, plugin: &str, pods: Vec<Pod>) -> Result<Vec<Pod>> {
    let trapped = stage.shuffle.below(pods.len());
    let trapped = pods.get(trapped).map(|pod| pod.name.clone()).unwrap_or_default();
    let trap = stage.node.file(TRAPS)?.join(format!("{plugin}.{trapped}"));
    fs::write(&trap, "")?;
    let tried = stage.runner.each(pods, |runner, _, pod| async move {
        let started = runner.start(pod.clone()).await;
        Ok(started.unwrap_or(pod))
    });
    let (mut running, down): (Vec<Pod>, Vec<Pod>) =
        tried.await?.into_iter().partition(|pod| pod.sandbox().is_some());
    let hit = match down.iter().any(|pod| pod.name == trapped) {
        true if !trap.exists() => Ok(format!("{} of {PODS} pods did not come up", down.len())),
        _ => Err(anyhow!("{trapped} came up")),
    };
    stage.check(step, "the runtime was killed before it heard the answer", hit);
    // containerd writes libcni's results in place: killed meanwhile it leaves an empty file, with which no sandbox can be
    // stopped any more (k3s#6185). Not the plugin's to cure, so not what it is judged by.
    let results = stage.node.file("/var/lib/cni/results")?;
    for entry in fs::read_dir(results).into_iter().flatten().flatten() {
        if entry.metadata().is_ok_and(|meta| meta.is_file() && meta.len() == 0) {
            fs::remove_file(entry.path())?;
        }
    }
    stage.revive_runtime().await?;
    sweep(stage, &running).await?;
    running.extend(stage.start_pods(down).await?);
    check(stage, step, &running).await?;
    Ok(running)
}

/// Ends what the runtime knows of and no pod has, as kubelet does before it makes another sandbox.
async fn sweep(stage: &Stage<'_>, running: &[Pod]) -> Result<()> {
    for sandbox in stage.runner.cri.sandboxes().await? {
        if !running.iter().any(|pod| pod.sandbox() == Some(&sandbox.id)) {
            stage.runner.stop(&sandbox.id).await?;
            stage.runner.cri.remove_sandbox(&sandbox.id).await?;
        }
    }
    Ok(())
}

async fn check(stage: &mut Stage<'_>, step: &str, pods: &[Pod]) -> Result<()> {
    stage.check_live(step, pods).await?;
    let exact = stage.only_leases_of(pods);
    stage.check(step, "lease files are exactly those of the running pods", exact);
    let exact = stage.only_interfaces_of(pods);
    stage.check(step, "interfaces in the kernel have exactly the addresses of the running pods", exact);
    Ok(())
}
