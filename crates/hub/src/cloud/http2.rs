//! HTTP/2 to the cloud, on the `h2` crate itself: a task for a connection, and none for a request.
//!
//! hyper's client hands each request through three tasks of its own. On a node that is idle between two requests each of
//! them costs several microseconds of cold code and an allocation that musl maps and unmaps each time; together that was
//! a fifth of what the hub added to a request (`docs/decisions/0006-the-hubs-libraries.md`).

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;

use super::connect::Heard;
use crate::body::Body;

/// What a request may leave unread on a connection, and all of them together, in bytes. A round trip of half a second then
/// still lets half a megabyte a second through.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// What is kept of a request's body that the cloud does not take, in bytes.
const UNSENT: usize = 64 << 10;
/// The largest head of an answer, in bytes.
const HEAD_SIZE: u32 = 16 << 10;
/// Requests that are sent before the API server has said how many it takes.
const FIRST_STREAMS: usize = 100;
/// A connection with open requests on which nothing comes is asked after this long, and given up after that.
const PING: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15));

/// Sends requests over one connection.
#[derive(Clone)]
pub struct Sender {
    requests: SendRequest<Bytes>,
    life: Arc<Life>,
}

/// How a connection stands.
#[derive(Default)]
struct Life {
    closed: AtomicBool,
    /// Requests under way.
    active: AtomicUsize,
}

/// Why there is no answer.
pub struct Failed {
    /// The request's body, if nothing of the request was sent.
    pub unsent: Option<Body>,
    /// In words.
    pub why: String,
}

/// Begins to speak HTTP/2 over `stream`, on which bytes are noted in `heard`; also gives the work that has to go on for as
/// long as the connection does, and ends with it: with what went wrong, if something did.
///
/// # Errors
///
/// It is over already.
pub async fn begin<S>(
    stream: S,
    heard: Heard,
) -> Result<(Sender, impl Future<Output = Result<(), String>> + Send), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let made = h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(UNSENT)
        .max_header_list_size(HEAD_SIZE)
        .initial_max_send_streams(FIRST_STREAMS)
        .handshake(stream)
        .await;
    let (requests, mut connection) = made.map_err(|e| e.to_string())?;
    let life = Arc::new(Life::default());
    let sender = Sender { requests, life: life.clone() };
    let going_on = async move {
        let pings = connection.ping_pong();
        let ended = tokio::select! {
            biased;
            ended = connection => ended.map_err(|e| e.to_string()),
            () = unanswered(pings, &life, &heard) => Err(format!("no answer to a ping within {} s", PING.1.as_secs())),
        };
        life.closed.store(true, Ordering::Relaxed);
        ended
    };
    Ok((sender, going_on))
}

/// Ends when the other end is asked whether it is there and does not say so.
async fn unanswered(pings: Option<PingPong>, life: &Life, heard: &Heard) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        let silence = heard.silence();
        if silence < PING.0 {
            tokio::time::sleep(PING.0 - silence).await;
        } else if life.active.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(PING.0).await;
        } else {
            match tokio::time::timeout(PING.1, pings.ping(Ping::opaque())).await {
                Ok(Ok(_)) => {}
                // The connection itself says what is wrong.
                Ok(Err(_)) => return std::future::pending().await,
                Err(_) => return,
            }
        }
    }
}

impl Sender {
    /// Whether nothing can be sent any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.life.closed.load(Ordering::Relaxed)
    }

    /// How many requests are under way, as those say who send them.
    #[must_use]
    pub fn active(&self) -> usize {
        self.life.active.load(Ordering::Relaxed)
    }

    /// One more is under way.
    pub fn begins(&self) {
        self.life.active.fetch_add(1, Ordering::Relaxed);
    }

    /// One has ended; says whether it was the last.
    pub fn ends(&self) -> bool {
        self.life.active.fetch_sub(1, Ordering::Relaxed) == 1
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    ///
    /// There is none.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<RecvStream>, Failed> {
        let (mut head, body) = request.into_parts();
        let ended = body.is_end_stream();
        if let (false, Some(length)) = (ended, body.size_hint().exact()) {
            head.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
        }
        let mut requests = self.requests.clone();
        let unsent = |e: h2::Error, body| Failed { unsent: Some(body), why: e.to_string() };
        if let Err(e) = poll_fn(|cx| requests.poll_ready(cx)).await {
            return Err(unsent(e, body));
        }
        let (answer, stream) = match requests.send_request(Request::from_parts(head, ()), ended) {
            Ok(sent) => sent,
            Err(e) => return Err(unsent(e, body)),
        };
        let mut piped = Piped((!ended).then(|| tokio::spawn(pipe(body, stream)).abort_handle()));
        let answer = answer.await.map_err(|e| Failed { unsent: None, why: e.to_string() })?;
        // From here on it ends when the client's body does, or when the API server wants no more of it.
        piped.0 = None;
        Ok(answer)
    }
}

/// Ends the passing on of a body when nobody waits for the answer any more.
struct Piped(Option<AbortHandle>);

impl Drop for Piped {
    fn drop(&mut self) {
        if let Some(piped) = &self.0 {
            piped.abort();
        }
    }
}

/// Sends a body, piece by piece, as fast as the API server takes it.
async fn pipe(mut body: Body, mut stream: SendStream<Bytes>) {
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            _ = poll_fn(|cx| stream.poll_reset(cx)) => return,
        };
        let ended = match frame {
            None => stream.send_data(Bytes::new(), true).map(|()| true),
            // What was begun and not ended must not look whole.
            Some(Err(_)) => return stream.send_reset(Reason::CANCEL),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(piece) => send_piece(&mut stream, piece, body.is_end_stream()).await,
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => stream.send_trailers(trailers).map(|()| true),
                    Err(_) => Ok(false),
                },
            },
        };
        if !matches!(ended, Ok(false)) {
            return;
        }
    }
}

/// Sends a piece, the last one of its body if `last`; says whether the body has ended.
async fn send_piece(stream: &mut SendStream<Bytes>, mut piece: Bytes, last: bool) -> Result<bool, h2::Error> {
    while !piece.is_empty() {
        stream.reserve_capacity(piece.len());
        while stream.capacity() == 0 {
            match poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(Ok(_)) => {}
                Some(Err(e)) => return Err(e),
                None => return Ok(true),
            }
        }
        let now = piece.split_to(stream.capacity().min(piece.len()));
        stream.send_data(now, last && piece.is_empty())?;
    }
    Ok(last)
}
