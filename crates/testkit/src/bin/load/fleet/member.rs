//! One hub, and what behaves as its node's kubelet and kube-proxy.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::PATIENCE;
use super::made::{ENDED, EVENTS, PODS, conditions, moment, node_name, pod_path, status, write};
use crate::stage::{self, Hub, JSON, STRATEGIC};
use crate::target::whole;
use crate::{Result, Target};

/// kubelet renews its lease so often.
const RENEWAL: Duration = Duration::from_secs(10);
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

pub(super) struct Member {
    at: u32,
    dir: PathBuf,
    port: u16,
    hub: Hub,
    kubelet: Target,
    lease: Value,
    renewals: u32,
}

/// What is looked at of a hub's figures.
pub(super) struct Figures {
    up: bool,
    /// Entries that wait for the cloud.
    pub waiting: u64,
}

impl Member {
    /// Starts the hub, and reads and follows through it what kubelet and kube-proxy do.
    pub async fn start(dir: &Path, program: &str, at: u32, port: u16, proxy: &str) -> Result<Member> {
        stage::write_config(dir, port)?;
        let hub = Hub::start(dir, program, port)?;
        let until = Instant::now() + PATIENCE;
        while !figures(dir, port).await.is_ok_and(|figures| figures.up) {
            if Instant::now() > until {
                return Err(format!("hub {at} does not come up").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut kubelet = Target::connect(&hub.target(port)).await?;
        let name = node_name(at);
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": micro(0)}});
        let lease = write(&mut kubelet, "POST", LEASES, JSON, &lease).await?;
        for set in [
            format!("/api/v1/nodes?fieldSelector=metadata.name%3D{name}"),
            format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{name}"),
            "/api/v1/services?".to_owned(),
            "/apis/node.k8s.io/v1/runtimeclasses?".to_owned(),
            "/apis/storage.k8s.io/v1/csidrivers?".to_owned(),
        ] {
            follow(&mut kubelet, &set).await?;
        }
        let ca = dir.join("state/pki/ca.crt").display().to_string();
        let mut kube_proxy = Target::connect(&format!("proxy,https://127.0.0.1:{port},{ca},{proxy}")).await?;
        for set in ["/api/v1/services?", "/apis/discovery.k8s.io/v1beta1/endpointslices?"] {
            follow(&mut kube_proxy, set).await?;
        }
        Ok(Member { at, dir: dir.to_owned(), port, hub, kubelet, lease, renewals: 0 })
    }

    /// Resident memory of the hub in KiB.
    pub fn memory(&self) -> Result<u64> {
        self.hub.memory()
    }

    pub async fn figures(&self) -> Result<Figures> {
        figures(&self.dir, self.port).await
    }

    /// Waits until the hub takes the cloud for there, or for gone.
    pub async fn judges(&self, up: bool) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.figures().await?.up != up {
            if Instant::now() > until {
                return Err(format!("hub {} does not notice the link", self.at).into());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// What the node does while the link is cut: its status, pods that end and are finished with, pods at other addresses,
    /// events.
    pub async fn works(mut self) -> Result<Member> {
        self.renew().await?;
        let path = format!("/api/v1/nodes/{}/status", node_name(self.at));
        let body = json!({"status": {"conditions": conditions(600)}});
        write(&mut self.kubelet, "PATCH", &path, STRATEGIC, &body).await?;
        for pod in 0..PODS {
            let path = pod_path(self.at, pod);
            let status = if pod < ENDED { json!({"phase": "Succeeded"}) } else { moved(self.at, pod) };
            let body = json!({"status": status});
            let present =
                write(&mut self.kubelet, "PATCH", &format!("{path}/status"), STRATEGIC, &body).await?;
            if pod < ENDED {
                let uid = present.pointer("/metadata/uid");
                let body = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
                write(&mut self.kubelet, "DELETE", &path, JSON, &body).await?;
            }
        }
        for number in 0..EVENTS {
            let event = event(self.at, number);
            write(&mut self.kubelet, "POST", "/api/v1/namespaces/default/events", JSON, &event).await?;
        }
        Ok(self)
    }

    /// Renews the lease as kubelet does, until nothing waits any more; after which time that was, and what the hub then
    /// shows of its node.
    pub async fn settles(mut self, began: Instant) -> Result<(Duration, Value)> {
        // Each kubelet has a beat of its own.
        let own = RENEWAL * (self.at * 7919 % 1000) / 1000;
        let mut next = began + own;
        let time = loop {
            if Instant::now() >= next {
                self.renew().await?;
                next += RENEWAL;
            }
            let figures = self.figures().await?;
            if figures.up && figures.waiting == 0 {
                break began.elapsed();
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("{} entries of hub {} wait", figures.waiting, self.at).into());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        let name = node_name(self.at);
        let pods = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{name}&resourceVersion=0");
        let node = format!("/api/v1/nodes/{name}?resourceVersion=0");
        let mut shown = json!({"name": name});
        for (member, path) in [("pods", pods), ("node", node)] {
            let read = whole(self.kubelet.read(&path, "application/json").await?).await?;
            if let Some(members) = shown.as_object_mut() {
                members.insert(member.to_owned(), serde_json::from_slice(&read)?);
            }
        }
        // The node lives on until all have settled, or the cloud would take it for lost again.
        tokio::spawn(async move {
            loop {
                tokio::time::sleep_until(next.into()).await;
                next += RENEWAL;
                if self.renew().await.is_err() {
                    return;
                }
            }
        });
        Ok((time, shown))
    }

    /// Writes the lease on top of what was last known of it; else on top of what is read anew.
    async fn renew(&mut self) -> Result<()> {
        let path = format!("{LEASES}/{}", node_name(self.at));
        self.renewals += 1;
        let mut last = String::new();
        for _ in 0..5 {
            if let Some(spec) = self.lease.get_mut("spec").and_then(Value::as_object_mut) {
                spec.insert("renewTime".to_owned(), micro(self.renewals * 10).into());
            }
            match write(&mut self.kubelet, "PUT", &path, JSON, &self.lease).await {
                Ok(lease) => {
                    self.lease = lease;
                    return Ok(());
                }
                Err(error) => last = error.to_string(),
            }
            if let Ok(read) = whole(self.kubelet.read(&path, "application/json").await?).await {
                self.lease = serde_json::from_slice(&read)?;
            }
        }
        Err(format!("the lease is not renewed: {last}").into())
    }
}

/// How kubelet tells that a pod is at another address: a list with a key is merged, and what is not there any more is named.
fn moved(at: u32, pod: u32) -> Value {
    let (before, mut after) = (status(at, pod, 1), status(at, pod, 2));
    let gone = before.get("podIP").cloned();
    if let Some(addresses) = after.get_mut("podIPs").and_then(Value::as_array_mut) {
        addresses.push(json!({"$patch": "delete", "ip": gone}));
    }
    after
}

/// Reads a set, then follows it for as long as this program runs.
async fn follow(target: &mut Target, set: &str) -> Result<()> {
    let read = whole(target.read(&format!("{set}&resourceVersion=0"), "application/json").await?).await;
    let list: Value = serde_json::from_slice(&read.map_err(|error| format!("{set}: {error}"))?)?;
    let version = list.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
    let path =
        format!("{set}&watch=true&allowWatchBookmarks=true&timeoutSeconds=3600&resourceVersion={version}");
    let answer = target.read(&path, "application/json").await?;
    tokio::spawn(async move {
        let mut body = answer.into_body();
        while let Some(Ok(_)) = body.frame().await {}
    });
    Ok(())
}

async fn figures(dir: &Path, port: u16) -> Result<Figures> {
    let token = std::fs::read_to_string(dir.join("state/metrics.token"))?;
    let mut stream = TcpStream::connect(("127.0.0.1", port + 1)).await?;
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        token.trim()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut told = String::new();
    stream.read_to_string(&mut told).await?;
    let of = |name: &str| {
        let lines = told.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    match told.contains("edgekeep_hub_cloud_up ") {
        true => {
            Ok(Figures { up: of("edgekeep_hub_cloud_up ") == 1, waiting: of("edgekeep_hub_outbox_entries{") })
        }
        false => Err(format!("no figures: {told}").into()),
    }
}

fn event(at: u32, number: u32) -> Value {
    let pod = format!("n{at}-app-{}", number % PODS);
    json!({
        "metadata": {"name": format!("n{at}.{number:016x}"), "namespace": "default"},
        "involvedObject": {"kind": "Pod", "apiVersion": "v1", "name": pod, "namespace": "default"},
        "reason": "Unhealthy", "message": format!("Readiness probe failed: number {number}"), "type": "Warning", "count": 1,
        "source": {"component": "kubelet", "host": node_name(at)},
        "firstTimestamp": moment(number), "lastTimestamp": moment(number),
    })
}

fn micro(seconds: u32) -> String {
    moment(seconds).replace('Z', ".000000Z")
}
