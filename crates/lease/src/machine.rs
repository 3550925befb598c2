//! What this machine says about the moment and where state lies: read once, at the edge of a program.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use cni::retain::NodeFile;
use durable::fs::Fs;

use crate::error::{Attempt, Error};
use crate::store::{Now, Places};

/// Where the policy for the whole node stands.
pub const CONFIG: &str = "/etc/edgekeep/ipam.json";
/// Where bindings lie, one directory per network.
pub const STATE: &str = "/var/lib/edgekeep/ipam";
/// Where the index and what else need not survive a reboot lies.
pub const RUN: &str = "/run/edgekeep/ipam";
/// Where libcni keeps the results of its ADDs.
const CNI_CACHE: &str = "/var/lib/cni/results";
/// The largest configuration file that is read, in bytes.
const MAX_CONFIG: usize = 1024 * 1024;

/// The parents of the directories of all networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// Durable.
    pub state: PathBuf,
    /// Volatile.
    pub run: PathBuf,
    /// libcni's results.
    pub cni_cache: PathBuf,
}

impl Dirs {
    /// Environment before configuration before default.
    pub fn resolve(env: impl Fn(&str) -> Option<String>, node: &NodeFile) -> Dirs {
        let pick = |name: &str, configured: Option<&String>, default: &str| {
            let set = env(name).filter(|value| !value.is_empty());
            PathBuf::from(set.as_ref().or(configured).map_or(default, |path| path))
        };
        Dirs {
            state: pick("EDGEKEEP_STATE_DIR", node.state_dir.as_ref(), STATE),
            run: pick("EDGEKEEP_RUN_DIR", node.run_dir.as_ref(), RUN),
            cni_cache: pick("EDGEKEEP_CNI_CACHE_DIR", None, CNI_CACHE),
        }
    }

    /// The places of one network.
    pub fn places(&self, data_dir: &Path, network: &str) -> Places {
        Places {
            data: data_dir.join(network),
            state: self.state.join(network),
            run: self.run.join(network),
            cni_cache: self.cni_cache.clone(),
            network: network.to_owned(),
        }
    }
}

/// The configuration of the node: `EDGEKEEP_CONFIG` or [`CONFIG`]. None at all is in order.
pub fn node_file<F: Fs>(fs: &F, env: impl Fn(&str) -> Option<String>) -> Result<NodeFile, cni::Error> {
    let path = env("EDGEKEEP_CONFIG").filter(|path| !path.is_empty()).unwrap_or_else(|| CONFIG.to_owned());
    match durable::fs::read(fs, Path::new(&path), MAX_CONFIG) {
        Ok(bytes) => NodeFile::parse(&path, &bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(NodeFile::default()),
        Err(e) => Err(cni::Error::io(format!("cannot read {path}: {e}"))),
    }
}

/// The moment, by this machine. `EDGEKEEP_BOOT_ID` overrides the kernel's boot id, for tests and the demo.
pub fn now<F: Fs>(fs: &F, env: impl Fn(&str) -> Option<String>) -> Result<Now, Error> {
    let read = |path: &str| {
        let bytes = durable::fs::read(fs, Path::new(path), 256).attempt("read", Path::new(path))?;
        Ok::<_, Error>(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    let boot = match env("EDGEKEEP_BOOT_ID").filter(|id| !id.is_empty()) {
        Some(id) => id,
        None => read("/proc/sys/kernel/random/boot_id")?,
    };
    let uptime = read("/proc/uptime")?;
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(Now {
        boot,
        wall: i64::try_from(wall).unwrap_or(0),
        uptime: uptime.split('.').next().and_then(|secs| secs.parse().ok()).unwrap_or(0),
        entropy: RandomState::new().build_hasher().finish(),
    })
}
