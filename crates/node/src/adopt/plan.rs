//! From what stands on the node to what is to be changed: pure, so that `--dry-run` and the real run cannot differ.
//!
//! Invariant: no plan names a plugin in a configuration without a directory in which that plugin stands or is put.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cni::json::Json;

use super::rules::{self, Around, As, Finding, OURS, STOCK, Seen};
use super::text;

/// What stands on the node.
#[derive(Debug, Default)]
pub struct Facts {
    /// Configuration directories with the directories in which the runtime that reads them finds its plugins.
    pub layouts: Vec<Layout>,
}

/// What belongs together.
#[derive(Debug, Default)]
pub struct Layout {
    /// Every configuration, as the runtime loads them: by directory, in it by the bytes of the name.
    pub files: Vec<ConfFile>,
    /// The directories of plugins that exist.
    pub bin_dirs: Vec<BinDir>,
}

/// One configuration.
#[derive(Debug)]
pub struct ConfFile {
    /// Its path without symbolic links, if it has one that may be written.
    pub path: PathBuf,
    /// Whether it is the first one in a directory that a runtime reads: the one it uses.
    pub runtime: bool,
    /// What is in it, or why it is not touched.
    pub content: Result<Vec<u8>, String>,
    /// Its permissions.
    pub mode: u32,
}

/// A directory of plugins.
#[derive(Debug)]
pub struct BinDir {
    /// Its path.
    pub path: PathBuf,
    /// Whether the operator named it.
    pub given: bool,
    /// The names in it.
    pub names: BTreeSet<String>,
    /// What stands under the name `edgekeep-ipam`.
    pub own: Held,
    /// What stands under the name `host-local`.
    pub stock: Held,
}

/// What stands under the name of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Nothing.
    Absent,
    /// Our plugin: the one that would be put there, or another version of it.
    Ours {
        /// Whether it is the one that would be put there.
        current: bool,
    },
    /// Another program.
    Foreign,
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    /// The configurations and what becomes of them.
    pub files: Vec<FilePlan>,
    /// The programs to put, take away or bring back, in this order.
    pub programs: Vec<Program>,
    /// Where the adopted networks keep their leases.
    pub data_dirs: BTreeSet<PathBuf>,
}

/// One configuration and what becomes of it.
#[derive(Debug)]
pub struct FilePlan {
    /// Its path.
    pub path: PathBuf,
    /// Whether it is the one that a runtime uses.
    pub runtime: bool,
    /// The network's name.
    pub network: Option<String>,
    /// What was recognised.
    pub findings: Vec<Finding>,
    /// What the operator has to do elsewhere so that the change lasts.
    pub advice: Vec<String>,
    /// The change.
    pub change: Option<Change>,
}

/// Old and new content of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What is in it.
    pub old: Vec<u8>,
    /// What will be in it.
    pub new: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
}

/// One program and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its path.
    pub path: PathBuf,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Ours is put there; what stands there is kept as a backup first.
    Put {
        /// What stands there.
        over: Held,
    },
    /// What stood there before comes back, from this backup.
    Back(String),
    /// It is taken away.
    Gone,
    /// It stays, and rightly so.
    Stays(String),
    /// It should go and cannot.
    Stuck(String),
}

/// Plans the adoption.
pub fn plan(facts: &Facts, how: As) -> Plan {
    let mut plan = Plan::default();
    for layout in &facts.layouts {
        plan_layout(layout, how, &mut plan);
    }
    plan
}

fn plan_layout(layout: &Layout, how: As, plan: &mut Plan) {
    let mut read = look_all(layout, how);
    let named: BTreeSet<&str> =
        read.iter().flat_map(|(_, seen)| seen.plugins.iter().map(String::as_str)).collect();
    let dirs: Vec<&BinDir> = layout
        .bin_dirs
        .iter()
        .filter(|dir| {
            dir.given || dir.names.contains(STOCK) || named.iter().any(|name| dir.names.contains(*name))
        })
        .collect();
    let (mut own, mut stock) = (false, false);
    for (file, seen) in &mut read {
        if dirs.is_empty() && (seen.by_stock_name || seen.names_us) {
            seen.give_up(
                "left untouched: no directory with its plugins was found; name it with --bin-dir".into(),
            );
        }
        let file = plan_file(file, seen);
        own |= seen.names_us;
        stock |= seen.by_stock_name;
        plan.data_dirs.extend(seen.data_dirs.drain(..));
        plan.files.push(file);
    }
    for dir in &dirs {
        if own {
            put(dir.path.join(OURS), dir.own, plan);
        }
        if stock {
            put(dir.path.join(STOCK), dir.stock, plan);
        }
    }
}

/// Once our program stands under the name `host-local`, every network that names it is ours without another change. So
/// one that needs the name decides for all: the outcome does not depend on what an earlier run got done.
fn look_all(layout: &Layout, how: As) -> Vec<(&ConfFile, Seen)> {
    let stock_is_ours = stock_is_ours(&layout.bin_dirs);
    let look_as =
        |how| layout.files.iter().map(|file| (file, look(file, how, stock_is_ours))).collect::<Vec<_>>();
    let read = look_as(how);
    if how == As::Auto && (stock_is_ours || read.iter().any(|(_, seen)| seen.by_stock_name)) {
        return look_as(As::StockName);
    }
    read
}

/// Whether a call of `host-local` reaches us wherever it is looked for.
fn stock_is_ours(dirs: &[BinDir]) -> bool {
    let mut standing = dirs.iter().map(|dir| dir.stock).filter(|held| *held != Held::Absent).peekable();
    standing.peek().is_some() && standing.all(|held| matches!(held, Held::Ours { .. }))
}

fn look(file: &ConfFile, how: As, stock_is_ours: bool) -> Seen {
    let mut seen = Seen::default();
    let config = match &file.content {
        Ok(bytes) => understand(bytes),
        Err(why) => Err(why.clone()),
    };
    match config {
        Ok(config) => {
            let dir = file.path.parent().unwrap_or(Path::new("/"));
            let name = file.path.file_name().unwrap_or_default().to_string_lossy();
            seen = rules::read(&config, Around { dir, file: &name, how, stock_is_ours });
        }
        Err(why) => seen.give_up(format!("left untouched: {why}")),
    }
    seen
}

/// The tree, if the bytes mean the same to everybody who reads them.
pub fn understand(bytes: &[u8]) -> Result<Json, String> {
    if std::str::from_utf8(bytes).is_err() {
        return Err("it is not UTF-8 text".into());
    }
    Json::parse(bytes).map_err(|why| format!("it is not JSON ({why})"))
}

fn plan_file(file: &ConfFile, seen: &mut Seen) -> FilePlan {
    let change = match edited(file, seen) {
        Ok(change) => change,
        Err(why) => {
            seen.give_up(format!("left untouched: {why}"));
            None
        }
    };
    FilePlan {
        path: file.path.clone(),
        runtime: file.runtime,
        network: seen.network.take(),
        findings: std::mem::take(&mut seen.findings),
        advice: std::mem::take(&mut seen.advice),
        change,
    }
}

fn edited(file: &ConfFile, seen: &Seen) -> Result<Option<Change>, String> {
    let (Ok(old), false) = (&file.content, seen.edits.is_empty()) else { return Ok(None) };
    let mut text = String::from_utf8(old.clone()).map_err(|_| "it is not UTF-8 text")?;
    for edit in &seen.edits {
        text = text::apply(&text, edit, OURS)?;
    }
    Ok(Some(Change { old: old.clone(), new: text.into_bytes(), mode: file.mode }))
}

fn put(path: PathBuf, held: Held, plan: &mut Plan) {
    let program = Program { path, fate: Fate::Put { over: held } };
    if held != (Held::Ours { current: true }) && !plan.programs.contains(&program) {
        plan.programs.push(program);
    }
}
