//! Watches: each is a place in what there is to tell, and takes it at its client's speed.
//!
//! First comes the present state, name by name as it is when it is read, but for objects that changed since the watch
//! began: of those the history tells. Then comes the history. So a watch needs no copy of anything, and whatever its
//! client does it takes the memory of a place. A client that is so slow that the history has moved past it is ended, as
//! the API server ends it.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use wire::Status;

use crate::collection::Collection;
use crate::effect::Effect;
use crate::history::{Change, Event, Place};
use crate::mark::Identity;
use crate::object::Object;
use crate::persist::{Barrier, Progress};
use crate::resource::{Key, ResourceId};
use crate::scope::Scope;
use crate::version::Shown;
use crate::view::View;

/// Names a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherId(pub(crate) u64);

/// How long between bookmarks, as on the API server (`apiserver:pkg/storage/cacher/cacher.go`).
const BOOKMARK: Duration = Duration::from_secs(60);

/// Where a watch is.
#[derive(Debug)]
pub(crate) enum Phase {
    /// In the present state.
    State {
        /// What must pass before that may be shown.
        barrier: Barrier,
        /// The last name that was shown.
        after: Option<Key>,
        /// What changed from here on is told by the history.
        start: u64,
        /// The place in the history that the state stands for.
        place: Place,
    },
    /// In the history, before what is at this place. Events below this index were told as part of the state.
    History {
        /// The place.
        place: Place,
        /// The index.
        start: u64,
    },
    /// Nothing more can be told, for versions have begun anew.
    Expired,
}

/// A watch.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub resource: ResourceId,
    pub scope: Scope,
    pub identity: Identity,
    pub phase: Phase,
    /// The client has seen everything up to this version.
    pub from: Option<Shown>,
    /// Whether the end of the present state is still to be told.
    pub end_due: bool,
    pub bookmarks: bool,
    pub next_bookmark: Duration,
    pub deadline: Duration,
    pub woken: bool,
}

impl Watcher {
    /// When something is due that no event brings.
    pub fn next_due(&self) -> Option<Duration> {
        (!self.woken)
            .then(|| if self.bookmarks { self.deadline.min(self.next_bookmark) } else { self.deadline })
    }
}

/// One thing to tell a watcher.
#[derive(Debug, Clone)]
pub enum Frame {
    /// An object of the present state, as ADDED. If its bytes are in the log and the record there is of another
    /// version, it is left out: its change follows.
    State(Object),
    /// A change; [`Event::frame`] has its bytes.
    Event(Arc<Event>, Change),
    /// A BOOKMARK: an object of the watched kind with this version and nothing else.
    Bookmark {
        /// The version.
        rv: Shown,
        /// Whether it carries `k8s.io/initial-events-end`.
        end_of_state: bool,
    },
    /// An ERROR; the stream ends after it.
    Error(Status),
}

/// What a watch has to tell now.
#[derive(Debug)]
pub struct Pulled {
    /// In this order.
    pub frames: Vec<Frame>,
    /// What comes after them.
    pub next: Next,
}

/// What comes after some frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// More: pull again when these are sent.
    More,
    /// Nothing until [`Effect::Wake`].
    Wait,
    /// The end: close the stream as one that is complete. The watch is forgotten.
    End,
}

impl View {
    /// What a watch has to tell, at most `most` frames. Called when its client has taken what was sent before.
    pub fn pull(&mut self, id: WatcherId, now: Duration, most: usize) -> Pulled {
        let mut frames = Vec::new();
        let Some(watcher) = self.watchers.get_mut(&id) else { return Pulled { frames, next: Next::End } };
        let Some(collection) = self.collections.get_mut(&watcher.resource) else {
            return Pulled { frames, next: Next::End };
        };
        let mut teller = Teller { watcher, collection, progress: &self.out.progress, frames: &mut frames };
        let next = teller.tell(now, most.max(1));
        match next {
            Next::End => {
                self.watchers.remove(&id);
            }
            Next::More => {}
            Next::Wait => watcher.woken = false,
        }
        Pulled { frames, next }
    }

    /// The client of a watch is gone.
    pub fn unwatch(&mut self, id: WatcherId) {
        self.watchers.remove(&id);
    }

    /// How many watches there are.
    pub fn watches(&self) -> usize {
        self.watchers.len()
    }

    pub(crate) fn wake(&mut self, resource: &ResourceId) {
        self.wake_where(|watcher| watcher.resource == *resource);
    }

    fn wake_where(&mut self, which: impl Fn(&Watcher) -> bool) {
        for (id, watcher) in &mut self.watchers {
            if !watcher.woken && which(watcher) {
                watcher.woken = true;
                self.out.effects.push(Effect::Wake(*id));
            }
        }
    }

    pub(crate) fn wake_due(&mut self, now: Duration) {
        self.wake_where(|watcher| watcher.next_due().is_some_and(|due| due <= now));
    }

    /// Wakes those who waited for the logs.
    pub(crate) fn wake_blocked(&mut self) {
        let mut blocked = Vec::new();
        for (resource, collection) in &mut self.collections {
            if std::mem::take(&mut collection.blocked) {
                blocked.push(resource.clone());
            }
        }
        for resource in blocked {
            self.wake(&resource);
        }
    }

    /// Wakes those who waited for their sets to be read further.
    pub(crate) fn wake_held(&mut self, resource: &ResourceId) {
        let held = self.collections.get_mut(resource).is_some_and(|own| std::mem::take(&mut own.held));
        if held {
            self.wake(resource);
            self.out.ask_again(resource);
        }
    }

    /// Ends the watches of a client that nothing grants any more.
    pub(crate) fn end_ungranted(&mut self, who: &Identity, resource: &ResourceId) {
        let Some(collection) = self.collections.get(resource) else { return };
        for (id, watcher) in &mut self.watchers {
            let same = watcher.identity == *who && watcher.resource == *resource;
            if same && !collection.marks.grant_set(who, &watcher.scope) {
                watcher.deadline = Duration::ZERO;
                if !watcher.woken {
                    watcher.woken = true;
                    self.out.effects.push(Effect::Wake(*id));
                }
            }
        }
    }

    /// A set was read anew: who began with a version from the cloud that the set had not been read up to cannot be told what
    /// he missed.
    pub(crate) fn expire_skipped(&mut self, resource: &ResourceId) {
        let Some(collection) = self.collections.get(resource).filter(|_| !resource.is_overlaid()) else {
            return;
        };
        for (id, watcher) in &mut self.watchers {
            let Some(from) = watcher.from.filter(|_| watcher.resource == *resource) else { continue };
            if collection.marks.skips(&watcher.scope, from) && !collection.marks.count(&watcher.scope, from) {
                watcher.phase = Phase::Expired;
                if !std::mem::replace(&mut watcher.woken, true) {
                    self.out.effects.push(Effect::Wake(*id));
                }
            }
        }
    }

    /// Versions have begun anew: what the watches of a resource know means nothing any more.
    pub(crate) fn expire_watchers(&mut self, resource: &ResourceId) {
        for watcher in self.watchers.values_mut().filter(|watcher| watcher.resource == *resource) {
            watcher.phase = Phase::Expired;
        }
        self.wake(resource);
    }
}

/// Tells one watcher.
struct Teller<'a> {
    watcher: &'a mut Watcher,
    collection: &'a mut Collection,
    progress: &'a Progress,
    frames: &'a mut Vec<Frame>,
}

impl Teller<'_> {
    fn tell(&mut self, now: Duration, most: usize) -> Next {
        // A deadline of zero is one that was set by us: not even what is ready is told.
        if self.watcher.deadline == Duration::ZERO {
            return Next::End;
        }
        if let Phase::State { barrier, .. } = &self.watcher.phase {
            if !barrier.has_passed(self.progress) {
                return self.wait_for_logs(now);
            }
            if !self.tell_state(most) {
                return Next::More;
            }
        }
        let (place, start) = match &self.watcher.phase {
            Phase::State { start, place, .. } => (*place, *start),
            Phase::History { place, start } => (*place, *start),
            Phase::Expired => return self.expire(),
        };
        self.tell_history(place, start, now, most)
    }

    /// Tells the present state; whether all of it has been told.
    fn tell_state(&mut self, most: usize) -> bool {
        let Phase::State { after, start, .. } = &mut self.watcher.phase else { return true };
        let lower = after.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let scope = &self.watcher.scope;
        let (lower, upper) = match scope.only_key() {
            Some(key) if after.is_none() => (Bound::Included(key.clone()), Bound::Included(key)),
            Some(_) => return true,
            None => (lower, Bound::Unbounded),
        };
        for (key, entry) in self.collection.entries.range((lower, upper)) {
            let object = entry.visible_in(scope).filter(|_| entry.stamp <= *start);
            if let Some(object) = object {
                if self.frames.len() >= most {
                    return false;
                }
                self.frames.push(Frame::State(object.clone()));
            }
            *after = Some(key.clone());
        }
        true
    }

    fn tell_history(&mut self, mut place: Place, start: u64, now: Duration, most: usize) -> Next {
        // Of what the cloud orders, nothing is told before everything that comes before it is known.
        let limit = self.collection.told_limit(&self.watcher.scope);
        loop {
            self.watcher.phase = Phase::History { place, start };
            let (at, event) = match self.collection.history.at(place) {
                Ok(Some((at, event))) => (at, Arc::clone(event)),
                Ok(None) => return self.caught_up(now),
                // Too slow: the client goes on from its last version, or reads everything if that is too old.
                Err(_) => return Next::End,
            };
            if limit.is_some_and(|limit| at.0 > limit) {
                if self.watcher.end_due && self.is_hidden(at, start) {
                    return Next::End;
                }
                self.collection.held = true;
                return self.caught_up(now);
            }
            if !event.barrier.has_passed(self.progress) {
                return self.wait_for_logs(now);
            }
            if self.frames.len() >= most {
                return Next::More;
            }
            place = (at.0, at.1 + 1);
            let told = event.index < start || self.watcher.from.is_some_and(|from| !event.is_after(from));
            let Some(change) = event.change_in(&self.watcher.scope).filter(|_| !told) else { continue };
            if event.object(change).is_none() {
                return self.expire();
            }
            self.frames.push(Frame::Event(event, change));
        }
    }

    /// Whether something that changed while the state was told was left out of it, and may not be told yet: another stream is
    /// ahead. The state has no end without it; the client begins once more, with what there is then.
    fn is_hidden(&self, from: Place, start: u64) -> bool {
        let concerns = |event: &Event| event.index >= start && event.change_in(&self.watcher.scope).is_some();
        self.collection.history.from(from).any(concerns)
    }

    fn expire(&mut self) -> Next {
        let text = "the history of this resource cannot be told on from here; read it anew";
        self.frames.push(Frame::Error(Status::expired(text)));
        Next::End
    }

    fn wait_for_logs(&mut self, now: Duration) -> Next {
        self.collection.blocked = true;
        if now >= self.watcher.deadline { Next::End } else { Next::Wait }
    }

    /// Everything has been told: what is due beside events.
    fn caught_up(&mut self, now: Duration) -> Next {
        let rv =
            self.collection.current(&self.watcher.scope).max(self.watcher.from.unwrap_or(Shown::stored(0)));
        let ended = now >= self.watcher.deadline;
        if self.watcher.end_due && self.watcher.bookmarks {
            self.frames.push(Frame::Bookmark { rv, end_of_state: true });
        } else if self.watcher.bookmarks && (ended || now >= self.watcher.next_bookmark) {
            self.frames.push(Frame::Bookmark { rv, end_of_state: false });
            self.watcher.next_bookmark = now + BOOKMARK;
        }
        self.watcher.end_due = false;
        if ended { Next::End } else { Next::Wait }
    }
}

/// When the first bookmark of a watch is due, so that not all of them come at once.
pub(crate) fn first_bookmark(now: Duration, random: u64) -> Duration {
    now + BOOKMARK - Duration::from_millis(random % 10_000)
}
