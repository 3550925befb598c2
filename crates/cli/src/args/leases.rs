//! `edgekeep leases` and `edgekeep usage`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use lease::inspect::Held;

use super::Output;

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
