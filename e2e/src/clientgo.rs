//! The client made of client-go (`e2e/clientgo`) on the node: informers that go on, and single requests.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::machine::{Machine, Process};
use crate::programs::Programs;
use crate::sys;

/// How objects are written on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// JSON.
    Json,
    /// Kubernetes protobuf.
    Protobuf,
}

/// In which form an informer asks.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Whether it begins with a watch-list (where the server knows it) instead of list and watch.
    pub watch_list: bool,
    /// The encoding that it asks for.
    pub encoding: Encoding,
}

/// All four forms.
pub const FORMS: [Form; 4] = [
    Form { watch_list: true, encoding: Encoding::Protobuf },
    Form { watch_list: true, encoding: Encoding::Json },
    Form { watch_list: false, encoding: Encoding::Protobuf },
    Form { watch_list: false, encoding: Encoding::Json },
];

impl Form {
    fn flags(self) -> [String; 2] {
        [format!("--watch-list={}", self.watch_list), format!("--encoding={}", self.encoding.name())]
    }
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Protobuf => "protobuf",
        }
    }
}

/// client-go on a node with a kubeconfig.
#[derive(Clone, Debug)]
pub struct ClientGo {
    program: String,
    kubeconfig: String,
}

impl ClientGo {
    /// A client that reaches the API server as `kubeconfig`, a path on the node, says.
    pub fn new(programs: &Programs, kubeconfig: &str) -> Self {
        let program = programs.clientgo.to_string_lossy().into_owned();
        Self { program, kubeconfig: kubeconfig.to_owned() }
    }

    /// Starts an informer for `resource`, GROUP/VERSION/RESOURCE, in all namespaces. `name` is that of its process and
    /// its log on the node.
    ///
    /// # Errors
    ///
    /// The node is off.
    pub fn inform(&self, node: &Machine, name: &str, resource: &str, form: Form) -> Result<Informer> {
        let flags = form.flags();
        let mut words = vec![self.program.as_str(), "--kubeconfig", &self.kubeconfig];
        words.extend(flags.iter().map(String::as_str));
        words.extend(["watch", resource]);
        let told_before = node.log(name).len();
        Ok(Informer { name: name.to_owned(), told_before, process: node.start(name, &words)? })
    }

    /// Sends one request; `words` are flags, verb, resource and name, `body` what it reads from stdin. Returns the
    /// program's last line: the answered object, or the error with the API server's status and reason.
    ///
    /// # Errors
    ///
    /// It said nothing that can be read.
    pub fn once(&self, node: &Machine, words: &[&str], body: &str) -> Result<Value> {
        let own = [self.program.as_str(), "--kubeconfig", &self.kubeconfig];
        // An error is an answer too, and stands in the last line as well.
        let script = r#""$@" || true"#;
        let mut command =
            node.command(&[&["sh", "-c", script, "clientgo"], own.as_slice(), words].concat())?;
        let told = sys::output_of(&mut command, body)?;
        let last = told.lines().last().unwrap_or_default();
        serde_json::from_str(last).with_context(|| format!("{words:?} said {told:?}"))
    }
}

/// A running informer.
pub struct Informer {
    name: String,
    told_before: usize,
    process: Process,
}

/// What an informer shows of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The object's uid.
    pub uid: String,
    /// Its resourceVersion.
    pub version: String,
    /// What it holds, without the resourceVersion.
    pub hash: String,
}

impl Informer {
    /// Everything that it has said so far, one JSON object each.
    pub fn lines(&self, node: &Machine) -> Vec<Value> {
        let log = node.log(&self.name);
        let ours = log.get(self.told_before..).unwrap_or_default();
        ours.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// That it has been given everything that was there when it began.
    ///
    /// # Errors
    ///
    /// It has not yet.
    pub fn synced(&self, node: &Machine) -> Result<()> {
        if !self.lines(node).iter().any(|line| text(line, "type") == "synced") {
            bail!("informer {} has not synced", self.name);
        }
        Ok(())
    }

    /// What it shows now, by namespace and name.
    ///
    /// # Errors
    ///
    /// The events contradict each other: an object came twice, changed or went without having come, or changed into
    /// the version that it had.
    pub fn shows(&self, node: &Machine) -> Result<BTreeMap<String, Shown>> {
        let mut shown: BTreeMap<String, Shown> = BTreeMap::new();
        for line in self.lines(node) {
            let key = text(&line, "key").to_owned();
            let next = Shown {
                uid: text(&line, "uid").to_owned(),
                version: text(&line, "rv").to_owned(),
                hash: text(&line, "hash").to_owned(),
            };
            let before = shown.get(&key);
            match (text(&line, "type"), before) {
                ("added", None) => drop(shown.insert(key, next)),
                ("modified", Some(before)) if before.version != next.version => {
                    shown.insert(key, next);
                }
                ("deleted", Some(_)) => drop(shown.remove(&key)),
                ("added" | "modified" | "deleted", _) => {
                    bail!("informer {}: {line} after {before:?}", self.name);
                }
                _ => {}
            }
        }
        Ok(shown)
    }

    /// What became of each object in the order of its events, with repeated changes told once: `added`, `modified`,
    /// `deleted`.
    pub fn stories(&self, node: &Machine) -> BTreeMap<String, Vec<String>> {
        let mut stories: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in self.lines(node) {
            let kind = text(&line, "type");
            if matches!(kind, "added" | "modified" | "deleted") {
                let story = stories.entry(text(&line, "key").to_owned()).or_default();
                if story.last().map(String::as_str) != Some(kind) {
                    story.push(kind.to_owned());
                }
            }
        }
        stories
    }

    /// The requests that it has sent so far, as `(path and query, status)`; status 0 where there was no answer. A list
    /// or a watch-list beyond the first is a relist.
    pub fn requests(&self, node: &Machine) -> Vec<(String, u64)> {
        let lines = self.lines(node).into_iter();
        let requests = lines.filter(|line| text(line, "type") == "request");
        requests
            .map(|line| {
                let status = line.get("status").and_then(Value::as_u64).unwrap_or_default();
                (text(&line, "path").to_owned(), status)
            })
            .collect()
    }

    /// How often it was given everything anew: lists and watch-lists that were answered.
    pub fn lists(&self, node: &Machine) -> usize {
        let list = |path: &str| !path.contains("watch=true") || path.contains("sendInitialEvents=true");
        self.requests(node).iter().filter(|(path, status)| *status == 200 && list(path)).count()
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// It had ended.
    pub fn end(self, node: &Machine) -> Result<()> {
        node.kill(self.process)
    }
}

fn text<'v>(line: &'v Value, key: &str) -> &'v str {
    line.get(key).and_then(Value::as_str).unwrap_or_default()
}
