//! What every test here stands on: a cloud with a node's rights, a hub before it, and clients of either.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hub::config::Config;
use hub::daemon::Daemon;
use hub::link::State;
use hub::service_manager::Given;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lease::machine::Dirs;
use serde_json::{Value, json};
use testkit::cloud::{Cloud, Credential, Options, Rule, User};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The node of these tests.
pub const NODE: &str = "edge-1";
/// Longer than anything here may take on a machine that others use too.
const LIMIT: Duration = Duration::from_secs(60);

/// A directory of one test.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("edgekeep-hub-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A cloud and a hub before it.
pub struct Bench {
    pub cloud: Cloud,
    pub daemon: Daemon,
    pub config: Config,
    pub scratch: Scratch,
}

/// Text of a kubeconfig.
pub fn kubeconfig(server: &str, ca: &str, user: &Value) -> String {
    use base64::Engine as _;
    let ca = base64::engine::general_purpose::STANDARD.encode(ca);
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority-data": ca}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    })
    .to_string()
}

/// The user of a kubeconfig with a certificate.
pub fn certificate(credential: &Credential) -> Value {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    json!({
        "client-certificate-data": encode(&credential.certificate),
        "client-key-data": encode(&credential.key),
    })
}

/// A cloud in which the node may do what nodes may, and some objects are.
pub async fn cloud() -> Cloud {
    cloud_of(Options::default()).await
}

/// The same, started with `options`.
pub async fn cloud_of(options: Options) -> Cloud {
    let cloud = Cloud::start(options).await.unwrap();
    let all = ["get", "list", "watch", "create", "update", "patch", "delete"];
    let node = || Rule::user(&format!("system:node:{NODE}")).can(&all);
    cloud.allow(node().on("", &["nodes", "pods", "services", "events"]));
    cloud.allow(node().on("certificates.k8s.io", &["certificatesigningrequests"]));
    cloud.put("", "nodes", json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}));
    cloud
}

/// The configuration of a hub that lives in `scratch`, before `cloud`.
pub fn config(scratch: &Scratch, cloud: &Cloud, node: &Credential) -> Config {
    let dir = &scratch.0;
    let file = dir.join("kubelet.conf");
    std::fs::write(&file, kubeconfig(&cloud.url(), &cloud.ca(), &certificate(node))).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        kubeconfig: file,
        bootstrap_kubeconfig: dir.join("bootstrap.conf"),
        listen: vec![any],
        health: any,
        admin: dir.join("admin.sock"),
        state_dir: dir.join("state"),
        bindings: Some(Dirs {
            state: dir.join("ipam"),
            run: dir.join("run"),
            cni_cache: dir.join("results"),
        }),
        drain_seconds: 2,
        ..Config::default()
    }
}

impl Bench {
    /// Both, with the hub's configuration changed by `change`; the hub knows that the cloud is there.
    pub async fn with(change: impl FnOnce(&mut Config, &Cloud, &Path)) -> Self {
        Self::before(cloud().await, change).await
    }

    /// A hub before this cloud.
    pub async fn before(cloud: Cloud, change: impl FnOnce(&mut Config, &Cloud, &Path)) -> Self {
        let scratch = Scratch::new();
        let mut config = config(&scratch, &cloud, &cloud.credential(&User::node(NODE)));
        change(&mut config, &cloud, &scratch.0);
        let daemon = Daemon::begin(config.clone(), Given::default()).unwrap();
        let bench = Self { cloud, daemon, config, scratch };
        bench.judges(true).await;
        bench.cloud.forget_requests();
        bench
    }

    pub async fn new() -> Self {
        Self::with(|_, _, _| {}).await
    }

    /// Waits until the hub takes the cloud for there, or gone.
    pub async fn judges(&self, up: bool) {
        until("the hub's verdict", || (self.daemon.standing().link.0 == State::Up) == up).await;
    }

    /// The hub's address.
    pub fn address(&self) -> SocketAddr {
        self.daemon.api[0]
    }

    /// The hub's authority, as PEM.
    pub fn ca(&self) -> String {
        std::fs::read_to_string(self.config.state_dir.join("pki/ca.crt")).unwrap()
    }

    /// The certificate that the hub made for kubelet.
    pub fn kubelet(&self) -> Credential {
        let read =
            |name: &str| std::fs::read_to_string(self.config.state_dir.join("pki").join(name)).unwrap();
        Credential { certificate: read("kubelet.crt"), key: read("kubelet.key") }
    }

    /// A client of the hub that shows `credential`.
    pub async fn client(&self, credential: Option<&Credential>) -> Client {
        Client::connect(self.address(), &self.ca(), credential, true).await.unwrap()
    }

    /// A client that only speaks HTTP/1.1.
    pub async fn client1(&self, credential: Option<&Credential>) -> Client {
        Client::connect(self.address(), &self.ca(), credential, false).await.unwrap()
    }

    /// kubelet, as it is once it has been adopted.
    pub async fn as_kubelet(&self) -> Client {
        self.client(Some(&self.kubelet())).await
    }
}

/// Waits until `ready`.
pub async fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let waited = async {
        while !ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, waited).await.unwrap_or_else(|_| panic!("{what} does not come"));
}

/// What `work` gives, which must not take for ever.
pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| panic!("{what} takes for ever"))
}

/// A TLS connection to the hub.
pub async fn tls(
    address: SocketAddr,
    ca: &str,
    credential: Option<&Credential>,
    h2: bool,
) -> std::io::Result<TlsStream<TcpStream>> {
    let identity =
        credential.map(|one| hub::tls::identity(one.certificate.as_bytes(), one.key.as_bytes()).unwrap());
    let protocols: &[&[u8]] = if h2 { &[hub::tls::H2] } else { &[hub::tls::HTTP1] };
    let config = hub::tls::client(hub::tls::roots(ca.as_bytes()).unwrap(), identity, protocols).unwrap();
    let stream = TcpStream::connect(address).await?;
    let name = address.ip().to_string().try_into().unwrap();
    tokio_rustls::TlsConnector::from(config).connect(name, stream).await
}

enum Sender {
    H1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    H2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

/// One connection to the hub, for one request at a time.
pub struct Client {
    sender: Sender,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub headers: hyper::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    /// The message of a `Status`.
    pub fn message(&self) -> String {
        let status = self.json();
        assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(self.code)), "{status}");
        status["message"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub async fn connect(
        address: SocketAddr,
        ca: &str,
        credential: Option<&Credential>,
        h2: bool,
    ) -> std::io::Result<Self> {
        let stream = TokioIo::new(tls(address, ca, credential, h2).await?);
        let sender = if h2 {
            let (sender, driver) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(driver);
            Sender::H2(sender)
        } else {
            let (sender, driver) = hyper::client::conn::http1::handshake(stream).await.unwrap();
            tokio::spawn(driver);
            Sender::H1(sender)
        };
        Ok(Self { sender })
    }

    /// Sends a request; `headers` besides those that it needs.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &(impl AsRef<[u8]> + ?Sized),
    ) -> hyper::Result<Response<Incoming>> {
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::copy_from_slice(body.as_ref()));
        match &mut self.sender {
            Sender::H1(sender) => {
                let request = request.uri(path).header("host", "hub").body(body).unwrap();
                soon(path, sender.send_request(request)).await
            }
            Sender::H2(sender) => {
                let request = request.uri(format!("https://hub{path}")).body(body).unwrap();
                soon(path, sender.send_request(request)).await
            }
        }
    }

    /// A whole answer to a GET.
    pub async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers, "").await
    }

    /// A whole answer.
    pub async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &(impl AsRef<[u8]> + ?Sized),
    ) -> Answer {
        let (parts, body) = self.send(method, path, headers, body).await.unwrap().into_parts();
        let body = soon("a body", body.collect()).await.unwrap().to_bytes();
        Answer { code: parts.status.as_u16(), headers: parts.headers, body }
    }
}

/// The next piece of a body that is not empty; `None` at its clean end.
pub async fn next(body: &mut Incoming) -> Option<hyper::Result<Bytes>> {
    loop {
        let frame = soon("the next piece", body.frame()).await?;
        match frame.map(|frame| frame.into_data().unwrap_or_default()) {
            Ok(piece) if piece.is_empty() => {}
            piece => return Some(piece),
        }
    }
}
