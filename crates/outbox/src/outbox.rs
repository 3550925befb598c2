//! The list of what waits. What was handed over to be stored counts for the next write of the same object, but it is shown
//! and answered only once it has been stored; if that fails, everything is as before.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use serde_json::Value;
use view::{Key, Record, ResourceId};

use crate::entry::{Base, Entry, Id, What, Writer};
use crate::{events, record};

/// The longest key of a record.
const MOST_KEY: usize = 900;

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of records. Beyond that events are given up, oldest first; states never are: their writes are refused.
    pub bytes: usize,
    /// From so many bytes on the operator is told.
    pub alarm: usize,
    /// Events.
    pub events: usize,
}

impl Default for Limits {
    /// 16 MiB, told from 12 on; 4 096 events. A pod's status is some 7 KB.
    fn default() -> Limits {
        Limits { bytes: 16 << 20, alarm: 12 << 20, events: 4096 }
    }
}

/// When something was written.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// Seconds since 1970 by the node's clock.
    pub now: i64,
    /// The kernel's id of this boot.
    pub boot: Arc<str>,
}

/// Names a write that is being stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

/// What is to be stored, in one step; then [`Outbox::stored`] or [`Outbox::failed`].
#[derive(Debug)]
pub struct Put {
    /// Its name.
    pub token: Token,
    /// The records.
    pub records: Vec<Record>,
}

/// Why something cannot wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The outbox is full, and nothing in it may be given up.
    Full,
    /// The names are longer than a key can be.
    TooLong,
}

/// How the outbox is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Entries that are no events.
    pub states: usize,
    /// Events.
    pub events: usize,
    /// Bytes of records.
    pub bytes: usize,
    /// The most that they may be.
    pub limit: usize,
    /// Whether the operator should know.
    pub alarm: bool,
    /// The time of the first write that waits, in seconds since 1970.
    pub since: Option<i64>,
    /// Events that were given up since the hub began.
    pub given_up: u64,
}

/// The content of an entry that has just been stored.
#[derive(Debug, Clone)]
pub struct Content {
    /// The object.
    pub value: Arc<Value>,
    /// The same in JSON.
    pub bytes: Box<[u8]>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// As the log has it.
    stored: Option<Arc<Entry>>,
    /// What is being stored, oldest first.
    pending: Vec<(Token, Arc<Entry>, Content)>,
    /// Of an event, what it says.
    digest: u64,
    /// It came to its end after so many writes, and that is being stored.
    ending: Option<u64>,
}

impl Waiting {
    fn newest(&self) -> Option<&Arc<Entry>> {
        self.pending.last().map(|(_, entry, _)| entry).or(self.stored.as_ref())
    }

    fn size(&self) -> usize {
        self.newest().map_or(0, |entry| entry.size)
    }
}

/// What waits for the cloud.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: BTreeMap<Id, Waiting>,
    index: Index,
    bytes: usize,
    event_bytes: usize,
    events: usize,
    given_up: u64,
    limits: Limits,
    next: u64,
}

impl Outbox {
    /// An empty one.
    pub fn new(limits: Limits) -> Outbox {
        Outbox { limits, ..Outbox::default() }
    }

    /// Takes over a record that was stored. Whether it was understood.
    pub fn load(&mut self, value: &[u8]) -> bool {
        let Some((entry, content)) = record::parse(value) else { return false };
        if is_event(&entry) {
            let Ok(event) = serde_json::from_slice(content) else { return false };
            self.index(&entry, &event);
        }
        self.change(entry.id.clone(), |waiting| waiting.stored = Some(entry.into()));
        true
    }

    /// The key of an entry's record.
    pub fn key(id: &Id) -> Vec<u8> {
        record::key(id)
    }

    /// The entry that a record of this key is of, whatever became of its value.
    pub fn id(key: &[u8]) -> Option<Id> {
        record::id(key)
    }

    /// The content in a record.
    pub fn content(record: &[u8]) -> Option<&[u8]> {
        record::content(record)
    }

    /// All entries, as they are stored or being stored.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.waiting.values().filter_map(Waiting::newest)
    }

    /// All entries about what is at one place, whatever its UID.
    pub fn at<'a>(&'a self, resource: &'a ResourceId, key: &'a Key) -> impl Iterator<Item = &'a Arc<Entry>> {
        let first = Id::new(resource.clone(), key.clone(), "", Writer::Kubelet);
        let here = |id: &Id| id.resource == *resource && id.key == *key;
        self.waiting
            .range(first..)
            .take_while(move |(id, _)| here(id))
            .filter_map(|(_, waiting)| waiting.newest())
    }

    /// An entry.
    pub fn entry(&self, id: &Id) -> Option<&Arc<Entry>> {
        self.waiting.get(id)?.newest()
    }

    /// An entry as it is stored: what may be shown and told of it.
    pub fn stored_entry(&self, id: &Id) -> Option<&Arc<Entry>> {
        let Waiting { stored, ending, .. } = self.waiting.get(id)?;
        stored.as_ref().filter(|entry| ending.is_none_or(|writes| entry.writes > writes))
    }

    /// The newest content of an entry, if it is not in the log yet.
    pub fn pending(&self, id: &Id) -> Option<(Token, Arc<Value>)> {
        self.waiting.get(id)?.pending.last().map(|(token, _, content)| (*token, content.value.clone()))
    }

    /// The entry of the event that was written under this name.
    pub fn event_named(&self, name: &Key) -> Option<Id> {
        let own = events::id(name);
        if self.waiting.contains_key(&own) { Some(own) } else { self.index.folded.get(name).cloned() }
    }

    /// The entry of an event that says the same.
    pub fn event_like(&self, event: &Value) -> Option<Id> {
        self.index.said.get(&digest(event)).cloned()
    }

    /// Something was written; `content` is the object, whole. On `base` stands the first write that waits.
    ///
    /// # Errors
    /// See [`Refused`]; nothing has changed then.
    pub fn put(
        &mut self,
        id: Id,
        base: Base,
        what: What,
        content: Value,
        stamp: &Stamp,
    ) -> Result<Put, Refused> {
        let key = record::key(&id);
        if key.len() > MOST_KEY {
            return Err(Refused::TooLong);
        }
        let before = self.entry(&id);
        let (base, since) = before.map_or((base, stamp.now), |before| (before.base, before.since));
        let writes = before.map_or(0, |before| before.writes) + 1;
        let bytes = content.to_string().into_bytes().into_boxed_slice();
        let mut entry =
            Entry { id, base, what, since, last: stamp.now, boot: stamp.boot.clone(), writes, size: 0 };
        let value = record::value(&entry, &bytes);
        entry.size = key.len() + value.len();
        let mut records = self.make_room(&entry)?;
        records.push(Record::Put { key, value, seal: true });
        self.next += 1;
        let token = Token(self.next);
        let entry = Arc::new(entry);
        self.index(&entry, &content);
        self.change(entry.id.clone(), |waiting| {
            waiting.pending.push((token, entry, Content { value: content.into(), bytes }))
        });
        Ok(Put { token, records })
    }

    /// A write has been stored: its entry and what it shows now. `None` if it shows nothing new.
    pub fn stored(&mut self, id: &Id, token: Token) -> Option<(Arc<Entry>, Content)> {
        let waiting = self.waiting.get_mut(id)?;
        let at = waiting.pending.iter().position(|(own, ..)| *own == token)?;
        let (_, entry, content) = waiting.pending.drain(..=at).next_back()?;
        if waiting.pending.is_empty() {
            // Thousands of entries wait, and hardly any is being stored.
            waiting.pending = Vec::new();
        }
        waiting.stored = Some(entry.clone());
        Some((entry, content))
    }

    /// A write could not be stored: it was never made.
    pub fn failed(&mut self, id: &Id, token: Token) {
        if self.waiting.get(id).is_some_and(|waiting| waiting.stored.is_none() && waiting.pending.len() <= 1)
        {
            self.unindex(id);
        }
        self.change(id.clone(), |waiting| waiting.pending.retain(|(own, ..)| *own != token));
    }

    /// An entry's record, to be removed: it was settled or dropped, as it was after so many writes; then
    /// [`Outbox::removed`]. Until that the entry is there: what is written meanwhile waits behind it, for if it passed by, and the
    /// power failed, the older would come back and be told last. `None` if more was written since, it is not there, or at
    /// its end already.
    pub fn remove(&mut self, id: &Id, writes: u64) -> Option<Record> {
        let waiting = self.waiting.get_mut(id)?;
        let is_as_it_was = waiting.newest().is_some_and(|entry| entry.writes == writes);
        if !is_as_it_was || waiting.ending.is_some() {
            return None;
        }
        waiting.ending = Some(writes);
        Some(Record::Delete { key: record::key(id) })
    }

    /// The removal of a record is over, whatever became of it. The entry is no more, except for what was written of it since.
    pub fn removed(&mut self, id: &Id) {
        let Some(writes) = self.waiting.get_mut(id).and_then(|waiting| waiting.ending.take()) else { return };
        if self.entry(id).is_some_and(|entry| entry.writes <= writes) {
            self.unindex(id);
        }
        self.change(id.clone(), |waiting| {
            waiting.stored.take_if(|entry| entry.writes <= writes);
            waiting.pending.retain(|(_, entry, _)| entry.writes > writes);
        });
    }

    /// How it is doing.
    pub fn standing(&self) -> Standing {
        Standing {
            states: self.waiting.len() - self.events,
            events: self.events,
            bytes: self.bytes,
            limit: self.limits.bytes,
            alarm: self.bytes >= self.limits.alarm,
            since: self.entries().map(|entry| entry.since).min(),
            given_up: self.given_up,
        }
    }

    /// Changes what is known of one entry, and keeps the sums.
    fn change(&mut self, id: Id, change: impl FnOnce(&mut Waiting)) {
        let is_event = |waiting: &Waiting| waiting.newest().is_some_and(|entry| is_event(entry));
        let waiting = self.waiting.entry(id.clone()).or_default();
        self.bytes -= waiting.size();
        if is_event(waiting) {
            (self.events, self.event_bytes) = (self.events - 1, self.event_bytes - waiting.size());
        }
        change(waiting);
        self.bytes += waiting.size();
        if is_event(waiting) {
            (self.events, self.event_bytes) = (self.events + 1, self.event_bytes + waiting.size());
        }
        if waiting.newest().is_none() {
            self.waiting.remove(&id);
        }
    }

    /// Gives up events until an entry has room; the records of those that go.
    fn make_room(&mut self, entry: &Entry) -> Result<Vec<Record>, Refused> {
        let own = self.entry(&entry.id).map_or(0, |before| before.size);
        let needed = |outbox: &Outbox| outbox.bytes - own + entry.size;
        let is_new_event = own == 0 && matches!(entry.what, What::Event { .. });
        let events = self.event_bytes - if is_event(entry) { own } else { 0 };
        if needed(self) - events > self.limits.bytes {
            return Err(Refused::Full);
        }
        let mut records = Vec::new();
        while needed(self) > self.limits.bytes || (is_new_event && self.events >= self.limits.events) {
            let goes = |id: &Id| self.waiting.get(id).is_some_and(|waiting| waiting.ending.is_some());
            let others = self.entries().filter(|one| is_event(one) && one.id != entry.id && !goes(&one.id));
            let Some(oldest) = others.min_by_key(|one| one.last).map(|one| (one.id.clone(), one.writes))
            else {
                break;
            };
            records.extend(self.remove(&oldest.0, oldest.1));
            self.removed(&oldest.0);
            self.given_up += 1;
        }
        Ok(records)
    }

    fn index(&mut self, entry: &Entry, event: &Value) {
        let What::Event { names } = &entry.what else { return };
        self.unindex(&entry.id);
        let digest = digest(event);
        self.index.said.insert(digest, entry.id.clone());
        let names = names.iter().filter(|(name, _)| !name.is_empty() && name != entry.id.key.name());
        let names = names.map(|(name, _)| Key::new(entry.id.key.namespace(), name));
        self.index.folded.extend(names.map(|name| (name, entry.id.clone())));
        self.waiting.entry(entry.id.clone()).or_default().digest = digest;
    }

    fn unindex(&mut self, id: &Id) {
        let Some(waiting) = self.waiting.get(id) else { return };
        if self.index.said.get(&waiting.digest) == Some(id) {
            self.index.said.remove(&waiting.digest);
        }
        let Some(What::Event { names }) = waiting.newest().map(|entry| &entry.what) else { return };
        for (name, _) in names {
            self.index.folded.remove(&Key::new(id.key.namespace(), name));
        }
    }
}

/// Events by what they say, and by the names that were folded into one of another name.
#[derive(Debug, Default)]
struct Index {
    said: HashMap<u64, Id>,
    folded: HashMap<Key, Id>,
}

/// A digest of what an event says.
fn digest(event: &Value) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(events::print(event))
}

fn is_event(entry: &Entry) -> bool {
    matches!(entry.what, What::Event { .. })
}

#[cfg(test)]
mod tests;
