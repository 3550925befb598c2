//! A lookup table over the journal in one file, read and written in place.
//!
//! It exists so that a call costs the same at ten leases and at sixty thousand. It holds nothing of its own: whatever
//! is wrong with it (another boot, another journal, a process that died while changing it) is cured by making it anew.
//! It lives on volatile storage and is never flushed.
//!
//! Layout: one page of head, a power of two of bucket pages, then one 32-byte place per binding. A bucket page holds
//! 256 pairs of (hash of a key, value); a key that is not in its bucket is nowhere.

use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use durable::fs::{File, Fs, Meta, Open, Stamp};
use durable::journal::{Generation, Span, Tail};

use crate::binding::Class;
use crate::record::SLOTS;

const PAGE: usize = 4096;
const PAIR: usize = 16;
const PLACE: usize = 32;
const MAGIC: u64 = 0x5845_444e_494b_4501;
const HEAD: usize = 200;
/// Pairs in a bucket, on average, at which the table is made anew with more buckets: far below 256, so that a bucket
/// all but never overflows.
const FULL: u32 = 144;
/// How many slots stay free before one of them is used again: far more than records ever wait for a flush.
const SPARE: u32 = 256;
const NONE: u32 = u32::MAX;
/// How many free places one write makes: 128 KiB of them.
const FREED_AT_ONCE: usize = 4096;

/// What a value is found by. The hash of a key says which kind it is, so that kinds never meet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key<'a> {
    /// Namespace, pod name, interface → slot.
    Pod(&'a str, &'a str, &'a str),
    /// Container id, interface as in the lease file → slot.
    Container(&'a str, &'a str),
    /// Address → slot.
    Address(u128),
    /// Level and prefix → 64 bits of occupancy.
    Word(u8, u128),
}

/// The two ends of one list of bindings, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct List {
    first: u32,
    last: u32,
    count: u32,
}

const EMPTY: List = List { first: NONE, last: NONE, count: 0 };

/// Where a binding stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its latest record.
    pub span: Span,
    /// The list it is in; `None` for a free place.
    pub class: Option<Class>,
    /// Offset up to which the journal must be flushed for the binding to survive a power cut.
    pub durable_at: u64,
    previous: u32,
    next: u32,
}

/// How the directory was left by our last change: any other program's change shows as another time or inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seal {
    pub ino: u64,
    pub mtime: Stamp,
}

impl Seal {
    pub fn of(meta: &Meta) -> Seal {
        Seal { ino: meta.ino, mtime: meta.mtime }
    }
}

/// The index, open.
pub(crate) struct Index<F: Fs> {
    file: F::File,
    path: PathBuf,
    seed: u64,
    boot: u64,
    buckets: u32,
    pairs: u32,
    places: u32,
    /// One per class, and one of free places.
    lists: [List; 5],
    clean: bool,
    /// Which journal it is over.
    pub generation: Generation,
    /// Up to where it has read it.
    pub tail: Tail,
    /// Bytes of journal that the present bindings need.
    pub live_bytes: u64,
    /// How the directory was left; `None` when it could not be sealed or was never looked at.
    pub seal: Option<Seal>,
    /// The latest record about the network.
    pub network: Option<Span>,
}

/// The index cannot take one more pair in that bucket: it must be made anew, larger.
#[derive(Debug)]
pub(crate) enum Trouble {
    Full,
    Io(PathBuf, io::Error),
}

type Done<T> = Result<T, Trouble>;

impl<F: Fs> Index<F> {
    /// The index in `dir`, if it is of this boot and was left whole.
    pub fn open(fs: &F, dir: &Path, boot: &str) -> Option<Self> {
        let path = dir.join("index");
        let file = fs.open(&path, Open::Write).ok()?;
        let mut head = [0; HEAD];
        file.read_at(&mut head, 0).ok()?;
        let index = Self::parse(file, path, &head)?;
        // One that was cut short reads as zeros, as if nothing were bound.
        let whole = index.file.len().ok()? >= index.place_at(index.places);
        (whole && index.boot == boot_hash(index.seed, boot)).then_some(index)
    }

    /// A new, empty index with room for about `expected` pairs, beside the present one until [`Index::install`].
    pub fn create(fs: &F, dir: &Path, boot: &str, seed: u64, expected: u64) -> io::Result<Self> {
        let path = dir.join("index.new");
        match fs.remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = fs.open(&path, Open::CreateNew(0o600))?;
        let buckets = u32::try_from(expected / 64).unwrap_or(1 << 20).next_power_of_two().clamp(8, 1 << 20);
        file.set_len((u64::from(buckets) + 1) * PAGE as u64)?;
        Ok(Index {
            file,
            path,
            seed,
            boot: boot_hash(seed, boot),
            buckets,
            pairs: 0,
            places: 0,
            lists: [EMPTY; 5],
            clean: false,
            generation: 0,
            tail: Tail::default(),
            live_bytes: 0,
            seal: None,
            network: None,
        })
    }

    /// Puts a finished index in its place.
    pub fn install(&mut self, fs: &F, dir: &Path) -> Done<()> {
        self.save()?;
        let to = dir.join("index");
        fs.rename(&self.path, &to).map_err(|e| Trouble::Io(self.path.clone(), e))?;
        self.path = to;
        Ok(())
    }

    /// Forgets the index on disk, so that the next call makes it anew.
    pub fn discard(fs: &F, dir: &Path) {
        // If even this fails, the mark of an unfinished change in its head says the same.
        let _ = fs.remove_file(&dir.join("index"));
    }

    /// Says on disk that a change has begun: whoever finds it so makes the index anew.
    pub fn begin(&mut self) -> Done<()> {
        if self.clean {
            self.clean = false;
            self.write(&self.head(), 0)?;
        }
        Ok(())
    }

    /// Says on disk that the change is whole.
    pub fn save(&mut self) -> Done<()> {
        self.clean = true;
        self.write(&self.head(), 0)
    }

    /// Whether nothing has been changed since it was opened or saved.
    pub fn is_clean(&self) -> bool {
        self.clean
    }

    /// Whether it is time for more buckets.
    pub fn is_crowded(&self) -> bool {
        self.pairs > self.buckets.saturating_mul(FULL)
    }

    /// How many pairs there are.
    pub fn pairs(&self) -> u32 {
        self.pairs
    }

    /// How many bindings are in a class.
    pub fn count(&self, class: Class) -> u32 {
        self.list(Some(class)).count
    }

    /// The first binding of a class: the one that has been in it longest.
    pub fn first(&self, class: Class) -> Option<u32> {
        some(self.list(Some(class)).first)
    }

    /// The one after it.
    pub fn next(&self, slot: u32) -> Done<Option<u32>> {
        Ok(self.place(slot)?.and_then(|place| some(place.next)))
    }

    /// Every value filed under `key`; a rare foreign one among them where hashes meet.
    pub fn find(&self, key: Key<'_>) -> Done<Vec<u64>> {
        let hash = self.hash(key);
        let page = self.page(hash)?;
        Ok(pairs(&page).filter(|pair| pair.1 == hash).map(|pair| pair.2).collect())
    }

    /// Files `value` under `key`.
    pub fn insert(&mut self, key: Key<'_>, value: u64) -> Done<()> {
        let hash = self.hash(key);
        let page = self.page(hash)?;
        let at = pairs(&page).find(|pair| pair.1 == 0).map(|pair| pair.0).ok_or(Trouble::Full)?;
        self.write_pair(hash, at, hash, value)?;
        self.pairs += 1;
        Ok(())
    }

    /// Takes `value` out from under `key`.
    pub fn remove(&mut self, key: Key<'_>, value: u64) -> Done<()> {
        let hash = self.hash(key);
        let page = self.page(hash)?;
        if let Some(pair) = pairs(&page).find(|pair| pair.1 == hash && pair.2 == value) {
            self.write_pair(hash, pair.0, 0, 0)?;
            self.pairs -= 1;
        }
        Ok(())
    }

    /// The one value of a key that has one: zero where there is none.
    pub fn word(&self, level: u8, prefix: u128) -> Done<u64> {
        Ok(self.find(Key::Word(level, prefix))?.first().copied().unwrap_or(0))
    }

    /// Sets it.
    pub fn set_word(&mut self, level: u8, prefix: u128, value: u64) -> Done<()> {
        let key = Key::Word(level, prefix);
        let old = self.word(level, prefix)?;
        if old != 0 {
            self.remove(key, old)?;
        }
        if value == 0 { Ok(()) } else { self.insert(key, value) }
    }

    /// The place of a slot; `None` for one beyond all or free.
    pub fn place(&self, slot: u32) -> Done<Option<Place>> {
        if slot >= self.places {
            return Ok(None);
        }
        Ok(Some(self.read_place(slot)?).filter(|place| place.class.is_some()))
    }

    /// A slot that no binding has: the one that has been free longest, but none that was freed lately. Of two records
    /// that were not flushed a power cut may take the earlier and leave the later: if that were the one which gives
    /// the slot to another, the binding that was in it would be lost with a record that was never answered.
    /// `None` where the journal takes no more.
    pub fn free_slot(&self) -> Option<u32> {
        let free = self.list(None);
        match some(free.first).filter(|_| free.count > SPARE) {
            None => Some(self.places).filter(|slot| *slot < SLOTS),
            first => first,
        }
    }

    /// Puts a binding at the end of the list of its class; it must be in none.
    pub fn put(&mut self, slot: u32, span: Span, class: Class, durable_at: u64) -> Done<()> {
        self.free_up_to(slot)?;
        if self.places == slot {
            self.places += 1;
        } else {
            self.unlink(slot)?;
        }
        self.live_bytes += u64::from(span.len);
        self.link(slot, Place { span, class: Some(class), durable_at, ..UNLINKED })
    }

    /// Takes a binding out of its list and frees its slot.
    pub fn take(&mut self, slot: u32) -> Done<()> {
        let Some(place) = self.place(slot)? else { return Ok(()) };
        self.unlink(slot)?;
        self.live_bytes = self.live_bytes.saturating_sub(u64::from(place.span.len));
        self.link(slot, UNLINKED)
    }

    /// A slot further on than any so far is put: those between are free. They may be many, so a write has many of them.
    fn free_up_to(&mut self, end: u32) -> Done<()> {
        let (first, list) = (self.places, self.list(None));
        if first >= end {
            return Ok(());
        }
        let free = |slot: u32| Place {
            previous: if slot == first { list.last } else { slot - 1 },
            next: if slot + 1 == end { NONE } else { slot + 1 },
            ..UNLINKED
        };
        for some in (first..end).step_by(FREED_AT_ONCE) {
            let these = (some..end).take(FREED_AT_ONCE);
            let bytes: Vec<u8> = these.flat_map(|slot| place_bytes(&free(slot))).collect();
            self.write(&bytes, self.place_at(some))?;
        }
        if let Some(before) = some(list.last) {
            let other = self.read_place(before)?;
            self.write_place(before, &Place { next: first, ..other })?;
        }
        let head = if list.first == NONE { first } else { list.first };
        *self.list_mut(None) = List { first: head, last: end - 1, count: list.count + (end - first) };
        self.places = end;
        Ok(())
    }

    fn link(&mut self, slot: u32, place: Place) -> Done<()> {
        let list = self.list(place.class);
        self.write_place(slot, &Place { previous: list.last, next: NONE, ..place })?;
        if let Some(before) = some(list.last) {
            let other = self.read_place(before)?;
            self.write_place(before, &Place { next: slot, ..other })?;
        }
        let first = if list.first == NONE { slot } else { list.first };
        *self.list_mut(place.class) = List { first, last: slot, count: list.count + 1 };
        Ok(())
    }

    fn unlink(&mut self, slot: u32) -> Done<()> {
        let place = self.read_place(slot)?;
        if let Some(before) = some(place.previous) {
            let other = self.read_place(before)?;
            self.write_place(before, &Place { next: place.next, ..other })?;
        }
        if let Some(after) = some(place.next) {
            let other = self.read_place(after)?;
            self.write_place(after, &Place { previous: place.previous, ..other })?;
        }
        let list = self.list_mut(place.class);
        list.first = if list.first == slot { place.next } else { list.first };
        list.last = if list.last == slot { place.previous } else { list.last };
        list.count = list.count.saturating_sub(1);
        Ok(())
    }

    fn list(&self, class: Option<Class>) -> List {
        let [gone, parked, awaited, live, free] = self.lists;
        match class {
            Some(Class::Gone) => gone,
            Some(Class::Parked) => parked,
            Some(Class::Awaited) => awaited,
            Some(Class::Live) => live,
            None => free,
        }
    }

    fn list_mut(&mut self, class: Option<Class>) -> &mut List {
        let [gone, parked, awaited, live, free] = &mut self.lists;
        match class {
            Some(Class::Gone) => gone,
            Some(Class::Parked) => parked,
            Some(Class::Awaited) => awaited,
            Some(Class::Live) => live,
            None => free,
        }
    }

    fn hash(&self, key: Key<'_>) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.seed);
        let mut text = |text: &str| {
            hasher.write_u64(text.len() as u64);
            hasher.write(text.as_bytes());
        };
        match key {
            // Each kind feeds the hash another number of parts.
            Key::Pod(namespace, name, ifname) => [namespace, name, ifname].into_iter().for_each(&mut text),
            Key::Container(id, ifname) => [id, ifname].into_iter().for_each(&mut text),
            Key::Address(address) => hasher.write_u128(address),
            Key::Word(level, prefix) => {
                hasher.write_u8(level);
                hasher.write_u128(prefix);
            }
        }
        hasher.finish().max(1)
    }

    fn bucket(&self, hash: u64) -> u64 {
        (1 + (hash >> 32) % u64::from(self.buckets)) * PAGE as u64
    }

    fn page(&self, hash: u64) -> Done<[u8; PAGE]> {
        let mut page = [0; PAGE];
        self.read(&mut page, self.bucket(hash))?;
        Ok(page)
    }

    fn write_pair(&self, hash: u64, at: usize, key: u64, value: u64) -> Done<()> {
        let bytes = [key.to_le_bytes(), value.to_le_bytes()].concat();
        self.write(&bytes, self.bucket(hash) + (at * PAIR) as u64)
    }

    fn place_at(&self, slot: u32) -> u64 {
        (u64::from(self.buckets) + 1) * PAGE as u64 + u64::from(slot) * PLACE as u64
    }

    fn read_place(&self, slot: u32) -> Done<Place> {
        let mut bytes = [0; PLACE];
        self.read(&mut bytes, self.place_at(slot))?;
        let mut fields = Fields(&bytes);
        let (offset, len, class) = (fields.u64(), fields.u32(), fields.u32());
        let (previous, next, durable_at) = (fields.u32(), fields.u32(), fields.u64());
        let class =
            usize::try_from(class).ok().and_then(|class| Class::ALL.get(class.checked_sub(1)?)).copied();
        Ok(Place { span: Span { offset, len }, class, durable_at, previous, next })
    }

    fn write_place(&self, slot: u32, place: &Place) -> Done<()> {
        self.write(&place_bytes(place), self.place_at(slot))
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> Done<()> {
        self.file.read_at(bytes, at).map(|_| ()).map_err(|e| Trouble::Io(self.path.clone(), e))
    }

    fn write(&self, bytes: &[u8], at: u64) -> Done<()> {
        self.file.write_at(bytes, at).map_err(|e| Trouble::Io(self.path.clone(), e))
    }

    fn head(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD);
        let seal = self.seal.unwrap_or_default();
        let network = self.network.unwrap_or(Span { offset: 0, len: 0 });
        for field in [
            MAGIC,
            // The hash differs between releases of the standard library: an index of another one is no index.
            boot_hash(0, "check"),
            self.seed,
            self.boot,
            self.generation,
            self.tail.end,
            self.tail.seq,
            self.live_bytes,
            seal.ino,
            seal.mtime.secs.cast_unsigned(),
            network.offset,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for field in [
            u32::from(self.clean),
            u32::from(self.seal.is_some()),
            seal.mtime.nanos,
            network.len,
            self.buckets,
            self.pairs,
            self.places,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for list in self.lists {
            for field in [list.first, list.last, list.count] {
                out.extend_from_slice(&field.to_le_bytes());
            }
        }
        out.extend_from_slice(&sum(&out).to_le_bytes());
        out.resize(HEAD, 0);
        out
    }

    fn parse(file: F::File, path: PathBuf, head: &[u8]) -> Option<Self> {
        let mut fields = Fields(head);
        if fields.u64() != MAGIC || fields.u64() != boot_hash(0, "check") {
            return None;
        }
        let (seed, boot, generation) = (fields.u64(), fields.u64(), fields.u64());
        let tail = Tail { end: fields.u64(), seq: fields.u64() };
        let (live_bytes, ino, secs) = (fields.u64(), fields.u64(), fields.u64().cast_signed());
        let network_at = fields.u64();
        let (clean, sealed, nanos) = (fields.u32() == 1, fields.u32() == 1, fields.u32());
        let (network_len, buckets) = (fields.u32(), fields.u32());
        let (pairs, places) = (fields.u32(), fields.u32());
        let lists = [(); 5].map(|()| List { first: fields.u32(), last: fields.u32(), count: fields.u32() });
        // A head that was written in part says neither what was before nor what is now.
        let (head, _) = head.split_at_checked(head.len().saturating_sub(fields.0.len()))?;
        let whole = fields.u64() == sum(head);
        (whole && clean && buckets.is_power_of_two()).then_some(Index {
            file,
            path,
            seed,
            boot,
            buckets,
            pairs,
            places,
            lists,
            clean,
            generation,
            tail,
            live_bytes,
            seal: sealed.then_some(Seal { ino, mtime: Stamp { secs, nanos } }),
            network: (network_len != 0).then_some(Span { offset: network_at, len: network_len }),
        })
    }
}

/// Position, hash and value of each pair of a page.
fn pairs(page: &[u8; PAGE]) -> impl Iterator<Item = (usize, u64, u64)> {
    page.as_chunks::<PAIR>().0.iter().enumerate().map(|(at, pair)| {
        let mut fields = Fields(pair);
        (at, fields.u64(), fields.u64())
    })
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u64(&mut self) -> u64 {
        let Some((head, rest)) = self.0.split_first_chunk() else { return 0 };
        self.0 = rest;
        u64::from_le_bytes(*head)
    }
    fn u32(&mut self) -> u32 {
        let Some((head, rest)) = self.0.split_first_chunk() else { return 0 };
        self.0 = rest;
        u32::from_le_bytes(*head)
    }
}

/// A free place in no list.
const UNLINKED: Place =
    Place { span: Span { offset: 0, len: 0 }, class: None, durable_at: 0, previous: NONE, next: NONE };

fn place_bytes(place: &Place) -> Vec<u8> {
    let class = place.class.and_then(|class| Class::ALL.iter().position(|one| *one == class));
    let class = class.and_then(|at| u32::try_from(at + 1).ok()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(PLACE);
    bytes.extend_from_slice(&place.span.offset.to_le_bytes());
    for field in [place.span.len, class, place.previous, place.next] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    bytes.extend_from_slice(&place.durable_at.to_le_bytes());
    bytes
}

fn some(slot: u32) -> Option<u32> {
    (slot != NONE).then_some(slot)
}

fn sum(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

fn boot_hash(seed: u64, boot: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(seed);
    hasher.write(boot.as_bytes());
    hasher.finish()
}
