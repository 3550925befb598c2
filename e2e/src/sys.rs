//! Programs of the machine: run them, wait for them, say which one failed and what it wrote.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A command from its words; the first is the program.
pub fn command(words: &[&str]) -> Command {
    let (program, arguments) = words.split_first().unwrap_or((&"true", &[]));
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs `command` to its end and returns what it wrote to stdout, trimmed.
///
/// # Errors
///
/// The program could not be started, or ended with another status than 0: the text then names the command and
/// holds what it wrote to stderr.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let done = command.output().with_context(|| format!("cannot run {shown}"))?;
    text(&shown, done)
}

fn text(shown: &str, done: Output) -> Result<String> {
    if !done.status.success() {
        bail!("{shown} ended with {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

/// As [`output`], with `input` as the command's stdin.
///
/// # Errors
///
/// As [`output`].
pub fn output_of(command: &mut Command, input: &str) -> Result<String> {
    let shown = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {shown}"))?;
    let (stdin, input) = (child.stdin.take(), input.to_owned());
    // A program that answers while it reads would block for ever on a pipe that nobody empties.
    let feeder = std::thread::spawn(move || stdin.map(|mut pipe| pipe.write_all(input.as_bytes())));
    let done = child.wait_with_output().with_context(|| format!("cannot wait for {shown}"))?;
    // That it closed its stdin early is for its own status to tell.
    drop(feeder.join());
    text(&shown, done)
}

/// [`output`] of the command made of `words`.
///
/// # Errors
///
/// As [`output`].
pub fn run(words: &[&str]) -> Result<String> {
    output(&mut command(words))
}

/// Asks `ready` every 20 ms until it says `true`, at most for `limit`. Says whether it did.
pub fn wait_until(limit: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if ready() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks `ready` five times a second until it answers, at most for `limit`, and hands its answer back.
///
/// # Errors
///
/// It has not; the text says that of `what`, and why not.
pub async fn until<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        match ready() {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= end => {
                return Err(error.context(format!("{what}: not within {limit:?}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// A fresh random id in the kernel's UUID form.
///
/// # Errors
///
/// /proc is not mounted.
pub fn uuid() -> Result<String> {
    let path = "/proc/sys/kernel/random/uuid";
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(text.trim().to_owned())
}
