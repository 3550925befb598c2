//! How long a rebooted node takes until all its pods run: cut off, with the hub, beside the same node online without any
//! hub, in turns.
//!
//! Times are told; judged is their ratio, as is promised.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::answers::Places;
use super::{Young, come_back, node_is_back, ticks, workload};
use crate::checks::Checks;
use crate::cloud::{self, KUBE_PROXY};
use crate::cluster::{Cluster, READY};
use crate::hub::Hub;
use crate::kube_proxy::KubeProxy;
use crate::run_dir::RunDir;
use crate::scenario::{Options, node_hub};
use crate::sys;

const PAIRS: usize = 5;
/// The most that a boot offline may take, in hundredths of one online.
const LIMIT_PERCENT: u128 = 120;

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let mut cluster =
        Cluster::set_up(dir, options, "node-boot-figures", cloud::Options::default(), checks).await?;
    let mut hub = Hub::new(&cluster.programs);
    let played = play(&mut cluster, &mut hub).await;
    cluster.close(played)
}

async fn play(cluster: &mut Cluster<'_>, hub: &mut Hub) -> Result<()> {
    let direct = cluster.cloud.access().clone();
    cluster.join(&direct).await?;
    workload::tell_moment(cluster)?;
    let places = workload::start(cluster).await?;
    let (mut online, mut offline) = (Vec::new(), Vec::new());
    for pair in 1..=PAIRS {
        online.push(boot(cluster, None, &places).await?);
        hub.start(&cluster.stage.node).await?;
        hub.judges(&cluster.stage.node, "up").await?;
        node_hub::behind(cluster, hub)?;
        settled(cluster).await?;
        cluster.cut()?;
        hub.judges(&cluster.stage.node, "down").await?;
        offline.push(boot(cluster, Some(hub), &places).await?);
        cluster.heal()?;
        hub.judges(&cluster.stage.node, "up").await?;
        settled(cluster).await?;
        let last = |times: &[Duration]| times.last().copied().unwrap_or_default();
        let told = format!("pair {pair}: {:?} online, {:?} offline", last(&online), last(&offline));
        cluster.stage.checks.note(&told);
        hub.run(&cluster.stage.node, &["revert", "kubelet"])?;
        KubeProxy::configure(
            &cluster.stage.node,
            &cluster.cloud.access().clone(),
            &cluster.cloud.token("kube-system", KUBE_PROXY)?,
        )?;
        hub.kill(&cluster.stage.node)?;
        cluster.restart_node_programs()?;
        settled(cluster).await?;
    }
    report(cluster, &online, &offline)
}

/// Waits until node and cloud agree that everything is well.
async fn settled(cluster: &Cluster<'_>) -> Result<()> {
    cluster.kubelet_is_heard().await?;
    node_is_back(cluster).await?;
    sys::until("all pods are ready", READY, || workload::ready(cluster, workload::PODS)).await
}

/// Reboots the node, with the hub if there is one; returns how long after the runtime's start the last pod answered.
async fn boot(cluster: &mut Cluster<'_>, hub: Option<&mut Hub>, places: &Places) -> Result<Duration> {
    cluster.power_cut()?;
    let ticks = ticks()?;
    let moment = workload::tell_moment(cluster)?;
    cluster.power_on()?;
    if let Some(hub) = hub {
        hub.start(&cluster.stage.node).await?;
    }
    let began = Instant::now();
    cluster.stage.start_runtime().await?;
    cluster.start_node_programs()?;
    come_back(cluster, places, &Young { moment: &moment, ticks }).await?;
    Ok(began.elapsed())
}

fn report(cluster: &mut Cluster<'_>, online: &[Duration], offline: &[Duration]) -> Result<()> {
    let middle = |times: &[Duration]| {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).map_or(0, Duration::as_millis)
    };
    let (with, without) = (middle(offline), middle(online));
    // Rounded up: a limit is not met by what is cut off.
    let percent = (with * 100).div_ceil(without.max(1));
    let seconds = |times: &[Duration]| -> String {
        times.iter().map(|time| format!("{:.2}", time.as_secs_f64())).collect::<Vec<_>>().join(", ")
    };
    let table = format!(
        "| {} pods running again, after the runtime's start | each, s | median, s |\n|---|---|---|\n\
         | online, without a hub | {} | {:.2} |\n| cut off, with the hub | {} | {:.2} |\n\nRatio of the medians: {}.{:02}.\n",
        workload::PODS,
        seconds(online),
        Duration::from_millis(u64::try_from(without)?).as_secs_f64(),
        seconds(offline),
        Duration::from_millis(u64::try_from(with)?).as_secs_f64(),
        percent / 100,
        percent % 100,
    );
    cluster.stage.checks.note(&table);
    let within = if percent <= LIMIT_PERCENT {
        Ok(format!("{percent} % of a boot online without it"))
    } else {
        Err(anyhow!("{percent} % of a boot online without it, more than {LIMIT_PERCENT} %"))
    };
    cluster.stage.check("recovery", "a boot offline is not much longer", within);
    if let Some(file) = std::env::var_os("EDGEKEEP_FIGURES").map(PathBuf::from) {
        let text = format!(
            "# A boot without the cloud\n\nOne run on a real node of Kubernetes 1.20.2 on one machine of two cores: the same \
             node with the same pods, rebooted {PAIRS} times online without any hub and {PAIRS} times cut off with the hub, in \
             turns. A pod counts as running when its new process answers over TCP at its old address. The ratio is what \
             counts; the times are this machine's.\n\n{table}\nRepeat with `EDGEKEEP_FIGURES=docs/benchmarks-boot.md sudo -E \
             e2e/run node-boot-figures`.\n"
        );
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
