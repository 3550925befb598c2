//! A file system in memory that loses power: it stands in for the disk under [`durable::fs::Fs`].
//!
//! It keeps two layers: what running programs see, and what the disk has. A [`power_cut`](PowerCutFs::power_cut) throws
//! the first away and leaves of everything unflushed what a seed decides. What may happen is what POSIX leaves open,
//! so a program that survives here relies on nothing but its own flushes:
//!
//! - Content goes to the disk by sectors of 512 bytes. Of every sector any version since the last flush may be the one
//!   that arrived. Sizes arrive in the order in which they were set; a file that grew without its content reads as
//!   zeros there.
//! - `sync_data` makes content and size durable, not the entry in the directory.
//! - Entries made, removed or renamed since the last `sync_dir` of their directory may be there or not, each by itself;
//!   changes of one name arrive in order, a rename arrives whole or not at all.
//! - Modification times are not lost. They come from a clock of its own with the coarse ticks of a real kernel, so that
//!   changes close to each other have equal times. Inode numbers are given again as soon as they are free.
//! - Below a [`volatile`](PowerCutFs::volatile) path is a tmpfs: every boot empties it, and no [`Fault`] of the disk
//!   reaches it.
//!
//! There is one thread. A [`PowerCutFs`] is a handle of one process of the simulated machine; clones are the same
//! process. A process dies by [`Fault::Death`] or [`kill`](PowerCutFs::kill), and all it calls afterwards fails with an
//! error that [`is_death`] knows. A boot ends every open file; the handles themselves stay usable after it, standing
//! for the same program started again.
//!
//! There are no symbolic links, modes or owners.

mod content;
mod errors;
mod tree;
mod world;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use durable::fs::{File, Fs, Meta, Open, Stamp};

pub use errors::is_death;
use errors::{EBADF, death, errno, stale};
use world::{Holder, Id, World};

use crate::rng::Rng;

/// How long one call takes on the simulated clock.
const CALL: Duration = Duration::from_micros(250);

/// What can go wrong at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process ends before the call does anything.
    Death,
    /// The process ends after part of the call's work, drawn by this seed: some first bytes of a write, some of the
    /// directories of a `create_dir_all`; any other call is done or not done, and its answer is never seen.
    DeathHalfway(u64),
    /// The disk is full until [`PowerCutFs::clear_faults`]: `StorageFull` for new files, new directories and writes
    /// beyond what was ever written to a file, of which any first part may have been written.
    NoSpace,
    /// The disk cannot be changed until [`PowerCutFs::clear_faults`], as after an error that made the kernel remount it.
    ReadOnly,
    /// The next `sync_data` fails with `EIO` and, as on Linux, what it should have written counts as clean afterwards:
    /// programs still read it, a later `sync_data` succeeds without it, the next boot shows it was never written.
    FlushFails,
}

/// One call of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Name of the method of `Fs` or `File`.
    pub name: &'static str,
    /// The path it was called with, or under which its file was opened.
    pub path: PathBuf,
    /// Where a rename leads.
    pub to: Option<PathBuf>,
}

#[derive(Debug)]
struct Process {
    id: u64,
    dead: Cell<bool>,
    log: RefCell<Vec<Call>>,
    armed: RefCell<Vec<(usize, Fault)>>,
}

/// A process of a simulated machine, and by it the machine's storage.
#[derive(Debug, Clone)]
pub struct PowerCutFs {
    world: Rc<RefCell<World>>,
    process: Rc<Process>,
}

impl Default for PowerCutFs {
    fn default() -> Self {
        Self::new()
    }
}

/// Control of the simulation: none of these is a call of the process.
impl PowerCutFs {
    /// A machine with an empty disk, and its first process.
    pub fn new() -> Self {
        Self::start(Rc::new(RefCell::new(World::new())))
    }

    fn start(world: Rc<RefCell<World>>) -> Self {
        let id = world.borrow_mut().fresh_id();
        let process =
            Process { id, dead: Cell::new(false), log: RefCell::default(), armed: RefCell::default() };
        Self { world, process: Rc::new(process) }
    }

    /// Starts another process on this machine; a dead one can be used for that too.
    pub fn process(&self) -> Self {
        Self::start(Rc::clone(&self.world))
    }

    /// A second machine with a copy of this one's storage, unflushed changes included, and nothing running: for trying
    /// many power cuts from one state.
    pub fn fork(&self) -> Self {
        let mut world = self.world.borrow().clone();
        world.drop_handles();
        Self::start(Rc::new(RefCell::new(world)))
    }

    /// Mounts an empty tmpfs on this path, at this and every later boot.
    ///
    /// # Errors
    /// When the directories that lead there cannot be made.
    pub fn volatile(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.world.borrow_mut().mount_volatile(path.as_ref())
    }

    /// The power goes and comes back: of what was not flushed the disk keeps what `seed` decides.
    pub fn power_cut(&self, seed: u64) {
        self.world.borrow_mut().power_cut(seed);
    }

    /// The machine shuts down in order and boots: everything reaches the disk, except what a failed flush forgot.
    pub fn reboot_clean(&self) {
        self.world.borrow_mut().reboot_clean();
    }

    /// The disk catches up with everything, as it does by itself after some seconds. Call it now and then in long runs
    /// that flush little, for it also forgets what nothing can reach any more.
    pub fn settle(&self) {
        self.world.borrow_mut().settle();
    }

    /// Ends this process: its locks are free, everything it wrote stays visible.
    pub fn kill(&self) {
        self.process.dead.set(true);
        self.world.borrow_mut().release_locks(self.process.id);
    }

    /// Whether this process has died.
    pub fn is_dead(&self) -> bool {
        self.process.dead.get()
    }

    /// Lets `n` more calls of this process pass and makes the fault happen at the one after them. A fault of the disk
    /// then meets all processes.
    pub fn fail_after(&self, n: usize, fault: Fault) {
        self.process.armed.borrow_mut().push((self.calls() + n, fault));
    }

    /// Ends what is wrong with the disk, and forgets the faults that are still to come for this process.
    pub fn clear_faults(&self) {
        self.process.armed.borrow_mut().clear();
        self.world.borrow_mut().clear_trouble();
    }

    /// How many calls this process made while it lived, the one at which it died included.
    pub fn calls(&self) -> usize {
        self.process.log.borrow().len()
    }

    /// The calls of this process, oldest first.
    pub fn log(&self) -> Vec<Call> {
        self.process.log.borrow().clone()
    }

    /// How often `sync_data` or `sync_dir` was called for this path, by any process and with any result, since the last
    /// [`forget_flushes`](Self::forget_flushes).
    pub fn flushes(&self, path: impl AsRef<Path>) -> u64 {
        self.world.borrow().flushes.get(path.as_ref()).copied().unwrap_or(0)
    }

    /// The sum of [`flushes`](Self::flushes) over all paths.
    pub fn all_flushes(&self) -> u64 {
        self.world.borrow().flushes.values().sum()
    }

    /// Starts counting flushes at 0.
    pub fn forget_flushes(&self) {
        self.world.borrow_mut().flushes.clear();
    }

    /// The step in which modification times advance; 4 ms unless set.
    pub fn granularity(&self, step: Duration) {
        self.world.borrow_mut().set_granularity(step);
    }

    /// Lets time pass without calls. One call takes 250 µs.
    pub fn advance(&self, time: Duration) {
        self.world.borrow_mut().pass(time);
    }

    /// Sets the clock, forwards or back, to this time since 1970.
    pub fn set_time(&self, since_1970: Duration) {
        self.world.borrow_mut().set_time(since_1970);
    }

    /// The modification time that a change would get now.
    pub fn now(&self) -> Stamp {
        self.world.borrow().stamp()
    }
}

/// What another program on the machine sees and does: not a call of this process, and possible when it is dead.
impl PowerCutFs {
    /// The content of a file.
    ///
    /// # Errors
    /// As the system calls would fail; so for all of these.
    pub fn read(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let world = self.world.borrow();
        Ok(world.content(world.resolve(path.as_ref())?)?.seen().to_vec())
    }

    /// Makes the file have this content, and missing directories on the way, as `std::fs::write` does: the file's time
    /// changes, the directory's when the file is new. Nothing is flushed.
    pub fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let (mut world, path) = (self.other(), path.as_ref());
        world.create_dir_all(path.parent().unwrap_or(path), usize::MAX)?;
        let id = world.open(path, Open::Create(0o644))?;
        world.set_len(id, 0)?;
        world.write(id, 0, bytes.as_ref())
    }

    /// Removes a file.
    pub fn remove(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.other().remove_file(path.as_ref())
    }

    /// The names in a directory, sorted.
    pub fn list(&self, dir: impl AsRef<Path>) -> io::Result<Vec<String>> {
        let mut names = self.world.borrow().read_dir(dir.as_ref())?;
        names.sort_unstable();
        Ok(names)
    }

    /// Cuts or grows a file.
    pub fn truncate(&self, path: impl AsRef<Path>, len: u64) -> io::Result<()> {
        let mut world = self.other();
        let id = world.resolve(path.as_ref())?;
        world.set_len(id, len)
    }

    /// Turns bit `bit` (0 is the lowest) of the byte at `offset` over, as a failing disk does: on the disk too, and with
    /// no trace in the times.
    pub fn flip_bit(&self, path: impl AsRef<Path>, offset: u64, bit: u8) -> io::Result<()> {
        self.world.borrow_mut().flip(path.as_ref(), offset, bit)
    }

    fn other(&self) -> RefMut<'_, World> {
        let mut world = self.world.borrow_mut();
        world.pass(CALL);
        world
    }
}

/// How much of its work a call does.
enum Share {
    Whole,
    /// Some of it, drawn from this; the process does not survive it.
    Part(Rng),
}

impl PowerCutFs {
    /// Counts and logs a call and lets the faults happen that are due.
    fn begin(&self, name: &'static str, path: &Path, to: Option<&Path>) -> io::Result<Share> {
        if self.is_dead() {
            return Err(death());
        }
        self.world.borrow_mut().pass(CALL);
        let number = self.calls();
        self.process.log.borrow_mut().push(Call {
            name,
            path: path.to_path_buf(),
            to: to.map(Path::to_path_buf),
        });
        let mut share = Share::Whole;
        for (_, fault) in self.process.armed.borrow_mut().extract_if(.., |(at, _)| *at <= number) {
            match fault {
                Fault::Death => {
                    self.kill();
                    return Err(death());
                }
                Fault::DeathHalfway(seed) => share = Share::Part(Rng::new(seed)),
                disk => self.world.borrow_mut().strike(disk),
            }
        }
        Ok(share)
    }

    /// A call that is done or not done.
    fn call<T>(
        &self,
        name: &'static str,
        path: &Path,
        work: impl FnOnce(&mut World) -> io::Result<T>,
    ) -> io::Result<T> {
        let share = self.begin(name, path, None)?;
        self.finish(share, work)
    }

    fn finish<T>(&self, share: Share, work: impl FnOnce(&mut World) -> io::Result<T>) -> io::Result<T> {
        let Share::Part(mut rng) = share else { return work(&mut self.world.borrow_mut()) };
        if rng.chance(50) {
            // The answer is for a process that no longer is.
            let _unseen = work(&mut self.world.borrow_mut());
        }
        self.kill();
        Err(death())
    }
}

impl Fs for PowerCutFs {
    type File = PowerCutFile;

    fn open(&self, path: &Path, how: Open) -> io::Result<PowerCutFile> {
        let id = self.call("open", path, |world| world.open(path, how))?;
        let mut world = self.world.borrow_mut();
        let by = Holder { process: self.process.id, open: world.opened(id) };
        let writable = !matches!(how, Open::Read | Open::ReadCreate(_));
        let epoch = world.epoch;
        Ok(PowerCutFile { fs: self.clone(), path: path.to_path_buf(), id, by, epoch, writable })
    }

    fn metadata(&self, path: &Path) -> io::Result<Meta> {
        self.call("metadata", path, |world| Ok(world.meta(world.resolve(path)?)))
    }

    fn read_dir(&self, path: &Path, each: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> {
        let names = self.call("read_dir", path, |world| world.read_dir(path))?;
        names.iter().try_for_each(|name| each(name))
    }

    fn create_dir_all(&self, path: &Path, _mode: u32) -> io::Result<()> {
        let Share::Part(mut rng) = self.begin("create_dir_all", path, None)? else {
            return self.world.borrow_mut().create_dir_all(path, usize::MAX);
        };
        let some = rng.index(path.components().count() + 1);
        let _unseen = self.world.borrow_mut().create_dir_all(path, some);
        self.kill();
        Err(death())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call("remove_file", path, |world| world.remove_file(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let share = self.begin("rename", from, Some(to))?;
        self.finish(share, |world| world.rename(from, to))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call("sync_dir", path, |world| {
            world.count_flush(path);
            world.sync_dir(path)
        })
    }

    fn set_mtime(&self, path: &Path, mtime: Stamp) -> io::Result<()> {
        self.call("set_mtime", path, |world| world.set_mtime(path, mtime))
    }
}

/// An open file of a [`PowerCutFs`].
#[derive(Debug)]
pub struct PowerCutFile {
    fs: PowerCutFs,
    path: PathBuf,
    id: Id,
    by: Holder,
    epoch: u64,
    writable: bool,
}

impl PowerCutFile {
    fn current(&self) -> io::Result<()> {
        if self.fs.world.borrow().epoch == self.epoch { Ok(()) } else { Err(stale()) }
    }

    fn call<T>(&self, name: &'static str, work: impl FnOnce(&mut World) -> io::Result<T>) -> io::Result<T> {
        self.current()?;
        self.fs.call(name, &self.path, work)
    }
}

impl File for PowerCutFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call("read_at", |world| {
            let seen = world.content(self.id)?.seen();
            let rest = usize::try_from(offset).ok().and_then(|at| seen.get(at..)).unwrap_or_default();
            let n = rest.len().min(buf.len());
            buf[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.current()?;
        let share = self.fs.begin("write_at", &self.path, None)?;
        let done = match &share {
            _ if !self.writable => errno(EBADF),
            Share::Whole => self.fs.world.borrow_mut().write(self.id, offset, bytes),
            Share::Part(rng) => {
                let n = rng.clone().index(bytes.len() + 1);
                self.fs.world.borrow_mut().write(self.id, offset, &bytes[..n])
            }
        };
        let Share::Part(_) = share else { return done };
        self.fs.kill();
        Err(death())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call("set_len", |world| if self.writable { world.set_len(self.id, len) } else { errno(EBADF) })
    }

    fn len(&self) -> io::Result<u64> {
        self.call("len", |world| Ok(world.meta(self.id).len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call("sync_data", |world| {
            world.count_flush(&self.path);
            world.sync_data(self.id)
        })
    }

    fn lock(&self, wait: Duration) -> io::Result<()> {
        self.call("lock", |world| world.lock(self.id, self.by, wait))
    }
}

impl Drop for PowerCutFile {
    fn drop(&mut self) {
        // Not while a panic holds the machine, and not for a file that a boot has ended.
        let Ok(mut world) = self.fs.world.try_borrow_mut() else { return };
        if world.epoch == self.epoch {
            world.closed(self.id, self.by);
        }
    }
}
