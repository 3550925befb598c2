//! What may go wrong.

use view::{Limits, StreamId};

use crate::client::Client;
use crate::hub::{Feed, Hub, Stage};
use crate::oracle::Check;
use crate::world::World;

/// What may go wrong in a run.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    pub cuts: bool,
    pub kills: bool,
    pub power: bool,
    pub damage: bool,
    pub compactions: bool,
    pub restores: bool,
    pub revocations: bool,
    /// The history is short.
    pub short: bool,
}

impl Faults {
    pub fn none() -> Faults {
        Faults {
            cuts: false,
            kills: false,
            power: false,
            damage: false,
            compactions: false,
            restores: false,
            revocations: false,
            short: false,
        }
    }

    pub fn all() -> Faults {
        Faults {
            cuts: true,
            kills: true,
            power: true,
            damage: true,
            compactions: true,
            restores: true,
            revocations: true,
            short: true,
        }
    }
}

impl World {
    pub fn fault(&mut self) -> Check {
        let faults = self.faults;
        match self.rng.below(16) {
            0..5 => self.set_link(!self.link || !faults.cuts),
            5..7 if faults.cuts => {
                let ids: Vec<StreamId> = self.hub.feeds.keys().copied().collect();
                if !ids.is_empty() {
                    let (id, random) = (*self.rng.pick(&ids), self.rng.next_u64());
                    self.note("a stream breaks");
                    self.hub.break_stream(id, self.now, random);
                }
            }
            7..9 if faults.kills => self.kill(),
            9 if faults.power => {
                self.note("power cut");
                self.hub.disk.cut_power(&mut self.rng);
                self.clients.iter_mut().for_each(Client::forget);
                self.start();
            }
            10 if faults.damage => {
                let log = *self.rng.pick(&[view::Log::Keep, view::Log::Cache]);
                let key = self.hub.disk.damage(&mut self.rng, log);
                self.note(format!("a record of {log:?} goes bad: {key}"));
                // It may be the reservation of view RVs, and then the hub starts above all that it may have issued.
                self.hub.young = true;
                self.kill();
            }
            11 if faults.compactions => {
                self.note("compaction");
                self.cloud.compact();
            }
            12 if faults.restores => self.cloud.back_up(),
            13 if faults.restores && self.rng.chance(40) => self.restore_cloud()?,
            14 if faults.revocations => {
                let who = self.rng.pick(&["dns", "flannel", "app"]).to_string();
                self.note(format!("{who}'s rights are given or taken"));
                if !self.denied.remove(&who) {
                    self.denied.insert(who);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Etcd goes back, to a version far below what the hub has stored that it read: where the cloud has overtaken that
    /// before they meet, versions alone show nothing. So it does not go on by as much again before all is quiet.
    fn restore_cloud(&mut self) -> Check {
        if !self.link || self.was_restored || !self.cloud.has_backup() {
            return Ok(());
        }
        // How far a state was read is stored with the bookmark after it.
        for idle in [5000, 1] {
            self.cloud.idle(idle);
            let ids: Vec<StreamId> = self.hub.feeds.keys().copied().collect();
            for id in ids {
                for _ in 0..100 {
                    if !self.deliver(id)? {
                        break;
                    }
                }
            }
        }
        self.hub.write_everything();
        let revision = self.cloud.revision;
        let is_stored = |(id, feed): (&StreamId, &Feed)| {
            matches!(feed.stage, Stage::Follow(at) if at >= revision) && !self.hub.doubted.contains(id)
        };
        if self.hub.feeds.iter().any(is_stored) && self.cloud.restore() {
            self.note(format!("etcd is restored: {}", self.cloud.revision));
            self.was_restored = true;
            self.oracle.forget_versions();
            self.clients.iter_mut().for_each(Client::versions_began);
            self.hub.young = true;
            let ids: Vec<StreamId> = self.hub.feeds.keys().copied().collect();
            for id in ids {
                let random = self.rng.next_u64();
                self.hub.break_stream(id, self.now, random);
            }
        }
        Ok(())
    }

    pub fn set_link(&mut self, link: bool) {
        if self.link == link {
            return;
        }
        self.note(if link { "link comes" } else { "link goes" });
        self.link = link;
        if !link {
            let ids: Vec<StreamId> = self.hub.feeds.keys().copied().collect();
            for id in ids {
                let random = self.rng.next_u64();
                self.hub.break_stream(id, self.now, random);
            }
        }
        let random = self.rng.next_u64();
        self.hub.view.link(link, self.now, random);
    }

    pub fn kill(&mut self) {
        self.note("the hub is killed");
        self.hub.disk.kill();
        self.clients.iter_mut().for_each(Client::disconnected);
        self.start();
    }

    fn start(&mut self) {
        let (young, sabotage) = (self.hub.young, self.hub.sabotage);
        let limits = Limits::default();
        self.hub = Hub::start(self.hub.disk.clone(), sabotage, limits);
        self.hub.young = young;
        let random = self.rng.next_u64();
        self.hub.view.link(self.link, self.now, random);
    }
}
