//! Whether `sections.ld` still names what there is.

// A test: where something is not there that must be, to end at that line is the answer.
#![allow(clippy::panic)]

use std::path::Path;

/// The names in a mangled path, whose bytes each one's length precedes: `4node6doctor`.
fn names(mut path: &str) -> Vec<&str> {
    let mut names = Vec::new();
    loop {
        let digits = path.find(|c: char| !c.is_ascii_digit()).unwrap_or(path.len());
        let (length, rest) = path.split_at(digits);
        let Some((name, rest)) = length.parse().ok().and_then(|length| rest.split_at_checked(length)) else {
            return names;
        };
        names.push(name);
        path = rest;
    }
}

#[test]
fn every_crate_and_module_of_ours_that_is_laid_apart_is_there() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let script = include_str!("../sections.ld");
    let paths = script.split_whitespace().filter_map(|word| word.split_once(".text.*_"));
    let mut seen = 0;
    for (_, path) in paths {
        let names = names(path);
        let (krate, inner) = names.split_first().unwrap_or_else(|| panic!("no name in {path}"));
        let source = crates.join(krate).join("src");
        if !source.exists() {
            continue;
        }
        seen += 1;
        let (mut place, mut text) = (source.clone(), source.join("lib.rs"));
        for name in inner {
            let declared = std::fs::read_to_string(&text).unwrap_or_default();
            if declared.contains(&format!("fn {name}(")) || declared.contains(&format!("struct {name}")) {
                break;
            }
            place = place.join(name);
            text = place.with_extension("rs");
            assert!(text.exists() || place.is_dir(), "{path}: there is no {}", text.display());
        }
    }
    assert!(seen > 40, "only {seen} names are of this workspace");
}
