//! Appending: what has been flushed stays whatever happens, and a flush flushes nothing but the record.

// A test: where something is not there that must be, to end at that line is the answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use durable::fs::File;
use durable::journal::{Error, Journal, MAX_RECORD, Seen};
use support::*;
use testkit::power_cut::Fault;
use testkit::rng::Rng;

#[test]
fn p3_a_flushed_record_survives_any_power_cut_and_no_torn_one_is_taken_for_a_record() {
    for seed in 0..2000 {
        let mut rng = Rng::new(seed);
        let fs = machine();
        let mut journal = create(&fs, 7);
        let mut said: Vec<Vec<u8>> = Vec::new();
        let mut flushed = 0;
        for round in 0..3 {
            let steps = 1 + rng.index(6);
            for record in records(steps, &mut rng) {
                journal.append(&record).unwrap();
                said.push(record);
            }
            if rng.chance(60) {
                journal.into_file().sync_data().unwrap();
                flushed = said.len();
            }
            fs.power_cut(seed * 3 + round);
            let (reopened, met) = open(&fs);
            journal = reopened;
            let found = payloads(&met);
            assert_eq!(found[..flushed], said[..flushed], "seed {seed}");
            let mut unflushed = said[flushed..].iter();
            let in_order = found[flushed..].iter().all(|record| unflushed.any(|one| one == record));
            assert!(in_order, "seed {seed}: something was read that was never written");
            // What the disk has now, the disk has.
            said = found;
            flushed = said.len();
        }
    }
}

#[test]
fn appending_after_a_death_in_the_middle_of_it_loses_nothing_else() {
    for seed in 0..1000 {
        let fs = machine_with(&[b"before".to_vec()]);
        let dying = fs.process();
        let mut journal = open(&dying).0;
        dying.fail_after(0, Fault::DeathHalfway(seed));
        assert!(journal.append(&vec![b'x'; 1 + usize::try_from(seed).unwrap()]).is_err());
        let next = fs.process();
        let (mut journal, met) = open(&next);
        let before = payloads(&met);
        assert_eq!(before[0], b"before");
        journal.append(b"after").unwrap();
        let after = payloads(&open(&next).1);
        assert_eq!(after, [before, vec![b"after".to_vec()]].concat(), "seed {seed}");
    }
}

#[test]
fn the_size_changes_once_in_hundreds_of_records_and_one_flush_covers_one_append() {
    let fs = machine();
    let mut journal = create(&fs, 7);
    fs.forget_flushes();
    let (mut sizes, mut stayed) = (vec![journal.size()], 0);
    for n in 0..2000u64 {
        let writes = fs.calls();
        journal.append(&[7; 160]).unwrap();
        if journal.size() == *sizes.last().unwrap() {
            assert_eq!(fs.calls() - writes, 1, "one write and nothing else");
            stayed += 1;
        } else {
            sizes.push(journal.size());
        }
        assert_eq!(journal.size(), fs.read(FILE).unwrap().len() as u64);
        assert!(journal.size() - journal.tail().end >= 16 * 1024, "room for the next hundred");
        if n == 1000 {
            let generation = journal.generation();
            journal.into_file().sync_data().unwrap();
            journal = open(&fs).0;
            assert_eq!(journal.generation(), generation);
        }
    }
    assert_eq!(fs.all_flushes(), 1, "nothing is flushed unasked");
    assert!(stayed >= 1990, "{stayed} {sizes:?}");
    assert!(sizes.iter().all(|size| size % (64 * 1024) == 0), "{sizes:?}");
}

#[test]
fn a_full_disk_still_takes_a_hundred_records_and_then_fails_without_tearing() {
    let fs = machine();
    let mut journal = create(&fs, 7);
    // To where the room ahead would be made longer.
    while journal.size() - journal.tail().end > 17 * 1024 {
        journal.append(&[1; 100]).unwrap();
    }
    let before = payloads(&open(&fs).1).len();
    fs.fail_after(0, Fault::NoSpace);
    for _ in 0..100 {
        journal.append(&[2; 100]).unwrap();
    }
    // The simulated disk finds some bytes at every attempt, as a real one may; not as many as this takes.
    let error = journal.append(&[2; 60_000]).unwrap_err();
    assert!(matches!(&error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull));
    assert!(error.to_string().contains(FILE), "{error}");
    fs.clear_faults();
    // The same process may go on, and so may another.
    journal.append(&[3; 100]).unwrap();
    let (mut journal, met) = open(&fs.process());
    assert_eq!(payloads(&met).len(), before + 101);
    assert_eq!(payloads(&met).last().unwrap(), &[3; 100]);
    journal.append(&[4; 100]).unwrap();
    assert_eq!(payloads(&open(&fs).1).len(), before + 102);
}

#[test]
fn a_disk_that_fills_up_in_the_middle_of_the_zeros_costs_nothing() {
    for call in 0..20 {
        let fs = machine();
        let mut journal = create(&fs, 7);
        while journal.size() - journal.tail().end > 16 * 1024 + 140 {
            journal.append(&[1; 100]).unwrap();
        }
        fs.fail_after(call, Fault::NoSpace);
        let spans: Vec<_> = (0..5).map(|_| journal.append(&[2; 100]).unwrap()).collect();
        fs.clear_faults();
        journal.append(&[3; 100]).unwrap();
        let met = open(&fs.process()).1;
        assert_eq!(unreadable(&met), []);
        assert!(spans.iter().all(|span| met.contains(&Met::Record(*span, vec![2; 100]))));
    }
}

#[test]
fn a_record_that_is_too_large_is_refused_and_never_cut_short() {
    let fs = machine();
    let mut journal = create(&fs, 7);
    let span = journal.append(&vec![1; MAX_RECORD]).unwrap();
    assert_eq!(journal.read(span).unwrap().len(), MAX_RECORD);
    let error = journal.append(&vec![1; MAX_RECORD + 1]).unwrap_err();
    assert!(matches!(error, Error::TooLarge { len, .. } if len == MAX_RECORD + 1), "{error}");
    let replaced = Journal::replace(&fs, dir(), 8, |writer| writer.add(&vec![1; MAX_RECORD + 1]));
    assert!(matches!(replaced, Err(Error::TooLarge { .. })));
    journal.append(b"").unwrap();
    let met = open(&fs).1;
    assert_eq!(payloads(&met), [vec![1; MAX_RECORD], vec![]]);
    assert_eq!(unreadable(&met), []);
}

#[test]
fn a_resumed_scan_reads_only_what_others_appended_since() {
    let fs = machine();
    let mut mine = create(&fs, 7);
    mine.append(b"mine").unwrap();
    let tail = mine.tail();
    let mut theirs = open(&fs.process()).0;
    theirs.append(b"theirs").unwrap();
    theirs.append(b"theirs too").unwrap();
    let mut met = Vec::new();
    let mut again = Journal::open(&fs, dir()).unwrap().unwrap();
    let done = again.scan(Some(tail), usize::MAX, |seen: Seen<'_>| {
        met.push(keep(&seen));
        Ok(())
    });
    assert!(done.unwrap());
    assert_eq!(payloads(&met), [b"theirs".to_vec(), b"theirs too".to_vec()]);
    assert_eq!(again.tail(), theirs.tail());
}

#[test]
fn a_reader_that_may_not_write_can_read() {
    let fs = machine_with(&[b"one".to_vec()]);
    fs.fail_after(0, Fault::ReadOnly);
    let mut journal = Journal::open_read(&fs, dir()).unwrap().unwrap();
    assert_eq!(payloads(&scan(&mut journal)), [b"one".to_vec()]);
    assert!(Journal::open_read(&fs, "/nowhere".as_ref()).unwrap().is_none());
}
