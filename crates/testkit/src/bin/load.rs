//! Asks several servers the same at a steady rate and says how long the answers took; or holds watches open. What the
//! benchmark of the hub asks with, directly and through it, in one run.
//!
//! ```text
//! load get PATH --rate N --seconds N NAME,URL,CA,CERT,KEY…    N requests a second to each, in turn
//! load watch PATH --count N NAME,URL,CA,CERT,KEY              N watches on one connection until stdin ends
//! ```
//!
//! Bounded: at most ten minutes, two thousand requests a second, a thousand watches.

use std::io::Read as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use tokio::net::TcpStream;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const USAGE: &str = "usage: load get PATH --rate N --seconds N TARGET… | load watch PATH --count N TARGET
  TARGET is NAME,URL,CA,CERT,KEY: a name, https://address:port, and three PEM files";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(&words)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("load: {e}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

async fn run(words: &[&str]) -> Result<()> {
    match words {
        ["get", path, "--rate", rate, "--seconds", seconds, targets @ ..] if !targets.is_empty() => {
            let rate = rate.parse::<u32>()?.clamp(1, 2000);
            let seconds = seconds.parse::<u32>()?.clamp(1, 600);
            get(path, rate, seconds, targets).await
        }
        ["watch", path, "--count", count, target] => {
            watch(path, count.parse::<usize>()?.clamp(1, 1000), target).await
        }
        _ => Err("not understood".into()),
    }
}

struct Target {
    name: String,
    url: String,
    sender: SendRequest<Empty<Bytes>>,
    took: Vec<Duration>,
    failed: u32,
}

impl Target {
    async fn connect(words: &str) -> Result<Self> {
        let [name, url, ca, cert, key] = words.split(',').collect::<Vec<_>>()[..] else {
            return Err(format!("{words} is not NAME,URL,CA,CERT,KEY").into());
        };
        let mut roots = rustls::RootCertStore::empty();
        for authority in CertificateDer::pem_file_iter(ca)? {
            roots.add(authority?)?;
        }
        let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let address = url.strip_prefix("https://").ok_or("only https://")?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = tls.connect(ServerName::try_from(host)?, stream).await?;
        let (sender, driver) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(Self { name: name.into(), url: url.into(), sender, took: Vec::new(), failed: 0 })
    }

    fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>> {
        let request = Request::builder().uri(format!("{}{path}", self.url));
        Ok(request
            .header("accept", "application/vnd.kubernetes.protobuf,application/json")
            .body(Empty::new())?)
    }

    async fn get(&mut self, path: &str) -> Result<()> {
        let request = self.request(path)?;
        let began = Instant::now();
        let answer = self.sender.send_request(request).await?;
        let good = answer.status().is_success();
        answer.into_body().collect().await?;
        if good {
            self.took.push(began.elapsed())
        } else {
            self.failed += 1
        }
        Ok(())
    }

    fn report(&mut self) -> serde_json::Value {
        self.took.sort_unstable();
        let at = |part: usize| {
            let place = (self.took.len() * part / 1000).min(self.took.len().saturating_sub(1));
            self.took.get(place).map_or(0, Duration::as_micros)
        };
        json!({
            "name": self.name, "answers": self.took.len(), "failed": self.failed,
            "p50Micros": at(500), "p90Micros": at(900), "p99Micros": at(990),
        })
    }
}

async fn get(path: &str, rate: u32, seconds: u32, targets: &[&str]) -> Result<()> {
    let mut all = Vec::new();
    for target in targets {
        all.push(Target::connect(target).await?);
    }
    let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
    for _ in 0..rate * seconds {
        tick.tick().await;
        // One after the other: what slows one down in this moment slows the other down too. Each goes first as often as
        // the others: the first wakes everybody up.
        for target in &mut all {
            target.get(path).await?;
        }
        all.rotate_left(1);
    }
    all.sort_by_key(|target| targets.iter().position(|words| words.starts_with(&target.name)));
    let reports: Vec<_> = all.iter_mut().map(Target::report).collect();
    println!("{}", json!({ "path": path, "rate": rate, "seconds": seconds, "targets": reports }));
    Ok(())
}

async fn watch(path: &str, count: usize, target: &str) -> Result<()> {
    let mut target = Target::connect(target).await?;
    let mut open = Vec::new();
    for _ in 0..count {
        let request = target.request(path)?;
        let answer = target.sender.send_request(request).await?;
        if !answer.status().is_success() {
            return Err(format!("{path} is answered {}", answer.status()).into());
        }
        let mut body = answer.into_body();
        open.push(tokio::spawn(async move { while let Some(Ok(_)) = body.frame().await {} }));
    }
    println!("{} watches are open", open.len());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
