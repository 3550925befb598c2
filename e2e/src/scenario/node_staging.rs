//! A node that is booted cut off and whose pods got other addresses on purpose: what kubelet says of that is shown on the
//! node at once, survives whatever befalls the hub and the node, and reaches the cloud when the link is back.

mod full_disk;
pub mod readers;
pub mod workload;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::checks::Checks;
use crate::clientgo::{FORMS, Informer};
use crate::cloud;
use crate::cluster::{Cluster, READY};
use crate::hub::Hub;
use crate::kubelet::{self, NODE};
use crate::run_dir::RunDir;
use crate::scenario::{Options, node_hub};
use crate::verdict::none_of;
use crate::{cni, sys};
use readers::Readers;
use workload::{JOB, MANY, NAMESPACE, Pods};

/// How long all pods may take to come back.
const COMING_BACK: Duration = Duration::from_secs(150);
/// How long after the first reader another may be shown the same.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How long the cloud may take to know after the link is back.
const TRUTH: Duration = Duration::from_secs(15);

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let mut cluster =
        Cluster::set_up(dir, options, "node-staging", cloud::Options::default(), checks).await?;
    let mut hub = Hub::new(&cluster.programs);
    let played = play(&mut cluster, &mut hub).await;
    cluster.close(played)
}

async fn play(cluster: &mut Cluster<'_>, hub: &mut Hub) -> Result<()> {
    node_hub::join_behind(cluster, hub).await?;
    let before = workload::start(cluster).await?;
    let readers = Readers::new(cluster).await?;
    cluster.kubelet.kill(&cluster.stage.node)?;
    workload::bind_many(cluster)?;
    sys::until("the hub knows all pods", READY, || readers.pods(cluster)?.count(before.len() + MANY)).await?;
    let told = format!("{} pods, {MANY} more that kubelet has not seen", before.len());
    cluster.stage.check("start", "all pods are up", Ok(told));

    cluster.cut()?;
    hub.judges(&cluster.stage.node, "down").await?;
    cluster.power_cut()?;
    forget_bindings(cluster)?;
    let after = moved(cluster, hub, &readers, &before).await?;
    many(cluster, &readers, "moved").await;
    job_ends(cluster, &readers).await?;
    let requests = cluster.cloud.requests()?.iter().filter(|request| request.crossed_the_link()).count();

    hub.kill(&cluster.stage.node)?;
    hub.start(&cluster.stage.node).await?;
    same(cluster, &readers, &after, "hub killed").await;
    many(cluster, &readers, "hub killed").await;

    cluster.power_cut()?;
    cluster.power_on()?;
    hub.start(&cluster.stage.node).await?;
    // Before kubelet has said anything anew.
    same(cluster, &readers, &after, "rebooted").await;
    cluster.stage.start_runtime().await?;
    cluster.start_node_programs()?;
    back(cluster, &readers, &after).await;
    many(cluster, &readers, "rebooted").await;
    job_stays(cluster, &readers, "rebooted");
    let silent = match cluster.cloud.requests()?.iter().filter(|request| request.crossed_the_link()).count() {
        now if now == requests => Ok(format!("still {now} requests")),
        now => Err(anyhow!("{} requests reached the cloud", now - requests)),
    };
    cluster.stage.check("rebooted", "nothing reached the cloud", silent);
    healed(cluster, hub, &readers, &after).await?;
    full_disk::look(cluster, hub, &readers).await
}

/// Whose address it was nobody knows any more; but the next ones are others, as host-local goes round.
fn forget_bindings(cluster: &mut Cluster<'_>) -> Result<()> {
    let state = cluster.stage.node.var_lib().join("edgekeep/ipam");
    fs::remove_dir_all(&state).with_context(|| format!("cannot remove {}", state.display()))?;
    let leases = cluster.stage.data_dir(cni::NETWORK);
    for entry in fs::read_dir(&leases).with_context(|| format!("cannot read {}", leases.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.parse::<IpAddr>().is_ok() {
            fs::remove_file(path)?;
        }
    }
    // Far from all that were given so far.
    fs::write(leases.join("last_reserved_ip.0"), "10.244.0.100")?;
    Ok(())
}

/// The node boots; every pod comes up at another address, which all readers are shown at once.
async fn moved(cluster: &mut Cluster<'_>, hub: &mut Hub, readers: &Readers, before: &Pods) -> Result<Pods> {
    cluster.power_on()?;
    hub.start(&cluster.stage.node).await?;
    let watcher = readers.clientgo.inform(&cluster.stage.node, "watcher", "v1/pods", FORMS[0])?;
    let other = readers.clientgo.inform(&cluster.stage.node, "watcher-json", "v1/pods", FORMS[3])?;
    for informer in [&watcher, &other] {
        sys::until("the informer has synced", READY, || informer.synced(&cluster.stage.node)).await?;
    }
    cluster.stage.start_runtime().await?;
    cluster.start_node_programs()?;
    let mut late = Lateness::default();
    let end = Instant::now() + COMING_BACK;
    let moved = loop {
        let now = readers.pods(cluster)?;
        late.saw(&now, before);
        late.look(cluster, [&watcher, &other]);
        let open = now.not_moved(before);
        if open.is_empty() {
            break Ok(now);
        }
        if Instant::now() > end {
            break Err(anyhow!("still as before: {open:?}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let after = moved.as_ref().map_or_else(|_| before.clone(), Clone::clone);
    let told = moved.map(|_| format!("{} pods at new addresses", before.len()));
    cluster.stage.check("moved", "kubectl on the node shows each pod at its new address", told);
    late.rest(cluster, [&watcher, &other]).await;
    let shown = none_of(
        &late.wrong,
        format!("{} changes, at most {} ms later", late.seen.len(), late.most.as_millis()),
    );
    cluster.stage.check("moved", "watchers show the same within a second", shown);
    let answer = sys::until("every pod answers where it is shown", READY, || after.answer(cluster)).await;
    cluster.stage.check("moved", "the pod answers at the address that is shown", answer);
    let shows = watcher.shows(&cluster.stage.node).map(|shown| format!("{} objects", shown.len()));
    cluster.stage.check("moved", "no watcher was told twice or out of order", shows);
    watcher.end(&cluster.stage.node)?;
    other.end(&cluster.stage.node)?;
    Ok(after)
}

/// How much later than a first reader others were shown a change.
#[derive(Default)]
struct Lateness {
    /// When each pod was first seen at its new address, and in which version.
    seen: BTreeMap<String, (Instant, u64)>,
    /// Not shown to everybody yet.
    open: BTreeMap<String, (Instant, u64)>,
    most: Duration,
    wrong: Vec<String>,
}

impl Lateness {
    fn saw(&mut self, now: &Pods, before: &Pods) {
        for (name, version) in now.moved(before) {
            if !self.seen.contains_key(&name) {
                self.seen.insert(name.clone(), (Instant::now(), version));
                self.open.insert(name, (Instant::now(), version));
            }
        }
    }

    fn look(&mut self, cluster: &Cluster<'_>, watchers: [&Informer; 2]) {
        if self.open.is_empty() {
            return;
        }
        let shown = watchers.map(|watcher| workload::versions(&watcher.lines(&cluster.stage.node)));
        let open = std::mem::take(&mut self.open);
        for (name, (since, version)) in open {
            let key = format!("{NAMESPACE}/{name}");
            if shown.iter().all(|shown| shown.get(&key).is_some_and(|shown| *shown >= version)) {
                self.most = self.most.max(since.elapsed());
            } else if since.elapsed() > AT_ONCE {
                self.wrong.push(format!(
                    "{name} in version {version}: {:?}",
                    shown.each_ref().map(|all| all.get(&key))
                ));
            } else {
                self.open.insert(name, (since, version));
            }
        }
    }

    async fn rest(&mut self, cluster: &Cluster<'_>, watchers: [&Informer; 2]) {
        while !self.open.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.look(cluster, watchers);
        }
    }
}

/// Pods that kubelet did not admit while cut off: each said so.
async fn many(cluster: &mut Cluster<'_>, readers: &Readers, step: &str) {
    let all = sys::until("kubelet has said so", COMING_BACK, || readers.pods(cluster)?.refused(MANY)).await;
    cluster.stage.check(step, "a hundred pods that kubelet did not admit are shown as failed", all);
}

/// A Job's pod ends while nobody but the node can know.
async fn job_ends(cluster: &mut Cluster<'_>, readers: &Readers) -> Result<()> {
    workload::end_job(cluster)?;
    let ended = sys::until("the job's pod has ended", READY, || {
        match readers.pods(cluster)?.phase_of_job()?.as_str() {
            "Succeeded" => Ok("Succeeded".to_owned()),
            other => bail!("it is {other}"),
        }
    })
    .await;
    cluster.stage.check("job", "a job that finishes offline is shown as finished", ended);
    Ok(())
}

fn job_stays(cluster: &mut Cluster<'_>, readers: &Readers, step: &str) {
    let phase = readers.pods(cluster).and_then(|pods| pods.phase_of_job());
    let stays = match (phase, workload::runs(cluster)) {
        (Ok(phase), 1) if phase == "Succeeded" => Ok("one run".to_owned()),
        (phase, runs) => Err(anyhow!("{phase:?}, {runs} runs")),
    };
    cluster.stage.check(step, "the job that has finished stays so and does not run again", stays);
}

/// What was shown is shown still.
async fn same(cluster: &mut Cluster<'_>, readers: &Readers, after: &Pods, step: &str) {
    // A kubelet that has just begun says for a moment that a pod has no address.
    let same = sys::until("all are shown", READY, || readers.pods(cluster)?.same_places(after)).await;
    cluster.stage.check(step, "kubectl shows every pod at its new address", same);
}

async fn back(cluster: &mut Cluster<'_>, readers: &Readers, after: &Pods) {
    let answer = sys::until("every pod answers", COMING_BACK, || after.answer(cluster)).await;
    cluster.stage.check("rebooted", "every pod answers at the address that was shown all the time", answer);
    same(cluster, readers, after, "rebooted").await;
}

/// The link is back: the cloud knows the truth.
async fn healed(cluster: &mut Cluster<'_>, hub: &Hub, readers: &Readers, after: &Pods) -> Result<()> {
    cluster.heal()?;
    hub.judges(&cluster.stage.node, "up").await?;
    let truth = sys::until("the cloud knows the addresses", TRUTH, || {
        workload::in_cloud(cluster)?.same_places(after)
    });
    let truth = truth.await;
    cluster.stage.check("healed", "within fifteen seconds the cloud shows the new addresses", truth);
    let all =
        sys::until("the cloud knows the refused", READY, || workload::in_cloud(cluster)?.refused(MANY)).await;
    cluster.stage.check("healed", "the cloud knows of a hundred pods that they failed", all);
    let done = sys::until("the job is complete", READY, || {
        let job = cluster.cloud.get(&["job", JOB, "--namespace", NAMESPACE])?;
        match job.pointer("/status/succeeded").and_then(Value::as_u64) {
            Some(1) => Ok("1 succeeded".to_owned()),
            other => bail!("{other:?}"),
        }
    })
    .await;
    cluster.stage.check("healed", "the job is complete in the cloud", done);
    job_stays(cluster, readers, "healed");
    let ready =
        sys::until("the node is ready", READY, || kubelet::is_ready(&cluster.cloud.get(&["node", NODE])?))
            .await;
    cluster.stage.check("healed", "the node is ready", ready.map(|()| "Ready".to_owned()));
    let agree =
        sys::until("both agree", READY, || readers.pods(cluster)?.agree(&workload::in_cloud(cluster)?)).await;
    cluster.stage.check("healed", "hub and cloud show the same pods", agree);
    let told = sys::until("events are in the cloud", READY, || {
        let events = cluster.cloud.get(&["events", "--namespace", NAMESPACE])?;
        match events.get("items").and_then(Value::as_array).map_or(0, Vec::len) {
            count if count > MANY => Ok(format!("{count} events")),
            count => bail!("{count} events"),
        }
    })
    .await;
    cluster.stage.check("healed", "what kubelet said in events while cut off is in the cloud", told);
    Ok(())
}
