//! Every verb of the link shown to do what it says, with kubelet at work on the node.

use std::time::Duration;

use anyhow::{Result, bail};
use testkit::relay::Shape;

use crate::cluster::{Cluster, READY};
use crate::fields::text_at;
use crate::kubelet::NODE;
use crate::reach::{self, Reach};
use crate::{netns, sys};

/// One way; an answer over the slow link takes at least twice as long.
const DELAY: Duration = Duration::from_millis(150);

/// Plays them all on a node that has joined; the link is whole afterwards.
///
/// # Errors
///
/// A verb could not be carried out.
pub async fn play(cluster: &mut Cluster<'_>) -> Result<()> {
    whole(cluster).await?;
    cut(cluster).await?;
    black_hole(cluster).await?;
    refuse(cluster).await?;
    api_server_killed(cluster).await?;
    slow(cluster).await?;
    cluster.restart_node_programs()?;
    renewed(cluster, "kubelet and kube-proxy restarted").await?;
    reboot(cluster).await
}

async fn whole(cluster: &mut Cluster<'_>) -> Result<()> {
    let (before, asked) = (cluster.traffic()?, cluster.cloud.requests()?.len());
    let met = meet(cluster).await?;
    let after = cluster.traffic()?;
    cluster.stage.check(
        "whole link",
        "the API server answers",
        is(met, |met| matches!(met, Reach::Answer(_))),
    );
    let (up, down) = (after.to_cloud - before.to_cloud, after.from_cloud - before.from_cloud);
    let counted = if up > 0 && down > 0 { Ok(format!("{up} up, {down} down")) } else { none() };
    cluster.stage.check("whole link", "bytes are counted both ways", counted);

    let config = cluster.admin_kubeconfig(&cluster.cloud.access().clone())?;
    let kubectl = cluster.programs.kubernetes("kubectl");
    cluster.stage.node.run(&[&kubectl, "--kubeconfig", &config, "get", "--raw", "/version?from=e2e"])?;
    let requests = cluster.cloud.requests()?;
    let new = requests.iter().skip(asked);
    let ours: Vec<_> = new.filter(|one| one.uri == "/version?from=e2e").collect();
    let seen = match ours.as_slice() {
        [one] if one.crossed_the_link() && one.code == Some(200) => {
            Ok(format!("{} by {} with {}", one.verb, one.user, one.agent))
        }
        other => Err(anyhow::anyhow!("{other:?}")),
    };
    cluster.stage.check("whole link", "a request is counted once, with its caller and answer", seen);
    Ok(())
}

async fn cut(cluster: &mut Cluster<'_>) -> Result<()> {
    let (step, standing) = ("cut", open(cluster).await?);
    cluster.cut()?;
    let before = cluster.traffic()?;
    let met = meet(cluster).await?;
    cluster.stage.check(step, "there is no route", is(met, |met| met == Reach::NoRoute));
    let met = standing.ask()?;
    cluster.stage.check(step, "a connection that stood falls silent", is(met, |met| met == Reach::Silence));
    let silent = cluster.silent_since(before);
    cluster.stage.check(step, "no byte reaches the cloud", silent);
    healed(cluster, step).await
}

async fn black_hole(cluster: &mut Cluster<'_>) -> Result<()> {
    let (step, standing) = ("black hole", open(cluster).await?);
    cluster.black_hole()?;
    let before = cluster.traffic()?;
    let met = meet(cluster).await?;
    cluster.stage.check(step, "there is no answer", is(met, |met| met == Reach::Silence));
    let met = standing.ask()?;
    cluster.stage.check(step, "a connection that stood falls silent", is(met, |met| met == Reach::Silence));
    let after = cluster.traffic()?;
    let one_way = after.to_cloud > before.to_cloud && after.from_cloud == before.from_cloud;
    let counted = if one_way { Ok(format!("{} bytes", after.to_cloud - before.to_cloud)) } else { none() };
    cluster.stage.check(step, "the node sends into it and nothing comes back", counted);
    healed(cluster, step).await
}

async fn refuse(cluster: &mut Cluster<'_>) -> Result<()> {
    let (step, standing) = ("refuse", open(cluster).await?);
    cluster.refuse()?;
    let met = meet(cluster).await?;
    cluster.stage.check(step, "connections are refused", is(met, |met| met == Reach::Reset));
    let met = standing.ask()?;
    cluster.stage.check(step, "a connection that stood is reset", is(met, |met| met == Reach::Reset));
    healed(cluster, step).await
}

async fn api_server_killed(cluster: &mut Cluster<'_>) -> Result<()> {
    let (step, standing) = ("API server killed", open(cluster).await?);
    cluster.cloud.kill_api_server()?;
    let met = meet(cluster).await?;
    cluster.stage.check(step, "connections are refused", is(met, |met| met == Reach::Reset));
    let met = standing.ask()?;
    cluster.stage.check(step, "a connection that stood is reset", is(met, |met| met == Reach::Reset));
    cluster.cloud.start_api_server().await?;
    healed(cluster, step).await
}

async fn slow(cluster: &mut Cluster<'_>) -> Result<()> {
    let (step, standing) = ("slow", open(cluster).await?);
    cluster.slow(Shape { delay: DELAY, loss_percent: 2, ..Shape::default() }).await?;
    let met = meet(cluster).await?;
    let late = is(met, |met| matches!(met, Reach::Answer(after) if after >= DELAY * 2));
    cluster.stage.check(step, "an answer takes a round trip", late);
    let met = standing.ask()?;
    cluster.stage.check(step, "no connection goes on past the relay", is(met, |met| met == Reach::Reset));
    renewed(cluster, step).await?;
    healed(cluster, step).await
}

async fn reboot(cluster: &mut Cluster<'_>) -> Result<()> {
    let step = "reboot while cut";
    let uid = text_at(&cluster.cloud.get(&["node", NODE])?, "/metadata/uid")?.to_owned();
    cluster.cut()?;
    cluster.power_cut()?;
    let before = cluster.traffic()?;
    cluster.boot().await?;
    let met = meet(cluster).await?;
    cluster.stage.check(step, "the link is still cut", is(met, |met| met == Reach::NoRoute));
    let silent = cluster.silent_since(before);
    cluster.stage.check(step, "no byte reaches the cloud", silent);
    healed(cluster, step).await?;
    let boot_id = cluster.stage.node.boot_id()?.to_owned();
    let node = sys::until("the node tells its new boot", READY, || {
        let node = cluster.cloud.get(&["node", NODE])?;
        if text_at(&node, "/status/nodeInfo/bootID")? != boot_id {
            bail!("it tells the old one");
        }
        Ok(node)
    });
    let same = node.await.and_then(|node| {
        if text_at(&node, "/metadata/uid")? != uid {
            bail!("the Node object is another one");
        }
        Ok(format!("boot id {boot_id}"))
    });
    cluster.stage.check(step, "the same node comes back with its new boot id", same);
    Ok(())
}

/// Heals the link and sees that kubelet is heard again.
async fn healed(cluster: &mut Cluster<'_>, step: &str) -> Result<()> {
    cluster.heal()?;
    renewed(cluster, &format!("{step}, healed")).await
}

async fn renewed(cluster: &mut Cluster<'_>, step: &str) -> Result<()> {
    let renewed = cluster.kubelet_is_heard().await;
    cluster.stage.check(step, "kubelet is heard", renewed);
    Ok(())
}

async fn meet(cluster: &Cluster<'_>) -> Result<Reach> {
    reach::api_server(&netns::path(cluster.stage.node.name())).await
}

async fn open(cluster: &Cluster<'_>) -> Result<reach::Open> {
    reach::open(&netns::path(cluster.stage.node.name())).await
}

fn is(met: Reach, right: impl FnOnce(Reach) -> bool) -> Result<String> {
    if !right(met) {
        bail!("met {met:?}");
    }
    Ok(format!("{met:?}"))
}

fn none() -> Result<String> {
    bail!("the counters say otherwise")
}
