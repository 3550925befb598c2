//! The hub on the node, and what brings kubelet to it and back.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::kubeconfig::Access;
use crate::machine::{Machine, Process};
use crate::programs::Programs;
use crate::sys;

/// Name of its log and of its process on the node.
pub const NAME: &str = "hub";
/// Where it serves.
pub const ADDRESS: &str = "127.0.0.1:10461";
/// The link-local address at which it serves too.
pub const LINK_LOCAL: &str = "169.254.77.1";
/// Name of the log and of the process that kills it at random.
const KILLER: &str = "hub-killer";
/// On the node: the process id of a hub that is kept running.
const KEPT: &str = "/run/hub-kept.pid";
/// Where its `cache` log lies, below the node's /var/lib.
const CACHE: &str = "edgekeep/hub/cache";
/// The certificate of its authority, below the node's /var/lib.
const AUTHORITY: &str = "edgekeep/hub/pki/ca.crt";
/// How long it may take to come up or to notice something, on a machine that others use too.
const PATIENCE: Duration = Duration::from_secs(30);

/// The hub as installed on a node; it runs between [`Hub::start`] and [`Hub::kill`] or the node's power cut.
pub struct Hub {
    program: String,
    process: Option<Process>,
}

impl Hub {
    /// The hub of the program `edgekeep`.
    pub fn new(programs: &Programs) -> Self {
        Self { program: programs.edgekeep(), process: None }
    }

    /// Starts it as its unit would, and waits until it answers.
    ///
    /// # Errors
    ///
    /// It does not come up.
    pub async fn start(&mut self, node: &Machine) -> Result<()> {
        self.process = Some(node.start(NAME, &[&self.program, "hub"])?);
        sys::until("the hub answers", PATIENCE, || self.status(node)).await.map(drop)
    }

    /// Starts it as [`Hub::start`] does, and again half a second after each end of it, as its unit does.
    ///
    /// # Errors
    ///
    /// It does not come up.
    pub async fn start_kept(&mut self, node: &Machine) -> Result<()> {
        let script = format!(r#"while :; do "$@" & echo $! >{KEPT}; wait $!; sleep 0.5; done"#);
        self.process = Some(node.start(NAME, &["sh", "-c", &script, "kept", &self.program, "hub"])?);
        sys::until("the hub answers", PATIENCE, || self.status(node)).await.map(drop)
    }

    /// Kills a kept hub with signal 9 after each of `pauses`, in milliseconds. Goes on by itself; the process ends after
    /// the last.
    ///
    /// # Errors
    ///
    /// The node is off.
    pub fn kill_after(node: &Machine, pauses: &[usize]) -> Result<Process> {
        let script = format!("for pause; do sleep $pause; kill -9 $(cat {KEPT}) && echo killed; done");
        let pauses: Vec<String> =
            pauses.iter().map(|pause| format!("{}.{:03}", pause / 1000, pause % 1000)).collect();
        let pauses: Vec<&str> = pauses.iter().map(String::as_str).collect();
        node.start(KILLER, &[["sh", "-c", &script, KILLER].as_slice(), &pauses].concat())
    }

    /// How often a kept hub has been killed since the node's log began.
    pub fn kills(node: &Machine) -> usize {
        node.log(KILLER).lines().filter(|line| *line == "killed").count()
    }

    /// Kills it with signal 9.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn kill(&mut self, node: &Machine) -> Result<()> {
        node.kill(self.process.take().ok_or_else(|| anyhow!("the hub was not started"))?)
    }

    /// How it stands, as `edgekeep status` tells.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub fn status(&self, node: &Machine) -> Result<Value> {
        // Exit code 3 says that something is not well: what, is in the answer.
        let script = format!("{} status --output json || [ $? = 3 ]", self.program);
        let told = node.run(&["sh", "-c", &script])?;
        serde_json::from_str(&told).with_context(|| format!("edgekeep status said {told:?}"))
    }

    /// Waits until it takes the cloud for `wanted`: up or down.
    ///
    /// # Errors
    ///
    /// It does not in time.
    pub async fn judges(&self, node: &Machine, wanted: &str) -> Result<Value> {
        sys::until(&format!("the hub takes the cloud for {wanted}"), PATIENCE, || {
            let status = self.status(node)?;
            match status.pointer("/cloud/state").and_then(Value::as_str) {
                Some(state) if state == wanted => Ok(status),
                other => bail!("it takes it for {other:?}"),
            }
        })
        .await
    }

    /// How clients on the node reach it.
    ///
    /// # Errors
    ///
    /// It was never started.
    pub fn access(node: &Machine) -> Result<Access> {
        let path = node.var_lib().join(AUTHORITY);
        let ca = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Access { name: "hub", server: format!("https://{ADDRESS}"), ca })
    }

    /// Where its `cache` log lies, as seen from outside: what may be lost without harm to the node's pods.
    pub fn cache(node: &Machine) -> PathBuf {
        node.var_lib().join(CACHE)
    }

    /// Runs `edgekeep` on the node and returns what it said.
    ///
    /// # Errors
    ///
    /// It ended with another status than 0.
    pub fn run(&self, node: &Machine, words: &[&str]) -> Result<String> {
        node.run(&[&[self.program.as_str()], words].concat())
    }
}
