//! Whether the bindings of this node and the API server agree. Pure: what both say comes in, with the time; what is to be told to the
//! bindings and to the operator comes out.
//!
//! What counts is what the API server says while it is followed. What is only remembered of it may be older than a binding.

mod differences;
mod judge;

use std::collections::BTreeMap;
use std::net::IpAddr;

use cni::range::Cidr;
use serde_json::Value;

use crate::doctor::outage::Limits;
use crate::doctor::pod;

pub use differences::{Differences, differences};
pub use judge::Judge;

/// Namespace and name.
pub type Name = (String, String);

/// The pods of this node as the API server has them: all of them.
pub type Pods = BTreeMap<Name, Pod>;

/// What matters here of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its uid.
    pub uid: String,
    /// Whether it is at its end, or being deleted.
    pub over: bool,
    /// Its addresses by its status; none on the host's network.
    pub addresses: Vec<IpAddr>,
    /// For how long it outlasts an outage.
    pub limits: Limits,
}

impl Pod {
    /// What a pod object says.
    pub fn of(object: &Value) -> (Name, Pod) {
        let pod = pod::Pod(object);
        let (uid, over, addresses) = (pod.uid().to_owned(), pod.is_over(), pod.addresses());
        let name = (pod.namespace().to_owned(), pod.name().to_owned());
        (name, Pod { uid, over, addresses, limits: Limits::of(pod) })
    }
}

/// What matters here of this node's Node object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its uid.
    pub uid: String,
    /// The ranges that the cluster has given it for pods.
    pub pod_cidrs: Vec<Cidr>,
}

impl Node {
    /// What a Node object says.
    pub fn of(object: &Value) -> Node {
        let mut texts: Vec<&str> = pod::each(object, "/spec/podCIDRs").filter_map(Value::as_str).collect();
        if texts.is_empty() {
            texts.push(pod::text(object, "/spec/podCIDR"));
        }
        let pod_cidrs = texts.into_iter().filter_map(Cidr::parse).collect();
        Node { uid: pod::text(object, "/metadata/uid").to_owned(), pod_cidrs }
    }
}

#[cfg(test)]
mod tests;
