//! The pod network: Debian's CNI plugins and ours in one directory, and the configuration that names them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::run_dir::RunDir;

/// Where Debian's `containernetworking-plugins` puts its programs.
const STOCK: &str = "/usr/lib/cni";
/// Name of the network, hence of its directory below dataDir.
pub const NETWORK: &str = "pods";
/// The bridge that the plugin makes in the node's network namespace.
pub const BRIDGE: &str = "cni0";

/// The directories that the runtime is told of.
pub struct Cni {
    /// Holds the plugins.
    pub programs: PathBuf,
    /// Holds the configuration list.
    pub configuration: PathBuf,
}

/// Sets up a dual-stack bridge network whose addresses come from the plugin named `ipam`. `ours` is the product's
/// program.
///
/// The ranges are so small that addresses run short after some restarts: a plugin that only ever counts upwards,
/// and so never meets an address again, would prove nothing. State lies where it lies without configuration.
///
/// # Errors
///
/// The run's directory cannot be written.
pub fn set_up(dir: &RunDir, ipam: &str, ours: Option<&Path>) -> Result<Cni> {
    let cni = Cni { programs: dir.sub("cni/bin")?, configuration: dir.sub("cni/net.d")? };
    for plugin in ["bridge", "host-local", "loopback", "macvlan", "portmap", "ptp"] {
        link(&Path::new(STOCK).join(plugin), &cni.programs.join(plugin))?;
    }
    if let Some(ours) = ours {
        link(ours, &cni.programs.join("edgekeep-ipam"))?;
    }
    let list = format!(
        r#"{{
  "cniVersion": "1.0.0",
  "name": "{NETWORK}",
  "plugins": [
    {{
      "type": "bridge",
      "bridge": "{BRIDGE}",
      "isGateway": true,
      "ipMasq": false,
      "ipam": {{
        "type": "{ipam}",
        "ranges": [[{{"subnet": "10.244.0.0/26"}}], [{{"subnet": "fd00:10:244::/122"}}]],
        "routes": [{{"dst": "0.0.0.0/0"}}, {{"dst": "::/0"}}]
      }}
    }},
    {{"type": "portmap", "snat": true, "capabilities": {{"portMappings": true}}}}
  ]
}}
"#
    );
    fs::write(cni.configuration.join("10-pods.conflist"), list)?;
    Ok(cni)
}

fn link(program: &Path, name: &Path) -> Result<()> {
    let real = program.canonicalize().with_context(|| format!("no plugin at {}", program.display()))?;
    symlink(&real, name).with_context(|| format!("cannot link {}", name.display()))
}
