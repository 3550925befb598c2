//! The listening side: a port that answers, is closed, or drops even the SYN.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::{Counts, Link, Mode, Switch};
use crate::rng::Rng;

const BACKLOG: u32 = 1024;
/// A connection over loopback is there at once, or its SYN was dropped because the queue is full.
const STOPPER_WAIT: Duration = Duration::from_millis(200);

/// A port that can be open, shut or full.
#[derive(Debug)]
pub(super) struct Port {
    address: SocketAddr,
    listener: Option<TcpListener>,
    /// Our own connection that fills the queue of a port that shall drop SYNs.
    stopper: Option<TcpStream>,
    /// The far ends of stoppers that may still come out of the queue.
    stoppers: Vec<SocketAddr>,
}

impl Port {
    pub(super) fn open(address: SocketAddr) -> io::Result<Self> {
        let listener = listen(address)?;
        let address = listener.local_addr()?;
        Ok(Self { address, listener: Some(listener), stopper: None, stoppers: Vec::new() })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection of somebody else; pending for ever while the port is shut.
    async fn accept(&mut self) -> TcpStream {
        let Some(listener) = &self.listener else { return std::future::pending().await };
        loop {
            match listener.accept().await {
                Ok((_, peer)) if self.stoppers.contains(&peer) => self.stoppers.retain(|own| *own != peer),
                Ok((stream, _)) => return stream,
                // The one who came has gone again, or descriptors ran out: both pass.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn switch(&mut self, mode: Mode) -> io::Result<()> {
        if mode == Mode::Refuse {
            *self = Self { address: self.address, listener: None, stopper: None, stoppers: Vec::new() };
            return Ok(());
        }
        if self.listener.is_none() {
            self.listener = Some(listen(self.address)?);
        }
        if mode == Mode::BlackHole { self.fill().await } else { self.drain() }
    }

    /// Linux drops the SYN of a connection for whose listener the queue of finished handshakes is full. A length of 0
    /// has room for one, which we take ourselves unless somebody was quicker.
    async fn fill(&mut self) -> io::Result<()> {
        let (Some(listener), None) = (&self.listener, &self.stopper) else { return Ok(()) };
        rustix::net::listen(listener, 0)?;
        if let Ok(stopper) = tokio::time::timeout(STOPPER_WAIT, TcpStream::connect(self.reachable())).await {
            let stopper = stopper?;
            self.stoppers.push(stopper.local_addr()?);
            self.stopper = Some(stopper);
        }
        Ok(())
    }

    fn drain(&mut self) -> io::Result<()> {
        self.stopper = None;
        let Some(listener) = &self.listener else { return Ok(()) };
        rustix::net::listen(listener, i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
        Ok(())
    }

    /// An address at which we reach the port ourselves.
    fn reachable(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.address.port())
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes connections and starts what relays them.
#[derive(Debug)]
pub(super) struct Taker {
    port: Port,
    target: SocketAddr,
    link: Arc<watch::Sender<Link>>,
    counts: Arc<Counts>,
    rng: Rng,
}

impl Taker {
    pub(super) fn new(
        port: Port,
        target: SocketAddr,
        link: Arc<watch::Sender<Link>>,
        counts: Arc<Counts>,
        seed: u64,
    ) -> Self {
        Self { port, target, link, counts, rng: Rng::new(seed) }
    }

    /// Runs until nobody can send orders any more; its connections end with it.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Switch>) {
        let mut running = JoinSet::new();
        loop {
            let takes = self.link.borrow().open();
            tokio::select! {
                biased;
                order = orders.recv() => {
                    let Some((mode, done)) = order else { return };
                    // The one who asked may be gone.
                    let _told = done.send(self.switch(mode).await);
                }
                client = self.port.accept(), if takes => {
                    let (rng, link) = (self.rng.fork(), self.link.subscribe());
                    running.spawn(Connection::new(self.target, link, Arc::clone(&self.counts), rng).run(client));
                }
                Some(_ended) = running.join_next() => {}
            }
        }
    }

    /// A cut begins with the present connections, everything else with the port.
    async fn switch(&mut self, mode: Mode) -> io::Result<()> {
        if mode == Mode::BlackHole {
            self.link.send_modify(|link| link.mode = mode);
        }
        self.port.switch(mode).await?;
        self.link.send_modify(|link| link.mode = mode);
        Ok(())
    }
}
