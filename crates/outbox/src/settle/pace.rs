//! How fast the cloud is asked, and when again.

use std::time::Duration;

/// How much is asked of the cloud: no more than these, and no faster than what waits needs to be told in time, for others come
/// back at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests a second, in the long run.
    pub rate: u32,
    /// Requests at once after a pause, where there is work for that.
    pub burst: u32,
    /// Requests on their way at a time.
    pub at_once: usize,
    /// Events a second, in the long run and at once.
    pub events: u32,
    /// Requests a second that are enough for little.
    pub least: u32,
    /// Ends of pods are to be told within so long a time, if the rate allows.
    pub ends_in: Duration,
    /// So are they and states.
    pub states_in: Duration,
    /// Events take as long as all of it would in so long a time; they come last.
    pub events_in: Duration,
    /// Settling begins at a random moment of so long a time after the link came back, so that a fleet does not come as
    /// one.
    pub spread: Duration,
    /// The node's status and lease are held for so long for the end of pods to be known.
    pub hold: Duration,
    /// How long a daemon's entry waits for a credential of its daemon.
    pub credential: Duration,
    /// The first wait after a failure; it doubles up to the longest.
    pub first_wait: Duration,
    /// See there.
    pub longest_wait: Duration,
    /// What is forbidden is tried again after so long.
    pub parked: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        let seconds = Duration::from_secs;
        Limits {
            rate: 20,
            burst: 40,
            at_once: 16,
            events: 5,
            least: 1,
            ends_in: seconds(8),
            states_in: seconds(12),
            events_in: seconds(30),
            spread: seconds(1),
            hold: seconds(10),
            credential: seconds(600),
            first_wait: Duration::from_millis(500),
            longest_wait: seconds(30),
            parked: seconds(300),
        }
    }
}

/// Lets so many through a second, and some at once after a pause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gate {
    every: Duration,
    slack: Duration,
    /// When all that went through would have, one by one.
    due: Duration,
}

impl Gate {
    pub fn new(rate: u32, burst: u32) -> Gate {
        let every = Duration::from_secs(1) / rate.max(1);
        Gate { every, slack: every * (burst.max(1) - 1), due: Duration::ZERO }
    }

    /// Lets through from now on so many in so long a time, but no fewer than `least` a second and no more than `rate`; an eighth
    /// of them at once, but no more than `burst`. It only grows quicker, or its work would never end.
    pub fn quicken(&mut self, (many, time): (usize, Duration), least: u32, rate: u32, burst: u32) {
        let second = Duration::from_secs(1);
        let (quickest, slowest) = (second / rate.max(1), second / least.clamp(1, rate.max(1)));
        let many = u32::try_from(many).unwrap_or(u32::MAX).max(1);
        let every = (time / many).clamp(quickest, slowest);
        if every < self.every {
            (self.every, self.slack) = (every, every * ((many / 8).clamp(1, burst.max(1)) - 1));
        }
    }

    /// When the next one may go through.
    pub fn opens(&self) -> Duration {
        self.due.saturating_sub(self.slack)
    }

    /// Lets one through if it may.
    pub fn pass(&mut self, now: Duration) -> bool {
        if self.opens() > now {
            return false;
        }
        self.due = self.due.max(now) + self.every;
        true
    }
}

/// Chance that follows a seed (splitmix64): it spreads moments, it protects nothing.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// A part of a time, anything from none to all of it.
    pub fn part(&mut self, of: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let thousandths = u32::try_from((z ^ (z >> 31)) % 1001).unwrap_or(0);
        of * thousandths / 1000
    }

    /// The wait after the n-th failure in a row: half of it sure, half of it chance.
    pub fn wait(&mut self, limits: &Limits, failures: u32) -> Duration {
        let doubled = limits.first_wait.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let wait = doubled.min(limits.longest_wait);
        wait / 2 + self.part(wait / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_lets_a_burst_through_and_then_its_rate() {
        let mut gate = Gate::new(20, 40);
        let at = |ms| Duration::from_millis(ms);
        assert_eq!((0..100).filter(|_| gate.pass(at(5000))).count(), 40);
        assert!(!gate.pass(at(5049)) && gate.pass(at(5050)) && !gate.pass(at(5050)));
        let passed = (5051..15_050).filter(|ms| gate.pass(at(*ms))).count();
        assert_eq!(passed, 199);
    }

    #[test]
    fn a_gate_is_as_quick_as_its_work_needs_it_to_be() {
        let passed = |many: usize, more: usize| {
            let mut gate = Gate::new(2, 1);
            gate.quicken((many, Duration::from_secs(5)), 2, 20, 40);
            gate.quicken((more, Duration::from_secs(5)), 2, 20, 40);
            (5000..6000).filter(|ms| gate.pass(Duration::from_millis(*ms))).count()
        };
        assert_eq!([passed(0, 0), passed(3, 0), passed(20, 0), passed(20, 3)], [2, 2, 5, 5]);
        assert_eq!([passed(100, 0), passed(10_000, 0)], [31, 59]);
    }

    #[test]
    fn waits_grow_to_the_longest_and_differ() {
        let (mut dice, limits) = (Dice::new(1), Limits::default());
        let waits: Vec<Duration> = (1..40).map(|failures| dice.wait(&limits, failures)).collect();
        assert!(waits[0] <= limits.first_wait && waits.iter().all(|wait| *wait <= limits.longest_wait));
        assert!(waits[8..].iter().all(|wait| *wait >= limits.longest_wait / 2));
        assert!(waits[10] != waits[11]);
    }
}
