//! The hub's store: the two logs of design §6.6, read once at the start and then written by threads of their own.
//!
//! What is on the disk is always older than all that is not: once a record could not be written, none after it is, until
//! the hub starts anew. So a full disk leaves the state of some moment, and no sync mark without what it vouches for.

mod in_order;
mod unwritten;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use durable::fs::Fs as _;
use durable::objects::rounds::{Durability, Job};
use durable::objects::writer::{Pace, Refused, Writer};
use durable::objects::{self, Batch, Cipher, Log as ObjectLog, Reader, Settings, Trouble};
use durable::os::OsFs;
use durable::seal::Sealer;
use durable::seal::key::Key as SealKey;
use tokio::sync::mpsc::UnboundedSender;
use view::{Key, Loading, Log, Record, ResourceId, Shelf, Write};

use crate::error::{Error, Result};
use in_order::InOrder;
use unwritten::Unwritten;

/// The credential of the service manager that holds the sealing key (systemd.exec(5), `LoadCredential=`).
const CREDENTIAL: &str = "edgekeep-seal-key";
/// Keys of records that are the hub's own and not the view's begin with this byte, which no text does.
pub const OWN: u8 = 0xff;

/// How far a log has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Which.
    pub log: Log,
    /// Up to which of the view's writes.
    pub number: u64,
    /// Whether they survive a power cut, or are only with the kernel.
    pub flushed: bool,
    /// Whether they are in the log at all, and not given up because it takes nothing.
    pub stored: bool,
}

/// Both logs.
pub struct Store {
    keep: Half,
    cache: Half,
    /// Records of the hub's own.
    unwritten: Unwritten,
    progress: UnboundedSender<Progress>,
}

struct Half {
    log: Log,
    /// Or why nothing is stored.
    open: std::result::Result<Open, String>,
    /// What the thread did not take yet, in order.
    waiting: Mutex<VecDeque<Job>>,
}

struct Open {
    writer: Writer,
    reader: Reader<OsFs>,
    stopped: Arc<AtomicBool>,
}

/// How a log is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Bytes of its files.
    pub bytes: u64,
    /// How often it was flushed since the hub began.
    pub flushes: u64,
    /// Why nothing is stored, or not any more.
    pub failing: Option<String>,
}

/// The record of the hub's own with this key.
pub type OwnRecord = (Vec<u8>, Vec<u8>);

/// The hub's own records, as they were found.
#[derive(Debug, Default)]
pub struct OwnRecords {
    /// Those that can be read.
    pub found: Vec<OwnRecord>,
    /// Keys of those that are known to have been there and cannot be read any more.
    pub lost: Vec<Vec<u8>>,
}

impl Store {
    /// Opens both logs under `dir` and hands what is in them to `loading`; what is the hub's own comes back. A log that
    /// cannot be opened stores nothing, which [`Store::standing`] says: a node is better off with a hub that only passes
    /// requests on than with none.
    ///
    /// # Errors
    ///
    /// The sealing key cannot be had, or the system gives no threads.
    pub fn open(
        dir: &Path,
        progress: UnboundedSender<Progress>,
        loading: &mut Loading,
    ) -> Result<(Store, OwnRecords)> {
        let cipher: Arc<dyn Cipher> = Arc::new(sealer(dir)?);
        let mut own = OwnRecords::default();
        let keep = Half::open(Log::Keep, &dir.join("keep"), &cipher, loading, &mut own)?;
        let cache = Half::open(Log::Cache, &dir.join("cache"), &cipher, loading, &mut own)?;
        Ok((Store { keep, cache, unwritten: Unwritten::default(), progress }, own))
    }

    fn half(&self, log: Log) -> &Half {
        match log {
            Log::Keep => &self.keep,
            Log::Cache => &self.cache,
        }
    }

    /// Writes what the view wants written; [`Progress`] tells how far that is.
    pub fn write(&self, write: Write) {
        let Write { log, number, records, flush } = write;
        let batch = batch(records);
        let progress = self.progress.clone();
        self.half(log).submit(batch, flush, move |stored| {
            // Nobody listens any more when the hub ends.
            let _ = progress.send(Progress { log, number, flushed: flush, stored });
        });
    }

    /// Stores a record of the hub's own in the log `keep`, sealed; `None` removes it.
    pub fn write_own(&self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let arrived = self.unwritten.add(&key, value.as_deref());
        let batch = match value {
            Some(value) => Batch::new().put_sealed(key, value),
            None => Batch::new().delete(key),
        };
        self.keep.submit(batch, false, move |_| arrived());
    }

    /// Stores records that stand for themselves, flushed, in one step. `done` is called by another thread, once, and told
    /// whether they are stored: other than what is only cached, it was not written where they are not.
    pub fn stage(
        &self,
        records: Vec<Record>,
        done: impl FnOnce(std::result::Result<(), String>) + Send + 'static,
    ) {
        self.keep.hand_over(batch(records), Durability::Flushed, done);
    }

    /// The record of the hub's own under this key; `None` if there is none, or it cannot be read.
    pub fn own(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.unwritten.get(key).unwrap_or_else(|| self.keep.reader().get(key))
    }

    /// The record of an object; `None` if it cannot be read.
    pub fn object(&self, resource: &ResourceId, key: &Key) -> Option<Vec<u8>> {
        self.keep.reader().fetch(&self.cache.reader(), resource, key)
    }

    /// Reads objects beside the writers.
    pub fn shelf(&self) -> Box<dyn Shelf> {
        Box::new(Shelves { keep: self.keep.reader(), cache: self.cache.reader() })
    }

    /// Hands over what had to wait for the disk; called when [`Progress`] came.
    pub fn pump(&self) {
        self.keep.pump();
        self.cache.pump();
    }

    /// How the logs are doing: `keep`, `cache`.
    #[must_use]
    pub fn standing(&self) -> [Standing; 2] {
        [self.keep.standing(), self.cache.standing()]
    }
}

fn batch(records: impl IntoIterator<Item = Record>) -> Batch {
    records.into_iter().fold(Batch::new(), |batch, record| match record {
        Record::Put { key, value, seal: true } => batch.put_sealed(key, value),
        Record::Put { key, value, seal: false } => batch.put(key, value),
        Record::Delete { key } => batch.delete(key),
    })
}

/// Records of the hub's own that stand for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// What waits for the cloud.
    Staged,
    /// What became of it.
    Report,
}

impl Own {
    fn prefix(self) -> [u8; 2] {
        match self {
            Own::Staged => [OWN, b'o'],
            Own::Report => [OWN, b'p'],
        }
    }

    /// The key in the log.
    #[must_use]
    pub fn key(self, key: &[u8]) -> Vec<u8> {
        [&self.prefix()[..], key].concat()
    }

    /// The record with its key in the log, sealed.
    #[must_use]
    pub fn record(self, record: Record) -> Record {
        match record {
            Record::Put { key, value, .. } => Record::Put { key: self.key(&key), value, seal: true },
            Record::Delete { key } => Record::Delete { key: self.key(&key) },
        }
    }

    /// What [`Own::key`] was made of, if this is the key of such a record.
    #[must_use]
    pub fn strip(self, key: &[u8]) -> Option<&[u8]> {
        key.strip_prefix(&self.prefix()[..])
    }

    /// Whether this is the key of such a record.
    #[must_use]
    pub fn is(self, key: &[u8]) -> bool {
        key.starts_with(&self.prefix())
    }
}

fn stands_for_itself(batch: &Batch) -> bool {
    let mut keys = batch.iter().map(|(key, ..)| key).peekable();
    keys.peek().is_some() && keys.all(|key| Own::Staged.is(key) || Own::Report.is(key))
}

/// One log's reader, if there is one.
#[derive(Clone)]
struct MaybeReader(Option<Reader<OsFs>>);

impl MaybeReader {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        match self.0.as_ref()?.get(key) {
            Ok(value) => value,
            Err(e) => {
                tracing::error!("{e}");
                None
            }
        }
    }

    fn fetch(&self, other: &MaybeReader, resource: &ResourceId, key: &Key) -> Option<Vec<u8>> {
        let key = view::object_key(resource, key);
        self.get(&key).or_else(|| other.get(&key))
    }
}

struct Shelves {
    keep: MaybeReader,
    cache: MaybeReader,
}

impl Shelf for Shelves {
    fn fetch(&self, resource: &ResourceId, key: &Key) -> Option<Arc<[u8]>> {
        let value = self.keep.fetch(&self.cache, resource, key)?;
        view::object_bytes(&value).map(Into::into)
    }
}

impl Half {
    fn open(
        log: Log,
        dir: &Path,
        cipher: &Arc<dyn Cipher>,
        loading: &mut Loading,
        own: &mut OwnRecords,
    ) -> Result<Half> {
        let waiting = Mutex::default();
        let entropy = crate::tls::random()?;
        let entropy = entropy.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let settings = match log {
            Log::Keep => Settings::keep(entropy),
            Log::Cache => Settings::cache(entropy),
        };
        let settings = Settings { cipher: Some(cipher.clone()), ..settings };
        let opened = match (ObjectLog::open(OsFs, dir, settings.clone()), log) {
            // It can be filled again. One of a newer release is that one's.
            (Err(e), Log::Cache) if !matches!(e, objects::Error::Newer { .. }) => {
                tracing::error!("{e}: the cache is thrown away");
                let removed = ObjectLog::remove(&OsFs, dir, Duration::from_secs(10));
                removed.and_then(|()| ObjectLog::open(OsFs, dir, settings))
            }
            (opened, _) => opened,
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(e) => {
                tracing::error!("nothing is stored: {e}");
                loading.lost_unknown(log);
                return Ok(Half { log, open: Err(e.to_string()), waiting });
            }
        };
        for trouble in &opened.troubles {
            tracing::warn!("{}: {trouble}", dir.display());
            match trouble {
                Trouble::Lost { key, .. } => lost(log, key, loading, own),
                trouble if trouble.is_loss() => loading.lost_unknown(log),
                _ => {}
            }
        }
        read(log, &opened.log, loading, own);
        let reader = opened.log.reader();
        let stopped = Arc::new(AtomicBool::new(false));
        let engine = InOrder::new(opened.log, stopped.clone(), stands_for_itself);
        let writer =
            Writer::start(engine, Pace::default()).map_err(|e| Error::with("the store's thread", e))?;
        Ok(Half { log, open: Ok(Open { writer, reader, stopped }), waiting })
    }

    fn reader(&self) -> MaybeReader {
        MaybeReader(self.open.as_ref().ok().map(|open| open.reader.clone()))
    }

    /// Hands a batch over; `done` is called when it has come as far as asked, or never will, and is told which: a full disk
    /// stops caching, not serving.
    fn submit(&self, batch: Batch, flush: bool, done: impl FnOnce(bool) + Send + 'static) {
        let Ok(open) = &self.open else { return done(false) };
        let until = if flush { Durability::Flushed } else { Durability::Written };
        let stopped = open.stopped.clone();
        self.hand_over(batch, until, move |result| done(result.is_ok() && !stopped.load(Ordering::Relaxed)));
    }

    /// Hands a batch over; `done` is told how that ended.
    fn hand_over(
        &self,
        batch: Batch,
        until: Durability,
        done: impl FnOnce(std::result::Result<(), String>) + Send + 'static,
    ) {
        let open = match &self.open {
            Ok(open) => open,
            Err(why) => return done(Err(why.clone())),
        };
        let log = self.log;
        let done = Box::new(move |result: std::result::Result<(), Arc<objects::Error>>| {
            if let Err(e) = &result {
                tracing::error!("the log {log:?}: {e}");
            }
            done(result.map_err(|e| e.to_string()));
        });
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back(Job { batch, until, done });
        while let Some(job) = waiting.pop_front() {
            match open.writer.submit(job.batch, job.until, job.done) {
                Ok(()) => {}
                Err(Refused::Busy(job)) => {
                    waiting.push_front(job);
                    break;
                }
                // The hub ends: nobody is told that it is stored, for it is not.
                Err(Refused::Ended(job)) => drop(job),
            }
        }
    }

    /// Hands over what had to wait.
    fn pump(&self) {
        if !self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            self.submit(Batch::new(), false, |_| {});
        }
    }

    fn standing(&self) -> Standing {
        match &self.open {
            Ok(open) => {
                let standing = open.writer.standing();
                let stopped = open.stopped.load(Ordering::Relaxed);
                let text = "something could not be written earlier: restart the hub once there is space";
                let failing = standing.failing.or_else(|| stopped.then(|| text.to_owned()));
                Standing { bytes: standing.usage.total, flushes: standing.usage.flushes, failing }
            }
            Err(why) => Standing { bytes: 0, flushes: 0, failing: Some(why.clone()) },
        }
    }
}

/// A record is lost. One of the hub's own takes nothing with it: only of the view's one says that others are complete.
fn lost(log: Log, key: &[u8], loading: &mut Loading, own: &mut OwnRecords) {
    if key.first() != Some(&OWN) {
        loading.lost(log, key);
    } else if !own.lost.iter().any(|known| known == key) {
        own.lost.push(key.to_vec());
    }
}

/// Reads every record of a log.
fn read(log: Log, opened: &ObjectLog<OsFs>, loading: &mut Loading, own: &mut OwnRecords) {
    let listed = opened.each(|found, value| match value {
        Ok(value) if found.key.first() == Some(&OWN) => {
            own.found.push((found.key.to_vec(), value.into_owned()));
        }
        Ok(value) => loading.record(log, found.key, &value),
        Err(e) => {
            // What is known to be lost was told when the log was opened.
            if !found.lost {
                tracing::error!("{e}");
            }
            lost(log, found.key, loading, own);
        }
    });
    if let Err(e) = listed {
        tracing::error!("{e}");
        loading.lost_unknown(log);
    }
}

/// What seals secrets: with the service manager's key, or with one in a file that is made at the first start.
fn sealer(dir: &Path) -> Result<Sealer> {
    let credential =
        std::env::var_os("CREDENTIALS_DIRECTORY").map(|given| Path::new(&given).join(CREDENTIAL));
    let credential = credential.filter(|path| OsFs.metadata(path).is_ok());
    let file = dir.join("seal.key");
    let wrong = |e: &dyn std::fmt::Display| Error::new(format!("the key that seals secrets: {e}"));
    let in_file = |make: bool| {
        let owner = {
            use std::os::unix::fs::MetadataExt as _;
            std::fs::metadata("/proc/self").map_err(|e| wrong(&e))?.uid()
        };
        if !make && OsFs.metadata(&file).is_err() {
            return Ok(None);
        }
        SealKey::load_or_create(&OsFs, &file, owner, SealKey::random).map(Some).map_err(|e| wrong(&e))
    };
    let (current, older) = match credential {
        Some(path) => {
            let key = SealKey::from_credential(&OsFs, &path).map_err(|e| wrong(&e))?;
            // What was sealed before there was a credential can still be opened.
            (key, in_file(false)?)
        }
        None => {
            let key = in_file(true)?.ok_or_else(|| wrong(&"there is none"))?;
            (key, None)
        }
    };
    Sealer::new(&current, older.as_slice()).map_err(|e| wrong(&e))
}
