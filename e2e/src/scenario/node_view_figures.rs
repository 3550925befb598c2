//! What answers from the view cost, beside the API server's in one run, and what the hub takes for it: memory, disk, time
//! to start, bytes over the link.

mod ask;
mod process;
mod report;
mod traffic;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::checks::Checks;
use crate::cloud::{self, KUBE_PROXY};
use crate::cluster::{Cluster, READY};
use crate::hub::{self, Hub};
use crate::kube_proxy::KubeProxy;
use crate::kubelet::NODE;
use crate::run_dir::RunDir;
use crate::scenario::{Options, node_hub};
use crate::{image, sys};
use ask::Load;
use process::{Memory, memory, processor, size, written};
use report::{Figures, Lists};

/// Where the objects are that are only read.
const NAMESPACE: &str = "figures";
/// Where the node's pods are.
const OWN: &str = "own";
const SLICES: &str = "/apis/discovery.k8s.io/v1beta1/namespaces/figures/endpointslices";
const PODS: &str = "/api/v1/namespaces/figures/pods?resourceVersion=0";
/// How many pods the node has, and how many are listed.
const NODE_PODS: usize = 30;
const LISTED: u64 = 500;
/// How long each list is asked for, in seconds.
const LIST_SECONDS: &str = "5";
/// How many slices there are at each step; half as many services.
const STEPS: [u64; 5] = [1000, 2500, 5000, 7500, 10_000];
const WATCHERS: [&str; 4] = ["1", "10", "50", "100"];
/// Changes for the disk's figure, and how many a second.
const CHANGES: (u64, u64) = (2000, 200);
const STARTS: usize = 5;
/// What the hub keeps.
const STATE: &str = "/var/lib/edgekeep/hub";

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let mut cluster =
        Cluster::set_up(dir, options, "node-view-figures", cloud::Options::default(), checks).await?;
    let mut hub = Hub::new(&cluster.programs);
    let mut figures = Figures::default();
    let played = play(&mut cluster, &mut hub, &mut figures).await;
    figures.judge(&mut cluster);
    let page = figures.page();
    cluster.stage.checks.note(&page);
    if let Some(file) = std::env::var_os("EDGEKEEP_FIGURES").map(PathBuf::from) {
        fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    cluster.close(played)
}

/// Minutes after each boot in which bytes over the link are counted.
fn minutes() -> Result<u64> {
    match std::env::var("EDGEKEEP_FIGURES_MINUTES") {
        Ok(text) => text.parse().context("EDGEKEEP_FIGURES_MINUTES"),
        Err(_) => Ok(10),
    }
}

/// Which parts are played; all of them if none is named.
fn parts() -> Vec<String> {
    let named = std::env::var("EDGEKEEP_FIGURES_PARTS").unwrap_or_default();
    named.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

async fn play(cluster: &mut Cluster<'_>, hub: &mut Hub, figures: &mut Figures) -> Result<()> {
    let minutes = minutes()?;
    let direct = cluster.cloud.access().clone();
    cluster.join(&direct).await?;
    node_pods(cluster).await?;
    let load = Load::new(cluster)?;
    hub.start(&cluster.stage.node).await?;
    hub.judges(&cluster.stage.node, "up").await?;
    figures.remember(cluster, "nobody connected", settled(cluster).await?, None);
    node_hub::behind(cluster, hub)?;
    cluster.kubelet_is_heard().await?;
    cluster.node_ready().await?;
    let node = settled(cluster).await?;
    figures.remember(cluster, "kubelet of 30 pods and kube-proxy", node, Figures::node_limit());
    let parts = parts();
    let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    grow(cluster, &load, figures).await?;
    if is_wanted("memory") {
        disk(cluster, &load, figures).await?;
        restarted(cluster, hub, &load, figures).await?;
    }
    load.create(cluster, "pods", 0, LISTED)?;
    if is_wanted("lists") {
        lists(cluster, &load, figures)?;
    }
    if is_wanted("events") {
        fan(cluster, &load, figures)?;
    }
    if is_wanted("start") {
        start(cluster, hub, &load, figures).await?;
    }
    if is_wanted("link") && minutes > 0 {
        let through = traffic::crossed(cluster, Some(hub), &load, minutes).await?;
        hub.run(&cluster.stage.node, &["revert", "kubelet"])?;
        KubeProxy::configure(&cluster.stage.node, &direct, &cluster.cloud.token("kube-system", KUBE_PROXY)?)?;
        let direct = traffic::crossed(cluster, None, &load, minutes).await?;
        figures.traffic = Some((minutes, direct, through));
    }
    Ok(())
}

/// Pods on the node, each with a config map, until all run.
async fn node_pods(cluster: &Cluster<'_>) -> Result<()> {
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    cluster.cloud.apply(&[namespace(NAMESPACE), namespace(OWN)])?;
    for namespace in [NAMESPACE, OWN] {
        let account = ["serviceaccount", "default", "--namespace", namespace];
        sys::until("the namespace has its account", READY, || cluster.cloud.get(&account)).await?;
    }
    let objects: Vec<Value> = (0..NODE_PODS).flat_map(node_pod).collect();
    cluster.cloud.apply(&objects)?;
    sys::until("all pods run", READY * 3, || {
        let pods = cluster.cloud.get(&["pods", "--namespace", OWN])?;
        let pods = pods.get("items").and_then(Value::as_array).into_iter().flatten();
        let phases = pods.filter_map(|pod| pod.pointer("/status/phase").and_then(Value::as_str));
        match phases.filter(|phase| *phase == "Running").count() {
            NODE_PODS => Ok(()),
            running => bail!("{running} of {NODE_PODS} do"),
        }
    })
    .await
}

fn node_pod(number: usize) -> [Value; 2] {
    let (name, config) = (format!("own-{number}"), format!("config-{number}"));
    [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": OWN, "name": config}, "data": {"word": "mellon"}}),
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": OWN, "name": name, "labels": {"app": "own"}},
            "spec": {
                "nodeName": NODE,
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "main",
                    "image": image::BUSYBOX,
                    "imagePullPolicy": "Never",
                    "args": ["busybox", "sleep", "86400"],
                    "volumeMounts": [{"name": "config", "mountPath": "/config"}]
                }],
                "volumes": [{"name": "config", "configMap": {"name": config}}]
            }
        }),
    ]
}

/// Memory of the hub once it no longer changes.
async fn settled(cluster: &Cluster<'_>) -> Result<Memory> {
    let mut before = Memory::default();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = memory(&cluster.stage.node, hub::NAME)?;
        if now.resident == before.resident {
            return Ok(now);
        }
        before = now;
    }
    Ok(before)
}

/// Memory as objects come, and then as watchers do.
async fn grow(cluster: &mut Cluster<'_>, load: &Load, figures: &mut Figures) -> Result<()> {
    let mut made = 0;
    for step in STEPS {
        load.create(cluster, "services", made / 2, step / 2 - made / 2)?;
        load.create(cluster, "endpointslices", made, step - made)?;
        made = step;
        let with = format!("{} services and {step} slices that came one by one", step / 2);
        figures.remember(cluster, &with, settled(cluster).await?, None);
    }
    Ok(())
}

/// What a change costs on the disk.
async fn disk(cluster: &mut Cluster<'_>, load: &Load, figures: &mut Figures) -> Result<()> {
    let node = &cluster.stage.node;
    let (grown, wrote) = (size(node, STATE)?, written(node, hub::NAME)?);
    load.touch(cluster, SLICES, CHANGES.0, CHANGES.1)?;
    // Batches are flushed at most two seconds apart.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let grown = size(node, STATE)?.saturating_sub(grown);
    figures.disk = Some((CHANGES.0, grown, written(node, hub::NAME)? - wrote));
    Ok(())
}

/// Memory of a hub that has found everything in its log, without and with watchers.
async fn restarted(
    cluster: &mut Cluster<'_>,
    hub: &mut Hub,
    load: &Load,
    figures: &mut Figures,
) -> Result<()> {
    let with = "everything, after 2000 changes";
    figures.remember(cluster, with, settled(cluster).await?, None);
    hub.kill(&cluster.stage.node)?;
    hub.start(&cluster.stage.node).await?;
    hub.judges(&cluster.stage.node, "up").await?;
    cluster.kubelet_is_heard().await?;
    figures.remember(cluster, "everything, the hub started anew", settled(cluster).await?, None);
    let path = format!("{SLICES}?watch=true&resourceVersion=0");
    for count in WATCHERS {
        let connections = (count.parse::<u32>()? / 10).max(1).to_string();
        let words = ["watch", &path, "--count", count, "--connections", &connections, &load.through];
        let held = load.hold(cluster, &words)?;
        let with = format!(
            "everything, {count} watches of the slices from their state on, {connections} connections"
        );
        let limit = (count == "100").then(Figures::all_limit).flatten();
        let memory = settled(cluster).await?;
        figures.remember(cluster, &with, memory, limit);
        held.end()?;
    }
    figures.remember(cluster, "everything, the watches gone", settled(cluster).await?, None);
    Ok(())
}

fn lists(cluster: &mut Cluster<'_>, load: &Load, figures: &mut Figures) -> Result<()> {
    let protobuf = "application/vnd.kubernetes.protobuf";
    let forms = [
        ("JSON", "application/json".to_owned()),
        ("protobuf", protobuf.to_owned()),
        ("JSON, gzip taken, as client-go does", "gzip,application/json".to_owned()),
        ("protobuf, gzip taken, as client-go does", format!("gzip,{protobuf}")),
    ];
    // What no client watches is the cloud's to answer.
    let path = "/api/v1/namespaces/figures/pods?watch=true&resourceVersion=0";
    let held = load.hold(cluster, &["watch", path, "--count", "1", &load.through])?;
    for (name, accept) in forms {
        let mut lists = Lists { name, bytes: [0; 2], micros: [0; 2] };
        let machines = [
            (&load.direct, &cluster.cloud.machine, "kube-apiserver"),
            (&load.through, &cluster.stage.node, hub::NAME),
        ];
        for (((target, machine, process), bytes), micros) in
            machines.into_iter().zip(&mut lists.bytes).zip(&mut lists.micros)
        {
            load.on_node(cluster, &["list", PODS, "--accept", &accept, "--seconds", "1", target])?;
            let before = processor(machine, process)?;
            let told = load
                .on_node(cluster, &["list", PODS, "--accept", &accept, "--seconds", LIST_SECONDS, target])?;
            let used = processor(machine, process)? - before;
            let number = |key| told.get(key).and_then(Value::as_u64).unwrap_or_default();
            (*bytes, *micros) = (number("bytes"), used / number("answers").max(1));
        }
        figures.lists.push(lists);
    }
    held.end()
}

fn fan(cluster: &mut Cluster<'_>, load: &Load, figures: &mut Figures) -> Result<()> {
    let path = format!("{SLICES}?watch=true&resourceVersion=0&fieldSelector=metadata.name%3Dservice-0-0");
    let object = format!("{SLICES}/service-0-0");
    let words = [
        "fan",
        &path,
        &object,
        "--count",
        "20",
        "--writes",
        "100",
        &load.direct,
        &load.direct,
        &load.through,
    ];
    figures.fan = load.on_node(cluster, &words)?;
    Ok(())
}

/// How soon the hub answers after its start, cut off, nothing of it in the page cache.
async fn start(cluster: &mut Cluster<'_>, hub: &mut Hub, load: &Load, figures: &mut Figures) -> Result<()> {
    cluster.kubelet.kill(&cluster.stage.node)?;
    cluster.kube_proxy.kill(&cluster.stage.node)?;
    cluster.cut()?;
    hub.kill(&cluster.stage.node)?;
    let program = cluster.programs.edgekeep();
    let forget = format!(
        "sync; find {STATE} {program} -type f -exec dd if={{}} iflag=nocache count=0 status=none ';'"
    );
    let questions = [
        ("the node", "/api/v1/nodes/edge".to_owned(), "0"),
        (
            "all 5000 services, and they are all there",
            "/api/v1/services?resourceVersion=0".to_owned(),
            "5001",
        ),
    ];
    for (what, path, items) in questions {
        let mut times = Vec::new();
        for _ in 0..STARTS {
            cluster.stage.node.run(&["sh", "-c", &forget])?;
            let held = load
                .hold(cluster, &["first", &path, "--items", items, &load.kubelet, "--", &program, "hub"])?;
            let told: Value = serde_json::from_str(&held.said)?;
            times.push(told.get("micros").and_then(Value::as_u64).unwrap_or_default());
            held.end()?;
        }
        figures.first.push((what, times));
    }
    cluster.heal()?;
    hub.start(&cluster.stage.node).await?;
    hub.judges(&cluster.stage.node, "up").await?;
    cluster.start_node_programs()?;
    cluster.kubelet_is_heard().await.map(drop)
}
