//! What waits, as it is looked at.

use std::sync::Arc;

use outbox::{Entry, Id, What};

use super::{Reads, lock};
use crate::metrics::staged::Counts;

impl Reads {
    /// What waits, for people and programs.
    #[must_use]
    pub fn waiting(&self) -> (Vec<Arc<Entry>>, outbox::Standing) {
        let outbox = lock(&self.staging.outbox);
        (outbox.entries().cloned().collect(), outbox.standing())
    }

    /// How much of what waits, for figures.
    pub(crate) fn count_waiting(&self) -> (Counts, outbox::Standing) {
        let outbox = lock(&self.staging.outbox);
        let mut counts = Counts::default();
        for entry in outbox.entries() {
            let words = What::WORDS.into_iter().zip(&mut counts);
            words.filter(|(word, _)| *word == entry.what.word()).for_each(|(_, count)| *count += 1);
        }
        (counts, outbox.standing())
    }

    /// Whether a write of an entry is on its way to the disk.
    pub(crate) fn is_being_stored(&self, id: &Id) -> bool {
        lock(&self.staging.outbox).pending(id).is_some()
    }
}
