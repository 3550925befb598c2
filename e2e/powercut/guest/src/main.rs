//! The first program of the virtual node: runs what the rig outside tells it to, and says how that ended.
//!
//! `guest PORT`, where PORT is the device of a virtio serial port. An order is a line of JSON:
//!
//! | key | what |
//! |---|---|
//! | `id` | stands in the answer |
//! | `argv`, `env`, `stdin` | the program, as it is started |
//! | `makes` | a file to make before, empty, in a directory that is made too |
//! | `removes` | a file to remove after a success |
//! | `stays` | answered when it was started, and told as `ended` when it has; its output goes to the console |
//! | `unflushed` | the kernel answers its `fsync`, `fdatasync`, `sync` and `syncfs` with success and does nothing |
//!
//! The answer is a line of JSON with `id`, `code`, `out` and `err`. Orders are carried out beside each other. After each
//! second of this machine's own a line says `beat`: outside, time is measured by it. What is decided is decided outside:
//! whoever judges must not be the one that loses power.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use serde_json::{Value, json};

/// Numbers of the system calls that make bytes durable, on x86-64: `fsync`, `fdatasync`, `sync`, `syncfs`.
const FLUSHES: [i64; 4] = [74, 75, 162, 306];
/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(1);

fn main() {
    let port = std::env::args().nth(1).unwrap_or_default();
    if let Err(e) = serve(&port) {
        eprintln!("guest: {port}: {e}");
    }
}

fn serve(port: &str) -> io::Result<()> {
    let device = OpenOptions::new().read(true).write(true).open(port)?;
    let answers = Arc::new(Mutex::new(device.try_clone()?));
    answer(&answers, &json!({ "ready": true }))?;
    let beats = Arc::clone(&answers);
    thread::spawn(move || {
        loop {
            thread::sleep(BEAT);
            // Who does not hear it any more has taken the power away.
            let _ = answer(&beats, &json!({ "beat": true }));
        }
    });
    for order in BufReader::new(device).lines() {
        let order: Value = serde_json::from_str(&order?)?;
        let answers = Arc::clone(&answers);
        // A thread of its own, for a filter of system calls is its thread's for ever.
        thread::spawn(move || {
            let mut done =
                carry_out(&order, &answers).unwrap_or_else(|e| json!({ "code": -1, "err": e.to_string() }));
            if let Some(done) = done.as_object_mut() {
                done.insert("id".into(), order.get("id").cloned().unwrap_or_default());
            }
            if let Err(e) = answer(&answers, &done) {
                eprintln!("guest: no answer: {e}");
            }
        });
    }
    Ok(())
}

fn answer(answers: &Mutex<File>, value: &Value) -> io::Result<()> {
    let line = format!("{value}\n");
    answers.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
}

fn carry_out(order: &Value, answers: &Arc<Mutex<File>>) -> io::Result<Value> {
    let text = |key: &str| order.get(key).and_then(Value::as_str);
    let flag = |key: &str| order.get(key).and_then(Value::as_bool).unwrap_or_default();
    if let Some(file) = text("makes") {
        std::fs::create_dir_all(Path::new(file).parent().unwrap_or(Path::new("/")))?;
        File::create(file)?;
    }
    if flag("unflushed") {
        let filter = unflushed().map_err(io::Error::other)?;
        seccompiler::apply_filter(&filter).map_err(io::Error::other)?;
    }
    let mut command = command(order)?;
    if flag("stays") {
        let console = OpenOptions::new().write(true).open("/dev/console")?;
        command.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
        let mut child = command.spawn()?;
        let answers = Arc::clone(answers);
        thread::spawn(move || {
            eprintln!("guest: ended: {:?}", child.wait());
            answer(&answers, &json!({ "ended": true }))
        });
        return Ok(json!({ "code": 0 }));
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // What it is given fits a pipe. Who does not read it says so by how it ends.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(text("stdin").unwrap_or_default().as_bytes()));
    let output = child.wait_with_output()?;
    if let Some(file) = text("removes").filter(|_| output.status.success()) {
        std::fs::remove_file(file)?;
    }
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().unwrap_or(-1);
    Ok(json!({ "code": code, "out": lossy(&output.stdout), "err": lossy(&output.stderr) }))
}

fn command(order: &Value) -> io::Result<Command> {
    let words = order.get("argv").and_then(Value::as_array).into_iter().flatten();
    let words: Vec<&str> = words.filter_map(Value::as_str).collect();
    let (program, rest) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(rest).env_clear();
    let variables = order.get("env").and_then(Value::as_object).into_iter().flatten();
    command.envs(variables.filter_map(|(name, value)| Some((name, value.as_str()?))));
    Ok(command)
}

/// A filter under which making durable does nothing and says that it was done.
fn unflushed() -> Result<BpfProgram, seccompiler::BackendError> {
    let rules: BTreeMap<i64, Vec<_>> = FLUSHES.iter().map(|number| (*number, Vec::new())).collect();
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(0), TargetArch::x86_64)?;
    filter.try_into()
}
