//! `edgekeep doctor` on the node, and what it looks at beside the hub: units that systemd would start at boot.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::cni::Cni;
use crate::machine::Machine;
use crate::sys;

/// As the package puts them.
const UNITS: [(&str, &str); 2] = [
    ("edgekeep-hub.service", include_str!("../../packaging/systemd/edgekeep-hub.service")),
    ("edgekeep-hub.socket", include_str!("../../packaging/systemd/edgekeep-hub.socket")),
];
/// Enabled, as an operator or the package that they are from has left them.
const ENABLED: [&str; 3] = ["containerd.service", "edgekeep-hub.service", "kubelet.service"];
/// kubelet tells of its images at its next report, and of a pod when it has seen it run.
const PATIENCE: Duration = Duration::from_secs(60);

/// Puts the units on the node and enables what starts at boot.
///
/// # Errors
///
/// The node's /etc cannot be written.
pub fn enable(node: &Machine) -> Result<()> {
    let units = node.etc().join("systemd/system");
    let wants = units.join("multi-user.target.wants");
    fs::create_dir_all(&wants).with_context(|| format!("cannot make {}", wants.display()))?;
    for (name, text) in UNITS {
        fs::write(units.join(name), text)?;
    }
    for name in ENABLED {
        symlink(format!("/lib/systemd/system/{name}"), wants.join(name))
            .with_context(|| format!("cannot enable {name}"))?;
    }
    Ok(())
}

/// What doctor said of the node.
pub struct Told {
    code: i32,
    report: Value,
}

/// Asks once.
///
/// # Errors
///
/// It said something that is no report.
pub fn ask(node: &Machine, program: &str, cni: &Cni) -> Result<Told> {
    let (conf, programs) = (cni.configuration.display(), cni.programs.display());
    let script =
        format!("{program} doctor --output json --conf-dir {conf} --bin-dir {programs}; echo code $?");
    let told = node.run(&["sh", "-c", &script])?;
    let (report, code) = told.trim().rsplit_once("code ").ok_or_else(|| anyhow!("doctor said {told:?}"))?;
    let report = serde_json::from_str(report).with_context(|| format!("doctor said {told:?}"))?;
    Ok(Told { code: code.parse()?, report })
}

impl Told {
    /// That the node would survive; else what would be missing, each in a line.
    ///
    /// # Errors
    ///
    /// It would not.
    pub fn survives(&self) -> Result<String> {
        if self.code != 0 {
            bail!("exit code {}: {}", self.code, self.named().join("; "));
        }
        let count =
            |pointer: &str| self.report.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len);
        let questions = self.report.pointer("/hub/questions").and_then(Value::as_u64).unwrap_or(0);
        Ok(format!("{questions} questions, {} tokens, {} pods", count("/hub/tokens"), count("/hub/pods")))
    }

    /// That something would be missing.
    ///
    /// # Errors
    ///
    /// Nothing would.
    pub fn misses(&self) -> Result<String> {
        if self.code != 1 {
            bail!("exit code {}: {}", self.code, self.named().join("; "));
        }
        Ok(format!("{} things", self.named().len()))
    }

    /// What is not well, by name.
    fn named(&self) -> Vec<String> {
        let text = |finding: &Value, key: &str| {
            finding.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let findings = self.report.get("findings").and_then(Value::as_array).into_iter().flatten();
        let grave = findings.filter(|finding| text(finding, "gravity") != "note");
        grave.map(|finding| format!("{} ({})", text(finding, "what"), text(finding, "why"))).collect()
    }
}

/// Waits until it says that the node would survive.
///
/// # Errors
///
/// It does not in time; the text says what would be missing.
pub async fn survives(node: &Machine, program: &str, cni: &Cni) -> Result<String> {
    sys::until("doctor is content", PATIENCE, || ask(node, program, cni)?.survives()).await
}
