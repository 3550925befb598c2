//! Node and cloud agree again after an outage in which both went on: what the cloud deleted does not come back, what it made
//! anew is another pod, a dead kubelet stays visibly dead, and after many random outages both still show the same.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use crate::checks::Checks;
use crate::clientgo::FORMS;
use crate::cloud;
use crate::cluster::{Cluster, READY};
use crate::hub::Hub;
use crate::kubelet::{self, NODE};
use crate::run_dir::RunDir;
use crate::scenario::node_staging::readers::Readers;
use crate::scenario::node_staging::workload::{self, ANSWERING, NAMESPACE};
use crate::scenario::{Options, node_hub};
use crate::sys;

/// How long all pods may take to come back, and node and cloud to agree.
const COMING_BACK: Duration = Duration::from_secs(150);
/// Without a word from its kubelet for so long a node is not ready.
const GRACE: Duration = Duration::from_secs(20);
/// How long after the link is back a dead kubelet is looked at.
const DEAD: Duration = Duration::from_secs(15);
/// Random outages: all of them, and in a run of everything.
const ROUNDS: usize = 30;
const FEW: usize = 3;
/// The longest that the link is away, in milliseconds.
const AWAY: usize = 12_000;

/// Plays it in `dir`: `node-settle`, or `node-settle-rounds` with more rounds.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(scenario: &str, dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let (scenario, rounds) =
        if scenario == "node-settle" { ("node-settle", FEW) } else { ("node-settle-rounds", ROUNDS) };
    let monitor = vec![
        format!("--node-monitor-grace-period={}s", GRACE.as_secs()),
        "--node-monitor-period=1s".to_owned(),
    ];
    let cloud = cloud::Options { controller_manager: monitor, ..cloud::Options::default() };
    let mut cluster = Cluster::set_up(dir, options, scenario, cloud, checks).await?;
    let mut hub = Hub::new(&cluster.programs);
    let played = play(&mut cluster, &mut hub, rounds).await;
    cluster.close(played)
}

async fn play(cluster: &mut Cluster<'_>, hub: &mut Hub, rounds: usize) -> Result<()> {
    node_hub::join_behind(cluster, hub).await?;
    let before = workload::start(cluster).await?;
    workload::end_job(cluster)?;
    let reader = Readers::new(cluster).await?;
    cluster.stage.check("start", "all pods are up", Ok(format!("{} pods", before.len())));
    deleted(cluster, hub, &reader).await?;
    dead(cluster, hub, &reader).await?;
    for round in 1..=rounds {
        outage(cluster, hub, &reader, &format!("round {round}")).await?;
    }
    Ok(())
}

/// While the node is away and boots, the cloud deletes pods and makes one anew.
async fn deleted(cluster: &mut Cluster<'_>, hub: &mut Hub, reader: &Readers) -> Result<()> {
    let step = "deleted";
    cluster.cut()?;
    hub.judges(&cluster.stage.node, "down").await?;
    reboot(cluster, hub).await?;
    let watcher = reader.clientgo.inform(&cluster.stage.node, "watcher", "v1/pods", FORMS[0])?;
    sys::until("the informer has synced", READY, || watcher.synced(&cluster.stage.node)).await?;
    let up = sys::until("all answer", COMING_BACK, || reader.pods(cluster)?.answer(cluster)).await;
    cluster.stage.check(step, "offline, all pods run", up);
    let old = reader.pods(cluster)?;
    let own = ["--namespace", NAMESPACE];
    let delete = |cluster: &Cluster<'_>, name: &str, more: &[&str]| {
        cluster.cloud.kubectl(&[&["delete", "pod", name, "--wait=false"], own.as_slice(), more].concat())
    };
    delete(cluster, "web-0", &["--force", "--grace-period=0"])?;
    delete(cluster, "web-1", &[])?;
    delete(cluster, "web-2", &["--force", "--grace-period=0"])?;
    cluster.cloud.apply(&[workload::answering(2)])?;
    let anew = workload::in_cloud(cluster)?.uid("web-2").filter(|uid| Some(uid) != old.uid("web-2").as_ref());
    let anew = anew.ok_or_else(|| anyhow!("web-2 was not made anew"))?;

    cluster.heal()?;
    hub.judges(&cluster.stage.node, "up").await?;
    let gone = sys::until("the deleted are gone", COMING_BACK, || {
        let (here, there) = (reader.pods(cluster)?, workload::in_cloud(cluster)?);
        match ["web-0", "web-1"].iter().find(|name| here.uid(name).or(there.uid(name)).is_some()) {
            Some(name) => bail!("{name} is still there"),
            None => Ok("both".to_owned()),
        }
    })
    .await;
    cluster.stage.check(step, "healed, pods that the cloud deleted are gone, here and there", gone);
    let anew = sys::until("the new one runs", COMING_BACK, || {
        let here = reader.pods(cluster)?;
        if here.uid("web-2").as_deref() != Some(anew.as_str()) {
            bail!("it is {:?}", here.uid("web-2"));
        }
        here.ready()?;
        here.answer(cluster)
    })
    .await;
    cluster.stage.check(step, "healed, the pod that was made anew runs, and answers", anew);
    let stories = watcher.stories(&cluster.stage.node);
    let story = |name: &str| {
        stories.get(&format!("{NAMESPACE}/{name}")).map(|story| story.join(" ")).unwrap_or_default()
    };
    let told = match (story("web-0").ends_with("deleted"), story("web-2").contains("deleted added")) {
        (true, true) => watcher.shows(&cluster.stage.node).map(|_| "deleted; deleted, then added".to_owned()),
        _ => Err(anyhow!("web-0 {:?}, web-2 {:?}", story("web-0"), story("web-2"))),
    };
    cluster.stage.check(
        step,
        "a watcher was told of each, and never of a change across two of one name",
        told,
    );
    watcher.end(&cluster.stage.node)?;
    agree(cluster, reader, step).await;
    cluster.cloud.apply(&[workload::answering(0), workload::answering(1)])?;
    sys::until("all pods are back", COMING_BACK, || workload::in_cloud(cluster)?.ready()).await.map(drop)
}

/// kubelet is not there when the link comes back.
async fn dead(cluster: &mut Cluster<'_>, hub: &mut Hub, reader: &Readers) -> Result<()> {
    let step = "kubelet dead";
    cluster.cut()?;
    hub.judges(&cluster.stage.node, "down").await?;
    reboot(cluster, hub).await?;
    sys::until("all answer", COMING_BACK, || reader.pods(cluster)?.answer(cluster)).await?;
    // Both have been said by kubelet: that the node is ready, and how its pods are.
    sys::until("kubelet has said how its pods are", COMING_BACK, || reader.pods(cluster)?.ready()).await?;
    cluster.kubelet.kill(&cluster.stage.node)?;
    sys::until("the cloud has noticed", COMING_BACK, || is_unheard(cluster)).await?;
    cluster.heal()?;
    hub.judges(&cluster.stage.node, "up").await?;
    let until = Instant::now() + DEAD;
    let mut visible = is_unheard(cluster);
    while visible.is_ok() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(500)).await;
        visible = is_unheard(cluster);
    }
    cluster.stage.check(step, "healed, the cloud goes on showing the node as not ready", visible);
    cluster.kubelet.start(&cluster.stage.node)?;
    let back =
        sys::until("the node is ready", READY, || kubelet::is_ready(&cluster.cloud.get(&["node", NODE])?))
            .await;
    cluster.stage.check(step, "with kubelet back it is ready", back.map(|()| "Ready".to_owned()));
    let pods = sys::until("the pods are ready", READY, || workload::in_cloud(cluster)?.ready()).await;
    cluster.stage.check(step, "and its pods are", pods);
    agree(cluster, reader, step).await;
    Ok(())
}

fn is_unheard(cluster: &Cluster<'_>) -> Result<String> {
    match kubelet::is_ready(&cluster.cloud.get(&["node", NODE])?) {
        Ok(()) => bail!("it is shown as ready"),
        Err(_) => Ok("not ready".to_owned()),
    }
}

/// One outage, and whatever else comes of it.
async fn outage(cluster: &mut Cluster<'_>, hub: &mut Hub, reader: &Readers, step: &str) -> Result<()> {
    let link = match cluster.stage.shuffle.below(3) {
        0 => cluster.cut().map(|()| "cut")?,
        1 => cluster.black_hole().map(|()| "black hole")?,
        _ => cluster.refuse().map(|()| "refuse")?,
    };
    pause(cluster, 2000).await;
    let victim = cluster.stage.shuffle.below(ANSWERING);
    let name = format!("web-{victim}");
    let meanwhile = match cluster.stage.shuffle.below(4) {
        0 => "nothing else",
        1 => {
            let own = ["--wait=false", "--ignore-not-found", "--namespace", NAMESPACE];
            let force = ["delete", "pod", &name, "--force", "--grace-period=0"];
            cluster.cloud.kubectl(&[force.as_slice(), &own].concat())?;
            cluster.cloud.apply(&[workload::answering(victim)])?;
            "one made anew in the cloud"
        }
        2 => {
            let own = ["round=one", "--overwrite", "--namespace", NAMESPACE];
            let labelled = cluster.cloud.kubectl(&[["label", "pod", &name].as_slice(), &own].concat());
            // One that was deleted a round ago may go just now.
            if let Err(error) = labelled
                && !format!("{error:#}").contains("NotFound")
            {
                return Err(error);
            }
            "one labelled in the cloud"
        }
        _ => {
            let own = ["--wait=false", "--ignore-not-found", "--namespace", NAMESPACE];
            cluster.cloud.kubectl(&[["delete", "pod", &name].as_slice(), &own].concat())?;
            "one deleted in the cloud"
        }
    };
    let here = match cluster.stage.shuffle.below(4) {
        0 => "goes on",
        1 => {
            reboot(cluster, hub).await?;
            "is booted"
        }
        2 => {
            hub.kill(&cluster.stage.node)?;
            hub.start(&cluster.stage.node).await?;
            "has its hub killed"
        }
        _ => {
            cluster.restart_node_programs()?;
            "has kubelet killed"
        }
    };
    pause(cluster, AWAY).await;
    cluster.heal()?;
    hub.judges(&cluster.stage.node, "up").await?;
    let mut settled = agreed(cluster, reader).await;
    if settled.is_ok() && workload::in_cloud(cluster)?.uid(&name).is_none() {
        cluster.cloud.apply(&[workload::answering(victim)])?;
        settled = agreed(cluster, reader).await;
    }
    let told = settled.map(|agreed| format!("{link}, {meanwhile}, the node {here}; {agreed}"));
    cluster.stage.check(
        step,
        "afterwards node and cloud agree, and every pod answers where it is shown",
        told,
    );
    Ok(())
}

async fn pause(cluster: &mut Cluster<'_>, most: usize) {
    let millis = u64::try_from(cluster.stage.shuffle.below(most)).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(100 + millis)).await;
}

async fn reboot(cluster: &mut Cluster<'_>, hub: &mut Hub) -> Result<()> {
    cluster.power_cut()?;
    cluster.power_on()?;
    hub.start(&cluster.stage.node).await?;
    cluster.stage.start_runtime().await?;
    cluster.start_node_programs()
}

async fn agreed(cluster: &Cluster<'_>, reader: &Readers) -> Result<String> {
    sys::until("node and cloud agree", COMING_BACK, || {
        kubelet::is_ready(&cluster.cloud.get(&["node", NODE])?)?;
        let (here, there) = (reader.pods(cluster)?, workload::in_cloud(cluster)?);
        here.ready()?;
        let agreed = here.agree(&there)?;
        here.answer(cluster)?;
        Ok(agreed)
    })
    .await
}

async fn agree(cluster: &mut Cluster<'_>, reader: &Readers, step: &str) {
    let agreed = agreed(cluster, reader).await;
    cluster.stage.check(
        step,
        "node and cloud show the same, and every pod answers where it is shown",
        agreed,
    );
}
