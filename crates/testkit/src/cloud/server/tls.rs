//! Everything that is said to rustls.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::cloud::auth::User;
use crate::cloud::pki::{Credential, named_by};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// How the server speaks TLS: it asks for a certificate, and takes any or none.
pub fn acceptor(own: &Credential, http2: bool) -> TlsAcceptor {
    let certificate =
        CertificateDer::from_pem_slice(own.certificate.as_bytes()).expect("our own certificate");
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("our own key");
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the library's own defaults")
        .with_client_cert_verifier(Arc::new(AskOnly(provider())))
        .with_single_cert(vec![certificate], key)
        .expect("a key that fits its certificate");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if http2 {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    TlsAcceptor::from(Arc::new(config))
}

/// The certificates that a client showed, its own first; it has proved that it holds the key.
pub struct Shown(Vec<CertificateDer<'static>>);

impl Shown {
    /// The common name in it.
    pub fn name(&self) -> String {
        named_by(&self.0[0]).unwrap_or_default().name
    }
}

/// What the client of a connection showed, if anything.
pub fn shown(stream: &TlsStream<TcpStream>) -> Option<Shown> {
    let chain = stream.get_ref().1.peer_certificates()?;
    let chain: Vec<_> = chain.iter().map(|one| one.clone().into_owned()).collect();
    (!chain.is_empty()).then_some(Shown(chain))
}

/// Judges client certificates at the time of the world.
#[derive(Debug)]
pub struct Verifier(Arc<dyn ClientCertVerifier>);

/// One that trusts this authority.
pub fn verifier(ca: &str) -> Arc<Verifier> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(ca.as_bytes()).expect("our own authority");
    roots.add(certificate).expect("our own authority");
    let built = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    Arc::new(Verifier(built.expect("one authority")))
}

impl Verifier {
    /// Whom the certificate names, if it counts.
    pub fn judge(&self, shown: &Shown, now: i64) -> Option<User> {
        let (leaf, others) = shown.0.split_first()?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now.max(0).unsigned_abs()));
        self.0.verify_client_cert(leaf, others, now).ok()?;
        named_by(leaf)
    }
}

/// Go's `tls.RequestClientCert`: whether a certificate counts is said by HTTP, not in the handshake.
#[derive(Debug)]
struct AskOnly(Arc<CryptoProvider>);

impl ClientCertVerifier for AskOnly {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

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
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
