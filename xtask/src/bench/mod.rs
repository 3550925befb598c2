//! `cargo xtask bench ipam`: the static plugin beside Debian's host-local, whole processes, in one run.
//!
//! All nodes are prepared first; then every round visits each of them, and on each of them both plugins in turn, so
//! that a machine that grows slower or faster does so for all alike. Times are told and held to their limits, but
//! never fail the command; counts, sizes and wrong answers do.

mod counts;
mod machine;
mod report;
mod stage;
mod stats;
mod strace;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::scratch::{self, Scratch};
use crate::{Result, cargo};
use counts::Count;
use stage::{FlushProbe, FullPool, Side};
use stats::Samples;
use strace::Strace;

/// Where Debian puts stock host-local.
const STOCK: &str = "/usr/lib/cni/host-local";
/// How often 64 ADDs are started at once, for each plugin.
const SWARMS: usize = 7;

struct Options {
    leases: Vec<u32>,
    rounds: usize,
    directory: PathBuf,
    plugin: Option<PathBuf>,
    write: bool,
}

/// Times of one node, by kind of call.
#[derive(Default)]
struct Times {
    version: Samples,
    del: Samples,
    del_again: Samples,
    home: Samples,
    reuse: Samples,
    birth: Samples,
    flush: Samples,
    stock_del: Samples,
    stock_del_again: Samples,
    stock_add: Samples,
}

/// One number of leases: both plugins' nodes, and what was measured on them.
struct Stage {
    leases: u32,
    ours: Side,
    stock: Side,
    full: FullPool,
    times: Times,
}

/// What was run, and on what.
struct Setting {
    /// What repeats the run.
    command: String,
    machine: String,
    stock_version: String,
    rounds: usize,
}

/// Everything that a report needs.
struct Measured {
    setting: Setting,
    stages: Vec<Stage>,
    swarm: Samples,
    stock_swarm: Samples,
    counts: Vec<Count>,
    /// What could not be counted, and why.
    gaps: Vec<String>,
}

/// Runs the benchmark; `args` are its options.
pub fn main(args: &[&str]) -> Result<ExitCode> {
    let options = options(args)?;
    if !Path::new(STOCK).is_file() {
        return Err(format!("{STOCK} is missing: install Debian's package containernetworking-plugins"));
    }
    let program = match &options.plugin {
        Some(path) => path.clone(),
        None => {
            let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
            cargo::build("ipam", "edgekeep-ipam", Some(&target))?
        }
    };
    let scratch = Scratch::new(&options.directory, "bench-ipam")?;
    let file_system = machine::disk_file_system(scratch.path())?;
    let setting = Setting {
        command: [&["cargo xtask bench ipam"], args].concat().join(" "),
        machine: machine::describe(&file_system),
        stock_version: machine::stock_version(),
        rounds: options.rounds,
    };
    let measured = measure(&options, &program, scratch.path(), setting)?;
    let report = report::render(&measured);
    print!("{report}");
    if options.write {
        let docs = cargo::workspace_root().join("docs");
        scratch::make_dir(&docs)?;
        let path = docs.join("benchmarks.md");
        scratch::write(&path, &report)?;
        eprintln!("written to {}", path.display());
    }
    let holds = measured.counts.iter().all(Count::holds);
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn options(args: &[&str]) -> Result<Options> {
    let mut options = Options {
        leases: vec![0, 250, 1000, 10_000, 60_000],
        rounds: 100,
        directory: cargo::target_dir(),
        plugin: None,
        write: false,
    };
    let mut args = args.iter();
    while let Some(&option) = args.next() {
        if option == "--write" {
            options.write = true;
            continue;
        }
        let value = *args.next().ok_or_else(|| format!("{option} is unknown or lacks its value"))?;
        let number = |text: &str| text.parse().map_err(|e| format!("{option} {text}: {e}"));
        match option {
            "--leases" => options.leases = value.split(',').map(number).collect::<Result<_>>()?,
            "--rounds" => options.rounds = usize::try_from(number(value)?.max(1)).unwrap_or(usize::MAX),
            "--dir" => options.directory = absolute(value)?,
            "--plugin" => options.plugin = Some(absolute(value)?),
            _ => return Err(format!("the benchmark does not know the option {option}")),
        }
    }
    Ok(options)
}

fn absolute(path: &str) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| format!("{path}: {e}"))
}

fn measure(options: &Options, program: &Path, root: &Path, setting: Setting) -> Result<Measured> {
    let mut stages = Vec::new();
    for &leases in &options.leases {
        eprintln!("preparing {leases} leases");
        stages.push(Stage::new(program, &root.join(leases.to_string()), leases, options.rounds)?);
    }
    eprintln!("{} rounds over all of them", options.rounds);
    let mut probe = FlushProbe::new(root)?;
    for round in 0..options.rounds {
        for stage in &mut stages {
            stage.measure(round, options.rounds, &mut probe)?;
        }
    }
    eprintln!("{} ADDs at once", counts::SWARM);
    let (swarm, stock_swarm) = swarms(program, &root.join("swarm"))?;
    eprintln!("counting");
    let (mut counts, mut gaps) = (vec![counts::size(program)?], Vec::new());
    match Strace::find(root) {
        Some(strace) => counts.extend(traced(&strace, program, root, &mut stages)?),
        None => gaps.push("Flushes and memory were not counted: strace is not installed.".to_owned()),
    }
    Ok(Measured { setting, stages, swarm, stock_swarm, counts, gaps })
}

/// Whatever needs strace.
fn traced(strace: &Strace, program: &Path, root: &Path, stages: &mut [Stage]) -> Result<Vec<Count>> {
    let mut counts = counts::flushes(strace, program, &root.join("counts"))?;
    for stage in stages.iter_mut().filter(|stage| [250, 60_000].contains(&stage.leases)) {
        counts.push(counts::memory(strace, &mut stage.ours, stage.leases)?);
        let fresh = root.join(format!("first-call-{}", stage.leases));
        counts.push(counts::memory_of_first_call(strace, program, &fresh, stage.leases)?);
    }
    Ok(counts)
}

/// 64 ADDs at once at 250 leases, by our plugin and by stock host-local in turn.
fn swarms(program: &Path, root: &Path) -> Result<(Samples, Samples)> {
    let mut ours = Side::new(program, &root.join("ours"), 250)?;
    let mut stock = Side::new(Path::new(STOCK), &root.join("stock"), 250)?;
    let (mut times, mut stock_times) = (Samples::default(), Samples::default());
    for _ in 0..SWARMS {
        times.push(counts::swarm(&mut ours)?);
        stock_times.push(counts::swarm(&mut stock)?);
    }
    Ok((times, stock_times))
}

impl Stage {
    fn new(program: &Path, root: &Path, leases: u32, rounds: usize) -> Result<Self> {
        let ours = Side::new(program, &root.join("ours"), leases)?;
        let stock = Side::new(Path::new(STOCK), &root.join("stock"), leases)?;
        let gone = u32::try_from(rounds).map_err(|_| "too many rounds")?;
        let full = FullPool::new(&ours, &root.join("ours"), leases, gone)?;
        Ok(Self { leases, ours, stock, full, times: Times::default() })
    }

    /// One round: every kind of call once, ours and host-local's next to each other.
    fn measure(&mut self, round: usize, rounds: usize, probe: &mut FlushProbe) -> Result<()> {
        let Self { ours, stock, full, times, .. } = self;
        let ours_first = round.is_multiple_of(2);
        let stock_too = round.is_multiple_of(stock_interval(self.leases, rounds));
        let pair = |samples: [&mut Samples; 2], calls: [&mut dyn FnMut() -> Result<Duration>; 2]| {
            let ([our_samples, stock_samples], [our_call, stock_call]) = (samples, calls);
            if stock_too && !ours_first {
                stock_samples.push(stock_call()?);
            }
            our_samples.push(our_call()?);
            if stock_too && ours_first {
                stock_samples.push(stock_call()?);
            }
            Ok::<(), String>(())
        };
        pair([&mut times.del, &mut times.stock_del], [&mut || ours.del(round), &mut || stock.del(round)])?;
        pair(
            [&mut times.del_again, &mut times.stock_del_again],
            [&mut || ours.del(round), &mut || stock.del(round)],
        )?;
        pair(
            [&mut times.home, &mut times.stock_add],
            [&mut || ours.come_home(round, true), &mut || stock.come_home(round, false)],
        )?;
        times.reuse.push(full.reuse()?);
        times.flush.push(probe.flush()?);
        times.birth.push(ours.birth()?);
        times.version.push(ours.version()?);
        Ok(())
    }
}

/// Every how many rounds stock host-local is measured too: it reads every lease in every call, and at tens of
/// thousands of leases one call takes as long as hundreds of ours.
fn stock_interval(leases: u32, rounds: usize) -> usize {
    match leases {
        0..=1000 => 1,
        // Odd, so that host-local is not always second.
        1001..=10_000 => 5,
        _ => rounds.div_ceil(3).max(1),
    }
}
