//! What a record of the journal changes in the index: the same for one just written and for one read back.

use std::io;
use std::path::PathBuf;

use durable::fs::Fs;
use durable::journal::{Journal, Span};

use crate::binding::Binding;
use crate::index::{Index, Key, Trouble};
use crate::occupancy;
use crate::record::Record;

/// What changes the index: the same for a record just written and for one read back.
pub(crate) struct Books<'a, F: Fs> {
    pub journal: &'a Journal<F>,
    pub index: &'a mut Index<F>,
    pub boot: &'a str,
}

impl<F: Fs> Books<'_, F> {
    /// Changes the index by one record that stands in the journal.
    pub fn apply(&mut self, record: &Record, span: Span) -> Result<(), Trouble> {
        match record {
            Record::Bind { slot, binding } => self.bind(*slot, binding, span),
            Record::End { slot } => self.end(*slot),
            Record::Network(_) => {
                self.index.network = Some(span);
                Ok(())
            }
        }
    }

    fn bind(&mut self, slot: u32, binding: &Binding, span: Span) -> Result<(), Trouble> {
        let old = self.read(slot)?;
        let same = |old: &Binding| old.identity == binding.identity && old.addresses == binding.addresses;
        let durable_at = match (&old, self.index.place(slot)?) {
            // What was written under an earlier boot has been read back from the disk.
            _ if binding.boot != self.boot && !binding.boot.is_empty() => 0,
            (Some(old), Some(place)) if same(old) => place.durable_at,
            _ => span.end(),
        };
        if let Some(old) = &old {
            self.unfile(slot, old, Some(binding))?;
            self.index.take(slot)?;
        }
        for address in &binding.addresses {
            let number = occupancy::number(*address);
            for other in self.index.find(Key::Address(number))? {
                let other = u32::try_from(other).unwrap_or(slot);
                if other != slot && self.read(other)?.is_some_and(|b| b.addresses.contains(address)) {
                    self.end(other)?;
                }
            }
        }
        self.file(slot, binding, old.as_ref())?;
        self.index.put(slot, span, binding.class(self.boot), durable_at)
    }

    fn end(&mut self, slot: u32) -> Result<(), Trouble> {
        if let Some(old) = self.read(slot)? {
            self.unfile(slot, &old, None)?;
        }
        self.index.take(slot)
    }

    fn read(&self, slot: u32) -> Result<Option<Binding>, Trouble> {
        let Some(place) = self.index.place(slot)? else { return Ok(None) };
        let bytes = self.journal.read(place.span);
        let bytes =
            bytes.map_err(|e| Trouble::Io(PathBuf::from("journal"), io::Error::other(e.to_string())))?;
        match Record::decode(&bytes) {
            Some(Record::Bind { binding, .. }) => Ok(Some(binding)),
            _ => Ok(None),
        }
    }

    /// Files a binding under all its keys, but for those it shares with what was in the slot before.
    fn file(&mut self, slot: u32, binding: &Binding, old: Option<&Binding>) -> Result<(), Trouble> {
        let value = u64::from(slot);
        for key in keys(binding).into_iter().flatten() {
            if !old.is_some_and(|old| has_key(old, key)) {
                self.index.insert(key, value)?;
            }
        }
        for address in &binding.addresses {
            if !old.is_some_and(|old| old.addresses.contains(address)) {
                let number = occupancy::number(*address);
                self.index.insert(Key::Address(number), value)?;
                occupancy::set(self.index, number)?;
            }
        }
        Ok(())
    }

    fn unfile(&mut self, slot: u32, binding: &Binding, new: Option<&Binding>) -> Result<(), Trouble> {
        let value = u64::from(slot);
        for key in keys(binding).into_iter().flatten() {
            if !new.is_some_and(|new| has_key(new, key)) {
                self.index.remove(key, value)?;
            }
        }
        for address in &binding.addresses {
            if !new.is_some_and(|new| new.addresses.contains(address)) {
                let number = occupancy::number(*address);
                self.index.remove(Key::Address(number), value)?;
                occupancy::clear(self.index, number)?;
            }
        }
        Ok(())
    }
}

fn keys(binding: &Binding) -> [Option<Key<'_>>; 2] {
    let pod = binding.pod().map(|(namespace, name)| Key::Pod(namespace, name, &binding.ifname));
    [pod, Some(Key::Container(&binding.container, binding.file_ifname()))]
}

fn has_key(binding: &Binding, key: Key<'_>) -> bool {
    match key {
        Key::Pod(namespace, name, ifname) => {
            binding.pod() == Some((namespace, name)) && binding.ifname == ifname
        }
        Key::Container(id, ifname) => binding.container == id && binding.file_ifname() == ifname,
        Key::Address(_) | Key::Word(..) => false,
    }
}
