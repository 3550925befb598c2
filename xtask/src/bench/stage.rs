//! A node with a given number of leases, twice: once for our plugin, once for stock host-local.
//!
//! Both start from identical directories in host-local's format. Every measured call is checked: a benchmark of a
//! wrong answer is none, so a pod that does not come home, or an address that is not the expected one, is an error.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Result;
use crate::cni_driver::{Answer, Call, IFNAME, Plugin, Pod, Verb};
use crate::prng::Prng;
use crate::scratch;

/// The first address that is handed out: the range is 10.64.0.0/16, and its first address is the gateway.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 2);
/// Pods beside the leases whose calls are measured in turn.
const RESIDENTS: usize = 2;
/// The network that always has free addresses.
pub const ROOMY: &str = "bench";
/// The network without a free address: every one is live, or bound to a pod that is gone.
const FULL: &str = "full";

/// One of the two plugins with its directories.
pub struct Side {
    /// The plugin, set up to run on these directories.
    pub plugin: Plugin,
    /// The configuration of the network that always has free addresses.
    pub config: PathBuf,
    /// How long the very first call took: the one that finds all the leases.
    pub first_call: Duration,
    residents: Vec<Resident>,
    prng: Prng,
}

/// A pod with a sandbox.
struct Resident {
    pod: Pod,
    container: String,
    addresses: Vec<IpAddr>,
}

impl Side {
    /// Makes directories below `root` with `leases` leases, and adds the resident pods.
    pub fn new(program: &Path, root: &Path, leases: u32) -> Result<Self> {
        let mut side = Self::empty(program, root)?;
        lay_out_leases(&root.join("data").join(ROOMY), leases)?;
        for number in 0..RESIDENTS {
            let pod = side.pod("resident");
            let container = side.prng.container_id();
            let Answer { took, addresses } = side.call(Verb::Add, &container, &pod)?;
            if number == 0 {
                side.first_call = took;
            }
            side.residents.push(Resident { pod, container, addresses });
        }
        Ok(side)
    }

    /// Makes the configuration below `root` and nothing else: the node has never run the plugin.
    pub fn empty(program: &Path, root: &Path) -> Result<Self> {
        let mut plugin = Plugin::new(program.to_owned());
        plugin.set("EDGEKEEP_STATE_DIR", root.join("state"));
        plugin.set("EDGEKEEP_RUN_DIR", root.join("run"));
        plugin.set("EDGEKEEP_CONFIG", root.join("no-node-wide-policy.json"));
        scratch::make_dir(root)?;
        let config = root.join("roomy.conf");
        write_config(&config, ROOMY, &root.join("data"), None)?;
        let mut side =
            Self { plugin, config, first_call: Duration::ZERO, residents: Vec::new(), prng: Prng::new(64) };
        side.boot();
        Ok(side)
    }

    /// A new boot id, as after a reboot that left every directory as it was.
    pub fn boot(&mut self) {
        let boot_id = self.prng.uid();
        self.plugin.set("EDGEKEEP_BOOT_ID", boot_id);
    }

    /// One checked call in the roomy network.
    pub fn call(&self, verb: Verb, container: &str, pod: &Pod) -> Result<Answer> {
        self.plugin.run(Call { verb, container, pod, config: &self.config })
    }

    /// A pod that has never been here.
    pub fn pod(&mut self, kind: &str) -> Pod {
        let name = format!("{kind}-{}", self.prng.pod_suffix());
        Pod { namespace: "bench".into(), name, uid: self.prng.uid() }
    }

    /// A container id that has never been here.
    pub fn container(&mut self) -> String {
        self.prng.container_id()
    }

    /// Ends the sandbox of a resident.
    pub fn del(&self, round: usize) -> Result<Duration> {
        let resident = self.resident(round)?;
        Ok(self.call(Verb::Del, &resident.container, &resident.pod)?.took)
    }

    /// Makes a new sandbox for a resident; `sticky` says that it must get the addresses it had.
    pub fn come_home(&mut self, round: usize, sticky: bool) -> Result<Duration> {
        let container = self.prng.container_id();
        let resident = self.resident(round)?;
        let answer = self.call(Verb::Add, &container, &resident.pod)?;
        if sticky && answer.addresses != resident.addresses {
            return Err(format!(
                "{} came home to {:?}, not {:?}",
                resident.pod.name, answer.addresses, resident.addresses
            ));
        }
        let place = round % RESIDENTS;
        if let Some(resident) = self.residents.get_mut(place) {
            resident.container = container;
        }
        Ok(answer.took)
    }

    /// Starts a pod that has never been here, and ends it again outside the measured time.
    pub fn birth(&mut self) -> Result<Duration> {
        let (pod, container) = (self.pod("newborn"), self.container());
        let took = self.call(Verb::Add, &container, &pod)?.took;
        self.call(Verb::Del, &container, &pod)?;
        Ok(took)
    }

    /// The least that a call costs: making the process and having it say its version.
    pub fn version(&self) -> Result<Duration> {
        let resident = self.resident(0)?;
        Ok(self.call(Verb::Version, &resident.container, &resident.pod)?.took)
    }

    /// The pod and the container whose turn it is.
    pub fn sandbox(&self, round: usize) -> Result<(&Pod, &str)> {
        self.resident(round).map(|resident| (&resident.pod, resident.container.as_str()))
    }

    fn resident(&self, round: usize) -> Result<&Resident> {
        self.residents.get(round % RESIDENTS).ok_or_else(|| "the stage has no residents".into())
    }
}

/// A network of our plugin whose pool is full: live leases, and bindings of pods that are gone.
pub struct FullPool {
    plugin: Plugin,
    config: PathBuf,
    /// The addresses whose pods are gone, oldest first.
    gone: VecDeque<Vec<IpAddr>>,
    prng: Prng,
}

impl FullPool {
    /// Beside `leases` live leases, makes `gone` bindings of pods that are gone, through the protocol alone: a pod
    /// starts and ends, and then another pod object of the same name starts. The range ends where they end.
    pub fn new(side: &Side, root: &Path, leases: u32, gone: u32) -> Result<Self> {
        let config = root.join("full.conf");
        let size = leases.saturating_add(gone.saturating_mul(2));
        let last = Ipv4Addr::from_bits(FIRST.to_bits().saturating_add(size).saturating_sub(1));
        write_config(&config, FULL, &root.join("data"), Some(last))?;
        lay_out_leases(&root.join("data").join(FULL), leases)?;
        let (plugin, prng) = (side.plugin.clone(), Prng::new(65));
        let mut pool = Self { plugin, config, gone: VecDeque::new(), prng };
        for _ in 0..gone {
            let mut pod = pool.pod("gone");
            let container = pool.prng.container_id();
            let addresses = pool.call(Verb::Add, &container, &pod)?.addresses;
            pool.call(Verb::Del, &container, &pod)?;
            pod.uid = pool.prng.uid();
            let container = pool.prng.container_id();
            pool.call(Verb::Add, &container, &pod)?;
            pool.gone.push_back(addresses);
        }
        Ok(pool)
    }

    /// Starts a pod that has never been here: it must get the addresses of the pod that is gone for longest.
    pub fn reuse(&mut self) -> Result<Duration> {
        let (pod, container) = (self.pod("heir"), self.prng.container_id());
        let answer = self.call(Verb::Add, &container, &pod)?;
        match self.gone.pop_front() {
            Some(oldest) if oldest == answer.addresses => Ok(answer.took),
            oldest => Err(format!("a full pool gave {:?}, not the oldest gone {oldest:?}", answer.addresses)),
        }
    }

    /// Hands `look` the call that [`reuse`](Self::reuse) makes.
    pub fn reuse_under(&mut self, look: impl Fn(&Plugin, Call<'_>) -> Result<u64>) -> Result<u64> {
        let (pod, container) = (self.pod("heir"), self.prng.container_id());
        self.gone.pop_front();
        look(&self.plugin, Call { verb: Verb::Add, container: &container, pod: &pod, config: &self.config })
    }

    /// A pod that has never been here.
    fn pod(&mut self, kind: &str) -> Pod {
        let name = format!("{kind}-{}", self.prng.pod_suffix());
        Pod { namespace: "bench".into(), name, uid: self.prng.uid() }
    }

    fn call(&self, verb: Verb, container: &str, pod: &Pod) -> Result<Answer> {
        self.plugin.run(Call { verb, container, pod, config: &self.config })
    }
}

/// One flush of the disk that holds the stages, as a plugin would need it for one record.
pub struct FlushProbe(File);

impl FlushProbe {
    /// Makes the file to append to.
    pub fn new(root: &Path) -> Result<Self> {
        let path = root.join("flush-probe");
        File::create(&path).map(Self).map_err(|e| format!("cannot make {}: {e}", path.display()))
    }

    /// Appends a record of 128 bytes and measures the flush that follows, without the write itself.
    pub fn flush(&mut self) -> Result<Duration> {
        let failed = |e| format!("the flush probe failed: {e}");
        self.0.write_all(&[b'.'; 128]).map_err(failed)?;
        let begun = Instant::now();
        self.0.sync_data().map_err(failed)?;
        Ok(begun.elapsed())
    }
}

/// Writes the configuration of a network; with `last` its range ends there.
fn write_config(path: &Path, network: &str, data: &Path, last: Option<Ipv4Addr>) -> Result<()> {
    let mut range = json!({ "subnet": "10.64.0.0/16", "rangeStart": FIRST.to_string() });
    let mut ipam = json!({ "type": "host-local", "dataDir": data });
    if let (Some(range), Some(last)) = (range.as_object_mut(), last) {
        range.insert("rangeEnd".into(), json!(last.to_string()));
    }
    if let Some(ipam) = ipam.as_object_mut() {
        ipam.insert("ranges".into(), json!([[range]]));
        if last.is_some() {
            ipam.insert("retain".into(), json!({ "key": "uid" }));
        }
    }
    let document = json!({ "cniVersion": "1.0.0", "name": network, "type": "bridge", "ipam": ipam });
    scratch::write(path, document.to_string())
}

/// Writes `leases` leases as host-local leaves them, and its cursor.
pub fn lay_out_leases(directory: &Path, leases: u32) -> Result<()> {
    scratch::make_dir(directory)?;
    let mut prng = Prng::new(10);
    let mut last = None;
    for address in (0..leases).map(|n| Ipv4Addr::from_bits(FIRST.to_bits().saturating_add(n))) {
        let content = format!("{}\r\n{IFNAME}", prng.container_id());
        scratch::write(&directory.join(address.to_string()), content)?;
        last = Some(address);
    }
    match last {
        Some(last) => scratch::write(&directory.join("last_reserved_ip.0"), last.to_string()),
        None => Ok(()),
    }
}
