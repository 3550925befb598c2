//! What can be typed: the one description from which parsing, help, completions and man pages come.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lease::inspect::Held;

/// Pods keep their IP, and the node keeps working, with or without the cloud.
#[derive(Parser)]
#[command(name = "edgekeep", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Show every address: who holds it, since when and why; or act on them.
    Leases(Leases),
    /// Show how full the address pools are.
    Usage(Pools),
    /// Be the hub: what kubelet and the other components of this node talk to instead of the API server.
    ///
    /// Runs until it is asked to stop (SIGTERM); reads changed certificates at SIGHUP and by itself.
    Hub(Hub),
    /// Show how the hub of this node stands: the link, its certificate, its clients.
    #[command(after_help = "Exit codes: 0 all is well; 1 the hub does not answer; 2 called wrongly; \
                            3 something is not well, it stands there.")]
    Status(Status),
    /// Show what this node has still to tell the cloud: of which object, since when, as whom, how large; or act on it.
    ///
    /// What kubelet and CNI daemons write while the cloud cannot be reached waits here, survives a power cut, and is told
    /// to the cloud once the link is back.
    #[command(after_help = "Exit codes: 0 done; 1 failed, or the hub does not answer; 2 called wrongly.")]
    Outbox(Outbox),
    /// Say whether this node would survive a reboot with the link to the cloud cut, right now.
    ///
    /// Goes through all that kubelet would ask at a cold boot and whether the hub could answer it, and looks at images,
    /// addresses, the CNI, units and disks. Names what would be missing, whom it strikes, and what to do. Changes nothing.
    #[command(
        after_help = "Exit codes: 0 nothing would be missing; 1 something would, it stands there; 2 it could not \
                            be found out, or called wrongly."
    )]
    Doctor(Doctor),
    /// Show what waits for the cloud and why, and what became of what waited; or what would become of it now.
    ///
    /// While its cloud is away, the hub takes what kubelet and the CNI's daemon write. When the cloud is back it tells it how
    /// things stand, by itself; here it says what it told, merged and dropped, and the reason for each.
    #[command(after_help = "Exit codes: 0 done; 1 the hub does not answer; 2 called wrongly.")]
    Settle(Settle),
    /// Bring what stands on this node to use edgekeep: show the difference, keep a copy, change.
    #[command(subcommand)]
    Adopt(Adopt),
    /// Bring what `adopt` changed back to what it was.
    #[command(subcommand)]
    Revert(Revert),
    /// Show what the cluster needs so that its edge nodes can be cut off.
    #[command(subcommand)]
    Cloud(Cloud),
    /// Note that this boot begins, so that leases of earlier boots are told from those of this one.
    ///
    /// To be run at boot before the container runtime starts, by a unit of the service manager.
    #[command(hide = true)]
    MarkBoot(Places),
}

/// Being the hub.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct Hub {
    /// The configuration [default: /etc/edgekeep/hub.yaml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the whole configuration, defaults included, and do nothing else.
    #[arg(long)]
    pub print_config: bool,
}

/// Asking the hub how it stands.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct Status {
    /// The hub's admin socket [default: that of /etc/edgekeep/hub.yaml]
    #[arg(long, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Asking what waits for the cloud, or acting on it.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Outbox {
    /// What to do with it.
    #[command(subcommand)]
    pub action: Option<OutboxAction>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    #[command(flatten)]
    #[allow(missing_docs)] // a text here would become that of the command
    pub hub: AtHub,
}

/// What can be done with what waits.
#[derive(Subcommand)]
pub enum OutboxAction {
    /// Print what is to be told of an object, in JSON: the object as this node last had it.
    #[command(
        after_help = "Exit codes: 0 done; 1 failed, nothing of it waits, or the hub does not answer; 2 called wrongly."
    )]
    Show(OutboxShow),
    /// Never tell the cloud what waits of an object. The reason goes into the hub's log and into the settle report.
    ///
    /// On this node the object is shown as the cloud last had it from then on, to kubelet too, which repairs what is not so
    /// and may say the same again. What was said of a pod that has ended is known to nobody else: without it the pod is
    /// there as if it still ran.
    #[command(
        after_help = "Exit codes: 0 dropped; 1 failed, nothing or more than one thing of it waits, or the hub does not \
                            answer; 2 called wrongly."
    )]
    Drop(OutboxDrop),
}

/// Looking at the content of what waits.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct OutboxShow {
    #[command(flatten)]
    pub which: WhichEntry,
    #[command(flatten)]
    pub hub: AtHub,
}

/// Dropping something that waits.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct OutboxDrop {
    #[command(flatten)]
    pub which: WhichEntry,
    /// Why: one line, for those who read the report.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
    /// Change nothing; show what would be dropped.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub hub: AtHub,
}

/// What waits of one object.
#[derive(Args)]
pub struct WhichEntry {
    /// The object, as `edgekeep outbox` names it: pods/shop/web-0, nodes/edge-1.
    #[arg(value_name = "RESOURCE/[NAMESPACE/]NAME")]
    pub object: String,
    /// Only what this one wrote: kubelet, or a daemon as `edgekeep outbox` names it.
    #[arg(long = "as", value_name = "WRITER")]
    pub writer: Option<String>,
    /// Only of the object with this UID.
    #[arg(long)]
    pub uid: Option<String>,
}

/// Where the hub is asked.
#[derive(Args)]
pub struct AtHub {
    /// The hub's admin socket [default: that of /etc/edgekeep/hub.yaml]
    #[arg(long, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
}

/// Asking what was settled, and what would be.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct Settle {
    /// Send nothing; show what would become of everything that waits, against the cloud as it is now.
    #[arg(long)]
    pub plan: bool,
    /// Show all settlings that are remembered, not only the last one.
    #[arg(long, conflicts_with = "plan")]
    pub all: bool,
    /// The hub's admin socket [default: that of /etc/edgekeep/hub.yaml]
    #[arg(long, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Asking whether the node would survive a reboot.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct Doctor {
    /// The hub's admin socket [default: that of /etc/edgekeep/hub.yaml]
    #[arg(long, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
    /// A directory of CNI configuration [default: as for `adopt cni`]
    #[arg(long, value_name = "DIR")]
    pub conf_dir: Vec<PathBuf>,
    /// A directory of CNI plugins [default: as for `adopt cni`]
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Vec<PathBuf>,
    /// Look for everything below this directory: a node that is mounted.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

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

/// What the cluster needs.
#[derive(Subcommand)]
pub enum Cloud {
    /// Print the objects that a cluster needs: so that an outage deletes no pods, and so that the hub may do its work.
    ///
    /// Made to be read, then piped to `kubectl apply -f -`. Reads and changes nothing itself; can be run anywhere.
    Manifests(Manifests),
}

/// Printing what the cluster needs.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct Manifests {
    /// The label of the nodes that may be cut off: pods that can only run on such nodes outlast an outage.
    #[arg(long, value_name = "KEY=VALUE", default_value = "edgekeep.io/edge=true")]
    pub node_label: String,
    /// The tolerationSeconds that the API server gives pods: its --default-unreachable-toleration-seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub default_seconds: u32,
    /// The version of the policy's API: v1 since Kubernetes 1.36, v1beta1 since 1.34 where it was turned on.
    #[arg(long, value_enum, default_value_t = PolicyVersion::V1)]
    pub policy_version: PolicyVersion,
    /// For a cluster without MutatingAdmissionPolicy: no policy, but the flags of kube-apiserver that do the same.
    #[arg(long)]
    pub without_policy: bool,
}

/// The version of the policy's API.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PolicyVersion {
    /// `admissionregistration.k8s.io/v1`.
    V1,
    /// `admissionregistration.k8s.io/v1beta1`.
    V1beta1,
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

/// How to print a report.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Looking at bindings, or acting on them.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Leases {
    /// What to do with them.
    #[command(subcommand)]
    pub action: Option<LeasesAction>,
    #[command(flatten)]
    #[allow(missing_docs)] // a text here would become that of the command
    pub look: Look,
}

/// What can be done with bindings.
#[derive(Subcommand)]
pub enum LeasesAction {
    /// End a binding: its address is held for its pod no more.
    Release(Release),
    /// Write the bindings in the layout of OpenYurt's host-local.
    Export(Export),
    /// Compare the journal, host-local's directory and the kernel; exit code 1 if they contradict each other.
    Check(Check),
}

/// What to look at, and how.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct Look {
    /// Only this pod, as namespace/name or name.
    #[arg(short, long)]
    pub pod: Option<String>,
    /// Only what has this address.
    #[arg(short, long)]
    pub address: Option<IpAddr>,
    /// Only what is held so.
    #[arg(short, long, value_enum, value_delimiter = ',')]
    pub state: Vec<State>,
    /// Go on, with a line for whatever changes.
    #[arg(short, long, conflicts_with = "output")]
    pub watch: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    #[command(flatten)]
    pub select: Select,
    #[command(flatten)]
    pub places: Places,
}

/// How full the pools are.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct Pools {
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    #[command(flatten)]
    pub select: Select,
    #[command(flatten)]
    pub places: Places,
}

/// Ending a binding.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct Release {
    /// An address, or a pod as namespace/name.
    #[arg(value_name = "ADDRESS|POD")]
    pub what: String,
    /// Also if a sandbox has the address now: only if you know that it is dead.
    #[arg(long)]
    pub force: bool,
    /// Only in this network.
    #[arg(short, long)]
    pub network: Option<String>,
    #[command(flatten)]
    pub places: Places,
}

/// Writing bindings for OpenYurt's host-local.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct Export {
    /// The directory to write to, one directory per network in it.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    #[command(flatten)]
    pub select: Select,
    #[command(flatten)]
    pub places: Places,
}

/// Comparing what is on record with what is.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct Check {
    #[command(flatten)]
    pub select: Select,
    #[command(flatten)]
    pub places: Places,
}

/// Which networks.
#[derive(Args)]
pub struct Select {
    /// Only this network.
    #[arg(short, long)]
    pub network: Option<String>,
}

/// How an address is held.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// By a running sandbox.
    Live,
    /// For a pod without a sandbox.
    Parked,
    /// For a pod that is not expected back.
    Gone,
    /// By a lease of another program.
    Foreign,
}

impl State {
    /// Whether that is how.
    pub fn is(self, held: Held) -> bool {
        matches!(
            (self, held),
            (State::Live, Held::Live)
                | (State::Parked, Held::Parked)
                | (State::Gone, Held::Gone)
                | (State::Foreign, Held::Foreign)
        )
    }
}

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Where the state is: flag before environment before configuration.
#[derive(Args)]
pub struct Places {
    /// Directory of the bindings [default: stateDir of /etc/edgekeep/ipam.json, or /var/lib/edgekeep/ipam]
    #[arg(long, env = "EDGEKEEP_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Directory of what need not survive a reboot [default: runDir of /etc/edgekeep/ipam.json, or /run/edgekeep/ipam]
    #[arg(long, env = "EDGEKEEP_RUN_DIR")]
    pub run_dir: Option<PathBuf>,
}
