//! Runs the program `load` on the node and in the cloud.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cloud::ADMIN;
use crate::cluster::Cluster;
use crate::hub;
use crate::wan::{API_PORT, CLOUD};

/// Where the administrator's token lies on either machine, below its /var/lib.
const TOKEN: &str = "figures-token";
const CA: &str = "/etc/kubernetes/pki/ca.crt";
const HUB_PKI: &str = "/var/lib/edgekeep/hub/pki";

/// `load`, and whom it asks.
pub struct Load {
    program: String,
    /// From the node, through the hub, as the administrator.
    pub through: String,
    /// From the node, directly, as the administrator.
    pub direct: String,
    /// In the cloud.
    pub cloud: String,
    /// From the node, through the hub, as kubelet.
    pub kubelet: String,
}

impl Load {
    /// Finds the program and writes the tokens.
    ///
    /// # Errors
    ///
    /// `e2e/run` did not start this, or the cloud gives no token.
    pub fn new(cluster: &Cluster<'_>) -> Result<Self> {
        let program = std::env::var("EDGEKEEP_LOAD").context("EDGEKEEP_LOAD is not set; start e2e/run")?;
        let token = cluster.cloud.token("kube-system", ADMIN)?;
        for machine in [&cluster.stage.node, &cluster.cloud.machine] {
            fs::write(machine.var_lib().join(TOKEN), &token)?;
        }
        let token = format!("/var/lib/{TOKEN}");
        let hub = hub::ADDRESS;
        Ok(Self {
            program,
            through: format!("hub,https://{hub},{HUB_PKI}/ca.crt,{token}"),
            direct: format!("direct,https://{CLOUD}:{API_PORT},{CA},{token}"),
            cloud: format!("cloud,https://127.0.0.1:{API_PORT},{CA},{token}"),
            kubelet: format!(
                "hub,https://{hub},{HUB_PKI}/ca.crt,{HUB_PKI}/kubelet.crt,{HUB_PKI}/kubelet.key"
            ),
        })
    }

    /// Runs it on the node; returns what it tells.
    ///
    /// # Errors
    ///
    /// It failed.
    pub fn on_node(&self, cluster: &Cluster<'_>, words: &[&str]) -> Result<Value> {
        let told = cluster.stage.node.run(&[&[self.program.as_str()], words].concat())?;
        serde_json::from_str(&told).with_context(|| told.clone())
    }

    /// Makes objects, in the cloud.
    ///
    /// # Errors
    ///
    /// The API server refuses one.
    pub fn create(&self, cluster: &Cluster<'_>, kind: &str, from: u64, count: u64) -> Result<()> {
        let (from, count) = (from.to_string(), count.to_string());
        let words = [self.program.as_str(), "create", kind, "--namespace", super::NAMESPACE];
        let rest = ["--from", &from, "--count", &count, &self.cloud];
        cluster.cloud.machine.run(&[words.as_slice(), &rest].concat()).map(drop)
    }

    /// Changes objects, in the cloud.
    ///
    /// # Errors
    ///
    /// The API server refuses one.
    pub fn touch(&self, cluster: &Cluster<'_>, path: &str, count: u64, rate: u64) -> Result<()> {
        let (count, rate) = (count.to_string(), rate.to_string());
        let words = [self.program.as_str(), "touch", path, "--count", &count, "--rate", &rate, &self.cloud];
        cluster.cloud.machine.run(&words).map(drop)
    }

    /// Starts it on the node; it has said its first line and goes on until it is ended.
    ///
    /// # Errors
    ///
    /// It ended without a line.
    pub fn hold(&self, cluster: &Cluster<'_>, words: &[&str]) -> Result<Held> {
        let mut command = cluster.stage.node.command(&[&[self.program.as_str()], words].concat())?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut said)?;
        }
        if said.is_empty() {
            bail!("load {words:?} ended with {}", child.wait()?);
        }
        Ok(Held { said, child })
    }
}

/// `load` that goes on.
pub struct Held {
    /// Its first line.
    pub said: String,
    child: Child,
}

impl Held {
    /// Ends it.
    ///
    /// # Errors
    ///
    /// It cannot be waited for.
    pub fn end(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        self.child.wait()?;
        Ok(())
    }
}
