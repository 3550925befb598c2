//! Events while the cloud is away: taken at once, for whoever writes one drops it for good at the first error, and told
//! later, the same ones once.

use std::sync::Arc;
use std::time::SystemTime;

use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use outbox::{Allowed, Base, What, events};
use patch::Form;
use serde_json::Value;
use view::Key;
use wire::media::{self, Encoding};
use wire::{Status, transcode};

use super::staging::{Submitted, Writing};
use super::writes::Sent;
use super::{Reads, lock, random};
use crate::node_certificate::wire_time;
use crate::proxy::headers;

impl Reads {
    /// Takes a new event, or a change of one.
    pub(super) fn submit_event(
        self: &Arc<Self>,
        writing: &Writing,
        asked: &wire::Resource,
        sent: &Sent,
    ) -> Result<Submitted, Status> {
        match writing.allowed {
            Allowed::Event => self.submit_new_event(asked, sent),
            _ => self.submit_event_change(asked, sent),
        }
    }

    fn submit_new_event(self: &Arc<Self>, asked: &wire::Resource, sent: &Sent) -> Result<Submitted, Status> {
        let encoding = match media::body(headers::text(&sent.headers, CONTENT_TYPE))? {
            media::Body::Object(encoding) => encoding,
            media::Body::Yaml => return Err(Status::unavailable("YAML is read by the API server only")),
        };
        let json = transcode::transcode(&sent.body, encoding, Encoding::Json).map_err(|e| e.to_status())?;
        let event: Value =
            serde_json::from_slice(&json.bytes).map_err(|e| Status::bad_request(e.to_string()))?;
        let event = events::made(event, asked, &uid(), &wire_time(SystemTime::now()))?;
        let name = event.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let like = lock(&self.staging.outbox).event_like(&event);
        let id = like.clone().unwrap_or_else(|| events::id(&Key::new(&asked.namespace, &name)));
        let (known, names) = match like.and_then(|id| self.staged_event(&id)) {
            Some((mut known, mut names)) => {
                events::fold(&mut known, &mut names, &name, &event);
                (known, names)
            }
            None => (event.clone(), vec![(name, events::count(&event))]),
        };
        let stored = self.put(id, Base::default(), What::Event { names }, known)?;
        Ok(Submitted { stored: Some(stored), answer: Some((StatusCode::CREATED, event)), uid: String::new() })
    }

    /// A change of an event that waits; of any other the answer is that it is not there, upon which kubelet writes it anew
    /// (`client-go:tools/record/event.go`), whole.
    fn submit_event_change(
        self: &Arc<Self>,
        asked: &wire::Resource,
        sent: &Sent,
    ) -> Result<Submitted, Status> {
        let not_found = || Status::not_found(asked.group_resource(), &asked.name);
        let named = lock(&self.staging.outbox).event_named(&Key::new(&asked.namespace, &asked.name));
        let id = named.ok_or_else(not_found)?;
        let (mut known, mut names) = self.staged_event(&id).ok_or_else(not_found)?;
        let mine = events::under_name(&known, &names, &asked.name);
        let patch = media::patch(headers::text(&sent.headers, CONTENT_TYPE), media::Served::BuiltIn)?;
        let form = Form::of(patch).ok_or_else(|| {
            Status::unavailable("server-side apply needs the API server, which cannot be reached")
        })?;
        let mine = events::patched(&mine, asked, form, self.release.get(), &sent.body)?;
        events::fold(&mut known, &mut names, &asked.name, &mine);
        let stored = self.put(id, Base::default(), What::Event { names }, known)?;
        Ok(Submitted { stored: Some(stored), answer: Some((StatusCode::OK, mine)), uid: String::new() })
    }

    /// An event that waits, and the names under which it was written.
    fn staged_event(&self, id: &outbox::Id) -> Option<(Value, Vec<(String, i64)>)> {
        let (pending, what) = {
            let outbox = lock(&self.staging.outbox);
            (outbox.pending(id), outbox.entry(id)?.what.clone())
        };
        let What::Event { names } = what else { return None };
        let known = match pending {
            Some((_, content)) => Value::clone(&content),
            None => self.content(id)?,
        };
        Some((known, names))
    }
}

/// A UID for an event that only this node knows; the cloud gives it its own.
fn uid() -> String {
    let (one, other) = (random(), random());
    let (a, b, c) = (one >> 32, (one >> 16) & 0xffff, one & 0xfff);
    let (d, e) = ((other >> 48) & 0x3fff | 0x8000, other & 0xffff_ffff_ffff);
    format!("{a:08x}-{b:04x}-4{c:03x}-{d:04x}-{e:012x}")
}
