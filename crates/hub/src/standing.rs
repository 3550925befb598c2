//! How the hub stands: what its operator is told.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::agreement;
use crate::link::State;
use crate::node_certificate::{self, wire_time};
use crate::store;
use crate::waiting::standing_json;

/// How the hub stands at a moment.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Name of the node.
    pub node: String,
    /// The moment.
    pub now: SystemTime,
    /// How long the hub runs.
    pub age: Duration,
    /// The API servers.
    pub servers: Vec<String>,
    /// The verdict on the link, and for how long it stands.
    pub link: (State, Duration),
    /// How often the cloud was lost since the start.
    pub losses: u64,
    /// Bytes sent to and received from the cloud since the start.
    pub traffic: (u64, u64),
    /// Begin and end of the node's certificate.
    pub certificate: Option<(SystemTime, SystemTime)>,
    /// What else is to be said of it.
    pub renewal: node_certificate::Standing,
    /// Connections of clients, known and strangers.
    pub clients: (usize, usize),
    /// Answers under way: all, and watches.
    pub answers: (usize, usize),
    /// Users whose kubeconfig was handed over.
    pub handed_over: Vec<String>,
    /// Watches that the view answers, and streams that it reads.
    pub watches: (usize, usize),
    /// How the logs are doing: `keep`, `cache`.
    pub store: [store::Standing; 2],
    /// How what waits for the cloud is doing.
    pub outbox: outbox::Standing,
    /// What is wrong with the hub's files, if they changed to something that cannot be used.
    pub files: Option<String>,
    /// Whether node and cloud agree on the node's pods.
    pub agreement: Arc<agreement::Standing>,
}

/// One thing that must be so for the hub to do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// What is so.
    pub detail: String,
    /// Why it fails, if it does.
    pub failed: Option<String>,
    /// Whether the hub does its work even so: an operator should look, and a prober should not.
    pub warns: bool,
}

impl Standing {
    /// What must be so. That the cloud is there is not among it: a node that is cut off is what the hub is for.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let ok = |name, detail: String| Check { name, detail, failed: None, warns: false };
        let mut checks = vec![ok("cloud", self.link_text())];
        checks.push(Check {
            name: "node-certificate",
            detail: self.certificate.map_or_else(String::new, |(_, end)| format!("ends {}", wire_time(end))),
            failed: self.certificate_trouble(),
            warns: false,
        });
        let failing: Vec<String> = ["keep", "cache"]
            .iter()
            .zip(&self.store)
            .filter_map(|(log, one)| Some(format!("{log}: {}", one.failing.as_ref()?)))
            .collect();
        checks.push(Check {
            name: "store",
            detail: format!("{} bytes", self.store.iter().map(|log| log.bytes).sum::<u64>()),
            failed: (!failing.is_empty()).then(|| failing.join("; ")),
            warns: false,
        });
        checks.push(Check {
            name: "files",
            detail: "as read".into(),
            failed: self.files.clone(),
            warns: false,
        });
        checks.push(self.outbox_check());
        checks
    }

    /// What waits is bounded: an operator has to know before it is refused.
    fn outbox_check(&self) -> Check {
        let outbox::Standing { states, events, bytes, limit, alarm, .. } = self.outbox;
        let detail = format!("{states} states and {events} events wait, {bytes} of {limit} bytes");
        let failed = alarm.then(|| {
            format!(
                "{detail}: once they are used up, events are given up, the oldest first, and then what kubelet writes is \
                 refused; `edgekeep outbox` shows what waits"
            )
        });
        Check { name: "outbox", detail, failed, warns: true }
    }

    fn certificate_trouble(&self) -> Option<String> {
        let why = self.renewal.trouble.as_deref();
        match self.certificate {
            None => Some(why.unwrap_or("the node has none yet").to_owned()),
            Some(_) if self.renewal.refused => {
                Some(why.unwrap_or("the cloud does not accept it; another one is being asked for").to_owned())
            }
            Some((_, end)) if end < self.now => Some(format!(
                "it ended {} by this machine's clock; it is shown until the cloud refuses it",
                wire_time(end)
            )),
            Some(_) => None,
        }
    }

    /// The link in a few words.
    #[must_use]
    pub fn link_text(&self) -> String {
        let seconds = self.link.1.as_secs();
        match &self.link.0 {
            State::Up => format!("reachable for {seconds} s"),
            State::Down(why) => format!("gone for {seconds} s: {why}"),
        }
    }

    /// The same for programs: keys are stable.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (state, why) = match &self.link.0 {
            State::Up => ("up", None),
            State::Down(why) => ("down", Some(why.to_string())),
        };
        let checks: Vec<Value> = self
            .checks()
            .iter()
            .map(|check| json!({ "name": check.name, "ok": check.failed.is_none(), "detail": check.detail, "why": check.failed }))
            .collect();
        let mut standing = json!({
            "node": self.node,
            "time": wire_time(self.now),
            "uptimeSeconds": self.age.as_secs(),
            "cloud": {
                "servers": self.servers,
                "state": state,
                "why": why,
                "sinceSeconds": self.link.1.as_secs(),
                "losses": self.losses,
                "sentBytes": self.traffic.0,
                "receivedBytes": self.traffic.1,
            },
            "nodeCertificate": {
                "notBefore": self.certificate.map(|(begin, _)| wire_time(begin)),
                "notAfter": self.certificate.map(|(_, end)| wire_time(end)),
                "refused": self.renewal.refused,
                "trouble": self.renewal.trouble,
            },
            "clients": { "known": self.clients.0, "strangers": self.clients.1 },
            "answers": { "underWay": self.answers.0, "watches": self.answers.1 },
            "view": { "watches": self.watches.0, "streams": self.watches.1 },
            "store": {
                "keep": { "bytes": self.store[0].bytes, "flushes": self.store[0].flushes, "failing": self.store[0].failing },
                "cache": { "bytes": self.store[1].bytes, "flushes": self.store[1].flushes, "failing": self.store[1].failing },
            },
            "outbox": standing_json(&self.outbox, self.now),
            "handedOver": self.handed_over,
            "checks": checks,
        });
        if let Some(fields) = standing.as_object_mut() {
            fields.extend(self.agreement.to_json().map(|(key, value)| (key.to_owned(), value)));
        }
        standing
    }
}
