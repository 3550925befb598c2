//! A relay for TCP connections that stands for a bad link: delay, loss as TCP shows it, a limited rate, and a link that
//! is cut in each of the ways in which links and servers are.
//!
//! It listens on one address and connects to another for every connection that comes. What it can stand for, and what
//! it cannot:
//!
//! - **Delay** holds every byte back by a one-way delay, and the first bytes of a connection by the handshake that a
//!   real one would have needed. The handshake that the client's kernel does ends at the relay, so `connect` itself is
//!   quick.
//! - **Loss** is not missing bytes, for TCP repairs them: a lost segment arrives a retransmission later, and everything
//!   behind it in that direction waits for it.
//! - **Black hole** drops everything silently: new connections get no answer at all, not even to their SYN; on present
//!   ones nothing passes, no end and no reset either. After the heal what was under way arrives, as TCP's
//!   retransmissions would bring it. One thing differs from dropped packets: the kernel beside the relay acknowledges
//!   what it takes into its buffers, so TCP keep-alives and `TCP_USER_TIMEOUT` notice nothing. Where those are tested,
//!   packets must be dropped for real.
//! - **Refuse** is a server whose process is gone: its port answers with a reset. Present connections go on; end them
//!   with [`Relay::reset`].
//!
//! Which segments are lost follows from the seed, the order in which connections come, and how their bytes are grouped
//! on arrival; the last is the kernel's, so two runs are alike rather than the same. The arithmetic itself
//! ([`line::Line`]) is exact.

pub mod control;
pub mod line;

mod connection;
mod listen;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use line::Shape;

/// What becomes of connections and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They pass, as the [`Shape`] says.
    Pass,
    /// Nothing passes and nobody is told.
    BlackHole,
    /// New connections are refused; present ones pass.
    Refuse,
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the one who connected to the target.
    Up,
    /// From the target to the one who connected.
    Down,
}

/// What a connection looks at while it runs.
#[derive(Debug, Clone)]
struct Link {
    shape: Shape,
    mode: Mode,
    resets: u64,
    up_ends: u64,
    down_ends: u64,
}

impl Link {
    fn open(&self) -> bool {
        self.mode != Mode::BlackHole
    }

    fn ends(&self, way: Way) -> u64 {
        match way {
            Way::Up => self.up_ends,
            Way::Down => self.down_ends,
        }
    }
}

/// What went one way, all connections together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// Bytes taken from the sender.
    pub taken: u64,
    /// Bytes handed to the receiver.
    pub delivered: u64,
    /// Segments that were lost at least once.
    pub lost: u64,
}

/// What a relay has seen since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections taken.
    pub connections: u64,
    /// Those of them that are there now.
    pub open: u64,
    /// From clients to the target.
    pub up: Flow,
    /// From the target to clients.
    pub down: Flow,
}

#[derive(Debug, Default)]
struct FlowCount {
    taken: AtomicU64,
    delivered: AtomicU64,
    lost: AtomicU64,
}

impl FlowCount {
    fn read(&self) -> Flow {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Flow { taken: get(&self.taken), delivered: get(&self.delivered), lost: get(&self.lost) }
    }
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    open: AtomicU64,
    up: FlowCount,
    down: FlowCount,
}

/// A change of the listener, and whom to tell when it has happened.
type Switch = (Mode, oneshot::Sender<io::Result<()>>);

/// A running relay. Dropping it ends it and its connections.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    link: Arc<watch::Sender<Link>>,
    switches: mpsc::Sender<Switch>,
    counts: Arc<Counts>,
    listener: JoinHandle<()>,
}

impl Relay {
    /// Listens on `listen` (port 0: any free one) and relays to `target`. Needs a running tokio runtime with time and
    /// I/O.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub async fn start(listen: SocketAddr, target: SocketAddr, shape: Shape, seed: u64) -> io::Result<Self> {
        let (link, _) = watch::channel(Link { shape, mode: Mode::Pass, resets: 0, up_ends: 0, down_ends: 0 });
        let (link, counts) = (Arc::new(link), Arc::new(Counts::default()));
        let (switches, orders) = mpsc::channel(1);
        let port = listen::Port::open(listen)?;
        let address = port.address();
        let taker = listen::Taker::new(port, target, Arc::clone(&link), Arc::clone(&counts), seed);
        let listener = tokio::spawn(taker.run(orders));
        Ok(Self { address, link, switches, counts, listener })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what becomes of connections and bytes; returns when it has taken effect.
    ///
    /// # Errors
    /// When the address can no longer be listened on.
    pub async fn switch(&self, mode: Mode) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        let gone = || io::Error::other("the relay has ended");
        self.switches.send((mode, done)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// What mode it is in.
    pub fn mode(&self) -> Mode {
        self.link.borrow().mode
    }

    /// Changes delay, loss and rate for all bytes that are taken from now on.
    pub fn reshape(&self, shape: Shape) {
        self.link.send_modify(|link| link.shape = shape);
    }

    /// Delay, loss and rate now.
    pub fn shape(&self) -> Shape {
        self.link.borrow().shape
    }

    /// Ends all present connections at once, both ends of each with a reset.
    pub fn reset(&self) {
        self.link.send_modify(|link| link.resets += 1);
    }

    /// Ends one direction of all present connections: after what is under way the receiver sees the end of the stream.
    /// What the sender still sends is swallowed; the other direction goes on.
    pub fn half_close(&self, way: Way) {
        self.link.send_modify(|link| match way {
            Way::Up => link.up_ends += 1,
            Way::Down => link.down_ends += 1,
        });
    }

    /// What has passed so far.
    pub fn counters(&self) -> Counters {
        Counters {
            connections: self.counts.connections.load(Ordering::Relaxed),
            open: self.counts.open.load(Ordering::Relaxed),
            up: self.counts.up.read(),
            down: self.counts.down.read(),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listener.abort();
    }
}
