//! A node whose dataDir OpenYurt's patched host-local has filled is taken over with its pods running: lease files that
//! hold the container's id alone, and beside each an empty file that says whose the address is.
//!
//! Stock host-local plays the patched one, and its files are then given that one's form. Of half the pods libcni's
//! own record is taken away, so that nothing but OpenYurt's file says whose address it is.

use std::fs;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::checks::Checks;
use crate::cni::{self, NETWORK, OURS, STOCK_IPAM};
use crate::pods::{NAMESPACE, Pod, Restart};
use crate::run_dir::RunDir;
use crate::scenario::Options;
use crate::stage::Stage;
use crate::verdict::{at_home, homes};

const PODS: usize = 12;
/// Of these, stopped before the takeover: only OpenYurt's reservation knows of them.
const STOPPED: usize = 3;

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let mut stage = Stage::set_up(dir, options, "openyurt", &list(STOCK_IPAM), checks).await?;
    let played = play(&mut stage).await;
    stage.close(played)
}

/// OpenYurt's patch knows IPv4 only.
fn list(ipam: &str) -> Value {
    let ranges = json!([[{"subnet": "10.244.0.0/27"}]]);
    cni::list(&[cni::bridge(&json!({"type": ipam, "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}))])
}

async fn play(stage: &mut Stage<'_>) -> Result<()> {
    let mut pods = stage.start((0..PODS).map(|number| format!("pod-{number:02}"))).await?;
    let first = homes(&pods);
    disguise(stage, &pods)?;
    let stopped = pods.split_off(PODS - STOPPED);
    // OpenYurt's DEL removes the lease and leaves the reservation, as stock host-local does here by not knowing it.
    stage.end(stopped.clone()).await?;

    let step = "taken over";
    stage.configure(&list(OURS)).await?;
    let newcomers = stage.start((0..2).map(|number| format!("newcomer-{number}"))).await?;
    stage.check_live(step, &[pods.clone(), newcomers.clone()].concat()).await?;
    let reserved = reservations(stage);
    stage.check(step, "OpenYurt's reservations have become bindings", reserved);

    let step = "restart of each pod";
    stage.shuffle.order(&mut pods);
    let mut pods = stage.restart(pods, &[Restart::RemoveFirst, Restart::RemoveLast]).await?;
    let again = stage.start(stopped.into_iter().map(|pod| pod.name)).await?;
    stage.check(step, "same addresses", at_home(&first, &pods));
    stage.check(step, "pods that were stopped before come home too", at_home(&first, &again));
    pods.extend(again);
    check(stage, step, &[pods.clone(), newcomers.clone()].concat()).await?;

    let step = "reboot";
    stage.reboot().await?;
    let mut later = stage.start((2..5).map(|number| format!("newcomer-{number}"))).await?;
    stage.shuffle.order(&mut pods);
    let orders = [Restart::RemoveLast, Restart::StopLast, Restart::RemoveFirst];
    let pods = stage.restart(pods, &orders).await?;
    stage.check(step, "same addresses, with newcomers first", at_home(&first, &pods));
    later.extend(stage.restart(newcomers, &orders).await?);
    check(stage, step, &[pods, later].concat()).await
}

async fn check(stage: &mut Stage<'_>, step: &str, pods: &[Pod]) -> Result<()> {
    stage.check_live(step, pods).await?;
    let exact = stage.only_leases_of(pods);
    stage.check(step, "lease files are exactly those of the running pods", exact);
    Ok(())
}

/// Gives the lease files OpenYurt's form.
fn disguise(stage: &Stage<'_>, pods: &[Pod]) -> Result<()> {
    let data_dir = stage.data_dir(NETWORK);
    for (number, pod) in pods.iter().enumerate() {
        let sandbox = pod.sandbox().unwrap_or_default();
        for address in &pod.addresses {
            let lease = data_dir.join(address.to_string());
            let content = fs::read_to_string(&lease).with_context(|| format!("no {}", lease.display()))?;
            let id = content.split("\r\n").next().filter(|id| *id == sandbox);
            fs::write(&lease, id.with_context(|| format!("{content:?} in {}", lease.display()))?)?;
            fs::write(data_dir.join(format!("{address}_{NAMESPACE}_{}", pod.name)), "")?;
        }
        if number % 2 == 0 {
            let cached = format!("cni/results/{NETWORK}-{sandbox}-eth0");
            fs::remove_file(stage.node.var_lib().join(&cached)).with_context(|| format!("no {cached}"))?;
        }
    }
    Ok(())
}

fn reservations(stage: &Stage<'_>) -> Result<String> {
    let mut left = Vec::new();
    for entry in fs::read_dir(stage.data_dir(NETWORK))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.split_once('_').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok()) {
            left.push(name);
        }
    }
    if !left.is_empty() {
        bail!("still there: {left:?}");
    }
    Ok(format!("of {PODS} pods"))
}
