use super::*;
use crate::addr::parse_address;

fn spec(subnet: &str, start: &str, end: &str, gateway: &str) -> Spec {
    let address = |text: &str| (!text.is_empty()).then(|| parse_address(text).unwrap());
    Spec {
        subnet: Some(Cidr::parse(subnet).unwrap()),
        start: address(start),
        end: address(end),
        gateway: address(gateway),
    }
}

fn range(subnet: &str, start: &str, end: &str) -> Result<Range, String> {
    Range::new(&spec(subnet, start, end, ""))
}

fn set(subnets: &[&str]) -> Vec<Spec> {
    subnets.iter().map(|subnet| spec(subnet, "", "", "")).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_bare_subnet_leaves_out_network_broadcast_and_gateway() {
    let v4 = range("10.0.0.0/24", "", "").unwrap();
    assert_eq!(v4.to_string(), "10.0.0.1-10.0.0.254");
    assert_eq!(v4.gateway, Some(ip("10.0.0.1")));
    assert_eq!(v4.size(), 253);
    let v6 = range("2001:db8::/120", "", "").unwrap();
    assert_eq!(v6.to_string(), "2001:db8::1-2001:db8::ff");
    assert_eq!(v6.size(), 254);
}

#[test]
fn an_explicit_end_may_be_the_network_or_the_broadcast_address() {
    let range = range("10.0.0.0/24", "10.0.0.0", "10.0.0.255").unwrap();
    assert!(range.contains(ip("10.0.0.0")) && range.contains(ip("10.0.0.255")));
    assert_eq!(range.size(), 255);
}

#[test]
fn the_smallest_and_the_largest_subnets_work() {
    assert_eq!(range("10.0.0.4/30", "", "").unwrap().to_string(), "10.0.0.5-10.0.0.6");
    assert_eq!(range("2001:db8::4/126", "", "").unwrap().to_string(), "2001:db8::5-2001:db8::7");
    assert_eq!(range("0.0.0.0/0", "", "").unwrap().to_string(), "0.0.0.1-255.255.255.254");
    let all = range("::/0", "::", "").unwrap();
    assert_eq!(all.size(), u128::MAX);
    let nothing_left_out = Range::new(&spec("::/0", "::", "", "10.0.0.1")).unwrap();
    assert_eq!(nothing_left_out.size(), u128::MAX, "saturates");
}

#[test]
fn a_range_without_a_subnet_is_refused() {
    assert_eq!(Range::new(&Spec::default()).unwrap_err(), "IP <nil> not v4 nor v6");
}

#[test]
fn a_subnet_with_room_for_less_than_two_hosts_is_refused() {
    for subnet in ["10.0.0.0/31", "10.0.0.0/32", "2001:db8::/127", "2001:db8::/128"] {
        let text = format!("Network {subnet} too small to allocate from");
        assert_eq!(range(subnet, "", "").unwrap_err(), text);
    }
    assert_eq!(
        range("::ffff:10.0.0.0/127", "", "").unwrap_err(),
        "Network 10.0.0.0/31 too small to allocate from"
    );
}

#[test]
fn an_ipv4_subnet_with_an_ipv6_mask_is_refused() {
    assert_eq!(range("::ffff:10.0.0.0/104", "", "").unwrap_err(), "IPNet IP and Mask version mismatch");
}

#[test]
fn host_bits_are_refused_with_the_address_that_was_meant() {
    assert_eq!(
        range("10.0.0.1/24", "", "").unwrap_err(),
        "Network has host bits set. For a subnet mask of length 24 the network address is 10.0.0.0"
    );
    assert_eq!(
        range("2001:db8::1/64", "", "").unwrap_err(),
        "Network has host bits set. For a subnet mask of length 64 the network address is 2001:db8::"
    );
}

#[test]
fn a_start_outside_the_subnet_or_above_the_end_is_refused() {
    let refused = |start, end| range("10.0.0.0/24", start, end).unwrap_err();
    assert_eq!(refused("10.0.1.0", ""), "RangeStart 10.0.1.0 not in network 10.0.0.0/24");
    assert_eq!(refused("2001:db8::1", ""), "RangeStart 2001:db8::1 not in network 10.0.0.0/24");
    assert_eq!(refused("10.0.0.9", "10.0.0.8"), "RangeStart 10.0.0.9 not in network 10.0.0.0/24");
}

#[test]
fn an_end_outside_the_subnet_or_below_the_start_is_refused() {
    let refused = |start, end| range("10.0.0.0/24", start, end).unwrap_err();
    assert_eq!(refused("10.0.0.9", "10.0.1.8"), "RangeEnd 10.0.1.8 not in network 10.0.0.0/24");
    assert_eq!(refused("", "10.0.0.0"), "RangeEnd 10.0.0.0 not in network 10.0.0.0/24");
    assert_eq!(refused("", "2001:db8::1"), "RangeEnd 2001:db8::1 not in network 10.0.0.0/24");
}

#[test]
fn a_start_at_the_broadcast_address_needs_an_end_there() {
    let text = "RangeStart 10.0.0.255 is above RangeEnd 10.0.0.254";
    assert_eq!(range("10.0.0.0/24", "10.0.0.255", "").unwrap_err(), text);
    assert_eq!(range("10.0.0.0/24", "10.0.0.255", "10.0.0.255").unwrap().size(), 1);
}

#[test]
fn a_gateway_is_taken_as_it_is() {
    for gateway in ["192.168.7.7", "2001:db8::1", "10.0.0.77"] {
        let range = Range::new(&spec("10.0.0.0/24", "", "", gateway)).unwrap();
        assert_eq!(range.gateway, Some(ip(gateway)));
        assert_eq!(range.size(), if gateway == "10.0.0.77" { 253 } else { 254 });
    }
}

#[test]
fn small_ipv6_addresses_stay_ipv6() {
    let range = range("::a00:0/120", "", "").unwrap();
    assert_eq!(range.to_string(), "::a00:1-::a00:ff");
    assert!(!range.contains(ip("10.0.0.5")));
}

#[test]
fn a_set_answers_for_all_its_ranges() {
    let set = RangeSet::new(&set(&["10.0.0.0/24", "10.0.2.0/30"])).unwrap();
    assert_eq!(set.to_string(), "10.0.0.1-10.0.0.254,10.0.2.1-10.0.2.2");
    assert_eq!(set.size(), 254);
    assert!(set.is_v4());
    assert_eq!(set.get(ip("10.0.2.2")), set.ranges().get(1));
    assert_eq!(set.get(ip("10.0.2.3")), None);
    assert_eq!(set.get(ip("10.0.1.1")), None);
}

#[test]
fn a_set_must_hold_ranges_of_one_family() {
    assert_eq!(RangeSet::new(&[]).unwrap_err(), "empty range set");
    let mixed = set(&["10.0.0.0/24", "2001:db8::/64"]);
    assert_eq!(RangeSet::new(&mixed).unwrap_err(), "mixed address families");
}

#[test]
fn ranges_of_a_set_must_not_overlap_but_may_share_a_subnet() {
    assert_eq!(
        RangeSet::new(&set(&["10.0.0.0/24", "10.0.1.0/24", "10.0.0.0/25"])).unwrap_err(),
        "subnets 10.0.0.1-10.0.0.254 and 10.0.0.1-10.0.0.126 overlap"
    );
    let halves =
        [spec("10.0.0.0/24", "", "10.0.0.99", ""), spec("10.0.0.0/24", "10.0.0.100", "10.0.0.200", "")];
    assert!(RangeSet::new(&halves).is_ok());
}

fn refused(sets: &[Vec<Spec>], version: Version) -> String {
    let error = build_sets(sets, version).unwrap_err();
    assert_eq!(error.code, 999);
    error.msg
}

#[test]
fn a_network_needs_sets_and_names_the_bad_one() {
    assert_eq!(refused(&[], Version::LATEST), "no IP ranges specified");
    let sets = [set(&["10.0.0.0/24"]), set(&["10.1.0.0/31"])];
    assert_eq!(
        refused(&sets, Version::LATEST),
        "invalid range set 1: Network 10.1.0.0/31 too small to allocate from"
    );
    assert_eq!(refused(&[Vec::new()], Version::LATEST), "invalid range set 0: empty range set");
}

#[test]
fn sets_must_not_overlap() {
    let sets = [set(&["10.0.0.0/24"]), set(&["2001:db8::/64"]), set(&["10.0.1.0/24", "10.0.0.0/25"])];
    assert_eq!(refused(&sets, Version::LATEST), "range set 0 overlaps with 2");
}

#[test]
fn before_0_3_0_a_pod_has_one_address_of_each_family() {
    let two = [set(&["10.0.0.0/24"]), set(&["10.0.1.0/24"])];
    for version in [Version::V0_1_0, Version::V0_2_0] {
        assert_eq!(
            refused(&two, version),
            format!("CNI version {} does not support more than 1 address per family", version.as_str())
        );
    }
    assert!(build_sets(&two, Version::V0_3_0).is_ok());
    let two_v6 = [set(&["2001:db8::/64"]), set(&["2001:db9::/64"])];
    assert!(build_sets(&two_v6, Version::V0_2_0).is_err());
    let dual = [set(&["10.0.0.0/24"]), set(&["2001:db8::/64"])];
    assert!(build_sets(&dual, Version::V0_1_0).is_ok());
}
