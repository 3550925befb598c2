//! Addresses and prefixes as Go's library reads and writes them.
//!
//! Invariant: an IPv4 address written the IPv6 way (`::ffff:10.0.0.1`) is that IPv4 address, and no other IPv6
//! address ever becomes an IPv4 one, however small its number.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address with a prefix length, such as `10.0.0.0/24`. Host bits are kept as they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The address before the slash.
    pub addr: IpAddr,
    /// The prefix length in bits: at most 32 for IPv4, 128 for IPv6.
    pub prefix: u8,
}

impl Cidr {
    /// Reads `address/length`; `None` for everything else. An IPv4 address written the IPv6 way stays as written,
    /// because rule 3 for ranges must be able to refuse it; see [`Cidr::canonical`].
    pub fn parse(text: &str) -> Option<Cidr> {
        let (addr, length) = text.split_once('/')?;
        let addr: IpAddr = addr.parse().ok()?;
        // A plain parse would take a sign.
        if !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let prefix = length.parse().ok().filter(|prefix| *prefix <= width(addr))?;
        Some(Cidr { addr, prefix })
    }

    /// The same prefix with an IPv4 address written the IPv4 way.
    #[must_use]
    pub fn canonical(self) -> Cidr {
        let addr = self.addr.to_canonical();
        let prefix = self.prefix.saturating_sub(width(self.addr) - width(addr));
        Cidr { addr, prefix }
    }

    /// The address with all host bits zero.
    pub fn network(&self) -> IpAddr {
        with_bits(self.addr, to_bits(self.addr) & !self.host_mask())
    }

    /// The highest address, all host bits one: the broadcast address of an IPv4 subnet.
    pub fn last(&self) -> IpAddr {
        with_bits(self.addr, to_bits(self.addr) | self.host_mask())
    }

    /// Whether the address is of this family and begins with this prefix.
    pub fn contains(&self, addr: IpAddr) -> bool {
        addr.is_ipv4() == self.addr.is_ipv4() && (to_bits(addr) ^ to_bits(self.addr)) & !self.host_mask() == 0
    }

    fn host_mask(&self) -> u128 {
        let host_bits = u32::from(width(self.addr).saturating_sub(self.prefix));
        u128::MAX.checked_shr(128 - host_bits).unwrap_or(0)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cidr { addr, prefix } = self.canonical();
        write!(f, "{addr}/{prefix}")
    }
}

/// Reads an address.
pub(crate) fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|addr: IpAddr| addr.to_canonical())
}

/// Reads an address that may be followed by a prefix length, which has no meaning: the range decides the mask.
pub(crate) fn parse_requested(text: &str) -> Option<IpAddr> {
    match Cidr::parse(text) {
        Some(cidr) => Some(cidr.addr.to_canonical()),
        None => parse_address(text),
    }
}

/// The number of bits in an address of this family.
pub(crate) fn width(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

/// The address as a number.
pub(crate) fn to_bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => u128::from(addr.to_bits()),
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

/// The address with this number, of the same family as `like`.
pub(crate) fn with_bits(like: IpAddr, bits: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX))),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        Cidr::parse(text).unwrap()
    }

    #[test]
    fn a_prefix_is_read_and_written_as_it_stands() {
        for text in ["10.1.2.3/8", "0.0.0.0/0", "10.0.0.1/32", "::/0", "2001:db8::5/32", "::a00:1/128"] {
            assert_eq!(cidr(text).to_string(), text);
        }
        assert_eq!(cidr("10.0.0.0/024").to_string(), "10.0.0.0/24");
        assert_eq!(cidr("2001:DB8:0:0:0:0:0:0/64").to_string(), "2001:db8::/64");
    }

    #[test]
    fn what_is_not_a_prefix_is_not_read() {
        let wrong = ["", "/", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/-1", "::/129"];
        for text in
            wrong.into_iter().chain(["010.0.0.0/8", "10.0.0/8", "fe80::1%eth0/64", "1.2.3.4/8/9", "x/8"])
        {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_edges_of_a_prefix_are_its_network_and_last_address() {
        assert_eq!(cidr("10.1.2.3/8").network().to_string(), "10.0.0.0");
        assert_eq!(cidr("10.1.2.3/8").last().to_string(), "10.255.255.255");
        assert_eq!(cidr("10.1.2.3/32").last().to_string(), "10.1.2.3");
        assert_eq!(cidr("1.2.3.4/0").network().to_string(), "0.0.0.0");
        assert_eq!(cidr("::1/0").last().to_string(), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    }

    #[test]
    fn a_prefix_contains_only_addresses_of_its_own_family() {
        assert!(cidr("10.0.0.0/8").contains("10.255.0.1".parse().unwrap()));
        assert!(!cidr("10.0.0.0/8").contains("11.0.0.0".parse().unwrap()));
        assert!(!cidr("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(!cidr("::/0").contains("0.0.0.1".parse().unwrap()));
    }

    #[test]
    fn only_the_mapped_form_of_ipv6_is_ipv4() {
        assert_eq!(parse_address("::ffff:10.0.0.1"), parse_address("10.0.0.1"));
        assert!(parse_address("::a00:1").unwrap().is_ipv6());
        assert_eq!(cidr("::ffff:10.0.0.0/104").to_string(), "10.0.0.0/8");
        assert!(cidr("::ffff:10.0.0.0/104").addr.is_ipv6());
    }

    #[test]
    fn a_requested_address_may_carry_a_prefix_that_is_valid() {
        assert_eq!(parse_requested("10.0.0.5/8"), parse_address("10.0.0.5"));
        assert_eq!(parse_requested("::ffff:10.0.0.5/120"), parse_address("10.0.0.5"));
        assert_eq!(parse_requested("10.0.0.5/55"), None);
        assert_eq!(parse_requested("10.0.0.5/x"), None);
    }
}
