//! The hub as a process: puts its parts together, keeps them, and takes them apart in order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use durable::fs::Fs;
use durable::os::OsFs;
use durable::place::{create_dir_durably, replace_file};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::clients::Clients;
use crate::cloud::Cloud;
use crate::cloud::credentials::Credentials;
use crate::config::{Config, Level, LogFormat};
use crate::error::{Error, Result};
use crate::files::{self, Prints};
use crate::health::{self, Source};
use crate::link::State;
use crate::listen::{Listening, listen};
use crate::metrics;
use crate::node_certificate::{Keeper, Places};
use crate::pki::Authority;
use crate::proxy::Proxy;
use crate::service_manager::{self, Given};
use crate::standing::Standing;
use crate::tls::{self, Current};

/// How often files are looked at for changes, and answers for readers that do not read.
const LOOK: Duration = Duration::from_secs(10);
/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 512;

/// Runs the hub until it is asked to stop (SIGTERM, SIGINT). Returns when everything is done.
///
/// # Errors
///
/// It cannot begin: what is missing or wrong.
pub fn run(config: Config) -> Result<()> {
    begin_log(&config);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::with("cannot begin", e))?;
    let done = runtime.block_on(serve(config));
    runtime.shutdown_timeout(Duration::from_millis(100));
    done
}

fn begin_log(config: &Config) {
    let level = match config.log {
        Level::Error => tracing::Level::ERROR,
        Level::Warn => tracing::Level::WARN,
        Level::Info => tracing::Level::INFO,
        Level::Debug => tracing::Level::DEBUG,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_ansi(false);
    let log = log.with_writer(std::io::stderr);
    // Whoever runs the hub inside a program of theirs has a log of their own already.
    let _ = match config.log_format {
        LogFormat::Text => tracing::subscriber::set_global_default(log.finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(log.json().finish()),
    };
}

struct Hub {
    config: Config,
    began: Instant,
    authority: Authority,
    proxy: Arc<Proxy>,
    keeper: Arc<Keeper>,
    clients: Arc<Clients>,
    shown: Arc<Current>,
    files: Mutex<Option<String>>,
}

impl Hub {
    fn put_together(config: Config) -> Result<Arc<Self>> {
        let facts = files::cloud(&config)?;
        create_dir_durably(&OsFs, &config.state_dir, 0o700)
            .map_err(|e| Error::file("cannot make", &config.state_dir, e))?;
        let authority = Authority::open_or_make(&OsFs, &config.state_dir.join("pki"))?;
        let places = Places::new(&config.state_dir, &config.kubeconfig, &config.bootstrap_kubeconfig);
        let node_identity =
            places.load(&OsFs).map_err(|e| tracing::warn!("no certificate of the node yet: {e}")).ok();
        let named =
            node_identity.as_ref().and_then(|identity| identity.facts.user.name.strip_prefix("system:node:"));
        let node = match (&config.node_name, named) {
            (Some(name), Some(named)) if name != named => {
                return Err(Error::new(format!(
                    "nodeName is {name}, but the node's certificate is that of {named}: correct hub.yaml, or remove {}",
                    places.current.display()
                )));
            }
            (Some(name), _) => name.clone(),
            (None, Some(named)) => named.to_owned(),
            (None, None) => host_name()?,
        };
        authority.kubelet(&OsFs, &config.state_dir.join("pki"), &node)?;
        let trust = files::trust(&authority, &facts.authorities)?;
        let handed = files::handed_over(&config)?;
        let credentials = Credentials::new(tls::roots(&facts.authorities)?, node_identity, handed)?;
        let cloud = Cloud::new(facts.endpoints, credentials);
        let shown = Current::new(files::serving(&config, &authority, &node)?);
        let proxy = Arc::new(Proxy::new(node, cloud, trust));
        let keeper = Keeper::new(places, &proxy);
        let clients = Clients::new(config.connections, config.strangers);
        let (began, files) = (Instant::now(), Mutex::default());
        Ok(Arc::new(Self { config, began, authority, proxy, keeper, clients, shown, files }))
    }

    /// Reads again what can change while the hub runs: authorities, the certificate it shows, handed-over kubeconfigs.
    /// Where the API servers are is read at the start only.
    fn read_again(&self) -> Result<()> {
        let facts = files::cloud(&self.config)?;
        let trust = files::trust(&self.authority, &facts.authorities)?;
        let handed = files::handed_over(&self.config)?;
        let shown = files::serving(&self.config, &self.authority, &self.proxy.node)?;
        self.proxy.cloud.credentials.change(Some(tls::roots(&facts.authorities)?), None, Some(handed))?;
        self.proxy.set_trust(trust);
        self.shown.set(shown);
        Ok(())
    }

    /// Reads files again when they change, or at a SIGHUP; and lets go of readers that do not read.
    async fn look_after(&self) -> Result<()> {
        let mut hang_up = signal(SignalKind::hangup()).map_err(|e| Error::with("SIGHUP", e))?;
        let mut prints = Prints::take(&self.config);
        loop {
            let asked = tokio::select! {
                _ = hang_up.recv() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            let stuck = self.proxy.under_way.drop_stuck(Instant::now());
            self.proxy.metrics.stuck.inc_by(stuck as u64);
            let now = Prints::take(&self.config);
            if !asked && now == prints {
                continue;
            }
            prints = now;
            let read = self.read_again();
            match &read {
                Ok(()) => tracing::info!("certificates and authorities were read again"),
                Err(e) => tracing::error!("a changed file cannot be used, what was read before stays: {e}"),
            }
            *self.files.lock().unwrap_or_else(PoisonError::into_inner) = read.err().map(|e| e.to_string());
        }
    }
}

impl Source for Hub {
    fn standing(&self) -> Standing {
        let cloud = &self.proxy.cloud;
        let verdict = cloud.judge().verdict().borrow().clone();
        let stands = cloud.judge().now().saturating_sub(verdict.since);
        let count = |value: &std::sync::atomic::AtomicU64| value.load(std::sync::atomic::Ordering::Relaxed);
        Standing {
            node: self.proxy.node.clone(),
            now: SystemTime::now(),
            age: self.began.elapsed(),
            servers: cloud.endpoints().all().iter().map(|one| one.authority.clone()).collect(),
            link: (verdict.state, stands),
            losses: verdict.falls,
            traffic: (count(&cloud.traffic().sent), count(&cloud.traffic().received)),
            certificate: cloud.credentials.node().map(|facts| (facts.not_before, facts.not_after)),
            renewal: self.keeper.standing(),
            clients: self.clients.count(),
            answers: self.proxy.under_way.count(),
            handed_over: cloud.credentials.handed().into_iter().map(|user| user.name).collect(),
            files: self.files.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn figures(&self) -> String {
        let standing = self.standing();
        let made = self.proxy.cloud.traffic().connections.load(std::sync::atomic::Ordering::Relaxed);
        self.proxy.metrics.text(&metrics::Now {
            up: standing.link.0 == State::Up,
            falls: standing.losses,
            traffic: [standing.traffic.0, standing.traffic.1, made],
            cloud: self.proxy.cloud.connections(),
            clients: standing.clients,
            answers: standing.answers,
            expiry: standing.certificate.map_or(0, |(_, end)| tls::since_1970(end).as_secs()),
        })
    }
}

async fn serve(config: Config) -> Result<()> {
    let given = Given::take()?;
    let hub = Hub::put_together(config)?;
    let token: Arc<str> = metrics_token(&OsFs, &hub.config.state_dir)?.into();
    let (stop, stopping) = watch::channel(false);
    let tls = tls::server(hub.shown.clone())?;
    let shared =
        Listening { proxy: hub.proxy.clone(), tls, clients: hub.clients.clone(), stopping: stopping.clone() };
    let sockets = api_sockets(given.api, &hub.config.listen)?;
    let mut listeners = tokio::task::JoinSet::new();
    for socket in sockets {
        listeners.spawn(listen(into_tokio(socket)?, shared.clone()));
    }
    let health = match given.health {
        Some(socket) => socket,
        None => bind(hub.config.health)?,
    };
    tokio::spawn(health::serve(into_tokio(health)?, hub.clone(), token, stopping.clone()));
    let admin = match given.admin {
        Some(socket) => socket,
        None => health::bind_admin(&hub.config.admin)?,
    };
    admin.set_nonblocking(true).map_err(|e| Error::with("the admin socket", e))?;
    let admin = UnixListener::from_std(admin).map_err(|e| Error::with("the admin socket", e))?;
    tokio::spawn(health::serve_admin(admin, hub.clone(), stopping.clone()));
    let cloud = hub.proxy.cloud.clone();
    tokio::spawn(async move { cloud.keep().await });
    let keeper = hub.keeper.clone();
    tokio::spawn(async move { keeper.keep().await });
    let looked_after = hub.clone();
    tokio::spawn(async move { looked_after.look_after().await });
    let told = hub.clone();
    tokio::spawn(async move { tell_standing(&told).await });
    tracing::info!("the hub of node {} serves", hub.proxy.node);
    service_manager::tell("READY=1");
    asked_to_stop().await?;
    drain(&hub, &stop, shared).await;
    Ok(())
}

/// Tells the service manager how the link stands when that changes, and that the hub is alive.
async fn tell_standing(hub: &Hub) {
    let mut verdict = hub.proxy.cloud.judge().verdict();
    let pulse = service_manager::watchdog().unwrap_or(Duration::from_secs(3600));
    loop {
        service_manager::tell("WATCHDOG=1");
        service_manager::tell(&format!("STATUS=cloud {}", hub.standing().link_text()));
        tokio::select! {
            _ = verdict.changed() => {}
            () = tokio::time::sleep(pulse) => {}
        }
    }
}

async fn asked_to_stop() -> Result<()> {
    let on = |kind| signal(kind).map_err(|e| Error::with("signals", e));
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Nobody new is accepted (the service manager keeps them waiting), watches end in order, and other requests have some time
/// to come to their end.
async fn drain(hub: &Hub, stop: &watch::Sender<bool>, shared: Listening) {
    service_manager::tell("STOPPING=1");
    // The listeners' own view of it has to go, so that the last connection is the last receiver.
    drop(shared);
    let _ = stop.send(true);
    hub.proxy.under_way.end_watches();
    let patience = Duration::from_secs(hub.config.drain_seconds);
    let empty = async {
        while hub.clients.count() != (0, 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(patience, empty).await {
        Ok(()) => tracing::info!("the hub stops: every request came to its end"),
        Err(_) => tracing::info!("the hub stops: {} answers are cut off", hub.proxy.under_way.count().0),
    }
}

fn api_sockets(
    given: Vec<std::net::TcpListener>,
    listen: &[SocketAddr],
) -> Result<Vec<std::net::TcpListener>> {
    if !given.is_empty() {
        return Ok(given);
    }
    listen.iter().map(|address| bind(*address)).collect()
}

/// Listens at an address, also one that the machine does not have yet.
fn bind(address: SocketAddr) -> Result<std::net::TcpListener> {
    let wrong = |e| Error::with(format!("cannot listen at {address}"), e);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).map_err(wrong)?;
    socket.set_reuse_address(true).map_err(wrong)?;
    if address.is_ipv4() {
        socket.set_freebind_v4(true).map_err(wrong)?;
    } else {
        socket.set_freebind_v6(true).map_err(wrong)?;
    }
    socket.bind(&address.into()).map_err(wrong)?;
    socket.listen(BACKLOG).map_err(wrong)?;
    Ok(socket.into())
}

fn into_tokio(socket: std::net::TcpListener) -> Result<TcpListener> {
    socket.set_nonblocking(true).map_err(|e| Error::with("a listening socket", e))?;
    TcpListener::from_std(socket).map_err(|e| Error::with("a listening socket", e))
}

/// The token that opens the figures; made at the first start.
fn metrics_token<F: Fs>(fs: &F, state: &Path) -> Result<String> {
    let path = state.join("metrics.token");
    if let Ok(bytes) = durable::fs::read(fs, &path, 4096)
        && let Ok(text) = String::from_utf8(bytes)
        && text.trim().len() >= 32
    {
        return Ok(text.trim().to_owned());
    }
    let token: String = tls::random()?.iter().map(|byte| format!("{byte:02x}")).collect();
    replace_file(fs, &path, format!("{token}\n").as_bytes(), 0o600)
        .map_err(|e| Error::file("cannot write", &path, e))?;
    Ok(token)
}

/// The machine's name, as kubelet takes it for the node's (`pkg/util/node`, `GetHostname`).
fn host_name() -> Result<String> {
    let path = Path::new("/proc/sys/kernel/hostname");
    let name = std::fs::read_to_string(path).map_err(|e| Error::file("cannot read", path, e))?;
    Ok(name.trim().to_lowercase())
}
