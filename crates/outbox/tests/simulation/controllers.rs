//! The cloud's controllers, as little of them as meets a node that comes and goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use outbox::settle::Place;
use patch::{DeleteOptions, Deletion, Release, Served, Write};
use serde_json::{Value, json};
use wire::Resource;
use wire::schema::Kind;

use crate::cloud::{Cloud, NODE, node_at, pod_at, text};
use crate::kubelet::{is_terminal, moment, ready};

/// Without a heartbeat for so long a node counts as lost, and after so long its pods are deleted.
const LOST: i64 = 40;
const EVICTED: i64 = 300;

const TRACKED: &str = "batch.kubernetes.io/job-tracking";

#[derive(Debug, Clone, Default)]
pub struct Controllers {
    /// When kubelet's lease was renewed last.
    pub lease: i64,
    /// Jobs: whether they are complete.
    pub jobs: [bool; 2],
    pub next: u32,
    /// The endpoints of all Services, by the pods' uids: address, and whether it is ready.
    pub endpoints: BTreeMap<String, (String, bool)>,
}

impl Controllers {
    pub fn work(&mut self, cloud: &mut Cloud, now: i64) {
        self.node_lifecycle(cloud, now);
        let usable = cloud.get(&node_at()).is_some_and(|node| ready(&node["status"]) == "True");
        for job in 0..self.jobs.len() {
            self.job(cloud, job, usable);
        }
        self.replicas(cloud, usable);
        if usable && cloud.get(&pod_at("db-0")).is_none() {
            self.create(cloud, "db-0", "StatefulSet", NODE);
        }
        self.endpoint_slices(cloud);
    }

    /// Every pod that has an address and has not ended is an endpoint.
    fn endpoint_slices(&mut self, cloud: &Cloud) {
        let lives = pods(cloud).filter(|(_, pod)| !is_terminal(&pod["status"]));
        let endpoint = |(_, pod): (&Place, &Arc<Value>)| {
            let address = text(pod, "/status/podIP");
            let ready = ready(&pod["status"]) == "True";
            (!address.is_empty())
                .then(|| (text(pod, "/metadata/uid").to_owned(), (address.to_owned(), ready)))
        };
        self.endpoints = lives.filter_map(endpoint).collect();
    }

    fn node_lifecycle(&self, cloud: &mut Cloud, now: i64) {
        let age = now - self.lease;
        if age <= LOST {
            return;
        }
        if cloud.get(&node_at()).is_some_and(|node| ready(&node["status"]) != "Unknown") {
            cloud.edit(&node_at(), |node| {
                node["status"]["conditions"] = json!([{"type": "Ready", "status": "Unknown",
                    "lastHeartbeatTime": moment(now), "lastTransitionTime": moment(now)}]);
            });
        }
        for (place, pod) in own_pods(cloud) {
            if is_terminal(&pod["status"]) {
                continue;
            }
            if ready(&pod["status"]) == "True" {
                cloud.edit(&place, |pod| {
                    pod["status"]["conditions"][0]["status"] = "False".into();
                    pod["status"]["conditions"][0]["lastTransitionTime"] = moment(now).into();
                });
            }
            if age > EVICTED {
                delete(cloud, &place, None, now);
            }
        }
    }

    fn job(&mut self, cloud: &mut Cloud, job: usize, usable: bool) {
        let prefix = format!("job{job}-");
        let pods: Vec<(Place, Arc<Value>)> = pods(cloud)
            .filter(|(place, _)| place.1.name().starts_with(&prefix))
            .map(|(place, pod)| (place.clone(), pod.clone()))
            .collect();
        let mut active = false;
        for (place, pod) in pods {
            let ended = is_terminal(&pod["status"]);
            active |= !ended && pod.pointer("/metadata/deletionTimestamp").is_none();
            self.jobs[job] |= text(&pod, "/status/phase") == "Succeeded";
            // What is counted is let go; so is what was lost with its node.
            if ended && pod.pointer("/metadata/finalizers").is_some() {
                let is_going = pod.pointer("/metadata/deletionTimestamp").is_some();
                let grace = pod.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
                if is_going && grace == Some(0) {
                    cloud.remove(&place);
                } else {
                    cloud.edit(&place, |pod| {
                        drop(pod["metadata"].as_object_mut().unwrap().remove("finalizers"))
                    });
                }
            }
        }
        if !self.jobs[job] && !active {
            let node = if usable { NODE } else { "other" };
            self.next += 1;
            let name = format!("{prefix}{}", self.next);
            self.create(cloud, &name, "Job", node);
            if node == "other" {
                cloud.edit(&pod_at(&name), |pod| pod["status"]["phase"] = "Succeeded".into());
            }
        }
    }

    fn replicas(&mut self, cloud: &mut Cloud, usable: bool) {
        let web = |place: &Place| place.1.name().starts_with("web-");
        let lives = |pod: &Value| {
            !is_terminal(&pod["status"]) && pod.pointer("/metadata/deletionTimestamp").is_none()
        };
        let active = pods(cloud).any(|(place, pod)| web(place) && lives(pod));
        if usable && !active {
            self.next += 1;
            let name = format!("web-{}", self.next);
            self.create(cloud, &name, "ReplicaSet", NODE);
        }
    }

    fn create(&mut self, cloud: &mut Cloud, name: &str, owner: &str, node: &str) {
        self.next += 1;
        let group = if owner == "Job" { "batch/v1" } else { "apps/v1" };
        let policy = if owner == "Job" { "Never" } else { "Always" };
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop", "uid": format!("u{}", self.next), "creationTimestamp": "2027-01-01T00:00:00Z",
                "ownerReferences": [{"apiVersion": group, "kind": owner, "name": "o", "uid": "o"}]},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": {}}], "nodeName": node,
                "restartPolicy": policy, "terminationGracePeriodSeconds": 30},
            "status": {"phase": "Pending", "qosClass": "BestEffort", "conditions": []}});
        if owner == "Job" {
            pod["metadata"]["finalizers"] = json!([TRACKED]);
        }
        cloud.store(&pod_at(name), pod);
    }
}

pub fn node(uid: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "uid": uid, "creationTimestamp": "2027-01-01T00:00:00Z"},
        "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "Unknown", "lastHeartbeatTime": null,
            "lastTransitionTime": "2027-01-01T00:00:00Z"}]}})
}

fn pods(cloud: &Cloud) -> impl Iterator<Item = (&Place, &Arc<Value>)> {
    cloud.objects.iter().filter(|((resource, _), _)| resource.resource() == "pods")
}

pub fn own_pods(cloud: &Cloud) -> Vec<(Place, Arc<Value>)> {
    cloud.pods().map(|(place, pod)| (place.clone(), pod.clone())).collect()
}

/// A deletion by a user or a controller; 0 seconds: whatever holds it.
pub fn delete(cloud: &mut Cloud, place: &Place, grace: Option<i64>, now: i64) {
    if grace == Some(0) {
        cloud.remove(place);
        return;
    }
    let Some(present) = cloud.get(place).cloned() else { return };
    let resource = Resource {
        version: "v1".into(),
        namespace: "shop".into(),
        resource: "pods".into(),
        name: place.1.name().to_owned(),
        ..Resource::default()
    };
    let served = Served::BuiltIn(Kind::find("", "v1", "Pod").unwrap());
    let write = Write { resource: &resource, served, release: Release::default(), node: None };
    match patch::delete(
        &present,
        &write,
        &DeleteOptions { grace_period_seconds: grace, ..DeleteOptions::default() },
        now,
    ) {
        Ok(Deletion::Removed(_)) => cloud.remove(place),
        Ok(Deletion::Marked(object)) => drop(cloud.store(place, object)),
        Ok(Deletion::Pending(_)) | Err(_) => {}
    }
}
