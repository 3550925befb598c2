//! All bindings of a journal in memory: for those who only look, and as the model that the index is tested against.

use std::collections::BTreeMap;
use std::net::IpAddr;

use durable::fs::Fs;
use durable::journal::{self, Journal, Seen, Span};

use crate::binding::Binding;
use crate::record::{Network, Record};

/// The bindings that a journal amounts to.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// By slot.
    pub bindings: BTreeMap<u32, Binding>,
    /// What is on record about the network.
    pub network: Network,
    /// Stretches that could not be read.
    pub damaged: Vec<Span>,
    holders: BTreeMap<IpAddr, u32>,
}

impl Table {
    /// Reads a journal whole.
    pub fn read<F: Fs>(journal: &mut Journal<F>) -> Result<Table, journal::Error> {
        let mut table = Table::default();
        journal.scan(None, usize::MAX, |seen| {
            match seen {
                Seen::Record(_, bytes) => {
                    if let Some(record) = Record::decode(bytes) {
                        table.apply(record);
                    }
                }
                Seen::Damaged(span) => table.damaged.push(span),
                Seen::Torn(_) => {}
            }
            Ok(())
        })?;
        Ok(table)
    }

    /// What one more record changes.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Bind { slot, binding } => {
                self.end(slot);
                for address in &binding.addresses {
                    if let Some(other) = self.holders.get(address).copied() {
                        self.end(other);
                    }
                    self.holders.insert(*address, slot);
                }
                self.bindings.insert(slot, binding);
            }
            Record::End { slot } => self.end(slot),
            Record::Network(network) => self.network = network,
        }
    }

    /// The binding that has an address.
    pub fn holder(&self, address: IpAddr) -> Option<&Binding> {
        self.bindings.get(self.holders.get(&address)?)
    }

    fn end(&mut self, slot: u32) {
        for address in self.bindings.remove(&slot).map_or_else(Vec::new, |binding| binding.addresses) {
            self.holders.remove(&address);
        }
    }
}
