//! The hub's configuration: a versioned file, of which a kubeadm node needs nothing.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use durable::fs::Fs;
use lease::machine::Dirs;
use node::yaml::{Node, Value};

use crate::error::{Error, Result};

/// Where it stands, if it does.
pub const PATH: &str = "/etc/edgekeep/hub.yaml";
/// What it calls itself.
pub const API_VERSION: &str = "hub.edgekeep/v1alpha1";
/// Its kind.
pub const KIND: &str = "HubConfiguration";
/// The port of the Kubernetes API on this node, and of health and figures.
pub const PORT: u16 = 10461;
const HEALTH_PORT: u16 = 10462;
/// An address that a node has to itself (RFC 3927) and that pods reach, too.
pub const LINK_LOCAL: Ipv4Addr = Ipv4Addr::new(169, 254, 77, 1);
const MAX_FILE: usize = 1 << 20;

/// The configuration, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Name of the node; by default whom its certificate names, or the host.
    pub node_name: Option<String>,
    /// Kubeconfig of kubelet as the cluster made it: it says where the cloud is, whom to trust, and holds the node's
    /// first certificate.
    pub kubeconfig: PathBuf,
    /// Kubeconfig with which a node gets a certificate when it has no valid one.
    pub bootstrap_kubeconfig: PathBuf,
    /// API servers, as `https://host:port`; by default that of the kubeconfig.
    pub servers: Vec<String>,
    /// Authorities of the cluster, as a PEM file; by default those of the kubeconfig.
    pub cluster_ca: Option<PathBuf>,
    /// Where the Kubernetes API is served.
    pub listen: Vec<SocketAddr>,
    /// More names and addresses that the hub's certificate bears.
    pub names: Vec<String>,
    /// Certificate and key to show instead of the hub's own.
    pub serving: Option<Pair>,
    /// Kubeconfigs of others on this node that come with a client certificate of the cluster's: the hub passes them on
    /// under that certificate.
    pub handed_over: Vec<PathBuf>,
    /// Where health and figures are served.
    pub health: SocketAddr,
    /// Where the operator's commands reach the hub.
    pub admin: PathBuf,
    /// Where the hub keeps what must survive.
    pub state_dir: PathBuf,
    /// Where the plugin keeps bindings; by default where the plugin's own configuration says. Stands in no file.
    pub bindings: Option<Dirs>,
    /// Most connections of clients, and of these of who has not proved who they are.
    pub connections: usize,
    /// See [`Config::connections`].
    pub strangers: usize,
    /// How long requests may go on when the hub is asked to stop, in seconds.
    pub drain_seconds: u64,
    /// How much is logged.
    pub log: Level,
    /// How it is logged.
    pub log_format: LogFormat,
}

/// Two PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate and those above it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// What does not work.
    Error,
    /// And what is odd.
    Warn,
    /// And what changes.
    Info,
    /// And each request that goes wrong.
    Debug,
}

/// How it is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line of words.
    Text,
    /// A JSON document a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            node_name: None,
            kubeconfig: "/etc/kubernetes/kubelet.conf".into(),
            bootstrap_kubeconfig: "/etc/kubernetes/bootstrap-kubelet.conf".into(),
            servers: Vec::new(),
            cluster_ca: None,
            listen: vec![SocketAddr::new(loopback, PORT), SocketAddr::new(LINK_LOCAL.into(), PORT)],
            names: Vec::new(),
            serving: None,
            handed_over: Vec::new(),
            health: SocketAddr::new(loopback, HEALTH_PORT),
            admin: "/run/edgekeep/hub/admin.sock".into(),
            state_dir: "/var/lib/edgekeep/hub".into(),
            bindings: None,
            connections: 1024,
            strangers: 128,
            drain_seconds: 5,
            log: Level::Info,
            log_format: LogFormat::Text,
        }
    }
}

impl Config {
    /// Reads the file at `path`; one that need not be there counts as empty when it is not.
    ///
    /// # Errors
    ///
    /// It cannot be read, or says something that is not understood: where and what.
    pub fn load<F: Fs>(fs: &F, path: &Path, must_exist: bool) -> Result<Self> {
        let bytes = match durable::fs::read(fs, path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound && !must_exist => return Ok(Self::default()),
            Err(e) => return Err(Error::file("cannot read", path, e)),
        };
        let text = String::from_utf8(bytes).map_err(|e| Error::file("cannot use", path, e))?;
        Self::parse(&text).map_err(|why| Error::file("cannot use", path, why))
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    ///
    /// Line and reason.
    pub fn parse(text: &str) -> Result<Self, String> {
        let root = Node::parse(text)?;
        let mut config = Self::default();
        if root.value == Value::Null {
            return Ok(config);
        }
        for (key, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            let found = root.get(key)?.map(Node::text).transpose()?;
            if found != Some(expected) {
                return Err(format!("{key} is {}, not {expected}", found.unwrap_or("missing")));
            }
        }
        for (key, node) in root.map()? {
            config.take(key, node)?;
        }
        config.check()?;
        Ok(config)
    }

    fn take(&mut self, key: &str, node: &Node) -> Result<(), String> {
        match key {
            "apiVersion" | "kind" => {}
            "nodeName" => self.node_name = Some(node.text()?.to_owned()),
            "kubeconfig" => self.kubeconfig = path(node)?,
            "bootstrapKubeconfig" => self.bootstrap_kubeconfig = path(node)?,
            "servers" => self.servers = texts(node)?,
            "clusterCAFile" => self.cluster_ca = Some(path(node)?),
            "listen" => self.listen = node.list()?.iter().map(address).collect::<Result<_, _>>()?,
            "names" => self.names = texts(node)?,
            "serving" => self.serving = Some(pair(node)?),
            "handedOver" => self.handed_over = node.list()?.iter().map(path).collect::<Result<_, _>>()?,
            "health" => self.health = address(node)?,
            "adminSocket" => self.admin = path(node)?,
            "stateDir" => self.state_dir = path(node)?,
            "connections" => self.connections = number(node)?,
            "strangers" => self.strangers = number(node)?,
            "drainSeconds" => self.drain_seconds = number(node)?,
            "logLevel" => self.log = word(node, &LEVELS)?,
            "logFormat" => self.log_format = word(node, &FORMATS)?,
            other => return Err(format!("line {}: there is no setting {other}", node.line)),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        if self.listen.is_empty() {
            return Err("listen names no address".into());
        }
        if let Some(open) = self.listen.iter().find(|address| !is_of_this_node(address.ip())) {
            return Err(format!(
                "listen names {open}: only loopback and link-local addresses are served, the hub is for this node alone"
            ));
        }
        if !self.health.ip().is_loopback() {
            return Err(format!("health is {}: only a loopback address may serve it", self.health));
        }
        if self.strangers == 0 || self.strangers > self.connections {
            return Err("strangers must be at least 1 and at most connections".into());
        }
        Ok(())
    }

    /// The whole configuration as a file that says it.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut out = format!("apiVersion: {API_VERSION}\nkind: {KIND}\n");
        let mut line = |key: &str, value: String| {
            // Writing into a string cannot fail.
            let _ = writeln!(out, "{key}: {value}");
        };
        let file = |path: &Path| quoted(&path.display().to_string());
        let list = |items: Vec<String>| format!("[{}]", items.join(", "));
        if let Some(name) = &self.node_name {
            line("nodeName", quoted(name));
        }
        line("kubeconfig", file(&self.kubeconfig));
        line("bootstrapKubeconfig", file(&self.bootstrap_kubeconfig));
        line("servers", list(self.servers.iter().map(|one| quoted(one)).collect()));
        if let Some(ca) = &self.cluster_ca {
            line("clusterCAFile", file(ca));
        }
        line("listen", list(self.listen.iter().map(|one| quoted(&one.to_string())).collect()));
        line("names", list(self.names.iter().map(|one| quoted(one)).collect()));
        if let Some(pair) = &self.serving {
            line(
                "serving",
                format!("{{certFile: {}, keyFile: {}}}", file(&pair.certificate), file(&pair.key)),
            );
        }
        line("handedOver", list(self.handed_over.iter().map(|one| file(one)).collect()));
        line("health", quoted(&self.health.to_string()));
        line("adminSocket", file(&self.admin));
        line("stateDir", file(&self.state_dir));
        line("connections", self.connections.to_string());
        line("strangers", self.strangers.to_string());
        line("drainSeconds", self.drain_seconds.to_string());
        line("logLevel", name_of(&LEVELS, self.log));
        line("logFormat", name_of(&FORMATS, self.log_format));
        out
    }
}

const LEVELS: [(&str, Level); 4] =
    [("error", Level::Error), ("warn", Level::Warn), ("info", Level::Info), ("debug", Level::Debug)];
const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// Whether only this node can reach an address.
pub fn is_of_this_node(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
    }
}

/// In double quotes, which YAML reads as JSON does.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn name_of<T: PartialEq>(words: &[(&str, T)], value: T) -> String {
    words.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name).to_owned()
}

fn word<T: Copy>(node: &Node, words: &[(&str, T)]) -> Result<T, String> {
    let text = node.text()?;
    let found = words.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        format!("line {}: {text} is none of {}", node.line, names.join(", "))
    })
}

fn path(node: &Node) -> Result<PathBuf, String> {
    let path = PathBuf::from(node.text()?);
    if !path.is_absolute() {
        return Err(format!("line {}: {} is not an absolute path", node.line, path.display()));
    }
    Ok(path)
}

fn texts(node: &Node) -> Result<Vec<String>, String> {
    node.list()?.iter().map(|item| item.text().map(str::to_owned)).collect()
}

fn address(node: &Node) -> Result<SocketAddr, String> {
    let text = node.text()?;
    text.parse().map_err(|_| format!("line {}: {text} is not address:port", node.line))
}

fn number<T: std::str::FromStr>(node: &Node) -> Result<T, String> {
    let text = node.text()?;
    text.parse().map_err(|_| format!("line {}: {text} is not a number that fits here", node.line))
}

fn pair(node: &Node) -> Result<Pair, String> {
    let (mut certificate, mut key) = (None, None);
    for (name, value) in node.map()? {
        match name.as_str() {
            "certFile" => certificate = Some(path(value)?),
            "keyFile" => key = Some(path(value)?),
            other => return Err(format!("line {}: serving has no setting {other}", value.line)),
        }
    }
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Pair { certificate, key }),
        _ => Err(format!("line {}: serving needs certFile and keyFile", node.line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_file_and_one_with_an_empty_file_have_the_defaults() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
        assert_eq!(Config::parse("# nothing\n").unwrap(), Config::default());
    }

    #[test]
    fn what_is_printed_is_read_back_as_the_same() {
        let text = "apiVersion: hub.edgekeep/v1alpha1\nkind: HubConfiguration\nnodeName: edge-1\nservers: [https://a:1, https://b:1]\n\
                    serving: {certFile: /a, keyFile: /b}\nhandedOver: [/etc/x.conf]\nclusterCAFile: /ca\nlogLevel: debug\n\
                    logFormat: json\nlisten: ['127.0.0.1:1', '[::1]:2']\nnames: [hub]\nconnections: 9\nstrangers: 3\n";
        for config in [Config::default(), Config::parse(text).unwrap()] {
            assert_eq!(Config::parse(&config.to_yaml()).unwrap(), config);
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let head = "apiVersion: hub.edgekeep/v1alpha1\nkind: HubConfiguration\n";
        for (text, said) in [
            ("kind: HubConfiguration\n", "apiVersion is missing"),
            ("apiVersion: v1\nkind: x\n", "apiVersion is v1, not"),
            (&format!("{head}listn: []\n"), "line 3: there is no setting listn"),
            (&format!("{head}listen: []\n"), "listen names no address"),
            (&format!("{head}listen: ['0.0.0.0:10461']\n"), "for this node alone"),
            (&format!("{head}listen: ['10.0.0.1:10461']\n"), "for this node alone"),
            (&format!("{head}health: '169.254.1.1:1'\n"), "only a loopback address"),
            (&format!("{head}stateDir: x\n"), "line 3: x is not an absolute path"),
            (&format!("{head}connections: -1\n"), "line 3: -1 is not a number"),
            (&format!("{head}strangers: 5000\n"), "strangers must be"),
            (&format!("{head}logLevel: loud\n"), "line 3: loud is none of error, warn, info, debug"),
            (&format!("{head}serving: {{certFile: /a}}\n"), "serving needs certFile and keyFile"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(said), "{text:?}: {error}");
        }
    }
}
