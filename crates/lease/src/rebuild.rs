//! Journal and index brought in step: read on, made anew, written anew.
//!
//! The index follows from the journal alone. Where it is of another boot or journal, or somebody died while changing it,
//! it is thrown away; where the journal is damaged or a flush of it failed, what can be read goes into a new one.

use std::io;

use durable::flush::{FlushMark, Flushed};
use durable::fs::{File, Fs, Open};
use durable::journal::{self, Journal, Seen, Span};

use crate::binding::Class;
use crate::books::Books;
use crate::error::{Attempt, Error};
use crate::index::{Index, Trouble};
use crate::record::Record;
use crate::store::{Now, Places, trouble};

/// How many records are held at a time while the index is made anew.
const BATCH: usize = 256;
/// The most of a damaged stretch that is kept for people to look at, in bytes.
const KEEP_DAMAGED: usize = 64 * 1024;

/// What a command works on.
pub(crate) struct State<F: Fs> {
    pub journal: Journal<F>,
    pub index: Index<F>,
    pub notes: Vec<String>,
    /// Whether the index was made anew.
    pub fresh: bool,
}

/// Journal and index, in step with each other.
pub(crate) fn open_state<F: Fs>(
    fs: &F,
    places: &Places,
    now: &Now,
    mark: &FlushMark,
) -> Result<State<F>, Error> {
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
pub(crate) fn build_index<F: Fs>(
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
pub(crate) fn rewrite<F: Fs>(
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
