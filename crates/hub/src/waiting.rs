//! What waits for the cloud, for operators over the admin socket: shown, and dropped by their word.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use hyper::StatusCode;
use outbox::settle::{Fate, Reason, Standing as Stands};
use outbox::{Entry, Id, Outbox, Standing, What, Writer};
use serde_json::{Value, json};

use crate::node_certificate::wire_time;
use crate::reads::Reads;
use crate::tls;

/// The longest reason, in bytes.
const LONGEST_REASON: usize = 500;

/// A status code and what to say.
pub type Refusal = (StatusCode, String);

/// All that waits, first written first, and how the outbox stands.
#[must_use]
pub fn list(reads: &Reads) -> Value {
    let (mut entries, standing) = reads.waiting();
    let stand: HashMap<Id, Stands> = reads.standings().into_iter().collect();
    let now = SystemTime::now();
    entries.sort_by_key(|entry| entry.since);
    let shown: Vec<Value> =
        entries.iter().map(|entry| shown(entry, stand.get(&entry.id), seconds(now))).collect();
    json!({ "time": wire_time(now), "entries": shown, "standing": standing_json(&standing, now) })
}

/// What the entry of this name holds: the object as the node last had it.
///
/// # Errors
/// Nothing of this name waits, or it is being stored just now.
pub fn content(reads: &Reads, name: &str) -> Result<Value, Refusal> {
    let entry = find(reads, name)?;
    reads.content(&entry.id).ok_or_else(|| {
        (StatusCode::CONFLICT, "what waits of it is being stored, or cannot be read: look again".to_owned())
    })
}

/// Drops an entry: `body` names it, with the number of writes that were in it when the operator looked, and gives the
/// reason. `uid` is the operator's, as the kernel says.
///
/// # Errors
/// It is not understood, something else waits there by now, or the drop could not be stored.
pub async fn drop(reads: &Arc<Reads>, body: &[u8], uid: Option<u32>) -> Result<Value, Refusal> {
    let (name, writes, reason) = asked(body).map_err(|why| (StatusCode::BAD_REQUEST, why.to_owned()))?;
    let entry = find(reads, &name)?;
    let more = || {
        let text = "more was written of it since, or it was told to the cloud just now: look again";
        (StatusCode::CONFLICT, text.to_owned())
    };
    if entry.writes != writes || reads.is_being_stored(&entry.id) {
        return Err(more());
    }
    let by = uid.map_or_else(|| "somebody".to_owned(), |uid| format!("uid {uid}"));
    let fate = Fate::Dropped(Reason::Operator(format!("{reason} ({by})")));
    let stored = reads.settled(&entry.id, writes, &fate).ok_or_else(more)?;
    reads.forget_settling(&entry.id);
    match stored.await {
        Ok(Ok(())) => Ok(shown(&entry, None, seconds(SystemTime::now()))),
        Ok(Err(why)) => Err((
            StatusCode::INTERNAL_SERVER_ERROR,
            format!(
                "it is dropped, but that could not be stored yet, which is tried again and again; were the hub restarted \
                 before, it would wait again: {why}"
            ),
        )),
        Err(_) => Err((StatusCode::INTERNAL_SERVER_ERROR, "the hub stops".to_owned())),
    }
}

/// Name, writes and reason, or what is wrong with them.
fn asked(body: &[u8]) -> Result<(String, u64, String), &'static str> {
    let body: Value = serde_json::from_slice(body).map_err(|_| "the request is no JSON")?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::trim).unwrap_or_default();
    let writes = body.get("writes").and_then(Value::as_u64).ok_or("how many writes it had is missing")?;
    let reason = text("reason");
    if reason.is_empty() {
        return Err("a reason is missing: it stands in the log and in the report");
    }
    if reason.len() > LONGEST_REASON || reason.contains(char::is_control) {
        return Err("the reason must be one line of at most 500 bytes");
    }
    Ok((text("id").to_owned(), writes, reason.to_owned()))
}

fn find(reads: &Reads, name: &str) -> Result<Arc<Entry>, Refusal> {
    let found = reads.waiting().0.into_iter().find(|entry| self::name(&entry.id) == name);
    found.ok_or_else(|| {
        let text = "nothing of this name waits: it was told to the cloud or dropped meanwhile";
        (StatusCode::NOT_FOUND, text.to_owned())
    })
}

/// Names an entry in a path.
fn name(id: &Id) -> String {
    let print = digest(&SHA256, &Outbox::key(id));
    print.as_ref().iter().take(16).fold(String::new(), |mut name, byte| {
        // Writing into a string cannot fail.
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// An entry for programs: keys are stable.
fn shown(entry: &Entry, stands: Option<&Stands>, now: i64) -> Value {
    let Entry { id, base, what, since, last, writes, size, .. } = entry;
    let (group, version) = (id.resource.group(), id.resource.version());
    let what = match what {
        What::State | What::Object => json!({ "kind": what.word() }),
        What::Finished { gone } => json!({ "kind": what.word(), "gone": gone }),
        What::Members { annotations, conditions } => {
            json!({ "kind": what.word(), "annotations": annotations, "conditions": conditions })
        }
        What::Event { names } => {
            json!({ "kind": what.word(), "count": names.iter().map(|(_, count)| count).sum::<i64>() })
        }
    };
    let (waits, why) = stands.map_or((None, None), waits_for);
    json!({
        "id": name(id),
        "apiVersion": if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") },
        "resource": id.resource.resource(),
        "namespace": id.key.namespace(),
        "name": id.key.name(),
        "uid": id.uid,
        "what": what,
        "writer": writer(&id.writer),
        "since": time(*since),
        "last": time(*last),
        "ageSeconds": now.saturating_sub(*since).max(0),
        "writes": writes,
        "bytes": size,
        "base": (base.rv != 0).then(|| json!({ "resourceVersion": base.rv.to_string(), "generation": base.generation })),
        "waitsFor": waits,
        "why": why,
    })
}

/// What an entry waits for, in a word, and the cloud's words if it forbids it.
fn waits_for(stands: &Stands) -> (Option<&'static str>, Option<&str>) {
    match stands {
        Stands::WaitsForLink => (Some("link"), None),
        Stands::WaitsForKubelet => (Some("kubelet"), None),
        Stands::WaitsForCredential => (Some("credential"), None),
        Stands::Queued => (Some("turn"), None),
        Stands::Underway => (Some("answer"), None),
        Stands::Retried => (Some("retry"), None),
        Stands::Parked(message) => (Some("permission"), Some(message)),
    }
}

/// How the outbox stands, for programs: keys are stable.
pub(crate) fn standing_json(standing: &Standing, now: SystemTime) -> Value {
    json!({
        "states": standing.states,
        "events": standing.events,
        "bytes": standing.bytes,
        "limitBytes": standing.limit,
        "alarm": standing.alarm,
        "since": standing.since.map(time),
        "oldestSeconds": oldest(standing, now),
        "eventsGivenUp": standing.given_up,
    })
}

/// For how many seconds the first write waits; 0 if none does.
pub(crate) fn oldest(standing: &Standing, now: SystemTime) -> u64 {
    let waits = standing.since.map_or(0, |since| seconds(now).saturating_sub(since));
    u64::try_from(waits).unwrap_or(0)
}

fn seconds(at: SystemTime) -> i64 {
    i64::try_from(tls::since_1970(at).as_secs()).unwrap_or(i64::MAX)
}

fn time(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    SystemTime::UNIX_EPOCH.checked_add(since).map_or_else(|| "never".to_owned(), wire_time)
}

/// Who wrote it, as Kubernetes names them.
fn writer(writer: &Writer) -> String {
    let Writer::Daemon(who) = writer else { return "kubelet".to_owned() };
    let account = who.as_str().strip_prefix("serviceaccount ").and_then(|rest| {
        // Their names have no quotes in them.
        let mut names = rest.split('"').skip(1).step_by(2);
        Some(format!("system:serviceaccount:{}:{}", names.next()?, names.next()?))
    });
    account.unwrap_or_else(|| who.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use view::Identity;

    use super::*;

    #[test]
    fn a_drop_without_a_reason_that_fits_on_a_line_is_refused() {
        let body = |reason: &str| json!({ "id": "a", "writes": 1, "reason": reason }).to_string();
        assert_eq!(asked(body(" it hangs ").as_bytes()), Ok(("a".into(), 1, "it hangs".into())));
        let long = "x".repeat(LONGEST_REASON + 1);
        for wrong in ["", "  ", "two\nlines", "\u{1b}[2J", long.as_str()] {
            assert!(asked(body(wrong).as_bytes()).is_err(), "{wrong:?}");
        }
        assert!(asked(br#"{"id": "a", "reason": "r"}"#).is_err());
        assert!(asked(b"{").is_err());
    }

    #[test]
    fn writers_have_the_names_that_the_cluster_knows_them_by() {
        let daemon = |text: &str| Writer::Daemon(Identity::new(text));
        assert_eq!(writer(&Writer::Kubelet), "kubelet");
        let account = daemon(r#"serviceaccount "kube-flannel" "flannel" "u" "https://issuer""#);
        assert_eq!(writer(&account), "system:serviceaccount:kube-flannel:flannel");
        assert_eq!(writer(&daemon("token 00ff")), "token 00ff");
    }

    #[test]
    fn a_clock_that_went_back_makes_no_age() {
        let standing = Standing { since: Some(i64::MAX), ..Standing::default() };
        assert_eq!(oldest(&standing, SystemTime::now()), 0);
        assert_eq!(time(i64::MIN), "1970-01-01T00:00:00Z");
        assert_eq!(time(i64::MAX), "never");
    }
}
