//! What a program on the node meets when it turns to the API server's address: the difference between a link that is
//! cut, black, refusing or slow, as sockets show it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::netns;
use crate::wan::{API_PORT, CLOUD};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// An answer, this long after the question.
    Answer(Duration),
    /// A reset: nobody listens there, or the connection is gone.
    Reset,
    /// The kernel knows no way there.
    NoRoute,
    /// Nothing at all within two seconds.
    Silence,
}

/// A connection from the node to the API server, to see what becomes of it.
pub struct Open(TcpStream);

/// Connects from the network at `network` and asks.
///
/// # Errors
///
/// The network cannot be entered, or something else is met.
pub async fn api_server(network: &Path) -> Result<Reach> {
    let met = netns::inside(network, || {
        let began = Instant::now();
        connect().and_then(|stream| ask(&stream)).map(|()| began.elapsed())
    });
    reach(met.await?)
}

/// Opens a connection that stays.
///
/// # Errors
///
/// It cannot be opened.
pub async fn open(network: &Path) -> Result<Open> {
    Ok(Open(netns::inside(network, connect).await??))
}

impl Open {
    /// Asks over the connection; it can be done once.
    ///
    /// # Errors
    ///
    /// Something else than what [`Reach`] knows is met.
    pub fn ask(self) -> Result<Reach> {
        let began = Instant::now();
        reach(ask(&self.0).map(|()| began.elapsed()))
    }
}

fn connect() -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::from((CLOUD, API_PORT)), PATIENCE)
}

/// A question that needs no TLS: Go's server tells a client without TLS so, and closes.
fn ask(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let read = stream.read(&mut [0; 64])?;
    if read == 0 { Err(ErrorKind::ConnectionReset.into()) } else { Ok(()) }
}

fn reach(met: io::Result<Duration>) -> Result<Reach> {
    Ok(match met {
        Ok(after) => Reach::Answer(after),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Reach::Reset,
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => Reach::NoRoute,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Reach::Silence,
            _ => bail!("the API server's address is met with {error}"),
        },
    })
}
