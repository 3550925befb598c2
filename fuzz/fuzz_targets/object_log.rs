//! Any bytes as segments of an object log: nothing panics, nothing hangs, and whatever was there, it can be read or it is
//! told, and the log goes on.
//!
//! The first byte says how the others become files: as a segment, as the only one or behind a good one, or laid over
//! segments that the program wrote itself.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use durable::fs::{File, Fs, Open};
use durable::objects::{Batch, Log, Settings};
use edgekeep_fuzz::seeds;
use libfuzzer_sys::fuzz_target;
use testkit::power_cut::PowerCutFs;

const DIR: &str = "/log";

fuzz_target!(
    init: seeds(&[
        b"\x00",
        b"\x00EKOBJECT\x01\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0",
        b"\x01EKOBJECT\x01\0\0\0\0\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\0\0\x40\0\0\0",
        b"\x02\x40\0EKob",
        b"\x02\x80\x01\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x03\x10\x04EKOBTOC\n",
    ]),
    |data: &[u8]| {
        let Some((how, data)) = data.split_first() else { return };
        let disk = match how % 4 {
            0 => alone(data, 1),
            1 => behind(data),
            _ => laid_over(data, how % 4 == 2),
        };
        check(&disk);
    }
);

fn settings(entropy: u64) -> Settings {
    Settings { segment: 1024, wait: Duration::ZERO, room: 0, ..Settings::keep(entropy) }
}

fn segment(number: u32) -> String {
    format!("{DIR}/segment-{number:010}")
}

fn alone(data: &[u8], number: u32) -> PowerCutFs {
    let disk = PowerCutFs::new();
    disk.write(segment(number), data).expect("a simulated disk");
    disk
}

fn behind(data: &[u8]) -> PowerCutFs {
    let disk = written();
    let next = disk.list(DIR).expect("a log").len();
    disk.write(segment(u32::try_from(next).expect("a few segments")), data).expect("a simulated disk");
    disk
}

/// An offset in the first or in the last segment, and what stands there instead.
fn laid_over(data: &[u8], first: bool) -> PowerCutFs {
    let disk = written();
    let names = disk.list(DIR).expect("a log");
    let mut segments = names.iter().filter(|name| name.starts_with("segment-"));
    let name = if first { segments.next() } else { segments.next_back() };
    if let (Some(name), Some((offset, bytes))) = (name, data.split_first_chunk()) {
        let offset = u64::from(u16::from_le_bytes(*offset)) % 2048;
        let file = disk.open(&Path::new(DIR).join(name), Open::Write).expect("a segment");
        file.write_at(bytes, offset).expect("a simulated disk");
    }
    disk
}

/// A log of three segments.
fn written() -> PowerCutFs {
    let disk = PowerCutFs::new();
    let mut log = Log::open(disk.process(), Path::new(DIR), settings(1)).expect("a new log").log;
    for n in 0..12u8 {
        let key = format!("key-{}", n % 4).into_bytes();
        let batch = if n % 5 == 4 { Batch::new().delete(key) } else { Batch::new().put(key, vec![n; 160]) };
        log.append(&batch).and_then(|()| log.flush()).expect("a disk that works");
    }
    log.close().expect("a disk that works");
    disk
}

/// What readers see: a value, or that there is one which cannot be read.
fn content(log: &Log<PowerCutFs>) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    let mut keys = Vec::new();
    log.keys(|found| keys.push(found.key.to_vec())).expect("a disk that works");
    let read = keys.into_iter().map(|key| {
        let value = match log.get(&key) {
            Ok(value) => Some(value.expect("a key that is listed has a value, readable or not")),
            Err(_) => None,
        };
        (key, value)
    });
    read.collect()
}

fn check(disk: &PowerCutFs) {
    let Ok(opened) = Log::open(disk.process(), Path::new(DIR), settings(2)) else { return };
    let mut log = opened.log;
    log.verify().expect("a disk that works");
    let before = content(&log);
    assert_eq!(log.usage().records, before.len());
    log.append(&Batch::new().put(*b"new", *b"value")).expect("a disk that works");
    log.rewrite().expect("a disk that works");
    for _ in 0..30 {
        log.tidy(100_000).and_then(|_| log.flush()).expect("a disk that works");
    }
    log.close().expect("a disk that works");
    disk.reboot_clean();
    let log = Log::open(disk.process(), Path::new(DIR), settings(3)).expect("a log of ours").log;
    let mut after = content(&log);
    assert_eq!(after.remove(&b"new"[..]), Some(Some(b"value".to_vec())));
    let mut before = before;
    before.remove(&b"new"[..]);
    assert_eq!(after, before);
}
