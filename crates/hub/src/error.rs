//! Why the hub cannot do something, in words for the operator of the node.

use std::error::Error as StdError;
use std::fmt;
use std::path::Path;

/// What happened, to what, and what to do, in one line; with what the system or a library said behind it.
#[derive(Debug)]
pub struct Error {
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with nothing behind it.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }

    /// `what` was attempted and `source` came of it.
    pub fn with(what: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { what: what.into(), source: Some(source.into()) }
    }

    /// `what`, as "cannot read", was attempted with the file `path`.
    pub fn file(what: &str, path: &Path, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::with(format!("{what} {}", path.display()), source)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        let mut next = self.source.as_ref().map(|source| source.as_ref() as &dyn StdError);
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // The text holds all that stands behind it.
        None
    }
}

/// What may fail in the hub.
pub type Result<T, E = Error> = std::result::Result<T, E>;
