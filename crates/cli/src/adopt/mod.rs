//! `edgekeep adopt` and `edgekeep revert`: what was found, what is changed, what remains to be done by hand.

pub mod cni;
pub mod kubelet;
mod service;

use std::process::ExitCode;

use node::change::Verdict;
use serde_json::Value;

use crate::args::Format;
use crate::{Failure, table};

/// Something could not be adopted or brought back.
const INCOMPLETE: u8 = 3;

/// Prints one of the two forms and says how it ended.
fn tell(
    format: Format,
    text: impl FnOnce() -> String,
    document: impl FnOnce() -> Value,
    complete: bool,
) -> Result<ExitCode, Failure> {
    table::print(&match format {
        Format::Text => text(),
        Format::Json => format!("{:#}\n", document()),
    })?;
    Ok(if complete { ExitCode::SUCCESS } else { INCOMPLETE.into() })
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Change => "change",
        Verdict::Done => "done",
        Verdict::Leave => "leave",
        Verdict::Cannot => "cannot",
    }
}

/// A diff, set off from what stands around it.
fn diff(text: &str) -> String {
    text.lines().map(|line| format!("  | {line}\n")).collect()
}
