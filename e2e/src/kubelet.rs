//! kubelet on the node, in kubeadm's layout: its files lie where `kubeadm join` puts them, and it starts as kubeadm's
//! drop-in for its unit says.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::kubeconfig::{Access, Credential};
use crate::machine::{Machine, Process};
use crate::programs::Programs;
use crate::unit::Service;
use crate::wan;

/// Name of the node in the cluster.
pub const NODE: &str = "edge";
/// Name of its log and of its process on the node.
pub const NAME: &str = "kubelet";

const UNIT: &str = "[Unit]\nDescription=kubelet: The Kubernetes Node Agent\n\n[Service]\nExecStart=/usr/bin/kubelet\nRestart=always\n";

/// kubelet as set up for one node; it runs between [`Kubelet::start`] and [`Kubelet::kill`] or the node's power cut.
#[derive(Default)]
pub struct Kubelet {
    process: Option<Process>,
}

impl Kubelet {
    /// Writes what `kubeadm join` writes: with these files kubelet asks for a certificate of its own with
    /// `bootstrap_token` when it starts.
    ///
    /// # Errors
    ///
    /// The node's directories cannot be written.
    pub fn join(node: &Machine, programs: &Programs, access: &Access, bootstrap_token: &str) -> Result<()> {
        let (etc, var_lib) = (node.etc(), node.var_lib());
        let bootstrap = access.kubeconfig(&Credential::Token(bootstrap_token));
        write(&etc, "kubernetes/bootstrap-kubelet.conf", &bootstrap)?;
        write(&etc, "kubernetes/pki/ca.crt", &access.ca)?;
        fs::create_dir_all(etc.join("kubernetes/manifests"))?;
        write(&etc, "systemd/system/kubelet.service", UNIT)?;
        write(&etc, "systemd/system/kubelet.service.d/10-kubeadm.conf", &drop_in(programs))?;
        write(&var_lib, "kubelet/config.yaml", &format!("{:#}\n", configuration(node.name())))?;
        write(&var_lib, "kubelet/kubeadm-flags.env", &flags())
    }

    /// Starts it as its unit and drop-ins say.
    ///
    /// # Errors
    ///
    /// They say nothing, or the node is off.
    pub fn start(&mut self, node: &Machine) -> Result<()> {
        let words = Service::read(&node.etc(), "kubelet.service")?.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.process = Some(node.start(NAME, &words)?);
        Ok(())
    }

    /// Kills it with signal 9; pods go on.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn kill(&mut self, node: &Machine) -> Result<()> {
        node.kill(self.process.take().ok_or_else(|| anyhow!("kubelet was not started"))?)
    }
}

/// Whether a Node object says that the node is ready.
///
/// # Errors
///
/// It is not; the text holds kubelet's reason.
pub fn is_ready(node: &Value) -> Result<()> {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let ready = conditions.into_iter().find(|one| one.get("type").and_then(Value::as_str) == Some("Ready"));
    if ready.and_then(|one| one.get("status")).and_then(Value::as_str) != Some("True") {
        bail!("the node is not ready: {}", ready.unwrap_or(&Value::Null));
    }
    Ok(())
}

fn write(below: &Path, name: &str, text: &str) -> Result<()> {
    let path = below.join(name);
    fs::create_dir_all(path.parent().unwrap_or(below))?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// kubeadm's own, but for where the program is.
fn drop_in(programs: &Programs) -> String {
    let kubelet = programs.kubernetes("kubelet");
    format!(
        r#"# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart={kubelet} $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
"#
    )
}

fn flags() -> String {
    let flags = [
        "--container-runtime=remote".to_owned(),
        "--container-runtime-endpoint=unix:///run/containerd/containerd.sock".to_owned(),
        format!("--hostname-override={NODE}"),
        format!("--node-ip={}", wan::NODE),
    ];
    format!("KUBELET_KUBEADM_ARGS=\"{}\"\n", flags.join(" "))
}

/// kubeadm's configuration, with what a machine without systemd and with a borrowed disk needs: pods' control groups
/// below `cgroup_root`, no eviction and no limits of its own.
fn configuration(cgroup_root: &str) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"}
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{cgroup_root}"),
        "clusterDNS": ["10.96.0.10"],
        "clusterDomain": "cluster.local",
        "enforceNodeAllocatable": [],
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "1Mi"},
        "failSwapOn": false,
        "featureGates": {"BoundServiceAccountTokenVolume": true, "LocalStorageCapacityIsolation": false},
        "imageGCHighThresholdPercent": 100,
        "oomScoreAdj": 0,
        "resolvConf": "/etc/resolv.conf",
        "rotateCertificates": true,
        "staticPodPath": "/etc/kubernetes/manifests",
        "volumePluginDir": "/var/lib/kubelet/volumeplugins"
    })
}
