//! Kubelet's cold boot, gone through question by question.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::ask::Ask;
use super::boot::{Boot, Started, Token};
use super::finding::{Area, Finding, Gravity};
use super::image::Images;
use super::outage;
use super::pod::{Pod, each, text};
use super::question::{Kind, Question, of_node};
use super::token;
use super::volume::{self, Driver, Owner};
use crate::date;

/// How the hub would answer kubelet if the cloud were gone.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// With this object or list; see [`Ask::needs_content`].
    Known(Value),
    /// That there is no such object: 404.
    Absent,
    /// Not: 503.
    Unknown,
}

const ASK_AGAIN: &str = "while the cloud is reachable, run `systemctl restart kubelet`: it then asks through the hub for \
                         all that its pods need, and no pod is restarted by it";

/// Goes through all that kubelet on the node of this name would ask at a cold boot. `answer` says what the hub would
/// answer kubelet without the cloud, `now` is in seconds since 1970.
pub fn examine(
    node: &str,
    now: u64,
    answer: &mut dyn FnMut(&Ask) -> Answer,
    sha256: &dyn Fn(&[u8]) -> [u8; 32],
) -> Boot {
    let boot = Boot { node: node.to_owned(), ..Boot::default() };
    let mut examination =
        Examination { node, now, answer, sha256, boot, drivers: BTreeMap::new(), owners: BTreeMap::new() };
    let pods = examination.node_itself();
    let mut round = examination.pods(&pods);
    // What is asked leads to more: a claim to its volume, a volume to its attachment. Never deeper.
    while !round.is_empty() {
        let mut next = Round::default();
        for question in round.questions() {
            examination.one(question, &mut next);
        }
        round = next;
    }
    examination.boot
}

struct Examination<'a> {
    node: &'a str,
    now: u64,
    answer: &'a mut dyn FnMut(&Ask) -> Answer,
    sha256: &'a dyn Fn(&[u8]) -> [u8; 32],
    boot: Boot,
    drivers: BTreeMap<String, Driver>,
    owners: BTreeMap<String, Owner>,
}

/// Questions that are asked together; one that several pods need is asked once.
#[derive(Default)]
struct Round(BTreeMap<Kind, (BTreeSet<String>, bool)>);

impl Round {
    fn add(&mut self, question: Question) {
        let (pods, optional) =
            self.0.entry(question.kind).or_insert_with(|| (BTreeSet::new(), question.optional));
        pods.extend(question.pods);
        *optional &= question.optional;
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn questions(self) -> impl Iterator<Item = Question> {
        self.0.into_iter().map(|(kind, (pods, optional))| Question { kind, pods, optional })
    }
}

impl Examination<'_> {
    /// What kubelet asks whatever its pods are; gives the list of pods, and says what there is to say of their images.
    fn node_itself(&mut self) -> Value {
        let (mut node, mut pods) = (Value::Null, Value::Null);
        for question in of_node() {
            let Some(known) = self.ask(&question) else { continue };
            match question.kind {
                Kind::Node => node = each(&known, "/items").next().cloned().unwrap_or_default(),
                Kind::Pods => pods = known,
                Kind::CsiDrivers => self.drivers = volume::drivers(&known),
                Kind::CsiNode => self.csi_node(&known, text(&node, "/metadata/uid")),
                _ => {}
            }
        }
        for finding in outage::findings(each(&pods, "/items").map(Pod)) {
            self.boot.say(finding);
        }
        let images = Images::of(&node);
        for pod in each(&pods, "/items").map(Pod).filter(|pod| !pod.is_over()) {
            for finding in images.findings(pod) {
                self.boot.say(finding);
            }
        }
        pods
    }

    /// kubelet makes its CSINode anew if it is another Node's (`pkg/volume/csi/nodeinfomanager`).
    fn csi_node(&mut self, csi_node: &Value, uid: &str) {
        let mut owners = each(csi_node, "/metadata/ownerReferences").map(|owner| text(owner, "/uid"));
        if !uid.is_empty() && !owners.any(|owner| owner == uid) {
            let what = Kind::CsiNode.what(self.node);
            let why = "it belongs to another Node of this name: kubelet makes it anew at its start, which cannot be done \
                       without the cloud; the node stays NotReady, and kubelet ends itself again and again";
            let finding = Finding::new(Area::Objects, Gravity::Missing, what, why);
            self.boot.say(finding.to_do(ASK_AGAIN));
        }
    }

    /// The pods that would be started, and their questions.
    fn pods(&mut self, list: &Value) -> Round {
        let mut round = Round::default();
        for pod in each(list, "/items").map(Pod).filter(|pod| !pod.is_over()) {
            self.boot.pods.push(Started {
                namespace: pod.namespace().to_owned(),
                name: pod.name().to_owned(),
                addresses: pod.addresses(),
                host_network: pod.is_on_host_network(),
            });
            if pod.is_static() {
                continue;
            }
            self.owners.insert(pod.title(), Owner::of(pod));
            pod.questions().into_iter().for_each(|question| round.add(question));
            for driver in volume::inline_drivers(pod) {
                self.tokens_for(driver, &[pod.title()].into(), &mut round);
            }
            if volume::wants_certificate(pod) {
                let why =
                    "it mounts a certificate (podCertificate) that the cluster signs anew after each boot";
                let what = format!("certificate of pod {}", pod.title());
                let finding = Finding::new(Area::Objects, Gravity::Missing, what, why);
                self.boot.say(finding.of([pod.title()]).to_do("mount a secret or a token instead"));
            }
        }
        round
    }

    fn one(&mut self, question: Question, next: &mut Round) {
        let Some(known) = self.ask(&question) else { return };
        let Question { kind, pods, .. } = question;
        let mut add = |kind| next.add(Question { kind, pods: pods.clone(), optional: false });
        match &kind {
            Kind::Claim(..) => match text(&known, "/spec/volumeName") {
                "" => {
                    let why = "it is bound to no volume: the pod does not start with the cloud either";
                    let finding = Finding::new(Area::Objects, Gravity::Note, kind.what(self.node), why);
                    self.boot.say(finding.of(pods));
                }
                name => add(Kind::Volume(name.to_owned())),
            },
            Kind::Volume(_) => {
                let behind = volume::behind(&known, self.node, &self.drivers, self.sha256);
                behind.kinds.into_iter().for_each(add);
                if let Some(driver) = behind.driver {
                    self.tokens_for(&driver, &pods, next);
                }
                if behind.migrated {
                    let why = "it is of a kind that a CSI driver has taken over: whether the hub knows its attachment \
                               cannot be told";
                    let finding = Finding::new(Area::Objects, Gravity::Unknown, kind.what(self.node), why);
                    self.boot.say(finding.of(pods).to_do("make it a volume of that CSI driver"));
                }
            }
            Kind::Token(_) => self.token(&kind, &known, pods),
            _ => {}
        }
    }

    /// The tokens that a CSI driver gets for each of these pods.
    fn tokens_for(&self, driver: &str, pods: &BTreeSet<String>, round: &mut Round) {
        let Some(driver) = self.drivers.get(driver) else { return };
        for title in pods {
            let Some(owner) = self.owners.get(title) else { continue };
            for (audience, seconds) in &driver.tokens {
                let kind = volume::token_of(owner, audience, *seconds);
                round.add(Question { kind, pods: [title.clone()].into(), optional: false });
            }
        }
    }

    fn token(&mut self, kind: &Kind, answer: &Value, pods: BTreeSet<String>) {
        let (what, until) = (kind.what(self.node), token::until(answer));
        if let Some(until) = until.filter(|until| *until <= self.now) {
            let why = format!(
                "it ended {}: the pod starts, but whoever checks its token refuses it",
                date::shown(until)
            );
            let to_do = "let kubelet reach the cloud: it renews tokens by itself";
            let finding = Finding::new(Area::Tokens, Gravity::Note, what.clone(), why);
            self.boot.say(finding.of(pods).to_do(to_do));
        }
        self.boot.tokens.push(Token { what, until });
    }

    /// What the hub knows to the question; what it does not know is said.
    fn ask(&mut self, question: &Question) -> Option<Value> {
        if !matches!(question.kind, Kind::Token(_)) {
            self.boot.questions += 1;
        }
        let mut absent = false;
        for ask in question.kind.asks(self.node) {
            match (self.answer)(&ask) {
                Answer::Known(list) if is_empty_for_one(&ask, &list) => absent = true,
                Answer::Known(known) => return Some(known),
                Answer::Absent => absent = true,
                Answer::Unknown => {}
            }
        }
        let finding =
            if absent { absence(question, self.node) } else { Some(ignorance(question, self.node)) };
        if let Some(finding) = finding {
            self.boot.say(finding);
        }
        None
    }
}

/// Whether a list of what has one name says that there is nothing of that name.
fn is_empty_for_one(ask: &Ask, list: &Value) -> bool {
    let named = matches!(ask, Ask::List { fields, .. } if fields.starts_with("metadata.name="));
    named && each(list, "/items").next().is_none()
}

/// The hub would answer 503.
fn ignorance(question: &Question, node: &str) -> Finding {
    let why = match question.kind.without() {
        Some(without) => format!("the hub cannot answer kubelet without the cloud: {without}"),
        None if question.optional => {
            "the hub does not know whether it exists; without an answer the pod does not start, although it is optional"
                .into()
        }
        None => "the hub cannot answer kubelet without the cloud: the pod does not start".into(),
    };
    let finding = Finding::new(question.kind.area(), Gravity::Missing, question.kind.what(node), why);
    finding.of(question.pods.iter().cloned()).to_do(ASK_AGAIN)
}

/// The hub would answer 404, as the cloud does.
fn absence(question: &Question, node: &str) -> Option<Finding> {
    if question.optional {
        return None;
    }
    let (gravity, why) = match &question.kind {
        Kind::Node => (Gravity::Missing, "it does not exist in the cluster: kubelet starts no pod"),
        Kind::CsiNode => (
            Gravity::Missing,
            "it does not exist: kubelet makes it at its start, which cannot be done without the cloud; the node stays \
             NotReady, and kubelet ends itself again and again",
        ),
        Kind::Pods => (Gravity::Missing, "the cluster does not have it: kubelet starts no pod"),
        Kind::Services | Kind::RuntimeClasses | Kind::CsiDrivers | Kind::TrustBundles => {
            (Gravity::Note, "the cluster does not have it")
        }
        _ => (Gravity::Note, "it does not exist: what needs it does not start with the cloud either"),
    };
    let to_do = match question.kind {
        Kind::Node | Kind::CsiNode | Kind::Pods => ASK_AGAIN,
        _ => "",
    };
    let finding = Finding::new(question.kind.area(), gravity, question.kind.what(node), why).to_do(to_do);
    Some(finding.of(question.pods.iter().cloned()))
}
