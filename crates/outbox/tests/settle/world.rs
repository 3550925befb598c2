//! The machine, between an outbox and a cloud, without chance: what it says is done at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use outbox::settle::{
    Answer, Effect, Fate, Fresh, Got, Limits, Moment, Objects, Place, Read, Request, Settle, Standing,
};
use outbox::{Base, Entry, Id, What, Writer};
use serde_json::{Value, json};
use view::Identity;

use crate::cloud::{Cloud, NODE, node_at, pod_at, text};

pub const WALL: i64 = 1_800_000_000;

/// What the node knows: the contents of entries, and objects of the cloud as last read.
#[derive(Debug, Default)]
pub struct Known {
    pub locals: BTreeMap<Id, Value>,
    pub view: BTreeMap<Place, Value>,
}

impl Objects for Known {
    fn local(&mut self, id: &Id) -> Option<Value> {
        self.locals.get(id).cloned()
    }

    fn fresh(&mut self, id: &Id) -> Fresh {
        let place = (id.resource.clone(), id.key.clone());
        self.view.get(&place).cloned().map_or(Fresh::Absent, Fresh::Found)
    }
}

pub struct World {
    pub cloud: Cloud,
    pub known: Known,
    pub settle: Settle,
    pub entries: BTreeMap<Id, Entry>,
    pub now: Duration,
    pub wall: Option<i64>,
    /// What was sent, with what was answered.
    pub sent: Vec<(Duration, Request, u16)>,
    pub reads: Vec<Read>,
    pub fates: Vec<(Id, Fate)>,
    pub parked: Vec<(Id, String)>,
    /// Answers that come instead of the cloud's, first to last; `None`: the cloud's own.
    pub instead: Vec<Option<Answer>>,
    /// What the node may not GET.
    pub unrelated: BTreeSet<Place>,
    pub credentials: BTreeSet<Writer>,
    pub boot: Arc<str>,
}

pub fn boot(name: &str) -> Arc<str> {
    name.into()
}

impl World {
    pub fn new() -> World {
        World::with(Limits { spread: Duration::ZERO, ..Limits::default() })
    }

    pub fn with(limits: Limits) -> World {
        World {
            cloud: Cloud { rv: 100, ..Cloud::default() },
            known: Known::default(),
            settle: Settle::new(limits, boot("b1"), 7),
            entries: BTreeMap::new(),
            now: Duration::from_secs(1000),
            wall: Some(WALL),
            sent: Vec::new(),
            reads: Vec::new(),
            fates: Vec::new(),
            parked: Vec::new(),
            instead: Vec::new(),
            unrelated: BTreeSet::new(),
            credentials: BTreeSet::from([Writer::Kubelet]),
            boot: boot("b1"),
        }
    }

    pub fn moment(&self) -> Moment {
        Moment { now: self.now, wall: self.wall }
    }

    /// The object is in the cloud, and the node knows it.
    pub fn both(&mut self, place: &Place, object: Value) -> Value {
        let object = Value::clone(&self.cloud.store(place, object));
        self.known.view.insert(place.clone(), object.clone());
        object
    }

    /// Something waits for the cloud.
    pub fn waits(&mut self, place: &Place, what: What, writer: Writer, local: Value) -> Id {
        let uid = if matches!(what, What::Event { .. }) { "" } else { text(&local, "/metadata/uid") };
        let id = Id::new(place.0.clone(), place.1.clone(), uid, writer);
        let rv = text(&local, "/metadata/resourceVersion").parse().unwrap_or(0);
        let writes = self.entries.get(&id).map_or(0, |entry| entry.writes) + 1;
        let entry = Entry {
            id: id.clone(),
            base: Base { rv, generation: 0 },
            what,
            since: WALL - 60,
            last: WALL - 60,
            boot: self.boot.clone(),
            writes,
            size: 100,
        };
        self.settle.put(&entry.clone().into(), &local);
        self.known.locals.insert(id.clone(), local);
        self.entries.insert(id.clone(), entry);
        id
    }

    /// A pod of the node whose status changed while the cloud was away.
    pub fn pod_waits(&mut self, name: &str, before: Value, after: Value) -> Id {
        let object = self.both(&pod_at(name), pod(name, before));
        self.waits(&pod_at(name), What::State, Writer::Kubelet, with_status(&object, after))
    }

    pub fn up(&mut self) {
        self.settle.link(true, self.moment());
        self.go();
    }

    pub fn down(&mut self) {
        self.settle.link(false, self.moment());
    }

    pub fn kubelet(&mut self) {
        self.settle.kubelet_lives();
        self.go();
    }

    /// Lets the machine work, and time pass as it asks, until it is at rest; at most so long.
    pub fn go_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle.tick(self.moment(), &mut self.known);
            let effects = self.settle.effects();
            if effects.is_empty() {
                match self.settle.next_tick(self.now).filter(|due| *due <= end) {
                    Some(due) if due > self.now => self.now = due,
                    Some(_) => self.now += Duration::from_millis(1),
                    None => return,
                }
            }
            for effect in effects {
                self.do_it(effect);
            }
        }
    }

    pub fn go(&mut self) {
        self.go_for(Duration::from_secs(60));
    }

    fn do_it(&mut self, effect: Effect) {
        match effect {
            Effect::Read(read) => {
                let got = self.read(&read);
                self.reads.push(read.clone());
                self.settle.got(&read, got, self.moment());
            }
            Effect::Send { ticket, id, request } => {
                let answer = self.send(&id, &request);
                let code = if let Answer::Code { code, .. } = &answer { *code } else { 0 };
                self.sent.push((self.now, request, code));
                self.settle.answered(ticket, answer, self.moment());
            }
            Effect::Settled { id, writes, fate } => {
                assert_eq!(self.entries.remove(&id).map(|entry| entry.writes), Some(writes));
                self.known.locals.remove(&id);
                self.fates.push((id, fate));
            }
            Effect::Parked { id, message } => self.parked.push((id, message)),
        }
    }

    fn send(&mut self, id: &Id, request: &Request) -> Answer {
        if !self.credentials.contains(&id.writer) {
            return Answer::NoCredential;
        }
        let instead = if self.instead.is_empty() { None } else { self.instead.remove(0) };
        if let Some(answer) = instead {
            return answer;
        }
        let reply = self.cloud.take(request, self.wall.unwrap_or(WALL));
        let place = (id.resource.clone(), id.key.clone());
        if let Some(object) = reply.object {
            self.known.view.insert(place.clone(), Value::clone(&object));
        }
        if self.cloud.get(&place).is_none() {
            self.known.view.remove(&place);
        }
        Answer::Code { code: reply.code, message: reply.message, retry_after: None }
    }

    fn read(&mut self, read: &Read) -> Got {
        match read {
            Read::Pods => {
                self.known.view.retain(|(resource, _), _| resource.resource() != "pods");
                let pods = self.cloud.pods().map(|(place, pod)| (place.clone(), Value::clone(pod)));
                self.known.view.extend(pods);
                Got::Read
            }
            Read::Again(place) if self.unrelated.contains(place) => Got::Forbidden,
            Read::Own(place) | Read::Again(place) => match self.cloud.get(place) {
                Some(object) => {
                    self.known.view.insert(place.clone(), Value::clone(object));
                    Got::Read
                }
                None => Got::Absent,
            },
        }
    }

    pub fn fate(&self, id: &Id) -> Option<&Fate> {
        self.fates.iter().find(|(own, _)| own == id).map(|(_, fate)| fate)
    }

    pub fn standing(&self, id: &Id) -> Option<Standing> {
        self.settle.standings().find(|(own, _)| *own == id).map(|(_, standing)| standing)
    }

    /// Methods and paths of what was sent.
    pub fn lines(&self) -> Vec<String> {
        let line = |(_, request, code): &(Duration, Request, u16)| {
            let path = request.path.split('?').next().unwrap_or_default();
            format!("{} {} {code}", request.method, path.rsplit("/shop/").next().unwrap_or_default())
        };
        self.sent.iter().map(line).collect()
    }

    pub fn status(&self, name: &str) -> Value {
        self.cloud.get(&pod_at(name)).map_or(Value::Null, |pod| pod["status"].clone())
    }
}

pub fn daemon(name: &str) -> Writer {
    Writer::Daemon(Identity::new(name))
}

pub fn pod(name: &str, status: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "uid": format!("u-{name}"),
        "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {}}], "nodeName": NODE}, "status": status})
}

pub fn node(uid: &str, ready: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "uid": uid,
        "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {},
        "status": {"conditions": [condition("Ready", ready)]}})
}

pub fn condition(name: &str, status: &str) -> Value {
    json!({"type": name, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

pub fn with_status(object: &Value, status: Value) -> Value {
    let mut object = object.clone();
    object["status"] = status;
    object
}

pub fn event(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "shop", "uid": "local",
        "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": "shop", "resourceVersion": "17"},
        "reason": "Started", "count": 3})
}

/// The node, as the cloud took it for lost, and as kubelet has it.
pub fn lost_node(world: &mut World) -> Id {
    let object = world.both(&node_at(), node("n1", "Unknown"));
    let local = with_status(&object, json!({"conditions": [condition("Ready", "True")]}));
    world.waits(&node_at(), What::State, Writer::Kubelet, local)
}
