//! What the hub counts, in Prometheus' terms.

pub mod staged;

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::agreement::Figures;
use crate::reads::SettledFigures;

/// Who asked: never a name that somebody outside can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asker {
    /// kubelet.
    Kubelet,
    /// This node's operator.
    Operator,
    /// Somebody with a certificate of the cluster's.
    Certified,
    /// Somebody with a token.
    Bearer,
    /// Somebody with nothing.
    Anonymous,
    /// Somebody who could not prove who they are.
    Unauthenticated,
}

impl EncodeLabelValue for Asker {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        let name = match self {
            Asker::Kubelet => "kubelet",
            Asker::Operator => "operator",
            Asker::Certified => "certified",
            Asker::Bearer => "bearer",
            Asker::Anonymous => "anonymous",
            Asker::Unauthenticated => "unauthenticated",
        };
        EncodeLabelValue::encode(&name, encoder)
    }
}

/// Labels of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Asked {
    /// Who.
    pub caller: Asker,
    /// The answer's HTTP status.
    pub code: u16,
}

/// All figures.
pub struct Metrics {
    registry: Registry,
    /// Requests answered.
    pub requests: Family<Asked, Counter>,
    /// Streams of exec, attach and port-forward that were begun.
    pub upgrades: Counter,
    /// Readers that had to be let go because they did not read.
    pub stuck: Counter,
    /// How often the node's certificate was renewed, and how often that failed.
    pub renewals: Counter,
    /// Attempts to renew that failed.
    pub renewal_failures: Counter,
    waiting: staged::Waiting,
    now: Moment,
}

/// What is looked at when somebody asks, and not counted.
#[derive(Debug, Default)]
struct Moment {
    up: Gauge,
    falls: Gauge,
    sent: Gauge,
    received: Gauge,
    made: Gauge,
    cloud: Gauge,
    known: Gauge,
    strangers: Gauge,
    sent_away: Gauge,
    answers: Gauge,
    watches: Gauge,
    told: Gauge,
    dropped: Gauge,
    forbidden: Gauge,
    expiry: Gauge,
    outage: Gauge,
    differences: Gauge,
    node_lost: Gauge,
    told_gone: Gauge,
    told_awaited: Gauge,
}

/// The values of a moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Now {
    /// Whether the cloud is there.
    pub up: bool,
    /// How often it was lost.
    pub falls: u64,
    /// Bytes to and from it, and connections made.
    pub traffic: [u64; 3],
    /// Shared connections open to it.
    pub cloud: usize,
    /// Connections of clients: known, and strangers.
    pub clients: (usize, usize),
    /// Connections of strangers that had to make room, and those that found none.
    pub sent_away: u64,
    /// Answers under way: all, and watches.
    pub answers: (usize, usize),
    /// What became of what waited for the cloud.
    pub settled: SettledFigures,
    /// When the node's certificate ends, in seconds since 1970; 0 if there is none.
    pub expiry: u64,
    /// Whether node and cloud agree on the node's pods.
    pub agreement: Figures,
    /// How the outbox stands.
    pub outbox: outbox::Standing,
    /// What waits in it.
    pub waiting: staged::Counts,
    /// For how many seconds the first of it waits.
    pub oldest: u64,
}

impl Metrics {
    /// All at zero; `writes` counts elsewhere what was to wait for the cloud.
    #[must_use]
    pub fn new(writes: &staged::Writes) -> Self {
        let mut registry = Registry::with_prefix("edgekeep_hub");
        let requests = Family::<Asked, Counter>::default();
        let [upgrades, stuck, renewals, renewal_failures] =
            [(); 4].map(|()| Counter::<u64, AtomicU64>::default());
        let now = Moment::default();
        registry.register("requests", "Requests answered, by caller and HTTP status", requests.clone());
        registry.register("upgrades", "Streams of exec, attach and port-forward begun", upgrades.clone());
        registry.register("stuck_readers", "Clients let go because they did not read", stuck.clone());
        registry.register(
            "node_certificate_renewals",
            "Renewals of the node's certificate",
            renewals.clone(),
        );
        let failures = renewal_failures.clone();
        registry.register("node_certificate_renewal_failures", "Renewals in vain", failures);
        for (name, help, gauge) in [
            ("cloud_up", "Whether the cloud is taken for reachable", &now.up),
            ("cloud_losses", "How often the cloud was lost since the start", &now.falls),
            ("cloud_sent_bytes", "Bytes sent to the cloud since the start", &now.sent),
            ("cloud_received_bytes", "Bytes received from the cloud since the start", &now.received),
            ("cloud_connections_made", "Connections made to the cloud since the start", &now.made),
            ("cloud_connections", "Shared connections open to the cloud", &now.cloud),
            ("clients", "Connections of clients that proved who they are", &now.known),
            ("strangers", "Connections of clients that did not yet", &now.strangers),
            ("sent_away", "Connections that had to make room or found none, since the start", &now.sent_away),
            ("answers_under_way", "Answers that are being passed on", &now.answers),
            ("watches", "Watches that are open", &now.watches),
            ("outbox_told", "What waited and reached the cloud, since the start", &now.told),
            ("outbox_dropped", "What waited and did not reach the cloud, since the start", &now.dropped),
            ("outbox_forbidden", "What waits and the cloud forbids to be told", &now.forbidden),
            ("node_certificate_expiry_seconds", "When the node's certificate ends, since 1970", &now.expiry),
            ("pods_outage_deletes", "Pods of this node that the cloud deletes in a long outage", &now.outage),
            ("binding_differences", "Differences of bindings and API server that last", &now.differences),
            (
                "node_object_lost",
                "Whether the cloud has deleted this node's object, or made it anew",
                &now.node_lost,
            ),
            ("bindings_gone", "Bindings found to be of deleted pods since the start", &now.told_gone),
            ("bindings_awaited", "Bindings found to wait for their pods since the start", &now.told_awaited),
        ] {
            registry.register(name, help, gauge.clone());
        }
        let waiting = staged::Waiting::default();
        waiting.register(&mut registry, writes);
        Self { registry, requests, upgrades, stuck, renewals, renewal_failures, waiting, now }
    }

    /// Counts an answer.
    pub fn answered(&self, caller: Asker, code: u16) {
        self.requests.get_or_create(&Asked { caller, code }).inc();
    }

    /// All of them as text, with the values of this moment.
    #[must_use]
    pub fn text(&self, now: &Now) -> String {
        let set = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        let size = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        let [sent, received, made] = now.traffic;
        set(&self.now.up, u64::from(now.up));
        set(&self.now.falls, now.falls);
        set(&self.now.sent, sent);
        set(&self.now.received, received);
        set(&self.now.made, made);
        set(&self.now.cloud, size(now.cloud));
        set(&self.now.known, size(now.clients.0));
        set(&self.now.strangers, size(now.clients.1));
        set(&self.now.sent_away, now.sent_away);
        set(&self.now.answers, size(now.answers.0));
        set(&self.now.watches, size(now.answers.1));
        set(&self.now.told, now.settled.told);
        set(&self.now.dropped, now.settled.dropped);
        set(&self.now.forbidden, size(now.settled.forbidden));
        set(&self.now.expiry, now.expiry);
        set(&self.now.outage, size(now.agreement.outage));
        set(&self.now.differences, size(now.agreement.differences));
        set(&self.now.node_lost, u64::from(now.agreement.node_lost));
        set(&self.now.told_gone, size(now.agreement.told.gone));
        set(&self.now.told_awaited, size(now.agreement.told.awaited));
        self.waiting.set(&now.outbox, now.waiting, now.oldest);
        let mut out = String::new();
        // Writing into a string cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
