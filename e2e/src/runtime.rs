//! The container runtime: Debian's containerd on a node, in its usual places there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::cni::Cni;
use crate::cri::Cri;
use crate::machine::{Machine, Process};
use crate::run_dir::RunDir;
use crate::{image, sys};

/// Name of its log and of its process on the node.
pub const NAME: &str = "containerd";
const SOCKET: &str = "/run/containerd/containerd.sock";

/// containerd as set up for one node; it runs between [`Containerd::start`] and [`Containerd::kill`] or the node's
/// power cut.
pub struct Containerd {
    configuration: PathBuf,
    process: Option<Process>,
}

impl Containerd {
    /// Writes the configuration.
    ///
    /// # Errors
    ///
    /// The run's directory cannot be written.
    pub fn new(dir: &RunDir, cni: &Cni) -> Result<Self> {
        let configuration = dir.path.join("containerd.toml");
        fs::write(&configuration, configuration_text(cni))?;
        Ok(Self { configuration, process: None })
    }

    /// Starts it on `node` and returns a connection, once it answers.
    ///
    /// # Errors
    ///
    /// It does not answer within 30 s.
    pub async fn start(&mut self, node: &Machine) -> Result<Cri> {
        let configuration = self.configuration.to_str().ok_or_else(|| anyhow!("path is not UTF-8"))?;
        self.process = Some(node.start(NAME, &["containerd", "--config", configuration])?);
        let socket = node.file(SOCKET)?;
        let end = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            match connect(&socket).await {
                Ok(cri) => return Ok(cri),
                Err(error) if tokio::time::Instant::now() > end => {
                    return Err(error.context("containerd does not answer"));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Kills containerd alone, with signal 9: shims and pods go on.
    ///
    /// # Errors
    ///
    /// It was not running.
    pub fn kill(&mut self, node: &Machine) -> Result<()> {
        let process = self.process.take().ok_or_else(|| anyhow!("containerd was not started"))?;
        node.kill(process)
    }

    /// Notes that something on the node has killed it, and waits for its end.
    ///
    /// # Errors
    ///
    /// It was not started, or still runs after 10 s.
    pub fn bury(&mut self) -> Result<()> {
        let process = self.process.take().ok_or_else(|| anyhow!("containerd was not started"))?;
        process.wait(Duration::from_secs(10))
    }

    /// Loads image archives and waits until the runtime's CRI part has seen `references`.
    ///
    /// # Errors
    ///
    /// An archive is refused, or an image has not shown up within 10 s.
    pub async fn load(
        &self,
        node: &Machine,
        cri: &Cri,
        archives: &[&Path],
        references: &[&str],
    ) -> Result<()> {
        for archive in archives {
            let archive = archive.to_str().ok_or_else(|| anyhow!("path is not UTF-8"))?;
            node.run(&["ctr", "--namespace", "k8s.io", "images", "import", archive])?;
        }
        for reference in references {
            let end = tokio::time::Instant::now() + Duration::from_secs(10);
            while !cri.has_image(reference).await? {
                if tokio::time::Instant::now() > end {
                    bail!("image {reference} was imported but is not seen over CRI");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }
}

async fn connect(socket: &Path) -> Result<Cri> {
    let cri = Cri::connect(socket).await?;
    cri.version().await?;
    Ok(cri)
}

/// The lines of containerd's log that say what went wrong, the last `most` of them.
pub fn complaints(log: &str, most: usize) -> Vec<&str> {
    let mut lines: Vec<&str> =
        log.lines().filter(|line| line.contains("level=error") || line.contains("level=fatal")).collect();
    lines.split_off(lines.len().saturating_sub(most))
}

/// Tells the packages' own version of the runtime, for the record of a run.
///
/// # Errors
///
/// containerd is not installed.
pub fn version() -> Result<String> {
    sys::run(&["containerd", "--version"]).context("is the package containerd installed?")
}

/// `restrict_oom_score_adj` and `disable_apparmor`: root in a container often may not lower an OOM score or load a
/// profile, and sandboxes would not start. The `opt` plugin's own default lies outside /var/lib and /run.
fn configuration_text(cni: &Cni) -> String {
    let (programs, configuration, pause) =
        (cni.programs.display(), cni.configuration.display(), image::PAUSE);
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
  address = "{SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{programs}"
    conf_dir = "{configuration}"

  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"#
    )
}
