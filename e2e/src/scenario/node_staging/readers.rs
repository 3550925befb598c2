//! A person at the node and programs that watch there, who ask the hub.

use anyhow::{Context, Result};
use serde_json::Value;

use super::workload::{NAMESPACE, Pods};
use crate::clientgo::{ClientGo, FORMS};
use crate::cluster::{Cluster, READY};
use crate::hub::Hub;
use crate::sys;

/// Both, as the cluster's administrator.
pub struct Readers {
    kubectl: String,
    kubeconfig: String,
    /// The programs.
    pub clientgo: ClientGo,
}

impl Readers {
    /// They have asked once for what they will ask for, while the link is whole: what is granted then is shown later.
    ///
    /// # Errors
    ///
    /// They are not answered.
    pub async fn new(cluster: &Cluster<'_>) -> Result<Self> {
        let kubeconfig = cluster.admin_kubeconfig(&Hub::access(&cluster.stage.node)?)?;
        let clientgo = ClientGo::new(&cluster.programs, &kubeconfig);
        let readers = Self { kubectl: cluster.programs.kubernetes("kubectl"), kubeconfig, clientgo };
        readers.pods(cluster)?;
        let first = readers.clientgo.inform(&cluster.stage.node, "watcher-online", "v1/pods", FORMS[2])?;
        sys::until("the informer has synced", READY, || first.synced(&cluster.stage.node)).await?;
        first.end(&cluster.stage.node)?;
        Ok(readers)
    }

    /// Asks kubectl on the node, through the hub.
    ///
    /// # Errors
    ///
    /// It is not answered.
    pub fn get(&self, cluster: &Cluster<'_>, words: &[&str]) -> Result<Value> {
        let own = [self.kubectl.as_str(), "--kubeconfig", &self.kubeconfig, "--namespace", NAMESPACE, "get"];
        let told = cluster.stage.node.run(&[own.as_slice(), words, &["--output", "json"]].concat())?;
        serde_json::from_str(&told).with_context(|| format!("kubectl said {told:?}"))
    }

    /// The pods of the namespace.
    ///
    /// # Errors
    ///
    /// As [`Readers::get`].
    pub fn pods(&self, cluster: &Cluster<'_>) -> Result<Pods> {
        Pods::of(&self.get(cluster, &["pods"])?)
    }
}
