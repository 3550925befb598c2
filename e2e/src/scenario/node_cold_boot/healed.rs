//! After the link is whole again: node and cloud agree, and nobody notices.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use super::answers::{self, Answer, Answers, Places};
use super::doomed::Doomed;
use super::workload::{self, PODS};
use super::{COMING_BACK, node_is_back};
use crate::cluster::Cluster;
use crate::hub::Hub;
use crate::verdict::none_of;
use crate::{netns, sys};

/// Checks it for the trial `step`, in which pods have said `offline` at `places`.
///
/// # Errors
///
/// A question could not be put.
pub async fn look(
    cluster: &mut Cluster<'_>,
    hub: &Hub,
    step: &str,
    places: &Places,
    offline: &Answers,
    doomed: &Doomed,
) -> Result<()> {
    let kills = Hub::kills(&cluster.stage.node);
    let up = hub.judges(&cluster.stage.node, "up").await;
    let up = up.map(|_| if kills > 0 { format!("killed {kills} times so far") } else { "up".to_owned() });
    cluster.stage.check(step, "healed, the hub finds the cloud", up);
    let heard = cluster.kubelet_is_heard().await;
    cluster.stage.check(step, "healed, kubelet is heard", heard);
    let back = node_is_back(cluster).await;
    cluster.stage.check(step, "healed, the cloud knows the node as ready", back);
    let gone = sys::until("deleted pods are gone", COMING_BACK, || doomed.forgotten(cluster)).await;
    cluster.stage.check(step, "healed, pods that were deleted are gone from the cloud", gone);
    let ready = sys::until("all pods are ready", COMING_BACK, || workload::ready(cluster, PODS)).await;
    let same = ready.and_then(|()| addresses(cluster, places));
    cluster.stage.check(step, "healed, the cloud knows each pod as ready at its old address", same);
    // Time for a restart to begin that ought not to.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let same = unmoved(cluster, places, offline).await;
    cluster.stage.check(step, "healed, no pod was started again", same);
    let none = doomed.none_runs(cluster, true).await;
    cluster.stage.check(step, "healed, no deleted pod runs", none);
    let once = match workload::runs(cluster) {
        1 => Ok("one run".to_owned()),
        runs => Err(anyhow!("{runs} runs")),
    };
    cluster.stage.check(step, "healed, a pod that has ended has not run again", once);
    Ok(())
}

fn addresses(cluster: &Cluster<'_>, places: &Places) -> Result<String> {
    let now = workload::places(cluster)?;
    let moved = places.iter().filter(|(name, at)| now.get(*name) != Some(*at));
    let moved: Vec<String> =
        moved.map(|(name, at)| format!("{name} was at {at}, is at {:?}", now.get(name))).collect();
    none_of(&moved, format!("{} pods", now.len()))
}

/// The processes that answered offline answer still.
async fn unmoved(cluster: &Cluster<'_>, places: &Places, offline: &Answers) -> Result<String> {
    if offline.is_empty() {
        bail!("no pod had started before");
    }
    let same = |name: &str, answer: &Answer| {
        let was = offline.get(name).map(Answer::started);
        if was != Some(answer.started()) {
            bail!("started at {was:?}, and again at {}", answer.started());
        }
        Ok(())
    };
    let network = netns::path(cluster.stage.node.name());
    let now = answers::gather(&network, places, Duration::from_secs(5), same).await?;
    Ok(format!("{} processes", now.len()))
}
