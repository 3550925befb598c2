//! Service account tokens: what kubelet was given for a pod it is given again when the cloud cannot be asked (design §6.3),
//! with its true expiry, so that the pod starts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;
use view::{Answer, Key, ResourceId};
use wire::media::{self, Encoding};
use wire::{Resource, Status, transcode};

use super::writes::Sent;
use super::{Reads, Who, json, lock};
use crate::body::Body;
use crate::proxy::headers;
use crate::refuse;
use crate::store::OWN;

/// Behind [`OWN`], begins the keys of these records.
const TOKEN: u8 = b't';
/// So many are kept.
const MOST: usize = 4096;

/// For whom a token is, and what it is good for; two requests that agree in all of it get the same token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct For {
    /// Namespace of the service account and the pod.
    pub namespace: String,
    /// The service account.
    pub account: String,
    /// Name and uid of the pod; empty for a token that is bound to none.
    pub pod: (String, String),
    /// As asked for; 0 for whatever is the default.
    pub seconds: i64,
    /// As asked for, in this order.
    pub audiences: Vec<String>,
}

impl For {
    /// Reads a TokenRequest; `None` for one that is bound to something else than a pod, or cannot be read.
    fn of(asked: &Resource, body: &[u8], encoding: Encoding) -> Option<For> {
        let request = json::of(body, encoding)?;
        let spec = request.get("spec")?;
        let text = |value: &Value, name: &str| {
            value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let pod = match spec.get("boundObjectRef").filter(|bound| !bound.is_null()) {
            Some(bound) if text(bound, "kind") == "Pod" => (text(bound, "name"), text(bound, "uid")),
            Some(_) => return None,
            None => Default::default(),
        };
        let audiences = spec.get("audiences").and_then(Value::as_array);
        let audiences =
            audiences.into_iter().flatten().filter_map(|one| Some(one.as_str()?.to_owned())).collect();
        Some(For {
            namespace: asked.namespace.clone(),
            account: asked.name.clone(),
            pod,
            seconds: spec.get("expirationSeconds").and_then(Value::as_i64).unwrap_or(0),
            audiences,
        })
    }

    fn to_key(&self) -> Vec<u8> {
        let seconds = self.seconds.to_string();
        let mut parts = vec![&*self.namespace, &*self.account, &*self.pod.0, &*self.pod.1, &*seconds];
        parts.extend(self.audiences.iter().map(String::as_str));
        [&[OWN, TOKEN][..], parts.join("\0").as_bytes()].concat()
    }

    fn from_key(key: &[u8]) -> Option<For> {
        let text = std::str::from_utf8(key.strip_prefix(&[OWN, TOKEN])?).ok()?;
        let mut parts = text.split('\0').map(str::to_owned);
        let (namespace, account) = (parts.next()?, parts.next()?);
        let pod = (parts.next()?, parts.next()?);
        let seconds = parts.next()?.parse().ok()?;
        Some(For { namespace, account, pod, seconds, audiences: parts.collect() })
    }
}

/// The tokens that were given out.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<For, (Encoding, Bytes)>>);

impl Tokens {
    /// Takes over a record that was stored; others are not looked at.
    pub fn load(&self, key: &[u8], value: &[u8]) {
        let (Some(of), Some((encoding, bytes))) = (For::from_key(key), value.split_first()) else { return };
        let encoding = if *encoding == 0 { Encoding::Json } else { Encoding::Protobuf };
        lock(&self.0).insert(of, (encoding, Bytes::copy_from_slice(bytes)));
    }

    /// The last one that was given out for this.
    pub fn find(&self, of: &For) -> Option<(Encoding, Bytes)> {
        lock(&self.0).get(of).cloned()
    }
}

/// The token in an answered TokenRequest.
fn token_in(encoding: Encoding, bytes: &[u8]) -> Option<String> {
    let request = json::of(bytes, encoding)?;
    request.get("status")?.get("token")?.as_str().map(str::to_owned)
}

impl Reads {
    /// Answers a TokenRequest: the cloud's token, or the last one for the same.
    pub(super) async fn token(self: &Arc<Self>, who: &Who, asked: &Resource, sent: &Sent) -> Response<Body> {
        let content_type = headers::text(&sent.headers, CONTENT_TYPE);
        let of = match media::body(content_type) {
            Ok(media::Body::Object(encoding)) if who.is_kubelet() => For::of(asked, &sent.body, encoding),
            _ => None,
        };
        let copy = Sent {
            headers: sent.headers.clone(),
            method: sent.method.clone(),
            target: sent.target.clone(),
            body: sent.body.clone(),
        };
        match self.send(who, copy).await {
            Ok(whole) => {
                if let (Some((body, encoding)), StatusCode::CREATED) = (whole.object(), whole.status) {
                    if let Some(token) = token_in(encoding, &body) {
                        self.gave(&token);
                    }
                    if let Some(of) = of {
                        self.remember(of, encoding, body);
                    }
                }
                self.as_it_came(whole)
            }
            Err(trouble) => of
                .and_then(|of| self.again(&of, &sent.headers))
                .unwrap_or_else(|| refuse::answer(&refuse::trouble(&trouble), &sent.headers)),
        }
    }

    /// Stores a token before it is handed out.
    fn remember(&self, of: For, encoding: Encoding, bytes: Bytes) {
        let mut tokens = lock(&self.tokens.0);
        if tokens.len() >= MOST && !tokens.contains_key(&of) {
            tracing::warn!("no more tokens are remembered than {MOST}");
            return;
        }
        let value = [&[u8::from(encoding == Encoding::Protobuf)][..], &bytes].concat();
        self.store.write_own(of.to_key(), Some(value));
        tokens.insert(of, (encoding, bytes));
    }

    /// The last token for the same.
    fn again(&self, of: &For, headers: &HeaderMap) -> Option<Response<Body>> {
        let (encoding, bytes) = lock(&self.tokens.0).get(of)?.clone();
        let accepted = media::negotiate(headers::text(headers, ACCEPT), media::Served::BuiltIn).ok()?;
        let bytes = match transcode::transcode(&bytes, encoding, accepted.encoding) {
            Ok(made) => made.bytes,
            Err(e) => return Some(refuse::answer(&Status::internal_error(&e.to_string()), headers)),
        };
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() = StatusCode::CREATED;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(accepted.content_type()));
        Some(response)
    }

    /// Forgets tokens of pods that are known to be gone.
    pub(super) fn forget_tokens(self: &Arc<Self>) {
        let all: Vec<For> = lock(&self.tokens.0).keys().filter(|of| !of.pod.1.is_empty()).cloned().collect();
        for of in all {
            if self.is_gone(&of.namespace, &of.pod.0, &of.pod.1) {
                lock(&self.tokens.0).remove(&of);
                self.store.write_own(of.to_key(), None);
            }
        }
    }

    /// Whether it is known that there is no pod any more with this name and uid.
    pub(super) fn is_gone(self: &Arc<Self>, namespace: &str, name: &str, uid: &str) -> bool {
        let (pods, key) = (ResourceId::new("", "v1", "pods", namespace), Key::new(namespace, name));
        match self.known(&pods, &key) {
            Answer::Object { object, .. } => object.header.uid() != uid,
            Answer::Refuse(status) => status.code == 404,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_under_all_that_was_asked_for() {
        let asked = Resource { namespace: "ns".into(), name: "sa".into(), ..Resource::default() };
        let body = br#"{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{"audiences":["a","b"],
            "expirationSeconds":3607,"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"p","uid":"u"}}}"#;
        let of = For::of(&asked, body, Encoding::Json).unwrap();
        assert_eq!(
            (of.seconds, &of.pod, &*of.audiences),
            (3607, &("p".into(), "u".into()), &["a".into(), "b".into()][..])
        );
        assert_eq!(For::from_key(&of.to_key()), Some(of.clone()));
        let protobuf = transcode::to_protobuf(body).unwrap().bytes;
        assert_eq!(For::of(&asked, &protobuf, Encoding::Protobuf), Some(of));
    }
}
