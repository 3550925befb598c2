//! `cargo demo`: twenty pods, a reboot without a word, and where each pod is afterwards.
//!
//! Plays the container runtime against the real plugin binary, in a temporary directory, without root or network.
//! The same story is told to a model of stock host-local's rule. Succeeds only if every pod is home and no two pods
//! share an address.

mod model;
mod pods;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use crate::cni_driver::{Call, Plugin, Pod, Verb};
use crate::prng::Prng;
use crate::scratch::{self, Scratch};
use crate::table::{self, Style};
use crate::{Result, cargo};
use model::{HostLocal, Range};

const NETWORK: &str = "demo";
const SUBNET_V4: &str = "10.22.0.0/26";
const SUBNET_V6: &str = "fd00:22::/64";
/// The IPv4 pool has 61 addresses beside its gateway; with the twenty pods these newcomers fill it to the last.
const NEWCOMERS: usize = 41;
/// So many of them are there before the first of the twenty is back.
const EARLY_NEWCOMERS: usize = 7;

/// Runs the demo; `args` may hold `--plugin PATH`.
pub fn main(args: &[&str]) -> Result<ExitCode> {
    let program = match args {
        [] => cargo::build("ipam", "edgekeep-ipam", None)?,
        ["--plugin", path] => std::path::absolute(path).map_err(|e| format!("--plugin {path}: {e}"))?,
        _ => return Err(format!("the demo knows only `--plugin PATH`, not `{}`", args.join(" "))),
    };
    let mut prng = Prng::new(22);
    let residents = pods::residents(&mut prng);
    let newcomers = pods::newcomers(&mut prng, NEWCOMERS);
    let arrivals = arrivals(&residents, &newcomers, &mut prng);

    introduce(residents.len());
    let scratch = Scratch::new(&std::env::temp_dir(), "edgekeep-demo")?;
    let mut node = Node::new(scratch.path(), program, prng)?;
    let before = node.start(&residents)?;
    node.reboot()?;
    let after = node.start(&arrivals)?;

    let stock_before = model_of_stock(&residents);
    let stock_after = model_of_stock(&arrivals);
    Ok(report(&residents, [&before, &after], [&stock_before, &stock_after]))
}

fn introduce(residents: usize) {
    println!("1. {residents} pods start on a node with the pools {SUBNET_V4} and {SUBNET_V6}.");
    println!("2. The node reboots without a word: new boot id, runtime state and dataDir gone, no DEL.");
    println!(
        "3. The pods come back in another order, among {NEWCOMERS} newcomers: the IPv4 pool is full then."
    );
    println!();
}

/// Everybody who starts after the reboot, in that order: some newcomers first, then all the rest mixed.
fn arrivals(residents: &[Pod], newcomers: &[Pod], prng: &mut Prng) -> Vec<Pod> {
    let (early, late) = newcomers.split_at(EARLY_NEWCOMERS.min(newcomers.len()));
    let mut rest: Vec<Pod> = residents.iter().chain(late).cloned().collect();
    prng.shuffle(&mut rest);
    early.iter().cloned().chain(rest).collect()
}

/// Who has which addresses, in the order of arrival.
type Placement = Vec<(Pod, Vec<IpAddr>)>;

/// The node as the plugin sees it.
struct Node {
    plugin: Plugin,
    config: PathBuf,
    data: PathBuf,
    run: PathBuf,
    boots: u32,
    prng: Prng,
}

impl Node {
    fn new(root: &Path, program: PathBuf, prng: Prng) -> Result<Self> {
        let (data, run, config) = (root.join("cni-data"), root.join("run"), root.join("demo.conf"));
        let document = json!({
            "cniVersion": "1.0.0",
            "name": NETWORK,
            "type": "bridge",
            "ipam": {
                "type": "edgekeep-ipam",
                "dataDir": data,
                "ranges": [[{ "subnet": SUBNET_V4 }], [{ "subnet": SUBNET_V6 }]],
            },
        });
        scratch::write(&config, document.to_string())?;
        let mut plugin = Plugin::new(program);
        plugin.set("EDGEKEEP_STATE_DIR", root.join("state"));
        plugin.set("EDGEKEEP_RUN_DIR", &run);
        plugin.set("EDGEKEEP_CONFIG", root.join("no-node-wide-policy.json"));
        let mut node = Self { plugin, config, data, run, boots: 0, prng };
        node.boot();
        Ok(node)
    }

    fn boot(&mut self) {
        self.boots = self.boots.saturating_add(1);
        let boot_id = self.prng.uid();
        self.plugin.set("EDGEKEEP_BOOT_ID", boot_id);
    }

    /// What a power cut leaves: neither /run nor a dataDir on tmpfs, and another boot id.
    fn reboot(&mut self) -> Result<()> {
        scratch::remove_dir(&self.run)?;
        scratch::remove_dir(&self.data)?;
        self.boot();
        Ok(())
    }

    /// Makes a sandbox for each pod, one after the other.
    fn start(&mut self, pods: &[Pod]) -> Result<Placement> {
        let mut placement = Placement::new();
        for pod in pods {
            let container = self.prng.container_id();
            let call = Call { verb: Verb::Add, container: &container, pod, config: &self.config };
            placement.push((pod.clone(), self.plugin.run(call)?.addresses));
        }
        Ok(placement)
    }
}

fn model_of_stock(pods: &[Pod]) -> Placement {
    let ip = |v4: [u8; 4]| IpAddr::from(v4);
    let ip6 = |segments: [u16; 8]| IpAddr::from(segments);
    let mut stock = HostLocal::new(&[
        Range { start: ip([10, 22, 0, 1]), end: ip([10, 22, 0, 62]), gateway: ip([10, 22, 0, 1]) },
        Range {
            start: ip6([0xfd00, 0x22, 0, 0, 0, 0, 0, 1]),
            end: ip6([0xfd00, 0x22, 0, 0, 0xffff, 0xffff, 0xffff, 0xffff]),
            gateway: ip6([0xfd00, 0x22, 0, 0, 0, 0, 0, 1]),
        },
    ]);
    pods.iter().map(|pod| (pod.clone(), stock.add().unwrap_or_default())).collect()
}

/// Prints the table and the verdict on the whole; `ours` and `stock` are the placements before and after.
fn report(residents: &[Pod], ours: [&Placement; 2], stock: [&Placement; 2]) -> ExitCode {
    let [before, after] = ours;
    let at_home = |[before, after]: [&Placement; 2], pod: &Pod| {
        let then = addresses_of(before, pod);
        then.is_some() && then == addresses_of(after, pod)
    };
    let rows: Vec<Vec<String>> = residents
        .iter()
        .map(|pod| {
            let [_, stock_after] = stock;
            vec![
                format!("{}/{}", pod.namespace, pod.name),
                text(before, pod),
                text(after, pod),
                if at_home(ours, pod) { "home" } else { "MOVED" }.to_owned(),
                text(stock_after, pod),
                if at_home(stock, pod) { "home" } else { "moved" }.to_owned(),
            ]
        })
        .collect();
    let heading = ["pod", "before", "after", "", "stock host-local*", ""];
    print!("{}", table::render(Style::Plain, &heading, &rows));
    println!("* after the same story, by a model of its documented rule with its dataDir wiped\n");

    let total = residents.len();
    let home = residents.iter().filter(|pod| at_home(ours, pod)).count();
    let stock_home = residents.iter().filter(|pod| at_home(stock, pod)).count();
    let shared = shared(before).into_iter().chain(shared(after)).collect::<BTreeSet<_>>();
    for address in &shared {
        println!("SHARED: {address} was given to more than one pod");
    }
    println!("{home} of {total} pods at home; stock host-local: {stock_home} of {total}.");
    if home == total && shared.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn addresses_of<'a>(placement: &'a Placement, pod: &Pod) -> Option<&'a [IpAddr]> {
    placement.iter().find(|(other, _)| other.uid == pod.uid).map(|(_, addresses)| addresses.as_slice())
}

fn text(placement: &Placement, pod: &Pod) -> String {
    let addresses = addresses_of(placement, pod).unwrap_or_default();
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Addresses that more than one pod of a placement has.
fn shared(placement: &Placement) -> BTreeSet<IpAddr> {
    let mut seen = BTreeSet::new();
    placement
        .iter()
        .flat_map(|(_, addresses)| addresses)
        .filter(|address| !seen.insert(**address))
        .copied()
        .collect()
}
