//! Callers whose reads the view answers, and under whose credential the hub asks for them.

use std::collections::HashMap;
use std::sync::Mutex;

use access::caller::{Caller, User};
use access::lend::Credential;
use hyper::header::HeaderValue;
use view::Identity;

use super::lock;

/// So many callers are remembered; the hub of a node has a few dozen.
const MOST: usize = 4096;

/// A caller who is known.
#[derive(Debug, Clone)]
pub struct Who {
    /// In the view.
    pub identity: Identity,
    /// Towards the cloud.
    pub credential: Credential,
    /// The caller's own credential, where it is that.
    pub authorization: Option<HeaderValue>,
    /// Tells callers with credentials of their own apart.
    pub drawn: u64,
}

impl Who {
    /// The identity of kubelet, and of users whose kubeconfig was handed over; `None` for all others: their own credential
    /// says who they are.
    #[must_use]
    pub fn lent(caller: &Caller, credential: Credential) -> Option<Who> {
        let identity = match caller {
            Caller::Kubelet => Identity::new("node"),
            Caller::Certified(user) => of_user(user),
            Caller::Operator(_) | Caller::Bearer | Caller::Anonymous => return None,
        };
        Some(Who { identity, credential, authorization: None, drawn: 0 })
    }

    /// kubelet.
    pub fn node() -> Option<Who> {
        Who::lent(&Caller::Kubelet, Credential::Node)
    }

    /// Whether this is kubelet.
    #[must_use]
    pub fn is_kubelet(&self) -> bool {
        self.credential == Credential::Node
    }
}

/// Name and groups, which can hold anything but what separates them here.
fn of_user(user: &User) -> Identity {
    let groups: Vec<String> = user.groups.iter().map(|group| format!("{group:?}")).collect();
    Identity::new(&format!("user {:?} {}", user.name, groups.join(" ")))
}

/// The latest credential of each identity.
#[derive(Default)]
pub struct Callers(Mutex<HashMap<Identity, Who>>);

impl Callers {
    /// Somebody called; whether with another credential than the last time.
    pub fn called(&self, who: &Who) -> bool {
        let mut known = lock(&self.0);
        let before = known.get(&who.identity).map(|before| (before.credential, before.authorization.clone()));
        if before.as_ref() == Some(&(who.credential, who.authorization.clone())) {
            return false;
        }
        if known.len() < MOST || before.is_some() {
            known.insert(who.identity.clone(), who.clone());
        }
        before.is_some()
    }

    /// With what the hub can ask for somebody. kubelet's is there before it calls.
    pub fn find(&self, identity: &Identity) -> Option<Who> {
        if let Some(who) = lock(&self.0).get(identity) {
            return Some(who.clone());
        }
        Who::node().filter(|node| node.identity == *identity)
    }
}
