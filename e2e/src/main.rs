//! Drives a real container runtime on a node of its own through restarts, kills and power cuts, and looks whether
//! edgekeep's promises hold. Started by `e2e/run`, as root; see there for what it needs.
//!
//! Called under the name of a CNI plugin it is that plugin's stand-in: see `stand_in`.

mod cgroup;
mod checks;
mod clientgo;
mod cloud;
mod cluster;
mod cni;
mod cri;
mod diary;
mod doctor;
mod fields;
mod followers;
mod hub;
mod image;
mod kube_proxy;
mod kubeconfig;
mod kubelet;
mod ledger;
mod machine;
mod netns;
mod pki;
mod plugin;
mod pods;
mod probe;
mod programs;
mod reach;
mod run_dir;
mod runtime;
mod scenario;
mod shuffle;
mod slow;
mod stage;
mod stand_in;
mod sys;
mod token;
mod unit;
mod verdict;
mod wan;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use tokio::signal::unix::{SignalKind, signal};

use checks::Checks;
use run_dir::RunDir;
use scenario::Options;
use shuffle::Shuffle;

const USAGE: &str = "usage: e2e/run SCENARIO [--ipam edgekeep-ipam|host-local] [--seed NUMBER]

  all                      both of these beside each other, then power-cuts
  all-plugin, all-node     those below of the plugin alone, those of a whole node: one after the other, but for those marked *
  power-cuts [--cuts N] [--seed N]
                           the power of a virtual node is cut 5 times, or N, and it is booted (a program of its own)";

const USAGE_END: &str = "
  --ipam host-local plays with stock host-local under edgekeep-ipam's name. Every scenario must then fail, which
  shows that a loss would be seen.

environment: EDGEKEEP_IPAM (the plugin to prove), EDGEKEEP_CACHE (where runs live)";

fn main() -> ExitCode {
    if let Some(status) = stand_in::play() {
        return status;
    }
    if env::args().any(|word| word == "--help") {
        println!("{}", usage());
        return ExitCode::SUCCESS;
    }
    let (scenarios, options) = match options() {
        Ok(chosen) => chosen,
        Err(error) => {
            eprintln!("{error:#}\n\n{}", usage());
            return ExitCode::from(2);
        }
    };
    let mut checks = Checks::new();
    for scenario in scenarios {
        if let Err(error) = play(&scenario, &options, &mut checks) {
            let ends = error.is::<Asked>();
            checks.record(&format!("{scenario} comes to its end"), Err(error));
            if ends {
                break;
            }
        }
    }
    if checks.close() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> String {
    let scenarios: Vec<String> = scenario::ALL
        .iter()
        .map(|(name, shows)| {
            let mark = if BY_NAME.contains(name) { '*' } else { ' ' };
            format!("{mark} {name:<24} {shows}\n")
        })
        .collect();
    format!("{USAGE}\n{}{USAGE_END}", scenarios.concat())
}

/// A signal asked this program to end.
#[derive(Debug)]
struct Asked;

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("asked to end")
    }
}

impl std::error::Error for Asked {}

/// Plays a scenario until its end or a signal. Either way everything is cleaned up on return: what a run owns is
/// released where it goes out of scope, the node before the directory it lives in.
fn play(scenario: &str, options: &Options, checks: &mut Checks) -> Result<()> {
    let plugin = options.plugin.display();
    checks.note(&format!("{scenario}, {plugin}, seed {}, {}", options.seed, runtime::version()?));
    let dir = RunDir::create(&options.cache)?;
    // One thread: the kernel ends the node when the thread that started it ends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            played = scenario::run(scenario, &dir, options, checks) => played,
            _ = interrupt.recv() => bail!(Asked),
            _ = terminate.recv() => bail!(Asked),
        }
    })
}

/// Played by name only: `patch-differential` draws other writes each time, and may find what nobody has looked into yet;
/// `node-cold-boot` is the shortest of its family; informers take three minutes; figures of boots need a machine of their
/// own, those of the view half an hour; outages beyond the eviction time take four minutes, and so does a fleet.
const BY_NAME: [&str; 12] = [
    "patch-differential",
    "node-cold-boot-online",
    "node-cold-boot-blackhole",
    "node-cold-boot-killed",
    "node-cold-boot-damaged",
    "node-cold-boots",
    "node-boot-figures",
    "node-informers",
    "node-settle-rounds",
    "node-view-figures",
    "node-eviction",
    "settle-fleet",
];

fn options() -> Result<(Vec<String>, Options)> {
    let mut words = env::args().skip(1);
    let chosen = words.next().unwrap_or_default();
    let of_many = |name: &str| match chosen.as_str() {
        "all-node" => name.starts_with("node-"),
        "all-plugin" => !name.starts_with("node-"),
        _ => false,
    };
    let known = scenario::ALL.iter().map(|(name, _)| (*name).to_owned());
    let scenarios: Vec<String> = known
        .filter(|name| chosen == *name || (of_many(name) && !BY_NAME.contains(&name.as_str())))
        .collect();
    if scenarios.is_empty() {
        bail!("one scenario is needed, {chosen:?} is none");
    }
    let (mut ipam, mut seed) = (cni::OURS.to_owned(), Shuffle::fresh_seed());
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| anyhow!("{word} needs a value"))?;
        match word.as_str() {
            "--ipam" if [cni::OURS, cni::STOCK_IPAM].contains(&value.as_str()) => ipam = value,
            "--seed" => seed = value.parse().with_context(|| format!("--seed {value} is not a number"))?,
            _ => bail!("{word} {value} is not understood"),
        }
    }
    let plugin = match env::var_os("EDGEKEEP_IPAM") {
        _ if ipam == cni::STOCK_IPAM => Path::new(cni::STOCK).join(ipam),
        Some(plugin) => plugin.into(),
        None => bail!("EDGEKEEP_IPAM does not say where the plugin is"),
    };
    Ok((scenarios, Options { plugin, seed, cache: cache()? }))
}

fn cache() -> Result<PathBuf> {
    if let Some(own) = env::var_os("EDGEKEEP_CACHE") {
        return Ok(own.into());
    }
    let user = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let user = user.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    Ok(user.ok_or_else(|| anyhow!("neither EDGEKEEP_CACHE nor HOME is set"))?.join("edgekeep"))
}
