//! `edgekeep leases release`: an operator's word ends a binding.

use std::path::PathBuf;

use cni::retain::Policy;
use durable::os::OsFs;
use lease::inspect::{networks, snapshot};
use lease::{Places, Store, Which};

use super::WAIT;
use crate::args::Release;
use crate::{Failure, table, variable};

pub fn run(release: &Release) -> Result<(), Failure> {
    let which = parse(&release.what)?;
    let now = lease::machine::now(&OsFs, variable).map_err(|e| e.to_string())?;
    let dirs = release.places.dirs()?;
    let mut names = networks(&OsFs, &dirs.state).map_err(|e| e.to_string())?;
    names.retain(|name| release.network.as_ref().is_none_or(|wanted| wanted == name));
    let policy = Policy { lock_timeout: WAIT, ..Policy::default() };
    let mut text = String::new();
    for name in names {
        let seen = snapshot(&OsFs, &dirs.state, &name, &now.boot, WAIT).map_err(|e| e.to_string())?;
        if !seen.rows.iter().any(|row| which.is(&row.binding)) {
            continue;
        }
        let places = Places { data: seen.directory, ..dirs.places(&PathBuf::new(), &name) };
        let failed = |e: lease::Error| format!("network {name}: {e}");
        let mut store = Store::open(&OsFs, &places, &now, &policy).map_err(failed)?;
        let ended = store.forget(&which, release.force);
        let (flush, notes) = store.finish();
        notes.iter().for_each(|note| eprintln!("edgekeep: network {name}: {note}"));
        let ended = ended.map_err(failed)?;
        flush.map_or(Ok(()), lease::Flush::run).map_err(failed)?;
        for binding in ended {
            let addresses: Vec<String> = binding.addresses.iter().map(ToString::to_string).collect();
            text += &format!("{name}: {} no longer held for {}\n", addresses.join(","), binding.identity);
        }
    }
    if text.is_empty() {
        return Err(format!("nothing is held under {} in {}", release.what, dirs.state.display()));
    }
    table::print(&text)
}

fn parse(what: &str) -> Result<Which, Failure> {
    if let Ok(address) = what.parse() {
        return Ok(Which::Address(address));
    }
    match what.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok(Which::Pod(namespace.to_owned(), name.to_owned()))
        }
        _ => Err(format!("{what} is neither an address nor a pod as namespace/name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_release_is_an_address_or_a_pod() {
        assert_eq!(parse("10.0.0.5"), Ok(Which::Address([10, 0, 0, 5].into())));
        assert_eq!(parse("shop/web-0"), Ok(Which::Pod("shop".into(), "web-0".into())));
        assert!(parse("web-0").is_err() && parse("/web-0").is_err());
    }
}
