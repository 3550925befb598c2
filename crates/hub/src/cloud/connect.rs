//! Making a connection to the cloud, and seeing each byte that comes over it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::endpoint::{Endpoint, Endpoints};
use super::judge::Judge;
use crate::link::Moment;
use crate::tls::H2;

/// How long one address may take to accept a connection, and then to end the handshake.
const CONNECT: Duration = Duration::from_secs(6);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The kernel asks a silent peer after this long, and that many times, before it gives a connection up: for streams that
/// are open through a NAT.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(90), Duration::from_secs(15), 4);

/// Bytes between the hub and the cloud, as TCP payload.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Sent to the cloud.
    pub sent: AtomicU64,
    /// Received from the cloud.
    pub received: AtomicU64,
    /// Connections made.
    pub connections: AtomicU64,
}

/// A connection, with TLS.
pub struct Connection {
    /// Its bytes.
    pub stream: TlsStream<Seen>,
    /// Whether many requests can share it.
    pub h2: bool,
    /// Which API server it leads to.
    pub place: usize,
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened, at each address.
    pub what: String,
    /// Whether the system or the other end said so; otherwise nothing was heard in time.
    pub definite: bool,
}

/// Connects to the first API server that can be reached.
///
/// # Errors
///
/// None can.
pub async fn connect(
    endpoints: &Endpoints,
    tls: &Arc<ClientConfig>,
    judge: &Arc<Judge>,
    traffic: &Arc<Traffic>,
) -> Result<Connection, Failure> {
    let mut all = Failure { what: String::new(), definite: true };
    for (place, endpoint) in endpoints.in_turn() {
        // Whoever gives up waiting meanwhile has not been here for nothing: the next attempt begins with the next one.
        endpoints.keep_to(place + 1);
        match one(endpoint, tls, judge, traffic).await {
            Ok(stream) => {
                endpoints.keep_to(place);
                traffic.connections.fetch_add(1, Ordering::Relaxed);
                let h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
                return Ok(Connection { stream, h2, place });
            }
            Err(failure) => {
                let between = if all.what.is_empty() { "" } else { "; " };
                all.what += &format!("{between}{}: {}", endpoint.authority, failure.what);
                all.definite &= failure.definite;
            }
        }
    }
    Err(all)
}

async fn one(
    endpoint: &Endpoint,
    tls: &Arc<ClientConfig>,
    judge: &Arc<Judge>,
    traffic: &Arc<Traffic>,
) -> Result<TlsStream<Seen>, Failure> {
    let addresses = endpoint.addresses().await.map_err(|what| Failure { what, definite: true })?;
    let mut last = Failure { what: "no address".into(), definite: true };
    for address in addresses {
        let stream = match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => {
                last = Failure { what: e.to_string(), definite: e.kind() != io::ErrorKind::TimedOut };
                continue;
            }
            Err(_) => {
                last = Failure { what: format!("no answer within {} s", CONNECT.as_secs()), definite: false };
                continue;
            }
        };
        judge.tell(|link, now| link.reached(now));
        prepare(&stream);
        let heard = Heard::new(judge);
        let seen = Seen { stream, judge: judge.clone(), traffic: traffic.clone(), heard };
        let shake = TlsConnector::from(tls.clone()).connect(endpoint.name.clone(), seen);
        last = match tokio::time::timeout(HANDSHAKE, shake).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(e)) => Failure { what: format!("TLS: {e}"), definite: true },
            Err(_) => Failure { what: "TLS: no answer".into(), definite: false },
        };
    }
    Err(last)
}

/// Small packets at once; and the kernel looks after a connection on which nobody says anything.
fn prepare(stream: &TcpStream) {
    let (idle, interval, count) = KEEP_ALIVE;
    let keep_alive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(count);
    // Each is a help only: a connection without them works.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keep_alive);
}

/// A TCP stream of which each received byte is a sign of life.
pub struct Seen {
    stream: TcpStream,
    judge: Arc<Judge>,
    traffic: Arc<Traffic>,
    heard: Heard,
}

/// When something came over one connection for the last time.
#[derive(Clone)]
pub struct Heard {
    judge: Arc<Judge>,
    /// In milliseconds on the judge's clock.
    last: Arc<AtomicU64>,
}

impl Heard {
    fn new(judge: &Arc<Judge>) -> Self {
        let heard = Self { judge: judge.clone(), last: Arc::default() };
        heard.note(judge.now());
        heard
    }

    fn note(&self, now: Moment) {
        self.last.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// For how long nothing came.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.judge.now().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

impl Seen {
    /// When something came for the last time.
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.heard.clone()
    }
}

impl AsyncRead for Seen {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if matches!(polled, Poll::Ready(Ok(()))) {
            let read = buf.filled().len().saturating_sub(before);
            if read > 0 {
                self.traffic.received.fetch_add(read as u64, Ordering::Relaxed);
                let now = self.judge.tell(|link, now| {
                    link.heard(now);
                    now
                });
                self.heard.note(now);
            }
        }
        polled
    }
}

impl AsyncWrite for Seen {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.count(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.count(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Seen {
    fn count(&self, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(written)) = polled {
            self.traffic.sent.fetch_add(*written as u64, Ordering::Relaxed);
        }
    }
}
