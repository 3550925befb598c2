//! What can be typed: the one description from which parsing, help, completions and man pages come.

mod adopt;
mod cloud;
mod leases;
mod outbox;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use adopt::{
    Adopt, AdoptAs, AdoptCni, AdoptKubelet, CniPlaces, KubeletPlace, Revert, RevertCni, RevertKubelet,
};
pub use cloud::{Cloud, Manifests, PolicyVersion};
pub use leases::{Check, Export, Leases, LeasesAction, Look, Places, Pools, Release, Select, State};
pub use outbox::{AtHub, Outbox, OutboxAction, OutboxDrop, OutboxShow, Settle, WhichEntry};

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

/// How to print a report.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}
