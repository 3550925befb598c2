//! No input panics, and what is accepted keeps the promises of its type: random bytes, random texts, and
//! configurations that differ from a valid one in a few places.

use cni::{Args, Call, Cidr, Env, Json, RangeSet, Version, range, resolv, result_json, retain};
use proptest::collection::vec;
use proptest::prelude::*;

const VALID: &str = r#"{"name":"n","cniVersion":"1.1.0","type":"bridge",
    "ipam":{"type":"x","dataDir":"/d","resolvConf":"/r","subnet":"10.0.0.0/24","rangeStart":"10.0.0.9",
        "rangeEnd":"10.0.0.99","gateway":"10.0.0.1",
        "ranges":[[{"subnet":"10.1.0.0/24","gateway":"10.1.0.1"},{"subnet":"10.2.0.0/16"}],[{"subnet":"2001:db8::/64"}]],
        "routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1","mtu":1400,"table":0}],
        "retain":{"hold":"7d","key":"uid","reclaim":"never","maxGone":5,"lockTimeout":"30s"}},
    "args":{"cni":{"ips":["10.0.0.12"]}},
    "runtimeConfig":{"ips":["10.1.0.9/24"],"ipRanges":[[{"subnet":"10.3.0.0/24"}]],
        "io.kubernetes.cri.pod-annotations":{"edgekeep.io/ips":"10.0.0.5"}},
    "cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}]}"#;

const COMMANDS: [&str; 6] = ["ADD", "DEL", "CHECK", "GC", "STATUS", "FOO"];

fn env(command: &str, args: &str) -> Env {
    let text = |text: &str| text.to_owned();
    Env {
        command: text(command),
        container_id: text("c"),
        netns: text("/n"),
        ifname: text("eth0"),
        args: text(args),
        path: text("/p"),
        netns_override: false,
    }
}

/// Parses for every command and holds what comes out against the invariants of its types.
fn try_all(args: &str, stdin: &[u8]) {
    for command in COMMANDS {
        match Call::parse(&env(command, args), stdin) {
            Ok(call) => check_call(&call),
            Err(error) => {
                assert!(!error.msg.is_empty());
                let text = error.to_json(Version::for_refusal(stdin));
                assert!(Json::parse(text.as_bytes()).is_ok());
            }
        }
    }
}

fn check_call(call: &Call) {
    let ipam = &call.conf.ipam;
    assert!(!ipam.sets.is_empty());
    assert_eq!(call.conf.valid_attachments.is_some(), call.command == cni::Command::Gc);
    let mut addresses = Vec::new();
    for set in &ipam.sets {
        check_set(set);
        for range in set.ranges() {
            let prefix = range.subnet.prefix;
            addresses.push(cni::Address { address: range.start, prefix, gateway: range.gateway });
        }
    }
    let _ = ipam.annotated(&retain::Policy::resolve(&ipam.retain, &retain::Keys::default()));
    let text = result_json(call.conf.version, &addresses, &ipam.routes, None);
    assert!(Json::parse(text.as_bytes()).is_ok());
}

fn check_set(set: &RangeSet) {
    for range in set.ranges() {
        assert!(range.start <= range.end);
        assert!(range.subnet.contains(range.start) && range.subnet.contains(range.end));
        assert_eq!(set.get(range.start), Some(range));
        assert_eq!(set.is_v4(), range.end.is_ipv4());
    }
}

/// Any JSON, leaning towards what could be mistaken for something valid.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        Just("1e400".to_owned()),
        Just("18446744073709551615".to_owned()),
        Just("1.5".to_owned()),
        "[0-9a-f.:/]{0,12}".prop_map(|text| format!("\"{text}\"")),
        "\\PC{0,8}".prop_map(|text| Json::Str(text).to_pretty()),
        any_cidr().prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            vec((any_key(), inner), 0..4).prop_map(|members| {
                let members: Vec<String> =
                    members.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn any_key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "name",
        "cniVersion",
        "ipam",
        "IPAM",
        "ranges",
        "subnet",
        "rangeStart",
        "rangeEnd",
        "gateway",
        "routes",
        "dst",
        "gw",
        "mtu",
        "args",
        "cni",
        "ips",
        "runtimeConfig",
        "ipRanges",
        "retain",
        "hold",
        "x",
    ])
}

fn any_cidr() -> impl Strategy<Value = String> {
    let v4 = (any::<u32>(), 0_u8..34).prop_map(|(bits, prefix)| {
        let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0);
        format!("{}/{prefix}", std::net::Ipv4Addr::from_bits(bits & mask))
    });
    let v6 = (any::<u128>(), 0_u8..130).prop_map(|(bits, prefix)| {
        let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0);
        format!("{}/{prefix}", std::net::Ipv6Addr::from_bits(bits & mask))
    });
    prop_oneof![v4, v6]
}

/// The start of each value in the valid configuration, and its length.
fn values() -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (start, c) in VALID.char_indices() {
        let rest = &VALID[start..];
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>();
        if matches!(c, '"' | '[' | '{' | '0'..='9') && matches!(stream.next(), Some(Ok(_))) {
            found.push((start, stream.byte_offset()));
        }
    }
    found
}

#[test]
fn the_valid_configuration_is_accepted_by_every_command() {
    for command in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        assert_eq!(Call::parse(&env(command, ""), VALID.as_bytes()).map(|_| ()), Ok(()));
    }
    try_all("", VALID.as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..200), args in "\\PC{0,40}") {
        try_all(&args, &bytes);
        let _ = retain::NodeFile::parse("p", &bytes);
        let _ = resolv::parse("p", &bytes);
        let text = String::from_utf8_lossy(&bytes);
        let _ = Args::lenient(&text);
        let _ = Cidr::parse(&text);
        let _ = retain::parse_duration(&text);
        let _ = cni::config::parse_annotation("k", &text);
        let _ = Env::from_vars(|_| Some(text.clone().into_owned())).request();
    }

    #[test]
    fn random_environments_do_not_panic(command in "(ADD|DEL|CHECK|GC|STATUS|VERSION|)",
                                        id in "\\PC{0,6}", ifname in "\\PC{0,18}") {
        let _ = Env { container_id: id, ifname, ..env(&command, "") }.request();
    }

    #[test]
    fn random_json_does_not_panic(ipam in any_json(), runtime in any_json()) {
        try_all("", format!(r#"{{"name":"n","cniVersion":"1.1.0","ipam":{ipam},"runtimeConfig":{runtime}}}"#).as_bytes());
        let _ = retain::NodeFile::parse("p", ipam.as_bytes());
    }

    #[test]
    fn a_valid_configuration_with_one_value_replaced_does_not_panic(
        place in any::<prop::sample::Index>(), value in any_json()
    ) {
        let values = values();
        let (start, length) = values[place.index(values.len())];
        let mut text = VALID.to_owned();
        text.replace_range(start..start + length, &value);
        try_all("IgnoreUnknown=1;K8S_POD_NAME=p", text.as_bytes());
    }

    #[test]
    fn a_valid_configuration_with_flipped_bytes_does_not_panic(
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let mut bytes = VALID.as_bytes().to_vec();
        for (place, byte) in flips {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        try_all("", &bytes);
    }

    #[test]
    fn every_accepted_range_keeps_its_invariants(
        subnet in any_cidr(), start in any::<Option<std::net::IpAddr>>(), end in any::<Option<std::net::IpAddr>>()
    ) {
        let spec = range::Spec { subnet: Cidr::parse(&subnet), start, end, gateway: None };
        if let Ok(set) = RangeSet::new(&[spec]) {
            check_set(&set);
        }
    }

    #[test]
    fn json_reads_back_what_it_wrote(text in any_json()) {
        if let Ok(json) = Json::parse(text.as_bytes()) {
            prop_assert_eq!(Json::parse(json.to_pretty().as_bytes()), Ok(json));
        }
    }
}
