//! A node at work, recorded: its disk as it was at first, all that reached it since, and all that was said meanwhile.

use std::cell::RefCell;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use testkit::rng::Rng;

use crate::diary::Diary;
use crate::disk::Entry;
use crate::kubelet::Kubelet;
use crate::machine::{Machine, Processor, Start};
use crate::world::{self, World};
use crate::{kubelet, load, node};

/// Whose flushes the kernel swallows: what the rig must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unflushed {
    /// Nobody's.
    Nobody,
    /// The plugin's.
    Plugin,
    /// The hub's.
    Hub,
}

impl Unflushed {
    /// Whether it is the plugin's.
    pub fn plugin(self) -> bool {
        self == Self::Plugin
    }

    /// Whether it is the hub's.
    pub fn hub(self) -> bool {
        self == Self::Hub
    }
}

/// A recording.
pub struct Recording {
    /// How a machine of it is started.
    pub start: Start,
    /// Its cloud, which does not lose power: cut off, but there.
    _world: World,
    /// The disk at first.
    pub base: Vec<u8>,
    /// What reached it.
    pub log: Vec<Entry>,
    /// What was said.
    pub diary: Diary,
    /// How long the log was when the work began.
    pub began: usize,
}

impl Recording {
    /// Has a new node work for a while, in `directory`, then takes its power away.
    ///
    /// # Errors
    ///
    /// The node does not do its work.
    pub async fn make(
        parts: &node::Parts,
        directory: &Path,
        processor: Processor,
        unflushed: Unflushed,
        rng: &mut Rng,
    ) -> Result<Self> {
        let mut world = World::start(rng).await?;
        let initial = directory.join("initial");
        std::fs::write(&initial, parts.initial(&world.files())?)
            .context("cannot write the initial file system")?;
        let (kernel, directory) = (parts.vmlinuz()?, directory.to_owned());
        let start = Start { kernel, initial, directory, processor, processors: 2 };
        let base = node::empty_disk(&start.directory)?;
        let machine = Machine::boot(&start, "recorded", base.clone()).await?;
        let mut target = kubelet::start_hub(&machine, false).await?;
        if unflushed.hub() {
            // What it makes at its first start is there: so that what is missed is what it was told later.
            kubelet::kill_hub(&machine).await?;
            machine.order(json!({"argv": ["/bin/busybox", "sync"]})).await?.success("sync")?;
            target = kubelet::start_hub(&machine, true).await?;
        }
        // What comes before the hub has shown anything is of little interest.
        Kubelet::connect(&machine, &target).await?.list().await?;
        let (began, diary) = (machine.disk.position(), RefCell::new(Diary::default()));
        let worked = load::work(&machine, &target, &mut world, &diary, unflushed, rng).await;
        worked.with_context(|| machine.says())?;
        let log = machine.disk.take_log();
        drop(machine);
        world::link(&world.cloud, false).await?;
        // Asked by one at a time, one is enough.
        let start = Start { processors: 1, ..start };
        Ok(Self { start, _world: world, base, log, diary: diary.into_inner(), began })
    }

    /// A position at which the power may be cut: anywhere, directly after something was promised, or with as much as possible
    /// under way, which is directly before a flush.
    pub fn position(&self, rng: &mut Rng) -> usize {
        let work = self.began..self.log.len();
        let flush = |at: &usize| self.log.get(*at) == Some(&Entry::Flush);
        let among: Vec<usize> = match rng.below(3) {
            0 => work.clone().collect(),
            1 => {
                let mut promises = self.diary.promises().to_vec();
                promises.retain(|positions| !positions.is_empty());
                if promises.is_empty() { Vec::new() } else { rng.pick(&promises).clone() }
            }
            _ => work.clone().filter(|at| flush(at) && !flush(&(at - 1))).collect(),
        };
        if among.is_empty() { work.end } else { (*rng.pick(&among)).min(work.end) }
    }
}
