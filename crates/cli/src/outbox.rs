//! `edgekeep outbox`: what waits for the cloud, asked of the hub over its admin socket, and dropped by an operator's word.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::args::{AtHub, Outbox, OutboxAction, OutboxDrop, OutboxShow, Output, WhichEntry};
use crate::{Failure, admin, table};

const HEAD: [&str; 7] = ["OBJECT", "WHAT", "AS", "SINCE", "WRITES", "SIZE", "WAITS FOR"];

pub fn run(what: &Outbox) -> Result<(), Failure> {
    match &what.action {
        Some(OutboxAction::Show(what)) => show(what),
        Some(OutboxAction::Drop(what)) => drop(what),
        None => {
            let all = ask(&socket(&what.hub)?, "/outbox")?;
            table::print(&match what.output {
                Output::Json => format!("{all:#}\n"),
                Output::Table => render(&all),
            })
        }
    }
}

fn show(what: &OutboxShow) -> Result<(), Failure> {
    let socket = socket(&what.hub)?;
    let all = ask(&socket, "/outbox")?;
    for entry in matching(&all, &what.which)? {
        let content = ask(&socket, &format!("/outbox/{}", text(entry, "id")))?;
        table::print(&format!("{content:#}\n"))?;
    }
    Ok(())
}

fn drop(what: &OutboxDrop) -> Result<(), Failure> {
    let socket = socket(&what.hub)?;
    let all = ask(&socket, "/outbox")?;
    let found = matching(&all, &what.which)?;
    let [entry] = found.as_slice() else {
        let each =
            found.iter().map(|one| format!("--as '{}' --uid '{}'", text(one, "writer"), text(one, "uid")));
        let each: Vec<String> = each.collect();
        return Err(format!(
            "more than one thing of {} waits, say which: {}",
            what.which.object,
            each.join(", or ")
        ));
    };
    let told = format!(
        "{}: {} as {}, {} writes since {}, {}",
        object(entry),
        told(entry),
        text(entry, "writer"),
        number(entry, "writes"),
        text(entry, "since"),
        table::size(number(entry, "bytes"))
    );
    if what.dry_run {
        return table::print(&format!("would be dropped: {told}\nnothing was changed\n"));
    }
    let body = json!({ "id": entry.get("id"), "writes": entry.get("writes"), "reason": what.reason });
    let answer = admin::post(&socket, "/outbox/drop", &body.to_string())?;
    if answer.code != 200 {
        return Err(format!("{}: {}", object(entry), answer.body.trim()));
    }
    table::print(&format!("dropped: {told}\n"))
}

fn socket(hub: &AtHub) -> Result<PathBuf, Failure> {
    admin::socket(hub.admin_socket.as_deref())
}

fn ask(socket: &Path, path: &str) -> Result<Value, Failure> {
    let answer = admin::get(socket, path)?;
    if answer.code != 200 {
        return Err(format!("the hub says: {}", answer.body.trim()));
    }
    serde_json::from_str(&answer.body).map_err(|e| format!("the hub's answer cannot be read: {e}"))
}

/// What waits of an object; at least one thing.
fn matching<'a>(all: &'a Value, which: &WhichEntry) -> Result<Vec<&'a Value>, Failure> {
    let is_it = |entry: &&Value| {
        let names = [object(entry), format!("{}/{}", text(entry, "resource"), place(entry))];
        let by = which.writer.as_deref().is_none_or(|writer| writer == text(entry, "writer"));
        let of = which.uid.as_deref().is_none_or(|uid| uid == text(entry, "uid"));
        names.contains(&which.object) && by && of
    };
    let found: Vec<&Value> = entries(all).filter(is_it).collect();
    if found.is_empty() {
        return Err(format!("nothing of {} waits; `edgekeep outbox` shows what does", which.object));
    }
    Ok(found)
}

fn render(all: &Value) -> String {
    let cells = |entry: &Value| {
        vec![
            object(entry),
            told(entry),
            text(entry, "writer").to_owned(),
            table::age(number(entry, "ageSeconds")),
            number(entry, "writes").to_string(),
            table::size(number(entry, "bytes")),
            waits_for(entry),
        ]
    };
    let rows: Vec<Vec<String>> = entries(all).map(cells).collect();
    let sum = all.get("standing").map(in_short).unwrap_or_default();
    if rows.is_empty() { format!("{sum}\n") } else { format!("{}\n{sum}\n", table::render(&HEAD, &rows)) }
}

/// How much waits, in a line.
pub fn in_short(standing: &Value) -> String {
    let (states, events) = (number(standing, "states"), number(standing, "events"));
    let many =
        |count: u64, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    let mut out = match (states, events) {
        (0, 0) => "nothing waits".to_owned(),
        _ => {
            let waits = if states + events == 1 { "waits" } else { "wait" };
            let since = table::age(number(standing, "oldestSeconds"));
            format!("{} and {} {waits} since {since}", many(states, "state"), many(events, "event"))
        }
    };
    let limit = table::size(number(standing, "limitBytes"));
    out += &format!(", {} of {limit}", table::size(number(standing, "bytes")));
    match number(standing, "eventsGivenUp") {
        0 => out,
        count => format!("{out}; {} given up since the hub began", many(count, "event")),
    }
}

fn entries(all: &Value) -> impl Iterator<Item = &Value> {
    all.get("entries").and_then(Value::as_array).into_iter().flatten()
}

/// The object, as it is named to drop what waits of it.
fn object(entry: &Value) -> String {
    let group =
        text(entry, "apiVersion").split_once('/').map_or(String::new(), |(group, _)| format!(".{group}"));
    format!("{}{group}/{}", text(entry, "resource"), place(entry))
}

fn place(entry: &Value) -> String {
    match text(entry, "namespace") {
        "" => text(entry, "name").to_owned(),
        namespace => format!("{namespace}/{}", text(entry, "name")),
    }
}

/// What is to be told of it.
fn told(entry: &Value) -> String {
    let what = entry.get("what").unwrap_or(&Value::Null);
    match text(what, "kind") {
        "state" => "status".to_owned(),
        "finished" => "end and deletion".to_owned(),
        "members" => {
            let count = |name: &str| what.get(name).and_then(Value::as_array).map_or(0, Vec::len);
            let parts = [("annotations", count("annotations")), ("conditions", count("conditions"))];
            let parts = parts.into_iter().filter(|(_, count)| *count > 0);
            parts.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
        }
        "object" => "whole object".to_owned(),
        "event" => match number(what, "count") {
            0 | 1 => "event".to_owned(),
            count => format!("event, {count} times"),
        },
        other => other.to_owned(),
    }
}

fn waits_for(entry: &Value) -> String {
    match text(entry, "waitsFor") {
        "link" => "the link".to_owned(),
        "kubelet" => "kubelet to write".to_owned(),
        "credential" => "a token of its writer".to_owned(),
        "turn" => "its turn".to_owned(),
        "answer" => "the cloud's answer".to_owned(),
        "retry" => "another try".to_owned(),
        "permission" => format!("permission: {}", text(entry, "why")),
        other => other.to_owned(),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_sums_says_what_waits_and_what_was_given_up() {
        let none = json!({ "states": 0, "events": 0, "bytes": 0, "limitBytes": 16 << 20 });
        assert_eq!(in_short(&none), "nothing waits, 0 B of 16 MiB");
        let some = json!({ "states": 1, "events": 2, "bytes": 20_000, "limitBytes": 16 << 20, "oldestSeconds": 300,
            "eventsGivenUp": 1 });
        let said =
            "1 state and 2 events wait since 5m, 19 KiB of 16 MiB; 1 event given up since the hub began";
        assert_eq!(in_short(&some), said);
    }
}
