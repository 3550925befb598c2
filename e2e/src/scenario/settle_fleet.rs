//! A region's link comes back: two hundred hubs, each with what its node did meanwhile, before one real API server.
//!
//! All hubs are real and run on one machine, each with its node's certificate, ports and state; kubelets and kube-proxies are
//! played by `load fleet`. What the API server saw, its audit log says.

mod agree;
mod pace;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::checks::Checks;
use crate::cloud::{self, ADMIN, Cloud, KUBE_PROXY};
use crate::kubeconfig::Credential;
use crate::machine::Machine;
use crate::programs::Programs;
use crate::run_dir::RunDir;
use crate::scenario::Options;
use crate::wan::Wan;
use crate::{image, sys};

/// Hubs; fewer where a trial wants them.
const HUBS: usize = 200;
/// What waits in each: its node's status, 10 pods, 10 events.
const ENTRIES: u64 = 21;
/// Until all have settled.
const SETTLED: u64 = 120_000;
/// Requests in any second, for each hub there is.
const RATE: usize = 2;
/// How long the cloud may take to give up all nodes, on a machine that others use too.
const LOST: Duration = Duration::from_secs(300);
/// Where the hubs live on their machine.
const DIRECTORY: &str = "/var/lib/fleet";

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let programs = Programs::find()?;
    let hubs = std::env::var("EDGEKEEP_HUBS").ok().map_or(Ok(HUBS), |count| count.parse())?;
    let mut node = Machine::new(&dir.path, dir.name.clone(), image::build_pause(&dir.sub("images")?)?)?;
    // The keys of the cluster are no business of its nodes.
    node.hide(dir.cloud()?);
    node.boot()?;
    // As fast as it can: the cloud of so many nodes is a bigger one than this.
    let controllers = ["--kube-api-qps=1000", "--kube-api-burst=1000"].map(str::to_owned).to_vec();
    let wanted = cloud::Options { controller_manager: controllers, ..cloud::Options::default() };
    let cloud = Cloud::start(dir, image::build_pause(&dir.cloud()?)?, &programs, wanted).await?;
    let wan = Wan::new(&cloud.machine)?;
    wan.plug(&node, &cloud.machine)?;
    let mut region = Region { node, cloud, wan, hubs };
    let played = region.play(&programs, checks).await;
    if played.is_err() || checks.failed() > 0 {
        let kept = options.cache.join("e2e/logs");
        region.node.keep_logs(&kept.join("node"))?;
        region.cloud.machine.keep_logs(&kept.join("cloud"))?;
        checks.note(&region.cloud.last_words());
        checks.note(&format!("all logs are kept in {}", kept.display()));
    }
    played
}

struct Region {
    node: Machine,
    cloud: Cloud,
    wan: Wan,
    hubs: usize,
}

/// The program that plays the clients of all hubs.
struct Load {
    process: Child,
    says: BufReader<ChildStdout>,
    hears: ChildStdin,
}

impl Region {
    async fn play(&mut self, programs: &Programs, checks: &mut Checks) -> Result<()> {
        self.prepare().await?;
        let mut load = self.load(programs)?;
        let known = load.step("known")?;
        let memory = known.get("memory").and_then(Value::as_array).into_iter().flatten();
        let most = memory.filter_map(Value::as_u64).max().unwrap_or_default();
        checks.note(&format!("{} hubs run, the largest with {most} KiB", self.hubs));

        self.wan.cut(&self.node, &self.cloud.machine)?;
        load.say("cut")?;
        let staged = load.step("staged")?;
        let entries = staged.get("entries").and_then(Value::as_u64).unwrap_or_default();
        let wanted = ENTRIES * u64::try_from(self.hubs)?;
        let whole = if entries == wanted { Ok(entries.to_string()) } else { Err(anyhow!("{entries}")) };
        checks.record(&format!("settle-fleet: cut off: {wanted} writes wait"), whole);
        let lost =
            sys::until("the cloud takes all nodes for lost", LOST, || agree::is_lost(&self.cloud)).await?;
        checks.note(&format!("the cloud takes all nodes for lost, and {lost}"));

        let before = self.cloud.requests()?.len();
        self.wan.heal(&self.node, &self.cloud.machine)?;
        load.say("healed")?;
        let settled = load.step("settled")?;
        let times = settled.get("millis").and_then(Value::as_array).into_iter().flatten();
        let times: Vec<u64> = times.filter_map(Value::as_u64).collect();
        let (last, median) = (times.last().copied(), times.get(times.len() / 2).copied());
        let told =
            format!("half of them after {} ms, all after {} ms", median.unwrap_or(0), last.unwrap_or(0));
        let in_time = match last {
            Some(last) if last <= SETTLED && times.len() == self.hubs => Ok(told),
            _ => Err(anyhow!("{told}")),
        };
        checks.record("settle-fleet: healed: all have settled in time", in_time);
        let shown = fs::read_to_string(self.node.var_lib().join("fleet/shown.json"))?;
        let shown: Vec<Value> = serde_json::from_str(&shown)?;
        checks.record(
            "settle-fleet: healed: every object in the cloud is what its hub shows",
            agree::agree(&self.cloud, &shown),
        );
        let requests = self.cloud.requests()?;
        let pace = pace::Pace::of(requests.get(before..).unwrap_or_default());
        checks.record(
            "settle-fleet: healed: settling asks little in its busiest second",
            pace.within(RATE * self.hubs),
        );
        checks.record(
            "settle-fleet: healed: hubs and those behind them ask little in their busiest second",
            pace.all_within(RATE * self.hubs),
        );
        let busy = pace::busy(&requests, &self.cloud.kubectl(&["get", "--raw", "/metrics"])?);
        checks.record("settle-fleet: healed: nobody was told that it is too much (429)", busy);
        checks.note(&pace.told());
        load.say("looked")?;
        load.process.wait()?;
        Ok(())
    }

    /// Writes what each hub and the clients come with.
    async fn prepare(&self) -> Result<()> {
        // Pods cannot be made before it is there.
        sys::until("the namespace has its account", LOST, || {
            self.cloud.kubectl(&["get", "serviceaccount", "default", "--namespace=default"])
        })
        .await?;
        let directory = self.node.var_lib().join("fleet");
        for at in 0..self.hubs {
            let own = directory.join(format!("hub-{at}"));
            fs::create_dir_all(&own)?;
            let pair = self.cloud.node_certificate(&format!("edge-{at}"))?;
            let access = self.cloud.access();
            fs::write(own.join("kubelet.conf"), access.kubeconfig(&Credential::Certificate(&pair)))?;
        }
        fs::write(directory.join("ca.crt"), &self.cloud.access().ca)?;
        for (file, account) in [("admin", ADMIN), ("proxy", KUBE_PROXY)] {
            fs::write(directory.join(file), self.cloud.token("kube-system", account)?)?;
        }
        Ok(())
    }

    fn load(&self, programs: &Programs) -> Result<Load> {
        let load = std::env::var("EDGEKEEP_LOAD").context("EDGEKEEP_LOAD is not set; start e2e/run")?;
        let (hubs, proxy) = (self.hubs.to_string(), format!("{DIRECTORY}/proxy"));
        let admin = format!("admin,{},{DIRECTORY}/ca.crt,{DIRECTORY}/admin", self.cloud.access().server);
        let edgekeep = programs.edgekeep();
        let words = [&load, "fleet", DIRECTORY, &edgekeep, "--hubs", &hubs, &admin, &proxy];
        let mut command = self.node.command(&words)?;
        // Beside those of all other programs of the machine.
        let log = File::create(self.node.var_lib().with_file_name("log").join("load.log"))?;
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let says = process.stdout.take().map(BufReader::new).context("load has no stdout")?;
        let hears = process.stdin.take().context("load has no stdin")?;
        Ok(Load { process, says, hears })
    }
}

impl Load {
    /// Waits until it tells of this step.
    fn step(&mut self, wanted: &str) -> Result<Value> {
        let mut line = String::new();
        self.says.read_line(&mut line)?;
        let step: Value = serde_json::from_str(&line)
            .with_context(|| format!("load was to say {wanted}, and said {line:?}; see its log"))?;
        match step.get("step").and_then(Value::as_str) == Some(wanted) {
            true => Ok(step),
            false => bail!("load was to say {wanted}, and said {line:?}"),
        }
    }

    fn say(&mut self, word: &str) -> Result<()> {
        writeln!(self.hears, "{word}")?;
        Ok(self.hears.flush()?)
    }
}
