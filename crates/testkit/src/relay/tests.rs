use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::control::{Command, json, with};
use super::line::{Line, SEGMENT, Shape};
use super::{Counters, Flow, Mode, Relay, Way};
use crate::rng::Rng;

const MS: Duration = Duration::from_millis(1);

fn plain() -> Shape {
    Shape { delay: 250 * MS, ..Shape::default() }
}

#[test]
fn a_byte_arrives_one_delay_after_it_was_sent() {
    let mut line = Line::new(Duration::ZERO, Rng::new(1));
    assert_eq!(line.send(10 * MS, 1, &plain()).at, 260 * MS);
    assert_eq!(line.send(11 * MS, SEGMENT, &plain()).at, 261 * MS);
}

#[test]
fn nothing_leaves_before_the_handshake_is_done() {
    let mut line = Line::new(500 * MS, Rng::new(1));
    assert_eq!(line.send(10 * MS, 1, &plain()).at, 750 * MS);
}

#[test]
fn a_lost_segment_arrives_a_retransmission_later_and_all_behind_it_wait() {
    let seed = (0..).find(|seed| Rng::new(*seed).chance(50)).unwrap();
    let lossy = Shape { loss_percent: 50, ..plain() };
    let mut line = Line::new(Duration::ZERO, Rng::new(seed));
    let first = line.send(Duration::ZERO, SEGMENT, &lossy);
    assert!(first.lost);
    // 200 ms and a round trip of 500 ms before it is sent again, or that doubled where the repetition was lost too.
    assert!(first.at >= 950 * MS, "{first:?}");
    let second = line.send(MS, SEGMENT, &plain());
    assert!(!second.lost);
    assert_eq!(second.at, first.at);
    assert_eq!(line.send(first.at, 1, &plain()).at, first.at + 250 * MS);
}

#[test]
fn as_many_segments_are_lost_as_was_asked_for_and_order_is_kept() {
    let lossy = Shape { loss_percent: 5, ..plain() };
    let mut line = Line::new(Duration::ZERO, Rng::new(42));
    let (mut lost, mut last) = (0, Duration::ZERO);
    for n in 0..10_000 {
        let arrival = line.send(n * MS, SEGMENT, &lossy);
        assert!(arrival.at >= last);
        (lost, last) = (lost + u32::from(arrival.lost), arrival.at);
    }
    assert!((400..600).contains(&lost), "{lost}");
}

#[test]
fn the_same_seed_loses_the_same_segments() {
    let lossy = Shape { loss_percent: 20, ..plain() };
    let run = || {
        let mut line = Line::new(Duration::ZERO, Rng::new(7));
        (0..500).map(|n| line.send(n * MS, 100, &lossy)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_limited_rate_lets_segments_leave_one_after_the_other() {
    let slow = Shape { bytes_per_second: Some(1000), ..plain() };
    let mut line = Line::new(Duration::ZERO, Rng::new(1));
    assert_eq!(line.send(Duration::ZERO, 100, &slow).at, 350 * MS);
    assert_eq!(line.send(Duration::ZERO, 100, &slow).at, 450 * MS);
    assert_eq!(line.send(1000 * MS, 100, &slow).at, 1350 * MS);
}

#[test]
fn a_link_that_loses_everything_still_brings_everything() {
    let dead = Shape { loss_percent: 100, ..Shape::default() };
    let mut line = Line::new(Duration::ZERO, Rng::new(1));
    assert_eq!(line.send(Duration::ZERO, 1, &dead).at, 200 * MS * 1023);
}

#[test]
fn orders_are_read_and_wrong_ones_explained() {
    let parse = |line| Command::parse(line, plain());
    assert_eq!(parse("pass"), Ok(Command::Switch(Mode::Pass)));
    assert_eq!(parse(" black-hole "), Ok(Command::Switch(Mode::BlackHole)));
    assert_eq!(parse("half-close down"), Ok(Command::HalfClose(Way::Down)));
    let shape = Shape { loss_percent: 5, bytes_per_second: Some(9), ..plain() };
    assert_eq!(parse("shape loss-percent=5 bytes-per-second=9"), Ok(Command::Shape(shape)));
    assert!(parse("").is_err() && parse("half-close").is_err() && parse("reset all").is_err());
    assert!(parse("shape loss=5").unwrap_err().contains("`loss`"));
    assert!(with(plain(), "loss-percent", "101").is_err() && with(plain(), "delay-ms", "-1").is_err());
    let counters =
        Counters { connections: 2, up: Flow { taken: 3, ..Flow::default() }, ..Counters::default() };
    let text = r#"{"connections":2,"open":0,"up":{"taken":3,"delivered":0,"lost":0},"down":{"taken":0,"delivered":0,"lost":0}}"#;
    assert_eq!(json(&counters), text);
}

/// A relay before a server, and a connection through both.
struct Pair {
    relay: Relay,
    server: TcpListener,
    client: TcpStream,
    far: TcpStream,
}

async fn pair(shape: Shape) -> Pair {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay =
        Relay::start("127.0.0.1:0".parse().unwrap(), server.local_addr().unwrap(), shape, 1).await.unwrap();
    let client = TcpStream::connect(relay.address()).await.unwrap();
    let (far, _) = server.accept().await.unwrap();
    Pair { relay, server, client, far }
}

async fn read(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// Lets everything that is ready run. What is proved by it is that something does not happen.
async fn let_run() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn bytes_pass_both_ways_and_are_counted() {
    let Pair { relay, mut client, mut far, .. } = pair(Shape::default()).await;
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut far, 5).await, b"hello");
    let large = Rng::new(3).bytes(3_000_000);
    let (sent, got) = tokio::join!(far.write_all(&large), read(&mut client, large.len()));
    sent.unwrap();
    assert!(got == large);
    client.shutdown().await.unwrap();
    assert_eq!(far.read(&mut [0; 9]).await.unwrap(), 0);
    let counters = relay.counters();
    assert_eq!((counters.connections, counters.open), (1, 1));
    assert_eq!((counters.up.taken, counters.up.delivered), (5, 5));
    assert_eq!((counters.down.taken, counters.down.delivered), (3_000_000, 3_000_000));
}

#[tokio::test(start_paused = true)]
async fn a_round_trip_takes_two_delays_and_the_first_one_four() {
    let Pair { relay: _relay, mut client, mut far, .. } = pair(plain()).await;
    let echo = async {
        for _ in 0..2 {
            let bytes = read(&mut far, 4).await;
            far.write_all(&bytes).await.unwrap();
        }
    };
    let ask = async {
        let mut took = Vec::new();
        for _ in 0..2 {
            let start = Instant::now();
            client.write_all(b"ping").await.unwrap();
            read(&mut client, 4).await;
            took.push(start.elapsed());
        }
        took
    };
    let ((), took) = tokio::join!(echo, ask);
    // The clock of the test ran 250 ms while the relay shook hands with the server.
    assert!(took[0] >= 750 * MS && took[1] >= 500 * MS, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lossy_line_brings_every_byte_in_order() {
    let shape = Shape { loss_percent: 20, bytes_per_second: Some(1_000_000), ..plain() };
    let Pair { relay, mut client, mut far, .. } = pair(shape).await;
    let bytes = Rng::new(5).bytes(400_000);
    let (sent, got) = tokio::join!(client.write_all(&bytes), read(&mut far, bytes.len()));
    sent.unwrap();
    assert!(got == bytes);
    assert!(relay.counters().up.lost > 20, "{:?}", relay.counters());
}

#[tokio::test]
async fn a_black_hole_swallows_silently_and_gives_back_after_the_heal() {
    let Pair { relay, server, mut client, mut far } = pair(Shape::default()).await;
    relay.switch(Mode::BlackHole).await.unwrap();
    client.write_all(b"lost?").await.unwrap();
    client.shutdown().await.unwrap();
    let_run().await;
    assert!(far.try_read(&mut [0; 9]).is_err(), "neither bytes nor an end come through");
    let late = TcpStream::connect(relay.address());
    tokio::pin!(late);
    assert!(tokio::time::timeout(50 * MS, &mut late).await.is_err(), "not even a SYN is answered");
    assert_eq!(relay.counters().connections, 1);

    relay.switch(Mode::Pass).await.unwrap();
    assert_eq!(read(&mut far, 5).await, b"lost?");
    assert_eq!(far.read(&mut [0; 9]).await.unwrap(), 0);
    // The kernel sends the SYN again after a second.
    let mut late = late.await.unwrap();
    let (mut far, _) = server.accept().await.unwrap();
    late.write_all(b"again").await.unwrap();
    assert_eq!(read(&mut far, 5).await, b"again");
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_at_the_cut_arrives_after_the_heal() {
    let Pair { relay, mut client, mut far, .. } = pair(Shape::default()).await;
    client.write_all(b"a").await.unwrap();
    read(&mut far, 1).await;
    relay.reshape(plain());
    client.write_all(b"in flight").await.unwrap();
    while relay.counters().up.taken < 10 {
        tokio::task::yield_now().await;
    }
    relay.switch(Mode::BlackHole).await.unwrap();
    assert_eq!(relay.counters().up.delivered, 1);
    relay.switch(Mode::Pass).await.unwrap();
    assert_eq!(read(&mut far, 9).await, b"in flight");
}

#[tokio::test]
async fn refusing_refuses_new_connections_and_leaves_the_old_ones() {
    let Pair { relay, server, mut client, mut far } = pair(Shape::default()).await;
    relay.switch(Mode::Refuse).await.unwrap();
    let refused = TcpStream::connect(relay.address()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    client.write_all(b"still").await.unwrap();
    assert_eq!(read(&mut far, 5).await, b"still");
    relay.switch(Mode::BlackHole).await.unwrap();
    relay.switch(Mode::Pass).await.unwrap();
    let _new = TcpStream::connect(relay.address()).await.unwrap();
    server.accept().await.unwrap();
    assert_eq!(relay.counters().connections, 2, "our own connections are not counted");
}

#[tokio::test]
async fn a_reset_meets_both_ends_of_every_connection() {
    let Pair { relay, server, mut client, mut far } = pair(Shape::default()).await;
    let mut second = TcpStream::connect(relay.address()).await.unwrap();
    let (mut second_far, _) = server.accept().await.unwrap();
    relay.reset();
    for stream in [&mut client, &mut far, &mut second, &mut second_far] {
        let error = stream.read(&mut [0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    let _new = TcpStream::connect(relay.address()).await.unwrap();
    server.accept().await.unwrap();
}

#[tokio::test]
async fn a_reset_of_one_end_reaches_the_other() {
    let Pair { relay: _relay, mut client, far, .. } = pair(Shape::default()).await;
    far.set_zero_linger().unwrap();
    drop(far);
    assert_eq!(client.read(&mut [0; 9]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_half_close_ends_one_direction_and_leaves_the_other() {
    let Pair { relay, mut client, mut far, .. } = pair(Shape::default()).await;
    far.write_all(b"last").await.unwrap();
    assert_eq!(read(&mut client, 4).await, b"last");
    relay.half_close(Way::Down);
    assert_eq!(client.read(&mut [0; 9]).await.unwrap(), 0);
    far.write_all(b"swallowed").await.unwrap();
    client.write_all(b"up").await.unwrap();
    assert_eq!(read(&mut far, 2).await, b"up");
    assert_eq!(relay.counters().down.delivered, 4);
}

#[tokio::test]
async fn a_target_that_refuses_shows_as_a_reset() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = server.local_addr().unwrap();
    drop(server);
    let relay = Relay::start("127.0.0.1:0".parse().unwrap(), target, Shape::default(), 1).await.unwrap();
    let mut client = TcpStream::connect(relay.address()).await.unwrap();
    assert_eq!(client.read(&mut [0; 9]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}
