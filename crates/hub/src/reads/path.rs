//! Paths of requests to the API server.

use view::{ResourceId, Scope};

/// The path of a resource's set in a scope's namespace.
pub fn set(resource: &ResourceId, namespace: &str) -> String {
    let mut path = match resource.group() {
        "" => format!("/api/{}", resource.version()),
        group => format!("/apis/{group}/{}", resource.version()),
    };
    if !namespace.is_empty() {
        path.push_str("/namespaces/");
        path.push_str(namespace);
    }
    path.push('/');
    path.push_str(resource.resource());
    path
}

/// The path and query of a read of this scope, with these parameters besides its selectors.
pub fn read(resource: &ResourceId, scope: &Scope, parameters: &[(&str, &str)]) -> String {
    let mut path = set(resource, &scope.namespace);
    let (fields, labels) = (scope.fields.to_string(), scope.labels.to_string());
    let selectors = [("fieldSelector", fields.as_str()), ("labelSelector", labels.as_str())];
    let mut separator = '?';
    for (name, value) in parameters.iter().chain(selectors.iter().filter(|(_, value)| !value.is_empty())) {
        path.push(separator);
        path.push_str(name);
        path.push('=');
        encode(&mut path, value);
        separator = '&';
    }
    path
}

/// Whether a scope is of one node: older API servers find such objects at once in their memory, but read all nodes' to find
/// them in their store.
pub fn is_of_a_node(scope: &Scope) -> bool {
    scope.fields.to_string().contains("spec.nodeName=")
}

/// Percent-encodes what is not unreserved (RFC 3986 §2.3).
fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_asks_for_its_scope() {
        let pods = ResourceId::new("", "v1", "pods", "");
        let scope = Scope { fields: "spec.nodeName=n1".parse().unwrap(), ..Scope::default() };
        assert_eq!(
            read(&pods, &scope, &[("limit", "1")]),
            "/api/v1/pods?limit=1&fieldSelector=spec.nodeName%3Dn1"
        );
        let slices = ResourceId::new("discovery.k8s.io", "v1", "endpointslices", "");
        let scope =
            Scope { namespace: "a".into(), labels: "!b,c in (d,e)".parse().unwrap(), ..Scope::default() };
        let path = read(&slices, &scope, &[]);
        assert_eq!(
            path,
            "/apis/discovery.k8s.io/v1/namespaces/a/endpointslices?labelSelector=%21b%2Cc%20in%20%28d%2Ce%29"
        );
    }
}
