//! A miniature kubelet: lists and watches its pods through the hub, and notes what it is shown.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use testkit::cloud::Credential;
use testkit::cloud::contract::client::{Client, STRATEGIC, Target};
use tokio::time::Instant;

use crate::diary::{Said, Shown};
use crate::machine::Machine;
use crate::node;

/// The hub's own directory on the node.
const STATE: &str = "/var/lib/edgekeep/hub/pki";
/// The pods of the node.
pub const PODS: &str = "/api/v1/pods?fieldSelector=spec.nodeName%3Dedge-1";
/// How long the hub may take to come up on an emulated processor.
const COMING_UP: Duration = Duration::from_secs(60);
/// How long the hub may be asked for something before it has it; what it has is on its disk.
const ANSWER: Duration = Duration::from_secs(20);
/// Between two questions whether something has come to pass.
const PAUSE: Duration = Duration::from_millis(50);
/// Stands before the count of a staged write in a pod's status.
const ROUND: &str = "round ";

/// Starts the hub on the node and says how kubelet reaches it.
///
/// # Errors
///
/// It does not come up.
pub async fn start_hub(machine: &Machine, unflushed: bool) -> Result<Target> {
    let hub = json!({"argv": [node::EDGEKEEP, "hub"], "stays": true, "unflushed": unflushed});
    machine.order(hub).await?.success("edgekeep hub")?;
    let end = Instant::now() + COMING_UP;
    while Instant::now() < end && !machine.ended() {
        if let Ok(target) = reach(machine).await
            && Client::connect(&target).await.is_ok()
        {
            return Ok(target);
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("the hub does not come up\n{}", machine.says())
}

/// Kills the hub, and has the kernel write everything.
///
/// # Errors
///
/// It cannot be killed.
pub async fn end_hub(machine: &Machine) -> Result<()> {
    let kill = json!({"argv": ["/bin/busybox", "killall", "-9", "edgekeep"]});
    machine.order(kill).await?.success("killall")?;
    let sync = json!({"argv": ["/bin/busybox", "sync"]});
    machine.order(sync).await?.success("sync").map(drop)
}

async fn reach(machine: &Machine) -> Result<Target> {
    let read = async |name: &str| {
        let order = json!({"argv": ["/bin/busybox", "cat", format!("{STATE}/{name}")]});
        machine.order(order).await?.success(name)
    };
    let credential = Credential { certificate: read("kubelet.crt").await?, key: read("kubelet.key").await? };
    Ok(Target { address: machine.hub, ca: read("ca.crt").await?, credential: Some(credential) })
}

/// What kubelet knows of its pods, and from whom.
pub struct Kubelet {
    client: Client,
    known: BTreeSet<String>,
}

/// A list of pods as the hub answers it.
pub struct Listed {
    /// The pods.
    pub pods: Vec<Shown>,
    /// The list's version.
    pub version: u64,
}

impl Kubelet {
    /// Connects to the hub.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub async fn connect(target: &Target) -> Result<Self> {
        let client = Client::connect(target).await.map_err(|e| anyhow!(e))?;
        Ok(Self { client, known: BTreeSet::new() })
    }

    /// Asks for the own pods until there is an answer of success.
    ///
    /// # Errors
    ///
    /// There is none in time: the last one.
    pub async fn list(&self) -> Result<Listed> {
        let end = Instant::now() + ANSWER;
        loop {
            let reply = self.client.get(PODS).await.map_err(|e| anyhow!(e))?;
            if reply.code == 200 {
                let items = reply.json.get("items").and_then(Value::as_array);
                return Ok(Listed {
                    pods: items.into_iter().flatten().map(shown).collect(),
                    version: version(&reply.json).context("a list without a version")?,
                });
            }
            if Instant::now() > end {
                bail!("GET {PODS}: {}", reply.text());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Lists, and watches until the watch ends, and so on; `hears` is told everything.
    ///
    /// # Errors
    ///
    /// The hub does not answer any more.
    pub async fn follow(&mut self, hears: &impl Fn(Said)) -> Result<()> {
        loop {
            let Listed { pods, version } = self.list().await?;
            let there: BTreeSet<String> = pods.iter().map(|pod| pod.uid.clone()).collect();
            pods.into_iter().for_each(|pod| hears(Said::Shown(pod)));
            self.known.difference(&there).for_each(|uid| hears(Said::Gone(uid.clone())));
            hears(Said::Version(version));
            self.known = there;
            self.watch(version, hears).await?;
        }
    }

    async fn watch(&mut self, from: u64, hears: &impl Fn(Said)) -> Result<()> {
        let path = format!("{PODS}&watch=true&allowWatchBookmarks=true&resourceVersion={from}");
        let Ok(mut events) = self.client.watch(&path).await else { return Ok(()) };
        // One that breaks off is begun anew, as kubelet does.
        while let Ok(Some(event)) = events.next().await {
            let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
            let Some(object) = event.get("object") else { bail!("an event without an object: {event}") };
            let pod = shown(object);
            match kind {
                "ADDED" | "MODIFIED" => {
                    self.known.insert(pod.uid.clone());
                    hears(Said::Shown(pod));
                }
                "DELETED" => {
                    self.known.remove(&pod.uid);
                    hears(Said::Gone(pod.uid));
                }
                "BOOKMARK" => {}
                _ => return Ok(()),
            }
            hears(Said::Version(version(object).context("an object without a version")?));
        }
        Ok(())
    }

    /// Writes the status of a pod. Says whether that was done.
    ///
    /// # Errors
    ///
    /// There is no answer.
    pub async fn write(&self, pod: &Shown, round: u64) -> Result<bool> {
        let path = format!("/api/v1/namespaces/default/pods/{}/status", pod.name);
        let patch = json!({"metadata": {"uid": pod.uid}, "status": {"message": format!("{ROUND}{round}")}});
        let reply = self.client.patch(&path, STRATEGIC, &patch).await.map_err(|e| anyhow!(e))?;
        Ok(reply.code == 200)
    }
}

/// What is owed of a pod that is shown so.
fn shown(pod: &Value) -> Shown {
    let text = |at: &str| pod.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let round = text("/status/message").strip_prefix(ROUND).and_then(|round| round.parse().ok());
    Shown {
        uid: text("/metadata/uid").to_owned(),
        name: text("/metadata/name").to_owned(),
        ending: !text("/metadata/deletionTimestamp").is_empty(),
        finished: matches!(text("/status/phase"), "Succeeded" | "Failed"),
        round: round.unwrap_or_default(),
    }
}

fn version(object: &Value) -> Option<u64> {
    object.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()
}
