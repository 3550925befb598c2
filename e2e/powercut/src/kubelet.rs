//! A miniature kubelet: lists and watches its pods through the hub, writes what it knows of them, and tells what it hears.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use testkit::cloud::Credential;
use testkit::cloud::contract::client::{Client, Reply, STRATEGIC, Target};

use crate::diary::{Said, Shown};
use crate::machine::Machine;
use crate::node;
use crate::pulse::Pulse;

/// The hub's own directory on the node.
const STATE: &str = "/var/lib/edgekeep/hub/pki";
/// The node, and its pods.
const OWN_NODE: &str = "/api/v1/nodes/edge-1";
const PODS: &str = "/api/v1/pods?fieldSelector=spec.nodeName%3Dedge-1";
/// How long the hub may take to come up, in seconds of the guest's.
const COMING_UP: u64 = 300;
/// How long the hub may be asked for something before it has it, in seconds of the guest's; what it has is on its disk.
const ANSWER: u64 = 120;
/// Between two questions whether something has come to pass.
pub const PAUSE: Duration = Duration::from_millis(50);
/// Stands before the count of a write in a status.
const ROUND: &str = "round ";

/// Starts the hub on the node and says how kubelet reaches it.
///
/// # Errors
///
/// It does not come up.
pub async fn start_hub(machine: &Machine, unflushed: bool) -> Result<Target> {
    let hub = json!({"argv": [node::EDGEKEEP, "hub"], "stays": true, "unflushed": unflushed});
    machine.order(hub).await?.success("edgekeep hub")?;
    let comes_up = async {
        while !machine.ended() {
            if let Ok(target) = reach(machine).await
                && Client::connect(&target).await.is_ok()
            {
                return Some(target);
            }
            tokio::time::sleep(PAUSE).await;
        }
        None
    };
    let up = machine.pulse.within(COMING_UP, "the hub is to come up", comes_up).await;
    match up? {
        Some(target) => Ok(target),
        None => bail!("the hub ended instead of coming up\n{}", machine.says()),
    }
}

/// Kills the hub.
///
/// # Errors
///
/// It cannot be killed.
pub async fn kill_hub(machine: &Machine) -> Result<()> {
    let kill = json!({"argv": ["/bin/busybox", "killall", "-9", "edgekeep"]});
    machine.order(kill).await?.success("killall").map(drop)
}

async fn reach(machine: &Machine) -> Result<Target> {
    let read = async |name: &str| {
        let order = json!({"argv": ["/bin/busybox", "cat", format!("{STATE}/{name}")]});
        machine.order(order).await?.success(name)
    };
    let credential = Credential { certificate: read("kubelet.crt").await?, key: read("kubelet.key").await? };
    Ok(Target { address: machine.hub, ca: read("ca.crt").await?, credential: Some(credential) })
}

/// What kubelet knows of its node and pods, and from whom.
pub struct Kubelet {
    target: Target,
    pulse: Arc<Pulse>,
    client: Client,
    known: BTreeSet<String>,
}

/// The node and its pods as the hub answers them.
pub struct Listed {
    /// They.
    pub objects: Vec<Shown>,
    /// The version of the list of pods.
    pub version: u64,
}

impl Kubelet {
    /// Connects to the hub.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub async fn connect(machine: &Machine, target: &Target) -> Result<Self> {
        let pulse = Arc::clone(&machine.pulse);
        let client = pulse.within(ANSWER, "a connection to the hub", Client::connect(target)).await?;
        let client = client.map_err(|e| anyhow!(e))?;
        Ok(Self { target: target.clone(), pulse, client, known: BTreeSet::new() })
    }

    /// Asks for the node and its pods until there are answers of success.
    ///
    /// # Errors
    ///
    /// There are none in time: the last one.
    pub async fn list(&mut self) -> Result<Listed> {
        let (node, pods) = (self.read(OWN_NODE).await?, self.read(PODS).await?);
        let items = pods.get("items").and_then(Value::as_array);
        let objects = items.into_iter().flatten().chain([&node]).map(shown).collect();
        Ok(Listed { objects, version: version(&pods).context("a list without a version")? })
    }

    async fn read(&mut self, path: &str) -> Result<Value> {
        let end = self.pulse.beats() + ANSWER;
        loop {
            let answer = self.pulse.within(ANSWER, path, self.client.get(path)).await?;
            let said = match answer {
                Ok(reply) if reply.code == 200 => return Ok(reply.json),
                Ok(reply) => reply.text(),
                Err(broken) => {
                    self.connect_again().await;
                    broken
                }
            };
            if self.pulse.beats() > end {
                bail!("GET {path}: {said}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The hub may have been started anew.
    async fn connect_again(&mut self) {
        let connects = self.pulse.within(ANSWER, "a connection to the hub", Client::connect(&self.target));
        if let Ok(Ok(client)) = connects.await {
            self.client = client;
        }
    }

    /// Lists, and watches until the watch ends, and so on; `hears` is told everything.
    ///
    /// # Errors
    ///
    /// The hub does not answer any more.
    pub async fn follow(&mut self, hears: &impl Fn(Said)) -> Result<()> {
        loop {
            let Listed { objects, version } = self.list().await?;
            let there: BTreeSet<String> = objects.iter().map(|object| object.uid.clone()).collect();
            objects.into_iter().for_each(|object| hears(Said::Shown(object)));
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

    /// Writes the status of the node or of a pod. Says whether that was done.
    pub async fn write(&mut self, object: &Shown, round: u64) -> bool {
        let said = format!("{ROUND}{round}");
        let (path, status) = if object.name == node::NAME {
            (format!("{OWN_NODE}/status"), json!({"nodeInfo": {"osImage": said}}))
        } else {
            (format!("{}/status", path(object)), json!({"message": said}))
        };
        let patch = json!({"metadata": {"uid": object.uid}, "status": status});
        let reply = self.client.patch(&path, STRATEGIC, &patch).await;
        self.is_done(reply).await
    }

    /// Tells that nothing of a pod runs any more, which is its end. Says whether that was done.
    pub async fn delete(&mut self, pod: &Shown) -> bool {
        let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid}});
        let reply = self.client.delete(&path(pod), &options).await;
        self.is_done(reply).await
    }

    async fn is_done(&mut self, reply: Result<Reply, String>) -> bool {
        if reply.is_err() {
            self.connect_again().await;
        }
        reply.is_ok_and(|reply| reply.code == 200)
    }
}

fn path(pod: &Shown) -> String {
    format!("/api/v1/namespaces/default/pods/{}", pod.name)
}

/// What is owed of the node, or of a pod, that is shown so.
fn shown(object: &Value) -> Shown {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let said = [text("/status/message"), text("/status/nodeInfo/osImage")];
    let round = said.iter().find_map(|said| said.strip_prefix(ROUND)?.parse().ok());
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
