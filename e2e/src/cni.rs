//! The pod network: Debian's CNI plugins, ours and the stand-ins in one directory, and the configuration that names
//! them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::run_dir::RunDir;

/// Where Debian's `containernetworking-plugins` puts its programs.
pub const STOCK: &str = "/usr/lib/cni";
/// Name of the network, hence of its directory below dataDir.
pub const NETWORK: &str = "pods";
/// The bridge that the plugin makes in the node's network namespace.
pub const BRIDGE: &str = "cni0";
/// The product's plugin, as `ipam.type` names it.
pub const OURS: &str = "edgekeep-ipam";
/// The plugin that it stands in for.
pub const STOCK_IPAM: &str = "host-local";

/// The directories that the runtime is told of.
pub struct Cni {
    /// Holds the plugins.
    pub programs: PathBuf,
    /// Holds the configuration list.
    pub configuration: PathBuf,
}

impl Cni {
    /// Puts the plugins where the runtime looks for them, `ours` as the product's.
    ///
    /// # Errors
    ///
    /// A plugin is not installed, or the run's directory cannot be written.
    pub fn set_up(dir: &RunDir, ours: &Path) -> Result<Self> {
        let cni = Self { programs: dir.sub("cni/bin")?, configuration: dir.sub("cni/net.d")? };
        for plugin in ["bridge", STOCK_IPAM, "loopback", "macvlan", "portmap", "ptp"] {
            cni.link(&Path::new(STOCK).join(plugin), plugin)?;
        }
        cni.link(ours, OURS)?;
        Ok(cni)
    }

    /// Lets `program` be found under the name `plugin`.
    ///
    /// # Errors
    ///
    /// There is no such program, or the name is taken.
    pub fn link(&self, program: &Path, plugin: &str) -> Result<()> {
        let real = program.canonicalize().with_context(|| format!("no plugin at {}", program.display()))?;
        let name = self.programs.join(plugin);
        symlink(&real, &name).with_context(|| format!("cannot link {}", name.display()))
    }

    /// Makes `list` the only configuration, in one step: the runtime watches the directory and must not read half.
    ///
    /// # Errors
    ///
    /// The directory cannot be written.
    pub fn write(&self, list: &Value) -> Result<()> {
        let (made, shown) = (self.configuration.join("new"), self.configuration.join("10-pods.conflist"));
        fs::write(&made, format!("{list:#}\n"))
            .with_context(|| format!("cannot write {}", made.display()))?;
        fs::rename(&made, &shown).with_context(|| format!("cannot write {}", shown.display()))
    }
}

/// A configuration list of the network [`NETWORK`].
pub fn list(plugins: &[Value]) -> Value {
    json!({"cniVersion": "1.0.0", "name": NETWORK, "plugins": plugins})
}

/// The node's bridge, with addresses from `ipam`.
pub fn bridge(ipam: &Value) -> Value {
    json!({"type": "bridge", "bridge": BRIDGE, "isGateway": true, "ipMasq": false, "ipam": ipam})
}

/// Addresses of both families from the plugin `ipam`, all other things as they are without configuration.
///
/// The ranges are so small that addresses run short after some restarts: a plugin that only ever counts upwards,
/// and so never meets an address again, would prove nothing.
pub fn dual_stack(ipam: &str) -> Value {
    json!({
        "type": ipam,
        "ranges": [[{"subnet": "10.244.0.0/26"}], [{"subnet": "fd00:10:244::/122"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    })
}
