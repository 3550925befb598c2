//! A node that is booted anew: its pods come back at their addresses with what they had, whether the cloud can be reached
//! or not, and whatever befalls the hub meanwhile.
//!
//! One play, with several trials: see [`Trial`]. [`ONLINE`] is the control: with the link up everything must hold without
//! anything that works offline, so that a failure in another trial is the hub's.

mod answers;
mod damage;
mod doomed;
pub mod figures;
mod healed;
mod workload;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::checks::Checks;
use crate::cloud;
use crate::cluster::{Cluster, READY};
use crate::fields::text_at;
use crate::hub::Hub;
use crate::kubelet::NODE;
use crate::run_dir::RunDir;
use crate::scenario::{Options, node_hub};
use crate::verdict::none_of;
use crate::wan::Traffic;
use crate::{cni, doctor, netns, sys, token};
use answers::{Answer, Answers, Places};
use doomed::Doomed;

/// How long all pods may take to come back. kubelet waits up to half a minute between two attempts.
const COMING_BACK: Duration = Duration::from_secs(150);
/// How long after that a pod that must not come back is looked for.
const NOT_COMING_BACK: Duration = Duration::from_secs(6);

/// What befalls the link before the power goes, until the node has been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Whole,
    Cut,
    BlackHole,
}

/// One boot.
struct Trial {
    name: &'static str,
    link: Link,
    /// The hub is killed at random moments before, during and after the boot.
    killed: bool,
    /// The hub's `cache` log is damaged at random while the node is off.
    damaged: bool,
}

const CUT: Trial = Trial { name: "cut", link: Link::Cut, killed: false, damaged: false };
const ONLINE: Trial = Trial { name: "online", link: Link::Whole, ..CUT };
const BLACK_HOLE: Trial = Trial { name: "black hole", link: Link::BlackHole, ..CUT };
const KILLED: Trial = Trial { name: "hub killed", killed: true, ..CUT };
const DAMAGED: Trial = Trial { name: "cache damaged", damaged: true, ..CUT };
/// All at once, for runs that have no time for each.
const EVERYTHING: Trial =
    Trial { name: "black hole, hub killed, cache damaged", killed: true, damaged: true, ..BLACK_HOLE };

/// The scenarios, each with its trials; `None` for a name that is not one of them.
fn trials(scenario: &str) -> Option<(&'static str, &'static [Trial])> {
    Some(match scenario {
        "node-cold-boot" => ("node-cold-boot", &[CUT, EVERYTHING]),
        "node-cold-boot-online" => ("node-cold-boot-online", &[ONLINE]),
        "node-cold-boot-blackhole" => ("node-cold-boot-blackhole", &[BLACK_HOLE]),
        "node-cold-boot-killed" => ("node-cold-boot-killed", &[KILLED]),
        "node-cold-boot-damaged" => ("node-cold-boot-damaged", &[DAMAGED]),
        "node-cold-boots" => ("node-cold-boots", &[ONLINE, CUT, BLACK_HOLE, KILLED, DAMAGED]),
        _ => return None,
    })
}

/// Plays `scenario` in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(scenario: &str, dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let (scenario, trials) = trials(scenario).ok_or_else(|| anyhow!("there is no scenario {scenario}"))?;
    let mut cluster = Cluster::set_up(dir, options, scenario, cloud::Options::default(), checks).await?;
    let mut hub = Hub::new(&cluster.programs);
    let played = play(&mut cluster, &mut hub, trials).await;
    cluster.close(played)
}

async fn play(cluster: &mut Cluster<'_>, hub: &mut Hub, trials: &[Trial]) -> Result<()> {
    let direct = cluster.cloud.access().clone();
    cluster.join(&direct).await?;
    hub.start(&cluster.stage.node).await?;
    hub.judges(&cluster.stage.node, "up").await?;
    doctor::enable(&cluster.stage.node)?;
    let unready = doctor::ask(&cluster.stage.node, &cluster.programs.edgekeep(), &cluster.stage.cni);
    let unready = unready.and_then(|told| told.misses());
    cluster.stage.check("start", "doctor says that a node that is not adopted would not survive", unready);
    node_hub::behind(cluster, hub)?;
    cluster.kubelet_is_heard().await?;
    cluster.node_ready().await?;
    workload::tell_moment(cluster)?;
    let places = workload::start(cluster).await?;
    let came = format!("{} pods, {} addresses", places.len(), places.values().collect::<BTreeSet<_>>().len());
    cluster.stage.check("start", "all pods are up", Ok(came));
    for trial in trials {
        boot(cluster, hub, trial, &places).await.with_context(|| format!("trial {:?}", trial.name))?;
    }
    Ok(())
}

/// The node loses its link as `trial` says, then its power, and is booted.
async fn boot(cluster: &mut Cluster<'_>, hub: &mut Hub, trial: &Trial, places: &Places) -> Result<()> {
    let before = answers_before(cluster, trial, places).await?;
    let content =
        doctor::survives(&cluster.stage.node, &cluster.programs.edgekeep(), &cluster.stage.cni).await;
    cluster.stage.check(trial.name, "before, doctor says that the node would survive", content);
    let doomed = Doomed::start(cluster, trial.name).await?;
    if trial.killed {
        hub.kill(&cluster.stage.node)?;
        hub.start_kept(&cluster.stage.node).await?;
        kill_at_random(cluster, 12, 1500)?;
    }
    doomed.delete(cluster).await?;
    match trial.link {
        Link::Whole => {}
        Link::Cut => cluster.cut()?,
        Link::BlackHole => cluster.black_hole()?,
    }
    cluster.power_cut()?;
    let off = Off { traffic: cluster.traffic()?, requests: crossed(cluster)?, ticks: ticks()? };
    if trial.damaged {
        let struck = damage::strike(&Hub::cache(&cluster.stage.node), &mut cluster.stage.shuffle);
        cluster.stage.check(trial.name, "the cache log is damaged", struck.map(|done| done.join(", ")));
    }
    let moment = workload::tell_moment(cluster)?;

    cluster.power_on()?;
    if trial.killed {
        hub.start_kept(&cluster.stage.node).await?;
        kill_at_random(cluster, 25, 4000)?;
    } else {
        hub.start(&cluster.stage.node).await?;
    }
    let began = Instant::now();
    cluster.stage.start_runtime().await?;
    cluster.start_node_programs()?;
    let young = Young { moment: &moment, ticks: off.ticks };
    let gathered = come_back(cluster, places, &young).await;
    let told = gathered.as_ref().map(|answers| {
        format!("{} pods, {:.1} s after the runtime's start", answers.len(), began.elapsed().as_secs_f64())
    });
    let told = told.map_err(|error| anyhow!("{error:#}"));
    cluster.stage.check(trial.name, "every pod answers at its old address with a new process", told);
    // Without answers the other checks still tell what is the matter.
    let after = gathered.unwrap_or_default();
    look(cluster, hub, trial, &doomed, &off).await?;
    compare(cluster, trial, &before, &after);
    if trial.link != Link::Whole {
        cluster.heal()?;
    }
    healed::look(cluster, hub, trial.name, places, &after, &doomed).await
}

/// What the pods say before the boot: everything that a mount can have is among it.
async fn answers_before(cluster: &mut Cluster<'_>, trial: &Trial, places: &Places) -> Result<Answers> {
    let network = netns::path(cluster.stage.node.name());
    let before = answers::gather(&network, places, READY, |_, _| Ok(())).await?;
    let files: usize = before.values().map(Answer::files).sum();
    let tokens: usize = before.values().map(|answer| answer.tokens().count()).sum();
    let counted = if files >= before.len() * 10 && tokens >= before.len() {
        Ok(format!("{files} files and {tokens} tokens in {} pods", before.len()))
    } else {
        Err(anyhow!("only {files} files and {tokens} tokens in {} pods", before.len()))
    };
    cluster.stage.check(trial.name, "before, every pod answers with what its mounts hold", counted);
    Ok(before)
}

/// How things stood when the node was off.
struct Off {
    traffic: Traffic,
    /// Requests that the API server had received over the link.
    requests: usize,
    /// The kernel's clock, in the unit of process start times.
    ticks: u64,
}

/// What has been asked over the link so far.
fn crossed(cluster: &Cluster<'_>) -> Result<usize> {
    Ok(cluster.cloud.requests()?.iter().filter(|request| request.crossed_the_link()).count())
}

/// The kernel counts the start of processes in hundredths of a second since its own.
fn ticks() -> Result<u64> {
    let uptime = std::fs::read_to_string("/proc/uptime")?;
    let (seconds, hundredths) = uptime
        .split_once(' ')
        .and_then(|(up, _)| up.split_once('.'))
        .with_context(|| format!("/proc/uptime says {uptime:?}"))?;
    Ok(seconds.parse::<u64>()? * 100 + hundredths.parse::<u64>()?)
}

/// The hub is killed `times` times from now on, with up to `most` milliseconds from one to the next.
fn kill_at_random(cluster: &mut Cluster<'_>, times: usize, most: usize) -> Result<()> {
    let pauses: Vec<usize> = (0..times).map(|_| 100 + cluster.stage.shuffle.below(most)).collect();
    Hub::kill_after(&cluster.stage.node, &pauses).map(drop)
}

/// What tells a process that was started after the boot.
struct Young<'m> {
    /// What the node was told before kubelet was started.
    moment: &'m str,
    /// The kernel's clock when the node was off.
    ticks: u64,
}

/// Waits until every pod answers at its address with a process that is younger than the boot.
async fn come_back(cluster: &Cluster<'_>, places: &Places, young: &Young<'_>) -> Result<Answers> {
    let network = netns::path(cluster.stage.node.name());
    let right = |_: &str, answer: &Answer| {
        if answer.of("moment") != young.moment || answer.started() <= young.ticks {
            bail!("a process of before the boot answers: {answer:?}");
        }
        Ok(())
    };
    answers::gather(&network, places, COMING_BACK, right).await
}

/// What must be true of the node itself, and of the link.
async fn look(cluster: &mut Cluster<'_>, hub: &Hub, trial: &Trial, doomed: &Doomed, off: &Off) -> Result<()> {
    let wanted = if trial.link == Link::Whole { "up" } else { "down" };
    let judged = hub.judges(&cluster.stage.node, wanted).await.map(|_| wanted.to_owned());
    cluster.stage.check(trial.name, "the hub knows how the link is", judged);
    let end = tokio::time::Instant::now() + NOT_COMING_BACK;
    let mut none = doomed.none_runs(cluster, trial.link == Link::Whole).await;
    while none.is_ok() && tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(500)).await;
        none = doomed.none_runs(cluster, trial.link == Link::Whole).await;
    }
    cluster.stage.check(trial.name, "no pod that was deleted before comes back", none);
    // Whose endpoints are in the log that was damaged.
    if !trial.damaged {
        let served = service(cluster, trial.link).await;
        cluster.stage.check(trial.name, "a service leads to its pods", served);
    }
    let once = match workload::runs(cluster) {
        1 => Ok("one run".to_owned()),
        runs => Err(anyhow!("{runs} runs")),
    };
    cluster.stage.check(trial.name, "a pod that has ended does not run again", once);
    if trial.link == Link::Whole {
        return Ok(());
    }
    let silent = silent(cluster, trial, off);
    cluster.stage.check(trial.name, "no byte and no request reached the cloud", silent);
    Ok(())
}

/// That nothing has reached the cloud since the node was off.
fn silent(cluster: &Cluster<'_>, trial: &Trial, off: &Off) -> Result<String> {
    let requests = cluster.cloud.requests()?;
    let mut asked = requests.iter().filter(|request| request.crossed_the_link()).skip(off.requests);
    if let Some(first) = asked.next() {
        bail!("{} requests reached the API server, first {first:?}", asked.count() + 1);
    }
    if trial.link == Link::Cut {
        return cluster.silent_since(off.traffic);
    }
    // A node before a black hole cannot know that nobody hears it.
    let traffic = cluster.traffic()?;
    Ok(format!("no request, {} bytes into the hole", traffic.to_cloud - off.traffic.to_cloud))
}

/// Asks a pod through its service, as the node's kube-proxy leads there.
async fn service(cluster: &Cluster<'_>, link: Link) -> Result<String> {
    if link == Link::Cut {
        // The only route went with the link, and without any the kernel refuses before it asks kube-proxy's rules.
        cluster.stage.node.run(&["ip", "route", "replace", cloud::SERVICES, "dev", cni::BRIDGE])?;
    }
    let service = cluster.cloud.get(&["service", workload::SERVICE, "--namespace", workload::NAMESPACE])?;
    let address = text_at(&service, "/spec/clusterIP")?.to_owned();
    let script = format!("echo hello | timeout 3 busybox nc -w 2 {address} 80 | grep '^pod db-'");
    sys::until("the service answers", READY, || {
        cluster.stage.node.run(&["sh", "-c", &script]).map(|pod| format!("{address} is {pod}"))
    })
    .await
}

/// The pods have what they had, and tokens of their own.
fn compare(cluster: &mut Cluster<'_>, trial: &Trial, before: &Answers, after: &Answers) {
    let mut wrong = Vec::new();
    for (name, was) in before {
        match after.get(name) {
            None => wrong.push(format!("{name} says nothing")),
            // It waits for nothing of the API, so which services it is told of is chance.
            Some(is) if name == workload::STATIC && is.files() == was.files() => {}
            Some(is) => wrong.extend(was.changed(is).map(|changed| format!("{name}: {changed}"))),
        }
    }
    let same = none_of(&wrong, format!("{} files", after.values().map(Answer::files).sum::<usize>()));
    cluster.stage.check(trial.name, "mounts, variables and uid are as before, byte for byte", same);
    let mut foreign = Vec::new();
    let mut count = 0;
    for (name, answer) in after {
        for (path, token) in answer.tokens() {
            count += 1;
            let claims = token::claims(token).ok();
            let uid = claims.as_ref().and_then(|claims| claims.pointer("/kubernetes.io/pod/uid")?.as_str());
            if uid != Some(answer.of("uid")) {
                foreign.push(format!("{name}: {path} is for pod {uid:?}"));
            }
        }
    }
    if count < before.len() {
        foreign.push(format!("only {count} tokens in {} pods", before.len()));
    }
    let own = none_of(&foreign, format!("{count} tokens"));
    cluster.stage.check(trial.name, "every pod has a token of its own", own);
}

/// That the cloud knows the node as ready, under its present boot.
async fn node_is_back(cluster: &Cluster<'_>) -> Result<String> {
    let boot_id = cluster.stage.node.boot_id()?.to_owned();
    sys::until("the node tells its new boot", READY, || {
        let node = cluster.cloud.get(&["node", NODE])?;
        if text_at(&node, "/status/nodeInfo/bootID")? != boot_id {
            bail!("it tells the old one");
        }
        crate::kubelet::is_ready(&node)
    })
    .await
    .map(|()| format!("Ready, boot id {boot_id}"))
}
