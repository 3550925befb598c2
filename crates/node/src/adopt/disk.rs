//! Reading the node: where CNI configuration and plugins may stand, and what stands there.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cni::json::Json;
use durable::fs::{Fs, read};
use durable::os::OsFs;
use durable::place::is_volatile;

use crate::manifest::PROGRAM_LIMIT;

use super::plan::{BinDir, ConfFile, Facts, Held, Layout, understand};
use super::rules::{OURS, STOCK};
use super::text::member;
use super::undo::names_us;

/// Larger than any CNI configuration.
const CONF_LIMIT: usize = 1 << 20;
/// What libcni loads.
const ENDINGS: [&str; 3] = ["conf", "conflist", "json"];
/// What every one of our programs has in it, and no other.
const MARK: &[u8] = b"edgekeep";

/// Where to look and where to keep.
#[derive(Debug, Clone)]
pub struct Places {
    /// Directories that belong together.
    pub layouts: Vec<Dirs>,
    /// Where our plugin may lie; the first that is there is installed.
    pub plugin: Vec<PathBuf>,
    /// Where copies of what was changed are kept.
    pub backup: PathBuf,
    /// Where runtimes and plugins keep what they will call at DEL.
    pub saved: Vec<PathBuf>,
}

/// Directories that belong together.
#[derive(Debug, Clone, Default)]
pub struct Dirs {
    /// Configurations, each with whether a runtime reads it (and not another plugin).
    pub conf: Vec<(PathBuf, bool)>,
    /// Plugins.
    pub bin: Vec<PathBuf>,
    /// Whether the operator named the directories of plugins.
    pub bin_given: bool,
}

impl Places {
    /// The usual places below `root`: kubeadm, RKE2 and k0s; k3s; MicroK8s.
    pub fn usual(root: &Path) -> Places {
        let at = |path: &str| root.join(path);
        let layout = |conf: &[(&str, bool)], bin: &[&str]| Dirs {
            conf: conf.iter().map(|(path, runtime)| (at(path), *runtime)).collect(),
            bin: bin.iter().map(|path| at(path)).collect(),
            bin_given: false,
        };
        let snap = "var/snap/microk8s/current";
        Places {
            layouts: vec![
                layout(
                    &[
                        ("etc/cni/net.d", true),
                        ("var/lib/rancher/rke2/agent/etc/cni/net.d", true),
                        ("etc/cni/multus/net.d", false),
                    ],
                    &["opt/cni/bin", "usr/lib/cni", "usr/libexec/cni"],
                ),
                // Up to 1.30 the plugins lay in the directory of the release, which an upgrade changes.
                layout(
                    &[("var/lib/rancher/k3s/agent/etc/cni/net.d", true)],
                    &["var/lib/rancher/k3s/data/cni", "var/lib/rancher/k3s/data/current/bin"],
                ),
                layout(&[(&format!("{snap}/args/cni-network"), true)], &[&format!("{snap}/opt/cni/bin")]),
            ],
            plugin: vec![at("usr/libexec/edgekeep/edgekeep-ipam")],
            backup: at("var/lib/edgekeep/adopt/cni"),
            saved: ["flannel", "results", "multus"].map(|dir| at("var/lib/cni").join(dir)).to_vec(),
        }
    }

    /// The operator's word instead of the usual directories, where there is one.
    pub fn instead(mut self, conf: &[PathBuf], bin: &[PathBuf]) -> Places {
        if !conf.is_empty() {
            let all = self.layouts.iter().flat_map(|layout| layout.bin.clone()).collect();
            let conf = conf.iter().map(|dir| (dir.clone(), true)).collect();
            self.layouts = vec![Dirs { conf, bin: all, bin_given: false }];
        }
        if !bin.is_empty() {
            for layout in &mut self.layouts {
                (layout.bin, layout.bin_given) = (bin.to_vec(), true);
            }
        }
        self
    }

    /// Every directory of configurations, for messages.
    pub fn conf_dirs(&self) -> String {
        let dirs = self.layouts.iter().flat_map(|layout| &layout.conf);
        dirs.map(|(dir, _)| dir.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// The node's storage: [`Fs`] and what it leaves out, which tests stand in for.
pub struct Disk<'a, F: Fs> {
    /// What is read and written.
    pub fs: &'a F,
    /// The path without symbolic links.
    pub real: fn(&Path) -> io::Result<PathBuf>,
    /// The permissions of a file.
    pub mode: fn(&Path) -> io::Result<u32>,
    /// Sets the permissions of a file.
    pub chmod: fn(&Path, u32) -> io::Result<()>,
    /// Whether what is kept there is lost at a reboot.
    pub volatile: fn(&Path) -> bool,
}

impl Disk<'_, OsFs> {
    /// This machine's.
    pub fn machine() -> Disk<'static, OsFs> {
        Disk {
            fs: &OsFs,
            real: |path| std::fs::canonicalize(path),
            mode: |path| Ok(std::fs::metadata(path)?.permissions().mode() & 0o7777),
            chmod: |path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)),
            volatile: |path| path.ancestors().find(|dir| dir.is_dir()).is_some_and(is_volatile),
        }
    }
}

impl<F: Fs> Disk<'_, F> {
    /// Our plugin as it would be installed.
    pub fn plugin(&self, places: &Places) -> Result<Option<Vec<u8>>, String> {
        for path in &places.plugin {
            match read(self.fs, path, PROGRAM_LIMIT) {
                Ok(bytes) if holds(&bytes, MARK) => return Ok(Some(bytes)),
                Ok(_) => {
                    return Err(format!("{} is not edgekeep-ipam; name it with --plugin", path.display()));
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(format!("cannot read {}: {e}", path.display())),
            }
        }
        Ok(None)
    }

    /// What stands on the node; `plugin` is what would be installed.
    pub fn facts(&self, places: &Places, plugin: Option<&[u8]>) -> Result<Facts, String> {
        let mut known = BTreeSet::new();
        let mut layouts = Vec::new();
        for dirs in &places.layouts {
            let mut layout = Layout::default();
            for (dir, runtime) in &dirs.conf {
                self.conf_dir(dir, *runtime, &mut known, &mut layout.files)?;
                self.lists_continued(dir, &mut known, &mut layout.files)?;
            }
            for dir in &dirs.bin {
                let known: Vec<PathBuf> =
                    layout.bin_dirs.iter().map(|dir: &BinDir| dir.path.clone()).collect();
                layout.bin_dirs.extend(self.bin_dir(dir, dirs.bin_given, &known, plugin)?);
            }
            layouts.push(layout);
        }
        Ok(Facts { layouts })
    }

    fn conf_dir(
        &self,
        dir: &Path,
        runtime: bool,
        known: &mut BTreeSet<PathBuf>,
        files: &mut Vec<ConfFile>,
    ) -> Result<(), String> {
        let Some((dir, names)) = self.list(dir)? else { return Ok(()) };
        let ending =
            |name: &str| Path::new(name).extension().is_some_and(|e| ENDINGS.iter().any(|known| e == *known));
        let mut runtime = runtime;
        for name in names.iter().filter(|name| ending(name)) {
            let path = dir.join(name);
            if self.fs.metadata(&path).is_ok_and(|meta| meta.dir) {
                continue;
            }
            let file = self.conf_file(&path, &dir, runtime);
            runtime = false;
            if known.insert(file.path.clone()) {
                files.push(file);
            }
        }
        Ok(())
    }

    /// Since CNI 1.1 the plugins of a list may go on in `<network>/*.conf` beside it.
    fn lists_continued(
        &self,
        dir: &Path,
        known: &mut BTreeSet<PathBuf>,
        files: &mut Vec<ConfFile>,
    ) -> Result<(), String> {
        let list = |file: &&ConfFile| file.path.extension().is_some_and(|ending| ending == "conflist");
        let name = |file: &ConfFile| match member(&understand(file.content.as_ref().ok()?).ok()?, "name") {
            Ok(Some(Json::Str(name))) if !name.contains('/') && !name.starts_with('.') => Some(name.clone()),
            _ => None,
        };
        for network in files.iter().filter(list).filter_map(name).collect::<Vec<_>>() {
            self.conf_dir(&dir.join(network), false, known, files)?;
        }
        Ok(())
    }

    fn conf_file(&self, path: &Path, dir: &Path, runtime: bool) -> ConfFile {
        let file = |path: &Path, content| ConfFile {
            path: path.to_path_buf(),
            runtime,
            content,
            mode: (self.mode)(path).unwrap_or(0o644),
        };
        match (self.real)(path) {
            Ok(real) if real.parent() == Some(dir) => file(&real, self.conf(&real)),
            Ok(real) => {
                let real = real.display();
                file(
                    path,
                    Err(format!("it is a symbolic link to {real}; name that directory with --conf-dir")),
                )
            }
            Err(e) => file(path, Err(format!("it cannot be read: {e}"))),
        }
    }

    /// The content of one configuration, or why it is not touched.
    pub fn conf(&self, path: &Path) -> Result<Vec<u8>, String> {
        if !self.fs.metadata(path).is_ok_and(|meta| meta.file) {
            return Err("it is not a regular file".into());
        }
        read(self.fs, path, CONF_LIMIT).map_err(|e| match e.kind() {
            io::ErrorKind::FileTooLarge => format!("it is larger than {CONF_LIMIT} bytes"),
            _ => format!("it cannot be read: {e}"),
        })
    }

    fn bin_dir(
        &self,
        dir: &Path,
        given: bool,
        known: &[PathBuf],
        plugin: Option<&[u8]>,
    ) -> Result<Option<BinDir>, String> {
        let Some((path, names)) = self.list(dir)? else {
            return if given { Err(format!("{} is not a directory", dir.display())) } else { Ok(None) };
        };
        if known.contains(&path) {
            return Ok(None);
        }
        let held = |name: &str| {
            if names.contains(name) { self.held(&path.join(name), plugin) } else { Ok(Held::Absent) }
        };
        let (own, stock) = (held(OURS)?, held(STOCK)?);
        Ok(Some(BinDir { path, given, names, own, stock }))
    }

    /// What stands at this path.
    pub fn held(&self, path: &Path, plugin: Option<&[u8]>) -> Result<Held, String> {
        match read(self.fs, path, PROGRAM_LIMIT) {
            Ok(bytes) if holds(&bytes, MARK) => {
                Ok(Held::Ours { current: plugin.is_none_or(|plugin| plugin == bytes) })
            }
            Ok(_) => Ok(Held::Foreign),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Held::Absent),
            Err(e) => Err(format!("cannot read {}: {e}", path.display())),
        }
    }

    /// The names in a directory and its path without symbolic links; `None` if there is no such directory.
    fn list(&self, dir: &Path) -> Result<Option<(PathBuf, BTreeSet<String>)>, String> {
        let named = || -> io::Result<_> {
            let real = (self.real)(dir)?;
            let mut names = BTreeSet::new();
            self.fs.read_dir(&real, &mut |name| {
                names.insert(name.to_owned());
                Ok(())
            })?;
            Ok((real, names))
        };
        match named() {
            Ok(found) => Ok(Some(found)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(format!("cannot read {}: {e}; run this as root", dir.display())),
        }
    }

    /// Every directory that was looked into, for sweeping.
    pub fn dirs(&self, places: &Places) -> Vec<PathBuf> {
        let conf = places.layouts.iter().flat_map(|layout| layout.conf.iter().map(|(dir, _)| dir));
        let bin = places.layouts.iter().flat_map(|layout| &layout.bin);
        conf.chain(bin).chain([&places.backup]).filter_map(|dir| (self.real)(dir).ok()).collect()
    }

    /// Files in which something that will be called at DEL names our plugin.
    pub fn saved(&self, places: &Places) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for dir in &places.saved {
            let Ok(Some((dir, names))) = self.list(dir) else { continue };
            let files = names.iter().map(|name| dir.join(name));
            found.extend(
                files.filter(|path| read(self.fs, path, CONF_LIMIT).is_ok_and(|bytes| names_us(&bytes))),
            );
        }
        found
    }
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}
