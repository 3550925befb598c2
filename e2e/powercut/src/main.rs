//! Cuts the power of a virtual node at random moments and looks what it still knows at its next boot. Started by
//! `e2e/run power-cuts`, as root; see there for what it needs.
//!
//! The node works while its disk is recorded ([`recording`]). For each cut its disk is rebuilt as a power cut could have
//! left it ([`cut`]), booted without a cloud, and asked for all that was promised before ([`judge`]).

mod cpio;
mod cut;
mod diary;
mod disk;
mod judge;
mod kubelet;
mod load;
mod machine;
mod nbd;
mod node;
mod plugin;
mod proxy;
mod pulse;
mod recording;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use testkit::rng::Rng;
use tokio::signal::unix::{SignalKind, signal};

use disk::Entry;
use machine::{Machine, Processor, Start};
use node::Parts;
use recording::{Recording, Unflushed};

const USAGE: &str = "usage: e2e/run power-cuts [--cuts NUMBER] [--seed NUMBER]

Cuts the power of a virtual node 5 times, or as often as said, and looks whether it kept what it had promised. A guest that
stands still is booted again from the same disk, twice at most. Then
takes the flushes away, first from the plugin, then from the hub: each must be noticed within 20 cuts.";
/// Cuts of one recording; more take another.
const PER_RECORDING: usize = 25;
/// In so many cuts a product that does not flush must be noticed.
const NOTICED_WITHIN: usize = 20;
/// How often a recording is tried whose guest stands still.
const RECORDINGS: usize = 3;
/// How long a guest that boots on a virtual processor may do nothing; it needs a second for all, where it works at all.
const KVM_BOOT: Duration = Duration::from_secs(10);

struct Options {
    cuts: usize,
    seed: u64,
    cache: PathBuf,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error:#}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("edgekeep-powercut: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut cuts, mut seed) = (5, since.as_secs() % 1_000_000_000);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| anyhow!("{word} needs a value"))?;
        match word.as_str() {
            "--cuts" => cuts = value.parse().with_context(|| format!("--cuts {value}"))?,
            "--seed" => seed = value.parse().with_context(|| format!("--seed {value}"))?,
            _ => bail!("{word} {value} is not understood"),
        }
    }
    let cache = std::env::var_os("EDGEKEEP_CACHE").context("EDGEKEEP_CACHE is not set; start e2e/run")?;
    Ok(Options { cuts, seed, cache: cache.into() })
}

fn run(options: &Options) -> Result<bool> {
    let runs = options.cache.join("powercut");
    remove_leftovers(&runs);
    let directory = runs.join(std::process::id().to_string());
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    // One thread: the kernel ends the machines when the thread that started them ends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let played = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut rig =
            Rig { directory: directory.clone(), began: Instant::now(), failed: 0, stalled: 0, options };
        tokio::select! {
            played = rig.play() => played,
            _ = interrupt.recv() => bail!("asked to end"),
            _ = terminate.recv() => bail!("asked to end"),
        }
    });
    std::fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    played
}

/// What runs left that were killed: a directory each, named for a process that is no more.
fn remove_leftovers(runs: &Path) {
    for entry in std::fs::read_dir(runs).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_run = name.bytes().all(|byte| byte.is_ascii_digit());
        if is_run && !Path::new("/proc").join(&name).exists() {
            // What cannot be removed is in nobody's way.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

struct Rig<'a> {
    directory: PathBuf,
    began: Instant,
    failed: usize,
    stalled: usize,
    options: &'a Options,
}

impl Rig<'_> {
    async fn play(&mut self) -> Result<bool> {
        let parts = Parts::find()?;
        let processor = self.processor(&parts).await?;
        self.note(&format!("power cuts, {processor:?} processor, seed {}", self.options.seed));
        let mut rng = Rng::new(self.options.seed);
        let mut left = self.options.cuts;
        while left > 0 {
            let cuts = left.min(PER_RECORDING);
            let recording = self.record(&parts, processor, Unflushed::Nobody, &mut rng).await?;
            let done = self.options.cuts - left;
            for number in (1..=cuts).step_by(2) {
                // Two at a time: a machine that boots does not keep two processors busy.
                let (mut first, mut second) = (rng.fork(), rng.fork());
                let (one, two) = tokio::join!(judge::cut(&recording, "one", &mut first), async {
                    if number < cuts {
                        judge::cut(&recording, "two", &mut second).await.map(Some)
                    } else {
                        Ok(None)
                    }
                });
                self.tell(done + number, &one?)?;
                two?.map(|two| self.tell(done + number + 1, &two)).transpose()?;
            }
            left -= cuts;
        }
        for whose in [Unflushed::Plugin, Unflushed::Hub] {
            let recording = self.record(&parts, processor, whose, &mut rng).await?;
            self.noticed(whose, &recording, &mut rng).await?;
        }
        println!(
            "{} cuts, {} failed; guests that stood still and were booted again: {}; {:.0} s",
            self.options.cuts,
            self.failed,
            self.stalled,
            self.began.elapsed().as_secs_f32()
        );
        Ok(self.failed == 0)
    }

    /// The kernel's virtual machine where a guest really boots in it, which not every machine that offers it can do.
    async fn processor(&self, parts: &Parts) -> Result<Processor> {
        if !Path::new("/dev/kvm").exists() {
            return Ok(Processor::Emulated);
        }
        let initial = self.directory.join("initial");
        std::fs::write(&initial, parts.initial(&[])?)?;
        let (kernel, directory) = (parts.vmlinuz()?, self.directory.clone());
        let start = Start { kernel, initial, directory, processor: Processor::Kvm, processors: 1 };
        let disk = node::empty_disk(&self.directory)?;
        let booted = Machine::boot_within(&start, "kvm", disk, KVM_BOOT).await;
        Ok(if booted.is_ok() { Processor::Kvm } else { Processor::Emulated })
    }

    async fn record(
        &mut self,
        parts: &Parts,
        processor: Processor,
        unflushed: Unflushed,
        rng: &mut Rng,
    ) -> Result<Recording> {
        let mut tries = 1;
        let recording = loop {
            match Recording::make(parts, &self.directory, processor, unflushed, rng).await {
                Err(failed) if failed.is::<pulse::Stalled>() && tries < RECORDINGS => {
                    self.note(&format!("again a recording: {}", failed.root_cause()));
                    (tries, self.stalled) = (tries + 1, self.stalled + 1);
                }
                made => break made?,
            }
        };
        let Recording { log, began, diary, .. } = &recording;
        let flushes = log.iter().skip(*began).filter(|entry| **entry == Entry::Flush).count();
        let writes = log.len() - began - flushes;
        let [bindings, pods, staged] = diary.promises().map(|positions| positions.len());
        self.note(&format!(
            "a recording, flushes swallowed of {unflushed:?}: {writes} writes, {flushes} flushes, promised {bindings} \
             bindings, {pods} states of pods, {staged} staged writes"
        ));
        Ok(recording)
    }

    async fn noticed(&mut self, whose: Unflushed, recording: &Recording, rng: &mut Rng) -> Result<()> {
        for number in 1..=NOTICED_WITHIN {
            let verdict = judge::cut(recording, "unflushed", rng).await?;
            self.tell_stalls(&format!("cut {number}"), &verdict);
            // Only what a guest said was noticed.
            if let Some(first) = verdict.broken.first() {
                self.note(&format!(
                    "ok    {whose:?} without flushes is noticed at cut {number}: {} broken, {first}",
                    verdict.broken.len()
                ));
                return Ok(());
            }
        }
        self.failed += 1;
        self.note(&format!("FAIL  {whose:?} without flushes is not noticed within {NOTICED_WITHIN} cuts"));
        Ok(())
    }

    fn tell(&mut self, number: usize, verdict: &judge::Verdict) -> Result<()> {
        let judge::Verdict { cuts, owed, broken, disk, .. } = verdict;
        let places = cuts.iter().map(|(position, fates)| {
            format!(
                "at {position} (not flushed: {} kept, {} torn, {} lost)",
                fates.kept, fates.torn, fates.lost
            )
        });
        let places = places.collect::<Vec<_>>().join(", then ");
        let staged = owed.objects.values().filter(|object| object.round > 0).count();
        let seen = format!(
            "cut {number} {places}: {} bindings, {} objects, {staged} staged writes",
            owed.bindings.len(),
            owed.objects.len()
        );
        self.tell_stalls(&format!("cut {number}"), verdict);
        if verdict.kept() {
            self.note(&format!("ok    {seen}"));
            return Ok(());
        }
        self.failed += 1;
        let kept = self.options.cache.join(format!("powercut/broken-{}-{number}.img", self.options.seed));
        std::fs::write(&kept, disk).with_context(|| format!("cannot write {}", kept.display()))?;
        let broken = match verdict.spoke {
            true => broken.join("; "),
            false => format!("no verdict in {} boots", judge::BOOTS),
        };
        self.note(&format!("FAIL  {seen}; broken on {}: {broken}", kept.display()));
        Ok(())
    }

    fn tell_stalls(&mut self, whose: &str, verdict: &judge::Verdict) {
        for why in &verdict.stalls {
            self.stalled += 1;
            self.note(&format!("again {whose}: {why}"));
        }
    }

    fn note(&self, text: &str) {
        println!("{:7.1}s  {text}", self.began.elapsed().as_secs_f32());
    }
}
