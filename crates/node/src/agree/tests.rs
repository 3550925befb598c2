use std::path::Path;
use std::time::Duration;

use cni::range::{RangeSet, Spec};
use cni::retain::Policy;
use durable::fs::Fs as _;
use lease::inspect::{Row, Snapshot, snapshot};
use lease::{Binding, Identity, Now, Places, Request, Store, Word};
use serde_json::json;
use testkit::power_cut::PowerCutFs;

use super::*;

const STATE: &str = "/var/lib/edgekeep/ipam";
const UID: &str = "0b1c2d3e-0000-4000-8000-000000000001";

/// One network with real bindings.
struct Bench {
    disk: PowerCutFs,
    boot: u32,
    entropy: u64,
}

impl Bench {
    fn new() -> Bench {
        let disk = PowerCutFs::new();
        disk.create_dir_all(Path::new("/var/lib/cni/networks/net"), 0o755).unwrap();
        Bench { disk, boot: 1, entropy: 0 }
    }

    fn run<T>(&mut self, verb: impl FnOnce(&mut Store<'_, PowerCutFs>) -> Result<T, lease::Error>) -> T {
        self.entropy += 1;
        let now =
            Now { boot: format!("boot-{}", self.boot), wall: 1_000, uptime: 100, entropy: self.entropy };
        let places = Places {
            data: "/var/lib/cni/networks/net".into(),
            state: format!("{STATE}/net").into(),
            run: "/run/edgekeep/ipam/net".into(),
            cni_cache: "/var/lib/cni/results".into(),
            network: "net".into(),
        };
        let (fs, policy) = (self.disk.process(), Policy::default());
        let mut store = Store::open(&fs, &places, &now, &policy).unwrap();
        let done = verb(&mut store).unwrap();
        if let (Some(flush), _) = store.finish() {
            flush.run().unwrap();
        }
        done
    }

    fn add(&mut self, name: &str, uid: &str) -> IpAddr {
        let (namespace, name) = ("shop".to_owned(), name.to_owned());
        let request = Request {
            container: format!("c-{name}"),
            identity: Identity::Pod { namespace, name, uid: uid.into() },
            ifname: "eth0".into(),
            netns: "/run/netns/x".into(),
            requested: Vec::new(),
        };
        let spec = Spec { subnet: Cidr::parse("10.1.0.0/24"), start: None, end: None, gateway: None };
        let sets = [RangeSet::new(&[spec]).unwrap()];
        self.run(|store| store.add(&request, &sets))[0]
    }

    fn del(&mut self, name: &str) {
        self.run(|store| store.del(&format!("c-{name}"), "eth0", None));
    }

    fn look(&self) -> Snapshot {
        let boot = format!("boot-{}", self.boot);
        snapshot(&self.disk.process(), Path::new(STATE), "net", &boot, Duration::from_secs(1)).unwrap()
    }
}

fn pod(name: &str, addresses: &[&str]) -> (Name, Pod) {
    let addresses: Vec<Value> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
    Pod::of(&json!({
        "metadata": { "namespace": "shop", "name": name, "uid": UID },
        "status": { "podIPs": addresses },
    }))
}

fn words(judge: &mut Judge, rows: &[Row], pods: &Pods, seconds: u64) -> Vec<(String, Word)> {
    let words = judge.words(rows, pods, Duration::from_secs(seconds));
    words.into_iter().map(|(_, binding, word)| (binding.identity.to_string(), word)).collect()
}

#[test]
fn a_pod_counts_as_deleted_when_the_api_server_has_not_had_it_for_a_minute() {
    let mut bench = Bench::new();
    bench.add("gone", UID);
    bench.add("kept", UID);
    bench.del("gone");
    let (rows, pods) = (bench.look().rows, Pods::from([pod("kept", &[])]));
    let mut judge = Judge::new("edge");
    assert_eq!(words(&mut judge, &rows, &pods, 1_000), []);
    assert_eq!(words(&mut judge, &rows, &pods, 1_059), []);
    let deleted = || vec![("shop/gone".to_owned(), Word::Deleted)];
    assert_eq!(words(&mut judge, &rows, &pods, 1_060), deleted());
    assert_eq!(words(&mut judge, &rows, &pods, 1_070), [], "said a moment ago");
    assert_eq!(words(&mut judge, &rows, &pods, 1_120), deleted());
}

#[test]
fn p1_what_was_missed_before_a_gap_or_before_the_pod_was_seen_does_not_count() {
    let mut bench = Bench::new();
    bench.add("late", UID);
    let (rows, none) = (bench.look().rows, Pods::new());
    let mut judge = Judge::new("edge");
    words(&mut judge, &rows, &none, 0);
    judge.is_blind();
    assert_eq!(words(&mut judge, &rows, &none, 60), [], "the cloud was gone in between");
    assert_eq!(words(&mut judge, &rows, &Pods::from([pod("late", &[])]), 70), []);
    assert_eq!(words(&mut judge, &rows, &none, 120), [], "it was there at 70");
    // Another sandbox is another matter.
    words(&mut judge, &rows, &none, 150);
    bench.del("late");
    bench.add("late", UID);
    let again: Vec<Row> = bench.look().rows;
    assert_eq!(words(&mut judge, &again, &none, 180).len(), 1, "the same container: still missed since 120");
    let other = again
        .iter()
        .map(|row| Row { binding: Binding { container: "c2".into(), ..row.binding.clone() }, ..row.clone() });
    assert_eq!(words(&mut judge, &other.collect::<Vec<_>>(), &none, 240), []);
}

#[test]
fn p1_static_pods_are_never_deleted_because_the_api_server_has_no_object_of_theirs() {
    let mut bench = Bench::new();
    bench.add("etcd-edge", "");
    bench.add("own-edge", UID);
    bench.add("odd", "d41d8cd98f00b204e9800998ecf8427e");
    bench.add("usual", "");
    let rows = bench.look().rows;
    let mut judge = Judge::new("edge");
    words(&mut judge, &rows, &Pods::new(), 0);
    assert_eq!(words(&mut judge, &rows, &Pods::new(), 600), [("shop/usual".to_owned(), Word::Deleted)]);
}

#[test]
fn a_parked_binding_is_told_that_its_pod_exists_once() {
    let mut bench = Bench::new();
    for name in ["lives", "parked", "finished"] {
        bench.add(name, UID);
    }
    bench.del("parked");
    bench.del("finished");
    let mut pods = Pods::from([pod("lives", &[]), pod("parked", &[]), pod("finished", &[])]);
    pods.get_mut(&("shop".to_owned(), "finished".to_owned())).unwrap().over = true;
    let mut judge = Judge::new("edge");
    let rows = bench.look().rows;
    // Of one with two bindings it is not said of either: where the pod comes home to must not change.
    let mut twice = rows.clone();
    twice.extend(rows.iter().map(|row| {
        let binding = Binding { container: "c2".into(), addresses: Vec::new(), ..row.binding.clone() };
        Row { binding, ..row.clone() }
    }));
    assert_eq!(words(&mut judge, &twice, &pods, 0), []);
    let said = judge.words(&rows, &pods, Duration::ZERO);
    let named: Vec<String> = said.iter().map(|(_, binding, _)| binding.identity.to_string()).collect();
    assert_eq!(named, ["shop/parked"]);
    let said: Vec<(Binding, Word)> = said.into_iter().map(|(_, binding, word)| (binding, word)).collect();
    assert_eq!(bench.run(|store| store.heed(&said)).awaited, 1);
    assert_eq!(words(&mut judge, &bench.look().rows, &pods, 10), []);
    assert!(!judge.waits());
}

#[test]
fn addresses_that_the_api_server_and_the_bindings_do_not_agree_on_are_named() {
    let mut bench = Bench::new();
    let (web, db) = (bench.add("web", UID).to_string(), bench.add("db", UID).to_string());
    let agree =
        Pods::from([pod("web", &[&web]), pod("db", &[&db]), pod("host", &[]), pod("else", &["192.0.2.7"])]);
    let look = bench.look();
    let look = [&look];
    assert_eq!(differences(&look, &agree, None), Differences::new());
    let differ = Pods::from([pod("web", &[&db]), pod("db", &[&db]), pod("new", &["10.1.0.77"])]);
    let said: Vec<String> = differences(&look, &differ, None).into_iter().collect();
    assert_eq!(
        said,
        [
            "the API server says that pod shop/new has 10.1.0.77, which is bound to nobody".to_owned(),
            format!("the API server says that pod shop/web has {db}, which is bound to shop/db"),
        ]
    );
    let elsewhere = Pods::from([pod("web", &["192.0.2.7"])]);
    let said: Vec<String> = differences(&look, &elsewhere, None).into_iter().collect();
    let wanted = format!(
        "the API server says that pod shop/web has 192.0.2.7, which is not bound to it, which has {web}"
    );
    assert_eq!(said, [wanted]);
    assert_eq!(differences(&[], &differ, None), Differences::new(), "no network takes its addresses from us");
}

#[test]
fn a_pod_cidr_in_which_nothing_is_handed_out_is_named() {
    let mut bench = Bench::new();
    bench.add("web", UID);
    let node = |cidrs: &[&str]| {
        Node::of(
            &json!({ "metadata": { "uid": "n" }, "spec": { "podCIDR": cidrs.first(), "podCIDRs": cidrs } }),
        )
    };
    let said = |node: &Node| differences(&[&bench.look()], &Pods::new(), Some(node)).into_iter().next();
    for same in
        [&["10.1.0.0/24"][..], &["10.1.0.128/25"], &["10.0.0.0/8"], &["10.1.0.0/24", "fd00::/64"], &[]]
    {
        assert_eq!(said(&node(same)), None, "{same:?}");
    }
    let changed = said(&node(&["10.1.7.0/24"])).unwrap();
    assert!(changed.contains("10.1.7.0/24") && changed.contains("10.1.0.1-10.1.0.254"), "{changed}");
    let old = Node::of(&json!({ "spec": { "podCIDR": "10.1.7.0/24" } }));
    assert!(said(&old).is_some(), "a cluster of one family before 1.16 says podCIDR alone");
}
