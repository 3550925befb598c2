//! kubelet, as far as what it tells of its pods goes (wire.md §1.3): it knows of a pod what it is served, remembers nothing
//! over a restart, and writes a status by GET, merge and PATCH. Beside it the container runtime, which remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use outbox::settle::{Place, Request};
use serde_json::{Value, json};

use crate::cloud::{node_at, text};

/// What the container runtime has of a pod, by its uid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Container {
    Runs { ip: String },
    Ended { well: bool },
}

/// What kubelet has of a pod.
#[derive(Debug, Clone, Default)]
pub struct Worker {
    pub place: Option<Place>,
    /// The status it last made; nothing before the first.
    pub status: Option<Value>,
    /// It has ended, as was served or as kubelet saw: it never runs again.
    pub finished: bool,
    pub is_job: bool,
}

#[derive(Debug, Default)]
pub struct Kubelet {
    pub workers: BTreeMap<String, Worker>,
    pub shutting_down: bool,
}

/// What happened on the node that the oracle must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Did {
    Started(String),
    Killed(String),
}

pub fn is_terminal(status: &Value) -> bool {
    matches!(text(status, "/phase"), "Succeeded" | "Failed")
}

impl Kubelet {
    /// Looks at what is served and does what follows from it; what it did.
    pub fn sync(
        &mut self,
        served: &[(Place, Arc<Value>)],
        runtime: &mut BTreeMap<String, Container>,
        next_ip: &mut u32,
    ) -> Vec<Did> {
        let mut did = Vec::new();
        let present: BTreeSet<&str> = served.iter().map(|(_, pod)| text(pod, "/metadata/uid")).collect();
        let gone: Vec<String> =
            self.workers.keys().filter(|uid| !present.contains(uid.as_str())).cloned().collect();
        for uid in gone {
            self.workers.remove(&uid);
            if runtime.remove(&uid).is_some() {
                did.push(Did::Killed(uid));
            }
        }
        for (place, pod) in served {
            let uid = text(pod, "/metadata/uid").to_owned();
            let worker = self.workers.entry(uid.clone()).or_default();
            worker.place = Some(place.clone());
            worker.is_job = text(pod, "/spec/restartPolicy") == "Never";
            let served_end = is_terminal(&pod["status"]);
            let deleting = pod.pointer("/metadata/deletionTimestamp").is_some();
            if served_end || deleting || self.shutting_down {
                if served_end {
                    worker.finished = true;
                }
                if let Some(Container::Runs { .. }) = runtime.get(&uid) {
                    runtime.insert(uid.clone(), Container::Ended { well: false });
                }
                if deleting && !served_end && !runtime.contains_key(&uid) && !worker.finished {
                    runtime.insert(uid.clone(), Container::Ended { well: false });
                }
            } else if !worker.finished {
                let restarts = !worker.is_job;
                match runtime.get(&uid) {
                    Some(Container::Runs { .. }) => {}
                    Some(Container::Ended { .. }) if !restarts => {}
                    _ => {
                        *next_ip += 1;
                        runtime.insert(uid.clone(), Container::Runs { ip: format!("10.0.0.{next_ip}") });
                        did.push(Did::Started(uid.clone()));
                    }
                }
            }
            worker.make_status(pod, runtime.get(&uid), self.shutting_down);
        }
        did
    }

    /// Statuses that differ from what is served, as kubelet's own patches, by uid.
    pub fn patches(&self, served: &[(Place, Arc<Value>)]) -> Vec<(String, Request)> {
        let mut patches = Vec::new();
        for (place, pod) in served {
            let uid = text(pod, "/metadata/uid");
            let Some(status) = self.workers.get(uid).and_then(|worker| worker.status.as_ref()) else {
                continue;
            };
            if !differs(status, &pod["status"]) {
                continue;
            }
            let mut body = json!({"metadata": {"uid": uid}, "status": status});
            for name in ["reason", "message", "podIP"] {
                if status.get(name).is_none() {
                    body["status"][name] = Value::Null;
                }
            }
            let mut ips = status.get("podIPs").and_then(Value::as_array).cloned().unwrap_or_default();
            ips.push(json!({"$patch": "replace"}));
            body["status"]["podIPs"] = ips.into();
            patches.push((uid.to_owned(), request("PATCH", place, "/status", body)));
        }
        patches
    }

    /// Final deletions of pods that are to go and have ended, as is served.
    pub fn deletes(
        &self,
        served: &[(Place, Arc<Value>)],
        runtime: &BTreeMap<String, Container>,
    ) -> Vec<(String, Request)> {
        let mut deletes = Vec::new();
        for (place, pod) in served {
            let uid = text(pod, "/metadata/uid");
            let runs = matches!(runtime.get(uid), Some(Container::Runs { .. }));
            if pod.pointer("/metadata/deletionTimestamp").is_some() && is_terminal(&pod["status"]) && !runs {
                let body = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
                deletes.push((uid.to_owned(), request("DELETE", place, "", body)));
            }
        }
        deletes
    }

    /// The node's own status.
    pub fn node_patch(now: i64) -> Request {
        let body = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": moment(now)}]}});
        request("PATCH", &node_at(), "/status", body)
    }
}

impl Worker {
    fn make_status(&mut self, pod: &Value, container: Option<&Container>, shutting_down: bool) {
        if let Some(status) = &self.status
            && is_terminal(status)
        {
            return;
        }
        let served = &pod["status"];
        if is_terminal(served) {
            self.status = Some(status_of(text(served, "/phase"), None, served));
            return;
        }
        self.status = match container {
            Some(Container::Runs { ip }) => Some(status_of("Running", Some(ip), &Value::Null)),
            Some(Container::Ended { .. }) if shutting_down => {
                let message = "Pod was terminated in response to imminent node shutdown.";
                Some(status_of("Failed", None, &json!({"reason": "Terminated", "message": message})))
            }
            Some(Container::Ended { well }) => {
                let is_deleting = pod.pointer("/metadata/deletionTimestamp").is_some();
                let phase = if *well { "Succeeded" } else { "Failed" };
                (self.is_job || is_deleting)
                    .then(|| status_of(phase, None, &Value::Null))
                    .or(self.status.take())
            }
            None => Some(status_of("Pending", None, &Value::Null)),
        };
        self.finished |= self.status.as_ref().is_some_and(is_terminal);
    }
}

/// A status that kubelet makes.
fn status_of(phase: &str, ip: Option<&String>, why: &Value) -> Value {
    let ready = if phase == "Running" { "True" } else { "False" };
    let mut status = json!({"phase": phase,
        "conditions": [{"type": "Ready", "status": ready, "lastProbeTime": null, "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    if let Some(ip) = ip {
        status["podIP"] = ip.as_str().into();
        status["podIPs"] = json!([{"ip": ip}]);
    }
    for name in ["reason", "message"] {
        if let Some(value) = why.get(name) {
            status[name] = value.clone();
        }
    }
    status
}

/// Whether what kubelet says differs from what is served, in what is kubelet's.
pub fn differs(status: &Value, served: &Value) -> bool {
    let of = |status: &Value, name: &str| status.get(name).cloned().unwrap_or_default();
    ["phase", "podIP", "reason", "message"].iter().any(|name| of(status, name) != of(served, name))
        || ready(status) != ready(served)
}

/// Whether the pod, or the node, is said to be ready.
pub fn ready(status: &Value) -> &str {
    let conditions = status.get("conditions").and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().find(|condition| text(condition, "/type") == "Ready");
    ready.map_or("", |ready| text(ready, "/status"))
}

fn request(method: &'static str, (resource, key): &Place, subresource: &str, body: Value) -> Request {
    let namespace = match key.namespace() {
        "" => String::new(),
        namespace => format!("namespaces/{namespace}/"),
    };
    let path = format!("/api/v1/{namespace}{}/{}{subresource}", resource.resource(), key.name());
    let content_type =
        if method == "PATCH" { "application/strategic-merge-patch+json" } else { "application/json" };
    Request { method, path, content_type, body }
}

/// Seconds since 1970, as an object has them; near enough for a simulation of an hour.
pub fn moment(now: i64) -> String {
    let within = now.rem_euclid(86_400);
    format!("2027-01-15T{:02}:{:02}:{:02}Z", within / 3600, within / 60 % 60, within % 60)
}
