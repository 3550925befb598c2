//! A large answer leaves in large packets.
//!
//! HTTP/2 and TLS hand it to the kernel in records of 16 KiB, each of which would go through the node's packet filters and wake
//! its reader on its own: more work than everything else that the hub does for a list. So from the second one on that a
//! connection says at a time, the kernel is asked to gather them (`TCP_CORK`, tcp(7)), until the connection has said all.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// So much goes at once, at a time: what is no more than this gains nothing from waiting for more.
const AT_ONCE: usize = 16 << 10;

/// A client's connection below TLS. Clones are the same one.
#[derive(Clone)]
pub struct Corked(Arc<Mutex<Line>>);

struct Line {
    stream: TcpStream,
    /// Whether it is sent when all has been said: nobody says so of an upgraded connection.
    is_sent_after: bool,
    /// Bytes written meanwhile.
    written: usize,
    is_corked: bool,
}

impl Corked {
    /// Around a connection.
    pub fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(Line { stream, is_sent_after: false, written: 0, is_corked: false })))
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection say what it has to say now, and sends that.
    pub fn say<T>(&self, connection: impl FnOnce() -> T) -> T {
        self.lock().begin();
        let said = connection();
        self.lock().send();
        said
    }
}

impl Line {
    fn wrote(&mut self, polled: &Poll<io::Result<usize>>) {
        let Poll::Ready(Ok(bytes)) = polled else { return };
        self.written += bytes;
        if self.is_sent_after && self.written > AT_ONCE && !self.is_corked {
            // A help only.
            self.is_corked = SockRef::from(&self.stream).set_tcp_cork(true).is_ok();
        }
    }

    fn begin(&mut self) {
        (self.is_sent_after, self.written) = (true, 0);
    }

    fn send(&mut self) {
        self.is_sent_after = false;
        if std::mem::take(&mut self.is_corked) {
            let _ = SockRef::from(&self.stream).set_tcp_cork(false);
        }
    }
}

impl AsyncRead for Corked {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Corked {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut line = self.lock();
        let polled = Pin::new(&mut line.stream).poll_write(cx, buf);
        line.wrote(&polled);
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut line = self.lock();
        let polled = Pin::new(&mut line.stream).poll_write_vectored(cx, bufs);
        line.wrote(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut line = self.lock();
        line.send();
        Pin::new(&mut line.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use tokio::net::TcpListener;

    use super::*;

    async fn write(line: &mut Corked, bytes: usize) {
        let bytes = vec![0; bytes];
        let written = poll_fn(|cx| Pin::new(&mut *line).poll_write(cx, &bytes)).await.unwrap();
        assert_eq!(written, bytes.len());
    }

    fn is_corked(line: &Corked) -> bool {
        SockRef::from(&line.lock().stream).tcp_cork().unwrap()
    }

    #[tokio::test]
    async fn what_is_said_at_a_time_is_gathered_and_sent_when_all_has_been_said() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (client, mut line) = (client.unwrap(), Corked::new(accepted.unwrap().0));
        write(&mut line, 10).await;
        let mut inner = line.clone();
        line.say(|| {
            // There is room: nobody has to be woken.
            let mut cx = Context::from_waker(Waker::noop());
            let mut write =
                |bytes: usize| Pin::new(&mut inner).poll_write(&mut cx, &vec![0; bytes]).is_ready();
            assert!(write(AT_ONCE) && !is_corked(&line), "little goes at once");
            assert!(write(10) && is_corked(&line));
        });
        assert!(!is_corked(&line));
        write(&mut line, 2 * AT_ONCE).await;
        assert!(!is_corked(&line), "nobody would send it");
        drop(client);
    }
}
