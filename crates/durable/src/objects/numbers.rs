//! Numbers that are never given twice, whatever happens to the machine: reserved in blocks, a flush for each block.
//!
//! What the disk knows is the end of the last block that was reserved. Whoever starts anew goes on behind it; what was
//! left of the block is never used.

use super::{Batch, Error, Lookup};

/// A strictly increasing counter that survives power cuts. It does no I/O: the caller writes what it asks for.
#[derive(Debug)]
pub struct Numbers {
    key: Box<[u8]>,
    /// The next number to give.
    next: u64,
    /// The first number that the disk does not know to be reserved.
    end: u64,
    block: u64,
    asked: bool,
}

/// A reservation that is on its way to the disk.
#[must_use = "tell the counter when it is durable, or that it failed"]
#[derive(Debug)]
pub struct Reservation {
    end: u64,
}

impl Numbers {
    /// The counter kept under this key, counted from 1. `block` is how many numbers are reserved at a time.
    ///
    /// # Errors
    /// When there is a record that cannot be read: then no number is known not to have been given.
    pub fn open(store: &impl Lookup, key: impl Into<Box<[u8]>>, block: u64) -> Result<Numbers, Error> {
        let key = key.into();
        let end = match store.get(&key)? {
            None => 1,
            Some(bytes) => match bytes.first_chunk() {
                Some(bytes_of) if bytes.len() == 8 => u64::from_le_bytes(*bytes_of),
                _ => return Err(Error::NoNumber { key: key.into_vec() }),
            },
        };
        Ok(Numbers { key, next: end, end, block: block.max(1), asked: false })
    }

    /// The next number; `None` until a reservation is durable.
    pub fn take(&mut self) -> Option<u64> {
        let number = self.next;
        if number >= self.end {
            return None;
        }
        self.next += 1;
        Some(number)
    }

    /// What has to be flushed now so that [`Numbers::take`] does not run dry: asked for when less than half a block is
    /// left, one at a time.
    pub fn reserve(&mut self) -> Option<(Batch, Reservation)> {
        if self.asked || self.end - self.next > self.block / 2 {
            return None;
        }
        self.asked = true;
        let end = self.end.saturating_add(self.block);
        Some((Batch::new().put(self.key.clone(), end.to_le_bytes()), Reservation { end }))
    }

    /// The reservation is on the disk.
    pub fn reserved(&mut self, reservation: Reservation) {
        self.asked = false;
        self.end = self.end.max(reservation.end);
    }

    /// The reservation is not known to be on the disk: the next one is asked for anew.
    pub fn failed(&mut self, _reservation: Reservation) {
        self.asked = false;
    }
}
