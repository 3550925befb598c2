use super::*;

fn address(text: &str, gateway: &str) -> Address {
    let Cidr { addr, prefix } = Cidr::parse(text).unwrap();
    Address { address: addr, prefix, gateway: gateway.parse().ok() }
}

fn route(dst: &str, gw: &str) -> Route {
    let dst = Cidr::parse(dst).unwrap();
    Route { dst, gw: gw.parse().ok(), mtu: 0, advmss: 0, priority: 0, table: None, scope: None }
}

fn full_route() -> Route {
    Route {
        mtu: 1400,
        advmss: -1,
        priority: 5,
        table: Some(0),
        scope: Some(253),
        ..route("10.1.2.3/8", "10.0.0.1")
    }
}

fn dns() -> Dns {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    Dns {
        nameservers: texts(&["10.0.0.10"]),
        domain: "example.org".into(),
        search: texts(&["a", "b"]),
        options: texts(&["ndots:5"]),
    }
}

#[test]
fn from_1_0_0_on_keys_are_sorted_and_empty_parts_left_out() {
    for version in [Version::V1_0_0, Version::V1_1_0] {
        let text = result_json(version, &[address("10.0.0.2/24", "10.0.0.1")], &[], None);
        let golden = r#"{
    "cniVersion": "1.0.0",
    "ips": [
        {
            "address": "10.0.0.2/24",
            "gateway": "10.0.0.1"
        }
    ]
}"#;
        assert_eq!(text, golden.replace("1.0.0", version.as_str()));
    }
}

#[test]
fn from_1_0_0_on_everything_that_is_there_comes_out_sorted_at_every_level() {
    let addresses = [address("10.0.0.2/24", "10.0.0.1"), address("2001:db8::a/64", "2001:db8::1")];
    let routes = [full_route(), route("::/0", "")];
    let golden = r#"{
    "cniVersion": "1.1.0",
    "dns": {
        "domain": "example.org",
        "nameservers": [
            "10.0.0.10"
        ],
        "options": [
            "ndots:5"
        ],
        "search": [
            "a",
            "b"
        ]
    },
    "ips": [
        {
            "address": "10.0.0.2/24",
            "gateway": "10.0.0.1"
        },
        {
            "address": "2001:db8::a/64",
            "gateway": "2001:db8::1"
        }
    ],
    "routes": [
        {
            "advmss": -1,
            "dst": "10.1.2.3/8",
            "gw": "10.0.0.1",
            "mtu": 1400,
            "priority": 5,
            "scope": 253,
            "table": 0
        },
        {
            "dst": "::/0"
        }
    ]
}"#;
    assert_eq!(result_json(Version::V1_1_0, &addresses, &routes, Some(&dns())), golden);
}

#[test]
fn from_0_3_0_to_0_4_0_addresses_name_their_family_and_dns_is_always_there() {
    let addresses = [address("2001:db8::a/64", "2001:db8::1"), address("10.0.0.2/24", "")];
    for version in [Version::V0_3_0, Version::V0_3_1, Version::V0_4_0] {
        let golden = r#"{
    "cniVersion": "VERSION",
    "ips": [
        {
            "version": "6",
            "address": "2001:db8::a/64",
            "gateway": "2001:db8::1"
        },
        {
            "version": "4",
            "address": "10.0.0.2/24"
        }
    ],
    "routes": [
        {
            "dst": "10.1.2.3/8",
            "gw": "10.0.0.1",
            "mtu": 1400,
            "advmss": -1,
            "priority": 5,
            "table": 0,
            "scope": 253
        }
    ],
    "dns": {}
}"#;
        let golden = golden.replace("VERSION", version.as_str());
        assert_eq!(result_json(version, &addresses, &[full_route()], None), golden);
    }
}

#[test]
fn before_1_0_0_dns_keeps_the_order_of_the_specification() {
    let text = result_json(Version::V0_3_1, &[], &[], Some(&dns()));
    let golden = r#"{
    "cniVersion": "0.3.1",
    "dns": {
        "nameservers": [
            "10.0.0.10"
        ],
        "domain": "example.org",
        "search": [
            "a",
            "b"
        ],
        "options": [
            "ndots:5"
        ]
    }
}"#;
    assert_eq!(text, golden);
}

#[test]
fn before_0_3_0_the_first_address_of_each_family_has_the_routes_of_its_family() {
    let addresses =
        [address("2001:db8::a/64", ""), address("10.0.0.2/24", "10.0.0.1"), address("10.9.0.2/24", "")];
    let routes = [full_route(), route("2001:db8::/32", "fe80::1"), route("0.0.0.0/0", "")];
    for version in [Version::V0_1_0, Version::V0_2_0] {
        let golden = r#"{
    "cniVersion": "VERSION",
    "ip4": {
        "ip": "10.0.0.2/24",
        "gateway": "10.0.0.1",
        "routes": [
            {
                "dst": "10.1.2.3/8",
                "gw": "10.0.0.1"
            },
            {
                "dst": "0.0.0.0/0"
            }
        ]
    },
    "ip6": {
        "ip": "2001:db8::a/64",
        "routes": [
            {
                "dst": "2001:db8::/32",
                "gw": "fe80::1"
            }
        ]
    },
    "dns": {}
}"#;
        let golden = golden.replace("VERSION", version.as_str());
        assert_eq!(result_json(version, &addresses, &routes, None), golden);
    }
}

#[test]
fn before_0_3_0_a_route_without_an_address_of_its_family_is_dropped() {
    let text =
        result_json(Version::V0_1_0, &[address("10.0.0.2/24", "10.0.0.1")], &[route("::/0", "")], None);
    let golden = r#"{
    "cniVersion": "0.1.0",
    "ip4": {
        "ip": "10.0.0.2/24",
        "gateway": "10.0.0.1"
    },
    "dns": {}
}"#;
    assert_eq!(text, golden);
}
