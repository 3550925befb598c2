//! Pods as kubelet makes them over CRI: a sandbox, a container in it, another sandbox with the next attempt number
//! when the pod is restarted.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cri::Cri;
use crate::cri::messages::{
    ContainerConfig, ContainerMetadata, DnsConfig, ImageSpec, LinuxPodSandboxConfig, Mount, PodSandboxConfig,
    PodSandboxMetadata, PortMapping,
};
use crate::ledger::Ledger;
use crate::{image, sys};

/// The port that every pod answers on.
pub const PORT: u16 = 8080;
/// The one namespace of this program's pods.
pub const NAMESPACE: &str = "default";
/// Pods that are worked on at one time; kubelet, too, has several workers.
const WORKERS: usize = 6;

/// One pod: what the API server would know of it, and its present sandbox.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Name, in the one namespace of this program.
    pub name: String,
    /// Port of the node that leads to this pod's [`PORT`], if any.
    pub host_port: Option<u16>,
    /// The addresses of the present sandbox, in the runtime's order.
    pub addresses: Vec<IpAddr>,
    /// The addresses of further interfaces, which the runtime does not know of.
    pub further: Vec<IpAddr>,
    uid: String,
    next_attempt: u32,
    sandbox: Option<String>,
}

impl Pod {
    /// A pod that has not run yet.
    ///
    /// # Errors
    ///
    /// No uid can be made.
    pub fn new(name: String, host_port: Option<u16>) -> Result<Self> {
        let (addresses, further, sandbox) = (Vec::new(), Vec::new(), None);
        Ok(Self { name, host_port, addresses, further, uid: sys::uuid()?, next_attempt: 0, sandbox })
    }

    /// The id of the present sandbox.
    pub fn sandbox(&self) -> Option<&str> {
        self.sandbox.as_deref()
    }

    /// What names this pod among all of its name.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The addresses of all interfaces.
    pub fn all_addresses(&self) -> Vec<IpAddr> {
        self.addresses.iter().chain(&self.further).copied().collect()
    }
}

/// The order in which a pod's old sandbox ends and its new one begins.
#[derive(Clone, Copy, Debug)]
pub enum Restart {
    /// Stopped, removed, then the new one.
    RemoveFirst,
    /// Stopped, the new one, then removed: kubelet's usual way.
    RemoveLast,
    /// The new one first, then stopped and removed: only for a sandbox that is dead already, of which a runtime
    /// hears late.
    StopLast,
}

/// Starts and stops pods on one runtime.
#[derive(Clone)]
pub struct Runner {
    /// The connection; another one after each start of the runtime.
    pub cri: Cri,
    /// Sees every start and stop.
    pub ledger: Ledger,
    /// Parent of the directories that the pods serve, one per pod name.
    pub pages: PathBuf,
    /// Parent of all the pods' control groups, a name without a slash.
    pub cgroup_parent: String,
}

impl Runner {
    /// Starts a pod that has no sandbox; returns it with its addresses.
    ///
    /// # Errors
    ///
    /// A CRI call failed.
    pub async fn start(&self, mut pod: Pod) -> Result<Pod> {
        let config = self.sandbox_config(&pod);
        let page = self.pages.join(&pod.name);
        fs::create_dir_all(&page).with_context(|| format!("cannot make {}", page.display()))?;
        let sandbox = self.cri.run_sandbox(config.clone()).await.with_context(|| pod.name.clone())?;
        pod.addresses = self.cri.addresses(&sandbox).await?;
        self.ledger.started(&sandbox, &pod.addresses);
        let container = container_config(&page, pod.next_attempt)?;
        self.cri.run_container(&sandbox, config, container).await.with_context(|| pod.name.clone())?;
        pod.sandbox = Some(sandbox);
        pod.next_attempt += 1;
        Ok(pod)
    }

    /// Ends a pod for good.
    ///
    /// # Errors
    ///
    /// A CRI call failed.
    pub async fn end(&self, mut pod: Pod) -> Result<Pod> {
        if let Some(sandbox) = pod.sandbox.take() {
            self.stop(&sandbox).await?;
            self.cri.remove_sandbox(&sandbox).await?;
        }
        Ok(pod)
    }

    /// Gives a pod another sandbox in place of its present one.
    ///
    /// # Errors
    ///
    /// A CRI call failed.
    pub async fn restart(&self, mut pod: Pod, order: Restart) -> Result<Pod> {
        let Some(old) = pod.sandbox.take() else { return self.start(pod).await };
        match order {
            Restart::RemoveFirst => {
                self.stop(&old).await?;
                self.cri.remove_sandbox(&old).await?;
                self.start(pod).await
            }
            Restart::RemoveLast => {
                self.stop(&old).await?;
                let pod = self.start(pod).await?;
                self.cri.remove_sandbox(&old).await?;
                Ok(pod)
            }
            Restart::StopLast => {
                let pod = self.start(pod).await?;
                self.stop(&old).await?;
                self.cri.remove_sandbox(&old).await?;
                Ok(pod)
            }
        }
    }

    /// Stops a sandbox: from here on its addresses may be another's.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn stop(&self, sandbox: &str) -> Result<()> {
        self.ledger.stopping(sandbox);
        self.cri.stop_sandbox(sandbox).await
    }

    /// Asks the runtime anew for the addresses of a running pod.
    ///
    /// # Errors
    ///
    /// The pod has no sandbox, or the call failed.
    pub async fn look(&self, mut pod: Pod) -> Result<Pod> {
        let sandbox = pod.sandbox.as_deref().ok_or_else(|| anyhow!("{} does not run", pod.name))?;
        pod.addresses = self.cri.addresses(sandbox).await?;
        Ok(pod)
    }

    /// Does `work` for all `pods`, begun in their order, some at a time; returns them in that order.
    ///
    /// # Errors
    ///
    /// The first failure; the others' work is then abandoned.
    pub async fn each<F>(&self, pods: Vec<Pod>, work: impl Fn(Self, usize, Pod) -> F) -> Result<Vec<Pod>>
    where
        F: Future<Output = Result<Pod>> + Send + 'static,
    {
        let workers = Arc::new(Semaphore::new(WORKERS));
        let mut tasks = JoinSet::new();
        for (place, pod) in pods.into_iter().enumerate() {
            let (workers, job) = (Arc::clone(&workers), work(self.clone(), place, pod));
            tasks.spawn(async move {
                let _worker = workers.acquire_owned().await?;
                job.await.map(|pod| (place, pod))
            });
        }
        let mut done = Vec::new();
        while let Some(task) = tasks.join_next().await {
            done.push(task??);
        }
        done.sort_by_key(|(place, _)| *place);
        Ok(done.into_iter().map(|(_, pod)| pod).collect())
    }

    fn sandbox_config(&self, pod: &Pod) -> PodSandboxConfig {
        let metadata = PodSandboxMetadata {
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            namespace: NAMESPACE.to_owned(),
            attempt: pod.next_attempt,
        };
        let mapping =
            |host_port: u16| PortMapping { container_port: i32::from(PORT), host_port: i32::from(host_port) };
        PodSandboxConfig {
            metadata: Some(metadata),
            hostname: pod.name.clone(),
            // Given, because the runtime would otherwise copy a file that may be a link into /run.
            dns_config: Some(DnsConfig { servers: vec!["10.96.0.10".to_owned()] }),
            port_mappings: pod.host_port.map(mapping).into_iter().collect(),
            linux: Some(LinuxPodSandboxConfig { cgroup_parent: format!("/{}", self.cgroup_parent) }),
        }
    }
}

/// A web server on both families that serves the pod's page.
fn container_config(page: &Path, attempt: u32) -> Result<ContainerConfig> {
    let page = page.to_str().ok_or_else(|| anyhow!("{} is not UTF-8", page.display()))?;
    let listen = format!("[::]:{PORT}");
    let words = ["httpd", "-f", "-p", &listen, "-h", "/page"];
    Ok(ContainerConfig {
        metadata: Some(ContainerMetadata { name: "web".to_owned(), attempt }),
        image: Some(ImageSpec { image: image::BUSYBOX.to_owned() }),
        args: words.map(str::to_owned).to_vec(),
        mounts: vec![Mount {
            container_path: "/page".to_owned(),
            host_path: page.to_owned(),
            readonly: true,
        }],
    })
}
