//! The Container Runtime Interface, from the side that kubelet is on.

mod grpc;
pub mod messages;

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use prost::Message;
use serde_json::Value;

use grpc::Connection;
use messages::{
    ContainerConfig, ContainerId, CreateContainerRequest, Empty, ImageSpec, ImageStatusRequest,
    ImageStatusResponse, ListPodSandboxResponse, PodSandbox, PodSandboxConfig, PodSandboxStatusRequest,
    PodSandboxStatusResponse, RunPodSandboxRequest, SandboxId, StatusRequest, StatusResponse,
    VersionResponse,
};

/// A runtime to talk to. Every error of a call names the call and holds the runtime's own words.
#[derive(Clone)]
pub struct Cri {
    connection: Connection,
}

impl Cri {
    /// Connects to the runtime that listens at `socket`.
    ///
    /// # Errors
    ///
    /// Nothing listens there.
    pub async fn connect(socket: &Path) -> Result<Self> {
        Ok(Self { connection: Connection::open(socket).await? })
    }

    async fn runtime<A: Message + Default>(&self, method: &str, request: &impl Message) -> Result<A> {
        self.connection.call(&format!("runtime.v1.RuntimeService/{method}"), request).await
    }

    /// The runtime's version; an answer at all means that it is up.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn version(&self) -> Result<String> {
        let answer: VersionResponse = self.runtime("Version", &Empty {}).await?;
        Ok(answer.runtime_version)
    }

    /// Whether the runtime has the image.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn has_image(&self, reference: &str) -> Result<bool> {
        let image = Some(ImageSpec { image: reference.to_owned() });
        let request = ImageStatusRequest { image };
        let answer: ImageStatusResponse =
            self.connection.call("runtime.v1.ImageService/ImageStatus", &request).await?;
        Ok(answer.image.is_some_and(|image| !image.id.is_empty()))
    }

    /// Makes a sandbox, its network included, and returns its id.
    ///
    /// # Errors
    ///
    /// The call failed; if it was the network, the plugin's message is in the text.
    pub async fn run_sandbox(&self, config: PodSandboxConfig) -> Result<String> {
        let request = RunPodSandboxRequest { config: Some(config) };
        let answer: SandboxId = self.runtime("RunPodSandbox", &request).await?;
        Ok(answer.pod_sandbox_id)
    }

    /// Ends a sandbox's containers and takes its network down.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn stop_sandbox(&self, id: &str) -> Result<()> {
        self.runtime::<Empty>("StopPodSandbox", &sandbox(id)).await.map(drop)
    }

    /// Makes the runtime forget a sandbox.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn remove_sandbox(&self, id: &str) -> Result<()> {
        self.runtime::<Empty>("RemovePodSandbox", &sandbox(id)).await.map(drop)
    }

    /// The addresses of a sandbox in the runtime's order.
    ///
    /// # Errors
    ///
    /// The call failed, the sandbox has no network, or an address is none.
    pub async fn addresses(&self, id: &str) -> Result<Vec<IpAddr>> {
        let answer: PodSandboxStatusResponse = self.runtime("PodSandboxStatus", &sandbox(id)).await?;
        let network = answer.status.and_then(|status| status.network);
        let network = network.ok_or_else(|| anyhow!("sandbox {id} has no network"))?;
        let mut texts = vec![network.ip];
        texts.extend(network.additional_ips.into_iter().map(|address| address.ip));
        let parsed = texts.iter().map(|text| text.parse());
        parsed.collect::<Result<_, _>>().with_context(|| format!("sandbox {id} has addresses {texts:?}"))
    }

    /// Path of a sandbox's network namespace, as the node sees it.
    ///
    /// # Errors
    ///
    /// The call failed, or the runtime does not tell.
    pub async fn network_namespace(&self, id: &str) -> Result<String> {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: true };
        let answer: PodSandboxStatusResponse = self.runtime("PodSandboxStatus", &request).await?;
        let info: Value = serde_json::from_str(answer.info.get("info").map_or("", String::as_str))?;
        let spaces = info.pointer("/runtimeSpec/linux/namespaces").and_then(Value::as_array);
        let network = spaces.into_iter().flatten().find(|space| text(space, "type") == Some("network"));
        let path = network.and_then(|space| text(space, "path"));
        Ok(path.ok_or_else(|| anyhow!("sandbox {id} has no network namespace"))?.to_owned())
    }

    /// The configuration of the pod network that the runtime has loaded.
    ///
    /// # Errors
    ///
    /// The call failed, or the runtime does not tell.
    pub async fn pod_network(&self) -> Result<Value> {
        let answer: StatusResponse = self.runtime("Status", &StatusRequest { verbose: true }).await?;
        let loaded: Value = serde_json::from_str(answer.info.get("cniconfig").map_or("", String::as_str))?;
        let networks = loaded.get("Networks").and_then(Value::as_array);
        // Its own loopback comes first.
        let network = networks.and_then(|networks| networks.last()).and_then(|network| network.get("Config"));
        let source = network.and_then(|network| text(network, "Source"));
        Ok(serde_json::from_str(source.ok_or_else(|| anyhow!("the runtime has no pod network"))?)?)
    }

    /// All sandboxes, dead ones included.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn sandboxes(&self) -> Result<Vec<PodSandbox>> {
        let answer: ListPodSandboxResponse = self.runtime("ListPodSandbox", &Empty {}).await?;
        Ok(answer.items)
    }

    /// Makes a container in a sandbox and starts it.
    ///
    /// # Errors
    ///
    /// One of the two calls failed.
    pub async fn run_container(
        &self,
        sandbox: &str,
        sandbox_config: PodSandboxConfig,
        config: ContainerConfig,
    ) -> Result<()> {
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        let made: ContainerId = self.runtime("CreateContainer", &request).await?;
        self.runtime::<Empty>("StartContainer", &made).await.map(drop)
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn sandbox(id: &str) -> SandboxId {
    SandboxId { pod_sandbox_id: id.to_owned() }
}
