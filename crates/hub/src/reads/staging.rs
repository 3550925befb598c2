//! What kubelet and the CNI's daemon write while the cloud is away: applied, flushed, shown, answered (design §6.3). What a
//! write makes of an object, and what waits, is the outbox's to say.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::Bytes;
use durable::os::OsFs;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Response, StatusCode};
use outbox::{Allowed, Asked, Base, Id, Outbox, Put, Refused, Staged, Stamp, Token, What, Writer};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use view::{Answer, Key, ResourceId};
use wire::media::negotiate;
use wire::{Encoding, Status};

use super::answer::is_kept;
use super::budget::Share;
use super::layers::set_version;
use super::learn::{Read, What as Asks};
use super::render::Rendering;
use super::writes::Sent;
use super::{Reads, Who, lock, render};
use crate::body::Body;
use crate::cloud::Trouble;
use crate::error::{Error, Result};
use crate::link::State;
use crate::proxy::headers;
use crate::store::Own;
use crate::{refuse, tls};

/// What waits for the cloud, and the boot in which it is written.
pub struct Staging {
    pub(super) outbox: Mutex<Outbox>,
    boot: Arc<str>,
    next: Mutex<Next>,
}

/// When nobody handed anything over for so many turns, what is there is flushed; a turn without anything to do takes a
/// microsecond.
const QUIET: u32 = 4;
/// So many are flushed whoever comes.
const MOST_AT_ONCE: usize = 512;

/// Hears how storing something ended.
type Tell = oneshot::Sender<std::result::Result<(), String>>;

/// What is handed over to be stored with the next flush.
#[derive(Default)]
struct Next {
    records: Vec<view::Record>,
    tells: Vec<Tell>,
    /// Whether somebody is at it.
    underway: bool,
}

impl Next {
    /// Whether nobody is at it yet.
    fn add(&mut self, records: impl Iterator<Item = view::Record>, tell: Tell) -> bool {
        self.records.extend(records);
        self.tells.push(tell);
        !std::mem::replace(&mut self.underway, true)
    }

    /// All that is there; nothing, and nobody is at it any more.
    fn take(&mut self) -> Option<(Vec<view::Record>, Vec<Tell>)> {
        self.underway = !self.tells.is_empty();
        self.underway.then(|| (std::mem::take(&mut self.records), std::mem::take(&mut self.tells)))
    }
}

/// A write that may wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writing {
    /// Whose it is.
    pub writer: Writer,
    /// What it is on the list as.
    pub allowed: Allowed,
}

/// A write that is being stored, or has nothing to store.
pub(super) struct Submitted {
    /// Hears how that ended; `None`: there is nothing to wait for.
    pub(super) stored: Option<oneshot::Receiver<std::result::Result<(), String>>>,
    /// The answer, where the view does not show it.
    pub(super) answer: Option<(StatusCode, Value)>,
    /// The UID of the object that the view shows then.
    pub(super) uid: String,
}

impl Staging {
    /// With what the log holds.
    ///
    /// # Errors
    /// The kernel's id of this boot cannot be read.
    pub fn new(outbox: Outbox) -> Result<Staging> {
        let env = |name: &str| std::env::var(name).ok();
        let boot = lease::machine::now(&OsFs, env).map_err(|e| Error::with("this boot", e))?.boot;
        Ok(Staging { outbox: Mutex::new(outbox), boot: boot.into(), next: Mutex::default() })
    }

    /// The kernel's id of this boot.
    pub(super) fn boot(&self) -> Arc<str> {
        self.boot.clone()
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp { now: now(), boot: self.boot.clone() }
    }
}

/// Seconds since 1970 by the node's clock.
pub(super) fn now() -> i64 {
    tls::since_1970(SystemTime::now()).as_secs().cast_signed()
}

impl Reads {
    /// What a request is, if it may wait for the cloud.
    pub(super) fn may_wait(&self, who: &Who, about: &wire::Request) -> Option<Writing> {
        let writer = if who.is_kubelet() { Writer::Kubelet } else { Writer::Daemon(who.identity.clone()) };
        let allowed = outbox::allowed(&writer, about, &self.node)?;
        if writer != Writer::Kubelet && !self.marked_before(who, about) {
            return None;
        }
        Some(Writing { writer, allowed })
    }

    /// Whether a write waits rather than goes to the cloud: the cloud is away, or it has not been told yet what was written
    /// of the same object before.
    pub(super) fn waits(&self, writing: &Writing, asked: &wire::Resource) -> bool {
        if self.cloud.judge().state() != State::Up {
            return true;
        }
        let resource = ResourceId::new(&asked.group, &asked.version, &asked.resource, &asked.namespace);
        let key = Key::new(&asked.namespace, &asked.name);
        let outbox = lock(&self.staging.outbox);
        match writing.allowed {
            Allowed::Event => false,
            Allowed::EventChange => outbox.event_named(&key).is_some(),
            _ => outbox.at(&resource, &key).any(|entry| entry.id.writer == writing.writer),
        }
    }

    /// Stages a write and answers it.
    pub(super) async fn stage(
        self: &Arc<Self>,
        who: &Who,
        about: &wire::Request,
        writing: &Writing,
        sent: &Sent,
    ) -> Response<Body> {
        let Some(asked) = &about.resource else {
            return refuse::answer(&Status::bad_request("the request names no resource"), &sent.headers);
        };
        let resource = ResourceId::new(&asked.group, &asked.version, &asked.resource, &asked.namespace);
        let accepted = match negotiate(headers::text(&sent.headers, ACCEPT), render::served(&resource)) {
            Ok(accepted) => accepted,
            Err(status) => return refuse::answer(&status, &sent.headers),
        };
        let submitted = match writing.allowed {
            Allowed::Event | Allowed::EventChange => self.submit_event(writing, asked, sent),
            _ => self.submit(writing, asked, &resource, sent),
        };
        let submitted = match submitted {
            Ok(submitted) => submitted,
            Err(status) => return refuse::answer(&status, &sent.headers),
        };
        if let Some(stored) = submitted.stored {
            let why = match stored.await {
                Ok(Ok(())) => None,
                Ok(Err(why)) => Some(why),
                Err(_) => Some("the hub stops".to_owned()),
            };
            if let Some(why) = why {
                let text = format!(
                    "the cluster cannot be reached, and this node could not store what it was told: {why}"
                );
                return refuse::answer(&Status::unavailable(text), &sent.headers);
            }
        }
        let key = Key::new(&asked.namespace, &asked.name);
        let what = Asks::Object(key.clone());
        let read = Read { who, target: "", headers: &sent.headers, resource, what, accepted };
        let (status, shown) = match submitted.answer {
            Some((status, object)) => (status, self.made(&read, about, &object)),
            None => (StatusCode::OK, self.shown(&read, about, &key, &submitted.uid).await),
        };
        let Some(mut response) = shown else {
            let text = "it was stored, and cannot be shown in this form: another one has taken its place";
            return refuse::answer(
                &Status::conflict(asked.group_resource(), &asked.name, text),
                read.headers,
            );
        };
        *response.status_mut() = status;
        response
    }

    /// An object that the view does not show, for a caller.
    fn made(&self, read: &Read<'_>, about: &wire::Request, object: &Value) -> Option<Response<Body>> {
        let bytes = object.to_string().into_bytes();
        let render = |rendering: &Rendering| rendering.object(&bytes, Encoding::Json).map(Bytes::from);
        self.rendered(read, about, Share::default(), render).ok()
    }

    /// Applies a write and hands it over to be stored. Nothing else happens in between, so that the next write of the same
    /// object stands on this one.
    fn submit(
        self: &Arc<Self>,
        writing: &Writing,
        asked: &wire::Resource,
        resource: &ResourceId,
        sent: &Sent,
    ) -> std::result::Result<Submitted, Status> {
        let key = Key::new(&asked.namespace, &asked.name);
        let Present { object, base, uid, pending } = self.present(resource, &key)?;
        let change = Asked {
            allowed: writing.allowed,
            resource: asked,
            content_type: headers::text(&sent.headers, CONTENT_TYPE),
            body: &sent.body,
            node: &self.node,
            release: self.release.get(),
            now: now(),
        };
        let id = Id::new(resource.clone(), key, uid.clone(), writing.writer.clone());
        let (mut next, what, answer) = match outbox::stage(&change, &object)? {
            Staged::Same if !pending => return Ok(Submitted { stored: None, answer: None, uid }),
            // It stands on something that may yet fail to be stored.
            Staged::Same => {
                let what = self.what(writing, &id, &object, &object);
                (object, what, None)
            }
            Staged::Changed(next) => {
                let what = self.what(writing, &id, &object, &next);
                (next, what, None)
            }
            Staged::Ended { last, gone } => {
                let answer = gone.then(|| (StatusCode::OK, last.clone()));
                (last, What::Finished { gone }, answer)
            }
        };
        set_version(&mut next, base.rv);
        let stored = Some(self.put(id, base, what, next)?);
        Ok(Submitted { stored, answer, uid })
    }

    /// What is to be told of an object that changed.
    fn what(&self, writing: &Writing, id: &Id, before: &Value, after: &Value) -> What {
        match writing.allowed {
            Allowed::CsiNode => What::Object,
            Allowed::Members => {
                let known = lock(&self.staging.outbox).entry(id).map(|entry| entry.what.clone());
                members(known, before, after)
            }
            _ => match lock(&self.staging.outbox).entry(id).map(|entry| entry.what.clone()) {
                // A pod that has ended stays ended, whatever its status says last.
                Some(finished @ What::Finished { .. }) => finished,
                _ => What::State,
            },
        }
    }

    /// Hands an entry over to be stored; what is returned hears how that ended, after the view shows it.
    pub(super) fn put(
        self: &Arc<Self>,
        id: Id,
        base: Base,
        what: What,
        content: Value,
    ) -> std::result::Result<oneshot::Receiver<std::result::Result<(), String>>, Status> {
        let stamp = self.staging.stamp();
        let word = what.word();
        let put = lock(&self.staging.outbox).put(id.clone(), base, what, content, &stamp);
        let Put { token, records } = put.map_err(|refused| {
            let (reason, text) = match refused {
                Refused::Full => {
                    ("outbox-full", "what waits for it has no more room: `edgekeep outbox` shows it")
                }
                Refused::TooLong => ("names-too-long", "the names of this are too long to be kept"),
            };
            self.writes.refused(reason);
            Status::unavailable(format!("the cluster cannot be reached, and {text}"))
        })?;
        let (tell, told) = oneshot::channel();
        let records = records.into_iter().map(|record| Own::Staged.record(record));
        let is_first = lock(&self.staging.next).add(records, tell);
        if is_first {
            let reads = self.clone();
            tokio::spawn(async move { reads.store_next().await });
        }
        Ok(self.settle_put(id, word, token, told))
    }

    /// Stores what was handed over, as long as there is something. It runs when all requests that are here have been
    /// looked at, and again after each flush: so many at once take few flushes, and one alone waits for nobody.
    async fn store_next(self: &Arc<Self>) {
        loop {
            // As long as others hand something over, they are let do so.
            let (mut waiting, mut idle) = (0, 0);
            while idle < QUIET {
                let now = lock(&self.staging.next).tells.len();
                idle = if now == waiting { idle + 1 } else { 0 };
                waiting = now;
                if now >= MOST_AT_ONCE {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let Some((records, tells)) = lock(&self.staging.next).take() else { return };
            let (tell, told) = oneshot::channel();
            self.store.stage(records, move |result| {
                // Nobody listens any more when the hub ends.
                let _ = tell.send(result);
            });
            let result = told.await.unwrap_or_else(|_| Err("the hub stops".to_owned()));
            self.store.pump();
            for tell in tells {
                // Its caller may have gone.
                let _ = tell.send(result.clone());
            }
        }
    }

    /// Shows an entry once it is stored, whoever waits for that; takes it back if it is not.
    fn settle_put(
        self: &Arc<Self>,
        id: Id,
        word: &'static str,
        token: Token,
        told: oneshot::Receiver<std::result::Result<(), String>>,
    ) -> oneshot::Receiver<std::result::Result<(), String>> {
        let (tell, hear) = oneshot::channel();
        let reads = self.clone();
        tokio::spawn(async move {
            let result = told.await.unwrap_or_else(|_| Err("the hub stops".to_owned()));
            match &result {
                Ok(()) => {
                    reads.writes.answered(word);
                    let stored = lock(&reads.staging.outbox).stored(&id, token);
                    if let Some((entry, content)) = stored {
                        reads.settling_put(&entry, &content.value);
                        if is_kept(&id.resource) {
                            reads.lay(&id.resource, &id.key, Some((&entry, content)));
                        }
                    }
                }
                Err(_) => {
                    reads.writes.refused("disk");
                    lock(&reads.staging.outbox).failed(&id, token);
                }
            }
            // The caller may have gone.
            let _ = tell.send(result);
        });
        hear
    }

    /// The object as the node has it now, changes that are being stored included.
    fn present(self: &Arc<Self>, resource: &ResourceId, key: &Key) -> std::result::Result<Present, Status> {
        let object = match self.known(resource, key) {
            Answer::Object { object, .. } => object,
            Answer::Refuse(status) => return Err(status),
            _ => return Err(unknown(resource)),
        };
        let uid = object.header.uid().to_owned();
        let mut shown = self.value(resource, &object).ok_or_else(|| unknown(resource))?;
        let base = Base {
            rv: object.header.rv.get(),
            generation: shown.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0),
        };
        let outbox = lock(&self.staging.outbox);
        let pending = outbox
            .at(resource, key)
            .filter(|entry| *entry.id.uid == *uid)
            .filter_map(|entry| Some((outbox.pending(&entry.id)?, entry.what.clone())))
            .max_by_key(|((token, _), _)| *token);
        let Some(((_, content), what)) = pending else {
            return Ok(Present { object: shown, base, uid, pending: false });
        };
        if what == (What::Finished { gone: true }) {
            return Err(Status::not_found(resource.group_resource(), key.name()));
        }
        let version = shown.pointer("/metadata/resourceVersion").cloned();
        shown = Value::clone(&content);
        if let (Some(metadata), Some(version)) =
            (shown.get_mut("metadata").and_then(Value::as_object_mut), version)
        {
            metadata.insert("resourceVersion".to_owned(), version);
        }
        Ok(Present { object: shown, base, uid, pending: true })
    }

    /// Whether a write that did not get through may wait: nobody knows that the cloud refused it.
    pub(super) fn is_cut_off(trouble: &Trouble) -> bool {
        matches!(trouble, Trouble::Gone(_) | Trouble::NotSent(_) | Trouble::Lost(_))
    }
}

/// The object that a write is made on.
struct Present {
    object: Value,
    base: Base,
    uid: String,
    /// Whether it is being stored.
    pending: bool,
}

fn unknown(resource: &ResourceId) -> Status {
    let of = resource.group_resource();
    Status::unavailable(format!("the cluster cannot be reached, and this node does not know these {of}"))
}

/// Which members a daemon has set by now.
fn members(known: Option<What>, before: &Value, after: &Value) -> What {
    let (mut annotations, mut conditions) = match known {
        Some(What::Members { annotations, conditions }) => (annotations, conditions),
        _ => (Vec::new(), Vec::new()),
    };
    let of = |object: &Value, path: &str| object.pointer(path).cloned().unwrap_or_else(|| json!({}));
    let path = "/metadata/annotations";
    let changed = patch::diff(&of(before, path), &of(after, path));
    annotations.extend(changed.as_object().into_iter().flatten().map(|(name, _)| name.clone()));
    let path = "/status/conditions";
    let list = |object: &Value| object.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
    let (old, new) = (list(before), list(after));
    let differs =
        old.iter().filter(|one| !new.contains(one)).chain(new.iter().filter(|one| !old.contains(one)));
    conditions.extend(differs.filter_map(|one| one.get("type").and_then(Value::as_str)).map(str::to_owned));
    for names in [&mut annotations, &mut conditions] {
        names.sort();
        names.dedup();
    }
    What::Members { annotations, conditions }
}
