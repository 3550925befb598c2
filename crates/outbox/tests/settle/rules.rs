//! Order, pace, and what happens when the cloud does not take something.

use std::time::Duration;

use outbox::settle::{Answer, Fate, Limits, Reason, Standing};
use outbox::{What, Writer};
use serde_json::json;

use crate::cloud::{node_at, place, pod_at};
use crate::world::{World, condition, daemon, event, lost_node, with_status};

fn code(code: u16) -> Answer {
    Answer::Code { code, message: format!("it said {code}"), retry_after: None }
}

fn ends(world: &mut World, name: &str) -> outbox::Id {
    world.pod_waits(name, json!({"phase": "Running"}), json!({"phase": "Succeeded"}))
}

#[test]
fn ends_of_pods_are_told_first_then_the_node_then_what_runs_and_events_last() {
    // One at a time; else what need not wait for an answer does not.
    let mut world = World::with(Limits { at_once: 1, spread: Duration::ZERO, ..Limits::default() });
    let of = What::Event { names: vec![] };
    world.waits(&place("", "events", "shop", "a"), of, Writer::Kubelet, event("a"));
    world.pod_waits("a-runs", json!({"phase": "Pending"}), json!({"phase": "Running"}));
    lost_node(&mut world);
    ends(&mut world, "z-job");
    world.settle.link(true, world.moment());
    world.kubelet();
    let lines = [
        "PATCH pods/z-job/status 200",
        "PATCH /api/v1/nodes/edge/status 200",
        "PATCH pods/a-runs/status 200",
        "POST events 200",
    ];
    assert_eq!(world.lines(), lines);
    assert!(world.sent.iter().all(|(_, request, _)| request.path.ends_with("?fieldManager=kubelet")));
}

#[test]
fn the_node_is_held_until_ends_are_acknowledged_and_no_longer_than_ten_seconds() {
    let mut world = World::new();
    let node = lost_node(&mut world);
    ends(&mut world, "job");
    world.instead = (0..100).map(|_| Some(Answer::Nothing)).collect();
    assert!(!world.settle.holds_node(world.now), "there is no cloud to hold it from");
    world.settle.link(true, world.moment());
    let came = world.now;
    world.settle.kubelet_lives();
    world.go_for(Duration::from_secs(9));
    assert!(world.settle.holds_node(came + Duration::from_secs(9)));
    assert!(world.sent.iter().all(|(_, request, _)| request.path.contains("/job/")), "{:?}", world.lines());
    world.instead = vec![Some(Answer::Nothing), Some(Answer::Nothing)];
    world.go_for(Duration::from_secs(3600));
    assert_eq!(world.fate(&node), Some(&Fate::Sent));
    let first = world.sent.iter().find(|(_, request, _)| request.path.contains("/nodes/")).unwrap().0;
    assert_eq!(first, came + Duration::from_secs(10));
}

#[test]
fn the_node_is_not_held_for_what_has_been_told() {
    let mut world = World::new();
    let job = ends(&mut world, "job");
    world.up();
    assert_eq!(world.fate(&job), Some(&Fate::Sent));
    assert!(!world.settle.holds_node(world.now));
}

#[test]
fn what_the_cloud_has_already_is_not_sent() {
    let mut world = World::new();
    let id =
        world.pod_waits("web", json!({"phase": "Succeeded"}), json!({"phase": "Succeeded", "reason": null}));
    world.up();
    assert_eq!(world.fate(&id), Some(&Fate::Known));
    assert!(world.sent.is_empty());
}

#[test]
fn at_most_one_request_and_a_list_for_each_object_that_changed() {
    let mut world = World::new();
    for at in 0..250 {
        let phase = if at < 50 { "Succeeded" } else { "Running" };
        world.pod_waits(&format!("p{at:03}"), json!({"phase": "Pending"}), json!({"phase": phase}));
    }
    world.settle.link(true, world.moment());
    world.kubelet();
    assert_eq!(world.fates.len(), 250);
    assert_eq!((world.sent.len(), world.reads.len()), (250, 1));
    let came = Duration::from_secs(1000);
    let ended = world.sent[49].0 - came;
    assert!(
        world.sent[..50].iter().all(|(_, request, _)| request.path.contains("/p0")),
        "the ended ones first"
    );
    assert!(ended <= Duration::from_secs(10), "{ended:?}");
    let all = world.sent[249].0 - came;
    assert!(all <= Duration::from_secs(60), "{all:?}");
    // 40 at once, then 20 a second.
    let within =
        |time| world.sent.iter().filter(|(at, ..)| *at - came <= Duration::from_secs(time)).count() + 1;
    assert!(within(0) <= 40 && within(5) <= 141, "{} {}", within(0), within(5));
}

#[test]
fn a_day_of_a_large_node_is_told_within_a_minute_and_its_ends_within_ten_seconds() {
    let mut world = World::new();
    for at in 0..200 {
        world.pod_waits(&format!("runs{at:03}"), json!({"phase": "Pending"}), json!({"phase": "Running"}));
    }
    for at in 0..50 {
        let place = pod_at(&format!("done{at:02}"));
        let mut object = crate::world::pod(place.1.name(), json!({"phase": "Running"}));
        object["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z".into();
        object["metadata"]["deletionGracePeriodSeconds"] = 30.into();
        let object = world.both(&place, object);
        let last = with_status(&object, json!({"phase": "Succeeded"}));
        world.waits(&place, What::Finished { gone: true }, Writer::Kubelet, last);
    }
    // Over a day, evenly: 83 of them within the hour for which the cloud keeps events.
    for at in 0..2000 {
        let name = format!("e{at:04}");
        let of = What::Event { names: vec![] };
        let id = world.waits(&place("", "events", "shop", &name), of, Writer::Kubelet, event(&name));
        let mut entry = world.entries[&id].clone();
        entry.last = crate::world::WALL - at * 86_400 / 2000;
        world.settle.put(&entry.into(), &world.known.locals[&id].clone());
    }
    world.settle.link(true, world.moment());
    world.kubelet();
    assert!(world.entries.is_empty());
    let came = Duration::from_secs(1000);
    let took = |which: &str| {
        let times =
            world.sent.iter().filter(|(_, request, _)| request.path.contains(which)).map(|(at, ..)| *at);
        times.max().unwrap() - came
    };
    assert!(took("/done") <= Duration::from_secs(10), "{:?}", took("/done"));
    assert!(took("") <= Duration::from_secs(60), "{:?}", took(""));
    let objects = world.fates.iter().filter(|(_, fate)| !matches!(fate, Fate::Dropped(_))).count();
    let deletions = 50;
    let requests = world.sent.len() + world.reads.len();
    assert!((330..340).contains(&objects), "{objects}");
    assert!(
        requests * 10 <= (objects + deletions) * 12,
        "{requests} for {objects} objects and {deletions} deletions"
    );
}

#[test]
fn a_refused_entry_is_dropped_with_the_clouds_words_and_others_go_on() {
    let mut world = World::new();
    let (first, second) = (ends(&mut world, "a"), ends(&mut world, "b"));
    world.instead = vec![Some(code(422))];
    world.up();
    let refused = Reason::Refused { code: 422, message: "it said 422".into() };
    assert_eq!(world.fate(&first), Some(&Fate::Dropped(refused)));
    assert_eq!(world.fate(&second), Some(&Fate::Sent));
}

#[test]
fn a_forbidden_entry_is_parked_with_an_alarm_and_others_go_on() {
    let mut world = World::new();
    let node = lost_node(&mut world);
    let web = world.pod_waits("web", json!({"phase": "Pending"}), json!({"phase": "Running"}));
    world.cloud.forbidden.insert("nodes".into());
    world.settle.link(true, world.moment());
    world.kubelet();
    assert_eq!(world.fate(&web), Some(&Fate::Sent));
    assert!(matches!(world.standing(&node), Some(Standing::Parked(_))));
    assert_eq!(world.parked.len(), 1);
    world.cloud.forbidden.clear();
    world.go_for(Duration::from_secs(600));
    assert_eq!(world.fate(&node), Some(&Fate::Sent), "it was tried again");
}

#[test]
fn a_pod_that_is_forbidden_and_not_in_the_list_is_gone() {
    let mut world = World::new();
    let id = ends(&mut world, "db-0");
    world.up();
    world.cloud.forbidden.insert("pods".into());
    let again = ends(&mut world, "db-0");
    assert_eq!(id, again);
    world.now += Duration::from_secs(20);
    world.fates.clear();
    world
        .known
        .locals
        .insert(again.clone(), with_status(&world.known.locals[&again], json!({"phase": "Failed"})));
    world.cloud.edit(&pod_at("db-0"), |pod| pod["status"]["phase"] = "Running".into());
    let fresh = world.cloud.get(&pod_at("db-0")).unwrap();
    world.known.view.insert(pod_at("db-0"), serde_json::Value::clone(fresh));
    world.cloud.edit(&pod_at("db-0"), |pod| pod["spec"]["nodeName"] = "another".into());
    world.go();
    assert_eq!(world.fate(&again), Some(&Fate::Dropped(Reason::Gone)));
}

#[test]
fn too_many_requests_stop_everything_for_as_long_as_the_cloud_asks() {
    let mut world = World::new();
    let limits = Limits { at_once: 1, spread: Duration::ZERO, ..Limits::default() };
    world.settle = outbox::settle::Settle::new(limits, world.boot.clone(), 1);
    ends(&mut world, "a");
    ends(&mut world, "b");
    let retry_after = Some(Duration::from_secs(30));
    world.instead = vec![Some(Answer::Code { code: 429, message: String::new(), retry_after })];
    world.settle.link(true, world.moment());
    world.go_for(Duration::from_secs(29));
    assert_eq!(world.sent.len(), 1);
    world.go_for(Duration::from_secs(60));
    assert_eq!(world.fates.len(), 2);
    assert!(world.sent[1].0 >= Duration::from_secs(1030));
}

#[test]
fn what_may_have_been_done_is_safe_to_repeat() {
    let mut world = World::new();
    let id = ends(&mut world, "job");
    // The patch is done, and its answer lost.
    world.instead = vec![Some(Answer::Nothing)];
    world.settle.link(true, world.moment());
    world.go_for(Duration::from_millis(1));
    world.cloud.edit(&pod_at("job"), |pod| pod["status"]["phase"] = "Succeeded".into());
    world.go();
    assert_eq!(world.fate(&id), Some(&Fate::Known));
    assert_eq!(world.lines(), ["PATCH pods/job/status 0", "PATCH pods/job/status 409"]);
}

#[test]
fn failures_are_repeated_after_longer_and_longer_waits() {
    let mut world = World::new();
    let id = ends(&mut world, "job");
    world.instead = (0..8).map(|at| Some(if at % 2 == 0 { code(503) } else { Answer::Nothing })).collect();
    world.up();
    world.go_for(Duration::from_secs(600));
    assert_eq!(world.fate(&id), Some(&Fate::Sent));
    let times: Vec<Duration> = world.sent.iter().map(|(at, ..)| *at).collect();
    let waits: Vec<Duration> = times.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(
        waits[7] > waits[0] * 8 && waits.iter().all(|wait| *wait <= Duration::from_secs(31)),
        "{waits:?}"
    );
}

#[test]
fn a_write_that_comes_while_an_older_one_is_underway_is_sent_too() {
    let mut world = World::new();
    let object = world.both(&pod_at("web"), crate::world::pod("web", json!({"phase": "Pending"})));
    let with = |ip: &str| with_status(&object, json!({"phase": "Running", "podIP": ip}));
    world.waits(&pod_at("web"), What::State, Writer::Kubelet, with("10.0.0.1"));
    world.settle.link(true, world.moment());
    world.settle.kubelet_lives();
    world.settle.tick(world.moment(), &mut world.known);
    world.settle.effects();
    world.settle.got(&outbox::settle::Read::Pods, outbox::settle::Got::Read, world.moment());
    world.now += Duration::from_secs(1);
    world.settle.tick(world.moment(), &mut world.known);
    let sent = world.settle.effects();
    let [outbox::settle::Effect::Send { ticket, request, .. }] = sent.as_slice() else { panic!("{sent:?}") };
    let id = world.waits(&pod_at("web"), What::State, Writer::Kubelet, with("10.0.0.2"));
    world.settle.tick(world.moment(), &mut world.known);
    assert!(world.settle.effects().is_empty(), "one request for an object at a time");
    let reply = world.cloud.take(request, 0);
    world.known.view.insert(pod_at("web"), serde_json::Value::clone(&reply.object.unwrap()));
    world.settle.answered(*ticket, code(200), world.moment());
    world.go();
    assert_eq!(world.status("web")["podIP"], "10.0.0.2");
    assert_eq!(world.fates.len(), 1);
    assert!(world.fate(&id).is_some());
}

#[test]
fn a_daemons_entry_goes_under_its_own_credential_and_waits_for_it_a_bounded_time() {
    let mut world = World::new();
    let object = world.both(&node_at(), crate::world::node("n1", "True"));
    let mut local = object.clone();
    local["metadata"]["annotations"] = json!({"vtep": "aa"});
    local["metadata"]["annotations"]["mtu"] = "1".into();
    let what = |name: &str| What::Members { annotations: vec![name.into()], conditions: vec![] };
    let (seen, lost) = (daemon("flannel"), daemon("other"));
    let first = world.waits(&node_at(), what("vtep"), seen.clone(), local.clone());
    let second = world.waits(&node_at(), what("mtu"), lost, local);
    world.up();
    assert_eq!(world.standing(&first), Some(Standing::WaitsForCredential));
    world.credentials.insert(seen.clone());
    world.settle.credential(&seen);
    world.go();
    assert_eq!(world.fate(&first), Some(&Fate::Sent));
    let mut taken = world.sent.iter().filter(|(_, _, code)| *code == 200);
    assert!(taken.all(|(_, request, _)| !request.path.contains("fieldManager")), "it is not kubelet");
    world.go_for(Duration::from_secs(700));
    assert_eq!(world.fate(&second), Some(&Fate::Dropped(Reason::NoCredential)));
}

#[test]
fn events_go_a_few_a_second() {
    let mut world = World::new();
    for at in 0..50 {
        let name = format!("e{at}");
        let of = What::Event { names: vec![] };
        world.waits(&place("", "events", "shop", &name), of, Writer::Kubelet, event(&name));
    }
    world.up();
    assert_eq!(world.fates.len(), 50);
    let within = world.sent.iter().filter(|(at, ..)| *at <= Duration::from_secs(1001)).count();
    assert!(within <= 10, "{within}");
    assert!(world.sent[49].0 <= Duration::from_secs(1031), "{:?}", world.sent[49].0);
}

#[test]
fn a_node_with_little_to_tell_takes_its_time_for_it_may_be_one_of_a_fleet() {
    let mut world = World::new();
    lost_node(&mut world);
    for at in 0..3 {
        ends(&mut world, &format!("done{at}"));
    }
    for at in 0..7 {
        world.pod_waits(&format!("runs{at}"), json!({"phase": "Pending"}), json!({"phase": "Running"}));
        let (name, of) = (format!("e{at}"), What::Event { names: vec![] });
        world.waits(&place("", "events", "shop", &name), of, Writer::Kubelet, event(&name));
    }
    world.settle.link(true, world.moment());
    world.kubelet();
    assert!(world.entries.is_empty());
    let times: Vec<Duration> = world.sent.iter().map(|(at, ..)| *at).collect();
    let second = Duration::from_secs(1);
    let within = |from: Duration| times.iter().filter(|at| (from..from + second).contains(at)).count();
    assert!(times.iter().all(|at| within(*at) <= 2), "{times:?}");
    let states = world.sent.iter().filter(|(_, request, _)| !request.path.contains("/events"));
    assert!(states.map(|(at, ..)| *at).max() <= Some(Duration::from_secs(1015)), "{times:?}");
}

#[test]
fn a_cut_in_the_middle_and_a_hub_that_starts_anew_lose_nothing() {
    let mut world = World::new();
    for at in 0..100 {
        ends(&mut world, &format!("p{at:02}"));
    }
    world.settle.link(true, world.moment());
    world.go_for(Duration::from_secs(1));
    let done = world.fates.len();
    assert!(done > 10 && done < 100);
    world.down();
    world.go();
    assert_eq!(world.fates.len(), done, "nothing is settled without a cloud");
    // Another hub, of which the entries are all that it knows.
    let limits = Limits { spread: Duration::ZERO, ..Limits::default() };
    world.settle = outbox::settle::Settle::new(limits, world.boot.clone(), 2);
    for (id, entry) in &world.entries {
        world.settle.put(&entry.clone().into(), &world.known.locals[id]);
    }
    world.up();
    assert_eq!(world.fates.len(), 100);
    assert!(world.entries.is_empty());
}

#[test]
fn nothing_is_read_or_sent_where_nothing_waits() {
    let mut world = World::new();
    world.up();
    world.kubelet();
    assert!(world.reads.is_empty() && world.sent.is_empty());
    assert_eq!(world.settle.next_tick(world.now), None);
    let id = world.pod_waits(
        "web",
        json!({"phase": "Pending"}),
        json!({"phase": "Running", "conditions": [condition("Ready", "True")]}),
    );
    world.go();
    assert_eq!(world.fate(&id), Some(&Fate::Sent), "what comes later is told too");
}

#[test]
fn a_fleet_does_not_come_as_one() {
    let first = |seed: u64| {
        let mut world = World::new();
        world.settle = outbox::settle::Settle::new(Limits::default(), world.boot.clone(), seed);
        ends(&mut world, "job");
        world.up();
        world.sent[0].0
    };
    let times: std::collections::BTreeSet<Duration> = (0..50).map(first).collect();
    assert!(times.len() > 30, "{times:?}");
}
