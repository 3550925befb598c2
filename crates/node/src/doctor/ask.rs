//! A question as kubelet puts it to the API server.

use serde_json::{Value, json};

/// A question. Its forms are those of `client-go` in kubelet 1.20 and 1.36.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// One object.
    Get {
        /// Where it is.
        of: Collection,
        /// Its name.
        name: String,
    },
    /// All objects that a field selector takes: listed or watched, which need the same knowledge.
    List {
        /// Where they are.
        of: Collection,
        /// The selector as text; empty for all.
        fields: String,
    },
    /// A token.
    Token(Bound),
}

/// A token for a service account that is bound to a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bound {
    /// The pod's namespace, and the account's.
    pub namespace: String,
    /// The service account.
    pub account: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    pub uid: String,
    /// For whom the token is; none for the API server.
    pub audiences: Vec<String>,
    /// For how long it is asked for; `None` leaves that to the API server.
    pub seconds: Option<i64>,
}

/// The objects of one resource in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Collection {
    /// `v1`, or group and version with a slash between them.
    pub api: &'static str,
    /// Plural name of the resource.
    pub resource: &'static str,
    /// The namespace; empty for all of them and for what has none.
    pub namespace: String,
}

impl Collection {
    /// Of a resource without namespaces, or in all of them.
    pub fn all(api: &'static str, resource: &'static str) -> Collection {
        Collection { api, resource, namespace: String::new() }
    }

    /// Of a resource in one namespace.
    pub fn within(api: &'static str, resource: &'static str, namespace: &str) -> Collection {
        Collection { api, resource, namespace: namespace.to_owned() }
    }

    /// A question for one object of it.
    pub fn get(self, name: &str) -> Ask {
        Ask::Get { of: self, name: name.to_owned() }
    }

    /// A question for all of it.
    pub fn list(self) -> Ask {
        Ask::List { of: self, fields: String::new() }
    }

    /// A question for those of which a field has a value.
    pub fn list_where(self, field: &str, value: &str) -> Ask {
        Ask::List { of: self, fields: format!("{field}={}", in_selector(value)) }
    }

    fn path(&self) -> String {
        let root = if self.api.contains('/') { "/apis/" } else { "/api/" };
        let namespace = match self.namespace.as_str() {
            "" => String::new(),
            namespace => format!("namespaces/{}/", escaped(namespace)),
        };
        format!("{root}{}/{namespace}{}", self.api, self.resource)
    }
}

impl Ask {
    /// The HTTP method.
    pub fn method(&self) -> &'static str {
        match self {
            Ask::Get { .. } | Ask::List { .. } => "GET",
            Ask::Token(_) => "POST",
        }
    }

    /// Path and query, as they stand in the request.
    pub fn target(&self) -> String {
        match self {
            Ask::Get { of, name } => format!("{}/{}", of.path(), escaped(name)),
            Ask::List { of, fields } if fields.is_empty() => format!("{}?resourceVersion=0", of.path()),
            Ask::List { of, fields } => {
                format!("{}?fieldSelector={}&resourceVersion=0", of.path(), escaped(fields))
            }
            Ask::Token(bound) => {
                let accounts = Collection::within("v1", "serviceaccounts", &bound.namespace);
                format!("{}/{}/token", accounts.path(), escaped(&bound.account))
            }
        }
    }

    /// Whether it matters what is in the objects. Else it is enough to answer with as many nulls in `items` as there are
    /// objects, or with null.
    pub fn needs_content(&self) -> bool {
        match self {
            Ask::Get { of, .. } => {
                matches!(of.resource, "csinodes" | "persistentvolumeclaims" | "persistentvolumes")
            }
            Ask::List { of, .. } => matches!(of.resource, "nodes" | "pods" | "csidrivers"),
            Ask::Token(_) => true,
        }
    }

    /// The body, where there is one.
    pub fn body(&self) -> Option<Value> {
        let Ask::Token(Bound { pod, uid, audiences, seconds, .. }) = self else { return None };
        Some(json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": { "apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid },
            },
        }))
    }
}

/// A value in a field selector (`apimachinery:pkg/fields/selector.go`, `EscapeValue`).
fn in_selector(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

/// A segment of a path, or a value of a query.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_put_as_kubelet_puts_them() {
        let secrets = || Collection::within("v1", "secrets", "shop");
        for (ask, target) in [
            (
                Collection::all("v1", "pods").list_where("spec.nodeName", "n1"),
                "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1&resourceVersion=0",
            ),
            (
                Collection::all("node.k8s.io/v1", "runtimeclasses").list(),
                "/apis/node.k8s.io/v1/runtimeclasses?resourceVersion=0",
            ),
            (secrets().get("db"), "/api/v1/namespaces/shop/secrets/db"),
            (secrets().get("../x?y"), "/api/v1/namespaces/shop/secrets/..%2Fx%3Fy"),
            (
                secrets().list_where("metadata.name", "a,b"),
                "/api/v1/namespaces/shop/secrets?fieldSelector=metadata.name%3Da%5C%2Cb&resourceVersion=0",
            ),
        ] {
            assert_eq!((ask.method(), ask.target().as_str(), ask.body()), ("GET", target, None));
        }
    }

    #[test]
    fn a_token_is_asked_for_with_the_pod_it_is_bound_to() {
        let ask = Ask::Token(Bound {
            namespace: "shop".into(),
            account: "web".into(),
            pod: "web-0".into(),
            uid: "u".into(),
            audiences: vec!["vault".into()],
            seconds: Some(600),
        });
        assert_eq!(
            (ask.method(), ask.target().as_str()),
            ("POST", "/api/v1/namespaces/shop/serviceaccounts/web/token")
        );
        let body = ask.body().unwrap();
        assert_eq!(body.pointer("/spec/boundObjectRef/uid"), Some(&json!("u")));
        assert_eq!(body.pointer("/spec/audiences"), Some(&json!(["vault"])));
        assert_eq!(body.pointer("/spec/expirationSeconds"), Some(&json!(600)));
    }
}
