//! `edgekeep leases`: each address, who holds it and why.

mod check;
mod export;
mod release;
mod watch;

use durable::os::OsFs;
use lease::inspect::{Row, Snapshot, networks, snapshot};
use lease::{Identity, Now};
use serde_json::{Value, json};

use crate::args::{Leases, LeasesAction, Look, Output, Places, Select};
use crate::{Failure, table, variable};

/// How long to wait for a plugin call that is under way.
const WAIT: std::time::Duration = std::time::Duration::from_secs(10);
const HEAD: [&str; 8] = ["NETWORK", "ADDRESSES", "POD", "INTERFACE", "STATE", "CONTAINER", "SINCE", "WHY"];

pub fn run(leases: &Leases) -> Result<(), Failure> {
    match &leases.action {
        None if leases.look.watch => watch::run(&leases.look),
        None => list(&leases.look),
        Some(LeasesAction::Release(args)) => release::run(args),
        Some(LeasesAction::Export(args)) => export::run(args),
        Some(LeasesAction::Check(args)) => check::run(args),
    }
}

fn list(look: &Look) -> Result<(), Failure> {
    let (views, now) = views(&look.select, &look.places)?;
    table::print(&match look.output {
        Output::Json => {
            let networks: Vec<Value> = views.iter().map(|view| document(view, look)).collect();
            format!("{:#}\n", json!({ "networks": networks }))
        }
        Output::Table => {
            let rows = views.iter().flat_map(|view| selected(view, look));
            table::render(&HEAD, &rows.map(|row| cells(row, &now)).collect::<Vec<_>>())
        }
    })
}

/// The rows of a network that pass the filters.
fn selected<'a>(view: &'a Snapshot, look: &'a Look) -> impl Iterator<Item = &'a Row> {
    view.rows.iter().filter(|row| {
        let pod = |wanted: &String| match (row.binding.pod(), wanted.split_once('/')) {
            (Some(pod), Some(wanted)) => pod == wanted,
            (Some((_, name)), None) => name == wanted,
            (None, _) => false,
        };
        look.pod.as_ref().is_none_or(pod)
            && (look.state.is_empty() || look.state.iter().any(|state| state.is(row.held)))
            && look.address.is_none_or(|address| row.binding.addresses.contains(&address))
    })
}

/// The networks asked for, as they stand; what is wrong with one goes to stderr.
pub fn views(select: &Select, places: &Places) -> Result<(Vec<Snapshot>, Now), Failure> {
    let now = lease::machine::now(&OsFs, variable).map_err(|e| e.to_string())?;
    let state = places.dirs()?.state;
    let mut names = networks(&OsFs, &state).map_err(|e| e.to_string())?;
    if let Some(wanted) = &select.network {
        names.retain(|name| name == wanted);
        if names.is_empty() {
            return Err(format!("network {wanted} has no bindings in {}", state.display()));
        }
    } else if names.is_empty() {
        eprintln!("edgekeep: no network has bindings in {} yet", state.display());
    }
    let mut views = Vec::new();
    for name in names {
        let view = snapshot(&OsFs, &state, &name, &now.boot, WAIT)
            .map_err(|e| format!("network {name} cannot be shown: {e}"))?;
        for note in &view.notes {
            eprintln!("edgekeep: network {name}: {note}");
        }
        views.push(view);
    }
    Ok((views, now))
}

fn cells(row: &Row, now: &Now) -> Vec<String> {
    let binding = &row.binding;
    let addresses: Vec<String> = binding.addresses.iter().map(ToString::to_string).collect();
    vec![
        row.network.clone(),
        addresses.join(","),
        binding.pod().map_or_else(|| "-".to_owned(), |(namespace, name)| format!("{namespace}/{name}")),
        or_dash(&binding.ifname),
        row.held.as_str().to_owned(),
        or_dash(binding.container.get(..13).unwrap_or(&binding.container)),
        ago(now.wall, binding.since),
        row.why.clone(),
    ]
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// How long ago, in the largest unit that says something; the clock may have been wrong then or be wrong now.
fn ago(now: i64, since: i64) -> String {
    u64::try_from(now.saturating_sub(since)).map_or_else(|_| "in the future".to_owned(), table::age)
}

fn document(view: &Snapshot, look: &Look) -> Value {
    json!({
        "network": view.network,
        "directory": view.directory.display().to_string(),
        "notes": view.notes,
        "leases": selected(view, look).map(lease).collect::<Vec<_>>(),
    })
}

fn lease(row: &Row) -> Value {
    let binding = &row.binding;
    let pod = match &binding.identity {
        Identity::Pod { namespace, name, uid } => json!({ "namespace": namespace, "name": name, "uid": uid }),
        Identity::Container(_) => Value::Null,
    };
    json!({
        "network": row.network,
        "addresses": binding.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "pod": pod,
        "interface": binding.ifname,
        "state": row.held.as_str(),
        "container": binding.container,
        "since": binding.since,
        "born": binding.born,
        "boot": binding.boot,
        "why": row.why,
    })
}

#[cfg(test)]
mod tests {
    use super::ago;

    #[test]
    fn an_age_is_told_in_the_largest_unit_that_says_something() {
        assert_eq!(ago(100, 0), "100s");
        assert_eq!(ago(7_200, 600), "110m");
        assert_eq!(ago(86_400, 0), "24h");
        assert_eq!(ago(1_000_000, 0), "11d");
    }

    #[test]
    fn a_time_that_is_yet_to_come_is_called_so() {
        assert_eq!(ago(0, 1), "in the future");
    }
}
