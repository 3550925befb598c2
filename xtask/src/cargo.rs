//! Builds of the product, made with the cargo that runs us.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Result;

/// The root of the workspace from which cargo runs us.
pub fn workspace_root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let here = PathBuf::from(here);
    here.parent().unwrap_or(&here).to_owned()
}

/// The directory for things that are built.
pub fn target_dir() -> PathBuf {
    workspace_root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Builds the binary `bin` of `package` in release mode, for this machine or for `target`, and says where it is.
/// Quiet unless the build fails; then the error carries what cargo said.
pub fn build(package: &str, bin: &str, target: Option<&str>) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(&cargo);
    command.current_dir(workspace_root());
    command.args(["build", "--release", "--package", package, "--bin", bin]);
    command.arg("--message-format=json-render-diagnostics");
    if let Some(target) = target {
        ensure_target(target)?;
        command.args(["--target", target]);
    }
    let output = command.output().map_err(|e| format!("cannot run {}: {e}", cargo.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("building {bin} failed:\n{}", said.trim_end()));
    }
    executable(&output.stdout, bin)
        .ok_or_else(|| format!("cargo built package {package} but named no program {bin}"))
}

/// Finds the program among cargo's messages, one JSON document a line.
fn executable(messages: &[u8], bin: &str) -> Option<PathBuf> {
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .find_map(|message| {
            let ours = message.pointer("/target/name").and_then(Value::as_str) == Some(bin);
            message.get("executable").and_then(Value::as_str).filter(|_| ours).map(PathBuf::from)
        })
}

/// Installs Rust's standard library for `target` unless it is there.
fn ensure_target(target: &str) -> Result<()> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let libdir = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", target])
        .output()
        .map_err(|e| format!("cannot run {}: {e}", rustc.display()))?;
    if Path::new(String::from_utf8_lossy(&libdir.stdout).trim()).is_dir() {
        return Ok(());
    }
    eprintln!("installing Rust's standard library for {target}");
    let advice = format!("install Rust's standard library for {target} with your Rust distribution");
    match Command::new("rustup").args(["target", "add", target]).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`rustup target add {target}` failed ({status}); {advice}")),
        Err(e) => Err(format!("cannot run rustup: {e}; {advice}")),
    }
}
