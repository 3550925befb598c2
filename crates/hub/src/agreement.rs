//! Whether this node and the cloud agree on its pods, looked at again and again: what the bindings are told, and what the operator is.
//!
//! What is decided is decided in `node::agree` and `lease`. All of it is done on a thread of its own, for it waits for locks that the
//! plugin holds, and for the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cni::retain::Policy;
use durable::fs::{Fs as _, Stamp};
use durable::os::OsFs;
use lease::inspect::{Snapshot, networks, snapshot};
use lease::machine::Dirs;
use lease::{Binding, Flush, Heeded, Places, Store, Word};
use node::agree::{Differences, Judge, differences};
use node::doctor::outage;
use serde_json::{Value, json};

use crate::config::Config;
use crate::reads::Reads;
use crate::reads::own::{Digests, Own, OwnNode};

/// How often is looked.
const PERIOD: Duration = Duration::from_secs(10);
/// How long the plugin's locks are waited for.
const PATIENCE: Duration = Duration::from_secs(4);
/// A difference that lasts longer than this is one: kubelet tells of new addresses within ten seconds.
const LASTING: Duration = Duration::from_secs(30);

/// How the Node object of this node stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NodeObject {
    /// Nobody has read it yet.
    #[default]
    Unknown,
    /// It is there; its uid.
    Present(String),
    /// The cloud has deleted it.
    Deleted,
    /// The cloud has another one of this name than the hub knew: the uids of both.
    MadeAnew {
        /// The one that kubelet registered.
        before: String,
        /// The present one.
        now: String,
    },
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The Node object.
    pub node: NodeObject,
    /// How many pods the API server has on this node; `None` while that is not known.
    pub pods: Option<usize>,
    /// Pods that an outage deletes, by the seconds after which it does.
    pub outage: BTreeMap<u64, Vec<String>>,
    /// How many networks take their addresses from edgekeep-ipam.
    pub networks: usize,
    /// Where bindings and API server differ, and have for a while.
    pub differences: Vec<String>,
    /// What the bindings were told since the hub started.
    pub told: Heeded,
    /// Why bindings cannot be read or told, if so.
    pub trouble: Option<String>,
}

impl Standing {
    /// For the metrics.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let gone = matches!(self.node, NodeObject::Deleted | NodeObject::MadeAnew { .. });
        Figures {
            outage: self.outage.values().map(Vec::len).sum(),
            differences: self.differences.len(),
            node_lost: gone,
            told: self.told,
        }
    }

    /// For programs: the Node object, the pods, the bindings; keys are stable.
    #[must_use]
    pub fn to_json(&self) -> [(&'static str, Value); 3] {
        let (state, uid, before) = match &self.node {
            NodeObject::Unknown => ("unknown", None, None),
            NodeObject::Present(uid) => ("present", Some(uid), None),
            NodeObject::Deleted => ("deleted", None, None),
            NodeObject::MadeAnew { before, now } => ("madeAnew", Some(now), Some(before)),
        };
        let told = json!({ "gone": self.told.gone, "awaited": self.told.awaited });
        [
            ("nodeObject", json!({ "state": state, "uid": uid, "uidBefore": before })),
            ("pods", json!({ "known": self.pods, "outage": outage::to_json(&self.outage) })),
            (
                "bindings",
                json!({
                    "networks": self.networks,
                    "differences": self.differences,
                    "told": told,
                    "trouble": self.trouble,
                }),
            ),
        ]
    }
}

/// What is counted of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Pods that an outage deletes.
    pub outage: usize,
    /// Lasting differences between bindings and API server.
    pub differences: usize,
    /// Whether the Node object that kubelet registered is no more.
    pub node_lost: bool,
    /// What the bindings were told since the start.
    pub told: Heeded,
}

/// Where the plugin keeps its bindings; or why that is not known, which keeps the hub from nothing else.
pub fn dirs(config: &Config) -> Result<Dirs, String> {
    if let Some(dirs) = &config.bindings {
        return Ok(dirs.clone());
    }
    let node = lease::machine::node_file(&OsFs, variable).map_err(|e| e.msg)?;
    Ok(Dirs::resolve(variable, &node))
}

/// Looks, tells, and knows what was found last.
pub struct Agreement {
    found: Mutex<Arc<Standing>>,
    round: Mutex<Round>,
    began: Instant,
}

impl Agreement {
    /// For the node of this name, with bindings in these directories, or none for this reason.
    #[must_use]
    pub fn new(node: &str, dirs: Result<Dirs, String>) -> Self {
        Self { found: Mutex::default(), round: Mutex::new(Round::new(node, dirs)), began: Instant::now() }
    }

    /// What was found last.
    pub fn standing(&self) -> Arc<Standing> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks for as long as the hub runs.
    pub async fn keep(self: Arc<Self>, reads: Arc<Reads>) {
        let mut due = tokio::time::interval(PERIOD);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            let (own, reads) = (self.clone(), reads.clone());
            // One that went wrong is made up for by the next.
            if let Err(e) = tokio::task::spawn_blocking(move || own.look(&reads)).await {
                tracing::error!("bindings and pods were not compared: {e}");
            }
        }
    }

    /// Looks once. Waits for locks and disk.
    pub fn look(&self, reads: &Arc<Reads>) {
        let mut round = self.round.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.began.elapsed();
        let found = Arc::new(round.look(now, |digests| reads.look_at_own(digests)));
        let before =
            std::mem::replace(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner), found.clone());
        tell_changes(&before, &found);
    }
}

/// Whether something was done to a network's bindings: how its journal and its directory stand.
type Print = [Option<(u64, u64, Stamp)>; 2];

/// What a look must remember of the ones before.
struct Round {
    dirs: Result<Dirs, String>,
    judge: Judge,
    digests: Digests,
    /// The uid of the Node that the hub knew first.
    node: Option<String>,
    networks: BTreeMap<String, (Print, Snapshot)>,
    /// Differences, and since when they are seen.
    seen: BTreeMap<String, Duration>,
    told: Heeded,
}

impl Round {
    fn new(node: &str, dirs: Result<Dirs, String>) -> Self {
        Self {
            dirs,
            judge: Judge::new(node),
            digests: Digests::default(),
            node: None,
            networks: BTreeMap::new(),
            seen: BTreeMap::new(),
            told: Heeded::default(),
        }
    }

    /// Looks, at this time since any fixed moment.
    fn look(&mut self, now: Duration, own: impl FnOnce(&mut Digests) -> Own) -> Standing {
        // The bindings first: a pod whose binding is there was known to kubelet, and so to the view, before.
        let read = self.read_bindings();
        let own = own(&mut self.digests);
        let mut standing = Standing { node: self.node_object(&own.node), ..Standing::default() };
        let mut trouble = read.err();
        if let Some(pods) = &own.pods {
            standing.pods = Some(pods.len());
            let limits =
                pods.iter().map(|((namespace, name), pod)| (format!("{namespace}/{name}"), &pod.limits));
            standing.outage = outage::struck(limits);
        }
        match &own.pods {
            Some(pods) if own.followed && trouble.is_none() => {
                let rows = self.networks.values().flat_map(|(_, network)| &network.rows);
                let words = self.judge.words(rows, pods, now);
                trouble = self.tell(words).err();
            }
            _ => self.judge.is_blind(),
        }
        let known = match (&own.node, &own.pods) {
            (OwnNode::Present(node), Some(pods)) => Some((node, pods)),
            _ => None,
        };
        let found = known.map_or_else(Differences::new, |(node, pods)| {
            let networks: Vec<&Snapshot> = self.networks.values().map(|(_, network)| network).collect();
            differences(&networks, pods, Some(node))
        });
        standing.differences = self.lasting(found, now);
        standing.networks = self.networks.len();
        standing.told = self.told;
        standing.trouble = trouble;
        standing
    }

    fn node_object(&mut self, node: &OwnNode) -> NodeObject {
        match node {
            OwnNode::Unknown => NodeObject::Unknown,
            OwnNode::Absent => NodeObject::Deleted,
            OwnNode::Present(node) => {
                let now = node.uid.clone();
                let before = self.node.get_or_insert_with(|| now.clone()).clone();
                if before == now { NodeObject::Present(now) } else { NodeObject::MadeAnew { before, now } }
            }
        }
    }

    /// Those that have been seen for long enough.
    fn lasting(&mut self, found: Differences, now: Duration) -> Vec<String> {
        let before = std::mem::take(&mut self.seen);
        let since = |text: &String| before.get(text).copied().unwrap_or(now);
        self.seen = found.into_iter().map(|text| (text.clone(), since(&text))).collect();
        let lasting = self.seen.iter().filter(|(_, since)| now.saturating_sub(**since) >= LASTING);
        lasting.map(|(text, _)| text.clone()).collect()
    }

    /// Reads the bindings of all networks, if anything was done to them.
    fn read_bindings(&mut self) -> Result<(), String> {
        let dirs = self.dirs.clone()?;
        let names = networks(&OsFs, &dirs.state).map_err(|e| e.to_string())?;
        let boot = lease::machine::now(&OsFs, variable).map_err(|e| e.to_string())?.boot;
        let mut before = std::mem::take(&mut self.networks);
        for name in names {
            let journal = dirs.state.join(&name).join("journal");
            let known = before.remove(&name);
            // How it stands before it is read: what is done meanwhile is seen at the next look.
            let now = [print(&journal), known.as_ref().and_then(|(_, network)| print(&network.directory))];
            let network = match known {
                Some((then, network)) if then == now => network,
                _ => {
                    let wrong = |e| format!("the bindings of network {name}: {e}");
                    snapshot(&OsFs, &dirs.state, &name, &boot, PATIENCE).map_err(wrong)?
                }
            };
            self.networks.insert(name, (now, network));
        }
        Ok(())
    }

    /// Tells the bindings what is known of their pods, network by network.
    fn tell(&mut self, words: Vec<(String, Binding, Word)>) -> Result<(), String> {
        let dirs = self.dirs.clone()?;
        let mut by_network: BTreeMap<String, Vec<(Binding, Word)>> = BTreeMap::new();
        for (network, binding, word) in words {
            by_network.entry(network).or_default().push((binding, word));
        }
        for (name, said) in by_network {
            let Some((_, network)) = self.networks.get(&name) else { continue };
            let places = Places { data: network.directory.clone(), ..dirs.places(Path::new(""), &name) };
            let heeded =
                tell_network(&places, &said).map_err(|e| format!("the bindings of network {name}: {e}"))?;
            self.told.gone += heeded.gone;
            self.told.awaited += heeded.awaited;
            if heeded != Heeded::default() {
                let Heeded { gone, awaited } = heeded;
                tracing::info!(
                    "network {name}: bindings of {gone} deleted pods are free to be reused, {awaited} wait for their pods"
                );
            }
        }
        Ok(())
    }
}

fn tell_network(places: &Places, said: &[(Binding, Word)]) -> Result<Heeded, lease::Error> {
    let now = lease::machine::now(&OsFs, variable)?;
    // How many gone ones are kept is the plugin's to see to, by its own configuration.
    let policy = Policy { lock_timeout: PATIENCE, max_gone: u32::MAX, ..Policy::default() };
    let mut store = Store::open(&OsFs, places, &now, &policy)?;
    let heeded = store.heed(said);
    let (flush, notes) = store.finish();
    notes.iter().for_each(|note| tracing::info!("network {}: {note}", places.network));
    let heeded = heeded?;
    flush.map_or(Ok(()), Flush::run)?;
    Ok(heeded)
}

fn print(path: &Path) -> Option<(u64, u64, Stamp)> {
    OsFs.metadata(path).ok().map(|meta| (meta.ino, meta.len, meta.mtime))
}

/// The environment, of which tests make use.
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Says in the log what changed.
fn tell_changes(before: &Standing, now: &Standing) {
    if before.node != now.node {
        match &now.node {
            NodeObject::Deleted => tracing::error!(
                "the cloud has deleted this node's Node object: its pods are deleted next; docs/troubleshooting.md says what to do"
            ),
            NodeObject::MadeAnew { before, now } => tracing::warn!(
                "the cloud has another Node object of this name than before (uid {now} for {before}): restart kubelet, then this hub"
            ),
            NodeObject::Unknown | NodeObject::Present(_) => {}
        }
    }
    let known: BTreeSet<&String> = before.differences.iter().collect();
    for difference in now.differences.iter().filter(|difference| !known.contains(difference)) {
        tracing::warn!("{difference}");
    }
    if let Some(trouble) = now.trouble.as_ref().filter(|_| before.trouble != now.trouble) {
        tracing::warn!("bindings are not compared with pods: {trouble}");
    }
}

#[cfg(test)]
mod tests;
