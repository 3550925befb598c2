//! TLS, HTTP and streams around the world.

mod tls;

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Either, Full, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use wire::media::{Accepted, negotiate, negotiate_stream};
use wire::request::Request;
use wire::{Encoding, Status, Verb};

use super::auth::{self, User};
use super::faults::{self, Fault, Trouble};
use super::kinds::Kind;
use super::pki::Credential;
use super::record::Seen;
use super::watch::{Type, Watch};
use super::world::{Answer, Sent, World};
use super::{Options, encoding};

/// The API server's limit for bodies.
const MAX_BODY: usize = 3 << 20;

/// What all connections share.
pub(super) struct Shared {
    world: Mutex<World>,
    changed: watch::Sender<u64>,
    bookmarks: watch::Sender<u64>,
    faults: Mutex<Vec<Fault>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicU64,
    watches: AtomicUsize,
    patience: Duration,
    bookmarks_every: Duration,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("watches", &self.watches).finish_non_exhaustive()
    }
}

/// The lock, also after a test has failed while it held it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(world: World, options: &Options) -> Self {
        Self {
            world: Mutex::new(world),
            changed: watch::channel(0).0,
            bookmarks: watch::channel(0).0,
            faults: Mutex::default(),
            seen: Mutex::default(),
            connections: AtomicU64::new(0),
            watches: AtomicUsize::new(0),
            patience: options.patience,
            bookmarks_every: options.bookmarks_every,
        }
    }

    pub(super) fn world<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        let result = work(&mut lock(&self.world));
        self.changed.send_modify(|changes| *changes += 1);
        result
    }

    pub(super) fn faults<T>(&self, work: impl FnOnce(&mut Vec<Fault>) -> T) -> T {
        work(&mut lock(&self.faults))
    }

    pub(super) fn seen<T>(&self, work: impl FnOnce(&mut Vec<Seen>) -> T) -> T {
        work(&mut lock(&self.seen))
    }

    pub(super) fn bookmark(&self) {
        self.bookmarks.send_modify(|count| *count += 1);
    }

    pub(super) fn watches(&self) -> usize {
        self.watches.load(Ordering::Relaxed)
    }
}

/// An answer's body breaks off.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cut off on purpose")
    }
}

impl std::error::Error for Cut {}

/// A body that is made while it is sent.
struct Stream(mpsc::Receiver<Result<Bytes, Cut>>);

impl Body for Stream {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.0.poll_recv(context).map(|next| next.map(|bytes| bytes.map(Frame::data)))
    }
}

type Reply = Response<Either<Full<Bytes>, Stream>>;

/// Takes connections until it is dropped.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, own: Credential, http2: bool) {
    let ca = shared.world(|world| world.authority.certificate.clone());
    let acceptor = tls::acceptor(&own, http2);
    let verifier = tls::verifier(&ca);
    let mut running = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let number = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
                let (acceptor, verifier) = (acceptor.clone(), Arc::clone(&verifier));
                running.spawn(connection(stream, acceptor, verifier, Arc::clone(&shared), number));
            }
            Some(_ended) = running.join_next() => {}
        }
    }
}

/// One connection, and who showed a certificate on it.
struct Peer {
    shared: Arc<Shared>,
    number: u64,
    shown: Option<tls::Shown>,
    verifier: Arc<tls::Verifier>,
}

async fn connection(
    stream: TcpStream,
    acceptor: tokio_rustls::TlsAcceptor,
    verifier: Arc<tls::Verifier>,
    shared: Arc<Shared>,
    number: u64,
) {
    let _better = stream.set_nodelay(true);
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let shown = tls::shown(&stream);
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let peer = Arc::new(Peer { shared, number, shown, verifier });
    let service = service_fn(move |request| {
        let peer = Arc::clone(&peer);
        async move { Ok::<_, Infallible>(peer.handle(request).await) }
    });
    let io = TokioIo::new(stream);
    // How a connection ends is the client's business.
    let _end = if h2 {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .serve_connection(io, service);
        server.await.map_err(drop)
    } else {
        let server = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(io, service)
            .with_upgrades();
        server.await.map_err(drop)
    };
}

impl Peer {
    async fn handle(&self, mut request: HttpRequest<Incoming>) -> Reply {
        let mut seen = self.note(&request);
        let upgrade = request
            .headers()
            .contains_key(UPGRADE)
            .then(|| (request.headers()[UPGRADE].clone(), hyper::upgrade::on(&mut request)));
        let accept = header(request.headers(), ACCEPT.as_str()).to_owned();
        let (parts, body) = request.into_parts();
        // One that is too large, or breaks off, is refused; asked it was all the same.
        let body = Limited::new(body, MAX_BODY).collect().await.map(Collected::to_bytes);
        seen.body = body.as_ref().map(Bytes::clone).unwrap_or_default();
        let index = self.shared.seen(|all| {
            all.push(seen.clone());
            all.len() - 1
        });
        let user = self.who(&parts.headers);
        let name = user.as_ref().map(|user| user.name.clone()).unwrap_or_default();
        let answered = match &body {
            Ok(body) => self.answer(user, &parts, body, &accept, upgrade).await,
            Err(e) if e.is::<LengthLimitError>() => Err(Status::too_large(&format!("limit is {MAX_BODY}"))),
            Err(e) => Err(Status::bad_request(e.to_string())),
        };
        let reply = answered.unwrap_or_else(|status| refusal(&status, &accept, None));
        self.shared.seen(|all| {
            if let Some(own) = all.get_mut(index) {
                (own.code, own.user) = (reply.status().as_u16(), name);
            }
        });
        reply
    }

    fn note(&self, request: &HttpRequest<Incoming>) -> Seen {
        let mut headers: Vec<(String, String)> = request
            .headers()
            .iter()
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        headers.sort();
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        Seen {
            connection: self.number,
            http: format!("{:?}", request.version()),
            method: request.method().to_string(),
            target: target.to_owned(),
            headers,
            certificate: self.shown.as_ref().map(tls::Shown::name),
            token: bearer(request.headers()).map(str::to_owned),
            ..Seen::default()
        }
    }

    /// Who asks: a certificate counts before a token, and nobody who showed something wrong is let in as nobody.
    fn who(&self, headers: &HeaderMap) -> Result<User, Status> {
        self.shared.world(|world| {
            let by_certificate = self.shown.as_ref().map(|shown| self.verifier.judge(shown, world.now));
            let by_token = || bearer(headers).map(|token| world.holder(token));
            let user = match by_certificate {
                Some(Some(user)) => user,
                refused => match by_token() {
                    Some(Some(user)) => user,
                    None if refused.is_none() => User::anonymous(),
                    _ => return Err(Status::unauthorized()),
                },
            };
            impersonated(world, user, headers)
        })
    }

    async fn answer(
        &self,
        user: Result<User, Status>,
        parts: &hyper::http::request::Parts,
        body: &Bytes,
        accept: &str,
        upgrade: Option<(HeaderValue, hyper::upgrade::OnUpgrade)>,
    ) -> Result<Reply, Status> {
        let user = user?;
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let request = Request::parse(parts.method.as_str(), target)?;
        if let Some((protocol, upgrade)) = upgrade
            && streams(&request)
        {
            return self.upgraded(&user, &request, protocol, upgrade);
        }
        let trouble = self.shared.faults(|all| faults::meet(all, &request));
        match &trouble {
            Some(Trouble::Refuse(status, retry_after)) => return Ok(refusal(status, accept, *retry_after)),
            Some(Trouble::Late(time)) => sleep(*time).await,
            _ => {}
        }
        let sent = Sent { content_type: header(&parts.headers, CONTENT_TYPE.as_str()), body };
        let answer = self.when_fresh(&user, &request, sent).await?;
        let reply = self.reply(answer, accept)?;
        match trouble {
            Some(Trouble::Silent) => std::future::pending().await,
            Some(Trouble::Cut(bytes)) => Ok(cut(reply, bytes)),
            _ => Ok(reply),
        }
    }

    /// Asks the world, and again while what is asked for is still to come and patience lasts.
    async fn when_fresh(&self, user: &User, request: &Request, sent: Sent<'_>) -> Result<Answer, Status> {
        let deadline = Instant::now() + self.shared.patience;
        let mut changed = self.shared.changed.subscribe();
        loop {
            let answer = {
                changed.borrow_and_update();
                let mut world = lock(&self.shared.world);
                let before = world.store.revision();
                let answer = world.answer(user, request, sent);
                let wrote = world.store.revision() != before;
                drop(world);
                if wrote {
                    self.shared.changed.send_modify(|changes| *changes += 1);
                }
                answer
            };
            match answer {
                Err(status) if is_too_new(&status) && Instant::now() < deadline => {
                    tokio::select! {
                        _more = changed.changed() => {}
                        () = sleep_until(deadline) => {}
                    }
                }
                answer => return answer,
            }
        }
    }

    fn reply(&self, answer: Answer, accept: &str) -> Result<Reply, Status> {
        match answer {
            Answer::Status(status) => {
                let code = if status.code == 0 { 200 } else { status.code };
                let encoding = wire::media::for_status(accept);
                Ok(full(code, content_type(encoding), status.encode(encoding)))
            }
            Answer::Text(content_type, text) => {
                // `/version` comes in JSON or not at all; health comes as text, whatever was asked for.
                if content_type == wire::media::JSON {
                    negotiate(accept, wire::media::Served::Custom)?;
                }
                Ok(full(200, content_type, text.into_bytes()))
            }
            Answer::Plain(code, value) => {
                let accepted = negotiate(accept, wire::media::Served::BuiltIn)?;
                Ok(full(code, accepted.content_type(), encoding::object(&value, &accepted)?))
            }
            Answer::Object(code, kind, object) => {
                let accepted = negotiate(accept, encoding::served(&kind))?;
                let value = encoding::formed(serde_json::Value::clone(&object), accepted.form);
                Ok(full(code, accepted.content_type(), encoding::object(&value, &accepted)?))
            }
            Answer::List(kind, list) => {
                let accepted = negotiate(accept, encoding::served(&kind))?;
                Ok(full(200, accepted.content_type(), encoding::list(&list, &kind, &accepted)?))
            }
            Answer::Watch(kind, watch) => self.stream(&kind, *watch, accept),
        }
    }

    fn stream(&self, kind: &Kind, watch: Watch, accept: &str) -> Result<Reply, Status> {
        let accepted = negotiate_stream(accept, encoding::served(kind))?;
        let (sender, receiver) = mpsc::channel(64);
        tokio::spawn(follow(Arc::clone(&self.shared), watch, accepted, sender));
        let mut reply = Response::new(Either::Right(Stream(receiver)));
        set_content_type(&mut reply, accepted.stream_content_type());
        Ok(reply)
    }

    /// A connection that becomes something else: what it carries is sent back as it came.
    fn upgraded(
        &self,
        user: &User,
        request: &Request,
        protocol: HeaderValue,
        upgrade: hyper::upgrade::OnUpgrade,
    ) -> Result<Reply, Status> {
        self.shared.world(|world| auth::authorise(&world.rules, &world.store, user, request))?;
        tokio::spawn(async move {
            if let Ok(upgraded) = upgrade.await {
                let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
                // Ends when the client does.
                let _end = tokio::io::copy(&mut from, &mut to).await;
            }
        });
        let mut reply = Response::new(Either::Left(Full::default()));
        *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        reply.headers_mut().insert(UPGRADE, protocol);
        reply.headers_mut().insert(hyper::header::CONNECTION, HeaderValue::from_static("Upgrade"));
        Ok(reply)
    }
}

/// Whether this is one of the requests that turn into a stream both ways.
fn streams(request: &Request) -> bool {
    let sub = request.resource.as_ref().map_or("", |of| of.subresource.as_str());
    matches!(request.verb, Verb::Get | Verb::Create) && matches!(sub, "exec" | "attach" | "portforward")
}

/// The user as whom somebody may act who says so in headers.
fn impersonated(world: &World, user: User, headers: &HeaderMap) -> Result<User, Status> {
    let whom = header(headers, "impersonate-user");
    if whom.is_empty() {
        return Ok(user);
    }
    auth::may_impersonate(&world.rules, &world.store, &user, whom)?;
    let groups: Vec<&str> =
        headers.get_all("impersonate-group").iter().filter_map(|value| value.to_str().ok()).collect();
    Ok(User::new(whom, &groups))
}

fn is_too_new(status: &Status) -> bool {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    causes.iter().any(|cause| cause.reason == "ResourceVersionTooLarge")
}

/// Sends a watch what happens, until it ends.
async fn follow(
    shared: Arc<Shared>,
    mut watch: Watch,
    accepted: Accepted,
    to: mpsc::Sender<Result<Bytes, Cut>>,
) {
    let _open = Open::new(&shared);
    let mut changed = shared.changed.subscribe();
    let mut bookmarks = shared.bookmarks.subscribe();
    // A century where the client named no end.
    let seconds = watch.timeout_seconds.unwrap_or(3_155_760_000);
    let end = Instant::now() + Duration::from_secs(seconds.min(3_155_760_000));
    let mut tick = tokio::time::interval_at(Instant::now() + shared.bookmarks_every, shared.bookmarks_every);
    let (mut bookmark, mut ended) = (false, false);
    loop {
        let (mut events, over, restarted) = {
            changed.borrow_and_update();
            let world = lock(&shared.world);
            let events = watch.next(&world.store);
            (events, watch.is_over(&world.store), watch.is_of_earlier_server(&world.store))
        };
        if bookmark && !over {
            events.extend(watch.bookmark_now());
        }
        if !send(&to, events, &accepted).await || ended {
            return;
        }
        if over {
            if restarted {
                let _gone = to.send(Err(Cut)).await;
            }
            return;
        }
        (bookmark, ended) = tokio::select! {
            _more = changed.changed() => (false, false),
            _asked = bookmarks.changed() => (true, false),
            _due = tick.tick() => (true, false),
            () = sleep_until(end) => (true, true),
            () = to.closed() => return,
        };
    }
}

/// Whether the client took it.
async fn send(
    to: &mpsc::Sender<Result<Bytes, Cut>>,
    events: Vec<(Type, serde_json::Value)>,
    accepted: &Accepted,
) -> bool {
    let mut burst = Vec::new();
    for (kind, value) in events {
        let Ok(bytes) = encoding::event(kind, value, accepted) else { return false };
        burst.extend_from_slice(&bytes);
    }
    burst.is_empty() || to.send(Ok(Bytes::from(burst))).await.is_ok()
}

/// Counts a watch as open while it lives.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.watches.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.watches.fetch_sub(1, Ordering::Relaxed);
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The token of an `Authorization` header (`apiserver:pkg/authentication/request/bearertoken`).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut parts = header(headers, AUTHORIZATION.as_str()).trim().splitn(3, ' ');
    let (scheme, token) = (parts.next()?, parts.next()?);
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn content_type(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Json => wire::media::JSON,
        Encoding::Protobuf => wire::media::PROTOBUF,
    }
}

fn full(code: u16, content_type: &str, body: Vec<u8>) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(Bytes::from(body))));
    *reply.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    set_content_type(&mut reply, content_type);
    reply
}

fn set_content_type(reply: &mut Reply, content_type: &str) {
    if let Ok(value) = HeaderValue::from_str(content_type) {
        reply.headers_mut().insert(CONTENT_TYPE, value);
    }
    let cache = HeaderValue::from_static("no-cache, private");
    reply.headers_mut().insert(hyper::header::CACHE_CONTROL, cache);
}

/// A `Status` as the answer, with `Retry-After` where it says so.
fn refusal(status: &Status, accept: &str, retry_after: Option<u32>) -> Reply {
    let encoding = wire::media::for_status(accept);
    let mut reply = full(status.code, content_type(encoding), status.encode(encoding));
    let said = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    let seconds = retry_after.or_else(|| u32::try_from(said).ok().filter(|seconds| *seconds > 0));
    if let Some(seconds) = seconds {
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    reply
}

/// The answer, broken off after so many bytes of its body.
fn cut(reply: Reply, bytes: usize) -> Reply {
    let (parts, mut body) = reply.into_parts();
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut left = bytes;
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(mut data) = frame.into_data() else { continue };
            let last = data.len() >= left;
            data.truncate(left);
            left -= data.len();
            if sender.send(Ok(data)).await.is_err() || last {
                break;
            }
        }
        let _gone = sender.send(Err(Cut)).await;
    });
    Response::from_parts(parts, Either::Right(Stream(receiver)))
}
