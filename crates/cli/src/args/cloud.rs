//! `edgekeep cloud`.

use clap::{Args, Subcommand, ValueEnum};

/// What the cluster needs.
#[derive(Subcommand)]
pub enum Cloud {
    /// Print the objects that a cluster needs: so that an outage deletes no pods, and so that the hub may do its work.
    ///
    /// Made to be read, then piped to `kubectl apply -f -`. Reads and changes nothing itself; can be run anywhere.
    Manifests(Manifests),
}

/// Printing what the cluster needs.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct Manifests {
    /// The label of the nodes that may be cut off: pods that can only run on such nodes outlast an outage.
    #[arg(long, value_name = "KEY=VALUE", default_value = "edgekeep.io/edge=true")]
    pub node_label: String,
    /// The tolerationSeconds that the API server gives pods: its --default-unreachable-toleration-seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub default_seconds: u32,
    /// The version of the policy's API: v1 since Kubernetes 1.36, v1beta1 since 1.34 where it was turned on.
    #[arg(long, value_enum, default_value_t = PolicyVersion::V1)]
    pub policy_version: PolicyVersion,
    /// For a cluster without MutatingAdmissionPolicy: no policy, but the flags of kube-apiserver that do the same.
    #[arg(long)]
    pub without_policy: bool,
}

/// The version of the policy's API.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PolicyVersion {
    /// `admissionregistration.k8s.io/v1`.
    V1,
    /// `admissionregistration.k8s.io/v1beta1`.
    V1beta1,
}
