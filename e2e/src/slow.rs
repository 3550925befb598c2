//! A slow and lossy link: a relay inside of the cloud's network through which everything for the API server goes.

use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result, anyhow};
use testkit::relay::{Relay, Shape};
use tokio::sync::oneshot;

use crate::machine::Machine;
use crate::netns;
use crate::wan::{API_PORT, CLOUD, RELAY_PORT};

/// The relay. Dropped, it ends, and with it the connections that go through it.
pub struct Slow {
    _until_dropped: oneshot::Sender<()>,
}

impl Slow {
    /// Starts it in `cloud`; which segments are lost follows from `seed`. [`crate::wan::Wan::relay`] then leads the
    /// node's connections to it.
    ///
    /// # Errors
    ///
    /// It cannot listen.
    pub async fn start(cloud: &Machine, shape: Shape, seed: u64) -> Result<Self> {
        let (until_dropped, dropped) = oneshot::channel();
        let (listening, listens) = oneshot::channel();
        let network = netns::path(cloud.name());
        // A thread of its own: sockets belong to the network of the thread that makes them.
        tokio::spawn(
            async move { netns::inside(&network, move || relay(shape, seed, listening, dropped)).await },
        );
        listens
            .await
            .map_err(|_| anyhow!("the relay's thread broke off"))?
            .context("the relay cannot listen in the cloud")?;
        Ok(Self { _until_dropped: until_dropped })
    }
}

fn relay(
    shape: Shape,
    seed: u64,
    listening: oneshot::Sender<io::Result<()>>,
    dropped: oneshot::Receiver<()>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(listening.send(Err(error))),
    };
    runtime.block_on(async {
        let at = |port| SocketAddr::from((CLOUD, port));
        match Relay::start(at(RELAY_PORT), at(API_PORT), shape, seed).await {
            Err(error) => drop(listening.send(Err(error))),
            Ok(_relay) => {
                let _ = listening.send(Ok(()));
                // An error is the sender's end, which is what is waited for.
                let _ = dropped.await;
            }
        }
    });
}
