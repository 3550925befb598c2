//! A node that would survive a reboot with the link cut: adopted by the real program, with a hub that is played by what
//! it would answer kubelet. Then one thing after another can be broken.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, thread};

use node::doctor::{Answer, Ask, examine};
use serde_json::{Value, json};

use crate::kubeadm::{Cluster, kubeadm};
use crate::support::Node;

pub const PODS: &str = "/api/v1/pods?fieldSelector=spec.nodeName%3Dedge-1&resourceVersion=0";
pub const NODE: &str = "/api/v1/nodes?fieldSelector=metadata.name%3Dedge-1&resourceVersion=0";
const CONF: &str = r#"{"cniVersion":"1.0.0","name":"cbr0","plugins":[
    {"type":"bridge","bridge":"cni0","ipam":{"type":"host-local","ranges":[[{"subnet":"10.244.1.0/24"}]]}},
    {"type":"portmap","capabilities":{"portMappings":true}}]}"#;
const KUBELET: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nauthentication:\n  x509:\n    \
    clientCAFile: /etc/kubernetes/pki/ca.crt\nstaticPodPath: /etc/kubernetes/manifests\n";
const MOUNTS: &str = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
    22 21 0:20 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=806M\n\
    23 21 0:21 / /proc rw - proc proc rw\n";
/// The units of a systemd that starts what a node needs.
const WANTS: &str = "etc/systemd/system/multi-user.target.wants";

/// How the hub behaves.
#[derive(Clone, Copy, PartialEq)]
pub enum Hub {
    /// It says what it knows.
    Answers,
    /// Nobody listens.
    Silent,
    /// It is of another time, and says this.
    Says(&'static str),
}

/// The node, and what its hub knows by how kubelet asks it.
pub struct ColdBoot {
    pub node: Node,
    pub known: BTreeMap<String, Value>,
    pub hub: Hub,
}

impl ColdBoot {
    /// One that survives.
    pub fn new() -> ColdBoot {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        // Short: the path of a socket may have no more than a hundred bytes.
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let node = kubeadm(&format!("doctor-{number}"), &Cluster::new());
        let extra = "KUBELET_EXTRA_ARGS=--config=/var/lib/kubelet/config.yaml \
                     --container-runtime-endpoint=unix:///run/containerd/containerd.sock\n";
        node.write("etc/default/kubelet", extra);
        node.write("var/lib/kubelet/config.yaml", KUBELET);
        node.write("usr/bin/kubelet", "kubelet");
        node.write("etc/kubernetes/manifests/.keep", "");
        node.write("var/lib/containerd/.keep", "");
        node.write("proc/self/mountinfo", MOUNTS);
        for unit in ["containerd.service", "edgekeep-hub.service", "edgekeep-hub.socket"] {
            node.write(&format!("usr/lib/systemd/system/{unit}"), "[Unit]\nDescription=x\n");
        }
        for unit in ["containerd.service", "kubelet.service"] {
            fs::create_dir_all(node.path(WANTS)).unwrap();
            symlink(format!("/usr/lib/systemd/system/{unit}"), node.path(WANTS).join(unit)).unwrap();
        }
        for plugin in ["bridge", "portmap", "host-local"] {
            node.write(&format!("opt/cni/bin/{plugin}"), plugin);
        }
        node.write("usr/libexec/edgekeep/edgekeep-ipam", "edgekeep 1");
        node.write("etc/cni/net.d/10-bridge.conflist", CONF);
        for (pod, address) in [("web-0", "10.244.1.5"), ("disk-0", "10.244.1.6")] {
            node.write(&format!("var/lib/cni/networks/cbr0/{address}"), &format!("c-{pod}\r\neth0"));
            let args = format!(r#"[["K8S_POD_NAMESPACE","shop"],["K8S_POD_NAME","{pod}"]]"#);
            let result = format!(r#"{{"kind":"cniCacheV1","cniArgs":{args}}}"#);
            node.write(&format!("var/lib/cni/results/cbr0-c-{pod}-eth0"), &result);
        }
        for adopt in ["adopt cni", "adopt kubelet"] {
            let (code, said) = node.say(adopt);
            assert_eq!(code, 0, "{said}");
        }
        ColdBoot { node, known: known(), hub: Hub::Answers }
    }

    /// The hub no longer knows what is asked so.
    pub fn forget(&mut self, target: &str) {
        assert!(self.known.remove(target).is_some(), "{target} was not known");
    }

    /// Something stands elsewhere in what the hub shows.
    pub fn show(&mut self, target: &str, pointer: &str, value: Value) {
        *self.known.get_mut(target).unwrap().pointer_mut(pointer).unwrap() = value;
    }

    pub fn remove(&self, path: &str) {
        let path = self.node.path(path);
        if path.is_dir() { fs::remove_dir_all(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
    }

    /// Another file system is mounted.
    pub fn mount(&self, line: &str) {
        let mounts = self.node.read("proc/self/mountinfo");
        self.node.write("proc/self/mountinfo", &format!("{mounts}{line}\n"));
    }

    /// A unit is kept from starting.
    pub fn mask(&self, unit: &str) {
        symlink("/dev/null", self.node.path("etc/systemd/system").join(unit)).unwrap();
        // Below a root of its own there is no such device: an empty file says the same.
        self.node.write("dev/null", "");
    }

    /// The exit code and what was said.
    pub fn doctor(&self, words: &[&str]) -> (i32, String) {
        let socket = self.node.path("run/edgekeep/hub/admin.sock");
        let _ = fs::remove_file(&socket);
        let answer = match self.hub {
            Hub::Answers => Some(format!("HTTP/1.0 200 OK\r\n\r\n{}", self.boot())),
            Hub::Says(answer) => Some(answer.to_owned()),
            Hub::Silent => None,
        };
        let served = answer.map(|answer| serve(&socket, answer));
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgekeep"));
        let Output { status, stdout, stderr } =
            command.arg("doctor").args(words).arg("--root").arg(&self.node.0).output().unwrap();
        if let Some(served) = served {
            served.join().unwrap();
        }
        (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    fn boot(&self) -> Value {
        let mut answer = |ask: &Ask| match self.known.get(&ask.target()) {
            Some(known) => Answer::Known(known.clone()),
            None => Answer::Unknown,
        };
        examine("edge-1", 1_795_526_158, &mut answer, &|_| [0xab; 32]).to_json()
    }
}

/// Answers one request.
fn serve(socket: &Path, answer: String) -> thread::JoinHandle<()> {
    fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut chunk) = (Vec::new(), [0; 512]);
        while !request.ends_with(b"\r\n\r\n") {
            let read = stream.read(&mut chunk).unwrap();
            assert!(read > 0, "the request ends early");
            request.extend_from_slice(&chunk[..read]);
        }
        assert!(request.starts_with(b"GET /boot HTTP/1.0\r\n"));
        stream.write_all(answer.as_bytes()).unwrap();
    })
}

/// How one object of the namespace is asked for by name.
pub fn named(resource: &str, name: &str) -> String {
    format!("/api/v1/namespaces/shop/{resource}?fieldSelector=metadata.name%3D{name}&resourceVersion=0")
}

/// The attachment of the one volume.
pub fn attachment() -> String {
    format!("/apis/storage.k8s.io/v1/volumeattachments/csi-{}", "ab".repeat(32))
}

fn known() -> BTreeMap<String, Value> {
    let one = json!({ "items": [{ "metadata": { "name": "x" } }] });
    let container = |image: &str| json!([{ "name": "c", "image": image, "imagePullPolicy": "IfNotPresent" }]);
    let for_ever = json!([{ "operator": "Exists" }]);
    let pods = json!({ "items": [
        {
            "metadata": { "namespace": "shop", "name": "web-0", "uid": "u1" },
            "spec": {
                "serviceAccountName": "web",
                "tolerations": for_ever,
                "imagePullSecrets": [{ "name": "pull" }],
                "containers": container("web:1"),
                "volumes": [
                    { "name": "s", "secret": { "secretName": "db" } },
                    { "name": "m", "configMap": { "name": "extra", "optional": true } },
                    { "name": "t", "projected": { "sources": [
                        { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
                        { "configMap": { "name": "kube-root-ca.crt" } },
                    ] } },
                ],
            },
            "status": { "phase": "Running", "podIP": "10.244.1.5" },
        },
        {
            "metadata": { "namespace": "shop", "name": "disk-0", "uid": "u2" },
            "spec": {
                "containers": container("db:1"),
                "tolerations": for_ever,
                "volumes": [{ "name": "d", "persistentVolumeClaim": { "claimName": "data" } }],
            },
            "status": { "phase": "Running", "podIP": "10.244.1.6" },
        },
        {
            "metadata": { "namespace": "kube-system", "name": "proxy-x", "uid": "u3" },
            "spec": { "hostNetwork": true, "containers": container("proxy:1"), "tolerations": for_ever },
            "status": { "phase": "Running", "podIP": "192.168.0.2" },
        },
    ] });
    let images =
        ["web", "db", "proxy"].map(|name| json!({ "names": [format!("docker.io/library/{name}:1")] }));
    let node = json!({ "items": [{ "metadata": { "name": "edge-1", "uid": "un" }, "status": { "images": images } }] });
    let volume =
        json!({ "metadata": { "name": "pv" }, "spec": { "csi": { "driver": "d", "volumeHandle": "h" } } });
    let token = json!({ "status": { "token": "x", "expirationTimestamp": "2027-01-01T00:00:00Z" } });
    let all = [
        (NODE.to_owned(), node),
        (PODS.to_owned(), pods),
        ("/api/v1/services?resourceVersion=0".to_owned(), json!({ "items": [] })),
        ("/apis/node.k8s.io/v1/runtimeclasses?resourceVersion=0".to_owned(), json!({ "items": [] })),
        ("/apis/storage.k8s.io/v1/csidrivers?resourceVersion=0".to_owned(), json!({ "items": [] })),
        (
            "/apis/storage.k8s.io/v1/csinodes/edge-1".to_owned(),
            json!({ "metadata": { "ownerReferences": [{ "uid": "un" }] } }),
        ),
        (named("secrets", "pull"), one.clone()),
        (named("secrets", "db"), one.clone()),
        (named("configmaps", "extra"), one.clone()),
        (named("configmaps", "kube-root-ca.crt"), one.clone()),
        ("/api/v1/namespaces/shop/serviceaccounts/web/token".to_owned(), token),
        (
            "/api/v1/namespaces/shop/persistentvolumeclaims/data".to_owned(),
            json!({ "spec": { "volumeName": "pv" } }),
        ),
        ("/api/v1/persistentvolumes/pv".to_owned(), volume),
        (attachment(), json!({})),
    ];
    all.into_iter().collect()
}
