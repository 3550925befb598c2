//! What is to be told to the bindings about their pods.

use std::collections::BTreeMap;
use std::time::Duration;

use lease::inspect::Row;
use lease::{Binding, Identity, State, Why, Word};

use super::Pods;

/// For how long a pod must have been missed, all the time, until it counts as deleted. A runtime may have made a pod's sandbox before the
/// hub hears of the pod, as where kubelet asks the cloud directly; a watch of a slow link lags.
const MISSED: Duration = Duration::from_secs(60);

/// Finds out of which bindings the pods are deleted, and of which they are to come back.
///
/// Only what is certain is said: a pod is deleted where the API server, followed for a minute and more, has had no pod of its
/// name all that time. Of static pods it says nothing: their object may never have been made.
#[derive(Debug)]
pub struct Judge {
    node: String,
    /// Since when the pods of bindings are missed; by network, interface and container of the binding, and its pod's identity.
    missed: BTreeMap<(String, String, String, Identity), Duration>,
}

impl Judge {
    /// For the node of this name.
    pub fn new(node: &str) -> Judge {
        Judge { node: node.to_owned(), missed: BTreeMap::new() }
    }

    /// The pods cannot be told now: what was missed so far may have been there meanwhile.
    pub fn is_blind(&mut self) {
        self.missed.clear();
    }

    /// Whether something is being waited for.
    pub fn waits(&self) -> bool {
        !self.missed.is_empty()
    }

    /// What is to be told to the bindings of all networks. The rows were read before the pods were; the pods are all of this node, as
    /// the API server has them at this moment. Time is that since any fixed moment.
    pub fn words<'a>(
        &mut self,
        rows: impl IntoIterator<Item = &'a Row> + Clone,
        pods: &Pods,
        now: Duration,
    ) -> Vec<(String, Binding, Word)> {
        let mut before = std::mem::take(&mut self.missed);
        let mut words = Vec::new();
        for row in rows.clone() {
            let binding = &row.binding;
            let Identity::Pod { namespace, name, uid } = &binding.identity else { continue };
            match pods.get(&(namespace.clone(), name.clone())) {
                // One of the same name comes home to the binding, whichever uid it has.
                Some(pod) if !pod.over && may_be_awaited(binding) && is_alone(row, rows.clone()) => {
                    words.push((row.network.clone(), binding.clone(), Word::Exists));
                }
                Some(_) => {}
                None if self.may_be_static(name, uid) || binding.state == State::Gone => {}
                None => {
                    let key = (
                        row.network.clone(),
                        binding.ifname.clone(),
                        binding.container.clone(),
                        binding.identity.clone(),
                    );
                    let mut since = before.remove(&key).unwrap_or(now);
                    if now.saturating_sub(since) >= MISSED {
                        words.push((row.network.clone(), binding.clone(), Word::Deleted));
                        // Whose sandbox runs on is spoken of again when it may have ended.
                        since = now;
                    }
                    self.missed.insert(key, since);
                }
            }
        }
        words
    }

    /// kubelet names a static pod after the node, and gives it a uid that is a hash and not a UUID as the API server's are
    /// (`pkg/kubelet/config/common.go`); the runtime may have sent none.
    fn may_be_static(&self, name: &str, uid: &str) -> bool {
        let of_node = name.strip_suffix(&*self.node).is_some_and(|rest| rest.ends_with('-'));
        of_node || !(uid.is_empty() || is_uuid(uid))
    }
}

/// Whether a word that the pod exists changes anything.
fn may_be_awaited(binding: &Binding) -> bool {
    match binding.state {
        State::Parked => binding.why != Why::PodAwaited,
        State::Gone => binding.why == Why::PodDeleted,
        State::Live => false,
    }
}

/// Whether the pod's interface has no other binding to come home to.
fn is_alone<'a>(row: &Row, rows: impl IntoIterator<Item = &'a Row>) -> bool {
    let other = |one: &&Row| {
        one.network == row.network
            && one.binding.pod() == row.binding.pod()
            && one.binding.ifname == row.binding.ifname
            && one.binding.state != State::Gone
            && one.binding != row.binding
    };
    !rows.into_iter().any(|one| other(&one))
}

fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}
