//! The key that values are sealed with: a credential of the service manager, or a file that is made at the first start.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::fs::{self, Fs};
use crate::place::{create_dir_durably, replace_file};

/// Length of a key in bytes.
pub const LEN: usize = 32;
/// A file that is longer is no key.
const MAX_FILE: usize = 256;

/// A key; wiped from memory when dropped.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; LEN]>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// Why there is no key.
#[derive(Debug)]
pub enum Error {
    /// A system call failed.
    Io {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What stands there is no key.
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// Others could have read or changed it.
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// Who owns it.
        owner: u32,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { what, path, source } => write!(f, "cannot {what} {}: {source}", path.display()),
            Error::NoKey { path } => write!(
                f,
                "{} is no key: it must be {LEN} bytes, or twice as many hexadecimal digits. A key that was lost cannot \
                 be made again: restore the file, or move it away so that a new one is made; what was sealed with the \
                 old one then cannot be read",
                path.display()
            ),
            Error::Exposed { path, mode, owner } => write!(
                f,
                "{} belongs to user {owner} with mode {mode:04o}: others could have read or changed the key. Give it \
                 to the user that edgekeep runs as, and `chmod 0600` it",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl Key {
    /// A key of these bytes.
    pub fn new(bytes: [u8; LEN]) -> Key {
        Key(Zeroizing::new(bytes))
    }

    /// A new key.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn random() -> io::Result<Key> {
        let mut bytes = [0; LEN];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
        Ok(Key::new(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0[..]
    }

    /// The key of a credential: a file that the service manager has put, for this process alone, into the directory
    /// that `CREDENTIALS_DIRECTORY` names (systemd.exec(5)). Who may read it is the service manager's business.
    ///
    /// # Errors
    /// When it is not there, or no key.
    pub fn from_credential(fs: &impl Fs, path: &Path) -> Result<Key, Error> {
        let failed = |source| Error::Io { what: "read", path: path.to_path_buf(), source };
        let bytes = Zeroizing::new(fs::read(fs, path, MAX_FILE).map_err(failed)?);
        parse(&bytes).ok_or_else(|| Error::NoKey { path: path.to_path_buf() })
    }

    /// The key in a file, which must belong to `owner` and be closed to all others. Where there is none, one is made
    /// of `fresh`, and is on the disk before it is used.
    ///
    /// # Errors
    /// When the file is no key, or exposed; it is never replaced.
    pub fn load_or_create<F: Fs>(
        fs: &F,
        path: &Path,
        owner: u32,
        fresh: impl FnOnce() -> io::Result<Key>,
    ) -> Result<Key, Error> {
        let failed = |what| move |source| Error::Io { what, path: path.to_path_buf(), source };
        let meta = match fs.metadata(path) {
            Ok(meta) => meta,
            // Only the absence of a file is a reason to make one.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let key = fresh().map_err(failed("make"))?;
                let dir = path.parent().unwrap_or(path);
                create_dir_durably(fs, dir, 0o700).map_err(failed("make a directory for"))?;
                let text = Zeroizing::new(format_hex(key.bytes()));
                replace_file(fs, path, text.as_bytes(), 0o600).map_err(failed("write"))?;
                return Ok(key);
            }
            Err(source) => return Err(failed("look at")(source)),
        };
        if !meta.file {
            return Err(Error::NoKey { path: path.to_path_buf() });
        }
        if meta.owner != owner || meta.mode & 0o077 != 0 {
            return Err(Error::Exposed { path: path.to_path_buf(), mode: meta.mode, owner: meta.owner });
        }
        Key::from_credential(fs, path)
    }
}

/// 32 bytes, or 64 hexadecimal digits and perhaps a newline.
fn parse(bytes: &[u8]) -> Option<Key> {
    if let Ok(key) = bytes.try_into() {
        return Some(Key::new(key));
    }
    let text = std::str::from_utf8(bytes.trim_ascii()).ok().filter(|text| text.len() == 2 * LEN)?;
    let mut key = Zeroizing::new([0; LEN]);
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digits =
            std::str::from_utf8(digits).ok().filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(Key(key))
}

fn format_hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).chain(['\n']).collect()
}
