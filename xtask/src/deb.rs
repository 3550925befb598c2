//! `cargo xtask deb`: the Debian packages, one for each kind of node.
//!
//! Equal sources and tools give equal packages, byte for byte: every moment in them is that of the last commit, every
//! mode is set here, everything belongs to root, nothing depends on the machine's umask, zone or clock.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use crate::dist::{ARCHES, Arch, PROGRAMS};
use crate::scratch::{self, Scratch};
use crate::source::{self, Source, output};
use crate::{Result, cargo, dist, licences, man};

const PROGRAM: u32 = 0o755;
const DATA: u32 = 0o644;

/// What comes from the sources as it is: path in the repository, path in the package.
const FILES: [(&str, &str); 4] = [
    ("packaging/deb/ipam.json", "etc/edgekeep/ipam.json"),
    ("packaging/sysusers/edgekeep.conf", "usr/lib/sysusers.d/edgekeep.conf"),
    ("packaging/deb/copyright", "usr/share/doc/edgekeep/copyright"),
    ("CHANGELOG.md", "usr/share/doc/edgekeep/changelog"),
];
/// The units, by the directory that has nothing else in it, and where they go.
const UNITS: (&str, &str) = ("packaging/systemd", "usr/lib/systemd/system");
/// Where each shipped program goes.
const PLACES: [(&str, &str); 2] =
    [("edgekeep", "usr/bin/edgekeep"), ("edgekeep-ipam", "usr/libexec/edgekeep/edgekeep-ipam")];
/// Run by dpkg.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Builds the static programs and packs them.
pub fn main() -> Result<ExitCode> {
    if dist::main()? != ExitCode::SUCCESS {
        return Ok(ExitCode::FAILURE);
    }
    let source = source::last_commit()?;
    for arch in &ARCHES {
        let package = pack(arch, &source)?;
        let size =
            fs::metadata(&package).map_err(|e| format!("cannot read {}: {e}", package.display()))?.len();
        println!("{}: {size} bytes", package.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The version as Debian orders it: a pre-release comes before its release.
fn debian_version(version: &str) -> String {
    version.replacen('-', "~", 1)
}

fn pack(arch: &Arch, source: &Source) -> Result<PathBuf> {
    let dist = cargo::target_dir().join("dist");
    let version = debian_version(env!("CARGO_PKG_VERSION"));
    let scratch = Scratch::new(&dist, "deb")?;
    let tree = Tree(scratch.path());
    for (name, place) in PLACES {
        tree.copy(&dist.join(arch.name).join(name), place, PROGRAM)?;
    }
    let root = cargo::workspace_root();
    for (from, place) in FILES {
        tree.copy(&root.join(from), place, DATA)?;
    }
    for unit in entries(&root.join(UNITS.0))? {
        let name = unit.file_name().unwrap_or_default().to_string_lossy();
        tree.copy(&unit, &format!("{}/{name}", UNITS.1), DATA)?;
    }
    for document in
        entries(&root.join("docs"))?.iter().filter(|path| path.extension().is_some_and(|e| e == "md"))
    {
        let name = document.file_name().unwrap_or_default().to_string_lossy();
        tree.copy(document, &format!("usr/share/doc/edgekeep/{name}"), DATA)?;
    }
    let packages = PROGRAMS.map(|(package, ..)| package);
    tree.write("usr/share/doc/edgekeep/third-party", &licences::collect(&packages, arch.target)?, DATA)?;
    man::generate(&tree.0.join("usr/share"), source)?;
    tree.compress("usr/share/doc/edgekeep/changelog")?;
    tree.compress("usr/share/doc/edgekeep/third-party")?;
    tree.compress("usr/share/man")?;
    tree.control(&root.join("packaging/deb"), &version, arch.debian)?;
    tree.settle(source)?;
    let package = dist.join(format!("edgekeep_{version}_{}.deb", arch.debian));
    // One thread and a fixed compressor: what is written must not depend on the machine's cores or dpkg's defaults.
    let mut build = Command::new("dpkg-deb");
    build.env("SOURCE_DATE_EPOCH", source.epoch.to_string());
    build.args(["--root-owner-group", "-Zxz", "--threads-max=1", "--build"]).arg(tree.0).arg(&package);
    output(&mut build)?;
    Ok(package)
}

/// The files of a package that is being made, under a directory of their own.
struct Tree<'a>(&'a Path);

impl Tree<'_> {
    fn copy(&self, from: &Path, place: &str, mode: u32) -> Result<()> {
        let content = fs::read(from).map_err(|e| format!("cannot read {}: {e}", from.display()))?;
        self.write(place, content, mode)
    }

    fn write(&self, place: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let path = self.0.join(place);
        path.parent().map_or(Ok(()), scratch::make_dir)?;
        scratch::write(&path, content)?;
        set_mode(&path, mode)
    }

    /// Compresses a file, or every file below a directory, without name and moment in its head.
    fn compress(&self, place: &str) -> Result<()> {
        output(Command::new("gzip").args(["-9", "-n", "-r", "--"]).arg(self.0.join(place))).map(drop)
    }

    /// Writes what dpkg reads.
    fn control(&self, from: &Path, version: &str, arch: &str) -> Result<()> {
        let path = from.join("control");
        let template =
            fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let size = installed_kib(self.0)?.to_string();
        let control = template.replace("@VERSION@", version).replace("@ARCH@", arch).replace("@SIZE@", &size);
        self.write("DEBIAN/control", control, DATA)?;
        self.copy(&from.join("conffiles"), "DEBIAN/conffiles", DATA)?;
        SCRIPTS.iter().try_for_each(|name| self.copy(&from.join(name), &format!("DEBIAN/{name}"), PROGRAM))
    }

    /// Takes out of files and directories what differs from build to build.
    fn settle(&self, source: &Source) -> Result<()> {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(source.epoch);
        for path in below(self.0)? {
            if path.is_dir() {
                set_mode(&path, PROGRAM)?;
            } else if !path.starts_with(self.0.join("DEBIAN")) && !is_program(self.0, &path) {
                set_mode(&path, DATA)?;
            }
            File::open(&path)
                .and_then(|file| file.set_modified(moment))
                .map_err(|e| format!("cannot set the time of {}: {e}", path.display()))?;
        }
        Ok(())
    }
}

fn is_program(root: &Path, path: &Path) -> bool {
    PLACES.iter().any(|(_, place)| root.join(place) == path)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|e| format!("cannot set the mode of {}: {e}", path.display()))
}

/// What the files will take, as Debian counts: each file rounded up to 1 KiB, and 1 KiB for each directory.
fn installed_kib(root: &Path) -> Result<u64> {
    let kib = |path: &PathBuf| match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(1),
        Ok(found) => Ok(found.len().div_ceil(1024)),
        Err(e) => Err(format!("cannot read {}: {e}", path.display())),
    };
    below(root)?.iter().map(kib).sum()
}

/// The directory and everything below it, children first, in the order of their names.
fn below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in entries(directory)? {
        if path.is_dir() { found.extend(below(&path)?) } else { found.push(path) }
    }
    found.push(directory.to_owned());
    Ok(found)
}

/// What lies in a directory, in the order of its name.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect());
    let mut entries: Vec<_> = entries.map_err(|e| format!("cannot read {}: {e}", directory.display()))?;
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pre_release_sorts_before_its_release() {
        assert_eq!(debian_version("0.2.0"), "0.2.0");
        assert_eq!(debian_version("0.2.0-rc.1"), "0.2.0~rc.1");
    }

    #[test]
    fn every_shipped_program_has_a_place() {
        let placed: Vec<_> = PLACES.iter().map(|(name, _)| *name).collect();
        assert!(PROGRAMS.iter().all(|(_, name, _)| placed.contains(name)));
    }

    #[test]
    fn the_installed_size_counts_as_debian_does() {
        let scratch = Scratch::new(&std::env::temp_dir(), "xtask-deb").unwrap();
        let tree = Tree(scratch.path());
        tree.write("a/one", [0; 1], DATA).unwrap();
        tree.write("a/two", [0; 1025], DATA).unwrap();
        assert_eq!(installed_kib(scratch.path()), Ok(1 + 2 + 1 + 1));
    }

    #[test]
    fn modes_and_times_are_ours_whatever_the_machine_gave() {
        let scratch = Scratch::new(&std::env::temp_dir(), "xtask-deb-settle").unwrap();
        let tree = Tree(scratch.path());
        tree.write("etc/x", "", 0o600).unwrap();
        tree.write("usr/bin/edgekeep", "", PROGRAM).unwrap();
        tree.write("DEBIAN/prerm", "", PROGRAM).unwrap();
        tree.settle(&Source { epoch: 1_800_000_000 }).unwrap();
        for (path, mode) in
            [("etc/x", 0o644), ("etc", 0o755), ("usr/bin/edgekeep", 0o755), ("DEBIAN/prerm", 0o755)]
        {
            let found = fs::metadata(scratch.path().join(path)).unwrap();
            assert_eq!(found.permissions().mode() & 0o7777, mode, "{path}");
            let since = found.modified().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!(since.as_secs(), 1_800_000_000, "{path}");
        }
    }
}
