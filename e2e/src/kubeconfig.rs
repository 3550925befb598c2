//! Kubeconfig files: where an API server is, whom to trust as one, and as whom to come.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::pki::Pair;

/// How programs on a machine reach the API server: the cloud's own, or what stands in front of it.
#[derive(Clone, Debug)]
pub struct Access {
    /// What the records of a run call it.
    pub name: &'static str,
    /// `https://` and the address.
    pub server: String,
    /// The certificates that a server must be signed by, PEM.
    pub ca: String,
}

/// What a client shows of itself.
pub enum Credential<'a> {
    /// A client certificate.
    Certificate(&'a Pair),
    /// A bearer token.
    Token(&'a str),
}

impl Access {
    /// The text of a kubeconfig for a client that shows `credential`. JSON is YAML.
    pub fn kubeconfig(&self, credential: &Credential<'_>) -> String {
        let user = match credential {
            Credential::Certificate(pair) => json!({
                "client-certificate-data": STANDARD.encode(&pair.certificate),
                "client-key-data": STANDARD.encode(&pair.key),
            }),
            Credential::Token(token) => json!({"token": token}),
        };
        let cluster = json!({"server": self.server, "certificate-authority-data": STANDARD.encode(&self.ca)});
        let config: Value = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": "user"}}],
            "current-context": "context",
        });
        format!("{config:#}\n")
    }
}
