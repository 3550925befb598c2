//! Who holds which address, by what the runtime said and when: the check of promise P2, that no two live sandboxes
//! share an address.
//!
//! Invariant: a sandbox is held to be live from the moment its start was answered until the moment its stop is asked
//! for, so that an address that may already be somebody else's is never called shared.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared by all that start and stop sandboxes.
#[derive(Clone, Default)]
pub struct Ledger {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    holders: BTreeMap<IpAddr, String>,
    shared: Vec<String>,
}

impl Ledger {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `sandbox` was started and has `addresses`.
    pub fn started(&self, sandbox: &str, addresses: &[IpAddr]) {
        let mut inner = self.inner();
        for address in addresses {
            if let Some(other) = inner.holders.insert(*address, sandbox.to_owned())
                && other != sandbox
            {
                inner.shared.push(format!("{address} was given to {sandbox} while {other} was live"));
            }
        }
    }

    /// `sandbox` is about to be stopped.
    pub fn stopping(&self, sandbox: &str) {
        self.inner().holders.retain(|_, holder| holder != sandbox);
    }

    /// The node lost its power: no sandbox is live.
    pub fn power_cut(&self) {
        self.inner().holders.clear();
    }

    /// How many addresses are held now.
    pub fn held(&self) -> usize {
        self.inner().holders.len()
    }

    /// What was shared since this was last asked.
    pub fn take_shared(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 244, 0, 2));

    #[test]
    fn an_address_given_twice_is_noticed_and_told_once() {
        let ledger = Ledger::default();
        ledger.started("a", &[ADDRESS]);
        ledger.started("b", &[ADDRESS]);
        assert_eq!(ledger.take_shared().len(), 1);
        assert!(ledger.take_shared().is_empty());
    }

    #[test]
    fn an_address_may_move_on_once_its_holder_is_being_stopped_or_has_lost_power() {
        let ledger = Ledger::default();
        ledger.started("a", &[ADDRESS]);
        ledger.stopping("a");
        ledger.started("b", &[ADDRESS]);
        ledger.power_cut();
        ledger.started("c", &[ADDRESS]);
        assert!(ledger.take_shared().is_empty());
        assert_eq!(ledger.held(), 1);
    }
}
