//! The machine: its storage, its clock, who holds which lock, and what it does when the power goes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durable::fs::{Meta, Open, Stamp};

use super::Fault;
use super::content::{Content, Fate};
use super::errors::{EEXIST, EFBIG, EINVAL, EIO, EISDIR, ENOENT, ENOSPC, ENOTDIR, EROFS, errno};
use crate::rng::Rng;

/// Names a node for good, unlike the inode number that programs see.
pub(super) type Id = u64;

/// Larger files are a mistake of the program under test, not a load to simulate.
const MAX_LEN: usize = 1 << 30;
/// Device number of the disk; each volatile file system has one above it.
const DISK: u64 = 1;

pub(super) type Names = BTreeMap<OsString, Id>;

#[derive(Debug, Clone, Default)]
pub(super) struct Dir {
    pub(super) seen: Names,
    pub(super) disk: Names,
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    File(Content),
    Dir(Dir),
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) body: Body,
    pub(super) dev: u64,
    /// The inode number that programs see; given to another file once this one is gone, as real file systems do.
    pub(super) number: u64,
    pub(super) mtime: Stamp,
    pub(super) linked: bool,
    pub(super) opens: usize,
}

impl Node {
    fn new(body: Body, dev: u64, number: u64, mtime: Stamp) -> Self {
        Self { body, dev, number, mtime, linked: true, opens: 0 }
    }

    pub(super) fn volatile(&self) -> bool {
        self.dev != DISK
    }
}

/// One entry of one directory set to a node or to none.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) dir: Id,
    pub(super) name: OsString,
    pub(super) to: Option<Id>,
}

/// Who holds a lock: an open file of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) process: u64,
    pub(super) open: u64,
}

#[derive(Debug, Clone)]
struct Clock {
    now: Duration,
    granularity: Duration,
}

/// What is wrong with the disk right now.
#[derive(Debug, Clone, Copy, Default)]
struct Trouble {
    no_space: bool,
    read_only: bool,
    flush_fails: bool,
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) nodes: BTreeMap<Id, Node>,
    pub(super) root: Id,
    /// Changes of directories that no `sync_dir` has covered, oldest first; each arrives whole or not at all.
    pub(super) ops: Vec<Vec<Step>>,
    pub(super) epoch: u64,
    pub(super) flushes: BTreeMap<PathBuf, u64>,
    pub(super) free_numbers: BTreeSet<u64>,
    next_number: u64,
    next_id: u64,
    next_dev: u64,
    locks: BTreeMap<Id, Holder>,
    clock: Clock,
    trouble: Trouble,
    rng: Rng,
}

impl World {
    pub(super) fn new() -> Self {
        let clock = Clock { now: Duration::from_secs(1_700_000_000), granularity: Duration::from_millis(4) };
        let mut world = Self {
            nodes: BTreeMap::new(),
            root: 0,
            ops: Vec::new(),
            epoch: 0,
            flushes: BTreeMap::new(),
            free_numbers: BTreeSet::new(),
            next_number: 2,
            next_id: 0,
            next_dev: DISK + 1,
            locks: BTreeMap::new(),
            clock,
            trouble: Trouble::default(),
            rng: Rng::new(0),
        };
        world.root = world.make(Body::Dir(Dir::default()), DISK);
        world
    }

    /// A number that nothing else in this world has or will have.
    pub(super) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn make(&mut self, body: Body, dev: u64) -> Id {
        let id = self.fresh_id();
        let number = self.free_numbers.pop_first().unwrap_or_else(|| {
            self.next_number += 1;
            self.next_number
        });
        self.nodes.insert(id, Node::new(body, dev, number, self.stamp()));
        id
    }

    /// A node that an open file or a directory entry names.
    pub(super) fn node(&self, id: Id) -> &Node {
        self.nodes.get(&id).expect("a node that is still named")
    }

    pub(super) fn node_mut(&mut self, id: Id) -> &mut Node {
        self.nodes.get_mut(&id).expect("a node that is still named")
    }

    // --- time ---

    pub(super) fn pass(&mut self, time: Duration) {
        self.clock.now += time;
    }

    pub(super) fn set_granularity(&mut self, granularity: Duration) {
        self.clock.granularity = granularity.max(Duration::from_nanos(1));
    }

    pub(super) fn set_time(&mut self, now: Duration) {
        self.clock.now = now;
    }

    /// The time as a file system stores it: rounded down to the last tick.
    pub(super) fn stamp(&self) -> Stamp {
        let step = self.clock.granularity.as_nanos();
        let nanos = self.clock.now.as_nanos() / step * step;
        let secs = i64::try_from(nanos / 1_000_000_000).expect("a time within i64 seconds");
        let nanos = u32::try_from(nanos % 1_000_000_000).expect("a remainder below 10^9");
        Stamp { secs, nanos }
    }

    // --- trouble ---

    pub(super) fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::NoSpace => self.trouble.no_space = true,
            Fault::ReadOnly => self.trouble.read_only = true,
            Fault::FlushFails => self.trouble.flush_fails = true,
            Fault::Death | Fault::DeathHalfway(_) => {}
        }
    }

    pub(super) fn clear_trouble(&mut self) {
        self.trouble = Trouble::default();
    }

    /// Whether the file system of this node can be changed at all.
    pub(super) fn writable(&self, id: Id) -> io::Result<()> {
        if self.trouble.read_only && !self.node(id).volatile() { errno(EROFS) } else { Ok(()) }
    }

    /// Whether there is space for another file or directory in this one.
    pub(super) fn space_in(&self, dir: Id) -> io::Result<()> {
        self.writable(dir)?;
        if self.trouble.no_space && !self.node(dir).volatile() { errno(ENOSPC) } else { Ok(()) }
    }

    // --- files ---

    pub(super) fn open(&mut self, path: &Path, how: Open) -> io::Result<Id> {
        let found = match self.resolve(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => Some(other?),
        };
        let writes = matches!(how, Open::Write | Open::Create(_) | Open::CreateNew(_));
        match (found, how) {
            (Some(_), Open::CreateNew(_)) => errno(EEXIST),
            (Some(id), Open::Read) => Ok(id),
            (Some(id), _) if matches!(self.node(id).body, Body::Dir(_)) => errno(EISDIR),
            (Some(id), _) => {
                if writes {
                    self.writable(id)?;
                }
                Ok(id)
            }
            (None, Open::Read | Open::Write) => errno(ENOENT),
            (None, _) => self.create(path),
        }
    }

    fn create(&mut self, path: &Path) -> io::Result<Id> {
        let (dir, name) = self.entry(path)?;
        self.space_in(dir)?;
        let id = self.make(Body::File(Content::default()), self.node(dir).dev);
        self.enter(vec![Step { dir, name, to: Some(id) }]);
        Ok(id)
    }

    pub(super) fn meta(&self, id: Id) -> Meta {
        let node = self.node(id);
        let (len, file) = match &node.body {
            Body::File(content) => (content.seen().len() as u64, true),
            Body::Dir(_) => (4096, false),
        };
        // There are no owners and modes: everything is root's, and nobody else's.
        let mode = if file { 0o600 } else { 0o700 };
        Meta { len, dir: !file, file, owner: 0, mode, dev: node.dev, ino: node.number, mtime: node.mtime }
    }

    pub(super) fn content(&self, id: Id) -> io::Result<&Content> {
        match &self.node(id).body {
            Body::File(content) => Ok(content),
            Body::Dir(_) => errno(EISDIR),
        }
    }

    fn content_mut(&mut self, id: Id) -> io::Result<&mut Content> {
        match &mut self.node_mut(id).body {
            Body::File(content) => Ok(content),
            Body::Dir(_) => errno(EISDIR),
        }
    }

    /// Writes; without space what fits, and of the rest any part, as the contract of `write_at` allows.
    pub(super) fn write(&mut self, id: Id, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.writable(id)?;
        let offset = position(offset)?;
        position((offset + bytes.len()) as u64)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let (now, tracked) = (self.stamp(), !self.node(id).volatile());
        let mut fits = bytes.len();
        if self.trouble.no_space && tracked {
            fits = self.content(id)?.room(offset, bytes.len());
            fits += if fits < bytes.len() { self.rng.index(bytes.len() - fits) } else { 0 };
        }
        if fits > 0 {
            self.content_mut(id)?.write(offset, &bytes[..fits], tracked);
            self.node_mut(id).mtime = now;
        }
        if fits < bytes.len() { errno(ENOSPC) } else { Ok(()) }
    }

    pub(super) fn set_len(&mut self, id: Id, len: u64) -> io::Result<()> {
        self.writable(id)?;
        let (now, tracked) = (self.stamp(), !self.node(id).volatile());
        self.content_mut(id)?.set_len(position(len)?, tracked);
        self.node_mut(id).mtime = now;
        Ok(())
    }

    pub(super) fn sync_data(&mut self, id: Id) -> io::Result<()> {
        if self.node(id).volatile() {
            return Ok(());
        }
        if matches!(self.node(id).body, Body::Dir(_)) {
            return self.sync_entries(id);
        }
        let failing = mem::take(&mut self.trouble.flush_fails);
        if self.content(id)?.dirty() {
            self.writable(id)?;
        }
        if failing {
            self.content_mut(id)?.fail_flush();
            return errno(EIO);
        }
        self.content_mut(id)?.flush();
        Ok(())
    }

    pub(super) fn set_mtime(&mut self, path: &Path, mtime: Stamp) -> io::Result<()> {
        let id = self.resolve(path)?;
        self.writable(id)?;
        self.node_mut(id).mtime = mtime;
        Ok(())
    }

    pub(super) fn flip(&mut self, path: &Path, offset: u64, bit: u8) -> io::Result<()> {
        let id = self.resolve(path)?;
        let at = position(offset)?;
        if self.content_mut(id)?.flip(at, bit) { Ok(()) } else { errno(EINVAL) }
    }

    pub(super) fn count_flush(&mut self, path: &Path) {
        *self.flushes.entry(path.to_path_buf()).or_default() += 1;
    }

    // --- open files and locks ---

    pub(super) fn opened(&mut self, id: Id) -> u64 {
        self.node_mut(id).opens += 1;
        self.fresh_id()
    }

    pub(super) fn closed(&mut self, id: Id, by: Holder) {
        if self.locks.get(&id) == Some(&by) {
            self.locks.remove(&id);
        }
        self.node_mut(id).opens -= 1;
        self.retire(id);
    }

    /// Gives back the inode number of a node that neither an entry nor an open file names any more.
    pub(super) fn retire(&mut self, id: Id) {
        let node = self.node(id);
        if !node.linked && node.opens == 0 {
            let number = node.number;
            self.free_numbers.insert(number);
        }
    }

    pub(super) fn lock(&mut self, id: Id, by: Holder, wait: Duration) -> io::Result<()> {
        if *self.locks.entry(id).or_insert(by) == by {
            return Ok(());
        }
        self.pass(wait);
        Err(io::Error::from(io::ErrorKind::TimedOut))
    }

    pub(super) fn release_locks(&mut self, process: u64) {
        self.locks.retain(|_, by| by.process != process);
    }

    // --- boots ---

    /// Makes the directory, durably, the mount point of a file system in memory.
    pub(super) fn mount_volatile(&mut self, path: &Path) -> io::Result<()> {
        self.create_dir_all(path, usize::MAX)?;
        let (dir, name) = self.entry(path)?;
        self.settle();
        let dev = self.next_dev;
        self.next_dev += 1;
        let mount = self.make(Body::Dir(Dir::default()), dev);
        let Body::Dir(parent) = &mut self.node_mut(dir).body else { return errno(ENOTDIR) };
        parent.seen.insert(name.clone(), mount);
        parent.disk.insert(name, mount);
        Ok(())
    }

    /// Brings everything that is not flushed to the disk.
    pub(super) fn settle(&mut self) {
        self.settle_entries();
        for node in self.nodes.values_mut() {
            if let Body::File(content) = &mut node.body {
                content.flush();
            }
        }
        self.forget_unnamed();
    }

    pub(super) fn power_cut(&mut self, seed: u64) {
        let mut rng = Rng::new(seed);
        let whole = Fate::draw(&mut rng);
        let fate = whole.part(&mut rng);
        self.cut_entries(fate, &mut rng);
        for node in self.nodes.values_mut() {
            if let Body::File(content) = &mut node.body {
                let fate = whole.part(&mut rng);
                content.cut(fate, &mut rng);
            }
        }
        self.boot();
    }

    pub(super) fn reboot_clean(&mut self) {
        self.settle();
        let mut no_chance = Rng::new(0);
        for node in self.nodes.values_mut() {
            if let Body::File(content) = &mut node.body {
                content.cut(Fate::Everything, &mut no_chance);
            }
        }
        self.boot();
    }

    /// Starts again from what the disk has.
    fn boot(&mut self) {
        self.epoch += 1;
        self.drop_handles();
        for node in self.nodes.values_mut() {
            if let Body::Dir(dir) = &mut node.body {
                dir.seen.clone_from(&dir.disk);
            }
        }
        self.forget_unnamed();
        self.renumber();
    }

    /// Forgets all open files and locks, without the owners of the handles hearing of it.
    pub(super) fn drop_handles(&mut self) {
        self.locks.clear();
        self.nodes.values_mut().for_each(|node| node.opens = 0);
    }

    /// After a lost removal two nodes may have one inode number: the later one gets another.
    fn renumber(&mut self) {
        self.free_numbers.clear();
        let mut taken = BTreeSet::new();
        for node in self.nodes.values_mut() {
            node.linked = true;
            if !taken.insert(node.number) {
                self.next_number += 1;
                node.number = self.next_number;
            }
        }
    }
}

pub(super) fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).ok().filter(|at| *at <= MAX_LEN).map_or_else(|| errno(EFBIG), Ok)
}
