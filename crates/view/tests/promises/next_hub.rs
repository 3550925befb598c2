//! What the next hub knows of what one has told, whatever became of its records.

use view::{Answer, Change, Identity, Loading, ResourceId, Scope};
use wire::ListOptions;

use crate::{Hub, NOW, code, pod, pods, rv, view_rv};

/// The next hub, which finds these writes; the link is down.
fn next_hub(writes: &[view::Write]) -> Hub {
    let mut values = std::collections::BTreeMap::new();
    for write in writes {
        for record in &write.records {
            match record {
                view::Record::Put { key, value, .. } => values.insert(key, (write.log, value)),
                view::Record::Delete { key } => values.remove(key),
            };
        }
    }
    let (mut loading, mut next) = (Loading::new("n1"), Hub::new());
    for (key, (log, value)) in values {
        loading.record(log, key, value);
    }
    loading.finish(&mut next.view);
    next
}

fn is_of_resource(record: &view::Record, resource: &ResourceId) -> bool {
    let (view::Record::Put { key, .. } | view::Record::Delete { key }) = record;
    key.starts_with(&view::prefix(resource))
}

/// Whether a record is of this kind: `s` reserves view RVs, `t` is a tombstone.
fn is_of_kind(record: &view::Record, kind: u8) -> bool {
    let (view::Record::Put { key, .. } | view::Record::Delete { key }) = record;
    key.strip_prefix(&*view::prefix(&pods())).is_some_and(|rest| rest.first() == Some(&kind))
}

#[test]
fn a_number_whose_reservation_did_not_survive_is_reserved_before_it_is_shown() {
    let (mut hub, _) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    for write in &mut hub.written {
        write.records.retain(|record| !is_of_kind(record, b's'));
    }
    let mut next = next_hub(&hub.written);
    let Answer::List(list) = next.list(&Hub::options("0")) else { panic!() };
    assert!(!next.view.has_passed(&list.after));
    next.settle();
    assert!(next.written.iter().flat_map(|write| &write.records).any(|record| is_of_kind(record, b's')));
    assert!(next.view.has_passed(&list.after));
}

#[test]
fn where_it_is_not_known_which_numbers_were_issued_what_comes_gets_one_above_the_clouds() {
    let (mut hub, _) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    let shown = view_rv(&mut hub);
    let (mut loading, mut next) = (Loading::new("n1"), Hub::new());
    for record in hub.written.iter().flat_map(|write| &write.records) {
        match record {
            view::Record::Put { key, .. } if is_of_kind(record, b's') => loading.lost(view::Log::Keep, key),
            view::Record::Put { key, value, .. } => loading.record(view::Log::Keep, key, value),
            view::Record::Delete { .. } => {}
        }
    }
    loading.finish(&mut next.view);
    next.view.wrote(&pods(), pod("y", "u2", 1001, "Running"));
    assert!(shown.get() < 900);
    assert!(next.view.issued(&pods()).unwrap().get() > 1001);
}

#[test]
fn p6_what_took_a_name_in_a_restored_cloud_is_not_buried_with_what_had_it_before() {
    let (mut hub, stream) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    let anew = hub.restored(stream);
    hub.view.opened(anew);
    hub.view.initial(anew, pod("x", "u2", 500, "Running"));
    hub.view.synced(anew, rv(600));
    hub.settle();
    // The hub is killed when it has not yet written that the tombstone counts no more.
    for write in &mut hub.written {
        let forgets = |record: &view::Record| matches!(record, view::Record::Delete { .. });
        write.records.retain(|record| !(forgets(record) && is_of_kind(record, b't')));
    }
    let mut next = next_hub(&hub.written);
    let Answer::List(list) = next.list(&Hub::options("0")) else { panic!() };
    assert_eq!(list.objects.len(), 1);
}

#[test]
fn p6_who_has_not_heard_of_an_end_before_the_cloud_was_restored_begins_anew_at_the_next_hub() {
    let (mut hub, stream) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    let before = view_rv(&mut hub).to_string();
    hub.view.changed(stream, Change::Deleted, pod("x", "u1", 1001, "Running"));
    hub.settle();
    hub.restored(stream);
    hub.settle();
    assert_eq!(code(&next_hub(&hub.written).watch(&before)), 410);
}

/// A client follows the pods that have not succeeded and is told by that stream that one is not among them any more. The stream
/// of all pods has not told of it yet.
fn has_left() -> (Hub, view::StreamId, Identity, ListOptions) {
    let (mut hub, all) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    let running = ListOptions {
        watch: true,
        field_selector: "status.phase!=Succeeded".parse().unwrap(),
        ..ListOptions::default()
    };
    let (dns, scope) = (Identity::new("dns"), Scope::of("", &running));
    hub.view.granted(&dns, &pods(), &scope);
    hub.view.watch(Hub::ask(&dns, &pods()), "", &running);
    hub.settle();
    let stream = hub.opened.pop().unwrap().stream;
    hub.view.opened(stream);
    hub.view.initial(stream, pod("x", "u1", 900, "Running"));
    hub.view.synced(stream, rv(1000));
    hub.view.changed(stream, Change::Deleted, pod("x", "u1", 1001, "Running"));
    hub.settle();
    (hub, all, dns, running)
}

#[test]
fn p6_who_was_told_that_a_pod_has_left_begins_anew_where_that_is_forgotten() {
    let (mut hub, _, dns, running) = has_left();
    let options = ListOptions { resource_version: view_rv(&mut hub).to_string(), ..running };
    let mut next = next_hub(&hub.written);
    let answer = next.view.watch(Hub::ask(&dns, &pods()), "", &options);
    assert_eq!(code(&answer), 410);
}

#[test]
fn p4_nobody_begins_anew_because_of_a_pod_that_left_and_is_gone() {
    let (mut hub, all, dns, running) = has_left();
    hub.view.changed(all, Change::Deleted, pod("x", "u1", 1001, "Running"));
    hub.settle();
    let options =
        ListOptions { resource_version: view_rv(&mut next_hub(&hub.written)).to_string(), ..running };
    let mut next = next_hub(&hub.written);
    let answer = next.view.watch(Hub::ask(&dns, &pods()), "", &options);
    assert_eq!(code(&answer), 200);
    next.view.link(true, NOW, 0);
    next.settle();
    assert!(next.opened.pop().unwrap().from.is_some(), "nothing is read whole");
}

#[test]
fn p4_who_may_have_what_was_lost_begins_anew() {
    let (mut hub, _) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    hub.settle();
    // A hub that starts goes on above all numbers that may have been issued.
    let before = view_rv(&mut next_hub(&hub.written)).to_string();
    let (mut loading, mut next) = (Loading::new("n1"), Hub::new());
    for record in hub.written.iter().flat_map(|write| &write.records) {
        match record {
            view::Record::Put { key, .. } if is_of_kind(record, b'o') => loading.lost(view::Log::Keep, key),
            view::Record::Put { key, value, .. } => loading.record(view::Log::Keep, key, value),
            view::Record::Delete { .. } => {}
        }
    }
    loading.finish(&mut next.view);
    next.view.link(true, NOW, 0);
    assert!(matches!(next.watch(&before), Answer::Await));
    next.settle();
    let stream = next.opened.pop().unwrap().stream;
    next.view.opened(stream);
    next.view.synced(stream, rv(1010));
    next.settle();
    assert_eq!(code(&next.watch(&before)), 410);
}

#[test]
fn p6_an_object_whose_record_outlived_it_does_not_outlive_its_tombstone() {
    let (mut hub, stream) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    hub.view.changed(stream, Change::Deleted, pod("x", "u1", 1001, "Running"));
    hub.settle();
    // The power is cut between the two.
    let deletes = |record: &view::Record| matches!(record, view::Record::Delete { .. });
    for write in &mut hub.written {
        write.records.retain(|record| !(deletes(record) && is_of_kind(record, b'o')));
    }
    let mut next = next_hub(&hub.written);
    next.settle();
    hub.written.extend(next.written);
    // The tombstone makes room for others.
    for write in &mut hub.written {
        write.records.retain(|record| !is_of_kind(record, b't'));
    }
    let Answer::List(list) = next_hub(&hub.written).list(&Hub::options("0")) else { panic!() };
    assert_eq!(list.objects.len(), 0);
}

#[test]
fn p6_that_a_cloud_was_restored_is_true_for_what_had_not_been_written_so() {
    let (mut hub, stream) = Hub::with(&[pod("x", "u1", 900, "Running")]);
    let services = ResourceId::new("", "v1", "services", "");
    let kubelet = hub.kubelet.clone();
    hub.view.took_list(&kubelet, &services, &Scope::default(), Vec::new(), rv(1000));
    hub.settle();
    let before = hub.written.len();
    hub.restored(stream);
    // The hub is killed when it has written that of services alone.
    for write in hub.written.iter_mut().skip(before) {
        write.records.retain(|record| !is_of_resource(record, &pods()));
    }
    let mut next = next_hub(&hub.written);
    next.view.link(true, NOW, 0);
    next.watch("");
    next.settle();
    assert_eq!(next.opened.pop().unwrap().from, None);
}
