//! What became of what waited, for the operator: kept for the last settlings, bounded.
//!
//! A settling begins when the link comes back and something waits. Each entry that leaves the outbox leaves a line, stored
//! in the same step as its removal, so that nothing is dropped without a word. Events that the cloud took are only counted.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use crate::entry::{Id, Writer};
use crate::settle::Fate;

/// So many settlings are remembered.
const MOST_REPORTS: usize = 8;

/// So many lines, of all of them together. One settling has no more, for no more can wait.
const MOST_LINES: usize = 8192;

/// Version of the format of a line.
const VERSION: u64 = 1;

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The number of the settling.
    pub settling: u64,
    /// Its own number in it.
    pub number: u64,
    /// When, in seconds since 1970 by the node's clock.
    pub at: i64,
    /// The resource: `pods`, `nodes`, `csinodes.storage.k8s.io`.
    pub resource: String,
    /// Namespace and name.
    pub key: String,
    /// The UID; empty for an event.
    pub uid: String,
    /// The daemon that wrote it; `None` for kubelet.
    pub daemon: Option<String>,
    /// In one word: `sent`, `merged`, `known`, `dropped`.
    pub fate: String,
    /// The fate in words.
    pub text: String,
}

impl Line {
    /// The line as it is stored.
    pub fn to_json(&self) -> Value {
        let Line { settling, number, at, resource, key, uid, daemon, fate, text } = self;
        json!({"version": VERSION, "settling": settling, "number": number, "at": at, "resource": resource, "key": key,
            "uid": uid, "daemon": daemon, "fate": fate, "text": text})
    }

    fn from_json(value: &Value) -> Option<Line> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        (number("version")? == VERSION).then_some(())?;
        Some(Line {
            settling: number("settling")?,
            number: number("number")?,
            at: value.get("at")?.as_i64()?,
            resource: text("resource")?,
            key: text("key")?,
            uid: text("uid")?,
            daemon: text("daemon"),
            fate: text("fate")?,
            text: text("text")?,
        })
    }

    fn is_dropped(&self) -> bool {
        self.fate == "dropped"
    }
}

/// The resource as people write it, with its group.
pub fn resource_name(id: &Id) -> String {
    id.resource.group_resource().to_string()
}

/// One settling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Its number.
    pub settling: u64,
    /// How many entries came to which fate, by its word.
    pub counts: BTreeMap<String, u64>,
    /// What is known of single ones, oldest first.
    pub lines: Vec<Line>,
}

impl Report {
    /// When the first and the last line were written.
    pub fn times(&self) -> Option<(i64, i64)> {
        Some((self.lines.first()?.at, self.lines.last()?.at))
    }

    /// The report for programs.
    pub fn to_json(&self) -> Value {
        let lines: Vec<Value> = self.lines.iter().map(Line::to_json).collect();
        json!({"settling": self.settling, "counts": self.counts, "lines": lines})
    }
}

/// A change of what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// A record to be put.
    Put {
        /// Its key.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// A record to be deleted.
    Delete {
        /// Its key.
        key: Vec<u8>,
    },
}

/// The last settlings.
#[derive(Debug, Default)]
pub struct Reports {
    reports: VecDeque<Report>,
    /// Whether the next line begins a settling.
    begins: bool,
    next_line: u64,
}

impl Reports {
    /// Takes over a line that was stored. Whether it was understood.
    pub fn load(&mut self, value: &[u8]) -> bool {
        let Ok(value) = serde_json::from_slice::<Value>(value) else { return false };
        let Some(line) = Line::from_json(&value) else { return false };
        self.next_line = self.next_line.max(line.number + 1);
        let at = self.reports.partition_point(|report| report.settling < line.settling);
        if self.reports.get(at).is_none_or(|report| report.settling != line.settling) {
            self.reports.insert(at, Report { settling: line.settling, ..Report::default() });
        }
        if let Some(report) = self.reports.get_mut(at) {
            *report.counts.entry(line.fate.clone()).or_default() += 1;
            let at = report.lines.partition_point(|own| own.number < line.number);
            report.lines.insert(at, line);
        }
        self.begins = true;
        true
    }

    /// The key of a line's record.
    pub fn key(settling: u64, number: u64) -> Vec<u8> {
        format!("{settling:020}\0{number:020}").into_bytes()
    }

    /// The link came back: what is settled from now on is a settling of its own.
    pub fn begin(&mut self) {
        self.begins = true;
    }

    /// An entry came to its end, at this second since 1970. What is to be stored with its removal.
    pub fn add(&mut self, id: &Id, fate: &Fate, at: i64) -> Vec<Stored> {
        let mut stored = Vec::new();
        self.make_room(&mut stored);
        let number = self.next_line;
        let Some(report) = self.reports.back_mut() else { return stored };
        *report.counts.entry(fate.word().to_owned()).or_default() += 1;
        let line = Line {
            settling: report.settling,
            number,
            at,
            resource: resource_name(id),
            key: id.key.as_str().to_owned(),
            uid: id.uid.to_string(),
            daemon: match &id.writer {
                Writer::Kubelet => None,
                Writer::Daemon(who) => Some(who.as_str().to_owned()),
            },
            fate: fate.word().to_owned(),
            text: fate.to_string(),
        };
        if id.resource.resource() == "events" && !line.is_dropped() {
            return stored;
        }
        self.next_line += 1;
        let (key, value) = (Reports::key(line.settling, number), line.to_json().to_string().into_bytes());
        report.lines.push(line);
        stored.push(Stored::Put { key, value });
        stored
    }

    /// Begins a settling if there is reason to, and forgets the oldest ones if there are too many.
    fn make_room(&mut self, stored: &mut Vec<Stored>) {
        let (last, lines) =
            self.reports.back().map_or((0, 0), |report| (report.settling, report.lines.len()));
        if self.begins || last == 0 || lines >= MOST_LINES {
            self.begins = false;
            self.reports.push_back(Report { settling: last + 1, ..Report::default() });
        }
        let lines =
            |reports: &Reports| reports.reports.iter().map(|report| report.lines.len()).sum::<usize>();
        while self.reports.len() > 1 && (self.reports.len() > MOST_REPORTS || lines(self) >= MOST_LINES) {
            let Some(old) = self.reports.pop_front() else { break };
            let keys = old.lines.iter().map(|line| Reports::key(line.settling, line.number));
            stored.extend(keys.map(|key| Stored::Delete { key }));
        }
    }

    /// The settlings that are known, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter()
    }

    /// The last settling.
    pub fn last(&self) -> Option<&Report> {
        self.reports.back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settle::Reason;
    use view::{Key, ResourceId};

    fn id(resource: &str, name: &str) -> Id {
        let resource = ResourceId::new("", "v1", resource, "shop");
        Id::new(resource, Key::new("shop", name), "u", Writer::Kubelet)
    }

    fn stored(log: &mut BTreeMap<Vec<u8>, Vec<u8>>, changes: Vec<Stored>) {
        for change in changes {
            match change {
                Stored::Put { key, value } => drop(log.insert(key, value)),
                Stored::Delete { key } => drop(log.remove(&key)),
            }
        }
    }

    #[test]
    fn what_was_dropped_is_still_known_after_a_restart_by_name_and_reason() {
        let (mut reports, mut log) = (Reports::default(), BTreeMap::new());
        let dropped = Fate::Dropped(Reason::Refused { code: 422, message: "spec is wrong".into() });
        stored(&mut log, reports.add(&id("pods", "web"), &dropped, 7));
        stored(&mut log, reports.add(&id("events", "e1"), &Fate::Sent, 8));
        stored(&mut log, reports.add(&id("pods", "db"), &Fate::Merged, 9));
        let mut again = Reports::default();
        assert!(log.values().all(|value| again.load(value)));
        let report = again.last().unwrap();
        assert_eq!(report.lines, reports.last().unwrap().lines);
        assert_eq!(report.lines[0].text, "dropped: the cloud refused it (422): spec is wrong");
        assert_eq!((report.lines.len(), report.times()), (2, Some((7, 9))));
        assert_eq!(reports.last().unwrap().counts["sent"], 1, "of events that arrived the number will do");
        let more = again.add(&id("pods", "new"), &Fate::Sent, 10);
        assert_eq!(again.last().unwrap().settling, 2, "a restart begins a settling");
        assert!(matches!(&more[..], [Stored::Put { key, .. }] if *key == Reports::key(2, 2)));
    }

    #[test]
    fn reports_are_bounded_in_memory_and_in_the_log() {
        let (mut reports, mut log) = (Reports::default(), BTreeMap::new());
        for round in 0..30 {
            reports.begin();
            for at in 0..1500 {
                let fate = if at % 5 == 0 { Fate::Dropped(Reason::Gone) } else { Fate::Sent };
                stored(&mut log, reports.add(&id("pods", &format!("p{at}")), &fate, round));
            }
        }
        assert!(reports.all().count() <= MOST_REPORTS && log.len() <= MOST_LINES);
        assert_eq!(log.len(), reports.all().map(|report| report.lines.len()).sum::<usize>());
        let last = reports.last().unwrap();
        assert_eq!((last.settling, last.counts["dropped"], last.counts["sent"]), (30, 300, 1200));
        assert_eq!(
            last.lines.iter().filter(|line| line.is_dropped()).count(),
            300,
            "each of them has its line"
        );
    }

    #[test]
    fn a_line_that_cannot_be_understood_is_left_out() {
        let mut reports = Reports::default();
        for odd in [&b""[..], b"{}", b"[]", br#"{"version":2}"#] {
            assert!(!reports.load(odd));
        }
        assert!(reports.last().is_none());
    }
}
