//! `edgekeep settle`: what waits for the cloud, what became of what waited, and what would become of it now.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use node::date;
use serde_json::Value;

use crate::args::{Output, Settle};
use crate::{Failure, admin, table};

/// The cloud is read for a plan.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn run(what: &Settle) -> Result<(), Failure> {
    let socket = admin::socket(what.admin_socket.as_deref())?;
    let path = if what.plan { "/settle/plan" } else { "/settle" };
    let answer = admin::get_within(&socket, path, PATIENCE)?;
    let unreadable = |why: String| format!("the hub's answer cannot be read: {why}; is it of this version?");
    if answer.code != 200 {
        return Err(unreadable(answer.body.trim().to_owned()));
    }
    let document: Value = serde_json::from_str(&answer.body).map_err(|e| unreadable(e.to_string()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    table::print(&match (what.output, what.plan) {
        (Output::Json, _) => format!("{document:#}\n"),
        (Output::Table, true) => plan(&document),
        (Output::Table, false) => waiting(&document, now) + &reports(&document, what.all),
    })
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or("-")
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn object(line: &Value) -> String {
    format!("{}/{}", text(line, "resource"), text(line, "key"))
}

fn writer(line: &Value) -> String {
    line.get("daemon").and_then(Value::as_str).unwrap_or("kubelet").to_owned()
}

fn plan(document: &Value) -> String {
    let lines = list(document, "plan");
    if lines.is_empty() {
        return "nothing waits for the cloud\n".to_owned();
    }
    let mut out = String::new();
    if text(document, "cloud") != "up" {
        out += "The cloud cannot be reached: this is against what was last known of it.\n\n";
    }
    let is_old = |line: &Value| line.get("current") != Some(&Value::Bool(true));
    if text(document, "cloud") == "up" && lines.iter().any(is_old) {
        out += "Not everything could be read from the cloud; what is marked with * is against what was last known.\n\n";
    }
    let mark = |line: &Value| if text(document, "cloud") == "up" && is_old(line) { "*" } else { "" };
    let row = |line: &Value| {
        let would = format!("{}{}", text(line, "would"), mark(line));
        vec![object(line), writer(line), would, text(line, "text").to_owned()]
    };
    out + &table::render(&["OBJECT", "WRITER", "WOULD BE", "HOW"], &lines.iter().map(row).collect::<Vec<_>>())
}

fn waiting(document: &Value, now: u64) -> String {
    let lines = list(document, "waiting");
    if lines.is_empty() {
        return "nothing waits for the cloud\n".to_owned();
    }
    let row = |line: &Value| {
        let since = line.get("since").and_then(Value::as_u64).map_or(0, |since| now.saturating_sub(since));
        vec![object(line), writer(line), table::age(since), text(line, "standing").to_owned()]
    };
    table::render(&["OBJECT", "WRITER", "SINCE", "STANDING"], &lines.iter().map(row).collect::<Vec<_>>())
}

fn reports(document: &Value, all: bool) -> String {
    let reports = list(document, "reports");
    let from = if all { 0 } else { reports.len().saturating_sub(1) };
    let mut out = String::new();
    for report in reports.iter().skip(from) {
        let counts = report.get("counts").and_then(Value::as_object);
        let counts: Vec<String> =
            counts.into_iter().flatten().map(|(fate, count)| format!("{count} {fate}")).collect();
        out += &format!(
            "\nsettling {}: {}\n",
            report.get("settling").unwrap_or(&Value::Null),
            counts.join(", ")
        );
        let row = |line: &Value| {
            let at = line.get("at").and_then(Value::as_u64).map_or_else(|| "-".to_owned(), date::shown);
            vec![at, object(line), writer(line), text(line, "text").to_owned()]
        };
        let rows: Vec<_> = list(report, "lines").iter().map(row).collect();
        if !rows.is_empty() {
            out += &table::render(&["AT", "OBJECT", "WRITER", "WHAT BECAME OF IT"], &rows);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_waits_and_what_was_dropped_is_named_with_the_reason() {
        let document = json!({"cloud": "up", "waiting": [{"resource": "nodes", "key": "edge", "daemon": null, "since": 100,
            "standing": "waits for kubelet to write"}],
            "reports": [{"settling": 1, "counts": {"sent": 9}, "lines": []},
                {"settling": 2, "counts": {"dropped": 1, "sent": 2}, "lines": [{"at": 0, "resource": "pods", "key": "shop/web",
                    "daemon": "flannel", "text": "dropped: the object is gone in the cloud"}]}]});
        assert_eq!(
            waiting(&document, 160),
            "OBJECT      WRITER   SINCE  STANDING\nnodes/edge  kubelet  60s    waits for kubelet to write\n"
        );
        let last = reports(&document, false);
        assert!(last.starts_with("\nsettling 2: 1 dropped, 2 sent\n"), "{last}");
        assert!(last.contains("pods/shop/web  flannel  dropped: the object is gone in the cloud"), "{last}");
        assert!(reports(&document, true).contains("settling 1: 9 sent"));
    }

    #[test]
    fn a_plan_says_against_what_it_is_made() {
        let line = json!({"resource": "pods", "key": "shop/web", "would": "sent", "text": "PATCH /x", "current": true});
        let with = |cloud: &str, current: bool| {
            let mut line = line.clone();
            line["current"] = current.into();
            plan(&json!({"cloud": cloud, "plan": [line]}))
        };
        assert!(with("up", true).starts_with("OBJECT"));
        assert!(with("up", false).contains("sent*"));
        assert!(with("down", false).starts_with("The cloud cannot be reached"));
        assert_eq!(plan(&json!({"plan": []})), "nothing waits for the cloud\n");
    }
}
