//! kube-proxy on the node. It comes with its service account's token, as the pod that kubeadm makes for it does.

use std::fs;

use anyhow::{Result, anyhow};

use crate::kubeconfig::{Access, Credential};
use crate::kubelet::NODE;
use crate::machine::{Machine, Process};
use crate::programs::Programs;
use crate::wan;

/// Name of its log and of its process on the node.
pub const NAME: &str = "kube-proxy";
/// Where its kubeconfig lies on the node, below /var/lib.
const KUBECONFIG: &str = "kube-proxy/kubeconfig.conf";

/// kube-proxy as set up for one node; it runs between [`KubeProxy::start`] and [`KubeProxy::kill`] or the node's power
/// cut.
#[derive(Default)]
pub struct KubeProxy {
    process: Option<Process>,
}

impl KubeProxy {
    /// Says how it is to reach the API server from its next start on, and with which token.
    ///
    /// # Errors
    ///
    /// The node's directory cannot be written.
    pub fn configure(node: &Machine, access: &Access, token: &str) -> Result<()> {
        let path = node.var_lib().join(KUBECONFIG);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        Ok(fs::write(path, access.kubeconfig(&Credential::Token(token)))?)
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// The node is off.
    pub fn start(&mut self, node: &Machine, programs: &Programs) -> Result<()> {
        let words = [
            &programs.kubernetes(NAME),
            &format!("--kubeconfig=/var/lib/{KUBECONFIG}"),
            &format!("--hostname-override={NODE}"),
            &format!("--cluster-cidr={}", wan::PODS),
            "--proxy-mode=iptables",
            // The limit is the whole kernel's and not the node's own.
            "--conntrack-max-per-core=0",
            "--oom-score-adj=0",
        ];
        self.process = Some(node.start(NAME, &words)?);
        Ok(())
    }

    /// Kills it with signal 9; the rules that it has made stay.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn kill(&mut self, node: &Machine) -> Result<()> {
        node.kill(self.process.take().ok_or_else(|| anyhow!("kube-proxy was not started"))?)
    }
}
