//! Which addresses are bound, as a tree of 64-bit words in the index, so that the next unbound one is found in a few
//! steps however many are bound before it.
//!
//! Level 0 has a bit per address; level n has a bit per word of level n-1 that says the word is full. A word that is
//! not there is empty. Bindings fill addresses, not prefixes, so there are at most a handful of full words above.

use std::net::IpAddr;

use durable::fs::Fs;

use crate::index::{Index, Trouble};

const BITS: u32 = 6;
const LOW: u128 = 63;

/// An address as one number: the families lie apart.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        // ::ffff:0:0/96 belongs to IPv4 wherever addresses of both families share a space (RFC 4291 §2.5.5.2).
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address of a number, in the family of `like`.
pub(crate) fn address(number: u128, like: IpAddr) -> IpAddr {
    let v6 = std::net::Ipv6Addr::from(number);
    match like {
        IpAddr::V4(_) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        IpAddr::V6(_) => IpAddr::V6(v6),
    }
}

/// Notes that an address is bound.
pub(crate) fn set<F: Fs>(index: &mut Index<F>, address: u128) -> Result<(), Trouble> {
    let mut at = address;
    for level in 0..22 {
        let word = index.word(level, at >> BITS)?;
        let full = word | bit(at);
        index.set_word(level, at >> BITS, full)?;
        if full != u64::MAX {
            break;
        }
        at >>= BITS;
    }
    Ok(())
}

/// Notes that an address is no longer bound.
pub(crate) fn clear<F: Fs>(index: &mut Index<F>, address: u128) -> Result<(), Trouble> {
    let mut at = address;
    for level in 0..22 {
        let word = index.word(level, at >> BITS)?;
        index.set_word(level, at >> BITS, word & !bit(at))?;
        if word != u64::MAX {
            break;
        }
        at >>= BITS;
    }
    Ok(())
}

/// The first unbound address from `from` to `to`, both included.
pub(crate) fn next_clear<F: Fs>(index: &Index<F>, from: u128, to: u128) -> Result<Option<u128>, Trouble> {
    let (mut at, mut level) = (from, 0);
    // Up, past full words.
    loop {
        let free = !index.word(level, at >> BITS)? & (u64::MAX << low(at));
        if free != 0 {
            at = (at & !LOW) | u128::from(free.trailing_zeros());
            break;
        }
        at = (at >> BITS) + 1;
        level += 1;
        if level >= 22 || at > to >> (BITS * u32::from(level)) {
            return Ok(None);
        }
    }
    // Down again, to the first hole of each word.
    while level > 0 {
        level -= 1;
        let free = !index.word(level, at)?;
        at = (at << BITS) | u128::from(free.trailing_zeros().min(63));
    }
    Ok((at <= to).then_some(at))
}

fn low(at: u128) -> u32 {
    u32::try_from(at & LOW).unwrap_or(0)
}

fn bit(at: u128) -> u64 {
    1 << low(at)
}
