//! The bindings of one network, open under its locks: journal, index and directory kept in step.
//!
//! Order of a change: the journal says it, then the directory shows it, then the index knows it, last the directory is
//! sealed. A process that dies in between leaves a journal that is ahead (read on by the next one), a directory
//! without our seal (compared by the next one) or an index in the middle of a change (made anew by the next one).
//!
//! Only an ADD that was answered needs the disk: [`Store::finish`] hands out what has to be flushed, to be done after
//! the locks are gone, so that one flush serves all who wait.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use cni::retain::Policy;
use durable::flush::{FlushMark, Flushed};
use durable::fs::{File, Fs, Open};
use durable::journal::{self, Generation, Journal, Span};
use durable::place::create_dir_durably;

use crate::binding::{Binding, Class};
use crate::books::Books;
use crate::directory::{self, Directory};
use crate::error::{Attempt, Error};
use crate::index::{Index, Key, Trouble};
use crate::occupancy;
use crate::rebuild::{State, build_index, open_state, rewrite};
use crate::record::{Network, Record};

/// A journal shorter than this is never rewritten.
const SMALL: u64 = 256 * 1024;
/// Name of the file that says under which boot the network was opened last.
const BEGUN: &str = "boot";

/// Where the state of one network lies.
#[derive(Debug, Clone)]
pub struct Places {
    /// host-local's `<dataDir>/<network>`.
    pub data: PathBuf,
    /// The durable directory: journal and lock.
    pub state: PathBuf,
    /// The volatile directory: index and flush mark.
    pub run: PathBuf,
    /// libcni's cache of results (`/var/lib/cni/results`), where the pods of foreign leases are looked up.
    pub cni_cache: PathBuf,
    /// The name of the network.
    pub network: String,
}

/// What the caller knows of the moment.
#[derive(Debug, Clone)]
pub struct Now {
    /// The kernel's id of this boot.
    pub boot: String,
    /// The wall clock, in seconds since 1970; it may be wrong.
    pub wall: i64,
    /// Seconds since this boot.
    pub uptime: u64,
    /// A random number.
    pub entropy: u64,
}

/// The bindings of one network, locked.
pub struct Store<'a, F: Fs> {
    pub(crate) fs: &'a F,
    pub(crate) places: &'a Places,
    pub(crate) now: &'a Now,
    pub(crate) policy: &'a Policy,
    pub(crate) directory: Directory<'a, F>,
    pub(crate) journal: Journal<F>,
    pub(crate) index: Index<F>,
    /// Bindings that ended in this call because another pod needed the address.
    pub(crate) reused: u64,
    _lock: F::File,
    mark: FlushMark,
    flush_to: u64,
    sealed: bool,
    consistent: bool,
    index_lost: bool,
    fresh: bool,
    /// Whether nobody has opened the network under this boot before.
    pub(crate) first_call: bool,
    notes: Vec<String>,
}

/// What has to be made durable before an answer may be given.
#[must_use = "an answer is a promise only after the flush"]
pub struct Flush<'a, F: Fs> {
    fs: &'a F,
    mark: FlushMark,
    file: F::File,
    generation: Generation,
    offset: u64,
    wait: Duration,
}

impl<F: Fs> Flush<'_, F> {
    /// Makes it durable, together with what others wait for.
    pub fn run(self) -> Result<(), Error> {
        let flushed = self.mark.flush(self.fs, &self.file, self.generation, self.offset, self.wait);
        flushed.map_err(|e| match e.kind() {
            io::ErrorKind::TimedOut => {
                Error::Locked { path: self.mark.path().to_path_buf(), seconds: self.wait.as_secs().max(1) }
            }
            _ => Error::NotDurable(e),
        })
    }
}

/// Takes over what other programs left in the directory of a network, without any command. Returns what the operator
/// should know.
pub fn take_over<F: Fs>(fs: &F, places: &Places, now: &Now, policy: &Policy) -> Result<Vec<String>, Error> {
    let (flush, notes) = Store::open(fs, places, now, policy)?.finish();
    flush.map_or(Ok(()), Flush::run)?;
    Ok(notes)
}

impl<'a, F: Fs> Store<'a, F> {
    /// Opens the state of a network: takes the locks (waiting for all of them together, and for the flush at the end,
    /// no longer than the policy says), reads what others have written since, takes over what other
    /// programs have changed in the directory.
    pub fn open(fs: &'a F, places: &'a Places, now: &'a Now, policy: &'a Policy) -> Result<Self, Error> {
        let directory = Directory::lock(fs, &places.data, policy.lock_timeout / 2)?;
        create_dir_durably(fs, &places.state, 0o700).attempt("create directory", &places.state)?;
        fs.create_dir_all(&places.run, 0o700).attempt("create directory", &places.run)?;
        // The lock in dataDir keeps stock host-local out; this one, whoever has another dataDir for the same network.
        let lock_path = places.state.join("lock");
        let lock = fs.open(&lock_path, Open::Create(0o600)).attempt("open", &lock_path)?;
        directory::take(&lock, &lock_path, policy.lock_timeout / 4)?;

        let mark = FlushMark::in_dir(&places.run);
        let State { journal, index, notes, fresh } = open_state(fs, places, now, &mark)?;
        let mut store = Store {
            fs,
            places,
            now,
            policy,
            directory,
            journal,
            reused: 0,
            index,
            _lock: lock,
            mark,
            flush_to: 0,
            sealed: true,
            consistent: true,
            index_lost: false,
            fresh,
            first_call: !is_begun(fs, places, now),
            notes,
        };
        store.sealed = store.index.seal == Some(store.directory.seal()?);
        if !store.sealed {
            store.adopt()?;
        }
        Ok(store)
    }

    /// Leaves the state whole on disk and drops the locks. What is returned must be run before an ADD is answered;
    /// the strings are for the operator.
    pub fn finish(mut self) -> (Option<Flush<'a, F>>, Vec<String>) {
        if !self.sealed {
            let seal = self.consistent.then(|| self.directory.set_seal(self.now.wall));
            self.index.seal = seal.flatten();
        }
        if self.first_call && self.consistent {
            note_begun(self.fs, self.places, self.now);
        }
        self.index.generation = self.journal.generation();
        self.index.tail = self.journal.tail();
        let untouched = self.sealed && self.index.is_clean();
        if self.index_lost || (!untouched && self.index.save().is_err()) {
            Index::<F>::discard(self.fs, &self.places.run);
        }
        let generation = self.journal.generation();
        let flush = (self.flush_to > 0).then(|| Flush {
            fs: self.fs,
            mark: self.mark,
            file: self.journal.into_file(),
            generation,
            offset: self.flush_to,
            wait: self.policy.lock_timeout / 4,
        });
        (flush, self.notes)
    }

    /// Whether the index had to be made anew: the first call of a boot, or the first after something went wrong.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Says something to the operator, once the command is done.
    pub(crate) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// The directory is about to be changed by us. Until [`Store::consistent`], whatever goes wrong leaves it for the
    /// next call to compare with the journal.
    pub(crate) fn unseal(&mut self) {
        (self.sealed, self.consistent) = (false, false);
    }

    /// Journal, directory and index say the same again.
    pub(crate) fn consistent(&mut self) {
        self.consistent = true;
    }

    /// Whether a binding that is about to be reported must be flushed first; remembers it if so.
    pub(crate) fn need_durable(&mut self, slot: u32) -> Result<(), Error> {
        let Some(place) = self.place(slot)? else { return Ok(()) };
        if place.durable_at > 0 {
            let generation = self.journal.generation();
            match self.mark.read(self.fs, generation).attempt("read", self.mark.path())? {
                Flushed::UpTo(end) if end >= place.durable_at => {}
                _ => self.flush_to = self.flush_to.max(place.durable_at),
            }
        }
        Ok(())
    }

    /// A slot for a new binding.
    pub(crate) fn free_slot(&self) -> Result<u32, Error> {
        self.index.free_slot().ok_or_else(|| Error::Full { state: self.places.state.clone() })
    }

    /// Whatever has been written so far is to be flushed before the next answer.
    pub(crate) fn need_flush(&mut self) {
        self.flush_to = self.journal.tail().end;
    }

    /// Makes all that has been written so far durable, at once.
    pub(crate) fn flush_now(&mut self) -> Result<(), Error> {
        let journal = Journal::open(self.fs, &self.places.state)?;
        let (generation, end) = (self.journal.generation(), self.journal.tail().end);
        let Some(journal) = journal else { return Err(Error::Interfered(self.places.state.clone())) };
        let wait = self.policy.lock_timeout / 4;
        self.mark.flush(self.fs, &journal.into_file(), generation, end, wait).map_err(Error::NotDurable)
    }

    /// Writes a record and lets the index know.
    pub(crate) fn commit(&mut self, record: &Record) -> Result<(), Error> {
        let span = self.append(record)?;
        self.apply(record, span)
    }

    /// Writes a record; [`Store::apply`] must follow.
    pub(crate) fn append(&mut self, record: &Record) -> Result<Span, Error> {
        if self.journal.tail().end > SMALL.max(self.index.live_bytes.saturating_mul(3)) {
            let generation = self.journal.generation();
            if let Err(e) = self.rewrite() {
                // A disk too full for a new journal still takes a record, as long as the old journal is in place.
                let there = Journal::open(self.fs, &self.places.state)?.map(|journal| journal.generation());
                if self.journal.generation() != generation || there != Some(generation) {
                    self.index_lost = true;
                    return Err(e);
                }
                self.note(format!("the journal was not written anew: {e}"));
            }
        }
        Ok(self.journal.append(&record.encode())?)
    }

    /// Lets the index know of a record that stands in the journal.
    pub(crate) fn apply(&mut self, record: &Record, span: Span) -> Result<(), Error> {
        let boot = &self.now.boot;
        let mut books = Books { journal: &self.journal, index: &mut self.index, boot };
        match books.index.begin().and_then(|()| books.apply(record, span)) {
            Ok(()) if !self.index.is_crowded() => {}
            Ok(()) | Err(Trouble::Full) => {
                let seal = self.index.seal;
                self.index_lost = true;
                self.index = build_index(self.fs, self.places, self.now, &mut self.journal, &mut Vec::new())?;
                self.index.seal = seal;
                self.index_lost = false;
            }
            Err(Trouble::Io(path, source)) => {
                self.index_lost = true;
                return Err(Error::Io { what: "use", path, source });
            }
        }
        Ok(())
    }

    /// Writes the journal anew with only what is still true.
    fn rewrite(&mut self) -> Result<(), Error> {
        let seal = self.index.seal;
        self.journal = rewrite(self.fs, self.places, self.now, &self.journal, &self.index)?;
        // A flush that is owed is owed no more: the new journal was flushed as a whole.
        self.flush_to = 0;
        let (generation, end) = (self.journal.generation(), self.journal.tail().end);
        self.mark.set(self.fs, generation, end).attempt("write", self.mark.path())?;
        self.index = build_index(self.fs, self.places, self.now, &mut self.journal, &mut Vec::new())?;
        self.index.seal = seal;
        Ok(())
    }

    /// What is on record about the network.
    pub(crate) fn network(&self) -> Result<Network, Error> {
        let Some(span) = self.index.network else { return Ok(Network::default()) };
        match Record::decode(&self.read(span)?) {
            Some(Record::Network(network)) => Ok(network),
            _ => Ok(Network::default()),
        }
    }

    fn read(&self, span: Span) -> Result<Vec<u8>, Error> {
        let bytes = self.journal.read(span);
        if matches!(bytes, Err(journal::Error::Unreadable { .. })) {
            // The next call reads the whole journal and makes the best of it.
            Index::<F>::discard(self.fs, &self.places.run);
        }
        Ok(bytes?)
    }

    /// The place of a slot.
    pub(crate) fn place(&self, slot: u32) -> Result<Option<crate::index::Place>, Error> {
        self.index.place(slot).map_err(trouble)
    }

    /// The binding in a slot.
    pub(crate) fn binding(&self, slot: u32) -> Result<Option<Binding>, Error> {
        let Some(place) = self.place(slot)? else { return Ok(None) };
        match Record::decode(&self.read(place.span)?) {
            Some(Record::Bind { binding, .. }) => Ok(Some(binding)),
            _ => Ok(None),
        }
    }

    /// The bindings filed under a key that pass `want`, with their slots.
    pub(crate) fn find(
        &self,
        key: Key<'_>,
        want: impl Fn(&Binding) -> bool,
    ) -> Result<Vec<(u32, Binding)>, Error> {
        let mut found = Vec::new();
        for slot in self.index.find(key).map_err(trouble)? {
            let Ok(slot) = u32::try_from(slot) else { continue };
            if let Some(binding) = self.binding(slot)?.filter(&want) {
                found.push((slot, binding));
            }
        }
        Ok(found)
    }

    /// The binding that has an address.
    pub(crate) fn by_address(&self, address: std::net::IpAddr) -> Result<Option<(u32, Binding)>, Error> {
        let key = Key::Address(occupancy::number(address));
        Ok(self.find(key, |binding| binding.addresses.contains(&address))?.pop())
    }

    /// The binding that was last with a container's interface, as the lease file names it.
    pub(crate) fn by_container(&self, id: &str, ifname: &str) -> Result<Option<(u32, Binding)>, Error> {
        let key = Key::Container(id, ifname);
        Ok(self.find(key, |b| b.container == id && b.file_ifname() == ifname)?.pop())
    }

    /// The slots of a class, first to last, as they are now.
    pub(crate) fn slots(&self, class: Class) -> Result<Vec<u32>, Error> {
        let mut slots = Vec::with_capacity(self.index.count(class) as usize);
        let mut next = self.index.first(class);
        while let Some(slot) = next {
            slots.push(slot);
            next = self.index.next(slot).map_err(trouble)?;
        }
        Ok(slots)
    }
}

/// Whether the network has been opened under this boot: noted in both directories, for either may be swept away while
/// sandboxes run. Never flushed: what a power cut takes is of an earlier boot.
fn is_begun<F: Fs>(fs: &F, places: &Places, now: &Now) -> bool {
    [&places.run, &places.state].into_iter().any(|dir| {
        durable::fs::read(fs, &dir.join(BEGUN), 1024).is_ok_and(|boot| boot == now.boot.as_bytes())
    })
}

/// Should this fail, the next call takes itself for the first, and the journal knows better.
fn note_begun<F: Fs>(fs: &F, places: &Places, now: &Now) {
    for dir in [&places.run, &places.state] {
        let made = fs.open(&dir.join(BEGUN), Open::Create(0o600));
        let _ = made.and_then(|file| file.set_len(0).and_then(|()| file.write_at(now.boot.as_bytes(), 0)));
    }
}

pub(crate) fn trouble(trouble: Trouble) -> Error {
    match trouble {
        Trouble::Io(path, source) => Error::Io { what: "use", path, source },
        Trouble::Full => Error::Io {
            what: "use",
            path: PathBuf::from("index"),
            source: io::Error::from(io::ErrorKind::StorageFull),
        },
    }
}
