//! Sealed values: nobody reads them without the key, none takes the place of another, and a lost key deletes nothing.
#![cfg(feature = "sealing")]
// A test: where something is not there that must be, to end at that line is the answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use durable::objects::{Batch, Cipher, Error, Log, Settings};
use durable::os::OsFs;
use durable::seal::Sealer;
use durable::seal::key::{Error as KeyError, Key};
use testkit::power_cut::{Fault, PowerCutFs, is_death};
use testkit::rng::Rng;

const DIR: &str = "/var/lib/edgekeep/keep";
const SECRET: &[u8] = b"a password that must not be seen";

fn key(n: u8) -> Key {
    Key::new([n; 32])
}

fn open(disk: &PowerCutFs, current: u8, older: &[u8]) -> Log<PowerCutFs> {
    let older: Vec<Key> = older.iter().map(|n| key(*n)).collect();
    let cipher = Arc::new(Sealer::new(&key(current), &older).unwrap());
    let settings = Settings { segment: 4096, cipher: Some(cipher), ..Settings::keep(1) };
    Log::open(disk.process(), Path::new(DIR), settings).unwrap().log
}

fn with_secret() -> PowerCutFs {
    let disk = PowerCutFs::new();
    let mut log = open(&disk, 1, &[]);
    log.append(&Batch::new().put_sealed(*b"s", SECRET).put(*b"plain", *b"seen")).unwrap();
    log.close().unwrap();
    disk
}

fn on_disk(disk: &PowerCutFs) -> Vec<u8> {
    disk.list(DIR).unwrap().iter().flat_map(|name| disk.read(format!("{DIR}/{name}")).unwrap()).collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn tidy_all(log: &mut Log<PowerCutFs>) {
    log.rewrite().unwrap();
    for _ in 0..20 {
        log.tidy(100_000).and_then(|_| log.flush()).unwrap();
    }
}

#[test]
fn p8_a_sealed_value_is_read_with_the_key_and_not_on_the_disk() {
    let disk = with_secret();
    assert!(!contains(&on_disk(&disk), &SECRET[..8]) && contains(&on_disk(&disk), b"seen"));
    assert_eq!(open(&disk, 1, &[]).get(b"s").unwrap().unwrap(), SECRET);
}

#[test]
fn p8_under_a_wrong_or_lost_key_a_sealed_value_is_unreadable_and_not_absent_and_comes_back_with_the_key() {
    let disk = with_secret();
    for other in [Some(2), None] {
        let mut log = match other {
            Some(other) => open(&disk, other, &[]),
            None => {
                let settings = Settings { segment: 4096, ..Settings::keep(1) };
                Log::open(disk.process(), Path::new(DIR), settings).unwrap().log
            }
        };
        // Even when everything is written anew.
        tidy_all(&mut log);
        let error = log.get(b"s").unwrap_err();
        assert!(matches!(error, Error::Sealed { .. }), "{error}");
        let told = if other.is_some() { "sealed with the key" } else { "no key" };
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!(log.get(b"plain").unwrap().unwrap(), b"seen");
        assert_eq!(log.usage().records, 2);
        log.close().unwrap();
    }
    assert_eq!(open(&disk, 1, &[]).get(b"s").unwrap().unwrap(), SECRET);
}

#[test]
fn p8_after_a_change_of_keys_everything_can_be_sealed_anew() {
    let disk = with_secret();
    let mut log = open(&disk, 2, &[1]);
    assert_eq!(log.get(b"s").unwrap().unwrap(), SECRET, "with the old key");
    tidy_all(&mut log);
    assert_eq!(log.get(b"s").unwrap().unwrap(), SECRET);
    log.close().unwrap();
    assert_eq!(open(&disk, 2, &[]).get(b"s").unwrap().unwrap(), SECRET, "without the old key");
}

#[test]
fn p8_a_sealed_value_opens_in_no_other_place() {
    let sealer = Sealer::new(&key(1), &[]).unwrap();
    let sealed = sealer.seal(b"one", SECRET).unwrap();
    assert_eq!(sealer.open(b"one", &sealed).unwrap(), SECRET);
    assert!(sealer.open(b"two", &sealed).is_err());
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(sealer.open(b"one", &changed).is_err(), "byte {at}");
    }
    for len in 0..sealed.len() {
        assert!(sealer.open(b"one", &sealed[..len]).is_err());
    }
}

/// How many different nonces a hundred seals of one value have.
fn nonces(sealer: &Sealer) -> usize {
    let sealed = (0..100).map(|_| sealer.seal(b"one", SECRET).unwrap()[5..17].to_vec());
    sealed.collect::<BTreeSet<_>>().len()
}

#[test]
fn p8_no_nonce_comes_twice_and_the_check_catches_one_that_does() {
    assert_eq!(nonces(&Sealer::new(&key(1), &[]).unwrap()), 100);
    let broken = Sealer::with_random(
        &key(1),
        &[],
        Box::new(|buffer| {
            buffer.fill(7);
            true
        }),
    );
    assert_eq!(nonces(&broken.unwrap()), 1);
    let none = Sealer::with_random(&key(1), &[], Box::new(|_| false)).unwrap();
    assert!(none.seal(b"one", SECRET).is_err(), "no random numbers, no seal");
}

#[test]
fn p8_an_append_that_cannot_be_sealed_writes_nothing() {
    let disk = PowerCutFs::new();
    let settings = Settings { segment: 4096, ..Settings::keep(1) };
    let mut log = Log::open(disk.process(), Path::new(DIR), settings).unwrap().log;
    let batch = Batch::new().put(*b"plain", *b"x").put_sealed(*b"s", SECRET);
    assert!(matches!(log.append(&batch), Err(Error::Sealed { .. })));
    assert_eq!((log.get(b"plain").unwrap(), log.get(b"s").unwrap()), (None, None));
    assert!(!contains(&on_disk(&disk), SECRET));
}

const KEY: &str = "/var/lib/edgekeep/key";

fn load(disk: &PowerCutFs, fresh: u8) -> Result<Key, KeyError> {
    Key::load_or_create(disk, Path::new(KEY), 0, || Ok(key(fresh)))
}

#[test]
fn a_key_that_was_used_is_there_after_any_power_cut() {
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let disk = PowerCutFs::new();
        let process = disk.process();
        process.fail_after(rng.index(14), Fault::DeathHalfway(rng.next_u64()));
        let used = load(&process, 1).is_ok();
        disk.power_cut(seed);
        let found = load(&disk, 2).unwrap();
        let first = Sealer::new(&key(1), &[]).unwrap().id();
        let id = Sealer::new(&found, &[]).unwrap().id();
        assert!(!used || id == first, "seed {seed}");
        assert_eq!(Sealer::new(&load(&disk, 3).unwrap(), &[]).unwrap().id(), id);
    }
}

#[test]
fn a_key_file_that_is_no_key_or_cannot_be_looked_at_is_never_replaced() {
    let disk = PowerCutFs::new();
    for content in [&b""[..], b"short", &[b'f'; 63], &[b'g'; 64], &[0; 300]] {
        disk.write(KEY, content).unwrap();
        let error = load(&disk, 1).unwrap_err();
        assert!(error.to_string().contains(KEY), "{error}");
        assert_eq!(disk.read(KEY).unwrap(), content);
    }
    for good in [&[1; 32][..], "01".repeat(32).as_bytes(), format!("{}\n", "01".repeat(32)).as_bytes()] {
        disk.write(KEY, good).unwrap();
        let id = Sealer::new(&load(&disk, 9).unwrap(), &[]).unwrap().id();
        assert_eq!(id, Sealer::new(&key(1), &[]).unwrap().id());
    }
    let process = disk.process();
    process.fail_after(0, Fault::Death);
    let error = load(&process, 1).unwrap_err();
    assert!(matches!(error, KeyError::Io { source, .. } if is_death(&source)));
}

#[test]
fn p8_a_key_file_is_closed_to_others_and_one_that_is_not_is_refused() {
    let dir = std::env::temp_dir().join(format!("edgekeep-key-{}", std::process::id()));
    let path = dir.join("key");
    let fresh = || Ok(key(1));
    let me = std::fs::metadata("/proc/self").unwrap().uid();
    Key::load_or_create(&OsFs, &path, me, fresh).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    Key::load_or_create(&OsFs, &path, me, || panic!("there is one")).unwrap();
    let refused = Key::load_or_create(&OsFs, &path, me + 1, fresh).unwrap_err();
    assert!(matches!(refused, KeyError::Exposed { .. }), "{refused}");
    for mode in [0o640, 0o604, 0o660] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let refused = Key::load_or_create(&OsFs, &path, me, fresh).unwrap_err();
        assert!(refused.to_string().contains("chmod 0600"), "{refused}");
    }
    // A credential is guarded by its directory.
    Key::from_credential(&OsFs, &path).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}
