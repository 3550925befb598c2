//! Headers on their way to the cloud and back.

use access::headers::{Fate, fate};
use access::lend::Credential;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TE, UPGRADE};

/// Headers that are about one connection and not about the request (RFC 9110 §7.6.1); `te` but for trailers.
const ONE_HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "transfer-encoding",
    "upgrade",
    "te",
];

/// The text of a header; empty where there is none, or one that is no text.
pub fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Whether a request asks to make something else of its connection.
pub fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) && connection_names(headers).any(|name| name == UPGRADE)
}

/// The headers with which a request goes on under `credential`.
pub fn onward(mut headers: HeaderMap, credential: Credential, upgrades: bool) -> HeaderMap {
    let upgrade = headers.get(UPGRADE).cloned().filter(|_| upgrades);
    let trailers = headers.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    strip_hop(&mut headers);
    headers.remove(HOST);
    let gone: Vec<HeaderName> = headers
        .keys()
        .filter(|name| match fate(name.as_str()) {
            Fate::Strip => true,
            Fate::Credential | Fate::Impersonation => credential != Credential::Own,
            Fate::Pass => false,
        })
        .cloned()
        .collect();
    for name in gone {
        headers.remove(name);
    }
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocol);
    } else if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    headers
}

/// The headers with which an answer goes back.
pub fn back(mut headers: HeaderMap) -> HeaderMap {
    strip_hop(&mut headers);
    headers
}

/// Takes off what is about the connection only, also what the connection's own header names so.
fn strip_hop(headers: &mut HeaderMap) {
    // What says who somebody is goes end to end, whatever a client says: the API server sees it so, too.
    let of_one_hop = |name: &HeaderName| fate(name.as_str()) == Fate::Pass;
    let named: Vec<HeaderName> = connection_names(headers).filter(of_one_hop).collect();
    for name in named {
        headers.remove(name);
    }
    for name in ONE_HOP {
        headers.remove(name);
    }
}

fn connection_names(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> + '_ {
    let values = headers.get_all(CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn headers(of: &[(&str, &str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn p8_a_lent_credential_travels_alone() {
        let brought = headers(&[
            ("authorization", "Bearer x"),
            ("impersonate-user", "admin"),
            ("x-remote-user", "admin"),
            ("x-remote-extra-scopes", "all"),
            ("accept", "application/json"),
            ("user-agent", "kubelet/v1.36"),
        ]);
        for credential in [Credential::Node, Credential::Handed(0)] {
            let sent = onward(brought.clone(), credential, false);
            let names: BTreeSet<&str> = sent.keys().map(HeaderName::as_str).collect();
            assert_eq!(names, BTreeSet::from(["accept", "user-agent"]));
        }
        let sent = onward(brought, Credential::Own, false);
        assert_eq!(sent["authorization"], "Bearer x");
        assert_eq!(sent["impersonate-user"], "admin", "the asker's own right, for the API server to judge");
        assert!(!sent.contains_key("x-remote-user"));
    }

    #[test]
    fn what_is_about_the_connection_stays_on_it() {
        let brought = headers(&[
            ("connection", "keep-alive, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("host", "127.0.0.1:10461"),
            ("accept-encoding", "gzip"),
        ]);
        let sent = onward(brought, Credential::Own, false);
        let names: BTreeSet<&str> = sent.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, BTreeSet::from(["accept-encoding"]));
    }

    #[test]
    fn an_upgrade_is_asked_for_anew() {
        let brought = headers(&[("connection", "upgrade"), ("upgrade", "SPDY/3.1")]);
        assert!(wants_upgrade(&brought));
        let sent = onward(brought, Credential::Node, true);
        assert_eq!(
            (&sent["connection"], &sent["upgrade"]),
            (&"Upgrade".parse().unwrap(), &"SPDY/3.1".parse().unwrap())
        );
        assert!(!wants_upgrade(&headers(&[("upgrade", "h2c")])));
    }
}
