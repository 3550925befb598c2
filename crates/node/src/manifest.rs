//! What was changed and how it was before: `manifest.json` and the copies beside it.
//!
//! ```json
//! { "version": 1, "entries": [
//!     { "path": "/etc/cni/net.d/10-x.conflist", "before": "1-10-x.conflist", "after": "2-10-x.conflist", "mode": "0644" },
//!     { "path": "/opt/cni/bin/edgekeep-ipam", "before": null, "after": null, "mode": "0755" } ] }
//! ```
//!
//! `before` and `after` name copies in the same directory; `before` is null where nothing stood, `after` for programs,
//! which are known by what is in them. Invariant: an entry is durable, with its copies, before what it is about changes;
//! and it says how that was directly before our last change.

use std::io;
use std::path::{Path, PathBuf};

use cni::json::Json;
use durable::fs::{Fs, read};
use durable::place::replace_file;

/// The file's name.
const NAME: &str = "manifest.json";
/// What we write and read.
const VERSION: i64 = 1;
/// Larger than any that we write.
const LIMIT: usize = 1 << 20;
/// Larger than any plugin.
pub const PROGRAM_LIMIT: usize = 256 << 20;

/// What was changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// One for each path.
    pub entries: Vec<Entry>,
}

/// One changed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub path: PathBuf,
    /// The copy of what it was.
    pub before: Option<String>,
    /// The copy of what it became.
    pub after: Option<String>,
    /// The permissions it had.
    pub mode: u32,
}

impl Manifest {
    /// Reads the manifest of this directory; an empty one if there is none. Errors name the file and what to do.
    pub fn load<F: Fs>(fs: &F, dir: &Path) -> Result<Manifest, String> {
        let path = dir.join(NAME);
        let bytes = match read(fs, &path, LIMIT) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Manifest::default()),
            Err(e) => return Err(format!("cannot read {}: {e}", path.display())),
        };
        Manifest::parse(&bytes).map_err(|why| {
            format!(
                "{} cannot be used: {why}; what it says is needed to restore files exactly, so look at the copies beside \
                 it before you move it aside",
                path.display()
            )
        })
    }

    fn parse(bytes: &[u8]) -> Result<Manifest, String> {
        let json = Json::parse(bytes)?;
        match field(&json, "version") {
            Some(Json::Int(VERSION)) => {}
            Some(Json::Int(version)) => {
                return Err(format!("it has version {version}, this edgekeep knows {VERSION}"));
            }
            _ => return Err("it has no version".into()),
        }
        let Some(Json::List(items)) = field(&json, "entries") else { return Err("it has no entries".into()) };
        let entries: Option<Vec<Entry>> = items.iter().map(entry).collect();
        Ok(Manifest { entries: entries.ok_or("an entry is not understood")? })
    }

    /// Writes it, durably.
    pub fn store<F: Fs>(&self, fs: &F, dir: &Path) -> io::Result<()> {
        let member = |key: &str, value| (key.to_owned(), value);
        let name = |name: &Option<String>| name.as_deref().map_or(Json::Null, Json::text);
        let entries = self.entries.iter().map(|entry| {
            Json::Object(vec![
                member("path", Json::text(&entry.path.to_string_lossy())),
                member("before", name(&entry.before)),
                member("after", name(&entry.after)),
                member("mode", Json::text(&format!("{:04o}", entry.mode))),
            ])
        });
        let all = Json::Object(vec![
            member("version", Json::Int(VERSION)),
            member("entries", Json::List(entries.collect())),
        ]);
        replace_file(fs, &dir.join(NAME), format!("{}\n", all.to_pretty()).as_bytes(), 0o600)
    }

    /// Removes it, durably; its copies are swept later.
    pub fn remove<F: Fs>(fs: &F, dir: &Path) -> io::Result<()> {
        match fs.remove_file(&dir.join(NAME)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.and_then(|()| fs.sync_dir(dir)),
        }
    }

    /// The entry of this path.
    pub fn entry(&self, path: &Path) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.path == path)
    }

    /// Puts an entry in place of the one of the same path.
    pub fn set(&mut self, entry: Entry) {
        self.entries.retain(|old| old.path != entry.path);
        self.entries.push(entry);
    }

    /// Keeps a copy in this directory, which is there, durably, and says its name.
    pub fn keep<F: Fs>(fs: &F, dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<String> {
        let mut taken = 0;
        fs.read_dir(dir, &mut |name| {
            taken = taken.max(number(name).unwrap_or(0));
            Ok(())
        })?;
        let name = format!("{}-{}", taken + 1, path.file_name().unwrap_or_default().to_string_lossy());
        replace_file(fs, &dir.join(&name), bytes, 0o600)?;
        Ok(name)
    }

    /// Reads a copy.
    pub fn copy<F: Fs>(fs: &F, dir: &Path, name: &str) -> io::Result<Vec<u8>> {
        read(fs, &dir.join(name), PROGRAM_LIMIT)
    }

    /// Removes the copies that no entry names.
    pub fn sweep<F: Fs>(&self, fs: &F, dir: &Path) -> io::Result<()> {
        let mut stale = Vec::new();
        fs.read_dir(dir, &mut |name| {
            let named = |copy: &Option<String>| copy.as_deref() == Some(name);
            if number(name).is_some() && !self.entries.iter().any(|e| named(&e.before) || named(&e.after)) {
                stale.push(name.to_owned());
            }
            Ok(())
        })?;
        stale.iter().try_for_each(|name| fs.remove_file(&dir.join(name)))
    }
}

/// The number with which the name of a copy begins.
fn number(name: &str) -> Option<u64> {
    name.split_once('-')?.0.parse().ok()
}

fn field<'a>(json: &'a Json, key: &str) -> Option<&'a Json> {
    let Json::Object(members) = json else { return None };
    members.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

fn entry(json: &Json) -> Option<Entry> {
    let name = |key| match field(json, key)? {
        Json::Null => Some(None),
        // A copy lies beside the manifest and nowhere else.
        Json::Str(name) if !name.contains('/') => Some(Some(name.clone())),
        _ => None,
    };
    let (Some(Json::Str(path)), Some(Json::Str(mode))) = (field(json, "path"), field(json, "mode")) else {
        return None;
    };
    let mode = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777)?;
    Some(Entry { path: path.into(), before: name("before")?, after: name("after")?, mode })
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::power_cut::PowerCutFs;

    #[test]
    fn what_was_stored_is_read_again() {
        let (fs, dir) = (PowerCutFs::new(), Path::new("/k"));
        fs.write("/k/lock", b"").unwrap();
        let name = Manifest::keep(&fs, dir, Path::new("/etc/x.conf"), b"old").unwrap();
        let entry = Entry { path: "/etc/x.conf".into(), before: Some(name), after: None, mode: 0o640 };
        let manifest = Manifest { entries: vec![entry] };
        manifest.store(&fs, dir).unwrap();
        assert_eq!(Manifest::load(&fs, dir).unwrap(), manifest);
        assert_eq!(Manifest::copy(&fs, dir, "1-x.conf").unwrap(), b"old");
    }

    #[test]
    fn one_that_is_not_understood_is_refused_by_name() {
        let fs = PowerCutFs::new();
        for (text, why) in [("{", "EOF"), (r#"{"version":2}"#, "version 2"), (r#"{"version":1}"#, "entries")]
        {
            fs.write("/k/manifest.json", text).unwrap();
            let error = Manifest::load(&fs, Path::new("/k")).unwrap_err();
            assert!(error.contains("/k/manifest.json") && error.contains(why), "{error}");
        }
        let outside =
            br#"{"version":1,"entries":[{"path":"/a","before":"../b","after":null,"mode":"0644"}]}"#;
        assert!(Manifest::parse(outside).is_err());
    }
}
