//! A cluster of one edge node and its cloud, with the link between them and all that can befall it: what the scenarios
//! of a whole node stand on.

use std::fs;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use testkit::relay::Shape;

use crate::checks::Checks;
use crate::cloud::{self, ADMIN, Cloud, KUBE_PROXY, last_words};
use crate::fields::text_at;
use crate::kube_proxy::{self, KubeProxy};
use crate::kubeconfig::{Access, Credential};
use crate::kubelet::{self, Kubelet, NODE};
use crate::programs::Programs;
use crate::run_dir::RunDir;
use crate::scenario;
use crate::slow::Slow;
use crate::stage::Stage;
use crate::wan::{Traffic, Wan};
use crate::{cni, hub, image, sys};

/// How long the node may take until it is ready, on a machine that others use too.
pub const READY: Duration = Duration::from_secs(60);

/// Both machines and what runs on them.
pub struct Cluster<'a> {
    /// The node with its runtime; the record of checks.
    pub stage: Stage<'a>,
    /// The cloud.
    pub cloud: Cloud,
    /// Where the programs are.
    pub programs: Programs,
    /// kubelet on the node.
    pub kubelet: Kubelet,
    /// kube-proxy on the node.
    pub kube_proxy: KubeProxy,
    wan: Wan,
    slow: Option<Slow>,
    seed: u64,
}

impl<'a> Cluster<'a> {
    /// Starts the cloud, and a node that has a runtime and the link but is not in the cluster yet.
    ///
    /// # Errors
    ///
    /// A part is not installed, or did not come up.
    pub async fn set_up(
        dir: &RunDir,
        options: &scenario::Options,
        scenario: &'static str,
        cloud: cloud::Options,
        checks: &'a mut Checks,
    ) -> Result<Self> {
        let programs = Programs::find()?;
        let stage = Stage::set_up(dir, options, scenario, &pod_network(), checks).await?;
        let pause = image::build_pause(&dir.cloud()?)?;
        let cloud = Cloud::start(dir, pause, &programs, cloud).await?;
        let wan = Wan::new(&cloud.machine)?;
        wan.plug(&stage.node, &cloud.machine)?;
        let (kubelet, kube_proxy) = (Kubelet::default(), KubeProxy::default());
        Ok(Self { stage, cloud, programs, kubelet, kube_proxy, wan, slow: None, seed: options.seed })
    }

    /// Lets the node join: kubelet gets its certificate and the node becomes ready. kube-proxy reaches the API server
    /// by `access`.
    ///
    /// # Errors
    ///
    /// The node does not become ready.
    pub async fn join(&mut self, access: &Access) -> Result<()> {
        Kubelet::join(&self.stage.node, &self.programs, self.cloud.access(), self.cloud.bootstrap_token())?;
        KubeProxy::configure(&self.stage.node, access, &self.cloud.token("kube-system", KUBE_PROXY)?)?;
        self.start_node_programs()?;
        self.node_ready().await
    }

    /// Starts kubelet and kube-proxy.
    ///
    /// # Errors
    ///
    /// The node is off.
    pub fn start_node_programs(&mut self) -> Result<()> {
        self.kubelet.start(&self.stage.node)?;
        self.kube_proxy.start(&self.stage.node, &self.programs)
    }

    /// Waits until the cloud knows the node as ready.
    ///
    /// # Errors
    ///
    /// It does not in time.
    pub async fn node_ready(&self) -> Result<()> {
        sys::until("the node is ready", READY, || kubelet::is_ready(&self.cloud.get(&["node", NODE])?)).await
    }

    /// Waits until kubelet renews its lease, which it does every ten seconds; after trouble it may need its client's time
    /// limit first.
    ///
    /// # Errors
    ///
    /// It does not in time.
    pub async fn kubelet_is_heard(&self) -> Result<String> {
        let lease = ["lease", "--namespace=kube-node-lease", NODE];
        let renewal = || text_at(&self.cloud.get(&lease)?, "/spec/renewTime").map(str::to_owned);
        let before = renewal()?;
        sys::until("kubelet renews its lease", READY, || {
            let now = renewal()?;
            if now == before {
                bail!("still of {before}");
            }
            Ok(now)
        })
        .await
    }

    /// Writes a kubeconfig for kubectl and the client-go program, as the cluster's administrator, and returns its path
    /// on the node.
    ///
    /// # Errors
    ///
    /// The node's directory cannot be written.
    pub fn admin_kubeconfig(&self, access: &Access) -> Result<String> {
        let token = self.cloud.token("kube-system", ADMIN)?;
        let directory = self.stage.node.var_lib().join("e2e");
        fs::create_dir_all(&directory)?;
        let file = format!("{}.conf", access.name);
        fs::write(directory.join(&file), access.kubeconfig(&Credential::Token(&token)))?;
        Ok(format!("/var/lib/e2e/{file}"))
    }

    /// Takes the node's power away; it stays off.
    ///
    /// # Errors
    ///
    /// Something of the node is still there.
    pub fn power_cut(&mut self) -> Result<()> {
        self.stage.power_cut()
    }

    /// Boots the node after a power cut; no program runs yet. Of the link is true what was before.
    ///
    /// # Errors
    ///
    /// The machine does not come up.
    pub fn power_on(&mut self) -> Result<()> {
        self.stage.node.boot()?;
        self.wan.plug(&self.stage.node, &self.cloud.machine)
    }

    /// Boots the node after a power cut and starts its programs. Of the link is true what was before.
    ///
    /// # Errors
    ///
    /// A part does not come up.
    pub async fn boot(&mut self) -> Result<()> {
        self.power_on()?;
        self.stage.start_runtime().await?;
        self.start_node_programs()
    }

    /// Kills kubelet and kube-proxy and starts them again; pods go on.
    ///
    /// # Errors
    ///
    /// One did not run.
    pub fn restart_node_programs(&mut self) -> Result<()> {
        self.kubelet.kill(&self.stage.node)?;
        self.kube_proxy.kill(&self.stage.node)?;
        self.start_node_programs()
    }

    /// See [`Wan::cut`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn cut(&mut self) -> Result<()> {
        self.wan.cut(&self.stage.node, &self.cloud.machine)
    }

    /// See [`Wan::black_hole`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn black_hole(&mut self) -> Result<()> {
        self.wan.black_hole(&self.stage.node, &self.cloud.machine)
    }

    /// See [`Wan::refuse`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn refuse(&mut self) -> Result<()> {
        self.wan.refuse(&self.stage.node, &self.cloud.machine)
    }

    /// Makes the link slow and lossy; see [`Wan::relay`]. What the cloud asks of kubelet, as for logs, stays quick.
    ///
    /// # Errors
    ///
    /// The relay cannot be started, or as there.
    pub async fn slow(&mut self, shape: Shape) -> Result<()> {
        // One at a time: both would listen on the same port.
        self.heal()?;
        self.slow = Some(Slow::start(&self.cloud.machine, shape, self.seed).await?);
        self.wan.relay(&self.stage.node, &self.cloud.machine)
    }

    /// See [`Wan::heal`]. Connections that went through a relay end.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn heal(&mut self) -> Result<()> {
        self.wan.heal(&self.stage.node, &self.cloud.machine)?;
        self.slow = None;
        Ok(())
    }

    /// See [`Wan::traffic`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn traffic(&self) -> Result<Traffic> {
        self.wan.traffic(&self.cloud.machine)
    }

    /// See [`Wan::silent_since`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn silent_since(&self, before: Traffic) -> Result<String> {
        self.wan.silent_since(before, &self.cloud.machine)
    }

    /// Hands back how the play went; if it went wrong, shows what the programs said last and keeps their logs.
    ///
    /// # Errors
    ///
    /// That of the play.
    pub fn close(self, played: Result<()>) -> Result<()> {
        if self.stage.went_wrong(&played) {
            self.stage.checks.note(&self.cloud.last_words());
            for program in [hub::NAME, kubelet::NAME, kube_proxy::NAME] {
                if !self.stage.node.log(program).is_empty() {
                    self.stage.checks.note(&last_words(&self.stage.node, program));
                }
            }
            let kept = self.stage.keepsakes().join("logs");
            for (machine, name) in [(&self.stage.node, "node"), (&self.cloud.machine, "cloud")] {
                machine.keep_logs(&kept.join(name))?;
            }
            self.stage.checks.note(&format!("all logs are kept in {}", kept.display()));
        }
        self.stage.close(played)
    }
}

/// Plain bridge networking under the product's plugin.
fn pod_network() -> Value {
    let ipam = json!({
        "type": cni::OURS,
        "ranges": [[{"subnet": "10.244.0.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
    });
    let port_map = json!({"type": "portmap", "snat": true, "capabilities": {"portMappings": true}});
    cni::list(&[cni::bridge(&ipam), port_map])
}
