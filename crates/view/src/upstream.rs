//! Streams from the cloud: which to open, and what they deliver.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::collection::{Deletion, From};
use crate::effect::{Effect, Open, StreamId, Trouble};
use crate::history::Change;
use crate::mark::{Asked, Identity};
use crate::object::Object;
use crate::outlet::Outlet;
use crate::plan::{Demand, Running, plan};
use crate::resource::ResourceId;
use crate::scope::Scope;
use crate::stream::{End, Reading, State, Stream, backoff, part};
use crate::version::CloudRv;
use crate::view::{View, Wish};

/// How long a stream outlives its last client.
const LINGER: Duration = Duration::from_secs(300);
/// After an outage of at least so long a time streams are taken up again at a random moment: a region's nodes come back as one,
/// before one API server. After a shorter one they are at once: a link that comes and goes must not keep them from it, an API
/// server remembers only so many changes, and nobody is to be passed over any.
const OUTAGE: Duration = Duration::from_secs(20);
/// Those of pods, first of all kubelet's, within so long a time, the rest within the other after that.
const SPREAD_OF_PODS: Duration = Duration::from_secs(6);
const SPREAD: Duration = Duration::from_secs(16);
/// How long a credential that the cloud did not take is not tried again: an API server that starts says 401 to tokens that it
/// takes a moment later.
const REFUSED: Duration = Duration::from_secs(60);
/// So many wishes are kept for each resource.
const MOST_WISHES: usize = 4096;
/// After so many changes the log is told how far a stream has come: a record of a hundred bytes for a hundred objects.
const UNSTORED: u32 = 100;

impl View {
    /// The cloud is or is not within reach. `random` is any number: it spreads when streams are opened for which nobody waits.
    pub fn link(&mut self, online: bool, now: Duration, random: u64) {
        if std::mem::replace(&mut self.online, online) == online {
            return self.tick(now);
        }
        self.is_proven = false;
        if !online {
            self.went = now;
        }
        let is_long = now.saturating_sub(self.went) >= OUTAGE;
        let resources: Vec<ResourceId> = self.collections.keys().cloned().collect();
        for resource in resources {
            self.out.ask_again(&resource);
        }
        if online {
            for (id, stream) in &mut self.streams {
                // Whatever kept it from being opened may have been the link.
                if let State::Waiting(until) = &mut stream.state {
                    let wait = phase(&stream.resource, random.wrapping_mul(2 * id.0 + 1));
                    (*until, stream.is_spread) = if is_long { (now + wait, true) } else { (now, false) };
                }
            }
        }
        self.tick(now);
    }

    /// Time has passed: opens, closes and reopens streams, and wakes watchers whose bookmark or end is due.
    pub fn tick(&mut self, now: Duration) {
        let present: BTreeSet<(ResourceId, Identity, Scope)> = self
            .watchers
            .values()
            .map(|watcher| (watcher.resource.clone(), watcher.identity.clone(), watcher.scope.clone()))
            .collect();
        for (resource, wishes) in &mut self.wishes {
            for wish in wishes.iter_mut() {
                if present.contains(&(resource.clone(), wish.identity.clone(), wish.scope.clone())) {
                    wish.until = now + LINGER;
                }
            }
            wishes.retain(|wish| wish.until > now);
        }
        for refused in self.refused.values_mut() {
            refused.retain(|_, until| *until > now);
        }
        self.refused.retain(|_, refused| !refused.is_empty());
        let resources: BTreeSet<ResourceId> = self.wishes.keys().cloned().collect();
        self.wishes.retain(|_, wishes| !wishes.is_empty());
        for resource in &resources {
            self.replan(resource);
        }
        if self.online {
            self.open_due(now);
        }
        self.wake_due(now);
    }

    /// When [`View::tick`] has something to do, at the latest.
    pub fn next_tick(&self) -> Option<Duration> {
        let streams = self.streams.values().filter_map(|stream| match stream.state {
            State::Waiting(until) if self.online => Some(until),
            _ => None,
        });
        let wishes = self.wishes.values().flatten().map(|wish| wish.until);
        let refused = self.refused.values().flat_map(|refused| refused.values().copied());
        streams
            .chain(wishes)
            .chain(refused)
            .chain(self.watchers.values().filter_map(|watcher| watcher.next_due()))
            .min()
    }

    /// Up to which version of the cloud a set is known.
    pub fn position(&self, resource: &ResourceId, scope: &Scope) -> Option<CloudRv> {
        self.collections.get(resource)?.marks.covering(scope)?.position
    }

    /// Somebody wants to follow a scope.
    pub(crate) fn wish(&mut self, resource: &ResourceId, identity: &Identity, scope: &Scope, now: Duration) {
        let until = now + LINGER;
        self.hurry(resource, scope, now);
        let wishes = self.wishes.entry(resource.clone()).or_default();
        if let Some(wish) = wishes.iter_mut().find(|wish| wish.identity == *identity && wish.scope == *scope)
        {
            wish.until = until;
            return;
        }
        if wishes.len() < MOST_WISHES {
            wishes.push(Wish { identity: identity.clone(), scope: scope.clone(), until });
            self.replan(resource);
            if self.online {
                self.open_due(now);
            }
        }
    }

    /// Somebody asks for a scope: its stream waits for nothing but a failure's sake.
    fn hurry(&mut self, resource: &ResourceId, scope: &Scope, now: Duration) {
        for stream in self.streams.values_mut() {
            let is_his = stream.resource == *resource && scope.is_within(&stream.scope);
            if let State::Waiting(until) = &mut stream.state
                && is_his
                && stream.is_spread
            {
                *until = now;
            }
        }
        if self.online {
            self.open_due(now);
        }
    }

    fn replan(&mut self, resource: &ResourceId) {
        let refused: BTreeSet<(Identity, Scope)> =
            self.refused.get(resource).into_iter().flat_map(|refused| refused.keys().cloned()).collect();
        let wishes = self.wishes.get(resource).map_or(&[][..], Vec::as_slice);
        let demands: Vec<Demand<'_>> =
            wishes.iter().map(|wish| Demand { identity: &wish.identity, scope: &wish.scope }).collect();
        let running: Vec<Running<'_>> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.resource == *resource)
            .map(|(id, stream)| Running {
                stream: *id,
                identity: &stream.identity,
                scope: &stream.scope,
                live: matches!(stream.state, State::Live),
            })
            .collect();
        let plan = plan(&demands, &running, &refused);
        for stream in plan.close {
            self.streams.remove(&stream);
            self.out.effects.push(Effect::Close(stream));
        }
        for (scope, identity) in plan.open {
            self.add_stream(resource, scope, identity);
        }
    }

    fn add_stream(&mut self, resource: &ResourceId, scope: Scope, identity: Identity) {
        let id = StreamId(self.next_stream);
        self.next_stream += 1;
        let (resource, state) = (resource.clone(), State::Waiting(Duration::ZERO));
        let stream = Stream {
            resource,
            scope,
            identity,
            state,
            trusted: false,
            position: None,
            stored: None,
            unstored: 0,
            reached: None,
            anew: false,
            is_spread: false,
            failures: 0,
        };
        self.streams.insert(id, stream);
    }

    /// Opens the streams that wait for nothing any more.
    fn open_due(&mut self, now: Duration) {
        for (id, stream) in &mut self.streams {
            if !matches!(stream.state, State::Waiting(until) if until <= now) {
                continue;
            }
            let Some(collection) = self.collections.get(&stream.resource) else { continue };
            let own = collection.marks.find(&stream.scope, Asked::Set);
            stream.trusted = own.is_some_and(|mark| mark.readers.contains(&stream.identity));
            let covering = collection.marks.covering(&stream.scope);
            stream.position = covering.and_then(|mark| mark.position);
            stream.reached = collection.seen;
            (stream.state, stream.is_spread) = (State::Opening, false);
            let from = stream.position.filter(|_| !stream.anew);
            self.out.effects.push(Effect::Open(Open {
                stream: *id,
                resource: stream.resource.clone(),
                scope: stream.scope.clone(),
                identity: stream.identity.clone(),
                from,
                reached: stream.reached,
                is_proven: self.is_proven,
            }));
        }
    }

    /// The cloud answered the request of a stream with 200.
    pub fn opened(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let from_start = stream.anew || stream.position.is_none();
        if matches!(stream.state, State::Opening) {
            stream.state = if from_start { State::Reading(Reading::default()) } else { State::Live };
        }
        let (resource, scope, identity) =
            (stream.resource.clone(), stream.scope.clone(), stream.identity.clone());
        let position = stream.position;
        let collection = self.collection(&resource);
        let mark = collection.marks.entry(&scope, Asked::Set);
        let mut news = mark.readers.insert(identity);
        if !from_start && !mark.complete {
            // A wider set was read completely, so this one was too, up to where the stream goes on.
            let since = collection.marks.covering(&scope).map(|wider| wider.since);
            let mark = collection.marks.entry(&scope, Asked::Set);
            (mark.complete, mark.position) = (true, position);
            mark.since = since.unwrap_or(mark.since);
            news = true;
        }
        self.change(&resource, |collection, out| {
            if news {
                collection.store_mark(out, &scope, Asked::Set);
            }
        });
        self.out.ask_again(&resource);
    }

    /// The cloud's present version, read from its etcd for a stream that goes on from where it was. If the cloud is behind
    /// that, it was restored from a backup: the stream is closed, and everything is read anew.
    pub fn revision(&mut self, id: StreamId, rv: CloudRv) {
        let Some(stream) = self.streams.get(&id) else { return };
        if let Some(had) = stream.reached.filter(|had| *had > rv) {
            let resource = stream.resource.clone();
            self.begin_epoch(&resource, had, rv);
        } else {
            // Versions count a whole etcd, and few API servers have more than one.
            self.is_proven |= self.collections.values().all(|collection| collection.seen <= Some(rv));
        }
    }

    /// Versions count a whole etcd, so what one resource shows is true for all.
    fn begin_epoch(&mut self, resource: &ResourceId, had: CloudRv, has: CloudRv) {
        self.out.report(Trouble::CloudRestored { resource: resource.clone(), had, has });
        self.epoch += 1;
        let epoch = self.epoch;
        let resources: Vec<ResourceId> = self.collections.keys().cloned().collect();
        for resource in &resources {
            self.change(resource, |collection, out| collection.begin_epoch(out, epoch));
            if !resource.is_overlaid() {
                self.expire_watchers(resource);
            }
        }
        for (id, stream) in std::mem::take(&mut self.streams) {
            self.out.effects.push(Effect::Close(id));
            self.add_stream(&stream.resource, stream.scope, stream.identity);
        }
        if self.online {
            self.open_due(Duration::MAX);
        }
    }

    /// A stream delivered an object of the present state.
    pub fn initial(&mut self, id: StreamId, object: Object) {
        let Some(mut stream) = self.streams.remove(&id) else { return };
        if let State::Reading(reading) = &mut stream.state {
            let resource = stream.resource.clone();
            self.change(&resource, |collection, out| collection.take_initial(out, reading, object));
        }
        self.streams.insert(id, stream);
    }

    /// A stream has delivered the present state, which is that of this version.
    pub fn synced(&mut self, id: StreamId, rv: CloudRv) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let State::Reading(reading) = &mut stream.state else { return };
        let reading = std::mem::take(reading);
        let (resource, scope) = (stream.resource.clone(), stream.scope.clone());
        let (identity, trusted) = (stream.identity.clone(), stream.trusted);
        if let Some(had) = stream.reached.filter(|had| *had > rv) {
            self.begin_epoch(&resource, had, rv);
            return;
        }
        (stream.state, stream.failures) = (State::Live, 0);
        let believed = self.change(&resource, |collection, out| {
            let believed =
                !reading.seen.is_empty() || collection.believes_empty(out, &identity, &scope, trusted);
            if believed {
                collection.complete(out, reading, &scope, rv);
            }
            believed
        });
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.anew = !believed;
        }
        self.expire_skipped(&resource);
        self.wake_held(&resource);
        self.replan(&resource);
        self.out.ask_again(&resource);
    }

    /// A stream delivered a change.
    pub fn changed(&mut self, id: StreamId, change: Change, object: Object) {
        let live = |stream: &&mut Stream| matches!(stream.state, State::Live);
        let Some(stream) = self.streams.get_mut(&id).filter(live) else { return };
        let (resource, scope, rv) = (stream.resource.clone(), stream.scope.clone(), object.header.rv);
        let counts = !stream.anew;
        stream.unstored += 1;
        let is_due = stream.unstored >= UNSTORED;
        self.change(&resource, |collection, out| {
            match change {
                Change::Added | Change::Modified => {
                    collection.upsert(out, object, From::Stream);
                }
                Change::Deleted => {
                    let key = object.header.key.clone();
                    let leaves = (!scope.is_lasting()).then(|| scope.clone());
                    collection.delete(
                        out,
                        &key,
                        Deletion { rv, last: Some(object), leaves, found_missing: None },
                    );
                }
            }
            if counts {
                collection.advance(out, &scope, rv);
            }
        });
        if is_due {
            self.store_position(id);
        }
        self.wake_held(&resource);
    }

    /// A stream delivered a bookmark: everything up to this version has been delivered.
    pub fn bookmark(&mut self, id: StreamId, rv: CloudRv) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| matches!(stream.state, State::Live))
        else {
            return;
        };
        stream.failures = 0;
        let counts = !stream.anew;
        let (resource, scope) = (stream.resource.clone(), stream.scope.clone());
        self.change(&resource, |collection, out| {
            collection.saw(rv);
            if counts {
                collection.advance(out, &scope, rv);
            }
        });
        self.store_position(id);
        self.wake_held(&resource);
    }

    /// Stores how far a stream has come, if the log does not say so yet: a hub that starts anew goes on from there. Not each
    /// change is worth that, so it is done where the stream pauses; a bookmark often names the last change's version.
    fn store_position(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.anew) else { return };
        stream.unstored = 0;
        let (resource, scope, stored) = (stream.resource.clone(), stream.scope.clone(), stream.stored);
        let position = self.change(&resource, |collection, out| {
            let mark = collection.marks.find(&scope, Asked::Set).filter(|mark| mark.complete)?;
            let further = mark.position.filter(|position| Some(*position) > stored)?;
            collection.store_mark(out, &scope, Asked::Set);
            Some(further)
        });
        if let (Some(stream), Some(position)) = (self.streams.get_mut(&id), position) {
            stream.stored = Some(position);
        }
    }

    /// A stream ended, or could not be opened. Nothing is removed because of that. `random` is any number.
    pub fn ended(&mut self, id: StreamId, why: End, now: Duration, random: u64) {
        self.store_position(id);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let was_live = matches!(stream.state, State::Live);
        let wait = match why {
            End::Broken if was_live && stream.failures == 0 => Duration::ZERO,
            _ => backoff(stream.failures, random),
        };
        stream.failures += 1;
        stream.state = State::Waiting(now + wait);
        // It may have broken because there is another etcd.
        self.is_proven &= why != End::Broken;
        stream.anew |= why == End::Expired;
        let (resource, scope, identity) =
            (stream.resource.clone(), stream.scope.clone(), stream.identity.clone());
        match why {
            // Who waits for it need not wait any more, or for something else.
            End::Broken | End::Expired | End::NotServed => self.out.ask_again(&resource),
            End::Unauthenticated | End::Forbidden => {
                self.streams.remove(&id);
                let who = (identity.clone(), scope.clone());
                self.refused.entry(resource.clone()).or_default().insert(who, now + REFUSED);
                if why == End::Forbidden {
                    self.refused(&identity, &resource, &scope, Asked::Set);
                }
                self.replan(&resource);
                self.out.ask_again(&resource);
            }
        }
        if self.online {
            self.open_due(now);
        }
    }
}

/// How long after an outage a stream of this resource is taken up.
fn phase(resource: &ResourceId, random: u64) -> Duration {
    let is_pods = resource.group().is_empty() && resource.resource() == "pods";
    let (after, spread) = if is_pods { (Duration::ZERO, SPREAD_OF_PODS) } else { (SPREAD_OF_PODS, SPREAD) };
    after + part(spread, random)
}

impl crate::collection::Collection {
    /// A stream has delivered everything up to this version.
    fn advance(&mut self, out: &mut Outlet, scope: &Scope, rv: CloudRv) {
        let mark = self.marks.entry(scope, Asked::Set);
        if mark.complete {
            mark.position = mark.position.max(Some(rv));
        }
        self.settle_ahead(out, scope, rv);
    }
}
