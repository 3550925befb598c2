//! The bytes of a journal: its header and the frame around each record. `docs/formats/journal.md` has the layout.
//!
//! Nothing here reads a file. Invariant: whatever the bytes, [`check`] returns a payload only if it is one that
//! [`encode`] was given.

use super::{Generation, MAX_RECORD, VERSION};
use crate::bytes::{u32_at, u64_at};

pub(super) const FILE_HEADER_LEN: usize = 64;
pub(super) const FILE_HEADER: u64 = FILE_HEADER_LEN as u64;
/// Where the header says, outside its checksum, whether the file's name is durable.
pub(super) const PLACED_AT: u64 = 32;
/// What it says there if so.
pub(super) const PLACED: u8 = 1;
pub(super) const FRAME_HEADER: usize = 32;
/// Frames start at multiples of this.
pub(super) const ALIGN: usize = 8;

const MAGIC: &[u8; 8] = b"EDGEKEEP";
const MARKER: [u8; 4] = *b"EKfr";

pub(super) enum Header {
    Valid { generation: Generation, placed: bool },
    Newer(u32),
    Broken,
}

pub(super) fn encode_header(generation: Generation) -> [u8; FILE_HEADER_LEN] {
    let mut bytes = [0; FILE_HEADER_LEN];
    let (head, rest) = bytes.split_at_mut(24);
    head.copy_from_slice(&[&MAGIC[..], &VERSION.to_le_bytes(), &[0; 4], &generation.to_le_bytes()].concat());
    let sum = crate::checksum::of(&[head]);
    if let Some(place) = rest.first_chunk_mut::<4>() {
        *place = sum.to_le_bytes();
    }
    bytes
}

pub(super) fn parse_header(bytes: &[u8]) -> Header {
    let (Some(head), Some(sum)) = (bytes.get(..24), u32_at(bytes, 24)) else { return Header::Broken };
    if !head.starts_with(MAGIC) || crate::checksum::of(&[head]) != sum {
        return Header::Broken;
    }
    let placed = usize::try_from(PLACED_AT).ok().and_then(|at| bytes.get(at)) == Some(&PLACED);
    match (u32_at(head, 8), u64_at(head, 16)) {
        (Some(version), _) if version > VERSION => Header::Newer(version),
        (Some(_), Some(generation)) => Header::Valid { generation, placed },
        _ => Header::Broken,
    }
}

pub(super) struct Frame<'a> {
    pub seq: u64,
    pub generation: Generation,
    pub payload: &'a [u8],
}

/// The frame of a record; `None` for one that is too large.
pub(super) fn encode(generation: Generation, seq: u64, payload: &[u8]) -> Option<Vec<u8>> {
    let len = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_RECORD)?;
    let mut bytes = Vec::with_capacity(FRAME_HEADER + payload.len() + ALIGN);
    bytes.extend_from_slice(&MARKER);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(&seq.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&checksum(&bytes, payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    Some(bytes)
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    crate::checksum::of(&[head.get(..28).unwrap_or(head), payload])
}

/// The payload length that a frame at the start of `bytes` claims, when its header may be one of this file
/// (generation 0: of any file) that comes after `last_seq`.
pub(super) fn claimed_len(bytes: &[u8], generation: Generation, last_seq: u64) -> Option<usize> {
    let len = usize::try_from(u32_at(bytes, 4)?).ok()?;
    let salt = u64_at(bytes, 8)?;
    let ours = bytes.starts_with(&MARKER)
        && (salt == generation || generation == 0)
        && u64_at(bytes, 16)? > last_seq
        && len <= MAX_RECORD;
    ours.then_some(len)
}

/// The frame at the start of `bytes`, if its checksum holds.
pub(super) fn check(bytes: &[u8]) -> Option<Frame<'_>> {
    let len = usize::try_from(u32_at(bytes, 4)?).ok()?;
    if !bytes.starts_with(&MARKER) || len > MAX_RECORD {
        return None;
    }
    let payload = bytes.get(FRAME_HEADER..)?.get(..len)?;
    (checksum(bytes.get(..28)?, payload) == u32_at(bytes, 28)?).then_some(Frame {
        seq: u64_at(bytes, 16)?,
        generation: u64_at(bytes, 8)?,
        payload,
    })
}

/// Length of the frame of a payload of this length, padding included.
pub(super) fn padded(payload: usize) -> u32 {
    u32::try_from((FRAME_HEADER + payload).next_multiple_of(ALIGN)).unwrap_or(u32::MAX)
}
