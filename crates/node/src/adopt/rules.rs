//! What each plugin of a CNI configuration is, and what its adoption takes.
//!
//! A rule reads the tree and answers in findings and edits; it changes nothing. The facts behind the rules are those of
//! the callers of host-local: who passes its `ipam` on, who looks at the name `host-local`, who writes the file anew.
//! Invariant: what is not recognised yields no edit, and one thing that cannot be told for certain stops all edits of
//! its file.

pub use crate::change::Verdict;
use std::path::{Path as Dir, PathBuf};

use cni::json::Json;

use super::text::{Edit, Path, member};

/// The name of our plugin in a configuration.
pub const OURS: &str = "edgekeep-ipam";
/// The name of the plugin that it stands in for.
pub const STOCK: &str = "host-local";
/// Where host-local keeps its leases unless `dataDir` says otherwise.
const DATA_DIR: &str = "/var/lib/cni/networks";

/// How a network is brought to use the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// By its own name, unless some network needs it under the name `host-local`.
    Auto,
    /// Only by its own name.
    OwnName,
    /// Only under the name `host-local`; no configuration is changed.
    StockName,
}

/// What was recognised at a place, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where in the file, such as `plugins[0]`; empty for all of it.
    pub place: String,
    /// What becomes of it.
    pub verdict: Verdict,
    /// What it is and why, for the operator.
    pub text: String,
}

/// All that the rules say of one file.
#[derive(Debug, Default)]
pub struct Seen {
    /// The network's name.
    pub network: Option<String>,
    /// What was recognised.
    pub findings: Vec<Finding>,
    /// What to change so that `ipam.type` is ours.
    pub edits: Vec<Edit>,
    /// Whether the file names our plugin, now or after the edits.
    pub names_us: bool,
    /// Whether our plugin has to stand under the name `host-local`.
    pub by_stock_name: bool,
    /// What the operator has to do elsewhere so that the change lasts.
    pub advice: Vec<String>,
    /// Where the adopted networks keep their leases.
    pub data_dirs: Vec<PathBuf>,
    /// The plugins that the file names.
    pub plugins: Vec<String>,
}

/// What a rule has to know besides the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// Directory of the file.
    pub dir: &'a Dir,
    /// Name of the file.
    pub file: &'a str,
    /// How to adopt.
    pub how: As,
    /// Whether our plugin stands under the name `host-local` already.
    pub stock_is_ours: bool,
}

const LITERALLY: &str =
    "calico puts the node's pod CIDR in place of usePodCidr only where `ipam.type` is literally host-local";
/// Plugins that take their addresses from the plugin that `ipam.type` names, as the reference ones do.
const DELEGATING: [&str; 7] = ["bridge", "ptp", "macvlan", "ipvlan", "vlan", "tap", "host-device"];
/// Plugins that work on an interface which another one has given its address.
const CHAINED: [&str; 9] =
    ["portmap", "bandwidth", "tuning", "firewall", "sbr", "loopback", "vrf", "dummy", "istio-cni"];

/// Reads one configuration.
pub fn read(config: &Json, around: Around<'_>) -> Seen {
    let mut rules = Rules { around, seen: Seen::default() };
    if let Err(why) = rules.file(config) {
        rules
            .seen
            .give_up(format!("left untouched, for it means different things to different readers: {why}"));
    }
    rules.seen
}

/// The edits' places of every plugin that names ours, and how many there are: for the way back.
pub fn ours(config: &Json) -> Vec<Edit> {
    let mut found = Vec::new();
    gather(config, &Path::default(), &mut found);
    found
}

fn gather(object: &Json, path: &Path, found: &mut Vec<Edit>) {
    for key in ["plugins", "delegates"] {
        let Ok(Some(Json::List(items))) = member(object, key) else { continue };
        for (index, item) in items.iter().enumerate() {
            gather(item, &path.key(key).index(index), found);
        }
    }
    if let Ok(Some(ipam)) = member(object, "ipam")
        && matches!(member(ipam, "type"), Ok(Some(Json::Str(kind))) if kind == OURS)
    {
        found.push(Edit::Retype(path.clone()));
    }
}

impl Seen {
    /// Takes back every promise of a change; `why` is about the whole file.
    pub fn give_up(&mut self, why: String) {
        self.edits.clear();
        self.by_stock_name = false;
        self.advice.clear();
        self.data_dirs.clear();
        self.names_us = self.findings.iter().any(|finding| finding.verdict == Verdict::Done);
        self.findings.retain(|finding| finding.verdict != Verdict::Change);
        self.findings.push(Finding { place: String::new(), verdict: Verdict::Cannot, text: why });
    }
}

struct Rules<'a> {
    around: Around<'a>,
    seen: Seen,
}

/// One plugin's object and where it stands.
#[derive(Clone, Copy)]
struct Plugin<'a, 'p> {
    json: &'a Json,
    path: &'p Path,
    kind: &'a str,
    /// Whether no other plugin of the list comes before it.
    first: bool,
}

/// What the `ipam` of a plugin says.
enum Ipam<'a> {
    Absent,
    NoType,
    Type(&'a Json, &'a str),
}

type Told = Result<(), String>;

impl<'a> Rules<'a> {
    fn file(&mut self, config: &'a Json) -> Told {
        self.seen.network = text(config, "name")?.map(str::to_owned);
        self.list_or_plugin(config, &Path::default())
    }

    /// A list of plugins, or one by itself.
    fn list_or_plugin(&mut self, json: &'a Json, path: &Path) -> Told {
        let Some(plugins) = member(json, "plugins")? else {
            if self.around.file.ends_with(".conflist") && member(json, "type")?.is_none() {
                let elsewhere = "its plugins stand in a directory with the name of the network".into();
                self.say(path, Verdict::Leave, elsewhere);
                return Ok(());
            }
            return self.plugin(json, path, true);
        };
        let Json::List(plugins) = plugins else { return Err("`plugins` is not a list".into()) };
        for (index, plugin) in plugins.iter().enumerate() {
            self.plugin(plugin, &path.key("plugins").index(index), index == 0)?;
        }
        Ok(())
    }

    fn plugin(&mut self, json: &'a Json, path: &Path, first: bool) -> Told {
        let kind =
            text(json, "type").and_then(|kind| kind.ok_or_else(|| "names no plugin with `type`".into()));
        let kind = kind.map_err(|why| at(path, &why))?;
        self.seen.plugins.push(kind.to_owned());
        let plugin = Plugin { json, path, kind, first };
        let told = match kind {
            "flannel" => self.flannel(plugin),
            "calico" => self.calico(plugin),
            "cilium-cni" => self.cilium(plugin),
            "multus" | "multus-cni" | "multus-shim" => self.multus(plugin),
            "antrea" => {
                self.cannot(
                    plugin,
                    "the antrea agent calls host-local from inside its own image and refuses other \
                     types; only an agent image with edgekeep-ipam in place of host-local would use it",
                );
                Ok(())
            }
            "cni-kindnet" => {
                self.cannot(
                    plugin,
                    "this kindnet hands out addresses itself, from a database of its own, and calls \
                     no IPAM plugin; ptp with host-local, as kindnet had it before, can be adopted",
                );
                Ok(())
            }
            kind if CHAINED.contains(&kind) => {
                self.leave(plugin, "hands out no addresses");
                Ok(())
            }
            kind if DELEGATING.contains(&kind) => self.delegating(plugin),
            _ => self.unknown(plugin),
        };
        told.map_err(|why| at(path, &why))
    }

    /// bridge, ptp, macvlan and their like.
    fn delegating(&mut self, plugin: Plugin<'a, '_>) -> Told {
        let (ipam, kind) = match ipam(plugin.json)? {
            Ipam::Type(ipam, kind) if !kind.is_empty() => (ipam, kind),
            _ => {
                self.leave(plugin, "has no `ipam.type`: it hands out no addresses");
                return Ok(());
            }
        };
        if kind != STOCK && kind != OURS {
            self.leave(plugin, &foreign(kind));
            return Ok(());
        }
        self.data_dir(ipam)?;
        if self.is_kindnet(plugin, ipam)? {
            self.by_stock_name(
                plugin,
                "kindnetd writes this file anew from a template that is compiled in",
                "kindnetd brings its own host-local with its image: after an upgrade of the node image, run \
                 `edgekeep adopt cni` again.",
            );
            return Ok(());
        }
        self.by_own_name(plugin, kind, Edit::Retype(plugin.path.clone()));
        if plugin.kind == "host-device" {
            self.advise(
                "host-device forgets to release the address when the network namespace is gone, as after a reboot \
                 (containernetworking/plugins#1196): edgekeep-ipam then parks it for its pod by the boot id.",
            );
        }
        if self.is_kube_router(plugin)? {
            self.advise(
                "kube-router's DaemonSet copies cni-conf.json of the ConfigMap kube-router-cfg (namespace \
                 kube-system) to this file when the file is missing. So that it says the same then, set \
                 `\"ipam\": {\"type\": \"edgekeep-ipam\"}` in the bridge plugin there, once every node of the cluster has \
                 the plugin.",
            );
        }
        Ok(())
    }

    fn flannel(&mut self, plugin: Plugin<'a, '_>) -> Told {
        if let Some(delegate) = member(plugin.json, "delegate")? {
            for key in ["ipam", "name"] {
                if member(delegate, key)?.is_some() {
                    self.cannot(
                        plugin,
                        &format!("flannel refuses a `delegate` with `{key}`; take it out first"),
                    );
                    return Ok(());
                }
            }
        }
        let (edit, kind) = match ipam(plugin.json)? {
            Ipam::Absent => (Edit::AddIpam(plugin.path.clone()), STOCK),
            Ipam::NoType => (Edit::AddType(plugin.path.clone()), STOCK),
            Ipam::Type(_, kind) => (Edit::Retype(plugin.path.clone()), kind),
        };
        if kind != STOCK && kind != OURS {
            self.leave(plugin, &foreign(kind));
            return Ok(());
        }
        if let Some(ipam) = member(plugin.json, "ipam")? {
            if member(ipam, "subnet")?.is_some() {
                self.cannot(
                    plugin,
                    "`ipam.subnet` overlaps the ranges that flannel adds from /run/flannel/subnet.env; take `subnet` \
                     out and run this again",
                );
                return Ok(());
            }
            self.data_dir(ipam)?;
        } else {
            self.seen.data_dirs.push(DATA_DIR.into());
        }
        self.by_own_name(plugin, kind, edit);
        if self.around.how != As::StockName {
            self.flannel_advice();
        }
        Ok(())
    }

    fn flannel_advice(&mut self) {
        if self.around.dir.components().any(|part| part.as_os_str() == "k3s") {
            let path = self.around.dir.join(self.around.file);
            self.advise(&format!(
                "k3s writes {} anew at each start. So that the change lasts, copy the changed file to \
                 /etc/rancher/k3s/flannel-cni.conflist and add `flannel-cni-conf: /etc/rancher/k3s/flannel-cni.conflist` \
                 to /etc/rancher/k3s/config.yaml; or use `--as host-local`.",
                path.display()
            ));
        } else {
            self.advise(
                "the init container install-cni of flannel's DaemonSet copies cni-conf.json of the ConfigMap \
                 kube-flannel-cfg (namespace kube-flannel, in older manifests kube-system) over this file at each \
                 start of its pod. So that the change lasts, add `\"ipam\": {\"type\": \"edgekeep-ipam\"}` to the plugin \
                 of type flannel there, once every node of the cluster has the plugin; or use `--as host-local`, \
                 which needs no change of configuration. A flannel CNI plugin from before 2021 \
                 (containernetworking/plugins#532) passes over `ipam` and needs `--as host-local`.",
            );
        }
    }

    fn calico(&mut self, plugin: Plugin<'a, '_>) -> Told {
        match ipam(plugin.json)? {
            Ipam::Type(ipam, STOCK) => self.data_dir(ipam)?,
            Ipam::Type(ipam, OURS) => {
                self.seen.names_us = true;
                if ipam.to_pretty().to_ascii_lowercase().contains("usepodcidr") {
                    self.cannot(
                        plugin,
                        &format!("{LITERALLY}; set it back to host-local and run this again"),
                    );
                } else {
                    self.by_own_name(plugin, OURS, Edit::Retype(plugin.path.clone()));
                }
                return Ok(());
            }
            Ipam::Type(_, kind) => {
                self.cannot(
                    plugin,
                    &format!(
                        "{kind} hands out addresses for the whole cluster, from the API server, and cannot be replaced \
                         on one node; calico with host-local (`\"ipam\": {{\"type\": \"host-local\", \"subnet\": \
                         \"usePodCidr\"}}`) can be adopted"
                    ),
                );
                return Ok(());
            }
            _ => {
                self.leave(plugin, "has no `ipam.type`");
                return Ok(());
            }
        }
        self.by_stock_name(
            plugin,
            LITERALLY,
            "calico's container install-cni copies its own host-local into the directory of the binaries at each start \
             of calico-node. So that the change lasts, add host-local to the comma-separated SKIP_CNI_BINARIES in that \
             container's environment (or set UPDATE_CNI_BINARIES=false, which keeps every binary that is there). \
             rancher's hardened-cni-plugins image, which brings the binaries on RKE2, knows the same two.",
        );
        Ok(())
    }

    fn cilium(&mut self, plugin: Plugin<'a, '_>) -> Told {
        match ipam(plugin.json)? {
            Ipam::Type(ipam, kind) if kind == STOCK || kind == OURS => {
                self.data_dir(ipam)?;
                self.by_own_name(plugin, kind, Edit::Retype(plugin.path.clone()));
                self.advise(
                    "unless cilium runs with `cni.customConf=true`, its agent writes this file anew from the one that \
                     its option `read-cni-conf` names: set `ipam.type` to edgekeep-ipam there too.",
                );
            }
            Ipam::Type(_, kind) => self.leave(plugin, &foreign(kind)),
            _ if !plugin.first => self.leave(plugin, "works on the interface of the plugins before it"),
            _ => self.cannot(
                plugin,
                "cilium's agent hands out the addresses itself; it asks an IPAM plugin with `ipam.mode=delegated-plugin`, \
                 `cni.customConf=true` and an `ipam` block with type and ranges in its CNI configuration",
            ),
        }
        Ok(())
    }

    fn multus(&mut self, plugin: Plugin<'a, '_>) -> Told {
        if let Some(network) = text(plugin.json, "clusterNetwork")? {
            self.leave(
                plugin,
                &format!("calls the default network {network}, which is adopted where it stands"),
            );
        } else if let Some(Json::List(delegates)) = member(plugin.json, "delegates")? {
            for (index, delegate) in delegates.iter().enumerate() {
                self.list_or_plugin(delegate, &plugin.path.key("delegates").index(index))?;
            }
        } else {
            self.leave(plugin, "names no delegates");
        }
        if self.around.how != As::StockName {
            self.advise(
            "attachments that pods ask for with an annotation stand in the API, not on the node: in each \
             NetworkAttachmentDefinition (`kubectl get network-attachment-definitions -A`) whose spec.config says \
             `\"type\": \"host-local\"` under `ipam`, say edgekeep-ipam, once every node that runs such pods has the plugin. \
             Give each its own `name`: equal names share one pool.",
        );
        }
        Ok(())
    }

    /// A plugin that no rule knows; whether it passes `ipam` on is its secret.
    fn unknown(&mut self, plugin: Plugin<'a, '_>) -> Told {
        let kind = match ipam(plugin.json) {
            Ok(Ipam::Type(_, kind)) => kind,
            _ => "",
        };
        match kind {
            OURS => {
                self.seen.names_us = true;
                self.say(plugin.path, Verdict::Done, format!("{}: names edgekeep-ipam already", plugin.kind));
            }
            STOCK if self.around.how == As::StockName => self.by_stock_name(plugin, "", ""),
            STOCK => self.cannot(
                plugin,
                "edgekeep does not know this plugin, so it is left as it is; if it calls what `ipam.type` names, \
                 say edgekeep-ipam there by hand, or use `--as host-local`",
            ),
            "" => self.leave(plugin, "does not use host-local"),
            kind => self.leave(plugin, &foreign(kind)),
        }
        Ok(())
    }

    fn is_kindnet(&self, plugin: Plugin<'_, '_>, ipam: &Json) -> Result<bool, String> {
        let volatile = text(ipam, "dataDir")?.is_some_and(|dir| dir.starts_with("/run/"));
        Ok(plugin.kind == "ptp" && self.seen.network.as_deref() == Some("kindnet") && volatile)
    }

    fn is_kube_router(&self, plugin: Plugin<'_, '_>) -> Result<bool, String> {
        Ok(self.around.file.contains("kuberouter") || text(plugin.json, "bridge")? == Some("kube-bridge"))
    }

    /// Adoption by a word in the configuration.
    fn by_own_name(&mut self, plugin: Plugin<'_, '_>, kind: &str, edit: Edit) {
        let Plugin { path, kind: name, .. } = plugin;
        if kind == OURS {
            self.seen.names_us = true;
            self.say(path, Verdict::Done, format!("{name}: uses edgekeep-ipam already"));
        } else if self.around.how == As::StockName {
            self.by_stock_name(plugin, "", "");
        } else {
            self.seen.names_us = true;
            self.seen.edits.push(edit);
            self.say(
                path,
                Verdict::Change,
                format!("{name} with host-local: `ipam.type` becomes edgekeep-ipam"),
            );
        }
    }

    /// Adoption by standing where host-local stood.
    fn by_stock_name(&mut self, plugin: Plugin<'_, '_>, why: &str, advice: &str) {
        let Plugin { path, kind: name, .. } = plugin;
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        if self.around.how == As::OwnName {
            self.cannot(plugin, &format!("only under the name host-local{why}; use `--as host-local`"));
            return;
        }
        let (verdict, what) = match self.around.stock_is_ours {
            true => (Verdict::Done, "host-local is edgekeep-ipam already"),
            false => (Verdict::Change, "edgekeep-ipam is put in place of host-local"),
        };
        self.seen.by_stock_name = true;
        self.say(path, verdict, format!("{name} with host-local: {what}{why}"));
        self.advise(advice);
    }

    fn data_dir(&mut self, ipam: &Json) -> Told {
        let dir = text(ipam, "dataDir")?.filter(|dir| !dir.is_empty()).unwrap_or(DATA_DIR);
        self.seen.data_dirs.push(dir.into());
        Ok(())
    }

    fn leave(&mut self, plugin: Plugin<'_, '_>, why: &str) {
        self.say(plugin.path, Verdict::Leave, format!("{}: {why}", plugin.kind));
    }

    fn cannot(&mut self, plugin: Plugin<'_, '_>, why: &str) {
        self.say(plugin.path, Verdict::Cannot, format!("{}: {why}", plugin.kind));
    }

    fn say(&mut self, path: &Path, verdict: Verdict, text: String) {
        self.seen.findings.push(Finding { place: path.to_string(), verdict, text });
    }

    fn advise(&mut self, advice: &str) {
        if !advice.is_empty() && !self.seen.advice.iter().any(|said| said == advice) {
            self.seen.advice.push(advice.to_owned());
        }
    }
}

fn at(path: &Path, why: &str) -> String {
    match path.to_string() {
        top if top.is_empty() => format!("it {why}"),
        place => format!("{place} {why}"),
    }
}

fn text<'a>(object: &'a Json, key: &str) -> Result<Option<&'a str>, String> {
    match member(object, key)? {
        None => Ok(None),
        Some(Json::Str(text)) => Ok(Some(text)),
        Some(other) => Err(format!("has a `{key}` that is a JSON {}, not a string", other.kind())),
    }
}

fn ipam(plugin: &Json) -> Result<Ipam<'_>, String> {
    let Some(ipam) = member(plugin, "ipam")? else { return Ok(Ipam::Absent) };
    if !matches!(ipam, Json::Object(_)) {
        return Err(format!("has an `ipam` that is a JSON {}, not an object", ipam.kind()));
    }
    Ok(text(ipam, "type")?.map_or(Ipam::NoType, |kind| Ipam::Type(ipam, kind)))
}

fn foreign(kind: &str) -> String {
    match kind {
        "dhcp" => "takes its addresses from a DHCP server".into(),
        "static" => "has its addresses written into the configuration".into(),
        "whereabouts" => {
            "whereabouts hands out addresses for the whole cluster, which one node cannot".into()
        }
        "" => "has no `ipam.type`".into(),
        kind => format!("takes its addresses from {kind}, which edgekeep does not replace"),
    }
}
