//! This node's own Node and pods, looked at by the hub itself: for what it tells its operator, and the bindings.

use std::collections::HashMap;
use std::sync::Arc;

use node::agree::{Name, Node, Pod, Pods};
use node::doctor::ask::Collection;
use serde_json::Value;
use view::{Answer, Header, Key, Object, ResourceId, Scope};
use wire::{ListOptions, Request};

use super::{Reads, Who, json};

/// The Node object of this node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OwnNode {
    /// Nobody has read it yet.
    #[default]
    Unknown,
    /// The cloud has none.
    Absent,
    /// This one.
    Present(Node),
}

/// What the API server has of this node.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// Its Node.
    pub node: OwnNode,
    /// Its pods, all of them; `None` while they are not known.
    pub pods: Option<Arc<Pods>>,
    /// Whether the pods are what the cloud has now, and not only what it had when it was last heard of.
    pub followed: bool,
}

/// What was made of objects before: only those that changed are decoded. An object that changes has another header.
#[derive(Default)]
pub struct Digests {
    pods: HashMap<Key, (Arc<Header>, Name, Pod)>,
    shown: Option<Arc<Pods>>,
    node: Option<(Arc<Header>, Node)>,
}

impl Reads {
    /// Looks at them. Takes some milliseconds where much has changed: not for the thread that serves clients.
    pub fn look_at_own(self: &Arc<Self>, digests: &mut Digests) -> Own {
        let node = self.node_digest(digests).unwrap_or_default();
        let asked = Collection::all("v1", "pods").list_where("spec.nodeName", &self.node).target();
        let Some((resource, scope, objects)) = self.shown_to_kubelet(&asked) else {
            return Own { node, ..Own::default() };
        };
        let followed = self.lock().follows(&resource, &scope);
        Own { node, pods: self.pod_digests(&resource, &objects, digests), followed }
    }

    fn node_digest(self: &Arc<Self>, digests: &mut Digests) -> Option<OwnNode> {
        let asked = Collection::all("v1", "nodes").list_where("metadata.name", &self.node).target();
        let (resource, _, objects) = self.shown_to_kubelet(&asked)?;
        let Some(object) = objects.first() else { return Some(OwnNode::Absent) };
        let known = digests.node.as_ref().filter(|(header, _)| Arc::ptr_eq(header, &object.header));
        let node = match known {
            Some((_, node)) => node.clone(),
            None => Node::of(&self.decoded(&resource, object)?),
        };
        digests.node = Some((object.header.clone(), node.clone()));
        Some(OwnNode::Present(node))
    }

    /// `None` if one cannot be read: what is missing must not look deleted.
    fn pod_digests(
        &self,
        resource: &ResourceId,
        objects: &[Object],
        digests: &mut Digests,
    ) -> Option<Arc<Pods>> {
        let mut before = std::mem::take(&mut digests.pods);
        let mut changed = before.len() != objects.len() || digests.shown.is_none();
        for object in objects {
            let known =
                before.remove(&object.header.key).filter(|known| Arc::ptr_eq(&known.0, &object.header));
            let digest = match known {
                Some(known) => known,
                None => {
                    changed = true;
                    let (name, pod) = Pod::of(&self.decoded(resource, object)?);
                    (object.header.clone(), name, pod)
                }
            };
            digests.pods.insert(object.header.key.clone(), digest);
        }
        if changed {
            let pods = digests.pods.values().map(|(_, name, pod)| (name.clone(), pod.clone())).collect();
            digests.shown = Some(Arc::new(pods));
        }
        digests.shown.clone()
    }

    /// What kubelet would be shown of a set from what is known; `None` if that is not complete.
    fn shown_to_kubelet(self: &Arc<Self>, asked: &str) -> Option<(ResourceId, Scope, Vec<Object>)> {
        let about = Request::parse("GET", asked).ok()?;
        let asked = about.resource.as_ref()?;
        let resource = ResourceId::new(&asked.group, &asked.version, &asked.resource, &asked.namespace);
        let options = ListOptions::of(&about).ok()?;
        let who = Who::node()?;
        let as_kubelet = self.ask_as(&who, &resource, true);
        match self.with(|view| view.list(as_kubelet, "", &options)) {
            Answer::List(listing) => Some((resource, Scope::of("", &options), listing.objects)),
            _ => None,
        }
    }

    fn decoded(&self, resource: &ResourceId, object: &Object) -> Option<Value> {
        let bytes = self.bytes(resource, object)?;
        json::of(&bytes, object.encoding)
    }
}
