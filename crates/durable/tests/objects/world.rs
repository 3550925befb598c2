//! A machine with a log, and what a client of it may expect.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use durable::objects::{Batch, Error, Log, Settings, Trouble};
use testkit::power_cut::{Fault, PowerCutFs};
use testkit::rng::Rng;

use crate::broken::{Broken, Sabotage};

/// Where the log is.
pub const DIR: &str = "/var/lib/edgekeep/keep";
/// Size from which on a segment is closed.
pub const SEGMENT: u32 = 4096;

pub type Value = Option<Vec<u8>>;
/// What is wrong, if something is.
pub type Check = Result<(), String>;

/// What is known of a key.
#[derive(Debug, Clone, Default)]
pub struct Slot {
    /// What every reader sees now.
    pub now: Value,
    /// What the disk has for sure.
    pub flushed: Value,
    /// What was said since, in order: a power cut may bring any of it back.
    pub since: Vec<Value>,
    /// What a call that did not return, or returned an error, wanted.
    pub maybe: Vec<Value>,
}

impl Slot {
    fn settle(&mut self, value: Value) {
        *self = Slot { now: value.clone(), flushed: value, since: Vec::new(), maybe: Vec::new() };
    }
}

pub struct World {
    pub disk: PowerCutFs,
    pub how: Sabotage,
    pub process: PowerCutFs,
    pub log: Option<Log<Broken>>,
    pub model: BTreeMap<Vec<u8>, Slot>,
    pub rng: Rng,
    pub story: Vec<String>,
    opened: u64,
    pub room: u32,
}

pub fn settings(entropy: u64, room: u32) -> Settings {
    Settings { segment: SEGMENT, room, wait: Duration::from_secs(1), ..Settings::keep(entropy) }
}

/// Whatever is left of the disk: the log opens, and readers see what `allowed` allows.
impl World {
    pub fn new(seed: u64, how: Sabotage) -> World {
        let disk = PowerCutFs::new();
        let mut rng = Rng::new(seed);
        let room = *rng.pick(&[0, 512, 2048]);
        let model = (0..8).map(|n| (format!("/registry/pods/d/pod-{n}").into_bytes(), Slot::default()));
        let mut world = World {
            process: disk.process(),
            disk,
            how,
            log: None,
            model: model.collect(),
            rng,
            story: Vec::new(),
            opened: 0,
            room,
        };
        world.open(false).expect("a new log");
        world
    }

    pub fn tell(&mut self, what: impl Into<String>) {
        self.story.push(what.into());
    }

    pub fn fork(&self) -> World {
        let disk = self.disk.fork();
        World {
            process: disk.process(),
            disk,
            how: self.how,
            log: None,
            model: self.model.clone(),
            rng: self.rng.clone(),
            story: self.story.clone(),
            opened: self.opened,
            room: self.room,
        }
    }

    /// Opens the log in a new process; whether it came that far.
    pub fn start(&mut self) -> Result<bool, String> {
        self.opened += 1;
        let fs = Broken { disk: self.process.clone(), how: self.how };
        match Log::open(fs, Path::new(DIR), settings(self.opened, self.room)) {
            Ok(opened) => {
                let losses: Vec<&Trouble> = opened.troubles.iter().filter(|t| t.is_loss()).collect();
                if !losses.is_empty() {
                    return Err(format!("damage was told where there is none: {losses:?}"));
                }
                self.log = Some(opened.log);
                Ok(true)
            }
            Err(_) if self.process.is_dead() => Ok(false),
            Err(error) => Err(format!("the log does not open: {error}")),
        }
    }

    /// After a death or a power cut: what must be there is there, and nothing else.
    pub fn open(&mut self, power_went: bool) -> Check {
        self.log = None;
        self.process.kill();
        self.process = self.disk.process();
        if !self.start()? {
            return Err("a process died that nobody had killed".to_owned());
        }
        let log = self.log.as_ref().unwrap();
        for (key, slot) in &mut self.model {
            let found = log.get(key).map_err(|error| format!("after opening: {error}"))?;
            let mut allowed = vec![&slot.now];
            allowed.extend(&slot.maybe);
            if power_went {
                allowed.push(&slot.flushed);
                allowed.extend(&slot.since);
            }
            if !allowed.contains(&&found) {
                let key = String::from_utf8_lossy(key).into_owned();
                return Err(format!("{key}: {} is none of {:?}", shown(&found), shown_all(&allowed)));
            }
            // A power cut decides for good what the disk has.
            if power_went {
                slot.settle(found);
            } else {
                let old = std::mem::replace(&mut slot.now, found.clone());
                slot.since.extend([old, found]);
            }
        }
        self.look()
    }

    /// Every reader sees what was written last.
    pub fn look(&mut self) -> Check {
        let Some(log) = &self.log else { return Ok(()) };
        if self.process.is_dead() {
            return Ok(());
        }
        for (key, slot) in &self.model {
            let found = match log.get(key) {
                Err(_) if self.process.is_dead() => return Ok(()),
                other => other.map_err(|error| format!("a read failed: {error}"))?,
            };
            if found != slot.now {
                return Err(format!("a reader sees {}, not {}", shown(&found), shown(&slot.now)));
            }
        }
        let mut keys = Vec::new();
        let listed = log.keys(|found| keys.push((found.key.to_vec(), found.lost || found.doubtful)));
        if self.process.is_dead() {
            return Ok(());
        }
        listed.map_err(|error| format!("listing failed: {error}"))?;
        keys.sort();
        let wanted: Vec<_> = self.model.iter().filter(|(_, slot)| slot.now.is_some()).collect();
        if keys != wanted.iter().map(|(key, _)| ((*key).clone(), false)).collect::<Vec<_>>() {
            return Err(format!("{} keys are listed, {} are there", keys.len(), wanted.len()));
        }
        let mut all = BTreeMap::new();
        let swept = log.each(|found, value| {
            all.insert(found.key.to_vec(), value.ok().map(Cow::into_owned));
        });
        if self.process.is_dead() {
            return Ok(());
        }
        swept.map_err(|error| format!("reading everything failed: {error}"))?;
        if all != wanted.iter().map(|(key, slot)| ((*key).clone(), slot.now.clone())).collect() {
            return Err(format!("of {} values {} are read in one go", wanted.len(), all.len()));
        }
        let usage = log.usage();
        if usage.records != wanted.len() || usage.lost != 0 || usage.live > usage.total {
            return Err(format!("{usage:?} of {} records", wanted.len()));
        }
        Ok(())
    }

    /// A few changes at once.
    pub fn draw(&mut self) -> Vec<(Vec<u8>, Value)> {
        let keys: Vec<Vec<u8>> = self.model.keys().cloned().collect();
        let count = if self.rng.chance(70) { 1 } else { 1 + self.rng.index(4) };
        (0..count)
            .map(|_| {
                let key = self.rng.pick(&keys).clone();
                let len = match self.rng.below(20) {
                    0 => 5000 + self.rng.index(4000),
                    1..4 => 0,
                    4..8 => self.rng.index(1500),
                    _ => self.rng.index(200),
                };
                let value = self.rng.chance(75).then(|| self.rng.bytes(len));
                (key, value)
            })
            .collect()
    }

    pub fn append(&mut self, changes: &[(Vec<u8>, Value)]) -> Check {
        let Some(log) = &mut self.log else { return Ok(()) };
        let batch = changes.iter().fold(Batch::new(), |batch, (key, value)| match value {
            Some(value) => batch.put(key.clone(), value.clone()),
            None => batch.delete(key.clone()),
        });
        let done = log.append(&batch);
        for (key, value) in changes {
            let slot = self.model.get_mut(key).unwrap();
            if done.is_ok() {
                slot.since.push(value.clone());
                slot.now.clone_from(value);
            } else {
                slot.maybe.push(value.clone());
            }
        }
        self.expected(done)
    }

    pub fn flush(&mut self) -> Check {
        let Some(log) = &mut self.log else { return Ok(()) };
        let done = log.flush();
        if done.is_ok() && !self.process.is_dead() {
            for slot in self.model.values_mut() {
                let now = slot.now.clone();
                slot.settle(now);
            }
        }
        self.expected(done)
    }

    /// Errors are for those who died, and for disks that are full or fail.
    pub fn expected(&mut self, done: Result<(), Error>) -> Check {
        match done {
            Err(error) if !self.process.is_dead() && !matches!(error, Error::Io { .. }) => {
                Err(format!("an error that nothing explains: {error}"))
            }
            Err(error) => {
                self.tell(format!("  {error}"));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    pub fn power_cut(&mut self) -> Check {
        let seed = self.rng.next_u64();
        self.tell(format!("power cut {seed}"));
        self.process.clear_faults();
        self.disk.power_cut(seed);
        self.open(true)
    }

    pub fn tidy(&mut self, budget: usize) -> Check {
        let Some(log) = &mut self.log else { return Ok(()) };
        let done = log.tidy(budget).map(|_| ());
        self.expected(done)
    }

    /// The process dies at its call `n` from now, or after.
    pub fn doom(&mut self, n: usize, fault: Fault) {
        self.process.fail_after(n, fault);
    }
}

fn shown(value: &Value) -> String {
    match value {
        Some(bytes) => format!("{} bytes ({:?}…)", bytes.len(), &bytes[..bytes.len().min(4)]),
        None => "nothing".to_owned(),
    }
}

fn shown_all(values: &[&Value]) -> Vec<String> {
    values.iter().map(|value| shown(value)).collect()
}
