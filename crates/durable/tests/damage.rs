//! A journal that something has happened to: whatever can still be read is read, whatever cannot is named by offset.

// A test: where something is not there that must be, to end at that line is the answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use durable::fs::{File, Fs, Open};
use durable::journal::{Error, Journal, Seen, Span};
use proptest::collection::vec;
use proptest::prelude::*;
use support::*;
use testkit::power_cut::PowerCutFs;
use testkit::rng::Rng;

fn journal_of_twenty() -> (PowerCutFs, Vec<Vec<u8>>, Vec<Span>) {
    let records = records(20, &mut Rng::new(1));
    let fs = machine_with(&records);
    let spans = spans(&open(&fs).1);
    assert_eq!(spans.len(), 20);
    (fs, records, spans)
}

/// The part of the frame that its checksum covers or holds: a change there must make the record unreadable.
fn checked(span: Span, record: &[u8]) -> std::ops::Range<u64> {
    span.offset..span.offset + 32 + record.len() as u64
}

#[test]
fn a_journal_cut_at_any_byte_gives_every_record_before_the_cut_and_names_the_rest() {
    let (whole, records, spans) = journal_of_twenty();
    let bytes = whole.read(FILE).unwrap();
    let end = spans[19].end();
    for cut in 0..=end {
        let fs = machine();
        fs.write(FILE, &bytes[..usize::try_from(cut).unwrap()]).unwrap();
        let (mut journal, met) = open(&fs);
        let readable = spans.iter().zip(&records).filter(|(s, r)| checked(**s, r).end <= cut).count();
        assert_eq!(payloads(&met), records[..readable], "cut at {cut}");
        let reported = unreadable(&met);
        let behind = if readable == 0 { FIRST } else { spans[readable - 1].end() };
        if cut < FIRST {
            // Up to byte 28 the header is cut off, behind it only its reserve.
            assert_eq!(!reported.is_empty(), cut < 28, "cut at {cut}: {reported:?}");
        } else if cut > behind {
            assert_eq!(reported, [Span { offset: behind, len: u32::try_from(cut - behind).unwrap() }]);
        } else {
            assert_eq!(reported, [], "cut at {cut}");
        }
        let span = journal.append(b"after").unwrap();
        assert_eq!(journal.read(span).unwrap(), b"after");
        let again = payloads(&open(&fs).1);
        assert_eq!(again, [&records[..readable], &[b"after".to_vec()]].concat(), "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_costs_the_record_it_is_in_and_is_reported_there() {
    let (fs, records, spans) = journal_of_twenty();
    for offset in 0..spans[19].end() + 16 {
        for bit in 0..8 {
            fs.flip_bit(FILE, offset, bit).unwrap();
            check_flip(&fs, &records, &spans, offset);
            fs.flip_bit(FILE, offset, bit).unwrap();
        }
    }
    assert_eq!(payloads(&open(&fs).1), records);
}

fn check_flip(fs: &PowerCutFs, records: &[Vec<u8>], spans: &[Span], offset: u64) {
    if (8..12).contains(&offset) && matches!(Journal::open(fs, dir()), Err(Error::Newer { .. })) {
        panic!("the checksum of the header covers the version");
    }
    let (_, met) = open(fs);
    let hit = spans.iter().zip(records).position(|(span, record)| checked(*span, record).contains(&offset));
    let mut left = records.to_vec();
    if let Some(hit) = hit {
        left.remove(hit);
    }
    assert_eq!(payloads(&met), left, "bit at {offset}");
    let reported = unreadable(&met);
    let expected = match hit {
        Some(19) => vec![Span { offset: spans[19].offset, len: reported[0].len }],
        Some(hit) => vec![spans[hit]],
        None if offset < 28 => vec![Span { offset: 0, len: 64 }],
        None if offset >= spans[19].end() => {
            vec![Span { offset: spans[19].end(), len: reported[0].len }]
        }
        None => vec![],
    };
    assert_eq!(reported, expected, "bit at {offset}");
}

#[test]
fn a_record_whose_place_was_zeroed_is_missed() {
    let (fs, records, spans) = journal_of_twenty();
    let file = fs.open(FILE.as_ref(), Open::Write).unwrap();
    file.write_at(&vec![0; spans[4].len as usize], spans[4].offset).unwrap();
    let (_, met) = open(&fs);
    assert_eq!(payloads(&met), [&records[..4], &records[5..]].concat());
    assert_eq!(met[4], Met::Damaged(spans[4]));
}

#[test]
fn a_broken_header_costs_no_record() {
    let (fs, records, _) = journal_of_twenty();
    let file = fs.open(FILE.as_ref(), Open::Write).unwrap();
    file.write_at(&[0xff; 64], 0).unwrap();
    let (mut journal, met) = open(&fs);
    assert_eq!(met[0], Met::Damaged(Span { offset: 0, len: 64 }));
    assert_eq!(payloads(&met), records);
    assert_eq!(journal.generation(), 7, "each frame names the generation");
    journal.append(b"one more").unwrap();
    assert_eq!(payloads(&open(&fs).1).last().unwrap(), b"one more");
}

#[test]
fn a_file_that_never_was_a_journal_is_reported_and_taken_over() {
    for bytes in [vec![], vec![0; 5000], b"not a journal, but some text that somebody put here".repeat(9)] {
        let fs = machine();
        fs.write(FILE, &bytes).unwrap();
        let (mut journal, met) = open(&fs);
        assert_eq!(payloads(&met), Vec::<Vec<u8>>::new());
        assert!(matches!(met[0], Met::Damaged(Span { offset: 0, .. })));
        journal.append(b"first").unwrap();
        assert_eq!(payloads(&open(&fs).1), [b"first".to_vec()]);
    }
}

#[test]
fn a_newer_version_is_left_alone_with_an_error_that_says_what_to_do() {
    let fs = machine();
    create(&fs, 7).append(b"x").unwrap();
    let mut bytes = fs.read(FILE).unwrap();
    bytes[8..12].copy_from_slice(&2u32.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..24]);
    bytes[24..28].copy_from_slice(&sum.to_le_bytes());
    fs.write(FILE, &bytes).unwrap();
    for opened in [Journal::open(&fs, dir()), Journal::open_read(&fs, dir())] {
        let error = opened.unwrap_err();
        assert!(matches!(error, Error::Newer { version: 2, .. }));
        let text = error.to_string();
        for part in [FILE, "format 2", "up to 1", "install the newer release"] {
            assert!(text.contains(part), "{text}");
        }
    }
    assert_eq!(fs.read(FILE).unwrap(), bytes);
}

#[test]
fn frames_of_another_generation_are_no_records() {
    let fs = machine_with(&[b"one".to_vec(), b"two".to_vec(), b"six".to_vec()]);
    let old = fs.read(FILE).unwrap();
    drop(Journal::replace(&fs, dir(), 8, |writer| writer.add(b"new")).unwrap());
    let file = fs.open(FILE.as_ref(), Open::Write).unwrap();
    // What a block of the old file looks like where the file system gave it to the new one: its number is higher.
    file.write_at(&old[144..184], 104).unwrap();
    let (_, met) = open(&fs);
    assert_eq!(payloads(&met), [b"new".to_vec()]);
    assert_eq!(unreadable(&met)[0].offset, 104);
}

#[test]
fn a_record_within_a_record_is_not_taken_for_one() {
    let fs = machine_with(&[b"inner".to_vec()]);
    let inner = fs.read(FILE).unwrap()[64..104].to_vec();
    let mut journal = open(&fs).0;
    let payload = [&[0; 8], &inner[..], &inner[..]].concat();
    let span = journal.append(&payload).unwrap();
    journal.append(b"last").unwrap();
    fs.flip_bit(FILE, span.offset + 33, 0).unwrap();
    // Its own number is not higher than that of the record before it.
    assert_eq!(payloads(&open(&fs).1), [b"inner".to_vec(), b"last".to_vec()]);
}

#[test]
fn a_record_asked_for_by_a_wrong_place_is_an_error_that_names_the_place() {
    let (fs, records, spans) = journal_of_twenty();
    let journal = open(&fs).0;
    assert_eq!(journal.read(spans[3]).unwrap(), records[3]);
    for offset in [0, spans[3].offset + 8, spans[19].end(), 1 << 40] {
        let error = journal.read(Span { offset, ..spans[3] }).unwrap_err();
        assert!(matches!(error, Error::Unreadable { offset: at, .. } if at == offset), "{error}");
    }
}

#[test]
fn damaged_bytes_can_be_copied_as_they_are_up_to_a_limit() {
    let (fs, _, spans) = journal_of_twenty();
    let journal = open(&fs).0;
    let bytes = fs.read(FILE).unwrap();
    let from = usize::try_from(spans[2].offset).unwrap();
    assert_eq!(journal.raw(spans[2], 1 << 20).unwrap(), &bytes[from..from + spans[2].len as usize]);
    assert_eq!(journal.raw(spans[2], 5).unwrap(), &bytes[from..from + 5]);
}

proptest! {
    #[test]
    fn any_bytes_at_all_can_be_scanned_and_appended_to(bytes in vec(any::<u8>(), 0..3000), at in 0usize..3000) {
        let (whole, ..) = journal_of_twenty();
        let mut content = whole.read(FILE).unwrap();
        content.truncate(3000);
        let end = content.len().min(at + bytes.len());
        content[at.min(end)..end].copy_from_slice(&bytes[..end - at.min(end)]);
        let fs = machine();
        fs.write(FILE, &content).unwrap();
        if let Ok(Some(mut journal)) = Journal::open(&fs, dir()) {
            let before = payloads(&scan(&mut journal));
            journal.append(b"after").unwrap();
            prop_assert_eq!(payloads(&open(&fs).1), [before, vec![b"after".to_vec()]].concat());
        }
    }

    #[test]
    fn a_scan_in_steps_meets_what_a_scan_at_once_meets(
        flips in vec((64u64..1500, 0u8..8), 0..6), limit in 1usize..9,
    ) {
        let (fs, ..) = journal_of_twenty();
        for (offset, bit) in flips {
            fs.flip_bit(FILE, offset, bit).unwrap();
        }
        let whole = open(&fs).1;
        let (mut stepped, mut tail) = (Vec::new(), None);
        loop {
            // Each step by a process of its own, as when calls resume where their predecessor stopped.
            let mut journal = Journal::open(&fs, dir()).unwrap().unwrap();
            let done = journal.scan(tail, limit, |seen: Seen<'_>| { stepped.push(keep(&seen)); Ok(()) }).unwrap();
            tail = Some(journal.tail());
            if done { break }
        }
        prop_assert_eq!(stepped, whole);
    }
}
