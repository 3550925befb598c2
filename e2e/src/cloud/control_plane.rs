//! The command lines of the control plane's programs.

use crate::cloud::{Options, SERVICES};
use crate::programs::Programs;
use crate::wan::{API_PORT, CLOUD};

/// The API server's audit log, below the cloud's /var/lib.
pub const AUDIT_LOG: &str = "audit.log";
/// Each request, whoever sends it, is told of before it is handled and at its end; no bodies.
pub const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n";

/// etcd, for the cloud's own network namespace alone.
pub const ETCD: [&str; 6] = [
    "etcd",
    "--data-dir=/var/lib/etcd",
    "--listen-client-urls=http://127.0.0.1:2379",
    "--advertise-client-urls=http://127.0.0.1:2379",
    "--listen-peer-urls=http://127.0.0.1:2380",
    "--log-level=warn",
];

/// kube-apiserver as kubeadm starts it, with an audit log and tokens that are bound to pods, as is the default since
/// Kubernetes 1.21.
pub fn api_server(programs: &Programs, further: &[String]) -> Vec<String> {
    let pki = |name: &str| format!("/etc/kubernetes/pki/{name}");
    let flags = [
        ("advertise-address", CLOUD.to_string()),
        ("allow-privileged", "true".to_owned()),
        ("audit-log-path", format!("/var/lib/{AUDIT_LOG}")),
        ("audit-policy-file", "/etc/kubernetes/audit.yaml".to_owned()),
        ("authorization-mode", "Node,RBAC".to_owned()),
        ("client-ca-file", pki("ca.crt")),
        ("enable-admission-plugins", "NodeRestriction".to_owned()),
        ("enable-bootstrap-token-auth", "true".to_owned()),
        ("etcd-servers", "http://127.0.0.1:2379".to_owned()),
        ("feature-gates", "BoundServiceAccountTokenVolume=true".to_owned()),
        ("kubelet-client-certificate", pki("apiserver-kubelet-client.crt")),
        ("kubelet-client-key", pki("apiserver-kubelet-client.key")),
        ("kubelet-preferred-address-types", "InternalIP".to_owned()),
        ("proxy-client-cert-file", pki("front-proxy-client.crt")),
        ("proxy-client-key-file", pki("front-proxy-client.key")),
        ("requestheader-allowed-names", "front-proxy-client".to_owned()),
        ("requestheader-client-ca-file", pki("front-proxy-ca.crt")),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-".to_owned()),
        ("requestheader-group-headers", "X-Remote-Group".to_owned()),
        ("requestheader-username-headers", "X-Remote-User".to_owned()),
        ("secure-port", API_PORT.to_string()),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".to_owned()),
        ("service-account-key-file", pki("sa.crt")),
        ("service-account-signing-key-file", pki("sa.key")),
        ("service-cluster-ip-range", SERVICES.to_owned()),
        ("tls-cert-file", pki("apiserver.crt")),
        ("tls-private-key-file", pki("apiserver.key")),
    ];
    let mut words = words(programs, "kube-apiserver", &flags);
    words.extend(further.iter().cloned());
    words
}

/// kube-controller-manager as kubeadm starts it.
pub fn controller_manager(programs: &Programs, options: &Options) -> Vec<String> {
    let pki = |name: &str| format!("/etc/kubernetes/pki/{name}");
    let config = || "/etc/kubernetes/controller-manager.conf".to_owned();
    let flags = [
        ("authentication-kubeconfig", config()),
        ("authorization-kubeconfig", config()),
        ("bind-address", "127.0.0.1".to_owned()),
        ("client-ca-file", pki("ca.crt")),
        ("cluster-signing-cert-file", pki("ca.crt")),
        ("cluster-signing-duration", format!("{}s", options.signing.as_secs())),
        ("cluster-signing-key-file", pki("ca.key")),
        ("controllers", "*,bootstrapsigner,tokencleaner".to_owned()),
        ("feature-gates", "BoundServiceAccountTokenVolume=true".to_owned()),
        ("kubeconfig", config()),
        ("leader-elect", "false".to_owned()),
        ("requestheader-client-ca-file", pki("front-proxy-ca.crt")),
        ("root-ca-file", pki("ca.crt")),
        ("service-account-private-key-file", pki("sa.key")),
        ("use-service-account-credentials", "true".to_owned()),
    ];
    let mut words = words(programs, "kube-controller-manager", &flags);
    words.extend(options.controller_manager.iter().cloned());
    words
}

fn words(programs: &Programs, program: &str, flags: &[(&str, String)]) -> Vec<String> {
    let flags = flags.iter().map(|(flag, value)| format!("--{flag}={value}"));
    std::iter::once(programs.kubernetes(program)).chain(flags).collect()
}
