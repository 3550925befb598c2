//! The pods of the demo: what a small edge node runs, and the newcomers that compete with it.

use crate::cni_driver::Pod;
use crate::prng::Prng;

/// Deployments, two StatefulSets and two DaemonSets.
const RESIDENTS: [(&str, &str); 20] = [
    ("kube-system", "coredns-76f75df574-4kzvx"),
    ("kube-system", "coredns-76f75df574-tq9rl"),
    ("kube-system", "traefik-6d94bc8694-h2w7c"),
    ("logging", "fluent-bit-xk8vd"),
    ("monitoring", "power-meter-p5nzq"),
    ("data", "postgres-0"),
    ("data", "postgres-1"),
    ("data", "postgres-2"),
    ("data", "mosquitto-0"),
    ("shop", "frontend-7d9f8c6b5-2xgkt"),
    ("shop", "frontend-7d9f8c6b5-9vcjm"),
    ("shop", "frontend-7d9f8c6b5-rw4hb"),
    ("shop", "cart-5c8b7f9d66-lq6nd"),
    ("shop", "cart-5c8b7f9d66-z7tfx"),
    ("shop", "checkout-68f4d5b9c7-cm2ks"),
    ("shop", "checkout-68f4d5b9c7-wd8jp"),
    ("vision", "camera-84d6c9f7b-f5rht"),
    ("vision", "inference-59c7b8d4f6-kv9zl"),
    ("vision", "inference-59c7b8d4f6-n4xqs"),
    ("vision", "label-store-7b6f9d8c5-gt2wm"),
];

/// The pods that live on the node, in the order of their first start.
pub fn residents(prng: &mut Prng) -> Vec<Pod> {
    RESIDENTS
        .iter()
        .map(|&(namespace, name)| Pod { namespace: namespace.into(), name: name.into(), uid: prng.uid() })
        .collect()
}

/// `count` pods that the node has never seen.
pub fn newcomers(prng: &mut Prng, count: usize) -> Vec<Pod> {
    (0..count)
        .map(|_| Pod {
            namespace: "batch".into(),
            name: format!("import-29318400-{}", prng.pod_suffix()),
            uid: prng.uid(),
        })
        .collect()
}
