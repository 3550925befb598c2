//! A log is a map that survives: any keys, any values, any order, compared with the map of the standard library.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use durable::objects::{Batch, Error, Log, MAX_KEY, MAX_VALUE, Settings};
use proptest::collection::vec;
use proptest::prelude::*;
use testkit::power_cut::PowerCutFs;
use testkit::rng::Rng;

use crate::world::{DIR, settings};

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Flush,
    Tidy(usize),
    Reopen,
}

/// Keys that come again, empty ones and the longest among them.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0u8..12).prop_map(|n| vec![n]),
        1 => Just(Vec::new()),
        1 => Just(vec![b'k'; MAX_KEY]),
        2 => vec(any::<u8>(), 0..40),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![3 => vec(any::<u8>(), 0..600), 1 => vec(any::<u8>(), 4000..9000)];
    prop_oneof![
        6 => vec((key(), proptest::option::weighted(0.8, value)), 0..6).prop_map(Step::Write),
        1 => Just(Step::Flush),
        2 => (0usize..20_000).prop_map(Step::Tidy),
        1 => Just(Step::Reopen),
    ]
}

fn content(log: &Log<PowerCutFs>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut keys = Vec::new();
    log.keys(|found| keys.push(found.key.to_vec())).unwrap();
    let content = keys.into_iter().map(|key| (key.clone(), log.get(&key).unwrap().unwrap())).collect();
    let mut all = BTreeMap::new();
    log.each(|found, value| drop(all.insert(found.key.to_vec(), value.unwrap().into_owned()))).unwrap();
    assert_eq!(all, content, "read one by one, and in one go");
    content
}

proptest! {
    #[test]
    fn a_log_is_a_map_that_survives(steps in vec(step(), 1..40)) {
        let disk = PowerCutFs::new();
        let open = |n| Log::open(disk.process(), Path::new(DIR), settings(n, 512)).unwrap().log;
        let (mut log, mut map) = (Some(open(0)), BTreeMap::new());
        for (n, step) in steps.into_iter().enumerate() {
            let one = log.as_mut().unwrap();
            match step {
                Step::Write(changes) => {
                    let batch = changes.iter().fold(Batch::new(), |batch, (key, value)| match value {
                        Some(value) => batch.put(key.clone(), value.clone()),
                        None => batch.delete(key.clone()),
                    });
                    one.append(&batch).unwrap();
                    for (key, value) in changes {
                        match value {
                            Some(value) => map.insert(key, value),
                            None => map.remove(&key),
                        };
                    }
                }
                Step::Flush => one.flush().unwrap(),
                Step::Tidy(budget) => {
                    one.tidy(budget).unwrap();
                }
                Step::Reopen => {
                    log.take().unwrap().close().unwrap();
                    log = Some(open(n as u64));
                }
            }
            prop_assert_eq!(&content(log.as_ref().unwrap()), &map);
        }
    }
}

#[test]
fn the_largest_value_is_taken_and_a_larger_one_or_a_longer_key_is_refused_by_name() {
    let disk = PowerCutFs::new();
    let mut log = Log::open(disk.process(), Path::new(DIR), Settings::cache(1)).unwrap().log;
    let value = Rng::new(1).bytes(MAX_VALUE);
    log.append(&Batch::new().put(*b"crd", value.clone()).put(*b"small", *b"x")).unwrap();
    assert_eq!(log.get(b"crd").unwrap().unwrap(), value);
    let too_large = Batch::new().put(*b"new", *b"x").put(*b"crd", vec![0; MAX_VALUE + 1]);
    let error = log.append(&too_large).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }) && error.to_string().contains("\"crd\""), "{error}");
    assert_eq!(log.get(b"new").unwrap(), None, "nothing of it was written");
    assert!(log.append(&Batch::new().put(vec![0; MAX_KEY + 1], *b"")).is_err());
    log.close().unwrap();
    let log = Log::open(disk.process(), Path::new(DIR), Settings::cache(2)).unwrap().log;
    assert_eq!(log.get(b"crd").unwrap().unwrap(), value);
}

#[test]
fn a_flush_flushes_one_file_and_opening_reads_no_values() {
    let disk = PowerCutFs::new();
    let mut log = Log::open(disk.process(), Path::new(DIR), settings(1, 4096)).unwrap().log;
    for n in 0..200u32 {
        log.append(&Batch::new().put(n.to_le_bytes(), vec![1; 400])).unwrap();
    }
    log.flush().unwrap();
    disk.forget_flushes();
    log.append(&Batch::new().put(*b"one more", *b"x")).unwrap();
    log.flush().unwrap();
    log.flush().unwrap();
    assert_eq!(disk.all_flushes(), 1);
    log.close().unwrap();
    let process = disk.process();
    let segments = disk.list(DIR).unwrap().len() - 1;
    let log = Log::open(process.clone(), Path::new(DIR), settings(2, 4096)).unwrap().log;
    let reads = process.log().iter().filter(|call| call.name == "read_at").count();
    // Of each closed segment header, trailer and contents; of the newest its frames, at once.
    assert!(segments > 20 && reads <= segments * 3 + 4, "{reads} reads for {segments} segments");
    let before = process.calls();
    assert!(log.get(&7u32.to_le_bytes()).unwrap().is_some());
    assert_eq!(process.calls() - before, 1, "a read is one call");
}

#[test]
fn a_log_has_one_process_at_a_time() {
    let disk = PowerCutFs::new();
    let first = Log::open(disk.process(), Path::new(DIR), settings(1, 0)).unwrap().log;
    let error = Log::open(disk.process(), Path::new(DIR), settings(2, 0)).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("another process has it"), "{error}");
    assert!(Log::remove(&disk.process(), Path::new(DIR), Duration::from_secs(1)).is_err());
    drop(first);
    assert!(Log::open(disk.process(), Path::new(DIR), settings(2, 0)).is_ok());
}

#[test]
fn a_log_that_was_thrown_away_stays_away_and_its_place_takes_another() {
    for seed in 0..100 {
        let disk = PowerCutFs::new();
        Log::remove(&disk, Path::new(DIR), Duration::ZERO).unwrap();
        let mut log = Log::open(disk.process(), Path::new(DIR), settings(1, 0)).unwrap().log;
        for n in 0..60u32 {
            log.append(&Batch::new().put(n.to_le_bytes(), vec![1; 400])).unwrap();
        }
        log.close().unwrap();
        Log::remove(&disk.process(), Path::new(DIR), Duration::ZERO).unwrap();
        let mut log = Log::open(disk.process(), Path::new(DIR), settings(2, 0)).unwrap().log;
        log.append(&Batch::new().put(*b"new", *b"x")).unwrap();
        log.flush().unwrap();
        disk.power_cut(seed);
        let opened = Log::open(disk.process(), Path::new(DIR), settings(3, 0)).unwrap();
        assert_eq!((opened.log.usage().records, opened.troubles), (1, vec![]), "seed {seed}");
    }
}
