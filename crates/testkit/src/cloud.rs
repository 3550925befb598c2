//! A miniature cloud: an HTTPS server that behaves as kube-apiserver does, to those who cannot tell but by its size.
//!
//! It knows list, watch, watch-list, get, create, update, patch and delete of everything that it serves, with the API
//! server's rules for resourceVersions, preconditions, finalizers and status subresources; identities by certificate and
//! token, with rules of who may what; tokens, certificate requests, reviews, discovery. There is no admission, no
//! defaulting to speak of, no validation of specs, no `managedFields`, and events of `events.k8s.io` are not those of the
//! core group. What it claims about the API server is checked against a real one by the suite in [`contract`].
//!
//! In front of it stands a [`Relay`], so the link to it can be cut in every way that a link can; [`Fault`]s are what the
//! server itself gets wrong. Every request is kept for the test to look at ([`Cloud::requests`]).
//!
//! Wall time is what the test says ([`World::now`]). Names and uids follow the seed.

pub mod auth;
pub mod contract;
pub mod faults;
pub mod kinds;
pub mod pki;
pub mod record;
pub mod store;
pub mod watch;
pub mod world;

mod discovery;
mod encoding;
mod fields;
mod object;
mod read;
mod rules;
mod server;
mod special;
mod write;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

pub use auth::{Rule, User};
pub use faults::{Fault, Trouble};
pub use kinds::Kind;
pub use pki::{Authority, Credential};
pub use record::Seen;
pub use world::{Token, World};

use crate::relay::{Relay, Shape};

/// As which release the cloud behaves, where releases differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// 1.20: no watch-list.
    V1_20,
    /// 1.36.
    V1_36,
    /// One with fields and kinds that nobody here knows.
    Newer,
}

impl Release {
    /// The minor version.
    pub fn minor(self) -> u16 {
        match self {
            Release::V1_20 => 20,
            Release::V1_36 => 36,
            Release::Newer => 40,
        }
    }
}

/// How a cloud begins.
#[derive(Debug, Clone)]
pub struct Options {
    /// As which release it behaves.
    pub release: Release,
    /// From what names, uids and the link's loss are drawn.
    pub seed: u64,
    /// Seconds since 1970. It stands still unless the test moves it.
    pub now: i64,
    /// Where it listens; port 0 for any.
    pub listen: SocketAddr,
    /// Names and addresses in its certificate, besides those of loopback.
    pub names: Vec<String>,
    /// Whether it speaks HTTP/2; HTTP/1.1 it speaks always.
    pub http2: bool,
    /// The link to it.
    pub shape: Shape,
    /// How long a read waits for a resourceVersion that is not reached yet: 3 s in a real API server.
    pub patience: Duration,
    /// How often watches get a bookmark; about a minute in a real API server.
    pub bookmarks_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self {
            release: Release::V1_36,
            seed: 1,
            now: i64::try_from(now).unwrap_or_default(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            names: Vec::new(),
            http2: true,
            shape: Shape::default(),
            patience: Duration::from_secs(3),
            bookmarks_every: Duration::from_secs(60),
        }
    }
}

/// Longer than any test, and than any clock error in one.
const ALWAYS: pki::Validity = (0, 7_258_118_400);

/// A running cloud. Dropping it ends it.
#[derive(Debug)]
pub struct Cloud {
    relay: Relay,
    shared: Arc<server::Shared>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Cloud {
    /// Starts one.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(options: Options) -> io::Result<Self> {
        let authority = Authority::new("kubernetes", ALWAYS);
        let mut names = vec!["127.0.0.1", "::1", "localhost", "kubernetes", "kubernetes.default.svc"];
        names.extend(options.names.iter().map(String::as_str));
        let own = authority.server(&names, ALWAYS);
        let world = World::new(options.release, options.now, options.seed, authority);
        let shared = Arc::new(server::Shared::new(world, &options));
        let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let behind = listener.local_addr()?;
        let server = tokio::spawn(server::serve(listener, Arc::clone(&shared), own, options.http2));
        let relay = Relay::start(options.listen, behind, options.shape, options.seed).await?;
        Ok(Self { relay, shared, server })
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.relay.address()
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    /// The link to it.
    pub fn link(&self) -> &Relay {
        &self.relay
    }

    /// The authority that clients trust, as PEM.
    pub fn ca(&self) -> String {
        self.world(|world| world.authority.certificate.clone())
    }

    /// A client certificate for a user.
    pub fn credential(&self, user: &User) -> Credential {
        self.world(|world| world.authority.client(user, ALWAYS))
    }

    /// A client certificate that is valid from `from` to `until`, in seconds since 1970.
    pub fn credential_between(&self, user: &User, from: i64, until: i64) -> Credential {
        self.world(|world| world.authority.client(user, (from, until)))
    }

    /// A bearer token for a user, valid for ever; it is no JSON web token.
    pub fn token(&self, user: &User) -> String {
        self.world(|world| {
            let token = format!("token-{}", world.uid());
            world.tokens.insert(token.clone(), Token { user: user.clone(), until: None, bound: None });
            token
        })
    }

    /// Looks at the cloud or changes it, all at once; watches see it afterwards.
    pub fn world<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        self.shared.world(work)
    }

    /// Lets somebody do something.
    pub fn allow(&self, rule: Rule) {
        self.world(|world| world.rules.push(rule));
    }

    /// Serves one more kind.
    pub fn add_kind(&self, kind: Kind) {
        self.world(|world| world.kinds.push(kind));
    }

    /// Writes an object as controllers do, status and all. The namespace is `default` if none is named.
    pub fn put(&self, group: &str, resource: &str, object: Value) -> Arc<Value> {
        self.world(|world| world.put(group, resource, object))
    }

    /// The object as it is.
    pub fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.world(|world| {
            let key = world.key(&world.kind(group, resource), namespace, name);
            world.store.get(&key)
        })
    }

    /// Takes an object away at once, finalizers or not.
    pub fn remove(&self, group: &str, resource: &str, namespace: &str, name: &str) {
        self.world(|world| {
            let key = world.key(&world.kind(group, resource), namespace, name);
            world.store.delete(&key);
        });
    }

    /// Lets something go wrong.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults(|faults| faults.push(fault));
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.shared.faults(Vec::clear);
    }

    /// Every request that has come so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.seen(|seen| seen.clone())
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.shared.seen(Vec::clear);
    }

    /// Sends a bookmark to every watch that takes them.
    pub fn bookmark(&self) {
        self.shared.bookmark();
    }

    /// How many watches are open.
    pub fn watches(&self) -> usize {
        self.shared.watches()
    }
}
