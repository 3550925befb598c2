//! A node behind its hub: kubelet and kube-proxy are brought to it and back, and whatever befalls the link, the hub is
//! never in the way.

use anyhow::{Result, anyhow, bail};
use serde_json::Value;
use testkit::relay::Shape;

use crate::checks::Checks;
use crate::cloud::{self, KUBE_PROXY};
use crate::cluster::{Cluster, READY};
use crate::diary::Diary;
use crate::fields::text_at;
use crate::hub::{self, Hub};
use crate::kube_proxy::KubeProxy;
use crate::kubeconfig::Access;
use crate::kubelet::NODE;
use crate::run_dir::RunDir;
use crate::scenario::{Options, day};
use crate::verdict::none_of;
use crate::{sys, wan};

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let mut cluster = Cluster::set_up(dir, options, "node-hub", cloud::Options::default(), checks).await?;
    let mut hub = Hub::new(&cluster.programs);
    let played = play(&mut cluster, &mut hub).await;
    cluster.close(played)
}

async fn play(cluster: &mut Cluster<'_>, hub: &mut Hub) -> Result<()> {
    let direct = cluster.cloud.access().clone();
    cluster.join(&direct).await?;
    let without = day::spend(cluster, &direct).await?;
    without.keep(&cluster.stage.keepsakes(), direct.name)?;
    adopt(cluster, hub).await?;
    same_day(cluster, hub, &without).await?;
    offline(cluster, hub).await?;
    slow(cluster, hub).await?;
    killed(cluster, hub).await?;
    revert(cluster, hub).await
}

/// Everything that the node's clients did directly they do through the hub, and are answered the same.
async fn same_day(cluster: &mut Cluster<'_>, hub: &Hub, without: &Diary) -> Result<()> {
    let step = "a day";
    let access = Hub::access(&cluster.stage.node)?;
    // A kubelet that has just been restarted takes a moment until it calls its node ready.
    cluster.node_ready().await?;
    let with = day::spend(cluster, &access).await?;
    let noted = with.keep(&cluster.stage.keepsakes(), access.name)?;
    cluster.stage.check(step, "everything goes as it should through the hub", Ok(noted));
    let same = none_of(&without.differences(&with), format!("{} answers", with.len()));
    cluster.stage.check(step, "clients are answered as they are directly, field by field", same);
    let alone = only_the_hub(cluster);
    cluster.stage.check(step, "still only the hub talks to the cloud", alone);
    let kept = losses(hub, cluster)
        .and_then(|lost| if lost == 0 { Ok("never".into()) } else { Err(anyhow!("{lost} times")) });
    cluster.stage.check(step, "the hub never took the cloud for gone", kept);
    Ok(())
}

/// Starts the hub on a node that has joined, and brings kubelet and kube-proxy to it.
///
/// # Errors
///
/// A part could not be started.
pub async fn adopt(cluster: &mut Cluster<'_>, hub: &mut Hub) -> Result<()> {
    let step = "adopt";
    hub.start(&cluster.stage.node).await?;
    let up = hub.judges(&cluster.stage.node, "up").await.map(|status| said(&status, "/cloud/servers"));
    cluster.stage.check(step, "a kubeadm node's hub needs no file and finds the cloud", up);
    let dry = hub.run(&cluster.stage.node, &["adopt", "kubelet", "--dry-run"])?;
    let nothing = cluster.stage.node.etc().join("edgekeep/kubelet.conf").exists();
    let shown = if !nothing && dry.contains("90-edgekeep.conf") {
        Ok("a difference".into())
    } else {
        Err(anyhow!(dry))
    };
    cluster.stage.check(step, "a dry run shows what would change and changes nothing", shown);
    behind(cluster, hub)?;
    let renewed = cluster.kubelet_is_heard().await;
    cluster.stage.check(step, "kubelet is heard through the hub", renewed);
    let alone = sys::until("only the hub talks to the cloud", READY, || only_the_hub(cluster)).await;
    cluster.stage.check(step, "no other program of the node has a connection to the cloud", alone);
    let reached = link_local(cluster);
    cluster.stage.check(step, "the hub is reached at its link-local address, which came after it", reached);
    Ok(())
}

fn said(status: &Value, pointer: &str) -> String {
    status.pointer(pointer).map(Value::to_string).unwrap_or_default()
}

/// The address that pods use: the hub listens there already when it is added to the node.
fn link_local(cluster: &Cluster<'_>) -> Result<String> {
    let node = &cluster.stage.node;
    node.run(&["ip", "address", "replace", &format!("{}/32", hub::LINK_LOCAL), "dev", "lo"])?;
    let access = Hub::access(node)?;
    let server = access.server.replace("127.0.0.1", hub::LINK_LOCAL);
    let config = cluster.admin_kubeconfig(&Access { name: "hub-link-local", server, ..access })?;
    let kubectl = cluster.programs.kubernetes("kubectl");
    node.run(&[&kubectl, "--kubeconfig", &config, "get", "--raw", "/readyz"])
}

/// Lets the node join, with its hub, and brings kubelet and kube-proxy behind that.
///
/// # Errors
///
/// A part does not come up.
pub async fn join_behind(cluster: &mut Cluster<'_>, hub: &mut Hub) -> Result<()> {
    let direct = cluster.cloud.access().clone();
    cluster.join(&direct).await?;
    hub.start(&cluster.stage.node).await?;
    hub.judges(&cluster.stage.node, "up").await?;
    behind(cluster, hub)?;
    cluster.kubelet_is_heard().await?;
    cluster.node_ready().await
}

/// Brings kubelet and kube-proxy behind the hub, which runs.
///
/// # Errors
///
/// One could not be brought there or started.
pub fn behind(cluster: &mut Cluster<'_>, hub: &Hub) -> Result<()> {
    hub.run(&cluster.stage.node, &["adopt", "kubelet"])?;
    let access = Hub::access(&cluster.stage.node)?;
    KubeProxy::configure(&cluster.stage.node, &access, &cluster.cloud.token("kube-system", KUBE_PROXY)?)?;
    cluster.restart_node_programs()
}

/// That every connection from the node to the API server is the hub's.
fn only_the_hub(cluster: &Cluster<'_>) -> Result<String> {
    let peer = format!("{}:{}", wan::CLOUD, wan::API_PORT);
    let told = cluster.stage.node.run(&["ss", "-Hntp", "state", "established", "dst", &peer])?;
    let others: Vec<&str> = told.lines().filter(|line| !line.contains("\"edgekeep\"")).collect();
    if told.is_empty() || !others.is_empty() {
        bail!("{others:?} of {told:?}");
    }
    Ok(format!("{} connections", told.lines().count()))
}

/// Cut, black-holed and refused: answers come at once, and everything goes on afterwards without a restart.
async fn offline(cluster: &mut Cluster<'_>, hub: &mut Hub) -> Result<()> {
    let config = cluster.admin_kubeconfig(&Hub::access(&cluster.stage.node)?)?;
    for step in ["cut", "black hole", "refuse"] {
        match step {
            "cut" => cluster.cut()?,
            "black hole" => cluster.black_hole()?,
            _ => cluster.refuse()?,
        }
        let why = hub.judges(&cluster.stage.node, "down").await.map(|status| said(&status, "/cloud/why"));
        cluster.stage.check(step, "the hub knows that the cloud is gone, and why", why);
        let answer = refused(cluster, &config);
        cluster.stage.check(step, "a request is answered 503 with what is the matter", answer);
        cluster.heal()?;
        let up = hub.judges(&cluster.stage.node, "up").await.map(|status| said(&status, "/cloud/losses"));
        cluster.stage.check(step, "healed, the hub finds the cloud", up);
        let heard = cluster.kubelet_is_heard().await;
        cluster.stage.check(step, "healed, kubelet is heard", heard);
    }
    Ok(())
}

/// kubectl's complaint about a hub without a cloud.
fn refused(cluster: &Cluster<'_>, config: &str) -> Result<String> {
    let kubectl = cluster.programs.kubernetes("kubectl");
    let raw = ["get", "--raw", "/api/v1/nodes", "--v=8"];
    let words = [&[kubectl.as_str(), "--kubeconfig", config], raw.as_slice()].concat();
    let Err(error) = cluster.stage.node.run(&words) else { bail!("it was answered") };
    let text = format!("{error:#}");
    if !text.contains("503") || !text.contains("cannot be reached") || text.contains("Retry-After") {
        bail!(text);
    }
    Ok("503, without Retry-After".into())
}

/// A link with half a second a round trip and five per cent loss is a link.
async fn slow(cluster: &mut Cluster<'_>, hub: &mut Hub) -> Result<()> {
    let step = "slow link";
    cluster
        .slow(Shape { delay: std::time::Duration::from_millis(250), loss_percent: 5, ..Shape::default() })
        .await?;
    hub.judges(&cluster.stage.node, "up").await?;
    cluster.kubelet_is_heard().await?;
    let before = losses(hub, cluster)?;
    for _ in 0..4 {
        cluster.kubelet_is_heard().await?;
    }
    let after = losses(hub, cluster)?;
    let kept = if before == after {
        Ok(format!("{after} losses before and after"))
    } else {
        Err(anyhow!("{before} losses, then {after}"))
    };
    cluster.stage.check(step, "the link does not flap", kept);
    cluster.heal()?;
    hub.judges(&cluster.stage.node, "up").await.map(drop)
}

fn losses(hub: &Hub, cluster: &Cluster<'_>) -> Result<u64> {
    let status = hub.status(&cluster.stage.node)?;
    status.pointer("/cloud/losses").and_then(Value::as_u64).ok_or_else(|| anyhow!("no losses in {status}"))
}

/// The hub dies and comes back: nobody else has to.
async fn killed(cluster: &mut Cluster<'_>, hub: &mut Hub) -> Result<()> {
    let step = "hub killed";
    hub.kill(&cluster.stage.node)?;
    hub.start(&cluster.stage.node).await?;
    let heard = cluster.kubelet_is_heard().await;
    cluster.stage.check(step, "kubelet goes on through its successor", heard);
    let ready = cluster.node_ready().await.map(|()| "Ready".into());
    cluster.stage.check(step, "the node is ready", ready);
    Ok(())
}

/// The hub is taken away again.
async fn revert(cluster: &mut Cluster<'_>, hub: &mut Hub) -> Result<()> {
    let step = "revert";
    hub.run(&cluster.stage.node, &["revert", "kubelet"])?;
    let direct = cluster.cloud.access().clone();
    KubeProxy::configure(&cluster.stage.node, &direct, &cluster.cloud.token("kube-system", KUBE_PROXY)?)?;
    hub.kill(&cluster.stage.node)?;
    cluster.restart_node_programs()?;
    let heard = cluster.kubelet_is_heard().await;
    cluster.stage.check(step, "kubelet talks to the cloud itself", heard);
    let node = cluster.cloud.get(&["node", NODE])?;
    let ready = cluster.node_ready().await.and_then(|()| Ok(text_at(&node, "/metadata/uid")?.to_owned()));
    cluster.stage.check(step, "the node is ready", ready);
    Ok(())
}
