//! `edgekeep leases --watch`: the table, then a line for whatever changes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use lease::inspect::Snapshot;

use crate::args::Look;
use crate::{Failure, table};

/// How often to look whether anything was written.
const EVERY: Duration = Duration::from_secs(1);

/// One line of the table by what it is about.
type Lines = BTreeMap<(String, String), Vec<String>>;

/// Goes on until the reader goes away or the program is interrupted.
pub fn run(look: &Look) -> Result<(), Failure> {
    let mut shown = Lines::new();
    let mut seen = None;
    loop {
        let (views, now) = super::views(&look.select, &look.places)?;
        let stamp = stamp(&views, look)?;
        if seen.as_ref() != Some(&stamp) {
            let lines: Lines = views
                .iter()
                .flat_map(|view| super::selected(view, look))
                .map(|row| {
                    let cells = super::cells(row, &now);
                    let key = (row.network.clone(), cells.get(1).cloned().unwrap_or_default());
                    (key, cells)
                })
                .collect();
            print(&shown, &lines, seen.is_none())?;
            (shown, seen) = (lines, Some(stamp));
        }
        std::thread::sleep(EVERY);
    }
}

fn print(before: &Lines, after: &Lines, first: bool) -> Result<(), Failure> {
    // An age alone is no change.
    let same = |a: &[String], b: &[String]| a.iter().zip(b).enumerate().all(|(at, (a, b))| at == 6 || a == b);
    let changed = after.iter().filter(|(key, cells)| !before.get(*key).is_some_and(|old| same(old, cells)));
    let mut rows: Vec<Vec<String>> = changed.map(|(_, cells)| cells.clone()).collect();
    for (_, cells) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
        let mut cells = cells.clone();
        if let [_, _, _, _, state, _, _, why] = cells.as_mut_slice() {
            "ended".clone_into(state);
            "no longer held".clone_into(why);
        }
        rows.push(cells);
    }
    let text = table::render(&super::HEAD, &rows);
    let body = text.split_once('\n').map_or("", |(_, body)| body);
    table::print(if first { &text } else { body })
}

/// When what is looked at was last written.
fn stamp(views: &[Snapshot], look: &Look) -> Result<Vec<Option<SystemTime>>, Failure> {
    let state = look.places.dirs()?.state;
    let modified = |path: PathBuf| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    Ok(views
        .iter()
        .flat_map(|view| {
            [modified(state.join(&view.network).join("journal")), modified(view.directory.clone())]
        })
        .collect())
}
