//! A pod's status as kubelet would merge it (`mergePodStatus` in `pkg/kubelet/status/status_manager.go`).

use serde_json::Value;

use super::{conditions_of, newest_observed, take, text};

/// Members of a pod's status that are kubelet's: as it has them, and gone where it has none.
const OWNED: [&str; 13] = [
    "allocatedResources",
    "containerStatuses",
    "ephemeralContainerStatuses",
    "hostIP",
    "hostIPs",
    "initContainerStatuses",
    "message",
    "phase",
    "podIP",
    "podIPs",
    "reason",
    "resources",
    "startTime",
];

/// Members that others write. What is in neither list is newer than these lists: the cloud's where it has it.
const FOREIGN: [&str; 8] = [
    "conditions",
    "extendedResourceClaimStatus",
    "nodeAllocatableResourceClaimStatuses",
    "nominatedNodeName",
    "observedGeneration",
    "qosClass",
    "resize",
    "resourceClaimStatuses",
];

/// Conditions that kubelet owns, of all releases (`PodHasNetwork` was the first name of `PodReadyToStartContainers`).
const CONDITIONS: [&str; 9] = [
    "AllContainersRestarting",
    "ContainersReady",
    "Initialized",
    "PodHasNetwork",
    "PodReadyToStartContainers",
    "PodResizeInProgress",
    "PodResizePending",
    "PodScheduled",
    "Ready",
];

/// Written by kubelet only together with a terminal phase of its own making.
const SHARED: &str = "DisruptionTarget";

/// What says why the phase is what it is.
const OF_THE_PHASE: [&str; 3] = ["message", "phase", "reason"];

/// The pod as the cloud has it, with the status that kubelet has for it. A pod that has ended in the cloud stays ended,
/// in the phase that stands there.
pub fn pod(local: &Value, fresh: &Value) -> Value {
    let ended_there = is_terminal(fresh);
    let ended_here = is_terminal(local);
    if ended_there && !ended_here {
        return fresh.clone();
    }
    let mut pod = fresh.clone();
    let Some(said) = local.get("status").filter(|status| status.is_object()) else { return pod };
    let Some(status) = status_of(&mut pod) else { return pod };
    let phase_differs = ended_there && text(said, "phase") != phase(fresh);
    for name in OWNED {
        if !(phase_differs && OF_THE_PHASE.contains(&name)) {
            take(status, name, said.get(name));
        }
    }
    for (name, value) in said.as_object().into_iter().flatten() {
        if !status.contains_key(name) && !FOREIGN.contains(&name.as_str()) {
            status.insert(name.clone(), value.clone());
        }
    }
    if !status.contains_key("qosClass") {
        take(status, "qosClass", said.get("qosClass"));
    }
    let ends_now = ended_here && !ended_there;
    let has_shared = |object: &Value| super::list(object, "/status/conditions").iter().any(is_shared);
    let takes_shared = ends_now && has_shared(local);
    let is_owned = |name: &str| CONDITIONS.contains(&name) || takes_shared && name == SHARED;
    if let Some(conditions) = conditions_of(local, fresh, is_owned) {
        status.insert("conditions".to_owned(), conditions);
    }
    let observed = newest_observed(said.clone(), fresh.get("status").unwrap_or(&Value::Null));
    take(status, "observedGeneration", observed.get("observedGeneration"));
    pod
}

fn status_of(pod: &mut Value) -> Option<&mut serde_json::Map<String, Value>> {
    let status =
        pod.as_object_mut()?.entry("status").or_insert_with(|| Value::Object(serde_json::Map::new()));
    status.as_object_mut()
}

fn is_shared(condition: &Value) -> bool {
    text(condition, "type") == SHARED
}

fn phase(pod: &Value) -> &str {
    pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default()
}

/// Whether a pod has ended: its phase is one that no pod leaves.
pub fn is_terminal(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}
