//! Reading a file from its start to its end in pieces, and writing zeros ahead of what is appended.

use std::io;

use crate::fs::File;

/// The bytes of a file around the place that is being looked at.
#[derive(Debug)]
pub(crate) struct Window {
    bytes: Vec<u8>,
    start: u64,
    size: usize,
}

impl Window {
    /// A window that reads this many bytes at a time, or as many as one record needs.
    pub(crate) fn new(size: usize) -> Self {
        Window { bytes: Vec::new(), start: 0, size }
    }

    /// What is read next is read from another file.
    pub(crate) fn forget(&mut self) {
        self.bytes.clear();
    }

    /// The bytes from `at` on, at least `want` of them unless the file ends before.
    pub(crate) fn fill(&mut self, file: &impl File, at: u64, want: usize) -> io::Result<&[u8]> {
        let inside = at.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let has = inside.and_then(|skip| self.bytes.len().checked_sub(skip));
        if has.is_none_or(|has| has < want) {
            self.bytes.resize(want.max(self.size), 0);
            self.start = at;
            let n = file.read_at(&mut self.bytes, at)?;
            self.bytes.truncate(n);
            return Ok(&self.bytes);
        }
        Ok(inside.and_then(|skip| self.bytes.get(skip..)).unwrap_or_default())
    }
}

/// How many bytes at the start of `bytes` are zero, in whole steps of `ALIGN` from one possible record to the next.
/// Fewer bytes than a step are the end of the file.
pub(crate) fn zeros<const ALIGN: usize>(bytes: &[u8]) -> u64 {
    let (steps, rest) = bytes.as_chunks::<ALIGN>();
    let zero = steps.iter().take_while(|step| **step == [0; ALIGN]).count();
    let end = steps.is_empty() && rest.iter().all(|byte| *byte == 0);
    ((zero + usize::from(end)) * ALIGN) as u64
}

/// Writes zeros; the offset behind them.
pub(crate) fn zero_fill(file: &impl File, from: u64, to: u64) -> io::Result<u64> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut at = from;
    while at < to {
        let len = usize::try_from(to - at).unwrap_or(ZEROS.len()).min(ZEROS.len());
        file.write_at(ZEROS.get(..len).unwrap_or_default(), at)?;
        at += len as u64;
    }
    Ok(at.max(from))
}
