//! What the virtual node starts from: a kernel of Debian's, and an initial file system of a handful of programs. All that
//! outlives a power cut is on the disk at /var/lib.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cpio::Archive;
use crate::cut::BLOCK;

/// The node's name in the cluster.
pub const NAME: &str = "edge-1";
/// The node's address, and that under which it reaches what listens on this machine's loopback.
pub const ADDRESS: &str = "169.254.77.1";
/// See [`ADDRESS`].
pub const OUTSIDE: &str = "169.254.77.2";
/// Where the hub listens on the node.
pub const HUB_PORT: u16 = 10461;
/// Where the plugin is on the node.
pub const PLUGIN: &str = "/opt/cni/bin/edgekeep-ipam";
/// Where the program `edgekeep` is on the node.
pub const EDGEKEEP: &str = "/usr/bin/edgekeep";

/// What the kernel of Debian's cloud image has as modules and the node needs, in the order of their needs.
const MODULES: [&str; 10] = [
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "drivers/block/virtio_blk.ko",
    "drivers/char/virtio_console.ko",
    "net/core/failover.ko",
    "drivers/net/net_failover.ko",
    "drivers/net/virtio_net.ko",
];
const INIT: &str = "#!/bin/busybox sh
export PATH=/bin
busybox mount -t devtmpfs dev /dev
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t tmpfs run /run
for module in $(busybox cat /modules/order); do busybox insmod /modules/$module; done
busybox ip link set lo up
busybox ip addr add 169.254.77.1/24 dev eth0
busybox ip link set eth0 up
# What nobody flushes reaches the disk soon, too, in any order and between the flushes of others.
echo 10 >/proc/sys/vm/dirty_writeback_centisecs
echo 20 >/proc/sys/vm/dirty_expire_centisecs
busybox mount -t ext4 -o commit=1 /dev/vda /var/lib || echo 'the disk cannot be mounted'
exec /bin/guest /dev/vport2p1
";
const DISK_BYTES: u64 = 96 << 20;

/// The files of the rig.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Directory into which a kernel package of Debian's was unpacked.
    pub kernel: PathBuf,
    /// The program `edgekeep`, static.
    pub edgekeep: PathBuf,
    /// The plugin, static.
    pub plugin: PathBuf,
    /// The program that obeys the rig inside, static.
    pub guest: PathBuf,
}

impl Parts {
    /// Takes the places from the environment, where `e2e/run` has put them.
    ///
    /// # Errors
    ///
    /// It has not.
    pub fn find() -> Result<Self> {
        let place = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .with_context(|| format!("{name} is not set; start e2e/run"))
        };
        Ok(Self {
            kernel: place("EDGEKEEP_GUEST_KERNEL")?,
            edgekeep: place("EDGEKEEP")?,
            plugin: place("EDGEKEEP_IPAM")?,
            guest: place("EDGEKEEP_GUEST")?,
        })
    }

    /// The kernel itself.
    ///
    /// # Errors
    ///
    /// There is not exactly one.
    pub fn vmlinuz(&self) -> Result<PathBuf> {
        only(&self.kernel.join("boot"), "vmlinuz-")
    }

    /// The initial file system, with `files` beside what every node has.
    ///
    /// # Errors
    ///
    /// A part cannot be read.
    pub fn initial(&self, files: &[(&str, String)]) -> Result<Vec<u8>> {
        let modules = only(&self.kernel.join("lib/modules"), "")?.join("kernel");
        let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let mut archive = Archive::new();
        for directory in [
            "bin",
            "dev",
            "etc",
            "etc/edgekeep",
            "etc/kubernetes",
            "modules",
            "opt",
            "opt/cni",
            "opt/cni/bin",
            "proc",
            "run",
            "sys",
            "tmp",
            "usr",
            "usr/bin",
            "var",
            "var/lib",
        ] {
            archive.directory(directory);
        }
        archive.file("init", INIT.as_bytes());
        archive.file("bin/busybox", &read(Path::new("/bin/busybox"))?);
        archive.file("bin/guest", &read(&self.guest)?);
        archive.file(EDGEKEEP, &read(&self.edgekeep)?);
        archive.file(PLUGIN, &read(&self.plugin)?);
        let mut order = String::new();
        for module in MODULES {
            let name = module.rsplit('/').next().unwrap_or(module);
            archive.file(&format!("modules/{name}"), &read(&modules.join(module))?);
            order.push_str(name);
            order.push('\n');
        }
        archive.file("modules/order", order.as_bytes());
        for (path, content) in files {
            archive.file(path, content.as_bytes());
        }
        Ok(archive.end())
    }
}

/// The one entry of a directory that begins so.
fn only(directory: &Path, start: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let names = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let begins =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start));
    let found: Vec<PathBuf> = names.filter(begins).collect();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        _ => bail!("{} entries {start}* in {}", found.len(), directory.display()),
    }
}

/// A new disk with an empty file system, made in `directory`.
///
/// # Errors
///
/// It cannot be made.
pub fn empty_disk(directory: &Path) -> Result<Vec<u8>> {
    let path = directory.join("empty.img");
    fs::File::create(&path)?.set_len(DISK_BYTES)?;
    let mut mkfs = Command::new("mkfs.ext4");
    let block = BLOCK.to_string();
    mkfs.args(["-q", "-F", "-b", &block, "-E", "lazy_itable_init=0,lazy_journal_init=0"]).arg(&path);
    let made = mkfs.output().context("cannot run mkfs.ext4")?;
    if !made.status.success() {
        bail!("mkfs.ext4: {}", String::from_utf8_lossy(&made.stderr));
    }
    Ok(fs::read(&path)?)
}
