//! The addresses at which the cluster's API servers are reached.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::http::uri::Authority;
use rustls::pki_types::ServerName;

use crate::error::{Error, Result};

/// How long a name may take to be looked up before what it was last time is taken.
const LOOK_UP: Duration = Duration::from_secs(2);

/// One API server, or what stands for several.
pub struct Endpoint {
    host: String,
    port: u16,
    /// What its certificate must bear.
    pub name: ServerName<'static>,
    /// `host:port`, as it stands in a request.
    pub authority: Authority,
    /// What precedes every path; mostly empty.
    pub prefix: String,
    /// What the host's name stood for when it could last be looked up: a node without a link has no DNS either.
    known: Mutex<Vec<IpAddr>>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.authority.as_str())
    }
}

impl Endpoint {
    /// Reads a kubeconfig's `server`; `name` is its `tls-server-name`.
    ///
    /// # Errors
    ///
    /// It is not of the form `https://host:port/path`.
    pub fn parse(server: &str, name: Option<&str>) -> Result<Self> {
        let wrong = |why: &str| Error::new(format!("the server {server}: {why}"));
        let rest = server.strip_prefix("https://").ok_or_else(|| wrong("only https:// is spoken"))?;
        let (authority, prefix) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
        let (host, port) = split_port(authority).ok_or_else(|| wrong("not host:port"))?;
        let prefix = prefix.trim_end_matches('/');
        let must_bear = name.unwrap_or(host).to_owned();
        Ok(Self {
            name: ServerName::try_from(must_bear)
                .map_err(|e| Error::with(format!("the server {server}"), e))?,
            authority: authority.parse().map_err(|e| Error::with(format!("the server {server}"), e))?,
            prefix: if prefix.is_empty() { String::new() } else { format!("/{prefix}") },
            host: host.to_owned(),
            port,
            known: Mutex::default(),
        })
    }

    /// Whether it is one of these addresses of this machine; `localhost` is any loopback address.
    #[must_use]
    pub fn is_one_of(&self, own: &[SocketAddr]) -> bool {
        own.iter().any(|own| match self.host.parse::<IpAddr>() {
            Ok(address) => *own == SocketAddr::new(address, self.port),
            Err(_) => self.host == "localhost" && own.ip().is_loopback() && own.port() == self.port,
        })
    }

    /// Where to connect to, in the order in which to try.
    ///
    /// # Errors
    ///
    /// A name that cannot be looked up and never could: in words.
    pub async fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let asked = tokio::net::lookup_host((self.host.as_str(), self.port));
        let found: Vec<IpAddr> = match tokio::time::timeout(LOOK_UP, asked).await {
            Ok(Ok(found)) => found.map(|one| one.ip()).collect(),
            _ => Vec::new(),
        };
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !found.is_empty() {
            *known = found;
        }
        if known.is_empty() {
            return Err(format!("the name {} cannot be looked up", self.host));
        }
        Ok(known.iter().map(|address| SocketAddr::new(*address, self.port)).collect())
    }
}

/// `host:port`, `[v6]:port`, or a host alone at port 443.
fn split_port(authority: &str) -> Option<(&str, u16)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let port = if port.is_empty() { 443 } else { port.strip_prefix(':')?.parse().ok()? };
        return host.parse::<IpAddr>().is_ok().then_some((host, port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, 443),
    };
    (!host.is_empty() && port != 0).then_some((host, port))
}

/// All of them, and which one is in use: one after the other is tried, and one that works is kept to.
#[derive(Debug)]
pub struct Endpoints {
    all: Vec<Endpoint>,
    current: AtomicUsize,
}

impl Endpoints {
    /// These.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn new(all: Vec<Endpoint>) -> Result<Self> {
        if all.is_empty() {
            return Err(Error::new("no API server is configured"));
        }
        Ok(Self { all, current: AtomicUsize::new(0) })
    }

    /// Each once, with its place, the one in use first.
    pub fn in_turn(&self) -> impl Iterator<Item = (usize, &Endpoint)> {
        let first = self.current.load(Ordering::Relaxed) % self.all.len().max(1);
        self.all.iter().enumerate().cycle().skip(first).take(self.all.len())
    }

    /// Keeps to the one at `place`.
    pub fn keep_to(&self, place: usize) {
        self.current.store(place, Ordering::Relaxed);
    }

    /// All, in the order of the configuration.
    #[must_use]
    pub fn all(&self) -> &[Endpoint] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_kubeconfigs_name_them() {
        let read = |server| Endpoint::parse(server, None).map(|one| (one.host, one.port, one.prefix));
        let is = |host: &str, port, prefix: &str| Some((host.to_owned(), port, prefix.to_owned()));
        assert_eq!(read("https://10.0.0.1:6443").ok(), is("10.0.0.1", 6443, ""));
        assert_eq!(read("https://[fd00::1]:6443/").ok(), is("fd00::1", 6443, ""));
        assert_eq!(read("https://api.example").ok(), is("api.example", 443, ""));
        assert_eq!(
            read("https://rancher.example/k8s/clusters/c-1/").ok(),
            is("rancher.example", 443, "/k8s/clusters/c-1")
        );
        for wrong in [
            "http://a:1",
            "https://",
            "https://:1",
            "https://a:0",
            "https://a:x",
            "https://[::1",
            "https://[a]:1",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_next_one_is_tried_and_kept_to() {
        let all =
            ["https://a:1", "https://b:1", "https://c:1"].map(|one| Endpoint::parse(one, None).unwrap());
        let endpoints = Endpoints::new(all.into()).unwrap();
        endpoints.keep_to(1);
        let turn: Vec<usize> = endpoints.in_turn().map(|(place, _)| place).collect();
        assert_eq!(turn, [1, 2, 0]);
    }
}
