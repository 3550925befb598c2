//! What can be typed: the one description from which parsing, help, completions and man pages come.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Show every address: who holds it, since when and why.
    Leases(Look),
    /// Show how full the address pools are.
    Usage(Look),
    /// Note that this boot begins, so that leases of earlier boots are told from those of this one.
    ///
    /// To be run at boot before the container runtime starts, by a unit of the service manager.
    #[command(hide = true)]
    MarkBoot(Places),
}

/// How to look, and where.
#[derive(Args)]
pub struct Look {
    /// Only this network.
    #[arg(short, long)]
    pub network: Option<String>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    #[command(flatten)]
    /// Where the state is.
    pub places: Places,
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
