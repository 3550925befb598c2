//! What is to be done about one entry, given its content and the object as the cloud has it now.

use serde_json::Value;

use super::fate::{Fate, Reason};
use super::request::{self, Request};
use crate::entry::{Entry, What};
use crate::owned::{is_terminal, laid_over};

/// What is to be done about an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Nothing is to be sent.
    Settled(Fate),
    /// This is to be sent; then it is settled, as this. `more`: then the object is to be looked at again, for there is a
    /// second request to make.
    Send {
        /// The request.
        request: Request,
        /// What has become of the entry then.
        fate: Fate,
        /// Whether this is the first of two.
        more: bool,
    },
}

/// The cloud's object as far as an entry is concerned.
#[derive(Debug, Clone, PartialEq)]
pub enum Fresh {
    /// It is this.
    Found(Value),
    /// It is not there.
    Absent,
}

/// Decides. `told`: that the cloud has acknowledged the final status of this pod, and what became of it so; or that it
/// has an event of this name.
pub fn decide(entry: &Entry, local: &Value, fresh: &Fresh, told: Option<&Fate>) -> Decision {
    if let What::Event { .. } = entry.what {
        if told.is_some() {
            let request = request::event_again(&entry.id, local);
            return Decision::Send { request, fate: Fate::Merged, more: false };
        }
        let request = request::event(&entry.id, local);
        return Decision::Send { request, fate: Fate::Sent, more: false };
    }
    let Fresh::Found(fresh) = fresh else {
        return Decision::Settled(told.cloned().unwrap_or(Fate::Dropped(Reason::Gone)));
    };
    let metadata = |name: &str| {
        fresh
            .get("metadata")
            .and_then(|metadata| metadata.get(name))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    if *metadata("uid") != *entry.id.uid {
        return Decision::Settled(told.cloned().unwrap_or(Fate::Dropped(Reason::Replaced)));
    }
    let is_pod = entry.id.resource.resource() == "pods";
    if is_pod && entry.what == What::State && is_terminal(fresh) && !is_terminal(local) {
        return Decision::Settled(Fate::Dropped(Reason::EndedInCloud));
    }
    let unchanged = metadata("resourceVersion") == entry.base.rv.to_string();
    let fate = if unchanged { Fate::Sent } else { Fate::Merged };
    let is_finished = matches!(entry.what, What::Finished { .. });
    if !(is_finished && told.is_some())
        && let Some(request) = request::patch(&entry.id, fresh, &laid_over(entry, local, fresh))
    {
        return Decision::Send { request, fate, more: is_finished };
    }
    if is_finished {
        return Decision::Send { request: request::delete(&entry.id), fate, more: false };
    }
    Decision::Settled(Fate::Known)
}
