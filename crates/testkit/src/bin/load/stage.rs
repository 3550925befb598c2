//! What it costs to keep writes while the cloud is away: a hub with a miniature cloud that is taken from it, and kubelet's
//! own requests, with its certificate. Everything is on loopback and below one directory.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use testkit::cloud::{Cloud, Options, Rule, User};
use testkit::relay::Mode;

use crate::target::whole;
use crate::{Result, Target, objects};

const NODE: &str = "edge-1";
pub(super) const PODS: u32 = 250;
const EVENTS: u32 = 2000;
/// Single patches, and those at once.
const SINGLE: u32 = 200;
const AT_ONCE: u32 = 1000;
const PATIENCE: Duration = Duration::from_secs(30);
pub(super) const STRATEGIC: (&str, &str) = ("content-type", "application/strategic-merge-patch+json");
pub(super) const JSON: (&str, &str) = ("content-type", "application/json");

/// A hub that ends with this.
pub(super) struct Hub {
    process: Child,
    dir: PathBuf,
    health: String,
    program: String,
}

impl Drop for Hub {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Hub {
    pub(super) fn start(dir: &Path, program: &str, port: u16) -> Result<Hub> {
        let process = Command::new(program)
            .args(["hub", "--config"])
            .arg(dir.join("hub.yaml"))
            .stdin(Stdio::null())
            .stderr(std::fs::File::options().create(true).append(true).open(dir.join("hub.log"))?)
            .spawn()?;
        let health = format!("127.0.0.1:{}", port + 1);
        Ok(Hub { process, dir: dir.to_owned(), health, program: program.to_owned() })
    }

    fn status(&self) -> Result<Value> {
        let socket = self.dir.join("admin.sock");
        let words = ["status", "--output", "json", "--admin-socket"];
        let told = Command::new(&self.program).args(words).arg(socket).output()?;
        Ok(serde_json::from_slice(&told.stdout)?)
    }

    /// Flushes of the log so far, and bytes of its files.
    fn log(&self) -> Result<(u64, u64)> {
        let status = self.status()?;
        let number = |name: &str| status.pointer(&format!("/store/keep/{name}")).and_then(Value::as_u64);
        Ok((number("flushes").ok_or("no flushes")?, number("bytes").ok_or("no bytes")?))
    }

    pub(super) async fn judges(&self, wanted: &str) -> Result<()> {
        let began = Instant::now();
        loop {
            let state = self
                .status()
                .ok()
                .and_then(|status| Some(status.pointer("/cloud/state")?.as_str()?.to_owned()));
            if state.as_deref() == Some(wanted) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!(
                    "the hub at {} does not take the cloud for {wanted}: {state:?}",
                    self.health
                )
                .into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Resident memory in KiB, mapped pages of the program counted.
    pub(super) fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.split_whitespace().next().ok_or("no number")?.parse()?)
    }

    /// Bytes that were handed to the disk so far.
    fn written(&self) -> Result<u64> {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.process.id()))?;
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:")).ok_or("no write_bytes")?;
        Ok(line.trim().parse()?)
    }

    pub(super) fn target(&self, port: u16) -> String {
        let pki = self.dir.join("state/pki");
        let file = |name: &str| pki.join(name).display().to_string();
        format!(
            "hub,https://127.0.0.1:{port},{},{},{}",
            file("ca.crt"),
            file("kubelet.crt"),
            file("kubelet.key")
        )
    }
}

/// Measures it below `dir`, with the `program` edgekeep, and prints a table.
pub(crate) async fn stage(dir: &Path, program: &str) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let port = free_port()?;
    let cloud = cloud().await?;
    configure(dir, &cloud, port)?;
    let hub = Hub::start(dir, program, port)?;
    hub.judges("up").await?;
    let mut kubelet = Target::connect(&hub.target(port)).await?;
    learn(&mut kubelet).await?;
    cloud.link().switch(Mode::Refuse).await?;
    cloud.link().reset();
    hub.judges("down").await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let idle = hub.memory()?;

    let single = single(&mut kubelet, &hub).await?;
    let flush = flush(dir)?;
    // On a connection of its own, which ends with that: a thousand streams at once leave it large.
    let many = Target::connect(&hub.target(port)).await?;
    let concurrent = concurrent(&many, &hub).await?;
    drop(many);
    for at in 0..PODS {
        patch(&mut kubelet, at, 2, EVENTS).await?;
    }
    let staged = hub.memory()?;
    events(&mut kubelet, EVENTS).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let full = hub.memory()?;
    report(&Figures { single, flush, concurrent, idle, staged, full })
}

struct Figures {
    single: Single,
    flush: Duration,
    concurrent: Concurrent,
    idle: u64,
    staged: u64,
    full: u64,
}

struct Single {
    median: Duration,
    flushes: u64,
    written: u64,
    log: u64,
}

struct Concurrent {
    took: Duration,
    flushes: u64,
}

fn report(figures: &Figures) -> Result<()> {
    let Figures { single, flush, concurrent, idle, staged, full } = figures;
    let micros = |time: Duration| time.as_micros();
    let per = |all: u64| all / u64::from(SINGLE);
    let more = i128::try_from(micros(single.median))? - i128::try_from(micros(*flush))?;
    let mut out = std::io::stdout();
    writeln!(out, "| | measured | wanted |\n|---|---|---|")?;
    writeln!(
        out,
        "| flushes of {SINGLE} patches, one after the other | {} | {SINGLE}, and what the log does by itself |",
        single.flushes
    )?;
    writeln!(
        out,
        "| one patch, median, µs; a flush of as much beside it, µs; difference | {}; {}; {more:+} | at most +1000 |",
        micros(single.median),
        micros(*flush)
    )?;
    writeln!(out, "| {AT_ONCE} patches at once: flushes | {} | at most 25 |", concurrent.flushes)?;
    writeln!(
        out,
        "| {AT_ONCE} patches at once: ms until the last is answered | {} | at most 1500 |",
        concurrent.took.as_millis()
    )?;
    writeln!(
        out,
        "| bytes handed to the disk a patch; of them growth of the log | {}; {} | |",
        per(single.written),
        per(single.log)
    )?;
    writeln!(out, "| resident, {PODS} pods known and cut off, KiB | {idle} | |")?;
    writeln!(out, "| with {PODS} pods staged, KiB more | {} | |", staged.saturating_sub(*idle))?;
    writeln!(
        out,
        "| with {PODS} pods and {EVENTS} events staged, KiB more | {} | at most 4096 |",
        full.saturating_sub(*idle)
    )?;
    Ok(())
}

pub(super) fn free_port() -> Result<u16> {
    // Two in a row.
    for _ in 0..100 {
        let first = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = first.local_addr()?.port();
        if port < u16::MAX && std::net::TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return Ok(port);
        }
    }
    Err("no two free ports".into())
}

pub(super) async fn cloud() -> Result<Cloud> {
    let cloud = Cloud::start(Options::default()).await?;
    let all = ["get", "list", "watch", "create", "update", "patch", "delete"];
    cloud.allow(
        Rule::user(&format!("system:node:{NODE}")).can(&all).on("", &["nodes", "pods", "services", "events"]),
    );
    cloud.put("", "nodes", json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}));
    for at in 0..PODS {
        let mut pod = objects::pod(at);
        for (place, member, value) in [
            ("/metadata", "namespace", "default".into()),
            ("/spec", "nodeName", NODE.into()),
            ("", "status", status(at, 0, 0)),
        ] {
            if let Some(members) = pod.pointer_mut(place).and_then(Value::as_object_mut) {
                members.insert(member.to_owned(), value);
            }
        }
        cloud.put("", "pods", pod);
    }
    Ok(cloud)
}

pub(super) fn status(at: u32, round: u32, wave: u32) -> Value {
    let condition = |name: &str| json!({"type": name, "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition);
    let ip = format!("10.{}.{}.{}", round % 250, wave % 250, at % 250);
    json!({"phase": "Running", "hostIP": "192.0.2.7", "podIP": ip, "podIPs": [{"ip": ip}], "qosClass": "Burstable",
        "startTime": "2026-01-01T00:00:00Z",
        "conditions": conditions,
        "containerStatuses": [{"name": "main", "image": "edgekeep.invalid/app", "imageID": "", "ready": true, "restartCount": round,
            "started": true, "containerID": format!("containerd://{at:064x}"),
            "state": {"running": {"startedAt": "2026-01-01T00:00:05Z"}}, "lastState": {}}]})
}

pub(super) fn configure(dir: &Path, cloud: &Cloud, port: u16) -> Result<()> {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let node = cloud.credential(&User::node(NODE));
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": cloud.url(), "certificate-authority-data": encode(&cloud.ca())}}],
        "users": [{"name": "u", "user": {"client-certificate-data": encode(&node.certificate), "client-key-data": encode(&node.key)}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    std::fs::write(dir.join("kubelet.conf"), kubeconfig.to_string())?;
    write_config(dir, port)
}

/// Writes the configuration of a hub that lives in `dir`, where its node's kubeconfig is.
pub(super) fn write_config(dir: &Path, port: u16) -> Result<()> {
    let path = |name: &str| dir.join(name).display().to_string();
    let config = json!({
        "apiVersion": "hub.edgekeep/v1alpha1", "kind": "HubConfiguration", "logLevel": "warn",
        "kubeconfig": path("kubelet.conf"), "bootstrapKubeconfig": path("none.conf"),
        "listen": [format!("127.0.0.1:{port}")], "health": format!("127.0.0.1:{}", port + 1),
        "adminSocket": path("admin.sock"), "stateDir": path("state"),
    });
    // JSON is YAML.
    std::fs::write(dir.join("hub.yaml"), config.to_string())?;
    Ok(())
}

/// Reads what kubelet reads, and waits until the hub follows it.
pub(super) async fn learn(kubelet: &mut Target) -> Result<()> {
    for path in [
        "/api/v1/nodes?fieldSelector=metadata.name%3Dedge-1",
        "/api/v1/pods?fieldSelector=spec.nodeName%3Dedge-1",
    ] {
        whole(kubelet.read(path, "application/json").await?).await?;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(())
}

pub(super) async fn patch(kubelet: &mut Target, at: u32, round: u32, wave: u32) -> Result<()> {
    let path = format!("/api/v1/namespaces/default/pods/app-{at}/status");
    let body = json!({"status": status(at, round, wave)}).to_string();
    let headers = [STRATEGIC, ("accept", "application/vnd.kubernetes.protobuf,application/json")];
    whole(kubelet.send("PATCH", &path, &headers, Bytes::from(body)).await?).await?;
    Ok(())
}

async fn single(kubelet: &mut Target, hub: &Hub) -> Result<Single> {
    let (flushes, log) = hub.log()?;
    let written = hub.written()?;
    let mut times = Vec::new();
    for at in 0..SINGLE {
        let began = Instant::now();
        patch(kubelet, at, 1, 0).await?;
        times.push(began.elapsed());
    }
    let after = hub.log()?;
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(Single { median, flushes: after.0 - flushes, written: hub.written()? - written, log: after.1 - log })
}

/// The median time of a flush of as much as a staged patch takes, on the same file system, written as the log writes.
fn flush(dir: &Path) -> Result<Duration> {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::create(dir.join("flush"))?;
    file.write_all_at(&vec![0; 4 << 20], 0)?;
    file.sync_all()?;
    let mut times = Vec::new();
    for at in 0..u64::from(SINGLE) {
        let began = Instant::now();
        file.write_all_at(&[7; 8192], at * 8192)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

async fn concurrent(kubelet: &Target, hub: &Hub) -> Result<Concurrent> {
    let before = hub.log()?.0;
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..AT_ONCE {
        let mut kubelet = kubelet.share();
        tasks.spawn(async move { patch(&mut kubelet, number % PODS, 3, number / PODS).await });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(Concurrent { took: began.elapsed(), flushes: hub.log()?.0 - before })
}

pub(super) async fn events(kubelet: &mut Target, count: u32) -> Result<()> {
    let path = "/api/v1/namespaces/default/events";
    for at in 0..count {
        let event = json!({
            "metadata": {"name": format!("app-{}.{at:016x}", at % PODS), "namespace": "default"},
            "involvedObject": {"kind": "Pod", "apiVersion": "v1", "name": format!("app-{}", at % PODS), "namespace": "default",
                "uid": format!("00000000-0000-0000-0000-{at:012}"), "fieldPath": "spec.containers{main}"},
            "reason": "Unhealthy", "message": format!("Readiness probe failed: number {at}"), "type": "Warning", "count": 1,
            "source": {"component": "kubelet", "host": NODE},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z",
        });
        let body = Bytes::from(event.to_string());
        whole(kubelet.send("POST", path, &[JSON], body).await?).await?;
    }
    Ok(())
}
