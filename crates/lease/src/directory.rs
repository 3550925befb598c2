//! host-local's directory: which addresses are in use now, in the form that stock host-local reads and writes.
//!
//! Layout and rules: the on-disk section of the host-local contract (plugins/ipam/host-local/backend/disk). Everything
//! here happens under the lock that stock host-local takes too.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durable::fs::{self, File, Fs, Open, Stamp};

use crate::binding::Binding;
use crate::error::{Attempt, Error};
use crate::index::Seal;

/// The largest lease file that is one: a container id, CR LF, an interface name.
const MAX_LEASE: usize = 4096;

/// Whose a lease file is, by its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The container id.
    pub container: String,
    /// The interface; empty in the old form.
    pub ifname: String,
}

impl Owner {
    fn encode(container: &str, ifname: &str) -> String {
        if ifname.is_empty() {
            container.trim().to_owned()
        } else {
            format!("{}\r\n{ifname}", container.trim())
        }
    }

    /// Whether this is the sandbox that a binding is with.
    pub fn is_of(&self, binding: &Binding) -> bool {
        self.container == binding.container && self.ifname == binding.file_ifname()
    }

    /// Whether this is the beginning of what a binding's lease file says: a write that a crash cut off. The
    /// beginning of an id looks like a lease in the old form.
    pub fn is_cut_off(&self, binding: &Binding) -> bool {
        let (whole, part) = (
            Self::encode(&binding.container, binding.file_ifname()),
            Self::encode(&self.container, &self.ifname),
        );
        part.len() < whole.len() && whole.starts_with(&part)
    }

    /// `None` for content that no host-local writes.
    fn decode(bytes: &[u8]) -> Option<Owner> {
        let text = str::from_utf8(bytes).ok()?.trim();
        let (container, ifname) = text.split_once("\r\n").unwrap_or((text, ""));
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let whole = container.starts_with(|c: char| c.is_ascii_alphanumeric())
            && container.chars().all(legal)
            && !ifname.contains(|c: char| c.is_whitespace() || c == '/' || c == ':');
        whole.then(|| Owner { container: container.to_owned(), ifname: ifname.to_owned() })
    }
}

/// What a directory entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A lease.
    Lease(IpAddr),
    /// OpenYurt's reservation: address, namespace, pod.
    Reservation(IpAddr, String, String),
    /// Something else: the lock, a cursor, a stranger's file.
    Other,
}

impl Entry {
    pub fn of(name: &str) -> Entry {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Entry::Lease(address);
        }
        // OpenYurt's patch of host-local: an empty file ip_namespace_name; neither part can hold an underscore.
        let mut parts = name.split('_');
        match (parts.next().map(str::parse), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(address)), Some(namespace), Some(pod), None)
                if !namespace.is_empty() && !pod.is_empty() =>
            {
                Entry::Reservation(address, namespace.to_owned(), pod.to_owned())
            }
            _ => Entry::Other,
        }
    }
}

/// The directory of one network, locked.
pub(crate) struct Directory<'a, F: Fs> {
    fs: &'a F,
    pub path: &'a Path,
    _lock: F::File,
}

impl<'a, F: Fs> Directory<'a, F> {
    /// Makes the directory if need be and takes its lock.
    pub fn lock(fs: &'a F, path: &'a Path, wait: Duration) -> Result<Self, Error> {
        let lock = path.join("lock");
        let file = match fs.open(&lock, Open::ReadCreate(0o750)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs.create_dir_all(path, 0o755).attempt("create directory", path)?;
                fs.open(&lock, Open::ReadCreate(0o750))
            }
            other => other,
        };
        let file = file.attempt("open", &lock)?;
        take(&file, &lock, wait)?;
        Ok(Directory { fs, path, _lock: file })
    }

    /// How the directory stands now.
    pub fn seal(&self) -> Result<Seal, Error> {
        self.fs.metadata(self.path).map(|meta| Seal::of(&meta)).attempt("look at", self.path)
    }

    /// Gives the directory a modification time of our own, so that any later change by a program that knows nothing
    /// of it shows: the kernel's clock will not come upon these nanoseconds. `None` where the directory is not ours or
    /// its file system keeps no nanoseconds.
    pub fn set_seal(&self, secs: i64) -> Option<Seal> {
        let secs = secs.max(0);
        let mtime = Stamp { secs, nanos: seal_nanos(secs) };
        self.fs.set_mtime(self.path, mtime).ok()?;
        self.seal().ok().filter(|seal| seal.mtime == mtime)
    }

    /// Whether one of us was the last to change the directory: known by the time alone, also after a reboot.
    pub fn is_sealed(&self) -> Result<bool, Error> {
        self.seal().map(|seal| seal.mtime.nanos == seal_nanos(seal.mtime.secs))
    }

    /// Every entry, in no order.
    pub fn each(&self, mut each: impl FnMut(&str) -> Result<(), Error>) -> Result<(), Error> {
        let mut failed = None;
        let read = self.fs.read_dir(self.path, &mut |name| {
            each(name).map_err(|e| {
                failed = Some(e);
                io::Error::from(io::ErrorKind::Interrupted)
            })
        });
        match (failed, read) {
            (Some(e), _) => Err(e),
            (None, read) => read.attempt("read directory", self.path),
        }
    }

    /// Path of the lease file of an address.
    pub fn lease_path(&self, address: IpAddr) -> PathBuf {
        self.path.join(address.to_string())
    }

    /// Whose the lease of an address is: nothing if there is none, an error if the file cannot be read.
    pub fn owner(&self, address: IpAddr) -> Result<Option<Result<Owner, Vec<u8>>>, Error> {
        let path = self.lease_path(address);
        match fs::read(self.fs, &path, MAX_LEASE) {
            Ok(bytes) => Ok(Some(Owner::decode(&bytes).ok_or(bytes))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e)
                if matches!(
                    e.kind(),
                    // The last for a pipe.
                    io::ErrorKind::FileTooLarge | io::ErrorKind::IsADirectory | io::ErrorKind::NotSeekable
                ) =>
            {
                Ok(Some(Err(Vec::new())))
            }
            Err(e) => Err(e).attempt("read", &path),
        }
    }

    /// Whether something that is no file stands where the lease file of an address would be: nobody can claim it.
    pub fn is_blocked(&self, address: IpAddr) -> bool {
        self.fs.metadata(&self.lease_path(address)).is_ok_and(|meta| !meta.file)
    }

    /// When the lease file of an address was last written.
    pub fn age(&self, address: IpAddr) -> Result<Stamp, Error> {
        let path = self.lease_path(address);
        self.fs.metadata(&path).map(|meta| meta.mtime).attempt("look at", &path)
    }

    /// Whether the lease of `address` is this container's.
    pub fn is_held_by(&self, address: IpAddr, container: &str, ifname: &str) -> Result<bool, Error> {
        Ok(
            matches!(self.owner(address)?, Some(Ok(owner)) if owner.container == container && owner.ifname == ifname),
        )
    }

    /// Makes the lease file of an address that must have none: the step at which two programs cannot both succeed.
    pub fn claim(&self, address: IpAddr, container: &str, ifname: &str) -> Result<(), Error> {
        let path = self.lease_path(address);
        let file = match self.fs.open(&path, Open::CreateNew(0o600)) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::Interfered(self.path.to_path_buf()));
            }
            other => other.attempt("create", &path)?,
        };
        let written = file.write_at(Owner::encode(container, ifname).as_bytes(), 0);
        if written.is_err() {
            // A lease file without an owner would be in nobody's way but in everybody's.
            let _ = self.fs.remove_file(&path);
        }
        written.attempt("write", &path)
    }

    /// Removes the lease file of an address; none is as good.
    pub fn release(&self, address: IpAddr) -> Result<(), Error> {
        let path = self.lease_path(address);
        self.remove(&path)
    }

    /// Removes a file; none is as good.
    pub fn remove(&self, path: &Path) -> Result<(), Error> {
        match self.fs.remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).attempt("remove", path),
            _ => Ok(()),
        }
    }

    /// The address that was handed out last from a range set, as far as anybody knows.
    pub fn cursor(&self, set: usize) -> Option<IpAddr> {
        let bytes = fs::read(self.fs, &self.cursor_path(set), 64).ok()?;
        str::from_utf8(&bytes).ok()?.parse().ok()
    }

    /// Notes it, as a hint for the next call.
    pub fn set_cursor(&self, set: usize, address: IpAddr) -> io::Result<()> {
        let file = self.fs.open(&self.cursor_path(set), Open::Create(0o600))?;
        let text = address.to_string();
        file.write_at(text.as_bytes(), 0)?;
        file.set_len(text.len() as u64)
    }

    fn cursor_path(&self, set: usize) -> PathBuf {
        self.path.join(format!("last_reserved_ip.{set}"))
    }
}

/// The nanoseconds that we give a modification time: scattered over the whole second, so that a time which the kernel
/// gave has them once in a thousand million.
fn seal_nanos(secs: i64) -> u32 {
    let mixed = (secs.cast_unsigned() ^ 0x4544_4745_4b45_4550).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    u32::try_from((mixed ^ (mixed >> 32)) % 1_000_000_000).unwrap_or(0)
}

/// Takes a lock, waiting at most `wait`.
pub(crate) fn take(file: &impl File, path: &Path, wait: Duration) -> Result<(), Error> {
    match file.lock(wait) {
        Err(e) if e.kind() == io::ErrorKind::TimedOut => {
            Err(Error::Locked { path: path.to_path_buf(), seconds: wait.as_secs().max(1) })
        }
        other => other.attempt("lock", path),
    }
}

/// What stock host-local does on DEL: removes every lease of the container, or else every one in the old form. For
/// when our own state cannot be opened: a sandbox must be allowed to go.
pub fn release_by_scan<F: Fs>(
    fs: &F,
    path: &Path,
    container: &str,
    ifname: &str,
    wait: Duration,
) -> Result<(), Error> {
    let directory = Directory::lock(fs, path, wait)?;
    let mut held = Vec::new();
    directory.each(|name| {
        if let Entry::Lease(address) = Entry::of(name)
            && let Some(Ok(owner)) = directory.owner(address)?
            && owner.container == container
        {
            held.push((address, owner.ifname));
        }
        Ok(())
    })?;
    let exact = held.iter().any(|(_, name)| name == ifname);
    for (address, name) in held {
        if name == ifname || (!exact && name.is_empty()) {
            directory.release(address)?;
        }
    }
    Ok(())
}
