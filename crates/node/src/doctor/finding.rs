//! Something to be said about a cold boot.

use serde_json::{Value, json};

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// A cold boot would miss it.
    Missing,
    /// Whether a cold boot would miss it could not be found out.
    Unknown,
    /// Good to know; what can start starts all the same.
    Note,
}

impl Gravity {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Gravity::Missing => "missing",
            Gravity::Unknown => "unknown",
            Gravity::Note => "note",
        }
    }
}

/// What it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// The hub itself.
    Hub,
    /// What kubelet needs to start and to come to the hub.
    Kubelet,
    /// Objects that kubelet asks for.
    Objects,
    /// Tokens of service accounts.
    Tokens,
    /// Images of containers.
    Images,
    /// The CNI: its configuration and its plugins.
    Cni,
    /// Addresses of pods.
    Addresses,
    /// What must be on a disk and not in memory.
    Disk,
    /// What the cloud does to pods while it does not hear of the node.
    Outage,
}

impl Area {
    /// All of them, in the order in which they are told.
    pub const ALL: [Area; 9] = [
        Area::Hub,
        Area::Kubelet,
        Area::Objects,
        Area::Tokens,
        Area::Images,
        Area::Cni,
        Area::Addresses,
        Area::Disk,
        Area::Outage,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Area::Hub => "hub",
            Area::Kubelet => "kubelet",
            Area::Objects => "objects",
            Area::Tokens => "tokens",
            Area::Images => "images",
            Area::Cni => "cni",
            Area::Addresses => "addresses",
            Area::Disk => "disk",
            Area::Outage => "outage",
        }
    }
}

/// Something to be said, with whom it strikes and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub area: Area,
    /// How much it matters.
    pub gravity: Gravity,
    /// What is meant, by name: `secret shop/db`.
    pub what: String,
    /// The pods that it strikes, as `namespace/name`; none where it strikes the node.
    pub pods: Vec<String>,
    /// What is the matter, as a sentence without a full stop.
    pub why: String,
    /// What to do, in the same form; empty where there is nothing to do.
    pub to_do: String,
}

impl Finding {
    /// One that strikes the node.
    pub fn new(area: Area, gravity: Gravity, what: impl Into<String>, why: impl Into<String>) -> Finding {
        let (what, why) = (what.into(), why.into());
        Finding { area, gravity, what, pods: Vec::new(), why, to_do: String::new() }
    }

    /// The same, with what to do.
    #[must_use]
    pub fn to_do(mut self, what: impl Into<String>) -> Finding {
        self.to_do = what.into();
        self
    }

    /// The same, of these pods.
    #[must_use]
    pub fn of(mut self, pods: impl IntoIterator<Item = String>) -> Finding {
        self.pods = pods.into_iter().collect();
        self
    }

    /// For programs: keys and words are stable, texts are not.
    pub fn to_json(&self) -> Value {
        json!({
            "area": self.area.as_str(),
            "gravity": self.gravity.as_str(),
            "what": self.what,
            "pods": self.pods,
            "why": self.why,
            "toDo": self.to_do,
        })
    }

    /// What [`Finding::to_json`] wrote; `None` if it is not understood.
    pub fn from_json(json: &Value) -> Option<Finding> {
        let text = |key: &str| json.get(key).and_then(Value::as_str);
        let gravities = [Gravity::Missing, Gravity::Unknown, Gravity::Note];
        let pods = json.get("pods").and_then(Value::as_array);
        Some(Finding {
            area: Area::ALL.into_iter().find(|area| text("area") == Some(area.as_str()))?,
            gravity: gravities.into_iter().find(|gravity| text("gravity") == Some(gravity.as_str()))?,
            what: text("what")?.to_owned(),
            pods: pods.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
            why: text("why").unwrap_or_default().to_owned(),
            to_do: text("toDo").unwrap_or_default().to_owned(),
        })
    }
}
