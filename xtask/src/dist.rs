//! `cargo xtask dist`: the binaries as they are shipped, static, for each kind of node.
//!
//! Fails unless every binary is an ELF program for the right machine, needs no dynamic loader, and is within its
//! size.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use crate::{Result, cargo, scratch};

/// The most that the static plugin may weigh, in bytes.
pub const PLUGIN_LIMIT: u64 = 700 * 1024;
/// The most that the static program with the hub in it may weigh, in bytes.
const HUB_LIMIT: u64 = 6 * 1024 * 1024;

/// What is shipped: package, program, and the size it must not exceed, in bytes.
pub const PROGRAMS: [(&str, &str, Option<u64>); 2] =
    [("ipam", "edgekeep-ipam", Some(PLUGIN_LIMIT)), ("cli", "edgekeep", Some(HUB_LIMIT))];

/// A kind of node.
pub struct Arch {
    /// As the kernel calls it.
    pub name: &'static str,
    /// As Rust calls it.
    pub target: &'static str,
    /// As Debian calls it.
    pub debian: &'static str,
    /// `e_machine` of its ELF programs.
    machine: u16,
}

/// The kinds of nodes that are shipped for.
pub const ARCHES: [Arch; 2] = [
    Arch { name: "x86_64", target: "x86_64-unknown-linux-musl", debian: "amd64", machine: 62 },
    Arch { name: "aarch64", target: "aarch64-unknown-linux-musl", debian: "arm64", machine: 183 },
];

/// Builds, checks and copies everything.
pub fn main() -> Result<ExitCode> {
    let mut sound = true;
    for arch in &ARCHES {
        let directory = cargo::target_dir().join("dist").join(arch.name);
        scratch::make_dir(&directory)?;
        for (package, bin, limit) in PROGRAMS {
            let built = cargo::build(package, bin, Some(arch.target))?;
            let placed = directory.join(bin);
            fs::copy(&built, &placed)
                .map_err(|e| format!("cannot copy {} to {}: {e}", built.display(), placed.display()))?;
            sound &= judge(&placed, arch, limit)?;
        }
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints a line about one binary; true if it may be shipped.
fn judge(path: &Path, arch: &Arch, limit: Option<u64>) -> Result<bool> {
    let image = fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let size = u64::try_from(image.len()).unwrap_or(u64::MAX);
    let verdict = check_elf(&image, arch.machine).and_then(|()| match limit {
        Some(limit) if size > limit => Err(format!("larger than its limit of {limit} bytes")),
        _ => Ok(()),
    });
    let path = path.display();
    match &verdict {
        Ok(()) => println!("{path}: static, {}, {size} bytes", arch.name),
        Err(why) => println!("{path}: {size} bytes, NOT FIT TO SHIP: {why}"),
    }
    Ok(verdict.is_ok())
}

/// Offsets and constants of the 64-bit ELF header, from the System V ABI.
mod elf {
    pub const MAGIC: &[u8] = b"\x7fELF\x02\x01";
    pub const MACHINE: usize = 0x12;
    pub const PROGRAM_HEADERS: usize = 0x20;
    pub const PROGRAM_HEADER_SIZE: usize = 0x36;
    pub const PROGRAM_HEADER_COUNT: usize = 0x38;
    pub const SEGMENT_INTERPRETER: u32 = 3;
}

/// Checks that an image is a 64-bit little-endian ELF program for `machine` that names no dynamic loader.
fn check_elf(image: &[u8], machine: u16) -> Result<()> {
    if !image.starts_with(elf::MAGIC) {
        return Err("not a 64-bit little-endian ELF file".into());
    }
    let header = || {
        let found = u16::from_le_bytes(bytes(image, elf::MACHINE)?);
        let table = usize::try_from(u64::from_le_bytes(bytes(image, elf::PROGRAM_HEADERS)?)).ok()?;
        let size = usize::from(u16::from_le_bytes(bytes(image, elf::PROGRAM_HEADER_SIZE)?));
        let count = usize::from(u16::from_le_bytes(bytes(image, elf::PROGRAM_HEADER_COUNT)?));
        let kind =
            |n: usize| Some(u32::from_le_bytes(bytes(image, table.checked_add(n.checked_mul(size)?)?)?));
        Some((found, (0..count).map(kind).collect::<Option<Vec<u32>>>()?))
    };
    match header() {
        None => Err("the ELF header is cut short".into()),
        Some((found, _)) if found != machine => Err(format!("made for machine {found}, not {machine}")),
        Some((_, segments)) if segments.contains(&elf::SEGMENT_INTERPRETER) => {
            Err("not static: it asks for a dynamic loader".into())
        }
        Some(_) => Ok(()),
    }
}

fn bytes<const N: usize>(image: &[u8], at: usize) -> Option<[u8; N]> {
    image.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header for `machine`, followed by program headers of the given kinds.
    fn image(machine: u16, segments: &[u32]) -> Vec<u8> {
        let mut image = elf::MAGIC.to_vec();
        image.resize(0x40, 0);
        image[elf::MACHINE..][..2].copy_from_slice(&machine.to_le_bytes());
        image[elf::PROGRAM_HEADERS] = 0x40;
        image[elf::PROGRAM_HEADER_SIZE] = 56;
        image[elf::PROGRAM_HEADER_COUNT] = u8::try_from(segments.len()).unwrap();
        for kind in segments {
            let begin = image.len();
            image.resize(begin + 56, 0);
            image[begin..begin + 4].copy_from_slice(&kind.to_le_bytes());
        }
        image
    }

    #[test]
    fn a_static_program_for_the_right_machine_passes() {
        assert_eq!(check_elf(&image(183, &[1, 1, 7]), 183), Ok(()));
    }

    #[test]
    fn a_program_that_asks_for_a_dynamic_loader_is_refused() {
        assert!(check_elf(&image(62, &[6, 3, 1]), 62).unwrap_err().contains("not static"));
    }

    #[test]
    fn a_program_for_another_machine_is_refused() {
        assert!(check_elf(&image(62, &[1]), 183).unwrap_err().contains("machine 62"));
    }

    #[test]
    fn a_header_that_is_cut_short_is_refused() {
        let whole = image(62, &[1, 1]);
        assert!(check_elf(&whole[..0x40 + 57], 62).unwrap_err().contains("cut short"));
        assert!(check_elf(b"#!/bin/sh", 62).is_err());
    }
}
