//! Container images made on the spot, as docker-archive tars: no registry is asked for anything.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::sys::run;

/// The image of a sandbox's first process.
pub const PAUSE: &str = "edgekeep.invalid/pause:e2e";
/// The image of the pods' containers: busybox alone.
pub const BUSYBOX: &str = "edgekeep.invalid/busybox:e2e";

/// Compiles the program that holds namespaces open into `dir`.
///
/// # Errors
///
/// No C compiler, or no static C library.
pub fn build_pause(dir: &Path) -> Result<PathBuf> {
    let (source, program) = (dir.join("pause.c"), dir.join("pause"));
    fs::write(&source, include_str!("pause.c"))?;
    run(&["gcc", "-static", "-Os", "-o", text(&program)?, text(&source)?])?;
    Ok(program)
}

/// Writes into `dir` an archive of an image called `reference` that holds `program` as `inside`, and returns its path.
///
/// # Errors
///
/// The program cannot be copied, or the directory cannot be written.
pub fn archive(dir: &Path, reference: &str, program: &Path, inside: &str) -> Result<PathBuf> {
    let stem = inside.replace('/', "-");
    let (work, tar) = (dir.join(format!("{stem}.image")), dir.join(format!("{stem}.tar")));
    let target = work.join("rootfs").join(inside);
    fs::create_dir_all(target.parent().unwrap_or(&work))?;
    fs::copy(program, &target).with_context(|| format!("cannot copy {}", program.display()))?;

    let layer = work.join("layer.tar");
    let root = work.join("rootfs");
    run(&[
        "tar",
        "--numeric-owner",
        "--owner=0",
        "--group=0",
        "-C",
        text(&root)?,
        "-cf",
        text(&layer)?,
        ".",
    ])?;
    let sum = run(&["sha256sum", text(&layer)?])?;
    let digest = sum.split_whitespace().next().ok_or_else(|| anyhow!("sha256sum said nothing"))?;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = format!(
        r#"{{"architecture":"{architecture}","os":"linux","config":{{"Entrypoint":["/{inside}"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:{digest}"]}}}}"#
    );
    fs::write(work.join("config.json"), config)?;
    let manifest =
        format!(r#"[{{"Config":"config.json","RepoTags":["{reference}"],"Layers":["layer.tar"]}}]"#);
    fs::write(work.join("manifest.json"), manifest)?;
    run(&["tar", "-C", text(&work)?, "-cf", text(&tar)?, "manifest.json", "config.json", "layer.tar"])?;
    Ok(tar)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| anyhow!("{} is not UTF-8", path.display()))
}
