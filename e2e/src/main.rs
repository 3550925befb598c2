//! Drives a real container runtime on a node of its own through restarts, kills and power cuts, and looks whether
//! edgekeep's promises hold. Started by `e2e/run`, as root; see there for what it needs.

mod cgroup;
mod checks;
mod cni;
mod cri;
mod image;
mod ledger;
mod netns;
mod node;
mod pods;
mod probe;
mod run_dir;
mod runtime;
mod scenario;
mod shuffle;
mod sys;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use tokio::signal::unix::{SignalKind, signal};

use checks::Checks;
use run_dir::RunDir;
use scenario::ipam;
use shuffle::Shuffle;

const USAGE: &str = "usage: e2e/run ipam [--ipam edgekeep-ipam|host-local] [--seed NUMBER]

  ipam    pods keep their addresses through restarts, a killed runtime and reboots
          --ipam host-local plays the same with the stock plugin, which must fail

environment: EDGEKEEP_IPAM (the plugin to prove), EDGEKEEP_CACHE (where runs live)";

fn main() -> ExitCode {
    if env::args().any(|word| word == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error:#}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut checks = Checks::new();
    if let Err(error) = play(&options, &mut checks) {
        checks.record("the run comes to its end", Err(error));
    }
    if checks.close() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays the scenario until its end or a signal. Either way everything is cleaned up on return: what a run owns is
/// released where it goes out of scope, the node before the directory it lives in.
fn play(options: &ipam::Options, checks: &mut Checks) -> Result<()> {
    let dir = RunDir::create(&options.cache)?;
    // One thread: the kernel ends the node when the thread that started it ends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            played = ipam::run(&dir, options, checks) => played,
            _ = interrupt.recv() => bail!("interrupted"),
            _ = terminate.recv() => bail!("asked to terminate"),
        }
    })
}

fn options() -> Result<ipam::Options> {
    let mut words = env::args().skip(1);
    if words.next().as_deref() != Some("ipam") {
        bail!("one subcommand is needed");
    }
    let (mut ipam, mut seed) = ("edgekeep-ipam".to_owned(), Shuffle::fresh_seed());
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| anyhow!("{word} needs a value"))?;
        match word.as_str() {
            "--ipam" if ["edgekeep-ipam", "host-local"].contains(&value.as_str()) => ipam = value,
            "--seed" => seed = value.parse().with_context(|| format!("--seed {value} is not a number"))?,
            _ => bail!("{word} {value} is not understood"),
        }
    }
    let plugin = env::var_os("EDGEKEEP_IPAM").map(PathBuf::from);
    if plugin.is_none() && ipam == "edgekeep-ipam" {
        bail!("EDGEKEEP_IPAM does not say where the plugin is");
    }
    Ok(ipam::Options { ipam, plugin, seed, cache: cache()? })
}

fn cache() -> Result<PathBuf> {
    if let Some(own) = env::var_os("EDGEKEEP_CACHE") {
        return Ok(own.into());
    }
    let user = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let user = user.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    Ok(user.ok_or_else(|| anyhow!("neither EDGEKEEP_CACHE nor HOME is set"))?.join("edgekeep"))
}
