//! Whether the cloud is there, judged by the connections themselves: a state machine without I/O, clock or chance.
//!
//! Three kinds of evidence, from weak to strong:
//! - a connection was made ([`Link::reached`]): the path is there, the API server may hang;
//! - bytes came from the API server ([`Link::heard`]): it is there;
//! - a probe failed outright at every address ([`Link::probe_failed`]): it is not.
//!
//! Silence is evidence only while a question is open. A question that was sent is never taken back here: what the
//! judgement changes is where the next one goes.

use std::fmt;
use std::time::Duration;

/// A moment on a clock that only goes forward; its zero is anybody's.
pub type Moment = Duration;

/// Silence after which a first probe is sent.
const SUSPICION: Duration = Duration::from_secs(1);
/// Probes of one suspicion follow each other by this much: independent packets, since each may be lost.
const PROBE_GAP: Duration = Duration::from_millis(500);
/// How many of them.
const PROBES: u32 = 3;
/// Silence from the first probe on, also of the path, after which the cloud is gone: 3 s in all (design §6.7).
const SILENCE: Duration = Duration::from_secs(2);
/// Silence of the API server after the path's first sign of life, after which it is gone too.
const HANG: Duration = Duration::from_secs(4);
/// How many times in a row the API server has to say that it is not ready, and in which distance it is asked.
const UNREADY: (u32, Duration) = (3, Duration::from_secs(1));
/// Shortest and longest time between two occasions on which answers to clients raise the question whether it is ready: some
/// of its answers are errors on a good day too (an aggregated API that is down), and a probe costs a handshake.
const CALM: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(320));
/// Longest silence that raises no suspicion, however slow the API server is known to be.
const PATIENCE: Duration = Duration::from_secs(5);
/// A link that nobody uses is asked once in this time: 450 bytes each, 2 MB a day.
const IDLE: Duration = Duration::from_secs(20);
/// First and longest pause between attempts while the cloud is gone, before jitter.
const PAUSE: (Duration, Duration) = (Duration::from_millis(700), Duration::from_secs(6));

/// The verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Requests go to the cloud.
    Up,
    /// Requests are answered by the node itself.
    Down(Why),
}

/// Why the cloud is taken for gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Nothing was tried yet.
    NotTried,
    /// Questions stay without any sign of life.
    Silent,
    /// Connections are made, but the API server says nothing.
    Hangs,
    /// No connection can be made; what the system said.
    Unreachable(String),
    /// It answers that it is not ready; its status code.
    NotReady(u16),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NotTried => f.write_str("no connection was tried yet"),
            Why::Silent => f.write_str("it does not answer (black hole)"),
            Why::Hangs => f.write_str("it accepts connections but does not answer"),
            Why::Unreachable(said) => f.write_str(said),
            Why::NotReady(code) => write!(f, "it says that it is not ready ({code})"),
        }
    }
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Make a fresh connection, and ask over it whether the API server is ready.
    Probe,
    /// Ask over a connection that is there: the link was idle.
    Ask,
}

/// The judge.
#[derive(Debug)]
pub struct Link {
    state: State,
    /// Questions without an answer.
    open: u32,
    /// Since when nothing was heard although a question is open.
    silent_since: Option<Moment>,
    /// The first sign of the path during this silence.
    touched: Option<Moment>,
    last_heard: Moment,
    /// Probes sent in this suspicion, or attempts in vain since the cloud is gone.
    probes: u32,
    next_probe: Moment,
    last_probe: Moment,
    probing: bool,
    /// How often in a row it said that it is not ready, while it is taken for there.
    unready: u32,
    /// When to ask next whether it is ready, because of what it answered.
    doubt: Option<Moment>,
    /// Before this moment an answer raises no doubt, and how long the next such time will be.
    calm: (Moment, Duration),
    /// How much silence raises suspicion: grows while the API server is known to be there but slow.
    patience: Duration,
}

impl Link {
    /// A link of which nothing is known, at `now`; the first [`Link::tick`] probes it.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self {
            state: State::Down(Why::NotTried),
            open: 0,
            silent_since: None,
            touched: None,
            last_heard: now,
            probes: 0,
            next_probe: now,
            last_probe: now,
            probing: false,
            unready: 0,
            doubt: None,
            calm: (now, CALM.0),
            patience: SUSPICION,
        }
    }

    /// The verdict now.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether requests go to the cloud.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// A question was sent.
    pub fn asked(&mut self, now: Moment) {
        self.open += 1;
        self.patience = SUSPICION;
        if self.silent_since.is_none() {
            self.begin_silence(now);
        }
    }

    /// A question was answered, or whoever asked has gone. Being answered is [`Link::heard`] besides.
    pub fn settled(&mut self) {
        self.open = self.open.saturating_sub(1);
        if self.open == 0 {
            self.silent_since = None;
        }
    }

    /// Bytes came from the API server.
    pub fn heard(&mut self, now: Moment) {
        self.last_heard = now;
        if self.is_up() {
            self.silent_since = None;
            if self.open > 0 {
                self.begin_silence(now);
            }
        } else if !self.probing && !matches!(self.state, State::Down(Why::NotReady(_))) {
            // Only a whole answer ends an absence, but there is reason to ask for one soon; the last bytes of an attempt
            // in vain are none to ask again at once.
            self.next_probe = self.next_probe.min(now.max(self.last_probe + PAUSE.0));
        }
    }

    /// A request was answered with a server's error (5xx): perhaps it is not the API server that answers, or it cannot do
    /// its work. A probe tells.
    pub fn unwell(&mut self, now: Moment) {
        if self.is_up() && self.doubt.is_none() && self.unready == 0 && now >= self.calm.0 {
            self.doubt = Some(now);
            let (_, length) = self.calm;
            self.calm = (now + length, (length * 2).min(CALM.1));
        }
    }

    /// A connection was made.
    pub fn reached(&mut self, now: Moment) {
        // The first one counts: who goes on connecting must not put the verdict off for ever.
        if self.silent_since.is_some() && self.touched.is_none() {
            self.touched = Some(now);
        }
    }

    /// A connection broke that had been made.
    pub fn lost(&mut self, now: Moment) {
        if self.is_up() && self.probes == 0 {
            self.probes = 1;
            self.next_probe = now;
        }
    }

    /// A probe got a whole answer; `code` is its HTTP status.
    pub fn probed(&mut self, now: Moment, code: u16, jitter: u32) {
        self.probing = false;
        if code >= 500 && !self.is_up() {
            return self.go_down(now, Why::NotReady(code), jitter);
        }
        if code >= 500 {
            self.unready += 1;
            if self.unready >= UNREADY.0 {
                return self.go_down(now, Why::NotReady(code), jitter);
            }
            self.doubt = Some(now + UNREADY.1);
        } else {
            (self.unready, self.doubt) = (0, None);
        }
        self.patience = if self.is_up() { (self.patience * 2).min(PATIENCE) } else { SUSPICION };
        self.state = State::Up;
        self.probes = 0;
        self.heard(now);
    }

    /// A probe ended without an answer.
    pub fn probe_failed(&mut self, now: Moment, why: Why, jitter: u32) {
        self.probing = false;
        self.unready = 0;
        let definite = matches!(why, Why::Unreachable(_));
        if definite || !self.is_up() {
            self.go_down(now, why, jitter);
        }
    }

    /// Looks at the time. `jitter` is any number, drawn anew for each call.
    pub fn tick(&mut self, now: Moment, jitter: u32) -> Option<Action> {
        if !self.is_up() {
            let due = !self.probing && now >= self.next_probe;
            if due {
                (self.probing, self.last_probe) = (true, now);
            }
            return due.then_some(Action::Probe);
        }
        if self.doubt.is_some_and(|doubt| now >= doubt) {
            self.doubt = None;
            return Some(Action::Probe);
        }
        let Some(since) = self.silent_since else { return self.tick_idle(now) };
        if now >= self.deadline(since) {
            let why = if self.touched.is_some() { Why::Hangs } else { Why::Silent };
            self.go_down(now, why, jitter);
            return None;
        }
        let suspicious = self.probes > 0 || now >= since + self.patience;
        let due = suspicious && now >= self.next_probe && self.probes < PROBES;
        due.then(|| self.probe_again(now))
    }

    /// When [`Link::tick`] may have something to say next.
    #[must_use]
    pub fn wake(&self) -> Moment {
        if !self.is_up() {
            return if self.probing { Moment::MAX } else { self.next_probe };
        }
        self.wake_up().min(self.doubt.unwrap_or(Moment::MAX))
    }

    fn wake_up(&self) -> Moment {
        let Some(since) = self.silent_since else {
            return if self.probes == 1 { self.next_probe } else { self.last_heard + IDLE };
        };
        let end = self.deadline(since);
        let probe =
            if self.probes == 0 { self.next_probe.max(since + self.patience) } else { self.next_probe };
        if self.probes < PROBES { end.min(probe) } else { end }
    }

    /// When a silence that began at `since` has lasted too long.
    fn deadline(&self, since: Moment) -> Moment {
        let unseen = since + self.patience + SILENCE;
        self.touched.map_or(unseen, |touched| unseen.max(touched + HANG))
    }

    fn tick_idle(&mut self, now: Moment) -> Option<Action> {
        if self.probes == 1 && now >= self.next_probe {
            return Some(self.probe_again(now));
        }
        (now >= self.last_heard + IDLE).then(|| {
            self.last_heard = now;
            Action::Ask
        })
    }

    fn probe_again(&mut self, now: Moment) -> Action {
        self.probes += 1;
        self.next_probe = now + PROBE_GAP;
        Action::Probe
    }

    fn begin_silence(&mut self, now: Moment) {
        (self.silent_since, self.touched, self.probes, self.next_probe) = (Some(now), None, 0, now);
    }

    fn go_down(&mut self, now: Moment, why: Why, jitter: u32) {
        let failures = if self.is_up() { 0 } else { self.probes.saturating_add(1) };
        self.state = State::Down(why);
        (self.unready, self.doubt, self.calm) = (0, None, (now, CALM.0));
        self.probes = failures;
        self.next_probe = now + pause(failures, jitter);
    }
}

/// The pause before the next attempt: doubling from the shortest to the longest, and then anything between half of it and
/// all of it, so that the hubs of a site or a region do not come back as one.
fn pause(failures: u32, jitter: u32) -> Duration {
    let longest = PAUSE.0.saturating_mul(1 << failures.min(8)).min(PAUSE.1);
    longest / 2 + (longest / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
