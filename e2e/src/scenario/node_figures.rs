//! What the hub costs: the same requests directly and through it, in one run, on a real node and a real API server.
//!
//! Times are told and never judged; sizes are both.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::checks::Checks;
use crate::cloud;
use crate::cluster::Cluster;
use crate::hub::{self, Hub};
use crate::run_dir::RunDir;
use crate::scenario::{Options, node_hub};
use crate::{sys, wan};

/// Requests a second, and for how many seconds, to each of the two.
const RATE: u64 = 50;
const SECONDS: u64 = 30;
const WATCHES: u64 = 100;
/// The most that may be: KiB of memory when nobody is connected, KiB more for the watches, bytes of the program. If the first is
/// passed, see which code lies where it should not: `crates/cli/sections.ld`.
const IDLE_LIMIT: u64 = 5 * 1024;
const WATCHES_LIMIT: u64 = 6 * 1024;
const SIZE_LIMIT: u64 = 6 * 1024 * 1024;
/// Ticks a second of the kernel's process times: `getconf CLK_TCK` on every Linux that Kubernetes runs on.
const TICK_MICROS: u64 = 10_000;

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let mut cluster =
        Cluster::set_up(dir, options, "node-figures", cloud::Options::default(), checks).await?;
    let mut hub = Hub::new(&cluster.programs);
    let played = play(&mut cluster, &mut hub).await;
    cluster.close(played)
}

struct Figures {
    size: u64,
    idle: u64,
    busy: u64,
    before_watches: u64,
    with_watches: u64,
    asked: Value,
    processor: u64,
}

async fn play(cluster: &mut Cluster<'_>, hub: &mut Hub) -> Result<()> {
    let load = std::env::var("EDGEKEEP_LOAD").context("EDGEKEEP_LOAD is not set; start e2e/run")?;
    let direct = cluster.cloud.access().clone();
    cluster.join(&direct).await?;
    hub.start(&cluster.stage.node).await?;
    hub.judges(&cluster.stage.node, "up").await?;
    let idle = memory(cluster)?;
    node_hub::behind(cluster, hub)?;
    cluster.kubelet_is_heard().await?;
    cluster.node_ready().await?;
    let busy = memory(cluster)?;
    let (asked, processor) = ask(cluster, &load)?;
    let before_watches = memory(cluster)?;
    let with_watches = watch(cluster, &load).await?;
    let size = fs::metadata(cluster.programs.edgekeep())?.len();
    let figures = Figures { size, idle, busy, before_watches, with_watches, asked, processor };
    judge(cluster, &figures);
    let report = report(&figures)?;
    cluster.stage.checks.note(&report);
    if let Some(file) = std::env::var_os("EDGEKEEP_FIGURES").map(PathBuf::from) {
        fs::write(&file, document(&report)).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Resident memory of the hub in KiB, mapped pages of its program counted.
fn memory(cluster: &Cluster<'_>) -> Result<u64> {
    let script = format!("cat /proc/$(cat /run/{}.pid)/status", hub::NAME);
    let told = cluster.stage.node.run(&["sh", "-c", &script])?;
    let line = told.lines().find(|line| line.starts_with("VmRSS:"));
    let size = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|size| size.parse().ok());
    size.ok_or_else(|| anyhow!("no VmRSS in {told}"))
}

/// Processor time that the hub has used so far, in microseconds.
fn processor(cluster: &Cluster<'_>) -> Result<u64> {
    let script = format!("cat /proc/$(cat /run/{}.pid)/stat", hub::NAME);
    let told = cluster.stage.node.run(&["sh", "-c", &script])?;
    // The name of the program, in parentheses, may hold anything.
    let rest = told.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: Vec<u64> =
        rest.split_whitespace().skip(11).take(2).filter_map(|word| word.parse().ok()).collect();
    match ticks.as_slice() {
        [user, system] => Ok((user + system) * TICK_MICROS),
        _ => bail!("no times in {told}"),
    }
}

fn targets() -> [String; 2] {
    let node = "/var/lib/kubelet/pki/kubelet-client-current.pem";
    let pki = "/var/lib/edgekeep/hub/pki";
    [
        format!("direct,https://{}:{},/etc/kubernetes/pki/ca.crt,{node},{node}", wan::CLOUD, wan::API_PORT),
        format!("hub,https://{},{pki}/ca.crt,{pki}/kubelet.crt,{pki}/kubelet.key", hub::ADDRESS),
    ]
}

fn ask(cluster: &Cluster<'_>, load: &str) -> Result<(Value, u64)> {
    let [direct, through] = targets();
    let (rate, seconds) = (RATE.to_string(), SECONDS.to_string());
    let words =
        [load, "get", "/api/v1/nodes/edge", "--rate", &rate, "--seconds", &seconds, &direct, &through];
    let before = processor(cluster)?;
    let told = cluster.stage.node.run(&words)?;
    let used = processor(cluster)? - before;
    Ok((serde_json::from_str(&told).with_context(|| told.clone())?, used / (RATE * SECONDS)))
}

/// Memory with the watches open.
async fn watch(cluster: &Cluster<'_>, load: &str) -> Result<u64> {
    let [_, through] = targets();
    let path = "/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dedge";
    let count = WATCHES.to_string();
    let mut command = cluster.stage.node.command(&[load, "watch", path, "--count", &count, &through])?;
    let mut held = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    if let Some(stdout) = held.stdout.take() {
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut said)?;
    }
    let with = memory(cluster);
    if let Some(mut stdin) = held.stdin.take() {
        stdin.flush()?;
    }
    sys::until("the watches end", std::time::Duration::from_secs(10), || match held.try_wait()? {
        Some(_) => Ok(()),
        None => bail!("they go on"),
    })
    .await?;
    if !said.contains("are open") {
        bail!("the watches were not opened: {said}");
    }
    with
}

fn judge(cluster: &mut Cluster<'_>, figures: &Figures) {
    let within = |value: u64, limit: u64, unit: &str| {
        if value <= limit {
            Ok(format!("{value} {unit}"))
        } else {
            Err(anyhow!("{value} {unit}, more than {limit}"))
        }
    };
    let more = figures.with_watches.saturating_sub(figures.before_watches);
    cluster.stage.check("size", "the program is small", within(figures.size, SIZE_LIMIT, "bytes"));
    cluster.stage.check("size", "an idle hub is small", within(figures.idle, IDLE_LIMIT, "KiB"));
    cluster.stage.check("size", "a hundred watches are small", within(more, WATCHES_LIMIT, "KiB more"));
}

fn report(figures: &Figures) -> Result<String> {
    let target = |place: usize, key: &str| {
        let found = figures.asked.pointer(&format!("/targets/{place}/{key}")).and_then(Value::as_u64);
        found.ok_or_else(|| anyhow!("no {key} of target {place} in {}", figures.asked))
    };
    let row = |name: &str, key: &str| -> Result<String> {
        let (direct, through) = (target(0, key)?, target(1, key)?);
        #[allow(clippy::cast_precision_loss)] // microseconds of one request
        let ratio = through as f64 / direct.max(1) as f64;
        let more = i128::from(through) - i128::from(direct);
        Ok(format!("| GET of the node, {name}, µs | {direct} | {through} | {more:+} | {ratio:.2} |\n"))
    };
    let mut out =
        String::from("| | direct | through the hub | difference | ratio |\n|---|---|---|---|---|\n");
    for (name, key) in [("median", "p50Micros"), ("90 %", "p90Micros"), ("99 %", "p99Micros")] {
        out += &row(name, key)?;
    }
    let Figures { size, idle, busy, before_watches, with_watches, processor, .. } = figures;
    out += &format!(
        "| failed of {} each | {} | {} | | |\n",
        RATE * SECONDS,
        target(0, "failed")?,
        target(1, "failed")?
    );
    out += &format!(
        "\n| the hub | |\n|---|---|\n| processor time a request, µs | {processor} |\n| resident, nobody connected, KiB | {idle} |\n\
         | resident, kubelet and kube-proxy connected, KiB | {busy} |\n| resident before and with {WATCHES} watches more, KiB | \
         {before_watches}, {with_watches} |\n| the program, bytes | {size} |\n"
    );
    Ok(out)
}

fn document(report: &str) -> String {
    format!(
        "# The hub beside no hub\n\nOne run on a real node and a real API server of Kubernetes 1.20.2 on one machine of two \
         cores: {RATE} requests a second to each, one after the other, from one program on the node. The difference and the \
         ratio are what counts; the times are this machine's.\n\n{report}\nRepeat with `EDGEKEEP_FIGURES=docs/benchmarks-hub.md \
         sudo -E e2e/run node-figures`.\n"
    )
}
