//! One flush for all who wait, and nobody is told that his record is durable when it is not.

// A test: where something is not there that must be, to end at that line is the answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::time::Duration;

use durable::flush::{FlushMark, Flushed};
use durable::fs::{File, Fs, Open};
use durable::journal::{Journal, Span};
use proptest::prelude::*;
use support::*;
use testkit::power_cut::{Fault, PowerCutFs, is_death};
use testkit::rng::Rng;

const WAIT: Duration = Duration::from_secs(1);
const MARK: &str = "/run/flushed";

fn mark() -> FlushMark {
    FlushMark::in_dir(Path::new(RUN))
}

/// What an ADD does: append under the caller's lock, then flush without it.
fn flush(fs: &PowerCutFs, journal: Journal<PowerCutFs>, span: Span) -> io::Result<()> {
    let generation = journal.generation();
    mark().flush(fs, &journal.into_file(), generation, span.end(), WAIT)
}

#[test]
fn one_flush_covers_every_record_appended_before_it_by_whomever() {
    let fs = machine();
    drop(create(&fs, 7));
    fs.forget_flushes();
    let mut waiting = Vec::new();
    for n in 0..30u8 {
        let process = fs.process();
        let mut journal = open(&process).0;
        let span = journal.append(&[n; 50]).unwrap();
        waiting.push((process, journal, span));
    }
    // Whoever comes first, even with a record in the middle.
    let first = waiting.remove(11);
    for (process, journal, span) in std::iter::once(first).chain(waiting) {
        flush(&process, journal, span).unwrap();
    }
    assert_eq!(fs.flushes(FILE), 1);
    fs.power_cut(1);
    assert_eq!(content(&fs).unwrap().len(), 30);
}

#[test]
fn a_record_appended_after_a_flush_needs_one_of_its_own() {
    let fs = machine();
    drop(create(&fs, 7));
    fs.forget_flushes();
    for round in 1..=3 {
        let mut journal = open(&fs).0;
        let span = journal.append(b"x").unwrap();
        flush(&fs, journal, span).unwrap();
        assert_eq!(fs.flushes(FILE), round);
    }
}

#[test]
fn p3_whoever_was_told_durable_finds_the_record_after_any_power_cut() {
    for seed in 0..1000 {
        let mut rng = Rng::new(seed);
        let fs = machine();
        drop(create(&fs, 7));
        let mut waiting: Vec<(PowerCutFs, Journal<PowerCutFs>, Span, Vec<u8>)> = Vec::new();
        let mut told = Vec::new();
        for record in records(12, &mut rng) {
            let process = fs.process();
            let mut journal = open(&process).0;
            let span = journal.append(&record).unwrap();
            waiting.push((process, journal, span, record));
            while !waiting.is_empty() && rng.chance(45) {
                let (process, journal, span, record) = waiting.remove(rng.index(waiting.len()));
                if rng.chance(15) {
                    let death = Fault::DeathHalfway(rng.next_u64());
                    process.fail_after(rng.index(6), death);
                }
                if flush(&process, journal, span).is_ok() {
                    told.push(record);
                }
            }
        }
        fs.power_cut(seed);
        let found = content(&fs).unwrap();
        assert!(told.iter().all(|record| found.contains(record)), "seed {seed}");
    }
}

#[test]
fn after_a_failed_flush_nobody_is_told_durable_until_the_journal_is_replaced() {
    let fs = machine();
    drop(create(&fs, 7));
    let (one, two, three) = (fs.process(), fs.process(), fs.process());
    let (mut a, mut b) = (open(&one).0, None);
    let first = a.append(b"first").unwrap();
    let mut journal = open(&two).0;
    let second = journal.append(b"second").unwrap();
    b.replace(journal);
    let failing = Cell::new(0);
    // The call after the two reads of the mark, its lock and the look for more records is the flush.
    for n in 0..12 {
        let probe = fs.fork();
        let mut journal = open(&probe).0;
        let span = journal.append(b"probe").unwrap();
        let start = probe.calls();
        flush(&probe, journal, span).unwrap();
        if probe.log().get(start + n).is_some_and(|call| call.name == "sync_data") {
            failing.set(n);
        }
    }
    one.fail_after(failing.get(), Fault::FlushFails);
    let error = flush(&one, a, first).unwrap_err();
    assert!(!is_death(&error) && error.raw_os_error() == Some(5), "{error}");
    assert_eq!(mark().read(&fs, 7).unwrap(), Flushed::Broken);
    let error = flush(&two, b.unwrap(), second).unwrap_err();
    assert!(error.to_string().contains("an earlier flush of this journal failed"), "{error}");
    // The cure: a new generation with all that can be read.
    let rest = content(&three).unwrap();
    let new = Journal::replace(&three, dir(), 9, |writer| rest.iter().try_for_each(|one| writer.add(one)));
    let new = new.unwrap();
    mark().set(&three, 9, new.tail().end).unwrap();
    let mut journal = open(&three).0;
    let span = journal.append(b"third").unwrap();
    flush(&three, journal, span).unwrap();
    fs.power_cut(3);
    assert_eq!(content(&fs).unwrap(), [b"first".to_vec(), b"second".to_vec(), b"third".to_vec()]);
}

#[test]
fn a_latecomer_of_a_replaced_generation_does_not_wipe_out_that_the_next_one_is_broken() {
    let fs = machine();
    drop(create(&fs, 7));
    let late = fs.process();
    let mut old = open(&late).0;
    let span = old.append(b"in both").unwrap();
    drop(Journal::replace(&fs, dir(), 8, |writer| writer.add(b"in both")).unwrap());
    let mut new = open(&fs).0;
    let lost = new.append(b"lost").unwrap();
    let file = fs.open(MARK.as_ref(), Open::Create(0o600)).unwrap();
    let (generation, journal) = (new.generation(), new.into_file());
    fs.fail_after(0, Fault::FlushFails);
    drop(file);
    assert!(mark().flush(&fs, &journal, generation, lost.end(), WAIT).is_err());
    assert_eq!(mark().read(&fs, 8).unwrap(), Flushed::Broken);
    flush(&late, old, span).unwrap();
    assert_eq!(mark().read(&fs, 8).unwrap(), Flushed::Broken);
    // Only a replacement ends it.
    mark().set(&fs, 10, 64).unwrap();
    assert_eq!(mark().read(&fs, 10).unwrap(), Flushed::UpTo(64));
}

#[test]
fn a_lost_mark_costs_a_flush_and_no_more() {
    let fs = machine();
    let mut journal = create(&fs, 7);
    let span = journal.append(b"x").unwrap();
    flush(&fs, journal, span).unwrap();
    fs.remove(MARK).unwrap();
    assert_eq!(mark().read(&fs, 7).unwrap(), Flushed::UpTo(0));
    fs.forget_flushes();
    flush(&fs, open(&fs).0, span).unwrap();
    flush(&fs, open(&fs).0, span).unwrap();
    assert_eq!(fs.flushes(FILE), 1);
}

#[test]
fn what_the_mark_says_of_one_generation_is_nothing_about_another() {
    let fs = machine();
    mark().set(&fs, 7, 4096).unwrap();
    assert_eq!(mark().read(&fs, 7).unwrap(), Flushed::UpTo(4096));
    assert_eq!(mark().read(&fs, 8).unwrap(), Flushed::UpTo(0));
}

#[test]
fn a_garbled_mark_says_nothing() {
    let fs = machine();
    mark().set(&fs, 7, 4096).unwrap();
    for offset in 0..20 {
        for bit in 0..8 {
            fs.flip_bit(MARK, offset, bit).unwrap();
            assert_eq!(mark().read(&fs, 7).unwrap(), Flushed::UpTo(0), "bit {bit} of {offset}");
            fs.flip_bit(MARK, offset, bit).unwrap();
        }
    }
    for len in 0..20 {
        fs.truncate(MARK, len).unwrap();
        assert_eq!(mark().read(&fs, 7).unwrap(), Flushed::UpTo(0), "cut at {len}");
    }
}

#[test]
fn a_mark_that_cannot_be_written_costs_a_flush_each_and_promises_nothing_wrong() {
    // Here the mark lies on the disk itself, and that is full.
    let fs = machine();
    let mark = FlushMark::in_dir(dir());
    let mut journal = create(&fs, 7);
    let span = journal.append(b"x").unwrap();
    drop(fs.open(mark.path(), Open::Create(0o600)).unwrap());
    fs.fail_after(0, Fault::NoSpace);
    let file = journal.into_file();
    mark.flush(&fs, &file, 7, span.end(), WAIT).unwrap();
    fs.power_cut(5);
    assert_eq!(content(&fs).unwrap(), [b"x".to_vec()]);
}

#[test]
fn somebody_who_holds_the_mark_for_ever_is_waited_for_only_so_long() {
    let fs = machine();
    let mut journal = create(&fs, 7);
    let span = journal.append(b"x").unwrap();
    let other = fs.process();
    let held = other.open(MARK.as_ref(), Open::Create(0o600)).unwrap();
    held.lock(WAIT).unwrap();
    let error = flush(&fs, journal, span).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(mark().read(&fs, 7).unwrap(), Flushed::UpTo(0), "to be late is not to be broken");
    drop(held);
    flush(&fs, open(&fs).0, span).unwrap();
}

proptest! {
    #[test]
    fn any_mark_whatsoever_is_only_ever_a_lower_bound_of_what_we_wrote(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let fs = machine();
        fs.write(MARK, &bytes).unwrap();
        prop_assert_eq!(mark().read(&fs, 7).unwrap(), Flushed::UpTo(0));
    }
}
