//! `edgekeep status`: how the hub of this node stands, asked over its admin socket.

use std::process::ExitCode;

use serde_json::Value;

use crate::args::{Output, Status};
use crate::{Failure, admin, outbox, table};

/// Something that must be so for the hub to do its work is not.
const UNWELL: u8 = 3;

pub fn run(what: &Status) -> Result<ExitCode, Failure> {
    let answer = admin::get(&admin::socket(what.admin_socket.as_deref())?, "/status")?;
    let standing: Value =
        serde_json::from_str(&answer.body).map_err(|e| format!("the hub's answer cannot be read: {e}"))?;
    table::print(&match what.output {
        Output::Json => format!("{standing:#}\n"),
        Output::Table => render(&standing),
    })?;
    let mut checks = each(&standing, "/checks");
    let well = checks.all(|check| check.get("ok") == Some(&Value::Bool(true))) && lost(&standing).is_none();
    Ok(if well { ExitCode::SUCCESS } else { UNWELL.into() })
}

fn render(standing: &Value) -> String {
    let text = |path: &str| match standing.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    let seconds =
        |path: &str| standing.pointer(path).and_then(Value::as_u64).map_or_else(|| "-".into(), table::age);
    let servers: Vec<&str> = each(standing, "/cloud/servers").filter_map(Value::as_str).collect();
    let mut rows = vec![
        vec!["node".to_owned(), text("/node")],
        vec!["hub".to_owned(), format!("runs for {}", seconds("/uptimeSeconds"))],
        vec![
            "cloud".to_owned(),
            format!(
                "{} for {} at {}",
                text("/cloud/state"),
                seconds("/cloud/sinceSeconds"),
                servers.join(", ")
            ),
        ],
        vec!["certificate".to_owned(), format!("of the node, ends {}", text("/nodeCertificate/notAfter"))],
        vec![
            "clients".to_owned(),
            format!("{} connections, {} watches", text("/clients/known"), text("/answers/watches")),
        ],
    ];
    rows.push(vec![
        "outbox".to_owned(),
        standing.get("outbox").map_or_else(|| "-".to_owned(), outbox::in_short),
    ]);
    if let Some(why) = standing.pointer("/cloud/why").and_then(Value::as_str) {
        rows.insert(3, vec![String::new(), why.to_owned()]);
    }
    rows.extend(agreement(standing));
    let mut out = table::render(&["", ""], &rows);
    // No head: these are not columns.
    out = out.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
    if let Some(why) = lost(standing) {
        out += &format!("\nnot well: node: {why}\n");
    }
    for check in each(standing, "/checks") {
        if let Some(why) = check.get("why").and_then(Value::as_str) {
            let name = check.get("name").and_then(Value::as_str).unwrap_or_default();
            out += &format!("\nnot well: {name}: {why}\n");
        }
    }
    out
}

/// The items of a list; none where there is no list.
fn each<'a>(standing: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    standing.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

/// What has become of the node in the cloud, if it is no longer the one that kubelet registered.
fn lost(standing: &Value) -> Option<&'static str> {
    match standing.pointer("/nodeObject/state").and_then(Value::as_str)? {
        "deleted" => Some(
            "the cloud has deleted its Node object, and deletes its pods: if that was not meant, restart kubelet while the cloud is \
             reachable; docs/troubleshooting.md says more",
        ),
        "madeAnew" => Some(
            "the cloud has another Node object of its name than kubelet registered: run `systemctl restart kubelet edgekeep-hub` \
             while the cloud is reachable; docs/troubleshooting.md says more",
        ),
        _ => None,
    }
}

/// What is to be said of pods and bindings.
fn agreement(standing: &Value) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut head = |name: &str, text: String| rows.push(vec![name.to_owned(), text]);
    let count = |path: &str| standing.pointer(path).and_then(Value::as_u64);
    match count("/pods/known") {
        None => head("pods", "not known: kubelet has not asked the hub for them yet".to_owned()),
        Some(known) => head("pods", format!("{known} by the API server")),
    }
    let mut name = "outage";
    for struck in each(standing, "/pods/outage") {
        let pods: Vec<&str> = each(struck, "/pods").filter_map(Value::as_str).collect();
        let seconds = struck.get("afterSeconds").and_then(Value::as_u64).unwrap_or_default();
        let text = format!(
            "{seconds} s after it takes the node for unreachable the cloud deletes {}",
            pods.join(", ")
        );
        head(name, text);
        name = "";
    }
    let differences: Vec<&str> = each(standing, "/bindings/differences").filter_map(Value::as_str).collect();
    let trouble = standing.pointer("/bindings/trouble").and_then(Value::as_str);
    let compared =
        count("/bindings/networks").is_some_and(|networks| networks > 0) && count("/pods/known").is_some();
    match (trouble, differences.as_slice()) {
        (Some(trouble), _) => head("bindings", format!("cannot be compared with pods: {trouble}")),
        (None, []) if compared => head("bindings", "agree with the API server".to_owned()),
        (None, some) => {
            let names = std::iter::once("bindings").chain(std::iter::repeat(""));
            names.zip(some).for_each(|(name, text)| head(name, (*text).to_owned()));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(standing: &Value) -> Vec<String> {
        agreement(standing).iter().map(|row| row.join(" ").trim().to_owned()).collect()
    }

    #[test]
    fn every_pod_that_an_outage_deletes_is_named_with_its_seconds() {
        let standing = json!({ "pods": { "known": 4, "outage": [
            { "afterSeconds": 0, "pods": ["shop/c"] },
            { "afterSeconds": 300, "pods": ["shop/a", "shop/b"] },
        ] } });
        assert_eq!(
            told(&standing),
            [
                "pods 4 by the API server",
                "outage 0 s after it takes the node for unreachable the cloud deletes shop/c",
                "300 s after it takes the node for unreachable the cloud deletes shop/a, shop/b",
            ]
        );
    }

    #[test]
    fn bindings_are_spoken_of_where_there_are_some() {
        let of =
            |bindings: Value| told(&json!({ "pods": { "known": 0 }, "bindings": bindings }))[1..].to_vec();
        assert_eq!(of(json!({ "networks": 0 })), Vec::<String>::new());
        assert_eq!(of(json!({ "networks": 1, "differences": [] })), ["bindings agree with the API server"]);
        assert_eq!(of(json!({ "networks": 1, "differences": ["x", "y"] })), ["bindings x", "y"]);
        let unknown = json!({ "pods": { "known": null }, "bindings": { "networks": 1, "differences": [] } });
        assert_eq!(told(&unknown).len(), 1, "nothing was compared");
        let blind = of(json!({ "networks": 0, "differences": ["x"], "trouble": "locked" }));
        assert_eq!(blind, ["bindings cannot be compared with pods: locked"]);
    }

    #[test]
    fn a_node_that_is_lost_in_the_cloud_is_not_well() {
        let state = |state: &str| json!({ "nodeObject": { "state": state } });
        assert!(lost(&state("deleted")).is_some() && lost(&state("madeAnew")).is_some());
        assert!(lost(&state("present")).is_none() && lost(&state("unknown")).is_none());
        assert!(render(&state("deleted")).contains("not well: node: the cloud has deleted"));
    }
}
