//! `edgekeep status`: how the hub of this node stands, asked over its admin socket.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use durable::os::OsFs;
use hub::config::{Config, PATH};
use serde_json::Value;

use crate::args::{Output, Status};
use crate::{Failure, table};

/// Something that must be so for the hub to do its work is not.
const UNWELL: u8 = 3;
/// How long the hub may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_ANSWER: u64 = 1 << 20;

pub fn run(what: &Status) -> Result<ExitCode, Failure> {
    let socket = match &what.admin_socket {
        Some(path) => path.clone(),
        None => Config::load(&OsFs, Path::new(PATH), false).map_err(|e| e.to_string())?.admin,
    };
    let text = ask(&socket).map_err(|e| {
        let advice = match e.kind() {
            std::io::ErrorKind::PermissionDenied => "be root, or in the group edgekeep",
            _ => "is edgekeep-hub.service running?",
        };
        format!("the hub does not answer at {}: {e}; {advice}", socket.display())
    })?;
    let standing: Value =
        serde_json::from_str(&text).map_err(|e| format!("the hub's answer cannot be read: {e}"))?;
    table::print(&match what.output {
        Output::Json => format!("{standing:#}\n"),
        Output::Table => render(&standing),
    })?;
    let checks = standing.get("checks").and_then(Value::as_array).into_iter().flatten();
    let well = checks.clone().all(|check| check.get("ok") == Some(&Value::Bool(true)));
    Ok(if well { ExitCode::SUCCESS } else { UNWELL.into() })
}

/// The answer's body. HTTP/1.0: it ends with the connection.
fn ask(socket: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /status HTTP/1.0\r\nhost: hub\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    body.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
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
