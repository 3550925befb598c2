//! Damage at rest: whatever can still be read is read, whatever cannot is told, nothing lost looks deleted.

use std::collections::BTreeMap;
use std::path::Path;

use durable::fs::{File, Fs, Open};
use durable::objects::{Batch, Error, Log, Trouble};
use testkit::power_cut::PowerCutFs;
use testkit::rng::Rng;

use crate::seeds;
use crate::world::{Check, DIR, Value, settings};

type Model = BTreeMap<Vec<u8>, Vec<Value>>;

/// A closed log on a disk, and all versions that each key ever had, the present one last.
fn closed(seed: u64) -> (PowerCutFs, Model) {
    let mut rng = Rng::new(seed);
    let disk = PowerCutFs::new();
    let mut log = Log::open(disk.process(), Path::new(DIR), settings(seed, 512)).unwrap().log;
    let mut model = Model::new();
    let keys: Vec<Vec<u8>> = (0..8).map(|n| format!("/registry/secrets/d/s-{n}").into_bytes()).collect();
    keys.iter().for_each(|key| drop(model.insert(key.clone(), vec![None])));
    for _ in 0..rng.index(120) + 5 {
        let key = rng.pick(&keys).clone();
        let len = rng.index(400);
        let value = rng.chance(70).then(|| rng.bytes(len));
        let batch = match &value {
            Some(value) => Batch::new().put(key.clone(), value.clone()),
            None => Batch::new().delete(key.clone()),
        };
        log.append(&batch).unwrap();
        model.get_mut(&key).unwrap().push(value);
        if rng.chance(20) {
            log.flush().unwrap();
        }
        if rng.chance(20) {
            log.tidy(4000).unwrap();
        }
    }
    log.close().unwrap();
    disk.reboot_clean();
    (disk, model)
}

fn segments(disk: &PowerCutFs) -> Vec<String> {
    let names = disk.list(DIR).unwrap().into_iter();
    names.filter(|name| name.starts_with("segment-")).map(|name| format!("{DIR}/{name}")).collect()
}

/// Flipped bits, zeroed sectors, a missing end, a missing file.
fn hurt(disk: &PowerCutFs, rng: &mut Rng) -> String {
    let files = segments(disk);
    let file = rng.pick(&files).clone();
    let len = disk.read(&file).unwrap().len() as u64;
    // Zeros, or nothing, at the very end of the log are what a log looks like that was never written there.
    let newest = file == *files.last().unwrap();
    match rng.below(10) {
        0 if !newest => {
            disk.remove(&file).unwrap();
            format!("{file} is missing")
        }
        1 if !newest => {
            let len = rng.below(len);
            disk.truncate(&file, len).unwrap();
            format!("{file} ends at {len}")
        }
        2..5 => {
            let start = rng.below(len) / 512 * 512;
            let bytes = if rng.chance(50) && !newest { vec![0; 512] } else { rng.bytes(512) };
            let bytes = &bytes[..512.min(usize::try_from(len - start).unwrap())];
            disk.open(Path::new(&file), Open::Write).unwrap().write_at(bytes, start).unwrap();
            disk.settle();
            format!("a sector of {file} at {start} is lost")
        }
        _ => {
            let (offset, bit) = (rng.below(len), rng.index(8));
            disk.flip_bit(&file, offset, u8::try_from(bit).unwrap()).unwrap();
            format!("a bit of {file} at {offset} is flipped")
        }
    }
}

/// What is told makes up for what is not there.
fn judge(
    key: &[u8],
    found: &Result<Value, Error>,
    versions: &[Value],
    told: &[Trouble],
    doubtful: bool,
) -> Check {
    let truth = versions.last().unwrap();
    let name = String::from_utf8_lossy(key);
    match found {
        Ok(value) if value == truth => Ok(()),
        Err(Error::Unreadable { .. }) => Ok(()),
        Err(error) => Err(format!("{name}: {error}")),
        Ok(value) if value.is_some() && !versions.contains(value) => {
            Err(format!("{name} has a value that it never had"))
        }
        Ok(value) => {
            // It is out of date, so a record of it is lost whose key nothing names, or that counts as never finished.
            let cut_off = told.iter().any(|t| matches!(t, Trouble::Torn { .. }));
            let unnamed = told.iter().any(|t| matches!(t, Trouble::Damaged { .. } | Trouble::Missing { .. }));
            let admitted = cut_off || unnamed && (value.is_none() || doubtful);
            if admitted { Ok(()) } else { Err(format!("{name} is out of date: {told:?}")) }
        }
    }
}

fn check(disk: &PowerCutFs, model: &Model) -> Check {
    let opened = Log::open(disk.process(), Path::new(DIR), settings(7, 512)).map_err(|e| e.to_string())?;
    let (mut log, mut told) = (opened.log, opened.troubles);
    told.extend(log.verify().map_err(|e| e.to_string())?);
    let mut doubtful = Vec::new();
    log.keys(|found| doubtful.extend((found.lost || found.doubtful).then(|| found.key.to_vec()))).unwrap();
    for (key, versions) in model {
        judge(key, &log.get(key), versions, &told, doubtful.contains(key))?;
    }
    // It goes on: what is written now is there, and what was lost stays lost when everything is written anew.
    let lost: Vec<&Vec<u8>> = model.keys().filter(|key| log.get(key).is_err()).collect();
    log.append(&Batch::new().put(*b"new", *b"after")).map_err(|e| e.to_string())?;
    log.rewrite().map_err(|e| e.to_string())?;
    for _ in 0..300 {
        log.tidy(10_000).and_then(|_| log.flush()).map_err(|e| e.to_string())?;
    }
    log.close().map_err(|e| e.to_string())?;
    disk.power_cut(1);
    let opened = Log::open(disk.process(), Path::new(DIR), settings(8, 512)).map_err(|e| e.to_string())?;
    if opened.troubles.iter().any(Trouble::is_loss) {
        return Err(format!(
            "old damage is told again after everything was written anew: {:?}",
            opened.troubles
        ));
    }
    let log = opened.log;
    for (key, versions) in model {
        let found = log.get(key);
        if lost.contains(&key) && found.is_ok() {
            return Err(format!("{} was lost and is back", String::from_utf8_lossy(key)));
        }
        let mut was_doubtful = false;
        log.keys(|found| was_doubtful |= found.key == key && found.doubtful).unwrap();
        judge(key, &found, versions, &told, was_doubtful)?;
    }
    let new = log.get(b"new").map_err(|e| e.to_string())?;
    if new.as_deref() == Some(b"after") {
        Ok(())
    } else {
        Err("what was written after it is not there".into())
    }
}

#[test]
fn p5_damage_costs_the_records_it_hits_and_is_told() {
    for seed in seeds(3000) {
        let (disk, model) = closed(seed);
        let mut rng = Rng::new(seed).fork();
        let story: Vec<String> = (0..1 + rng.index(2)).map(|_| hurt(&disk, &mut rng)).collect();
        if let Err(violation) = check(&disk, &model) {
            panic!("{}\n\nSIM_SEED={seed} repeats it: {violation}", story.join("\n"));
        }
    }
}

#[test]
fn the_check_catches_damage_that_no_checksum_tells() {
    let (disk, _) = of(&[(b"a", Some(b"old")), (b"a", Some(b"new"))]);
    let model = Model::from([(b"a".to_vec(), vec![None, Some(b"old".to_vec()), Some(b"new".to_vec())])]);
    check(&disk, &model).unwrap();
    let (disk, at) = of(&[(b"a", Some(b"old")), (b"a", Some(b"new"))]);
    let mut bytes = disk.read(FIRST).unwrap();
    let at = usize::try_from(at[1]).unwrap();
    bytes[at + 41] ^= 1;
    let sum = crc32fast::hash(&bytes[at + 41..at + 44]);
    bytes[at + 8..at + 12].copy_from_slice(&sum.to_le_bytes());
    let sum = crc32fast::hash(&bytes[at + 8..at + 41]);
    bytes[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
    disk.write(FIRST, &bytes).unwrap();
    let objection = check(&disk, &model).unwrap_err();
    assert!(objection.contains("a value that it never had"), "{objection}");
}

/// One log of these records in one segment, closed; where each frame begins.
fn of(records: &[(&[u8], Option<&[u8]>)]) -> (PowerCutFs, Vec<u64>) {
    let disk = PowerCutFs::new();
    let mut log = Log::open(disk.process(), Path::new(DIR), settings(3, 0)).unwrap().log;
    let mut at = Vec::new();
    for (key, value) in records {
        at.push(log.usage().total.max(64));
        let batch = match value {
            Some(value) => Batch::new().put(*key, value.to_vec()),
            None => Batch::new().delete(*key),
        };
        log.append(&batch).unwrap();
    }
    log.close().unwrap();
    disk.reboot_clean();
    (disk, at)
}

const FIRST: &str = "/var/lib/edgekeep/keep/segment-0000000001";

fn reopen(disk: &PowerCutFs) -> (Log<PowerCutFs>, Vec<Trouble>) {
    let opened = Log::open(disk.process(), Path::new(DIR), settings(4, 0)).unwrap();
    (opened.log, opened.troubles)
}

#[test]
fn a_damaged_value_is_told_by_its_key_and_is_neither_absent_nor_the_old_one() {
    let (disk, at) = of(&[(b"a", Some(b"old")), (b"a", Some(b"new")), (b"b", Some(b"other"))]);
    disk.flip_bit(FIRST, at[1] + 41, 3).unwrap();
    let (log, told) = reopen(&disk);
    let offset = u32::try_from(at[1]).unwrap();
    assert_eq!(told, [Trouble::Lost { key: b"a".to_vec(), segment: 1, offset }]);
    let error = log.get(b"a").unwrap_err();
    assert!(error.to_string().contains("it was not deleted"), "{error}");
    assert_eq!(log.get(b"b").unwrap().unwrap(), b"other");
    let mut all = Vec::new();
    log.each(|found, value| {
        all.push((found.key.to_vec(), found.lost, value.ok().map(|value| value.to_vec())))
    })
    .unwrap();
    all.sort();
    assert_eq!(all, [(b"a".to_vec(), true, None), (b"b".to_vec(), false, Some(b"other".to_vec()))]);
    assert_eq!(log.usage().lost, 1);
}

#[test]
fn a_damaged_head_is_told_by_its_place_and_makes_all_older_records_doubtful() {
    let (disk, at) = of(&[(b"a", Some(b"old")), (b"a", None), (b"b", Some(b"other"))]);
    disk.flip_bit(FIRST, at[1] + 30, 0).unwrap();
    let (log, told) = reopen(&disk);
    assert!(matches!(told[..], [Trouble::Damaged { segment: 1, offset, .. }] if u64::from(offset) == at[1]));
    let mut doubtful = BTreeMap::new();
    log.keys(|found| doubtful.extend([(found.key.to_vec(), found.doubtful)])).unwrap();
    assert_eq!(doubtful, BTreeMap::from([(b"a".to_vec(), true), (b"b".to_vec(), false)]));
}

#[test]
fn a_deletion_in_a_closed_segment_survives_the_loss_of_its_own_record() {
    let (disk, at) =
        of(&[(b"a", Some(b"old")), (b"a", None), (b"b", Some(&[7; 5000])), (b"c", Some(b"next"))]);
    assert_eq!(segments(&disk).len(), 3);
    disk.flip_bit(FIRST, at[1] + 30, 0).unwrap();
    let (log, told) = reopen(&disk);
    assert_eq!((log.get(b"a").unwrap(), told), (None, vec![]));
}

#[test]
fn a_damaged_table_of_contents_costs_nothing() {
    let (disk, _) = of(&[(b"a", Some(b"old")), (b"a", Some(b"new")), (b"b", Some(&[7; 5000])), (b"c", None)]);
    let len = disk.read(FIRST).unwrap().len() as u64;
    for offset in len - 60..len {
        disk.flip_bit(FIRST, offset, 1).unwrap();
        let (log, told) = reopen(&disk);
        assert_eq!((log.get(b"a").unwrap().unwrap(), told), (b"new".to_vec(), vec![]));
        disk.flip_bit(FIRST, offset, 1).unwrap();
    }
}

#[test]
fn a_damaged_header_costs_no_record() {
    let (disk, _) = of(&[(b"a", Some(b"value"))]);
    for offset in 0..44 {
        disk.flip_bit(FIRST, offset, 1).unwrap();
        let (log, told) = reopen(&disk);
        assert_eq!(log.get(b"a").unwrap().unwrap(), b"value");
        assert_eq!(told, [Trouble::Header { segment: 1 }], "{offset}");
        disk.flip_bit(FIRST, offset, 1).unwrap();
    }
}

#[test]
fn a_newest_segment_of_which_nothing_is_left_makes_everything_doubtful() {
    let (disk, _) = of(&[(b"a", Some(b"old")), (b"b", Some(&[7; 5000])), (b"a", Some(b"new"))]);
    disk.truncate(segments(&disk).last().unwrap(), 41).unwrap();
    let (log, told) = reopen(&disk);
    assert!(told.iter().any(Trouble::is_loss));
    let mut doubtful = Vec::new();
    log.keys(|found| doubtful.push(found.doubtful)).unwrap();
    assert_eq!(doubtful, [true, true]);
}

#[test]
fn a_record_within_a_value_is_not_taken_for_one() {
    let (disk, at) = of(&[(b"inner", Some(b"x"))]);
    let frame = disk.read(FIRST).unwrap()[usize::try_from(at[0]).unwrap()..][..48].to_vec();
    let (mut log, _) = reopen(&disk);
    log.append(&Batch::new().delete(*b"inner").put(*b"outer", [&[0; 4], &frame[..]].concat())).unwrap();
    log.close().unwrap();
    disk.reboot_clean();
    // The head of the outer one is lost, so what follows is searched for the next record.
    let bytes = disk.read(FIRST).unwrap();
    let outer = bytes.windows(5).rposition(|window| window == b"outer").unwrap();
    disk.flip_bit(FIRST, outer as u64, 0).unwrap();
    let (log, told) = reopen(&disk);
    assert_eq!(log.get(b"inner").unwrap(), None, "{told:?}");
}

#[test]
fn a_newer_version_is_left_alone_with_an_error_that_says_what_to_do() {
    let (disk, _) = of(&[(b"a", Some(b"value"))]);
    let mut bytes = disk.read(FIRST).unwrap();
    bytes[8..12].copy_from_slice(&2u32.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..40]);
    bytes[40..44].copy_from_slice(&sum.to_le_bytes());
    disk.write(FIRST, &bytes).unwrap();
    let error = Log::open(disk.process(), Path::new(DIR), settings(4, 0)).map(|_| ()).unwrap_err();
    for part in [FIRST, "format 2", "up to 1", "install the newer release"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(disk.read(FIRST).unwrap(), bytes);
}

#[test]
fn a_segment_of_another_log_is_told_and_not_read() {
    let (one, _) = of(&[(b"a", Some(b"mine"))]);
    let theirs = PowerCutFs::new();
    let mut log = Log::open(theirs.process(), Path::new(DIR), settings(99, 0)).unwrap().log;
    log.append(&Batch::new().put(*b"a", *b"theirs").put(*b"b", *b"theirs")).unwrap();
    log.close().unwrap();
    let foreign = "/var/lib/edgekeep/keep/segment-0000000000";
    one.write(foreign, theirs.read(FIRST).unwrap()).unwrap();
    let (log, told) = reopen(&one);
    assert_eq!(told, [Trouble::Foreign { segment: 0 }]);
    assert_eq!((log.get(b"a").unwrap().unwrap(), log.get(b"b").unwrap()), (b"mine".to_vec(), None));
    assert!(one.read(foreign).is_ok(), "it is left where it is");
}

#[test]
fn segments_with_damage_are_kept_aside_when_they_leave() {
    let (disk, at) = of(&[(b"a", Some(b"old")), (b"b", Some(&[7; 5000])), (b"c", Some(b"x"))]);
    disk.flip_bit(FIRST, at[0] + 41, 0).unwrap();
    let (mut log, _) = reopen(&disk);
    log.rewrite().unwrap();
    for _ in 0..20 {
        log.tidy(10_000).and_then(|_| log.flush()).unwrap();
    }
    assert!(disk.list(DIR).unwrap().contains(&"damaged-0000000001".to_owned()));
    assert!(matches!(log.get(b"a"), Err(Error::Unreadable { .. })));
    log.append(&Batch::new().delete(*b"a")).unwrap();
    assert_eq!(log.get(b"a").unwrap(), None, "a deletion that was asked for is one");
}
