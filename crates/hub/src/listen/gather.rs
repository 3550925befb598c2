//! What a connection says at one time goes to the kernel at one time.
//!
//! HTTP/2 has every frame of 16 KiB flushed for itself. A large answer is then one system call, one packet and one round of
//! the node's packet filters for each of them, which is more work than everything that the hub does for a list. So flushing
//! is put off until the connection has said all that it has to say; what it says meanwhile stays where TLS has put it,
//! encrypted. Of that there are 64 KiB at most (`rustls::ConnectionCommon::set_buffer_limit`), as without this.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A client's connection below TLS; what is written to it can be kept from the kernel.
pub struct Gate {
    stream: TcpStream,
    is_shut: bool,
}

impl Gate {
    /// An open one.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, is_shut: false }
    }

    /// Says to TLS that the kernel takes nothing now.
    fn poll<T>(
        &mut self,
        work: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.is_shut { Poll::Pending } else { work(Pin::new(&mut self.stream)) }
    }
}

impl AsyncRead for Gate {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gate {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(|stream| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(|stream| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A connection that says nothing before [`Gathering::say`]; its clones are the same one.
#[derive(Clone)]
pub struct Gathering(Arc<Mutex<Inner>>);

struct Inner {
    tls: TlsStream<Gate>,
    /// There is more to say than there is room for.
    is_full: bool,
    /// Nothing can be said any more, for this reason.
    broken: Option<io::ErrorKind>,
}

impl Gathering {
    /// This connection, after its handshake.
    pub fn new(mut tls: TlsStream<Gate>) -> Self {
        tls.get_mut().0.is_shut = true;
        Self(Arc::new(Mutex::new(Inner { tls, is_full: false, broken: None })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `work`, which speaks over this connection, go on, and says what it had to say.
    pub fn say<T>(&self, cx: &mut Context<'_>, work: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let worked = work(cx);
        let mut inner = self.lock();
        let said = inner.open(|tls| tls.poll_flush(cx));
        if let Poll::Ready(Err(e)) = &said {
            inner.broken = Some(e.kind());
        }
        // Nothing else says that there is room again, or that there will never be.
        if said.is_ready() && std::mem::take(&mut inner.is_full) {
            cx.waker().wake_by_ref();
        }
        worked
    }
}

impl Inner {
    fn open<T>(&mut self, work: impl FnOnce(Pin<&mut TlsStream<Gate>>) -> T) -> T {
        self.tls.get_mut().0.is_shut = false;
        let done = work(Pin::new(&mut self.tls));
        self.tls.get_mut().0.is_shut = true;
        done
    }

    fn write(
        &mut self,
        work: impl FnOnce(Pin<&mut TlsStream<Gate>>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Some(kind) = self.broken {
            return Poll::Ready(Err(kind.into()));
        }
        let written = work(Pin::new(&mut self.tls));
        self.is_full |= written.is_pending();
        written
    }
}

impl AsyncRead for Gathering {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gathering {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().write(|tls| tls.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.lock().write(|tls| tls.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().open(|mut tls| {
            ready!(tls.as_mut().poll_flush(cx))?;
            tls.poll_shutdown(cx)
        })
    }
}
