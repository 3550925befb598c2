//! The node's own certificate: the hub holds it, renews it by a certificate signing request as kubelet would
//! (`client-go:util/certificate/certificate_manager.go`), and gets a new one with the bootstrap kubeconfig when the cloud
//! does not take it any more.
//!
//! Renewed early, at a third of its life, because a node may be cut off for the rest of it. No clock decides that a
//! certificate is worthless: it is shown until the cloud refuses it.

mod request;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use durable::fs::Fs;
use durable::os::OsFs;
use durable::place::{create_dir_durably, replace_file};
use node::kubeconfig::{Access, Credential as From};

use crate::certificate::Facts;
use crate::cloud::Cloud;
use crate::cloud::credentials::Identity;
use crate::cloud::judge::jitter;
use crate::error::{Error, Result};
use crate::link::State;
use crate::proxy::Proxy;
use request::As;

/// Largest PEM file that is read, in bytes.
const MAX_PEM: usize = 1 << 20;
/// Pauses between attempts that fail, shortest and longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(1800));
/// The rest after a new certificate, at least and at most, whatever the clock says of it.
const REST: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(6 * 3600));
/// How often the time of renewal is looked at, for a clock that is set meanwhile.
const LOOK: Duration = Duration::from_secs(60);

/// What the certificate is read from and written to.
#[derive(Debug, Clone)]
pub struct Places {
    /// The hub's own copy: certificate, those above it, and key, in one PEM file as kubelet has it.
    pub current: PathBuf,
    /// The kubeconfig that kubelet had from the cluster.
    pub kubeconfig: PathBuf,
    /// The kubeconfig that gets a node its first certificate.
    pub bootstrap: PathBuf,
}

impl Places {
    /// The hub's own copy below its state directory.
    #[must_use]
    pub fn new(state: &Path, kubeconfig: &Path, bootstrap: &Path) -> Self {
        let current = state.join("node/current.pem");
        Self { current, kubeconfig: kubeconfig.to_owned(), bootstrap: bootstrap.to_owned() }
    }

    /// The certificate to begin with: the hub's own, or that of the kubeconfig where it was made later, of which a copy is
    /// then kept.
    ///
    /// # Errors
    ///
    /// Neither can be used, as before a node's first contact with its cluster: why, of both.
    pub fn load<F: Fs>(&self, fs: &F) -> Result<Identity> {
        let (own, theirs) = (self.own(fs), self.of_kubeconfig(fs));
        match (own, theirs) {
            (Ok(own), Ok((theirs, _))) if !is_successor(&own, &theirs) => Ok(own),
            (Ok(own), Err(_)) => Ok(own),
            (_, Ok((theirs, pem))) => {
                if let Err(e) = self.keep(fs, &pem) {
                    tracing::warn!("{e}");
                }
                Ok(theirs)
            }
            (Err(own), Err(theirs)) => Err(Error::new(format!("{theirs}; {own}"))),
        }
    }

    fn own<F: Fs>(&self, fs: &F) -> Result<Identity> {
        let pem = durable::fs::read(fs, &self.current, MAX_PEM);
        let pem = pem.map_err(|e| Error::file("cannot read", &self.current, e))?;
        Identity::read(&pem, &pem).map_err(|e| Error::file("cannot use", &self.current, e))
    }

    /// The certificate of the kubeconfig, and its PEM text with the key.
    fn of_kubeconfig<F: Fs>(&self, fs: &F) -> Result<(Identity, Vec<u8>)> {
        let access = Access::load(fs, &self.kubeconfig).map_err(Error::new)?;
        let From::Certificate { cert, key } = access.credential else {
            let path = self.kubeconfig.display();
            return Err(Error::new(format!("{path} holds no client certificate, which a kubelet's does")));
        };
        let cert = cert.bytes(fs).map_err(Error::new)?;
        let key = key.bytes(fs).map_err(Error::new)?;
        let identity = Identity::read(&cert, &key)
            .map_err(|e| Error::file("the certificate of", &self.kubeconfig, e))?;
        let mut both = cert;
        if !both.windows(11).any(|part| part == b"PRIVATE KEY") {
            both.push(b'\n');
            both.extend_from_slice(&key);
        }
        Ok((identity, both))
    }

    fn keep<F: Fs>(&self, fs: &F, pem: &[u8]) -> Result<()> {
        let wrong = |e| Error::file("cannot write", &self.current, e);
        if let Some(dir) = self.current.parent() {
            create_dir_durably(fs, dir, 0o700).map_err(wrong)?;
        }
        replace_file(fs, &self.current, pem, 0o600).map_err(wrong)
    }
}

/// Whether `theirs` was made for the same user after `own`.
fn is_successor(own: &Identity, theirs: &Identity) -> bool {
    theirs.facts.user == own.facts.user && theirs.facts.not_before > own.facts.not_before
}

/// When a certificate is to be renewed: between three and four tenths of its life. `obtained` is when the hub got it, if it
/// got it itself: signers date certificates back (`pkg/controller/certificates/authority`), short ones by more than their
/// life. `jitter` is any number.
#[must_use]
pub fn renew_at(facts: &Facts, obtained: Option<SystemTime>, jitter: u32) -> SystemTime {
    let begin = obtained.filter(|at| *at < facts.not_after).unwrap_or(facts.not_before);
    let life = facts.not_after.duration_since(begin).unwrap_or_default();
    let part = 0.3 + 0.1 * f64::from(jitter) / f64::from(u32::MAX);
    begin + life.mul_f64(part)
}

/// What stands about the certificate at the moment, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Whether the cloud refused the present one.
    pub refused: bool,
    /// What went wrong at the last attempt to get another one.
    pub trouble: Option<String>,
}

/// Keeps the certificate.
pub struct Keeper {
    places: Places,
    cloud: Arc<Cloud>,
    proxy: Arc<Proxy>,
    standing: Mutex<Standing>,
    /// Told when files changed: what was missing may be there.
    pub look_again: tokio::sync::Notify,
    /// When the present certificate was got, if that was by this process.
    obtained: Mutex<Option<SystemTime>>,
}

impl Keeper {
    /// A keeper of what `places` holds.
    #[must_use]
    pub fn new(places: Places, proxy: &Arc<Proxy>) -> Arc<Self> {
        let (cloud, proxy) = (proxy.cloud.clone(), proxy.clone());
        Arc::new(Self {
            places,
            cloud,
            proxy,
            standing: Mutex::default(),
            look_again: tokio::sync::Notify::new(),
            obtained: Mutex::default(),
        })
    }

    /// What stands now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Renews it in time, for as long as the hub runs.
    pub async fn keep(&self) {
        let (mut pause, mut rest) = (RETRY.0, REST.0);
        let mut drawn = jitter();
        loop {
            let left = self.time_left(drawn);
            if left > Duration::ZERO && !self.standing().refused {
                tokio::select! {
                    () = tokio::time::sleep(left.min(LOOK)) => {}
                    () = self.proxy.refused.notified() => self.note(|standing| standing.refused = true),
                }
                continue;
            }
            self.until_up().await;
            match self.another().await {
                Ok(until) => {
                    tracing::info!("the node has a new certificate, which ends {until}");
                    self.proxy.metrics.renewals.inc();
                    self.note(|standing| *standing = Standing::default());
                    (pause, drawn) = (RETRY.0, jitter());
                    tokio::time::sleep(rest).await;
                    // A clock that takes the newest certificate for old is wrong, and gets no better by asking.
                    rest =
                        if self.time_left(drawn) == Duration::ZERO { (rest * 2).min(REST.1) } else { REST.0 };
                }
                Err(e) => {
                    tracing::warn!("the node's certificate was not renewed: {e}");
                    self.proxy.metrics.renewal_failures.inc();
                    self.note(|standing| standing.trouble = Some(e.to_string()));
                    let pausing = pause.mul_f64(0.75 + 0.5 * f64::from(jitter()) / f64::from(u32::MAX));
                    tokio::select! {
                        () = tokio::time::sleep(pausing) => {}
                        () = self.look_again.notified() => {}
                    }
                    pause = (pause * 2).min(RETRY.1);
                }
            }
        }
    }

    /// How long until the certificate is to be renewed; nothing if it is time, or there is none.
    fn time_left(&self, drawn: u32) -> Duration {
        let Some(facts) = self.cloud.credentials.node() else { return Duration::ZERO };
        let obtained = *self.obtained.lock().unwrap_or_else(PoisonError::into_inner);
        renew_at(&facts, obtained, drawn).duration_since(SystemTime::now()).unwrap_or_default()
    }

    async fn until_up(&self) {
        let mut verdict = self.cloud.judge().verdict();
        // The judge lives as long as the cloud does.
        let _ = verdict.wait_for(|verdict| verdict.state == State::Up).await;
    }

    /// Gets another certificate, and says until when it counts.
    async fn another(&self) -> Result<String> {
        // Somebody may have joined the node anew meanwhile.
        let present = self.cloud.credentials.node();
        if let Ok(found) = self.places.load(&OsFs)
            && found.facts.user.is_node(&self.proxy.node)
            && present.as_ref().is_none_or(|present| found.facts.not_before > present.not_before)
        {
            return self.adopt(found);
        }
        // Also when it was refused: one 401 may have been a mistake of the cloud's.
        if present.is_some() {
            match self.request(&As::Node).await {
                Err(request::Failure::Refused) => {
                    tracing::warn!("the cloud does not accept the node's certificate any more");
                    self.note(|standing| standing.refused = true);
                }
                Err(request::Failure::Other(e)) => return Err(e),
                Ok(until) => return Ok(until),
            }
        }
        let bootstrap = self.bootstrap()?;
        self.request(&bootstrap).await.map_err(|failure| match failure {
            request::Failure::Refused => Error::new(format!(
                "the node's certificate is not accepted, and neither is the token in {}: make a new one (`kubeadm token \
                 create`) and put it there",
                self.places.bootstrap.display()
            )),
            request::Failure::Other(e) => e,
        })
    }

    fn bootstrap(&self) -> Result<As> {
        let path = &self.places.bootstrap;
        let access = Access::load(&OsFs, path).map_err(|e| {
            Error::new(format!(
                "the node has no certificate that the API server accepts, and cannot get one: {e}; write a bootstrap \
                 kubeconfig with a token of `kubeadm token create` to {}",
                path.display()
            ))
        })?;
        let token = match access.credential {
            From::Token(token) => token,
            From::TokenFile(file) => {
                let bytes = durable::fs::read(&OsFs, &file, MAX_PEM)
                    .map_err(|e| Error::file("cannot read", &file, e))?;
                String::from_utf8_lossy(&bytes).trim().to_owned()
            }
            _ => return Err(Error::new(format!("{} holds no token", path.display()))),
        };
        Ok(As::Token(token))
    }

    async fn request(&self, whom: &As) -> Result<String, request::Failure> {
        let pem = request::certificate(&self.cloud, &self.proxy.node, whom).await?;
        let identity = Identity::read(&pem, &pem)?;
        if !identity.facts.user.is_node(&self.proxy.node) {
            let text = format!("the cloud signed for \"{}\" and not for this node", identity.facts.user);
            return Err(Error::new(text).into());
        }
        let until = self.adopt(identity)?;
        // A disk that is full must not cost the node its certificate.
        self.places.keep(&OsFs, &pem).inspect_err(|e| tracing::error!("{e}")).ok();
        Ok(until)
    }

    fn adopt(&self, identity: Identity) -> Result<String> {
        let until = wire_time(identity.facts.not_after);
        self.cloud.credentials.change(None, Some(identity), None)?;
        *self.obtained.lock().unwrap_or_else(PoisonError::into_inner) = Some(SystemTime::now());
        Ok(until)
    }
}

/// A moment as people and Kubernetes write it.
#[must_use]
pub fn wire_time(at: SystemTime) -> String {
    let seconds = crate::tls::since_1970(at).as_secs();
    x509_cert::der::DateTime::from_unix_duration(Duration::from_secs(seconds))
        .map_or_else(|_| "never".to_owned(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use access::caller::User;

    use super::*;

    #[test]
    fn a_certificate_is_renewed_with_more_than_half_of_its_life_before_it() {
        let day = Duration::from_secs(86_400);
        let facts =
            Facts { user: User::node("n"), not_before: UNIX_EPOCH, not_after: UNIX_EPOCH + 365 * day };
        assert!(renew_at(&facts, None, 0) >= UNIX_EPOCH + 109 * day);
        assert!(renew_at(&facts, None, u32::MAX) <= UNIX_EPOCH + 147 * day);
    }

    #[test]
    fn a_certificate_that_is_dated_back_is_not_renewed_as_soon_as_it_comes() {
        let second = Duration::from_secs(1);
        let now = UNIX_EPOCH + 1000 * second;
        let facts =
            Facts { user: User::node("n"), not_before: now - 300 * second, not_after: now + 60 * second };
        assert!(renew_at(&facts, None, 0) < now);
        assert!(renew_at(&facts, Some(now), 0) >= now + 17 * second);
    }

    #[test]
    fn moments_are_written_as_kubernetes_does() {
        assert_eq!(wire_time(UNIX_EPOCH + Duration::from_secs(1_000_000_000)), "2001-09-09T01:46:40Z");
    }
}
