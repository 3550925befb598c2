//! The hub's connections to the cloud: one request in, one answer out, and a judgement of the link by what they meet.

pub mod connect;
pub mod credentials;
pub mod endpoint;
pub mod http2;
pub mod judge;
pub mod pool;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use access::lend::Credential;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::HeaderValue;
use hyper::http::uri::{self, PathAndQuery, Scheme};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;

use crate::body::{Arriving, Body};
use crate::link::{Action, State, Why};
use connect::{Connection, Traffic};
use credentials::{Credentials, Tls};
use endpoint::{Endpoint, Endpoints};
use judge::{Judge, jitter};
use pool::{Key, Pool, Take, Ticket};

/// How long a probe may take.
const PROBE: Duration = Duration::from_secs(10);
/// How often the pool is looked through.
const SWEEP: Duration = Duration::from_secs(30);
/// How often a request is handed to a connection that turns out to be closed, before that is the answer.
const TRIES: u32 = 3;

/// Why there is no answer.
#[derive(Debug)]
pub enum Trouble {
    /// The cloud is gone, and nothing was sent.
    Gone(Why),
    /// Nothing was sent, for another reason.
    NotSent(String),
    /// The hub has no credential of this kind.
    NoCredential,
    /// More requests are under way than may be.
    TooMany,
    /// It was sent, and then the connection broke: nobody knows what became of it.
    Lost(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Gone(why) => write!(f, "the API server cannot be reached: {why}"),
            Trouble::NotSent(why) => write!(f, "the request could not be sent to the API server: {why}"),
            Trouble::NoCredential => f.write_str("the hub has no valid certificate of the node"),
            Trouble::TooMany => f.write_str("too many requests are under way to the API server"),
            Trouble::Lost(why) => write!(
                f,
                "the connection to the API server broke after the request was sent, whether it was carried out is not \
                 known: {why}"
            ),
        }
    }
}

/// What holds an answer's place on its connection.
pub type Held = Option<Ticket>;

/// The cloud, as the hub reaches it.
pub struct Cloud {
    endpoints: Endpoints,
    /// The credentials of the hub.
    pub credentials: Credentials,
    judge: Arc<Judge>,
    traffic: Arc<Traffic>,
    pool: Pool,
}

/// A question that is open; dropped when it is answered, or nobody waits any more.
struct Question<'a>(&'a Judge);

impl<'a> Question<'a> {
    fn ask(judge: &'a Judge) -> Self {
        judge.tell(crate::link::Link::asked);
        Self(judge)
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.0.tell(|link, _| link.settled());
    }
}

enum Way {
    Shared(Ticket),
    Single(http1::SendRequest<Body>, usize),
}

impl Cloud {
    /// The cloud at `endpoints`.
    #[must_use]
    pub fn new(endpoints: Endpoints, credentials: Credentials) -> Arc<Self> {
        let (judge, traffic, pool) = (Judge::new(), Arc::default(), Pool::default());
        Arc::new(Self { endpoints, credentials, judge, traffic, pool })
    }

    /// Who judges the link.
    #[must_use]
    pub fn judge(&self) -> &Arc<Judge> {
        &self.judge
    }

    /// What went over the link.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// How many shared connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.pool.count()
    }

    /// The API servers.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Sends a request, whose URI is a path and perhaps a query, as `credential`, and waits for the answer's head. `drawn`
    /// tells callers with credentials of their own apart.
    ///
    /// # Errors
    ///
    /// There is no answer.
    pub async fn send(
        &self,
        credential: Credential,
        drawn: u64,
        request: Request<Body>,
    ) -> Result<(Response<Arriving>, Held), Trouble> {
        if let State::Down(why) = self.judge.state() {
            return Err(Trouble::Gone(why));
        }
        let _question = Question::ask(&self.judge);
        let (parts, mut body) = request.into_parts();
        // A read without a body can be asked twice: client-go's own transport does the same when a connection breaks.
        let again = matches!(body, Body::Empty) && matches!(parts.method, Method::GET | Method::HEAD);
        let mut tries = 0;
        loop {
            tries += 1;
            let way = self.way(credential, drawn).await?;
            let head = Request::from_parts(parts.clone(), body);
            let (unsent, why) = match way {
                Way::Shared(ticket) => {
                    let request = self.address(head, ticket.place())?;
                    let failed = match ticket.sender().send(request).await {
                        Ok(answer) => return Ok((self.came(answer.map(Arriving::Http2)), Some(ticket))),
                        Err(failed) => failed,
                    };
                    // A stream that broke is one request's matter; a connection that takes nothing any more is everybody's.
                    if failed.unsent.is_some() || ticket.sender().is_closed() {
                        ticket.retire();
                    }
                    (failed.unsent, failed.why)
                }
                Way::Single(mut sender, place) => {
                    let request = self.address_single(head, place)?;
                    match sender.try_send_request(request).await {
                        Ok(answer) => return Ok((self.came(answer.map(Arriving::Http1)), None)),
                        Err(mut error) => {
                            (error.take_message().map(Request::into_body), error.into_error().to_string())
                        }
                    }
                }
            };
            body = match unsent {
                Some(unsent) if tries < TRIES => unsent,
                Some(_) => return Err(Trouble::NotSent(why)),
                None if again && tries < TRIES => Body::Empty,
                None => return Err(Trouble::Lost(why)),
            };
        }
    }

    fn came(&self, answer: Response<Arriving>) -> Response<Arriving> {
        if answer.status().is_server_error() {
            self.judge.tell(crate::link::Link::unwell);
        }
        answer
    }

    /// Sends a request that may turn its connection into something else, over one of its own.
    ///
    /// # Errors
    ///
    /// There is no answer.
    pub async fn upgrade(
        &self,
        credential: Credential,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Trouble> {
        if let State::Down(why) = self.judge.state() {
            return Err(Trouble::Gone(why));
        }
        let _question = Question::ask(&self.judge);
        let tls = self.credentials.tls(credential).ok_or(Trouble::NoCredential)?;
        let connection = self.or_gone(self.connect(&tls.single)).await?;
        let place = connection.place;
        let mut sender = self.single(connection).await?;
        let request = self.address_single(request, place)?;
        sender.send_request(request).await.map_err(|e| Trouble::Lost(e.to_string()))
    }

    /// Waits for `making`, but not beyond the moment in which the cloud is given up.
    async fn or_gone<T>(&self, making: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
        let mut verdict = self.judge.verdict();
        tokio::select! {
            made = making => made,
            gone = verdict.wait_for(|verdict| verdict.state != State::Up) => {
                let state = gone.map(|verdict| verdict.state.clone());
                Err(Trouble::Gone(match state {
                    Ok(State::Down(why)) => why,
                    _ => Why::NotTried,
                }))
            }
        }
    }

    async fn way(&self, credential: Credential, drawn: u64) -> Result<Way, Trouble> {
        let tls = self.credentials.tls(credential).ok_or(Trouble::NoCredential)?;
        let key = Key::new(credential, drawn);
        match self.pool.take(key, tls.generation) {
            Take::Ticket(ticket) => return Ok(Way::Shared(ticket)),
            Take::Full => return Err(Trouble::TooMany),
            Take::Connect => {}
        }
        // Boxed, as it is rare and large: what a request keeps in memory is mostly what it waits for.
        Box::pin(self.or_gone(async {
            let dialling = self.pool.dialling(key);
            let alone = dialling.lock().await;
            match self.pool.take(key, tls.generation) {
                Take::Ticket(ticket) => return Ok(Way::Shared(ticket)),
                Take::Full => return Err(Trouble::TooMany),
                Take::Connect => {}
            }
            // Where each request needs a connection of its own, a slow one is in nobody else's way.
            let _alone = self.pool.is_worth_waiting().then_some(alone);
            let connection = self.connect(&tls.shared).await?;
            self.pool.made(connection.h2);
            let place = connection.place;
            if !connection.h2 {
                return Ok(Way::Single(self.single(connection).await?, place));
            }
            let sender = self.shared(connection).await?;
            Ok(Way::Shared(self.pool.add(key, tls.generation, place, sender)))
        }))
        .await
    }

    async fn connect(&self, tls: &Arc<rustls::ClientConfig>) -> Result<Connection, Trouble> {
        connect::connect(&self.endpoints, tls, &self.judge, &self.traffic).await.map_err(|failure| {
            // It may be this credential's or this request's own: a probe tells at once.
            if failure.definite {
                self.judge.tell(crate::link::Link::lost);
            }
            Trouble::NotSent(failure.what)
        })
    }

    async fn shared(&self, connection: Connection) -> Result<http2::Sender, Trouble> {
        let heard = connection.stream.get_ref().0.heard();
        let (sender, going_on) = http2::begin(connection.stream, heard).await.map_err(Trouble::NotSent)?;
        let judge = self.judge.clone();
        tokio::spawn(async move {
            if let Err(e) = going_on.await {
                tracing::debug!("a connection to the cloud ended: {e}");
                judge.tell(crate::link::Link::lost);
            }
        });
        Ok(sender)
    }

    async fn single(&self, connection: Connection) -> Result<http1::SendRequest<Body>, Trouble> {
        let made = http1::Builder::new().handshake(TokioIo::new(connection.stream)).await;
        let (sender, driver) = made.map_err(|e| Trouble::NotSent(e.to_string()))?;
        tokio::spawn(async move {
            if let Err(e) = driver.with_upgrades().await {
                tracing::debug!("a connection to the cloud ended: {e}");
            }
        });
        Ok(sender)
    }

    /// Directs a request to the API server at `place`.
    fn address(&self, mut request: Request<Body>, place: usize) -> Result<Request<Body>, Trouble> {
        let not_sent = |e: &dyn fmt::Display| Trouble::NotSent(e.to_string());
        let endpoint = self.endpoints.all().get(place).ok_or_else(|| not_sent(&"no such API server"))?;
        *request.uri_mut() = address(endpoint, request.uri()).map_err(|e| not_sent(&e))?;
        Ok(request)
    }

    /// The same for HTTP/1.1, where a header says which one it is.
    fn address_single(&self, request: Request<Body>, place: usize) -> Result<Request<Body>, Trouble> {
        let mut request = self.address(request, place)?;
        let host = request.uri().authority().map_or("", uri::Authority::as_str);
        let host = HeaderValue::from_str(host).map_err(|e| Trouble::NotSent(e.to_string()))?;
        request.headers_mut().insert(hyper::header::HOST, host);
        Ok(request)
    }

    /// Judges the link for as long as the hub runs.
    pub async fn keep(self: &Arc<Self>) {
        let sweep = async {
            loop {
                tokio::time::sleep(SWEEP).await;
                self.pool.sweep(Instant::now());
            }
        };
        let act = |action| {
            let cloud = self.clone();
            tokio::spawn(async move {
                match action {
                    Action::Probe => cloud.probe().await,
                    Action::Ask => cloud.ask().await,
                }
            });
        };
        tokio::join!(sweep, self.judge.run(act));
    }

    /// As whom the hub asks on its own behalf.
    fn own(&self) -> Option<(Credential, Tls)> {
        [Credential::Node, Credential::Own]
            .into_iter()
            .find_map(|one| self.credentials.tls(one).map(|tls| (one, tls)))
    }

    async fn probe(&self) {
        let Some((_, tls)) = self.own() else { return };
        let asked = async {
            let connection = connect::connect(&self.endpoints, &tls.single, &self.judge, &self.traffic).await;
            let connection = connection.map_err(|failure| match failure.definite {
                true => Why::Unreachable(failure.what),
                false => Why::Silent,
            })?;
            let place = connection.place;
            let broke = |e: &dyn fmt::Display| Why::Unreachable(e.to_string());
            let mut sender = self.single(connection).await.map_err(|e| broke(&e))?;
            let mut request = Request::new(Body::Empty);
            *request.uri_mut() = Uri::from_static("/readyz");
            let request = self.address_single(request, place).map_err(|e| broke(&e))?;
            // Until it has answered well, the next attempt is another API server's.
            self.endpoints.keep_to(place + 1);
            let answer = sender.send_request(request).await.map_err(|e| broke(&e))?;
            let code = answer.status().as_u16();
            if code < 500 {
                self.endpoints.keep_to(place);
            }
            Ok(code)
        };
        let asked = tokio::time::timeout(PROBE, asked).await.unwrap_or(Err(Why::Silent));
        let was_up = self.judge.tell(|link, now| {
            let was_up = link.is_up();
            match asked {
                Ok(code) => link.probed(now, code, jitter()),
                Err(why) => link.probe_failed(now, why, jitter()),
            }
            was_up
        });
        if !was_up && self.judge.state() == State::Up {
            self.pool.retire_all();
        }
    }

    async fn ask(&self) {
        let Some((credential, _)) = self.own() else { return };
        let mut request = Request::new(Body::Empty);
        *request.uri_mut() = Uri::from_static("/livez");
        // That there is an answer is mostly all that is asked; an error is followed up by a probe.
        if let Err(trouble) = self.send(credential, 0, request).await {
            tracing::debug!("the idle link was asked: {trouble}");
        }
    }
}

/// `uri`, a path and perhaps a query, at `endpoint`.
fn address(endpoint: &Endpoint, uri: &Uri) -> Result<Uri, hyper::http::Error> {
    let target = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let target = match endpoint.prefix.as_str() {
        "" => target,
        prefix => PathAndQuery::try_from(format!("{prefix}{target}"))?,
    };
    let mut parts = uri::Parts::default();
    (parts.scheme, parts.authority) = (Some(Scheme::HTTPS), Some(endpoint.authority.clone()));
    parts.path_and_query = Some(target);
    Ok(Uri::from_parts(parts)?)
}
