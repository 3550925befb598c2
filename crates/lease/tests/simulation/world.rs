//! A machine with a container runtime on it: what a runtime may do with pods, sandboxes and the plugin.
//!
//! Every command is a process of its own. The runtime is as bad as real ones are: it forgets sandboxes, sends DEL
//! twice, late or never, and names only some of what runs to GC.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use cni::range::{Cidr, RangeSet, Spec};
use cni::retain::Policy;
use durable::fs::Fs;
use lease::boot::Marker;
use lease::{Binding, Error, Identity, Now, Places, Request, Store, Word, inspect};
use testkit::power_cut::{Fault, PowerCutFs};
use testkit::rng::Rng;

use crate::broken::{Broken, Sabotage};
use crate::oracle::{Check, Oracle, Violation, broken, files_are_the_live_leases, pod_of};
use crate::stock;

pub const IFNAME: &str = "eth0";
const NAMESPACE: &str = "default";
const STATE: &str = "/var/lib/edgekeep/ipam";
const RUN: &str = "/run/edgekeep/ipam";

/// Which program a sandbox was made with, or a command goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Ours,
    Stock,
}

/// A sandbox, as the runtime and the kernel know it.
#[derive(Debug, Clone)]
pub struct Sandbox {
    pub pod: String,
    pub container: String,
    pub netns: PathBuf,
    pub boot: u64,
    pub by: By,
    /// What the ADD was answered with; empty if it was not.
    pub addresses: Vec<IpAddr>,
    /// The runtime's present sandbox of the pod.
    pub current: bool,
    /// The runtime has begun to end it.
    pub ending: bool,
    /// A DEL of ours was answered with success.
    pub released: bool,
    /// Its lease was taken away under it by a GC that did not name it.
    pub exposed: bool,
    /// Stock host-local gave its address away after that.
    pub doubled: bool,
}

/// What is drawn once for a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Whether dataDir is emptied by every boot.
    pub data_in_memory: bool,
    /// Whether stock host-local takes turns with us.
    pub mixed: bool,
    /// Whether ranges are changed.
    pub ranges_change: bool,
    /// Whether processes die and disks fail in single commands.
    pub faults: bool,
    /// Whether something at boot leaves the marker that tells old lease files from new ones.
    pub marker: bool,
    pub sets: Vec<RangeSet>,
}

/// How a command ended.
#[derive(Debug)]
pub enum Outcome<T> {
    Done(T),
    Failed(Error),
    /// The process died, by itself or with the machine: nobody was answered.
    Died,
}

#[derive(Clone)]
pub struct World {
    pub disk: PowerCutFs,
    pub how: Sabotage,
    pub plan: Plan,
    pub rng: Rng,
    pub policy: Policy,
    pub places: Places,
    pub pods: Vec<String>,
    pub sandboxes: Vec<Sandbox>,
    pub oracle: Oracle,
    pub notes: Vec<String>,
    pub log: Vec<String>,
    /// What happens to the next command, and at which of its calls.
    pub fault: Option<(usize, Fault)>,
    /// Whether the last command died.
    pub died: bool,
    /// Whether any did.
    someone_died: bool,
    /// Pods whose home is known from a DEL alone, which is not flushed.
    learnt: BTreeSet<String>,
    /// Pods of which an older sandbox was ended after a newer one was told its addresses. Where both have a binding,
    /// the pod is at home where it was last heard of, which then is not where it was told last.
    two_homes: BTreeSet<String>,
    /// Whether something else than a finished command of ours changed the directory last around some boot.
    unsealed: bool,
    /// When the machine was booted, by the boot marker, which tells old files from new ones: if there is one, and the clock was
    /// never set.
    marked: Option<i64>,
    clock_was_set: bool,
    /// Whether the power was cut and nothing has been answered since.
    cut: bool,
    pub boots: u64,
    uptime: u64,
    serial: usize,
    /// Pods whose ADD is under way.
    acting: Vec<String>,
    /// Something happened since our last command was done that it could not have known of.
    pub dirty: bool,
    /// Disk faults make us write records again: the order of reuse can then not be told from outside.
    disorder: bool,
    /// Bits were flipped: what the journal forgot is no fault of the plugin.
    pub damaged: bool,
    /// Whether others had their turn between the last command's work and its answer, or the disk failed under it: its
    /// success does not say then how the directory stands.
    unsettled: bool,
    /// What the bindings were last read from, and what they were: reading them is most of the work of a run.
    read: Rc<RefCell<Read>>,
}

#[derive(Debug, Default, PartialEq)]
struct Source {
    journal: Vec<u8>,
    leases: Vec<(IpAddr, String)>,
    boot: String,
}

type Read = (Source, Vec<Binding>);

pub fn set(specs: &[(&str, Option<&str>, Option<&str>)]) -> RangeSet {
    let specs: Vec<Spec> = specs
        .iter()
        .map(|(subnet, start, end)| Spec {
            subnet: Cidr::parse(subnet),
            start: start.map(|text| text.parse().unwrap()),
            end: end.map(|text| text.parse().unwrap()),
            gateway: None,
        })
        .collect();
    RangeSet::new(&specs).unwrap()
}

impl Plan {
    pub fn draw(rng: &mut Rng) -> Plan {
        let mut sets =
            vec![set(&[("10.1.0.0/29", None, Some(*rng.pick(&["10.1.0.4", "10.1.0.5", "10.1.0.6"])))])];
        if rng.chance(30) {
            sets[0] = set(&[("10.1.0.0/30", None, None), ("10.2.0.0/29", None, Some("10.2.0.4"))]);
        }
        if rng.chance(50) {
            sets.push(set(&[("fd00::/125", None, Some(*rng.pick(&["fd00::4", "fd00::5", "fd00::7"])))]));
        }
        Plan {
            data_in_memory: rng.chance(50),
            mixed: rng.chance(35),
            ranges_change: rng.chance(15),
            faults: rng.chance(60),
            marker: rng.chance(50),
            sets,
        }
    }
}

impl World {
    pub fn new(seed: u64, how: Sabotage) -> World {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng);
        Self::with(plan, rng, how)
    }

    pub fn with(plan: Plan, rng: Rng, how: Sabotage) -> World {
        let disk = PowerCutFs::new();
        disk.volatile("/run").unwrap();
        disk.create_dir_all(Path::new("/var/lib/cni/networks"), 0o755).unwrap();
        disk.create_dir_all(Path::new("/var/lib/edgekeep"), 0o755).unwrap();
        disk.settle();
        let data = if plan.data_in_memory { "/run/cni/net" } else { "/var/lib/cni/networks/net" };
        let places = Places {
            data: data.into(),
            state: format!("{STATE}/net").into(),
            run: format!("{RUN}/net").into(),
            cni_cache: "/var/lib/cni/results".into(),
            network: "net".into(),
        };
        // More pods than the smallest pool has addresses, so that they compete.
        let pods = (0..6).map(|n| format!("{}-{n}", if n % 2 == 0 { "web" } else { "job" })).collect();
        World {
            disk,
            how,
            plan,
            rng,
            policy: Policy::default(),
            places,
            pods,
            sandboxes: Vec::new(),
            oracle: Oracle::default(),
            notes: Vec::new(),
            log: Vec::new(),
            fault: None,
            died: false,
            someone_died: false,
            learnt: BTreeSet::new(),
            two_homes: BTreeSet::new(),
            cut: false,
            unsealed: false,
            marked: None,
            clock_was_set: false,
            boots: 1,
            uptime: 10,
            serial: 0,
            acting: Vec::new(),
            dirty: true,
            disorder: false,
            damaged: false,
            unsettled: false,
            read: Rc::default(),
        }
    }

    /// The same machine once more, to try something on.
    pub fn fork(&self) -> World {
        World { disk: self.disk.fork(), ..self.clone() }
    }

    pub fn boot(&self) -> String {
        format!("boot-{}", self.boots)
    }

    fn now(&mut self) -> Now {
        self.uptime += 1;
        Now {
            boot: self.boot(),
            wall: self.disk.now().secs,
            uptime: self.uptime,
            entropy: self.rng.next_u64(),
        }
    }

    /// When the machine was booted, by its clock.
    fn booted_at(&self) -> i64 {
        self.disk.now().secs - self.uptime.cast_signed()
    }

    /// Whether a marker tells the age of files. It does not count once the clock goes otherwise than the time since the boot, as
    /// it does here: each command takes a second by one and none by the other.
    fn is_marked(&self) -> bool {
        self.marked.is_some_and(|booted_at| (self.booted_at() - booted_at).abs() <= 2)
    }

    pub fn stands(&self, netns: &Path) -> bool {
        self.disk.read(netns).is_ok()
    }

    /// Sandboxes that run, as far as the runtime has said nothing else.
    pub fn up(&self) -> Vec<&Sandbox> {
        self.sandboxes
            .iter()
            .filter(|s| s.boot == self.boots && !s.ending && !s.doubled && self.stands(&s.netns))
            .collect()
    }

    /// The bindings, as an operator sees them.
    pub fn rows(&self) -> Vec<Binding> {
        let fs = Broken { disk: self.disk.process(), how: self.how };
        let source = Source {
            journal: self.disk.read(fs.at(&self.places.state.join("journal"))).unwrap_or_default(),
            leases: stock::leases(&self.disk, &self.places.data),
            boot: self.boot(),
        };
        let mut read = self.read.borrow_mut();
        if source != read.0 {
            let view = inspect::snapshot(&fs, Path::new(STATE), "net", &source.boot, Duration::from_secs(1));
            let rows = view
                .map_or_else(|_| Vec::new(), |view| view.rows.into_iter().map(|row| row.binding).collect());
            *read = (source, rows);
        }
        read.1.clone()
    }

    /// Runs a command in a process of its own; between its work and its flush `meanwhile` others get their turn.
    pub fn command<T>(
        &mut self,
        meanwhile: usize,
        verb: impl FnOnce(&mut Store<'_, Broken>) -> Result<T, Error>,
    ) -> Result<Outcome<T>, Violation> {
        let fs = Broken { disk: self.disk.process(), how: self.how };
        let mut disk_fails = false;
        if let Some((n, fault)) = self.fault.take() {
            self.log(format!("  with {fault:?} at call {n}"));
            disk_fails = !matches!(fault, Fault::Death | Fault::DeathHalfway(_));
            self.disorder |= disk_fails;
            fs.disk.fail_after(n, fault);
        }
        let (now, places, policy, boots) = (self.now(), self.places.clone(), self.policy.clone(), self.boots);
        let mut flush = None;
        let mut result = match Store::open(&fs, &places, &now, &policy) {
            Err(e) => Err(e),
            Ok(mut store) => {
                let result = verb(&mut store);
                if !fs.disk.is_dead() {
                    let (owed, notes) = store.finish();
                    flush = owed;
                    self.notes.extend(notes);
                }
                result
            }
        };
        // Between its work and its flush, others find the directory settled, unless it died on the way.
        self.dirty |= fs.disk.is_dead();
        if meanwhile > 0 {
            fs.disk.clear_faults();
        }
        for _ in 0..meanwhile {
            self.step()?;
        }
        self.unsettled = meanwhile > 0 || disk_fails;
        self.died = boots != self.boots || fs.disk.is_dead();
        if self.died {
            (self.dirty, self.someone_died) = (true, true);
            return Ok(Outcome::Died);
        }
        if let (Ok(_), Some(flush)) = (&result, flush)
            && let Err(e) = flush.run()
        {
            result = Err(e);
        }
        self.died = fs.disk.is_dead();
        if self.died {
            (self.dirty, self.someone_died) = (true, true);
            return Ok(Outcome::Died);
        }
        fs.disk.clear_faults();
        Ok(result.map_or_else(Outcome::Failed, Outcome::Done))
    }

    /// Whether some ADD has not been answered yet.
    pub fn is_adding(&self) -> bool {
        !self.acting.is_empty()
    }

    pub fn log(&mut self, text: String) {
        self.log.push(text);
    }

    // --- what the runtime does ---

    /// Makes a sandbox for a pod.
    pub fn start(&mut self, pod: &str, by: By, meanwhile: usize) -> Check {
        self.serial += 1;
        let netns = PathBuf::from(format!("/run/netns/cni-{}", self.serial));
        self.disk.write(&netns, "").unwrap();
        self.sandboxes.push(Sandbox {
            pod: pod.to_owned(),
            container: format!("c{:05}", self.serial),
            netns,
            boot: self.boots,
            by,
            addresses: Vec::new(),
            current: true,
            ending: false,
            released: false,
            exposed: false,
            doubled: false,
        });
        let at = self.sandboxes.len() - 1;
        match by {
            By::Ours => self.add(at, meanwhile),
            By::Stock => {
                let (dir, sets) = (self.places.data.clone(), self.plan.sets.clone());
                let given = stock::add(&self.disk, &dir, &sets, &self.sandboxes[at].container, IFNAME);
                self.log(format!("stock ADD {} {pod}: {given:?}", self.sandboxes[at].container));
                self.dirty = true;
                // A pod made by stock host-local may have got any address; nothing is promised for it until a DEL
                // of ours told us whose it was.
                self.oracle.homes.remove(pod);
                let given = given.unwrap_or_default();
                // Stock host-local sees nothing but the lease files. Where the runtime's own word (GC) removed the file
                // of a sandbox that runs on, stock alone may hand its address out again, for it could not know; after
                // that the address has two users, whatever we do. For us there is no such excuse: we know the network
                // namespace.
                for other in &mut self.sandboxes {
                    other.doubled |=
                        other.exposed && other.addresses.iter().any(|address| given.contains(address));
                }
                self.sandboxes[at].addresses = given;
                self.oracle.no_address_twice(&self.up())
            }
        }
    }

    /// An ADD of ours for a sandbox, for the first time or again.
    pub fn add(&mut self, at: usize, meanwhile: usize) -> Check {
        let sandbox = self.sandboxes[at].clone();
        let pod = sandbox.pod.clone();
        let sets = self.plan.sets.clone();
        let request = Request {
            identity: identity(&pod),
            container: sandbox.container.clone(),
            ifname: IFNAME.to_owned(),
            netns: sandbox.netns.display().to_string(),
            requested: Vec::new(),
        };
        let before = self.rows();
        let bindings = before.iter().filter(|row| pod_of(row) == Some(&pod)).count();
        if self.two_homes.remove(&pod) && bindings > 1 {
            self.oracle.homes.remove(&pod);
        }
        let home = self.oracle.homes.get(&pod).cloned();
        let (may_run, plain) = (self.may_still_run(&pod, home.as_deref()), self.is_plain() && meanwhile == 0);
        let (reuse_is_plain, flushes) =
            (meanwhile == 0 && !self.dirty && !self.disorder, self.disk.all_flushes());
        let order = self.oracle.clone();
        self.acting.push(pod.clone());
        let outcome = self.command(meanwhile, |store| store.add(&request, &sets));
        let outcome = outcome?;
        self.log(format!("ADD {} {pod} (home {home:?}): {outcome:?}", sandbox.container));
        if let Outcome::Done(given) = &outcome
            && reuse_is_plain
        {
            let stands = |netns: &str| self.stands(Path::new(netns));
            // What the sandbox itself has already, by a lease of stock host-local, is nobody else's.
            let others: Vec<_> =
                before.iter().filter(|row| row.container != sandbox.container).cloned().collect();
            order.reuse_was_next(&others, &pod, given, &sets, &self.boot(), stands)?;
        }
        let done = self.audit(&outcome);
        self.acting.pop();
        let Outcome::Done(given) = outcome else { return done };
        let flushes = self.disk.all_flushes() - flushes;
        if !sandbox.addresses.is_empty()
            && sandbox.addresses != given
            && !sandbox.exposed
            && !self.plan.ranges_change
        {
            return broken("P1", format!("a repeated ADD of {sandbox:?} gave {given:?}"));
        }
        // Of two sandboxes of one pod, the one that asked first may be answered last: the pod was then told last of an address
        // that is not the later one's, which keeps its own.
        let is_its_own = sandbox.addresses == given;
        if let Some(home) = &home
            && !may_run
            && !is_its_own
            && self.oracle.homes.contains_key(&pod)
        {
            self.is_home(&pod, home, &given)?;
        }
        if plain {
            let known = before.iter().any(|row| pod_of(row) == Some(&pod) && row.addresses == given);
            let (least, most) = match known {
                // After a death it may not be on record that what was told is on the disk.
                true if home.as_ref() == Some(&given)
                    && !self.someone_died
                    && !self.learnt.contains(&pod) =>
                {
                    (0, 0)
                }
                true => (0, 1),
                false => (1, 1),
            };
            if flushes < least || flushes > most {
                return broken("flushes", format!("{flushes} flushes for an ADD of {pod}, known: {known}"));
            }
        }
        done?;
        if self.sandboxes[at].ending {
            // The runtime gave up on it while it was under way: the answer is for nobody.
            return Ok(());
        }
        // The same where the GC came while the ADD was under way.
        let by_stock =
            |s: &Sandbox| s.by == By::Stock && s.addresses.iter().any(|address| given.contains(address));
        self.sandboxes[at].doubled |= self.sandboxes[at].exposed && self.up().into_iter().any(by_stock);
        self.sandboxes[at].addresses.clone_from(&given);
        self.learnt.remove(&pod);
        self.oracle.homes.insert(pod, given);
        self.oracle.no_address_twice(&self.up())
    }

    /// P1 itself: address for address as before, but for those that are in no range any more.
    fn is_home(&self, pod: &str, home: &[IpAddr], given: &[IpAddr]) -> Check {
        for (set, given) in self.plan.sets.iter().zip(given) {
            let before = home.iter().find(|address| set.get(**address).is_some());
            if before.is_some_and(|before| before != given) && before.is_some() {
                return broken("P1", format!("{pod} had {home:?} and was given {given}"));
            }
        }
        Ok(())
    }

    /// Whether the pod's address may be in use by an older sandbox of it: design §5.5, last sentence. An ADD that
    /// nobody answered counts too: its network namespace still stands, and the plugin cannot know what became of it.
    fn may_still_run(&self, pod: &str, home: Option<&[IpAddr]>) -> bool {
        self.sandboxes.iter().any(|s| {
            let may_hold =
                s.addresses.is_empty() || home.is_none_or(|h| h.iter().any(|a| s.addresses.contains(a)));
            s.pod == pod
                && s.boot == self.boots
                && s.by == By::Ours
                && !s.released
                && may_hold
                && self.stands(&s.netns)
        })
    }

    /// Whether the next command meets a machine on which nothing was left half-done, and its flushes can be counted.
    /// (A failed flush makes a later command write the journal anew.)
    fn is_plain(&self) -> bool {
        let counted = !matches!(self.how, Sabotage::FlushLies | Sabotage::DirFlushLies);
        counted
            && !self.dirty
            && !self.disorder
            && self.fault.is_none()
            && self.disk.read(self.places.run.join("index")).is_ok()
    }

    /// The runtime ends a sandbox: DEL through the program `by`.
    pub fn del(&mut self, at: usize, by: By) -> Check {
        self.sandboxes[at].ending = true;
        let sandbox = self.sandboxes[at].clone();
        if by == By::Stock {
            stock::del(&self.disk, &self.places.data, &sandbox.container, IFNAME);
            self.log(format!("stock DEL {}", sandbox.container));
            self.dirty = true;
            return Ok(());
        }
        let newer = |s: &Sandbox| s.pod == sandbox.pod && !s.addresses.is_empty();
        if self.sandboxes[at + 1..].iter().any(newer) {
            self.two_homes.insert(sandbox.pod.clone());
        }
        let identity = identity(&sandbox.pod);
        let held = self.held(&sandbox);
        let (plain, flushes) = (self.is_plain(), self.disk.all_flushes());
        let armed = self.fault.is_some();
        let outcome = self.command(0, |store| store.del(&sandbox.container, IFNAME, Some(&identity)))?;
        self.log(format!("DEL {} {}: {outcome:?}", sandbox.container, sandbox.pod));
        self.audit(&outcome)?;
        match outcome {
            Outcome::Done(()) => {
                self.sandboxes[at].released = true;
                if plain && self.disk.all_flushes() != flushes {
                    return broken("flushes", format!("a DEL of {} flushed", sandbox.container));
                }
                if !armed && !self.held(&sandbox).is_empty() {
                    return broken("leak", format!("{:?} still has a file after DEL", sandbox));
                }
                let whole = sandbox.boot == self.boots && held.len() == self.plan.sets.len();
                // The pod's later sandbox, if it has one, is where it is at home.
                if sandbox.by == By::Stock && whole && !self.oracle.homes.contains_key(&sandbox.pod) {
                    self.learnt.insert(sandbox.pod.clone());
                    self.oracle.homes.insert(sandbox.pod, held);
                }
                Ok(())
            }
            Outcome::Failed(Error::Io { .. } | Error::Journal(_)) => {
                // As the plugin does; a disk that cannot even do that fails it.
                let fs = Broken { disk: self.disk.process(), how: self.how };
                let wait = self.policy.lock_timeout;
                let _ = lease::release_by_scan(&fs, &self.places.data, &sandbox.container, IFNAME, wait);
                self.dirty = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn held(&self, sandbox: &Sandbox) -> Vec<IpAddr> {
        let content = format!("{}\r\n{IFNAME}", sandbox.container);
        let leases = stock::leases(&self.disk, &self.places.data);
        leases.into_iter().filter(|(_, text)| *text == content).map(|(address, _)| address).collect()
    }

    /// GC, naming the runtime's present sandboxes but for those in `missing`.
    pub fn collect(&mut self, missing: &[usize]) -> Check {
        let known = |(at, s): &(usize, &Sandbox)| s.current && s.boot == self.boots && !missing.contains(at);
        let valid: Vec<(String, String)> = self
            .sandboxes
            .iter()
            .enumerate()
            .filter(known)
            .map(|(_, s)| (s.container.clone(), IFNAME.into()))
            .collect();
        let (plain, flushes) = (self.is_plain(), self.disk.all_flushes());
        for sandbox in &mut self.sandboxes {
            if sandbox.boot == self.boots && !valid.iter().any(|(id, _)| *id == sandbox.container) {
                sandbox.exposed = true;
                // Of a sandbox that stock host-local made no network namespace is on record: there the runtime's
                // word is all there is, and who is given its address by that word is not to blame.
                sandbox.ending |= sandbox.by == By::Stock;
            }
        }
        let outcome = self.command(0, |store| store.collect(&valid))?;
        self.log(format!("GC {valid:?}: {outcome:?}"));
        self.audit(&outcome)?;
        if plain && matches!(outcome, Outcome::Done(_)) && self.disk.all_flushes() != flushes {
            return broken("flushes", "a GC flushed");
        }
        Ok(())
    }

    /// The API server's word about the pods of bindings.
    pub fn heed(&mut self, said: &[(Binding, Word)]) -> Check {
        let outcome = self.command(0, |store| store.heed(said))?;
        self.log(format!("heed {} words: {outcome:?}", said.len()));
        self.audit(&outcome)
    }

    pub fn check(&mut self, at: usize) -> Check {
        let sandbox = self.sandboxes[at].clone();
        let sure =
            self.fault.is_none() && !sandbox.addresses.is_empty() && !sandbox.exposed && !sandbox.ending;
        let outcome = self.command(0, |store| store.check(&sandbox.container, IFNAME))?;
        self.log(format!("CHECK {}: {outcome:?}", sandbox.container));
        if sure && sandbox.boot == self.boots && matches!(outcome, Outcome::Failed(Error::NotFound)) {
            return broken("check", format!("CHECK does not find {sandbox:?}"));
        }
        self.audit(&outcome)
    }

    pub fn status(&mut self) -> Check {
        let sets = self.plan.sets.clone();
        let outcome = self.command(0, |store| store.status(&sets))?;
        self.log(format!("STATUS: {outcome:?}"));
        self.audit(&outcome)
    }

    /// What must be true after every command of ours, however it ended.
    fn audit<T>(&mut self, outcome: &Outcome<T>) -> Check {
        if let Outcome::Failed(error) = outcome {
            let known = matches!(error, Error::Exhausted { .. } | Error::NotFound);
            if !known && !self.disorder && !self.damaged {
                return broken("errors", format!("a command failed although nothing was wrong: {error}"));
            }
        }
        let (rows, boot) = (self.rows(), self.boot());
        if !self.damaged {
            let (acting, sandboxes, boots) = (&self.acting, &self.sandboxes, self.boots);
            let on_disk = !self.plan.data_in_memory;
            let ambiguous = on_disk && self.unsealed && !self.is_marked();
            // Who may have another's address: the pod whose ADD is under way, and a lease that stock host-local made;
            // also one of an earlier boot, whose file a power cut brought back (§5.7: unknown counts as live).
            let may_take = |row: &Binding| {
                let stock = |s: &Sandbox| s.by == By::Stock && s.container == row.container;
                // Where the last change of the directory before the boot was not a finished one of ours, and no
                // marker tells its age, a lease file without a record counts as live (§5.7), also one of ours, or
                // the beginning of one.
                let unknown =
                    |s: &Sandbox| s.boot < boots && ambiguous && s.container.starts_with(&row.container);
                pod_of(row).is_some_and(|pod| acting.iter().any(|other| other == pod))
                    || sandboxes.iter().any(|s| stock(s) || unknown(s))
            };
            let stand = self.oracle.homes_stand(&rows, &self.plan.sets, may_take);
            stand.map_err(|v| if self.cut { Violation { promise: "P3", ..v } } else { v })?;
        }
        self.oracle.observe(&rows);
        match outcome {
            Outcome::Done(_) if self.unsettled => self.dirty = true,
            Outcome::Done(_) => {
                (self.dirty, self.cut) = (false, false);
                if !self.damaged {
                    files_are_the_live_leases(&self.disk, &self.places.data, &rows, &boot)?;
                }
            }
            Outcome::Failed(Error::Exhausted { .. } | Error::NotFound) => {}
            _ => self.dirty = true,
        }
        self.oracle.no_address_twice(&self.up())
    }

    // --- what happens to the machine ---

    pub fn reboot(&mut self, cut: Option<u64>) {
        self.log(format!("reboot, power cut {cut:?}"));
        self.fault = None;
        match cut {
            Some(seed) => self.disk.power_cut(seed),
            None => self.disk.reboot_clean(),
        }
        self.unsealed |= self.dirty;
        (self.boots, self.uptime, self.dirty) = (self.boots + 1, 5, true);
        self.cut = cut.is_some();
        if self.cut {
            std::mem::take(&mut self.learnt).iter().for_each(|pod| drop(self.oracle.homes.remove(pod)));
        }
        // In its first seconds a directory may lose its lock file, and making that anew changes it too.
        self.unsealed |= self.disk.read(self.places.data.join("lock")).is_err();
        self.disk.advance(Duration::from_secs(30));
        self.marked = None;
        if self.plan.marker && !self.clock_was_set {
            let now = self.now();
            Marker::make(&self.disk.process(), Path::new(RUN), &now).unwrap();
            self.marked = Some(self.booted_at());
        }
        self.oracle.forget_order();
        self.sandboxes.iter_mut().for_each(|sandbox| sandbox.current = false);
    }

    pub fn clock(&mut self, seconds: i64) {
        let now = self.disk.now().secs.saturating_add(seconds).max(1000);
        self.disk.set_time(Duration::from_secs(now.unsigned_abs()));
        (self.marked, self.clock_was_set) = (None, true);
    }
}

pub fn identity(pod: &str) -> Identity {
    Identity::Pod { namespace: NAMESPACE.into(), name: pod.into(), uid: String::new() }
}
