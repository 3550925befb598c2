//! What a node may do: the Node authorizer with its graph of which node needs what
//! (`plugin/pkg/auth/authorizer/node/node_authorizer.go`), and the part of NodeRestriction that says whose objects it may
//! write.

use serde_json::Value;
use wire::ListOptions;

use super::Asked;
use crate::cloud::object::{at, text};
use crate::cloud::store::{Key, Store};

const READ: [&str; 3] = ["get", "list", "watch"];

/// Whether the node `node` may; `Err` is why not.
pub fn allowed(store: &Store, node: &str, asked: &Asked<'_>) -> Result<(), String> {
    let (verb, of) = (asked.verb, asked.of);
    let reads = READ.contains(&verb);
    let sub = of.subresource.as_str();
    let own = of.name == node;
    let unrelated = || Err(format!("no relationship found between node '{node}' and this object"));
    let only_if = |may: bool| if may { Ok(()) } else { Err(String::new()) };
    match (of.group.as_str(), of.resource.as_str()) {
        ("", "secrets" | "configmaps") => {
            if !reads || !sub.is_empty() {
                return Err("can only read resources of this type".into());
            }
            if of.name.is_empty() {
                return Err("can only read namespaced object of this type".into());
            }
            if needed(store, node, &of.namespace, &of.resource, &of.name) { Ok(()) } else { unrelated() }
        }
        ("", "pods") => pods(store, node, asked),
        ("", "nodes") => only_if(match verb {
            "create" => sub.is_empty(),
            "get" => own,
            "list" | "watch" => own,
            "update" | "patch" => own && matches!(sub, "" | "status"),
            _ => false,
        }),
        ("", "serviceaccounts") if sub == "token" => {
            let used = on_node(store, node).any(|pod| {
                text(pod, "metadata.namespace") == of.namespace
                    && text(pod, "spec.serviceAccountName") == of.name
            });
            if verb == "create" && used { Ok(()) } else { unrelated() }
        }
        ("", "persistentvolumeclaims" | "persistentvolumes") | ("storage.k8s.io", "volumeattachments") => {
            only_if(verb == "get")
        }
        ("", "services") | ("node.k8s.io", "runtimeclasses") | ("storage.k8s.io", "csidrivers") => {
            only_if(reads)
        }
        ("", "events") => only_if(matches!(verb, "create" | "update" | "patch")),
        ("coordination.k8s.io", "leases") => {
            let verbs = ["get", "create", "update", "patch", "delete"];
            only_if(of.namespace == "kube-node-lease" && verbs.contains(&verb) && (own || verb == "create"))
        }
        ("storage.k8s.io", "csinodes") => only_if(
            matches!(verb, "get" | "create" | "update" | "patch" | "delete") && (own || verb == "create"),
        ),
        ("certificates.k8s.io", "certificatesigningrequests") => only_if(reads || verb == "create"),
        ("resource.k8s.io", "resourceclaims") => only_if(verb == "get"),
        ("resource.k8s.io", "resourceslices") => only_if(reads || verb == "deletecollection"),
        ("authentication.k8s.io", "tokenreviews") | ("authorization.k8s.io", "subjectaccessreviews") => {
            only_if(verb == "create")
        }
        _ => Err(String::new()),
    }
}

/// Lists only with its own name in the selector; single pods only while they are there and its own.
fn pods(store: &Store, node: &str, asked: &Asked<'_>) -> Result<(), String> {
    match asked.verb {
        "list" | "watch" => {
            let options = asked.request.and_then(|request| ListOptions::of(request).ok()).unwrap_or_default();
            if options.field_selector.exact("spec.nodeName") == Some(node) {
                return Ok(());
            }
            if asked.of.name.is_empty() {
                return Err("can only list/watch pods with spec.nodeName field selector".into());
            }
            related(store, node, asked)
        }
        "create" if asked.of.subresource.is_empty() || asked.of.subresource == "eviction" => Ok(()),
        "get" | "delete" | "patch" | "update" => related(store, node, asked),
        _ => Err(String::new()),
    }
}

fn related(store: &Store, node: &str, asked: &Asked<'_>) -> Result<(), String> {
    let of = asked.of;
    let key = Key {
        group: String::new(),
        resource: "pods".into(),
        namespace: of.namespace.clone(),
        name: of.name.clone(),
    };
    let own = store.get(&key).is_some_and(|pod| text(&pod, "spec.nodeName") == node);
    if own { Ok(()) } else { Err(format!("no relationship found between node '{node}' and this object")) }
}

fn on_node<'a>(store: &'a Store, node: &'a str) -> impl Iterator<Item = &'a Value> {
    let pods = store.objects().iter().filter(|(key, _)| key.is_in("", "pods", ""));
    pods.map(|(_, pod)| &**pod).filter(move |pod| text(pod, "spec.nodeName") == node)
}

/// Whether a pod on the node mounts it or takes its environment or pull secrets from it.
fn needed(store: &Store, node: &str, namespace: &str, resource: &str, name: &str) -> bool {
    let keys: &[(&str, &str)] = match resource {
        "secrets" => {
            &[("secretName", ""), ("secretKeyRef", "name"), ("secretRef", "name"), ("secret", "name")]
        }
        _ => &[("configMapKeyRef", "name"), ("configMapRef", "name"), ("configMap", "name")],
    };
    on_node(store, node).filter(|pod| text(pod, "metadata.namespace") == namespace).any(|pod| {
        let pulls = at(pod, "spec.imagePullSecrets").and_then(Value::as_array).into_iter().flatten();
        let pulled = resource == "secrets" && pulls.into_iter().any(|one| text(one, "name") == name);
        pulled || pod.get("spec").is_some_and(|spec| mentions(spec, keys, name))
    })
}

/// Whether a member of one of these names, somewhere inside, names the object.
fn mentions(value: &Value, keys: &[(&str, &str)], name: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| mentions(item, keys, name)),
        Value::Object(map) => map.iter().any(|(key, value)| {
            let named = keys.iter().any(|(own, inner)| {
                own == key && if inner.is_empty() { value == name } else { text(value, inner) == name }
            });
            named || mentions(value, keys, name)
        }),
        _ => false,
    }
}
