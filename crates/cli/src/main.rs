//! The program `edgekeep`: parses, calls, prints. What it knows, it knows from the crates below.
//!
//! Exit codes: 0 done, 1 failed, 2 called wrongly.

mod leases;
mod table;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use durable::os::OsFs;
use lease::machine::Dirs;

/// Pods keep their IP, and the node keeps working, with or without the cloud.
#[derive(Parser)]
#[command(name = "edgekeep", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
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
struct Look {
    /// Only this network.
    #[arg(short, long)]
    network: Option<String>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    places: Places,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Where the state is: flag before environment before configuration.
#[derive(Args)]
struct Places {
    /// Directory of the bindings [default: stateDir of /etc/edgekeep/ipam.json, or /var/lib/edgekeep/ipam]
    #[arg(long, env = "EDGEKEEP_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// Directory of what need not survive a reboot [default: runDir of /etc/edgekeep/ipam.json, or /run/edgekeep/ipam]
    #[arg(long, env = "EDGEKEEP_RUN_DIR")]
    run_dir: Option<PathBuf>,
}

/// What went wrong, for the person at the terminal.
type Failure = String;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Leases(look) => leases::run(&look),
        Command::Usage(look) => usage::run(&look),
        Command::MarkBoot(places) => mark_boot(&places),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("edgekeep: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

impl Places {
    fn dirs(&self) -> Result<Dirs, Failure> {
        let node = lease::machine::node_file(&OsFs, variable).map_err(|e| e.msg)?;
        let dirs = Dirs::resolve(variable, &node);
        Ok(Dirs {
            state: self.state_dir.clone().unwrap_or(dirs.state),
            run: self.run_dir.clone().unwrap_or(dirs.run),
            ..dirs
        })
    }
}

fn mark_boot(places: &Places) -> Result<(), Failure> {
    let now = lease::machine::now(&OsFs, variable).map_err(|e| e.to_string())?;
    let run = places.dirs()?.run;
    lease::boot::Marker::make(&OsFs, &run, &now)
        .map_err(|e| format!("cannot write the boot marker in {}: {e}", run.display()))
}
