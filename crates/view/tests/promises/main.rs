//! The promises of the view, one by one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod next_hub;

use std::sync::Arc;
use std::time::Duration;

use view::{
    Answer, Ask, Change, CloudRv, Effect, End, Frame, Identity, Key, Limits, Loading, Next, Object, Open,
    ResourceId, Scope, Shelf, StreamId, View,
};
use wire::request::{GetOptions, VersionMatch};
use wire::{Encoding, ListOptions};

struct NoShelf;

impl Shelf for NoShelf {
    fn fetch(&self, _: &ResourceId, _: &Key) -> Option<Arc<[u8]>> {
        None
    }
}

const NOW: Duration = Duration::from_secs(10);

fn rv(number: u64) -> CloudRv {
    CloudRv::parse(&number.to_string()).unwrap()
}

fn pods() -> ResourceId {
    ResourceId::new("", "v1", "pods", "")
}

fn own_pods() -> Scope {
    Scope { fields: "spec.nodeName=n1".parse().unwrap(), ..Scope::default() }
}

fn pod(name: &str, uid: &str, version: u64, phase: &str) -> Object {
    let json = format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"{name}","namespace":"a","uid":"{uid}","resourceVersion":"{version}"}},"spec":{{"nodeName":"n1"}},"status":{{"phase":"{phase}"}}}}"#
    );
    view::read(&pods(), json.into_bytes(), Encoding::Json).unwrap()
}

/// A view whose logs are as quick as it wants.
struct Hub {
    view: View,
    kubelet: Identity,
    opened: Vec<Open>,
    woken: usize,
    written: Vec<view::Write>,
}

impl Hub {
    fn new() -> Hub {
        let view = View::new("n1", Limits::default(), Box::new(NoShelf));
        Hub { view, kubelet: Identity::new("kubelet"), opened: Vec::new(), woken: 0, written: Vec::new() }
    }

    /// Carries out everything but the writes whose numbers it returns.
    fn carry_out(&mut self) -> Vec<view::Write> {
        let mut writes = Vec::new();
        for effect in self.view.effects() {
            match effect {
                Effect::Persist(write) => writes.push(write),
                Effect::Open(open) => self.opened.push(open),
                Effect::Wake(_) => self.woken += 1,
                _ => {}
            }
        }
        writes
    }

    fn settle(&mut self) {
        for write in self.carry_out() {
            self.view.flushed(write.log, write.number);
            self.written.push(write);
        }
        self.carry_out();
    }

    /// The cloud has gone back to 600; the stream that reads kubelet's pods anew.
    fn restored(&mut self, stream: StreamId) -> StreamId {
        self.view.ended(stream, End::Broken, NOW, 7);
        self.settle();
        let again = self.opened.pop().unwrap().stream;
        self.view.revision(again, rv(600));
        self.settle();
        self.opened.pop().unwrap().stream
    }

    /// kubelet's pods are followed and were these at 1000.
    fn with(pods_there: &[Object]) -> (Hub, StreamId) {
        let mut hub = Hub::new();
        hub.view.link(true, NOW, 0);
        hub.view.granted(&hub.kubelet.clone(), &pods(), &own_pods());
        assert!(matches!(hub.watch(""), Answer::Await));
        hub.settle();
        let stream = hub.opened.pop().unwrap().stream;
        hub.view.opened(stream);
        for pod in pods_there {
            hub.view.initial(stream, pod.clone());
        }
        hub.view.synced(stream, rv(1000));
        hub.settle();
        (hub, stream)
    }

    fn ask<'a>(who: &'a Identity, resource: &'a ResourceId) -> Ask<'a> {
        Ask { who, resource, granted: false, fresh: false, patient: true, now: NOW, random: 7 }
    }

    fn get(&mut self, who: &str, name: &str) -> Answer {
        let options = GetOptions { resource_version: "0".to_owned() };
        self.view.get(Hub::ask(&Identity::new(who), &pods()), &Key::new("a", name), &options)
    }

    fn options(version: &str) -> ListOptions {
        ListOptions {
            field_selector: own_pods().fields,
            resource_version: version.to_owned(),
            allow_watch_bookmarks: true,
            ..ListOptions::default()
        }
    }

    fn list(&mut self, options: &ListOptions) -> Answer {
        self.view.list(Hub::ask(&self.kubelet.clone(), &pods()), "", options)
    }

    fn watch(&mut self, version: &str) -> Answer {
        let with_state = version.is_empty().then_some(true);
        let options = ListOptions { watch: true, send_initial_events: with_state, ..Hub::options(version) };
        self.view.watch(Hub::ask(&self.kubelet.clone(), &pods()), "", &options)
    }

    fn began(&mut self, version: &str) -> view::WatcherId {
        match self.watch(version) {
            Answer::Watch(id) => id,
            answer => panic!("{answer:?}"),
        }
    }

    fn told(&mut self, id: view::WatcherId) -> Vec<String> {
        let pulled = self.view.pull(id, NOW, 100);
        assert_eq!(pulled.next, Next::Wait);
        let text = |frame: Frame| match frame {
            Frame::State(object) => format!("state {}", object.header.key),
            Frame::Event(event, change) => format!("{change:?} {} {}", event.key, event.shown),
            Frame::Bookmark { rv, end_of_state } => format!("bookmark {rv} {end_of_state}"),
            Frame::Error(status) => format!("error {}", status.code),
        };
        pulled.frames.into_iter().map(text).collect()
    }
}

fn code(answer: &Answer) -> u16 {
    match answer {
        Answer::Refuse(status) | Answer::WatchError(status) => status.code,
        _ => 200,
    }
}

#[test]
fn p4_a_set_that_was_read_is_answered_without_the_cloud_and_any_other_is_503() {
    let (mut hub, _) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    hub.view.link(false, NOW, 0);
    assert!(matches!(hub.get("kubelet", "x"), Answer::Object { .. }));
    let Answer::List(listing) = hub.list(&Hub::options("")) else { panic!() };
    assert_eq!((listing.objects.len(), listing.rv.get()), (1, 1));
    let everything = ListOptions::default();
    assert_eq!(code(&hub.list(&everything)), 503, "a wider set was never read");
    assert_eq!(code(&hub.get("kubelet", "y")), 503, "a pod of this name may be on another node");
}

#[test]
fn p4_what_was_deleted_is_404_and_a_set_known_to_be_empty_is_an_empty_list() {
    let (mut hub, stream) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    hub.view.changed(stream, Change::Deleted, pod("x", "u1", 1001, "Running"));
    hub.settle();
    hub.view.link(false, NOW, 0);
    assert_eq!(code(&hub.get("kubelet", "x")), 404);
    let Answer::List(listing) = hub.list(&Hub::options("0")) else { panic!() };
    assert!(listing.objects.is_empty() && listing.rv.get() == 2);
}

#[test]
fn p8_nobody_gets_what_the_cloud_did_not_grant_to_them() {
    let (mut hub, _) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    assert!(matches!(hub.get("other", "x"), Answer::Forward));
    hub.view.link(false, NOW, 0);
    assert_eq!(code(&hub.get("other", "x")), 503);
    hub.view.refused(&Identity::new("kubelet"), &pods(), &own_pods(), view::Asked::Set);
    assert_eq!(code(&hub.get("kubelet", "x")), 503, "a refusal ends what was granted");
}

#[test]
fn when_the_link_is_back_pods_come_first_and_the_rest_at_moments_of_its_own_unless_somebody_waits() {
    let (mut hub, stream) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    let services = ResourceId::new("", "v1", "services", "");
    let who = Identity::new("proxy");
    hub.view.granted(&who, &services, &Scope::default());
    let watch = ListOptions { watch: true, send_initial_events: Some(true), ..ListOptions::default() };
    assert!(matches!(hub.view.watch(Hub::ask(&who, &services), "", &watch), Answer::Await));
    hub.settle();
    let other = hub.opened.pop().unwrap().stream;
    hub.view.opened(other);
    hub.view.synced(other, rv(1000));
    let (back, mut waits) = (NOW + Duration::from_secs(60), Vec::new());
    for random in [7, 1 << 20, u64::MAX / 3] {
        hub.view.link(false, NOW, random);
        hub.view.ended(stream, End::Broken, NOW, random);
        hub.view.ended(other, End::Broken, NOW, random);
        hub.settle();
        hub.opened.clear();
        hub.view.link(true, back, random);
        hub.view.tick(back + Duration::from_secs(6));
        hub.settle();
        assert_eq!(hub.opened.pop().map(|open| open.stream), Some(stream));
        let due = hub.view.next_tick().unwrap();
        assert!(hub.opened.is_empty() && (6..22).contains(&(due - back).as_secs()), "{due:?}");
        waits.push(due);
    }
    assert!(waits[0] != waits[1] && waits[1] != waits[2], "{waits:?}");
    hub.view.link(true, back + Duration::from_secs(1), 3);
    assert_eq!(hub.view.next_tick(), Some(waits[2]), "it was back before");
    let asked = hub.view.watch(Hub::ask(&who, &services), "", &watch);
    hub.settle();
    assert_eq!(hub.opened.pop().map(|open| open.stream), Some(other), "{asked:?}");
}

#[test]
fn a_link_that_comes_and_goes_keeps_no_stream_from_being_taken_up() {
    let (mut hub, stream) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    for random in [7, 5_999, u64::MAX / 3] {
        hub.view.link(false, NOW, random);
        hub.view.ended(stream, End::Broken, NOW, random);
        hub.view.link(true, NOW + Duration::from_secs(15), random);
        hub.settle();
        assert_eq!(hub.opened.pop().map(|open| open.stream), Some(stream));
    }
}

#[test]
fn a_stream_asks_how_old_the_cloud_is_unless_another_has_just_heard() {
    let (mut hub, stream) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    let again = |hub: &mut Hub| {
        hub.view.link(false, NOW, 7);
        hub.view.ended(stream, End::Broken, NOW, 7);
        hub.view.link(true, NOW, 7);
        hub.view.tick(NOW + Duration::from_secs(6));
        hub.settle();
        hub.opened.pop().unwrap().is_proven
    };
    assert!(!again(&mut hub));
    hub.view.revision(stream, rv(1000));
    hub.view.ended(stream, End::NotServed, NOW, 7);
    hub.view.tick(NOW + Duration::from_secs(60));
    hub.settle();
    assert!(hub.opened.pop().unwrap().is_proven);
    assert!(!again(&mut hub), "the link was away");
}

#[test]
fn a_list_of_a_set_that_the_logs_have_waits_for_its_stream_to_go_on() {
    let mut hub = Hub::new();
    hub.view.link(true, NOW, 0);
    let kubelet = hub.kubelet.clone();
    assert!(matches!(hub.list(&Hub::options("0")), Answer::Forward), "nothing is known of it");
    let pods_there = vec![pod("x", "u1", 900, "Running")];
    hub.view.took_list(&kubelet, &pods(), &own_pods(), pods_there, rv(1000));
    hub.settle();
    assert!(matches!(hub.list(&Hub::options("")), Answer::Forward), "the newest is the cloud's to say");
    let who = Identity::new("other");
    let asked = hub.view.list(Hub::ask(&who, &pods()), "", &Hub::options("0"));
    assert!(matches!(asked, Answer::Verify), "whether they may is the cloud's to say");
    let all = pods();
    let hurried = Ask { patient: false, ..Hub::ask(&kubelet, &all) };
    assert!(matches!(hub.view.list(hurried, "", &Hub::options("0")), Answer::Forward));
    assert!(hub.opened.is_empty());
    assert!(matches!(hub.list(&Hub::options("0")), Answer::Await));
    hub.settle();
    let open = hub.opened.pop().unwrap();
    assert_eq!(open.from, Some(rv(1000)), "the stream brings only what has changed");
    assert!(matches!(hub.list(&Hub::options("0")), Answer::Await), "it is on its way");
    hub.view.opened(open.stream);
    let Answer::List(listing) = hub.list(&Hub::options("0")) else { panic!() };
    assert_eq!(listing.objects.len(), 1);
    let asked = hub.view.list(Hub::ask(&who, &pods()), "", &Hub::options("0"));
    assert!(matches!(asked, Answer::Verify), "it is followed for somebody else");
    hub.view.granted(&who, &pods(), &own_pods());
    let asked = hub.view.list(Hub::ask(&who, &pods()), "", &Hub::options("0"));
    assert!(matches!(asked, Answer::List(_)));
}

#[test]
fn a_list_does_not_wait_for_a_stream_that_fails() {
    for why in [End::Broken, End::Unauthenticated, End::NotServed] {
        let mut hub = Hub::new();
        hub.view.link(true, NOW, 0);
        let kubelet = hub.kubelet.clone();
        hub.view.took_list(&kubelet, &pods(), &own_pods(), Vec::new(), rv(1000));
        assert!(matches!(hub.list(&Hub::options("0")), Answer::Await));
        hub.settle();
        let stream = hub.opened.pop().unwrap().stream;
        hub.view.ended(stream, why, NOW, 7);
        assert!(matches!(hub.list(&Hub::options("0")), Answer::Forward), "{why:?}");
    }
}

#[test]
fn a_list_waits_for_a_stream_that_must_read_everything_anew_once() {
    let mut hub = Hub::new();
    hub.view.link(true, NOW, 0);
    let kubelet = hub.kubelet.clone();
    hub.view.took_list(&kubelet, &pods(), &own_pods(), vec![pod("x", "u1", 900, "Running")], rv(1000));
    assert!(matches!(hub.list(&Hub::options("0")), Answer::Await));
    hub.settle();
    let stream = hub.opened.pop().unwrap().stream;
    hub.view.ended(stream, End::Expired, NOW, 7);
    assert!(matches!(hub.list(&Hub::options("0")), Answer::Await), "it reads what a list would");
    hub.view.tick(hub.view.next_tick().unwrap());
    hub.settle();
    assert_eq!(hub.opened.pop().unwrap().from, None);
    hub.view.opened(stream);
    assert!(hub.view.is_coming(&pods(), &own_pods()));
    hub.view.ended(stream, End::Broken, NOW, 7);
    assert!(matches!(hub.list(&Hub::options("0")), Answer::Forward), "twice is enough");
}

#[test]
fn a_bookmark_at_the_version_of_the_last_change_is_where_the_next_hub_goes_on() {
    let (mut hub, stream) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    let mut loading = Loading::new("n1");
    hub.view.changed(stream, Change::Modified, pod("x", "u1", 1005, "Running"));
    hub.view.bookmark(stream, rv(1005));
    hub.view.changed(stream, Change::Modified, pod("x", "u1", 1007, "Running"));
    hub.view.ended(stream, End::Broken, NOW, 7);
    for write in hub.carry_out() {
        for record in write.records {
            if let view::Record::Put { key, value, .. } = record {
                loading.record(write.log, &key, &value);
            }
        }
    }
    let mut next = Hub::new();
    loading.finish(&mut next.view);
    next.view.link(true, NOW, 0);
    assert!(matches!(next.list(&Hub::options("0")), Answer::Await));
    next.settle();
    assert_eq!(next.opened.pop().unwrap().from, Some(rv(1007)));
}

#[test]
fn p4_a_watch_is_told_the_state_its_end_and_then_every_change_once() {
    let (mut hub, stream) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    let id = hub.began("");
    assert_eq!(hub.told(id), ["state a/x", "bookmark 1 true"]);
    hub.view.changed(stream, Change::Modified, pod("x", "u1", 1001, "Running"));
    hub.settle();
    hub.view.changed(stream, Change::Added, pod("x", "u2", 1003, "Pending"));
    hub.settle();
    assert_eq!(hub.told(id), ["Modified a/x 2", "Deleted a/x 3", "Added a/x 4"]);
    let id = hub.began("2");
    assert_eq!(hub.told(id), ["Deleted a/x 3", "Added a/x 4"]);
}

#[test]
fn p4_only_a_version_that_the_hub_never_issued_is_410() {
    let (mut hub, _) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    assert_eq!(code(&hub.watch("1000")), 410, "the cloud's version is foreign");
    assert_eq!(code(&hub.list(&Hub::options("1000"))), 410);
    let exact = ListOptions { version_match: Some(VersionMatch::Exact), ..Hub::options("1") };
    assert_eq!(code(&hub.list(&exact)), 200);
    let token = ListOptions { continue_token: "x".to_owned(), ..Hub::options("") };
    assert_eq!(code(&hub.list(&token)), 410);
    for version in ["", "0"] {
        assert_eq!(code(&hub.list(&Hub::options(version))), 200, "{version}");
    }
}

#[test]
fn nothing_about_an_own_pods_end_is_shown_before_it_is_flushed() {
    let (mut hub, stream) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    let id = hub.began("1");
    hub.view.changed(stream, Change::Modified, pod("x", "u1", 1001, "Succeeded"));
    let write = hub.carry_out().pop().unwrap();
    assert!(write.flush && hub.told(id).is_empty());
    hub.view.written(write.log, write.number);
    assert!(hub.told(id).is_empty());
    hub.view.flushed(write.log, write.number);
    assert_eq!(hub.told(id), ["Modified a/x 2"]);
}

#[test]
fn p5_a_layer_is_shown_at_once_stays_over_what_the_cloud_says_and_is_lifted_as_a_change() {
    let (mut hub, stream) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    let (id, key) = (hub.began("1"), Key::new("a", "x"));
    hub.view.lay_over(&pods(), &key, Some(pod("x", "u1", 900, "Succeeded")));
    hub.settle();
    hub.view.changed(stream, Change::Modified, pod("x", "u1", 1001, "Running"));
    let beneath = Effect::Beneath { resource: pods(), key: key.clone() };
    let effects = hub.view.effects();
    assert!(effects.contains(&beneath));
    for effect in effects {
        if let Effect::Persist(write) = effect {
            hub.view.flushed(write.log, write.number);
        }
    }
    assert_eq!(hub.told(id), ["Modified a/x 2"], "the cloud's change is not shown over the layer");
    let shown = view_rv(&mut hub);
    let (uid, cloud) = hub.view.cloud_version(&pods(), &key, shown).unwrap();
    assert_eq!((uid.as_str(), cloud), ("u1", rv(1001)));
    hub.view.lift(&pods(), &key);
    hub.settle();
    assert_eq!(hub.told(id), ["Modified a/x 3"]);
}

fn view_rv(hub: &mut Hub) -> view::Shown {
    let Answer::List(listing) = hub.list(&Hub::options("0")) else { panic!() };
    listing.rv
}

#[test]
fn a_broken_stream_and_an_empty_list_of_a_stranger_remove_nothing() {
    let (mut hub, stream) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    hub.view.ended(stream, End::Expired, NOW, 0);
    hub.settle();
    hub.view.took_list(&Identity::new("other"), &pods(), &own_pods(), Vec::new(), rv(1005));
    hub.settle();
    hub.view.link(false, NOW, 0);
    assert!(matches!(hub.get("kubelet", "x"), Answer::Object { .. }));
}

#[test]
fn p4_what_a_full_disk_did_not_take_stays_in_memory() {
    let slices = ResourceId::new("discovery.k8s.io", "v1", "endpointslices", "");
    let json = r#"{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"name":"x","namespace":"a","uid":"u","resourceVersion":"7"}}"#;
    for stored in [true, false] {
        let mut hub = Hub::new();
        let slice = view::read(&slices, json.as_bytes().to_vec(), Encoding::Json).unwrap();
        let who = hub.kubelet.clone();
        hub.view.took_list(&who, &slices, &Scope::default(), vec![slice], rv(8));
        for write in hub.carry_out() {
            match stored {
                true => hub.view.flushed(write.log, write.number),
                false => hub.view.given_up(write.log, write.number),
            }
        }
        let answer = hub.view.list(Hub::ask(&who, &slices), "", &ListOptions::default());
        let Answer::List(listing) = answer else { panic!("{answer:?}") };
        assert!(hub.view.has_passed(&listing.after));
        assert_eq!(listing.objects[0].bytes().is_none(), stored, "only what a log has is let go of");
    }
}

#[test]
fn p6_a_credential_that_was_not_taken_once_is_tried_again() {
    let (mut hub, stream) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    hub.began("1");
    hub.view.ended(stream, End::Unauthenticated, NOW, 7);
    hub.settle();
    assert!(hub.opened.is_empty(), "not at once");
    let due = hub.view.next_tick().unwrap();
    hub.view.tick(due.max(NOW + Duration::from_secs(60)));
    hub.settle();
    assert_eq!(hub.opened.len(), 1, "an API server that starts says 401 to everybody");
}

#[test]
fn nothing_is_kept_of_names_that_are_only_asked_for() {
    let mut hub = Hub::new();
    hub.view.link(true, NOW, 0);
    let (who, odd) = (hub.kubelet.clone(), ResourceId::new("g", "v1", "odds", ""));
    let watch = ListOptions { watch: true, ..ListOptions::default() };
    assert!(matches!(hub.view.watch(Hub::ask(&who, &odd), "", &watch), Answer::Verify));
    hub.view.refused(&who, &odd, &Scope::default(), view::Asked::Set);
    assert!(!hub.view.has(&odd));
}

#[test]
fn names_that_are_not_there_take_no_more_than_so_much() {
    let mut hub = Hub::new();
    let (who, maps) = (hub.kubelet.clone(), ResourceId::new("", "v1", "configmaps", ""));
    let mut stored = 0;
    for number in 0..3000 {
        hub.view.took_absence(&who, &maps, &Key::new("a", &format!("n{number}")));
        stored += hub.carry_out().len();
    }
    assert!((1000..3000).contains(&stored), "{stored}");
}
