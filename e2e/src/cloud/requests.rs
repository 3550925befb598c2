//! What the API server was asked, from its audit log: exact, as it is written before a request is handled.
//!
//! A request counts once, however many lines the log has for it, also while it still goes on, as a watch does.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Kubernetes' verb: get, list, watch, create, update, patch, delete, deletecollection; for other paths HTTP's.
    pub verb: String,
    /// Path and query.
    pub uri: String,
    /// As whom the API server took the caller.
    pub user: String,
    /// The address that the request came from.
    pub source: String,
    /// What the caller says it is.
    pub agent: String,
    /// The status of the answer, once there is one.
    pub code: Option<u64>,
    /// When it came, in microseconds since the month began.
    pub received: u64,
}

impl Request {
    /// Whether it came over the link. The cloud's own programs ask on loopback, in either family.
    pub fn crossed_the_link(&self) -> bool {
        !self.source.parse().is_ok_and(|source: IpAddr| source.is_loopback())
    }
}

/// Reads the log at `path`.
///
/// # Errors
///
/// It cannot be read, or a whole line in it is not an audit event.
pub fn read(path: &Path) -> Result<Vec<Request>> {
    let log = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&log)
}

fn parse(log: &str) -> Result<Vec<Request>> {
    let mut requests: Vec<Request> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    // The last line may be in the making.
    let whole = log.rfind('\n').and_then(|end| log.get(..end)).unwrap_or_default();
    for line in whole.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| format!("no audit event: {line}"))?;
        let id = text(&event, "/auditID");
        let code = event.pointer("/responseStatus/code").and_then(Value::as_u64);
        match places.get(&id).and_then(|place| requests.get_mut(*place)) {
            Some(known) => known.code = code.or(known.code),
            None => {
                places.insert(id, requests.len());
                requests.push(request(&event, code));
            }
        }
    }
    Ok(requests)
}

fn request(event: &Value, code: Option<u64>) -> Request {
    // Proxies on the way name those before them; the connection's own end stands last.
    let source = event.pointer("/sourceIPs").and_then(Value::as_array).and_then(|all| all.last());
    Request {
        verb: text(event, "/verb"),
        uri: text(event, "/requestURI"),
        user: text(event, "/user/username"),
        source: source.and_then(Value::as_str).unwrap_or_default().to_owned(),
        agent: text(event, "/userAgent"),
        code,
        received: micros(&text(event, "/requestReceivedTimestamp")),
    }
}

/// Of `2026-11-29T22:40:01.123456Z`; only differences count, and nobody plays over the end of a month.
fn micros(moment: &str) -> u64 {
    let numbers: Vec<u64> =
        moment.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
    match numbers.as_slice() {
        [_, _, day, hour, minute, second, micros, ..] => {
            (((day * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros
        }
        _ => 0,
    }
}

fn text(event: &Value, pointer: &str) -> String {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = concat!(
        r#"{"auditID":"a","stage":"RequestReceived","verb":"watch","requestURI":"/api/v1/pods?watch=true","#,
        r#""user":{"username":"system:node:edge"},"sourceIPs":["10.9.8.7","192.0.2.2"]}"#,
        "\n",
        r#"{"auditID":"b","stage":"RequestReceived","verb":"get","sourceIPs":["::1"]}"#,
        "\n",
        r#"{"auditID":"b","stage":"ResponseComplete","verb":"get","responseStatus":{"code":404}}"#,
        "\n",
        r#"{"auditID":"a","stage":"Respon"#,
    );

    #[test]
    fn a_request_counts_once_from_the_moment_it_is_received() {
        let requests = parse(LOG).unwrap();
        let seen: Vec<_> = requests.iter().map(|one| (one.verb.as_str(), one.code)).collect();
        assert_eq!(seen, [("watch", None), ("get", Some(404))]);
    }

    #[test]
    fn moments_are_told_to_the_microsecond() {
        let apart = micros("2026-11-30T00:00:01.000001Z") - micros("2026-11-29T23:59:59.900000Z");
        assert_eq!(apart, 1_100_001);
    }

    #[test]
    fn only_what_came_from_outside_of_the_cloud_crossed_the_link() {
        let crossed: Vec<_> = parse(LOG).unwrap().iter().map(Request::crossed_the_link).collect();
        assert_eq!(crossed, [true, false]);
    }
}
