//! A machine with a journal, and what a scan of it meets.

#![allow(dead_code)] // each test program uses its own part

use std::path::Path;

use durable::fs::Fs;
use durable::journal::{Journal, Seen, Span};
use testkit::power_cut::PowerCutFs;
use testkit::rng::Rng;

/// Where the journal is.
pub const DIR: &str = "/state";
/// The journal.
pub const FILE: &str = "/state/journal";
/// Where the flush mark is, on volatile storage.
pub const RUN: &str = "/run";
/// Offset of the first frame.
pub const FIRST: u64 = 64;

/// What a scan met, kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Met {
    Record(Span, Vec<u8>),
    Damaged(Span),
    Torn(Span),
}

/// A machine whose journal directory is there for good.
pub fn machine() -> PowerCutFs {
    let fs = PowerCutFs::new();
    fs.volatile(RUN).unwrap();
    fs.create_dir_all(dir(), 0o700).unwrap();
    fs.settle();
    fs.forget_flushes();
    fs
}

/// A machine with a journal of these records, all on the disk.
pub fn machine_with(records: &[Vec<u8>]) -> PowerCutFs {
    let fs = machine();
    let mut journal = create(&fs, 7);
    records.iter().for_each(|record| {
        journal.append(record).unwrap();
    });
    fs.settle();
    fs
}

pub fn dir() -> &'static Path {
    Path::new(DIR)
}

pub fn create(fs: &PowerCutFs, generation: u64) -> Journal<PowerCutFs> {
    Journal::replace(fs, dir(), generation, |_| Ok(())).unwrap()
}

/// Records of many lengths, none equal to another.
pub fn records(count: usize, rng: &mut Rng) -> Vec<Vec<u8>> {
    (0..count)
        .map(|n| {
            let len = rng.index(90);
            [format!("{n}:").into_bytes(), rng.bytes(len)].concat()
        })
        .collect()
}

/// The journal, scanned.
pub fn open(fs: &PowerCutFs) -> (Journal<PowerCutFs>, Vec<Met>) {
    let mut journal = Journal::open(fs, dir()).unwrap().unwrap();
    let met = scan(&mut journal);
    (journal, met)
}

pub fn scan(journal: &mut Journal<PowerCutFs>) -> Vec<Met> {
    let mut met = Vec::new();
    let done = journal.scan(None, usize::MAX, |seen| {
        met.push(keep(&seen));
        Ok(())
    });
    assert!(done.unwrap());
    met
}

pub fn keep(seen: &Seen<'_>) -> Met {
    match seen {
        Seen::Record(span, bytes) => Met::Record(*span, bytes.to_vec()),
        Seen::Damaged(span) => Met::Damaged(*span),
        Seen::Torn(span) => Met::Torn(*span),
    }
}

/// The records among what was met.
pub fn payloads(met: &[Met]) -> Vec<Vec<u8>> {
    met.iter()
        .filter_map(|met| if let Met::Record(_, bytes) = met { Some(bytes.clone()) } else { None })
        .collect()
}

/// Stretches that were reported as unreadable.
pub fn unreadable(met: &[Met]) -> Vec<Span> {
    met.iter()
        .filter_map(|met| if let Met::Damaged(s) | Met::Torn(s) = met { Some(*s) } else { None })
        .collect()
}

pub fn spans(met: &[Met]) -> Vec<Span> {
    met.iter().filter_map(|met| if let Met::Record(span, _) = met { Some(*span) } else { None }).collect()
}

/// The records that the journal has now; `None` where there is no journal.
pub fn content(fs: &PowerCutFs) -> Option<Vec<Vec<u8>>> {
    let mut journal = Journal::open(fs, dir()).unwrap()?;
    Some(payloads(&scan(&mut journal)))
}
