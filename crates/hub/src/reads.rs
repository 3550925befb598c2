//! Reads answered from the view: the hub's part of design §6.2. The view decides; here its effects are carried out, clients
//! are answered with what it says, and the cloud's answers and streams are reported to it.

mod answer;
mod bearer;
mod boot;
mod budget;
mod cloud;
mod documents;
mod follow;
mod frames;
mod gate;
mod json;
mod layers;
mod learn;
mod lease;
mod lists;
mod marked;
pub mod own;
mod path;
mod release;
mod render;
mod rights;
mod settled;
mod settling;
mod staged_events;
mod staging;
mod tokens;
mod waiting;
mod who;
mod writes;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use view::{Barrier, Effect, End, Limits, Loading, ResourceId, StreamId, View, WatcherId};

use crate::body::UnderWay;
use crate::cloud::Cloud;
use crate::error::Result;
use crate::link::State;
use crate::metrics::staged::Writes;
use crate::store::{Own, OwnRecords, Progress, Store};
pub use frames::Watching;
pub use gate::Gate;
pub use settled::SettledFigures;
pub use who::Who;

/// How long nothing happens at most before the view is told that time has passed.
const TICK: Duration = Duration::from_secs(10);

/// How often tokens of pods that are gone are looked for.
const FORGET: Duration = Duration::from_secs(600);

/// The reads of all clients.
pub struct Reads {
    /// The cloud.
    pub(crate) cloud: Arc<Cloud>,
    /// The logs.
    pub(crate) store: Store,
    view: Mutex<View>,
    began: Instant,
    /// Counts what those who wait for an answer may have waited for.
    again: watch::Sender<u64>,
    /// Watches whose clients wait.
    wakers: Mutex<HashMap<WatcherId, Waker>>,
    streams: Mutex<HashMap<StreamId, (ResourceId, AbortHandle)>>,
    /// Resources with objects that the table does not know whole: they are read and shown in JSON.
    newer: Mutex<HashSet<ResourceId>>,
    /// Callers by identity.
    callers: who::Callers,
    /// Names of kinds that are not in the table.
    kinds: render::Kinds,
    tokens: tokens::Tokens,
    documents: documents::Documents,
    bearers: bearer::Bearers,
    budget: budget::Budget,
    rights: rights::Rights,
    lists: lists::Lists,
    staging: staging::Staging,
    settling: settling::Settling,
    release: release::Known,
    lease: lease::Lease,
    marked: marked::Marked,
    /// Counts the writes that were to wait for the cloud.
    pub(crate) writes: Writes,
    /// Answers under way.
    pub(crate) under_way: Arc<UnderWay>,
    node: String,
    stopping: AtomicBool,
    sooner: tokio::sync::Notify,
}

impl Reads {
    /// The reads of a hub for `node`: with what `loading` found in `store`.
    ///
    /// # Errors
    /// The kernel's id of this boot cannot be read.
    pub fn new(
        node: &str,
        cloud: Arc<Cloud>,
        store: Store,
        loading: Loading,
        own: OwnRecords,
    ) -> Result<Arc<Self>> {
        let mut outbox = outbox::Outbox::new(outbox::Limits::default());
        for (key, value) in own.found.iter().filter(|(key, _)| Own::Staged.is(key)) {
            if !outbox.load(value) {
                tracing::error!(
                    "what waits for the cloud has a record that is not understood: {key:?} is left alone"
                );
            }
        }
        let staging = staging::Staging::new(outbox)?;
        let mut view = View::new(node, Limits::default(), store.shelf());
        loading.finish(&mut view);
        let reads = Arc::new(Self {
            cloud,
            store,
            view: Mutex::new(view),
            began: Instant::now(),
            again: watch::Sender::new(0),
            wakers: Mutex::default(),
            streams: Mutex::default(),
            newer: Mutex::default(),
            callers: who::Callers::default(),
            kinds: render::Kinds::default(),
            tokens: tokens::Tokens::default(),
            documents: documents::Documents::default(),
            bearers: bearer::Bearers::default(),
            budget: budget::Budget::default(),
            rights: rights::Rights::default(),
            lists: lists::Lists::default(),
            settling: settling::Settling::new(staging.boot()),
            staging,
            release: release::Known::default(),
            lease: lease::Lease::default(),
            marked: marked::Marked::default(),
            writes: Writes::default(),
            under_way: Arc::default(),
            node: node.to_owned(),
            stopping: AtomicBool::new(false),
            sooner: tokio::sync::Notify::new(),
        });
        for (key, value) in own.found {
            reads.kinds.load(&key, &value);
            reads.tokens.load(&key, &value);
            reads.documents.load(&key, &value);
            reads.bearers.load(&key, &value);
            reads.release.load(&key, &value);
            reads.lease.load(&key, &value);
            reads.marked.load(&key);
            if Own::Report.is(&key) {
                reads.settling.load(&value);
            }
        }
        reads.with(|_| {});
        reads.settling_lost(&own.lost);
        reads.begin_settling();
        reads.lay_all();
        Ok(reads)
    }

    /// The view's clock.
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the view, then what the view wants done.
    fn with<T>(self: &Arc<Self>, work: impl FnOnce(&mut View) -> T) -> T {
        let mut view = self.lock();
        let done = work(&mut view);
        let mut beneath = Vec::new();
        for effect in view.effects() {
            match effect {
                Effect::Beneath { resource, key } => beneath.push((resource, key)),
                effect => self.execute(effect),
            }
        }
        drop(view);
        // What is laid goes through the view itself.
        for (resource, key) in beneath {
            self.lay(&resource, &key, None);
            self.settling_moved(&resource, &key);
        }
        done
    }

    /// Carries out one effect; called with the view locked, so that writes are handed over in their order.
    fn execute(self: &Arc<Self>, effect: Effect) {
        match effect {
            Effect::Persist(write) => self.store.write(write),
            Effect::Wake(id) => {
                if let Some(waker) = lock(&self.wakers).remove(&id) {
                    waker.wake();
                }
            }
            Effect::AskAgain(_) => self.again.send_modify(|count| *count += 1),
            Effect::Open(open) => {
                let (reads, id, resource) = (self.clone(), open.stream, open.resource.clone());
                let task = tokio::spawn(async move { follow::follow(&reads, open).await });
                if let Some((_, before)) = lock(&self.streams).insert(id, (resource, task.abort_handle())) {
                    before.abort();
                }
                self.sooner.notify_one();
            }
            Effect::Close(id) => {
                if let Some((_, task)) = lock(&self.streams).remove(&id) {
                    task.abort();
                }
            }
            // Done where the view is not locked.
            Effect::Beneath { .. } => {}
            Effect::Report(trouble) => tracing::warn!("{trouble}"),
        }
    }

    /// Waits until what an answer depends on is stored.
    async fn passed(&self, barrier: &Barrier) {
        let mut again = self.again.subscribe();
        loop {
            again.borrow_and_update();
            if self.lock().has_passed(barrier) {
                return;
            }
            if again.changed().await.is_err() {
                return;
            }
        }
    }

    /// Keeps the view's time and tells it of link and logs, for as long as the hub runs.
    pub async fn keep(self: &Arc<Self>, mut progress: UnboundedReceiver<Progress>) {
        let mut verdict = self.cloud.judge().verdict();
        let mut forget = tokio::time::interval(FORGET);
        self.tell_link();
        loop {
            self.lists.forget(self.now());
            let due = self.lock().next_tick().map_or(TICK, |due| due.saturating_sub(self.now())).min(TICK);
            tokio::select! {
                _ = verdict.changed() => {
                    verdict.borrow_and_update();
                    self.tell_link();
                }
                came = progress.recv() => {
                    let Some(came) = came else { return };
                    self.wrote(came);
                    while let Ok(came) = progress.try_recv() {
                        self.wrote(came);
                    }
                    self.store.pump();
                    self.again.send_modify(|count| *count += 1);
                }
                () = self.sooner.notified() => {}
                () = tokio::time::sleep(due) => self.with(|view| view.tick(self.now())),
                _ = forget.tick() => {
                    self.forget_tokens();
                    self.forget_bearers();
                }
            }
        }
    }

    fn wrote(self: &Arc<Self>, came: Progress) {
        self.with(|view| match (came.stored, came.flushed) {
            (false, _) => view.given_up(came.log, came.number),
            (true, true) => view.flushed(came.log, came.number),
            (true, false) => view.written(came.log, came.number),
        });
    }

    fn tell_link(self: &Arc<Self>) {
        let up = self.cloud.judge().state() == State::Up;
        let now = self.now();
        self.with(|view| view.link(up, now, random()));
        self.settling_link(up);
    }

    /// Whether a resource has objects that the table does not know whole.
    fn is_newer(&self, resource: &ResourceId) -> bool {
        lock(&self.newer).contains(resource)
    }

    /// An object of a resource is newer than the table: from now on it is read in JSON, in which nothing gets lost, and
    /// everything of it anew.
    fn read_in_json(self: &Arc<Self>, resource: &ResourceId) {
        if !lock(&self.newer).insert(resource.clone()) {
            return;
        }
        tracing::info!("{resource} is newer than this hub: it is read in JSON");
        let mut ended = Vec::new();
        lock(&self.streams).retain(|id, (of, task)| {
            let other = of != resource;
            if !other {
                task.abort();
                ended.push(*id);
            }
            other
        });
        let now = self.now();
        for id in ended {
            self.with(|view| view.ended(id, End::Expired, now, random()));
        }
    }

    /// How many watches clients hold, and how many streams the hub.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        (self.lock().watches(), lock(&self.streams).len())
    }

    /// Ends every client's watch in order, and the hub's own streams: another hub may open the logs next.
    pub fn end(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        for (_, (_, stream)) in lock(&self.streams).drain() {
            stream.abort();
        }
        for (_, waker) in lock(&self.wakers).drain() {
            waker.wake();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Any number.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
