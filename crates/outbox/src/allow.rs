//! Which writes are taken while the cloud is away (design §6.3). Everything else is refused: what cannot be done offline is
//! not faked.

use wire::request::{Request, Verb};

use crate::entry::Writer;

/// A write that may be taken, by what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// The status of a pod on this node.
    PodStatus,
    /// The status of this node.
    NodeStatus,
    /// The deletion with which kubelet says that a pod's containers are gone.
    FinalDelete,
    /// What is installed for storage on this node.
    CsiNode,
    /// A new event.
    Event,
    /// A change of an event that was written before.
    EventChange,
    /// Annotations and conditions that a daemon sets on this node, or on a pod that runs here.
    Members,
}

/// What a request is on the list of its writer, on this node; `None` if it is on none.
///
/// A daemon's are only to be taken once the cloud has taken the same of it, which the caller knows.
pub fn allowed(writer: &Writer, about: &Request, node: &str) -> Option<Allowed> {
    let resource = about.resource.as_ref()?;
    // What is only tried, or judged with a schema that is not here, is the cloud's.
    if about.query.all("dryRun").next().is_some() {
        return None;
    }
    let names = (resource.group.as_str(), resource.resource.as_str(), resource.subresource.as_str());
    let is_own_node = resource.name == node;
    let is_named = !resource.name.is_empty();
    let changes = matches!(about.verb, Verb::Patch | Verb::Update);
    match writer {
        Writer::Kubelet => match (names, &about.verb) {
            (("", "pods", "status"), _) if changes && is_named => Some(Allowed::PodStatus),
            (("", "nodes", "status"), _) if changes && is_own_node => Some(Allowed::NodeStatus),
            (("", "pods", ""), Verb::Delete) if is_named => Some(Allowed::FinalDelete),
            (("storage.k8s.io", "csinodes", ""), Verb::Update) if is_own_node => Some(Allowed::CsiNode),
            (("", "events", ""), Verb::Create) if !is_named && !resource.namespace.is_empty() => {
                Some(Allowed::Event)
            }
            (("", "events", ""), Verb::Patch) if is_named => Some(Allowed::EventChange),
            _ => None,
        },
        Writer::Daemon(_) => match names {
            ("", "nodes", "" | "status") if about.verb == Verb::Patch && is_own_node => {
                Some(Allowed::Members)
            }
            ("", "pods", "" | "status") if about.verb == Verb::Patch && is_named => Some(Allowed::Members),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use view::Identity;

    use super::*;

    fn of(writer: &Writer, line: &str) -> Option<Allowed> {
        let (method, target) = line.split_once(' ').unwrap();
        allowed(writer, &Request::parse(method, target).unwrap(), "edge")
    }

    #[test]
    fn kubelet_may_say_what_only_kubelet_knows() {
        for (line, what) in [
            ("PATCH /api/v1/namespaces/shop/pods/web/status", Allowed::PodStatus),
            ("PUT /api/v1/namespaces/shop/pods/web/status", Allowed::PodStatus),
            ("PATCH /api/v1/nodes/edge/status?timeout=10s", Allowed::NodeStatus),
            ("DELETE /api/v1/namespaces/shop/pods/web", Allowed::FinalDelete),
            ("PUT /apis/storage.k8s.io/v1/csinodes/edge", Allowed::CsiNode),
            ("POST /api/v1/namespaces/shop/events", Allowed::Event),
            ("PATCH /api/v1/namespaces/shop/events/web.1", Allowed::EventChange),
        ] {
            assert_eq!(of(&Writer::Kubelet, line), Some(what), "{line}");
        }
    }

    #[test]
    fn nothing_else_is_taken_while_the_cloud_is_away() {
        for line in [
            "POST /api/v1/namespaces/kube-system/pods",
            "PATCH /api/v1/namespaces/shop/pods/web",
            "PUT /api/v1/namespaces/shop/pods/web",
            "PATCH /api/v1/nodes/other/status",
            "PATCH /api/v1/nodes/edge",
            "DELETE /api/v1/nodes/edge",
            "DELETE /api/v1/namespaces/shop/pods",
            "PATCH /api/v1/namespaces/shop/pods/web/status?dryRun=All",
            "PUT /apis/storage.k8s.io/v1/csinodes/other",
            "POST /apis/storage.k8s.io/v1/csinodes",
            "PATCH /api/v1/namespaces/shop/persistentvolumeclaims/data/status",
            "POST /api/v1/namespaces/shop/pods/web/eviction",
            "POST /api/v1/namespaces/shop/pods/web/binding",
            "POST /apis/certificates.k8s.io/v1/certificatesigningrequests",
            "POST /apis/authorization.k8s.io/v1/subjectaccessreviews",
            "DELETE /apis/resource.k8s.io/v1/resourceslices?fieldSelector=spec.nodeName%3Dedge",
            "POST /apis/events.k8s.io/v1/namespaces/shop/events",
            "PATCH /apis/metrics.k8s.io/v1/namespaces/shop/pods/web/status",
        ] {
            assert_eq!(of(&Writer::Kubelet, line), None, "{line}");
        }
    }

    #[test]
    fn a_daemon_may_mark_its_node_and_pods_and_nothing_else() {
        let daemon = Writer::Daemon(Identity::new("system:serviceaccount:kube-flannel:flannel"));
        for line in [
            "PATCH /api/v1/nodes/edge/status",
            "PATCH /api/v1/nodes/edge",
            "PATCH /api/v1/namespaces/shop/pods/web/status",
        ] {
            assert_eq!(of(&daemon, line), Some(Allowed::Members), "{line}");
        }
        for line in [
            "PATCH /api/v1/nodes/other",
            "PUT /api/v1/nodes/edge",
            "DELETE /api/v1/namespaces/shop/pods/web",
            "POST /api/v1/namespaces/shop/events",
            "PATCH /api/v1/namespaces/shop/configmaps/web",
        ] {
            assert_eq!(of(&daemon, line), None, "{line}");
        }
    }
}
