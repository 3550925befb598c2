//! What kubelet would be answered at a cold boot without the cloud: asked of the view, of the tokens and of the store as if
//! the cloud were gone (`edgekeep doctor`).

use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use node::doctor::ask::Bound;
use node::doctor::{self, Area, Boot, Finding, Gravity, examine};
use serde_json::{Value, json};
use view::{Answer, Key, Object, ResourceId};
use wire::request::GetOptions;
use wire::{ListOptions, Request, Verb};

use super::answer::{is_kept, is_plain};
use super::tokens::For;
use super::{Reads, Who, json};
use crate::store::Store;
use crate::tls;

impl Reads {
    /// Goes through all that kubelet would ask. Takes some milliseconds, more on a node with thousands of services.
    pub fn boot(self: &Arc<Self>) -> Boot {
        let now = tls::since_1970(SystemTime::now()).as_secs();
        let mut boot = examine(&self.node, now, &mut |ask| self.would_answer(ask), &sha256);
        boot.findings.extend(not_stored(&self.store));
        boot
    }

    fn would_answer(self: &Arc<Self>, ask: &doctor::Ask) -> doctor::Answer {
        let answer = match ask {
            doctor::Ask::Token(bound) => self.would_give(bound).map(doctor::Answer::Known),
            ask => self.would_show(ask),
        };
        answer.unwrap_or(doctor::Answer::Unknown)
    }

    fn would_give(&self, bound: &Bound) -> Option<Value> {
        let of = For {
            namespace: bound.namespace.clone(),
            account: bound.account.clone(),
            pod: (bound.pod.clone(), bound.uid.clone()),
            seconds: bound.seconds.unwrap_or(0),
            audiences: bound.audiences.clone(),
        };
        let (encoding, bytes) = self.tokens.find(&of)?;
        json::of(&bytes, encoding)
    }

    fn would_show(self: &Arc<Self>, ask: &doctor::Ask) -> Option<doctor::Answer> {
        let about = Request::parse(ask.method(), &ask.target()).ok()?;
        let asked = about.resource.as_ref()?;
        let resource = ResourceId::new(&asked.group, &asked.version, &asked.resource, &asked.namespace);
        if !is_kept(&resource) || !is_plain(&about, asked, &resource) {
            return None;
        }
        let who = Who::node()?;
        // What has just been asked of the cloud is answered as if it were gone: from what is known.
        let as_kubelet = self.ask_as(&who, &resource, true);
        let answer = match about.verb {
            Verb::Get => {
                let key = Key::new(&asked.namespace, &asked.name);
                self.with(|view| view.get(as_kubelet, &key, &GetOptions::default()))
            }
            _ => {
                let options = ListOptions::of(&about).ok()?;
                self.with(|view| view.list(as_kubelet, &asked.namespace, &options))
            }
        };
        let whole = ask.needs_content();
        match answer {
            Answer::Object { object, .. } => self.read(&resource, &object, whole).map(doctor::Answer::Known),
            Answer::List(listing) => {
                let items = listing.objects.iter().map(|object| self.read(&resource, object, whole));
                let items: Option<Vec<Value>> = items.collect();
                items.map(|items| doctor::Answer::Known(json!({ "items": items })))
            }
            Answer::Refuse(status) if status.code == 404 => Some(doctor::Answer::Absent),
            _ => None,
        }
    }

    /// An object, if its bytes can be had; null unless what is in it matters.
    fn read(&self, resource: &ResourceId, object: &Object, whole: bool) -> Option<Value> {
        let bytes = self.bytes(resource, object)?;
        if whole { json::of(&bytes, object.encoding) } else { Some(Value::Null) }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().first_chunk().copied().unwrap_or_default()
}

/// What is known now and would be forgotten.
fn not_stored(store: &Store) -> impl Iterator<Item = Finding> {
    let logs = ["keep", "cache"].into_iter().zip(store.standing());
    logs.filter_map(|(name, standing)| {
        let why = format!("{}: what the hub has learned since is gone after a reboot", standing.failing?);
        let finding = Finding::new(Area::Disk, Gravity::Missing, format!("the hub's log {name}"), why);
        Some(finding.to_do("make space on its disk, then run `systemctl restart edgekeep-hub.service`"))
    })
}
