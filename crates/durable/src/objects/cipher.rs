//! What a log needs of a cipher; `crate::seal` has one.

/// Seals values. `context` says which record a value belongs to: what was sealed with one context opens with no other.
pub trait Cipher: Send + Sync {
    /// The value as it goes to the disk, at most 64 bytes longer.
    fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, CipherError>;
    /// What was sealed.
    fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CipherError>;
    /// Whether it was sealed with the key that is used now.
    fn is_current(&self, sealed: &[u8]) -> bool;
}

/// Why a value was not sealed or opened, for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CipherError(pub String);

impl std::fmt::Display for CipherError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CipherError {}

/// Which record a value belongs to: the log, the number it was born with, the key.
pub(super) fn context(salt: u32, born: u64, key: &[u8]) -> Vec<u8> {
    [&salt.to_le_bytes()[..], &born.to_le_bytes(), key].concat()
}
