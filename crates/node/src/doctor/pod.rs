//! What a pod of this node needs when kubelet starts it.

use std::net::IpAddr;

use serde_json::Value;

use super::question::{Kind, Question};
use super::volume;

/// By this annotation the object is known that kubelet makes in the API server for a static pod.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// A pod as the API server shows it. What is missing in it counts as empty.
#[derive(Debug, Clone, Copy)]
pub struct Pod<'a>(pub &'a Value);

impl<'a> Pod<'a> {
    fn text(self, pointer: &str) -> &'a str {
        text(self.0, pointer)
    }

    /// Its namespace.
    pub fn namespace(self) -> &'a str {
        self.text("/metadata/namespace")
    }

    /// Its name.
    pub fn name(self) -> &'a str {
        self.text("/metadata/name")
    }

    /// Its uid.
    pub fn uid(self) -> &'a str {
        self.text("/metadata/uid")
    }

    /// `namespace/name`.
    pub fn title(self) -> String {
        format!("{}/{}", self.namespace(), self.name())
    }

    /// The service account as which it runs.
    pub fn account(self) -> &'a str {
        let names = ["/spec/serviceAccountName", "/spec/serviceAccount"].map(|pointer| self.text(pointer));
        names.into_iter().find(|name| !name.is_empty()).unwrap_or("default")
    }

    /// Whether it is being deleted.
    pub fn is_deleted(self) -> bool {
        self.0.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
    }

    /// Whether it is at its end: kubelet starts none of its containers again.
    pub fn is_over(self) -> bool {
        self.is_deleted() || matches!(self.text("/status/phase"), "Succeeded" | "Failed")
    }

    /// Whether it stands for a static pod, which kubelet reads from a file and which can name no object of the API.
    pub fn is_static(self) -> bool {
        self.0.pointer("/metadata/annotations").and_then(|all| all.get(MIRROR)).is_some()
    }

    /// Whether it has no network of its own.
    pub fn is_on_host_network(self) -> bool {
        self.0.pointer("/spec/hostNetwork") == Some(&Value::Bool(true))
    }

    /// Its addresses; none on the host's network.
    pub fn addresses(self) -> Vec<IpAddr> {
        if self.is_on_host_network() {
            return Vec::new();
        }
        let mut found: Vec<IpAddr> =
            each(self.0, "/status/podIPs").filter_map(|one| text(one, "/ip").parse().ok()).collect();
        if let (true, Ok(address)) = (found.is_empty(), self.text("/status/podIP").parse()) {
            found.push(address);
        }
        found
    }

    /// The containers that are started: those that debug it are not started again.
    pub fn containers(self) -> impl Iterator<Item = &'a Value> {
        each(self.0, "/spec/initContainers").chain(each(self.0, "/spec/containers"))
    }

    /// A question about an object that it names.
    pub fn question(self, kind: Kind, optional: bool) -> Question {
        Question { kind, pods: [self.title()].into(), optional }
    }

    /// All that kubelet asks about it before its containers run.
    pub fn questions(self) -> Vec<Question> {
        if self.is_over() || self.is_static() {
            return Vec::new();
        }
        let mut found = Vec::new();
        for container in self.containers() {
            self.environment(container, &mut found);
        }
        // kubelet starts a pod without a pull secret that does not exist.
        for secret in each(self.0, "/spec/imagePullSecrets") {
            found.extend(self.object(secret, "/name", Kind::secret, true));
        }
        for volume in each(self.0, "/spec/volumes") {
            volume::of_pod(self, volume, &mut found);
        }
        self.claims(&mut found);
        found
    }

    fn environment(self, container: &Value, found: &mut Vec<Question>) {
        for (list, secret, config_map) in [
            ("/env", "/valueFrom/secretKeyRef", "/valueFrom/configMapKeyRef"),
            ("/envFrom", "/secretRef", "/configMapRef"),
        ] {
            for entry in each(container, list) {
                found.extend(entry.pointer(secret).and_then(|of| self.named(of, "/name", Kind::secret)));
                found.extend(
                    entry.pointer(config_map).and_then(|of| self.named(of, "/name", Kind::config_map)),
                );
            }
        }
    }

    /// Claims on devices: named, or made from a template and then named in the status.
    fn claims(self, found: &mut Vec<Question>) {
        let named = each(self.0, "/spec/resourceClaims");
        let made = each(self.0, "/status/resourceClaimStatuses");
        let names = named.chain(made).map(|claim| text(claim, "/resourceClaimName"));
        let claim = |name: &str| Kind::ResourceClaim(self.namespace().to_owned(), name.to_owned());
        found.extend(names.filter(|name| !name.is_empty()).map(|name| self.question(claim(name), false)));
    }

    /// A question about the object in its namespace that is named here, optional if it says so.
    pub fn named(self, of: &Value, key: &str, kind: fn(&str, &str) -> Kind) -> Option<Question> {
        let optional = of.get("optional") == Some(&Value::Bool(true));
        self.object(of, key, kind, optional)
    }

    fn object(self, of: &Value, key: &str, kind: fn(&str, &str) -> Kind, optional: bool) -> Option<Question> {
        let name = text(of, key);
        (!name.is_empty()).then(|| self.question(kind(self.namespace(), name), optional))
    }
}

/// The text at a JSON pointer; empty where there is none.
pub(crate) fn text<'a>(of: &'a Value, pointer: &str) -> &'a str {
    of.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The items at a JSON pointer; none where there is no list.
pub(crate) fn each<'a>(of: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    of.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}
