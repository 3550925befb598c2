//! The view: all resources together, and what the hub reports to it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use wire::Encoding;

use crate::collection::{Collection, Deletion, From};
use crate::effect::{Effect, StreamId};
use crate::history::Limits;
use crate::mark::{Asked, Identity};
use crate::object::Object;
use crate::outlet::{Outlet, Shelf};
use crate::persist::{Barrier, Progress};
use crate::policy::{Log, Policy};
use crate::resource::{Key, ResourceId};
use crate::scope::Scope;
use crate::stream::Stream;
use crate::version::{CloudRv, Shown};
use crate::watch::{Watcher, WatcherId};

/// So many single names of a resource are remembered to be absent.
const MOST_SINGLES: usize = 2048;

/// A client's wish to follow a scope, kept for a while after its last request so that a client that restarts finds its
/// stream still open.
#[derive(Debug)]
pub(crate) struct Wish {
    pub identity: Identity,
    pub scope: Scope,
    pub until: Duration,
}

/// What the hub shows its clients.
///
/// Whatever is called, [`View::effects`] then says what is to be done, in that order. Time is passed in as the time
/// since any fixed moment, by a clock that does not go back.
pub struct View {
    pub(crate) collections: BTreeMap<ResourceId, Collection>,
    pub(crate) streams: BTreeMap<StreamId, Stream>,
    pub(crate) watchers: BTreeMap<WatcherId, Watcher>,
    pub(crate) wishes: BTreeMap<ResourceId, Vec<Wish>>,
    pub(crate) refused: BTreeMap<ResourceId, BTreeMap<(Identity, Scope), Duration>>,
    pub(crate) out: Outlet,
    pub(crate) online: bool,
    /// When the cloud was last within reach; the beginning, if it never was.
    pub(crate) went: Duration,
    /// Whether the cloud was seen to be no older than all that is known of it, since the link came back and no stream broke.
    pub(crate) is_proven: bool,
    /// How often the cloud's versions have begun anew.
    pub(crate) epoch: u64,
    pub(crate) next_stream: u64,
    pub(crate) next_watcher: u64,
}

impl View {
    /// An empty view, for the node of this name.
    pub fn new(node: &str, limits: Limits, shelf: Box<dyn Shelf>) -> View {
        let policy = Policy { node: node.into() };
        let (progress, underway) = (Progress::default(), VecDeque::new());
        let out = Outlet { policy, limits, progress, shelf, effects: Vec::new(), underway };
        View {
            collections: BTreeMap::new(),
            streams: BTreeMap::new(),
            watchers: BTreeMap::new(),
            wishes: BTreeMap::new(),
            refused: BTreeMap::new(),
            out,
            online: false,
            went: Duration::ZERO,
            is_proven: false,
            epoch: 0,
            next_stream: 1,
            next_watcher: 1,
        }
    }

    /// What is to be done now; each is returned once.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.out.effects)
    }

    /// Whether this has passed, so that what waited for it may be shown.
    pub fn has_passed(&self, barrier: &Barrier) -> bool {
        barrier.has_passed(&self.out.progress)
    }

    /// All writes to a log up to this one are with the kernel.
    pub fn written(&mut self, log: Log, number: u64) {
        self.out.progress.written(log, number);
        let progress = self.out.progress;
        while let Some(first) = self.out.underway.front() {
            if !progress.is_written(first.log, first.number) {
                break;
            }
            let Some(done) = self.out.underway.pop_front() else { break };
            if let Some(collection) = self.collections.get_mut(&done.resource) {
                collection.release(&self.out.policy, &done.key, done.version);
            }
        }
        self.wake_blocked();
    }

    /// All writes to a log up to this one survive a power cut.
    pub fn flushed(&mut self, log: Log, number: u64) {
        self.written(log, number);
        self.out.progress.flushed(log, number);
        self.wake_blocked();
    }

    /// Writes to a log up to this one were given up: the disk takes nothing. Nobody waits for them any more, for a full disk
    /// stops caching, not serving; and what they were to store stays in memory, since it is nowhere else.
    pub fn given_up(&mut self, log: Log, number: u64) {
        self.out.progress.flushed(log, number);
        self.out.underway.retain(|object| object.log != log || object.number > number);
        self.wake_blocked();
    }

    pub(crate) fn collection(&mut self, resource: &ResourceId) -> &mut Collection {
        let epoch = self.epoch;
        self.collections.entry(resource.clone()).or_insert_with(|| Collection::new(resource.clone(), epoch))
    }

    /// Runs something on a resource, then wakes who may want to know.
    pub(crate) fn change<T>(
        &mut self,
        resource: &ResourceId,
        change: impl FnOnce(&mut Collection, &mut Outlet) -> T,
    ) -> T {
        let epoch = self.epoch;
        let new = || Collection::new(resource.clone(), epoch);
        let collection = self.collections.entry(resource.clone()).or_insert_with(new);
        let head = collection.history.head();
        let result = change(collection, &mut self.out);
        if collection.history.head() != head {
            self.wake(resource);
        }
        result
    }

    /// The highest version that was issued for an overlaid resource; `None` if none was.
    pub fn issued(&self, resource: &ResourceId) -> Option<Shown> {
        let collection = self.collections.get(resource).filter(|_| resource.is_overlaid())?;
        Some(Shown::view(collection.sequence.last()))
    }

    /// Whether anything of a resource is kept.
    pub fn has(&self, resource: &ResourceId) -> bool {
        self.collections.contains_key(resource)
    }

    /// Whether the cloud granted somebody this set, as far as is known.
    pub fn grants(&self, who: &Identity, resource: &ResourceId, scope: &Scope) -> bool {
        self.collections.get(resource).is_some_and(|own| own.marks.grant_set(who, scope))
    }

    /// Whether this, a UID, a version of the cloud and an encoding, is what is known of an object, with nothing laid over it,
    /// and somebody may read it: [`View::took_object`] of it would change nothing.
    pub fn has_read(
        &self,
        who: &Identity,
        resource: &ResourceId,
        key: &Key,
        (uid, rv, encoding): (&str, CloudRv, Encoding),
    ) -> bool {
        let Some(own) = self.collections.get(resource) else { return false };
        let Some(entry) = own.entries.get(key).filter(|entry| entry.over.is_none()) else { return false };
        let Some(cloud) = entry.cloud.as_ref().filter(|_| entry.epoch == own.epoch) else { return false };
        let same = cloud.header.rv == rv && cloud.header.uid() == uid && cloud.encoding == encoding;
        same && own.marks.grant_object(who, &cloud.header)
    }

    /// Whether an object is the present one of its name, as the cloud has it.
    pub fn is_present(&self, resource: &ResourceId, object: &Object) -> bool {
        let entry = self.collections.get(resource).and_then(|own| own.entries.get(&object.header.key));
        entry.and_then(|entry| entry.cloud.as_ref()).is_some_and(|cloud| {
            cloud.header.rv == object.header.rv && cloud.header.uid() == object.header.uid()
        })
    }

    /// The cloud answered a write of a client with this object. It is shown at once.
    pub fn wrote(&mut self, resource: &ResourceId, object: Object) {
        self.change(resource, |collection, out| collection.upsert(out, object, From::Answer));
    }

    /// The cloud said that a DELETE left nothing of the object with this UID.
    pub fn deleted(&mut self, resource: &ResourceId, key: &Key, uid: &str) {
        self.change(resource, |collection, out| {
            let cloud = collection.entries.get(key).and_then(|entry| entry.cloud.clone());
            let Some(cloud) = cloud.filter(|cloud| cloud.header.uid() == uid) else { return };
            // At which version is not known, only that it was after the last one seen, and for good.
            collection.delete(out, key, Deletion::after(cloud.header.rv));
        });
    }

    /// The cloud answered a GET of a client with this object, and so granted it.
    pub fn took_object(&mut self, who: &Identity, resource: &ResourceId, object: Object) {
        let header = std::sync::Arc::clone(&object.header);
        self.change(resource, |collection, out| {
            collection.upsert(out, object, From::Answer);
            if !collection.marks.grant_object(who, &header) {
                let scope = Scope::single(&header.key);
                let mark = collection.marks.entry(&scope, Asked::Single);
                mark.complete = true;
                mark.readers.insert(who.clone());
                collection.store_mark(out, &scope, Asked::Single);
            }
        });
    }

    /// The cloud answered a GET of a client with 404.
    ///
    /// That is believed where nothing else can tell: no set that this name is in is read, and nothing is known of it or
    /// the same identity had it before.
    pub fn took_absence(&mut self, who: &Identity, resource: &ResourceId, key: &Key) {
        self.change(resource, |collection, out| {
            let scope = Scope::single(key);
            let is_read =
                collection.marks.iter().any(|mark| mark.asked == Asked::Set && mark.scope.may_take(key));
            let had = collection.marks.find(&scope, Asked::Single);
            let believed = had.is_some_and(|mark| mark.readers.contains(who));
            let known = collection.entries.get(key).and_then(|entry| entry.cloud.clone());
            match known {
                _ if is_read => {}
                Some(cloud) if believed => {
                    collection.delete(out, key, Deletion::after(cloud.header.rv));
                }
                Some(_) => {}
                // Names that are not there are as many as anybody can think of.
                None if had.is_none() && collection.marks.singles() >= MOST_SINGLES => {}
                None => {
                    let mark = collection.marks.entry(&scope, Asked::Single);
                    mark.complete = true;
                    mark.readers.insert(who.clone());
                    collection.store_mark(out, &scope, Asked::Single);
                }
            }
        });
    }

    /// The cloud answered a list of a client, completely, with these objects and this version.
    pub fn took_list(
        &mut self,
        who: &Identity,
        resource: &ResourceId,
        scope: &Scope,
        objects: Vec<Object>,
        rv: CloudRv,
    ) {
        self.forget_refusal(who, resource, scope);
        self.change(resource, |collection, out| {
            collection.take_list(out, who, scope, objects, rv);
        });
        self.expire_skipped(resource);
        self.wake_held(resource);
        self.out.ask_again(resource);
    }

    /// The cloud granted a client this scope: it answered a list of at most one object, or a watch.
    pub fn granted(&mut self, who: &Identity, resource: &ResourceId, scope: &Scope) {
        self.forget_refusal(who, resource, scope);
        self.change(resource, |collection, out| {
            let mark = collection.marks.entry(scope, Asked::Set);
            if mark.readers.insert(who.clone()) {
                collection.store_mark(out, scope, Asked::Set);
            }
        });
        self.out.ask_again(resource);
    }

    /// What the cloud grants now it is not held to have refused.
    fn forget_refusal(&mut self, who: &Identity, resource: &ResourceId, scope: &Scope) {
        if let Some(refused) = self.refused.get_mut(resource) {
            refused.remove(&(who.clone(), scope.clone()));
        }
    }

    /// A client has another credential now: what the cloud refused to the former is tried again.
    pub fn credential_changed(&mut self, who: &Identity, now: Duration) {
        for refused in self.refused.values_mut() {
            refused.retain(|(identity, _), _| identity != who);
        }
        self.tick(now);
    }

    /// The cloud refused a client this read with 403. What the same right stood for ends at once.
    pub fn refused(&mut self, who: &Identity, resource: &ResourceId, scope: &Scope, asked: Asked) {
        if !self.has(resource) {
            return;
        }
        self.change(resource, |collection, out| {
            for mark in collection.marks.revoke(who, scope, asked) {
                collection.store_mark(out, &mark.scope, mark.asked);
            }
        });
        self.end_ungranted(who, resource);
        self.out.ask_again(resource);
    }

    /// The cloud's object, whatever is laid over it. The version in its bytes is not to be looked at; that in its header is
    /// the cloud's.
    pub fn beneath(&self, resource: &ResourceId, key: &Key) -> Option<Object> {
        self.collections.get(resource)?.entries.get(key)?.cloud.clone()
    }

    /// Whether something is laid over an object.
    pub fn is_laid_over(&self, resource: &ResourceId, key: &Key) -> bool {
        let entry = self.collections.get(resource).and_then(|own| own.entries.get(key));
        entry.is_some_and(|entry| entry.over.as_ref().is_some_and(|over| over.ahead.is_none()))
    }

    /// Lays an object over the cloud's: a staged write, or an endpoint as this node knows it. `None` hides it.
    ///
    /// The caller has stored what is laid; the object's UID is that of the cloud's object, where there is one.
    pub fn lay_over(&mut self, resource: &ResourceId, key: &Key, object: Option<Object>) {
        debug_assert!(resource.is_overlaid(), "only overlaid resources have view RVs");
        if resource.is_overlaid() {
            self.change(resource, |collection, out| collection.lay(out, key, Some(object)));
        }
    }

    /// Takes away what was laid over an object.
    pub fn lift(&mut self, resource: &ResourceId, key: &Key) {
        if resource.is_overlaid() {
            self.change(resource, |collection, out| collection.lay(out, key, None));
        }
    }

    /// The cloud's version that a version in a client's body or precondition stands for, with the object's UID. `None`:
    /// it is not the present one, which is a conflict. Of resources that are not overlaid the version is the cloud's.
    pub fn cloud_version(&self, resource: &ResourceId, key: &Key, shown: Shown) -> Option<(String, CloudRv)> {
        let entry = self.collections.get(resource)?.entries.get(key)?;
        let cloud = entry.cloud.as_ref()?;
        let present = if resource.is_overlaid() { entry.shown } else { Some(Shown::cloud(cloud.header.rv)) };
        (present == Some(shown)).then(|| (cloud.header.uid().to_owned(), cloud.header.rv))
    }
}
