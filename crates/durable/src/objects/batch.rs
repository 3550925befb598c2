//! Changes to be written together.

use super::frame::frame_len;
use super::{Error, MAX_KEY, MAX_VALUE};

/// Changes that are written with one call, in this order. Over a power cut each of them stands for itself.
#[derive(Default)]
pub struct Batch {
    pub(super) changes: Vec<Change>,
    bytes: usize,
}

pub(super) enum Change {
    Put { key: Box<[u8]>, value: Box<dyn AsRef<[u8]> + Send>, seal: bool },
    Delete { key: Box<[u8]> },
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch of {} changes, {} bytes", self.changes.len(), self.bytes)
    }
}

impl Batch {
    /// An empty one.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// The key has this value from now on.
    #[must_use]
    pub fn put(self, key: impl Into<Box<[u8]>>, value: impl AsRef<[u8]> + Send + 'static) -> Batch {
        self.with(Change::Put { key: key.into(), value: Box::new(value), seal: false })
    }

    /// The same, and on the disk nobody can read it without the key of the log's [`super::Cipher`].
    #[must_use]
    pub fn put_sealed(self, key: impl Into<Box<[u8]>>, value: impl AsRef<[u8]> + Send + 'static) -> Batch {
        self.with(Change::Put { key: key.into(), value: Box::new(value), seal: true })
    }

    /// The key has no value any more.
    #[must_use]
    pub fn delete(self, key: impl Into<Box<[u8]>>) -> Batch {
        self.with(Change::Delete { key: key.into() })
    }

    fn with(mut self, change: Change) -> Batch {
        self.bytes += change.key().len() + change.value().len();
        self.changes.push(change);
        self
    }

    /// The changes, in order: the key, its new value or `None`, and whether that is to be sealed.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>, bool)> {
        self.changes.iter().map(|change| match change {
            Change::Put { key, value, seal } => (&key[..], Some((**value).as_ref()), *seal),
            Change::Delete { key } => (&key[..], None, false),
        })
    }

    /// How many changes.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of its keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Refuses a batch with something in it that is too large.
    pub(super) fn check(&self) -> Result<(), Error> {
        for change in &self.changes {
            let (key, value) = (change.key(), change.value());
            if key.len() > MAX_KEY {
                return Err(Error::too_large("key", key, key.len(), MAX_KEY));
            }
            if value.len() > MAX_VALUE {
                return Err(Error::too_large("value", key, value.len(), MAX_VALUE));
            }
        }
        Ok(())
    }
}

impl Change {
    pub(super) fn key(&self) -> &[u8] {
        match self {
            Change::Put { key, .. } | Change::Delete { key } => key,
        }
    }

    pub(super) fn value(&self) -> &[u8] {
        match self {
            Change::Put { value, .. } => (**value).as_ref(),
            Change::Delete { .. } => &[],
        }
    }

    /// Bytes of its frame, at most.
    pub(super) fn frame_len(&self) -> u32 {
        let sealed = u32::try_from(self.value().len() + 64).unwrap_or(u32::MAX);
        frame_len(self.key().len(), sealed)
    }
}
