//! kubelet's own order: first its node, then its pods.
//!
//! A kubelet before 1.21 does not wait for its node before it admits pods: against the node that it makes up meanwhile,
//! which has none of the cloud's labels, a pod with a nodeSelector fails for good (`reference/wire.md` §1.4). So the list of
//! pods waits until the node was told on the same connection. Newer ones ask in this order by themselves.

use std::time::Duration;

use hyper::StatusCode;
use tokio::sync::watch;
use wire::{Request, Verb};

/// How long the pods wait at most: kubelet asks for its node anew after at most 30 s.
const PATIENCE: Duration = Duration::from_secs(45);
/// How long kubelet takes to read an answer.
const READING: Duration = Duration::from_millis(300);

/// Whether the client of a connection has been told its node.
pub struct Gate(watch::Sender<bool>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Gate {
    /// Waits before the pods are listed, if `agent`, the caller's `User-Agent`, is a kubelet that does not wait by itself.
    pub async fn before(&self, about: &Request, agent: &str) {
        let concerned = about.verb == Verb::List && is(about, "pods") && is_hasty(agent);
        if !concerned || *self.0.borrow() {
            return;
        }
        let mut told = self.0.subscribe();
        let waited = async { told.wait_for(|told| *told).await.is_ok() };
        if tokio::time::timeout(PATIENCE, waited).await.unwrap_or(false) {
            tokio::time::sleep(READING).await;
        }
    }

    /// Something was answered.
    pub fn after(&self, about: &Request, status: StatusCode) {
        if status == StatusCode::OK && matches!(about.verb, Verb::List | Verb::Watch) && is(about, "nodes") {
            self.0.send_replace(true);
        }
    }
}

/// The first minor release whose kubelet surely waits for its node by itself.
const PATIENT: u32 = 22;

/// Whether this is a kubelet from before that.
fn is_hasty(agent: &str) -> bool {
    let release = agent.strip_prefix("kubelet/v1.").and_then(|rest| rest.split('.').next());
    release.and_then(|minor| minor.parse().ok()).is_some_and(|minor: u32| minor < PATIENT)
}

fn is(about: &Request, resource: &str) -> bool {
    about.resource.as_ref().is_some_and(|asked| asked.group.is_empty() && asked.resource == resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(path: &str) -> Request {
        Request::parse("GET", path).unwrap()
    }

    #[test]
    fn only_old_kubelets_are_hasty() {
        assert!(is_hasty("kubelet/v1.20.2 (linux/amd64) kubernetes/faecb19"));
        for agent in
            ["kubelet/v1.36.2 (linux/amd64) kubernetes/abc", "kubelet", "kubectl/v1.20.2", "", "kubelet/v1.x"]
        {
            assert!(!is_hasty(agent), "{agent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hasty_kubelet_gets_its_pods_after_its_node() {
        let gate = Gate::default();
        let (pods, nodes) = (list("/api/v1/pods"), list("/api/v1/nodes"));
        let asked = gate.before(&pods, "kubelet/v1.20.2");
        tokio::pin!(asked);
        assert!(tokio::time::timeout(Duration::from_secs(30), &mut asked).await.is_err(), "it waits");
        gate.after(&nodes, StatusCode::SERVICE_UNAVAILABLE);
        assert!(tokio::time::timeout(Duration::from_secs(5), &mut asked).await.is_err(), "it waits on");
        gate.after(&nodes, StatusCode::OK);
        asked.await;
        assert!(tokio::time::timeout(Duration::ZERO, gate.before(&pods, "kubelet/v1.20.2")).await.is_ok());
        let fresh = Gate::default();
        assert!(tokio::time::timeout(Duration::ZERO, fresh.before(&pods, "kubelet/v1.36.2")).await.is_ok());
    }
}
