//! The program `edgekeep`: parses, calls, prints. What it knows, it knows from the crates below.
//!
//! Exit codes: 0 done, 1 failed, 2 called wrongly, 3 done but for what the report names (`adopt`, `revert`). `doctor` has its
//! own.

pub mod args;

mod admin;
mod adopt;
mod cloud;
mod doctor;
mod hub;
mod leases;
mod outbox;
mod settle;
mod status;
mod table;
mod usage;

use std::process::ExitCode;

use durable::os::OsFs;
use lease::machine::Dirs;

use crate::args::{Adopt, Cli, Cloud, Command, Places, Revert};

/// What went wrong, for the person at the terminal.
pub type Failure = String;

/// Does what was typed.
pub fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    match &cli.command {
        Command::Hub(what) => hub::run(what).map(|()| ExitCode::SUCCESS),
        other => at_the_terminal(other),
    }
}

/// All but the hub. Kept out of [`run`], so that none of it is in the memory of a hub.
#[inline(never)]
fn at_the_terminal(command: &Command) -> Result<ExitCode, Failure> {
    let done = match command {
        Command::Adopt(Adopt::Cni(what)) => return adopt::cni::adopt(what),
        Command::Adopt(Adopt::Kubelet(what)) => return adopt::kubelet::adopt(what),
        Command::Revert(Revert::Cni(what)) => return adopt::cni::revert(what),
        Command::Revert(Revert::Kubelet(what)) => return adopt::kubelet::revert(what),
        Command::Cloud(Cloud::Manifests(what)) => return cloud::manifests(what),
        Command::Hub(what) => hub::run(what),
        Command::Status(what) => return status::run(what),
        Command::Doctor(what) => return doctor::run(what),
        Command::Outbox(what) => outbox::run(what),
        Command::Settle(what) => settle::run(what),
        Command::Leases(look) => leases::run(look),
        Command::Usage(look) => usage::run(look),
        Command::MarkBoot(places) => mark_boot(places),
    };
    done.map(|()| ExitCode::SUCCESS)
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
