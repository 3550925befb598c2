//! `edgekeep leases check`: journal, host-local's directory and the kernel, do they say the same?

use std::path::Path;

use lease::inspect::{Held, Row, Snapshot};
use node::kernel::{Netns, NetnsId, namespaces, netns_of};

use crate::args::Check;
use crate::{Failure, table};

/// What was found wrong, a line each.
pub fn run(check: &Check) -> Result<(), Failure> {
    let (views, _) = super::views(&check.select, &check.places)?;
    let kernel = namespaces().map_err(|e| format!("cannot look into the network namespaces: {e}"))?;
    let mut problems = Vec::new();
    for view in &views {
        let found = wrong(view, &kernel, netns_of);
        problems.extend(found.into_iter().map(|problem| format!("{}: {problem}", view.network)));
    }
    let live = views.iter().flat_map(|view| &view.rows).filter(|row| is_live(row)).count();
    if problems.is_empty() {
        return table::print(&format!(
            "{} networks, {live} live bindings, {} network namespaces: no contradiction\n",
            views.len(),
            kernel.len()
        ));
    }
    table::print(&format!("{}\n", problems.join("\n")))?;
    Err(format!("{} contradictions", problems.len()))
}

fn is_live(row: &Row) -> bool {
    matches!(row.held, Held::Live | Held::Foreign)
}

fn wrong(view: &Snapshot, kernel: &[Netns], netns: impl Fn(&Path) -> Option<NetnsId>) -> Vec<String> {
    let mut problems: Vec<String> = view.notes.clone();
    problems.extend(view.contradictions.iter().cloned());
    for row in view.rows.iter().filter(|row| is_live(row) && !row.binding.netns.is_empty()) {
        let path = Path::new(&row.binding.netns);
        let Some(id) = netns(path) else {
            problems.push(format!(
                "{} is live for {}, whose network namespace {} is gone: the runtime has not sent a DEL",
                list(row),
                row.binding.identity,
                path.display()
            ));
            continue;
        };
        // One without a process in it cannot be looked into.
        let Some(inside) = kernel.iter().find(|one| one.id == id) else { continue };
        for address in row.binding.addresses.iter().filter(|address| !inside.addresses.contains(address)) {
            problems.push(format!(
                "{address} is live for {}, yet not configured in its network namespace {}",
                row.binding.identity,
                path.display()
            ));
        }
    }
    for inside in kernel {
        for address in inside.addresses.iter().filter(|address| view.in_range(**address)) {
            let holder = view.rows.iter().find(|row| row.binding.addresses.contains(address));
            let held = match holder {
                None => "held by nobody".to_owned(),
                Some(row) if !is_live(row) => {
                    format!("{} for {}", row.held.as_str(), row.binding.identity)
                }
                Some(row) if row.binding.netns.is_empty() => continue,
                Some(row) if netns(Path::new(&row.binding.netns)) == Some(inside.id) => continue,
                Some(row) => format!("live for {} in another network namespace", row.binding.identity),
            };
            problems.push(format!(
                "{address} is configured in the network namespace of process {}, yet {held}",
                inside.pid
            ));
        }
    }
    problems
}

fn list(row: &Row) -> String {
    row.binding.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
