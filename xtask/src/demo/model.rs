//! A model of stock host-local's documented rule for choosing an address: round robin behind a cursor.
//!
//! For each range set the first candidate is the address after the one handed out last, or the start of the range
//! when nothing is remembered; the gateway is skipped; after the end comes the start again; the search stops when
//! it is back where it began. Cursor and leases live in dataDir, so a wiped dataDir is a new [`HostLocal`].
//! Who asks does not enter into it.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// One range: all its addresses are of one family.
#[derive(Clone, Copy)]
pub struct Range {
    /// The first address that may be handed out.
    pub start: IpAddr,
    /// The last one.
    pub end: IpAddr,
    /// Never handed out.
    pub gateway: IpAddr,
}

/// Stock host-local with an empty dataDir, one range in each set.
pub struct HostLocal {
    sets: Vec<Set>,
}

struct Set {
    range: Range,
    cursor: Option<IpAddr>,
    used: BTreeSet<IpAddr>,
}

impl HostLocal {
    /// A node on which nothing has been handed out yet.
    pub fn new(ranges: &[Range]) -> Self {
        let set = |&range| Set { range, cursor: None, used: BTreeSet::new() };
        Self { sets: ranges.iter().map(set).collect() }
    }

    /// What an ADD gets: an address of each set, or `None` when one of them has none left.
    pub fn add(&mut self) -> Option<Vec<IpAddr>> {
        self.sets.iter_mut().map(Set::allocate).collect()
    }
}

impl Set {
    fn allocate(&mut self) -> Option<IpAddr> {
        let first = self.cursor.map_or(self.range.start, |cursor| self.after(cursor));
        let mut candidate = first;
        loop {
            if candidate != self.range.gateway && self.used.insert(candidate) {
                self.cursor = Some(candidate);
                return Some(candidate);
            }
            candidate = self.after(candidate);
            if candidate == first {
                return None;
            }
        }
    }

    fn after(&self, address: IpAddr) -> IpAddr {
        let next = match address {
            _ if address == self.range.end => None,
            IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|bits| IpAddr::V4(bits.into())),
            IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|bits| IpAddr::V6(bits.into())),
        };
        next.unwrap_or(self.range.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &str, end: &str, gateway: &str) -> Range {
        let ip = |text: &str| text.parse().unwrap();
        Range { start: ip(start), end: ip(end), gateway: ip(gateway) }
    }

    fn text(addresses: Option<Vec<IpAddr>>) -> String {
        addresses
            .map_or("none".into(), |all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_gateway_is_skipped_and_each_set_counts_for_itself() {
        let mut node = HostLocal::new(&[
            range("10.0.0.1", "10.0.0.254", "10.0.0.1"),
            range("fd00::1", "fd00::ffff", "fd00::2"),
        ]);
        assert_eq!(text(node.add()), "10.0.0.2 fd00::1");
        assert_eq!(text(node.add()), "10.0.0.3 fd00::3");
    }

    #[test]
    fn after_the_end_comes_the_start_and_then_nothing() {
        let mut node = HostLocal::new(&[range("10.0.0.5", "10.0.0.7", "10.0.0.1")]);
        let all: Vec<String> = (0..4).map(|_| text(node.add())).collect();
        assert_eq!(all, ["10.0.0.5", "10.0.0.6", "10.0.0.7", "none"]);
    }

    #[test]
    fn the_search_goes_on_behind_the_cursor_and_wraps_to_what_is_free() {
        let mut node = HostLocal::new(&[range("10.0.0.5", "10.0.0.9", "10.0.0.1")]);
        if let Some(set) = node.sets.first_mut() {
            set.cursor = Some("10.0.0.8".parse().unwrap());
            set.used.insert("10.0.0.9".parse().unwrap());
        }
        assert_eq!(text(node.add()), "10.0.0.5");
    }
}
