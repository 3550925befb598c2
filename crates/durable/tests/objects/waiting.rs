//! Who waits for the store is told the truth, at the cost of few flushes; nobody else waits.

use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use durable::objects::numbers::Numbers;
use durable::objects::rounds::{Durability, Job, Rounds};
use durable::objects::writer::{Pace, Refused, Writer};
use durable::objects::{Batch, Engine, Error, Log, Lookup, Usage};
use durable::os::OsFs;
use testkit::power_cut::{Fault, PowerCutFs};
use testkit::rng::Rng;

use crate::world::{DIR, settings};

const SECOND: Duration = Duration::from_secs(1);
const TWO: Duration = Duration::from_secs(2);

fn rounds(disk: &PowerCutFs) -> Rounds<Log<PowerCutFs>> {
    let log = Log::open(disk.process(), Path::new(DIR), settings(5, 0)).unwrap().log;
    Rounds::new(log, TWO)
}

/// Who was told what, in order.
type Told = Arc<Mutex<Vec<(usize, bool)>>>;

fn job(n: usize, until: Durability, told: &Told) -> Job {
    let (told, batch) = (Arc::clone(told), Batch::new().put(key(n), vec![7; 20]));
    let done = Box::new(move |done: Result<(), Arc<Error>>| told.lock().unwrap().push((n, done.is_ok())));
    Job { batch, until, done }
}

fn key(n: usize) -> Vec<u8> {
    format!("outbox/{n}").into_bytes()
}

#[test]
fn p5_many_who_wait_for_a_flush_cost_one() {
    let (disk, told) = (PowerCutFs::new(), Told::default());
    let mut rounds = rounds(&disk);
    // The first record of all makes the first segment, which is flushed by being made.
    rounds.round(vec![job(1000, Durability::Flushed, &told)], SECOND);
    disk.forget_flushes();
    rounds.round((0..50).map(|n| job(n, Durability::Flushed, &told)).collect(), SECOND);
    assert_eq!((disk.all_flushes(), told.lock().unwrap().len()), (1, 51));
    disk.power_cut(3);
    let log = Log::open(disk.process(), Path::new(DIR), settings(6, 0)).unwrap().log;
    assert!((0..50).all(|n| log.get(&key(n)).unwrap().is_some()));
}

#[test]
fn who_waits_for_the_kernel_is_told_before_any_flush_and_the_record_is_flushed_two_seconds_later() {
    let (disk, told) = (PowerCutFs::new(), Told::default());
    let mut rounds = rounds(&disk);
    rounds.round(vec![job(0, Durability::Flushed, &told)], SECOND);
    disk.forget_flushes();
    let call_at = rounds.round(vec![job(1, Durability::Written, &told)], SECOND);
    assert_eq!((told.lock().unwrap().len(), disk.all_flushes(), call_at), (2, 0, Some(SECOND + TWO)));
    rounds.round(vec![job(2, Durability::Written, &told)], TWO);
    assert_eq!(disk.all_flushes(), 0);
    assert_eq!(rounds.round(vec![], SECOND + TWO), None);
    assert_eq!(disk.all_flushes(), 1);
    assert_eq!(rounds.round(vec![], TWO * 5), None, "nothing is flushed when there is nothing new");
    assert_eq!(disk.all_flushes(), 1);
}

#[test]
fn a_flush_that_fails_once_is_made_good_with_another_file_and_nobody_hears_of_it() {
    let (disk, told) = (PowerCutFs::new(), Told::default());
    let process = disk.process();
    let log = Log::open(process.clone(), Path::new(DIR), settings(5, 0)).unwrap().log;
    let mut rounds = Rounds::new(log, TWO);
    rounds.round(vec![job(0, Durability::Flushed, &told)], SECOND);
    process.fail_after(0, Fault::FlushFails);
    rounds.round(vec![job(1, Durability::Flushed, &told)], SECOND);
    assert_eq!(*told.lock().unwrap(), [(0, true), (1, true)]);
    assert_eq!(disk.list(DIR).unwrap(), ["lock", "segment-0000000001", "segment-0000000002"]);
    disk.power_cut(9);
    let log = Log::open(disk.process(), Path::new(DIR), settings(6, 0)).unwrap().log;
    assert!(log.get(&key(1)).unwrap().is_some());
}

#[test]
fn p5_a_full_disk_is_told_to_who_waits_reads_go_on_and_it_recovers_by_itself() {
    let (disk, told) = (PowerCutFs::new(), Told::default());
    let process = disk.process();
    let log = Log::open(process.clone(), Path::new(DIR), settings(5, 0)).unwrap().log;
    let reader = log.reader();
    let mut rounds = Rounds::new(log, TWO);
    rounds.round(vec![job(0, Durability::Flushed, &told)], SECOND);
    process.fail_after(0, Fault::NoSpace);
    rounds.round(vec![job(1, Durability::Flushed, &told), job(2, Durability::Written, &told)], SECOND);
    assert_eq!(told.lock().unwrap()[1..], [(1, false), (2, false)]);
    let standing = rounds.standing();
    assert!(standing.full && standing.failing.unwrap().contains("no space"));
    assert!(reader.get(&key(0)).unwrap().is_some() && reader.get(&key(1)).unwrap().is_none());
    process.clear_faults();
    rounds.round(vec![job(3, Durability::Flushed, &told)], SECOND);
    assert_eq!(told.lock().unwrap().last(), Some(&(3, true)));
    assert_eq!(rounds.standing().failing, None);
    disk.power_cut(4);
    let log = Log::open(disk.process(), Path::new(DIR), settings(6, 0)).unwrap().log;
    assert!(log.get(&key(3)).unwrap().is_some() && log.get(&key(1)).unwrap().is_none());
}

#[test]
fn a_batch_that_is_too_large_is_refused_alone() {
    let (disk, told) = (PowerCutFs::new(), Told::default());
    let mut rounds = rounds(&disk);
    let too_long = Job { batch: Batch::new().put(vec![0; 1025], *b""), ..job(0, Durability::Flushed, &told) };
    rounds.round(vec![too_long, job(1, Durability::Flushed, &told)], SECOND);
    assert_eq!(*told.lock().unwrap(), [(0, false), (1, true)]);
}

#[test]
fn p5_numbers_are_never_given_twice_whatever_happens_to_the_machine() {
    for seed in crate::seeds(300) {
        let (disk, mut rng, mut last) = (PowerCutFs::new(), Rng::new(seed), 0);
        for boot in 0..6 {
            let process = disk.process();
            let mut log = Log::open(process.clone(), Path::new(DIR), settings(seed + boot, 0)).unwrap().log;
            let mut numbers = Numbers::open(&log.reader(), *b"rv/pods", 1 + rng.below(20)).unwrap();
            if rng.chance(60) {
                process.fail_after(rng.index(60), Fault::DeathHalfway(rng.next_u64()));
            }
            for _ in 0..rng.index(200) {
                if let Some((batch, reservation)) = numbers.reserve() {
                    match log.append(&batch).and_then(|()| log.flush()) {
                        Ok(()) => numbers.reserved(reservation),
                        Err(_) => numbers.failed(reservation),
                    }
                }
                if process.is_dead() {
                    break;
                }
                let number = numbers.take().expect("a reservation that is durable");
                assert!(number > last, "SIM_SEED={seed}: {number} after {last}");
                last = number;
            }
            disk.power_cut(rng.next_u64());
        }
    }
}

#[test]
fn a_counter_that_cannot_be_read_gives_no_numbers() {
    let disk = PowerCutFs::new();
    let mut log = Log::open(disk.process(), Path::new(DIR), settings(1, 0)).unwrap().log;
    log.append(&Batch::new().put(*b"rv/pods", *b"seven")).unwrap();
    let error = Numbers::open(&log.reader(), *b"rv/pods", 10).unwrap_err();
    assert!(error.to_string().contains("rv/pods"), "{error}");
    log.append(&Batch::new().put(*b"rv/pods", 40u64.to_le_bytes())).unwrap();
    let mut numbers = Numbers::open(&log.reader(), *b"rv/pods", 10).unwrap();
    assert_eq!(numbers.take(), None, "nothing before the first reservation is durable");
    let (_, reservation) = numbers.reserve().unwrap();
    assert!(numbers.reserve().is_none(), "one at a time");
    numbers.reserved(reservation);
    assert_eq!(numbers.take(), Some(40));
}

/// A store whose flushes wait until they are let go.
struct Gated {
    gate: mpsc::Receiver<()>,
    flushes: Arc<Mutex<u64>>,
    appended: mpsc::Sender<()>,
}

#[derive(Clone)]
struct Nothing;

impl Lookup for Nothing {
    fn get(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(None)
    }
}

impl Engine for Gated {
    type Reader = Nothing;

    fn reader(&self) -> Nothing {
        Nothing
    }

    fn append(&mut self, _batch: &Batch) -> Result<(), Error> {
        self.appended.send(()).unwrap();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        *self.flushes.lock().unwrap() += 1;
        self.gate.recv().unwrap();
        Ok(())
    }

    fn tidy(&mut self, _budget: usize) -> Result<bool, Error> {
        Ok(false)
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn close(self) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn p5_a_thousand_that_come_while_one_is_flushed_share_the_next_flush() {
    let (open, gate) = mpsc::channel();
    let (appended, is_appended) = mpsc::channel();
    let flushes = Arc::new(Mutex::new(0));
    let engine = Gated { gate, flushes: Arc::clone(&flushes), appended };
    let writer = Writer::start(engine, Pace::default()).unwrap();
    let (done, is_done) = mpsc::channel();
    let submit = |n: usize| {
        let done = done.clone();
        let batch = Batch::new().put(key(n), vec![0; 20]);
        writer.submit(batch, Durability::Flushed, move |told| done.send(told.is_ok()).unwrap()).unwrap();
    };
    submit(0);
    is_appended.recv().unwrap();
    (1..=1000).for_each(submit);
    open.send(()).unwrap();
    assert!(is_done.recv().unwrap());
    open.send(()).unwrap();
    assert!((0..1000).all(|_| is_done.recv().unwrap()));
    assert_eq!(*flushes.lock().unwrap(), 2);
    drop(open);
}

#[test]
fn a_disk_that_does_not_keep_up_is_told_and_what_waits_is_bounded() {
    let (open, gate) = mpsc::channel();
    let (appended, is_appended) = mpsc::channel();
    let engine = Gated { gate, flushes: Arc::default(), appended };
    let writer = Writer::start(engine, Pace { queue: 1000, ..Pace::default() }).unwrap();
    let submit =
        |len: usize| writer.submit(Batch::new().put(*b"k", vec![0; len]), Durability::Flushed, |_| {});
    submit(5000).unwrap();
    is_appended.recv().unwrap();
    // The flush is not over, so its bytes still wait.
    let refused = submit(10).unwrap_err();
    assert!(matches!(&refused, Refused::Busy(_)), "{refused:?}");
    assert_eq!((refused.into_job().batch.len(), writer.queued()), (1, 5001));
    open.send(()).unwrap();
    drop(writer);
}

#[test]
fn a_writer_that_is_dropped_has_written_and_flushed_everything() {
    let dir = std::env::temp_dir().join(format!("edgekeep-writer-{}", std::process::id()));
    let opened = Log::open(OsFs, &dir, settings(1, 0)).unwrap();
    let reader = opened.log.reader();
    let writer = Writer::start(opened.log, Pace::default()).unwrap();
    let (done, is_done) = mpsc::channel();
    writer
        .submit(Batch::new().put(*b"a", *b"1"), Durability::Written, move |_| done.send(()).unwrap())
        .unwrap();
    is_done.recv().unwrap();
    assert_eq!(reader.get(b"a").unwrap().unwrap(), b"1", "from another thread");
    for n in 0..100 {
        writer.submit(Batch::new().put(key(n), vec![1; 300]), Durability::Written, |_| {}).unwrap();
    }
    drop(writer);
    let log = Log::open(OsFs, &dir, settings(2, 0)).unwrap().log;
    assert_eq!(log.usage().records, 101);
    drop(log);
    std::fs::remove_dir_all(&dir).unwrap();
}
