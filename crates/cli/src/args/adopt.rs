//! `edgekeep adopt` and `edgekeep revert`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Format;

/// What can be brought to use edgekeep.
#[derive(Subcommand)]
pub enum Adopt {
    /// Have the CNI that this node has take its addresses from edgekeep-ipam instead of host-local.
    ///
    /// Puts the plugin beside the ones that are there, then changes one word in the CNI configuration; every other byte
    /// of it stays. Running pods are not touched. Can be run again at any time, also after it was interrupted.
    #[command(after_help = "Exit codes: 0 done, or nothing was to do; 1 failed; 2 called wrongly; \
                            3 something could not be adopted, the reason stands beside it.")]
    Cni(AdoptCni),
    /// Have kubelet talk to the hub on this node instead of the API server.
    ///
    /// Writes a kubeconfig that leads to the hub, with a certificate that the hub makes for kubelet, and a systemd drop-in
    /// that hands it over. What kubeadm and kubelet wrote stays as it is. No pod is touched. Can be run again at any time,
    /// also after it was interrupted.
    #[command(after_help = "Exit codes: 0 done, or nothing was to do; 1 failed; 2 called wrongly; \
                            3 cannot be done here, the reason stands there; --check: kubelet is not pointed at the hub.")]
    Kubelet(AdoptKubelet),
}

/// What can be brought back.
#[derive(Subcommand)]
pub enum Revert {
    /// Have the CNI of this node take its addresses from host-local again, with pods running.
    ///
    /// A configuration that nobody changed since becomes what it was, byte for byte; in another one only our word goes
    /// back to host-local. The plugin is removed once no running pod needs it to release its address.
    #[command(after_help = "Exit codes: 0 done, or nothing was to do; 1 failed; 2 called wrongly; \
                            3 something could not be brought back, the reason stands beside it.")]
    Cni(RevertCni),
    /// Have kubelet talk to the API server directly again.
    ///
    /// What `adopt kubelet` wrote goes, and kubelet has its own kubeconfig again. Where the hub renewed the node's
    /// certificate meanwhile, kubelet gets the new one.
    #[command(after_help = "Exit codes: 0 done, or nothing was to do; 1 failed; 2 called wrongly; \
                            3 cannot be done, the reason stands there.")]
    Kubelet(RevertKubelet),
}

/// Adopting the CNI.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct AdoptCni {
    /// The program to install [default: /usr/libexec/edgekeep/edgekeep-ipam, else edgekeep-ipam beside this program]
    #[arg(long, value_name = "PATH")]
    pub plugin: Option<PathBuf>,
    /// The name under which the plugin is called.
    #[arg(long = "as", value_enum, default_value_t = AdoptAs::Auto)]
    pub how: AdoptAs,
    /// Only bring the copies of the plugin that an earlier adoption made to the version of this one.
    #[arg(long, conflicts_with = "how")]
    pub refresh: bool,
    #[command(flatten)]
    pub cni: CniPlaces,
}

/// Bringing the CNI back.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct RevertCni {
    /// Remove the plugin even while running pods need it: they then cannot release their addresses when they end.
    #[arg(long)]
    pub purge: bool,
    #[command(flatten)]
    pub cni: CniPlaces,
}

/// Adopting kubelet.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct AdoptKubelet {
    /// Change nothing; say whether kubelet is pointed at the hub and what somebody changed since.
    #[arg(long, conflicts_with_all = ["dry_run", "restart"])]
    pub check: bool,
    /// Change nothing; print the kubeconfig that leads to the hub, for a kubelet that is pointed at it by hand.
    #[arg(long, conflicts_with_all = ["check", "dry_run", "restart"])]
    pub print_kubeconfig: bool,
    #[command(flatten)]
    pub kubelet: KubeletPlace,
}

/// Bringing kubelet back.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct RevertKubelet {
    #[command(flatten)]
    pub kubelet: KubeletPlace,
}

/// Where kubelet is, and how to tell of it.
#[derive(Args)]
pub struct KubeletPlace {
    /// Change nothing; show what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// Restart kubelet where it does not run so yet; its pods go on. Without this, it changes over at its next start.
    #[arg(long)]
    pub restart: bool,
    /// Look for everything below this directory: an image that is being made, or a node that is mounted.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

/// Under which name the plugin is called.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AdoptAs {
    /// By its own name, unless a network on this node needs it under the name host-local.
    Auto,
    /// By its own name: `ipam.type` becomes edgekeep-ipam.
    EdgekeepIpam,
    /// In place of host-local, of which a copy is kept; no configuration changes.
    HostLocal,
}

/// Where the CNI of a node is, and how to tell of it.
#[derive(Args)]
pub struct CniPlaces {
    /// Change nothing; show what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// A directory of CNI configuration [default: those of kubeadm, k3s, RKE2, k0s, MicroK8s and Multus that are there]
    #[arg(long, value_name = "DIR")]
    pub conf_dir: Vec<PathBuf>,
    /// A directory of CNI plugins [default: those of the same that hold plugins]
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Vec<PathBuf>,
    /// Where copies of what is changed are kept [default: /var/lib/edgekeep/adopt/cni]
    #[arg(long, value_name = "DIR")]
    pub backup_dir: Option<PathBuf>,
    /// Look for all the defaults below this directory: an image that is being made, or a node that is mounted.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}
