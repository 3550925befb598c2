//! What must be there after a reboot: files and directories that have to be on a disk.

use std::io;
use std::path::{Path, PathBuf};

use durable::fs::{Fs, read};

use super::finding::{Area, Finding, Gravity};
use super::mounts::{Kept, Mounts};
use crate::kubelet::machine::Machine;

/// Larger than the mountinfo of any node: a line for each file system of each pod.
const LIMIT: usize = 16 << 20;

/// The disk of the node.
pub struct Disk<'a, F: Fs> {
    machine: &'a Machine<'a, F>,
    mounts: Option<Mounts>,
}

/// Something that must be there after a reboot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// Where, as a path of the node.
    pub path: PathBuf,
    /// What it is: `the hub's state`.
    pub what: String,
    /// Whether it must be there now already.
    pub now: bool,
    /// Whether it is written to.
    pub written: bool,
    /// What to do where it is missing or in memory.
    pub to_do: &'static str,
}

impl Needed {
    /// A file or directory that must be there and is only read.
    pub fn read(path: impl Into<PathBuf>, what: impl Into<String>, to_do: &'static str) -> Needed {
        Needed { path: path.into(), what: what.into(), now: true, written: false, to_do }
    }

    /// A directory that must be there and is written to.
    pub fn written(path: impl Into<PathBuf>, what: impl Into<String>, to_do: &'static str) -> Needed {
        Needed { written: true, ..Needed::read(path, what, to_do) }
    }

    /// The same, if it is there at all.
    #[must_use]
    pub fn if_there(self) -> Needed {
        Needed { now: false, ..self }
    }
}

impl<'a, F: Fs> Disk<'a, F> {
    /// Reads which file systems the node has.
    pub fn of(machine: &'a Machine<'a, F>) -> Disk<'a, F> {
        let path = (machine.real)(&machine.root, Path::new("/proc/self/mountinfo"));
        let text = read(machine.fs, &path, LIMIT).ok();
        let mounts = text.map(|text| Mounts::parse(&String::from_utf8_lossy(&text)));
        Disk { machine, mounts }
    }

    /// What becomes of what is at a path of the node.
    pub fn kept(&self, path: &Path) -> Kept {
        let real = (self.machine.real)(&self.machine.root, path);
        let on_node = Path::new("/").join(real.strip_prefix(&self.machine.root).unwrap_or(&real));
        self.mounts.as_ref().map_or(Kept::Unknown, |mounts| mounts.kept(&on_node))
    }

    /// What is to be said of all these.
    pub fn findings(&self, needed: impl IntoIterator<Item = Needed>) -> Vec<Finding> {
        needed.into_iter().filter_map(|needed| self.judge(&needed)).collect()
    }

    fn judge(&self, needed: &Needed) -> Option<Finding> {
        let what = format!("{}, {}", needed.what, needed.path.display());
        let say = |gravity, why: String| {
            Some(Finding::new(Area::Disk, gravity, what.clone(), why).to_do(needed.to_do))
        };
        let real = (self.machine.real)(&self.machine.root, &needed.path);
        match self.machine.fs.metadata(&real) {
            Ok(_) => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return if needed.now { say(Gravity::Missing, "it is not there".into()) } else { None };
            }
            Err(e) => {
                let finding =
                    Finding::new(Area::Disk, Gravity::Unknown, what, format!("cannot look at it: {e}"));
                return Some(finding.to_do("run this as root"));
            }
        }
        match self.kept(&needed.path) {
            Kept::InMemory(kind) => {
                say(Gravity::Missing, format!("it is in memory ({kind}): gone after a reboot"))
            }
            Kept::OnDisk { read_only: true } if needed.written => {
                say(Gravity::Missing, "its file system is read-only: nothing new is kept".into())
            }
            Kept::OnDisk { .. } => None,
            Kept::Unknown => say(Gravity::Unknown, "whether it is on a disk cannot be told".into()),
        }
    }
}
