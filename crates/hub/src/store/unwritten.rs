//! Records on their way to a log: whoever reads one meanwhile reads what it will be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// By key: the number of the latest write, and what it writes.
type Latest = HashMap<Vec<u8>, (u64, Option<Vec<u8>>)>;

/// The records that were handed over and are not written yet.
#[derive(Clone, Default)]
pub struct Unwritten(Arc<Mutex<(u64, Latest)>>);

impl Unwritten {
    fn lock(&self) -> MutexGuard<'_, (u64, Latest)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This is on its way; `None` removes the record. What comes back is to be called when it has arrived, or never will.
    pub fn add(&self, key: &[u8], value: Option<&[u8]>) -> impl FnOnce() + Send + 'static {
        let mut on_their_way = self.lock();
        on_their_way.0 += 1;
        let number = on_their_way.0;
        on_their_way.1.insert(key.to_vec(), (number, value.map(<[u8]>::to_vec)));
        drop(on_their_way);
        let (unwritten, key) = (self.clone(), key.to_vec());
        move || {
            let mut on_their_way = unwritten.lock();
            if on_their_way.1.get(&key).is_some_and(|latest| latest.0 == number) {
                on_their_way.1.remove(&key);
            }
        }
    }

    /// What the record will be, if one of this key is on its way: `Some(None)` when it is being removed.
    pub fn get(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        self.lock().1.get(key).map(|latest| latest.1.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_write_of_a_record_is_what_it_will_be_until_that_has_arrived() {
        let unwritten = Unwritten::default();
        let first = unwritten.add(b"k", Some(b"1"));
        let second = unwritten.add(b"k", Some(b"2"));
        first();
        assert_eq!(unwritten.get(b"k"), Some(Some(b"2".to_vec())));
        second();
        assert_eq!(unwritten.get(b"k"), None);
        let removal = unwritten.add(b"k", None);
        assert_eq!(unwritten.get(b"k"), Some(None));
        removal();
        assert_eq!(unwritten.get(b"k"), None);
    }
}
