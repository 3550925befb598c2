//! Goes before a real plugin and, where a trap is set, kills the runtime once the real one has answered: nobody hears
//! the answer.

use std::env;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, getppid, kill_process};

/// Where the real plugins lie, beside the directory of those that go before them.
pub const REAL: &str = "real";
/// Where traps are set on the node: an empty file `<plugin>.<pod>`.
pub const TRAPS: &str = "/run/edgekeep-e2e-traps";
/// The runtime's process id, as the node's programs see it.
const RUNTIME: &str = "/run/containerd.pid";

/// Plays the plugin `name`, called as `program`.
pub fn play(program: &Path, name: &str) -> Result<ExitCode> {
    let directory =
        program.parent().and_then(Path::parent).ok_or_else(|| anyhow!("called without a path"))?;
    let real = directory.join(REAL).join(name);
    let done = Command::new(&real)
        .stdin(Stdio::inherit())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", real.display()))?;
    let adds = env::var_os("CNI_COMMAND").is_some_and(|verb| verb == "ADD");
    let trap = Path::new(TRAPS).join(format!("{name}.{}", pod()));
    if adds && done.status.success() && fs::remove_file(trap).is_ok() {
        spring(name)?;
    }
    // The runtime may be gone, and a pipe to nobody is no failure of ours.
    let _ = std::io::stdout().write_all(&done.stdout);
    let code = done.status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

fn pod() -> String {
    let arguments = env::var("CNI_ARGS").unwrap_or_default();
    let name = arguments.split(';').find_map(|pair| pair.strip_prefix("K8S_POD_NAME="));
    name.unwrap_or_default().to_owned()
}

/// An IPAM plugin's answer goes to the main plugin first: that one dies too.
fn spring(name: &str) -> Result<()> {
    let id = fs::read_to_string(RUNTIME).with_context(|| format!("cannot read {RUNTIME}"))?;
    let runtime =
        id.trim().parse().ok().and_then(Pid::from_raw).ok_or_else(|| anyhow!("no id in {RUNTIME}"))?;
    let caller = getppid().filter(|caller| name != "bridge" && *caller != runtime);
    if let Some(caller) = caller {
        kill_process(caller, Signal::KILL).context("cannot kill the main plugin")?;
    }
    kill_process(runtime, Signal::KILL).context("cannot kill the runtime")
}
