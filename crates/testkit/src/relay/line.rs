//! When a segment arrives: the arithmetic of one direction of one connection, without clock or sockets.

use std::time::Duration;

use crate::rng::Rng;

/// The most bytes that travel, and are lost, as one: what fits a TCP segment on Ethernet.
pub const SEGMENT: usize = 1460;

/// How a link treats what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// How long a byte is on its way in one direction: half a round trip.
    pub delay: Duration,
    /// How many of 100 segments are lost, and of their repetitions too.
    pub loss_percent: u64,
    /// How long a sender waits before it first sends a lost segment again, beyond a round trip; doubled each time that
    /// one is lost again. Linux waits 200 ms.
    pub retransmit_after: Duration,
    /// How many bytes leave in a second, per direction and connection; `None` is as many as come.
    pub bytes_per_second: Option<u64>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            loss_percent: 0,
            retransmit_after: Duration::from_millis(200),
            bytes_per_second: None,
        }
    }
}

impl Shape {
    /// Whether all bytes of one read arrive together, so that there is no need to cut them into segments.
    pub fn keeps_bytes_together(&self) -> bool {
        self.loss_percent == 0 && self.bytes_per_second.is_none()
    }

    /// How much later than without loss something sent now arrives, and whether it was lost at all. A link that loses
    /// everything is given up after ten attempts: the last one arrives.
    fn loss(&self, first_wait: Duration, rng: &mut Rng) -> Option<Duration> {
        let mut late = Duration::ZERO;
        let mut wait = first_wait;
        for _ in 0..10 {
            if !rng.chance(self.loss_percent) {
                break;
            }
            late += wait;
            wait *= 2;
        }
        (late > Duration::ZERO).then_some(late)
    }

    /// How long a SYN, or the answer to it, is under way: a lost one is sent again after a second (RFC 6298, 2.1).
    pub fn handshake(&self, rng: &mut Rng) -> Duration {
        self.delay + self.loss(Duration::from_secs(1), rng).unwrap_or_default()
    }
}

/// When a segment is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// At which time.
    pub at: Duration,
    /// Whether it was lost on the way and sent again.
    pub lost: bool,
}

/// One direction of one connection. Times are counted from any one moment.
#[derive(Debug)]
pub struct Line {
    free_at: Duration,
    last: Duration,
    rng: Rng,
}

impl Line {
    /// A direction in which nothing leaves before `open_at`.
    pub fn new(open_at: Duration, rng: Rng) -> Self {
        Self { free_at: open_at, last: Duration::ZERO, rng }
    }

    /// When `len` bytes arrive that are given to the line at `now`; `len` should be at most [`SEGMENT`]. Never before
    /// anything that was sent earlier.
    pub fn send(&mut self, now: Duration, len: usize, shape: &Shape) -> Arrival {
        let leaves = now.max(self.free_at) + transmission(len, shape.bytes_per_second);
        self.free_at = leaves;
        let first_wait = shape.retransmit_after + 2 * shape.delay;
        let loss = shape.loss(first_wait, &mut self.rng);
        self.last = self.last.max(leaves + shape.delay + loss.unwrap_or_default());
        Arrival { at: self.last, lost: loss.is_some() }
    }
}

fn transmission(len: usize, bytes_per_second: Option<u64>) -> Duration {
    let Some(rate) = bytes_per_second else { return Duration::ZERO };
    let nanos = (len as u128 * 1_000_000_000).div_ceil(u128::from(rate.max(1)));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
