//! What is told of settling: to the operator what waits, why, and what would become of it; to the cloud, once it is done, in an
//! Event on the node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Uri};
use outbox::settle::{
    Decision, Fate, Fresh, Got, Objects as _, Place, Read as Reading, Reason, Standing, decide,
};
use outbox::{Entry, Id, What, Writer, report};
use serde_json::{Value, json};

use super::cloud::AGENT;
use super::settling::Shown;
use super::writes::Sent;
use super::{Reads, Who, lock};
use crate::link::State;
use crate::node_certificate::wire_time;
use crate::tls;

/// A clock that is further from the cloud's is not trusted.
const CLOSE: Duration = Duration::from_secs(60);

/// What was settled, since the hub began and since the cloud was last told.
#[derive(Debug, Default)]
pub struct Tally {
    told: AtomicU64,
    dropped: AtomicU64,
    /// The same when the cloud was last told of them.
    announced: [AtomicU64; 2],
    /// The link came back, and what was settled since is to be announced.
    is_due: AtomicBool,
}

/// Figures of a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SettledFigures {
    /// Entries that reached the cloud, or that it had already.
    pub told: u64,
    /// Entries that did not.
    pub dropped: u64,
    /// Entries that the cloud forbids to be told.
    pub forbidden: usize,
}

impl Tally {
    /// An entry came to its end.
    pub fn count(&self, fate: &Fate) {
        match fate {
            Fate::Dropped(_) => self.dropped.fetch_add(1, Ordering::Relaxed),
            _ => self.told.fetch_add(1, Ordering::Relaxed),
        };
    }

    /// The link came back.
    pub fn begin(&self) {
        self.is_due.store(true, Ordering::Relaxed);
    }

    /// How much was told and dropped, if the cloud is to hear of it now.
    fn to_announce(&self) -> Option<[u64; 2]> {
        let now = [&self.told, &self.dropped].map(|count| count.load(Ordering::Relaxed));
        let [told, dropped] = [0, 1].map(|at: usize| {
            let before = self.announced.get(at).map_or(0, |count| count.load(Ordering::Relaxed));
            now.get(at).copied().unwrap_or(0).saturating_sub(before)
        });
        if dropped == 0 && !(told > 0 && self.is_due.load(Ordering::Relaxed)) {
            return None;
        }
        self.is_due.store(false, Ordering::Relaxed);
        self.announced.iter().zip(now).for_each(|(count, now)| count.store(now, Ordering::Relaxed));
        Some([told, dropped])
    }
}

impl Reads {
    /// What waits for the cloud and why, and what became of what waited before.
    #[must_use]
    pub fn settling_document(&self) -> Value {
        let up = self.cloud.judge().state() == State::Up;
        let (entries, _) = self.waiting();
        let machine = lock(&self.settling.machine);
        let standings: std::collections::BTreeMap<&Id, Standing> = machine.standings().collect();
        let waiting: Vec<Value> = entries
            .iter()
            .map(|entry| {
                let standing = standings.get(&entry.id).map_or(Value::Null, |s| s.to_string().into());
                line(entry, [("standing", standing)])
            })
            .collect();
        let kubelet = machine.has_seen_kubelet();
        json!({"cloud": if up { "up" } else { "down" }, "kubelet": kubelet, "waiting": waiting, "reports": self.reports()})
    }

    /// What would become of each entry against the cloud as it is now; without a cloud, as it was last known. Sends nothing.
    pub async fn settling_plan(self: &Arc<Self>) -> Value {
        let (entries, _) = self.waiting();
        let is_up = self.cloud.judge().state() == State::Up;
        let (mut absent, mut unread) = (BTreeSet::new(), BTreeSet::new());
        let needed: BTreeSet<Reading> = entries.iter().filter_map(|entry| needs(entry)).collect();
        for read in needed.into_iter().filter(|_| is_up) {
            match (self.read_for_settling(&read).await, read) {
                (Got::Read, _) => {}
                (Got::Absent, Reading::Own(place)) => drop(absent.insert(place)),
                (_, read) => drop(unread.insert(read)),
            }
        }
        let lines = entries.iter().map(|entry| {
            let is_current = is_up && needs(entry).is_none_or(|read| !unread.contains(&read));
            self.planned(entry, absent.contains(&place(entry)), is_current)
        });
        let lines: Vec<Value> = lines.collect();
        json!({"cloud": if is_up { "up" } else { "down" }, "plan": lines})
    }

    fn planned(&self, entry: &Entry, is_absent: bool, is_current: bool) -> Value {
        let said = |would: &str, text: String, body: Value| {
            let members = [
                ("current", is_current.into()),
                ("would", would.into()),
                ("text", text.into()),
                ("body", body),
            ];
            line(entry, members)
        };
        let mut shown = Shown(self);
        let Some(local) = shown.local(&entry.id) else {
            let fate = Fate::Dropped(Reason::Unreadable);
            return said(fate.word(), fate.to_string(), Value::Null);
        };
        let is_event = matches!(entry.what, What::Event { .. });
        let fresh = if is_event || is_absent { Fresh::Absent } else { shown.fresh(&entry.id) };
        match decide(entry, &local, &fresh, None) {
            Decision::Settled(fate) => said(fate.word(), fate.to_string(), Value::Null),
            Decision::Send { request, fate, more } => {
                let then = if more { ", then DELETE" } else { "" };
                let text = format!("{} {}{then}", request.method, request.path);
                said(fate.word(), text, request.body)
            }
        }
    }

    /// Figures for who watches.
    #[must_use]
    pub fn settling_figures(&self) -> SettledFigures {
        let machine = lock(&self.settling.machine);
        let forbidden = machine.standings().filter(|(_, standing)| matches!(standing, Standing::Parked(_)));
        SettledFigures {
            told: self.settling.tally.told.load(Ordering::Relaxed),
            dropped: self.settling.tally.dropped.load(Ordering::Relaxed),
            forbidden: forbidden.count(),
        }
    }

    /// Tells the cloud's operators, in an Event on the node, what was settled; once, when there is nothing more to do.
    pub(super) fn announce(self: &Arc<Self>) {
        let is_at_rest = lock(&self.settling.machine).is_at_rest();
        if !is_at_rest || self.cloud.judge().state() != State::Up {
            return;
        }
        let Some([told, dropped]) = self.settling.tally.to_announce() else { return };
        tracing::info!("told the cloud {told} of what waited for it, dropped {dropped}");
        let reads = self.clone();
        tokio::spawn(async move { reads.post_event(told, dropped).await });
    }

    async fn post_event(self: &Arc<Self>, told: u64, dropped: u64) {
        let moment = SystemTime::now();
        let since = tls::since_1970(moment);
        let name = format!("{}.{:x}", self.node, since.as_nanos());
        let (kind, reason) =
            if dropped > 0 { ("Warning", "SettledWithLosses") } else { ("Normal", "Settled") };
        let mut message = format!("the node told {told} changes that it had made without the cloud");
        if dropped > 0 {
            message += &format!(", and dropped {dropped}: `edgekeep settle` on the node says which and why");
        }
        let time = wire_time(moment);
        // As kubelet does it, so that whoever describes the node finds it.
        let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "default"},
            "involvedObject": {"kind": "Node", "name": self.node, "uid": self.node}, "reason": reason, "message": message,
            "type": kind, "count": 1, "firstTimestamp": time, "lastTimestamp": time,
            "source": {"component": "edgekeep", "host": self.node}});
        let Some(who) = Who::node() else { return };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let target = Uri::from_static("/api/v1/namespaces/default/events");
        let body = event.to_string().into();
        match self.send(&who, Sent { method: Method::POST, target, headers, body }).await {
            Ok(whole) if whole.status.is_success() => {}
            Ok(whole) => tracing::debug!("an Event on the node was answered with {}", whole.status),
            Err(trouble) => tracing::debug!("an Event on the node: {trouble}"),
        }
    }

    /// The cloud said what time it is: a clock that agrees is trusted until the link is lost.
    pub(super) fn hear_time(&self, headers: &HeaderMap) {
        let date = headers.get(hyper::header::DATE).and_then(|date| date.to_str().ok());
        let Some(theirs) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else { return };
        let ours = tls::since_1970(SystemTime::now());
        let is_right = tls::since_1970(theirs).abs_diff(ours) <= CLOSE;
        self.settling.is_clock_right.store(is_right, Ordering::Relaxed);
    }
}

fn place(entry: &Entry) -> Place {
    (entry.id.resource.clone(), entry.id.key.clone())
}

/// What must be read before it can be said what becomes of an entry.
fn needs(entry: &Entry) -> Option<Reading> {
    match (&entry.what, entry.id.resource.resource()) {
        (What::Event { .. }, _) => None,
        (_, "pods") => Some(Reading::Pods),
        _ => Some(Reading::Own(place(entry))),
    }
}

fn line<const N: usize>(entry: &Entry, more: [(&str, Value); N]) -> Value {
    let what = entry.what.word();
    let daemon = match &entry.id.writer {
        Writer::Kubelet => None,
        Writer::Daemon(who) => Some(who.as_str().to_owned()),
    };
    let mut line = json!({"resource": report::resource_name(&entry.id), "key": entry.id.key.as_str(), "uid": &*entry.id.uid, "what": what,
        "daemon": daemon, "since": entry.since, "last": entry.last, "writes": entry.writes, "bytes": entry.size});
    if let Some(members) = line.as_object_mut() {
        members.extend(more.map(|(name, value)| (name.to_owned(), value)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settling_is_announced_once_and_losses_whenever_they_are() {
        let tally = Tally::default();
        assert_eq!(tally.to_announce(), None);
        tally.begin();
        assert_eq!(tally.to_announce(), None, "nothing waited");
        tally.count(&Fate::Sent);
        tally.count(&Fate::Known);
        assert_eq!(tally.to_announce(), Some([2, 0]));
        tally.count(&Fate::Sent);
        assert_eq!(tally.to_announce(), None, "the link was there all the time");
        tally.count(&Fate::Dropped(Reason::Gone));
        assert_eq!(tally.to_announce(), Some([1, 1]));
        assert_eq!(tally.to_announce(), None);
    }
}
