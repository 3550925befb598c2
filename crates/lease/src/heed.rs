//! What the API server knows of pods, told to the bindings.
//!
//! Evidence demotes and never frees (design §5.6): a binding whose pod is deleted is the first to be reused, one whose pod is still to
//! come back the last. What may be in use stays as it is, whatever is said of its pod: its sandbox may run on for as
//! long as nobody has ended it.

use durable::fs::Fs;

use crate::binding::{Binding, Class, Identity, State, Why};
use crate::error::Error;
use crate::store::Store;

/// What is known of the pod that a binding belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It exists, and a sandbox will be made for it if it has none.
    Exists,
    /// It exists no more, nor another of its name.
    Deleted,
}

/// How many bindings changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heeded {
    /// Those that are gone now.
    pub gone: usize,
    /// Those that are awaited now.
    pub awaited: usize,
}

impl<F: Fs> Store<'_, F> {
    /// Heeds what is said of bindings, each given as it was when that was found out: one that has changed since, as by an ADD,
    /// is left alone. What changed is to be flushed.
    pub fn heed(&mut self, said: &[(Binding, Word)]) -> Result<Heeded, Error> {
        let mut heeded = Heeded::default();
        for (judged, word) in said {
            // Of a container that no pod is known of, the API server knows nothing.
            if !matches!(judged.identity, Identity::Pod { .. }) {
                continue;
            }
            let present = self.of_identity(&judged.identity, &judged.ifname)?;
            let Some((slot, binding)) = present.iter().find(|(_, binding)| binding == judged) else {
                continue;
            };
            // Where a pod comes home to is the binding that was written last: of several, the order must stay.
            let other = |(at, one): &(u32, Binding)| at != slot && one.state != State::Gone;
            match word {
                Word::Deleted => heeded.gone += usize::from(self.bury(*slot, binding)?),
                Word::Exists if present.iter().any(other) => {}
                Word::Exists => heeded.awaited += usize::from(self.await_pod(*slot, binding)?),
            }
        }
        if heeded != Heeded::default() {
            self.bound_gone()?;
            self.need_flush();
        }
        Ok(heeded)
    }

    fn bury(&mut self, slot: u32, binding: &Binding) -> Result<bool, Error> {
        match binding.class(&self.now.boot) {
            Class::Gone => return Ok(false),
            // A sandbox whose network namespace is gone is dead, also if its DEL never came; of any other that is not known.
            Class::Live if binding.netns.is_empty() || self.is_occupied(binding) => return Ok(false),
            Class::Live => {
                self.unseal();
                self.release(binding)?;
                self.set_state(slot, binding, State::Gone, Why::PodDeleted)?;
                self.consistent();
            }
            Class::Parked | Class::Awaited => self.set_state(slot, binding, State::Gone, Why::PodDeleted)?,
        }
        Ok(true)
    }

    fn await_pod(&mut self, slot: u32, binding: &Binding) -> Result<bool, Error> {
        let comes_back = match binding.class(&self.now.boot) {
            Class::Parked => true,
            // One of the same name was made anew since: that is where it comes home to.
            Class::Gone => binding.why == Why::PodDeleted,
            Class::Awaited | Class::Live => false,
        };
        if comes_back {
            self.set_state(slot, binding, State::Parked, Why::PodAwaited)?;
        }
        Ok(comes_back)
    }
}
