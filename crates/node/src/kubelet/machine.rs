//! Reading the node: the unit that starts kubelet, its files of variables, kubeconfigs and certificates.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use durable::fs::{Fs, read};
use durable::os::OsFs;

use crate::change::Modes;
use crate::kubeconfig::{Access, Credential, Source};

use super::flags::Flags;
use super::layout::{LAYOUTS, Layout};
use super::unit::{Unit, UnitFile};

/// Larger than any file that is read here.
const LIMIT: usize = 1 << 20;
/// Where systemd looks, the first directory going before the next for files of one name (systemd.unit(5)).
const UNIT_DIRS: [&str; 8] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];
/// The unit.
pub const UNIT: &str = "kubelet.service";

/// What a client certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whom it names: `system:node:<name>` for a node.
    pub user: String,
    /// From when on it counts, in seconds since 1970.
    pub not_before: u64,
    /// Until when it counts, in seconds since 1970.
    pub not_after: u64,
    /// Whether the authority that was asked about signed it; `None` where that cannot be said.
    pub signed: Option<bool>,
}

/// Reads the certificate and key of a PEM text, and says whether the authority of the second one signed it. Errors say
/// what is wrong with it.
pub type Judge<'a> = &'a dyn Fn(&Pem, Option<&[u8]>) -> Result<Certificate, String>;

/// A client certificate and its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// The certificate, leaf first.
    pub certificate: Vec<u8>,
    /// The key.
    pub key: Vec<u8>,
}

/// The node: its storage, and what is known elsewhere.
pub struct Machine<'a, F: Fs> {
    /// What is read and written.
    pub fs: &'a F,
    /// Where the node's root is. Every path in a file is below it.
    pub root: PathBuf,
    /// Where a path of the node leads, with symbolic links followed below the root.
    pub real: fn(&Path, &Path) -> PathBuf,
    /// Permissions.
    pub modes: Modes,
    /// Makes the second path a symbolic link to the first, whatever stood there, durably and at once.
    pub link: &'a dyn Fn(&Path, &Path) -> io::Result<()>,
    /// Reads certificates.
    pub judge: Judge<'a>,
    /// The moment, in seconds since 1970.
    pub now: u64,
}

/// kubelet's unit with the files of variables that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// The unit.
    pub unit: Unit,
    /// The files.
    pub files: BTreeMap<PathBuf, String>,
}

/// What starts kubelet here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A unit of systemd.
    Unit(Setup),
    /// Nothing: the unit is a link to /dev/null.
    Masked(PathBuf),
    /// There is no unit.
    Absent,
}

impl Setup {
    /// kubelet's arguments if this were the text of the drop-in `name`, or if there were none of that name.
    pub fn flags(&self, name: &str, text: Option<&UnitFile>) -> Option<Flags> {
        let mut unit = self.unit.clone();
        match text {
            Some(file) => unit.drop_ins.insert(name.to_owned(), file.clone()),
            None => unit.drop_ins.remove(name),
        };
        unit.command(&self.files).map(Flags::new)
    }
}

impl<F: Fs> Machine<'_, F> {
    /// Where a path of the node is.
    pub fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Whether something is there.
    pub fn is_there(&self, path: &Path) -> bool {
        self.fs.metadata(&(self.real)(&self.root, path)).is_ok()
    }

    /// What is in a file of the node; `None` if it is not there. Errors name it.
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, String> {
        let real = (self.real)(&self.root, path);
        let path = self.at(path);
        match read(self.fs, &real, LIMIT) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(format!("cannot read {}: {e}; run this as root", path.display())),
        }
    }

    fn text(&self, path: &Path) -> Result<Option<String>, String> {
        Ok(self.read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// A file of a unit; one that is a link to /dev/null takes the place of others and says nothing.
    pub(crate) fn unit_file(&self, path: PathBuf) -> Result<Option<UnitFile>, String> {
        match self.fs.metadata(&(self.real)(&self.root, &path)) {
            Ok(meta) if meta.file => Ok(self.text(&path)?.map(|text| UnitFile { path, text })),
            Ok(meta) if !meta.dir => Ok(Some(UnitFile { path, text: String::new() })),
            _ => Ok(None),
        }
    }

    /// What starts kubelet.
    pub fn start(&self) -> Result<Start, String> {
        let mut main = None;
        let mut drop_ins = BTreeMap::new();
        for dir in UNIT_DIRS.map(Path::new) {
            if main.is_none() {
                main = self.unit_file(dir.join(UNIT))?;
            }
        }
        // Those of the unit go before those of all services.
        for below in [format!("{UNIT}.d"), "service.d".into()] {
            for dir in UNIT_DIRS.map(|dir| Path::new(dir).join(&below)) {
                for name in self.names(&dir)? {
                    if let (false, true) = (drop_ins.contains_key(&name), name.ends_with(".conf"))
                        && let Some(file) = self.unit_file(dir.join(&name))?
                    {
                        drop_ins.insert(name, file);
                    }
                }
            }
        }
        let Some(main) = main else { return Ok(Start::Absent) };
        if main.text.is_empty() {
            return Ok(Start::Masked(main.path));
        }
        let unit = Unit { main, drop_ins };
        let mut files = BTreeMap::new();
        for file in unit.environment_files() {
            if let Some(text) = self.text(&file.path)? {
                files.insert(file.path, text);
            }
        }
        Ok(Start::Unit(Setup { unit, files }))
    }

    /// The names in a directory of the node; none if it is not there. Errors name it.
    pub(crate) fn names(&self, dir: &Path) -> Result<Vec<String>, String> {
        let (dir, mut names) = ((self.real)(&self.root, dir), Vec::new());
        let read = self.fs.read_dir(&dir, &mut |name| {
            names.push(name.to_owned());
            Ok(())
        });
        match read {
            Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(format!("cannot read {}: {e}; run this as root", dir.display()))
            }
            _ => Ok(names),
        }
    }

    /// The distributions that are installed here.
    pub fn layouts(&self) -> Vec<Layout> {
        let there = |path: &&str| self.is_there(Path::new(path));
        LAYOUTS.into_iter().filter(|layout| layout.marks.iter().any(&there)).collect()
    }

    /// The kubeconfig at this path and its text; `None` if it is not there. Errors name it.
    pub fn kubeconfig(&self, path: &Path) -> Result<Option<(String, Access)>, String> {
        let Some(bytes) = self.read(path)? else { return Ok(None) };
        let named = |why| format!("cannot use {}: {why}", self.at(path).display());
        let text = String::from_utf8(bytes).map_err(|_| named("it is not UTF-8 text".to_owned()))?;
        let access = Access::parse(&text, path.parent().unwrap_or(Path::new("/"))).map_err(named)?;
        Ok(Some((text, access)))
    }

    /// The bytes of a part of a kubeconfig. Errors name the file.
    pub fn bytes(&self, source: &Source) -> Result<Vec<u8>, String> {
        match source {
            Source::Inline(bytes) => Ok(bytes.clone()),
            Source::File(path) => {
                self.read(path)?.ok_or_else(|| format!("{} is not there", self.at(path).display()))
            }
        }
    }

    /// The certificate with which a kubeconfig comes. Errors say why there is none that can be used.
    pub fn certificate(&self, access: &Access) -> Result<Certificate, String> {
        let Credential::Certificate { cert, key } = &access.credential else {
            return Err("it comes without a client certificate".into());
        };
        let pem = Pem { certificate: self.bytes(cert)?, key: self.bytes(key)? };
        self.judge(access, &pem).map_err(|why| match cert {
            Source::File(path) => {
                format!("the certificate in {} cannot be used: {why}", self.at(path).display())
            }
            Source::Inline(_) => format!("the certificate in it cannot be used: {why}"),
        })
    }

    /// Reads a certificate, and whether the authority that a kubeconfig trusts signed it.
    pub fn judge(&self, access: &Access, pem: &Pem) -> Result<Certificate, String> {
        let authority = access.authority.as_ref().and_then(|source| self.bytes(source).ok());
        (self.judge)(pem, authority.as_deref())
    }
}

/// More links than any path has; Linux follows no more either.
const LINKS: usize = 40;

/// [`Machine::real`] of this machine. What is not there is taken as it is.
pub fn real(root: &Path, path: &Path) -> PathBuf {
    let mut left: Vec<PathBuf> = components(path);
    let (mut at, mut links) = (root.to_path_buf(), 0);
    while let Some(name) = left.pop() {
        if name == Path::new("..") {
            if at != root {
                at.pop();
            }
            continue;
        }
        match std::fs::read_link(at.join(&name)) {
            Ok(to) if links < LINKS => {
                links += 1;
                if to.is_absolute() {
                    at = root.to_path_buf();
                }
                left.extend(components(&to));
            }
            _ => at.push(name),
        }
    }
    at
}

/// The names in a path, the last one first.
fn components(path: &Path) -> Vec<PathBuf> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.into()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    names.rev().collect()
}

/// [`Machine::link`] of this machine.
pub fn link(to: &Path, path: &Path) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let new = dir.join(format!(".{}{}", name.to_string_lossy(), durable::place::UNFINISHED));
    match std::fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    std::os::unix::fs::symlink(to, &new)?;
    OsFs.rename(&new, path)?;
    OsFs.sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_below_the_root_whatever_they_say() {
        let root = std::env::temp_dir().join(format!("edgekeep-real-{}", std::process::id()));
        std::fs::create_dir_all(root.join("usr/lib")).unwrap();
        for (to, name) in [
            ("usr/lib", "lib"),
            ("/usr", "abs"),
            ("../../../usr/./lib", "up"),
            ("loop", "loop"),
            ("/nowhere", "usr/lib/x"),
        ] {
            symlink(to, root.join(name)).unwrap();
        }
        for (path, leads) in [
            ("/lib/a", "usr/lib/a"),
            ("/abs/lib/a", "usr/lib/a"),
            ("/up/a", "usr/lib/a"),
            ("/lib/x", "nowhere"),
            ("/gone/b", "gone/b"),
        ] {
            assert_eq!(real(&root, Path::new(path)), root.join(leads), "{path}");
        }
        assert!(real(&root, Path::new("/loop")).starts_with(&root));
        std::fs::remove_dir_all(&root).unwrap();
    }
}
