//! flannel's CNI plugin, played by a stand-in: a switch of its `ipam.type` with pods running, whose DELs then go
//! through the old plugin because their saved configuration says so; and a reboot after which flanneld writes its
//! subnet anew.

use std::env;
use std::fs;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::checks::Checks;
use crate::cni::{OURS, STOCK_IPAM};
use crate::pods::Restart;
use crate::run_dir::RunDir;
use crate::scenario::Options;
use crate::stage::Stage;
use crate::verdict::{at_home, dual_stack, homes};

const PODS: usize = 12;
/// Of these, restarted between the switch and the reboot.
const RESTARTED: usize = 6;
/// The network's name in flannel's own manifest.
const NETWORK: &str = "cbr0";

const SUBNET: &str = "FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.0.1/26
FLANNEL_IPV6_NETWORK=fd00:10:244::/64
FLANNEL_IPV6_SUBNET=fd00:10:244::1/122
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
";

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let mut stage = Stage::set_up(dir, options, "flannel", &list(STOCK_IPAM), checks).await?;
    stage.cni.link(&env::current_exe()?, "flannel")?;
    let played = play(&mut stage).await;
    stage.close(played)
}

fn list(ipam: &str) -> Value {
    let flannel = json!({
        "type": "flannel",
        "ipam": {"type": ipam},
        "delegate": {"hairpinMode": true, "isDefaultGateway": true}
    });
    json!({"cniVersion": "0.3.1", "name": NETWORK, "plugins": [flannel]})
}

async fn play(stage: &mut Stage<'_>) -> Result<()> {
    start_flanneld(stage)?;
    let mut pods = stage.start((0..PODS).map(|number| format!("pod-{number:02}"))).await?;
    stage.check("under host-local", "every pod has an IPv4 and an IPv6 address", dual_stack(&pods));
    stage.check_live("under host-local", &pods).await?;

    let step = "switched to edgekeep-ipam";
    stage.configure(&list(OURS)).await?;
    // The first call of the new plugin is when it learns who holds what. What host-local frees before that, nobody
    // knows of any more.
    pods.extend(stage.start(["newcomer-0".to_owned()]).await?);
    let first = homes(&pods);
    let untouched = pods.split_off(RESTARTED);
    let saved = saved_with(stage, STOCK_IPAM, PODS);
    stage.check(step, "the saved configurations of running pods name host-local", saved);
    let mut pods = stage.restart(pods, &[Restart::RemoveFirst, Restart::RemoveLast]).await?;
    stage.check(
        step,
        "restarted pods keep the addresses that host-local gave and freed",
        at_home(&first, &pods),
    );
    let saved = saved_with(stage, STOCK_IPAM, PODS - RESTARTED);
    stage.check(step, "their DELs went through host-local", saved);
    pods.extend(untouched);
    stage.check_live(step, &pods).await?;

    let step = "reboot";
    stage.power_cut()?;
    stage.node.boot()?;
    start_flanneld(stage)?;
    stage.start_runtime().await?;
    let newcomers = stage.start((1..4).map(|number| format!("newcomer-{number}"))).await?;
    stage.shuffle.order(&mut pods);
    let orders = [Restart::RemoveLast, Restart::StopLast, Restart::RemoveFirst];
    let mut pods = stage.restart(pods, &orders).await?;
    stage.check(step, "same addresses, with newcomers first", at_home(&first, &pods));
    pods.extend(newcomers);
    stage.check_live(step, &pods).await?;
    let saved = saved_with(stage, STOCK_IPAM, 0);
    stage.check(step, "no saved configuration names host-local any more", saved);
    let files = stage.leases(NETWORK).and_then(|there| match there.len() {
        files if files == pods.len() * 2 => Ok(format!("{files} lease files")),
        files => bail!("{files} lease files for {} pods: {there:?}", pods.len()),
    });
    stage.check(step, "as many lease files as addresses of running pods", files);
    Ok(())
}

fn start_flanneld(stage: &Stage<'_>) -> Result<()> {
    stage.node.run(&["mkdir", "/run/flannel"])?;
    Ok(fs::write(stage.node.file("/run/flannel/subnet.env")?, SUBNET)?)
}

fn saved_with(stage: &Stage<'_>, ipam: &str, expected: usize) -> Result<String> {
    let mut found = 0;
    for entry in fs::read_dir(stage.node.var_lib().join("cni/flannel"))? {
        let saved: Value = serde_json::from_slice(&fs::read(entry?.path())?)?;
        found += usize::from(saved.pointer("/ipam/type").and_then(Value::as_str) == Some(ipam));
    }
    if found != expected {
        bail!("{found} name {ipam}, {expected} should");
    }
    Ok(format!("{found} of them"))
}
