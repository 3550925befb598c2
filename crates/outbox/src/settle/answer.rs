//! What the cloud answered, and what follows.

use std::time::Duration;

use super::fate::{Fate, Reason};
use super::item::{Class, State, Why};
use super::{Effect, Moment, Read, Reading, Settle, Ticket};
use crate::entry::{Id, Writer};

/// A list of the node's pods that is older is read again before a pod counts as forbidden.
const LIST_IS_NEW: Duration = Duration::from_secs(10);

/// So often a change in the cloud comes first before it is waited a moment.
const CONFLICTS: u32 = 2;

/// The end of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The cloud answered.
    Code {
        /// The HTTP code.
        code: u16,
        /// The message of the `Status`, if it is one.
        message: String,
        /// The header `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// Nothing came back: nobody knows whether it was done.
    Nothing,
    /// It was not sent: no credential of its writer is known.
    NoCredential,
}

/// The end of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Got {
    /// It was read, and the view knows it.
    Read,
    /// The object is not there.
    Absent,
    /// The node may not read it.
    Forbidden,
    /// It failed.
    Failed {
        /// The header `Retry-After`.
        retry_after: Option<Duration>,
    },
}

/// What was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// After so many writes.
    pub writes: u64,
    /// What becomes of it if it is taken.
    pub fate: Fate,
    /// Whether something is to be sent after it.
    pub more: bool,
    pub is_delete: bool,
}

impl Settle {
    /// A request has come to its end.
    pub fn answered(&mut self, ticket: Ticket, answer: Answer, moment: Moment) {
        let Some((id, sent)) = self.sent.remove(&ticket) else { return };
        let Some(item) = self.items.get_mut(&id) else { return };
        item.state = State::Idle;
        let (is_event, writer) = (item.is_event(), item.entry.id.writer.clone());
        match answer {
            Answer::NoCredential => self.without_credential(&id, moment.now),
            Answer::Nothing => self.later(&id, Why::Failed, moment.now),
            Answer::Code { code: 200..300, .. } => self.taken(&id, sent),
            Answer::Code { code: 404 | 409, .. } if sent.is_delete => self.taken(&id, sent),
            Answer::Code { code: 409, .. } if is_event => {
                // It is there: of what may have been told before, the count may have grown since.
                item.told.get_or_insert(Fate::Known);
                self.queue(&id);
            }
            Answer::Code { code: 404, .. } if is_event && item.told.is_some() => {
                self.settle(&id, Fate::Known)
            }
            Answer::Code { code: 403 | 404, .. } if is_event => {
                self.settle(&id, Fate::Dropped(Reason::NoNamespace));
            }
            Answer::Code { code: 404, .. } => self.settle(&id, Fate::Dropped(Reason::Gone)),
            Answer::Code { code: 409, .. } => self.conflict(&id, moment.now),
            Answer::Code { code: 429, retry_after, .. } => {
                self.pause_for(retry_after, moment.now);
                self.queue(&id);
            }
            Answer::Code { code: 401, .. } if writer != Writer::Kubelet => {
                self.without_credential(&id, moment.now);
            }
            Answer::Code { code: 403, message, .. } => self.park(&id, message, moment.now),
            Answer::Code { code: code @ (400 | 402..=407 | 410..=428 | 430..=499), message, .. } => {
                self.settle(&id, Fate::Dropped(Reason::Refused { code, message }));
            }
            Answer::Code { retry_after, .. } => {
                if retry_after.is_some() {
                    self.pause_for(retry_after, moment.now);
                }
                self.later(&id, Why::Failed, moment.now);
            }
        }
    }

    /// The cloud took it.
    fn taken(&mut self, id: &Id, sent: Sent) {
        let Some(item) = self.items.get_mut(id) else { return };
        item.failures = 0;
        if item.entry.writes != sent.writes {
            return self.queue(id);
        }
        if !sent.more {
            let of_pod = item.told.take().filter(|_| !item.is_event());
            let fate = of_pod.unwrap_or(sent.fate);
            return self.settle(id, fate);
        }
        item.told = Some(sent.fate);
        item.class = Class::Deletion;
        self.queue(id);
    }

    /// Somebody changed the object in the cloud before this came.
    fn conflict(&mut self, id: &Id, now: Duration) {
        let Some(item) = self.items.get_mut(id) else { return };
        item.failures += 1;
        let wait = if item.failures > CONFLICTS {
            self.dice.wait(&self.limits, item.failures - CONFLICTS)
        } else {
            Duration::ZERO
        };
        self.reads.insert(Read::Again(item.place()), Reading::Wanted { failures: 0, due: now + wait });
        self.queue(id);
    }

    fn without_credential(&mut self, id: &Id, now: Duration) {
        let most = self.limits.credential;
        let Some(item) = self.items.get_mut(id) else { return };
        if item.miss_credential(now, most) {
            return self.settle(id, Fate::Dropped(Reason::NoCredential));
        }
        self.later(id, Why::NoCredential, now);
    }

    /// The cloud forbids it. Of a pod that may mean that it is gone, or another one on another node: the list of the
    /// node's pods tells.
    fn park(&mut self, id: &Id, message: String, now: Duration) {
        if id.resource.resource() == "pods" {
            self.doubt_list(now);
        }
        self.effects.push(Effect::Parked { id: id.clone(), message: message.clone() });
        self.later(id, Why::Forbidden(message), now);
    }

    fn doubt_list(&mut self, now: Duration) {
        if let Some(Reading::Done { at }) = self.reads.get(&Read::Pods)
            && now.saturating_sub(*at) > LIST_IS_NEW
        {
            self.reads.insert(Read::Pods, Reading::Wanted { failures: 0, due: now });
        }
    }

    fn later(&mut self, id: &Id, why: Why, now: Duration) {
        let Some(item) = self.items.get_mut(id) else { return };
        item.failures += 1;
        let wait = match why {
            Why::Failed => self.dice.wait(&self.limits, item.failures),
            Why::NoCredential => self.limits.longest_wait,
            Why::Forbidden(_) => self.limits.parked + self.dice.part(self.limits.parked / 4),
        };
        item.state = State::Waiting(why);
        item.due = now + wait;
        self.queue(id);
    }

    fn pause_for(&mut self, retry_after: Option<Duration>, now: Duration) {
        let asked = retry_after.unwrap_or(Duration::from_secs(1)).min(Duration::from_secs(300));
        let spread = self.dice.part(asked / 2 + self.limits.first_wait);
        self.pause = self.pause.max(now + asked + spread);
    }

    /// A read has come to its end.
    pub fn got(&mut self, read: &Read, got: Got, moment: Moment) {
        let Some(Reading::Underway { failures }) = self.reads.get(read).copied() else { return };
        let now = moment.now;
        match (read, got) {
            (_, Got::Failed { retry_after }) => {
                if retry_after.is_some() {
                    self.pause_for(retry_after, now);
                }
                self.read_later(read, failures, now);
            }
            // Without the list nothing is known of any pod; the node's own object is no secret to it.
            (Read::Pods, Got::Forbidden | Got::Absent) | (Read::Own(_), Got::Forbidden) => {
                self.read_later(read, failures, now);
            }
            (Read::Again(place), Got::Forbidden) if place.0.resource() != "pods" => {
                self.read_later(read, failures, now);
            }
            (Read::Pods, Got::Read) => {
                self.reads.insert(Read::Pods, Reading::Done { at: now });
                self.wake(|item| item.entry.id.resource.resource() == "pods");
            }
            (Read::Own(place) | Read::Again(place), Got::Read | Got::Absent) => {
                let is_absent = got == Got::Absent;
                if is_absent {
                    self.absent.insert(place.clone())
                } else {
                    self.absent.remove(place)
                };
                self.read_done(read, now);
                self.wake(|item| item.place() == *place);
            }
            // A pod without relation to the node: gone, if the list confirms it.
            (Read::Again(_), Got::Forbidden) => {
                self.read_done(read, now);
                self.reads.insert(Read::Pods, Reading::Wanted { failures: 0, due: now });
            }
        }
    }

    fn read_done(&mut self, read: &Read, now: Duration) {
        match read {
            Read::Again(_) => drop(self.reads.remove(read)),
            _ => drop(self.reads.insert(read.clone(), Reading::Done { at: now })),
        }
    }

    fn read_later(&mut self, read: &Read, failures: u32, now: Duration) {
        let failures = failures.saturating_add(1);
        let due = now + self.dice.wait(&self.limits, failures);
        self.reads.insert(read.clone(), Reading::Wanted { failures, due });
    }
}
