//! One engine, one task, in a process of its own: `store-bench <engine> <task> <dir>`. `run` calls it and counts what
//! reaches the device.

mod engines;

use std::path::Path;
use std::time::Instant;

use engines::{Own, Redb, Sqlite, Store};

/// A node as it is: 1 500 objects of 4 KB, and twice as many changes as 3 000 single commits and 150 of twenty each.
const OBJECTS: u64 = 1500;
const OBJECT: usize = 4000;
/// A large cluster: services and slices that a node caches.
const MANY: u64 = 10_000;
const SMALL: usize = 1200;
/// Events: each is shown to a client before the next comes, and twenty of them come in the time between two flushes.
const EVENTS: u64 = 3000;
const BETWEEN: u64 = 20;

/// Bytes that do not compress and do not repeat.
fn value(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

fn key(n: u64) -> Vec<u8> {
    format!("/registry/endpointslices/default/service-{n:05}-abcde").into_bytes()
}

/// A number below `n`, the same in each run.
fn pick(seed: u64, n: u64) -> u64 {
    let mixed = (seed ^ (seed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 29)) % n
}

fn kilobytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn fill<S: Store>(store: &mut S, count: u64, len: usize) {
    for start in (0..count).step_by(100) {
        let batch: Vec<_> = (start..(start + 100).min(count)).map(|n| (key(n), value(n, len))).collect();
        store.commit(&batch, true);
    }
}

fn run<S: Store>(task: &str, dir: &Path) {
    let base = kilobytes("VmRSS:");
    let start = Instant::now();
    let mut store = S::open(dir);
    let opened = start.elapsed();
    match task {
        "fill" => fill(&mut store, OBJECTS, OBJECT),
        "change" => {
            for n in 0..3000 {
                store.commit(&[(key(pick(n, OBJECTS)), value(n + 9000, OBJECT))], true);
            }
            for n in 0..150 {
                let batch = (n * 20..n * 20 + 20).map(|n| (key(pick(n + 77, OBJECTS)), value(n, OBJECT)));
                store.commit(&batch.collect::<Vec<_>>(), true);
            }
        }
        "fill-many" => fill(&mut store, MANY, SMALL),
        "events" => {
            for n in 0..EVENTS {
                store.commit(&[(key(pick(n, MANY)), value(n, SMALL))], (n + 1) % BETWEEN == 0);
            }
        }
        // The first answer: open, and one object read.
        "open" => assert!(store.get(&key(MANY / 2)).is_some()),
        other => panic!("no task {other}"),
    }
    let first = start.elapsed();
    println!(
        "base_kb={base} rss_kb={} peak_kb={} open_us={} first_us={}",
        kilobytes("VmRSS:"),
        kilobytes("VmHWM:"),
        opened.as_micros(),
        first.as_micros()
    );
    store.close();
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, engine, task, dir] = &arguments[..] else { panic!("store-bench <engine> <task> <dir>") };
    let dir = Path::new(dir);
    match engine.as_str() {
        "own" => run::<Own>(task, dir),
        "redb" => run::<Redb>(task, dir),
        "sqlite" => run::<Sqlite>(task, dir),
        other => panic!("no engine {other}"),
    }
}
