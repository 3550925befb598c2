//! Every record with its value, in one go: a hub that starts wants them all, and to fetch them one by one takes a call to the
//! system and two copies for each.

use std::borrow::Cow;

use super::frame::{self, Kind, SEALED};
use super::log::Log;
use super::{Error, Found};
use crate::fs::Fs;
use crate::window::Window;

/// How much is read at a time.
const WINDOW: usize = 256 * 1024;

impl<F: Fs> Log<F> {
    /// Calls `each` with every key that has a value, and with the value, or why it cannot be read: what [`Log::keys`] and
    /// [`Log::get`] together say, but each segment is read from its start to its end.
    ///
    /// # Errors
    /// As [`Log::keys`].
    pub fn each(&self, mut each: impl FnMut(Found<'_>, Result<Cow<'_, [u8]>, Error>)) -> Result<(), Error> {
        let mut window = Window::new(WINDOW);
        for (number, extent) in &self.extents {
            let contents = self.load(*number, *extent)?.contents;
            let Some(segment) = self.shared.read().segments.get(number).cloned() else { continue };
            window.forget();
            for item in contents.iter() {
                let entry = self.shared.read().index.get(self.shared.id(item.key));
                let Some(entry) = entry.filter(|entry| entry.is_at(*number, item.offset)) else { continue };
                let (lost, doubtful) = (entry.is_lost(), entry.is_doubtful());
                let found = Found { key: item.key, len: item.value_len, lost, doubtful };
                let len = usize::try_from(entry.len()).unwrap_or_default();
                let bytes = window.fill(&segment.file, item.offset.into(), len).unwrap_or_default();
                let record = frame::parse(bytes, Some(self.shared.salt)).filter(|_| !lost);
                match record.filter(|record| record.key == item.key && record.kind == Kind::Put) {
                    Some(record) if record.flags & SEALED != 0 => {
                        each(found, self.shared.unseal(item.key, record.born, record.value).map(Cow::Owned));
                    }
                    Some(record) => each(found, Ok(Cow::Borrowed(record.value))),
                    // It notes that, and says what is wrong.
                    None => {
                        if let Some(value) = self.get(item.key).transpose() {
                            each(found, value.map(Cow::Owned));
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
