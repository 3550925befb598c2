//! With which certificate, or none, connections to the cloud are made.

use std::sync::{Arc, PoisonError, RwLock};

use access::caller::User;
use access::lend::Credential;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};

use crate::certificate::{self, Facts};
use crate::error::{Error, Result};
use crate::tls::{self, H2, HTTP1};

/// A certificate with its key, and what it says.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Both.
    pub key: Arc<CertifiedKey>,
    /// What it says.
    pub facts: Facts,
}

impl Identity {
    /// Reads both from PEM.
    ///
    /// # Errors
    ///
    /// They cannot be used, or do not fit each other.
    pub fn read(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self> {
        let key = tls::identity(certificate_pem, key_pem)?;
        let leaf = key.cert.first().ok_or_else(|| Error::new("no certificate in it"))?;
        let facts = certificate::facts(leaf)?;
        Ok(Self { key, facts })
    }
}

/// How to speak TLS under one credential.
#[derive(Clone)]
pub struct Tls {
    /// For connections that many requests share.
    pub shared: Arc<ClientConfig>,
    /// For connections of one request.
    pub single: Arc<ClientConfig>,
    /// Which of all that were ever set: a connection made under an older one takes no new request.
    pub generation: u64,
}

/// All credentials of the hub.
pub struct Credentials {
    now: RwLock<Now>,
}

struct Now {
    roots: Arc<RootCertStore>,
    node: Option<Identity>,
    /// Each keeps its place for as long as the hub runs, so that a request that is under way while files are read again does
    /// not go on as somebody else; `None` for one that is not handed over any more.
    handed: Vec<Option<Identity>>,
    made: Made,
}

#[derive(Clone)]
struct Made {
    node: Option<Tls>,
    handed: Vec<Option<Tls>>,
    own: Tls,
}

impl Credentials {
    /// Those at the start; the node's may come later.
    ///
    /// # Errors
    ///
    /// TLS refuses one of them.
    pub fn new(roots: Arc<RootCertStore>, node: Option<Identity>, handed: Vec<Identity>) -> Result<Self> {
        let handed: Vec<_> = handed.into_iter().map(Some).collect();
        let made = make(&roots, node.as_ref(), &handed, 0)?;
        Ok(Self { now: RwLock::new(Now { roots, node, handed, made }) })
    }

    /// How to speak TLS as `credential`; `None` while the hub has none of that kind.
    #[must_use]
    pub fn tls(&self, credential: Credential) -> Option<Tls> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        match credential {
            Credential::Node => now.made.node.clone(),
            Credential::Handed(which) => now.made.handed.get(which).cloned().flatten(),
            Credential::Own => Some(now.made.own.clone()),
        }
    }

    /// What the node's certificate says.
    #[must_use]
    pub fn node(&self) -> Option<Facts> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        now.node.as_ref().map(|identity| identity.facts.clone())
    }

    /// The users whose kubeconfigs were handed over, in the order of [`Credential::Handed`]; `None` where one was and is not
    /// any more.
    #[must_use]
    pub fn handed(&self) -> Vec<Option<User>> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        let user = |identity: &Identity| identity.facts.user.clone();
        now.handed.iter().map(|identity| identity.as_ref().map(user)).collect()
    }

    /// Changes some of them.
    ///
    /// # Errors
    ///
    /// TLS refuses one; then all stay as they were.
    pub fn change(
        &self,
        roots: Option<Arc<RootCertStore>>,
        node: Option<Identity>,
        handed: Option<Vec<Identity>>,
    ) -> Result<()> {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let roots = roots.unwrap_or_else(|| now.roots.clone());
        let node = node.or_else(|| now.node.clone());
        let handed = handed.map_or_else(|| now.handed.clone(), |handed| in_their_places(&now.handed, handed));
        let made = make(&roots, node.as_ref(), &handed, now.made.own.generation + 1)?;
        *now = Now { roots, node, handed, made };
        Ok(())
    }
}

/// Those that are handed over now, each in the place that it had, and others behind all that there ever were.
fn in_their_places(before: &[Option<Identity>], mut handed: Vec<Identity>) -> Vec<Option<Identity>> {
    let same = |one: &Identity, other: &Identity| one.facts.user == other.facts.user;
    let kept = before.iter().map(|before| {
        let place = handed.iter().position(|one| before.as_ref().is_some_and(|before| same(before, one)))?;
        Some(handed.remove(place))
    });
    let mut places: Vec<Option<Identity>> = kept.collect();
    places.extend(handed.into_iter().map(Some));
    places
}

fn make(
    roots: &Arc<RootCertStore>,
    node: Option<&Identity>,
    handed: &[Option<Identity>],
    generation: u64,
) -> Result<Made> {
    let tls = |identity: Option<&Identity>| {
        let speak = |protocols: &[&[u8]]| {
            tls::client(roots.clone(), identity.map(|identity| identity.key.clone()), protocols)
        };
        Ok(Tls { shared: speak(&[H2, HTTP1])?, single: speak(&[HTTP1])?, generation })
    };
    Ok(Made {
        node: node.map(|identity| tls(Some(identity))).transpose()?,
        handed: handed
            .iter()
            .map(|identity| identity.as_ref().map(|identity| tls(Some(identity))).transpose())
            .collect::<Result<_>>()?,
        own: tls(None)?,
    })
}
