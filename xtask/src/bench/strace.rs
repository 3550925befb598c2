//! What the plugin asks of the kernel, seen through strace: how often it flushes, and how much memory it ever had.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use crate::Result;
use crate::cni_driver::{Call, Plugin};
use crate::scratch;

/// System calls that wait for the disk.
const FLUSHES: [&str; 6] = ["fsync", "fdatasync", "sync_file_range", "sync", "syncfs", "msync"];
/// System calls that may make every write of a file wait for the disk, and the flags that say so.
const OPENERS: [&str; 2] = ["openat", "pwritev2"];
const WAITING_FLAGS: [&str; 4] = ["O_SYNC", "O_DSYNC", "RWF_SYNC", "RWF_DSYNC"];

/// strace, and a directory for what it writes.
pub struct Strace {
    program: PathBuf,
    directory: PathBuf,
}

impl Strace {
    /// Finds strace in `PATH`; `None` if it is not installed.
    pub fn find(directory: &Path) -> Option<Self> {
        let path = env::var_os("PATH")?;
        let program = env::split_paths(&path).map(|d| d.join("strace")).find(|p| p.is_file())?;
        Some(Self { program, directory: directory.to_owned() })
    }

    /// Runs one call and counts its flushes.
    pub fn flushes(&self, plugin: &Plugin, call: Call<'_>) -> Result<u64> {
        let log = self.directory.join("strace.log");
        let watched = [FLUSHES.as_slice(), OPENERS.as_slice()].concat().join(",");
        let mut command = self.command(&log, &[&format!("trace={watched}")]);
        command.arg(plugin.program());
        let output = wait(plugin.spawn_as(command, call)?)?;
        plugin.addresses(call, &output)?;
        count_flushes(&log)
    }

    /// Runs all `calls` at once, with every flush slowed down by `delay`, and counts the flushes of all of them.
    pub fn slowed_flushes(&self, plugin: &Plugin, calls: &[Call<'_>], delay: Duration) -> Result<u64> {
        let log = self.directory.join("strace.log");
        let script = self.swarm_script(plugin, calls);
        let inject = format!("inject={}:delay_enter={}", FLUSHES.join(","), delay.as_micros());
        let mut command = self.command(&log, &[&format!("trace={}", FLUSHES.join(",")), &inject]);
        command.args(["/bin/sh", "-c", &script]);
        let output = command.output().map_err(|e| format!("cannot run strace: {e}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("64 calls under strace: {}: {}", output.status, said.trim()));
        }
        for (number, call) in calls.iter().enumerate() {
            let stdout = fs::read(self.answer(number)).map_err(|e| format!("no answer of a call: {e}"))?;
            plugin.addresses(*call, &std::process::Output { stdout, ..output.clone() })?;
        }
        count_flushes(&log)
    }

    /// Runs one call and reads its peak resident memory, in KiB, while it is held just before its end.
    ///
    /// Not `ru_maxrss`: that never falls below what the parent had when it forked.
    pub fn peak_memory(&self, plugin: &Plugin, call: Call<'_>) -> Result<u64> {
        let log = self.directory.join("strace.log");
        let mut command = self.command(&log, &["trace=exit_group", "inject=exit_group:delay_enter=100000"]);
        command.arg(plugin.program());
        let mut strace = plugin.spawn_as(command, call)?;
        let mut peak = 0;
        while strace.try_wait().map_err(|e| format!("cannot wait for strace: {e}"))?.is_none() {
            peak = peak.max(memory_of_child(strace.id(), plugin.program()).unwrap_or_default());
            thread::sleep(Duration::from_millis(5));
        }
        plugin.addresses(call, &wait(strace)?)?;
        if peak == 0 { Err("strace did not hold the plugin before its end".into()) } else { Ok(peak) }
    }

    fn command(&self, log: &Path, expressions: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-f", "-qq", "--seccomp-bpf", "-o"]).arg(log);
        for expression in expressions {
            command.args(["-e", expression]);
        }
        command.arg("--");
        command
    }

    /// A shell script that starts every call in the background and waits for all of them.
    fn swarm_script(&self, plugin: &Plugin, calls: &[Call<'_>]) -> String {
        let mut script = String::new();
        for (number, call) in calls.iter().enumerate() {
            for (key, value) in plugin.environment(*call) {
                script.push_str(&format!("{key}={} ", quoted(&value)));
            }
            let files =
                [plugin.program(), call.config, &self.answer(number)].map(|path| quoted(path.as_os_str()));
            let [program, config, answer] = files;
            script.push_str(&format!("{program} <{config} >{answer} &\n"));
        }
        script.push_str("wait\n");
        script
    }

    fn answer(&self, number: usize) -> PathBuf {
        self.directory.join(format!("answer-{number}"))
    }
}

fn wait(child: Child) -> Result<std::process::Output> {
    child.wait_with_output().map_err(|e| format!("cannot wait for strace: {e}"))
}

/// The peak resident memory of the child of process `parent` that runs `program`, in KiB.
fn memory_of_child(parent: u32, program: &Path) -> Option<u64> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let runs_program = |pid: &&str| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program);
    let pid = children.split_whitespace().find(runs_program)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
}

fn count_flushes(log: &Path) -> Result<u64> {
    let text = fs::read_to_string(log).map_err(|e| format!("cannot read {}: {e}", log.display()))?;
    scratch::remove_file(log)?;
    Ok(text.lines().map(|line| u64::from(is_flush(line))).sum())
}

/// Whether a line of strace's log is the beginning of a call that waits for the disk. Lines begin with a process
/// id; the second half of a call that was interrupted by another one begins with `<...`.
fn is_flush(line: &str) -> bool {
    let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    let (name, arguments) = call.split_once('(').unwrap_or((call, ""));
    FLUSHES.contains(&name)
        || (OPENERS.contains(&name) && WAITING_FLAGS.iter().any(|flag| arguments.contains(flag)))
}

/// A word that a POSIX shell takes literally.
fn quoted(word: &OsStr) -> String {
    format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_waits_for_the_disk_counts_once_even_when_it_is_interrupted() {
        assert!(is_flush("4711  fdatasync(5 <unfinished ...>"));
        assert!(!is_flush("4711  <... fdatasync resumed>) = 0 (DELAYED)"));
        assert!(is_flush("12 fsync(3) = 0"));
    }

    #[test]
    fn a_file_whose_every_write_waits_counts_too() {
        assert!(is_flush(r#"9 openat(AT_FDCWD, "/x/journal", O_RDWR|O_DSYNC) = 3"#));
        assert!(!is_flush(r#"9 openat(AT_FDCWD, "/x/journal", O_RDWR|O_CLOEXEC) = 3"#));
    }
}
