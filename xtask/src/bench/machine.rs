//! What the numbers were measured on.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Result;

/// File systems that live in memory: a flush costs nothing there, so no number about flushes means anything.
const IN_MEMORY: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];

/// The type of the file system that holds `path`; an error if it lives in memory.
pub fn disk_file_system(path: &Path) -> Result<String> {
    let path = path.canonicalize().map_err(|e| format!("cannot find {}: {e}", path.display()))?;
    let mounts =
        fs::read_to_string("/proc/self/mounts").map_err(|e| format!("cannot read the mounts: {e}"))?;
    let kind = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let point = Path::new(words.next()?);
            path.starts_with(point).then_some((point.components().count(), words.next()?))
        })
        // Of two mounts on one point the later one is seen.
        .max_by_key(|(depth, _)| *depth)
        .map_or("unknown", |(_, kind)| kind);
    if IN_MEMORY.contains(&kind) {
        return Err(format!(
            "{} is on {kind}, where a flush costs nothing; name a directory on a disk with --dir",
            path.display()
        ));
    }
    Ok(kind.to_owned())
}

/// One line about this machine.
pub fn describe(file_system: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    format!("{cores} cores ({model}), Linux {}, {file_system}", kernel.trim())
}

/// The version of Debian's package with host-local, where dpkg knows it.
pub fn stock_version() -> String {
    let asked =
        Command::new("dpkg-query").args(["-W", "-f=${Version}", "containernetworking-plugins"]).output();
    match asked {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        _ => "of unknown version".to_owned(),
    }
}
