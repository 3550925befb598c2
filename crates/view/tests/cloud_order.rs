//! The promises of the view about resources whose versions are the cloud's: what clients are told, in which order, when
//! their sets are read by several streams, by a hub that starts anew, or from an etcd that was restored.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::Duration;

use view::{
    Answer, Ask, Change, CloudRv, Effect, End, Frame, Identity, Key, Limits, Loading, Object, Open, Record,
    ResourceId, Scope, Shelf, StreamId, View, Write,
};
use wire::request::GetOptions;
use wire::{Encoding, ListOptions};

struct NoShelf;

impl Shelf for NoShelf {
    fn fetch(&self, _: &ResourceId, _: &Key) -> Option<Arc<[u8]>> {
        None
    }
}

fn rv(number: u64) -> CloudRv {
    CloudRv::parse(&number.to_string()).unwrap()
}

fn services() -> ResourceId {
    ResourceId::new("", "v1", "services", "")
}

/// kubelet reads them all, the proxy those that are not headless.
fn scope(who: &str) -> Scope {
    let labels = if who == "proxy" { "!headless" } else { "" };
    Scope { labels: labels.parse().unwrap(), ..Scope::default() }
}

fn service(name: &str, uid: &str, version: u64, headless: bool) -> Object {
    let labels = if headless { r#""headless":"""# } else { "" };
    let json = format!(
        r#"{{"kind":"Service","apiVersion":"v1","metadata":{{"name":"{name}","namespace":"a","uid":"{uid}","resourceVersion":"{version}","labels":{{{labels}}}}}}}"#
    );
    view::read(&services(), json.into_bytes(), Encoding::Json).unwrap()
}

/// A view whose logs are as quick as it wants.
struct Hub {
    view: View,
    now: Duration,
    opened: Vec<Open>,
    written: Vec<Write>,
}

impl Hub {
    fn new() -> Hub {
        let view = View::new("n1", Limits::default(), Box::new(NoShelf));
        let mut hub = Hub { view, now: Duration::from_secs(10), opened: Vec::new(), written: Vec::new() };
        hub.view.link(true, hub.now, 0);
        hub
    }

    fn settle(&mut self) {
        for effect in self.view.effects() {
            match effect {
                Effect::Persist(write) => {
                    self.view.flushed(write.log, write.number);
                    self.written.push(write);
                }
                Effect::Open(open) => self.opened.push(open),
                _ => {}
            }
        }
    }

    /// The next hub, which finds what this one has written; the link is down.
    fn killed(self) -> Hub {
        let mut loading = Loading::new("n1");
        let mut values = std::collections::BTreeMap::new();
        for write in &self.written {
            for record in &write.records {
                match record {
                    Record::Put { key, value, .. } => values.insert(key.clone(), (write.log, value.clone())),
                    Record::Delete { key } => values.remove(key),
                };
            }
        }
        for (key, (log, value)) in &values {
            loading.record(*log, key, value);
        }
        let mut view = View::new("n1", Limits::default(), Box::new(NoShelf));
        loading.finish(&mut view);
        let mut hub = Hub { view, written: self.written, opened: Vec::new(), now: self.now };
        hub.settle();
        hub
    }

    /// A client wants to follow its set, and may.
    fn follow(&mut self, who: &str) -> StreamId {
        self.view.granted(&Identity::new(who), &services(), &scope(who));
        self.watch(who, "");
        self.settle();
        self.opened.pop().unwrap().stream
    }

    /// A stream delivers this state.
    fn state(&mut self, stream: StreamId, state: &[Object], version: u64) {
        self.view.opened(stream);
        for object in state {
            self.view.initial(stream, object.clone());
        }
        self.view.synced(stream, rv(version));
        self.settle();
    }

    fn changed(&mut self, stream: StreamId, change: Change, object: Object) {
        self.view.changed(stream, change, object);
        self.settle();
    }

    fn ask<'a>(&self, who: &'a Identity, resource: &'a ResourceId) -> Ask<'a> {
        Ask { who, resource, granted: false, fresh: false, patient: false, now: self.now, random: 7 }
    }

    fn watch(&mut self, who: &str, version: &str) -> Answer {
        let options = ListOptions {
            watch: true,
            send_initial_events: version.is_empty().then_some(true),
            label_selector: scope(who).labels,
            resource_version: version.to_owned(),
            allow_watch_bookmarks: true,
            ..ListOptions::default()
        };
        let (who, resource) = (Identity::new(who), services());
        self.view.watch(self.ask(&who, &resource), "", &options)
    }

    /// What a watch has to tell, in words.
    fn told(&mut self, watch: &Answer) -> Vec<String> {
        let Answer::Watch(id) = watch else { panic!("{watch:?}") };
        self.settle();
        let text = |frame: Frame| match frame {
            Frame::State(object) => format!("{} {}", object.header.key, object.header.rv),
            Frame::Event(event, change) => format!("{change:?} {} {}", event.key, event.shown),
            Frame::Bookmark { rv, .. } => format!("bookmark {rv}"),
            Frame::Error(status) => format!("{}", status.code),
        };
        self.view.pull(*id, self.now, 100).frames.into_iter().map(text).collect()
    }
}

#[test]
fn p4_who_begins_between_a_restored_cloud_and_its_reading_is_told_what_the_restored_one_has() {
    let mut hub = Hub::new();
    let stream = hub.follow("kubelet");
    hub.state(stream, &[service("x", "u1", 9_000, false)], 15_000);
    hub.view.ended(stream, End::Broken, hub.now, 0);
    hub.settle();
    let open = hub.opened.pop().unwrap();
    hub.view.revision(open.stream, rv(10_000));
    hub.settle();
    let anew = hub.opened.pop().unwrap();
    assert_eq!(anew.from, None);
    hub.view.link(false, hub.now, 0);
    let watch = hub.watch("kubelet", "");
    assert_eq!(hub.told(&watch), ["a/x 9000", "bookmark 1"]);
    let stale = hub.watch("kubelet", "15000");
    assert!(matches!(stale, Answer::WatchError(status) if status.code == 410));
    hub.view.link(true, hub.now, 0);
    hub.state(anew.stream, &[service("y", "u2", 9_500, false)], 10_001);
    assert_eq!(hub.told(&watch), ["Deleted a/x 9000", "Added a/y 9500"]);
}

/// Both sets were read up to 1000, with this in them; now the proxy's stream goes on from there, kubelet's does not yet.
fn with_a_slow_kubelet(there: &[Object]) -> (Hub, StreamId) {
    let mut hub = Hub::new();
    let stream = hub.follow("kubelet");
    hub.state(stream, there, 1000);
    hub.view.granted(&Identity::new("proxy"), &services(), &scope("proxy"));
    hub.watch("proxy", "1000");
    hub.view.ended(stream, End::Broken, hub.now, 0);
    hub.settle();
    let mut hub = hub.killed();
    hub.view.link(true, hub.now, 0);
    hub.watch("proxy", "1000");
    hub.settle();
    let open = hub.opened.pop().unwrap();
    assert_eq!((open.from, open.scope), (Some(rv(1000)), scope("proxy")));
    hub.view.opened(open.stream);
    hub.settle();
    (hub, open.stream)
}

#[test]
fn p4_what_was_written_is_read_on_when_a_set_that_it_is_not_in_has_caught_up() {
    let (mut hub, stream) = with_a_slow_kubelet(&[service("x", "u1", 900, false)]);
    hub.view.wrote(&services(), service("x", "u2", 1002, true));
    hub.changed(stream, Change::Deleted, service("x", "u1", 1001, false));
    hub.view.bookmark(stream, rv(1003));
    let (who, resource) = (Identity::new("kubelet"), services());
    let ask = Ask { fresh: true, ..hub.ask(&who, &resource) };
    let answer = hub.view.get(ask, &Key::new("a", "x"), &GetOptions::default());
    assert!(matches!(answer, Answer::Object { object, .. } if object.header.uid() == "u2"));
}

#[test]
fn p4_what_a_slower_stream_brings_is_told_in_order_and_not_to_those_who_are_past_it() {
    let (mut hub, fast) = with_a_slow_kubelet(&[]);
    let kubelet = hub.watch("kubelet", "1000");
    let proxy = hub.watch("proxy", "1000");
    hub.settle();
    let slow = hub.opened.pop().unwrap().stream;
    hub.view.opened(slow);
    hub.view.bookmark(fast, rv(1010));
    hub.changed(slow, Change::Added, service("x", "u1", 1004, false));
    hub.changed(slow, Change::Modified, service("x", "u1", 1006, true));
    hub.view.bookmark(slow, rv(1010));
    assert_eq!(hub.told(&kubelet), ["Added a/x 1004", "Modified a/x 1006"]);
    assert_eq!(hub.told(&proxy), [""; 0]);
}

#[test]
fn p4_what_the_next_hub_hears_late_is_told_once_and_behind_what_it_has_told() {
    let mut hub = Hub::new();
    let stream = hub.follow("proxy");
    hub.state(stream, &[], 1000);
    // Nobody follows a set that this is in.
    hub.view.took_object(&Identity::new("kubelet"), &services(), service("z", "u9", 1050, true));
    hub.settle();
    let mut hub = hub.killed();
    let watch = hub.watch("proxy", "");
    assert_eq!(hub.told(&watch), ["bookmark 1050"]);
    hub.view.link(true, hub.now, 0);
    hub.watch("proxy", "1050");
    hub.settle();
    let open = hub.opened.pop().unwrap();
    assert_eq!(open.from, Some(rv(1000)));
    hub.view.opened(open.stream);
    hub.changed(open.stream, Change::Added, service("y", "u1", 1004, false));
    hub.changed(open.stream, Change::Modified, service("y", "u1", 1007, false));
    assert_eq!(hub.told(&watch), ["Added a/y 1004", "Modified a/y 1007"]);
    let behind = hub.watch("proxy", "1050");
    assert!(matches!(behind, Answer::WatchError(status) if status.code == 410));
    let anew = hub.watch("proxy", "");
    assert_eq!(hub.told(&anew), ["a/y 1007", "bookmark 1052"]);
    let on = hub.watch("proxy", "1052");
    assert_eq!(hub.told(&on), [""; 0]);
}

#[test]
fn p4_who_has_a_version_from_the_cloud_that_an_answer_has_overtaken_is_told_what_follows_it() {
    let mut hub = Hub::new();
    let stream = hub.follow("kubelet");
    hub.state(stream, &[], 1000);
    hub.view.granted(&Identity::new("proxy"), &services(), &scope("proxy"));
    hub.view.wrote(&services(), service("x", "u1", 1006, true));
    // It has x from a list of the cloud.
    let proxy = hub.watch("proxy", "1003");
    hub.changed(stream, Change::Added, service("x", "u1", 1002, false));
    hub.changed(stream, Change::Modified, service("x", "u1", 1006, true));
    assert_eq!(hub.told(&proxy), ["Deleted a/x 1006"]);
}

#[test]
fn p4_a_state_does_not_end_without_what_changed_while_it_was_told() {
    let (mut hub, fast) = with_a_slow_kubelet(&[service("x", "u1", 900, false)]);
    hub.view.link(false, hub.now, 0);
    let kubelet = hub.watch("kubelet", "");
    hub.view.link(true, hub.now, 0);
    hub.changed(fast, Change::Modified, service("x", "u1", 1005, false));
    assert_eq!(hub.told(&kubelet), [""; 0]);
    hub.view.link(false, hub.now, 0);
    let again = hub.watch("kubelet", "");
    assert_eq!(hub.told(&again), ["a/x 1005", "bookmark 1005"]);
}

#[test]
fn p4_the_next_hub_knows_by_when_something_was_found_missing() {
    let mut hub = Hub::new();
    let stream = hub.follow("kubelet");
    hub.state(stream, &[service("x", "u1", 900, false)], 1000);
    hub.view.ended(stream, End::Expired, hub.now, 0);
    hub.now += Duration::from_secs(60);
    hub.view.tick(hub.now);
    hub.settle();
    let anew = hub.opened.pop().unwrap();
    assert_eq!(anew.from, None);
    let before = hub.written.len();
    hub.state(anew.stream, &[], 1010);
    // The hub is killed when it has written what is gone, but not how far the set was read.
    assert!(hub.written.len() > before);
    hub.written.truncate(before + 1);
    let mut hub = hub.killed();
    let watch = hub.watch("kubelet", "1000");
    assert!(matches!(watch, Answer::WatchError(status) if status.code == 410));
}

#[test]
fn p6_the_end_of_what_a_client_has_from_the_cloud_is_told_where_another_stream_is_past_it() {
    let (mut hub, fast) = with_a_slow_kubelet(&[]);
    hub.changed(fast, Change::Added, service("x", "u2", 1009, false));
    hub.view.bookmark(fast, rv(1010));
    hub.settle();
    // It has u1 from a list of the cloud.
    let kubelet = hub.watch("kubelet", "1005");
    let proxy = hub.watch("proxy", "1000");
    assert_eq!(hub.told(&proxy), ["Added a/x 1009"]);
    hub.settle();
    let slow = hub.opened.pop().unwrap().stream;
    hub.view.opened(slow);
    hub.changed(slow, Change::Added, service("x", "u1", 1004, false));
    hub.changed(slow, Change::Deleted, service("x", "u1", 1007, false));
    hub.changed(slow, Change::Added, service("x", "u2", 1009, false));
    assert_eq!(hub.told(&kubelet), ["Deleted a/x 1007", "Added a/x 1009"]);
    assert_eq!(hub.told(&proxy), [""; 0]);
}

#[test]
fn p4_a_list_does_not_show_what_its_version_comes_before() {
    let (mut hub, fast) = with_a_slow_kubelet(&[service("x", "u1", 900, false)]);
    hub.watch("kubelet", "1000");
    hub.settle();
    let slow = hub.opened.pop().unwrap().stream;
    hub.view.opened(slow);
    hub.changed(fast, Change::Modified, service("x", "u1", 1005, false));
    hub.changed(fast, Change::Modified, service("x", "u1", 1007, false));
    let (who, resource) = (Identity::new("kubelet"), services());
    let any = ListOptions { resource_version: "0".to_owned(), ..ListOptions::default() };
    assert!(matches!(hub.view.list(hub.ask(&who, &resource), "", &any), Answer::Forward));
    hub.view.link(false, hub.now, 0);
    let answer = hub.view.list(hub.ask(&who, &resource), "", &any);
    assert!(matches!(answer, Answer::List(list) if list.rv.get() == 1007));
    let watch = hub.watch("kubelet", "1007");
    assert_eq!(hub.told(&watch), [""; 0]);
}

#[test]
fn p4_who_has_a_version_from_the_cloud_that_the_hub_has_skipped_begins_anew() {
    let mut hub = Hub::new();
    let stream = hub.follow("kubelet");
    hub.state(stream, &[], 1000);
    hub.view.wrote(&services(), service("x", "u1", 1005, false));
    let skipped = hub.watch("kubelet", "1005");
    let known = hub.watch("kubelet", "1000");
    hub.view.ended(stream, End::Expired, hub.now, 0);
    hub.now += Duration::from_secs(60);
    hub.view.tick(hub.now);
    hub.settle();
    let anew = hub.opened.pop().unwrap().stream;
    hub.state(anew, &[service("y", "u2", 1009, false)], 1010);
    assert_eq!(hub.told(&skipped), ["410"]);
    assert_eq!(hub.told(&known).first().unwrap(), "Deleted a/x 1005");
    let late = hub.watch("kubelet", "1005");
    assert!(matches!(late, Answer::WatchError(status) if status.code == 410));
}
