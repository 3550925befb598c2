use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use cni::range::{Cidr, RangeSet, Spec};
use lease::inspect::Held;
use lease::{Identity, Request};
use node::agree::{Node, Pod, Pods};
use serde_json::json;

use super::*;

const UID: &str = "0b1c2d3e-0000-4000-8000-000000000001";

/// Bindings on a real disk, and a round over them.
struct Bench {
    dir: PathBuf,
    places: Places,
    round: Round,
}

impl Bench {
    fn new() -> Bench {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("edgekeep-agreement-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(dir.join("networks/net")).unwrap();
        let dirs = Dirs { state: dir.join("state"), run: dir.join("run"), cni_cache: dir.join("results") };
        let places = dirs.places(&dir.join("networks"), "net");
        Bench { round: Round::new("edge", Ok(dirs)), dir, places }
    }

    fn run<T>(&self, verb: impl FnOnce(&mut Store<'_, OsFs>) -> Result<T, lease::Error>) -> T {
        let now = lease::machine::now(&OsFs, |_| None).unwrap();
        let policy = Policy::default();
        let mut store = Store::open(&OsFs, &self.places, &now, &policy).unwrap();
        let done = verb(&mut store).unwrap();
        if let (Some(flush), _) = store.finish() {
            flush.run().unwrap();
        }
        done
    }

    fn add(&self, pod: &str) -> String {
        let identity = Identity::Pod { namespace: "shop".into(), name: pod.into(), uid: UID.into() };
        let netns = self.dir.join(pod).display().to_string();
        std::fs::write(&netns, "").unwrap();
        let request =
            Request { identity, container: pod.into(), ifname: "eth0".into(), netns, requested: Vec::new() };
        let spec = Spec { subnet: Cidr::parse("10.1.0.0/24"), start: None, end: None, gateway: None };
        let sets = [RangeSet::new(&[spec]).unwrap()];
        self.run(|store| store.add(&request, &sets))[0].to_string()
    }

    fn del(&self, pod: &str) {
        self.run(|store| store.del(pod, "eth0", None));
    }

    /// How each pod's binding is held.
    fn held(&self) -> BTreeMap<String, Held> {
        let boot = lease::machine::now(&OsFs, |_| None).unwrap().boot;
        let rows = snapshot(&OsFs, &self.dir.join("state"), "net", &boot, PATIENCE).unwrap().rows;
        rows.into_iter().map(|row| (row.binding.identity.to_string(), row.held)).collect()
    }

    fn look(&mut self, seconds: u64, own: &Own) -> Standing {
        self.round.look(Duration::from_secs(seconds), |_| own.clone())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// What the API server has: these pods with these addresses, followed.
fn own(pods: &[(&str, &str)]) -> Own {
    let pod = |(name, address): &(&str, &str)| {
        Pod::of(&json!({
            "metadata": { "namespace": "shop", "name": name, "uid": UID },
            "status": { "podIPs": [{ "ip": address }] },
        }))
    };
    let pods: Pods = pods.iter().map(pod).collect();
    Own { node: node("n-1"), pods: Some(Arc::new(pods)), followed: true }
}

fn node(uid: &str) -> OwnNode {
    OwnNode::Present(Node { uid: uid.into(), pod_cidrs: Vec::new() })
}

#[test]
fn bindings_of_deleted_pods_are_told_so_and_no_others() {
    let mut bench = Bench::new();
    let kept = bench.add("kept");
    bench.add("gone");
    bench.del("gone");
    let own = own(&[("kept", &kept)]);
    assert_eq!(bench.look(0, &own).told, Heeded::default());
    // A pod that the runtime makes after the pods were read is not known to have been deleted.
    bench.add("new");
    let standing = bench.look(60, &own);
    assert_eq!((standing.told.gone, standing.trouble, standing.networks), (1, None, 1));
    let held = [("shop/gone", Held::Gone), ("shop/kept", Held::Live), ("shop/new", Held::Live)];
    assert_eq!(bench.held(), held.map(|(pod, held)| (pod.to_owned(), held)).into());
    assert_eq!(bench.look(130, &own).told.gone, 1, "told once");
}

#[test]
fn p1_nothing_is_told_while_the_cloud_is_not_followed_or_pods_are_not_known() {
    let mut bench = Bench::new();
    bench.add("a");
    bench.del("a");
    let nobody = own(&[]);
    let remembered = Own { followed: false, ..nobody.clone() };
    let unknown = Own { pods: None, ..nobody.clone() };
    for (seconds, known) in
        [(0, &nobody), (50, &remembered), (100, &nobody), (150, &unknown), (200, &nobody), (259, &nobody)]
    {
        assert_eq!(bench.look(seconds, known).told, Heeded::default(), "{seconds}");
    }
    assert_eq!(bench.held().into_values().collect::<Vec<_>>(), [Held::Parked]);
    assert_eq!(bench.look(260, &nobody).told.gone, 1);
}

#[test]
fn a_difference_is_named_when_it_lasts() {
    let mut bench = Bench::new();
    let address = bench.add("web");
    let differs = own(&[("web", "192.0.2.1")]);
    assert_eq!(bench.look(0, &differs).differences, Vec::<String>::new());
    let said = bench.look(30, &differs).differences;
    assert!(said.len() == 1 && said[0].contains("192.0.2.1") && said[0].contains(&address), "{said:?}");
    assert_eq!(bench.look(40, &own(&[("web", &address)])).differences, Vec::<String>::new());
    assert_eq!(bench.look(50, &differs).differences, Vec::<String>::new(), "it begins anew");
}

#[test]
fn a_node_that_the_cloud_deleted_or_made_anew_is_told_from_one_that_nobody_knows() {
    let mut bench = Bench::new();
    let mut state = |node: OwnNode| bench.look(0, &Own { node, ..Own::default() }).node;
    assert_eq!(state(OwnNode::Unknown), NodeObject::Unknown);
    assert_eq!(state(node("n-1")), NodeObject::Present("n-1".into()));
    assert_eq!(state(OwnNode::Absent), NodeObject::Deleted);
    let anew = NodeObject::MadeAnew { before: "n-1".into(), now: "n-2".into() };
    assert_eq!(state(node("n-2")), anew);
    assert_eq!(state(OwnNode::Unknown), NodeObject::Unknown);
    assert_eq!(state(node("n-2")), anew, "until somebody has looked after it");
}

#[test]
fn bindings_that_cannot_be_read_are_said_to_be_so_and_nothing_is_told() {
    let mut bench = Bench::new();
    bench.add("a");
    bench.del("a");
    let journal = bench.dir.join("state/net/journal");
    std::fs::remove_file(&journal).unwrap();
    std::fs::create_dir(&journal).unwrap();
    let standing = bench.look(0, &own(&[]));
    assert!(standing.trouble.is_some_and(|why| why.contains("network net")));
    assert_eq!(bench.look(100, &own(&[])).told, Heeded::default());
}

#[test]
fn a_plugin_whose_configuration_is_broken_keeps_the_hub_from_nothing_else() {
    let mut round = Round::new("edge", Err("ipam.json is broken".into()));
    let standing = round.look(Duration::ZERO, |_| own(&[("web", "10.1.0.2")]));
    assert_eq!((standing.pods, standing.trouble.as_deref()), (Some(1), Some("ipam.json is broken")));
}

#[test]
fn the_standing_reads_the_same_for_programs() {
    let standing = Standing {
        node: NodeObject::Deleted,
        pods: Some(3),
        outage: [(300, vec!["shop/web".to_owned()])].into(),
        ..Standing::default()
    };
    let json: BTreeMap<&str, Value> = standing.to_json().into();
    assert_eq!(json["nodeObject"]["state"], "deleted");
    assert_eq!(
        json["pods"],
        json!({ "known": 3, "outage": [{ "afterSeconds": 300, "pods": ["shop/web"] }] })
    );
    assert_eq!(json["bindings"]["told"], json!({ "gone": 0, "awaited": 0 }));
}
