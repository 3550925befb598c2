//! Distributions that start kubelet otherwise than kubeadm does: how they are known, and what to do there by hand.

/// A distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Its name.
    pub name: &'static str,
    /// Files of which each is there only where it is installed.
    pub marks: &'static [&'static str],
    /// How kubelet is started there.
    pub how: &'static str,
    /// What to do by hand.
    pub by_hand: &'static str,
}

/// All that are known.
pub const LAYOUTS: [Layout; 4] = [
    Layout {
        name: "k3s",
        marks: &[
            "/etc/systemd/system/k3s.service",
            "/etc/systemd/system/k3s-agent.service",
            "/usr/lib/systemd/system/k3s.service",
            "/usr/lib/systemd/system/k3s-agent.service",
        ],
        how: "kubelet is a part of the k3s process, which writes kubelet's kubeconfig anew at every start",
        by_hand: "have k3s start kubelet with `kubelet-arg: [kubeconfig=/etc/edgekeep/kubelet.conf, \
                  rotate-certificates=false]` in /etc/rancher/k3s/config.yaml, and name \
                  /var/lib/rancher/k3s/agent/kubelet.kubeconfig in /etc/edgekeep/hub.yaml",
    },
    Layout {
        name: "RKE2",
        marks: &[
            "/usr/local/lib/systemd/system/rke2-agent.service",
            "/usr/local/lib/systemd/system/rke2-server.service",
            "/usr/lib/systemd/system/rke2-agent.service",
            "/usr/lib/systemd/system/rke2-server.service",
            "/etc/systemd/system/rke2-agent.service",
            "/etc/systemd/system/rke2-server.service",
        ],
        how: "kubelet is started by RKE2, which writes kubelet's kubeconfig anew at every start",
        by_hand: "have RKE2 start kubelet with `kubelet-arg: [kubeconfig=/etc/edgekeep/kubelet.conf, \
                  rotate-certificates=false]` in /etc/rancher/rke2/config.yaml, and name \
                  /var/lib/rancher/rke2/agent/kubelet.kubeconfig in /etc/edgekeep/hub.yaml",
    },
    Layout {
        name: "k0s",
        marks: &["/etc/systemd/system/k0sworker.service", "/etc/systemd/system/k0scontroller.service"],
        how: "kubelet is started by k0s, with arguments of its own",
        by_hand: "have k0s start kubelet with `--kubelet-extra-args=\"--kubeconfig=/etc/edgekeep/kubelet.conf \
                  --rotate-certificates=false\"` in its unit (k0s install worker … --force), and name \
                  /var/lib/k0s/kubelet.conf in /etc/edgekeep/hub.yaml",
    },
    Layout {
        name: "MicroK8s",
        marks: &["/var/snap/microk8s/current/args/kubelet"],
        how: "kubelet is a part of kubelite, and its arguments stand in /var/snap/microk8s/current/args/kubelet",
        by_hand: "put `--kubeconfig=/etc/edgekeep/kubelet.conf` and `--rotate-certificates=false` into \
                  /var/snap/microk8s/current/args/kubelet in place of the kubeconfig there, which is the one to name in \
                  /etc/edgekeep/hub.yaml",
    },
];
