//! Keeps the [`Link`]: tells it what the connections see, wakes it, and tells everybody its verdict.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::link::{Action, Link, Moment, State};

/// The link of one hub to its cloud.
pub struct Judge {
    began: Instant,
    link: Mutex<Judged>,
    sooner: Notify,
    verdict: watch::Sender<Verdict>,
}

struct Judged {
    link: Link,
    /// When it will be looked at next, if nothing happens before.
    alarm: Moment,
}

/// What was judged, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What.
    pub state: State,
    /// When, on the judge's clock.
    pub since: Moment,
    /// How often the cloud was lost before.
    pub falls: u64,
}

impl Judge {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let link = Link::new(Duration::ZERO);
        let first = Verdict { state: link.state().clone(), since: Duration::ZERO, falls: 0 };
        let verdict = watch::Sender::new(first);
        let judged = Judged { link, alarm: Moment::ZERO };
        Arc::new(Self { began: Instant::now(), link: Mutex::new(judged), sooner: Notify::new(), verdict })
    }

    /// The judge's clock.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.began.elapsed()
    }

    /// The present verdict, and those to come.
    #[must_use]
    pub fn verdict(&self) -> watch::Receiver<Verdict> {
        self.verdict.subscribe()
    }

    /// The present verdict.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().link.state().clone()
    }

    /// Tells the link something.
    pub fn tell<R>(&self, what: impl FnOnce(&mut Link, Moment) -> R) -> R {
        let now = self.now();
        let mut judged = self.lock();
        let was = judged.link.is_up();
        let said = what(&mut judged.link, now);
        if judged.link.is_up() != was || self.verdict.borrow().state != *judged.link.state() {
            self.publish(&judged.link, now);
        }
        // A busy link is told something several times a request; only what cannot wait wakes the one who looks at it.
        let wake = judged.link.wake();
        if wake < judged.alarm {
            judged.alarm = wake;
            self.sooner.notify_one();
        }
        said
    }

    fn publish(&self, link: &Link, now: Moment) {
        let state = link.state().clone();
        self.verdict.send_modify(|verdict| {
            let (was, is) = (verdict.state == State::Up, state == State::Up);
            match (was, is) {
                (false, true) => tracing::info!("the cloud is there"),
                (true, false) => tracing::warn!("the cloud is gone: {}", why(&state)),
                _ => tracing::debug!("the cloud is still gone: {}", why(&state)),
            }
            if was != is {
                verdict.since = now;
                verdict.falls += u64::from(was);
            }
            verdict.state = state;
        });
    }

    fn lock(&self) -> MutexGuard<'_, Judged> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the link when it wants to be woken, and hands what it wants done to `act`; never ends.
    pub async fn run(&self, act: impl Fn(Action)) {
        loop {
            if let Some(action) = self.tell(|link, now| link.tick(now, jitter())) {
                act(action);
                continue;
            }
            let wake = {
                let mut judged = self.lock();
                judged.alarm = judged.link.wake();
                judged.alarm.saturating_sub(self.now()).min(Duration::from_secs(3600))
            };
            tokio::select! {
                () = tokio::time::sleep(wake) => {}
                () = self.sooner.notified() => {}
            }
        }
    }
}

fn why(state: &State) -> String {
    match state {
        State::Up => String::new(),
        State::Down(why) => why.to_string(),
    }
}

/// Any number: the standard library seeds its hash maps with one.
#[must_use]
pub fn jitter() -> u32 {
    let drawn = RandomState::new().build_hasher().finish();
    u32::try_from(drawn >> 32).unwrap_or(0)
}
