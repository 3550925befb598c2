//! The hub as far as the view needs one: it carries out effects, and can die between any two of them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use testkit::rng::Rng;
use view::{
    CloudRv, Effect, End, Key, Limits, Object, Open, Record, StreamId, Trouble, View, object_bytes,
    object_version,
};

use crate::Sabotage;
use crate::cloud::{Cloud, Next, Thing};
use crate::disk::Disk;
use crate::oracle::{Check, Got, broken};

/// A stream from the cloud.
#[derive(Debug)]
pub struct Feed {
    /// Whether the cloud's version is still to be asked for.
    pub owes_check: bool,
    pub open: Open,
    pub stage: Stage,
}

#[derive(Debug)]
pub enum Stage {
    Asked,
    Probed(u64),
    State(VecDeque<(Key, Thing)>, u64),
    Follow(u64),
}

pub struct Hub {
    pub view: View,
    pub disk: Disk,
    pub feeds: BTreeMap<StreamId, Feed>,
    pub sabotage: Sabotage,
    pub young: bool,
    /// Streams whose empty state was not believed.
    pub doubted: Vec<StreamId>,
    /// Whether an empty state was not believed just now.
    pub has_doubted: bool,
}

pub fn rv(number: u64) -> CloudRv {
    CloudRv::parse(&number.to_string()).unwrap()
}

impl Hub {
    pub fn start(disk: Disk, sabotage: Sabotage, limits: Limits) -> Hub {
        let mut view = View::new("n1", limits, Box::new(disk.clone()));
        disk.load(&mut view, sabotage == Sabotage::LosesSilently);
        Hub {
            view,
            disk,
            feeds: BTreeMap::new(),
            sabotage,
            young: false,
            doubted: Vec::new(),
            has_doubted: false,
        }
    }

    /// Carries out what the view wants; at most `most` of it, and the rest is lost with the hub.
    pub fn carry_out(&mut self, most: usize) -> Check {
        for effect in self.view.effects().into_iter().take(most) {
            match effect {
                Effect::Persist(mut write) => {
                    if self.sabotage == Sabotage::ReservesNothing {
                        write.records.retain(
                            |record| !matches!(record, Record::Put { key, .. } if key.ends_with(b"\0s")),
                        );
                    }
                    let (log, number) = (write.log, write.number);
                    self.disk.hand_out(write);
                    if self.sabotage == Sabotage::ShowsBeforeWritten {
                        self.view.written(log, number);
                    }
                }
                Effect::Open(open) => {
                    let owes_check = open.is_proven;
                    self.feeds.insert(open.stream, Feed { open, stage: Stage::Asked, owes_check });
                }
                Effect::Close(stream) => {
                    self.feeds.remove(&stream);
                }
                Effect::Report(Trouble::CloudTooYoung { resource, issued }) if !self.young => {
                    return broken("young", format!("{issued} of {resource} is above the cloud"));
                }
                Effect::Report(Trouble::EmptyNotBelieved { resource, scope, identity }) => {
                    let of = |feed: &Feed| {
                        feed.open.resource == resource
                            && feed.open.scope == scope
                            && feed.open.identity == identity
                    };
                    self.has_doubted = true;
                    self.doubted.extend(self.feeds.iter().filter(|(_, feed)| of(feed)).map(|(id, _)| *id));
                }
                Effect::Report(Trouble::BadRecord { key }) => return broken("record", key),
                _ => {}
            }
        }
        Ok(())
    }

    /// The cloud does one thing on one stream.
    pub fn deliver(
        &mut self,
        id: StreamId,
        cloud: &Cloud,
        allowed: bool,
        now: Duration,
        random: u64,
    ) -> bool {
        let Some(feed) = self.feeds.get_mut(&id) else { return false };
        let (resource, scope) = (feed.open.resource.clone(), feed.open.scope.clone());
        let end = |hub: &mut Hub, why| {
            hub.feeds.remove(&id);
            hub.view.ended(id, why, now, random);
            true
        };
        match &mut feed.stage {
            Stage::Asked if !allowed => end(self, End::Forbidden),
            Stage::Asked => match feed.open.from {
                None => {
                    feed.stage = Stage::State(cloud.state(&resource, &scope).into(), cloud.revision);
                    self.view.opened(id);
                    true
                }
                Some(from) => {
                    feed.stage = Stage::Probed(from.get());
                    if self.sabotage != Sabotage::TrustsTheRevision && !feed.owes_check {
                        self.view.revision(id, rv(cloud.revision));
                    }
                    true
                }
            },
            Stage::Probed(from) if *from < cloud.floor => end(self, End::Expired),
            Stage::Probed(from) => {
                feed.stage = Stage::Follow(*from);
                self.view.opened(id);
                true
            }
            Stage::State(things, revision) => {
                let revision = *revision;
                match things.pop_front() {
                    Some((key, thing)) => self.view.initial(id, thing.object(&resource, &key)),
                    None => {
                        feed.stage = Stage::Follow(revision);
                        self.view.synced(id, rv(revision));
                    }
                }
                true
            }
            Stage::Follow(_) if feed.owes_check && random.is_multiple_of(4) => {
                feed.owes_check = false;
                self.view.revision(id, rv(cloud.revision));
                true
            }
            Stage::Follow(at) => match cloud.next(&resource, &scope, *at) {
                Next::Event(at_now, change, object) => {
                    *at = at_now;
                    self.view.changed(id, change, object);
                    true
                }
                Next::Expired => end(self, End::Expired),
                Next::Nothing => {
                    let further = cloud.revision > *at;
                    *at = (*at).max(cloud.revision);
                    if further {
                        self.view.bookmark(id, rv(cloud.revision));
                    }
                    further || feed.owes_check
                }
            },
        }
    }

    /// A stream breaks.
    pub fn break_stream(&mut self, id: StreamId, now: Duration, random: u64) {
        let Some(feed) = self.feeds.remove(&id) else { return };
        if let (Sabotage::TakesABreakForTheEnd, Stage::State(_, revision)) = (self.sabotage, &feed.stage) {
            self.view.synced(id, rv(*revision));
        }
        self.view.ended(id, End::Broken, now, random);
    }

    /// The bytes of an object as a client gets them; `None` if the log has another version by now.
    pub fn got(&self, resource: &view::ResourceId, object: &Object) -> Option<Got> {
        let bytes = match object.bytes() {
            Some(bytes) => bytes.to_vec(),
            None => {
                let value = self.disk.value(resource, &object.header.key)?;
                if object_version(&value)? != object.header.rv.get() {
                    return None;
                }
                object_bytes(&value)?.to_vec()
            }
        };
        let read = wire::object::Object::parse(&bytes, object.encoding).unwrap();
        let number = |text: &str| text.parse().unwrap();
        let content = number(&read.text(&["content"]).unwrap());
        let key = Key::new(&read.namespace(), &read.name());
        Some(Got { key, uid: read.uid().into_owned(), rv: number(&read.resource_version()), content })
    }

    /// The writer of a log does some work.
    pub fn write(&mut self, rng: &mut Rng) {
        let log = *rng.pick(&[view::Log::Keep, view::Log::Cache]);
        if self.sabotage == Sabotage::FlushLies && log == view::Log::Keep {
            self.disk.lie(&mut self.view, log);
            return;
        }
        let (writes, flush) = (rng.index(6), rng.chance(40));
        self.disk.work(&mut self.view, log, writes, flush);
    }

    pub fn write_everything(&mut self) {
        for log in [view::Log::Keep, view::Log::Cache] {
            if self.sabotage == Sabotage::FlushLies && log == view::Log::Keep {
                self.disk.lie(&mut self.view, log);
            } else {
                self.disk.work(&mut self.view, log, 10_000, true);
            }
        }
    }
}
