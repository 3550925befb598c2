//! The file system of the machine behaves as the seam says: what the simulation assumes holds for the real one.

// A test: where something is not there that must be, to end at that line is the answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use durable::flush::FlushMark;
use durable::fs::{self, File, Fs, Open, Stamp};
use durable::journal::{Journal, Seen};
use durable::os::OsFs;
use durable::place::{create_dir_durably, is_volatile};

/// A directory of this test's own, removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("durable-{}-{name}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn kind<T>(result: std::io::Result<T>) -> ErrorKind {
    result.err().unwrap().kind()
}

#[test]
fn each_way_to_open_a_file_does_what_it_says() {
    let dir = Dir::new("open");
    let path = dir.join("f");
    assert_eq!(kind(OsFs.open(&path, Open::Read)), ErrorKind::NotFound);
    assert_eq!(kind(OsFs.open(&path, Open::Write)), ErrorKind::NotFound);
    let file = OsFs.open(&path, Open::CreateNew(0o600)).unwrap();
    assert_eq!(kind(OsFs.open(&path, Open::CreateNew(0o600))), ErrorKind::AlreadyExists);
    file.write_at(b"kept", 0).unwrap();
    let again = OsFs.open(&path, Open::Create(0o600)).unwrap();
    assert_eq!(fs::read_open(&again, 10).unwrap(), b"kept", "opening never truncates");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    OsFs.open(&path, Open::Write).unwrap().write_at(b"K", 0).unwrap();
    assert_eq!(fs::read(&OsFs, &path, 10).unwrap(), b"Kept");
}

#[test]
fn a_lock_file_is_made_as_host_local_makes_it_and_cannot_be_written_through() {
    let dir = Dir::new("lockfile");
    let path = dir.join("lock");
    let file = OsFs.open(&path, Open::ReadCreate(0o640)).unwrap();
    assert!(file.is_empty().unwrap());
    assert!(file.write_at(b"x", 0).is_err());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o700, 0o600);
    file.lock(Duration::ZERO).unwrap();
}

#[test]
fn reading_and_writing_go_by_offset_and_end_where_the_file_ends() {
    let dir = Dir::new("offsets");
    let file = OsFs.open(&dir.join("f"), Open::Create(0o600)).unwrap();
    file.write_at(b"end", 5).unwrap();
    let mut buffer = [9; 10];
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 8);
    assert_eq!(&buffer[..8], b"\0\0\0\0\0end");
    assert_eq!(file.read_at(&mut buffer, 100).unwrap(), 0);
    file.set_len(6).unwrap();
    assert_eq!(file.len().unwrap(), 6);
    file.sync_data().unwrap();
    assert_eq!(kind(fs::read_open(&file, 5)), ErrorKind::FileTooLarge);
    assert_eq!(fs::read_open(&file, 6).unwrap().len(), 6);
}

#[test]
fn directories_are_made_listed_and_flushed() {
    let dir = Dir::new("dirs");
    let deep = dir.join("a/b/c");
    create_dir_durably(&OsFs, &deep, 0o700).unwrap();
    create_dir_durably(&OsFs, &deep, 0o700).unwrap();
    assert_eq!(std::fs::metadata(&deep).unwrap().permissions().mode() & 0o777, 0o700);
    OsFs.open(&deep.join("one"), Open::CreateNew(0o600)).unwrap();
    OsFs.rename(&deep.join("one"), &deep.join("two")).unwrap();
    OsFs.sync_dir(&deep).unwrap();
    let mut names = Vec::new();
    let mut take = |name: &str| {
        names.push(name.to_owned());
        Ok(())
    };
    OsFs.read_dir(&deep, &mut take).unwrap();
    assert_eq!(names, ["two"]);
    let stop = OsFs.read_dir(&deep, &mut |_| Err(ErrorKind::Interrupted.into()));
    assert_eq!(kind(stop), ErrorKind::Interrupted);
    OsFs.remove_file(&deep.join("two")).unwrap();
    assert_eq!(kind(OsFs.remove_file(&deep.join("two"))), ErrorKind::NotFound);
    assert_eq!(kind(OsFs.sync_dir(&dir.join("none"))), ErrorKind::NotFound);
}

#[test]
fn a_time_set_on_a_directory_is_read_back_and_any_change_of_the_directory_ends_it() {
    let dir = Dir::new("mtime");
    let stamp = Stamp { secs: 1_700_000_000, nanos: 123_456_789 };
    OsFs.set_mtime(&dir.0, stamp).unwrap();
    let meta = OsFs.metadata(&dir.0).unwrap();
    assert_eq!((meta.mtime, meta.dir, meta.file), (stamp, true, false));
    let real = std::fs::metadata(&dir.0).unwrap();
    assert_eq!((meta.ino, meta.dev, meta.len), (real.ino(), real.dev(), real.len()));
    std::fs::write(dir.join("x"), "").unwrap();
    assert_ne!(OsFs.metadata(&dir.0).unwrap().mtime, stamp);
    assert_eq!(kind(OsFs.set_mtime(&dir.0, Stamp { secs: -1, nanos: 0 })), ErrorKind::InvalidInput);
}

#[test]
fn a_lock_is_one_per_open_file_and_waiting_for_it_ends_in_time() {
    let dir = Dir::new("lock");
    let path = dir.join("lock");
    let holder = OsFs.open(&path, Open::Create(0o600)).unwrap();
    holder.lock(Duration::ZERO).unwrap();
    let other = OsFs.open(&path, Open::Create(0o600)).unwrap();
    let start = Instant::now();
    assert_eq!(kind(other.lock(Duration::from_millis(30))), ErrorKind::TimedOut);
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert!(start.elapsed() < Duration::from_secs(20), "bounded even on a slow machine");
}

#[test]
fn a_lock_that_is_given_back_goes_to_the_one_who_waits() {
    let dir = Dir::new("handover");
    let path = dir.join("lock");
    let holder = OsFs.open(&path, Open::Create(0o600)).unwrap();
    holder.lock(Duration::ZERO).unwrap();
    let waiting = OsFs.open(&path, Open::Create(0o600)).unwrap();
    let waiter = std::thread::spawn(move || waiting.lock(Duration::from_secs(60)));
    drop(holder);
    waiter.join().unwrap().unwrap();
}

#[test]
fn a_journal_on_the_machines_own_disk_is_read_back_and_flushed_once_for_all() {
    let dir = Dir::new("journal");
    let mut journal = Journal::replace(&OsFs, &dir.0, 5, |writer| writer.add(b"one")).unwrap();
    let span = journal.append(b"two").unwrap();
    let mark = FlushMark::in_dir(&dir.0);
    mark.flush(&OsFs, &journal.into_file(), 5, span.end(), Duration::from_secs(1)).unwrap();
    let mut journal = Journal::open(&OsFs, &dir.0).unwrap().unwrap();
    let mut found = Vec::new();
    let done = journal.scan(None, 9, |seen: Seen<'_>| {
        if let Seen::Record(_, bytes) = seen {
            found.push(bytes.to_vec());
        }
        Ok(())
    });
    assert!(done.unwrap());
    assert_eq!(found, [b"one".to_vec(), b"two".to_vec()]);
    assert!(Journal::open(&OsFs, Path::new("/nonexistent")).unwrap().is_none());
}

#[test]
fn what_is_kept_in_memory_is_told_from_what_is_kept_on_a_disk() {
    assert!(!is_volatile(Path::new("/nonexistent")));
    assert!(!is_volatile(Path::new("/proc")));
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mut tmpfs = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (path, kind) = (words.nth(1)?, words.next()?);
        (kind == "tmpfs" && Path::new(path).is_dir()).then(|| PathBuf::from(path))
    });
    // A machine without any has nothing to tell apart.
    if let Some(path) = tmpfs.next_back() {
        assert!(is_volatile(&path), "{}", path.display());
    }
}
