//! Records of the journal as bytes: `docs/formats/ipam-journal.md`.
//!
//! Every record is whole: it says all of a binding, so that any one of them that can still be read is worth something
//! by itself.

use std::net::IpAddr;

use crate::binding::{Binding, Identity, State, Why};

/// What the journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The binding in `slot` is this from now on. Any other binding that has one of its addresses ends.
    Bind {
        /// Its place in the index and its name in the journal.
        slot: u32,
        /// All of it.
        binding: Binding,
    },
    /// The binding in `slot` has ended.
    End {
        /// Its place.
        slot: u32,
    },
    /// Facts about the network, for those who look: nothing is decided by them.
    Network(Network),
}

/// Facts about a network, as the last ADD had them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// host-local's `<dataDir>/<network>`.
    pub directory: String,
    /// Per range set its ranges: first address, last address, gateway.
    pub sets: Vec<Vec<(IpAddr, IpAddr, Option<IpAddr>)>>,
    /// Addresses given up because their range was changed, since the journal was begun.
    pub given_up: u64,
    /// Bindings that ended because another pod needed the address, since the journal was begun.
    pub reused: u64,
}

/// How many bindings a journal takes. The index has a place for each slot up to the highest: without a bound one record
/// could make it fill the memory that /run lives in.
pub(crate) const SLOTS: u32 = 1 << 20;
const BIND: u8 = 1;
const END: u8 = 2;
const NETWORK: u8 = 3;
const WHY: [Why; 9] = [
    Why::Added,
    Why::Adopted,
    Why::Deleted,
    Why::Collected,
    Why::FileRemoved,
    Why::Replaced,
    Why::OpenYurt,
    Why::PodDeleted,
    Why::PodAwaited,
];
const STATES: [State; 3] = [State::Live, State::Parked, State::Gone];
const POD: u8 = 1;
const CONTAINER: u8 = 2;
const ID_ONLY: u8 = 1;
const FOREIGN: u8 = 2;

impl Record {
    /// The record as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Out(Vec::with_capacity(192));
        match self {
            Record::Bind { slot, binding } => {
                out.u8(BIND);
                out.u32(*slot);
                encode_binding(&mut out, binding);
            }
            Record::End { slot } => {
                out.u8(END);
                out.u32(*slot);
            }
            Record::Network(network) => {
                out.u8(NETWORK);
                out.text(&network.directory);
                out.u64(network.given_up);
                out.u64(network.reused);
                out.count(network.sets.len());
                for set in &network.sets {
                    out.count(set.len());
                    for (start, end, gateway) in set {
                        out.address(Some(*start));
                        out.address(Some(*end));
                        out.address(*gateway);
                    }
                }
            }
        }
        out.0
    }

    /// The record in `bytes`; `None` for one that this release does not know or that is not whole.
    pub fn decode(bytes: &[u8]) -> Option<Record> {
        let mut bytes = In(bytes);
        match bytes.u8()? {
            BIND => Some(Record::Bind { slot: slot(&mut bytes)?, binding: decode_binding(&mut bytes)? }),
            END => Some(Record::End { slot: slot(&mut bytes)? }),
            NETWORK => {
                let (directory, given_up, reused) = (bytes.text()?, bytes.u64()?, bytes.u64()?);
                let mut sets = Vec::new();
                for _ in 0..bytes.u8()? {
                    let mut set = Vec::new();
                    for _ in 0..bytes.u8()? {
                        set.push((bytes.address()??, bytes.address()??, bytes.address()?));
                    }
                    sets.push(set);
                }
                Some(Record::Network(Network { directory, sets, given_up, reused }))
            }
            _ => None,
        }
    }
}

fn slot(bytes: &mut In<'_>) -> Option<u32> {
    bytes.u32().filter(|slot| *slot < SLOTS)
}

fn encode_binding(out: &mut Out, binding: &Binding) {
    out.index(&STATES, binding.state);
    out.index(&WHY, binding.why);
    out.u8(if binding.id_only { ID_ONLY } else { 0 } | if binding.foreign { FOREIGN } else { 0 });
    out.u64(binding.since.cast_unsigned());
    out.u64(binding.since_up);
    out.u64(binding.born.cast_unsigned());
    out.text(&binding.boot);
    match &binding.identity {
        Identity::Pod { namespace, name, uid } => {
            out.u8(POD);
            out.text(namespace);
            out.text(name);
            out.text(uid);
        }
        Identity::Container(id) => {
            out.u8(CONTAINER);
            out.text(id);
        }
    }
    out.text(&binding.ifname);
    out.text(&binding.container);
    out.text(&binding.netns);
    out.count(binding.addresses.len());
    for address in &binding.addresses {
        out.address(Some(*address));
    }
}

fn decode_binding(bytes: &mut In<'_>) -> Option<Binding> {
    let state = *STATES.get(usize::from(bytes.u8()?))?;
    let why = *WHY.get(usize::from(bytes.u8()?))?;
    let flags = bytes.u8()?;
    let (since, since_up, born) = (bytes.u64()?.cast_signed(), bytes.u64()?, bytes.u64()?.cast_signed());
    let boot = bytes.text()?;
    let identity = match bytes.u8()? {
        POD => Identity::Pod { namespace: bytes.text()?, name: bytes.text()?, uid: bytes.text()? },
        CONTAINER => Identity::Container(bytes.text()?),
        _ => return None,
    };
    let (ifname, container, netns) = (bytes.text()?, bytes.text()?, bytes.text()?);
    let mut addresses = Vec::new();
    for _ in 0..bytes.u8()? {
        addresses.push(bytes.address()??);
    }
    Some(Binding {
        identity,
        ifname,
        addresses,
        container,
        id_only: flags & ID_ONLY != 0,
        netns,
        state,
        why,
        boot,
        since,
        since_up,
        born,
        foreign: flags & FOREIGN != 0,
    })
}

struct Out(Vec<u8>);

impl Out {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn count(&mut self, value: usize) {
        self.u8(u8::try_from(value).unwrap_or(u8::MAX));
    }
    fn index<T: PartialEq>(&mut self, all: &[T], value: T) {
        self.count(all.iter().position(|one| *one == value).unwrap_or(usize::MAX));
    }
    /// Up to 4 096 bytes: what callers take in is bounded far below.
    fn text(&mut self, text: &str) {
        let mut len = text.len().min(4096);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        self.0.extend_from_slice(&u16::try_from(len).unwrap_or(0).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes().get(..len).unwrap_or_default());
    }
    fn address(&mut self, address: Option<IpAddr>) {
        match address {
            None => self.u8(0),
            Some(IpAddr::V4(v4)) => {
                self.u8(4);
                self.0.extend_from_slice(&v4.octets());
            }
            Some(IpAddr::V6(v6)) => {
                self.u8(6);
                self.0.extend_from_slice(&v6.octets());
            }
        }
    }
}

struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }
    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_le_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
    fn text(&mut self) -> Option<String> {
        let len = u16::from_le_bytes(self.array()?);
        String::from_utf8(self.take(usize::from(len))?.to_vec()).ok()
    }
    fn address(&mut self) -> Option<Option<IpAddr>> {
        match self.u8()? {
            0 => Some(None),
            4 => Some(Some(IpAddr::from(self.array::<4>()?))),
            6 => Some(Some(IpAddr::from(self.array::<16>()?))),
            _ => None,
        }
    }
}
