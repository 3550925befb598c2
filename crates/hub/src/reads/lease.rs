//! The node's lease: it is about now. While the cloud is away kubelet renews it here, in memory, so that kubelet goes on in
//! peace; nothing of that is ever told to the cloud.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use hyper::{Response, StatusCode};
use serde_json::Value;
use view::{Key, ResourceId};
use wire::media::{self, Encoding, negotiate};
use wire::{Status, Verb};

use super::budget::Share;
use super::cloud::Whole;
use super::learn::{Read, What};
use super::render::Rendering;
use super::writes::Sent;
use super::{Reads, Who, json, lock, render};
use crate::body::Body;
use crate::link::State;
use crate::proxy::headers;
use crate::refuse;
use crate::store::{OWN, OwnRecord};

/// The namespace of the nodes' leases.
const NAMESPACE: &str = "kube-node-lease";
/// Behind [`OWN`], the key of this record: the lease as it was when its UID was first seen.
const LEASE: u8 = b'l';

/// The lease as it was last written or read, in JSON.
#[derive(Default)]
pub struct Lease(Mutex<Option<Value>>);

impl Lease {
    /// Takes over a record that was stored; others are not looked at.
    pub fn load(&self, key: &[u8], value: &[u8]) {
        if key == [OWN, LEASE] {
            *lock(&self.0) = serde_json::from_slice(value).ok();
        }
    }

    /// The cloud has this one. What is to be stored, if it is another than before.
    fn learn(&self, lease: Value) -> Option<OwnRecord> {
        let mut known = lock(&self.0);
        let news = known.as_ref().is_none_or(|known| uid(known) != uid(&lease));
        let record = news.then(|| (vec![OWN, LEASE], lease.to_string().into_bytes()));
        *known = Some(lease);
        record
    }

    fn get(&self) -> Option<Value> {
        lock(&self.0).clone()
    }
}

fn uid(lease: &Value) -> &str {
    lease.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default()
}

impl Reads {
    /// Whether this is kubelet about its own lease.
    fn is_own_lease(&self, who: &Who, about: &wire::Request) -> bool {
        about.resource.as_ref().is_some_and(|asked| {
            let names = (asked.group.as_str(), asked.resource.as_str(), asked.subresource.as_str());
            who.is_kubelet()
                && names == ("coordination.k8s.io", "leases", "")
                && asked.namespace == NAMESPACE
                && (asked.name == self.node || (asked.name.is_empty() && about.verb == Verb::Create))
        })
    }

    /// Whether a write is one of the lease that passes here.
    pub(super) fn renews(&self, who: &Who, about: &wire::Request) -> bool {
        matches!(about.verb, Verb::Create | Verb::Update) && self.is_own_lease(who, about)
    }

    /// Shows kubelet its lease while the cloud is away; else the cloud does.
    pub(super) fn show_lease(
        &self,
        who: &Who,
        about: &wire::Request,
        headers: &HeaderMap,
    ) -> Option<Response<Body>> {
        let is_asked = about.verb == Verb::Get && self.is_own_lease(who, about);
        if !is_asked || self.cloud.judge().state() == State::Up {
            return None;
        }
        Some(self.lease_answer(who, about, headers, &self.lease.get()?))
    }

    /// Passes a write of the lease on, or takes it here while the cloud is away.
    pub(super) async fn renew(
        self: &Arc<Self>,
        who: &Who,
        about: &wire::Request,
        sent: Sent,
    ) -> Response<Body> {
        let headers = sent.headers.clone();
        if self.cloud.judge().state() != State::Up {
            return self.renew_here(who, about, &sent);
        }
        let here = Sent { body: sent.body.clone(), headers: headers.clone(), ..Sent::nothing() };
        match self.send(who, sent).await {
            Ok(whole) => {
                self.kubelet_writes();
                self.learn_lease(&whole);
                self.as_it_came(whole)
            }
            Err(trouble) if Self::is_cut_off(&trouble) => self.renew_here(who, about, &here),
            Err(trouble) => refuse::answer(&refuse::trouble(&trouble), &headers),
        }
    }

    fn learn_lease(self: &Arc<Self>, whole: &Whole) {
        if !whole.status.is_success() {
            return;
        }
        let Some((body, encoding)) = whole.object() else { return };
        let Some(lease) = json::of(&body, encoding) else { return };
        if let Some((key, value)) = self.lease.learn(lease) {
            self.store.write_own(key, Some(value));
        }
    }

    fn renew_here(&self, who: &Who, about: &wire::Request, sent: &Sent) -> Response<Body> {
        let refuse = |status: &Status| refuse::answer(status, &sent.headers);
        let unknown =
            || Status::unavailable("the cluster cannot be reached, and this node's lease is not known");
        let Some(known) = self.lease.get() else { return refuse(&unknown()) };
        let of = wire::status::GroupResource { group: "coordination.k8s.io", resource: "leases" };
        if about.verb == Verb::Create {
            return refuse(&Status::already_exists(of, &self.node));
        }
        let encoding = match media::body(headers::text(&sent.headers, CONTENT_TYPE)) {
            Ok(media::Body::Object(encoding)) => encoding,
            Ok(media::Body::Yaml) => return refuse(&unknown()),
            Err(status) => return refuse(&status),
        };
        let Some(lease) = json::of(&sent.body, encoding) else {
            return refuse(&Status::bad_request("the lease cannot be read"));
        };
        let name = lease.pointer("/metadata/name").and_then(Value::as_str);
        if name != Some(self.node.as_str()) {
            return refuse(&Status::bad_request(format!(
                "the name of the object ({}) does not match the name on the URL ({})",
                name.unwrap_or_default(),
                self.node
            )));
        }
        if uid(&lease) != uid(&known) {
            return refuse(&Status::stale(of, &self.node));
        }
        // It keeps the cloud's version, under which the next renewal is taken there when the link is back.
        let answer = self.lease_answer(who, about, &sent.headers, &lease);
        *lock(&self.lease.0) = Some(lease);
        answer
    }

    fn lease_answer(
        &self,
        who: &Who,
        about: &wire::Request,
        headers: &HeaderMap,
        lease: &Value,
    ) -> Response<Body> {
        let version = about.resource.as_ref().map_or("v1", |asked| asked.version.as_str());
        let resource = ResourceId::new("coordination.k8s.io", version, "leases", NAMESPACE);
        let accepted = match negotiate(headers::text(headers, ACCEPT), render::served(&resource)) {
            Ok(accepted) => accepted,
            Err(status) => return refuse::answer(&status, headers),
        };
        let what = What::Object(Key::new(NAMESPACE, &self.node));
        let read = Read { who, target: "", headers, resource, what, accepted };
        let bytes = lease.to_string().into_bytes();
        let render = |rendering: &Rendering| rendering.object(&bytes, Encoding::Json).map(Bytes::from);
        self.rendered(&read, about, Share::default(), render).map_or_else(
            |_| refuse::answer(&Status::unavailable("the lease cannot be shown in this form"), headers),
            |mut response| {
                *response.status_mut() = StatusCode::OK;
                response
            },
        )
    }
}
