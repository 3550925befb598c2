//! Stock host-local as the contract describes it (host-local.md §3-5): its rule on the shared directory, nothing else.
//!
//! It is a program of its own on the machine, so none of its calls is a call of a process of ours.

use std::net::IpAddr;
use std::path::Path;

use cni::range::RangeSet;
use testkit::power_cut::PowerCutFs;

/// An ADD: one address per range set, round robin from the cursor, each claimed by making its file.
pub fn add(
    disk: &PowerCutFs,
    dir: &Path,
    sets: &[RangeSet],
    container: &str,
    ifname: &str,
) -> Result<Vec<IpAddr>, String> {
    let content = format!("{container}\r\n{ifname}");
    let mut given = Vec::new();
    for (at, set) in sets.iter().enumerate() {
        let held = leases(disk, dir)
            .into_iter()
            .find(|(address, text)| set.get(*address).is_some() && *text == content);
        let chosen = if held.is_some() { None } else { free(disk, dir, at, set) };
        let Some(address) = chosen else {
            del(disk, dir, container, ifname);
            return Err(format!("stock: nothing for range {at}"));
        };
        disk.write(dir.join(address.to_string()), &content).unwrap();
        disk.write(dir.join(format!("last_reserved_ip.{at}")), address.to_string()).unwrap();
        given.push(address);
    }
    Ok(given)
}

/// An ADD that is killed between making its first file and filling it.
pub fn add_killed(disk: &PowerCutFs, dir: &Path, sets: &[RangeSet]) {
    if let Some(address) = free(disk, dir, 0, &sets[0]) {
        disk.write(dir.join(address.to_string()), "").unwrap();
    }
}

/// A DEL: every file of the container's interface, or else every one that holds the bare id.
pub fn del(disk: &PowerCutFs, dir: &Path, container: &str, ifname: &str) {
    for wanted in [format!("{container}\r\n{ifname}"), container.to_owned()] {
        let held: Vec<IpAddr> = leases(disk, dir)
            .into_iter()
            .filter(|(_, text)| *text == wanted)
            .map(|(address, _)| address)
            .collect();
        for address in &held {
            disk.remove(dir.join(address.to_string())).unwrap();
        }
        if !held.is_empty() {
            return;
        }
    }
}

/// Every lease file: address and trimmed content.
pub fn leases(disk: &PowerCutFs, dir: &Path) -> Vec<(IpAddr, String)> {
    let names = disk.list(dir).unwrap_or_default();
    names
        .iter()
        .filter_map(|name| Some((name.parse().ok()?, disk.read(dir.join(name)).ok()?)))
        .map(|(address, bytes)| (address, String::from_utf8_lossy(&bytes).trim().to_owned()))
        .collect()
}

/// All addresses of a set that can be handed out, in the order of its ranges.
pub fn pool(set: &RangeSet) -> Vec<IpAddr> {
    let mut all = Vec::new();
    for range in set.ranges() {
        let mut address = range.start;
        loop {
            if range.gateway != Some(address) {
                all.push(address);
            }
            if address == range.end {
                break;
            }
            address = next(address);
        }
    }
    all
}

fn free(disk: &PowerCutFs, dir: &Path, at: usize, set: &RangeSet) -> Option<IpAddr> {
    let cursor = disk.read(dir.join(format!("last_reserved_ip.{at}"))).ok();
    let cursor = cursor.and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<IpAddr>().ok());
    let mut pool = pool(set);
    // The cursor may be an address that is not in the pool itself: begin behind the last one that is not above it.
    if let Some(cursor) = cursor.filter(|cursor| set.get(*cursor).is_some()) {
        let behind = pool.iter().position(|address| *address == cursor).map_or(0, |at| at + 1);
        let len = pool.len().max(1);
        pool.rotate_left(behind % len);
    }
    pool.into_iter().find(|address| disk.read(dir.join(address.to_string())).is_err())
}

fn next(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) + 1).into()),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) + 1).into()),
    }
}
