//! A runtime of nothing but names: a sandbox is an id and a file where its network namespace would be, and every call
//! goes to the real plugin.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use crate::cni::NETWORK;
use crate::plugin::{self, Attachment};
use crate::{cni, sys};

/// The runtime and its sandboxes.
pub struct Sandboxes {
    plugin: PathBuf,
    root: PathBuf,
    config: Value,
    boot_id: String,
    /// By pod name: the latest sandbox.
    known: BTreeMap<String, Attachment>,
    made: usize,
}

impl Sandboxes {
    /// A runtime in the directory `root` that asks `plugin` for addresses of `ranges`.
    ///
    /// # Errors
    ///
    /// The directory cannot be written.
    pub fn new(plugin: PathBuf, root: PathBuf, ranges: &Value) -> Result<Self> {
        let config = json!({
            "cniVersion": "1.0.0", "name": NETWORK, "type": "bridge", "bridge": "edgekeep-none",
            "ipam": {"type": cni::OURS, "dataDir": root.join("networks"), "ranges": ranges}
        });
        fs::create_dir_all(root.join("netns"))?;
        Ok(Self { plugin, root, config, boot_id: sys::uuid()?, known: BTreeMap::new(), made: 0 })
    }

    /// Gives the pod another sandbox.
    ///
    /// # Errors
    ///
    /// The plugin refused.
    pub fn add(&mut self, name: &str) -> Result<Vec<IpAddr>> {
        self.made += 1;
        let container = format!("{:064x}", self.made);
        let netns = self.root.join("netns").join(&container);
        fs::write(&netns, "")?;
        let attachment = Attachment {
            container,
            netns: netns.display().to_string(),
            ifname: "eth0".to_owned(),
            pod: ("default".to_owned(), name.to_owned(), sys::uuid()?),
        };
        let given = self.call("ADD", &attachment);
        if given.is_err() {
            // As a runtime does after a failed ADD.
            self.call("DEL", &attachment)?;
            fs::remove_file(netns)?;
        } else {
            self.known.insert(name.to_owned(), attachment);
        }
        given
    }

    /// Ends the pod's latest sandbox.
    ///
    /// # Errors
    ///
    /// It has none, or the plugin refused.
    pub fn del(&mut self, name: &str) -> Result<()> {
        let attachment = self.known.remove(name).ok_or_else(|| anyhow!("{name} has no sandbox"))?;
        self.call("DEL", &attachment)?;
        let _ = fs::remove_file(&attachment.netns);
        Ok(())
    }

    /// Another boot id, an empty /run, no sandbox.
    ///
    /// # Errors
    ///
    /// A directory cannot be emptied.
    pub fn reboot(&mut self) -> Result<()> {
        self.boot_id = sys::uuid()?;
        for gone in ["run", "netns"] {
            fs::remove_dir_all(self.root.join(gone))?;
        }
        Ok(fs::create_dir(self.root.join("netns"))?)
    }

    /// The lease files: which container holds an address.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn leases(&self) -> Result<BTreeMap<IpAddr, String>> {
        let mut leases = BTreeMap::new();
        for entry in fs::read_dir(self.root.join("networks").join(NETWORK))? {
            let entry = entry?;
            if let Ok(address) = entry.file_name().to_string_lossy().parse() {
                let content = fs::read_to_string(entry.path())?;
                leases.insert(address, content.split("\r\n").next().unwrap_or_default().to_owned());
            }
        }
        Ok(leases)
    }

    /// The container id of the pod's latest sandbox.
    pub fn container(&self, name: &str) -> Option<&str> {
        self.known.get(name).map(|attachment| attachment.container.as_str())
    }

    fn call(&self, verb: &str, attachment: &Attachment) -> Result<Vec<IpAddr>> {
        let at = |name: &str| self.root.join(name);
        let mut program =
            sys::command(&[self.plugin.to_str().ok_or_else(|| anyhow!("path is not UTF-8"))?]);
        program
            .env_clear()
            .env("EDGEKEEP_BOOT_ID", &self.boot_id)
            .env("EDGEKEEP_STATE_DIR", at("state"))
            .env("EDGEKEEP_RUN_DIR", at("run"))
            .env("EDGEKEEP_CONFIG", at("none.json"))
            .env("EDGEKEEP_CNI_CACHE_DIR", at("results"));
        let path = self.plugin.parent().and_then(Path::to_str).unwrap_or("/");
        plugin::call(program, verb, attachment, path, &self.config)
    }
}
