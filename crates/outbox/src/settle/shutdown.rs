//! Pods that a graceful shutdown of the node ended.
//!
//! kubelet marks them `Failed` before the machine goes down, so that their controllers replace them. With its cloud away
//! nobody can; the pods would stay dead on a node that has long come back.

use serde_json::Value;

use crate::owned::is_terminal;

/// How kubelet says it: reason and message (`pkg/kubelet/nodeshutdown`, 1.22 and later, then 1.20 and 1.21).
const SHUTDOWN: [(&str, &str); 3] = [
    ("Terminated", "Pod was terminated in response to imminent node shutdown."),
    ("NodeShutdown", "Pod was rejected as the node is shutting down."),
    ("Shutdown", "Node is shutting, evicting pods"),
];

/// Whether the node's shutdown ended this pod, and a reboot puts that right: no Job owns it, for which a pod that failed
/// is one that was counted.
pub fn is_undone_by_reboot(pod: &Value) -> bool {
    let status = |name: &str| {
        pod.get("status").and_then(|status| status.get(name)).and_then(Value::as_str).unwrap_or_default()
    };
    let said = (status("reason"), status("message"));
    is_terminal(pod) && status("phase") == "Failed" && SHUTDOWN.contains(&said) && !is_of_job(pod)
}

fn is_of_job(pod: &Value) -> bool {
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().any(|owner| {
        let text = |name: &str| owner.get(name).and_then(Value::as_str).unwrap_or_default();
        text("kind") == "Job" && text("apiVersion").starts_with("batch/")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_a_shutdown_ended_and_no_job_counts_is_undone() {
        let pod = |phase: &str, reason: &str, message: &str, owner: &str| {
            json!({"metadata": {"ownerReferences": [{"apiVersion": "batch/v1", "kind": owner}]},
                "status": {"phase": phase, "reason": reason, "message": message}})
        };
        let (reason, message) = SHUTDOWN[0];
        for (reason, message) in SHUTDOWN {
            assert!(is_undone_by_reboot(&pod("Failed", reason, message, "ReplicaSet")));
        }
        for other in [
            pod("Failed", reason, message, "Job"),
            pod("Succeeded", reason, message, "ReplicaSet"),
            pod("Running", reason, message, "ReplicaSet"),
            pod("Failed", "Evicted", "The node was low on resource: memory.", "ReplicaSet"),
            pod("Failed", reason, "something else", "ReplicaSet"),
            json!({}),
        ] {
            assert!(!is_undone_by_reboot(&other), "{other}");
        }
    }
}
