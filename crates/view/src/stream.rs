//! One stream from the cloud, and what it has delivered so far.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::mark::Identity;
use crate::object::Object;
use crate::resource::{Key, ResourceId};
use crate::scope::Scope;
use crate::version::CloudRv;

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The connection broke, the time was up, or the cloud is in trouble: 429, 5xx.
    Broken,
    /// 410: the cloud cannot go on from where the stream was.
    Expired,
    /// 401: the credential is no more.
    Unauthenticated,
    /// 403.
    Forbidden,
    /// 404: the cloud does not serve this resource.
    NotServed,
}

/// How far a stream is.
#[derive(Debug)]
pub(crate) enum State {
    /// It is to be opened again at this time.
    Waiting(Duration),
    /// It was asked for.
    Opening,
    /// It delivers the present state.
    Reading(Reading),
    /// It follows.
    Live,
}

/// The part of the present state that was delivered.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub seen: BTreeSet<Key>,
    /// News that must be shown in the order of their versions, which is not the order in which they come.
    pub held: Vec<Object>,
}

/// A stream from the cloud.
#[derive(Debug)]
pub(crate) struct Stream {
    pub resource: ResourceId,
    pub scope: Scope,
    pub identity: Identity,
    pub state: State,
    /// Whether the cloud granted the scope to this identity before: only then an empty answer is believed.
    pub trusted: bool,
    /// Up to where the scope was read when the stream was opened.
    pub position: Option<CloudRv>,
    /// Up to where the log is known to say that it was read.
    pub stored: Option<CloudRv>,
    /// Changes since that was looked at.
    pub unstored: u32,
    /// A version that the cloud had reached when the stream was opened.
    pub reached: Option<CloudRv>,
    /// Whether everything must be read, because the cloud cannot go on.
    pub anew: bool,
    /// Whether it waits only because not all are to be opened at once.
    pub is_spread: bool,
    /// How often in a row it ended without having followed.
    pub failures: u32,
}

/// Longest wait between two attempts.
const LONGEST: Duration = Duration::from_secs(30);
const SHORTEST: Duration = Duration::from_millis(800);

/// How long to wait before the next attempt: doubling, and jittered by half of it so that a site full of nodes does not
/// come back at once.
pub(crate) fn backoff(failures: u32, random: u64) -> Duration {
    let doubled = SHORTEST.saturating_mul(1 << failures.min(6)).min(LONGEST);
    doubled / 2 + part(doubled / 2, random)
}

/// A part of a time that any number chooses.
pub(crate) fn part(of: Duration, random: u64) -> Duration {
    Duration::from_millis(random % u64::try_from(of.as_millis()).unwrap_or(1).max(1))
}
