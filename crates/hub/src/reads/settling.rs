//! What waits is told to the cloud once it is back (design §6.4). The machine of crate `outbox` decides; here it is given
//! answers and the time, and its requests are sent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, StatusCode, Uri};
use outbox::report::{Reports, Stored};
use outbox::settle::{
    Answer, Effect, Fate, Fresh, Got, Limits, Moment, Objects, Place, Read as Reading, Reason, Request,
    Settle, Ticket,
};
use outbox::{Entry, Id, Outbox, Writer};
use serde_json::Value;
use tokio::sync::{Notify, oneshot};
use view::{Key, Record, ResourceId, Scope};
use wire::media::Accepted;
use wire::{Encoding, Status};

use super::cloud::{AGENT, Whole};
use super::learn::{Read, What};
use super::settled::Tally;
use super::staging::now;
use super::writes::Sent;
use super::{Reads, Who, json, lock, random};
use crate::cloud::Trouble;
use crate::link::State;
use crate::store::Own;

/// How long nothing happens at most.
const PULSE: Duration = Duration::from_secs(60);
/// When a record that could not be removed is tried again; then after twice as long, and so on.
const REMOVED_AGAIN: Duration = Duration::from_secs(1);
/// The longest such wait.
const MOST_WAIT: Duration = Duration::from_secs(60);

/// The machine, and what it has done.
pub struct Settling {
    pub(super) machine: Mutex<Settle>,
    reports: Mutex<Reports>,
    up: AtomicBool,
    /// Whether the node's clock agrees with the cloud's, as that said since the link came back.
    pub(super) is_clock_right: AtomicBool,
    pub(super) tally: Tally,
    /// Told when the machine may have something to do, or has done something.
    changed: Notify,
    /// Told when the node's status may go on.
    released: Notify,
}

impl Settling {
    /// One that knows of nothing yet, in the boot of this id.
    pub fn new(boot: Arc<str>) -> Settling {
        Settling {
            machine: Mutex::new(Settle::new(Limits::default(), boot, random())),
            reports: Mutex::default(),
            up: AtomicBool::new(false),
            is_clock_right: AtomicBool::new(false),
            tally: Tally::default(),
            changed: Notify::new(),
            released: Notify::new(),
        }
    }

    /// Takes over the record of a report's line.
    pub fn load(&self, value: &[u8]) {
        if !lock(&self.reports).load(value) {
            tracing::error!("a line of a report of what was settled is not understood: it is left alone");
        }
    }
}

/// What the machine is shown of entries and of the cloud's objects.
pub(super) struct Shown<'a>(pub(super) &'a Reads);

impl Objects for Shown<'_> {
    fn local(&mut self, id: &Id) -> Option<Value> {
        self.0.content(id)
    }

    fn fresh(&mut self, id: &Id) -> Fresh {
        let beneath = self.0.lock().beneath(&id.resource, &id.key);
        beneath
            .and_then(|object| self.0.cloud_value(&id.resource, &object))
            .map_or(Fresh::Absent, Fresh::Found)
    }
}

impl Reads {
    fn moment(&self) -> Moment {
        // Events are given up only by a clock that agrees with the cloud's.
        let is_right = self.settling.is_clock_right.load(Ordering::Relaxed);
        Moment { now: self.now(), wall: is_right.then(now) }
    }

    /// What was stored before this hub began waits; what a shutdown of the node wrote before this boot is taken back, before
    /// anybody is served.
    pub(super) fn begin_settling(self: &Arc<Self>) {
        let (waiting, _) = self.waiting();
        for entry in &waiting {
            match self.content(&entry.id) {
                Some(content) => lock(&self.settling.machine).put(entry, &content),
                None => {
                    tracing::error!("{}/{}: what waits of it cannot be read", entry.id.resource, entry.id.key)
                }
            }
        }
        lock(&self.settling.machine).undo_shutdown();
        self.carry_out();
    }

    /// Records that were damaged on the disk. What waited in them nobody knows any more: that is said, by name.
    pub(super) fn settling_lost(self: &Arc<Self>, lost: &[Vec<u8>]) {
        for key in lost {
            let id = Own::Staged.strip(key).and_then(Outbox::id);
            let Some(id) = id else {
                tracing::error!(
                    "a record of the hub's own was damaged on the disk and is given up: {}",
                    key.escape_ascii()
                );
                self.store.write_own(key.clone(), None);
                continue;
            };
            let fate = Fate::Dropped(Reason::Unreadable);
            tracing::error!("{}/{}: {fate}, for it was damaged on the disk", id.resource, id.key);
            let mut records = self.report_line(&id, &fate);
            records.push(Record::Delete { key: key.clone() });
            self.store.stage(records, |_| {});
        }
    }

    /// What is to be stored so that it is known what became of an entry.
    fn report_line(&self, id: &Id, fate: &Fate) -> Vec<Record> {
        self.settling.tally.count(fate);
        let lines = lock(&self.settling.reports).add(id, fate, now());
        let stored = lines.into_iter().map(|line| match line {
            Stored::Put { key, value } => Record::Put { key: Own::Report.key(&key), value, seal: true },
            Stored::Delete { key } => Record::Delete { key: Own::Report.key(&key) },
        });
        stored.collect()
    }

    /// Settles, for as long as the hub runs.
    pub async fn settle(self: &Arc<Self>) {
        loop {
            let changed = self.settling.changed.notified();
            let due = {
                let mut machine = lock(&self.settling.machine);
                machine.tick(self.moment(), &mut Shown(self));
                machine.next_tick(self.now())
            };
            self.carry_out();
            self.announce();
            let wait = due.map_or(PULSE, |due| due.saturating_sub(self.now())).min(PULSE);
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Tells the machine something.
    pub(super) fn tell_settling(&self, tell: impl FnOnce(&mut Settle, Moment)) {
        let moment = self.moment();
        tell(&mut lock(&self.settling.machine), moment);
        self.settling.changed.notify_one();
    }

    /// The link came back, or went.
    pub(super) fn settling_link(&self, up: bool) {
        if self.settling.up.swap(up, Ordering::Relaxed) == up {
            return;
        }
        self.settling.is_clock_right.store(false, Ordering::Relaxed);
        if up {
            lock(&self.settling.reports).begin();
            self.settling.tally.begin();
        }
        self.tell_settling(|machine, moment| machine.link(up, moment));
        self.settling.released.notify_waiters();
    }

    /// An entry was stored.
    pub(super) fn settling_put(&self, entry: &Arc<Entry>, content: &Value) {
        self.tell_settling(|machine, _| machine.put(entry, content));
    }

    /// kubelet writes while the cloud can be reached.
    pub(super) fn kubelet_writes(&self) {
        if self.cloud.judge().state() == State::Up {
            self.tell_settling(|machine, _| machine.kubelet_lives());
        }
    }

    /// A daemon called, with a credential of its own.
    pub(super) fn daemon_calls(&self, who: &Who) {
        self.tell_settling(|machine, _| machine.credential(&Writer::Daemon(who.identity.clone())));
    }

    /// The cloud's object at this place changed.
    pub(super) fn settling_moved(&self, resource: &ResourceId, key: &Key) {
        let place: Place = (resource.clone(), key.clone());
        self.tell_settling(|machine, _| machine.moved(&place));
    }

    /// Waits, for a bounded time, until the cloud knows of all pods that have ended: so no replacement is scheduled to this
    /// node before a success is known.
    pub(super) async fn hold_node_status(self: &Arc<Self>) {
        // The link may have come back a moment ago, and this be the first to notice.
        self.tell_link();
        loop {
            let released = self.settling.released.notified();
            let now = self.now();
            let until = {
                let machine = lock(&self.settling.machine);
                if !machine.holds_node(now) {
                    return;
                }
                machine.next_tick(now).unwrap_or(now + Duration::from_secs(1))
            };
            let wait = until.saturating_sub(now).clamp(Duration::from_millis(20), Duration::from_secs(1));
            tokio::select! {
                () = released => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Carries out what the machine wants done.
    fn carry_out(self: &Arc<Self>) {
        let effects = lock(&self.settling.machine).effects();
        for effect in effects {
            match effect {
                Effect::Read(read) => {
                    let reads = self.clone();
                    tokio::spawn(async move {
                        let got = reads.read_for_settling(&read).await;
                        reads.tell_settling(|machine, moment| machine.got(&read, got, moment));
                    });
                }
                Effect::Send { ticket, id, request } => {
                    let reads = self.clone();
                    tokio::spawn(async move { reads.send_settled(ticket, &id, request).await });
                }
                Effect::Settled { id, writes, fate } => {
                    // What cannot be removed yet is removed later. Nobody waits for that.
                    let _ = self.settled(&id, writes, &fate);
                }
                Effect::Parked { id, message } => {
                    tracing::warn!(
                        "{}/{}: the cloud forbids what waits of it: {message}",
                        id.resource,
                        id.key
                    );
                }
            }
        }
    }

    /// Reads something as the node, and lets the view learn it.
    pub(super) async fn read_for_settling(self: &Arc<Self>, read: &Reading) -> Got {
        let Some(who) = Who::node() else { return Got::Failed { retry_after: None } };
        let (resource, what) = match read {
            Reading::Pods => {
                let Ok(fields) = format!("spec.nodeName={}", self.node).parse() else {
                    return Got::Failed { retry_after: None };
                };
                let scope = Scope { fields, ..Scope::default() };
                (ResourceId::new("", "v1", "pods", ""), What::Set(scope, true))
            }
            Reading::Own((resource, key)) | Reading::Again((resource, key)) => {
                (resource.clone(), What::Object(key.clone()))
            }
        };
        let asked = match &what {
            // What was ever known of the pods is enough to begin with: a patch holds for the version that was read, and of each
            // change since then the stream tells.
            What::Set(scope, _) => {
                let known = self.lock().position(&resource, scope);
                self.ask_set(&who, (&resource, scope), known, &[]).await
            }
            What::Object(key) => {
                let target = format!("{}/{}", super::path::set(&resource, key.namespace()), key.name());
                self.ask_whole(&who, &target, self.own_headers(&resource)).await
            }
        };
        let none = HeaderMap::new();
        let read =
            Read { who: &who, target: "", headers: &none, resource, what, accepted: Accepted::DEFAULT };
        let whole = match asked {
            Ok(whole) => whole,
            Err(trouble) => {
                tracing::debug!("{trouble}");
                return Got::Failed { retry_after: None };
            }
        };
        let retry_after = retry_after(&whole.headers);
        self.hear_time(&whole.headers);
        match (whole.status, self.learn(&read, &whole, true)) {
            (StatusCode::NOT_FOUND, _) => Got::Absent,
            (StatusCode::FORBIDDEN, _) => Got::Forbidden,
            (_, true) => Got::Read,
            (status, false) => {
                tracing::warn!(
                    "{}: the cloud answered {status}, and what waits cannot be settled before it is read",
                    read.own_target()
                );
                Got::Failed { retry_after }
            }
        }
    }

    /// Sends what the machine wants sent, and tells it how that ended.
    async fn send_settled(self: &Arc<Self>, ticket: Ticket, id: &Id, request: Request) {
        let answer = self.settled_answer(id, request).await;
        self.tell_settling(|machine, moment| machine.answered(ticket, answer, moment));
        self.settling.released.notify_waiters();
    }

    async fn settled_answer(self: &Arc<Self>, id: &Id, request: Request) -> Answer {
        let who = match &id.writer {
            Writer::Kubelet => Who::node(),
            Writer::Daemon(identity) => self.callers.find(identity),
        };
        let (Some(who), Ok(target)) = (who, request.path.parse::<Uri>()) else { return Answer::NoCredential };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(request.content_type));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let Ok(method) = Method::from_bytes(request.method.as_bytes()) else { return Answer::NoCredential };
        let body = request.body.to_string().into();
        let is_delete = method == Method::DELETE;
        match self.send(&who, Sent { method, target, headers, body }).await {
            Ok(whole) => {
                self.hear_time(&whole.headers);
                self.learn_settled(id, is_delete, &whole);
                let message = match whole.status.is_success() {
                    true => String::new(),
                    false => message(&whole),
                };
                Answer::Code {
                    code: whole.status.as_u16(),
                    message,
                    retry_after: retry_after(&whole.headers),
                }
            }
            Err(Trouble::NoCredential) => Answer::NoCredential,
            Err(trouble) => {
                tracing::debug!("{}/{}: {trouble}", id.resource, id.key);
                Answer::Nothing
            }
        }
    }

    /// What the cloud's answer says of the object.
    fn learn_settled(self: &Arc<Self>, id: &Id, is_delete: bool, whole: &Whole) {
        if !super::answer::is_kept(&id.resource) {
            return;
        }
        let object = whole.object().and_then(|(body, encoding)| {
            let kept = whole.status.is_success().then(|| view::read(&id.resource, body.to_vec(), encoding));
            kept.and_then(Result::ok).map(|object| (object, body, encoding))
        });
        match (whole.status, object) {
            // Its last state, or that of a pod that finalizers keep.
            (status, Some((object, body, encoding))) if status.is_success() => {
                if is_delete && !has_finalizers(&body, encoding) {
                    self.with(|view| view.deleted(&id.resource, &id.key, &id.uid));
                } else {
                    self.with(|view| view.wrote(&id.resource, object));
                }
            }
            // Gone, or another pod has its name.
            (status, _) if status == StatusCode::NOT_FOUND || is_delete && is_gone_by(status) => {
                self.with(|view| view.deleted(&id.resource, &id.key, &id.uid));
            }
            _ => {}
        }
    }

    /// An entry, as it was after so many writes, is settled: that is noted and the entry removed, in one step, and then the
    /// cloud's object is shown. What is returned hears after that whether it could be stored; if not, it is tried again until
    /// it can. `None` if more was written since, or it is not there.
    pub(crate) fn settled(
        self: &Arc<Self>,
        id: &Id,
        writes: u64,
        fate: &Fate,
    ) -> Option<oneshot::Receiver<Result<(), String>>> {
        let removed = lock(&self.staging.outbox).remove(id, writes)?;
        match fate {
            Fate::Dropped(_) => tracing::warn!("{}/{}: {fate}", id.resource, id.key),
            _ => tracing::debug!("{}/{}: {fate}", id.resource, id.key),
        }
        let mut records = self.report_line(id, fate);
        records.push(Own::Staged.record(removed));
        let (reads, id) = (self.clone(), id.clone());
        let (tell, told) = oneshot::channel();
        self.store.stage(records, move |result| {
            // Nobody listens any more when the hub ends.
            let _ = tell.send(result);
        });
        let (pass_on, hear) = oneshot::channel();
        tokio::spawn(async move {
            let result = told.await.unwrap_or_else(|_| Err("the hub stops".to_owned()));
            reads.store.pump();
            lock(&reads.staging.outbox).removed(&id);
            if super::answer::is_kept(&id.resource) {
                reads.lay(&id.resource, &id.key, None);
            }
            reads.settling.released.notify_waiters();
            let is_owed = result.is_err();
            // Not everybody waits for that.
            let _ = pass_on.send(result);
            if is_owed {
                reads.remove_record(&id).await;
            }
        });
        Some(hear)
    }

    /// Removes the record of an entry that is no more, once the disk takes that: else it would be back after a restart, and be
    /// told though something newer may have been told since.
    async fn remove_record(&self, id: &Id) {
        for wait in std::iter::successors(Some(REMOVED_AGAIN), |wait| Some((*wait * 2).min(MOST_WAIT))) {
            tokio::time::sleep(wait).await;
            let (tell, told) = oneshot::channel();
            {
                let outbox = lock(&self.staging.outbox);
                if outbox.entry(id).is_some() {
                    // What was written since has taken the record's place.
                    return;
                }
                // Handed over before anything can be that is written next.
                let record = Own::Staged.record(Record::Delete { key: Outbox::key(id) });
                self.store.stage(vec![record], move |result| drop(tell.send(result)));
            }
            if let Ok(Ok(())) = told.await {
                return self.store.pump();
            }
        }
    }

    /// An operator takes an entry out.
    pub(crate) fn forget_settling(&self, id: &Id) {
        self.tell_settling(|machine, _| machine.removed(id));
    }

    /// How each entry stands.
    pub(crate) fn standings(&self) -> Vec<(Id, outbox::settle::Standing)> {
        lock(&self.settling.machine).standings().map(|(id, standing)| (id.clone(), standing)).collect()
    }

    /// The last settlings, oldest first, as JSON.
    #[must_use]
    pub fn reports(&self) -> Vec<Value> {
        lock(&self.settling.reports).all().map(outbox::report::Report::to_json).collect()
    }
}

/// Whether an answer to the final deletion of a pod says that this very pod is not there any more.
fn is_gone_by(status: StatusCode) -> bool {
    status.is_success() || status == StatusCode::CONFLICT
}

fn has_finalizers(body: &[u8], encoding: Encoding) -> bool {
    let object = json::of(body, encoding);
    let finalizers = object.as_ref().and_then(|object| object.pointer("/metadata/finalizers"));
    finalizers.and_then(Value::as_array).is_some_and(|finalizers| !finalizers.is_empty())
}

fn message(whole: &Whole) -> String {
    let status = whole.object().and_then(|(body, encoding)| Status::decode(&body, encoding));
    status.map_or_else(|| whole.status.to_string(), |status| status.message)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// The key of what waits in the store.
pub(super) fn staged_key(id: &Id) -> Vec<u8> {
    Own::Staged.key(&Outbox::key(id))
}
