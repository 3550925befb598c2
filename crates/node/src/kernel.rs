//! Which addresses stand in the kernel, in the network namespaces of this machine's processes.
//!
//! Read from `/proc/<pid>/net`, so nothing is entered and nothing can be changed. A namespace without a process in it
//! (its sandbox died, its mount stands) cannot be looked into this way.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What tells one network namespace from another: device and inode of its file.
pub type NetnsId = (u64, u64);

/// The addresses of one network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Netns {
    /// Which.
    pub id: NetnsId,
    /// A process in it.
    pub pid: u32,
    /// Its addresses, loopback and link-local ones left out.
    pub addresses: Vec<IpAddr>,
}

/// The namespace that a path stands for; nothing where there is none any more.
pub fn netns_of(path: &Path) -> Option<NetnsId> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

/// Every network namespace with a process in it but our own. Processes that end meanwhile are passed over.
pub fn namespaces() -> std::io::Result<Vec<Netns>> {
    let own = netns_of(Path::new("/proc/self/ns/net"));
    let mut found: BTreeMap<NetnsId, Netns> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let process = Path::new("/proc").join(pid.to_string());
        let Some(id) = netns_of(&process.join("ns/net")).filter(|id| Some(*id) != own) else { continue };
        if found.contains_key(&id) {
            continue;
        }
        let read = |name: &str| fs::read_to_string(process.join("net").join(name)).unwrap_or_default();
        let mut addresses = local_v4(&read("fib_trie"));
        addresses.extend(global_v6(&read("if_inet6")));
        found.insert(id, Netns { id, pid, addresses });
    }
    Ok(found.into_values().collect())
}

/// The local IPv4 addresses in a `fib_trie`: a leaf `|-- address` that is followed by `/32 host LOCAL`.
fn local_v4(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut leaf = None;
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = leaf.take().filter(|address| !address.is_loopback())
        {
            let address = IpAddr::V4(address);
            // The main and the local table are told apart nowhere else; both may list it.
            if !found.contains(&address) {
                found.push(address);
            }
        }
    }
    found
}

/// The global IPv6 addresses in an `if_inet6`: address, index, prefix, scope (0 is global), flags, name.
fn global_v6(text: &str) -> Vec<IpAddr> {
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?;
        (words.nth(2)? == "00").then(|| IpAddr::V6(Ipv6Addr::from(address)))
    };
    text.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_found_in_the_routing_trie_and_others_are_not() {
        let text = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\nLocal:\n  \
                    +-- 10.22.0.0/24 2 0 2\n     |-- 10.22.0.0\n        /24 link UNICAST\n     |-- 10.22.0.5\n        \
                    /32 host LOCAL\n     |-- 10.22.0.255\n        /32 link BROADCAST\n     |-- 127.0.0.1\n        \
                    /32 host LOCAL\n     |-- 10.22.0.5\n        /32 host LOCAL\n";
        assert_eq!(local_v4(text), [IpAddr::from([10, 22, 0, 5])]);
    }

    #[test]
    fn global_addresses_are_found_and_link_local_ones_are_not() {
        let text = "fd000010022000000000000000000005 02 40 00 80     eth0\n\
                    fe80000000000000a8aabbfffeccddee 02 40 20 80     eth0\n\
                    00000000000000000000000000000001 01 80 10 80       lo\n";
        assert_eq!(global_v6(text), ["fd00:10:220::5".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn garbage_has_no_addresses() {
        assert!(local_v4("|-- 300.1.1.1\n/32 host LOCAL\n/32 host LOCAL").is_empty());
        assert!(global_v6("zz\n\nfd00 1").is_empty());
    }
}
