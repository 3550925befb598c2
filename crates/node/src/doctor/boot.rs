//! What the hub says about a cold boot, and its form on the admin socket.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::finding::Finding;

/// What a cold boot without the cloud would find in the hub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boot {
    /// The node.
    pub node: String,
    /// How many questions of kubelet were gone through, tokens left out.
    pub questions: usize,
    /// The tokens that pods would get.
    pub tokens: Vec<Token>,
    /// The pods that would be started.
    pub pods: Vec<Started>,
    /// What there is to say.
    pub findings: Vec<Finding>,
}

/// A token that a pod would get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is, in words.
    pub what: String,
    /// Until when it counts, in seconds since 1970; `None` where that cannot be told.
    pub until: Option<u64>,
}

/// A pod that would be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The addresses that it has now; none on the host's network.
    pub addresses: Vec<IpAddr>,
    /// Whether it is on the host's network.
    pub host_network: bool,
}

impl Started {
    /// `namespace/name`.
    pub fn title(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl Boot {
    /// Adds a finding; what is said already is said of more pods.
    pub(super) fn say(&mut self, finding: Finding) {
        let same = |known: &&mut Finding| {
            (known.area, known.gravity, &known.what, &known.why)
                == (finding.area, finding.gravity, &finding.what, &finding.why)
        };
        match self.findings.iter_mut().find(same) {
            Some(known) => {
                known.pods.extend(finding.pods);
                known.pods.sort();
                known.pods.dedup();
            }
            None => self.findings.push(finding),
        }
    }

    /// For programs: keys are stable.
    pub fn to_json(&self) -> Value {
        let token = |token: &Token| json!({ "what": token.what, "until": token.until });
        let pod = |pod: &Started| {
            let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
            json!({
                "namespace": pod.namespace,
                "name": pod.name,
                "addresses": addresses,
                "hostNetwork": pod.host_network,
            })
        };
        json!({
            "node": self.node,
            "questions": self.questions,
            "tokens": self.tokens.iter().map(token).collect::<Vec<_>>(),
            "pods": self.pods.iter().map(pod).collect::<Vec<_>>(),
            "findings": self.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
        })
    }

    /// What [`Boot::to_json`] wrote. `None` if anything in it is not understood: what was not read is not good.
    pub fn from_json(json: &Value) -> Option<Boot> {
        let list = |key: &str| json.get(key)?.as_array();
        let token = |token: &Value| {
            let until = token.get("until")?;
            let until = if until.is_null() { None } else { Some(until.as_u64()?) };
            Some(Token { what: token.get("what")?.as_str()?.to_owned(), until })
        };
        let pod = |pod: &Value| {
            let addresses = pod.get("addresses")?.as_array()?.iter();
            Some(Started {
                namespace: pod.get("namespace")?.as_str()?.to_owned(),
                name: pod.get("name")?.as_str()?.to_owned(),
                addresses: addresses.map(|one| one.as_str()?.parse().ok()).collect::<Option<_>>()?,
                host_network: pod.get("hostNetwork")?.as_bool()?,
            })
        };
        Some(Boot {
            node: json.get("node")?.as_str()?.to_owned(),
            questions: usize::try_from(json.get("questions")?.as_u64()?).ok()?,
            tokens: list("tokens")?.iter().map(token).collect::<Option<_>>()?,
            pods: list("pods")?.iter().map(pod).collect::<Option<_>>()?,
            findings: list("findings")?.iter().map(Finding::from_json).collect::<Option<_>>()?,
        })
    }
}
