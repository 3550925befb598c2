//! Whether the CNI gives pods their network after a reboot, and takes its addresses from us.

use std::collections::BTreeSet;
use std::path::Path;

use durable::fs::Fs;
use serde_json::Value;

use super::disk::{self, Needed};
use super::finding::{Area, Finding, Gravity};
use super::pod::{each, text};
use crate::adopt::disk::{Disk, Places};
use crate::adopt::plan::{ConfFile, Layout, plan};
use crate::adopt::rules::{As, Verdict};

const ADOPT: &str = "run `edgekeep adopt cni`";

/// What was found about the CNI.
#[derive(Debug, Default)]
pub struct Found {
    /// What there is to say.
    pub findings: Vec<Finding>,
    /// Whether pods have their addresses from us.
    pub ours: bool,
}

/// Looks at the CNI. `needed` says whether any pod of the node has a network of its own.
pub fn look<F: Fs>(
    cni: &Disk<'_, F>,
    places: &Places,
    root: &Path,
    disk: &disk::Disk<'_, F>,
    needed: bool,
) -> Found {
    let mut found = Found::default();
    let gravity = if needed { Gravity::Missing } else { Gravity::Note };
    let say = |gravity, what: String, why: String| Finding::new(Area::Cni, gravity, what, why);
    let facts = match cni.facts(places, None) {
        Ok(facts) => facts,
        Err(why) => {
            found.findings.push(say(Gravity::Unknown, "the CNI configuration".into(), why));
            return found;
        }
    };
    let used: Vec<(&Layout, &ConfFile)> = facts
        .layouts
        .iter()
        .filter_map(|layout| Some((layout, layout.files.iter().find(|file| file.runtime)?)))
        .collect();
    if used.is_empty() {
        let why = format!("there is none in {}: no pod gets a network", places.conf_dirs());
        let finding = say(gravity, "the CNI configuration".into(), why);
        found.findings.push(finding.to_do("put it there, or have the CNI's own pods put it there"));
    }
    for (layout, file) in used {
        let site = Site { layout, file, root, gravity };
        found.findings.extend(site.plugins());
        found.findings.extend(site.kept(disk));
    }
    let plan = plan(&facts, As::Auto);
    for file in plan.files.iter().filter(|file| file.runtime) {
        let has = |verdict| file.findings.iter().any(|finding| finding.verdict == verdict);
        let what = file.path.display().to_string();
        if has(Verdict::Change) {
            let why =
                "it takes its addresses from host-local: after a reboot pods come back with others".into();
            found.findings.push(say(gravity, what, why).to_do(ADOPT));
        } else if has(Verdict::Done) && !has(Verdict::Cannot) {
            found.ours = true;
        } else if needed {
            let texts: Vec<&str> = file.findings.iter().map(|finding| finding.text.as_str()).collect();
            let why = format!(
                "it takes its addresses from elsewhere, whatever that does offline: {}",
                texts.join("; ")
            );
            found.findings.push(say(Gravity::Unknown, what, why));
        }
    }
    found
}

/// The configuration that a runtime uses, and what belongs to it.
struct Site<'a> {
    layout: &'a Layout,
    file: &'a ConfFile,
    root: &'a Path,
    gravity: Gravity,
}

impl Site<'_> {
    /// The plugins that it names and that are not there.
    fn plugins(&self) -> Vec<Finding> {
        let what = self.file.path.display().to_string();
        let odd = |why: String| vec![Finding::new(Area::Cni, self.gravity, what.clone(), why)];
        let bytes = match &self.file.content {
            Ok(bytes) => bytes,
            Err(why) => return vec![Finding::new(Area::Cni, Gravity::Unknown, what, why.clone())],
        };
        let config: Value = match serde_json::from_slice(bytes) {
            Ok(config) => config,
            Err(e) => return odd(format!("it is no JSON ({e}): no pod gets a network")),
        };
        let missing = types(&config).into_iter().filter(|name| !self.dirs_of(name).any(|_| true));
        let finding = |name: &str| {
            let dirs: Vec<String> =
                self.layout.bin_dirs.iter().map(|dir| dir.path.display().to_string()).collect();
            let why = format!("{what} names it, and it is not in {}: no pod gets a network", dirs.join(", "));
            let to_do = match name {
                "edgekeep-ipam" => ADOPT,
                _ => "put the plugin there",
            };
            Finding::new(Area::Cni, self.gravity, format!("CNI plugin {name}"), why).to_do(to_do)
        };
        missing.map(finding).collect()
    }

    fn dirs_of<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Path> {
        let dirs = self.layout.bin_dirs.iter().filter(move |dir| dir.names.contains(name));
        dirs.map(|dir| dir.path.as_path())
    }

    /// What of it is not on a disk.
    fn kept<F: Fs>(&self, disk: &disk::Disk<'_, F>) -> Vec<Finding> {
        let on_node = |path: &Path| Path::new("/").join(path.strip_prefix(self.root).unwrap_or(path));
        let to_do = "have it on a disk: what is in memory is gone until the CNI's own pods bring it back";
        let mut needed = vec![Needed::read(on_node(&self.file.path), "the CNI configuration", to_do)];
        let bytes = self.file.content.as_deref().unwrap_or_default();
        let config: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let dirs: BTreeSet<&Path> = types(&config).iter().flat_map(|name| self.dirs_of(name)).collect();
        needed.extend(dirs.into_iter().map(|dir| Needed::read(on_node(dir), "CNI plugins", to_do)));
        let findings = disk.findings(needed).into_iter();
        // Where no pod has a network of its own, nobody misses it.
        let weighed = findings.map(|finding| Finding {
            area: Area::Cni,
            gravity: finding.gravity.max(self.gravity),
            ..finding
        });
        weighed.collect()
    }
}

/// The plugins that a configuration names, those that take its part included.
fn types(config: &Value) -> BTreeSet<&str> {
    let lists = each(config, "/plugins").chain(each(config, "/delegates"));
    let mut found: BTreeSet<&str> = lists.flat_map(types).collect();
    found.extend(config.get("delegate").map(types).unwrap_or_default());
    found.extend(["/type", "/ipam/type"].map(|pointer| text(config, pointer)));
    found.remove("");
    found
}
