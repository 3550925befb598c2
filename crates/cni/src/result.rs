//! What ADD prints, in the three shapes that the versions ask for.
//!
//! Invariant: byte for byte what host-local prints for the same addresses, routes and DNS settings, except that Go
//! escapes `<`, `>` and `&`.

use crate::addr::Cidr;
use crate::config::Route;
use crate::json::Json;
use crate::resolv::Dns;
use crate::version::Version;
use std::net::IpAddr;

/// An address to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The address itself.
    pub address: IpAddr,
    /// The prefix length of its subnet, in bits.
    pub prefix: u8,
    /// The gateway of its range.
    pub gateway: Option<IpAddr>,
}

type Members = Vec<(String, Json)>;

/// The result of ADD: 4-space indent, no newline at the end. Addresses and routes come out in the order given.
pub fn result_json(version: Version, addresses: &[Address], routes: &[Route], dns: Option<&Dns>) -> String {
    let mut members = Members::new();
    put(&mut members, "cniVersion", version.as_str());
    if version < Version::V0_3_0 {
        for (key, v4) in [("ip4", true), ("ip6", false)] {
            if let Some(first) = addresses.iter().find(|address| address.address.is_ipv4() == v4) {
                members.push((key.to_owned(), one_family(first, routes, v4)));
            }
        }
    } else {
        let with_family = version < Version::V1_0_0;
        put_list(&mut members, "ips", addresses.iter().map(|address| ip(address, with_family)).collect());
        put_list(&mut members, "routes", routes.iter().map(full_route).collect());
    }
    let dns = dns_members(dns);
    if version < Version::V1_0_0 || !dns.is_empty() {
        members.push(("dns".to_owned(), Json::Object(dns)));
    }
    let mut json = Json::Object(members);
    // From 1.0.0 on the CNI library passes the result through a Go map, which sorts keys at every level.
    if version >= Version::V1_0_0 {
        json.sort_keys();
    }
    json.to_pretty()
}

fn one_family(address: &Address, routes: &[Route], v4: bool) -> Json {
    let mut members = Members::new();
    put(&mut members, "ip", &cidr(address));
    if let Some(gateway) = address.gateway {
        put(&mut members, "gateway", &gateway.to_string());
    }
    let family = routes.iter().filter(|route| route.dst.addr.is_ipv4() == v4);
    put_list(&mut members, "routes", family.map(|route| Json::Object(short_route(route))).collect());
    Json::Object(members)
}

fn ip(address: &Address, with_family: bool) -> Json {
    let mut members = Members::new();
    if with_family {
        put(&mut members, "version", if address.address.is_ipv4() { "4" } else { "6" });
    }
    put(&mut members, "address", &cidr(address));
    if let Some(gateway) = address.gateway {
        put(&mut members, "gateway", &gateway.to_string());
    }
    Json::Object(members)
}

fn short_route(route: &Route) -> Members {
    let mut members = Members::new();
    put(&mut members, "dst", &route.dst.to_string());
    if let Some(gw) = route.gw {
        put(&mut members, "gw", &gw.to_string());
    }
    members
}

fn full_route(route: &Route) -> Json {
    let mut members = short_route(route);
    let unless_zero = |number: i64| (number != 0).then_some(number);
    let numbers = [
        ("mtu", unless_zero(route.mtu)),
        ("advmss", unless_zero(route.advmss)),
        ("priority", unless_zero(route.priority)),
        ("table", route.table),
        ("scope", route.scope),
    ];
    for (key, number) in numbers {
        members.extend(number.map(|number| (key.to_owned(), Json::Int(number))));
    }
    Json::Object(members)
}

fn dns_members(dns: Option<&Dns>) -> Members {
    let mut members = Members::new();
    let Some(dns) = dns else { return members };
    let texts = |texts: &[String]| texts.iter().map(|text| Json::text(text)).collect();
    put_list(&mut members, "nameservers", texts(&dns.nameservers));
    if !dns.domain.is_empty() {
        put(&mut members, "domain", &dns.domain);
    }
    put_list(&mut members, "search", texts(&dns.search));
    put_list(&mut members, "options", texts(&dns.options));
    members
}

fn cidr(address: &Address) -> String {
    Cidr { addr: address.address, prefix: address.prefix }.to_string()
}

fn put(members: &mut Members, key: &str, text: &str) {
    members.push((key.to_owned(), Json::text(text)));
}

/// An empty list is left out.
fn put_list(members: &mut Members, key: &str, items: Vec<Json>) {
    if !items.is_empty() {
        members.push((key.to_owned(), Json::List(items)));
    }
}

#[cfg(test)]
mod tests;
