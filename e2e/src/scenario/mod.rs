//! What is played on the node, one module per idea.

mod alternation;
mod churn;
mod day;
mod flannel;
mod ipam;
mod killed_between;
mod link;
mod main_plugins;
mod node_certificate;
mod node_cold_boot;
mod node_direct;
mod node_eviction;
mod node_figures;
mod node_hub;
mod node_informers;
mod node_settle;
mod node_staging;
mod node_view_figures;
mod openyurt;
mod patch_differential;
mod rollback;
mod settle_fleet;
mod two_networks;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::checks::Checks;
use crate::run_dir::RunDir;

/// What the command line chose.
pub struct Options {
    /// The plugin that is played as the product's.
    pub plugin: PathBuf,
    /// Makes the orders of the run.
    pub seed: u64,
    /// Where runs live, and where the runtime's log is kept when something failed.
    pub cache: PathBuf,
}

/// Every scenario, in the order in which `all` plays them, with what it shows.
pub const ALL: [(&str, &str); 29] = [
    ("ipam", "pods keep their addresses through restarts, a killed runtime and reboots"),
    ("alternation", "stock host-local and edgekeep-ipam take turns on one dataDir under running pods"),
    ("rollback", "back to stock host-local with pods running and edgekeep-ipam wiped from the node"),
    ("killed-between", "the runtime is killed between a plugin's ADD and its answer"),
    ("ptp", "ptp as the main plugin: restarts and a reboot"),
    ("macvlan", "macvlan as the main plugin, asked from beyond its master: restarts and a reboot"),
    ("two-networks", "three interfaces per pod, two of them in one network, as Multus makes them"),
    ("flannel", "flannel's saved delegation: switched under running pods, then a reboot"),
    ("openyurt", "OpenYurt's directory taken over under running pods"),
    ("churn", "a full /28 for 2000 rounds, the plugin driven without a runtime"),
    (
        "node-hub",
        "kubelet and kube-proxy behind the hub: adopted, cut off, slowed down, the hub killed, reverted",
    ),
    ("node-certificate", "the node's certificate renewed by the hub, ended while cut off, and got anew"),
    ("node-figures", "what the hub costs: the same requests directly and through it"),
    ("node-direct", "a real node and its cloud without a hub: a whole day, and what can befall the link"),
    (
        "node-cold-boot",
        "a node that is booted cut off, then with all that can befall it: its pods come back at their addresses",
    ),
    (
        "node-staging",
        "cut off and booted, pods at other addresses: what kubelet says is shown at once, survives, reaches the cloud",
    ),
    (
        "node-settle",
        "an outage in which node and cloud both went on: they agree again; a dead kubelet stays dead",
    ),
    ("node-settle-rounds", "the same, and thirty random rounds of outage, boot, deletion and healing"),
    (
        "settle-fleet",
        "two hundred hubs that come back as one to one API server: they settle, and it is not overrun",
    ),
    ("node-cold-boot-online", "the same, online: the control of the other cold boots"),
    ("node-cold-boot-blackhole", "the same, into a black hole"),
    ("node-cold-boot-killed", "the same, offline, the hub killed at random moments"),
    ("node-cold-boot-damaged", "the same, offline, after the hub's cache log was damaged at random"),
    ("node-cold-boots", "all of these one at a time, on one node"),
    ("node-boot-figures", "how long a boot takes, cut off with the hub and online without it, in turns"),
    (
        "node-view-figures",
        "what answers from the view cost beside the API server's: time, memory, disk, bytes over the link",
    ),
    (
        "node-informers",
        "informers behind the hub over fifty cuts, and clients that cross between hub and cloud",
    ),
    (
        "node-eviction",
        "outages longer than the eviction time, without and with what the cluster needs; a Node deleted in the cloud",
    ),
    ("patch-differential", "generated writes to a real API server: `patch` does what it does"),
];

/// Plays the scenario `name` in `dir` and records every check.
///
/// # Errors
///
/// There is no such scenario, or something that is not a check failed, so that the run could not go on.
pub async fn run(name: &str, dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    match name {
        "ipam" => ipam::run(dir, options, checks).await,
        "alternation" => alternation::run(dir, options, checks).await,
        "rollback" => rollback::run(dir, options, checks).await,
        "killed-between" => killed_between::run(dir, options, checks).await,
        "ptp" => main_plugins::ptp(dir, options, checks).await,
        "macvlan" => main_plugins::macvlan(dir, options, checks).await,
        "two-networks" => two_networks::run(dir, options, checks).await,
        "flannel" => flannel::run(dir, options, checks).await,
        "openyurt" => openyurt::run(dir, options, checks).await,
        "node-hub" => node_hub::run(dir, options, checks).await,
        "node-certificate" => node_certificate::run(dir, options, checks).await,
        "node-figures" => node_figures::run(dir, options, checks).await,
        cold_boot if cold_boot.starts_with("node-cold-boot") => {
            node_cold_boot::run(cold_boot, dir, options, checks).await
        }
        "node-boot-figures" => node_cold_boot::figures::run(dir, options, checks).await,
        "node-view-figures" => node_view_figures::run(dir, options, checks).await,
        "node-informers" => node_informers::run(dir, options, checks).await,
        settle if settle.starts_with("node-settle") => node_settle::run(settle, dir, options, checks).await,
        "settle-fleet" => settle_fleet::run(dir, options, checks).await,
        "node-staging" => node_staging::run(dir, options, checks).await,
        "node-eviction" => node_eviction::run(dir, options, checks).await,
        "node-direct" => node_direct::run(dir, options, checks).await,
        "patch-differential" => patch_differential::run(dir, options, checks).await,
        "churn" => churn::run(dir, options, checks),
        _ => bail!("there is no scenario {name}"),
    }
}
