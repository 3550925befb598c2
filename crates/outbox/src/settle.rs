//! Settling: what waits is brought to the cloud, and the two agree again (design §6.4).
//!
//! Events in, effects out; time and chance are passed in. All that must survive is the entries themselves: whatever is
//! interrupted is found again by reading what the cloud has, and a thing that was done already is not there to be done.
//!
//! Not writes are repeated, but final states told: what the writer owns, laid over the object as the cloud has it now, as a
//! patch that holds for that version of it only. The order is:
//!
//! 1. pods that have ended, whether kubelet runs or not: their status, then their deletion. Nobody else remembers it;
//! 2. the node's status, held for at most [`Limits::hold`] until the first are acknowledged, so that no replacement is
//!    scheduled here before a success is known;
//! 3. CSINode, and what daemons have set, under credentials of theirs;
//! 4. pods that run. These, and the node's status, are told only once kubelet has written something since the link came
//!    back: a node whose kubelet is dead stays visibly dead;
//! 5. events.

mod answer;
mod decide;
mod fate;
mod item;
mod pace;
mod request;
pub mod shutdown;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use view::{Key, ResourceId};

pub use answer::{Answer, Got};
pub use decide::{Decision, Fresh, decide};
pub use fate::{Fate, Reason};
pub use item::{Class, Standing};
pub use pace::Limits;
pub use request::Request;

use crate::entry::{Entry, Id, Writer};
use item::{Item, State};
use pace::{Dice, Gate};

/// For so long the API server keeps events.
const EVENTS_LIVE: i64 = 3600;

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since any fixed moment, by a clock that does not go back.
    pub now: Duration,
    /// Seconds since 1970, if the node's clock is trusted.
    pub wall: Option<i64>,
}

/// Where the machine finds what it does not hold.
pub trait Objects {
    /// The content of an entry, as the outbox has it stored.
    fn local(&mut self, id: &Id) -> Option<Value>;

    /// The object at the entry's place, as the cloud is known to have it, without what is laid over it.
    fn fresh(&mut self, id: &Id) -> Fresh;
}

/// Something of the cloud to be read as the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Read {
    /// All pods of the node, in one list.
    Pods,
    /// The node or its CSINode.
    Own(Place),
    /// One object that turned out to be in another version than was thought.
    Again(Place),
}

/// The place of an object.
pub type Place = (ResourceId, Key);

/// Names a request that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// This is to be read as the node, and entered to the view; then [`Settle::got`].
    Read(Read),
    /// This is to be sent, under the credential of who wrote it; what the cloud gives back is entered to the view; then
    /// [`Settle::answered`].
    Send {
        /// Its name.
        ticket: Ticket,
        /// Whose.
        id: Id,
        /// What.
        request: Request,
    },
    /// An entry, as it was after so many writes, leaves the outbox: its fate is noted, then it is removed for good, then
    /// nothing is laid over the object any more.
    Settled {
        /// Which.
        id: Id,
        /// After so many writes.
        writes: u64,
        /// What became of it.
        fate: Fate,
    },
    /// An operator should know: the cloud forbids this entry to be told. It stays, and is tried again.
    Parked {
        /// Which.
        id: Id,
        /// The cloud's words.
        message: String,
    },
}

/// The machine.
#[derive(Debug)]
pub struct Settle {
    limits: Limits,
    dice: Dice,
    gate: Gate,
    events: Gate,
    /// Whether the gates know of all that waits.
    paced: bool,
    boot: Arc<str>,
    items: BTreeMap<Id, Item>,
    /// What can be looked at now, in the order in which it is.
    ready: BTreeSet<(Class, Id)>,
    /// What is looked at later.
    later: BTreeSet<(Duration, Id)>,
    /// What is on its way, with the writes that were in it.
    sent: BTreeMap<Ticket, (Id, answer::Sent)>,
    reads: BTreeMap<Read, Reading>,
    /// Places where the cloud has nothing, as it said since the link came back.
    absent: BTreeSet<Place>,
    next: u64,
    /// Since when the cloud can be reached.
    up: Option<Duration>,
    begins: Duration,
    /// The cloud asked for a pause until then.
    pause: Duration,
    kubelet: bool,
    effects: Vec<Effect>,
}

/// How far something has been read since the link came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// It failed so often in a row; next try then.
    Wanted {
        failures: u32,
        due: Duration,
    },
    Underway {
        failures: u32,
    },
    Done {
        at: Duration,
    },
}

impl Settle {
    /// A machine that knows of no entry yet, in the boot of this id. `seed` decides about chance.
    pub fn new(limits: Limits, boot: Arc<str>, seed: u64) -> Settle {
        Settle {
            dice: Dice::new(seed),
            gate: Gate::new(limits.least, 1),
            events: Gate::new(1, 1),
            paced: false,
            limits,
            boot,
            items: BTreeMap::new(),
            ready: BTreeSet::new(),
            later: BTreeSet::new(),
            sent: BTreeMap::new(),
            reads: BTreeMap::new(),
            absent: BTreeSet::new(),
            next: 0,
            up: None,
            begins: Duration::ZERO,
            pause: Duration::ZERO,
            kubelet: false,
            effects: Vec::new(),
        }
    }

    /// What is to be done now; each is returned once.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// An entry was stored, for the first time or with more in it; `local` is its content.
    pub fn put(&mut self, entry: &Arc<Entry>, local: &Value) {
        let mut item = Item::new(entry, local, &self.boot);
        self.unqueue(&entry.id);
        if let Some(former) = self.items.remove(&entry.id) {
            item.take_over(former);
        }
        self.items.insert(entry.id.clone(), item);
        self.paced = false;
        self.queue(&entry.id);
    }

    /// An entry is not there any more, whoever removed it.
    pub fn removed(&mut self, id: &Id) {
        self.unqueue(id);
        self.items.remove(id);
    }

    /// All entries that were stored have been put: withdraws those ends of pods that a shutdown in an earlier boot wrote.
    /// To be called before anybody is served, for kubelet never takes up again a pod that it has once seen ended.
    pub fn undo_shutdown(&mut self) {
        let undone = self.items.iter().filter(|(_, item)| item.is_undone);
        let undone: Vec<Id> = undone.map(|(id, _)| id.clone()).collect();
        for id in undone {
            self.settle(&id, Fate::Dropped(Reason::SupersededByReboot));
        }
    }

    /// The cloud can be reached now, or cannot any more.
    pub fn link(&mut self, up: bool, moment: Moment) {
        if !up {
            self.up = None;
            self.kubelet = false;
            return;
        }
        if self.up.is_some() {
            return;
        }
        self.up = Some(moment.now);
        self.begins = moment.now + self.dice.part(self.limits.spread);
        self.pause = Duration::ZERO;
        (self.gate, self.events) = (Gate::new(self.limits.least, 1), Gate::new(1, 1));
        self.paced = false;
        // What is on its way still has its answer; all else is as unknown as after a restart.
        self.reads.clear();
        self.absent.clear();
        let waiting: Vec<Id> = self.items.keys().cloned().collect();
        for id in waiting {
            self.unqueue(&id);
            if let Some(item) = self.items.get_mut(&id) {
                item.begin_anew();
            }
            self.queue(&id);
        }
    }

    /// kubelet has written a lease or a status since the link came back.
    pub fn kubelet_lives(&mut self) {
        if self.up.is_some() && !self.kubelet {
            self.kubelet = true;
            self.wake(|item| item.class.needs_kubelet());
        }
    }

    /// A credential of this daemon is known now.
    pub fn credential(&mut self, writer: &Writer) {
        self.wake(|item| item.entry.id.writer == *writer && item.lacks_credential());
    }

    /// The cloud's object at this place has changed, or is gone, as the view heard.
    pub fn moved(&mut self, place: &Place) {
        self.absent.remove(place);
        self.wake(|item| (&item.entry.id.resource, &item.entry.id.key) == (&place.0, &place.1));
    }

    /// Has entries looked at again that wait for nothing but a reason to be.
    fn wake(&mut self, which: impl Fn(&Item) -> bool) {
        let woken = self.items.iter().filter(|(_, item)| which(item) && item.state != State::Underway);
        let woken: Vec<Id> = woken.map(|(id, _)| id.clone()).collect();
        for id in woken {
            self.unqueue(&id);
            if let Some(item) = self.items.get_mut(&id).filter(|item| !item.has_failed()) {
                item.state = State::Idle;
            }
            self.queue(&id);
        }
    }

    /// Whether the node's status and its lease are to be held back: pods have ended of which the cloud does not know.
    pub fn holds_node(&self, now: Duration) -> bool {
        let held = self.up.is_some_and(|since| now < since + self.limits.hold);
        held && self.items.values().any(Item::is_unknown_end)
    }

    /// Whether kubelet has shown itself since the link came back.
    pub fn has_seen_kubelet(&self) -> bool {
        self.kubelet
    }

    /// How each entry stands.
    pub fn standings(&self) -> impl Iterator<Item = (&Id, Standing)> {
        self.items.iter().map(|(id, item)| (id, item.standing(self.up.is_some(), self.kubelet)))
    }

    /// Whether nothing is left to be done but to wait for kubelet, a credential or a right.
    pub fn is_at_rest(&self) -> bool {
        let waits = |standing| !matches!(standing, Standing::Queued | Standing::Underway | Standing::Retried);
        self.sent.is_empty() && self.standings().all(|(_, standing)| waits(standing))
    }

    /// Time has passed, or something was told: what can be done is.
    pub fn tick(&mut self, moment: Moment, objects: &mut dyn Objects) {
        let now = moment.now;
        if self.up.is_none() || now < self.begins.max(self.pause) {
            return;
        }
        while let Some((due, id)) = self.later.first().cloned().filter(|(due, _)| *due <= now) {
            self.later.remove(&(due, id.clone()));
            if let Some(item) = self.items.get_mut(&id) {
                item.state = State::Idle;
            }
            self.queue(&id);
        }
        self.pace();
        self.read(now);
        let mut next = self.ready.first().cloned();
        while let Some(place) = next.take().filter(|_| self.sent.len() < self.limits.at_once) {
            if self.look(&place.1, moment, objects) == Looked::Enough {
                break;
            }
            let after = (Bound::Excluded(place), Bound::Unbounded);
            next = self.ready.range(after).next().cloned();
        }
    }

    /// Sees to it that what waits is told in time, and no faster: a fleet that comes back as one has one API server.
    fn pace(&mut self) {
        if std::mem::replace(&mut self.paced, true) {
            return;
        }
        let (mut ends, mut states, mut events) = (0, 0, 0);
        for item in self.items.values() {
            match item.class {
                // Its status, then its deletion.
                Class::Ended => ends += 2,
                Class::Event => events += 1,
                _ => states += 1,
            }
        }
        let Limits { rate, burst, least, ends_in, states_in, events_in, .. } = self.limits;
        for work in [(ends, ends_in), (ends + states, states_in), (ends + states + events, events_in)] {
            self.gate.quicken(work, least, rate, burst);
        }
        self.events.quicken((events, self.limits.events_in), 1, self.limits.events, self.limits.events);
    }

    /// When [`Settle::tick`] has something to do at the latest, if nothing is told before.
    pub fn next_tick(&self, now: Duration) -> Option<Duration> {
        let up = self.up?;
        let begins = self.begins.max(self.pause);
        let mut goes =
            self.ready.iter().filter(|(_, id)| self.items.get(id).is_some_and(|item| self.may_go(item, now)));
        let first =
            goes.next().filter(|_| self.sent.len() < self.limits.at_once).map(|(class, _)| match class {
                Class::Event => self.gate.opens().max(self.events.opens()),
                _ => self.gate.opens(),
            });
        let reads = self.reads.values().filter_map(|read| match read {
            Reading::Wanted { due, .. } => Some((*due).max(self.gate.opens())),
            _ => None,
        });
        let held = self.holds_node(now).then_some(up + self.limits.hold);
        let later = self.later.first().map(|(due, _)| *due);
        first.into_iter().chain(reads).chain(held).chain(later).map(|due| due.max(begins).max(now)).min()
    }

    /// Whether what an entry stands on has been read. But for the ends of pods, everything waits for the first reads to
    /// come to an end, so that the order is what it is.
    fn is_read(&self, item: &Item) -> bool {
        let is_first = |reading: &Reading| {
            matches!(reading, Reading::Wanted { failures: 0, .. } | Reading::Underway { failures: 0 })
        };
        let is_done = |read| matches!(self.reads.get(&read), Some(Reading::Done { .. }));
        let again = |read: &Read| matches!(read, Read::Again(_));
        item.read().is_none_or(is_done)
            && (self.reads.len() <= 1 || !self.reads.contains_key(&Read::Again(item.place())))
            && (item.class == Class::Ended
                || !self.reads.iter().any(|(read, reading)| !again(read) && is_first(reading)))
    }

    fn is_held(&self, item: &Item, now: Duration) -> bool {
        item.class == Class::Node && self.holds_node(now)
    }

    /// Whether an entry could be sent at once.
    fn may_go(&self, item: &Item, now: Duration) -> bool {
        self.is_read(item) && (self.kubelet || !item.class.needs_kubelet()) && !self.is_held(item, now)
    }

    /// Asks for what nobody has read since the link came back.
    fn read(&mut self, now: Duration) {
        for (read, reading) in &mut self.reads {
            if let Reading::Wanted { failures, due } = *reading
                && due <= now
                && self.gate.pass(now)
            {
                *reading = Reading::Underway { failures };
                self.effects.push(Effect::Read(read.clone()));
            }
        }
    }

    /// Looks at an entry: it is settled, sent, or left for later.
    fn look(&mut self, id: &Id, moment: Moment, objects: &mut dyn Objects) -> Looked {
        let now = moment.now;
        let Some(item) = self.items.get(id) else { return Looked::On };
        let is_old = |wall: i64| wall.saturating_sub(item.entry.last) > EVENTS_LIVE;
        if item.is_event() && moment.wall.is_some_and(is_old) {
            self.settle(id, Fate::Dropped(Reason::TooOld));
            return Looked::On;
        }
        if !self.is_read(item) || self.is_held(item, now) {
            return Looked::On;
        }
        let may_go = self.may_go(item, now);
        let is_shut = self.gate.opens() > now || item.is_event() && self.events.opens() > now;
        if may_go && is_shut {
            return Looked::Enough;
        }
        let Some(local) = objects.local(id) else {
            self.settle(id, Fate::Dropped(Reason::Unreadable));
            return Looked::On;
        };
        let is_absent = item.is_event() || self.absent.contains(&item.place());
        let fresh = if is_absent { Fresh::Absent } else { objects.fresh(id) };
        match decide(&item.entry, &local, &fresh, item.told.as_ref()) {
            Decision::Settled(fate) => self.settle(id, fate),
            Decision::Send { request, fate, more } if may_go => self.send(id, request, (fate, more), now),
            // It waits for kubelet, and is looked at again when that shows itself.
            Decision::Send { .. } => self.unqueue(id),
        }
        Looked::On
    }

    fn send(&mut self, id: &Id, request: Request, (fate, more): (Fate, bool), now: Duration) {
        self.unqueue(id);
        let Some(item) = self.items.get_mut(id) else { return };
        item.state = State::Underway;
        self.gate.pass(now);
        if item.is_event() {
            self.events.pass(now);
        }
        self.next += 1;
        let ticket = Ticket(self.next);
        let is_delete = request.method == "DELETE";
        let sent = answer::Sent { writes: item.entry.writes, fate, more, is_delete };
        self.sent.insert(ticket, (id.clone(), sent));
        self.effects.push(Effect::Send { ticket, id: id.clone(), request });
    }

    fn settle(&mut self, id: &Id, fate: Fate) {
        self.unqueue(id);
        if let Some(item) = self.items.remove(id) {
            self.effects.push(Effect::Settled { id: id.clone(), writes: item.entry.writes, fate });
        }
    }

    /// Puts an entry where it is looked at: now, or when it is due.
    fn queue(&mut self, id: &Id) {
        let Some(item) = self.items.get(id) else { return };
        match item.state {
            State::Idle => drop(self.ready.insert((item.class, id.clone()))),
            State::Waiting(_) => drop(self.later.insert((item.due, id.clone()))),
            State::Underway => {}
        }
        if let Some(read) = item.read() {
            self.reads.entry(read).or_insert(Reading::Wanted { failures: 0, due: Duration::ZERO });
        }
    }

    fn unqueue(&mut self, id: &Id) {
        let Some(item) = self.items.get(id) else { return };
        self.ready.remove(&(item.class, id.clone()));
        self.later.remove(&(item.due, id.clone()));
    }
}

/// Whether it is worth looking at what comes after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    On,
    Enough,
}
