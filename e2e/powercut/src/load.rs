//! A node at work: pods get addresses and give them back, the cloud changes, kubelet listens and writes, the link comes and
//! goes; all at once. What the node says meanwhile is noted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use testkit::cloud::Cloud;
use testkit::cloud::contract::client::Target;
use testkit::rng::Rng;
use tokio::time::Instant;

use crate::diary::{Begun, Diary, Place, Said, Shown};
use crate::kubelet::{self, Kubelet};
use crate::machine::Machine;
use crate::plugin::{self, ROOMY, TIGHT, TIGHT_SIZE};
use crate::proxy;
use crate::recording::Unflushed;
use crate::world::{self, Change, World};

/// So many runtimes call the plugin at once.
const RUNTIMES: usize = 4;
/// Names of pods that each of them knows, in the roomy network and in the tight one. In the tight one together they are
/// more than there are addresses, and those that run are fewer.
const NAMES: (u64, u64) = (30, 5);
const TIGHT_LIVE: usize = 3;
/// How long the link is whole and cut, in turns; at the end it is cut.
const LINK: [Duration; 4] =
    [Duration::from_secs(3), Duration::from_secs(4), Duration::from_secs(3), Duration::from_secs(3)];
/// So many writes are to be answered while the link is cut, before it is whole again: where the processor is slow, a turn is
/// longer, up to so long.
const STAGED: (usize, Duration) = (5, Duration::from_secs(60));
/// In how many of 100 of these turns the hub is killed.
const HUB_KILLED: u64 = 30;
/// Between two changes in the cloud, and between two writes of kubelet's; on average.
const CHANGES: Duration = Duration::from_millis(60);

/// What all who work on the node share.
struct Work<'a> {
    machine: &'a Machine,
    diary: &'a RefCell<Diary>,
    unflushed: Unflushed,
    /// Who has an address of a network: P2 while it runs.
    live: RefCell<BTreeMap<(String, String), Place>>,
    /// The node and its pods as kubelet knows them, by uid.
    shown: RefCell<BTreeMap<String, Shown>>,
    cut_off: Cell<bool>,
    /// How many writes were answered in this turn of the link.
    staged: Cell<usize>,
}

/// Works for as long as the link's turns take.
///
/// # Errors
///
/// The node does not do its work, or gives an address to two.
pub async fn work(
    machine: &Machine,
    target: &Target,
    world: &mut World,
    diary: &RefCell<Diary>,
    unflushed: Unflushed,
    rng: &mut Rng,
) -> Result<()> {
    let work = Work {
        machine,
        diary,
        unflushed,
        live: RefCell::default(),
        shown: RefCell::default(),
        cut_off: Cell::new(false),
        staged: Cell::new(0),
    };
    let (mut listener, mut writer) =
        (Kubelet::connect(machine, target).await?, Kubelet::connect(machine, target).await?);
    let hears = |said: Said| work.hear(said);
    let (cloud, world) = (Rc::clone(&world.cloud), RefCell::new(world));
    let [one, two, three, four] =
        std::array::from_fn::<_, RUNTIMES, _>(|number| work.runtime(number, rng.fork()));
    let (changes, writes) = (work.changes(&world, rng.fork()), work.writes(&mut writer, rng.fork()));
    let [services, endpoints] = proxy::SETS.map(|path| proxy::follow(target, path));
    tokio::select! {
        done = work.link(&cloud, rng.fork()) => done,
        failed = listener.follow(&hears) => failed,
        failed = async { tokio::try_join!(services, endpoints).map(|_| ()) } => failed,
        failed = async { tokio::try_join!(one, two, three, four, changes, writes).map(|_| ()) } => failed,
    }
}

impl Work<'_> {
    fn hear(&self, mut said: Said) {
        if let Said::Shown(object) = &mut said {
            // What is shown of a status that the cloud has may be forgotten; what was answered may not.
            object.round = 0;
        }
        match &said {
            Said::Shown(object) => drop(self.shown.borrow_mut().insert(object.uid.clone(), object.clone())),
            Said::Gone(uid) => drop(self.shown.borrow_mut().remove(uid)),
            _ => {}
        }
        self.diary.borrow_mut().hear(self.machine.disk.position(), said);
    }

    fn begin(&self, begun: Begun) {
        self.diary.borrow_mut().begin(self.machine.disk.position(), begun);
    }

    async fn link(&self, cloud: &Cloud, mut rng: Rng) -> Result<()> {
        for (turn, lasts) in LINK.iter().enumerate() {
            let whole = turn % 2 == 0;
            if whole {
                self.begin(Begun::Healed);
                self.cut_off.set(false);
            }
            world::link(cloud, whole).await?;
            self.staged.set(0);
            self.cut_off.set(!whole);
            // In the middle of a turn, at times: it goes on where it was.
            let before = lasts.mul_f64(0.5);
            tokio::time::sleep(before).await;
            if rng.chance(HUB_KILLED) {
                kubelet::kill_hub(self.machine).await?;
                kubelet::start_hub(self.machine, self.unflushed.hub()).await?;
            }
            tokio::time::sleep(*lasts - before).await;
            let end = Instant::now() + STAGED.1;
            while !whole && self.staged.get() < STAGED.0 && Instant::now() < end {
                tokio::time::sleep(kubelet::PAUSE).await;
            }
        }
        Ok(())
    }

    async fn changes(&self, world: &RefCell<&mut World>, mut rng: Rng) -> Result<()> {
        loop {
            pause(&mut rng).await;
            let mut world = world.borrow_mut();
            let change = world.next(&mut rng);
            if let Change::Remove(_, uid) = &change {
                self.begin(Begun::Deleted(uid.clone()));
            }
            world.carry_out(change);
        }
    }

    /// kubelet writes while the cloud cannot be reached: what is answered with success then is the hub's own promise.
    async fn writes(&self, kubelet: &mut Kubelet, mut rng: Rng) -> Result<()> {
        let mut round = 0;
        loop {
            pause(&mut rng).await;
            let objects: Vec<Shown> = self.shown.borrow().values().cloned().collect();
            if !self.cut_off.get() || objects.is_empty() {
                continue;
            }
            let object = rng.pick(&objects);
            let uid = object.uid.clone();
            if object.ending && rng.chance(50) {
                self.begin(Begun::Deleted(uid.clone()));
                if kubelet.delete(object).await && self.cut_off.get() {
                    self.hear(Said::Gone(uid));
                }
                continue;
            }
            round += 1;
            if kubelet.write(object, round).await && self.cut_off.get() {
                self.hear(Said::Staged { uid, round });
                self.staged.set(self.staged.get() + 1);
            }
        }
    }

    async fn runtime(&self, number: usize, mut rng: Rng) -> Result<()> {
        let mut running: BTreeMap<Place, String> = BTreeMap::new();
        let mut sandboxes = 0_u64;
        loop {
            let tight = rng.chance(30);
            let (network, names) = if tight { (TIGHT, NAMES.1) } else { (ROOMY, NAMES.0) };
            let pod = format!("r{number}-{}", rng.below(names));
            let place = Place { network: network.to_owned(), pod };
            if let Some(container) = running.remove(&place) {
                self.del(&place, &container).await?;
                continue;
            }
            let tight_ones = running.keys().filter(|place| place.network == TIGHT).count();
            if !tight || tight_ones < TIGHT_LIVE {
                sandboxes += 1;
                let container = format!("{number:02x}{sandboxes:062x}");
                self.add(&place, &container).await?;
                running.insert(place, container);
            }
        }
    }

    async fn add(&self, place: &Place, container: &str) -> Result<()> {
        let done = plugin::call(self.machine, "ADD", place, container, self.unflushed.plugin()).await?;
        let addresses = plugin::addresses(&done, place)?;
        for address in &addresses {
            let key = (place.network.clone(), address.clone());
            if let Some(other) = self.live.borrow_mut().insert(key, place.clone()) {
                bail!("{address} was given to {place} while {other} had it");
            }
        }
        self.diary.borrow_mut().hear(done.position, Said::Bound(place.clone(), addresses));
        Ok(())
    }

    async fn del(&self, place: &Place, container: &str) -> Result<()> {
        self.live.borrow_mut().retain(|_, holder| holder != place);
        if place.network == TIGHT {
            self.begin(Begun::Parked(place.clone()));
        }
        let done = plugin::call(self.machine, "DEL", place, container, self.unflushed.plugin()).await?;
        done.success(&format!("DEL of {place}")).map(drop)
    }
}

/// A moment, never the same.
async fn pause(rng: &mut Rng) {
    let most = u64::try_from(CHANGES.as_micros()).unwrap_or(u64::MAX).saturating_mul(2);
    tokio::time::sleep(Duration::from_micros(rng.below(most))).await;
}

/// The pods that run must fit the tight network, and the named ones must not.
const _: () = assert!(RUNTIMES * TIGHT_LIVE < TIGHT_SIZE && RUNTIMES * 5 > TIGHT_SIZE);
