//! View RVs: one strictly increasing sequence for each overlaid resource, reserved in blocks that are flushed before any
//! number of them is shown, so that no power cut makes the hub issue one twice.

use crate::persist::{Barrier, Progress};
use crate::version::{CloudRv, ViewRv};

/// How many numbers are reserved at a time: as many as were issued since the start, within these bounds. What is left of
/// them at the end is lost of the head start that the cloud's RVs have, so a hub that starts often and does little must
/// lose little; and whoever issues many has them flushed seldom.
const BLOCK: (u64, u64) = (16, 1024);

/// The sequence of one resource.
#[derive(Debug, Default)]
pub struct Sequence {
    /// The last number that was issued, or that may have been issued before a restart.
    last: u64,
    /// What it was at the start.
    first: u64,
    /// Numbers up to this one are reserved by a record that was handed out.
    reserved: u64,
    /// What must pass before numbers of the last block may be shown.
    reservation: Barrier,
    /// Numbers up to this one may be shown without waiting.
    safe: u64,
}

/// A number, and what it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issued {
    /// The number.
    pub rv: ViewRv,
    /// Whether it is higher than the cloud RV up to which the resource was read: the cloud is too young.
    pub above_cloud: bool,
}

impl Sequence {
    /// A sequence after a restart: `reserved` is what the last record says, `last` may be a number above that.
    pub fn restored(last: u64, reserved: u64) -> Sequence {
        Sequence { last, first: last, reserved, safe: reserved, reservation: Barrier::default() }
    }

    /// The last number issued.
    pub fn last(&self) -> ViewRv {
        ViewRv::issued(self.last)
    }

    /// Goes on above this number.
    pub fn skip_to(&mut self, number: u64) {
        self.first += number.saturating_sub(self.last);
        self.last = self.last.max(number);
    }

    /// Up to which number the next block must be reserved before one more can be issued; `None` if it is reserved.
    pub fn block_due(&self) -> Option<u64> {
        let block = self.last.saturating_sub(self.first).clamp(BLOCK.0, BLOCK.1);
        (self.last + block / 2 >= self.reserved).then(|| self.last + block)
    }

    /// A block was handed out to be written.
    pub fn reserved(&mut self, up_to: u64, written: Barrier, progress: &Progress) {
        self.settle(progress);
        self.reserved = up_to;
        self.reservation.merge(written);
    }

    /// The next number, which stands for content that the cloud had at `read`.
    pub fn issue(&mut self, read: Option<CloudRv>) -> Issued {
        self.last += 1;
        let above_cloud = read.is_none_or(|read| self.last > read.get());
        Issued { rv: ViewRv::issued(self.last), above_cloud }
    }

    /// What must pass before the last number may be shown.
    pub fn barrier(&mut self, progress: &Progress) -> Barrier {
        self.settle(progress);
        if self.last > self.safe { self.reservation } else { Barrier::default() }
    }

    fn settle(&mut self, progress: &Progress) {
        if self.reservation.has_passed(progress) {
            (self.safe, self.reservation) = (self.reserved, Barrier::default());
        }
    }
}
