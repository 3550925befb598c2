use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;

use super::content::SECTOR;
use super::*;

const SEEDS: u64 = 300;
const NOW: Duration = Duration::ZERO;

fn p(path: &str) -> &Path {
    Path::new(path)
}

fn open(fs: &PowerCutFs, path: &str) -> PowerCutFile {
    fs.open(p(path), Open::Create(0o644)).unwrap()
}

/// A machine whose disk has `/d` and nothing else unflushed.
fn machine() -> PowerCutFs {
    let fs = PowerCutFs::new();
    fs.create_dir_all(p("/d"), 0o755).unwrap();
    fs.settle();
    fs
}

/// What `look` finds after each of many power cuts from this state.
fn after_cuts<T: Ord>(fs: &PowerCutFs, look: impl Fn(&PowerCutFs) -> T) -> BTreeSet<T> {
    let cut = |seed| {
        let fs = fs.fork();
        fs.power_cut(seed);
        look(&fs)
    };
    (0..SEEDS).map(cut).collect()
}

fn contents(fs: &PowerCutFs, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    after_cuts(fs, |fs| fs.read(path).ok())
}

fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    items.into_iter().collect()
}

fn kind<T: fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

fn dies<T: fmt::Debug>(result: io::Result<T>) -> bool {
    is_death(&result.unwrap_err())
}

/// Every path on the machine, with the content of files.
fn everything(fs: &PowerCutFs) -> BTreeSet<(String, Option<Vec<u8>>)> {
    let mut found = BTreeSet::new();
    let mut next = vec!["/".to_string()];
    while let Some(dir) = next.pop() {
        for name in fs.list(&dir).unwrap() {
            let path = format!("{}/{name}", dir.trim_end_matches('/'));
            match fs.read(&path) {
                Ok(bytes) => drop(found.insert((path, Some(bytes)))),
                Err(_) => {
                    found.insert((path.clone(), None));
                    next.push(path);
                }
            }
        }
    }
    found
}

mod content {
    use super::*;

    #[test]
    fn flushed_data_survives_every_seed() {
        let fs = machine();
        let file = open(&fs, "/d/f");
        file.write_at(&[7; 2000], 0).unwrap();
        file.sync_data().unwrap();
        fs.sync_dir(p("/d")).unwrap();
        assert_eq!(contents(&fs, "/d/f"), set([Some(vec![7; 2000])]));
    }

    #[test]
    fn unflushed_data_tears_at_sectors_and_only_there() {
        let fs = machine();
        fs.write("/d/f", [1; 1024]).unwrap();
        fs.settle();
        open(&fs, "/d/f").write_at(&[2; 1024], 0).unwrap();
        let sectors = |a: u8, b: u8| Some([[a; 512], [b; 512]].concat());
        assert_eq!(contents(&fs, "/d/f"), set([sectors(1, 1), sectors(1, 2), sectors(2, 1), sectors(2, 2)]));
    }

    #[test]
    fn any_version_of_a_sector_since_the_flush_may_be_the_one_that_arrived() {
        let fs = machine();
        fs.write("/d/f", b"0000").unwrap();
        fs.settle();
        let file = open(&fs, "/d/f");
        file.write_at(b"1", 0).unwrap();
        file.write_at(b"2", 1).unwrap();
        let versions = [b"0000", b"1000", b"1200"].map(|v| Some(v.to_vec()));
        assert_eq!(contents(&fs, "/d/f"), set(versions));
    }

    #[test]
    fn growth_may_be_lost_or_arrive_as_zeros() {
        let fs = machine();
        fs.write("/d/f", b"old").unwrap();
        fs.settle();
        open(&fs, "/d/f").write_at(b"new", 3).unwrap();
        let outcomes = [&b"old"[..], b"old\0\0\0", b"oldnew"].map(|v| Some(v.to_vec()));
        assert_eq!(contents(&fs, "/d/f"), set(outcomes));
    }

    #[test]
    fn a_truncation_that_arrived_brings_back_nothing_it_cut() {
        let fs = machine();
        fs.write("/d/f", [1; 600]).unwrap();
        fs.settle();
        let file = open(&fs, "/d/f");
        file.write_at(&[2; 600], 0).unwrap();
        file.set_len(0).unwrap();
        file.set_len(550).unwrap();
        for content in contents(&fs, "/d/f").into_iter().flatten() {
            let zeros = content.iter().all(|byte| *byte == 0);
            assert!(content.len() == 600 || zeros, "{} bytes, not all zero", content.len());
        }
        assert_eq!(after_cuts(&fs, |fs| fs.read("/d/f").unwrap().len()), set([0, 550, 600]));
    }

    #[test]
    fn a_flush_of_one_file_leaves_another_unflushed() {
        let fs = machine();
        fs.write("/d/a", b"a").unwrap();
        fs.write("/d/b", b"b").unwrap();
        fs.sync_dir(p("/d")).unwrap();
        open(&fs, "/d/a").sync_data().unwrap();
        assert_eq!(contents(&fs, "/d/a"), set([Some(b"a".to_vec())]));
        assert_eq!(contents(&fs, "/d/b"), set([&b""[..], b"\0", b"b"].map(|v| Some(v.to_vec()))));
    }

    /// Random writes and size changes; `history` gets what programs saw after each.
    fn scribble(file: &PowerCutFile, fs: &PowerCutFs, rng: &mut Rng, history: &mut Vec<Vec<u8>>) {
        for _ in 0..rng.below(12) {
            let (at, len) = (rng.below(2000), rng.index(1200));
            match rng.below(5) {
                0 => file.set_len(at).unwrap(),
                1 => {
                    file.sync_data().unwrap();
                    history.clear();
                }
                _ => file.write_at(&rng.bytes(len), at).unwrap(),
            }
            history.push(fs.read("/d/f").unwrap());
        }
    }

    /// The sector at `at` of a file that was cut to `len` and grown again.
    fn sector(content: &[u8], at: usize, len: usize) -> Vec<u8> {
        let kept = &content[..content.len().min(len)];
        (at..at + SECTOR).map(|i| kept.get(i).copied().unwrap_or(0)).collect()
    }

    #[test]
    fn after_a_power_cut_every_sector_and_the_size_are_some_that_programs_saw_since_the_flush() {
        for seed in 0..2000 {
            let (fs, mut rng, mut history) = (machine(), Rng::new(seed), vec![Vec::new()]);
            let file = open(&fs, "/d/f");
            fs.settle();
            scribble(&file, &fs, &mut rng, &mut history);
            fs.power_cut(seed);
            let found = fs.read("/d/f").unwrap();
            let lens: BTreeSet<_> = history.iter().map(Vec::len).collect();
            assert!(lens.contains(&found.len()), "seed {seed}: size {}", found.len());
            for at in (0..found.len()).step_by(SECTOR) {
                let arrived = sector(&found, at, found.len());
                let mut cuts = lens.iter().map(|len| found.len().min(*len));
                let seen = cuts.any(|len| history.iter().any(|old| sector(old, at, len) == arrived));
                assert!(seen, "seed {seed}: sector at {at}");
            }
        }
    }

    #[test]
    fn a_failed_flush_followed_by_one_that_succeeds_loses_the_data() {
        let fs = machine();
        fs.write("/d/f", b"old").unwrap();
        fs.settle();
        let file = open(&fs, "/d/f");
        file.write_at(b"new", 0).unwrap();
        fs.fail_after(0, Fault::FlushFails);
        assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(errors::EIO));
        file.sync_data().unwrap();
        open(&fs, "/d/f").sync_data().unwrap();
        assert_eq!(fs.read("/d/f").unwrap(), b"new", "still in the page cache");
        assert_eq!(contents(&fs, "/d/f"), set([Some(b"old".to_vec())]));
        fs.reboot_clean();
        assert_eq!(fs.read("/d/f").unwrap(), b"old");
    }

    #[test]
    fn data_written_again_after_a_failed_flush_can_be_flushed() {
        let fs = machine();
        let file = open(&fs, "/d/f");
        fs.settle();
        file.write_at(&[1; 512], 0).unwrap();
        fs.fail_after(0, Fault::FlushFails);
        file.sync_data().unwrap_err();
        file.write_at(&[2; 512], 512).unwrap();
        file.sync_data().unwrap();
        assert_eq!(contents(&fs, "/d/f"), set([Some([[0; 512], [2; 512]].concat())]), "a hole of zeros");
        file.write_at(&[1; 512], 0).unwrap();
        file.sync_data().unwrap();
        assert_eq!(contents(&fs, "/d/f"), set([Some([[1; 512], [2; 512]].concat())]));
    }

    #[test]
    fn a_flipped_bit_is_on_the_disk_and_in_no_time() {
        let fs = machine();
        fs.write("/d/f", b"a").unwrap();
        fs.settle();
        let before = fs.metadata(p("/d/f")).unwrap().mtime;
        fs.advance(Duration::from_secs(1));
        fs.flip_bit("/d/f", 0, 1).unwrap();
        assert_eq!(fs.metadata(p("/d/f")).unwrap().mtime, before);
        assert_eq!(contents(&fs, "/d/f"), set([Some(b"c".to_vec())]));
        fs.flip_bit("/d/f", 1, 1).unwrap_err();
        fs.write("/d/f", b"x").unwrap();
        fs.flip_bit("/d/f", 0, 1).unwrap();
        assert!(!contents(&fs, "/d/f").contains(&Some(b"x".to_vec())), "unflushed bytes are flipped too");
    }
}

mod entries {
    use super::*;

    #[test]
    fn an_entry_not_synced_may_vanish_though_its_data_is_flushed() {
        let fs = machine();
        let file = open(&fs, "/d/f");
        file.write_at(b"x", 0).unwrap();
        file.sync_data().unwrap();
        assert_eq!(contents(&fs, "/d/f"), set([None, Some(b"x".to_vec())]));
    }

    #[test]
    fn a_synced_entry_survives_though_its_data_may_not() {
        let fs = machine();
        open(&fs, "/d/f").write_at(b"x", 0).unwrap();
        fs.sync_dir(p("/d")).unwrap();
        let found = contents(&fs, "/d/f");
        assert!(!found.contains(&None) && found.contains(&Some(Vec::new())), "{found:?}");
    }

    #[test]
    fn a_removal_not_synced_may_be_undone_and_a_synced_one_may_not() {
        let fs = machine();
        fs.write("/d/f", b"x").unwrap();
        fs.settle();
        fs.remove_file(p("/d/f")).unwrap();
        assert_eq!(contents(&fs, "/d/f"), set([None, Some(b"x".to_vec())]));
        fs.sync_dir(p("/d")).unwrap();
        assert_eq!(contents(&fs, "/d/f"), set([None]));
    }

    #[test]
    fn entries_of_one_directory_vanish_independently() {
        let fs = machine();
        fs.write("/d/a", b"").unwrap();
        fs.write("/d/b", b"").unwrap();
        let found = after_cuts(&fs, |fs| fs.list("/d").unwrap().concat());
        assert_eq!(found, set(["", "a", "b", "ab"].map(String::from)));
    }

    #[test]
    fn operations_on_one_name_arrive_in_order() {
        let fs = machine();
        fs.write("/d/f", b"1").unwrap();
        fs.settle();
        fs.remove("/d/f").unwrap();
        let file = open(&fs, "/d/f");
        file.write_at(b"2", 0).unwrap();
        file.sync_data().unwrap();
        assert_eq!(contents(&fs, "/d/f"), set([Some(b"1".to_vec()), None, Some(b"2".to_vec())]));
    }

    #[test]
    fn a_lost_rename_takes_along_what_was_done_to_its_names_later() {
        let fs = machine();
        let file = open(&fs, "/d/a");
        file.write_at(b"1", 0).unwrap();
        file.sync_data().unwrap();
        fs.rename(p("/d/a"), p("/d/b")).unwrap();
        let file = open(&fs, "/d/a");
        file.write_at(b"2", 0).unwrap();
        file.sync_data().unwrap();
        let state = |fs: &PowerCutFs| ["/d/a", "/d/b"].map(|path| fs.read(path).ok());
        let (one, two) = (Some(b"1".to_vec()), Some(b"2".to_vec()));
        let in_order = [[None, None], [one.clone(), None], [None, one.clone()], [two, one]];
        assert_eq!(after_cuts(&fs, state), set(in_order));
    }

    #[test]
    fn a_renamed_file_keeps_its_number_to_itself() {
        let fs = machine();
        fs.write("/d/a", b"").unwrap();
        let number = |path| fs.metadata(p(path)).unwrap().ino;
        let before = number("/d/a");
        fs.rename(p("/d/a"), p("/d/b")).unwrap();
        fs.write("/d/a", b"").unwrap();
        assert_eq!(number("/d/b"), before);
        assert_ne!(number("/d/a"), before);
    }

    #[test]
    fn a_rename_is_done_or_not_done() {
        let fs = machine();
        fs.create_dir_all(p("/e"), 0o755).unwrap();
        fs.write("/d/new", b"new").unwrap();
        fs.write("/e/f", b"old").unwrap();
        fs.settle();
        fs.rename(p("/d/new"), p("/e/f")).unwrap();
        let state = |fs: &PowerCutFs| (fs.list("/d").unwrap().len(), fs.read("/e/f").unwrap());
        assert_eq!(after_cuts(&fs, state), set([(1, b"old".to_vec()), (0, b"new".to_vec())]));
        let other = fs.fork();
        fs.sync_dir(p("/e")).unwrap();
        other.sync_dir(p("/d")).unwrap();
        assert_eq!(after_cuts(&fs, state), set([(0, b"new".to_vec())]));
        assert_eq!(after_cuts(&other, state), set([(0, b"new".to_vec())]), "either directory will do");
    }

    #[test]
    fn a_synced_rename_takes_along_the_creation_it_builds_on() {
        let fs = machine();
        fs.create_dir_all(p("/e"), 0o755).unwrap();
        fs.settle();
        open(&fs, "/d/tmp").sync_data().unwrap();
        open(&fs, "/d/bystander");
        fs.rename(p("/d/tmp"), p("/e/f")).unwrap();
        fs.sync_dir(p("/e")).unwrap();
        let found = after_cuts(&fs, |fs| (fs.list("/d").unwrap().concat(), fs.list("/e").unwrap().concat()));
        assert_eq!(found, set([(String::new(), "f".into()), ("bystander".into(), "f".into())]));
    }

    #[test]
    fn a_file_renamed_without_a_flush_may_be_empty() {
        let fs = machine();
        fs.write("/d/f", b"old").unwrap();
        fs.settle();
        fs.write("/d/tmp", b"new").unwrap();
        fs.rename(p("/d/tmp"), p("/d/f")).unwrap();
        assert!(contents(&fs, "/d/f").contains(&Some(Vec::new())));
    }

    #[test]
    fn a_lost_directory_takes_its_synced_entries_along() {
        let fs = PowerCutFs::new();
        fs.create_dir_all(p("/a/b"), 0o755).unwrap();
        open(&fs, "/a/b/f");
        fs.sync_dir(p("/a/b")).unwrap();
        let found = after_cuts(&fs, |fs| fs.read("/a/b/f").is_ok());
        assert_eq!(found, set([false, true]));
        fs.sync_dir(p("/a")).unwrap();
        fs.sync_dir(p("/")).unwrap();
        assert_eq!(after_cuts(&fs, |fs| fs.read("/a/b/f").is_ok()), set([true]));
    }

    #[test]
    fn names_are_read_in_an_order_that_is_not_the_alphabet() {
        let fs = machine();
        let names: Vec<_> = (10..40).map(|n| n.to_string()).collect();
        names.iter().for_each(|name| fs.write(p("/d").join(name), b"").unwrap());
        let mut read = Vec::new();
        fs.read_dir(p("/d"), &mut |name| {
            read.push(name.to_string());
            Ok(())
        })
        .unwrap();
        assert_ne!(read, names);
        assert_eq!(fs.list("/d").unwrap(), names);
    }

    #[test]
    fn calls_on_the_wrong_kind_of_path_fail_as_on_linux() {
        let fs = machine();
        fs.write("/d/f", b"").unwrap();
        fs.write("/e/f", b"").unwrap();
        assert_eq!(kind(fs.open(p("/d/x"), Open::Read)), io::ErrorKind::NotFound);
        assert_eq!(kind(fs.open(p("/x/f"), Open::Create(0o600))), io::ErrorKind::NotFound);
        assert_eq!(kind(fs.open(p("/d/f"), Open::CreateNew(0o600))), io::ErrorKind::AlreadyExists);
        assert_eq!(kind(fs.open(p("/d/f/x"), Open::Read)), io::ErrorKind::NotADirectory);
        assert_eq!(kind(fs.open(p("/d"), Open::Write)), io::ErrorKind::IsADirectory);
        assert_eq!(kind(fs.create_dir_all(p("/d/f"), 0o755)), io::ErrorKind::AlreadyExists);
        assert_eq!(kind(fs.remove_file(p("/d"))), io::ErrorKind::IsADirectory);
        assert_eq!(kind(fs.rename(p("/d"), p("/e"))), io::ErrorKind::DirectoryNotEmpty);
        assert_eq!(kind(fs.rename(p("/d/f"), p("/e"))), io::ErrorKind::IsADirectory);
        assert_eq!(kind(fs.rename(p("/d"), p("/d/d"))), io::ErrorKind::InvalidInput);
        let long = p("/d").join("n".repeat(256));
        assert_eq!(kind(fs.open(&long, Open::Create(0o600))), io::ErrorKind::InvalidFilename);
    }

    #[test]
    fn a_file_opened_for_reading_cannot_be_changed() {
        let fs = machine();
        let file = fs.open(p("/d/lock"), Open::ReadCreate(0o644)).unwrap();
        assert_eq!(file.write_at(b"x", 0).unwrap_err().raw_os_error(), Some(EBADF));
        assert_eq!(file.set_len(1).unwrap_err().raw_os_error(), Some(EBADF));
        assert!(file.is_empty().unwrap());
        file.lock(NOW).unwrap();
    }

    #[test]
    fn a_removed_file_stays_readable_where_it_is_open_and_its_number_is_given_again_afterwards() {
        let fs = machine();
        fs.write("/d/f", b"x").unwrap();
        let number = fs.metadata(p("/d/f")).unwrap().ino;
        let file = fs.open(p("/d/f"), Open::Read).unwrap();
        fs.remove("/d/f").unwrap();
        fs.settle();
        fs.write("/d/g", b"").unwrap();
        assert_ne!(fs.metadata(p("/d/g")).unwrap().ino, number);
        let mut byte = [0];
        assert_eq!((file.read_at(&mut byte, 0).unwrap(), byte), (1, *b"x"));
        drop(file);
        fs.write("/d/h", b"").unwrap();
        assert_eq!(fs.metadata(p("/d/h")).unwrap().ino, number);
    }

    #[test]
    fn two_files_never_have_one_inode_number_after_a_lost_removal() {
        let given_again = machine();
        given_again.write("/d/f", b"").unwrap();
        given_again.settle();
        given_again.remove("/d/f").unwrap();
        let given_back = given_again.fork();
        given_again.write("/d/g", b"").unwrap();
        for fs in [given_again, given_back] {
            let one_number = after_cuts(&fs, |fs| {
                drop(fs.open(p("/d/f"), Open::Read));
                fs.write("/d/h", b"").unwrap();
                let ino = |path: &&str| fs.metadata(p(path)).ok().map(|meta| meta.ino);
                let numbers: Vec<_> = ["/d/f", "/d/g", "/d/h"].iter().filter_map(ino).collect();
                set(numbers.clone()).len() < numbers.len()
            });
            assert_eq!(one_number, set([false]));
        }
    }
}

mod machines {
    use super::*;

    #[test]
    fn a_clean_reboot_loses_nothing_but_volatile_paths() {
        let fs = PowerCutFs::new();
        fs.volatile("/run").unwrap();
        fs.write("/run/x/f", b"gone").unwrap();
        fs.write("/d/f", b"kept").unwrap();
        fs.reboot_clean();
        assert_eq!(
            everything(&fs),
            set([("/run".into(), None), ("/d".into(), None), ("/d/f".into(), Some(b"kept".to_vec())),])
        );
    }

    #[test]
    fn a_volatile_path_is_empty_after_every_power_cut_even_where_it_was_flushed() {
        let fs = machine();
        fs.volatile("/run/cni").unwrap();
        let file = open(&fs, "/run/cni/f");
        file.write_at(b"x", 0).unwrap();
        file.sync_data().unwrap();
        fs.sync_dir(p("/run/cni")).unwrap();
        assert_eq!(after_cuts(&fs, |fs| fs.list("/run/cni").unwrap()), set([vec![]]));
        assert_eq!(kind(fs.rename(p("/run/cni/f"), p("/d/f"))), io::ErrorKind::CrossesDevices);
        assert_ne!(fs.metadata(p("/run/cni")).unwrap().dev, fs.metadata(p("/d")).unwrap().dev);
    }

    #[test]
    fn a_power_cut_is_decided_by_its_seed_alone() {
        let fs = machine();
        for i in 0..20 {
            fs.write(format!("/d/{i}"), vec![i; 3000]).unwrap();
        }
        let (a, b, c) = (fs.fork(), fs.fork(), fs.fork());
        a.power_cut(5);
        b.power_cut(5);
        c.power_cut(6);
        assert_eq!(everything(&a), everything(&b));
        assert_ne!(everything(&a), everything(&c));
    }

    #[test]
    fn what_has_settled_survives_every_power_cut_whatever_was_done_before() {
        for seed in 0..SEEDS {
            let mut rng = Rng::new(seed);
            let fs = machine();
            for _ in 0..60 {
                random_step(&fs, &mut rng);
            }
            fs.settle();
            let before = everything(&fs);
            fs.power_cut(seed);
            assert_eq!(everything(&fs), before, "seed {seed}");
        }
    }

    #[test]
    fn a_settled_machine_keeps_nothing_of_removed_files() {
        let fs = machine();
        let kept = fs.world.borrow().nodes.len();
        for i in 0..50 {
            fs.write(format!("/d/{i}"), b"x").unwrap();
            fs.remove(format!("/d/{i}")).unwrap();
        }
        fs.settle();
        assert_eq!(fs.world.borrow().nodes.len(), kept);
    }

    fn random_step(fs: &PowerCutFs, rng: &mut Rng) {
        let mut path = || PathBuf::from(format!("/{}/{}", rng.pick(&["d", "e"]), rng.pick(&["a", "b", "c"])));
        let (from, to) = (path(), path());
        let (at, len) = (rng.below(1500), rng.index(1500));
        let step = match rng.below(8) {
            0 => fs.write(&from, rng.bytes(len)),
            1 => fs.remove(&from),
            2 => fs.rename(&from, &to),
            3 => fs.truncate(&from, at),
            4 => fs.sync_dir(p("/d")),
            5 => fs.open(&from, Open::Write).and_then(|file| file.sync_data()),
            6 => {
                fs.power_cut(rng.next_u64());
                Ok(())
            }
            _ => fs.open(&from, Open::Create(0o644)).and_then(|file| file.write_at(&rng.bytes(len), at)),
        };
        // What is not there cannot be worked on; nothing else may fail.
        assert!(step.is_ok() || kind(step) == io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_opened_before_a_boot_fails_at_every_use() {
        let fs = machine();
        let file = open(&fs, "/d/f");
        file.lock(NOW).unwrap();
        fs.reboot_clean();
        assert!(dies(file.len()) && dies(file.write_at(b"x", 0)) && dies(file.lock(NOW)));
        let next = open(&fs, "/d/f");
        next.lock(NOW).unwrap();
        drop(file);
        assert_eq!(
            kind(open(&fs, "/d/f").lock(NOW)),
            io::ErrorKind::TimedOut,
            "the old file unlocks nothing"
        );
    }

    #[test]
    fn a_lock_excludes_other_open_files_until_it_is_dropped() {
        let fs = machine();
        let (first, second) = (open(&fs, "/d/lock"), open(&fs.process(), "/d/lock"));
        first.lock(NOW).unwrap();
        first.lock(NOW).unwrap();
        fs.set_time(Duration::from_secs(10));
        assert_eq!(kind(second.lock(Duration::from_secs(5))), io::ErrorKind::TimedOut);
        assert_eq!(fs.now().secs, 15, "it waited on the simulated clock");
        open(&fs.fork(), "/d/lock").lock(NOW).unwrap();
        drop(first);
        second.lock(NOW).unwrap();
    }

    #[test]
    fn a_killed_process_frees_its_locks_and_leaves_its_data() {
        let fs = machine();
        let victim = fs.process();
        let file = open(&victim, "/d/f");
        file.write_at(b"x", 0).unwrap();
        file.lock(NOW).unwrap();
        victim.kill();
        assert!(dies(file.write_at(b"y", 0)) && dies(victim.metadata(p("/d"))));
        let next = open(&fs, "/d/f");
        next.lock(NOW).unwrap();
        drop(file);
        assert_eq!(
            kind(open(&fs, "/d/f").lock(NOW)),
            io::ErrorKind::TimedOut,
            "the dead file unlocks nothing"
        );
        assert_eq!(fs.read("/d/f").unwrap(), b"x");
    }

    #[test]
    fn changes_close_to_each_other_have_equal_times() {
        let fs = machine();
        let mtime = |path| fs.metadata(p(path)).unwrap().mtime;
        fs.set_time(Duration::from_secs(10));
        fs.write("/d/a", b"").unwrap();
        fs.write("/d/b", b"").unwrap();
        assert_eq!(mtime("/d/a"), mtime("/d/b"));
        assert_eq!(mtime("/d"), mtime("/d/b"));
        fs.advance(Duration::from_millis(4));
        fs.write("/d/a", b"x").unwrap();
        assert_eq!(mtime("/d/a"), Stamp { secs: 10, nanos: 4_000_000 });
        assert_eq!(mtime("/d"), mtime("/d/b"), "no entry changed");
        fs.granularity(Duration::from_nanos(1));
        fs.write("/d/b", b"x").unwrap();
        assert!(mtime("/d/b") > mtime("/d/a"));
        fs.set_mtime(p("/d"), Stamp { secs: -1, nanos: 5 }).unwrap();
        fs.power_cut(0);
        assert_eq!(fs.metadata(p("/d")).unwrap().mtime, Stamp { secs: -1, nanos: 5 });
    }
}

mod faults {
    use super::*;

    #[test]
    fn a_dead_process_cannot_write_and_the_call_it_died_at_did_nothing() {
        let fs = machine();
        let victim = fs.process();
        let file = open(&victim, "/d/f");
        victim.fail_after(1, Fault::Death);
        file.write_at(b"a", 0).unwrap();
        assert!(!victim.is_dead());
        assert!(dies(file.write_at(b"b", 0)));
        assert!(victim.is_dead());
        assert!(dies(file.write_at(b"c", 0)) && dies(victim.remove_file(p("/d/f"))));
        drop(file);
        assert_eq!(fs.read("/d/f").unwrap(), b"a");
        assert_eq!(victim.calls(), 3, "those after death are not counted");
        open(&victim.process(), "/d/f").write_at(b"d", 0).unwrap();
    }

    #[test]
    fn a_process_that_dies_in_a_write_leaves_any_first_part_of_it() {
        let lens = (0..SEEDS).map(|seed| {
            let fs = machine();
            let file = open(&fs, "/d/f");
            fs.fail_after(0, Fault::DeathHalfway(seed));
            assert!(dies(file.write_at(b"abc", 0)));
            let left = fs.read("/d/f").unwrap();
            assert!(b"abc".starts_with(&left));
            left.len()
        });
        assert_eq!(set(lens), set([0, 1, 2, 3]));
    }

    #[test]
    fn a_process_that_dies_in_a_rename_has_done_it_or_not_and_in_mkdir_some() {
        let listing = |seed, what: fn(&PowerCutFs) -> io::Result<()>| {
            let fs = machine();
            fs.write("/d/a", b"").unwrap();
            fs.fail_after(0, Fault::DeathHalfway(seed));
            assert!(dies(what(&fs)));
            everything(&fs).into_iter().map(|(path, _)| path).collect::<Vec<_>>().concat()
        };
        let renamed = (0..SEEDS).map(|seed| listing(seed, |fs| fs.rename(p("/d/a"), p("/d/b"))));
        assert_eq!(set(renamed), set(["/d/d/a", "/d/d/b"].map(String::from)));
        let made = (0..SEEDS).map(|seed| listing(seed, |fs| fs.create_dir_all(p("/d/x/y"), 0)));
        assert_eq!(set(made), set(["/d/d/a", "/d/d/a/d/x", "/d/d/a/d/x/d/x/y"].map(String::from)));
    }

    #[test]
    fn a_full_disk_takes_no_new_bytes_and_no_new_files_but_overwrites() {
        let fs = machine();
        fs.volatile("/run").unwrap();
        let file = open(&fs, "/d/f");
        file.write_at(b"12345", 0).unwrap();
        fs.fail_after(0, Fault::NoSpace);
        assert_eq!(kind(file.write_at(b"abcdefgh", 0)), io::ErrorKind::StorageFull);
        let left = fs.read("/d/f").unwrap();
        assert!((5..8).contains(&left.len()) && b"abcdefgh".starts_with(&left), "{left:?}");
        file.write_at(b"1", 0).unwrap();
        assert_eq!(kind(fs.open(p("/d/g"), Open::Create(0o644))), io::ErrorKind::StorageFull);
        assert_eq!(kind(fs.process().create_dir_all(p("/x"), 0o755)), io::ErrorKind::StorageFull);
        fs.write("/run/f", b"x").unwrap();
        fs.clear_faults();
        file.write_at(b"abcdefgh", 0).unwrap();
        assert_eq!(fs.read("/d/f").unwrap(), b"abcdefgh");
    }

    #[test]
    fn space_that_was_only_promised_by_set_len_is_not_there_when_the_disk_is_full() {
        let fs = machine();
        let file = open(&fs, "/d/f");
        file.set_len(100).unwrap();
        fs.fail_after(0, Fault::NoSpace);
        assert_eq!(kind(file.write_at(&[1; 100], 0)), io::ErrorKind::StorageFull);
        file.set_len(1).unwrap();
        assert_eq!(kind(file.write_at(&[1; 2], 0)), io::ErrorKind::StorageFull, "given back by cutting");
    }

    #[test]
    fn a_read_only_disk_can_be_read_and_not_changed() {
        let fs = machine();
        let file = open(&fs, "/d/f");
        file.write_at(b"x", 0).unwrap();
        fs.fail_after(0, Fault::ReadOnly);
        let read_only = io::ErrorKind::ReadOnlyFilesystem;
        assert_eq!(kind(file.write_at(b"y", 0)), read_only);
        assert_eq!(kind(file.set_len(0)), read_only);
        assert_eq!(kind(file.sync_data()), read_only, "it would have to write");
        assert_eq!(kind(fs.sync_dir(p("/d"))), read_only, "it would have to write");
        assert_eq!(kind(fs.open(p("/d/f"), Open::Write)), read_only);
        assert_eq!(kind(fs.open(p("/d/g"), Open::ReadCreate(0o644))), read_only);
        assert_eq!(kind(fs.rename(p("/d/f"), p("/d/g"))), read_only);
        assert_eq!(kind(fs.remove_file(p("/d/f"))), read_only);
        assert_eq!(kind(fs.set_mtime(p("/d"), Stamp::default())), read_only);
        fs.open(p("/d/f"), Open::ReadCreate(0o644)).unwrap().lock(NOW).unwrap();
        fs.create_dir_all(p("/d"), 0o755).unwrap();
        assert_eq!(durable::fs::read(&fs, p("/d/f"), 10).unwrap(), b"x");
    }

    #[test]
    fn calls_and_flushes_are_counted_by_path() {
        let fs = machine();
        let one = fs.process();
        let file = open(&one, "/d/f");
        file.write_at(b"x", 0).unwrap();
        file.sync_data().unwrap();
        one.rename(p("/d/f"), p("/d/g")).unwrap();
        one.sync_dir(p("/d")).unwrap();
        assert_eq!((fs.flushes("/d/f"), fs.flushes("/d"), fs.all_flushes()), (1, 1, 2));
        fs.forget_flushes();
        assert_eq!(fs.all_flushes(), 0);
        let names: Vec<_> = one.log().iter().map(|call| call.name).collect();
        assert_eq!(names, ["open", "write_at", "sync_data", "rename", "sync_dir"]);
        assert_eq!(one.calls(), 5);
        assert_eq!(one.log()[3].to.as_deref(), Some(p("/d/g")));
    }

    #[derive(Debug)]
    struct Wrapped(io::Error);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot write the journal")
        }
    }

    impl Error for Wrapped {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn death_is_told_from_other_errors_also_when_it_is_wrapped() {
        assert!(is_death(&death()) && is_death(&stale()));
        assert!(is_death(&io::Error::other(Wrapped(death()))));
        assert!(is_death(&io::Error::other(death())));
        assert!(!is_death(&io::Error::other(Wrapped(io::Error::from_raw_os_error(5)))));
        assert!(!is_death(&io::Error::other("death")));
    }
}
