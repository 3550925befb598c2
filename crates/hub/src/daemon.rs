//! The hub whole: puts its parts together, keeps them going, and takes them apart in order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use durable::fs::Fs;
use durable::os::OsFs;
use durable::place::{create_dir_durably, replace_file};
use node::doctor::Boot;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use view::Loading;

use crate::agreement::{self, Agreement};
use crate::clients::Clients;
use crate::cloud::Cloud;
use crate::cloud::credentials::Credentials;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::files::{self, Prints};
use crate::health::{self, Source};
use crate::link::State;
use crate::listen::{Listening, listen};
use crate::metrics;
use crate::node_certificate::{Keeper, Places};
use crate::pki::Authority;
use crate::proxy::Proxy;
use crate::reads::Reads;
use crate::service_manager::{self, Given};
use crate::sockets::{bind, into_tokio, is_of_this_node};
use crate::standing::Standing;
use crate::store::{Progress, Store};
use crate::tls::{self, Current};
use crate::waiting::oldest;

/// How often files are looked at for changes, and answers for readers that do not read.
const LOOK: Duration = Duration::from_secs(10);

/// A hub that serves.
pub struct Daemon {
    parts: Arc<Parts>,
    stop: watch::Sender<bool>,
    /// Everything that goes on; ended when this is dropped.
    tasks: JoinSet<()>,
    /// Where the Kubernetes API is served.
    pub api: Vec<SocketAddr>,
    /// Where health and figures are.
    pub health: SocketAddr,
}

/// The hub: its parts, put together.
struct Parts {
    config: Config,
    began: Instant,
    authority: Authority,
    proxy: Arc<Proxy>,
    keeper: Arc<Keeper>,
    clients: Arc<Clients>,
    agreement: Arc<Agreement>,
    shown: Arc<Current>,
    files: Mutex<Option<String>>,
}

impl Parts {
    fn put_together(config: Config) -> Result<(Arc<Self>, mpsc::UnboundedReceiver<Progress>)> {
        let facts = files::cloud(&config)?;
        create_dir_durably(&OsFs, &config.state_dir, 0o700)
            .map_err(|e| Error::file("cannot make", &config.state_dir, e))?;
        let authority = Authority::open_or_make(&OsFs, &config.state_dir.join("pki"))?;
        let places = Places::new(&config.state_dir, &config.kubeconfig, &config.bootstrap_kubeconfig);
        let node_identity =
            places.load(&OsFs).map_err(|e| tracing::warn!("no certificate of the node yet: {e}")).ok();
        let named =
            node_identity.as_ref().and_then(|identity| identity.facts.user.name.strip_prefix("system:node:"));
        if let (Some(identity), None) = (&node_identity, named) {
            return Err(Error::new(format!(
                "{} holds the certificate of \"{}\", not of a node: nobody else's is lent to kubelet",
                config.kubeconfig.display(),
                identity.facts.user
            )));
        }
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
        let (handed, unusable) = files::handed_over(&config);
        let credentials = Credentials::new(tls::roots(&facts.authorities)?, node_identity, handed)?;
        let cloud = Cloud::new(facts.endpoints, credentials);
        let (progress, came) = mpsc::unbounded_channel();
        let mut loading = Loading::new(&node);
        let (store, own) = Store::open(&config.state_dir, progress, &mut loading)?;
        let agreement = Arc::new(Agreement::new(&node, agreement::dirs(&config)));
        let reads = Reads::new(&node, cloud, store, loading, own)?;
        let shown = Current::new(files::serving(&config, &authority, &node)?);
        let proxy = Arc::new(Proxy::new(node, reads, trust));
        let keeper = Keeper::new(places, &proxy);
        let clients = Clients::new(config.connections, config.strangers);
        unusable.iter().for_each(|unusable| tracing::error!("{unusable}"));
        let (began, files) = (Instant::now(), Mutex::new(together(&unusable)));
        Ok((
            Arc::new(Self { config, began, authority, proxy, keeper, clients, agreement, shown, files }),
            came,
        ))
    }

    /// Reads again what can change while the hub runs: authorities, the certificate it shows, handed-over kubeconfigs.
    /// Where the API servers are is read at the start only. Says what of it is left out, if something is.
    fn read_again(&self) -> Result<Option<String>> {
        let facts = files::cloud(&self.config)?;
        let trust = files::trust(&self.authority, &facts.authorities)?;
        let (handed, unusable) = files::handed_over(&self.config);
        let shown = files::serving(&self.config, &self.authority, &self.proxy.node)?;
        self.proxy.cloud.credentials.change(Some(tls::roots(&facts.authorities)?), None, Some(handed))?;
        self.proxy.set_trust(trust);
        self.shown.set(shown);
        Ok(together(&unusable))
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
            self.note_read(self.read_again());
            self.keeper.look_again.notify_one();
        }
    }

    fn note_read(&self, read: Result<Option<String>>) {
        let wrong = match read {
            Ok(None) => {
                tracing::info!("certificates and authorities were read again");
                None
            }
            Ok(Some(unusable)) => {
                tracing::error!("certificates and authorities were read again, but for this: {unusable}");
                Some(unusable)
            }
            Err(e) => {
                tracing::error!("a changed file cannot be used, what was read before stays: {e}");
                Some(e.to_string())
            }
        };
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = wrong;
    }
}

fn together(unusable: &[Error]) -> Option<String> {
    let said: Vec<String> = unusable.iter().map(ToString::to_string).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

impl Source for Parts {
    fn standing(&self) -> Standing {
        let cloud = &self.proxy.cloud;
        let verdict = cloud.judge().verdict().borrow().clone();
        let stands = cloud.judge().now().saturating_sub(verdict.since);
        let count = |value: &std::sync::atomic::AtomicU64| value.load(std::sync::atomic::Ordering::Relaxed);
        Standing {
            node: self.proxy.node.clone(),
            now: SystemTime::now(),
            age: self.began.elapsed(),
            servers: cloud.endpoints().all().iter().map(|one| one.authority.to_string()).collect(),
            link: (verdict.state, stands),
            losses: verdict.falls,
            traffic: (count(&cloud.traffic().sent), count(&cloud.traffic().received)),
            certificate: cloud.credentials.node().map(|facts| (facts.not_before, facts.not_after)),
            renewal: self.keeper.standing(),
            clients: self.clients.count(),
            answers: self.proxy.under_way.count(),
            watches: self.proxy.reads.count(),
            store: self.proxy.reads.store.standing(),
            outbox: self.proxy.reads.count_waiting().1,
            handed_over: cloud.credentials.handed().into_iter().flatten().map(|user| user.name).collect(),
            files: self.files.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            agreement: self.agreement.standing(),
        }
    }

    fn boot(&self) -> Boot {
        self.proxy.reads.boot()
    }

    fn reads(&self) -> &Arc<Reads> {
        &self.proxy.reads
    }

    fn figures(&self) -> String {
        let standing = self.standing();
        let (waiting, outbox) = self.proxy.reads.count_waiting();
        let made = self.proxy.cloud.traffic().connections.load(std::sync::atomic::Ordering::Relaxed);
        self.proxy.metrics.text(&metrics::Now {
            up: standing.link.0 == State::Up,
            falls: standing.losses,
            traffic: [standing.traffic.0, standing.traffic.1, made],
            cloud: self.proxy.cloud.connections(),
            clients: standing.clients,
            sent_away: self.clients.sent_away.load(std::sync::atomic::Ordering::Relaxed),
            answers: standing.answers,
            settled: self.proxy.reads.settling_figures(),
            expiry: standing.certificate.map_or(0, |(_, end)| tls::since_1970(end).as_secs()),
            agreement: standing.agreement.figures(),
            outbox,
            waiting,
            oldest: oldest(&outbox, standing.now),
        })
    }
}

impl Daemon {
    /// Begins to serve, on the sockets of `given` where it has some.
    ///
    /// # Errors
    ///
    /// What is missing or wrong.
    pub fn begin(config: Config, given: Given) -> Result<Self> {
        let (parts, came) = Parts::put_together(config)?;
        let token: Arc<str> = metrics_token(&OsFs, &parts.config.state_dir)?.into();
        let (stop, stopping) = watch::channel(false);
        let tls = tls::server(parts.shown.clone())?;
        let (proxy, clients) = (parts.proxy.clone(), parts.clients.clone());
        let shared = Listening { proxy, tls, clients, stopping: stopping.clone() };
        let mut sockets = given.api;
        sockets.iter().try_for_each(is_of_this_node)?;
        if sockets.is_empty() {
            sockets = parts.config.listen.iter().map(|address| bind(*address)).collect::<Result<_>>()?;
        }
        let address = |socket: &std::net::TcpListener| {
            socket.local_addr().map_err(|e| Error::with("a listening socket", e))
        };
        let api = sockets.iter().map(address).collect::<Result<_>>()?;
        let mut tasks = JoinSet::new();
        for socket in sockets {
            tasks.spawn(listen(into_tokio(socket)?, shared.clone()));
        }
        let socket = given.health.map_or_else(|| bind(parts.config.health), Ok)?;
        let health = address(&socket)?;
        tasks.spawn(health::serve(into_tokio(socket)?, parts.clone(), token, stopping.clone()));
        let admin = given.admin.map_or_else(|| health::bind_admin(&parts.config.admin), Ok)?;
        let wrong = |e| Error::with("the admin socket", e);
        admin.set_nonblocking(true).map_err(wrong)?;
        tasks.spawn(health::serve_admin(
            UnixListener::from_std(admin).map_err(wrong)?,
            parts.clone(),
            stopping,
        ));
        tasks.spawn(parts.agreement.clone().keep(parts.proxy.reads.clone()));
        let [one, two, three, four, five, six] = [(); 6].map(|()| parts.clone());
        tasks.spawn(async move { one.proxy.cloud.keep().await });
        tasks.spawn(async move { two.keeper.keep().await });
        tasks.spawn(async move {
            if let Err(e) = three.look_after().await {
                tracing::error!("changed files are not noticed: {e}");
            }
        });
        tasks.spawn(async move { tell_standing(&four).await });
        tasks.spawn(async move { five.proxy.reads.keep(came).await });
        tasks.spawn(async move { six.proxy.reads.settle().await });
        Ok(Self { parts, stop, tasks, api, health })
    }

    /// Name of the node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.parts.proxy.node
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.parts.standing()
    }

    /// What waits for the cloud.
    #[must_use]
    pub fn waiting(&self) -> (Vec<Arc<outbox::Entry>>, outbox::Standing) {
        self.parts.proxy.reads.waiting()
    }

    /// The last settlings, oldest first, as JSON.
    #[must_use]
    pub fn reports(&self) -> Vec<serde_json::Value> {
        self.parts.proxy.reads.reports()
    }

    /// The content of something that waits, as it is stored.
    #[must_use]
    pub fn content(&self, id: &outbox::Id) -> Option<serde_json::Value> {
        self.parts.proxy.reads.content(id)
    }

    /// Reads files that may have changed again now, as at SIGHUP; [`Standing::files`] says how it went.
    pub fn read_again(&self) {
        self.parts.note_read(self.parts.read_again());
    }

    /// Compares pods and bindings now, as the hub does every ten seconds; [`Standing::agreement`] says how it went. Waits for
    /// locks and disk.
    pub fn look_again(&self) {
        self.parts.agreement.look(&self.parts.proxy.reads);
    }

    /// Stops in order: nobody new is accepted (the service manager keeps them waiting), watches end cleanly, and other
    /// requests have some time to come to their end.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        self.parts.proxy.under_way.end_watches();
        self.parts.proxy.reads.end();
        let patience = Duration::from_secs(self.parts.config.drain_seconds);
        let empty = async {
            while self.parts.clients.count() != (0, 0) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(patience, empty).await {
            Ok(()) => tracing::info!("the hub stops: every request came to its end"),
            Err(_) => {
                tracing::info!("the hub stops: {} answers are cut off", self.parts.proxy.under_way.count().0)
            }
        }
        self.tasks.shutdown().await;
    }
}

/// Tells the service manager how the link stands when that changes, and that the hub is alive.
async fn tell_standing(parts: &Parts) {
    let mut verdict = parts.proxy.cloud.judge().verdict();
    let pulse = service_manager::watchdog().unwrap_or(Duration::from_secs(3600));
    loop {
        service_manager::tell("WATCHDOG=1");
        service_manager::tell(&format!("STATUS=cloud {}", parts.standing().link_text()));
        tokio::select! {
            _ = verdict.changed() => {}
            () = tokio::time::sleep(pulse) => {}
        }
    }
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
