//! A server that is asked, over one connection of HTTP/2.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;

use crate::Result;

/// What is asked for unless a verb says otherwise.
pub(crate) const EITHER: &str = "application/vnd.kubernetes.protobuf,application/json";

/// A server, and who asks it.
pub(crate) struct Target {
    /// Its name.
    pub name: String,
    url: String,
    token: Option<String>,
    sender: SendRequest<Full<Bytes>>,
}

impl Target {
    /// Connects to `NAME,URL,CA,CERT,KEY` or `NAME,URL,CA,TOKEN`.
    pub async fn connect(words: &str) -> Result<Self> {
        let parts: Vec<&str> = words.split(',').collect();
        let (name, url, ca, credential) = match parts.as_slice() {
            [name, url, ca, credential @ ..] if matches!(credential.len(), 1 | 2) => {
                (*name, *url, *ca, credential)
            }
            _ => return Err(format!("{words} is no TARGET").into()),
        };
        let mut roots = rustls::RootCertStore::empty();
        for authority in CertificateDer::pem_file_iter(ca)? {
            roots.add(authority?)?;
        }
        // As Go's clients and servers prefer it: else a server that follows its client, and one that does not, would be compared
        // with different ciphers.
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider
            .cipher_suites
            .sort_by_key(|suite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let (mut config, token) = match credential {
            [cert, key] => {
                let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
                (config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?, None)
            }
            [token, ..] => {
                let token = std::fs::read_to_string(token)?;
                (config.with_no_client_auth(), Some(token.trim().to_owned()))
            }
            [] => return Err(format!("{words} names no credential").into()),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let address = url.strip_prefix("https://").ok_or("only https://")?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = tls.connect(ServerName::try_from(host)?, stream).await?;
        // Windows as client-go has them: a list does not wait for its reader at every 64 KiB.
        let (sender, driver) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(1 << 30)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(driver);
        Ok(Self { name: name.into(), url: url.into(), token, sender })
    }

    /// Sends a request without a body.
    pub async fn read(&mut self, path: &str, accept: &str) -> Result<Response<Incoming>> {
        self.send("GET", path, &[("accept", accept)], Bytes::new()).await
    }

    /// As client-go asks: it understands gzip.
    pub async fn read_zipped(&mut self, path: &str, accept: &str) -> Result<Response<Incoming>> {
        self.send("GET", path, &[("accept", accept), ("accept-encoding", "gzip")], Bytes::new()).await
    }

    /// Sends a request.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        Ok(self.sender.send_request(request.body(Full::new(body))?).await?)
    }

    /// The same connection once more.
    pub fn share(&self) -> Self {
        let Self { name, url, token, sender } = self;
        Self { name: name.clone(), url: url.clone(), token: token.clone(), sender: sender.clone() }
    }
}

/// Reads an answer to its end; an error if it is none of success.
pub(crate) async fn whole(answer: Response<Incoming>) -> Result<Bytes> {
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    if status.is_success() {
        return Ok(body);
    }
    Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into())
}
