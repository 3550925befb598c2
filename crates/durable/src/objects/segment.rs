//! One file of the log, and finding out what it holds: by its table of contents, or frame by frame.

use std::io;
use std::path::{Path, PathBuf};

use super::frame::{self, ALIGN, BAD, Contents, HEAD, HEADER, Item, Kind, TRAILER, Trailer};
use crate::fs::{File, Fs};
use crate::window::{Window, zeros};

/// How much is read at a time while a segment is read frame by frame.
const WINDOW: usize = 64 * 1024;

/// The name of a segment that is being made: worthless until it is renamed.
pub(super) const UNFINISHED: &str = "unfinished";

const PREFIX: &str = "segment-";

/// The name of a segment's file.
pub(super) fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{PREFIX}{number:010}"))
}

/// The number of the segment that a file of this name is.
pub(super) fn number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix(PREFIX).filter(|digits| digits.len() == 10)?;
    let number: u32 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    // No log comes so far; the numbers behind it must not run out by a file that somebody put there.
    (number < u32::MAX / 2).then_some(number)
}

/// A file of the log, open.
#[derive(Debug)]
pub(super) struct Segment<T> {
    pub number: u32,
    pub file: T,
}

/// Bytes of a segment that hold no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub offset: u32,
    pub len: u32,
}

/// What a segment holds.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub contents: Contents,
    /// Between records.
    pub gaps: Vec<Gap>,
    /// Behind the last record.
    pub torn: Option<Gap>,
    /// Behind the last whole record.
    pub end: u32,
    /// Behind the last record, whole or not.
    pub seen: u32,
    /// Everything before this offset was durable before something was written behind it.
    pub marked: u32,
    pub last_seq: u64,
    pub salt: Option<u32>,
    /// Whether it ends with a table of contents.
    pub sealed: bool,
    /// Size of the file.
    pub size: u32,
}

/// What is known of a segment before it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub number: u32,
    pub salt: Option<u32>,
    /// No record has this number or a lower one.
    pub after_seq: u64,
    /// Where the next segment says that the records end.
    pub bound: Option<u32>,
}

/// Finds out what a segment holds, by its table of contents if it has one.
pub(super) fn load(file: &impl File, expected: Expected) -> io::Result<Loaded> {
    let len = length(file)?;
    if let Some(trailer) = trailer(file, len, &expected)? {
        let mut bytes = vec![0; usize::try_from(trailer.len).unwrap_or_default()];
        let n = file.read_at(&mut bytes, u64::from(trailer.end))?;
        bytes.truncate(n);
        if let Some(contents) = trailer.contents(bytes) {
            return Ok(Loaded {
                contents,
                end: trailer.end,
                seen: trailer.end,
                marked: trailer.end,
                last_seq: trailer.last_seq,
                salt: Some(trailer.salt),
                sealed: true,
                size: len,
                ..Loaded::default()
            });
        }
    }
    let loaded = by_frames(file, expected.bound.unwrap_or(len), &expected)?;
    Ok(Loaded { size: len, ..loaded })
}

/// Finds out what the newest segment holds. Its table of contents may have reached the disk before the records did, so
/// only the records count.
pub(super) fn load_newest(file: &impl File, expected: Expected) -> io::Result<Loaded> {
    let len = length(file)?;
    let trailer = trailer(file, len, &expected)?;
    let loaded = by_frames(file, trailer.map_or(len, |trailer| trailer.end), &expected)?;
    Ok(Loaded { sealed: trailer.is_some(), ..loaded })
}

fn length(file: &impl File) -> io::Result<u32> {
    Ok(u32::try_from(file.len()?).unwrap_or(u32::MAX))
}

fn trailer(file: &impl File, len: u32, expected: &Expected) -> io::Result<Option<Trailer>> {
    let mut bytes = [0; TRAILER];
    let Some(start) = u64::from(len).checked_sub(TRAILER as u64) else { return Ok(None) };
    let n = file.read_at(&mut bytes, start)?;
    Ok(bytes.get(..n).and_then(Trailer::parse).filter(|trailer| {
        trailer.number == expected.number
            && expected.salt.is_none_or(|salt| salt == trailer.salt)
            && expected.bound.is_none_or(|bound| bound == trailer.end)
            && u64::from(trailer.end) + u64::from(trailer.len) == start
    }))
}

/// Reads every frame up to `limit`: whatever cannot be read, those behind it are.
pub(super) fn by_frames(file: &impl File, limit: u32, expected: &Expected) -> io::Result<Loaded> {
    let mut loaded = Loaded {
        end: HEADER,
        marked: HEADER,
        last_seq: expected.after_seq,
        salt: expected.salt,
        ..Loaded::default()
    };
    let mut window = Window::new(WINDOW);
    // `at` walks; everything before `seen` was a frame, its value bad or not.
    let (mut at, mut seen) = (u64::from(HEADER), u64::from(HEADER));
    let mut dirty = false;
    while at < u64::from(limit) {
        let Some(found) = frame_at(&mut window, file, at, &loaded)? else {
            let ahead = window.fill(file, at, ALIGN)?;
            if ahead.is_empty() {
                break;
            }
            let zeros = zeros::<ALIGN>(ahead);
            dirty |= zeros == 0;
            at += zeros.max(ALIGN as u64);
            continue;
        };
        let offset = offset(at);
        if at > seen {
            loaded.gaps.push(Gap { offset: self::offset(seen), len: self::offset(at - seen) });
        }
        let item = Item { offset, flags: found.flags, key: &found.key, ..found.item() };
        at += u64::from(item.len());
        let whole = found.flags & BAD == 0 && at <= u64::from(limit).next_multiple_of(ALIGN as u64);
        let flags = if whole { found.flags } else { found.flags | BAD };
        loaded.contents.push(&Item { flags, ..item });
        (loaded.last_seq, loaded.salt, seen, dirty) = (found.seq, Some(found.salt), at, false);
        if whole {
            loaded.end = self::offset(at).min(limit.max(HEADER));
            if found.kind == Kind::Mark {
                loaded.marked = offset;
            }
        }
    }
    loaded.seen = offset(seen);
    if dirty || loaded.seen > loaded.end {
        loaded.torn = Some(Gap { offset: loaded.end, len: limit.saturating_sub(loaded.end) });
    }
    Ok(loaded)
}

struct Found {
    kind: Kind,
    flags: u8,
    seq: u64,
    key: Vec<u8>,
    value_len: u32,
    salt: u32,
}

impl Found {
    fn item(&self) -> Item<'_> {
        Item { offset: 0, value_len: self.value_len, kind: self.kind, flags: self.flags, key: &self.key }
    }
}

/// The frame at `at` that may follow what was read so far; `BAD` among its flags when its value is not what it was.
fn frame_at(window: &mut Window, file: &impl File, at: u64, so_far: &Loaded) -> io::Result<Option<Found>> {
    let Some(len) = frame::head_len(window.fill(file, at, HEAD)?, so_far.salt) else { return Ok(None) };
    let Some((head, salt)) = frame::parse_head(window.fill(file, at, len)?, so_far.salt) else {
        return Ok(None);
    };
    if head.seq <= so_far.last_seq {
        return Ok(None);
    }
    let mut found = Found {
        kind: head.kind,
        flags: head.flags & !BAD,
        seq: head.seq,
        key: head.key.to_vec(),
        value_len: head.value_len,
        salt,
    };
    let whole = len + usize::try_from(head.value_len).unwrap_or_default();
    if frame::parse(window.fill(file, at, whole)?, so_far.salt).is_none() {
        found.flags |= BAD;
    }
    Ok(Some(found))
}

/// Reads one frame as it stands there.
pub(super) fn read(file: &impl File, offset: u32, len: u32) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    let n = file.read_at(&mut bytes, u64::from(offset))?;
    bytes.truncate(n);
    Ok(bytes)
}

/// A place in a segment as a number; segments are far smaller than what this cuts off.
pub(super) fn offset(at: u64) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Removes every file of a log but its lock, durably: what a power cut brought back would be a log of its own.
pub(super) fn remove_all<F: Fs>(fs: &F, dir: &Path) -> io::Result<()> {
    let mut names = Vec::new();
    fs.read_dir(dir, &mut |name| {
        let ours = number(name).is_some() || name == UNFINISHED || name.starts_with(DAMAGED);
        names.extend(ours.then(|| name.to_owned()));
        Ok(())
    })?;
    // The oldest first, so that a log of which only a part is removed is one whose beginning is missing.
    names.sort_unstable();
    names.iter().try_for_each(|name| fs.remove_file(&dir.join(name)))?;
    fs.sync_dir(dir)
}

/// How many damaged segments are kept aside.
const KEPT: usize = 4;
const DAMAGED: &str = "damaged-";

/// Takes a segment that has left off the log's hands. One with damage in it is kept for whoever wants to look at it,
/// and the oldest of those goes when there are more than a few.
pub(super) fn discard<F: Fs>(fs: &F, dir: &Path, number: u32, flawed: bool) -> io::Result<()> {
    if !flawed {
        return fs.remove_file(&path(dir, number));
    }
    fs.rename(&path(dir, number), &dir.join(format!("{DAMAGED}{number:010}")))?;
    let mut kept = Vec::new();
    fs.read_dir(dir, &mut |name| {
        kept.extend(name.starts_with(DAMAGED).then(|| name.to_owned()));
        Ok(())
    })?;
    kept.sort_unstable();
    let surplus = kept.len().saturating_sub(KEPT);
    kept.iter().take(surplus).try_for_each(|name| fs.remove_file(&dir.join(name)))
}
