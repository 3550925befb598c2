//! The course of a run: which steps follow each other, drawn from the seed.

use cni::range::RangeSet;
use durable::fs::{Fs, Open};
use lease::Word;
use testkit::power_cut::Fault;

use crate::oracle::{Check, broken, pod_of};
use crate::stock;
use crate::world::{By, Sandbox, World, set};

impl World {
    /// One step of the world.
    pub fn step(&mut self) -> Check {
        if self.plan.faults && self.fault.is_none() && self.rng.chance(15) {
            self.arm();
        }
        match self.rng.below(100) {
            0..35 => self.start_some(),
            35..55 => self.stop_some(),
            55..62 => self.late_del(),
            62..66 => self.forget(),
            66..70 => self.die(),
            70..74 => self.reap(),
            74..78 => self.gc(),
            78..82 => self.repeat(),
            82..85 => self.look(),
            85..90 => self.cut_or_reboot(),
            90..92 => self.jump(),
            92..94 => self.hurt_index(),
            94..96 => self.change_ranges(),
            96..97 => self.kill_stock(),
            97..99 => self.hear(),
            _ => self.wait(),
        }
    }

    fn arm(&mut self) {
        let n = self.rng.index(70);
        let fault = match self.rng.below(10) {
            0..4 => Fault::Death,
            4..7 => Fault::DeathHalfway(self.rng.next_u64()),
            7 => Fault::NoSpace,
            8 => Fault::ReadOnly,
            _ => Fault::FlushFails,
        };
        self.fault = Some((n, fault));
    }

    fn by(&mut self) -> By {
        if self.plan.mixed && self.rng.chance(35) { By::Stock } else { By::Ours }
    }

    fn some(&mut self, wanted: impl Fn(&World, &Sandbox) -> bool) -> Option<usize> {
        let all: Vec<usize> =
            (0..self.sandboxes.len()).filter(|at| wanted(self, &self.sandboxes[*at])).collect();
        if all.is_empty() { None } else { Some(*self.rng.pick(&all)) }
    }

    fn start_some(&mut self) -> Check {
        let idle: Vec<String> = self
            .pods
            .iter()
            .filter(|pod| !self.sandboxes.iter().any(|s| s.current && s.pod == **pod))
            .cloned()
            .collect();
        if idle.is_empty() {
            return self.repeat();
        }
        let pod = self.rng.pick(&idle).clone();
        // kubelet tells the runtime to end what is left of the pod before it makes the next sandbox; mostly.
        if self.rng.chance(70)
            && let Some(old) = self.some(|world, s| s.pod == pod && !s.released && s.boot != world.boots)
        {
            self.del(old, By::Ours)?;
        }
        let meanwhile = if self.rng.chance(10) { 1 + self.rng.index(2) } else { 0 };
        let by = self.by();
        self.start(&pod, by, meanwhile)
    }

    /// An orderly end, with the network namespace removed before or after the DEL.
    fn stop_some(&mut self) -> Check {
        let Some(at) = self.some(|_, s| s.current) else { return Ok(()) };
        self.sandboxes[at].current = false;
        self.sandboxes[at].ending = true;
        let netns = self.sandboxes[at].netns.clone();
        let before = self.rng.chance(50);
        if before {
            let _ = self.disk.remove(&netns);
        }
        let by = if self.rng.chance(20) { self.by() } else { self.sandboxes[at].by };
        self.del(at, by)?;
        if !before && self.rng.chance(80) {
            let _ = self.disk.remove(&netns);
        }
        // Of a Deployment the next pod has another name.
        let pod = self.sandboxes[at].pod.clone();
        if pod.starts_with("job") && self.rng.chance(50) {
            let fresh = format!("job-{}", 100 + self.sandboxes.len());
            self.pods.iter_mut().filter(|name| **name == pod).for_each(|name| name.clone_from(&fresh));
        }
        Ok(())
    }

    fn late_del(&mut self) -> Check {
        let Some(at) = self.some(|_, s| !s.current) else { return Ok(()) };
        // A runtime that sends DEL has ended the processes in the sandbox, whatever stands of its network namespace.
        self.sandboxes[at].ending = true;
        let by = self.by();
        self.del(at, by)
    }

    /// The runtime forgets a sandbox that runs on, and mostly makes the pod anew at once.
    fn forget(&mut self) -> Check {
        let Some(at) = self.some(|_, s| s.current && !s.addresses.is_empty()) else { return Ok(()) };
        self.sandboxes[at].current = false;
        let pod = self.sandboxes[at].pod.clone();
        self.log(format!("forgotten {}", self.sandboxes[at].container));
        if self.rng.chance(80) { self.start(&pod, By::Ours, 0) } else { Ok(()) }
    }

    /// A sandbox dies without a DEL.
    fn die(&mut self) -> Check {
        let Some(at) = self.some(|_, s| s.current) else { return Ok(()) };
        self.sandboxes[at].current = false;
        self.log(format!("died {}", self.sandboxes[at].container));
        let _ = self.disk.remove(self.sandboxes[at].netns.clone());
        Ok(())
    }

    /// A forgotten sandbox ends at last.
    fn reap(&mut self) -> Check {
        if let Some(at) = self.some(|world, s| !s.current && world.stands(&s.netns)) {
            self.log(format!("reaped {}", self.sandboxes[at].container));
            self.disk.remove(self.sandboxes[at].netns.clone()).unwrap();
        }
        Ok(())
    }

    fn gc(&mut self) -> Check {
        let missing = if self.rng.chance(40) { self.some(|_, s| s.current) } else { None };
        self.collect(missing.as_slice())?;
        // Who is not named is not the runtime's any more.
        missing.iter().for_each(|at| self.sandboxes[*at].current = false);
        Ok(())
    }

    /// Somebody has looked at the bindings, and says later which pods exist; now and then it is not even true.
    fn hear(&mut self) -> Check {
        let (rows, lies) = (self.rows(), self.rng.chance(30));
        let mut said = Vec::new();
        for row in rows {
            let exists = pod_of(&row).is_some_and(|pod| self.pods.iter().any(|known| known == pod));
            let exists = if lies { self.rng.chance(50) } else { exists };
            said.push((row, if exists { Word::Exists } else { Word::Deleted }));
        }
        if self.rng.chance(50) {
            self.start_some()?;
        }
        self.heed(&said)
    }

    fn repeat(&mut self) -> Check {
        match self.some(|_, s| s.current && !s.exposed && s.by == By::Ours) {
            Some(at) => self.add(at, 0),
            None => Ok(()),
        }
    }

    fn look(&mut self) -> Check {
        match self.some(|_, s| s.current && s.by == By::Ours) {
            Some(at) if self.rng.chance(50) => self.check(at),
            _ => self.status(),
        }
    }

    fn cut_or_reboot(&mut self) -> Check {
        let cut = self.rng.chance(60).then(|| self.rng.next_u64());
        self.reboot(cut);
        Ok(())
    }

    fn jump(&mut self) -> Check {
        let seconds = [-86_400, -30, -3, 3, 30, 86_400][self.rng.index(6)];
        self.log(format!("the clock jumps by {seconds} s"));
        self.clock(seconds);
        Ok(())
    }

    fn hurt_index(&mut self) -> Check {
        let path = self.places.run.join("index");
        if self.disk.read(&path).is_err() {
            return Ok(());
        }
        self.log("the index is hurt".to_owned());
        self.dirty = true;
        match self.rng.below(3) {
            0 => self.disk.remove(&path).unwrap(),
            1 => self.disk.truncate(&path, self.rng.clone().below(200)).unwrap(),
            _ => {
                let garbage = self.rng.bytes(200);
                use durable::fs::File as _;
                self.disk.process().open(&path, Open::Write).unwrap().write_at(&garbage, 0).unwrap();
            }
        }
        Ok(())
    }

    fn change_ranges(&mut self) -> Check {
        // What an ADD under way was given is judged by the ranges it was given it from.
        if !self.plan.ranges_change || self.is_adding() {
            return Ok(());
        }
        let one: RangeSet = match self.rng.below(3) {
            0 => set(&[("10.1.0.0/29", None, Some("10.1.0.5"))]),
            1 => set(&[("10.1.0.0/29", Some("10.1.0.3"), None)]),
            _ => set(&[("10.9.0.0/29", None, None), ("10.1.0.0/29", None, Some("10.1.0.3"))]),
        };
        self.log(format!("the first range set becomes {one}"));
        self.plan.sets[0] = one;
        Ok(())
    }

    fn kill_stock(&mut self) -> Check {
        if self.plan.mixed {
            self.log("stock host-local is killed while it makes a lease".to_owned());
            let (dir, sets) = (self.places.data.clone(), self.plan.sets.clone());
            stock::add_killed(&self.disk, &dir, &sets);
            self.dirty = true;
        }
        Ok(())
    }

    fn wait(&mut self) -> Check {
        self.disk.advance(std::time::Duration::from_secs(20));
        self.disk.settle();
        Ok(())
    }

    // --- the end of a run ---

    /// Every pod that was told addresses comes back, all at once: it gets them again.
    pub fn come_home(&mut self) -> Check {
        self.fault = None;
        let homes: Vec<String> = self.oracle.homes.keys().cloned().collect();
        for pod in homes {
            if self.sandboxes.iter().any(|s| s.pod == pod && s.current && s.boot == self.boots) {
                continue;
            }
            let known = self.oracle.homes.contains_key(&pod);
            self.start(&pod, By::Ours, 0)?;
            if known
                && self.sandboxes.last().is_some_and(|s| s.addresses.is_empty())
                && !self.plan.ranges_change
            {
                let standing =
                    self.sandboxes.iter().filter(|s| s.pod == pod && self.stands(&s.netns)).count();
                if standing < 2 && self.oracle.homes.contains_key(&pod) {
                    return broken("P1", format!("{pod} has a home and was refused"));
                }
            }
        }
        Ok(())
    }

    /// When everything was ended, every address can be handed out again.
    pub fn nothing_leaked(&mut self) -> Check {
        self.fault = None;
        self.disk.clear_faults();
        for at in 0..self.sandboxes.len() {
            self.sandboxes[at].current = false;
            let _ = self.disk.remove(self.sandboxes[at].netns.clone());
            if !self.sandboxes[at].released {
                self.del(at, By::Ours)?;
            }
        }
        self.reboot(None);
        self.collect(&[])?;
        let pools: Vec<usize> = self.plan.sets.iter().map(|set| stock::pool(set).len()).collect();
        let all = pools.iter().copied().min().unwrap_or(0);
        for n in 0..all {
            self.start(&format!("new-{n}"), By::Ours, 0)?;
            if self.sandboxes.last().is_some_and(|s| s.addresses.is_empty()) {
                let rows = self.rows();
                return broken("leak", format!("new pod {n} of {all} found nothing: {rows:?}"));
            }
        }
        Ok(())
    }
}
