//! A client that does as it is told: one HTTP/2 connection, requests as the case writes them.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::cloud::Credential;

/// JSON merge patch.
pub const MERGE: &str = "application/merge-patch+json";
/// JSON patch.
pub const JSON_PATCH: &str = "application/json-patch+json";
/// Strategic merge patch.
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Where a server is, and as whom it is asked.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// The authority that signed its certificate, PEM.
    pub ca: String,
    /// The client certificate; `None` is nobody.
    pub credential: Option<Credential>,
}

/// A connection.
#[derive(Debug, Clone)]
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP code.
    pub code: u16,
    /// The headers.
    pub headers: hyper::HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The body as JSON; null where it is none.
    pub json: Value,
}

impl Reply {
    /// Code and body, for messages.
    pub fn text(&self) -> String {
        format!("{} {}", self.code, String::from_utf8_lossy(&self.body))
    }

    /// A header.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A watch that is open.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    rest: BytesMut,
}

impl Events {
    /// The next event; `None` where the stream has ended in order.
    ///
    /// # Errors
    /// When it breaks off, or sends what is no event.
    pub async fn next(&mut self) -> Result<Option<Value>, String> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(end + 1);
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|e| format!("no event: {e}: {line:?}"));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(e)) => return Err(format!("the watch broke off: {e}")),
                Some(Ok(frame)) => {
                    self.rest.extend_from_slice(&frame.into_data().unwrap_or_default());
                }
            }
        }
    }

    /// The next event that is no bookmark: its type, the object's name, its resourceVersion.
    ///
    /// # Errors
    /// As [`next`](Self::next), and when the stream has ended.
    pub async fn change(&mut self) -> Result<(String, String, u64), String> {
        loop {
            let event = self.next().await?.ok_or("the watch has ended")?;
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            if kind != "BOOKMARK" {
                let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                return Ok((kind, name, super::version(&event["object"])));
            }
        }
    }
}

/// TLS to the server, offering this protocol.
///
/// # Errors
/// When nobody is there, or not the right one.
pub(crate) async fn secured(
    target: &Target,
    protocol: &[u8],
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let address = target.address;
    let failed = |e: &dyn std::fmt::Display| format!("{address} cannot be reached: {e}");
    let stream = TcpStream::connect(address).await.map_err(|e| failed(&e))?;
    stream.set_nodelay(true).map_err(|e| failed(&e))?;
    let connector = tokio_rustls::TlsConnector::from(tls(target, protocol)?);
    connector.connect(ServerName::from(address.ip()), stream).await.map_err(|e| failed(&e))
}

fn tls(target: &Target, protocol: &[u8]) -> Result<Arc<rustls::ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(target.ca.as_bytes()) {
        let certificate = certificate.map_err(|e| format!("the authority cannot be read: {e}"))?;
        roots.add(certificate).map_err(|e| format!("the authority cannot be used: {e}"))?;
    }
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots);
    let mut config = match &target.credential {
        None => builder.with_no_client_auth(),
        Some(Credential { certificate, key }) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
            let chain = chain.map_err(|e| format!("the client certificate cannot be read: {e}"))?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                .map_err(|e| format!("the client key cannot be read: {e}"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| format!("the client certificate cannot be used: {e}"))?
        }
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody is there, or not the right one.
    pub async fn connect(target: &Target) -> Result<Self, String> {
        let address = target.address;
        let stream = secured(target, b"h2").await?;
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .map_err(|e| format!("{address} speaks no HTTP/2: {e}"))?;
        tokio::spawn(connection);
        Ok(Self { sender, authority: address.to_string() })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, String> {
        let response = self.open(method, target, headers, body.into()).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| format!("{method} {target} broke off: {e}"))?.to_bytes();
        let json = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Reply { code: parts.status.as_u16(), headers: parts.headers, body, json })
    }

    async fn open(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>, String> {
        let uri = format!("https://{}{target}", self.authority);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|e| format!("{method} {target}: {e}"))?;
        let mut sender = self.sender.clone();
        sender.ready().await.map_err(|e| format!("{method} {target}: {e}"))?;
        sender.send_request(request).await.map_err(|e| format!("{method} {target}: {e}"))
    }

    /// GET.
    ///
    /// # Errors
    /// When there is no answer; so for all of these.
    pub async fn get(&self, target: &str) -> Result<Reply, String> {
        self.send("GET", target, &[], "").await
    }

    /// POST of JSON.
    pub async fn post(&self, target: &str, object: &Value) -> Result<Reply, String> {
        self.send("POST", target, &[("content-type", "application/json")], object.to_string()).await
    }

    /// PUT of JSON.
    pub async fn put(&self, target: &str, object: &Value) -> Result<Reply, String> {
        self.send("PUT", target, &[("content-type", "application/json")], object.to_string()).await
    }

    /// PATCH.
    pub async fn patch(&self, target: &str, form: &str, patch: &Value) -> Result<Reply, String> {
        self.send("PATCH", target, &[("content-type", form)], patch.to_string()).await
    }

    /// DELETE, with options unless they are null.
    pub async fn delete(&self, target: &str, options: &Value) -> Result<Reply, String> {
        let body = if options.is_null() { String::new() } else { options.to_string() };
        self.send("DELETE", target, &[("content-type", "application/json")], body).await
    }

    /// Opens a watch that must begin with 200.
    pub async fn watch(&self, target: &str) -> Result<Events, String> {
        let response = self.open("GET", target, &[], Bytes::new()).await?;
        if response.status() != 200 {
            let code = response.status();
            let body = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
            return Err(format!("no watch: {code} {}", String::from_utf8_lossy(&body)));
        }
        Ok(Events { body: response.into_body(), rest: BytesMut::new() })
    }
}

/// Has etcd compact, by its JSON gateway.
///
/// # Errors
/// When it does not.
pub async fn compact(etcd: SocketAddr, revision: u64) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("etcd at {etcd} does not compact: {e}");
    let stream = TcpStream::connect(etcd).await.map_err(|e| failed(&e))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
    tokio::spawn(connection);
    let body = format!(r#"{{"revision":"{revision}","physical":true}}"#);
    let request = Request::post("/v3/kv/compaction").header("host", etcd.to_string());
    let request = request.body(Full::new(Bytes::from(body))).map_err(|e| failed(&e))?;
    let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
    if response.status() == 200 { Ok(()) } else { Err(failed(&response.status())) }
}
