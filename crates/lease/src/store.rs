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
use durable::journal::{self, Generation, Journal, Seen, Span};
use durable::place::create_dir_durably;

use crate::binding::{Binding, Class};
use crate::directory::{self, Directory};
use crate::error::{Attempt, Error};
use crate::index::{Index, Key, Trouble};
use crate::occupancy;
use crate::record::{Network, Record};

/// A journal shorter than this is never rewritten.
const SMALL: u64 = 256 * 1024;
/// How many records are held at a time while the index is made anew.
const BATCH: usize = 256;
/// The most of a damaged stretch that is kept for people to look at, in bytes.
const KEEP_DAMAGED: usize = 64 * 1024;

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
    settled: bool,
    index_lost: bool,
    fresh: bool,
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
            settled: true,
            index_lost: false,
            fresh,
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
            let seal = self.settled.then(|| self.directory.set_seal(self.now.wall));
            self.index.seal = seal.flatten();
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

    /// The directory is about to be changed by us. Until [`Store::settled`], whatever goes wrong leaves it for the
    /// next call to compare with the journal.
    pub(crate) fn unseal(&mut self) {
        (self.sealed, self.settled) = (false, false);
    }

    /// Journal, directory and index say the same again.
    pub(crate) fn settled(&mut self) {
        self.settled = true;
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

struct State<F: Fs> {
    journal: Journal<F>,
    index: Index<F>,
    notes: Vec<String>,
    fresh: bool,
}

/// Journal and index, in step with each other.
fn open_state<F: Fs>(fs: &F, places: &Places, now: &Now, mark: &FlushMark) -> Result<State<F>, Error> {
    let mut notes = Vec::new();
    let mut journal = match Journal::open(fs, &places.state)? {
        Some(journal) => journal,
        None => Journal::replace(fs, &places.state, now.entropy, |_| Ok(()))?,
    };
    let index = match Index::open(fs, &places.run, &now.boot) {
        Some(index) if index.generation == journal.generation() && index.tail.end <= journal.size() => {
            catch_up(fs, places, now, &mut journal, index)?
        }
        _ => None,
    };
    let fresh = index.is_none();
    let mut index = match index {
        Some(index) => index,
        None => build_index(fs, places, now, &mut journal, &mut notes)?,
    };
    let damaged = !notes.is_empty();
    let broken = mark.read(fs, journal.generation()).attempt("read", mark.path())? == Flushed::Broken;
    if broken || damaged {
        // Damage was put aside by the scan; after a failed flush only a new file is known to be whole.
        journal = rewrite(fs, places, now, &journal, &index)?;
        let tail = journal.tail();
        mark.set(fs, journal.generation(), tail.end).attempt("write", mark.path())?;
        index = build_index(fs, places, now, &mut journal, &mut notes)?;
    }
    Ok(State { journal, index, notes, fresh })
}

/// Reads on where the index has stopped: what processes wrote that died before they could tell it.
fn catch_up<F: Fs>(
    fs: &F,
    places: &Places,
    now: &Now,
    journal: &mut Journal<F>,
    mut index: Index<F>,
) -> Result<Option<Index<F>>, Error> {
    let mut missed = Vec::new();
    journal.scan(Some(index.tail), usize::MAX, |seen| {
        if let Seen::Record(span, bytes) = seen {
            missed.push((span, Record::decode(bytes)));
        }
        Ok(())
    })?;
    if missed.is_empty() {
        return Ok(Some(index));
    }
    for (span, record) in missed {
        let Some(record) = record else { continue };
        let mut books = Books { journal, index: &mut index, boot: &now.boot };
        match books.index.begin().and_then(|()| books.apply(&record, span)) {
            Ok(()) => {}
            Err(Trouble::Full) => {
                Index::<F>::discard(fs, &places.run);
                return Ok(None);
            }
            Err(other) => return Err(trouble(other)),
        }
    }
    // Who died there may have changed the directory too.
    index.seal = None;
    Ok(Some(index))
}

/// Makes the index anew from the whole journal.
fn build_index<F: Fs>(
    fs: &F,
    places: &Places,
    now: &Now,
    journal: &mut Journal<F>,
    notes: &mut Vec<String>,
) -> Result<Index<F>, Error> {
    let run = &places.run;
    // A record takes about 160 bytes and five pairs.
    let mut expected = journal.size() / 32;
    loop {
        let created = Index::create(fs, run, &now.boot, now.entropy, expected);
        let mut index = created.attempt("create the index in", run)?;
        let mut full = false;
        let mut damaged = Vec::new();
        let mut records = Vec::new();
        // Records are applied in batches: what they replace is read through the journal, which is being scanned.
        let mut tail = None;
        while !full {
            records.clear();
            let done = journal.scan(tail, BATCH, |seen| {
                match seen {
                    Seen::Record(span, bytes) => records.push((span, Record::decode(bytes))),
                    Seen::Damaged(span) => damaged.push((span, false)),
                    Seen::Torn(span) => damaged.push((span, true)),
                }
                Ok(())
            })?;
            for (span, record) in &records {
                let Some(record) = record else { continue };
                let mut books = Books { journal, index: &mut index, boot: &now.boot };
                match books.apply(record, *span) {
                    Ok(()) => full = index.is_crowded(),
                    Err(Trouble::Full) => full = true,
                    Err(other) => return Err(trouble(other)),
                }
                if full {
                    break;
                }
            }
            if done {
                break;
            }
            tail = Some(journal.tail());
        }
        if full {
            expected = expected.max(u64::from(index.pairs())).saturating_mul(2);
            continue;
        }
        for (span, torn) in damaged {
            notes.push(quarantine(fs, places, journal, span, torn));
        }
        index.generation = journal.generation();
        index.tail = journal.tail();
        index.install(fs, run).map_err(trouble)?;
        return Ok(index);
    }
}

/// Keeps what cannot be read for people to look at, and says so.
fn quarantine<F: Fs>(fs: &F, places: &Places, journal: &Journal<F>, span: Span, torn: bool) -> String {
    let path = places.state.join(format!("damaged-{:016x}-{}", journal.generation(), span.offset));
    let kept = journal.raw(span, KEEP_DAMAGED).ok().and_then(|bytes| {
        let file = fs.open(&path, Open::Create(0o600)).ok()?;
        file.write_at(&bytes, 0).ok()
    });
    let place = format!("{} bytes at offset {} of {}/journal", span.len, span.offset, places.state.display());
    let kept = match kept {
        Some(()) => format!("a copy is in {}", path.display()),
        None => "no copy could be kept".to_owned(),
    };
    if torn {
        format!("{place} are the unfinished end of a write that a crash cut off; {kept}")
    } else {
        format!(
            "{place} cannot be read: damaged by the disk, or never flushed before a power cut; every other record was used; {kept}"
        )
    }
}

/// Writes a new journal with what is still true, flushed, in the place of the old one.
fn rewrite<F: Fs>(
    fs: &F,
    places: &Places,
    now: &Now,
    journal: &Journal<F>,
    index: &Index<F>,
) -> Result<Journal<F>, Error> {
    let generation = now.entropy.wrapping_add(journal.tail().seq).max(1);
    let failed = |e: Trouble| match trouble(e) {
        Error::Io { what, path, source } => journal::Error::Io { what, path, source },
        other => journal::Error::Io {
            what: "use the index in",
            path: places.run.clone(),
            source: io::Error::other(other.to_string()),
        },
    };
    let new = Journal::replace(fs, &places.state, generation, |writer| {
        if let Some(span) = index.network {
            writer.add(&journal.read(span)?)?;
        }
        for class in Class::ALL {
            let mut next = index.first(class);
            while let Some(slot) = next {
                if let Some(place) = index.place(slot).map_err(failed)? {
                    writer.add(&journal.read(place.span)?)?;
                }
                next = index.next(slot).map_err(failed)?;
            }
        }
        Ok(())
    })?;
    Ok(new)
}

/// What changes the index: the same for a record just written and for one read back.
struct Books<'a, F: Fs> {
    journal: &'a Journal<F>,
    index: &'a mut Index<F>,
    boot: &'a str,
}

impl<F: Fs> Books<'_, F> {
    fn apply(&mut self, record: &Record, span: Span) -> Result<(), Trouble> {
        match record {
            Record::Bind { slot, binding } => self.bind(*slot, binding, span),
            Record::End { slot } => self.end(*slot),
            Record::Network(_) => {
                self.index.network = Some(span);
                Ok(())
            }
        }
    }

    fn bind(&mut self, slot: u32, binding: &Binding, span: Span) -> Result<(), Trouble> {
        let old = self.read(slot)?;
        let same = |old: &Binding| old.identity == binding.identity && old.addresses == binding.addresses;
        let durable_at = match (&old, self.index.place(slot)?) {
            // What was written under an earlier boot has been read back from the disk.
            _ if binding.boot != self.boot && !binding.boot.is_empty() => 0,
            (Some(old), Some(place)) if same(old) => place.durable_at,
            _ => span.end(),
        };
        if let Some(old) = &old {
            self.unfile(slot, old, Some(binding))?;
            self.index.take(slot)?;
        }
        for address in &binding.addresses {
            let number = occupancy::number(*address);
            for other in self.index.find(Key::Address(number))? {
                let other = u32::try_from(other).unwrap_or(slot);
                if other != slot && self.read(other)?.is_some_and(|b| b.addresses.contains(address)) {
                    self.end(other)?;
                }
            }
        }
        self.file(slot, binding, old.as_ref())?;
        self.index.put(slot, span, binding.class(self.boot), durable_at)
    }

    fn end(&mut self, slot: u32) -> Result<(), Trouble> {
        if let Some(old) = self.read(slot)? {
            self.unfile(slot, &old, None)?;
        }
        self.index.take(slot)
    }

    fn read(&self, slot: u32) -> Result<Option<Binding>, Trouble> {
        let Some(place) = self.index.place(slot)? else { return Ok(None) };
        let bytes = self.journal.read(place.span);
        let bytes =
            bytes.map_err(|e| Trouble::Io(PathBuf::from("journal"), io::Error::other(e.to_string())))?;
        match Record::decode(&bytes) {
            Some(Record::Bind { binding, .. }) => Ok(Some(binding)),
            _ => Ok(None),
        }
    }

    /// Files a binding under all its keys, but for those it shares with what was in the slot before.
    fn file(&mut self, slot: u32, binding: &Binding, old: Option<&Binding>) -> Result<(), Trouble> {
        let value = u64::from(slot);
        for key in keys(binding).into_iter().flatten() {
            if !old.is_some_and(|old| has_key(old, key)) {
                self.index.insert(key, value)?;
            }
        }
        for address in &binding.addresses {
            if !old.is_some_and(|old| old.addresses.contains(address)) {
                let number = occupancy::number(*address);
                self.index.insert(Key::Address(number), value)?;
                occupancy::set(self.index, number)?;
            }
        }
        Ok(())
    }

    fn unfile(&mut self, slot: u32, binding: &Binding, new: Option<&Binding>) -> Result<(), Trouble> {
        let value = u64::from(slot);
        for key in keys(binding).into_iter().flatten() {
            if !new.is_some_and(|new| has_key(new, key)) {
                self.index.remove(key, value)?;
            }
        }
        for address in &binding.addresses {
            if !new.is_some_and(|new| new.addresses.contains(address)) {
                let number = occupancy::number(*address);
                self.index.remove(Key::Address(number), value)?;
                occupancy::clear(self.index, number)?;
            }
        }
        Ok(())
    }
}

fn keys(binding: &Binding) -> [Option<Key<'_>>; 2] {
    let pod = binding.pod().map(|(namespace, name)| Key::Pod(namespace, name, &binding.ifname));
    [pod, Some(Key::Container(&binding.container, binding.file_ifname()))]
}

fn has_key(binding: &Binding, key: Key<'_>) -> bool {
    match key {
        Key::Pod(namespace, name, ifname) => {
            binding.pod() == Some((namespace, name)) && binding.ifname == ifname
        }
        Key::Container(id, ifname) => binding.container == id && binding.file_ifname() == ifname,
        Key::Address(_) | Key::Word(..) => false,
    }
}
