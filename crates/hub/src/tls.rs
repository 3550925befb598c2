//! Everything that is said to rustls: the one place that changes when it does.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use access::caller::{Signer, User};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};

use crate::certificate;
use crate::error::{Error, Result};

/// The protocols of a listener, and of a connection to the cloud that many requests share.
pub const H2: &[u8] = b"h2";
/// The protocol of a connection that is for one request, which may turn it into something else.
pub const HTTP1: &[u8] = b"http/1.1";

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())).clone()
}

/// A certificate with the key that fits it.
///
/// # Errors
///
/// One of the two cannot be read, or they do not fit.
pub fn identity(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Arc<CertifiedKey>> {
    let chain = certificate::chain(certificate_pem)?;
    let key = certificate::key(key_pem)?;
    CertifiedKey::from_der(chain, key, &provider())
        .map(Arc::new)
        .map_err(|e| Error::with("the key cannot be used, or is not that of the certificate", e))
}

/// The authorities of a PEM text.
///
/// # Errors
///
/// There is none, or one cannot be used.
pub fn roots(pem: &[u8]) -> Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificate::chain(pem)? {
        roots.add(certificate).map_err(|e| Error::with("an authority cannot be used", e))?;
    }
    Ok(Arc::new(roots))
}

/// Checks client certificates against one set of authorities.
#[derive(Debug, Clone)]
pub struct Verifier(Arc<dyn ClientCertVerifier>);

impl Verifier {
    /// One that trusts the authorities of `pem`.
    ///
    /// # Errors
    ///
    /// As [`roots`].
    pub fn new(pem: &[u8]) -> Result<Self> {
        let builder = WebPkiClientVerifier::builder_with_provider(roots(pem)?, provider());
        builder.build().map(Self).map_err(|e| Error::with("the authorities cannot be used", e))
    }

    /// Whether the chain, leaf first, is good for a client now.
    #[must_use]
    pub fn accepts(&self, chain: &[CertificateDer<'_>]) -> bool {
        self.verify(chain).is_ok()
    }

    fn verify(&self, chain: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        let Some((leaf, others)) = chain.split_first() else {
            return Err(rustls::Error::NoCertificatesPresented);
        };
        self.0.verify_client_cert(leaf, others, UnixTime::now()).map(drop)
    }
}

/// Whose client certificates count on the listeners.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The hub's own authority.
    pub hub: Verifier,
    /// The cluster's, if it is known.
    pub cluster: Option<Verifier>,
}

/// Whom a client certificate names, and until when that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The user.
    pub user: User,
    /// Who signed.
    pub signer: Signer,
    /// Until when.
    pub not_after: SystemTime,
}

impl Trust {
    /// Judges a chain, leaf first. The connection has proved already that its other end has the leaf's key.
    ///
    /// # Errors
    ///
    /// The chain leads to no authority here, or does not count now: why, in a few words.
    pub fn judge(&self, chain: &[CertificateDer<'_>]) -> Result<Verified, String> {
        let facts = |signer| {
            let leaf = chain.first().ok_or_else(|| "no certificate".to_owned())?;
            let facts = certificate::facts(leaf).map_err(|e| e.to_string())?;
            Ok(Verified { user: facts.user, signer, not_after: facts.not_after })
        };
        if self.hub.accepts(chain) {
            return facts(Signer::Hub);
        }
        match self.cluster.as_ref().map(|cluster| cluster.verify(chain)) {
            Some(Ok(())) => facts(Signer::Cluster),
            Some(Err(e)) => Err(e.to_string()),
            None => Err("signed by nobody that this hub knows".to_owned()),
        }
    }
}

/// Asks every client for a certificate, takes any or none, and only makes sure that its key is there: whether it counts is
/// said at each request, with an HTTP status as from the API server and not with a broken handshake.
#[derive(Debug)]
struct AskOnly(Arc<CryptoProvider>);

impl ClientCertVerifier for AskOnly {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: some clients send no certificate when its signer is not among those named here.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// How listeners speak TLS; `certificate` says at each handshake what the hub shows.
///
/// # Errors
///
/// The library refuses its own defaults.
pub fn server(certificate: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::with("TLS", e))?
        .with_client_cert_verifier(Arc::new(AskOnly(provider())))
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
    // A handshake with a neighbour costs less than remembering it.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// How the hub speaks TLS to the cloud: trusting `roots`, with `identity` or as nobody, offering `protocols`.
///
/// # Errors
///
/// The library refuses its own defaults.
pub fn client(
    roots: Arc<RootCertStore>,
    identity: Option<Arc<CertifiedKey>>,
    protocols: &[&[u8]],
) -> Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::with("TLS", e))?
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(Shown(identity))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|one| one.to_vec()).collect();
    config.resumption = rustls::client::Resumption::in_memory_sessions(4);
    Ok(Arc::new(config))
}

/// Shows one certificate to whoever asks, whatever signers they name: the cloud judges it.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).map(|_| self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A certificate that can be exchanged while connections are made.
pub struct Current(std::sync::RwLock<Arc<CertifiedKey>>);

impl Current {
    /// One that is `identity` at first.
    #[must_use]
    pub fn new(identity: Arc<CertifiedKey>) -> Arc<Self> {
        Arc::new(Self(std::sync::RwLock::new(identity)))
    }

    /// Shows `identity` from now on.
    pub fn set(&self, identity: Arc<CertifiedKey>) {
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = identity;
    }

    fn get(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

/// 256 bits that nobody can guess.
///
/// # Errors
///
/// The system gives none.
pub fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| Error::new("the system gives no random numbers"))?;
    Ok(bytes)
}

/// The wall clock as a moment since 1970; a clock before that is 1970.
#[must_use]
pub fn since_1970(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}
