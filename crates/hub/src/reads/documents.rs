//! What the API server says of itself (discovery, version, schemas): the last that it said, once it cannot be asked.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hyper::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};
use wire::Status;

use super::{Reads, Who, lock};
use crate::body::Body;
use crate::cloud::Trouble;
use crate::link::State;
use crate::proxy::headers;
use crate::refuse;
use crate::store::OWN;

/// Behind [`OWN`], begins the keys of these records.
const DOCUMENT: u8 = b'd';
/// Larger documents are not kept, not more of them, not more in all, and no more readers of each.
const MOST_BYTES: usize = 6 << 20;
const MOST: usize = 256;
const MOST_IN_ALL: usize = 32 << 20;
const MOST_READERS: usize = 64;

/// What these paths say is the same for all who may ask.
fn is_document(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    matches!(first, "version" | "api" | "apis" | "openapi" | "openid" | ".well-known")
}

fn is_health(path: &str) -> bool {
    matches!(path, "/healthz" | "/livez" | "/readyz")
}

/// What is kept of a document in memory; the rest lies in the log.
struct Known {
    /// A digest of type and body.
    print: u64,
    bytes: usize,
    readers: BTreeSet<String>,
}

/// The documents that are kept.
#[derive(Default)]
pub struct Documents {
    known: Mutex<HashMap<Vec<u8>, Known>>,
    prints: RandomState,
}

/// What stands in a query does not change a document: a time-out, or the digest that the client expects.
fn key(path: &str, accept: &str) -> Vec<u8> {
    [&[OWN, DOCUMENT][..], path.as_bytes(), b"\0", accept.as_bytes()].concat()
}

/// A record: a line of JSON, then the body.
fn record(readers: &BTreeSet<String>, content_type: &str, body: &[u8]) -> Vec<u8> {
    [json!({"readers": readers, "type": content_type}).to_string().as_bytes(), b"\n", body].concat()
}

fn parse(record: &[u8]) -> Option<(BTreeSet<String>, String, &[u8])> {
    let end = record.iter().position(|byte| *byte == b'\n')?;
    let (head, body) = record.split_at_checked(end)?;
    let head: Value = serde_json::from_slice(head).ok()?;
    let readers =
        head.get("readers")?.as_array()?.iter().filter_map(|one| Some(one.as_str()?.to_owned())).collect();
    Some((readers, head.get("type")?.as_str()?.to_owned(), body.get(1..)?))
}

impl Documents {
    /// Takes over a record that was stored; others are not looked at.
    pub fn load(&self, key: &[u8], value: &[u8]) {
        if key.strip_prefix(&[OWN, DOCUMENT]).is_none() {
            return;
        }
        if let Some((readers, content_type, body)) = parse(value) {
            let print = self.prints.hash_one((content_type.as_str(), body));
            lock(&self.known).insert(key.to_vec(), Known { print, bytes: body.len(), readers });
        }
    }

    /// What is to be stored of a document that `who` was shown, if it is news.
    fn learn(&self, key: &[u8], who: &Who, content_type: &str, body: &[u8]) -> Option<Vec<u8>> {
        if body.len() > MOST_BYTES || key.len() > durable::objects::MAX_KEY {
            return None;
        }
        let print = self.prints.hash_one((content_type, body));
        let mut documents = lock(&self.known);
        let others = documents.iter().filter(|(other, _)| *other != key).map(|(_, known)| known.bytes);
        let room = others.sum::<usize>() + body.len() <= MOST_IN_ALL;
        if !room || (documents.len() >= MOST && !documents.contains_key(key)) {
            return None;
        }
        let known = documents.entry(key.to_vec()).or_insert_with(|| Known {
            print: 0,
            bytes: 0,
            readers: BTreeSet::new(),
        });
        let reads =
            known.readers.len() < MOST_READERS && known.readers.insert(who.identity.as_str().to_owned());
        let news = reads || known.print != print;
        (known.print, known.bytes) = (print, body.len());
        news.then(|| record(&known.readers, content_type, body))
    }
}

impl Reads {
    /// Answers a GET that is about no resource, if it is one that is kept.
    pub async fn serve_document(
        self: &Arc<Self>,
        who: &Who,
        about: &wire::Request,
        method: &Method,
        target: &str,
        brought: &HeaderMap,
    ) -> Option<Response<Body>> {
        if about.resource.is_some() || method != Method::GET {
            return None;
        }
        let online = self.cloud.judge().state() == State::Up;
        if !online && is_health(&about.path) {
            // Of the hub itself: clients drop all their connections when this fails.
            return Some(Response::new(Body::from(b"ok".to_vec())));
        }
        if !is_document(&about.path) {
            return None;
        }
        let accept = headers::text(brought, ACCEPT);
        let key = key(&about.path, accept);
        let mut headers = headers::onward(brought.clone(), who.credential, false);
        headers.remove(CONTENT_LENGTH);
        let trouble = match self.ask_whole(who, target, headers).await {
            Ok(whole) => {
                let content_type = whole.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
                if let (StatusCode::OK, Some(content_type)) = (whole.status, content_type)
                    && let Some(body) = whole.plain()
                    && let Some(record) = self.documents.learn(&key, who, content_type, &body)
                {
                    self.store.write_own(key.clone(), Some(record));
                }
                if whole.status == StatusCode::FORBIDDEN {
                    self.keep_from(who, &key);
                }
                return Some(self.as_it_came(whole));
            }
            Err(trouble) => trouble,
        };
        Some(self.kept_document(who, &key).unwrap_or_else(|| {
            let status = match trouble {
                Trouble::Gone(why) => Status::unavailable(format!(
                    "the API server cannot be reached ({why}), and it was not asked this before"
                )),
                trouble => refuse::trouble(&trouble),
            };
            refuse::answer(&status, brought)
        }))
    }

    /// The cloud does not show this to somebody any more.
    fn keep_from(&self, who: &Who, key: &[u8]) {
        let readers = {
            let mut documents = lock(&self.documents.known);
            let Some(known) = documents.get_mut(key) else { return };
            if !known.readers.remove(who.identity.as_str()) {
                return;
            }
            known.readers.clone()
        };
        let Some(stored) = self.store.own(key) else { return };
        if let Some((_, content_type, body)) = parse(&stored) {
            self.store.write_own(key.to_vec(), Some(record(&readers, &content_type, body)));
        }
    }

    fn kept_document(&self, who: &Who, key: &[u8]) -> Option<Response<Body>> {
        if !lock(&self.documents.known).get(key)?.readers.contains(who.identity.as_str()) {
            return None;
        }
        let record = self.store.own(key)?;
        let (_, content_type, body) = parse(&record)?;
        let mut response = Response::new(Body::Own(Some(Bytes::copy_from_slice(body))));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_str(&content_type).ok()?);
        Some(response)
    }
}
