//! A node as `kubeadm join` leaves it, with real certificates.

use std::os::unix::fs::symlink;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::support::Node;

/// kubelet's certificates.
pub const PKI: &str = "var/lib/kubelet/pki";
const UNIT: &str = "[Service]\nExecStart=/usr/bin/kubelet\n";
const KUBEADM: &str = "[Service]\n\
    Environment=\"KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
    --kubeconfig=/etc/kubernetes/kubelet.conf\"\nEnvironmentFile=-/etc/default/kubelet\nExecStart=\n\
    ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_EXTRA_ARGS\n";

/// An authority of a cluster.
pub struct Cluster(Issuer<'static, KeyPair>, String);

impl Cluster {
    pub fn new() -> Cluster {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "kubernetes");
        let pem = params.self_signed(&key).unwrap().pem();
        Cluster(Issuer::new(params, key), pem)
    }

    /// Certificate and key of a node, until this year.
    pub fn node(&self, name: &str, until: i32) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, format!("system:node:{name}"));
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.0).unwrap().pem() + &key.serialize_pem()
    }
}

/// A node that kubeadm made, whose certificate counts until 2100.
pub fn kubeadm(name: &str, cluster: &Cluster) -> Node {
    let node = Node::new(&format!("kubelet-{name}"));
    node.write("usr/lib/systemd/system/kubelet.service", UNIT);
    node.write("usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", KUBEADM);
    node.write("etc/default/kubelet", "KUBELET_EXTRA_ARGS=--v=2\n");
    node.write("etc/kubernetes/pki/ca.crt", &cluster.1);
    let link = format!("/{PKI}/kubelet-client-current.pem");
    let conf = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{cluster: k, user: u}}\nclusters:\n\
         - name: k\n  cluster:\n    server: https://10.0.0.1:6443\n    certificate-authority: pki/ca.crt\nusers:\n- name: u\n  \
         user:\n    client-certificate: {link}\n    client-key: {link}\n"
    );
    node.write("etc/kubernetes/kubelet.conf", &conf);
    node.write(&format!("{PKI}/kubelet-client-1.pem"), &cluster.node("edge-1", 2100));
    symlink("kubelet-client-1.pem", node.path(PKI).join("kubelet-client-current.pem")).unwrap();
    node
}
