//! What waits survives, is bounded, and is given up in the stated order.

use serde_json::json;
use view::{Identity, ResourceId};

use super::*;

fn stamp(now: i64) -> Stamp {
    Stamp { now, boot: "boot".into() }
}

fn pod(name: &str) -> Id {
    let resource = ResourceId::new("", "v1", "pods", "shop");
    Id::new(resource, Key::new("shop", name), format!("uid-{name}"), Writer::Kubelet)
}

fn event(name: &str) -> (Id, What, Vec<u8>) {
    let key = Key::new("shop", name);
    let content = json!({"metadata": {"name": name}, "reason": name}).to_string().into_bytes();
    (events::id(&key), What::Event { names: vec![(name.to_owned(), 1)] }, content)
}

fn put(outbox: &mut Outbox, id: &Id, what: What, content: &[u8], now: i64) -> Result<Put, Refused> {
    let content = serde_json::from_slice(content).unwrap_or_else(|_| String::from_utf8_lossy(content).into());
    outbox.put(id.clone(), Base { rv: 7, generation: 1 }, what, content, &stamp(now))
}

fn store(outbox: &mut Outbox, id: &Id, what: What, content: &[u8], now: i64) -> Vec<Record> {
    let put = put(outbox, id, what, content, now).unwrap();
    outbox.stored(id, put.token);
    put.records
}

/// What a log would hold after these records.
fn log(records: impl IntoIterator<Item = Record>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut log = BTreeMap::new();
    for record in records {
        match record {
            Record::Put { key, value, .. } => log.insert(key, value),
            Record::Delete { key } => log.remove(&key),
        };
    }
    log
}

fn load(log: &BTreeMap<Vec<u8>, Vec<u8>>, limits: Limits) -> Outbox {
    let mut outbox = Outbox::new(limits);
    for value in log.values() {
        assert!(outbox.load(value));
    }
    outbox
}

#[test]
fn p5_what_waits_is_the_same_after_a_restart() {
    let mut outbox = Outbox::new(Limits::default());
    let daemon = Writer::Daemon(Identity::new("system:serviceaccount:kube-flannel:flannel"));
    let members =
        What::Members { annotations: vec!["a/b".into()], conditions: vec!["NetworkUnavailable".into()] };
    let node = Id::new(pod("edge").resource.clone(), pod("edge").key.clone(), "uid-edge", daemon);
    let (event, said, text) = event("web.1");
    let mut records = Vec::new();
    for (id, what, content) in [
        (&pod("web"), What::State, b"{\"a\":1}".as_slice()),
        (&pod("done"), What::Finished { gone: true }, b"{}"),
        (&pod("odd"), What::Object, b"{\"a\":\"two\\nlines\"}"),
        (&node, members, b"{}"),
        (&event, said, &text),
        (&pod("web"), What::State, b"{\"a\":2}"),
    ] {
        records.extend(store(&mut outbox, id, what, content, 5));
    }
    let log = log(records);
    assert_eq!(Outbox::content(&log[&Outbox::key(&pod("web"))]), Some(&b"{\"a\":2}"[..]));
    assert_eq!(Outbox::content(&log[&Outbox::key(&pod("odd"))]), Some(&b"{\"a\":\"two\\nlines\"}"[..]));
    for id in outbox.entries().map(|entry| &entry.id) {
        assert_eq!(Outbox::id(&Outbox::key(id)).as_ref(), Some(id), "by the key alone");
    }
    let again = load(&log, Limits::default());
    let all = |outbox: &Outbox| outbox.entries().map(|entry| Entry::clone(entry)).collect::<Vec<_>>();
    assert_eq!(all(&again), all(&outbox));
    assert_eq!(again.standing().states, 4);
    assert_eq!(again.event_named(&Key::new("shop", "web.1")), Some(event));
}

#[test]
fn writes_of_one_object_are_one_entry_on_its_first_base() {
    let mut outbox = Outbox::new(Limits::default());
    let id = pod("web");
    store(&mut outbox, &id, What::State, b"{}", 5);
    let later = Base { rv: 9, generation: 2 };
    outbox.put(id.clone(), later, What::State, json!({}), &stamp(8)).unwrap();
    let entry = outbox.entry(&id).unwrap();
    assert_eq!((entry.base.rv, entry.since, entry.last, entry.writes), (7, 5, 8, 2));
    assert_eq!(outbox.entries().count(), 1);
}

#[test]
fn p5_a_write_that_could_not_be_stored_was_never_made() {
    let mut outbox = Outbox::new(Limits::default());
    let id = pod("web");
    let first = put(&mut outbox, &id, What::State, b"1", 5).unwrap();
    outbox.failed(&id, first.token);
    assert_eq!((outbox.entry(&id), outbox.standing().bytes), (None, 0));
    store(&mut outbox, &id, What::State, b"2", 6);
    let before = outbox.entry(&id).cloned();
    let third = put(&mut outbox, &id, What::Finished { gone: true }, b"3", 7).unwrap();
    assert_eq!(outbox.pending(&id).unwrap().1.as_ref(), &json!(3));
    outbox.failed(&id, third.token);
    assert_eq!((outbox.entry(&id).cloned(), outbox.pending(&id)), (before, None));
    // A later one that was stored stands for all before it.
    let fourth = put(&mut outbox, &id, What::State, b"4", 8).unwrap();
    let fifth = put(&mut outbox, &id, What::State, b"5", 9).unwrap();
    assert_eq!(outbox.stored(&id, fifth.token).unwrap().1.value.as_ref(), &json!(5));
    assert!(outbox.stored(&id, fourth.token).is_none());
    let (said, what, content) = event("web.1");
    let event = put(&mut outbox, &said, what, &content, 5).unwrap();
    outbox.failed(&said, event.token);
    assert_eq!(outbox.event_named(&said.key), None);
}

#[test]
fn p5_events_are_given_up_first_and_states_never() {
    let limits = Limits { bytes: 4000, alarm: 3000, events: 100 };
    let mut outbox = Outbox::new(limits);
    let mut records = Vec::new();
    for at in 0..6 {
        let (id, what, content) = event(&format!("web.{at}"));
        records.extend(store(&mut outbox, &id, what, &content, 100 - at));
    }
    assert!(!outbox.standing().alarm);
    let mut taken = 0;
    loop {
        match put(&mut outbox, &pod(&format!("p{taken}")), What::State, &[b'x'; 300], 200) {
            Ok(put) => {
                outbox.stored(&pod(&format!("p{taken}")), put.token);
                records.extend(put.records);
            }
            Err(refused) => {
                assert_eq!(refused, Refused::Full);
                break;
            }
        }
        taken += 1;
        if outbox.standing().given_up == 1 {
            // The oldest is that of the last write, whatever the clock was before.
            assert_eq!(outbox.event_named(&Key::new("shop", "web.5")), None);
            assert!(outbox.event_named(&Key::new("shop", "web.0")).is_some());
            assert!(outbox.standing().alarm, "it was told before");
        }
    }
    let standing = outbox.standing();
    assert_eq!(standing.states, taken);
    assert!(
        standing.events <= 1 && standing.events as u64 + standing.given_up == 6,
        "one may be smaller than a state"
    );
    assert!(standing.bytes <= 4000);
    let again = load(&log(records), limits);
    assert_eq!(
        (again.standing().states, again.standing().events),
        (taken, standing.events),
        "the log agrees"
    );
    // What is there already can still be changed.
    assert!(put(&mut outbox, &pod("p0"), What::State, &[b'y'; 300], 201).is_ok());
}

#[test]
fn events_are_bounded_in_number_too() {
    let mut outbox = Outbox::new(Limits { events: 3, ..Limits::default() });
    for at in 0..5 {
        let (id, what, content) = event(&format!("web.{at}"));
        store(&mut outbox, &id, what, &content, at);
    }
    assert_eq!((outbox.standing().events, outbox.standing().given_up), (3, 2));
    let (id, what, content) = event("web.4");
    store(&mut outbox, &id, what, &content, 9);
    assert_eq!(outbox.standing().events, 3, "a change is no new one");
}

#[test]
fn what_was_settled_goes_unless_more_was_written_since() {
    let mut outbox = Outbox::new(Limits::default());
    let id = pod("web");
    store(&mut outbox, &id, What::State, b"1", 5);
    let told = outbox.entry(&id).unwrap().writes;
    store(&mut outbox, &id, What::State, b"2", 6);
    assert!(outbox.remove(&id, told).is_none());
    assert!(outbox.remove(&id, told + 1).is_some());
    outbox.removed(&id);
    assert_eq!(outbox.standing(), Standing { limit: Limits::default().bytes, ..Standing::default() });
}

#[test]
fn what_is_written_while_an_entrys_end_is_stored_waits_behind_it_and_stays() {
    for stored_first in [true, false] {
        let mut outbox = Outbox::new(Limits::default());
        let id = pod("web");
        let mut records = store(&mut outbox, &id, What::State, b"1", 5);
        let told = outbox.entry(&id).unwrap().writes;
        records.extend(outbox.remove(&id, told));
        assert!(outbox.entry(&id).is_some(), "nothing passes it by");
        assert!(outbox.stored_entry(&id).is_none(), "there is nothing to show or tell");
        assert!(outbox.remove(&id, told).is_none(), "it ends once");
        if stored_first {
            outbox.removed(&id);
            assert!(outbox.entry(&id).is_none());
        }
        let Put { token, records: more } = put(&mut outbox, &id, What::State, b"2", 6).unwrap();
        records.extend(more);
        if !stored_first {
            outbox.removed(&id);
        }
        outbox.stored(&id, token);
        assert_eq!(outbox.stored_entry(&id).unwrap().last, 6);
        let again = load(&log(records), Limits::default());
        assert_eq!(again.entry(&id), outbox.entry(&id), "the log agrees");
        assert_eq!(again.standing(), outbox.standing());
    }
}

#[test]
fn a_record_that_is_torn_or_foreign_is_not_taken_for_one() {
    let mut outbox = Outbox::new(Limits::default());
    let records = store(&mut outbox, &pod("web"), What::State, b"{}", 5);
    let log = log(records);
    let value = log.values().next().unwrap();
    let mut other = Outbox::new(Limits::default());
    for end in 0..value.len() - 3 {
        assert!(!other.load(&value[..end]), "cut at {end}");
    }
    for odd in [&b""[..], b"\n", b"{}\n{}", b"{\"version\":2}\n{}", b"\xff\n"] {
        assert!(!other.load(odd));
    }
    assert_eq!(other.entries().count(), 0);
}

#[test]
fn entries_are_found_by_place() {
    let mut outbox = Outbox::new(Limits::default());
    let other = Id::new(pod("web").resource.clone(), pod("web").key.clone(), "another", Writer::Kubelet);
    for id in [&pod("wea"), &pod("web"), &other, &pod("web2")] {
        store(&mut outbox, id, What::State, b"{}", 5);
    }
    let web = pod("web");
    let found: Vec<&Id> = outbox.at(&web.resource, &web.key).map(|entry| &entry.id).collect();
    assert_eq!(found, [&other, &web]);
    assert_eq!(outbox.at(&web.resource, &Key::new("shop", "we")).count(), 0);
}

#[test]
fn a_clock_that_jumps_by_years_changes_nothing_but_times() {
    let mut outbox = Outbox::new(Limits { events: 2, ..Limits::default() });
    for (at, now) in [0, i64::MAX, i64::MIN, -1].into_iter().enumerate() {
        let (id, what, content) = event(&format!("web.{at}"));
        store(&mut outbox, &id, what, &content, now);
        store(&mut outbox, &pod("web"), What::State, b"{}", now);
    }
    let standing = outbox.standing();
    assert_eq!((standing.states, standing.events, standing.given_up), (1, 2, 2));
    assert_eq!(
        outbox.entry(&pod("web")).map(|entry| (entry.since, entry.last, entry.writes)),
        Some((0, -1, 4))
    );
}

#[test]
fn names_that_are_too_long_for_a_key_are_refused() {
    let mut outbox = Outbox::new(Limits::default());
    let id = Id::new(
        pod("web").resource.clone(),
        pod("web").key.clone(),
        "u",
        Writer::Daemon(Identity::new(&"x".repeat(1000))),
    );
    assert_eq!(put(&mut outbox, &id, What::State, b"{}", 5).unwrap_err(), Refused::TooLong);
}
