//! One request through the hub: who asks, as whom it goes on, and what comes back.

pub(crate) mod headers;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use access::caller::{Brought, Caller, caller};
use access::headers::{Fate, fate};
use access::lend::{Credential, credential};
use hyper::body::{Body as _, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, USER_AGENT};
use hyper::http::uri::PathAndQuery;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use wire::request::Verb;
use wire::status::Status;

use crate::body::{Arriving, Body, UnderWay};
use crate::clients::{Admitted, Proof};
use crate::cloud::{Cloud, Held, Trouble};
use crate::metrics::{Asker, Metrics};
use crate::reads::{Gate, Reads, Who};
use crate::refuse;
use crate::tls::{Trust, Verified};

/// How long a verdict on a client's certificate stands before it is judged anew.
const VERDICT: Duration = Duration::from_secs(30);
/// What all requests share.
pub struct Proxy {
    /// The name of this node.
    pub node: String,
    /// The cloud.
    pub cloud: Arc<Cloud>,
    /// What the view answers.
    pub reads: Arc<Reads>,
    /// Answers under way.
    pub under_way: Arc<UnderWay>,
    /// Figures.
    pub metrics: Metrics,
    trust: RwLock<(u64, Arc<Trust>)>,
    lots: RandomState,
    /// Told when the cloud did not take the node's certificate.
    pub refused: tokio::sync::Notify,
}

/// The other end of a connection.
pub struct Peer {
    /// Its client certificate and those above it, leaf first; empty for none.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its right to be connected.
    pub admitted: Admitted,
    judged: std::sync::Mutex<Option<Judged>>,
    gate: Gate,
}

struct Judged {
    at: Instant,
    trust: u64,
    verdict: Arc<Result<Verified, String>>,
}

impl Peer {
    /// One that showed `chain`.
    #[must_use]
    pub fn new(chain: Vec<CertificateDer<'static>>, admitted: Admitted) -> Self {
        Self { chain, admitted, judged: std::sync::Mutex::default(), gate: Gate::default() }
    }

    /// Whom its certificate names; `None` if it showed none.
    fn certificate(&self, proxy: &Proxy) -> Option<Arc<Result<Verified, String>>> {
        if self.chain.is_empty() {
            return None;
        }
        let (generation, trust) = proxy.trust();
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*judged
            && last.trust == generation
            && last.at.elapsed() < VERDICT
        {
            return Some(last.verdict.clone());
        }
        let verdict = Arc::new(trust.judge(&self.chain));
        *judged = Some(Judged { at: Instant::now(), trust: generation, verdict: verdict.clone() });
        Some(verdict)
    }
}

impl Proxy {
    /// A proxy for the node `node` to `cloud`, whose callers are judged by `trust`.
    #[must_use]
    pub fn new(node: String, reads: Arc<Reads>, trust: Trust) -> Self {
        Self {
            node,
            cloud: reads.cloud.clone(),
            under_way: reads.under_way.clone(),
            metrics: Metrics::new(&reads.writes),
            reads,
            trust: RwLock::new((0, Arc::new(trust))),
            lots: RandomState::new(),
            refused: tokio::sync::Notify::new(),
        }
    }

    /// Judges callers by `trust` from now on.
    pub fn set_trust(&self, trust: Trust) {
        let mut now = self.trust.write().unwrap_or_else(PoisonError::into_inner);
        *now = (now.0 + 1, Arc::new(trust));
    }

    fn trust(&self) -> (u64, Arc<Trust>) {
        self.trust.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers a request.
    pub async fn serve(self: Arc<Self>, peer: Arc<Peer>, request: Request<Incoming>) -> Response<Body> {
        let verdict = peer.certificate(&self);
        let certificate = verdict.as_ref().map(|verdict| match verdict.as_ref() {
            Ok(verified) if verified.not_after < SystemTime::now() => Err("expired"),
            Ok(verified) => Ok((&verified.user, verified.signer)),
            Err(why) => Err(why.as_str()),
        });
        let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let who = match caller(&self.node, &Brought { certificate, authorization }) {
            Ok(who) => who,
            Err(nobody) => {
                tracing::debug!("401 for {}: {}", request.uri().path(), nobody.why);
                self.metrics.answered(Asker::Unauthenticated, 401);
                return refuse::answer(&Status::unauthorized(), request.headers());
            }
        };
        let asker = asker(&who);
        if matches!(asker, Asker::Kubelet | Asker::Operator | Asker::Certified) {
            peer.admitted.is_known(Proof::Certificate);
        }
        let response = self.pass(&peer, &who, request).await;
        // Only the cloud can tell whether a token is one; the hub's own answers say nothing about it.
        if asker == Asker::Bearer
            && matches!(response.body(), Body::Answer(_))
            && response.status() != StatusCode::UNAUTHORIZED
        {
            peer.admitted.is_known(Proof::Token);
        }
        self.metrics.answered(asker, response.status().as_u16());
        response
    }

    async fn pass(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        who: &Caller,
        mut request: Request<Incoming>,
    ) -> Response<Body> {
        // What cannot be read here is for the API server to refuse.
        let target = target_of(request.uri());
        let about = wire::request::Request::parse(request.method().as_str(), target).ok();
        let impersonates = request.headers().keys().any(|name| fate(name.as_str()) == Fate::Impersonation);
        let credential = match credential(who, &self.cloud.credentials.handed(), impersonates) {
            Ok(credential) => credential,
            Err(refusal) => return refuse::answer(&forbidden(about.as_ref(), &refusal.0), request.headers()),
        };
        if request.method() == Method::CONNECT {
            let status =
                Status::failure(405, "MethodNotAllowed", "the hub is no tunnel: CONNECT is not served");
            return refuse::answer(&status, request.headers());
        }
        if headers::wants_upgrade(request.headers()) {
            let theirs = hyper::upgrade::on(&mut request);
            let (onward, accept) = self.onward(request, credential, true);
            return Box::pin(self.upgrade(peer, credential, onward, theirs, &accept)).await;
        }
        let known = match Who::lent(who, credential) {
            None if *who == Caller::Bearer && !impersonates => {
                match self.reads.bearer(request.headers()).await {
                    Ok(known) => known,
                    Err(unauthorized) => return unauthorized,
                }
            }
            lent => lent,
        };
        if *who == Caller::Bearer && known.is_some() {
            peer.admitted.is_known(Proof::Token);
        }
        let mut request = Some(request);
        if let (Some(about), false, Some(who)) = (&about, impersonates, known)
            && let Some((response, accept)) = self.by_view(peer, &who, about, &mut request).await
        {
            if credential == Credential::Node && response.status() == StatusCode::UNAUTHORIZED {
                return self.node_refused(&accept);
            }
            return response;
        }
        let Some(request) = request else {
            return refuse::answer(&Status::internal_error("the request was lost"), &HeaderMap::new());
        };
        let drawn = request.headers().get(AUTHORIZATION).map_or(0, |own| self.lots.hash_one(own.as_bytes()));
        let (onward, accept) = self.onward(request, credential, false);
        match self.cloud.send(credential, drawn, onward).await {
            Ok((answer, held)) => {
                if credential == Credential::Node && answer.status() == StatusCode::UNAUTHORIZED {
                    return self.node_refused(&accept);
                }
                let watch = about.is_some_and(|about| about.verb == Verb::Watch);
                self.back(answer, watch, held)
            }
            Err(trouble) => say(&trouble, &accept),
        }
    }

    /// Answers what the view has to do with; what of the request its answer may need comes along.
    async fn by_view(
        &self,
        peer: &Peer,
        who: &Who,
        about: &wire::request::Request,
        request: &mut Option<Request<Incoming>>,
    ) -> Option<(Response<Body>, HeaderMap)> {
        if about.verb.is_read() {
            let (parts, body) = request.take()?.into_parts();
            let (target, headers) = (target_of(&parts.uri), &parts.headers);
            if who.is_kubelet() {
                peer.gate.before(about, headers::text(headers, USER_AGENT)).await;
            }
            let Some(response) = self.reads.serve(who, about, target, headers).await else {
                *request = Some(Request::from_parts(parts, body));
                return None;
            };
            peer.gate.after(about, response.status());
            return Some((response, parts.headers));
        }
        let asked = request.as_ref()?;
        let (method, headers) = (asked.method().clone(), asked.headers().clone());
        let target = target_of(asked.uri()).to_owned();
        let response = if about.resource.is_none() {
            self.reads.serve_document(who, about, &method, &target, &headers).await
        } else if matches!(
            about.verb,
            Verb::Create | Verb::Update | Verb::Patch | Verb::Delete | Verb::DeleteCollection
        ) {
            self.reads.serve_write(who, about, request).await
        } else {
            None
        };
        response.map(|response| (response, headers))
    }

    /// The request as it goes to the cloud, and what of it an answer of our own needs.
    fn onward(
        &self,
        request: Request<Incoming>,
        credential: Credential,
        upgrades: bool,
    ) -> (Request<Body>, HeaderMap) {
        let (parts, incoming) = request.into_parts();
        let mut accept = HeaderMap::new();
        if let Some(value) = parts.headers.get(ACCEPT) {
            accept.insert(ACCEPT, value.clone());
        }
        let body = if incoming.is_end_stream() { Body::Empty } else { Body::Request(incoming) };
        let mut onward = Request::new(body);
        *onward.method_mut() = parts.method;
        *onward.headers_mut() = headers::onward(parts.headers, credential, upgrades);
        if let Some(target) = parts.uri.into_parts().path_and_query {
            *onward.uri_mut() = Uri::from(target);
        }
        (onward, accept)
    }

    /// The cloud's answer as it goes to the client.
    fn back(&self, answer: Response<Arriving>, watch: bool, held: Held) -> Response<Body> {
        let (parts, incoming) = answer.into_parts();
        let body = if incoming.is_end_stream() {
            Body::Empty
        } else {
            self.under_way.answer(incoming, watch, Box::new(held))
        };
        let mut response = Response::new(body);
        *response.status_mut() = parts.status;
        *response.headers_mut() = headers::back(parts.headers);
        response
    }

    /// Passes on a request to make something else of its connection (exec, attach, port-forward), and what comes then.
    async fn upgrade(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        credential: Credential,
        request: Request<Body>,
        theirs: OnUpgrade,
        accept: &HeaderMap,
    ) -> Response<Body> {
        let mut answer = match self.cloud.upgrade(credential, request).await {
            Ok(answer) => answer,
            Err(trouble) => return say(&trouble, accept),
        };
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            if credential == Credential::Node && answer.status() == StatusCode::UNAUTHORIZED {
                return self.node_refused(accept);
            }
            return self.back(answer.map(Arriving::Http1), false, None);
        }
        let ours = hyper::upgrade::on(&mut answer);
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = answer.status();
        std::mem::swap(response.headers_mut(), answer.headers_mut());
        self.metrics.upgrades.inc();
        // The connection goes on, and its place among the clients is taken until it ends.
        let peer = peer.clone();
        tokio::spawn(async move {
            let _peer = peer;
            let Ok((theirs, ours)) = tokio::try_join!(theirs, ours) else { return };
            let (mut theirs, mut ours) = (TokioIo::new(theirs), TokioIo::new(ours));
            // Either end may break off; that is how most of these end.
            let _ = tokio::io::copy_bidirectional(&mut theirs, &mut ours).await;
        });
        response
    }

    /// The cloud did not take the node's certificate. kubelet has proved to the hub who it is: it is not kubelet who is
    /// unauthenticated, and it must not act as if it were (`pkg/kubelet/certificate/transport.go`).
    fn node_refused(&self, accept: &HeaderMap) -> Response<Body> {
        self.refused.notify_one();
        let text =
            "the API server does not accept the node's certificate (401): `edgekeep status` says what to do";
        refuse::answer(&Status::unavailable(text), accept)
    }
}

/// Path and query.
fn target_of(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

fn say(trouble: &Trouble, accept: &HeaderMap) -> Response<Body> {
    tracing::debug!("{trouble}");
    refuse::answer(&refuse::trouble(trouble), accept)
}

fn asker(who: &Caller) -> Asker {
    match who {
        Caller::Kubelet => Asker::Kubelet,
        Caller::Operator(_) => Asker::Operator,
        Caller::Certified(_) => Asker::Certified,
        Caller::Bearer => Asker::Bearer,
        Caller::Anonymous => Asker::Anonymous,
    }
}

fn forbidden(about: Option<&wire::request::Request>, why: &str) -> Status {
    match about.and_then(|about| about.resource.as_ref()) {
        Some(resource) => Status::forbidden(resource.group_resource(), &resource.name, why),
        None => Status::forbidden(wire::status::GroupResource { group: "", resource: "" }, "", why),
    }
}
