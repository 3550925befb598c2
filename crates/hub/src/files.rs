//! The files that the hub reads: where the cloud is, whom to trust, and what others handed over. Read at the start, and
//! again when one of them changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable::fs::Fs;
use durable::os::OsFs;
use node::kubeconfig::{Access, Credential as From, Source};
use rustls::sign::CertifiedKey;

use crate::cloud::credentials::Identity;
use crate::cloud::endpoint::{Endpoint, Endpoints};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::pki::Authority;
use crate::tls::{self, Trust, Verifier};

const MAX_PEM: usize = 1 << 20;

/// What the files say of the cloud.
pub struct CloudFacts {
    /// Where it is.
    pub endpoints: Endpoints,
    /// The cluster's authorities, as PEM: they sign the API servers' certificates and those of clients.
    pub authorities: Vec<u8>,
}

/// Reads where the cloud is. The bootstrap kubeconfig says it too, on a node that has no other yet.
///
/// # Errors
///
/// It stands nowhere, or cannot be used.
pub fn cloud(config: &Config) -> Result<CloudFacts> {
    let access = Access::load(&OsFs, &config.kubeconfig)
        .or_else(|first| Access::load(&OsFs, &config.bootstrap_kubeconfig).map_err(|_| first))
        .map_err(|e| {
            Error::new(format!("{e}: the hub learns there where the API server is and whom to trust"))
        })?;
    if access.insecure || access.proxy.is_some() {
        let path = config.kubeconfig.display();
        return Err(Error::new(format!(
            "{path} wants the API server's certificate not to be looked at, or a proxy: the hub does neither"
        )));
    }
    let authorities = match (&config.cluster_ca, &access.authority) {
        (Some(path), _) => read(path)?,
        (None, Some(source)) => source.bytes(&OsFs).map_err(Error::new)?,
        (None, None) => {
            let path = config.kubeconfig.display();
            return Err(Error::new(format!(
                "{path} names no certificate-authority: say clusterCAFile in hub.yaml"
            )));
        }
    };
    let own = |server: &String| Endpoint::parse(server, None).is_ok_and(|one| one.is_one_of(&config.listen));
    if config.servers.is_empty() && own(&access.server) || config.servers.iter().any(own) {
        return Err(Error::new(format!(
            "the cloud that {} and hub.yaml name is this hub itself ({}): kubelet was led to the hub there; say `kubeconfig` or \
             `servers` in hub.yaml so that they lead to the API server",
            config.kubeconfig.display(),
            if config.servers.is_empty() { access.server } else { config.servers.join(", ") }
        )));
    }
    let servers = if config.servers.is_empty() { vec![access.server] } else { config.servers.clone() };
    let parse = |server: &String| Endpoint::parse(server, access.server_name.as_deref());
    let endpoints = Endpoints::new(servers.iter().map(parse).collect::<Result<_>>()?)?;
    Ok(CloudFacts { endpoints, authorities })
}

/// Whose certificates count on the listeners.
///
/// # Errors
///
/// The authorities cannot be used.
pub fn trust(authority: &Authority, cluster: &[u8]) -> Result<Trust> {
    let hub = Verifier::new(authority.certificate.as_bytes())?;
    let cluster = Verifier::new(cluster).map_err(|e| Error::with("the cluster's authorities", e))?;
    Ok(Trust { hub, cluster: Some(cluster) })
}

/// The certificates of the kubeconfigs that were handed over, and why others cannot be used: who hands one over that is wrong
/// loses nothing but it.
#[must_use]
pub fn handed_over(config: &Config) -> (Vec<Identity>, Vec<Error>) {
    let (mut usable, mut unusable) = (Vec::new(), Vec::new());
    for path in &config.handed_over {
        match identity_of(&OsFs, path) {
            Ok(identity) => usable.push(identity),
            Err(e) => unusable.push(Error::file("the handed-over kubeconfig", path, e)),
        }
    }
    (usable, unusable)
}

fn identity_of<F: Fs>(fs: &F, path: &Path) -> Result<Identity> {
    let access = Access::load(fs, path).map_err(Error::new)?;
    let From::Certificate { cert, key } = access.credential else {
        return Err(Error::new(format!(
            "{} holds no client certificate: who comes with a token needs not be handed over",
            path.display()
        )));
    };
    let (cert, key) = (cert.bytes(fs).map_err(Error::new)?, key.bytes(fs).map_err(Error::new)?);
    Identity::read(&cert, &key).map_err(|e| Error::file("the certificate of", path, e))
}

/// What the hub shows its clients: its own certificate, or that of the configuration.
///
/// # Errors
///
/// It cannot be made or read.
pub fn serving(config: &Config, authority: &Authority, node: &str) -> Result<Arc<CertifiedKey>> {
    if let Some(pair) = &config.serving {
        return tls::identity(&read(&pair.certificate)?, &read(&pair.key)?)
            .map_err(|e| Error::file("the certificate", &pair.certificate, e));
    }
    let mut names: Vec<String> = config.listen.iter().map(|address| address.ip().to_string()).collect();
    names.extend(["127.0.0.1", "::1", "localhost"].map(str::to_owned));
    names.push(node.to_owned());
    names.extend(config.names.iter().cloned());
    names.sort_unstable();
    names.dedup();
    let minted = authority.server(&names)?;
    tls::identity(minted.certificate.as_bytes(), minted.key.as_bytes())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    durable::fs::read(&OsFs, path, MAX_PEM).map_err(|e| Error::file("cannot read", path, e))
}

/// What tells one state of a file from another: length, inode, and the moment of its last change. `None`: not there.
type Print = Option<(u64, u64, i64, u32)>;

/// The files that are looked at for changes, as they were last.
#[derive(Debug, PartialEq, Eq)]
pub struct Prints(BTreeMap<PathBuf, Print>);

impl Prints {
    /// As they are now.
    #[must_use]
    pub fn take(config: &Config) -> Self {
        let mut paths = vec![config.kubeconfig.clone(), config.bootstrap_kubeconfig.clone()];
        paths.extend(config.cluster_ca.clone());
        if let Some(pair) = &config.serving {
            paths.extend([pair.certificate.clone(), pair.key.clone()]);
        }
        for kubeconfig in config.handed_over.iter().chain([&config.kubeconfig]) {
            paths.push(kubeconfig.clone());
            // One that cannot be read now is told of when it is loaded.
            let Ok(access) = Access::load(&OsFs, kubeconfig) else { continue };
            let credential = match access.credential {
                From::Certificate { cert, key } => vec![Some(cert), Some(key)],
                _ => Vec::new(),
            };
            for source in credential.into_iter().chain([access.authority]).flatten() {
                if let Source::File(path) = source {
                    paths.push(path);
                }
            }
        }
        let print = |path: PathBuf| {
            let meta = OsFs.metadata(&path).ok();
            let print = meta.map(|meta| (meta.len, meta.ino, meta.mtime.secs, meta.mtime.nanos));
            (path, print)
        };
        Self(paths.into_iter().map(print).collect())
    }
}
