//! What the kernel says of a program on a machine.

use anyhow::{Context, Result, anyhow, bail};

use crate::machine::Machine;

/// Ticks a second of the kernel's process times: `getconf CLK_TCK` on every Linux that Kubernetes runs on.
const TICK_MICROS: u64 = 10_000;

/// Memory of a process in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident, mapped pages of its program counted.
    pub resident: u64,
    /// Of that, what is no file's.
    pub own: u64,
}

/// Of the program that the machine has started as `name`.
fn told(machine: &Machine, name: &str, file: &str) -> Result<String> {
    machine.run(&["sh", "-c", &format!("cat /proc/$(cat /run/{name}.pid)/{file}")])
}

/// The number in the line of `text` that begins with `key`.
fn number(text: &str, key: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let word = line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse().ok());
    word.ok_or_else(|| anyhow!("no {key} in {text}"))
}

/// Memory of a program.
///
/// # Errors
///
/// It does not run.
pub fn memory(machine: &Machine, name: &str) -> Result<Memory> {
    let status = told(machine, name, "status")?;
    Ok(Memory { resident: number(&status, "VmRSS:")?, own: number(&status, "RssAnon:")? })
}

/// Processor time that a program has used so far, in microseconds.
///
/// # Errors
///
/// It does not run.
pub fn processor(machine: &Machine, name: &str) -> Result<u64> {
    let told = told(machine, name, "stat")?;
    // The name of the program, in parentheses, may hold anything.
    let rest = told.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: Vec<u64> =
        rest.split_whitespace().skip(11).take(2).filter_map(|word| word.parse().ok()).collect();
    match ticks.as_slice() {
        [user, system] => Ok((user + system) * TICK_MICROS),
        _ => bail!("no times in {told}"),
    }
}

/// Bytes that a program has handed to the disk so far.
///
/// # Errors
///
/// It does not run.
pub fn written(machine: &Machine, name: &str) -> Result<u64> {
    number(&told(machine, name, "io")?, "write_bytes:")
}

/// Bytes of the files below a directory of the machine.
///
/// # Errors
///
/// There is no such directory.
pub fn size(machine: &Machine, directory: &str) -> Result<u64> {
    let told = machine.run(&["du", "--summarize", "--apparent-size", "--bytes", directory])?;
    let word = told.split_whitespace().next().and_then(|word| word.parse().ok());
    word.with_context(|| format!("du said {told:?}"))
}
