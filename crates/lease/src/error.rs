//! What can go wrong with a lease, in the words of host-local where it has words for it.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::record::SLOTS;

/// Why a command failed.
#[derive(Debug)]
pub enum Error {
    /// A range set has nothing to give (host-local's text).
    Exhausted {
        /// Number of the range set.
        set: usize,
        /// The range set as `start-end[,start-end…]`.
        ranges: String,
    },
    /// A requested address is the gateway (host-local's text).
    Gateway {
        /// Number of the range set.
        set: usize,
        /// The address.
        address: IpAddr,
    },
    /// A requested address is in use (host-local's text).
    Unavailable {
        /// Number of the range set.
        set: usize,
        /// The address.
        address: IpAddr,
        /// The range set as `start-end[,start-end…]`.
        ranges: String,
    },
    /// Requested addresses that no range set could take (host-local's text).
    NotAllRequested(Vec<IpAddr>),
    /// A repeated ADD where the configuration wants it refused (host-local's text).
    Duplicate {
        /// What the container has already.
        address: IpAddr,
        /// The container.
        container: String,
    },
    /// CHECK found no lease (host-local's text).
    NotFound,
    /// Somebody has held a lock for too long.
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long was waited, in seconds.
        seconds: u64,
    },
    /// A system call failed.
    Io {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The journal cannot be used.
    Journal(durable::journal::Error),
    /// The address could not be made durable.
    NotDurable(io::Error),
    /// A binding that an operator wants to end is in use.
    InUse {
        /// Whose it is.
        identity: crate::Identity,
        /// The sandbox that has it.
        container: String,
    },
    /// The journal takes no more bindings.
    Full {
        /// The directory that it is in.
        state: PathBuf,
    },
    /// Another program changed the directory while it was locked.
    Interfered(PathBuf),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Exhausted { set, ranges } => write!(
                f,
                "failed to allocate for range {set}: no IP addresses available in range set: {ranges}"
            ),
            Error::Gateway { set, address } => {
                write!(f, "failed to allocate for range {set}: requested ip {address} is subnet's gateway")
            }
            Error::Unavailable { set, address, ranges } => write!(
                f,
                "failed to allocate for range {set}: requested IP address {address} is not available in range set {ranges}"
            ),
            Error::NotAllRequested(left) => {
                f.write_str("failed to allocate all requested IPs:")?;
                left.iter().try_for_each(|address| write!(f, " {address}"))
            }
            Error::Duplicate { address, container } => write!(
                f,
                "failed to allocate for range 0: {address} has been allocated to {container}, \
                 duplicate allocation is not allowed"
            ),
            Error::NotFound => f.write_str("host-local: Failed to find address added by container ID"),
            Error::Locked { path, seconds } => write!(
                f,
                "{} has been locked by another process for {seconds} s: find it with `fuser {}` and end it",
                path.display(),
                path.display()
            ),
            Error::Io { what, path, source } => write!(f, "cannot {what} {}: {source}", path.display()),
            Error::Journal(e) => e.fmt(f),
            Error::NotDurable(e) => {
                write!(
                    f,
                    "the address could not be made to survive a power cut, so it was not handed out: {e}"
                )
            }
            Error::InUse { identity, container } => write!(
                f,
                "{identity} is live: sandbox {container} has its addresses; if you know that it is dead, say --force"
            ),
            Error::Full { state } => write!(
                f,
                "{}/journal has {SLOTS} bindings, which is all that it takes: release some with `edgekeep leases release`",
                state.display()
            ),
            Error::Interfered(path) => write!(
                f,
                "{} was changed by a program that does not take the lock; try again",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } | Error::NotDurable(source) => Some(source),
            Error::Journal(source) => Some(source),
            _ => None,
        }
    }
}

impl From<durable::journal::Error> for Error {
    fn from(e: durable::journal::Error) -> Self {
        Error::Journal(e)
    }
}

/// Says what was attempted on what when a system call failed.
pub(crate) trait Attempt<T> {
    fn attempt(self, what: &'static str, path: &std::path::Path) -> Result<T, Error>;
}

impl<T> Attempt<T> for io::Result<T> {
    fn attempt(self, what: &'static str, path: &std::path::Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { what, path: path.to_path_buf(), source })
    }
}
