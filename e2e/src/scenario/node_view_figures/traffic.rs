//! What crosses the link for a node's clients, through the hub and without it.

use std::time::Duration;

use anyhow::{Result, bail};

use super::ask::Load;
use crate::clientgo::{ClientGo, Encoding, Form, Informer};
use crate::cluster::{Cluster, READY};
use crate::hub::Hub;
use crate::kubeconfig::Access;
use crate::sys;
use crate::wan::Traffic;

/// What informers ask for that are no program of Kubernetes' own: CoreDNS and flannel.
const INFORMERS: [(&str, &str, Encoding); 4] = [
    ("coredns-services", "v1/services", Encoding::Protobuf),
    ("coredns-slices", "discovery.k8s.io/v1beta1/endpointslices", Encoding::Protobuf),
    ("coredns-namespaces", "v1/namespaces", Encoding::Protobuf),
    ("flannel-nodes", "v1/nodes", Encoding::Json),
];
/// How long the link is away.
const CUT: Duration = Duration::from_secs(60);
/// Changes a minute, of ten thousand slices.
const CHANGES: u64 = 100;

/// Bytes of one way to the cloud.
#[derive(Clone, Copy, Debug)]
pub struct Crossed {
    /// Over boot and the minutes after it.
    pub boot: u64,
    /// Over a restart of all clients and a cut of the link.
    pub restart: u64,
}

/// Boots the node, with the hub or without, and counts.
///
/// # Errors
///
/// A part does not come up.
pub async fn crossed(
    cluster: &mut Cluster<'_>,
    mut hub: Option<&mut Hub>,
    load: &Load,
    minutes: u64,
) -> Result<Crossed> {
    let access =
        if hub.is_some() { Hub::access(&cluster.stage.node)? } else { cluster.cloud.access().clone() };
    // What was made all at once just before is no part of a node's ordinary day, and a node that boots has run before.
    let informers = inform(cluster, &access).await?;
    change(cluster, load)?;
    cluster.power_cut()?;
    drop(informers);
    let before = cluster.traffic()?;
    cluster.power_on()?;
    if let Some(hub) = &mut hub {
        hub.start(&cluster.stage.node).await?;
    }
    cluster.stage.start_runtime().await?;
    cluster.start_node_programs()?;
    let informers = inform(cluster, &access).await?;
    settled(cluster).await?;
    let booted = bytes(before, cluster.traffic()?);
    for _ in 0..minutes {
        change(cluster, load)?;
    }
    let boot = bytes(before, cluster.traffic()?);

    let before = cluster.traffic()?;
    end(cluster, informers)?;
    cluster.restart_node_programs()?;
    let informers = inform(cluster, &access).await?;
    settled(cluster).await?;
    let restarted = bytes(before, cluster.traffic()?);
    cluster.cut()?;
    tokio::time::sleep(CUT).await;
    cluster.heal()?;
    settled(cluster).await?;
    let restart = bytes(before, cluster.traffic()?);
    let way = if hub.is_some() { "through the hub" } else { "directly" };
    cluster.stage.checks.note(&format!(
        "over the link {way}: {booted} bytes for the boot alone, {boot} with the minutes after it; {restarted} for the \
         restart alone, {restart} with the cut"
    ));
    end(cluster, informers)?;
    Ok(Crossed { boot, restart })
}

fn bytes(before: Traffic, after: Traffic) -> u64 {
    after.to_cloud + after.from_cloud - before.to_cloud - before.from_cloud
}

async fn settled(cluster: &mut Cluster<'_>) -> Result<()> {
    cluster.kubelet_is_heard().await?;
    cluster.node_ready().await
}

async fn inform(cluster: &Cluster<'_>, access: &Access) -> Result<Vec<Informer>> {
    let program = ClientGo::new(&cluster.programs, &cluster.admin_kubeconfig(access)?);
    let mut informers = Vec::new();
    for (name, resource, encoding) in INFORMERS {
        let form = Form { watch_list: false, encoding };
        informers.push(program.inform(&cluster.stage.node, name, resource, form)?);
    }
    sys::until("the informers know everything", READY, || {
        informers.iter().try_for_each(|informer| informer.synced(&cluster.stage.node))
    })
    .await?;
    Ok(informers)
}

fn end(cluster: &Cluster<'_>, informers: Vec<Informer>) -> Result<()> {
    informers.into_iter().try_for_each(|informer| informer.end(&cluster.stage.node))
}

/// A minute in which some slices change, evenly.
fn change(cluster: &Cluster<'_>, load: &Load) -> Result<()> {
    let began = std::time::Instant::now();
    let per_second = CHANGES.div_ceil(60);
    load.touch(cluster, super::SLICES, CHANGES, per_second)?;
    let minute = Duration::from_secs(60);
    if began.elapsed() > minute * 2 {
        bail!("the API server does not take {per_second} changes a second");
    }
    std::thread::sleep(minute.saturating_sub(began.elapsed()));
    Ok(())
}
