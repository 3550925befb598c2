use super::*;
use testkit::rng::Rng;

fn ms(millis: u64) -> Moment {
    Duration::from_millis(millis)
}

fn up() -> Link {
    let mut link = Link::new(ms(0));
    assert_eq!(link.tick(ms(0), 0), Some(Action::Probe));
    link.probed(ms(10), 200, 0);
    link
}

/// Ticks whenever the link asks to be woken, until `end`; says what it did when.
fn run(link: &mut Link, end: Moment) -> Vec<(u128, Option<Action>, bool)> {
    let mut said = Vec::new();
    for _ in 0..1000 {
        let at = link.wake();
        if at > end {
            break;
        }
        let was = link.is_up();
        let action = link.tick(at, 0);
        if action.is_some() || was != link.is_up() {
            said.push((at.as_millis(), action, link.is_up()));
        }
    }
    said
}

#[test]
fn a_black_hole_is_known_three_seconds_after_the_first_question() {
    let mut link = up();
    link.asked(ms(1000));
    let said = run(&mut link, ms(20_000));
    let probe = Some(Action::Probe);
    assert_eq!(
        said[..4],
        [(2000, probe, true), (2500, probe, true), (3000, probe, true), (4000, None, false)]
    );
    assert_eq!(link.state(), &State::Down(Why::Silent));
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_told_from_a_black_hole() {
    let mut link = up();
    link.asked(ms(0));
    assert_eq!(link.tick(ms(1000), 0), Some(Action::Probe));
    link.reached(ms(1020));
    run(&mut link, ms(5019));
    assert!(link.is_up());
    run(&mut link, ms(5020));
    assert_eq!(link.state(), &State::Down(Why::Hangs));
}

#[test]
fn a_slow_answer_with_a_server_that_is_there_changes_nothing() {
    let mut link = up();
    link.asked(ms(0));
    let mut probes = 0;
    for at in (0..60_000).step_by(100) {
        if link.tick(ms(at), 0).is_some() {
            probes += 1;
            link.probed(ms(at + 50), 200, 0);
        }
        assert!(link.is_up(), "at {at} ms");
    }
    assert!(probes <= 14, "{probes} probes in a minute of waiting for one answer");
}

#[test]
fn a_refusal_is_known_at_once_and_an_answer_ends_it() {
    let mut link = up();
    link.lost(ms(50));
    assert_eq!(link.tick(ms(50), 0), Some(Action::Probe));
    link.probe_failed(ms(50), Why::Unreachable("connection refused".into()), 0);
    assert!(!link.is_up());
    let again = link.wake();
    assert!(again > ms(300) && again < ms(800), "{again:?}");
    assert_eq!(link.tick(again, 0), Some(Action::Probe));
    link.probed(again + ms(5), 401, 0);
    assert!(link.is_up());
}

#[test]
fn a_server_that_says_it_is_not_ready_is_not_there_yet() {
    let mut link = Link::new(ms(0));
    link.tick(ms(0), 0);
    link.probed(ms(5), 503, 0);
    assert_eq!(link.state(), &State::Down(Why::NotReady(503)));
}

#[test]
fn one_that_is_up_may_say_so_once() {
    let mut link = up();
    link.asked(ms(100));
    link.probed(ms(200), 500, 0);
    assert!(link.is_up(), "a server in trouble answers its clients itself");
}

/// Whether the link asks for a probe at `at`, and is told `code` then.
fn probed_at(link: &mut Link, at: Moment, code: u16) -> bool {
    let due = link.wake() <= at && link.tick(at, 0) == Some(Action::Probe);
    if due {
        link.probed(at + ms(5), code, 0);
    }
    due
}

#[test]
fn a_load_balancer_without_an_api_server_behind_it_is_no_cloud() {
    let mut link = up();
    link.unwell(ms(100));
    assert!(probed_at(&mut link, ms(100), 502) && link.is_up());
    // Its clients go on being answered so, and bytes come.
    link.unwell(ms(500));
    link.heard(ms(500));
    assert!(!probed_at(&mut link, ms(600), 502));
    assert!(probed_at(&mut link, ms(1105), 502) && link.is_up());
    assert!(probed_at(&mut link, ms(2110), 502));
    assert_eq!(link.state(), &State::Down(Why::NotReady(502)));
}

#[test]
fn an_api_server_that_is_ready_between_two_errors_stays() {
    let mut link = up();
    link.unwell(ms(100));
    for (at, code) in [(100, 500), (1105, 500), (2110, 200)] {
        assert!(probed_at(&mut link, ms(at), code) && link.is_up(), "at {at} ms");
    }
    assert!(!probed_at(&mut link, ms(5000), 500));
    link.unwell(ms(11_000));
    for (at, code) in [(11_000, 500), (12_005, 500)] {
        assert!(probed_at(&mut link, ms(at), code) && link.is_up(), "at {at} ms");
    }
}

#[test]
fn an_aggregated_api_that_is_down_costs_few_probes() {
    let (mut link, mut probes) = (up(), 0);
    for second in 1..3600_u64 {
        let at = ms(second * 1000);
        link.heard(at);
        link.unwell(at);
        probes += u32::from(probed_at(&mut link, at, 200));
    }
    assert!(link.is_up());
    assert!((5..25).contains(&probes), "{probes} in an hour in which each answer is an error");
}

#[test]
fn attempts_get_rarer_and_never_stop() {
    let mut link = Link::new(ms(0));
    let mut last = ms(0);
    for n in 0..200_u32 {
        let at = link.wake();
        assert!(at - last <= PAUSE.1, "attempt {n}");
        last = at;
        assert_eq!(link.tick(at, u32::MAX), Some(Action::Probe));
        assert_eq!(link.tick(at, u32::MAX), None, "one at a time");
        link.probe_failed(at, Why::Silent, u32::MAX);
    }
    assert!(last > ms(180 * 6000 - 60_000));
}

#[test]
fn hubs_do_not_come_back_as_one() {
    let pauses: Vec<Duration> = (0..5).map(|n| pause(20, u32::MAX / 4 * n)).collect();
    assert!(pauses.windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
}

#[test]
fn an_idle_link_is_asked_rarely_enough_for_three_megabytes_a_day() {
    let mut link = up();
    let mut asks = 0;
    let mut now = ms(10);
    while now < Duration::from_secs(86_400) {
        now = link.wake();
        if link.tick(now, 0) == Some(Action::Ask) {
            asks += 1;
            link.asked(now);
            link.heard(now + ms(20));
            link.settled();
        }
    }
    assert!(asks * 450 < 3_000_000, "{asks} questions");
    assert!(asks > 4000, "{asks} questions");
}

#[test]
fn bytes_on_an_old_connection_bring_the_next_attempt_forward_but_are_not_enough() {
    let mut link = Link::new(ms(0));
    link.tick(ms(0), 0);
    link.probe_failed(ms(1), Why::Silent, u32::MAX);
    link.probe_failed(ms(2), Why::Silent, u32::MAX);
    link.heard(ms(900));
    assert!(!link.is_up());
    assert_eq!(link.wake(), ms(900));
}

#[test]
fn the_last_bytes_of_an_attempt_in_vain_do_not_start_the_next_one() {
    let mut link = Link::new(ms(0));
    for n in 0..5 {
        let at = link.wake();
        assert_eq!(link.tick(at, u32::MAX), Some(Action::Probe));
        link.probed(at + ms(1), 500, u32::MAX);
        link.heard(at + ms(2));
        assert!(link.wake() >= at + PAUSE.0, "attempt {n}");
    }
}

#[test]
fn who_gave_up_waiting_leaves_no_suspicion_behind() {
    let mut link = up();
    link.asked(ms(100));
    link.settled();
    assert!(link.is_up() && link.tick(ms(10_000), 0).is_none());
}

/// A question or probe over a path of 500 ms a round trip where each packet is lost with 5 %: TCP sends it again after
/// one second, then two, then four. When the answer comes, after `at`.
fn lossy(rng: &mut Rng, at: Moment) -> Moment {
    let mut when = at;
    for _direction in 0..2 {
        let mut again = ms(1000);
        while rng.below(100) < 5 {
            when += again;
            again *= 2;
        }
        when += ms(250);
    }
    when
}

#[test]
fn half_a_second_and_five_per_cent_loss_do_not_flap() {
    let (mut falls, mut questions) = (0, 0);
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let mut link = up();
        // What will come when: (when, whether a probe's whole answer, or its connection).
        let mut coming: Vec<(Moment, u8)> = Vec::new();
        let mut now = ms(10);
        let mut next_question = ms(100);
        while now < Duration::from_secs(600) {
            let first = coming.iter().map(|one| one.0).min().unwrap_or(Moment::MAX);
            now = first.min(next_question).min(link.wake()).max(now);
            if now == next_question {
                link.asked(now);
                coming.push((lossy(&mut rng, now), 0));
                next_question = now + ms(300 + rng.below(5000));
                questions += 1;
            }
            coming.sort_unstable();
            while coming.first().is_some_and(|one| one.0 <= now) {
                let (at, what) = coming.remove(0);
                match what {
                    0 => {
                        link.heard(at);
                        link.settled();
                    }
                    1 => {
                        link.reached(at);
                        // The handshake and the request: two more round trips.
                        let end = lossy(&mut rng, at);
                        coming.push((lossy(&mut rng, end), 2));
                    }
                    _ => link.probed(at, 200, 0),
                }
            }
            let was = link.is_up();
            if link.tick(now, jitter(&mut rng)) == Some(Action::Probe) {
                coming.push((lossy(&mut rng, now), 1));
            }
            falls += u32::from(was && !link.is_up());
        }
    }
    println!("{falls} falls in {questions} questions");
    assert!(falls * 20_000 < questions, "{falls} falls in {questions} questions");
}

fn jitter(rng: &mut Rng) -> u32 {
    u32::try_from(rng.below(u64::from(u32::MAX))).unwrap()
}
