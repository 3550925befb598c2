//! The listeners of the Kubernetes API: TLS for everybody, HTTP/1.1 and 2.

mod cork;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::body::Body;
use crate::clients::{Admitted, Clients};
use crate::proxy::{Peer, Proxy};
use crate::tls::H2;
use cork::Corked;

/// How long a client may take for its handshake, and for the head of a request.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(30);
/// The largest head of a request, in bytes: several times what the largest tokens need.
const HEAD_SIZE: usize = 64 << 10;
/// Requests at a time on one connection, as kube-apiserver allows (`--http2-max-streams-per-connection`).
const STREAMS: u32 = 250;
/// What is kept of an answer that the client does not take, in bytes.
const UNSENT: usize = 64 << 10;
/// What is taken of a request's body before the cloud takes it, in bytes; four times that of all on one connection.
const WINDOW: u32 = 64 << 10;
/// A client is asked after this long whether it is still there, and its connection ended after that.
const PING: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));
/// How long nobody is accepted after the system had no more file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// What the listeners share.
#[derive(Clone)]
pub struct Listening {
    /// Where requests go.
    pub proxy: Arc<Proxy>,
    /// How TLS is spoken.
    pub tls: Arc<ServerConfig>,
    /// Who may be connected.
    pub clients: Arc<Clients>,
    /// Becomes true when the hub is about to stop.
    pub stopping: watch::Receiver<bool>,
}

/// Accepts connections until the hub is about to stop.
pub async fn listen(listener: TcpListener, shared: Listening) {
    let mut stopping = shared.stopping.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        match accepted {
            Ok((stream, from)) => {
                let Some(admitted) = shared.clients.admit(from.ip()) else { continue };
                tokio::spawn(connection(stream, admitted, shared.clone()));
            }
            Err(e) if is_about_the_client(&e) => {}
            Err(e) => {
                tracing::warn!("cannot accept connections: {e}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// A client that went before it was accepted.
fn is_about_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | WouldBlock)
}

async fn connection(stream: TcpStream, admitted: Admitted, shared: Listening) {
    // A help only.
    let _ = stream.set_nodelay(true);
    let mut stopping = shared.stopping.clone();
    let shaking = TlsAcceptor::from(shared.tls.clone()).accept(Corked::new(stream));
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(HANDSHAKE, shaking) => shaken,
        () = admitted.sent_away() => return,
        _ = stopping.wait_for(|stopping| *stopping) => return,
    };
    let stream = match shaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return tracing::debug!("a client's handshake failed: {e}"),
        Err(_) => return tracing::debug!("a client's handshake took too long"),
    };
    let tls = stream.get_ref().1;
    let chain: Vec<CertificateDer<'static>> =
        tls.peer_certificates().unwrap_or_default().iter().map(|one| one.clone().into_owned()).collect();
    let h2 = tls.alpn_protocol() == Some(H2);
    let peer = Arc::new(Peer::new(chain, admitted));
    let line = stream.get_ref().0.clone();
    let served =
        async { if h2 { http2(stream, &peer, &shared).await } else { http1(stream, &peer, &shared).await } };
    let mut served = std::pin::pin!(served);
    let served = poll_fn(|cx| line.say(|| served.as_mut().poll(cx)));
    let ended = tokio::select! {
        ended = served => ended,
        () = peer.admitted.sent_away() => return tracing::debug!("a stranger had to make room"),
    };
    if let Err(e) = ended {
        tracing::debug!("a client's connection ended: {e}");
    }
}

type Served = Result<Response<Body>, Infallible>;

fn service(peer: &Arc<Peer>, proxy: &Arc<Proxy>) -> impl Fn(Request<Incoming>) -> Answering + use<> {
    let (peer, proxy) = (peer.clone(), proxy.clone());
    move |request| {
        let (peer, proxy) = (peer.clone(), proxy.clone());
        Box::pin(async move { Ok(proxy.serve(peer, request).await) })
    }
}

type Answering = Pin<Box<dyn Future<Output = Served> + Send>>;

/// Serves until the client has ended, or the hub is told to stop and what is under way has been answered.
async fn until_stopped<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    shared: &Listening,
    finish: impl FnOnce(Pin<&mut C>),
) -> hyper::Result<()> {
    let mut connection = std::pin::pin!(connection);
    let mut stopping = shared.stopping.clone();
    tokio::select! {
        ended = connection.as_mut() => return ended,
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    finish(connection.as_mut());
    connection.await
}

async fn http2(stream: TlsStream<Corked>, peer: &Arc<Peer>, shared: &Listening) -> hyper::Result<()> {
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * 4)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .max_send_buf_size(UNSENT)
        .max_header_list_size(u32::try_from(HEAD_SIZE).unwrap_or(u32::MAX))
        .serve_connection(TokioIo::new(stream), service_fn(service(peer, &shared.proxy)));
    until_stopped(connection, shared, |connection| connection.graceful_shutdown()).await
}

async fn http1(stream: TlsStream<Corked>, peer: &Arc<Peer>, shared: &Listening) -> hyper::Result<()> {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_SIZE)
        .serve_connection(TokioIo::new(stream), service_fn(service(peer, &shared.proxy)))
        .with_upgrades();
    until_stopped(connection, shared, |connection| connection.graceful_shutdown()).await
}
