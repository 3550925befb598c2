//! What systemd, or whoever started the hub in its manner, is told, and which sockets it gave
//! (sd_notify(3), sd_listen_fds(3)).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use listenfd::ListenFd;

use crate::error::{Error, Result};

/// Sockets that the service manager had open before the hub began, by the names of `FileDescriptorName=`.
#[derive(Default)]
pub struct Given {
    /// `api`: the Kubernetes API.
    pub api: Vec<std::net::TcpListener>,
    /// `health`: health and figures.
    pub health: Option<std::net::TcpListener>,
    /// `admin`: the operator's commands.
    pub admin: Option<std::os::unix::net::UnixListener>,
}

impl Given {
    /// Takes them; once in a process.
    ///
    /// # Errors
    ///
    /// One has a name that means nothing here, or is of another kind than its name says.
    pub fn take() -> Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut sockets = ListenFd::from_env();
        let mut given = Self::default();
        let names: Vec<&str> = names.split(':').collect();
        for place in 0..sockets.len() {
            let name = names.get(place).copied().unwrap_or("api");
            let wrong = |e| Error::with(format!("the service manager's socket {name} (number {place})"), e);
            let missing =
                || Error::new(format!("the service manager's socket {name} (number {place}) is gone"));
            match name {
                "admin" => {
                    given.admin = Some(sockets.take_unix_listener(place).map_err(wrong)?.ok_or_else(missing)?)
                }
                "health" => {
                    given.health = Some(sockets.take_tcp_listener(place).map_err(wrong)?.ok_or_else(missing)?)
                }
                "api" => {
                    given.api.push(sockets.take_tcp_listener(place).map_err(wrong)?.ok_or_else(missing)?)
                }
                other => {
                    return Err(Error::new(format!(
                        "the service manager gives a socket named {other}: FileDescriptorName must be api, health or admin"
                    )));
                }
            }
        }
        Ok(given)
    }
}

/// Tells the service manager something, as `READY=1`; nothing if there is none that listens.
pub fn tell(what: &str) {
    let Some(path) = std::env::var("NOTIFY_SOCKET").ok().filter(|path| !path.is_empty()) else { return };
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name.as_bytes()),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = UnixDatagram::unbound()
        .and_then(|socket| address.and_then(|address| socket.send_to_addr(what.as_bytes(), &address)));
    if let Err(e) = sent {
        tracing::debug!("the service manager cannot be told {what}: {e}");
    }
}

/// How often the service manager wants to hear that the hub is alive; `None`: it does not.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    let for_us = std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
    let limit: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (for_us && limit > 0).then(|| Duration::from_micros(limit) / 3)
}
