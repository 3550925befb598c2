//! What kubelet asks at a cold boot, whom it concerns, and what happens without an answer.
//!
//! The order of questions and what each of them blocks: `cmd/kubelet/app/server.go`, `pkg/kubelet/kubelet.go`,
//! `pkg/volume/csi/csi_plugin.go` of Kubernetes 1.20 and 1.36.

use std::collections::BTreeSet;

use super::ask::{Ask, Bound, Collection};
use super::finding::Area;

/// A question of kubelet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What it asks for.
    pub kind: Kind,
    /// The pods that need it, as `namespace/name`; none where the node itself needs it.
    pub pods: BTreeSet<String>,
    /// kubelet goes on where the answer is that there is no such object.
    pub optional: bool,
}

/// What kubelet asks for. Names are given as namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Its own Node.
    Node,
    /// The pods of this node.
    Pods,
    /// All services, or those with a cluster address.
    Services,
    /// Runtime classes.
    RuntimeClasses,
    /// CSI drivers.
    CsiDrivers,
    /// Its own CSINode.
    CsiNode,
    /// A config map that a pod names.
    ConfigMap(String, String),
    /// A secret that a pod names.
    Secret(String, String),
    /// A secret with which a volume is mounted.
    VolumeSecret(String, String),
    /// A claim on a volume.
    Claim(String, String),
    /// A persistent volume.
    Volume(String),
    /// The attachment of a volume to this node.
    Attachment {
        /// Name of the VolumeAttachment.
        name: String,
        /// Name of the volume.
        volume: String,
    },
    /// A claim on devices.
    ResourceClaim(String, String),
    /// Bundles of authorities that a pod mounts.
    TrustBundles,
    /// A token of a service account.
    Token(Bound),
}

impl Kind {
    /// [`Kind::ConfigMap`].
    pub fn config_map(namespace: &str, name: &str) -> Kind {
        Kind::ConfigMap(namespace.to_owned(), name.to_owned())
    }

    /// [`Kind::Secret`].
    pub fn secret(namespace: &str, name: &str) -> Kind {
        Kind::Secret(namespace.to_owned(), name.to_owned())
    }

    /// [`Kind::Claim`].
    pub fn claim(namespace: &str, name: &str) -> Kind {
        Kind::Claim(namespace.to_owned(), name.to_owned())
    }

    /// The forms in which kubelets ask it, by release and by setting; the hub knows those that this node's kubelet used.
    pub fn asks(&self, node: &str) -> Vec<Ask> {
        let of_api = |apis: &[&'static str], resource| {
            apis.iter().map(|&api| Collection::all(api, resource).list()).collect::<Vec<_>>()
        };
        match self {
            Kind::Node => vec![Collection::all("v1", "nodes").list_where("metadata.name", node)],
            Kind::Pods => vec![Collection::all("v1", "pods").list_where("spec.nodeName", node)],
            Kind::Services => {
                let services = || Collection::all("v1", "services");
                let with_address = Ask::List { of: services(), fields: "spec.clusterIP!=None".into() };
                vec![services().list(), with_address]
            }
            Kind::RuntimeClasses => of_api(&["node.k8s.io/v1", "node.k8s.io/v1beta1"], "runtimeclasses"),
            Kind::CsiDrivers => of_api(&["storage.k8s.io/v1"], "csidrivers"),
            Kind::CsiNode => vec![Collection::all("storage.k8s.io/v1", "csinodes").get(node)],
            Kind::ConfigMap(namespace, name) => by_name("configmaps", namespace, name),
            Kind::Secret(namespace, name) => by_name("secrets", namespace, name),
            Kind::VolumeSecret(namespace, name) => {
                vec![Collection::within("v1", "secrets", namespace).get(name)]
            }
            Kind::Claim(namespace, name) => {
                vec![Collection::within("v1", "persistentvolumeclaims", namespace).get(name)]
            }
            Kind::Volume(name) => vec![Collection::all("v1", "persistentvolumes").get(name)],
            Kind::Attachment { name, .. } => {
                vec![Collection::all("storage.k8s.io/v1", "volumeattachments").get(name)]
            }
            Kind::ResourceClaim(namespace, name) => {
                let apis = ["resource.k8s.io/v1", "resource.k8s.io/v1beta2", "resource.k8s.io/v1beta1"];
                let claims = |api| Collection::within(api, "resourceclaims", namespace).get(name);
                apis.into_iter().map(claims).collect()
            }
            Kind::TrustBundles => {
                let apis =
                    ["certificates.k8s.io/v1", "certificates.k8s.io/v1beta1", "certificates.k8s.io/v1alpha1"];
                of_api(&apis, "clustertrustbundles")
            }
            Kind::Token(bound) => vec![Ask::Token(bound.clone())],
        }
    }

    /// What it is, by name.
    pub fn what(&self, node: &str) -> String {
        match self {
            Kind::Node => format!("node {node}"),
            Kind::Pods => "the list of this node's pods".into(),
            Kind::Services => "the list of services".into(),
            Kind::RuntimeClasses => "the list of runtime classes".into(),
            Kind::CsiDrivers => "the list of CSI drivers".into(),
            Kind::CsiNode => format!("CSI node {node}"),
            Kind::ConfigMap(namespace, name) => format!("config map {namespace}/{name}"),
            Kind::Secret(namespace, name) | Kind::VolumeSecret(namespace, name) => {
                format!("secret {namespace}/{name}")
            }
            Kind::Claim(namespace, name) => format!("persistent volume claim {namespace}/{name}"),
            Kind::Volume(name) => format!("persistent volume {name}"),
            Kind::Attachment { volume, .. } => format!("attachment of volume {volume}"),
            Kind::ResourceClaim(namespace, name) => format!("resource claim {namespace}/{name}"),
            Kind::TrustBundles => "the list of trust bundles".into(),
            Kind::Token(Bound { namespace, account, audiences, pod, .. }) => {
                let audience = match audiences.as_slice() {
                    [] => "the API server".to_owned(),
                    some => some.join(","),
                };
                format!("token of {namespace}/{account} for {audience}, bound to pod {pod}")
            }
        }
    }

    /// What happens to the node without an answer; `None` where it strikes only the pods that need it.
    pub fn without(&self) -> Option<&'static str> {
        match self {
            Kind::Node | Kind::Pods => Some("kubelet starts no pod"),
            Kind::Services => Some("kubelet starts no container"),
            Kind::RuntimeClasses => Some("no pod with a runtime class starts"),
            Kind::CsiDrivers => Some("kubelet mounts no volume of a CSI driver"),
            Kind::CsiNode => Some("the node stays NotReady, and kubelet ends itself again and again"),
            _ => None,
        }
    }

    /// What it is about.
    pub fn area(&self) -> Area {
        if matches!(self, Kind::Token(_)) { Area::Tokens } else { Area::Objects }
    }
}

/// kubelet watches each secret and config map by itself; set to fetch them, it gets them.
fn by_name(resource: &'static str, namespace: &str, name: &str) -> Vec<Ask> {
    let all = || Collection::within("v1", resource, namespace);
    vec![all().list_where("metadata.name", name), all().get(name)]
}

/// What kubelet asks whatever its pods are.
pub fn of_node() -> Vec<Question> {
    let kinds =
        [Kind::Node, Kind::Pods, Kind::Services, Kind::RuntimeClasses, Kind::CsiDrivers, Kind::CsiNode];
    kinds.map(|kind| Question { kind, pods: BTreeSet::new(), optional: false }).into()
}
