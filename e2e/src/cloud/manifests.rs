//! What kubeadm puts into a new cluster, and the accounts of this program's clients.

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

/// The service account of kube-proxy, in kube-system as kubeadm has it.
pub const KUBE_PROXY: &str = "kube-proxy";
/// The service account that kubectl and the client-go program come as, in kube-system; it may do everything.
pub const ADMIN: &str = "e2e-admin";

/// The objects: how a node joins with `bootstrap_token` and renews its certificate by itself (kubeadm's phase
/// `bootstraptoken/node`), and who kube-proxy and the tests' clients are.
///
/// # Errors
///
/// The token has another form.
pub fn cluster(bootstrap_token: &str) -> Result<Vec<Value>> {
    let (id, secret) = bootstrap_token.split_once('.').ok_or_else(|| anyhow!("no dot in the token"))?;
    let bootstrappers = "system:bootstrappers:kubeadm:default-node-token";
    let token = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": "kube-system", "name": format!("bootstrap-token-{id}")},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": id,
            "token-secret": secret,
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": bootstrappers,
        }
    });
    let group = |name: &str| json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name});
    let account = |name: &str| json!({"kind": "ServiceAccount", "namespace": "kube-system", "name": name});
    let client = "system:certificates.k8s.io:certificatesigningrequests";
    Ok(vec![
        token,
        binding("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", &group(bootstrappers)),
        binding("kubeadm:node-autoapprove-bootstrap", &format!("{client}:nodeclient"), &group(bootstrappers)),
        binding(
            "kubeadm:node-autoapprove-certificate-rotation",
            &format!("{client}:selfnodeclient"),
            &group("system:nodes"),
        ),
        service_account(KUBE_PROXY),
        binding("kubeadm:node-proxier", "system:node-proxier", &account(KUBE_PROXY)),
        service_account(ADMIN),
        binding(ADMIN, "cluster-admin", &account(ADMIN)),
    ])
}

fn service_account(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": "kube-system", "name": name}})
}

fn binding(name: &str, role: &str, subject: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject]
    })
}
