//! Pods that a graceful shutdown of the node ended.
//!
//! kubelet marks them `Failed` before the machine goes down, so that their controllers replace them. With its cloud away
//! nobody can; the pods would stay dead on a node that has long come back.

use serde_json::Value;

/// What kubelet gives as the reason (`pkg/kubelet/nodeshutdown`): for pods that it ended or did not admit, in 1.20 and
/// 1.21, and for those that it did not admit, later.
const REASONS: [&str; 2] = ["Shutdown", "NodeShutdown"];

/// Reason and message for pods that it ended, from 1.22 on. The reason alone says little.
const ENDED: (&str, &str) = ("Terminated", "Pod was terminated in response to imminent node shutdown.");

/// Whether the node's shutdown ended this pod, and a reboot puts that right: no Job owns it, for which a pod that failed
/// is one that was counted.
pub fn is_undone_by_reboot(pod: &Value) -> bool {
    let status = |name: &str| {
        pod.get("status").and_then(|status| status.get(name)).and_then(Value::as_str).unwrap_or_default()
    };
    let (reason, message) = (status("reason"), status("message"));
    let is_shutdown = REASONS.contains(&reason) || (reason, message) == ENDED;
    status("phase") == "Failed" && is_shutdown && !is_of_job(pod)
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
        let (reason, message) = ENDED;
        let rejected = ("NodeShutdown", "Pod was rejected: Pod was rejected as the node is shutting down.");
        for (reason, message) in [ENDED, rejected, ("Shutdown", "Node is shutting, evicting pods")] {
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
