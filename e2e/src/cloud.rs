//! The cloud: etcd, kube-apiserver and kube-controller-manager on a machine of their own, set up as kubeadm does it.
//!
//! No scheduler runs: pods name their node. The keys of the cluster's authorities lie on the cloud's machine only.

mod control_plane;
mod manifests;
pub mod requests;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use crate::kubeconfig::{Access, Credential};
use crate::machine::{Machine, Process};
use crate::pki::{Authority, Pair, Subject};
use crate::programs::Programs;
use crate::run_dir::RunDir;
use crate::sys;
use crate::wan::{API_PORT, CLOUD};

pub use manifests::{ADMIN, KUBE_PROXY};
use requests::Request;

/// Where the cloud's keys and certificates lie, below its /etc.
const PKI: &str = "kubernetes/pki";
/// The service network.
pub const SERVICES: &str = "10.96.0.0/16";
/// The API server's own address in it.
const API_SERVICE: &str = "10.96.0.1";
/// How long a part of the control plane may take to come up, on a machine that others use too.
const COMING_UP: Duration = Duration::from_secs(60);

/// What a scenario wants to be different about its cloud.
pub struct Options {
    /// How long certificates are valid that the cluster signs for kubelets.
    pub signing: Duration,
    /// Further flags of kube-controller-manager.
    pub controller_manager: Vec<String>,
    /// Further flags of kube-apiserver.
    pub api_server: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            signing: Duration::from_secs(24 * 3600),
            controller_manager: Vec::new(),
            api_server: Vec::new(),
        }
    }
}

/// The running control plane.
pub struct Cloud {
    /// The machine that it runs on.
    pub machine: Machine,
    /// Further flags of kube-apiserver, from its next start on.
    pub api_server_flags: Vec<String>,
    programs: Programs,
    access: Access,
    authority: Authority,
    bootstrap_token: String,
    api_server: Option<Process>,
}

impl Cloud {
    /// Boots a machine in `dir` and starts the control plane on it; `pause` is its first process.
    ///
    /// # Errors
    ///
    /// A part is not installed, or does not come up.
    pub async fn start(dir: &RunDir, pause: PathBuf, programs: &Programs, options: Options) -> Result<Self> {
        let mut machine = Machine::new(&dir.cloud()?, format!("{}-cloud", dir.name), pause)?;
        let authority = Authority::new("kubernetes")?;
        let access = Access {
            name: "direct",
            server: format!("https://{CLOUD}:{API_PORT}"),
            ca: authority.certificate().to_owned(),
        };
        write_pki(&machine, &authority, &access)?;
        machine.boot()?;
        // The API server listens on every address, so it needs none yet.
        let mut cloud = Self {
            machine,
            api_server_flags: options.api_server.clone(),
            programs: programs.clone(),
            access,
            authority,
            bootstrap_token: bootstrap_token()?,
            api_server: None,
        };
        cloud.machine.start("etcd", &control_plane::ETCD)?;
        cloud.start_api_server().await?;
        let words = control_plane::controller_manager(&cloud.programs, &options);
        start(&cloud.machine, "kube-controller-manager", &words)?;
        cloud.apply(&manifests::cluster(&cloud.bootstrap_token)?)?;
        Ok(cloud)
    }

    /// How the cloud is reached directly.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// A certificate as that of the kubelet of a node of this name, which has joined then.
    ///
    /// # Errors
    ///
    /// As [`Authority::new`].
    pub fn node_certificate(&self, node: &str) -> Result<Pair> {
        let name = format!("system:node:{node}");
        self.authority.client(&Subject { name: &name, group: Some("system:nodes") })
    }

    /// The token with which a node may ask for its first certificate.
    pub fn bootstrap_token(&self) -> &str {
        &self.bootstrap_token
    }

    /// Starts the API server and waits until it is ready.
    ///
    /// # Errors
    ///
    /// It does not come up.
    pub async fn start_api_server(&mut self) -> Result<()> {
        let words = control_plane::api_server(&self.programs, &self.api_server_flags);
        self.api_server = Some(start(&self.machine, "kube-apiserver", &words)?);
        sys::until("kube-apiserver is ready", COMING_UP, || {
            self.kubectl(&["get", "--raw", "/readyz"]).and_then(|_| {
                // The namespaces that every cluster has are made a moment after.
                self.kubectl(&["get", "namespace", "default", "kube-system", "kube-node-lease"])
            })
        })
        .await
        .map(drop)
        .with_context(|| last_words(&self.machine, "kube-apiserver"))
    }

    /// Kills the API server; connections are refused from now on.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn kill_api_server(&mut self) -> Result<()> {
        let process = self.api_server.take().ok_or_else(|| anyhow!("kube-apiserver does not run"))?;
        self.machine.kill(process)
    }

    /// Runs kubectl in the cloud as the cluster's administrator, whatever befalls the link.
    ///
    /// # Errors
    ///
    /// As [`sys::output`].
    pub fn kubectl(&self, words: &[&str]) -> Result<String> {
        sys::output(&mut self.kubectl_command(words)?)
    }

    fn kubectl_command(&self, words: &[&str]) -> Result<std::process::Command> {
        let kubectl = self.programs.kubernetes("kubectl");
        let own = [kubectl.as_str(), "--kubeconfig=/etc/kubernetes/admin.conf"];
        self.machine.command(&[&own, words].concat())
    }

    /// What `kubectl get` says in JSON.
    ///
    /// # Errors
    ///
    /// As [`Cloud::kubectl`].
    pub fn get(&self, words: &[&str]) -> Result<Value> {
        let told = self.kubectl(&[&["get", "--output=json"], words].concat())?;
        serde_json::from_str(&told).with_context(|| format!("kubectl get {words:?} gave no JSON"))
    }

    /// Applies objects, as the administrator.
    ///
    /// # Errors
    ///
    /// The API server refuses one.
    pub fn apply(&self, objects: &[Value]) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        sys::output_of(&mut self.kubectl_command(&["apply", "--filename=-"])?, &list.to_string()).map(drop)
    }

    /// A token of a service account, valid for a day.
    ///
    /// # Errors
    ///
    /// There is no such account.
    pub fn token(&self, namespace: &str, account: &str) -> Result<String> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 86_400}
        });
        let create = ["create", "--raw", &path, "--filename=-"];
        let told = sys::output_of(&mut self.kubectl_command(&create)?, &request.to_string())?;
        let made: Value = serde_json::from_str(&told)?;
        let token = made.pointer("/status/token").and_then(Value::as_str);
        Ok(token.ok_or_else(|| anyhow!("no token in {told}"))?.to_owned())
    }

    /// Every request that the API server has received so far, in its order; see [`requests`].
    ///
    /// # Errors
    ///
    /// The audit log cannot be read.
    pub fn requests(&self) -> Result<Vec<Request>> {
        requests::read(&self.machine.var_lib().join(control_plane::AUDIT_LOG))
    }

    /// The last things that the control plane's programs said, for whoever looks into a failure.
    pub fn last_words(&self) -> String {
        ["etcd", "kube-apiserver", "kube-controller-manager"]
            .map(|program| last_words(&self.machine, program))
            .join("\n")
    }
}

fn start(machine: &Machine, name: &str, words: &[String]) -> Result<Process> {
    machine.start(name, &words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The end of a program's log.
pub fn last_words(machine: &Machine, program: &str) -> String {
    let log = machine.log(program);
    let lines: Vec<&str> = log.lines().collect();
    let last = lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n  ");
    format!("{program} said last:\n  {last}")
}

/// In kubeadm's form: an id and a secret.
fn bootstrap_token() -> Result<String> {
    let random = sys::uuid()?.replace('-', "");
    let (id, rest) = random.split_at_checked(6).ok_or_else(|| anyhow!("{random:?} is too short"))?;
    let secret = rest.get(..16).ok_or_else(|| anyhow!("{random:?} is too short"))?;
    Ok(format!("{id}.{secret}"))
}

/// Makes what kubeadm's phases `certs` and `kubeconfig` make, under the same names.
fn write_pki(machine: &Machine, authority: &Authority, access: &Access) -> Result<()> {
    let directory = machine.etc().join(PKI);
    fs::create_dir_all(&directory)?;
    let write = |name: &str, pair: &Pair| -> Result<()> {
        fs::write(directory.join(format!("{name}.crt")), &pair.certificate)?;
        fs::write(directory.join(format!("{name}.key")), &pair.key).context("cannot write a key")
    };
    let front_proxy = Authority::new("front-proxy-ca")?;
    let masters = |name| Subject { name, group: Some("system:masters") };
    let alone = |name| Subject { name, group: None };
    let cloud = CLOUD.to_string();
    let names = [
        &cloud,
        API_SERVICE,
        "127.0.0.1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    write("ca", &authority.pair())?;
    write("front-proxy-ca", &front_proxy.pair())?;
    write("front-proxy-client", &front_proxy.client(&alone("front-proxy-client"))?)?;
    write("apiserver", &authority.server(&alone("kube-apiserver"), &names)?)?;
    write("apiserver-kubelet-client", &authority.client(&masters("kube-apiserver-kubelet-client"))?)?;
    // The pair that signs service accounts' tokens: the certificate around the public key is not looked at.
    write("sa", &Authority::new("service-accounts")?.pair())?;

    let inside = Access { server: format!("https://127.0.0.1:{}", API_PORT), ..access.clone() };
    for (file, subject) in [
        ("admin", masters("kubernetes-admin")),
        ("controller-manager", alone("system:kube-controller-manager")),
    ] {
        let config = inside.kubeconfig(&Credential::Certificate(&authority.client(&subject)?));
        fs::write(machine.etc().join(format!("kubernetes/{file}.conf")), config)?;
    }
    fs::write(machine.etc().join("kubernetes/audit.yaml"), control_plane::AUDIT_POLICY)?;
    Ok(())
}
