//! The container runtime's side of CNI: what containerd or CRI-O put into the environment and on standard input
//! when they run an IPAM plugin, and how they read its answer.
//!
//! The plugin gets an empty environment but for what is set here, so nothing of the caller's session leaks in.

use std::ffi::OsString;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;

/// The interface that every sandbox here gets.
pub const IFNAME: &str = "eth0";

/// A pod as the runtime knows it.
#[derive(Clone)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid: another one means another pod object under the same name.
    pub uid: String,
}

/// The verbs driven here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Give the sandbox addresses.
    Add,
    /// Take them back.
    Del,
    /// Say which CNI versions are supported; touches no state.
    Version,
}

impl Verb {
    const fn text(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Version => "VERSION",
        }
    }
}

/// One call of the plugin.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// What is asked.
    pub verb: Verb,
    /// The sandbox's container id.
    pub container: &'a str,
    /// The pod it belongs to.
    pub pod: &'a Pod,
    /// The file that holds the network configuration.
    pub config: &'a Path,
}

/// What came back from one call.
pub struct Answer {
    /// From just before the process was made until it had ended.
    pub took: Duration,
    /// The addresses of the result, in its order; none for a DEL.
    pub addresses: Vec<IpAddr>,
}

/// An IPAM plugin, and the settings it runs under.
#[derive(Clone)]
pub struct Plugin {
    program: PathBuf,
    settings: Vec<(&'static str, OsString)>,
}

impl Plugin {
    /// The plugin at `program`, which must be an absolute path.
    pub const fn new(program: PathBuf) -> Self {
        Self { program, settings: Vec::new() }
    }

    /// Adds or replaces a variable of the plugin's environment.
    pub fn set(&mut self, key: &'static str, value: impl Into<OsString>) {
        self.settings.retain(|(known, _)| *known != key);
        self.settings.push((key, value.into()));
    }

    /// Where the binary is.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The environment of a call, in full.
    pub fn environment(&self, call: Call<'_>) -> Vec<(&'static str, OsString)> {
        let Pod { namespace, name, uid } = call.pod;
        let container = call.container;
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};\
             K8S_POD_INFRA_CONTAINER_ID={container};K8S_POD_UID={uid}"
        );
        // The namespace of a dead sandbox is gone, and runtimes then send DEL without it.
        let netns =
            if call.verb == Verb::Del { String::new() } else { format!("/run/netns/cni-{container}") };
        let mut all = self.settings.clone();
        all.extend([
            ("CNI_COMMAND", call.verb.text().into()),
            ("CNI_CONTAINERID", container.into()),
            ("CNI_NETNS", netns.into()),
            ("CNI_IFNAME", IFNAME.into()),
            ("CNI_ARGS", args.into()),
            ("CNI_PATH", self.program.parent().unwrap_or_else(|| Path::new("/")).into()),
        ]);
        all
    }

    /// Runs one call to its end.
    pub fn run(&self, call: Call<'_>) -> Result<Answer> {
        let begun = Instant::now();
        let child = self.spawn(call)?;
        let output = child.wait_with_output().map_err(|e| self.broken(call, &e.to_string()))?;
        let took = begun.elapsed();
        Ok(Answer { took, addresses: self.addresses(call, &output)? })
    }

    /// Starts one call and returns at once.
    pub fn spawn(&self, call: Call<'_>) -> Result<Child> {
        self.spawn_as(Command::new(&self.program), call)
    }

    /// Starts one call by way of another command, which must run the plugin with the environment and the standard
    /// streams that it gets itself, and end as the plugin ends.
    pub fn spawn_as(&self, mut command: Command, call: Call<'_>) -> Result<Child> {
        let config = File::open(call.config)
            .map_err(|e| format!("cannot read the network configuration {}: {e}", call.config.display()))?;
        command
            .env_clear()
            .envs(self.environment(call))
            .stdin(config)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| self.broken(call, &e.to_string()))
    }

    /// Reads the answer of an ended call as a runtime does: exit status first, then the one JSON document.
    pub fn addresses(&self, call: Call<'_>, output: &Output) -> Result<Vec<IpAddr>> {
        if !output.status.success() {
            let document: Option<Value> = serde_json::from_slice(&output.stdout).ok();
            let message =
                document.as_ref().and_then(|d| d.get("msg")).and_then(Value::as_str).map(str::to_owned);
            let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(self.broken(call, &format!("{}: {}", output.status, message.unwrap_or_else(said))));
        }
        if call.verb == Verb::Add {
            result_addresses(&output.stdout).ok_or_else(|| {
                let text = String::from_utf8_lossy(&output.stdout);
                self.broken(call, &format!("the answer is not one CNI result: {}", text.trim()))
            })
        } else {
            Ok(Vec::new())
        }
    }

    fn broken(&self, call: Call<'_>, why: &str) -> String {
        let (pod, verb) = (call.pod, call.verb.text());
        format!("{verb} of {}/{} by {}: {why}", pod.namespace, pod.name, self.program.display())
    }
}

/// The addresses of a CNI result, without their prefix lengths; `None` unless it is exactly one result document.
pub fn result_addresses(stdout: &[u8]) -> Option<Vec<IpAddr>> {
    let result: Value = serde_json::from_slice(stdout).ok()?;
    let address = |ip: &Value| ip.get("address")?.as_str()?.split('/').next()?.parse().ok();
    result.get("ips")?.as_array()?.iter().map(address).collect()
}
