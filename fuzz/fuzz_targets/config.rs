//! Any bytes on stdin, with any command: a valid call or one error document.

#![no_main]

use cni::{Address, Call, Version, result_json};
use edgekeep_fuzz::{check_error, env, seeds};
use libfuzzer_sys::fuzz_target;

const COMMANDS: [&str; 6] = ["ADD", "DEL", "CHECK", "GC", "STATUS", "FOO"];

fuzz_target!(
    init: seeds(&[
        b"\x00{\"name\":\"n\",\"cniVersion\":\"1.1.0\",\"ipam\":{\"subnet\":\"10.0.0.0/24\",\"rangeStart\":\"10.0.0.9\",\"gateway\":\"10.0.0.1\"}}",
        b"\x01{\"name\":\"n\",\"cniVersion\":\"0.2.0\",\"ipam\":{\"ranges\":[[{\"subnet\":\"10.1.0.0/24\"}]]},\"args\":{\"cni\":{\"ips\":[\"10.1.0.3\"]}}}",
        b"\x00{\"name\":\"n\",\"cniVersion\":\"1.0.0\",\"ipam\":{\"ranges\":[[{\"subnet\":\"fd00::/64\"}],[{\"subnet\":\"10.1.0.0/24\"}]],\"routes\":[{\"dst\":\"0.0.0.0/0\"}],\"retain\":{\"hold\":\"7d\"}},\"runtimeConfig\":{\"ipRanges\":[[{\"subnet\":\"10.3.0.0/24\"}]]}}",
        b"\x03{\"name\":\"n\",\"cniVersion\":\"1.1.0\",\"ipam\":{\"subnet\":\"10.0.0.0/24\"},\"cni.dev/valid-attachments\":[{\"containerID\":\"a\",\"ifname\":\"eth0\"}]}",
    ]),
    |data: &[u8]| {
        let Some((first, stdin)) = data.split_first() else { return };
        let version = Version::for_refusal(stdin);
        let command = COMMANDS[usize::from(*first) % COMMANDS.len()];
        let call = match Call::parse(&env(command, ""), stdin) {
            Ok(call) => call,
            Err(error) => return check_error(&error, version),
        };
        // The name becomes part of a path.
        assert!(!call.conf.name.is_empty() && !call.conf.name.contains(['/', '\0']) && call.conf.name != "..");
        let mut addresses = Vec::new();
        for set in &call.conf.ipam.sets {
            let first = set.ranges().first().expect("a set has a range");
            for range in set.ranges() {
                assert!(range.start <= range.end && range.start.is_ipv4() == set.is_v4());
                assert_eq!(set.get(range.end).map(|found| found.contains(range.end)), Some(true));
            }
            addresses.push(Address { address: first.start, prefix: first.subnet.prefix, gateway: first.gateway });
        }
        let text = result_json(call.conf.version, &addresses, &call.conf.ipam.routes, None);
        let json: serde_json::Value = serde_json::from_str(&text).expect("a result is one JSON document");
        assert_eq!(json["cniVersion"].as_str(), Some(call.conf.version.as_str()));
    }
);
