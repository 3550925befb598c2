//! Informers that look at the order of what they are given, a writer that changes objects at all times, and a client that
//! crosses between two servers: the verbs `follow`, `write` and `cross` of `e2e/clientgo`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::kubelet::NODE;
use crate::machine::{Machine, Process};
use crate::sys;

/// What the writer changes, as the followers ask for it; of pods those of the node.
pub const RESOURCES: [&str; 4] =
    ["v1/configmaps", "v1/services", "discovery.k8s.io/v1beta1/endpointslices", "v1/pods"];
/// How many objects the writer begins with, and of which name there is one of each resource.
pub const OBJECTS: usize = 38;
/// The namespace of all of them.
pub const NAMESPACE: &str = "informers";

/// A running program that tells how things stand, a JSON object a line.
pub struct Teller {
    name: String,
    _process: Process,
}

/// How one informer stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The same for two stores with the same objects, whatever their resourceVersions.
    pub hash: String,
    /// How many objects there are.
    pub objects: u64,
    /// How many events came.
    pub events: u64,
    /// How often everything came anew.
    pub lists: u64,
    /// How many events cannot follow from those before.
    pub faults: u64,
    /// How many states of the writer were passed over.
    pub skipped: u64,
}

impl Teller {
    /// Starts informers for all [`RESOURCES`] in both encodings, with the kubeconfig of that path on `machine`.
    ///
    /// # Errors
    ///
    /// The machine is off.
    pub fn follow(machine: &Machine, program: &str, kubeconfig: &str, watch_list: bool) -> Result<Self> {
        let name = format!("followers-{}", if watch_list { "watch-list" } else { "list" });
        let (form, node) =
            (format!("--watch-list={watch_list}"), format!("--field-selector=spec.nodeName={NODE}"));
        let own = [program, "--kubeconfig", kubeconfig, "--namespace", NAMESPACE, &form, &node, "follow"];
        let process = machine.start(&name, &[own.as_slice(), &RESOURCES].concat())?;
        Ok(Self { name, _process: process })
    }

    /// Starts the writer.
    ///
    /// # Errors
    ///
    /// The machine is off.
    pub fn write(machine: &Machine, program: &str, kubeconfig: &str, seed: u64) -> Result<Self> {
        let seed = format!("--seed={seed}");
        let words = [program, "--kubeconfig", kubeconfig, "--namespace", NAMESPACE, &seed, "write"];
        Ok(Self { name: "writer".to_owned(), _process: machine.start("writer", &words)? })
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// It had ended.
    pub fn end(self, machine: &Machine) -> Result<()> {
        machine.kill(self._process)
    }

    fn lines(&self, machine: &Machine, kind: &str) -> Vec<Value> {
        let log = machine.log(&self.name);
        // The cheaper look first: there are many lines, and they are looked at again and again.
        let marked = log.lines().filter(|line| line.starts_with(&format!(r#"{{"type":"{kind}""#)));
        marked.filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// How each informer stands, by its name.
    pub fn states(&self, machine: &Machine) -> BTreeMap<String, State> {
        let state = |line: Value| {
            let number = |key: &str| line.get(key).and_then(Value::as_u64).unwrap_or_default();
            let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let state = State {
                hash: text("hash"),
                objects: number("objects"),
                events: number("events"),
                lists: number("lists"),
                faults: number("faults"),
                skipped: number("skipped"),
            };
            (text("key"), state)
        };
        // Later lines win.
        self.lines(machine, "state").into_iter().map(state).collect()
    }

    /// What it has complained of: `fault` of an event out of order, `skipped` of states passed over, `error` of a write
    /// that failed.
    pub fn complaints(&self, machine: &Machine, kind: &str) -> Vec<String> {
        self.lines(machine, kind).iter().map(Value::to_string).collect()
    }

    /// How much the writer has written.
    ///
    /// # Errors
    ///
    /// It has not told yet.
    pub fn written(&self, machine: &Machine) -> Result<u64> {
        let last = self.lines(machine, "written").pop().context("the writer has not written all objects")?;
        Ok(last.get("objects").and_then(Value::as_u64).unwrap_or_default())
    }
}

/// How a client was answered that crossed between servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossed {
    /// `informer`, `list`, `watch` or `put`.
    pub verb: String,
    /// From where to where: `hub to cloud`, `cloud to hub`.
    pub way: String,
    /// The status of the answer; 0 for an informer.
    pub status: u64,
    /// Of an informer and a watch `heard` or `deaf`; of an error its reason.
    pub reason: String,
    /// How often an informer was given everything anew so far.
    pub lists: u64,
    /// How long an informer took to hear, or what else was said.
    pub words: String,
}

/// Lets a client cross between the servers of two kubeconfigs, over the writer's first object of `resource`.
///
/// # Errors
///
/// It could not come to its end.
pub fn cross(
    node: &Machine,
    program: &str,
    [hub, cloud]: [&str; 2],
    resource: &str,
    encoding: &str,
) -> Result<Vec<Crossed>> {
    let flags = ["--kubeconfig", hub, "--other", cloud, "--namespace", NAMESPACE, "--encoding", encoding];
    let words = [&[program], flags.as_slice(), &["cross", resource, "written-0"]].concat();
    let told = sys::output(&mut node.command(&words)?)?;
    let lines = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let crossed: Vec<Crossed> = lines
        .filter(|line| line.get("type").and_then(Value::as_str) == Some("crossed"))
        .map(|line| {
            let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let number = |key: &str| line.get(key).and_then(Value::as_u64).unwrap_or_default();
            Crossed {
                verb: text("verb"),
                way: text("path"),
                status: number("status"),
                reason: text("reason"),
                lists: number("lists"),
                words: text("error"),
            }
        })
        .collect();
    if crossed.is_empty() {
        bail!("it said {told:?}");
    }
    Ok(crossed)
}
