//! Generated writes, sent to a real kube-apiserver: what the crate `patch` makes of each is what the API server made.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::checks::Checks;
use crate::cloud::{self, Cloud};
use crate::programs::Programs;
use crate::run_dir::RunDir;
use crate::scenario::Options;
use crate::{image, sys};

/// Where the API server is offered in plain HTTP, on the cloud's machine.
const SOCKET: &str = "/run/kubectl.sock";
/// Controllers that would write to the same objects, or remove them for their invented owners.
const SILENT: &str =
    "--controllers=-attachdetach,-deployment,-garbagecollector,-nodeipam,-nodelifecycle,-podgc,-ttl";
/// How many writes; a hundred take about a second.
const WRITES: &str = "1500";
/// How long the socket may take to be there.
const COMING_UP: Duration = Duration::from_secs(20);

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let programs = Programs::find()?;
    let pause = image::build_pause(&dir.cloud()?)?;
    let silent = cloud::Options { controller_manager: vec![SILENT.to_owned()], ..cloud::Options::default() };
    let cloud = Cloud::start(dir, pause, &programs, silent).await?;
    let kubectl = programs.kubernetes("kubectl");
    let words =
        [&kubectl, "--kubeconfig=/etc/kubernetes/admin.conf", "proxy", &format!("--unix-socket={SOCKET}")];
    cloud.machine.start("kubectl-proxy", &words)?;
    let socket = cloud.machine.file(SOCKET)?;
    sys::until("kubectl proxy listens", COMING_UP, || {
        if socket.exists() { Ok(()) } else { Err(anyhow!("no {}", socket.display())) }
    })
    .await?;
    checks.record("the crate `patch` and kube-apiserver agree on every write", compared(options, &socket));
    Ok(())
}

fn compared(options: &Options, socket: &std::path::Path) -> Result<String> {
    let program =
        std::env::var_os("EDGEKEEP_PATCHDIFF").context("EDGEKEEP_PATCHDIFF is not set; start e2e/run")?;
    let mut command = Command::new(program);
    command.arg("--socket").arg(socket).args(["--seed", &options.seed.to_string(), "--writes", WRITES]);
    let output = command.output().context("cannot start edgekeep-patchdiff")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(anyhow!("{said}{}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(said.trim_end().lines().last().unwrap_or_default().to_owned())
}
