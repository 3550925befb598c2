//! `edgekeep status`: how the hub of this node stands, asked over its admin socket.

use std::path::Path;
use std::process::ExitCode;

use durable::os::OsFs;
use hub::config::{Config, PATH};
use serde_json::Value;

use crate::args::{Output, Status};
use crate::{Failure, admin, table};

/// Something that must be so for the hub to do its work is not.
const UNWELL: u8 = 3;

pub fn run(what: &Status) -> Result<ExitCode, Failure> {
    let socket = match &what.admin_socket {
        Some(path) => path.clone(),
        None => Config::load(&OsFs, Path::new(PATH), false).map_err(|e| e.to_string())?.admin,
    };
    let answer = admin::get(&socket, "/status")?;
    let standing: Value =
        serde_json::from_str(&answer.body).map_err(|e| format!("the hub's answer cannot be read: {e}"))?;
    table::print(&match what.output {
        Output::Json => format!("{standing:#}\n"),
        Output::Table => render(&standing),
    })?;
    let checks = standing.get("checks").and_then(Value::as_array).into_iter().flatten();
    let well = checks.clone().all(|check| check.get("ok") == Some(&Value::Bool(true)));
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
    let servers = standing.pointer("/cloud/servers").and_then(Value::as_array);
    let servers: Vec<&str> = servers.into_iter().flatten().filter_map(Value::as_str).collect();
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
    if let Some(why) = standing.pointer("/cloud/why").and_then(Value::as_str) {
        rows.insert(3, vec![String::new(), why.to_owned()]);
    }
    let mut out = table::render(&["", ""], &rows);
    // No head: these are not columns.
    out = out.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
    for check in standing.get("checks").and_then(Value::as_array).into_iter().flatten() {
        if let Some(why) = check.get("why").and_then(Value::as_str) {
            let name = check.get("name").and_then(Value::as_str).unwrap_or_default();
            out += &format!("\nnot well: {name}: {why}\n");
        }
    }
    out
}
