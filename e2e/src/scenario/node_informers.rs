//! Informers behind the hub while the link comes and goes: at the end they know what the cloud knows, and they were told
//! of everything once and in order. And a client that changes between hub and cloud is never deaf.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use serde_json::json;

use crate::checks::Checks;
use crate::cloud;
use crate::cluster::{Cluster, READY};
use crate::followers::{self, Crossed, NAMESPACE, OBJECTS, State, Teller};
use crate::hub::Hub;
use crate::run_dir::RunDir;
use crate::scenario::{Options, node_hub};
use crate::sys;
use crate::verdict::none_of;

const CUTS: usize = 50;
/// The longest that the link is away, and there, in milliseconds; every so many cuts it is away for longer, so that
/// connections do not outlive it.
const AWAY: usize = 2000;
const LONG: usize = 15_000;
const THERE: usize = 2000;
const LONG_ONES: usize = 10;
/// How long informers may take to know everything after the last cut.
const AGREED: Duration = Duration::from_secs(90);
/// Where the administrator's kubeconfig lies in the cloud.
const ADMIN: &str = "/etc/kubernetes/admin.conf";

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let mut cluster =
        Cluster::set_up(dir, options, "node-informers", cloud::Options::default(), checks).await?;
    let mut hub = Hub::new(&cluster.programs);
    let played = play(&mut cluster, &mut hub, options.seed).await;
    cluster.close(played)
}

async fn play(cluster: &mut Cluster<'_>, hub: &mut Hub, seed: u64) -> Result<()> {
    node_hub::join_behind(cluster, hub).await?;
    let direct = cluster.cloud.access().clone();
    cluster
        .cloud
        .apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})])?;
    let account = ["serviceaccount", "default", "--namespace", NAMESPACE];
    sys::until("the namespace has its account", READY, || cluster.cloud.get(&account)).await?;

    let program = cluster.programs.clientgo.to_string_lossy().into_owned();
    let through = cluster.admin_kubeconfig(&Hub::access(&cluster.stage.node)?)?;
    let writer = Teller::write(&cluster.cloud.machine, &program, ADMIN, seed)?;
    sys::until("all objects are written", READY, || writer.written(&cluster.cloud.machine)).await?;
    // It never loses the cloud: what it knows is the truth.
    let truth = Teller::follow(&cluster.cloud.machine, &program, ADMIN, false)?;
    let informers = [true, false].map(|watch_list| {
        Teller::follow(&cluster.stage.node, &program, &through, watch_list).map(|teller| (watch_list, teller))
    });
    let informers = informers.into_iter().collect::<Result<Vec<_>>>()?;
    sys::until("all informers have synced", READY, || synced(cluster, &truth, &informers)).await?;
    cluster.stage.check("start", "all informers have synced", Ok(format!("{OBJECTS} objects written")));
    cut_at_random(cluster).await?;
    let up = hub.judges(&cluster.stage.node, "up").await.map(|_| "up".to_owned());
    cluster.stage.check("cuts", "healed, the hub finds the cloud", up);
    let written = writer.written(&cluster.cloud.machine)?;
    let complaints = writer.complaints(&cluster.cloud.machine, "error");
    writer.end(&cluster.cloud.machine)?;
    let wrote = none_of(&complaints, format!("{written} writes"));
    cluster.stage.check("cuts", "meanwhile objects changed at all times", wrote);
    judge(cluster, &truth, &informers).await;
    let direct = cluster.admin_kubeconfig(&direct)?;
    crossing(cluster, &program, [&through, &direct])
}

fn synced(cluster: &Cluster<'_>, truth: &Teller, informers: &[(bool, Teller)]) -> Result<()> {
    let node = &cluster.stage.node;
    let known = truth.states(&cluster.cloud.machine).len();
    let counts: Vec<usize> = informers.iter().map(|(_, teller)| teller.states(node).len()).collect();
    let all = followers::RESOURCES.len() * 2;
    if known != all || counts.iter().any(|count| *count != all) {
        bail!("{known} and {counts:?} of {all} each have");
    }
    Ok(())
}

async fn cut_at_random(cluster: &mut Cluster<'_>) -> Result<()> {
    let began = Instant::now();
    let mut kinds = BTreeMap::<&str, usize>::new();
    for cut in 0..CUTS {
        let kind = match cluster.stage.shuffle.below(3) {
            0 => cluster.cut().map(|()| "cut")?,
            1 => cluster.black_hole().map(|()| "black hole")?,
            _ => cluster.refuse().map(|()| "refuse")?,
        };
        *kinds.entry(kind).or_default() += 1;
        let most = if cut % LONG_ONES == 0 { LONG } else { AWAY };
        pause(cluster, most).await;
        cluster.heal()?;
        pause(cluster, THERE).await;
    }
    let told = format!("{kinds:?} in {:.0} s", began.elapsed().as_secs_f64());
    cluster.stage.check("cuts", "the link was cut again and again", Ok(told));
    Ok(())
}

async fn pause(cluster: &mut Cluster<'_>, most: usize) {
    let millis = u64::try_from(cluster.stage.shuffle.below(most)).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(100 + millis)).await;
}

async fn judge(cluster: &mut Cluster<'_>, truth: &Teller, informers: &[(bool, Teller)]) {
    let same = sys::until("informers know what the cloud knows", AGREED, || {
        let known = truth.states(&cluster.cloud.machine);
        let others = informers.iter().flat_map(|(watch_list, teller)| {
            let states = teller.states(&cluster.stage.node).into_iter();
            states.map(move |(name, state)| (format!("{name}, watch-list {watch_list}"), name, state))
        });
        let differ =
            others.filter(|(_, name, state)| known.get(name).map(|one| &one.hash) != Some(&state.hash));
        let differ: Vec<String> = differ
            .map(|(shown, name, state)| {
                format!(
                    "{shown} has {} objects, the cloud {:?}",
                    state.objects,
                    known.get(&name).map(|one| one.objects)
                )
            })
            .collect();
        none_of(&differ, format!("{} informers", informers.len() * known.len()))
    })
    .await;
    cluster.stage.check("informers", "each knows what the cloud knows", same);
    for (watch_list, teller) in informers {
        let step = if *watch_list { "watch-list" } else { "list and watch" };
        let states = teller.states(&cluster.stage.node);
        let sum = |of: fn(&State) -> u64| states.values().map(of).sum::<u64>();
        let [faults, skipped] = ["fault", "skipped"].map(|kind| teller.complaints(&cluster.stage.node, kind));
        let ordered = none_of(&faults, format!("{} events", sum(|state| state.events)));
        cluster.stage.check(step, "no event comes twice or out of order", ordered);
        let none = none_of(&skipped, "none".to_owned());
        cluster.stage.check(step, "no state is passed over", none);
        let relisted: Vec<String> = states
            .iter()
            .filter(|(_, state)| state.lists != 1)
            .map(|(name, state)| format!("{name} was given everything {} times", state.lists))
            .collect();
        let lists = none_of(&relisted, format!("{} informers, once each", states.len()));
        cluster.stage.check(step, "nobody lists again", lists);
    }
}

/// A client that goes on with the other server, with the version that it had.
fn crossing(cluster: &mut Cluster<'_>, program: &str, kubeconfigs: [&str; 2]) -> Result<()> {
    // Pods are shown under versions of the hub's own, config maps under the cloud's.
    for (resource, own) in [("v1/pods", true), ("v1/configmaps", false)] {
        for encoding in ["json", "protobuf"] {
            let told = followers::cross(&cluster.stage.node, program, kubeconfigs, resource, encoding)?;
            let step = format!("crossing, {resource} in {encoding}");
            for (claim, outcome) in crossed(&told, own) {
                cluster.stage.check(&step, claim, outcome);
            }
        }
    }
    Ok(())
}

fn told_shortly(one: &Crossed) -> String {
    if one.verb == "informer" {
        return format!("{} {} after {} and {} lists", one.way, one.reason, one.words, one.lists);
    }
    format!("{} {} {}", one.way, one.status, one.reason).trim_end().to_owned()
}

/// What must be true of a client that has crossed, where the hub's versions are its `own` or the cloud's.
fn crossed(told: &[Crossed], own: bool) -> Vec<(&'static str, Result<String>)> {
    let of = |verb: &'static str| told.iter().filter(move |one| one.verb == verb);
    let right = |verb: &'static str, right: &dyn Fn(&Crossed) -> bool| {
        let wrong: Vec<String> = of(verb).filter(|one| !right(one)).map(|one| format!("{one:?}")).collect();
        let seen: Vec<String> = of(verb).map(told_shortly).collect();
        if seen.is_empty() { Err(anyhow!("it did not try")) } else { none_of(&wrong, seen.join(", ")) }
    };
    let to_hub = |one: &Crossed| one.way == "cloud to hub";
    let itself = |one: &Crossed| one.way.ends_with("itself");
    vec![
        ("an informer is never deaf", right("informer", &|one| one.reason == "heard")),
        (
            "a list at the other's version is refused or answered in full",
            right("list", &|one| one.status == if own && to_hub(one) { 410 } else { 200 }),
        ),
        (
            "a watch at the other's version is refused or hears everything",
            right("watch", &|one| one.status == 410 || one.reason == "heard" && !(own && to_hub(one))),
        ),
        (
            "a put with the other's version is refused, with its own it is done",
            right("put", &|one| one.status == if own && !itself(one) { 409 } else { 200 }),
        ),
    ]
}
