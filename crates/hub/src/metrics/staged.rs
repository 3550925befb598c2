//! Figures of what waits for the cloud.

use std::sync::atomic::{AtomicU64, Ordering};

use outbox::{Standing, What};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What an entry tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    what: &'static str,
}

/// Why a write could not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct For {
    reason: &'static str,
}

/// Writes that were to wait for the cloud.
#[derive(Debug, Clone, Default)]
pub struct Writes {
    answered: Family<Of, Counter>,
    refused: Family<For, Counter>,
}

impl Writes {
    /// One was stored.
    pub fn answered(&self, what: &'static str) {
        self.answered.get_or_create(&Of { what }).inc();
    }

    /// One was refused because of `outbox-full`, `names-too-long` or the `disk`.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&For { reason }).inc();
    }
}

/// How many entries tell what, in the order of [`What::WORDS`].
pub type Counts = [usize; What::WORDS.len()];

/// What is looked at when somebody asks.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    entries: Family<Of, Gauge>,
    bytes: Gauge,
    limit: Gauge,
    oldest: Gauge,
    given_up: Counter<u64, AtomicU64>,
}

impl Waiting {
    pub(super) fn register(&self, registry: &mut Registry, writes: &Writes) {
        registry.register("outbox_entries", "What waits for the cloud", self.entries.clone());
        registry.register("outbox_bytes", "Bytes of what waits for the cloud", self.bytes.clone());
        registry.register("outbox_limit_bytes", "The most that may wait", self.limit.clone());
        registry.register(
            "outbox_oldest_seconds",
            "For how long the first of it waits, by the node's clock",
            self.oldest.clone(),
        );
        registry.register(
            "outbox_events_given_up",
            "Events given up because no more could wait",
            self.given_up.clone(),
        );
        registry.register("staged_writes", "Writes answered and kept for the cloud", writes.answered.clone());
        registry.register(
            "staged_writes_refused",
            "Writes refused that could have waited",
            writes.refused.clone(),
        );
    }

    pub(super) fn set(&self, standing: &Standing, counts: Counts, oldest: u64) {
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        for (what, count) in What::WORDS.into_iter().zip(counts) {
            self.entries.get_or_create(&Of { what }).set(number(count));
        }
        self.bytes.set(number(standing.bytes));
        self.limit.set(number(standing.limit));
        self.oldest.set(i64::try_from(oldest).unwrap_or(i64::MAX));
        self.given_up.inner().store(standing.given_up, Ordering::Relaxed);
    }
}
