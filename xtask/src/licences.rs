//! The licences of what is linked into the shipped programs: each asks that its text travel with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::source::output;
use crate::{Result, cargo};

/// Linked into every static program, but no crate.
const NOT_CRATES: &str = "\
Rust's standard library: MIT OR Apache-2.0. Copyright the Rust Project contributors.

musl libc: MIT. Copyright 2005-2020 Rich Felker and others.
";

/// A library: name and version, licence, and where its sources lie.
struct Library {
    name: String,
    licence: String,
    directory: PathBuf,
}

/// One text with the licences of all libraries in `packages` as built for `target`, in the order of their names.
pub fn collect(packages: &[&str], target: &str) -> Result<String> {
    let mut text = String::from(NOT_CRATES);
    for library in libraries(packages, target)? {
        text.push_str(&format!("\n{:-<100}\n{}: {}\n", "", library.name, library.licence));
        for path in licence_files(&library.directory)? {
            let content =
                fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
            text.push_str(&format!("\n{}\n", content.trim_end()));
        }
    }
    Ok(text)
}

fn libraries(packages: &[&str], target: &str) -> Result<Vec<Library>> {
    let mut tree = cargo_command("tree");
    tree.args(["--edges=normal,no-proc-macro", "--prefix=none", "--format={p}", "--target", target]);
    tree.args(packages.iter().flat_map(|package| ["--package", package]));
    let tree = output(&mut tree)?;
    let mut metadata = cargo_command("metadata");
    let metadata = output(metadata.args(["--format-version=1", "--filter-platform", target]))?;
    let metadata: Value =
        serde_json::from_str(&metadata).map_err(|e| format!("cargo metadata printed no JSON: {e}"))?;
    let known = metadata.get("packages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut linked: Vec<_> = known.iter().filter_map(|package| library(package, &tree)).collect();
    linked.sort_by(|a, b| a.name.cmp(&b.name));
    if linked.is_empty() {
        return Err("cargo named no library that is linked into the programs".into());
    }
    Ok(linked)
}

fn cargo_command(verb: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(cargo::workspace_root()).arg(verb).arg("--locked");
    command
}

/// What `cargo metadata` says about a package, if `tree` has it and it is not our own.
fn library(package: &Value, tree: &str) -> Option<Library> {
    let text = |key: &str| package.get(key).and_then(Value::as_str);
    text("source")?;
    let name = format!("{} v{}", text("name")?, text("version")?);
    let linked = tree.lines().any(|line| line == name || line.strip_prefix(&name) == Some(" (*)"));
    linked.then_some(())?;
    Some(Library {
        licence: text("license").unwrap_or("see below").to_owned(),
        directory: Path::new(text("manifest_path")?).parent()?.to_owned(),
        name,
    })
}

/// Files at the root of a crate that carry its licence, in the order of their names.
fn licence_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e| format!("cannot read {}: {e}", directory.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if path.is_file() && ["LICENSE", "LICENCE", "COPYING", "NOTICE"].iter().any(|n| name.starts_with(n)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_counts_only_if_it_is_linked_and_not_ours() {
        let package = |source: Value| {
            serde_json::json!({
                "name": "memchr", "version": "2.8.3", "license": "MIT", "source": source,
                "manifest_path": "/crates/memchr/Cargo.toml",
            })
        };
        let foreign = package("registry".into());
        assert!(library(&foreign, "cli v0.1.0 (/here)\nmemchr v2.8.3 (*)\n").is_some());
        assert!(library(&foreign, "memchr v2.8.3\n").is_some());
        assert!(library(&foreign, "memchr v2.8.30\n").is_none());
        assert!(library(&package(Value::Null), "memchr v2.8.3\n").is_none());
    }
}
