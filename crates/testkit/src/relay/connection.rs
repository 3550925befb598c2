//! One relayed connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::line::{Line, SEGMENT};
use super::{Counts, FlowCount, Link, Way};
use crate::rng::Rng;

/// How many segments may be under way in one direction before the sender has to wait: a window of about 1.5 MB.
const WINDOW: usize = 1024;
const READ: usize = 64 * 1024;

pub(super) struct Connection {
    target: SocketAddr,
    link: watch::Receiver<Link>,
    counts: Arc<Counts>,
    rng: Rng,
    started: Instant,
}

/// Bytes on their way, or the end of the stream.
struct Segment {
    arrives: Instant,
    bytes: Vec<u8>,
    end: bool,
}

/// How a connection ended.
enum End {
    /// Both directions were closed in order.
    Closed,
    /// With a reset, ordered or of one of the ends.
    Reset,
}

impl Connection {
    pub(super) fn new(
        target: SocketAddr,
        link: watch::Receiver<Link>,
        counts: Arc<Counts>,
        rng: Rng,
    ) -> Self {
        Self { target, link, counts, rng, started: Instant::now() }
    }

    pub(super) async fn run(mut self, mut client: TcpStream) {
        self.counts.connections.fetch_add(1, Ordering::Relaxed);
        let _open = Open::new(Arc::clone(&self.counts));
        let resets = self.link.borrow().resets;
        let mut ordered = self.link.clone();
        let mut target = None;
        let end = tokio::select! {
            biased;
            _ordered_or_relay_gone = ordered.wait_for(|link| link.resets != resets) => End::Reset,
            end = self.relay(&mut client, &mut target) => end,
        };
        if matches!(end, End::Reset) {
            reset_on_close(&client);
            if let Some(target) = &target {
                reset_on_close(target);
            }
        }
    }

    /// Connects and relays both directions until both have ended.
    async fn relay(&mut self, client: &mut TcpStream, target: &mut Option<TcpStream>) -> End {
        let (there, back) = {
            let shape = self.link.borrow().shape;
            (shape.handshake(&mut self.rng), shape.handshake(&mut self.rng))
        };
        sleep(there).await;
        wait_open(&mut self.link).await;
        let Ok(stream) = connect(self.target).await else {
            // What the target answered, refusal most likely, travels back.
            sleep(back).await;
            wait_open(&mut self.link).await;
            return End::Reset;
        };
        let target = target.insert(stream);
        // Small requests wait for nobody: delays are ours to make.
        let _better = (client.set_nodelay(true), target.set_nodelay(true));
        let (from_client, to_client) = client.split();
        let (from_target, to_target) = target.split();
        let up = Pump::new(self, Way::Up, there + back);
        let down = Pump::new(self, Way::Down, Duration::ZERO);
        match tokio::try_join!(up.run(from_client, to_target), down.run(from_target, to_client)) {
            Ok(_) => End::Closed,
            Err(_) => End::Reset,
        }
    }
}

fn relay_gone() -> io::Error {
    io::Error::other("the relay has ended")
}

/// Waits until bytes pass.
async fn wait_open(link: &mut watch::Receiver<Link>) {
    // Nobody can cut or heal it any more when the sender is gone; the connection is about to end then.
    let _gone = link.wait_for(Link::open).await;
}

/// Connects; given up half-way, the far end sees a reset too.
async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_zero_linger()?;
    let stream = socket.connect(target).await?;
    rustix::net::sockopt::set_socket_linger(&stream, None)?;
    Ok(stream)
}

fn reset_on_close(stream: &TcpStream) {
    // A socket that is dead already cannot and need not be reset.
    let _dead = stream.set_zero_linger();
}

/// Counts a connection as open while it lives.
struct Open(Arc<Counts>);

impl Open {
    fn new(counts: Arc<Counts>) -> Self {
        counts.open.fetch_add(1, Ordering::Relaxed);
        Self(counts)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One direction.
struct Pump {
    way: Way,
    ends: u64,
    line: Line,
    link: watch::Receiver<Link>,
    counts: Arc<Counts>,
    started: Instant,
}

impl Pump {
    fn new(of: &mut Connection, way: Way, open_after: Duration) -> Self {
        let line = Line::new(open_after, of.rng.fork());
        let ends = of.link.borrow().ends(way);
        let (link, counts) = (of.link.clone(), Arc::clone(&of.counts));
        Self { way, ends, line, link, counts, started: of.started }
    }

    async fn run(self, from: ReadHalf<'_>, to: WriteHalf<'_>) -> io::Result<()> {
        let (queue, arriving) = mpsc::channel(WINDOW);
        let (link, counts, way) = (self.link.clone(), Arc::clone(&self.counts), self.way);
        tokio::try_join!(self.take(from, queue), deliver(arriving, to, link, flow(&counts, way)))?;
        Ok(())
    }

    /// Reads what the sender sends while the link is open, and decides when it arrives.
    async fn take(mut self, mut from: ReadHalf<'_>, queue: mpsc::Sender<Segment>) -> io::Result<()> {
        let mut buffer = vec![0; READ];
        loop {
            wait_open(&mut self.link).await;
            if self.link.borrow_and_update().ends(self.way) != self.ends {
                self.end(&queue).await;
                return swallow(from).await;
            }
            let n = tokio::select! {
                biased;
                changed = self.link.changed() => {
                    changed.map_err(|_| relay_gone())?;
                    continue;
                }
                n = from.read(&mut buffer) => n?,
            };
            if n == 0 {
                self.end(&queue).await;
                return Ok(());
            }
            self.send(&buffer[..n], &queue).await;
        }
    }

    async fn send(&mut self, bytes: &[u8], queue: &mpsc::Sender<Segment>) {
        let shape = self.link.borrow().shape;
        let counts = Arc::clone(&self.counts);
        let flow = flow(&counts, self.way);
        let size = if shape.keeps_bytes_together() { bytes.len() } else { SEGMENT };
        for part in bytes.chunks(size) {
            let arrival = self.line.send(self.started.elapsed(), part.len(), &shape);
            flow.taken.fetch_add(part.len() as u64, Ordering::Relaxed);
            flow.lost.fetch_add(u64::from(arrival.lost), Ordering::Relaxed);
            let arrives = self.started + arrival.at;
            // Where the other end is gone there is nobody to bring it to.
            let _gone = queue.send(Segment { arrives, bytes: part.to_vec(), end: false }).await;
        }
    }

    async fn end(&mut self, queue: &mpsc::Sender<Segment>) {
        let shape = self.link.borrow().shape;
        let arrives = self.started + self.line.send(self.started.elapsed(), 0, &shape).at;
        let _gone = queue.send(Segment { arrives, bytes: Vec::new(), end: true }).await;
    }
}

fn flow(counts: &Counts, way: Way) -> &FlowCount {
    match way {
        Way::Up => &counts.up,
        Way::Down => &counts.down,
    }
}

/// Hands over what has arrived, in order; while the link is cut nothing is.
async fn deliver(
    mut arriving: mpsc::Receiver<Segment>,
    mut to: WriteHalf<'_>,
    mut link: watch::Receiver<Link>,
    flow: &FlowCount,
) -> io::Result<()> {
    while let Some(segment) = arriving.recv().await {
        let mut rest = segment.bytes.as_slice();
        arrive(segment.arrives, &mut link).await;
        while !rest.is_empty() {
            let n = tokio::select! {
                biased;
                changed = link.changed() => {
                    changed.map_err(|_| relay_gone())?;
                    arrive(segment.arrives, &mut link).await;
                    continue;
                }
                n = to.write(rest) => n?,
            };
            flow.delivered.fetch_add(n as u64, Ordering::Relaxed);
            rest = &rest[n..];
        }
        if segment.end {
            to.shutdown().await?;
        }
    }
    Ok(())
}

/// Waits for the moment of arrival; what a cut link has dropped arrives one delay after the heal.
async fn arrive(mut at: Instant, link: &mut watch::Receiver<Link>) {
    loop {
        sleep_until(at).await;
        if link.borrow_and_update().open() {
            return;
        }
        wait_open(link).await;
        at = Instant::now() + link.borrow().shape.delay;
    }
}

async fn swallow(mut from: ReadHalf<'_>) -> io::Result<()> {
    let mut buffer = vec![0; READ];
    while from.read(&mut buffer).await? != 0 {}
    Ok(())
}
