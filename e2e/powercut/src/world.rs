//! The cloud of the virtual node: the miniature, with pods that come, change, finish and go.

use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testkit::cloud::{Cloud, Options, Rule, User};
use testkit::relay::Mode;
use testkit::rng::Rng;

use crate::{node, proxy};

/// How large what is not owed is, in pieces of sixteen bytes: several sectors.
const FILLED: usize = 200;
/// So many pods are on the node at most.
const MOST: usize = 24;

/// The cloud, and what of it the node is to know.
pub struct World {
    /// The cloud.
    pub cloud: Rc<Cloud>,
    pods: BTreeMap<String, Value>,
    named: u64,
}

/// What is done next.
#[derive(Debug, Clone)]
pub enum Change {
    /// The pod is written: it comes, or changes.
    Put(Value),
    /// The pod with this name and uid goes.
    Remove(String, String),
    /// The members of this number of the sets that kube-proxy follows get another content.
    Fill(usize, u64),
}

impl World {
    /// A cloud in which the node may do what nodes may, and has a few pods.
    ///
    /// # Errors
    ///
    /// It cannot listen.
    pub async fn start(rng: &mut Rng) -> Result<Self> {
        let options =
            Options { names: vec![node::OUTSIDE.into()], seed: rng.next_u64(), ..Options::default() };
        let cloud = Cloud::start(options).await.context("the miniature cloud cannot listen")?;
        let all = ["get", "list", "watch", "create", "update", "patch", "delete"];
        let rule = || Rule::user(&format!("system:node:{}", node::NAME)).can(&all);
        cloud.allow(rule().on("", &["nodes", "nodes/status", "pods", "pods/status", "services", "events"]));
        cloud.allow(rule().on("certificates.k8s.io", &["certificatesigningrequests"]));
        let own = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node::NAME}});
        cloud.put("", "nodes", own);
        cloud.allow(rule().on("discovery.k8s.io", &["endpointslices"]));
        let mut world = Self { cloud: Rc::new(cloud), pods: BTreeMap::new(), named: 0 };
        for _ in 0..5 {
            let pod = world.new_pod();
            world.carry_out(Change::Put(pod));
        }
        for number in 0..proxy::MEMBERS {
            world.carry_out(Change::Fill(number, rng.next_u64()));
        }
        Ok(world)
    }

    /// The files by which the node finds its cloud, and the hub its place.
    pub fn files(&self) -> Vec<(&'static str, String)> {
        let server = format!("https://{}:{}", node::OUTSIDE, self.cloud.address().port());
        let credential = self.cloud.credential(&User::node(node::NAME));
        let (ca, certificate, key) = (
            STANDARD.encode(self.cloud.ca()),
            STANDARD.encode(credential.certificate),
            STANDARD.encode(credential.key),
        );
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority-data": ca}}],
            "users": [{"name": "u", "user": {"client-certificate-data": certificate, "client-key-data": key}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        let hub = format!(
            "apiVersion: hub.edgekeep/v1alpha1\nkind: HubConfiguration\nlogLevel: warn\nlisten: [\"{}:{}\"]\n\
             names: [\"127.0.0.1\"]\n",
            node::ADDRESS,
            node::HUB_PORT
        );
        vec![("etc/kubernetes/kubelet.conf", kubeconfig.to_string()), ("etc/edgekeep/hub.yaml", hub)]
    }

    /// What happens next.
    pub fn next(&mut self, rng: &mut Rng) -> Change {
        if rng.chance(30) {
            return Change::Fill(rng.index(proxy::MEMBERS), rng.next_u64());
        }
        let names: Vec<String> = self.pods.keys().cloned().collect();
        if names.len() < 3 || (names.len() < MOST && rng.chance(35)) {
            return Change::Put(self.new_pod());
        }
        let mut pod = self.pods.get(rng.pick(&names)).cloned().unwrap_or_default();
        let text =
            |pod: &Value, at: &str| pod.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        if pod.pointer("/metadata/deletionTimestamp").is_some() {
            return Change::Remove(text(&pod, "/metadata/name"), text(&pod, "/metadata/uid"));
        }
        match rng.below(4) {
            0 => set(&mut pod, "/metadata", "deletionTimestamp", "2026-01-01T00:00:00Z"),
            1 => set(&mut pod, "/status", "phase", "Succeeded"),
            _ => set(&mut pod, "/metadata/annotations", "round", &rng.next_u64().to_string()),
        }
        Change::Put(pod)
    }

    /// Does it.
    pub fn carry_out(&mut self, change: Change) {
        match change {
            Change::Put(pod) => {
                let text = |at: &str| pod.pointer(at).and_then(Value::as_str).unwrap_or_default();
                let (name, uid) = (text("/metadata/name"), text("/metadata/uid"));
                if !uid.is_empty() && self.cloud.get("", "pods", "default", name).is_none() {
                    // kubelet has told its end meanwhile; it does not come back.
                    self.pods.remove(name);
                    return;
                }
                let written = self.cloud.put("", "pods", pod);
                let name = written.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
                self.pods.insert(name.to_owned(), Value::clone(&written));
            }
            Change::Fill(number, content) => {
                // The same objects always: one that went and came again would be absent in between.
                let metadata = json!({
                    "namespace": "default", "name": format!("set-{number}"), "uid": format!("set-{number}"),
                    "annotations": {"content": format!("{content:016x}").repeat(FILLED)},
                });
                let slice = json!({"metadata": metadata.clone(), "addressType": "IPv4", "endpoints": []});
                self.cloud.put("discovery.k8s.io", "endpointslices", slice);
                self.cloud.put("", "services", json!({"metadata": metadata}));
            }
            Change::Remove(name, _) => {
                self.cloud.remove("", "pods", "default", &name);
                self.pods.remove(&name);
            }
        }
    }

    fn new_pod(&mut self) -> Value {
        self.named += 1;
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "default", "name": format!("web-{}", self.named), "annotations": {"round": "0"}},
            "spec": {"nodeName": node::NAME, "containers": [{"name": "c", "image": "i"}]},
            "status": {"phase": "Running"},
        })
    }
}

/// Lets the node reach the cloud, or not.
///
/// # Errors
///
/// The link cannot be switched.
pub async fn link(cloud: &Cloud, whole: bool) -> Result<()> {
    cloud.link().switch(if whole { Mode::Pass } else { Mode::Refuse }).await?;
    if !whole {
        cloud.link().reset();
    }
    Ok(())
}

fn set(object: &mut Value, at: &str, key: &str, value: &str) {
    if let Some(map) = object.pointer_mut(at).and_then(Value::as_object_mut) {
        map.insert(key.to_owned(), value.into());
    }
}
