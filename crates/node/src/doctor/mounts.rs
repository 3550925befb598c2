//! What outlives a reboot: the file systems of a node, as `/proc/self/mountinfo` tells (proc_pid_mountinfo(5)).

use std::path::{Path, PathBuf};

/// How many overlays may lie upon each other.
const DEPTH: usize = 8;

/// The file systems that are mounted, in the order in which they were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts(Vec<Mount>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    at: PathBuf,
    kind: String,
    upper: Option<PathBuf>,
    read_only: bool,
}

/// What becomes of what is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It outlives a reboot.
    OnDisk {
        /// Nothing can be written there.
        read_only: bool,
    },
    /// It is gone after a reboot; the type of its file system.
    InMemory(String),
    /// That cannot be told.
    Unknown,
}

impl Mounts {
    /// Reads mountinfo; lines that are none are passed over.
    pub fn parse(text: &str) -> Mounts {
        Mounts(text.lines().filter_map(mount).collect())
    }

    /// What becomes of what is at this path, in which no symbolic link is left.
    pub fn kept(&self, path: &Path) -> Kept {
        let Some(mount) = self.of(path) else { return Kept::Unknown };
        let (mut below, mut depth) = (mount, 0);
        // An overlay, as on a read-only root, keeps what is written in its upper directory.
        while let Some(upper) = &below.upper {
            depth += 1;
            // Where that directory cannot be seen, it seems to lie in the overlay itself.
            match self.of(upper).filter(|next| depth < DEPTH && next.at != below.at) {
                Some(next) => below = next,
                None => return Kept::Unknown,
            }
        }
        match below.kind.as_str() {
            "tmpfs" | "ramfs" | "devtmpfs" | "rootfs" => Kept::InMemory(below.kind.clone()),
            _ => Kept::OnDisk { read_only: mount.read_only },
        }
    }

    /// The file system at a path: the deepest mount point above it, and of several there the last.
    fn of(&self, path: &Path) -> Option<&Mount> {
        let above = self.0.iter().filter(|mount| path.starts_with(&mount.at));
        above.max_by_key(|mount| mount.at.components().count())
    }
}

fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ');
    let (at, flags) = (before.nth(4)?, before.next()?);
    let mut after = after.split(' ');
    let kind = after.next()?.to_owned();
    let options = after.nth(1).unwrap_or_default();
    let upper = options.split(',').find_map(|option| option.strip_prefix("upperdir="));
    let upper = upper.filter(|_| kind == "overlay").map(unescaped);
    let read_only = [flags, options].iter().any(|all| all.split(',').any(|option| option == "ro"));
    Some(Mount { at: unescaped(at), kind, upper, read_only })
}

/// A path as the kernel writes it there: blank, tab, newline and backslash as three octal digits.
fn unescaped(text: &str) -> PathBuf {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(text.to_owned(), |text, (code, char)| text.replace(code, char)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
22 21 0:20 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=806M,mode=755
23 21 0:31 / /var/lib/a\\040b rw - tmpfs tmpfs rw
24 21 8:2 / /data rw,relatime - ext4 /dev/sda2 ro
25 24 0:40 / /data rw - autofs systemd-1 rw
26 25 8:2 / /data ro,relatime - ext4 /dev/sda2 rw
27 21 0:50 / /over rw - overlay over rw,lowerdir=/ro,upperdir=/run/upper,workdir=/run/work
28 21 0:51 / /kept rw - overlay kept rw,lowerdir=/ro,upperdir=/var/upper,workdir=/var/work
29 21 0:52 / /hidden rw - overlay hidden rw,lowerdir=/ro,upperdir=/hidden/x,workdir=/y
30 21 0:53 / /live ro - overlay live ro,lowerdir=/ro:/ro2
odd line
";

    #[test]
    fn what_is_in_memory_is_told_from_what_is_on_a_disk() {
        let mounts = Mounts::parse(NODE);
        let memory = Kept::InMemory("tmpfs".into());
        let disk = |read_only| Kept::OnDisk { read_only };
        for (path, kept) in [
            ("/var/lib/kubelet", disk(false)),
            ("/run/edgekeep", memory.clone()),
            ("/runner", disk(false)),
            ("/var/lib/a b/c", memory.clone()),
            ("/data/x", disk(true)),
            ("/over/etc", memory),
            ("/kept/etc", disk(false)),
            ("/hidden/etc", Kept::Unknown),
            ("/live/etc", disk(true)),
        ] {
            assert_eq!(mounts.kept(Path::new(path)), kept, "{path}");
        }
        assert_eq!(Mounts::parse("").kept(Path::new("/")), Kept::Unknown);
    }
}
