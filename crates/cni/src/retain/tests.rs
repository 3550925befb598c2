use super::*;
use crate::{Call, Env};

const PATH: &str = "/etc/edgekeep/ipam.json";

fn network(retain: &str) -> Result<Keys, Error> {
    let env = Env { command: "ADD".into(), ..Env::default() };
    let stdin = format!(r#"{{"name":"n","ipam":{{"subnet":"10.0.0.0/24","retain":{retain}}}}}"#);
    Call::parse(&env, stdin.as_bytes()).map(|call| call.conf.ipam.retain)
}

fn node(text: &str) -> Result<NodeFile, Error> {
    NodeFile::parse(PATH, text.as_bytes())
}

fn says<T: std::fmt::Debug>(result: Result<T, Error>, text: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.msg.as_str(), error.code), (text, 7));
}

const ALL: &str = r#"{"hold":"7d","key":"uid","reclaim":"never","maxGone":9,"repeatAdd":"error",
    "ipAnnotation":"example.org/ip","lockTimeout":"1m30s"}"#;

#[test]
fn with_no_key_of_ours_the_defaults_hold() {
    let policy = Policy::default();
    assert_eq!(policy.hold, Hold::Forever);
    assert_eq!(policy.key, PodKey::Name);
    assert_eq!(policy.reclaim, Reclaim::Pressure);
    assert_eq!(policy.max_gone, 4096);
    assert_eq!(policy.repeat_add, RepeatAdd::Same);
    assert_eq!(policy.ip_annotation.as_deref(), Some("edgekeep.io/ips"));
    assert_eq!(policy.lock_timeout, Duration::from_secs(30));
}

#[test]
fn every_key_is_read_from_either_place() {
    let keys = network(ALL).unwrap();
    assert_eq!(node(ALL).unwrap().keys, keys);
    let expected = Policy {
        hold: Hold::For(Duration::from_secs(7 * 86_400)),
        key: PodKey::Uid,
        reclaim: Reclaim::Never,
        max_gone: 9,
        repeat_add: RepeatAdd::Error,
        ip_annotation: Some("example.org/ip".into()),
        lock_timeout: Duration::from_secs(90),
    };
    assert_eq!(Policy::resolve(&keys, &Keys::default()), expected);
    assert_eq!(Policy::resolve(&Keys::default(), &keys), expected);
}

#[test]
fn the_network_goes_before_the_node_and_key_by_key() {
    let network = network(r#"{"hold":"forever","ipAnnotation":""}"#).unwrap();
    let policy = Policy::resolve(&network, &node(ALL).unwrap().keys);
    assert_eq!(policy.hold, Hold::Forever);
    assert_eq!(policy.ip_annotation, None);
    assert_eq!(policy.key, PodKey::Uid);
}

#[test]
fn null_and_absence_are_silence() {
    assert_eq!(network("null"), Ok(Keys::default()));
    assert_eq!(network("{}"), Ok(Keys::default()));
    assert_eq!(network(r#"{"hold":null,"maxGone":null}"#), Ok(Keys::default()));
    assert_eq!(node("{}"), Ok(NodeFile::default()));
}

#[test]
fn a_key_that_nobody_knows_is_refused_with_the_ones_that_exist() {
    let known = "hold, key, reclaim, maxGone, repeatAdd, ipAnnotation, lockTimeout";
    says(network(r#"{"holdd":"1h"}"#), &format!("ipam.retain: unknown key \"holdd\"; the keys are {known}"));
    says(network(r#"{"Hold":"1h"}"#), &format!("ipam.retain: unknown key \"Hold\"; the keys are {known}"));
    says(
        network(r#"{"stateDir":"/x"}"#),
        &format!("ipam.retain: unknown key \"stateDir\"; the keys are {known}"),
    );
    says(
        node(r#"{"x":null}"#),
        &format!("{PATH}: unknown key \"x\"; the keys are {known}, stateDir, runDir"),
    );
}

#[test]
fn a_wrong_value_is_refused_with_what_would_be_right() {
    let hold = "want a duration such as 30m, 24h, 7d or 0s, or forever";
    says(network(r#"{"hold":"soon"}"#), &format!("ipam.retain: hold is \"soon\"; {hold}"));
    says(network(r#"{"hold":30}"#), &format!("ipam.retain: hold is 30; {hold}"));
    says(node(r#"{"hold":[]}"#), &format!("{PATH}: hold is of type array; {hold}"));
    says(network(r#"{"key":"Name"}"#), "ipam.retain: key is \"Name\"; want name or uid");
    says(network(r#"{"reclaim":true}"#), "ipam.retain: reclaim is of type bool; want pressure or never");
    says(network(r#"{"repeatAdd":""}"#), "ipam.retain: repeatAdd is \"\"; want same or error");
    says(network(r#"{"maxGone":-1}"#), "ipam.retain: maxGone is -1; want a number from 0 to 4294967295");
    says(
        network(r#"{"maxGone":1.5}"#),
        "ipam.retain: maxGone is of type number; want a number from 0 to 4294967295",
    );
    for timeout in ["0s", "999ms", "111s", "forever"] {
        says(
            network(&format!(r#"{{"lockTimeout":"{timeout}"}}"#)),
            &format!("ipam.retain: lockTimeout is \"{timeout}\"; want a duration from 1s to 110s"),
        );
    }
    says(network("[]"), "ipam.retain: want a JSON object, found array");
}

#[test]
fn the_node_file_may_move_our_directories_to_absolute_paths() {
    let file = node(r#"{"stateDir":"/data/ipam","runDir":"/run/x"}"#).unwrap();
    assert_eq!(file.state_dir.as_deref(), Some("/data/ipam"));
    assert_eq!(file.run_dir.as_deref(), Some("/run/x"));
    says(node(r#"{"stateDir":"data"}"#), &format!("{PATH}: stateDir is \"data\"; want an absolute path"));
    says(node(r#"{"runDir":"/a\u0000"}"#), &format!("{PATH}: runDir is \"/a\\x00\"; want an absolute path"));
}

#[test]
fn a_node_file_that_is_not_an_object_is_refused_by_its_path() {
    says(node("[]"), &format!("{PATH}: want a JSON object, found array"));
    let error = node("").unwrap_err();
    assert!(error.msg.starts_with(&format!("{PATH}: not JSON: ")), "{}", error.msg);
    assert_eq!(error.code, 7);
}

#[test]
fn durations_are_whole_numbers_with_units() {
    let seconds = |text| parse_duration(text).map(|duration| duration.as_secs());
    assert_eq!(seconds("0s"), Some(0));
    assert_eq!(seconds("30m"), Some(1_800));
    assert_eq!(seconds("24h"), Some(86_400));
    assert_eq!(seconds("7d"), Some(604_800));
    assert_eq!(seconds("1h30m5s"), Some(5_405));
    assert_eq!(parse_duration("1500ms"), Some(Duration::from_millis(1_500)));
    let wrong =
        ["", "5", "s", "1.5h", "-1s", "1 s", "1y", "1h30", "1H", "٣s", "18446744073709551615d", "1sm"];
    for text in wrong {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}
