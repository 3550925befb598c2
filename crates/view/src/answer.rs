//! What a read is answered with.

use std::time::Duration;

use wire::request::{GetOptions, VersionMatch};
use wire::{ListOptions, Status};

use crate::collection::Collection;
use crate::decode::is_selectable;
use crate::mark::{Asked, Identity, Mark};
use crate::object::Object;
use crate::outlet::Outlet;
use crate::persist::Barrier;
use crate::resource::{Key, ResourceId};
use crate::scope::Scope;
use crate::stream::{State, Stream};
use crate::version::Shown;
use crate::view::View;
use crate::watch::{Phase, Watcher, WatcherId, first_bookmark};

/// Who asks, about what, and what the hub has found out so far.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Who.
    pub who: &'a Identity,
    /// About which resource.
    pub resource: &'a ResourceId,
    /// Whether it is known from elsewhere that they may read this: what the cloud said about their rights, or the
    /// operator's word. Else what counts is what the cloud granted them before.
    pub granted: bool,
    /// The cloud has just answered the same request of theirs, and the answer was reported: the view shows it now.
    pub fresh: bool,
    /// Whether they can wait a moment for a stream, which need not bring what the hub has in its logs; else they are sent to
    /// the cloud. One who acts on a list before it hears of changes should not: what has changed while the hub was away
    /// comes right behind it.
    pub patient: bool,
    /// The time.
    pub now: Duration,
    /// Any number.
    pub random: u64,
}

/// What to do about a read.
#[derive(Debug)]
pub enum Answer {
    /// Send this object, when `after` has passed.
    Object {
        /// The object.
        object: Object,
        /// What must pass first.
        after: Barrier,
    },
    /// Send this list, when `after` has passed.
    List(Listing),
    /// Send what [`View::pull`] gives for this watch.
    Watch(WatcherId),
    /// Send a watch that says this in its only event, an ERROR.
    WatchError(Status),
    /// Ask the cloud as the caller, and report what it says. The answer to a GET or LIST of an overlaid resource is then
    /// the view's: ask again, fresh. Everything else goes to the caller as it came.
    Forward,
    /// Find out whether the cloud grants the caller this list or watch (ask it for at most one object as the caller, and
    /// report [`View::granted`] or [`View::refused`]), then ask again.
    Verify,
    /// Ask again at the next [`crate::Effect::AskAgain`] for this resource; until then the caller waits. A list is not worth
    /// a long wait: after a while the cloud is asked for it.
    Await,
    /// Send this.
    Refuse(Status),
}

/// A list.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The objects in the order of their keys. If the bytes of one are in the log and the record there is of another
    /// version, the list is out of date: ask again.
    pub objects: Vec<Object>,
    /// The list's version.
    pub rv: Shown,
    /// What must pass before it is sent.
    pub after: Barrier,
}

/// How long a watch lasts for which no time is asked (`apiserver:pkg/endpoints/handlers/get.go`): as long again at most.
const WATCH_SECONDS: u64 = 1800;

impl View {
    /// Answers a GET.
    pub fn get(&mut self, ask: Ask<'_>, key: &Key, options: &GetOptions) -> Answer {
        let online = self.online && !ask.fresh;
        let scope = Scope::single(key);
        if online && (options.resource_version.is_empty() || !self.is_followed(ask.resource, &scope)) {
            return Answer::Forward;
        }
        let Some(collection) = self.collections.get(ask.resource) else { return unknown(ask, online) };
        let after = collection.barrier;
        let entry = collection.entries.get(key);
        if let Some(object) = entry.and_then(|entry| entry.newest()) {
            if !(ask.granted || collection.marks.grant_object(ask.who, &object.header)) {
                return unknown(ask, online);
            }
            return Answer::Object { object: object.clone(), after };
        }
        // What something laid over it hides was there; what is buried was.
        let hidden = entry.and_then(|entry| entry.cloud.as_ref()).map(|cloud| &cloud.header);
        let buried = collection.tombs.get(key).filter(|tomb| tomb.dead).map(|tomb| &tomb.header);
        let known = hidden.or(buried);
        let granted = ask.granted
            || collection.marks.grant_absence(ask.who, key)
            || known.is_some_and(|header| collection.marks.grant_object(ask.who, header));
        if granted && (known.is_some() || collection.marks.know(key)) {
            return Answer::Refuse(Status::not_found(ask.resource.group_resource(), key.name()));
        }
        unknown(ask, online)
    }

    /// Answers a LIST.
    pub fn list(&mut self, ask: Ask<'_>, namespace: &str, options: &ListOptions) -> Answer {
        let scope = Scope::of(namespace, options);
        let online = self.online && !ask.fresh;
        if let Some(refusal) = unselectable(ask.resource, &scope) {
            return if online { Answer::Forward } else { Answer::Refuse(refusal) };
        }
        let overlaid = ask.resource.is_overlaid();
        if !options.continue_token.is_empty() {
            let text = "The provided continue parameter is too old: a list from a node's hub is never cut";
            return if online && !overlaid { Answer::Forward } else { Answer::Refuse(Status::expired(text)) };
        }
        let latest = options.resource_version.is_empty();
        if online && (latest || !self.is_followed(ask.resource, &scope)) {
            let foreign = overlaid && self.check_list_version(&ask, &scope, options).is_err();
            if !foreign {
                return self.spare(&ask, &scope, options).unwrap_or(Answer::Forward);
            }
        }
        let Some(collection) = self.collections.get(ask.resource) else { return unknown(ask, online) };
        if collection.marks.covering(&scope).is_none() {
            return unknown(ask, online);
        }
        if !(ask.granted || collection.marks.grant_set(ask.who, &scope)) {
            // It is followed for somebody else.
            return if online { Answer::Verify } else { unknown(ask, online) };
        }
        let is_ahead = collection.is_ahead(&scope);
        match self.check_list_version(&ask, &scope, options) {
            Err(_) if online && !overlaid => Answer::Forward,
            Err(refusal) => Answer::Refuse(refusal),
            Ok(()) if online && is_ahead => Answer::Forward,
            Ok(()) => {
                self.catch_up(ask.resource, &scope);
                Answer::List(self.collection(ask.resource).listing(&scope))
            }
        }
    }

    /// What spares the link a list whose set is in the logs, up to a version from which a stream can go on: the stream. Such
    /// lists are asked for by programs that start, all of them at once after a boot.
    fn spare(&mut self, ask: &Ask<'_>, scope: &Scope, options: &ListOptions) -> Option<Answer> {
        let any = options.resource_version == "0" && options.version_match != Some(VersionMatch::Exact);
        let known = self.collections.get(ask.resource).filter(|_| any && ask.patient)?;
        known.marks.covering(scope)?.position?;
        if !(ask.granted || known.marks.grant_set(ask.who, scope)) {
            return Some(Answer::Verify);
        }
        self.wish(ask.resource, ask.who, scope, ask.now);
        let comes = |stream: &Stream| match (stream.anew, stream.failures) {
            (false, failures) => failures == 0,
            // It could not go on, because the node was off for too long, and reads everything once for all of them.
            (true, failures) => failures == 1 && !matches!(stream.state, State::Live),
        };
        let of = |stream: &&Stream| {
            stream.resource == *ask.resource && scope.is_within(&stream.scope) && comes(stream)
        };
        self.streams.values().find(of).map(|_| Answer::Await)
    }

    /// Whether a stream is just delivering the state of a scope: it will be there sooner than if it were asked for once more.
    pub fn is_coming(&self, resource: &ResourceId, scope: &Scope) -> bool {
        self.streams.values().any(|stream| {
            stream.resource == *resource
                && matches!(stream.state, State::Reading(_))
                && scope.is_within(&stream.scope)
        })
    }

    fn check_list_version(&self, ask: &Ask<'_>, scope: &Scope, options: &ListOptions) -> Result<(), Status> {
        let text = options.resource_version.as_str();
        if matches!(text, "" | "0") {
            return Ok(());
        }
        let version = Shown::parse(text).ok_or_else(|| invalid_version(text))?;
        let Some(collection) = self.collections.get(ask.resource) else { return Err(foreign(version, None)) };
        let current = collection.current(scope);
        let exact = options.version_match == Some(VersionMatch::Exact);
        if (exact && version != current) || version > collection.newest(scope) {
            return Err(foreign(version, Some(current)));
        }
        Ok(())
    }

    /// Answers a WATCH, with or without the present state first.
    pub fn watch(&mut self, ask: Ask<'_>, namespace: &str, options: &ListOptions) -> Answer {
        let scope = Scope::of(namespace, options);
        if let Some(refusal) = unselectable(ask.resource, &scope) {
            return if self.online { Answer::Forward } else { Answer::Refuse(refusal) };
        }
        // Nothing is kept for a name that somebody only asks for.
        let known = self.collections.get(ask.resource);
        if !(ask.granted || known.is_some_and(|collection| collection.marks.grant_set(ask.who, &scope))) {
            return if self.online { Answer::Verify } else { Answer::Refuse(not_here(ask.resource)) };
        }
        let is_known = self.collection(ask.resource).marks.covering(&scope).is_some();
        self.wish(ask.resource, ask.who, &scope, ask.now);
        let with_state = options.send_initial_events == Some(true);
        if !is_known {
            return if self.online { Answer::Await } else { Answer::Refuse(not_here(ask.resource)) };
        }
        // What is stale is not shown to somebody who begins while the cloud can be asked, unless it does not answer; and who
        // goes on need not begin anew twice.
        let is_unplaced = self.collections.get(ask.resource).is_some_and(|own| own.is_unplaced(&scope));
        let own = self.collection(ask.resource);
        let is_ahead = with_state && own.is_ahead(&scope);
        own.held |= is_ahead;
        if (with_state || is_unplaced)
            && self.online
            && (is_ahead || !self.is_followed(ask.resource, &scope))
            && !self.is_failing(ask.resource, &scope)
        {
            return Answer::Await;
        }
        if is_ahead {
            self.catch_up(ask.resource, &scope);
        }
        match self.begin(&scope, options, with_state, ask.resource) {
            Ok((phase, from)) => {
                let id = WatcherId(self.next_watcher);
                self.next_watcher += 1;
                let seconds = options.timeout_seconds.and_then(|seconds| u64::try_from(seconds).ok());
                let seconds = seconds.filter(|seconds| *seconds > 0);
                let seconds = seconds.unwrap_or(WATCH_SECONDS + ask.random % WATCH_SECONDS).min(24 * 3600);
                let watcher = Watcher {
                    resource: ask.resource.clone(),
                    scope,
                    identity: ask.who.clone(),
                    phase,
                    from,
                    end_due: with_state,
                    bookmarks: options.allow_watch_bookmarks,
                    next_bookmark: first_bookmark(ask.now, ask.random),
                    deadline: ask.now + Duration::from_secs(seconds),
                    woken: true,
                };
                self.watchers.insert(id, watcher);
                Answer::Watch(id)
            }
            Err(status) if status.code == 410 => Answer::WatchError(status),
            Err(status) => Answer::Refuse(status),
        }
    }

    /// Where a watch begins, and which version its client has.
    fn begin(
        &self,
        scope: &Scope,
        options: &ListOptions,
        with_state: bool,
        resource: &ResourceId,
    ) -> Result<(Phase, Option<Shown>), Status> {
        let text = options.resource_version.as_str();
        let version = match text {
            "" | "0" => None,
            text => Some(Shown::parse(text).ok_or_else(|| invalid_version(text))?),
        };
        let Some(collection) = self.collections.get(resource) else { return Err(not_here(resource)) };
        let current = collection.current(scope);
        if let Some(version) = version.filter(|version| *version > collection.newest(scope)) {
            return Err(foreign(version, Some(current)));
        }
        // What comes from now on comes behind what has been told of the scope.
        let start = collection.history.head();
        let now = (collection.told_limit(scope).unwrap_or(current), start);
        if with_state {
            let (barrier, after) = (collection.barrier, None);
            return Ok((Phase::State { barrier, after, start, place: now }, None));
        }
        let Some(version) = version else { return Ok((Phase::History { place: now, start }, None)) };
        let is_counted = version == current || collection.marks.count(scope, version);
        let found = collection.history.after(version).ok().filter(|_| is_counted);
        let found = found.ok_or_else(|| foreign(version, Some(current)))?;
        let place = found.map_or(now, |found| found.min(now));
        Ok((Phase::History { place, start: 0 }, Some(version)))
    }

    /// What is known ahead of a set's order is told now: nobody brings what comes before it.
    fn catch_up(&mut self, resource: &ResourceId, scope: &Scope) {
        if self.collections.get(resource).is_some_and(|own| own.is_ahead(scope)) {
            self.change(resource, |collection, out| collection.catch_up(out, scope));
            self.expire_skipped(resource);
            self.wake_held(resource);
        }
    }

    /// Whether a set is read from the cloud now: what is shown of it is what the cloud has, but for what is under way.
    pub fn follows(&self, resource: &ResourceId, scope: &Scope) -> bool {
        self.online && self.is_followed(resource, scope)
    }

    /// Whether a stream follows a scope now.
    fn is_followed(&self, resource: &ResourceId, scope: &Scope) -> bool {
        self.streams.values().any(|stream| {
            stream.resource == *resource
                && matches!(stream.state, State::Live)
                && !stream.anew
                && scope.is_within(&stream.scope)
        })
    }

    /// Whether the cloud is within reach and does not give the state of a scope all the same.
    fn is_failing(&self, resource: &ResourceId, scope: &Scope) -> bool {
        let of = |stream: &&Stream| stream.resource == *resource && scope.is_within(&stream.scope);
        let mut streams = self.streams.values().filter(of).peekable();
        streams.peek().is_none() || streams.any(|stream| stream.failures >= 2)
    }
}

impl Collection {
    /// The newest version that a client of a scope can have: one that the hub issued, or that the cloud told the hub.
    fn newest(&self, scope: &Scope) -> Shown {
        let current = self.current(scope);
        if self.id.is_overlaid() || self.is_unplaced(scope) {
            return current;
        }
        current.max(self.seen.map_or(current, Shown::cloud))
    }

    /// Whether a set must be read anew: what versions its clients have, other than the present one, is not known.
    fn is_unplaced(&self, scope: &Scope) -> bool {
        !self.id.is_overlaid() && self.marks.covering(scope).is_some_and(|mark| mark.position.is_none())
    }

    /// Whether something is known of a set that may not be told yet, since another stream is ahead of the one that reads it: whoever
    /// is shown that, and goes on from the set's version, is told what was before it.
    fn is_ahead(&self, scope: &Scope) -> bool {
        let Some(limit) = self.told_limit(scope) else { return false };
        self.history.from((limit.next(), 0)).any(|event| event.change_in(scope).is_some())
    }

    fn catch_up(&mut self, out: &mut Outlet, scope: &Scope) {
        let Some(last) = self.history.last() else { return };
        let covers =
            |mark: &&mut Mark| mark.asked == Asked::Set && mark.complete && scope.is_within(&mark.scope);
        let mut sets = Vec::new();
        for mark in self.marks.iter_mut().filter(covers) {
            mark.skipped = (mark.told(), last);
            mark.since = mark.since.max(last);
            sets.push(mark.scope.clone());
        }
        for scope in sets {
            self.store_mark(out, &scope, Asked::Set);
        }
    }

    fn listing(&self, scope: &Scope) -> Listing {
        let mut objects = Vec::new();
        let mut take = |entry: &crate::collection::Entry| {
            if let Some(object) = entry.visible_in(scope) {
                objects.push(object.clone());
            }
        };
        match scope.only_key() {
            Some(key) => self.entries.get(&key).into_iter().for_each(&mut take),
            None => self.entries.values().for_each(&mut take),
        }
        Listing { objects, rv: self.current(scope), after: self.barrier }
    }
}

/// A read that the view cannot answer: the cloud must, or nobody.
fn unknown(ask: Ask<'_>, online: bool) -> Answer {
    if online { Answer::Forward } else { Answer::Refuse(not_here(ask.resource)) }
}

fn not_here(resource: &ResourceId) -> Status {
    let of = resource.group_resource();
    Status::unavailable(format!("the cluster cannot be reached, and this node does not know these {of}"))
}

fn invalid_version(text: &str) -> Status {
    Status::bad_request(format!("Invalid value: {text:?}: resourceVersion is not one that a server wrote"))
}

fn foreign(version: Shown, current: Option<Shown>) -> Status {
    let current = current.map_or(String::new(), |current| format!(" ({current})"));
    Status::expired(format!("too old resource version: {version}{current}"))
}

/// A selector with a field that cannot be judged: the API server knows whether it may be asked for at all.
fn unselectable(resource: &ResourceId, scope: &Scope) -> Option<Status> {
    let odd = scope.fields.terms().iter().find(|term| !is_selectable(resource, &term.field))?;
    Some(Status::bad_request(format!("field label not supported: {}", odd.field)))
}
