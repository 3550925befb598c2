//! Writes that pass: what the view learns from their answers, and how objects that it shows under versions of its own come
//! back. A write is answered by the cloud, or waits for it (`staging.rs`), or is refused.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, Response, StatusCode, Uri};
use outbox::Allowed;
use serde_json::{Value, json};
use view::{Key, ResourceId, Shown};
use wire::media::{self, Form, negotiate};
use wire::object::{Object, with_resource_version};
use wire::versions::{NotMapped, Reference, map_references, map_versions};
use wire::{Status, Verb};

use super::answer::is_kept;
use super::budget::Share;
use super::cloud::Whole;
use super::learn::{Read, What};
use super::{Reads, Who, render};
use crate::body::Body;
use crate::cloud::Trouble;
use crate::proxy::headers;
use crate::refuse;

/// The largest body of a write (`apiserver:pkg/server/config.go`, `MaxRequestBodyBytes`).
const MOST: usize = 3 << 20;
/// Up to this length a body takes no share of the memory for whole answers: a status, a lease, an event.
const SMALL: usize = 64 << 10;

/// Subresources whose writes are answered with the object itself.
const WHOLE: [&str; 6] = ["", "status", "ephemeralcontainers", "resize", "finalize", "approval"];

/// Subresources that are no writes of an object.
const STREAMS: [&str; 5] = ["exec", "attach", "portforward", "proxy", "log"];

/// A write on its way.
pub struct Sent {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: Uri,
    /// Headers as they may go on.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Sent {
    /// An empty one, to be filled in with what matters where nothing is sent.
    pub(super) fn nothing() -> Sent {
        Sent { method: Method::PATCH, target: Uri::default(), headers: HeaderMap::new(), body: Bytes::new() }
    }
}

impl Reads {
    /// Passes a write on, if the view has to do with what it writes, or with its answer.
    pub async fn serve_write(
        self: &Arc<Self>,
        who: &Who,
        about: &wire::Request,
        request: &mut Option<Request<Incoming>>,
    ) -> Option<Response<Body>> {
        let asked = about.resource.as_ref()?;
        let resource = ResourceId::new(&asked.group, &asked.version, &asked.resource, &asked.namespace);
        let whole = WHOLE.contains(&asked.subresource.as_str()) && is_kept(&resource);
        let numbered =
            (is_kept(&resource) && resource.is_overlaid() && !STREAMS.contains(&asked.subresource.as_str()))
                || ["events", "bindings"].contains(&resource.resource());
        let is_token = asked.resource == "serviceaccounts" && asked.subresource == "token";
        let (waiting, renews) = (self.may_wait(who, about), self.renews(who, about));
        if !(whole || numbered || is_token || renews) {
            return None;
        }
        let (mut sent, _share) = match self.collect(who, request.take()?).await {
            Ok(sent) => sent,
            Err(refusal) => return Some(refusal),
        };
        if is_token {
            return Some(self.token(who, asked, &sent).await);
        }
        if renews {
            return Some(self.renew(who, about, sent).await);
        }
        let headers = sent.headers.clone();
        let waiting = waiting.filter(|_| !is_dry(about, &sent));
        if waiting.is_some() {
            self.ask_release();
        }
        // Preconditions of what waits are judged here, where its versions were issued; what events refer to is mapped while
        // it is known.
        let as_shown = sent.body.clone();
        if numbered {
            match self.mapped(about, asked, &resource, &sent) {
                Ok(Some(body)) => sent.body = body,
                Ok(None) => {}
                Err(e) => return Some(refuse::answer(&e.to_status(asked), &headers)),
            }
        }
        let here = waiting.map(|writing| {
            let body = if resource.resource() == "events" { sent.body.clone() } else { as_shown };
            (writing, Sent { body, headers: headers.clone(), ..Sent::nothing() })
        });
        if who.is_kubelet() && here.is_some() {
            self.kubelet_writes();
        }
        if let Some((writing, here)) = here.as_ref().filter(|(writing, _)| self.waits(writing, asked)) {
            return Some(self.stage(who, about, writing, here).await);
        }
        if here.as_ref().is_some_and(|(writing, _)| writing.allowed == Allowed::NodeStatus) {
            self.hold_node_status().await;
        }
        let dry = is_dry(about, &sent);
        match self.send(who, sent).await {
            // What was only tried has not happened.
            Ok(answer) if dry => Some(self.not_taken(&resource, answer)),
            Ok(answer) if whole && answer.status == StatusCode::FORBIDDEN => {
                self.note_marked(who, about, false);
                Some(self.as_it_came(answer))
            }
            Ok(answer) if whole => Some(self.written(who, about, asked, resource, headers, answer).await),
            Ok(answer) => Some(self.as_it_came(answer)),
            Err(trouble) => match here.filter(|_| Self::is_cut_off(&trouble)) {
                Some((writing, here)) => Some(self.stage(who, about, &writing, &here).await),
                None => Some(self.not_written(asked, &resource, about, &trouble, &headers)),
            },
        }
    }

    /// The body of a write with the cloud's resourceVersions where it came with the hub's; `None` if it has none of these.
    fn mapped(
        &self,
        about: &wire::Request,
        asked: &wire::Resource,
        resource: &ResourceId,
        sent: &Sent,
    ) -> Result<Option<Bytes>, NotMapped> {
        let content_type = headers::text(&sent.headers, CONTENT_TYPE);
        let of_set = about.verb == Verb::DeleteCollection;
        let key = Key::new(&asked.namespace, &asked.name);
        let mut version = |text: &str| {
            let shown = Shown::parse(text).filter(|_| !of_set)?;
            self.lock().cloud_version(resource, &key, shown).map(|(_, rv)| rv.to_string())
        };
        let mut reference = |to: &Reference, text: &str| self.referred(to, text);
        let mapped = match resource.resource() {
            "events" => map_references(about, content_type, &sent.body, &mut reference)?,
            _ => map_versions(about, content_type, &sent.body, &mut version)?,
        };
        Ok(match mapped {
            Cow::Borrowed(_) => None,
            Cow::Owned(body) => Some(body.into()),
        })
    }

    /// The version with which an event refers to an object: the cloud's, or none.
    fn referred(&self, to: &Reference, text: &str) -> Option<String> {
        let (group, version) = to.api_version.split_once('/').unwrap_or(("", to.api_version.as_str()));
        let plural = match to.kind.as_str() {
            "Pod" => "pods",
            "Node" => "nodes",
            "Endpoints" => "endpoints",
            "EndpointSlice" => "endpointslices",
            _ => return Some(text.to_owned()),
        };
        let version = if version.is_empty() { "v1" } else { version };
        let resource = ResourceId::new(group, version, plural, &to.namespace);
        let shown = Shown::parse(text)?;
        let view = self.lock();
        // Above all that the hub issued it is the cloud's own: the event was read there.
        if !resource.is_overlaid() || view.issued(&resource).is_none_or(|issued| shown > issued) {
            return Some(text.to_owned());
        }
        let key = Key::new(&to.namespace, &to.name);
        let (uid, rv) = view.cloud_version(&resource, &key, shown)?;
        (to.uid.is_empty() || to.uid == uid).then(|| rv.to_string())
    }

    /// Sends a write and waits for the whole answer, however long that takes: what was sent may have been done.
    pub(super) async fn send(&self, who: &Who, sent: Sent) -> Result<Whole, Trouble> {
        let body = if sent.body.is_empty() { Body::Empty } else { Body::Own(Some(sent.body)) };
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut()) = (sent.method, sent.target);
        *request.headers_mut() = sent.headers;
        if let Some(authorization) = &who.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let (answer, _held) = self.cloud.send(who.credential, who.drawn, request).await?;
        self.whole(who, answer).await
    }

    /// The cloud has answered a write.
    async fn written(
        self: &Arc<Self>,
        who: &Who,
        about: &wire::Request,
        asked: &wire::Resource,
        resource: ResourceId,
        headers: HeaderMap,
        whole: Whole,
    ) -> Response<Body> {
        let done = matches!(whole.status, StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED);
        let (true, Some((body, encoding))) = (done, whole.object()) else { return self.as_it_came(whole) };
        self.note_marked(who, about, true);
        if about.verb == Verb::Delete {
            let status = Status::decode(&body, encoding);
            if let Some(details) =
                status.and_then(|status| status.details).filter(|details| !details.uid.is_empty())
            {
                let key = Key::new(&asked.namespace, &asked.name);
                self.with(|view| view.deleted(&resource, &key, &details.uid));
            }
            // An object that comes back may be gone or going: its stream tells which.
            return self.not_taken(&resource, whole);
        }
        let accepted = negotiate(headers::text(&headers, ACCEPT), render::served(&resource))
            .ok()
            .filter(|accepted| accepted.form == Form::Object);
        let object = view::read(&resource, body.to_vec(), encoding);
        let (Some(accepted), Ok(object)) = (accepted, object) else { return self.as_it_came(whole) };
        let key = object.header.key.clone();
        let uid = object.header.uid().to_owned();
        if !resource.is_overlaid() {
            // Of what nobody reads nothing is kept.
            self.with(|view| {
                if view.has(&resource) {
                    view.wrote(&resource, object)
                }
            });
            return self.as_it_came(whole);
        }
        self.with(|view| view.wrote(&resource, object));
        let what = What::Object(key.clone());
        let read = Read { who, target: "", headers: &headers, resource, what, accepted };
        match self.shown(&read, about, &key, &uid).await {
            Some(mut response) => {
                *response.status_mut() = whole.status;
                response
            }
            None => self.as_it_came(whole),
        }
    }

    /// A write, whole, and the memory that it takes.
    async fn collect(&self, who: &Who, request: Request<Incoming>) -> Result<(Sent, Share), Response<Body>> {
        let (parts, mut incoming) = request.into_parts();
        let mut headers = headers::onward(parts.headers, who.credential, false);
        let (mut body, mut share) = (BytesMut::new(), Share::default());
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|e| refuse::answer(&Status::bad_request(e.to_string()), &headers))?;
            let Ok(piece) = frame.into_data() else { continue };
            let size = body.len() + piece.len();
            if size > MOST {
                return Err(refuse::answer(&Status::too_large("limit is 3145728"), &headers));
            }
            if size > SMALL && !self.budget.enlarge(&who.identity, &mut share, size).await {
                return Err(refuse::answer(&refuse::trouble(&Trouble::TooMany), &headers));
            }
            body.extend_from_slice(&piece);
        }
        headers.remove(CONTENT_LENGTH);
        let target = parts.uri.into_parts().path_and_query.map(Uri::from).unwrap_or_default();
        Ok((Sent { method: parts.method, target, headers, body: body.freeze() }, share))
    }

    /// The cloud's answer to a write of which the view takes nothing. Of an overlaid resource the object in it comes under the
    /// last version that the hub issued: the cloud's own is no version to the hub's clients.
    fn not_taken(&self, resource: &ResourceId, whole: Whole) -> Response<Body> {
        let issued = self.lock().issued(resource);
        let (Some(issued), true, Some((body, encoding))) =
            (issued, whole.status.is_success(), whole.object())
        else {
            return self.as_it_came(whole);
        };
        let has_version =
            Object::parse(&body, encoding).is_ok_and(|object| !object.resource_version().is_empty());
        let numbered = has_version.then(|| with_resource_version(&body, encoding, &issued.to_string()));
        let Some(Ok(body)) = numbered else { return self.as_it_came(whole) };
        let mut headers = whole.headers;
        headers.remove(CONTENT_ENCODING);
        headers.remove(CONTENT_LENGTH);
        self.as_it_came(Whole { headers, body: body.into(), ..whole })
    }

    /// A write that could not be sent, or of which nobody knows whether it was done.
    fn not_written(
        self: &Arc<Self>,
        asked: &wire::Resource,
        resource: &ResourceId,
        about: &wire::Request,
        trouble: &Trouble,
        headers: &HeaderMap,
    ) -> Response<Body> {
        tracing::debug!("{trouble}");
        let sent = matches!(trouble, Trouble::Lost(_));
        // kubelet registers its node at each start, and goes on only when it knows that it is there.
        let registers =
            about.verb == Verb::Create && resource.resource() == "nodes" && asked.group.is_empty();
        if registers
            && !sent
            && let Some(name) = self.own_node()
        {
            return refuse::answer(&Status::already_exists(resource.group_resource(), &name), headers);
        }
        refuse::answer(&refuse::trouble(trouble), headers)
    }
}

/// Whether a write is only to be tried (`dryRun`), or may be: of options that cannot be read nobody knows.
fn is_dry(about: &wire::Request, sent: &Sent) -> bool {
    if about.query.all("dryRun").next().is_some() {
        return true;
    }
    let has_options = matches!(about.verb, Verb::Delete | Verb::DeleteCollection) && !sent.body.is_empty();
    has_options
        && options(sent).is_none_or(|options| options.get("dryRun").is_some_and(|dry| *dry != json!([])))
}

/// The DeleteOptions in a body.
fn options(sent: &Sent) -> Option<Value> {
    let content_type = headers::text(&sent.headers, CONTENT_TYPE);
    let media::Body::Object(encoding) = media::body(content_type).ok()? else { return None };
    super::json::of(&sent.body, encoding)
}
