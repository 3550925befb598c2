//! Directories: finding, entering, removing and renaming, and which of these survive a power cut.
//!
//! Invariant: a change of entries arrives on the disk whole (a rename never half) and never before an older change of
//! one of its names.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::mem;
use std::path::{Component, Path, PathBuf};

use super::content::Fate;
use super::errors::{EEXIST, EINVAL, EISDIR, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTEMPTY, EROFS, EXDEV, errno};
use super::world::{Body, Dir, Id, Step, World};
use crate::rng::Rng;

/// Longest name of an entry in bytes (Linux `NAME_MAX`).
const NAME_MAX: usize = 255;

type Name = (Id, OsString);

fn names(op: &[Step]) -> impl Iterator<Item = Name> {
    op.iter().map(|step| (step.dir, step.name.clone()))
}

impl World {
    /// The names of a path from the root down. There are no symbolic links, so `..` can be taken by its letters.
    fn parts(path: &Path) -> Vec<OsString> {
        let mut parts = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => parts.push(name.to_os_string()),
                Component::ParentDir => drop(parts.pop()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        parts
    }

    pub(super) fn dir(&self, id: Id) -> io::Result<&Dir> {
        match &self.node(id).body {
            Body::Dir(dir) => Ok(dir),
            Body::File(_) => errno(ENOTDIR),
        }
    }

    fn dir_mut(&mut self, id: Id) -> &mut Dir {
        match &mut self.node_mut(id).body {
            Body::Dir(dir) => dir,
            Body::File(_) => panic!("an entry was made in something that is no directory"),
        }
    }

    fn child(&self, dir: Id, name: &OsString) -> io::Result<Option<Id>> {
        let dir = self.dir(dir)?;
        if name.len() > NAME_MAX { errno(ENAMETOOLONG) } else { Ok(dir.seen.get(name).copied()) }
    }

    pub(super) fn resolve(&self, path: &Path) -> io::Result<Id> {
        Self::parts(path)
            .iter()
            .try_fold(self.root, |at, name| self.child(at, name)?.map_or(errno(ENOENT), Ok))
    }

    /// The directory that holds, or would hold, the last name of the path.
    pub(super) fn entry(&self, path: &Path) -> io::Result<(Id, OsString)> {
        let mut parts = Self::parts(path);
        let Some(name) = parts.pop() else { return errno(EINVAL) };
        let dir = self.resolve(&parts.iter().collect::<PathBuf>())?;
        self.child(dir, &name)?;
        Ok((dir, name))
    }

    /// Changes entries as programs see them, all of one file system, and remembers the change for the disk.
    pub(super) fn enter(&mut self, op: Vec<Step>) {
        let now = self.stamp();
        let mut gone = Vec::new();
        for step in &op {
            let seen = &mut self.dir_mut(step.dir).seen;
            gone.extend(match step.to {
                Some(id) => seen.insert(step.name.clone(), id),
                None => seen.remove(&step.name),
            });
            self.node_mut(step.dir).mtime = now;
        }
        gone.retain(|id| !op.iter().any(|step| step.to == Some(*id)));
        for id in gone {
            self.node_mut(id).linked = false;
            self.retire(id);
        }
        if op.iter().any(|step| !self.node(step.dir).volatile()) {
            self.ops.push(op);
        }
    }

    /// Makes at most `limit` of the missing directories.
    pub(super) fn create_dir_all(&mut self, path: &Path, limit: usize) -> io::Result<()> {
        let (mut at, mut made) = (self.root, 0);
        for name in Self::parts(path) {
            at = match self.child(at, &name)? {
                Some(next) => next,
                None if made == limit => return Ok(()),
                None => {
                    self.space_in(at)?;
                    made += 1;
                    let id = self.make(Body::Dir(Dir::default()), self.node(at).dev);
                    self.enter(vec![Step { dir: at, name, to: Some(id) }]);
                    id
                }
            };
        }
        if self.dir(at).is_ok() { Ok(()) } else { errno(EEXIST) }
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let id = self.resolve(path)?;
        if self.dir(id).is_ok() {
            return errno(EISDIR);
        }
        self.writable(id)?;
        let (dir, name) = self.entry(path)?;
        self.enter(vec![Step { dir, name, to: None }]);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let id = self.resolve(from)?;
        let (from_dir, from_name) = self.entry(from)?;
        let (to_dir, to_name) = self.entry(to)?;
        let is_dir = self.dir(id).is_ok();
        if self.node(from_dir).dev != self.node(to_dir).dev || self.node(id).dev != self.node(to_dir).dev {
            return errno(EXDEV);
        }
        self.writable(id)?;
        let (old, new) = (Self::parts(from), Self::parts(to));
        if is_dir && new.len() > old.len() && new.starts_with(&old) {
            return errno(EINVAL);
        }
        match self.child(to_dir, &to_name)? {
            Some(same) if same == id => return Ok(()),
            Some(old) => match (is_dir, self.dir(old)) {
                (true, Ok(old)) if !old.seen.is_empty() => return errno(ENOTEMPTY),
                (true, Err(_)) => return errno(ENOTDIR),
                (false, Ok(_)) => return errno(EISDIR),
                _ => {}
            },
            None => {}
        }
        let leave = Step { dir: from_dir, name: from_name, to: None };
        self.enter(vec![leave, Step { dir: to_dir, name: to_name, to: Some(id) }]);
        Ok(())
    }

    /// The names in a directory, in an order that is the same each time but not the one of the alphabet.
    pub(super) fn read_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        let id = self.resolve(path)?;
        let mut names: Vec<_> =
            self.dir(id)?.seen.keys().map(|name| name.to_string_lossy().into_owned()).collect();
        Rng::new(id).shuffle(&mut names);
        Ok(names)
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let id = self.resolve(path)?;
        self.dir(id)?;
        self.sync_entries(id)
    }

    /// Brings every change of this directory to the disk, with the older changes elsewhere that these build on.
    pub(super) fn sync_entries(&mut self, dir: Id) -> io::Result<()> {
        let mut needed = BTreeSet::new();
        let mut flushed = Vec::new();
        for op in self.ops.iter().rev() {
            let flush = op.iter().any(|step| step.dir == dir) || names(op).any(|name| needed.contains(&name));
            if flush {
                needed.extend(names(op));
            }
            flushed.push(flush);
        }
        if self.writable(dir).is_err() && flushed.contains(&true) {
            return errno(EROFS);
        }
        for op in mem::take(&mut self.ops) {
            if flushed.pop() == Some(true) { self.arrive(op) } else { self.ops.push(op) }
        }
        Ok(())
    }

    pub(super) fn settle_entries(&mut self) {
        for op in mem::take(&mut self.ops) {
            self.arrive(op);
        }
    }

    /// Brings the changes to the disk that survive a power cut: each by its own luck, except that a lost change takes
    /// with it what was done to its names later.
    pub(super) fn cut_entries(&mut self, fate: Fate, rng: &mut Rng) {
        let percent = match fate {
            Fate::Nothing => 0,
            Fate::Everything => 100,
            Fate::Mixed => 50,
        };
        let mut lost = BTreeSet::new();
        for op in mem::take(&mut self.ops) {
            if rng.chance(percent) && !names(&op).any(|name| lost.contains(&name)) {
                self.arrive(op);
            } else {
                lost.extend(names(&op));
            }
        }
    }

    fn arrive(&mut self, op: Vec<Step>) {
        for Step { dir, name, to } in op {
            let disk = &mut self.dir_mut(dir).disk;
            match to {
                Some(id) => disk.insert(name, id),
                None => disk.remove(&name),
            };
        }
    }

    /// Drops the nodes that nothing can reach any more: no entry, seen or on the disk, and no open file.
    pub(super) fn forget_unnamed(&mut self) {
        let mut reached = BTreeSet::new();
        let mut next = vec![self.root];
        next.extend(self.nodes.iter().filter(|(_, node)| node.opens > 0).map(|(id, _)| *id));
        while let Some(id) = next.pop() {
            if reached.insert(id)
                && let Ok(dir) = self.dir(id)
            {
                next.extend(dir.seen.values().chain(dir.disk.values()));
            }
        }
        self.nodes.retain(|id, _| reached.contains(id));
    }
}
