//! Kubeconfigs as kubeadm, k3s, cloud providers and hands write them.

use super::*;
use testkit::power_cut::PowerCutFs;

/// What kubeadm leaves after the first rotation.
const KUBEADM: &str = "\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Y2E=
    server: https://10.0.0.1:6443
  name: default-cluster
contexts:
- context:
    cluster: default-cluster
    namespace: default
    user: default-auth
  name: default-context
current-context: default-context
kind: Config
preferences: {}
users:
- name: default-auth
  user:
    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem
    client-key: /var/lib/kubelet/pki/kubelet-client-current.pem
";

fn parse(text: &str) -> Result<Access, String> {
    Access::parse(text, Path::new("/etc/kubernetes"))
}

/// A kubeconfig with this cluster and this user.
fn with(cluster: &str, user: &str) -> Result<Access, String> {
    parse(&format!(
        "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {cluster}}}]\nusers: [{{name: u, user: {user}}}]\n"
    ))
}

const CLUSTER: &str = "{server: 'https://h'}";

fn refused(result: Result<Access, String>, why: &str) {
    let error = result.unwrap_err();
    assert!(error.contains(why), "{why} in {error}");
}

#[test]
fn kubeadms_is_read() {
    let pem = || Source::File("/var/lib/kubelet/pki/kubelet-client-current.pem".into());
    let access = parse(KUBEADM).unwrap();
    assert_eq!(
        access,
        Access {
            server: "https://10.0.0.1:6443".into(),
            server_name: None,
            authority: Some(Source::Inline(b"ca".to_vec())),
            insecure: false,
            proxy: None,
            credential: Credential::Certificate { cert: pem(), key: pem() },
        }
    );
}

#[test]
fn json_is_read_too() {
    let text = r#"{"kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"k","user":"u"}}],
        "clusters":[{"name":"k","cluster":{"server":"https://h:1/"}}],"users":[{"name":"u","user":{"token":"t"}}]}"#;
    let access = parse(text).unwrap();
    assert_eq!((access.server.as_str(), access.credential), ("https://h:1", Credential::Token("t".into())));
}

#[test]
fn data_goes_before_a_path_and_paths_are_relative_to_the_file() {
    let access = with(
        "{server: 'https://h', certificate-authority: pki/ca.crt, tls-server-name: kubernetes, proxy-url: 'http://p'}",
        "{client-certificate: a.crt, client-certificate-data: \"Y2Vy\\n dA==\", client-key: ../k.key}",
    )
    .unwrap();
    assert_eq!(access.authority, Some(Source::File("/etc/kubernetes/pki/ca.crt".into())));
    let (cert, key) = (Source::Inline(b"cert".to_vec()), Source::File("/etc/kubernetes/../k.key".into()));
    assert_eq!(access.credential, Credential::Certificate { cert, key });
    assert_eq!(access.server_name.as_deref(), Some("kubernetes"));
    assert_eq!(access.proxy.as_deref(), Some("http://p"));
}

#[test]
fn a_certificate_goes_before_a_token_and_a_token_file_before_a_token() {
    let both = with(CLUSTER, "{client-certificate: a, client-key: b, token: t}").unwrap();
    assert!(matches!(both.credential, Credential::Certificate { .. }));
    let file = with(CLUSTER, "{token: t, tokenFile: /run/t}").unwrap();
    assert_eq!(file.credential, Credential::TokenFile("/run/t".into()));
    assert_eq!(with(CLUSTER, "{}").unwrap().credential, Credential::None);
    assert_eq!(with(CLUSTER, "~").unwrap().credential, Credential::None);
}

#[test]
fn a_way_to_come_that_cannot_be_gone_is_refused_by_name() {
    refused(with(CLUSTER, "{exec: {command: aws}}"), "line 4: a credential that a program makes (`exec`)");
    refused(with(CLUSTER, "{auth-provider: {name: gcp}}"), "auth-provider");
    refused(with(CLUSTER, "{username: a, password: b}"), "a user name and password");
    refused(with(CLUSTER, "{token: t, as: admin}"), "impersonation");
    refused(with(CLUSTER, "{client-certificate: a}"), "a client certificate without a client key");
    refused(with(CLUSTER, "{client-key-data: YQ==}"), "a client key without a client certificate");
    refused(with(CLUSTER, "{client-key-data: '%', client-certificate: a}"), "client-key-data is not base64");
}

#[test]
fn what_is_missing_is_named() {
    refused(parse(""), "no current-context");
    refused(parse("kind: Pod\n"), "it is a Pod");
    refused(parse("current-context: c\n"), "the context c");
    refused(
        parse("current-context: c\ncontexts: [{name: c, context: {}}]\n"),
        "the context c has no cluster",
    );
    refused(parse(&KUBEADM.replace("name: default-cluster", "name: other")), "the cluster default-cluster");
    refused(parse(&KUBEADM.replace("- name: default-auth", "- name: other")), "the user default-auth");
    refused(with("{server: ''}", "{}"), "the cluster k has no server");
    for server in ["10.0.0.1:6443", "ftp://h", "https://", "https://a@b", "https:///x"] {
        refused(with(&format!("{{server: '{server}'}}"), "{}"), "https://host:port");
    }
    let twice = format!("{KUBEADM}- name: default-auth\n  user: {{}}\n");
    refused(parse(&twice), "a second user is called default-auth");
}

#[test]
fn neither_key_nor_token_shows_in_a_log() {
    let shown = format!(
        "{:?}{:?}",
        with(CLUSTER, "{token: hush}").unwrap(),
        with(CLUSTER, "{client-certificate: a, client-key-data: aHVzaA==}").unwrap()
    );
    assert!(!shown.contains("hush") && !shown.contains("104"), "{shown}");
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let fs = PowerCutFs::new();
    refused(Access::load(&fs, Path::new("/k.conf")), "cannot read /k.conf");
    fs.write("/k.conf", b"\xff").unwrap();
    refused(Access::load(&fs, Path::new("/k.conf")), "cannot use /k.conf: it is not UTF-8");
    fs.write("/k.conf", KUBEADM).unwrap();
    let access = Access::load(&fs, Path::new("/k.conf")).unwrap();
    assert_eq!(access.authority.unwrap().bytes(&fs).unwrap(), b"ca");
    let gone = Source::File("/gone".into()).bytes(&fs).unwrap_err();
    assert!(gone.contains("cannot read /gone"), "{gone}");
}
