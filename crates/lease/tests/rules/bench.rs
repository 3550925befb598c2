//! One machine and one network, with a command per line.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cni::range::{Cidr, RangeSet, Spec};
use cni::retain::Policy;
use durable::fs::Fs;
use durable::journal::{Journal, Seen};
use lease::{Error, Identity, Now, Places, Request, Store, inspect};
use testkit::power_cut::PowerCutFs;

pub const STATE: &str = "/var/lib/edgekeep/ipam";
pub const DATA: &str = "/var/lib/cni/networks/net";
pub const CACHE: &str = "/var/lib/cni/results";
pub const RUN: &str = "/run/edgekeep/ipam";

pub struct Bench {
    pub disk: PowerCutFs,
    pub policy: Policy,
    pub sets: Vec<RangeSet>,
    pub boot: u64,
    pub uptime: u64,
    pub notes: Vec<String>,
    pub requested: Vec<IpAddr>,
    pub uid: String,
    pub ifname: String,
    entropy: u64,
}

pub fn set(subnet: &str, start: &str, end: &str) -> RangeSet {
    let (start, end) = (start.parse().ok(), end.parse().ok());
    RangeSet::new(&[Spec { subnet: Cidr::parse(subnet), start, end, gateway: None }]).unwrap()
}

pub fn ips(text: &str) -> Vec<IpAddr> {
    text.split(' ').map(|one| one.parse().unwrap()).collect()
}

impl Bench {
    /// A network with the addresses 10.1.0.2 up to this last one.
    pub fn up_to(last: u8) -> Bench {
        Bench::with(vec![set("10.1.0.0/24", "10.1.0.2", &format!("10.1.0.{last}"))])
    }

    pub fn with(sets: Vec<RangeSet>) -> Bench {
        let disk = PowerCutFs::new();
        disk.volatile("/run").unwrap();
        for dir in [DATA, CACHE] {
            disk.create_dir_all(Path::new(dir), 0o755).unwrap();
        }
        Bench {
            disk,
            policy: Policy::default(),
            sets,
            boot: 1,
            uptime: 100,
            notes: Vec::new(),
            requested: Vec::new(),
            uid: String::new(),
            ifname: "eth0".into(),
            entropy: 1,
        }
    }

    pub fn now(&mut self) -> Now {
        self.entropy += 1;
        Now {
            boot: format!("boot-{}", self.boot),
            wall: self.disk.now().secs,
            uptime: self.uptime,
            entropy: self.entropy,
        }
    }

    pub fn places(&self) -> Places {
        Places {
            data: DATA.into(),
            state: format!("{STATE}/net").into(),
            run: format!("{RUN}/net").into(),
            cni_cache: CACHE.into(),
            network: "net".into(),
        }
    }

    /// A command as a process of its own; what it was given to say is flushed.
    pub fn run<T>(
        &mut self,
        verb: impl FnOnce(&mut Store<'_, PowerCutFs>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (fs, now, places, policy) = (self.disk.process(), self.now(), self.places(), self.policy.clone());
        let mut store = Store::open(&fs, &places, &now, &policy)?;
        let result = verb(&mut store);
        let (flush, notes) = store.finish();
        self.notes.extend(notes);
        let value = result?;
        if let Some(flush) = flush {
            flush.run()?;
        }
        Ok(value)
    }

    pub fn pod(&self, name: &str) -> Identity {
        Identity::Pod { namespace: "default".into(), name: name.into(), uid: self.uid.clone() }
    }

    pub fn netns(container: &str) -> PathBuf {
        format!("/run/netns/{container}").into()
    }

    /// Makes a sandbox with a network namespace and asks for its addresses.
    pub fn try_add(&mut self, pod: &str, container: &str) -> Result<Vec<IpAddr>, Error> {
        self.disk.write(Self::netns(container), "").unwrap();
        let request = Request {
            identity: self.pod(pod),
            container: container.into(),
            ifname: self.ifname.clone(),
            netns: Self::netns(container).display().to_string(),
            requested: self.requested.clone(),
        };
        let sets = self.sets.clone();
        self.run(|store| store.add(&request, &sets))
    }

    pub fn add(&mut self, pod: &str, container: &str) -> Vec<IpAddr> {
        self.try_add(pod, container).unwrap()
    }

    pub fn add_one(&mut self, pod: &str, container: &str) -> String {
        self.add(pod, container)[0].to_string()
    }

    /// The sandbox ends in an orderly way.
    pub fn del(&mut self, pod: &str, container: &str) {
        let (identity, ifname) = (self.pod(pod), self.ifname.clone());
        self.run(|store| store.del(container, &ifname, Some(&identity))).unwrap();
        self.kill(container);
    }

    /// The sandbox's network namespace goes, without a DEL.
    pub fn kill(&self, container: &str) {
        let _ = self.disk.remove(Self::netns(container));
    }

    pub fn collect(&mut self, valid: &[&str]) -> usize {
        let valid: Vec<(String, String)> = valid.iter().map(|id| ((*id).into(), "eth0".into())).collect();
        self.run(|store| store.collect(&valid)).unwrap()
    }

    pub fn status(&mut self) -> Result<(), Error> {
        let sets = self.sets.clone();
        self.run(|store| store.status(&sets))
    }

    pub fn reboot(&mut self) {
        self.disk.reboot_clean();
        self.disk.advance(Duration::from_secs(30));
        (self.boot, self.uptime) = (self.boot + 1, 10);
    }

    /// Puts other records where the journal has these.
    pub fn rewrite_journal(&self, change: impl Fn(&mut [u8])) {
        let state = Path::new(STATE).join("net");
        let mut journal = Journal::open(&self.disk, &state).unwrap().unwrap();
        let mut records = Vec::new();
        let keep = |seen: Seen<'_>| {
            let Seen::Record(_, record) = seen else { panic!("{seen:?}") };
            records.push(record.to_vec());
            Ok(())
        };
        assert!(journal.scan(None, usize::MAX, keep).unwrap());
        let written = Journal::replace(&self.disk, &state, 7, |writer| {
            records.iter_mut().try_for_each(|record| {
                change(record);
                writer.add(record)
            })
        });
        written.unwrap();
        self.disk.settle();
    }

    pub fn wait(&mut self, seconds: u64) {
        self.disk.advance(Duration::from_secs(seconds));
        self.uptime += seconds;
    }

    /// A lease as stock host-local writes it.
    pub fn stock_lease(&self, address: &str, content: &str) {
        self.disk.write(Path::new(DATA).join(address), content).unwrap();
    }

    pub fn file(&self, name: &str) -> Option<String> {
        let bytes = self.disk.read(Path::new(DATA).join(name)).ok()?;
        Some(String::from_utf8(bytes).unwrap())
    }

    pub fn view(&self) -> inspect::Snapshot {
        let boot = format!("boot-{}", self.boot);
        inspect::snapshot(&self.disk.process(), Path::new(STATE), "net", &boot, Duration::from_secs(1))
            .unwrap()
    }

    /// How an address is held, for whom.
    pub fn held(&self, address: &str) -> (String, String) {
        let address: IpAddr = address.parse().unwrap();
        let rows = self.view().rows;
        let row = rows.iter().find(|row| row.binding.addresses.contains(&address));
        row.map_or_else(Default::default, |row| (row.held.as_str().into(), row.binding.identity.to_string()))
    }
}

pub fn held(state: &str, by: &str) -> (String, String) {
    (state.into(), by.into())
}
