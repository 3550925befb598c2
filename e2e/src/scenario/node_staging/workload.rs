//! Pods that answer with their name, a Job that ends when it is told to, and many pods that kubelet will not admit.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::fields::text_at;
use crate::kubelet::NODE;
use crate::pods::PORT;
use crate::verdict::none_of;
use crate::{image, sys};

/// The namespace of all of them.
pub const NAMESPACE: &str = "staging";
/// The Job.
pub const JOB: &str = "task";
/// How many pods kubelet does not admit.
pub const MANY: usize = 100;
/// How many answer.
pub const ANSWERING: usize = 6;
/// Where the Job's runs leave a line and find out that they may end, below the node's /var/lib.
const RUNS: &str = "e2e/staging";
const COMING_UP: Duration = Duration::from_secs(120);

/// The pods of the namespace, as somebody shows them.
#[derive(Clone, Debug)]
pub struct Pods(BTreeMap<String, Value>);

impl Pods {
    /// Those of a list.
    pub fn of(list: &Value) -> Result<Self> {
        let items = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let named = |pod: Value| Ok((text_at(&pod, "/metadata/name")?.to_owned(), pod));
        items.into_iter().map(named).collect::<Result<_>>().map(Self)
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// That they are `count`.
    pub fn count(&self, count: usize) -> Result<()> {
        if self.len() == count { Ok(()) } else { bail!("{} pods of {count}", self.len()) }
    }

    fn places(&self) -> impl Iterator<Item = (&String, IpAddr)> {
        let address = |pod: &Value| text_at(pod, "/status/podIP").ok()?.parse().ok();
        let answers = |name: &&String| name.starts_with("web-");
        self.0
            .iter()
            .filter(move |(name, _)| answers(name))
            .filter_map(move |(name, pod)| Some((name, address(pod)?)))
    }

    /// Those that answer and are not where they were `before`, with their versions.
    pub fn moved(&self, before: &Self) -> Vec<(String, u64)> {
        let old: BTreeMap<&String, IpAddr> = before.places().collect();
        let moved = self.places().filter(|(name, at)| old.get(name).is_some_and(|old| old != at));
        moved.filter_map(|(name, _)| Some((name.clone(), version(self.0.get(name)?)?))).collect()
    }

    /// Those that answer and are still shown where they were `before`.
    pub fn not_moved(&self, before: &Self) -> Vec<String> {
        let moved: Vec<String> = self.moved(before).into_iter().map(|(name, _)| name).collect();
        before.places().map(|(name, _)| name.clone()).filter(|name| !moved.contains(name)).collect()
    }

    /// That those that answer are where they are in `other`.
    pub fn same_places(&self, other: &Self) -> Result<String> {
        let now: BTreeMap<&String, IpAddr> = self.places().collect();
        let wrong = other.places().filter(|(name, at)| now.get(name) != Some(at));
        let wrong: Vec<String> =
            wrong.map(|(name, at)| format!("{name} is at {:?}, not {at}", now.get(name))).collect();
        none_of(&wrong, format!("{} pods", now.len()))
    }

    /// That each answers with its name at the address that is shown.
    pub fn answer(&self, cluster: &Cluster<'_>) -> Result<String> {
        let mut wrong = Vec::new();
        for (name, at) in self.places() {
            let script = format!("echo | timeout 3 busybox nc -w 2 {at} {PORT}");
            let said = cluster.stage.node.run(&["sh", "-c", &script]).unwrap_or_default();
            if said.trim() != name {
                wrong.push(format!("{name} at {at}: {said:?}"));
            }
        }
        none_of(&wrong, format!("{} pods", self.places().count()))
    }

    /// That `count` pods were refused by kubelet.
    pub fn refused(&self, count: usize) -> Result<String> {
        let failed = |pod: &&Value| text_at(pod, "/status/phase").is_ok_and(|phase| phase == "Failed");
        let refused = self.0.iter().filter(|(name, _)| name.starts_with("many-")).map(|(_, pod)| pod);
        match refused.filter(failed).count() {
            found if found == count => Ok(format!("{found} pods")),
            found => bail!("{found} of {count}"),
        }
    }

    /// The UID of a pod; `None` if there is none of this name.
    pub fn uid(&self, name: &str) -> Option<String> {
        text_at(self.0.get(name)?, "/metadata/uid").ok().map(str::to_owned)
    }

    /// That each of those that answer has an address and is ready.
    pub fn ready(&self) -> Result<String> {
        let is_ready = |pod: &Value| {
            let conditions =
                pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
            let mut ready = conditions.filter(|one| one.get("type").and_then(Value::as_str) == Some("Ready"));
            ready.next().and_then(|one| one.get("status")).and_then(Value::as_str) == Some("True")
        };
        let answering = self.0.iter().filter(|(name, _)| name.starts_with("web-"));
        let open: Vec<&String> = answering.filter(|(_, pod)| !is_ready(pod)).map(|(name, _)| name).collect();
        if open.is_empty() {
            Ok(format!("{} pods", self.places().count()))
        } else {
            bail!("not ready: {open:?}")
        }
    }

    /// The phase of the Job's only pod.
    pub fn phase_of_job(&self) -> Result<String> {
        let of_job: Vec<&Value> =
            self.0.iter().filter(|(name, _)| name.starts_with(JOB)).map(|(_, pod)| pod).collect();
        match of_job.as_slice() {
            [pod] => Ok(text_at(pod, "/status/phase")?.to_owned()),
            others => bail!("{} pods", others.len()),
        }
    }

    /// That `other` shows the same, but for versions.
    pub fn agree(&self, other: &Self) -> Result<String> {
        let bare = |pod: &Value| {
            let mut pod = pod.clone();
            for name in ["resourceVersion", "managedFields", "selfLink"] {
                if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.remove(name);
                }
            }
            pod
        };
        let names = self.0.keys().chain(other.0.keys().filter(|name| !self.0.contains_key(*name)));
        let differs = names.filter(|name| self.0.get(*name).map(bare) != other.0.get(*name).map(bare));
        let differs: Vec<String> = differs
            .map(|name| format!("{name}: {:?} and {:?}", self.0.get(name), other.0.get(name)))
            .collect();
        none_of(&differs, format!("{} pods", self.len()))
    }
}

fn version(object: &Value) -> Option<u64> {
    object.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()
}

/// The last version of each object that an informer has told of.
pub fn versions(lines: &[Value]) -> BTreeMap<String, u64> {
    let text = |line: &Value, name: &str| line.get(name).and_then(Value::as_str).map(str::to_owned);
    lines.iter().filter_map(|line| Some((text(line, "key")?, text(line, "rv")?.parse().ok()?))).collect()
}

/// The pods as the cloud knows them.
pub fn in_cloud(cluster: &Cluster<'_>) -> Result<Pods> {
    Pods::of(&cluster.cloud.get(&["pods", "--namespace", NAMESPACE])?)
}

/// How often the Job's pod has run.
pub fn runs(cluster: &Cluster<'_>) -> usize {
    let path = cluster.stage.node.var_lib().join(RUNS).join("runs");
    fs::read_to_string(path).map_or(0, |lines| lines.lines().count())
}

/// Lets the Job come to its end.
pub fn end_job(cluster: &Cluster<'_>) -> Result<()> {
    fs::write(cluster.stage.node.var_lib().join(RUNS).join("end"), "")
        .context("the job cannot be told to end")
}

/// Starts those that answer and the Job, and waits until the cloud knows them as running.
pub async fn start(cluster: &mut Cluster<'_>) -> Result<Pods> {
    fs::create_dir_all(cluster.stage.node.var_lib().join(RUNS))?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    cluster.cloud.apply(&[namespace])?;
    let account = ["serviceaccount", "default", "--namespace", NAMESPACE];
    sys::until("the namespace has its account", COMING_UP, || cluster.cloud.get(&account)).await?;
    let authority = ["configmap", "kube-root-ca.crt", "--namespace", NAMESPACE];
    sys::until("the authority is in the namespace", COMING_UP, || cluster.cloud.get(&authority)).await?;
    let mut all: Vec<Value> = (0..ANSWERING).map(answering).collect();
    all.push(job());
    cluster.cloud.apply(&all)?;
    sys::until("all pods run", COMING_UP, || {
        let pods = in_cloud(cluster)?;
        pods.count(ANSWERING + 1)?;
        let runs = |pod: &Value| text_at(pod, "/status/phase").is_ok_and(|phase| phase == "Running");
        match pods.0.values().filter(|pod| !runs(pod)).count() {
            0 if pods.places().count() == ANSWERING => Ok(pods),
            open => bail!("{open} do not run"),
        }
    })
    .await
}

/// Binds many pods to the node that do not fit it.
pub fn bind_many(cluster: &Cluster<'_>) -> Result<()> {
    let pod = |at: usize| {
        let container =
            json!({"name": "main", "image": image::BUSYBOX, "imagePullPolicy": "Never", "args": ["true"]});
        let spec = json!({"nodeSelector": {"zone": "nowhere"}, "containers": [container]});
        object(&format!("many-{at:03}"), &spec)
    };
    cluster.cloud.apply(&(0..MANY).map(pod).collect::<Vec<_>>())
}

fn object(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": NAMESPACE, "name": name}, "spec": placed(spec)})
}

/// On the node, for as long as it is away.
fn placed(spec: &Value) -> Value {
    let away = ["not-ready", "unreachable"].map(
        |what| json!({"key": format!("node.kubernetes.io/{what}"), "operator": "Exists", "effect": "NoExecute"}),
    );
    let own = json!({"nodeName": NODE, "terminationGracePeriodSeconds": 1, "tolerations": away});
    crate::fields::with(own, spec.clone())
}

/// A pod that answers with its name.
pub fn answering(at: usize) -> Value {
    let name = json!([{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    let script = format!("exec busybox nc -ll -p {PORT} -e busybox echo $POD");
    let container = json!({"name": "main", "image": image::BUSYBOX, "imagePullPolicy": "Never",
        "args": ["sh", "-c", script], "env": name});
    object(&format!("web-{at}"), &json!({"containers": [container]}))
}

fn job() -> Value {
    let volume = json!({"name": "runs", "hostPath": {"path": format!("/var/lib/{RUNS}")}});
    let script = "[ -e /runs/began ] || { echo run >>/runs/runs; : >/runs/began; }
        while [ ! -e /runs/end ]; do sleep 0.2; done
        [ -e /runs/ended ] && echo again >>/runs/runs; : >/runs/ended";
    let container = json!({"name": "main", "image": image::BUSYBOX, "imagePullPolicy": "Never",
        "args": ["sh", "-c", script], "volumeMounts": [{"name": "runs", "mountPath": "/runs"}]});
    let spec = placed(&json!({"restartPolicy": "OnFailure", "containers": [container], "volumes": [volume]}));
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"namespace": NAMESPACE, "name": JOB},
        "spec": {"template": {"spec": spec}}})
}
