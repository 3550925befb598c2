//! Pods that are deleted in the cloud in the last second before the link is cut.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::workload::{self, NAMESPACE, PODS};
use crate::cluster::Cluster;
use crate::fields::{text_at, with};
use crate::sys;
use crate::verdict::none_of;

const STEP: Duration = Duration::from_secs(60);
/// Longer than anything that the trial waits for between the deletion and the cut: the main process ignores the polite
/// signal, so the pod still runs, and its object is still there, when the power goes.
const GRACE: u64 = 15;

/// How a pod is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// It is given time; kubelet has heard of it.
    Politely,
    /// Its object goes at once; kubelet has heard of it.
    AtOnce,
    /// As politely, but the link is cut right after: nobody knows whether the node has heard of it.
    InTheRace,
}

const WAYS: [(Way, &str); 3] =
    [(Way::Politely, "polite"), (Way::AtOnce, "at-once"), (Way::InTheRace, "race")];

/// The pods, with their uids.
pub struct Doomed {
    uids: BTreeMap<Way, (String, String)>,
}

impl Doomed {
    /// Starts them.
    ///
    /// # Errors
    ///
    /// They do not come up.
    pub async fn start(cluster: &Cluster<'_>, trial: &str) -> Result<Self> {
        let named = |name: &str| format!("doomed-{name}-{trial}").replace(", ", "-").replace(' ', "-");
        let spec = with(workload::spec(1), json!({"terminationGracePeriodSeconds": GRACE}));
        let pods: Vec<Value> = WAYS.iter().map(|(_, name)| workload::pod(&named(name), &spec)).collect();
        cluster.cloud.apply(&pods)?;
        let all = PODS + WAYS.len();
        sys::until("the pods that will be deleted are up", STEP, || workload::ready(cluster, all)).await?;
        let uid = |name: &str| -> Result<String> {
            let pod = cluster.cloud.get(&["pod", &named(name), "--namespace", NAMESPACE])?;
            Ok(text_at(&pod, "/metadata/uid")?.to_owned())
        };
        let uids = WAYS.iter().map(|(way, name)| Ok((*way, (named(name), uid(name)?))));
        Ok(Self { uids: uids.collect::<Result<_>>()? })
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.uids.values().map(|(name, _)| name.as_str())
    }

    fn name(&self, way: Way) -> &str {
        self.uids.get(&way).map(|(name, _)| name.as_str()).unwrap_or_default()
    }

    /// Deletes two, waits until kubelet tells the cloud that it is ending them, and deletes the third: kubelet hears of
    /// it through the hub, so the hub has heard of it.
    ///
    /// # Errors
    ///
    /// kubelet does not hear of it.
    pub async fn delete(&self, cluster: &Cluster<'_>) -> Result<()> {
        let delete = |way: Way, more: &[&str]| {
            let words = ["delete", "pod", self.name(way), "--namespace", NAMESPACE, "--wait=false"];
            cluster.cloud.kubectl(&[words.as_slice(), more].concat()).map(drop)
        };
        delete(Way::Politely, &[])?;
        delete(Way::AtOnce, &["--grace-period=0", "--force"])?;
        for way in [Way::Politely, Way::AtOnce] {
            sys::until("kubelet hears of the deletion", STEP, || self.heard(cluster, way)).await?;
        }
        delete(Way::InTheRace, &[])
    }

    fn heard(&self, cluster: &Cluster<'_>, way: Way) -> Result<()> {
        let uid = self.uids.get(&way).map(|(_, uid)| uid.as_str()).unwrap_or_default();
        let selector = format!("--field-selector=reason=Killing,involvedObject.uid={uid}");
        let events = cluster.cloud.get(&["events", "--namespace", NAMESPACE, &selector])?;
        match events.get("items").and_then(Value::as_array) {
            Some(found) if !found.is_empty() => Ok(()),
            _ => bail!("no event tells that it is ending {}", self.name(way)),
        }
    }

    /// That none of those runs of whose deletion the node had heard. With `all`, none at all.
    ///
    /// # Errors
    ///
    /// One does.
    pub async fn none_runs(&self, cluster: &Cluster<'_>, all: bool) -> Result<String> {
        let sandboxes = cluster.stage.runner.cri.sandboxes().await?;
        let running = sandboxes.into_iter().filter(|sandbox| sandbox.state == 0);
        let names: Vec<String> = running.filter_map(|one| one.metadata).map(|meta| meta.name).collect();
        let risen = self.uids.iter().filter(|(way, (name, _))| {
            (all || **way != Way::InTheRace) && names.iter().any(|running| running == name)
        });
        let risen: Vec<String> = risen.map(|(_, (name, _))| format!("{name} has a sandbox")).collect();
        let race =
            if names.iter().any(|name| name == self.name(Way::InTheRace)) { "runs" } else { "does not run" };
        none_of(&risen, format!("{} sandboxes; the one in the race {race}", names.len()))
    }

    /// That the cloud knows none of them any more.
    ///
    /// # Errors
    ///
    /// It does.
    pub fn forgotten(&self, cluster: &Cluster<'_>) -> Result<String> {
        let there = workload::pods(cluster)?;
        let there: Vec<&str> =
            there.iter().map(|pod| text_at(pod, "/metadata/name")).collect::<Result<_>>()?;
        let left: Vec<String> = self.names().filter(|name| there.contains(name)).map(str::to_owned).collect();
        none_of(&left, "all three".to_owned())
    }
}
