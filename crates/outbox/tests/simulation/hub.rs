//! The hub as far as staging and settling go: the real machines, over a disk that forgets what was not flushed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use outbox::report::{Reports, Stored};
use outbox::settle::{Effect, Fate, Fresh, Limits, Moment, Objects, Place, Read, Request, Settle, Ticket};
use outbox::{Allowed, Asked, Base, Id, Outbox, Staged, Stamp, What, Writer, owned, stage};
use patch::Release;
use serde_json::Value;
use testkit::rng::Rng;
use view::Record;
use wire::Resource;

use crate::Sabotage;
use crate::cloud::{NODE, node_at, parse, text};

/// A log: what was flushed, and what was only written.
#[derive(Debug, Default)]
pub struct Disk {
    flushed: BTreeMap<Vec<u8>, Vec<u8>>,
    written: VecDeque<Record>,
    /// Objects of the cloud as the node knows them; always flushed before they are shown.
    pub view: BTreeMap<Place, Arc<Value>>,
}

impl Disk {
    fn write(&mut self, records: Vec<Record>) {
        self.written.extend(records);
    }

    pub fn flush(&mut self) {
        while self.flush_one() {}
    }

    fn flush_one(&mut self) -> bool {
        match self.written.pop_front() {
            Some(Record::Put { key, value, .. }) => drop(self.flushed.insert(key, value)),
            Some(Record::Delete { key }) => drop(self.flushed.remove(&key)),
            None => return false,
        }
        true
    }

    /// The power goes: some of what was not flushed is there all the same.
    pub fn lose_power(&mut self, rng: &mut Rng) {
        while rng.chance(50) && self.flush_one() {}
        self.written.clear();
    }
}

/// Which moment of a write the hub does not survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dies {
    BeforeTheFlush,
    AfterTheFlush,
}

/// What a client gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    Object(Arc<Value>),
    Code(u16),
    /// The hub died over it.
    Nothing,
}

/// Names of the records of the report; those of the outbox begin otherwise.
const REPORT: u8 = b'~';

pub struct Hub {
    pub disk: Disk,
    pub outbox: Outbox,
    pub settle: Settle,
    pub reports: Reports,
    pub boot: Arc<str>,
    pub up: bool,
    pub sabotage: Sabotage,
    pub sends: Vec<(Ticket, Id, Request)>,
    pub reads: Vec<Read>,
    /// What was dropped and why, as the report has it, in this run of the hub.
    pub fates: Vec<(Id, Fate)>,
    /// The contents of entries, as the disk has them.
    contents: BTreeMap<Id, Arc<Value>>,
}

struct Shelf<'a> {
    disk: &'a Disk,
    sabotage: Sabotage,
    contents: &'a BTreeMap<Id, Arc<Value>>,
}

impl Objects for Shelf<'_> {
    fn local(&mut self, id: &Id) -> Option<Value> {
        self.contents.get(id).map(|content| Value::clone(content))
    }

    fn fresh(&mut self, id: &Id) -> Fresh {
        let place = (id.resource.clone(), id.key.clone());
        let Some(object) = self.disk.view.get(&place) else { return Fresh::Absent };
        let mut object = Value::clone(object);
        match self.sabotage {
            Sabotage::OverlooksEnds if crate::kubelet::is_terminal(&object["status"]) => {
                object["status"] = serde_json::json!({"phase": "Unknown"});
            }
            Sabotage::IgnoresUids => object["metadata"]["uid"] = (*id.uid).into(),
            _ => {}
        }
        Fresh::Found(object)
    }
}

impl Hub {
    pub fn start(disk: Disk, boot: Arc<str>, seed: u64, sabotage: Sabotage) -> Hub {
        let hold = if sabotage == Sabotage::HoldsNothing { Duration::ZERO } else { Limits::default().hold };
        let limits = Limits { hold, ..Limits::default() };
        let mut hub = Hub {
            settle: Settle::new(limits, boot.clone(), seed),
            outbox: Outbox::new(outbox::Limits::default()),
            reports: Reports::default(),
            disk,
            boot,
            up: false,
            sabotage,
            sends: Vec::new(),
            reads: Vec::new(),
            fates: Vec::new(),
            contents: BTreeMap::new(),
        };
        // The kernel has what a killed hub had written.
        let mut records = hub.disk.flushed.clone();
        for record in &hub.disk.written {
            match record {
                Record::Put { key, value, .. } => drop(records.insert(key.clone(), value.clone())),
                Record::Delete { key } => drop(records.remove(key)),
            }
        }
        for (key, value) in &records {
            let understood = match key.first() {
                Some(&REPORT) => hub.reports.load(value),
                _ => hub.outbox.load(value),
            };
            assert!(understood);
        }
        let entries: Vec<_> = hub.outbox.entries().cloned().collect();
        for entry in entries {
            let content =
                records.get(&Outbox::key(&entry.id)).and_then(|record| Outbox::content(record)).unwrap();
            let content: Value = serde_json::from_slice(content).unwrap();
            hub.settle.put(&entry, &content);
            hub.contents.insert(entry.id.clone(), Arc::new(content));
        }
        if sabotage != Sabotage::KeepsShutdowns {
            hub.settle.undo_shutdown();
            hub.carry_out(0);
        }
        hub
    }

    /// The object as the node's clients see it.
    pub fn show(&self, place: &Place) -> Option<Arc<Value>> {
        let fresh = self.disk.view.get(place)?;
        let mut shown = fresh.clone();
        for entry in
            self.outbox.entries().filter(|entry| (&entry.id.resource, &entry.id.key) == (&place.0, &place.1))
        {
            if *entry.id.uid != *text(fresh, "/metadata/uid") {
                continue;
            }
            if entry.what == (What::Finished { gone: true }) {
                return None;
            }
            if let Some(local) = self.contents.get(&entry.id) {
                shown = Arc::new(owned::laid_over(entry, local, &shown));
            }
        }
        Some(shown)
    }

    /// What waits of an object.
    pub fn content(&self, id: &Id) -> Option<&Arc<Value>> {
        self.contents.get(id)
    }

    /// The pods that the node's clients see.
    pub fn pods(&self) -> Vec<(Place, Arc<Value>)> {
        let pods = self.disk.view.keys().filter(|(resource, _)| resource.resource() == "pods");
        pods.filter_map(|place| Some((place.clone(), self.show(place)?))).collect()
    }

    pub fn waits_for(&self, place: &Place) -> bool {
        self.outbox.entries().any(|entry| (&entry.id.resource, &entry.id.key) == (&place.0, &place.1))
    }

    /// Stages a write of kubelet.
    pub fn stage(&mut self, request: &Request, content_type: &str, now: i64, dies: Option<Dies>) -> Said {
        let resource = parse(&request.path);
        let place = (
            view::ResourceId::new(
                &resource.group,
                &resource.version,
                &resource.resource,
                &resource.namespace,
            ),
            view::Key::new(&resource.namespace, &resource.name),
        );
        let Some(present) = self.show(&place) else { return Said::Code(404) };
        let allowed = match (request.method, resource.resource.as_str()) {
            ("DELETE", _) => Allowed::FinalDelete,
            (_, "nodes") => Allowed::NodeStatus,
            _ => Allowed::PodStatus,
        };
        let (resource, body): (&Resource, _) = (&resource, request.body.to_string());
        let asked = Asked {
            allowed,
            resource,
            content_type,
            body: body.as_bytes(),
            node: NODE,
            release: Release::default(),
            now,
        };
        let (what, object) = match stage(&asked, &present) {
            Ok(Staged::Same) => return Said::Object(present),
            Ok(Staged::Changed(object)) => (self.what_of(&place, &present), object),
            Ok(Staged::Ended { last, gone }) => (What::Finished { gone }, last),
            Err(status) => return Said::Code(status.code),
        };
        let id = Id::new(place.0, place.1, text(&present, "/metadata/uid"), Writer::Kubelet);
        let base =
            Base { rv: text(&present, "/metadata/resourceVersion").parse().unwrap_or(0), generation: 0 };
        let stamp = Stamp { now, boot: self.boot.clone() };
        let object = Arc::new(object);
        let put = self.outbox.put(id.clone(), base, what, Value::clone(&object), &stamp).unwrap();
        self.disk.write(put.records);
        if dies == Some(Dies::BeforeTheFlush) {
            return Said::Nothing;
        }
        if self.sabotage != Sabotage::FlushesNothing {
            self.disk.flush();
        }
        let (entry, _) = self.outbox.stored(&id, put.token).unwrap();
        self.settle.put(&entry, &object);
        self.contents.insert(id, object.clone());
        match dies {
            Some(_) => Said::Nothing,
            None => Said::Object(object),
        }
    }

    /// A status that comes after the deletion with which a pod ended leaves it ended.
    fn what_of(&self, place: &Place, present: &Value) -> What {
        let id = Id::new(place.0.clone(), place.1.clone(), text(present, "/metadata/uid"), Writer::Kubelet);
        match self.outbox.entry(&id).map(|entry| entry.what.clone()) {
            Some(what @ What::Finished { .. }) => what,
            _ => What::State,
        }
    }

    /// Lets the machine work, and takes over what it wants done.
    pub fn tick(&mut self, moment: Moment, now: i64) {
        let Hub { settle, disk, contents, sabotage, .. } = self;
        settle.tick(moment, &mut Shelf { disk, contents, sabotage: *sabotage });
        self.carry_out(now);
    }

    pub fn carry_out(&mut self, now: i64) {
        for effect in self.settle.effects() {
            match effect {
                Effect::Read(read) => self.reads.push(read),
                Effect::Send { ticket, id, request } => {
                    if self.sabotage == Sabotage::LiftsEarly {
                        let writes = self.outbox.entry(&id).map_or(0, |entry| entry.writes);
                        self.remove(&id, writes);
                    }
                    self.sends.push((ticket, id, request));
                }
                Effect::Settled { id, writes, fate } => {
                    if self.sabotage != Sabotage::ReportsNothing {
                        for stored in self.reports.add(&id, &fate, now) {
                            let prefixed = |key: Vec<u8>| [&[REPORT][..], &key].concat();
                            self.disk.write(vec![match stored {
                                Stored::Put { key, value } => {
                                    Record::Put { key: prefixed(key), value, seal: false }
                                }
                                Stored::Delete { key } => Record::Delete { key: prefixed(key) },
                            }]);
                        }
                    }
                    if self.sabotage != Sabotage::LiftsNothing || id.resource.resource() != "nodes" {
                        self.remove(&id, writes);
                    }
                    self.fates.push((id, fate));
                }
                Effect::Parked { .. } => {}
            }
        }
    }

    fn remove(&mut self, id: &Id, writes: u64) {
        if let Some(record) = self.outbox.remove(id, writes) {
            self.disk.write(vec![record]);
            self.contents.remove(id);
        }
        // Nothing passes the entry by before it is gone for good.
        self.disk.flush();
        self.outbox.removed(id);
    }

    pub fn link(&mut self, up: bool, moment: Moment) {
        if up && !self.up {
            self.reads.clear();
            self.reports.begin();
        }
        self.up = up;
        self.settle.link(up, moment);
        if up && self.sabotage == Sabotage::SpeaksForTheDead {
            self.settle.kubelet_lives();
        }
    }

    /// The view hears what the cloud has at a place.
    pub fn hear(&mut self, place: &Place, object: Option<&Arc<Value>>) {
        if self.disk.view.get(place) == object {
            return;
        }
        match object {
            Some(object) => drop(self.disk.view.insert(place.clone(), object.clone())),
            None => drop(self.disk.view.remove(place)),
        }
        self.settle.moved(place);
    }

    /// The view hears everything that the cloud has for this node.
    pub fn hear_all(&mut self, cloud: &crate::cloud::Cloud) {
        let here: Vec<Place> = self.disk.view.keys().filter(|place| **place != node_at()).cloned().collect();
        let there: BTreeMap<Place, Arc<Value>> =
            cloud.pods().map(|(place, pod)| (place.clone(), pod.clone())).collect();
        for place in here.iter().filter(|place| !there.contains_key(*place)) {
            self.hear(place, None);
        }
        for (place, pod) in &there {
            self.hear(place, Some(pod));
        }
    }
}
