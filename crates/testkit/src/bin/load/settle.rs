//! How long a node takes to tell its cloud what it did without it, and in how many requests: a hub with a miniature cloud that is
//! taken from it and given back. Half of what is on loopback has no delay; what is seen is the hub's own pace.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use testkit::cloud::Cloud;
use testkit::relay::Mode;

use crate::stage::{self, Hub, JSON, PODS};
use crate::target::whole;
use crate::{Result, Target};

/// Of the pods so many have ended, and are finished with.
const ENDED: u32 = 50;
/// Events within the hour for which a cloud keeps them, of 2 000 over a day.
const EVENTS: u32 = 83;
/// As much as anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures it below `dir`, with the `program` edgekeep, and prints a table.
pub(crate) async fn settle(dir: &Path, program: &str) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let port = stage::free_port()?;
    let cloud = stage::cloud().await?;
    for at in 0..ENDED {
        let name = format!("app-{at}");
        let Some(pod) = cloud.get("", "pods", "default", &name) else { return Err("no pod".into()) };
        let mut pod = (*pod).clone();
        if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("deletionTimestamp".into(), "2026-01-01T00:00:00Z".into());
            metadata.insert("deletionGracePeriodSeconds".into(), 30.into());
        }
        cloud.put("", "pods", pod);
    }
    stage::configure(dir, &cloud, port)?;
    let hub = Hub::start(dir, program, port)?;
    hub.judges("up").await?;
    let mut kubelet = Target::connect(&hub.target(port)).await?;
    stage::learn(&mut kubelet).await?;
    cloud.link().switch(Mode::Refuse).await?;
    cloud.link().reset();
    hub.judges("down").await?;
    for at in 0..PODS {
        match at < ENDED {
            true => end(&mut kubelet, &cloud, at).await?,
            false => stage::patch(&mut kubelet, at, 2, 1).await?,
        }
    }
    stage::events(&mut kubelet, EVENTS).await?;
    cloud.forget_requests();
    cloud.link().switch(Mode::Pass).await?;
    hub.judges("up").await?;
    let began = Instant::now();
    let told = |at: u32| cloud.get("", "pods", "default", &format!("app-{at}"));
    let ends = until(began, || (0..ENDED).all(|at| told(at).is_none())).await?;
    // kubelet shows that it lives.
    let body = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}).to_string();
    let headers =
        [("content-type", "application/strategic-merge-patch+json"), ("accept", "application/json")];
    whole(kubelet.send("PATCH", "/api/v1/nodes/edge-1/status", &headers, Bytes::from(body)).await?).await?;
    let ip = |at: u32| told(at).and_then(|pod| Some(pod.pointer("/status/podIP")?.as_str()?.to_owned()));
    let lives =
        until(began, || (ENDED..PODS).all(|at| ip(at).is_some_and(|ip| ip.starts_with("10.2.1.")))).await?;
    let posted = || cloud.requests().iter().filter(|seen| seen.method == "POST" && seen.code == 201).count();
    let all = until(began, || posted() >= usize::try_from(EVENTS).unwrap_or(0)).await?;
    let requests = cloud.requests();
    let own = requests.iter().filter(|seen| is_own(seen)).count();
    let busy = requests.iter().filter(|seen| seen.code == 429).count();
    let objects = usize::try_from(PODS + ENDED + EVENTS)?;
    let mut out = std::io::stdout();
    writeln!(out, "| | measured | wanted |\n|---|---|---|")?;
    writeln!(
        out,
        "| {ENDED} pods' ends and deletions told after, ms | {} | at most 10000 |",
        ends.as_millis()
    )?;
    writeln!(
        out,
        "| {} pods that run told after, ms | {} | at most 60000 |",
        PODS - ENDED,
        lives.as_millis()
    )?;
    writeln!(out, "| {EVENTS} events, and all, told after, ms | {} | at most 60000 |", all.as_millis())?;
    writeln!(
        out,
        "| requests of settling for {} statuses, {ENDED} deletions and {EVENTS} events | {own} | at most {} |",
        PODS,
        objects * 12 / 10
    )?;
    writeln!(out, "| answers 429 | {busy} | 0 |")?;
    Ok(())
}

/// Whether settling asked it: writes, and the reads that are not watches.
fn is_own(seen: &testkit::cloud::Seen) -> bool {
    let is_of_it = seen.target.contains("/pods") || seen.target.contains("/events");
    is_of_it && !seen.target.contains("watch=")
}

async fn end(kubelet: &mut Target, cloud: &Cloud, at: u32) -> Result<()> {
    let path = format!("/api/v1/namespaces/default/pods/app-{at}");
    let headers =
        [("content-type", "application/strategic-merge-patch+json"), ("accept", "application/json")];
    let body = json!({"status": {"phase": "Succeeded"}}).to_string();
    whole(kubelet.send("PATCH", &format!("{path}/status"), &headers, Bytes::from(body)).await?).await?;
    let pod = cloud.get("", "pods", "default", &format!("app-{at}")).ok_or("no pod")?;
    let uid = pod.pointer("/metadata/uid").cloned().unwrap_or_default();
    let body = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}).to_string();
    whole(kubelet.send("DELETE", &path, &[JSON, ("accept", "application/json")], Bytes::from(body)).await?)
        .await?;
    Ok(())
}

async fn until(began: Instant, done: impl Fn() -> bool) -> Result<Duration> {
    while !done() {
        if began.elapsed() > PATIENCE {
            return Err("it takes too long".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(began.elapsed())
}
