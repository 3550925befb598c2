//! What clients are shown: each change is numbered, stored, and put into the history.

use std::borrow::Cow;
use std::sync::Arc;

use wire::Encoding;

use crate::collection::{Collection, Deletion};
use crate::decode::numbered;
use crate::effect::Trouble;
use crate::history::Draft;
use crate::mark::{Asked, Mark};
use crate::object::{Body, Header, Object};
use crate::outlet::{Outlet, Underway};
use crate::persist::{Barrier, Record};
use crate::policy::{Log, Policy};
use crate::record::{self, Stored};
use crate::resource::Key;
use crate::scope::Scope;
use crate::version::Shown;

impl Collection {
    /// Numbers, stores and shows an object in place of what was shown before.
    pub fn show(
        &mut self,
        out: &mut Outlet,
        key: &Key,
        old: Option<Object>,
        new: Option<Object>,
        at: Option<(Shown, Option<Shown>)>,
    ) {
        let Some(new) = new else { return };
        let overlaid = self.id.is_overlaid();
        let shown = if overlaid { self.number(out) } else { Shown::cloud(new.header.rv) };
        let new = if overlaid { numbered(new, shown) } else { new };
        let laid = self.entries.get(key).is_some_and(|entry| entry.over.is_some());
        let mut barrier = Barrier::default();
        let log = out.policy.log_of(&self.id).filter(|_| !laid);
        if let Some(log) = log {
            let must_flush =
                out.policy.must_flush(&self.id, old.as_ref().map(|old| &*old.header), Some(&new.header));
            barrier = self.store(out, log, key, &new, overlaid.then_some(shown), must_flush);
        }
        // Bytes of the old object are needed only by whom it leaves.
        let may_leave = old.as_ref().filter(|old| !same_for_selectors(&old.header, &new.header));
        let gone = may_leave.and_then(|old| out.with_bytes(&self.id, old));
        if let Some(entry) = self.entries.get_mut(key) {
            match (&mut entry.over, &mut entry.cloud) {
                (Some(over), _) => over.object = Some(new.clone()),
                (None, cloud) => *cloud = Some(new.clone()),
            }
        }
        self.push_numbered(
            out,
            key,
            old.as_ref(),
            Some(new),
            gone,
            at.unwrap_or((shown, None)),
            barrier,
            None,
        );
    }

    /// Puts a change into the history.
    #[allow(clippy::too_many_arguments, reason = "what an event is made of")]
    pub(crate) fn push_numbered(
        &mut self,
        out: &mut Outlet,
        key: &Key,
        old: Option<&Object>,
        new: Option<Object>,
        gone: Option<Object>,
        (shown, until): (Shown, Option<Shown>),
        mut barrier: Barrier,
        leaves: Option<Scope>,
    ) {
        barrier.merge(self.sequence.barrier(&out.progress));
        let gone = gone.map(|gone| numbered(gone, shown));
        let old = old.map(|old| Arc::clone(&old.header));
        let stays = leaves.is_some();
        let left = self.left(key).to_vec();
        let hidden = if stays { left.clone() } else { self.still_left(key) };
        if let Some(entry) = self.entries.get_mut(key) {
            entry.left.clone_from(&hidden);
        }
        let mut draft =
            Draft { key: key.clone(), shown, until, old, left, hidden, leaves, new, gone, barrier };
        let told = if self.id.is_overlaid() { None } else { self.place(out, &mut draft) };
        self.barrier.merge(draft.barrier);
        let index = self.history.push(draft, told, out.limits);
        if let Some(entry) = self.entries.get_mut(key).filter(|_| !stays) {
            (entry.shown, entry.stamp) = (Some(shown), index + 1);
        }
    }

    /// Up to which version watchers were told everything that comes before a change.
    ///
    /// Where that is not before the change (a hub that started anew gives its clients the version of the last thing that the
    /// logs have, though the set of some was not read so far), it is told under the next version, and whoever has one from
    /// before begins anew.
    fn place(&mut self, out: &mut Outlet, draft: &mut Draft) -> Option<Shown> {
        let is_read =
            |mark: &&mut Mark| mark.asked == Asked::Set && mark.complete && draft.concerns(&mark.scope);
        let told = self.marks.iter_mut().filter(is_read).map(|mark| mark.told()).max()?;
        if told < draft.until.unwrap_or(draft.shown) {
            return Some(told);
        }
        let next = told.next();
        let mut scopes = Vec::new();
        for mark in self.marks.iter_mut().filter(is_read) {
            mark.since = next;
            scopes.push(mark.scope.clone());
        }
        for scope in scopes {
            draft.barrier.merge(self.store_mark(out, &scope, Asked::Set));
        }
        draft.until = Some(next);
        Some(next)
    }

    /// A stream tells of an end that another is past: of those who go on from a version that the cloud gave them, some have what
    /// ended there. That it came is not told.
    pub(crate) fn show_passed(&mut self, out: &mut Outlet, key: &Key, now: &Object, by: Deletion) {
        let Some(last) = by.last.filter(|last| last.bytes().is_some()) else { return };
        let is_in = |scope: &Scope| now.is_same(&last) && scope.takes(&now.header);
        let is_of_epoch = self.entries.get(key).is_some_and(|entry| entry.epoch == self.epoch);
        if self.id.is_overlaid() || !is_of_epoch || is_in(by.leaves.as_ref().unwrap_or(&Scope::default())) {
            return;
        }
        let past = |mark: &&Mark| {
            mark.asked == Asked::Set
                && mark.told() >= Shown::cloud(by.rv)
                && mark.scope.may_take(&last.header.key)
        };
        let left = self.marks.iter().filter(past).map(|mark| mark.scope.clone()).collect();
        let (old, shown) = (Some(Arc::clone(&last.header)), Shown::cloud(by.rv));
        let draft = Draft {
            key: key.clone(),
            shown,
            until: None,
            old,
            left,
            hidden: Vec::new(),
            leaves: by.leaves,
            new: None,
            gone: Some(numbered(last, shown)),
            barrier: Barrier::default(),
        };
        self.history.push(draft, None, out.limits);
    }

    /// The next view RV.
    pub(crate) fn number(&mut self, out: &mut Outlet) -> Shown {
        if let Some(seen) = self.seen.filter(|_| self.unnumbered) {
            // Which were issued is not known, only that there were no more of them than the cloud has had changes.
            self.sequence.skip_to(seen.get());
        }
        self.reserve(out);
        let issued = self.sequence.issue(self.seen);
        if issued.above_cloud && self.seen.is_some() && !std::mem::replace(&mut self.warned, true) {
            out.report(Trouble::CloudTooYoung { resource: self.id.clone(), issued: issued.rv });
        }
        Shown::view(issued.rv)
    }

    /// Reserves view RVs, if there are not enough of them.
    pub(crate) fn reserve(&mut self, out: &mut Outlet) {
        if let Some(up_to) = self.sequence.block_due() {
            let record = record::put_reserved(&self.id, up_to);
            let (_, written) = out.persist(Log::Keep, vec![record], true);
            self.sequence.reserved(up_to, written, &out.progress);
        }
    }

    /// Stores an object; once it is written its bytes may be let go of.
    fn store(
        &self,
        out: &mut Outlet,
        log: Log,
        key: &Key,
        object: &Object,
        shown: Option<Shown>,
        flush: bool,
    ) -> Barrier {
        let record = self.object_record(out, key, object, shown, false);
        let (number, barrier) = out.persist(log, record.into_iter().collect(), flush);
        let (resource, version) = (self.id.clone(), object.header.rv.get());
        out.underway.push_back(Underway { log, number, resource, key: key.clone(), version });
        barrier
    }

    pub fn store_beneath(&mut self, out: &mut Outlet, key: &Key, object: &Object) {
        if let Some(log) = out.policy.log_of(&self.id) {
            let barrier = self.store(out, log, key, object, None, false);
            self.barrier.merge(barrier);
        }
    }

    pub(crate) fn object_record(
        &self,
        out: &Outlet,
        key: &Key,
        object: &Object,
        shown: Option<Shown>,
        ahead: bool,
    ) -> Option<Record> {
        let bytes = Cow::Borrowed(&**object.bytes()?);
        let (epoch, encoding, cloud) = (self.epoch, object.encoding, object.header.rv);
        let stored = Stored { epoch, ahead, encoding, cloud, shown, bytes };
        Some(record::put_object(&self.id, key, &stored, out.policy.is_secret(&self.id)))
    }

    /// An object lies in a log in this version: its bytes are let go of, unless they are held for good.
    pub fn release(&mut self, policy: &Policy, key: &Key, version: u64) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.logged = Some(version);
        let is_laid = entry.over.as_ref().is_some_and(|over| over.ahead.is_none());
        let cloud = entry.cloud.as_mut().filter(|cloud| cloud.header.rv.get() == version);
        let ours =
            |cloud: &&mut Object| is_laid || entry.over.is_none() && !policy.is_held(&self.id, &cloud.header);
        if let Some(cloud) = cloud.filter(ours) {
            cloud.body = Body::Stored;
        }
    }

    /// Something laid over an object, or its absence, hides what was shown.
    pub fn hide(&mut self, out: &mut Outlet, key: &Key, old: &Object) {
        let gone = out.with_bytes(&self.id, old);
        let at = (self.number(out), None);
        self.push_numbered(out, key, Some(old), None, gone, at, Barrier::default(), None);
    }

    /// Keeps the same version of an object in JSON from now on, if the protobuf that is kept of it has fields that the table
    /// does not know: from JSON nothing gets lost on the way to whoever reads JSON.
    pub fn recode(&mut self, out: &mut Outlet, object: Object) {
        let key = object.header.key.clone();
        let Some(entry) = self.entries.get(&key).filter(|entry| entry.epoch == self.epoch) else { return };
        let (Some(cloud), None) = (&entry.cloud, &entry.over) else { return };
        let same = cloud.header.rv == object.header.rv && cloud.is_same(&object);
        let encodings = (cloud.encoding, object.encoding);
        if !same || encodings != (Encoding::Protobuf, Encoding::Json) {
            return;
        }
        let kept = out.with_bytes(&self.id, cloud);
        let newer = kept.as_ref().and_then(Object::bytes).is_some_and(|bytes| {
            wire::transcode::has_unknown_fields(bytes, Encoding::Protobuf).unwrap_or(true)
        });
        if !newer {
            return;
        }
        let shown = entry.shown.filter(|_| self.id.is_overlaid());
        let object = shown.map_or(object.clone(), |shown| numbered(object, shown));
        if let Some(log) = out.policy.log_of(&self.id) {
            self.store(out, log, &key, &object, shown, false);
        }
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.cloud = Some(object);
        }
    }
}

/// Whether no selector can tell two versions of an object apart.
fn same_for_selectors(old: &Header, new: &Header) -> bool {
    let (old, new) = (old.parts(), new.parts());
    old == new
}
