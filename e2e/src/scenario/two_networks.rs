//! Further interfaces per pod, made as Multus makes them: the main plugin called again for the same container under
//! another interface name. One is in a network of its own, one in the network that the pod's first interface is in
//! already; each keeps its own addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};

use crate::checks::Checks;
use crate::cni::{self, NETWORK, OURS};
use crate::plugin::{self, Attachment};
use crate::pods::{NAMESPACE, Pod, Restart};
use crate::run_dir::RunDir;
use crate::scenario::Options;
use crate::stage::Stage;
use crate::verdict::{at_home, homes};

const PODS: usize = 8;
/// The network that only further interfaces are in.
const SECOND: &str = "second";

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let list = cni::list(&[cni::bridge(&cni::dual_stack(OURS))]);
    let mut stage = Stage::set_up(dir, options, "two-networks", &list, checks).await?;
    let played = play(&mut stage).await;
    stage.close(played)
}

async fn play(stage: &mut Stage<'_>) -> Result<()> {
    let pods = stage.start((0..PODS).map(|number| format!("pod-{number}"))).await?;
    let pods = attach_all(stage, pods).await?;
    let first = homes(&pods);
    stage.check("start", "every interface has addresses of its own", distinct(&pods));
    check(stage, "start", &pods).await?;

    let mut sandboxes: Vec<Pod> = pods;
    stage.shuffle.order(&mut sandboxes);
    for pod in &sandboxes {
        let netns = netns(stage, pod).await?;
        detach(stage, pod, &netns)?;
    }
    let pods = stage.restart(sandboxes, &[Restart::RemoveFirst, Restart::RemoveLast]).await?;
    let mut pods = attach_all(stage, pods).await?;
    stage.check("restart of each pod", "same addresses on each interface", at_home(&first, &pods));
    check(stage, "restart of each pod", &pods).await?;

    stage.reboot().await?;
    let newcomers = attach_all(stage, stage.start(["newcomer".to_owned()]).await?).await?;
    stage.shuffle.order(&mut pods);
    for pod in pods.iter().skip(PODS / 2) {
        // Of the others the runtime, and so Multus, says nothing before the new sandbox is there.
        detach(stage, pod, "")?;
    }
    let pods = stage.restart(pods, &[Restart::RemoveLast, Restart::StopLast]).await?;
    let mut pods = attach_all(stage, pods).await?;
    stage.check("reboot", "same addresses on each interface, with a newcomer first", at_home(&first, &pods));
    pods.extend(newcomers);
    check(stage, "reboot", &pods).await
}

async fn check(stage: &mut Stage<'_>, step: &str, pods: &[Pod]) -> Result<()> {
    stage.check_live(step, pods).await?;
    let exact = exact(stage, pods);
    stage.check(step, "lease files are exactly those of the interfaces", exact);
    Ok(())
}

/// The further interfaces: name and configuration.
fn further() -> [(&'static str, Value); 2] {
    let second = json!({
        "cniVersion": "1.0.0", "name": SECOND, "type": "bridge", "bridge": "cni1", "isGateway": true,
        "ipam": {"type": OURS, "ranges": [[{"subnet": "10.245.0.0/27"}], [{"subnet": "fd00:10:245::/123"}]]}
    });
    let mut same = cni::bridge(&cni::dual_stack(OURS));
    if let Some(members) = same.as_object_mut() {
        members.insert("cniVersion".to_owned(), json!("1.0.0"));
        members.insert("name".to_owned(), json!(NETWORK));
    }
    // The first interface has the default routes.
    if let Some(ipam) = same.get_mut("ipam").and_then(Value::as_object_mut) {
        ipam.remove("routes");
    }
    [("net1", second), ("net2", same)]
}

async fn attach_all(stage: &Stage<'_>, pods: Vec<Pod>) -> Result<Vec<Pod>> {
    let mut attached = Vec::new();
    for mut pod in pods {
        let netns = netns(stage, &pod).await?;
        pod.further.clear();
        for (ifname, config) in further() {
            pod.further.extend(call(stage, "ADD", &pod, ifname, &netns, &config)?);
        }
        stage.runner.ledger.started(pod.sandbox().unwrap_or_default(), &pod.further);
        attached.push(pod);
    }
    Ok(attached)
}

/// In the other order, as Multus does.
fn detach(stage: &Stage<'_>, pod: &Pod, netns: &str) -> Result<()> {
    for (ifname, config) in further().into_iter().rev() {
        call(stage, "DEL", pod, ifname, netns, &config)?;
    }
    Ok(())
}

fn call(
    stage: &Stage<'_>,
    verb: &str,
    pod: &Pod,
    ifname: &str,
    netns: &str,
    config: &Value,
) -> Result<Vec<IpAddr>> {
    let path = stage.cni.programs.to_str().ok_or_else(|| anyhow!("path is not UTF-8"))?;
    let attachment = Attachment {
        container: pod.sandbox().unwrap_or_default().to_owned(),
        netns: netns.to_owned(),
        ifname: ifname.to_owned(),
        pod: (NAMESPACE.to_owned(), pod.name.clone(), pod.uid().to_owned()),
    };
    let program = stage.node.command(&[&format!("{path}/bridge")])?;
    plugin::call(program, verb, &attachment, path, config)
}

async fn netns(stage: &Stage<'_>, pod: &Pod) -> Result<String> {
    let sandbox = pod.sandbox().ok_or_else(|| anyhow!("{} does not run", pod.name))?;
    stage.runner.cri.network_namespace(sandbox).await
}

fn distinct(pods: &[Pod]) -> Result<String> {
    let all: Vec<IpAddr> = pods.iter().flat_map(Pod::all_addresses).collect();
    let different: BTreeSet<_> = all.iter().collect();
    if different.len() != PODS * 6 || all.len() != different.len() {
        bail!("{} addresses, {} different ones, {} interfaces", all.len(), different.len(), PODS * 3);
    }
    Ok(format!("{} addresses on {} interfaces", all.len(), PODS * 3))
}

fn exact(stage: &Stage<'_>, pods: &[Pod]) -> Result<String> {
    let mut there = stage.leases(NETWORK)?;
    there.extend(stage.leases(SECOND)?);
    let there: BTreeSet<_> = there.into_iter().collect();
    let of = |pod: &Pod| {
        let sandbox = pod.sandbox().unwrap_or_default().to_owned();
        pod.all_addresses().into_iter().map(move |address| (address, sandbox.clone()))
    };
    let expected: BTreeSet<_> = pods.iter().flat_map(of).collect();
    if there != expected {
        bail!("wrong: {:?}", there.symmetric_difference(&expected).collect::<Vec<_>>());
    }
    Ok(format!("{} lease files", there.len()))
}
