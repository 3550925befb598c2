//! Ranges and range sets: which addresses a network hands out.
//!
//! Invariant: every [`Range`] has `start <= end`, both inside its subnet and of its family; a [`RangeSet`] is not
//! empty, of one family, and its ranges do not overlap. The rules, their order and their texts are host-local's.

use crate::addr::{to_bits, width, with_bits};
use crate::error::Error;
use crate::version::Version;
use std::fmt;
use std::net::IpAddr;

pub use crate::addr::Cidr;

/// The most range sets of a network: a binding, with one address of each, must fit a record of the journal.
pub const MAX_SETS: usize = 255;
/// The most ranges of a network, over all its sets: for the same reason. One set may hold 255 at the most.
pub const MAX_RANGES: usize = 255;

/// A range as a configuration states it: everything may be missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spec {
    /// The subnet; a range without one is refused.
    pub subnet: Option<Cidr>,
    /// `rangeStart`.
    pub start: Option<IpAddr>,
    /// `rangeEnd`.
    pub end: Option<IpAddr>,
    /// `gateway`.
    pub gateway: Option<IpAddr>,
}

/// A run of addresses in one subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The subnet, without host bits. Its length is the mask of the addresses.
    pub subnet: Cidr,
    /// The first address that may be handed out.
    pub start: IpAddr,
    /// The last address that may be handed out.
    pub end: IpAddr,
    /// Never handed out. It need not lie in the range, the subnet or even the family.
    /// Always there after [`Range::new`].
    pub gateway: Option<IpAddr>,
}

impl Range {
    /// Fills in what is missing and checks the rest. The error is the text without any context.
    pub fn new(spec: &Spec) -> Result<Range, String> {
        let subnet = check_subnet(spec.subnet)?;
        let first = with_bits(subnet.addr, to_bits(subnet.addr).saturating_add(1));
        let gateway = Some(spec.gateway.unwrap_or(first));
        let start = spec.start.unwrap_or(first);
        if spec.start.is_some() && !(subnet.contains(start) && spec.end.is_none_or(|end| start <= end)) {
            return Err(format!("RangeStart {start} not in network {subnet}"));
        }
        let end = spec.end.unwrap_or_else(|| last_usable(&subnet));
        if spec.end.is_some() && !(subnet.contains(end) && start <= end) {
            return Err(format!("RangeEnd {end} not in network {subnet}"));
        }
        // Only an explicit start at the broadcast address without an explicit end gets here. Stock host-local takes
        // it and then hands out addresses beyond the subnet.
        if end < start {
            return Err(format!("RangeStart {start} is above RangeEnd {end}"));
        }
        Ok(Range { subnet, start, end, gateway })
    }

    /// Whether the address lies between start and end, both included.
    pub fn contains(&self, addr: IpAddr) -> bool {
        addr.is_ipv4() == self.start.is_ipv4() && self.start <= addr && addr <= self.end
    }

    /// How many addresses can be handed out: those from start to end without the gateway.
    pub fn size(&self) -> u128 {
        let between = to_bits(self.end).saturating_sub(to_bits(self.start));
        match self.gateway {
            Some(gateway) if self.contains(gateway) => between,
            _ => between.saturating_add(1),
        }
    }

    fn overlaps(&self, other: &Range) -> bool {
        self.contains(other.start) || other.contains(self.start)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

fn check_subnet(subnet: Option<Cidr>) -> Result<Cidr, String> {
    let Some(subnet) = subnet else { return Err("IP <nil> not v4 nor v6".to_owned()) };
    if subnet.prefix > width(subnet.addr) - 2 {
        return Err(format!("Network {subnet} too small to allocate from"));
    }
    if subnet.addr.to_canonical() != subnet.addr {
        return Err("IPNet IP and Mask version mismatch".to_owned());
    }
    let network = subnet.network();
    if network != subnet.addr {
        return Err(format!(
            "Network has host bits set. For a subnet mask of length {} the network address is {network}",
            subnet.prefix
        ));
    }
    Ok(subnet)
}

/// IPv4 keeps the last address for broadcast; IPv6 has none.
fn last_usable(subnet: &Cidr) -> IpAddr {
    let last = subnet.last();
    if last.is_ipv6() {
        return last;
    }
    with_bits(last, to_bits(last).saturating_sub(1))
}

/// Alternatives of one family; a pod gets one address out of each set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeSet(Vec<Range>);

impl RangeSet {
    /// Normalises the ranges and checks them against each other. The error is the text without any context.
    pub fn new(specs: &[Spec]) -> Result<RangeSet, String> {
        let mut ranges: Vec<Range> = Vec::with_capacity(specs.len());
        for spec in specs {
            let range = Range::new(spec)?;
            if ranges.first().is_some_and(|first| first.start.is_ipv4() != range.start.is_ipv4()) {
                return Err("mixed address families".to_owned());
            }
            ranges.push(range);
        }
        if ranges.is_empty() {
            return Err("empty range set".to_owned());
        }
        for (index, one) in ranges.iter().enumerate() {
            if let Some(other) = ranges.iter().skip(index + 1).find(|other| one.overlaps(other)) {
                return Err(format!("subnets {one} and {other} overlap"));
            }
        }
        Ok(RangeSet(ranges))
    }

    /// The ranges in the order of the configuration; at least one.
    pub fn ranges(&self) -> &[Range] {
        &self.0
    }

    /// The range that holds this address, if any.
    pub fn get(&self, addr: IpAddr) -> Option<&Range> {
        self.0.iter().find(|range| range.contains(addr))
    }

    /// Whether this is a set of IPv4 addresses.
    pub fn is_v4(&self) -> bool {
        self.0.first().is_some_and(|range| range.start.is_ipv4())
    }

    /// How many addresses can be handed out, gateways left out; `u128::MAX` when there are more.
    pub fn size(&self) -> u128 {
        self.0.iter().fold(0, |sum: u128, range| sum.saturating_add(range.size()))
    }

    fn overlaps(&self, other: &RangeSet) -> bool {
        self.0.iter().any(|one| other.0.iter().any(|two| one.overlaps(two)))
    }
}

impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            range.fmt(f)?;
        }
        Ok(())
    }
}

/// Builds the sets of one network and checks them against each other and against what the version can express.
/// Errors have code 999.
pub fn build_sets(specs: &[Vec<Spec>], version: Version) -> Result<Vec<RangeSet>, Error> {
    if specs.is_empty() {
        return Err(Error::internal("no IP ranges specified"));
    }
    let ranges: usize = specs.iter().map(Vec::len).sum();
    if specs.len() > MAX_SETS || ranges > MAX_RANGES {
        return Err(Error::internal(format!(
            "{} range sets with {ranges} ranges are too many; at most {MAX_SETS} with {MAX_RANGES} are allowed",
            specs.len()
        )));
    }
    let mut sets = Vec::with_capacity(specs.len());
    for (index, set) in specs.iter().enumerate() {
        sets.push(
            RangeSet::new(set)
                .map_err(|text| Error::internal(format!("invalid range set {index}: {text}")))?,
        );
    }
    let v4 = sets.iter().filter(|set| set.is_v4()).count();
    if version < Version::V0_3_0 && (v4 > 1 || sets.len() - v4 > 1) {
        let version = version.as_str();
        return Err(Error::internal(format!(
            "CNI version {version} does not support more than 1 address per family"
        )));
    }
    for (index, one) in sets.iter().enumerate() {
        let rest = sets.iter().enumerate().skip(index + 1);
        if let Some((other, _)) = rest.into_iter().find(|(_, set)| one.overlaps(set)) {
            return Err(Error::internal(format!("range set {index} overlaps with {other}")));
        }
    }
    Ok(sets)
}

#[cfg(test)]
mod tests;
