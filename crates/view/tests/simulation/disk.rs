//! The two logs: what was handed out, what the kernel has, what survives a power cut.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use testkit::rng::Rng;
use view::{Key, Loading, Log, Record, ResourceId, Shelf, View, Write, object_bytes, object_key};

type Values = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Default, Clone)]
struct OneLog {
    durable: Values,
    /// In the kernel, not flushed, in the order of writing.
    loose: Vec<Record>,
    written: u64,
    queue: VecDeque<Write>,
    lost: Vec<Vec<u8>>,
}

fn apply(values: &mut Values, record: &Record) {
    match record {
        Record::Put { key, value, .. } => values.insert(key.clone(), value.clone()),
        Record::Delete { key } => values.remove(key),
    };
}

impl OneLog {
    fn kernel(&self) -> Values {
        let mut values = self.durable.clone();
        self.loose.iter().for_each(|record| apply(&mut values, record));
        values
    }

    fn write_next(&mut self) -> Option<u64> {
        let write = self.queue.pop_front()?;
        for record in &write.records {
            let (Record::Put { key, .. } | Record::Delete { key }) = record;
            self.lost.retain(|lost| lost != key);
        }
        self.loose.extend(write.records);
        self.written = write.number;
        Some(write.number)
    }

    fn flush(&mut self) -> u64 {
        for record in std::mem::take(&mut self.loose) {
            apply(&mut self.durable, &record);
        }
        self.written
    }
}

#[derive(Debug, Default, Clone)]
pub struct Disk(Arc<Mutex<[OneLog; 2]>>);

const LOGS: [Log; 2] = [Log::Keep, Log::Cache];

impl Disk {
    fn with<T>(&self, log: Log, what: impl FnOnce(&mut OneLog) -> T) -> T {
        let mut logs = self.0.lock().unwrap();
        what(&mut logs[usize::from(log == Log::Cache)])
    }

    pub fn hand_out(&self, write: Write) {
        self.with(write.log, |log| log.queue.push_back(write));
    }

    /// The writer writes some of what it was handed out, and may flush.
    pub fn work(&self, view: &mut View, log: Log, writes: usize, flush: bool) {
        for _ in 0..writes {
            let Some(number) = self.with(log, OneLog::write_next) else { break };
            view.written(log, number);
        }
        if flush {
            view.flushed(log, self.with(log, OneLog::flush));
        }
    }

    /// Says that everything was flushed, and does nothing of the kind.
    pub fn lie(&self, view: &mut View, log: Log) {
        let number = self.with(log, |log| {
            while log.write_next().is_some() {}
            log.written
        });
        view.flushed(log, number);
    }

    /// The hub is killed.
    pub fn kill(&self) {
        for log in LOGS {
            self.with(log, |log| {
                log.queue.clear();
                log.written = 0;
            });
        }
    }

    /// The power is cut: of what was not flushed some survives, from the front on.
    pub fn cut_power(&self, rng: &mut Rng) {
        self.kill();
        for log in LOGS {
            self.with(log, |log| {
                let kept = rng.index(log.loose.len() + 1);
                log.loose.truncate(kept);
                log.flush();
            });
        }
    }

    /// A record goes bad; its key.
    pub fn damage(&self, rng: &mut Rng, log: Log) -> String {
        self.with(log, |log| {
            let keys: Vec<Vec<u8>> = log.kernel().into_keys().collect();
            if keys.is_empty() {
                return String::new();
            }
            let key = rng.pick(&keys).clone();
            log.lost.push(key.clone());
            String::from_utf8_lossy(&key).escape_debug().to_string()
        })
    }

    /// What a hub that starts finds; `silently`: it is not told what was lost.
    pub fn load(&self, view: &mut View, silently: bool) {
        let mut loading = Loading::new("n1");
        for log in LOGS {
            let (kernel, lost) = self.with(log, |log| (log.kernel(), log.lost.clone()));
            for (key, value) in &kernel {
                if !lost.contains(key) {
                    loading.record(log, key, value);
                } else if !silently {
                    loading.lost(log, key);
                }
            }
        }
        loading.finish(view);
    }

    pub fn value(&self, resource: &ResourceId, key: &Key) -> Option<Vec<u8>> {
        let wanted = object_key(resource, key);
        LOGS.iter().rev().find_map(|log| self.with(*log, |log| log.kernel().remove(&wanted)))
    }
}

impl Shelf for Disk {
    fn fetch(&self, resource: &ResourceId, key: &Key) -> Option<Arc<[u8]>> {
        Some(object_bytes(&self.value(resource, key)?)?.into())
    }
}
