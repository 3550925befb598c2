//! Answers to reads, as the view gives them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::Response;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use view::{Answer, Ask, Barrier, Identity, Key, Listing, Object, ResourceId, Scope, WatcherId};
use wire::media::{Accepted, Form, JSON, clauses, negotiate, negotiate_stream};
use wire::request::{GetOptions, is_path_segment};
use wire::{Encoding, ListOptions, Request, Status, Verb};

use super::budget::Share;
use super::frames::Watching;
use super::learn::{Read, Step, What};
use super::render::{Failed, Kept, Rendering};
use super::{Reads, Who, path, random, render};
use crate::body::Body;
use crate::cloud::Trouble;
use crate::link::State;
use crate::proxy::headers;
use crate::{refuse, tls};

/// So often a read is turned over before that is the answer.
const TURNS: u32 = 16;
/// How long a watch waits for the first state of its set.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a list waits for a stream to go on, before it goes to the cloud itself; again and again while the stream is
/// delivering what it waits for.
const LIST_PATIENCE: Duration = Duration::from_secs(5);

/// A read's options.
enum Options {
    Get(Key, GetOptions),
    List(ListOptions),
    Watch(ListOptions),
}

impl Reads {
    /// Answers a read, if the view has to do with such reads; else it is the cloud's alone.
    pub async fn serve(
        self: &Arc<Self>,
        who: &Who,
        about: &Request,
        target: &str,
        brought: &HeaderMap,
    ) -> Option<Response<Body>> {
        let asked =
            about.resource.as_ref().filter(|asked| asked.subresource.is_empty() && about.verb.is_read())?;
        if let Some(response) = self.show_lease(who, about, brought) {
            return Some(response);
        }
        let resource = ResourceId::new(&asked.group, &asked.version, &asked.resource, &asked.namespace);
        if !is_kept(&resource) || !is_plain(about, asked, &resource) {
            return None;
        }
        let online = self.cloud.judge().state() == State::Up;
        let refused = |status: Status| (!online).then(|| refuse::answer(&status, brought));
        let options = match about.verb {
            Verb::Get => Ok(Options::Get(Key::new(&asked.namespace, &asked.name), GetOptions::of(about))),
            Verb::List => ListOptions::of(about).map(Options::List),
            _ => ListOptions::of(about).map(Options::Watch),
        };
        let options = match options {
            Ok(options) => options,
            // The cloud knows best how to say what is wrong, and may be newer than this.
            Err(status) => return refused(status),
        };
        let accept = headers::text(brought, ACCEPT);
        let served = render::served(&resource);
        let accepted = match &options {
            Options::Watch(_) => negotiate_stream(accept, served),
            _ => negotiate(accept, served),
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(status) => return refused(status),
        };
        // Tables are for people; the API server makes better ones.
        if online && matches!(accepted.form, Form::Table(_)) {
            return None;
        }
        if self.callers.called(who) {
            let now = self.now();
            self.with(|view| view.credential_changed(&who.identity, now));
            self.daemon_calls(who);
        }
        let what = match &options {
            Options::Get(key, _) => What::Object(key.clone()),
            Options::List(options) | Options::Watch(options) => {
                let whole = options.continue_token.is_empty();
                What::Set(Scope::of(&asked.namespace, options), whole)
            }
        };
        let takes_json = clauses(accept).iter().any(|clause| clause.takes("application", "json"));
        let mut read = Read { who, target, headers: brought, resource, what, accepted };
        for _ in 0..2 {
            if takes_json && read.accepted.form == Form::Object && self.is_newer(&read.resource) {
                read.accepted = Accepted { encoding: Encoding::Json, media_type: JSON, ..accepted };
            }
            if let Some(response) = self.turn(&read, &options, about).await {
                return Some(response);
            }
        }
        let status = Status::unavailable(
            "what is known is newer than this hub, which cannot show it in this encoding",
        );
        Some(refuse::answer(&status, read.headers))
    }

    /// The object as the view shows it, once `uid` is what it has; `None` if it is not there any more.
    pub(super) async fn shown(
        self: &Arc<Self>,
        read: &Read<'_>,
        about: &Request,
        key: &Key,
        uid: &str,
    ) -> Option<Response<Body>> {
        for _ in 0..TURNS {
            let Answer::Object { object, after } = self.known(&read.resource, key) else { return None };
            if object.header.uid() != uid {
                return None;
            }
            self.passed(&after).await;
            if let Some(bytes) = self.bytes(&read.resource, &object) {
                let share = Share::default();
                let render =
                    |rendering: &Rendering| rendering.object(&bytes, object.encoding).map(Bytes::from);
                return self.rendered(read, about, share, render).ok();
            }
        }
        None
    }

    /// What the view has of an object, whoever may read it.
    pub(super) fn known(self: &Arc<Self>, resource: &ResourceId, key: &Key) -> Answer {
        let who = Identity::new("");
        let (now, random) = (self.now(), random());
        let ask = Ask { who: &who, resource, granted: true, fresh: true, patient: false, now, random };
        self.with(|view| view.get(ask, key, &GetOptions::default()))
    }

    /// The name of this node, if it is known in the cloud.
    pub(super) fn own_node(self: &Arc<Self>) -> Option<String> {
        let (nodes, key) = (ResourceId::new("", "v1", "nodes", ""), Key::new("", &self.node));
        matches!(self.known(&nodes, &key), Answer::Object { .. }).then(|| self.node.clone())
    }

    /// What somebody asks of the view.
    pub(super) fn ask_as<'a>(&self, who: &'a Who, resource: &'a ResourceId, fresh: bool) -> Ask<'a> {
        // kubelet starts what a list says, so its lists are the cloud's as long as there is one.
        let patient = !who.is_kubelet();
        Ask {
            who: &who.identity,
            resource,
            granted: false,
            fresh,
            patient,
            now: self.now(),
            random: random(),
        }
    }

    /// Turns a read over until it is answered; `None` if what is there has just turned out to be newer than the table, and
    /// cannot be shown in the encoding that was chosen.
    async fn turn(
        self: &Arc<Self>,
        read: &Read<'_>,
        options: &Options,
        about: &Request,
    ) -> Option<Response<Body>> {
        let namespace = about.resource.as_ref().map_or("", |asked| asked.namespace.as_str());
        let mut fresh = false;
        let mut again = self.again.subscribe();
        let is_list = matches!(options, Options::List(_));
        let began = tokio::time::Instant::now();
        let mut patience = began + if is_list { LIST_PATIENCE } else { PATIENCE };
        let mut turns = 0;
        let mut asked = false;
        while turns < TURNS {
            again.borrow_and_update();
            // A watch is asked about before it begins.
            if !asked && matches!(options, Options::Watch(_)) && self.shows(read) && self.is_due(read) {
                asked = true;
                if let Step::Answer(refusal) = self.ask_again(read).await {
                    return Some(refusal);
                }
            }
            let ask = self.ask_as(read.who, &read.resource, fresh);
            let answer = self.with(|view| match options {
                Options::Get(key, options) => view.get(ask, key, options),
                Options::List(options) => view.list(ask, namespace, options),
                Options::Watch(options) => view.watch(ask, namespace, options),
            });
            let step = match answer {
                Answer::List(_) if !asked && !fresh && self.is_due(read) => {
                    asked = true;
                    self.ask_again(read).await
                }
                Answer::Object { .. } if !asked && !fresh && self.is_due(read) => {
                    asked = true;
                    self.forward(read).await
                }
                Answer::Object { object, after } => self.object(read, about, &object, &after, fresh).await,
                Answer::List(listing) => self.list(read, about, &listing, fresh).await,
                Answer::Watch(id) => Step::Answer(self.watch(read, about, Ok(id))),
                Answer::WatchError(status) => Step::Answer(self.watch(read, about, Err(status))),
                Answer::Forward => self.forward(read).await,
                Answer::Verify => self.verify(read, &read.scope(), &[("limit", "1")]).await,
                Answer::Await => {
                    if tokio::time::timeout_at(patience, again.changed()).await.is_ok() {
                        continue;
                    }
                    if is_list && patience < began + PATIENCE && self.is_coming(read) {
                        patience += LIST_PATIENCE;
                        continue;
                    }
                    if !is_list {
                        let status =
                            Status::unavailable("the API server does not give the present state of this set");
                        return Some(refuse::answer(&status, read.headers));
                    }
                    self.forward(read).await
                }
                Answer::Refuse(status) => Step::Answer(refuse::answer(&status, read.headers)),
            };
            match step {
                Step::Answer(response) => return Some(response),
                Step::Again { fresh: now } => fresh = now,
                Step::Newer => {
                    self.read_in_json(&read.resource);
                    if self.cloud.judge().state() != State::Up {
                        return None;
                    }
                    // The cloud has it in the caller's encoding.
                    match self.forward(read).await {
                        Step::Answer(response) => return Some(response),
                        Step::Again { fresh: now } => fresh = now,
                        Step::Newer => return None,
                    }
                }
            }
            turns += 1;
        }
        let status = Status::unavailable("what was asked for changes faster than it can be read");
        Some(refuse::answer(&status, read.headers))
    }

    /// Whether what is read is just being delivered.
    fn is_coming(&self, read: &Read<'_>) -> bool {
        self.lock().is_coming(&read.resource, &read.scope())
    }

    /// Whether the view would show this set by what the cloud granted before.
    fn shows(&self, read: &Read<'_>) -> bool {
        self.lock().grants(&read.who.identity, &read.resource, &read.scope())
    }

    async fn object(
        &self,
        read: &Read<'_>,
        about: &Request,
        object: &Object,
        after: &Barrier,
        fresh: bool,
    ) -> Step {
        self.passed(after).await;
        let Some(bytes) = self.bytes(&read.resource, object) else { return Step::Again { fresh } };
        if (read.accepted.form, read.accepted.encoding) == (Form::Object, object.encoding) {
            let content_type = read.accepted.content_type();
            return Step::Answer(self.of_type(content_type, Bytes::from_owner(bytes), Share::default()));
        }
        let render = |rendering: &Rendering| rendering.object(&bytes, object.encoding).map(Bytes::from);
        step(self.rendered(read, about, Share::default(), render), read.headers)
    }

    async fn list(&self, read: &Read<'_>, about: &Request, listing: &Listing, fresh: bool) -> Step {
        self.passed(&listing.after).await;
        let rv = listing.rv.to_string();
        if let Some(bytes) = self.lists.get(&read.resource, &read.accepted, listing, &rv, self.now()) {
            let Some(share) = self.share(read, bytes.len()).await else { return too_many(read) };
            return step(self.rendered(read, about, share, |_| Ok(bytes)), read.headers);
        }
        let bytes = |object: &Object| Some((self.bytes(&read.resource, object)?, object.encoding));
        let objects: Option<Vec<Kept>> = listing.objects.iter().map(bytes).collect();
        // The log has a newer one of them by now.
        let Some(objects) = objects else { return Step::Again { fresh } };
        let size = objects.iter().map(|(bytes, _)| bytes.len()).sum();
        let Some(share) = self.share(read, size).await else { return too_many(read) };
        let rendered = self.rendered(read, about, share, |rendering| {
            let bytes = Bytes::from(rendering.list(&objects, &rv)?);
            let made = (bytes.clone(), self.now());
            self.lists.keep(&read.resource, &read.accepted, listing, rv, made);
            Ok(bytes)
        });
        step(rendered, read.headers)
    }

    /// The right to hold `size` bytes for a caller; `None` if he has too many under way.
    async fn share(&self, read: &Read<'_>, size: usize) -> Option<Share> {
        let mut share = Share::default();
        self.budget.enlarge(&read.who.identity, &mut share, size).await.then_some(share)
    }

    /// A watch, or one that says only why there is none.
    fn watch(
        self: &Arc<Self>,
        read: &Read<'_>,
        about: &Request,
        watch: Result<WatcherId, Status>,
    ) -> Response<Body> {
        let rendering = match self.rendering(read, about) {
            Ok(rendering) => rendering,
            Err(status) => {
                if let Ok(id) = watch {
                    self.with(|view| view.unwatch(id));
                }
                return refuse::answer(&status, read.headers);
            }
        };
        let content_type = HeaderValue::from_static(rendering.stream_content_type());
        let (reads, resource) = (self.clone(), read.resource.clone());
        let watching = match watch {
            Ok(id) => Watching::new(reads, id, resource, rendering),
            Err(status) => Watching::error(reads, &status, resource, rendering),
        };
        let mut response = Response::new(Body::Watch(Box::new(watching)));
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }

    fn rendering(&self, read: &Read<'_>, about: &Request) -> Result<Rendering, Status> {
        let resource = &read.resource;
        let unknown = || {
            Status::unavailable(format!("what {resource} are called is not known while the cluster is gone"))
        };
        let names = self.kinds.names(resource).ok_or_else(unknown)?;
        let now = tls::since_1970(SystemTime::now()).as_secs().cast_signed();
        Rendering::new(read.accepted, resource, names, &about.query, now)
    }

    pub(super) fn rendered(
        &self,
        read: &Read<'_>,
        about: &Request,
        share: Share,
        render: impl FnOnce(&Rendering) -> Result<Bytes, Failed>,
    ) -> Result<Response<Body>, Failed> {
        let rendering = self.rendering(read, about)?;
        let bytes = render(&rendering)?;
        Ok(self.of_type(rendering.content_type(), bytes, share))
    }

    fn of_type(&self, content_type: &'static str, bytes: Bytes, share: Share) -> Response<Body> {
        let mut response = Response::new(self.body(bytes, share));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }
}

fn too_many(read: &Read<'_>) -> Step {
    Step::Answer(refuse::answer(&refuse::trouble(&Trouble::TooMany), read.headers))
}

fn step(rendered: Result<Response<Body>, Failed>, headers: &HeaderMap) -> Step {
    match rendered {
        Ok(response) => Step::Answer(response),
        Err(Failed::Newer) => Step::Newer,
        Err(Failed::Status(status)) => Step::Answer(refuse::answer(&status, headers)),
    }
}

/// Leases of nodes are about now and events are not read: both go by the view.
pub(super) fn is_kept(resource: &ResourceId) -> bool {
    match resource.resource() {
        "leases" => !resource.is_overlaid(),
        name => name != "events",
    }
}

/// Whether a request is written as the hub itself would write it: of any other spelling the API server is the judge.
pub(super) fn is_plain(about: &Request, asked: &wire::Resource, resource: &ResourceId) -> bool {
    let set = path::set(resource, &asked.namespace);
    let plain = match about.verb {
        Verb::Get => is_path_segment(&asked.name) && about.path == format!("{set}/{}", asked.name),
        _ => about.path == set,
    };
    plain && (asked.namespace.is_empty() || is_path_segment(&asked.namespace))
}
