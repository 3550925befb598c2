//! Tokens: whose they are. The hub believes what a token says of its holder once the cloud has taken it, or has given it
//! out; and no longer than it has to while the cloud can be asked.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use access::caller::bearer_token;
use access::lend::Credential;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;
use view::Identity;

use super::{Reads, Who, lock};
use crate::body::Body;
use crate::link::State;
use crate::store::OWN;

/// Behind [`OWN`], begins the keys of these records.
const BEARER: u8 = b'b';
/// So many are remembered, and so many of one holder: kubelet has each of a pod's tokens renewed every hour.
const MOST: usize = 4096;
const EACH: usize = 8;
/// For so long a token counts as taken while the cloud can be asked (design §6.1).
const BELIEVED: Duration = Duration::from_secs(300);

type Print = [u8; 32];

/// A token's holder.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bearer {
    identity: Identity,
    /// The pod that it is bound to: namespace, name, uid.
    pod: Option<(String, String, String)>,
    /// When the cloud last took it, on the view's clock; never since the hub started if `None`.
    taken: Option<Duration>,
    /// Tells which of two was told of later.
    order: u64,
}

/// The tokens that the cloud has taken.
#[derive(Default)]
pub struct Bearers {
    known: Mutex<HashMap<Print, Bearer>>,
    order: AtomicU64,
    lots: RandomState,
}

fn print(token: &[u8]) -> Print {
    let digest = digest(&SHA256, token);
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

/// What a service account's token says of its holder (`pkg/serviceaccount/claims.go`, `legacy.go`). The issuer is part of the
/// identity, so that no other issuer's token can name the same. Every other token stands for itself alone.
fn holder(token: &[u8], print: &Print) -> Bearer {
    let claims = std::str::from_utf8(token).ok().and_then(|token| {
        let payload = token.split('.').nth(1)?;
        serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    });
    let of_account = claims.and_then(|claims| {
        let text = |value: &Value, name: &str| Some(value.get(name)?.as_str()?.to_owned());
        let issuer = text(&claims, "iss")?;
        let (namespace, account, uid, pod) = match claims.get("kubernetes.io") {
            Some(bound) => {
                let account = bound.get("serviceaccount")?;
                let pod = bound.get("pod").and_then(|pod| Some((text(pod, "name")?, text(pod, "uid")?)));
                (text(bound, "namespace")?, text(account, "name")?, text(account, "uid")?, pod)
            }
            None => {
                let legacy = |name: &str| text(&claims, &format!("kubernetes.io/serviceaccount/{name}"));
                (legacy("namespace")?, legacy("service-account.name")?, legacy("service-account.uid")?, None)
            }
        };
        let identity = Identity::new(&format!("serviceaccount {namespace:?} {account:?} {uid:?} {issuer:?}"));
        let pod = pod.map(|(name, uid)| (namespace, name, uid));
        Some(Bearer { identity, pod, taken: None, order: 0 })
    });
    of_account.unwrap_or_else(|| {
        let hex: String = print.iter().map(|byte| format!("{byte:02x}")).collect();
        Bearer { identity: Identity::new(&format!("token {hex}")), pod: None, taken: None, order: 0 }
    })
}

/// What a caller takes, and JSON, which is all that `/version` comes in; a refusal comes in the caller's own.
fn readable(brought: &HeaderMap) -> HeaderMap {
    let own = brought.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let accept = own.map(|own| HeaderValue::try_from(format!("{own},application/json")));
    let json = HeaderValue::from_static("application/json");
    HeaderMap::from_iter([(ACCEPT, accept.and_then(Result::ok).unwrap_or(json))])
}

/// Which tokens make room for another one of this holder.
fn outdated(known: &HashMap<Print, Bearer>, by: &Bearer) -> Vec<Print> {
    let of_holder = |one: &Bearer| one.identity == by.identity && one.pod == by.pod;
    let mut own: Vec<(u64, Print)> =
        known.iter().filter(|(_, one)| of_holder(one)).map(|(print, one)| (one.order, *print)).collect();
    own.sort_unstable();
    let mut gone: Vec<Print> =
        own.iter().take((own.len() + 1).saturating_sub(EACH)).map(|(_, print)| *print).collect();
    if gone.is_empty() && known.len() >= MOST {
        gone.extend(known.iter().min_by_key(|(_, one)| one.order).map(|(print, _)| *print));
    }
    gone
}

impl Bearers {
    /// Takes over a record that was stored; others are not looked at.
    pub fn load(&self, key: &[u8], value: &[u8]) {
        let Some(print) = key.strip_prefix(&[OWN, BEARER]).and_then(|print| print.try_into().ok()) else {
            return;
        };
        let Ok(value) = serde_json::from_slice::<Value>(value) else { return };
        let Some(identity) = value.get("identity").and_then(Value::as_str).map(Identity::new) else { return };
        let pod = value.get("pod").and_then(|pod| {
            let part = |at: usize| Some(pod.get(at)?.as_str()?.to_owned());
            Some((part(0)?, part(1)?, part(2)?))
        });
        let order = value.get("order").and_then(Value::as_u64).unwrap_or(0);
        self.order.fetch_max(order, Ordering::Relaxed);
        lock(&self.known).insert(print, Bearer { identity, pod, taken: None, order });
    }

    /// Whether two tokens are told apart, for connections.
    fn drawn(&self, authorization: &HeaderValue) -> u64 {
        self.lots.hash_one(authorization.as_bytes())
    }
}

impl Reads {
    /// Whose token a request brings, if the cloud has taken it or can be asked whether it does.
    ///
    /// # Errors
    ///
    /// The cloud's answer to a token that does not count.
    pub async fn bearer(self: &Arc<Self>, brought: &HeaderMap) -> Result<Option<Who>, Response<Body>> {
        let Some(authorization) = brought.get(AUTHORIZATION) else { return Ok(None) };
        let Some(token) = bearer_token(authorization.as_bytes()) else { return Ok(None) };
        let print = print(token);
        let known = lock(&self.bearers.known).get(&print).cloned();
        let online = self.cloud.judge().state() == State::Up;
        let believed = |bearer: &Bearer| {
            !online || bearer.taken.is_some_and(|taken| self.now().saturating_sub(taken) < BELIEVED)
        };
        let bearer = match known {
            Some(bearer) if believed(&bearer) => bearer,
            known => {
                if !online {
                    return Ok(None);
                }
                let bearer = holder(token, &print);
                let who = self.who(&bearer, authorization);
                // Everybody may ask this; who brings a token that does not count gets 401 all the same.
                match self.ask_whole(&who, "/version", readable(brought)).await {
                    Ok(whole) if whole.status == StatusCode::UNAUTHORIZED => {
                        self.disown(&print);
                        return Err(self.as_it_came(whole));
                    }
                    Ok(whole) if whole.status == StatusCode::OK => {
                        self.own(print, bearer.clone(), Some(self.now()));
                        bearer
                    }
                    // The last answer stands.
                    _ => match known {
                        Some(known) => known,
                        None => return Ok(None),
                    },
                }
            }
        };
        if !online
            && bearer.pod.as_ref().is_some_and(|(namespace, name, uid)| self.is_gone(namespace, name, uid))
        {
            return Ok(None);
        }
        Ok(Some(self.who(&bearer, authorization)))
    }

    fn who(&self, bearer: &Bearer, authorization: &HeaderValue) -> Who {
        Who {
            identity: bearer.identity.clone(),
            credential: Credential::Own,
            authorization: Some(authorization.clone()),
            drawn: self.bearers.drawn(authorization),
        }
    }

    /// The cloud has given out this token.
    pub(super) fn gave(&self, token: &str) {
        let print = print(token.as_bytes());
        self.own(print, holder(token.as_bytes(), &print), None);
    }

    fn own(&self, print: Print, bearer: Bearer, taken: Option<Duration>) {
        let mut known = lock(&self.bearers.known);
        let before = known.get(&print);
        let news = before.is_none_or(|before| before.identity != bearer.identity);
        let order = self.bearers.order.fetch_add(1, Ordering::Relaxed) + 1;
        if news {
            let value = serde_json::json!({
                "identity": bearer.identity.as_str(),
                "pod": bearer.pod.as_ref().map(|(namespace, name, uid)| [namespace, name, uid]),
                "order": order,
            });
            self.store.write_own([&[OWN, BEARER][..], &print].concat(), Some(value.to_string().into_bytes()));
        }
        let outdated = if news { outdated(&known, &bearer) } else { Vec::new() };
        known.insert(print, Bearer { taken, order, ..bearer });
        for print in outdated {
            known.remove(&print);
            self.store.write_own([&[OWN, BEARER][..], &print].concat(), None);
        }
    }

    fn disown(&self, print: &Print) {
        if lock(&self.bearers.known).remove(print).is_some() {
            self.store.write_own([&[OWN, BEARER][..], print].concat(), None);
        }
    }

    /// Forgets tokens of pods that are known to be gone.
    pub(super) fn forget_bearers(self: &Arc<Self>) {
        let bound: Vec<_> = lock(&self.bearers.known)
            .iter()
            .filter_map(|(print, bearer)| Some((*print, bearer.pod.clone()?)))
            .collect();
        for (print, (namespace, name, uid)) in bound {
            if self.is_gone(&namespace, &name, &uid) {
                self.disown(&print);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &Value) -> Vec<u8> {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string())).into_bytes()
    }

    fn of(token: &[u8]) -> Bearer {
        holder(token, &print(token))
    }

    #[test]
    fn p8_a_token_names_its_service_account_with_issuer_and_uid() {
        let bound = |issuer: &str, uid: &str| {
            jwt(&serde_json::json!({"iss": issuer, "sub": "system:serviceaccount:ns:sa", "kubernetes.io": {
                "namespace": "ns", "serviceaccount": {"name": "sa", "uid": uid}, "pod": {"name": "p", "uid": "pu"}}}))
        };
        let one = of(&bound("https://k", "1"));
        assert_eq!(one.pod, Some(("ns".into(), "p".into(), "pu".into())));
        assert_eq!(one.identity, of(&bound("https://k", "1")).identity);
        for other in
            [bound("https://other", "1"), bound("https://k", "2"), b"opaque".to_vec(), b"a.b.c".to_vec()]
        {
            assert_ne!(one.identity, of(&other).identity);
        }
        assert_ne!(of(b"opaque").identity, of(b"opaque2").identity, "an opaque token stands for itself");
    }

    #[test]
    fn p4_the_newest_tokens_of_each_holder_are_remembered() {
        let mut known = HashMap::new();
        let bearer = |pod: usize, order: u64| Bearer {
            identity: Identity::new("sa"),
            pod: Some(("ns".into(), pod.to_string(), "u".into())),
            taken: None,
            order,
        };
        for order in 0..20_000_u64 {
            let one = bearer(usize::try_from(order % 600).unwrap(), order);
            for print in outdated(&known, &one) {
                known.remove(&print);
            }
            known.insert(print(&order.to_le_bytes()), one);
        }
        assert_eq!(known.len(), MOST);
        for pod in 0..600 {
            let own = known.values().filter(|one| one.pod == bearer(pod, 0).pod);
            assert!(own.map(|one| one.order).max().unwrap() >= 20_000 - 600, "the newest of {pod}");
        }
    }
}
