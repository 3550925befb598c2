//! Looking without touching: the bindings and the use of the pools, for people and programs.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durable::fs::{Fs, Open};
use durable::journal::Journal;

use crate::binding::{Binding, Class, Identity, State, Why};
use crate::directory::{self, Directory, Entry};
use crate::error::{Attempt, Error};
use crate::table::Table;

/// What an address is held as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// By a running sandbox that edgekeep gave it to.
    Live,
    /// By a lease of another program.
    Foreign,
    /// For a pod that has no sandbox now.
    Parked,
    /// For a pod that is not expected back.
    Gone,
}

impl Held {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Held::Live => "live",
            Held::Foreign => "foreign",
            Held::Parked => "parked",
            Held::Gone => "gone",
        }
    }
}

/// One binding, or one lease that no binding covers yet.
#[derive(Debug, Clone)]
pub struct Row {
    /// The network.
    pub network: String,
    /// What is on record, or stands in the directory.
    pub binding: Binding,
    /// How it is held now.
    pub held: Held,
    /// Why, as a sentence without a full stop.
    pub why: String,
}

/// One network, as it stands.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its name.
    pub network: String,
    /// host-local's directory of it, as the last ADD had it.
    pub directory: PathBuf,
    /// Every binding and lease, by first address.
    pub rows: Vec<Row>,
    /// Use per family.
    pub usage: Vec<Usage>,
    /// Addresses given up because their range was changed.
    pub given_up: u64,
    /// Bindings that ended because another pod needed the address.
    pub reused: u64,
    /// What an operator should know.
    pub notes: Vec<String>,
    /// Where journal and directory contradict each other.
    pub contradictions: Vec<String>,
    ranges: Vec<(IpAddr, IpAddr)>,
}

impl Snapshot {
    /// First and last address of each range, as the last ADD had them.
    pub fn ranges(&self) -> &[(IpAddr, IpAddr)] {
        &self.ranges
    }

    /// Whether the network hands out this address.
    pub fn in_range(&self, address: IpAddr) -> bool {
        let inside = |(start, end): &(IpAddr, IpAddr)| {
            start.is_ipv4() == address.is_ipv4() && *start <= address && address <= *end
        };
        self.ranges.iter().any(inside)
    }
}

/// How full the pools of one family in one network are. Addresses, not bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Whether this is IPv4.
    pub v4: bool,
    /// How many can be handed out, gateways left out.
    pub size: u128,
    /// In use, foreign leases included.
    pub live: u128,
    /// Held for pods without a sandbox.
    pub parked: u128,
    /// Held for pods that are not expected back.
    pub gone: u128,
    /// Bound to nobody.
    pub free: u128,
}

/// The networks that have state, by name.
pub fn networks<F: Fs>(fs: &F, state: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let read = fs.read_dir(state, &mut |name| {
        names.push(name.to_owned());
        Ok(())
    });
    match read {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.attempt("read directory", state)?,
    }
    let mut failed = None;
    names.retain(|name| match fs.metadata(&state.join(name).join("journal")) {
        Ok(_) => true,
        Err(e) => {
            // One that may not be looked at is not one that is not there.
            failed = (e.kind() != io::ErrorKind::NotFound && e.kind() != io::ErrorKind::NotADirectory)
                .then_some(e);
            false
        }
    });
    if let Some(e) = failed {
        return Err(e).attempt("read", state);
    }
    names.sort();
    Ok(names)
}

/// One network as it stands now, waiting at most `wait` for a command that is under way.
pub fn snapshot<F: Fs>(
    fs: &F,
    state: &Path,
    network: &str,
    boot: &str,
    wait: Duration,
) -> Result<Snapshot, Error> {
    let dir = state.join(network);
    // The locks are taken in the order in which commands take them; which directory is the first, the journal says.
    let path = PathBuf::from(read(fs, &dir)?.network.directory);
    let directory = match fs.metadata(&path) {
        Ok(meta) if meta.dir => Some(Directory::lock(fs, &path, wait)?),
        _ => None,
    };
    let lock_path = dir.join("lock");
    let lock = fs.open(&lock_path, Open::Read).attempt("open", &lock_path)?;
    directory::take(&lock, &lock_path, wait)?;
    let table = read(fs, &dir)?;
    let mut rows: Vec<Row> = table
        .bindings
        .values()
        .map(|binding| Row {
            network: network.to_owned(),
            held: held(binding, boot),
            why: why(binding, boot),
            binding: binding.clone(),
        })
        .collect();
    let mut notes: Vec<String> = table
        .damaged
        .iter()
        .map(|span| format!("{} bytes of the journal at offset {} cannot be read", span.len, span.offset))
        .collect();
    let mut contradictions = Vec::new();
    if let Some(directory) = directory {
        for row in rows.iter().filter(|row| matches!(row.held, Held::Live | Held::Foreign)) {
            for address in &row.binding.addresses {
                let (container, ifname) = (&row.binding.container, row.binding.file_ifname());
                if !directory.is_held_by(*address, container, ifname)? {
                    contradictions.push(format!(
                        "{address} is live for {}, yet its lease file {} is not there or another's",
                        row.binding.identity,
                        directory.lease_path(*address).display()
                    ));
                }
            }
        }
        let found = strangers(&directory, &table)?;
        rows.extend(found.into_iter().map(|binding| Row {
            network: network.to_owned(),
            held: Held::Foreign,
            why: "a lease that another program made; taken over by the next command".to_owned(),
            binding,
        }));
    } else {
        notes.push(format!("{} is not there: leases of other programs cannot be seen", path.display()));
    }
    rows.sort_by_key(|row| row.binding.addresses.first().copied());
    let usage = [true, false].into_iter().filter_map(|v4| usage(&table, &rows, v4)).collect();
    Ok(Snapshot {
        network: network.to_owned(),
        directory: path,
        usage,
        rows,
        given_up: table.network.given_up,
        reused: table.network.reused,
        notes,
        contradictions,
        ranges: table.network.sets.iter().flatten().map(|range| (range.0, range.1)).collect(),
    })
}

fn held(binding: &Binding, boot: &str) -> Held {
    match binding.class(boot) {
        Class::Live if binding.foreign => Held::Foreign,
        Class::Live => Held::Live,
        Class::Parked | Class::Awaited => Held::Parked,
        Class::Gone => Held::Gone,
    }
}

fn why(binding: &Binding, boot: &str) -> String {
    let text = match (binding.class(boot), binding.why) {
        (_, Why::PodAwaited) => "its pod exists in the API server; held for it to come back",
        (_, Why::PodDeleted) => "the API server has no such pod any more",
        (Class::Awaited, _) => "the node was rebooted; held for the pod to come back",
        (_, Why::Added) => "its sandbox was given the address",
        (_, Why::Adopted) => "taken over from host-local",
        (_, Why::Deleted) => "the runtime removed its sandbox; held for the pod to come back",
        (_, Why::Collected) => "the runtime no longer names its sandbox (GC)",
        (_, Why::FileRemoved) => "another program removed its lease file",
        (_, Why::Replaced) => "its pod has another address by now",
        (_, Why::OpenYurt) => "taken over from OpenYurt's reservation; held for the pod",
    };
    text.to_owned()
}

fn read<F: Fs>(fs: &F, dir: &Path) -> Result<Table, Error> {
    match Journal::open_read(fs, dir)? {
        Some(mut journal) => Ok(Table::read(&mut journal)?),
        None => Err(io::Error::from(io::ErrorKind::NotFound)).attempt("open", &dir.join("journal")),
    }
}

/// Leases in the directory that the journal has not heard of.
fn strangers<F: Fs>(directory: &Directory<'_, F>, table: &Table) -> Result<Vec<Binding>, Error> {
    let mut found: Vec<Binding> = Vec::new();
    directory.each(|name| {
        let Entry::Lease(address) = Entry::of(name) else { return Ok(()) };
        let Some(Ok(owner)) = directory.owner(address)? else { return Ok(()) };
        if table.holder(address).is_some_and(|binding| owner.is_of(binding)) {
            return Ok(());
        }
        let since = directory.age(address)?.secs;
        found.push(Binding {
            identity: Identity::Container(owner.container.clone()),
            ifname: owner.ifname.clone(),
            addresses: vec![address],
            id_only: owner.ifname.is_empty(),
            container: owner.container,
            netns: String::new(),
            state: State::Live,
            why: Why::Adopted,
            boot: String::new(),
            since,
            since_up: 0,
            born: since,
            foreign: true,
        });
        Ok(())
    })?;
    Ok(found)
}

fn usage(table: &Table, rows: &[Row], v4: bool) -> Option<Usage> {
    let sets = table.network.sets.iter().filter(|set| set.iter().any(|range| range.0.is_ipv4() == v4));
    let ranges: Vec<_> = sets.flatten().collect();
    let contains = |range: &(IpAddr, IpAddr, Option<IpAddr>), address: IpAddr| {
        range.0.is_ipv4() == address.is_ipv4() && range.0 <= address && address <= range.1
    };
    if ranges.is_empty() {
        return None;
    }
    let size = ranges.iter().fold(0u128, |sum, range| {
        let span = crate::occupancy::number(range.1) - crate::occupancy::number(range.0);
        let gateway = range.2.is_some_and(|gateway| contains(range, gateway));
        sum.saturating_add(span.saturating_add(1).saturating_sub(u128::from(gateway)))
    });
    let count = |wanted: &[Held]| {
        let addresses =
            rows.iter().filter(|row| wanted.contains(&row.held)).flat_map(|row| &row.binding.addresses);
        addresses.filter(|address| ranges.iter().any(|range| contains(range, **address))).count() as u128
    };
    let (live, parked, gone) =
        (count(&[Held::Live, Held::Foreign]), count(&[Held::Parked]), count(&[Held::Gone]));
    Some(Usage { v4, size, live, parked, gone, free: size.saturating_sub(live + parked + gone) })
}
