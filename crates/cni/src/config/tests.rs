use super::*;
use crate::{Call, Env};

fn env(command: &str, args: &str) -> Env {
    Env {
        command: command.into(),
        container_id: "c0ffee".into(),
        netns: "/run/netns/x".into(),
        ifname: "eth0".into(),
        path: "/opt/cni/bin".into(),
        args: args.into(),
        ..Env::default()
    }
}

fn call(command: &str, args: &str, body: &str) -> Result<NetConf, Error> {
    let stdin = format!(r#"{{"name":"n","cniVersion":"1.1.0",{body}}}"#);
    Call::parse(&env(command, args), stdin.as_bytes()).map(|call| call.conf)
}

/// A configuration whose `ipam` holds a subnet and these keys.
fn ipam(keys: &str) -> Result<Ipam, Error> {
    let comma = if keys.is_empty() { "" } else { "," };
    call("ADD", "", &format!(r#""ipam":{{"type":"x","subnet":"10.0.0.0/24"{comma}{keys}}}"#))
        .map(|conf| conf.ipam)
}

/// A configuration with that and these keys beside `ipam`.
fn beside(keys: &str) -> Result<Ipam, Error> {
    call("ADD", "", &format!(r#""ipam":{{"subnet":"10.0.0.0/24"}},{keys}"#)).map(|conf| conf.ipam)
}

fn host_local_says<T: std::fmt::Debug>(result: Result<T, Error>, text: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.msg.as_str(), error.code), (text, 999));
}

fn ours_says<T: std::fmt::Debug>(result: Result<T, Error>, text: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.msg.as_str(), error.code), (text, 7));
}

fn sets(ipam: &Ipam) -> Vec<String> {
    ipam.sets.iter().map(ToString::to_string).collect()
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn a_bare_subnet_has_the_defaults_of_host_local() {
    let ipam = ipam("").unwrap();
    assert_eq!(ipam.data_dir, "/var/lib/cni/networks");
    assert_eq!(sets(&ipam), ["10.0.0.1-10.0.0.254"]);
    assert_eq!(ipam.resolv_conf, None);
    assert_eq!(ipam.retain, Keys::default());
    assert!(ipam.routes.is_empty() && ipam.requested.is_empty() && ipam.annotations.is_empty());
}

#[test]
fn without_ipam_or_ranges_there_is_nothing_to_allocate() {
    host_local_says(call("ADD", "", r#""x":1"#), "IPAM config missing 'ipam' key");
    host_local_says(call("ADD", "", r#""ipam":null"#), "IPAM config missing 'ipam' key");
    host_local_says(call("ADD", "", r#""ipam":{}"#), "no IP ranges specified");
    host_local_says(call("ADD", "", r#""ipam":{"ranges":[]}"#), "no IP ranges specified");
    let without_subnet = r#""ipam":{"gateway":"10.0.0.1","rangeStart":"10.0.0.5"}"#;
    host_local_says(call("ADD", "", without_subnet), "no IP ranges specified");
}

#[test]
fn ranges_are_ordered_runtime_first_then_deprecated_then_listed() {
    let body = r#""ipam":{"subnet":"10.0.0.0/24","rangeStart":"10.0.0.9","rangeEnd":"10.0.0.19",
        "gateway":"10.0.0.254","ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"2001:db8::/64"}]]},
        "runtimeConfig":{"ipRanges":[[{"subnet":"10.2.0.0/24"},{"subnet":"10.3.0.0/24"}]]}"#;
    let ipam = call("ADD", "", body).unwrap().ipam;
    assert_eq!(
        sets(&ipam),
        [
            "10.2.0.1-10.2.0.254,10.3.0.1-10.3.0.254",
            "10.0.0.9-10.0.0.19",
            "10.1.0.1-10.1.0.254",
            "2001:db8::1-2001:db8::ffff:ffff:ffff:ffff"
        ]
    );
    assert_eq!(ipam.sets[1].ranges()[0].gateway, "10.0.0.254".parse().ok());
}

#[test]
fn del_accepts_the_whole_address_space_as_a_subnet() {
    let body = r#""ipam":{"ranges":[[{"subnet":"0.0.0.0/0"}],[{"subnet":"::/0"}]]}"#;
    assert!(call("DEL", "", body).is_ok());
}

#[test]
fn bad_ranges_are_refused_in_the_words_of_host_local() {
    let ranges = |text: &str| call("ADD", "", &format!(r#""ipam":{{"ranges":{text}}}"#));
    host_local_says(ranges("[[]]"), "invalid range set 0: empty range set");
    host_local_says(ranges("[null]"), "invalid range set 0: empty range set");
    host_local_says(ranges("[[null]]"), "invalid range set 0: IP <nil> not v4 nor v6");
    host_local_says(ranges("[[{}]]"), "invalid range set 0: IP <nil> not v4 nor v6");
    host_local_says(ranges(r#"[[{"subnet":"usePodCidr"}]]"#), "invalid CIDR address: usePodCidr");
    host_local_says(ranges(r#"[[{"subnet":""}]]"#), "invalid CIDR address: ");
    host_local_says(ranges(r#"[[{"subnet":null}]]"#), "invalid CIDR address: ");
    host_local_says(
        ranges(r#"[[{"subnet":"10.0.0.0/24"}],[{"subnet":"10.1.0.1/24"}]]"#),
        "invalid range set 1: Network has host bits set. \
         For a subnet mask of length 24 the network address is 10.1.0.0",
    );
    host_local_says(ipam(r#""ranges":[[{"subnet":"10.0.0.0/24"}]]"#), "range set 0 overlaps with 1");
}

#[test]
fn an_address_key_is_an_address_or_absent() {
    for absent in [r#""""#, "null"] {
        assert!(ipam(&format!(r#""rangeStart":{absent},"rangeEnd":{absent},"gateway":{absent}"#)).is_ok());
    }
    for key in ["rangeStart", "rangeEnd", "gateway"] {
        host_local_says(ipam(&format!(r#""{key}":"foo""#)), "invalid IP address: foo");
    }
    let mapped = ipam(r#""rangeStart":"::ffff:10.0.0.7""#).unwrap();
    assert_eq!(sets(&mapped), ["10.0.0.7-10.0.0.254"]);
}

#[test]
fn a_value_of_the_wrong_type_is_refused_by_its_key() {
    let unmarshal = |what: &str| format!("json: cannot unmarshal {what}");
    host_local_says(call("ADD", "", r#""ipam":5"#), &unmarshal("number into field ipam of type object"));
    host_local_says(ipam(r#""type":5"#), &unmarshal("number into field ipam.type of type string"));
    host_local_says(ipam(r#""dataDir":[]"#), &unmarshal("array into field ipam.dataDir of type string"));
    host_local_says(
        ipam(r#""resolvConf":{}"#),
        &unmarshal("object into field ipam.resolvConf of type string"),
    );
    host_local_says(ipam(r#""ranges":5"#), &unmarshal("number into field ipam.ranges of type array"));
    host_local_says(ipam(r#""ranges":[5]"#), &unmarshal("number into field ipam.ranges[0] of type array"));
    host_local_says(
        ipam(r#""ranges":[[{"subnet":"10.1.0.0/24"},{"subnet":true}]]"#),
        &unmarshal("bool into field ipam.ranges[0][1].subnet of type string"),
    );
    host_local_says(ipam(r#""gateway":1.5"#), &unmarshal("number into field ipam.gateway of type string"));
    host_local_says(ipam(r#""routes":{}"#), &unmarshal("object into field ipam.routes of type array"));
    host_local_says(beside(r#""args":5"#), &unmarshal("number into field args of type object"));
    host_local_says(beside(r#""args":{"cni":[]}"#), &unmarshal("array into field args.cni of type object"));
    host_local_says(
        beside(r#""args":{"cni":{"ips":"10.0.0.5"}}"#),
        &unmarshal("string into field args.cni.ips of type array"),
    );
    host_local_says(
        beside(r#""runtimeConfig":{"ips":[5]}"#),
        &unmarshal("number into field runtimeConfig.ips[0] of type string"),
    );
    host_local_says(
        beside(r#""runtimeConfig":true"#),
        &unmarshal("bool into field runtimeConfig of type object"),
    );
}

#[test]
fn keys_match_in_any_case_and_the_last_duplicate_wins() {
    let body = r#""IPAM":{"subnet":"10.9.0.0/24"},"Ipam":{"SUBNET":"10.0.0.0/24","subnet":"10.1.0.0/24",
        "dataDir":"/a","DATADIR":"/b"}"#;
    let ipam = call("ADD", "", body).unwrap().ipam;
    assert_eq!(sets(&ipam), ["10.1.0.1-10.1.0.254"]);
    assert_eq!(ipam.data_dir, "/b");
}

#[test]
fn what_is_not_host_locals_is_ignored_at_any_depth() {
    let body = r#""ipam":{"subnet":"10.0.0.0/24","usePodCidr":7,"name":{"a":[1e300]}},"prevResult":5,"dns":7,
        "capabilities":[],"cni.dev/valid-attachments":7,"runtimeConfig":{"portMappings":3,"mac":null},
        "args":{"labels":[],"cni":{"other":1}}"#;
    assert!(call("ADD", "", body).is_ok());
}

#[test]
fn null_counts_as_absent() {
    let body = r#""ipam":{"subnet":"10.0.0.0/24","ranges":null,"routes":null,"dataDir":null,"type":null,
        "resolvConf":null,"retain":null},"args":null,
        "runtimeConfig":{"ips":null,"ipRanges":null,"io.kubernetes.cri.pod-annotations":null}"#;
    assert!(call("ADD", "", body).is_ok());
    assert!(beside(r#""args":{"cni":null},"runtimeConfig":null"#).is_ok());
}

#[test]
fn routes_keep_what_they_were_given() {
    let ipam = ipam(
        r#""routes":[{"dst":"10.1.2.3/8","gw":"","mtu":1400,"advmss":-1,"priority":5,"table":0,"scope":253},
        {"dst":"2001:db8::5/32","gw":"fe80::1"},{"dst":"::ffff:10.0.0.0/104","gw":"::ffff:1.2.3.4"}]"#,
    );
    let routes = ipam.unwrap().routes;
    assert_eq!(routes[0].dst.to_string(), "10.1.2.3/8");
    assert_eq!((routes[0].gw, routes[0].mtu, routes[0].advmss, routes[0].priority), (None, 1400, -1, 5));
    assert_eq!((routes[0].table, routes[0].scope), (Some(0), Some(253)));
    assert_eq!(routes[1].gw, "fe80::1".parse().ok());
    assert_eq!((routes[1].table, routes[1].scope), (None, None));
    assert_eq!((routes[2].dst.to_string().as_str(), routes[2].gw), ("10.0.0.0/8", "1.2.3.4".parse().ok()));
}

#[test]
fn a_route_without_destination_is_refused() {
    let text = "ipam.routes[1] has no dst; give it one, such as 0.0.0.0/0";
    for route in ["{}", r#"{"gw":"10.0.0.1"}"#, "null"] {
        host_local_says(ipam(&format!(r#""routes":[{{"dst":"0.0.0.0/0"}},{route}]"#)), text);
    }
}

#[test]
fn a_route_that_cannot_be_read_is_refused() {
    host_local_says(ipam(r#""routes":[{"dst":"x"}]"#), "invalid CIDR address: x");
    host_local_says(ipam(r#""routes":[{"dst":""}]"#), "invalid CIDR address: ");
    host_local_says(ipam(r#""routes":[{"dst":"10.0.0.0/8","gw":"y"}]"#), "invalid IP address: y");
    for number in ["1.0", "1e3", "9223372036854775808", "\"5\""] {
        let error = ipam(&format!(r#""routes":[{{"dst":"10.0.0.0/8","mtu":{number}}}]"#)).unwrap_err();
        assert!(error.msg.ends_with("into field ipam.routes[0].mtu of type int"), "{}", error.msg);
    }
}

#[test]
fn requested_addresses_are_joined_in_order_and_each_once() {
    let body = r#""ipam":{"subnet":"10.0.0.0/24"},"args":{"cni":{"ips":["10.0.0.7/8","10.0.0.5"]}},
        "runtimeConfig":{"ips":["2001:db8::5/64","::ffff:10.0.0.7/120","::a00:5"]}"#;
    let conf = call("ADD", "IP=10.0.0.9/24", body).unwrap();
    assert_eq!(conf.ipam.requested, ips(&["10.0.0.9", "10.0.0.7", "10.0.0.5", "2001:db8::5", "::a00:5"]));
}

#[test]
fn a_requested_address_that_is_none_is_refused() {
    let asked = |text: &str| beside(&format!(r#""args":{{"cni":{{"ips":["10.0.0.5",{text}]}}}}"#));
    host_local_says(asked(r#""x""#), "invalid IP address x");
    host_local_says(asked(r#""10.0.0.5/55""#), "invalid IP address 10.0.0.5/55");
    host_local_says(asked(r#""""#), "cannot understand ip: IP <nil> not v4 nor v6");
    host_local_says(asked("null"), "args.cni.ips[1] is null; write an IP address or leave the entry out");
    host_local_says(
        beside(r#""runtimeConfig":{"ips":[null]}"#),
        "runtimeConfig.ips[0] is null; write an IP address or leave the entry out",
    );
}

#[test]
fn the_pods_annotation_asks_for_addresses() {
    let ipam = beside(
        r#""runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"a":"b","edgekeep.io/ips":"10.0.0.5, 2001:db8::5/64"}}"#,
    )
    .unwrap();
    assert_eq!(ipam.annotations[0], ("a".to_owned(), "b".to_owned()));
    assert_eq!(ipam.annotated(&Policy::default()), Ok(ips(&["10.0.0.5", "2001:db8::5"])));
    let off = Policy { ip_annotation: None, ..Policy::default() };
    assert_eq!(ipam.annotated(&off), Ok(Vec::new()));
    let other = Policy { ip_annotation: Some("a".into()), ..Policy::default() };
    host_local_says(
        ipam.annotated(&other),
        "annotation a: \"b\" is not an IP address; want addresses separated by commas",
    );
    host_local_says(
        beside(r#""runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"a":5}}"#),
        "json: cannot unmarshal number into field runtimeConfig.io.kubernetes.cri.pod-annotations.a of type string",
    );
}

#[test]
fn a_blank_annotation_asks_for_nothing_and_a_gap_in_it_is_refused() {
    assert_eq!(parse_annotation("k", " "), Ok(Vec::new()));
    assert_eq!(parse_annotation("k", "10.0.0.5,10.0.0.5"), Ok(ips(&["10.0.0.5"])));
    assert!(parse_annotation("k", "10.0.0.5,").is_err());
}

fn gc(keys: &str) -> Result<Option<Vec<Attachment>>, Error> {
    call("GC", "", &format!(r#""ipam":{{"subnet":"10.0.0.0/24"}}{keys}"#)).map(|conf| conf.valid_attachments)
}

#[test]
fn gc_reads_the_attachments_under_either_name() {
    let one = Attachment { container_id: "a".into(), ifname: "eth0".into() };
    let list = r#"[{"containerID":"a","ifname":"eth0","more":1}]"#;
    assert_eq!(gc(&format!(r#","cni.dev/valid-attachments":{list}"#)), Ok(Some(vec![one.clone()])));
    assert_eq!(gc(&format!(r#","cni.dev/attachments":{list}"#)), Ok(Some(vec![one])));
    let both = format!(r#","cni.dev/valid-attachments":[],"cni.dev/attachments":{list}"#);
    assert_eq!(gc(&both), Ok(Some(Vec::new())), "the spec's name goes first");
}

#[test]
fn gc_without_a_list_is_refused_for_it_would_clear_the_network() {
    let text = "GC needs cni.dev/valid-attachments; without that list nothing can be told to be unused";
    ours_says(gc(""), text);
}

#[test]
fn gc_takes_null_for_the_empty_list_of_a_go_runtime() {
    assert_eq!(gc(r#","cni.dev/valid-attachments":null,"cni.dev/attachments":null"#), Ok(Some(Vec::new())));
}

#[test]
fn gc_refuses_a_list_that_it_does_not_understand() {
    for bad in ["{}", "5", "\"\""] {
        ours_says(
            gc(&format!(r#","cni.dev/valid-attachments":{bad}"#)),
            "cni.dev/valid-attachments is not a list",
        );
    }
    let text = "cni.dev/valid-attachments[0]: want {\"containerID\": \"…\", \"ifname\": \"…\"}";
    for bad in ["null", "5", "{}", r#"{"containerID":"a"}"#, r#"{"containerID":5,"ifname":"eth0"}"#] {
        ours_says(gc(&format!(r#","cni.dev/valid-attachments":[{bad}]"#)), text);
    }
}

#[test]
fn only_gc_looks_at_the_attachments_and_it_needs_ranges_too() {
    let body = r#""ipam":{"subnet":"10.0.0.0/24"},"cni.dev/valid-attachments":5"#;
    assert_eq!(call("STATUS", "", body).unwrap().valid_attachments, None);
    host_local_says(call("GC", "", r#""ipam":{},"cni.dev/valid-attachments":[]"#), "no IP ranges specified");
}
