//! Taking over what other programs left in host-local's directory.
//!
//! Whenever the directory does not bear our seal, somebody else changed it: stock host-local, OpenYurt's, a script, an
//! operator, or one of us that died half-way. What stands there is the truth about live leases; the journal is made to
//! agree with it. Nothing is freed on suspicion, nothing is leaked: a lease of nobody knows whom ends with this boot.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use cni::json::Json;
use durable::fs::{self, File, Fs, Open};
use durable::journal::{Journal, Seen};

use crate::binding::{Binding, Class, Identity, State, Why};
use crate::boot::Marker;
use crate::directory::{Entry, Owner};
use crate::error::Error;
use crate::record::{Network, Record};
use crate::store::Store;

/// How much later than its binding's last change a lease file may have been written and still be that binding's, in
/// seconds: both happen in one call, of a container that is no pod's.
const SAME_CALL: i64 = 5;
/// The interface of a pod whose lease does not say it: what every Kubernetes runtime uses.
const USUAL_IFNAME: &str = "eth0";
/// The largest result that libcni may have cached, in bytes.
const MAX_CACHED: usize = 256 * 1024;

impl<F: Fs> Store<'_, F> {
    /// Makes the journal agree with the directory.
    pub(crate) fn adopt(&mut self) -> Result<(), Error> {
        let sealed = self.directory.is_sealed()?;
        self.unseal();
        let marker = self.places.run.parent().and_then(|run| Marker::read(self.fs, run, self.now));
        let mut leases = Vec::new();
        let mut reservations = Vec::new();
        self.directory.each(|name| {
            match Entry::of(name) {
                Entry::Lease(address) => leases.push(address),
                Entry::Reservation(address, namespace, pod) => {
                    reservations.push((address, namespace, pod, name.to_owned()));
                }
                Entry::Other => {}
            }
            Ok(())
        })?;
        let before = self.journal.tail();
        let mut strangers = BTreeMap::new();
        // At our first call of a boot, if nobody but us had changed the directory, every lease in it is from an earlier
        // boot: a power cut may have taken its record, or brought the file back. The journal alone is no witness of that:
        // damaged, it may have lost what it knew of this boot, and with it which sandboxes run.
        let all_dead = sealed && self.first_call && self.is_first_of_boot()?;
        for address in leases {
            if all_dead && matches!(self.directory.owner(address)?, Some(Ok(_))) {
                self.directory.release(address)?;
            } else {
                self.adopt_lease(address, &mut strangers)?;
            }
        }
        self.drop_outlived(&mut strangers)?;
        for (address, owner) in strangers {
            self.take_over(address, &owner, marker.as_ref())?;
        }
        self.park_vanished()?;
        self.adopt_reservations(&reservations)?;
        if self.journal.tail() != before {
            self.need_flush();
        }
        let directory = self.places.data.display().to_string();
        let network = self.network()?;
        if network.directory != directory {
            self.commit(&Record::Network(Network { directory, ..network }))?;
        }
        self.consistent();
        Ok(())
    }

    /// Looks at one lease file; one that the journal does not account for joins `strangers`.
    fn adopt_lease(&mut self, address: IpAddr, strangers: &mut BTreeMap<IpAddr, Owner>) -> Result<(), Error> {
        let holder = self.by_address(address)?;
        let owner = match self.directory.owner(address)? {
            None => return Ok(()),
            Some(Err(content)) => return self.mend(address, holder, &content),
            Some(Ok(owner)) => owner,
        };
        if let Some((slot, binding)) = &holder
            && owner.is_of(binding)
        {
            if binding.class(&self.now.boot) == Class::Live {
                return Ok(());
            }
            if binding.boot != self.now.boot && self.is_leftover(address, binding)? {
                return self.directory.release(address);
            }
            // The file is back: stock host-local made it for the same container, or the directory came back.
            return self.set_state(*slot, binding, State::Live, Why::Adopted);
        }
        if let Some((_, binding)) = &holder
            && owner.is_cut_off(binding)
        {
            return self.mend(address, holder, &[]);
        }
        strangers.insert(address, owner);
        Ok(())
    }

    /// Whether the journal remembers earlier boots and nothing of this one.
    fn is_first_of_boot(&self) -> Result<bool, Error> {
        let (mut earlier, mut present) = (false, false);
        self.each_binding(|binding| {
            let ours = binding.boot == self.now.boot;
            (earlier, present) = (earlier || !ours, present || ours);
        })?;
        Ok(earlier && !present)
    }

    /// Removes lease files of pods' sandboxes from which the journal has since moved the address on: a process died
    /// before it could remove them, or a power cut brought them back. The id of a pod's sandbox never comes back, so
    /// nobody else can have made them. The journal is read whole for it, but only when there is a stranger.
    fn drop_outlived(&self, strangers: &mut BTreeMap<IpAddr, Owner>) -> Result<(), Error> {
        if strangers.is_empty() {
            return Ok(());
        }
        let mut outlived = Vec::new();
        self.each_binding(|binding| {
            if binding.pod().is_some() {
                let is_of =
                    |address: &&IpAddr| strangers.get(*address).is_some_and(|owner| owner.is_of(binding));
                outlived.extend(binding.addresses.iter().filter(is_of).copied());
            }
        })?;
        for address in outlived {
            let Some(owner) = strangers.get(&address) else { continue };
            // What is bound to that sandbox still, in whatever state, has not been moved on.
            if !self.by_address(address)?.is_some_and(|(_, binding)| owner.is_of(&binding)) {
                self.directory.release(address)?;
                strangers.remove(&address);
            }
        }
        Ok(())
    }

    /// Every binding that the journal has a record of, replaced ones too.
    fn each_binding(&self, mut each: impl FnMut(&Binding)) -> Result<(), Error> {
        let Some(mut journal) = Journal::open(self.fs, &self.places.state)? else { return Ok(()) };
        journal.scan(None, usize::MAX, |seen| {
            if let Seen::Record(_, bytes) = seen
                && let Some(Record::Bind { binding, .. }) = Record::decode(bytes)
            {
                each(&binding);
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Whether the lease file of a binding of an earlier boot is of that boot, too. The id of a pod's sandbox never comes
    /// back, so nobody can have made it since; of other containers the file's age tells.
    fn is_leftover(&self, address: IpAddr, binding: &Binding) -> Result<bool, Error> {
        Ok(binding.pod().is_some() || self.directory.age(address)?.secs <= binding.since + SAME_CALL)
    }

    /// A lease file whose content no host-local writes: cut off by a crash, or a stranger's.
    fn mend(&mut self, address: IpAddr, holder: Option<(u32, Binding)>, content: &[u8]) -> Result<(), Error> {
        let path = self.directory.lease_path(address);
        let live = holder.filter(|(_, binding)| binding.class(&self.now.boot) == Class::Live);
        if self.fs.metadata(&path).is_ok_and(|meta| !meta.file) {
            self.note(format!("{} is not a file: it was left alone; remove it", path.display()));
            return Ok(());
        }
        let kept = (!content.is_empty()).then(|| self.keep(address, content)).flatten();
        self.directory.release(address)?;
        let what = match live {
            Some((_, binding)) => {
                self.directory.claim(address, &binding.container, binding.file_ifname())?;
                format!("was written again for {}", binding.identity)
            }
            None => "was removed: nobody's".to_owned(),
        };
        let kept = kept.map_or_else(String::new, |path| format!("; its content is in {}", path.display()));
        self.note(format!("the lease file {} was not whole and {what}{kept}", path.display()));
        Ok(())
    }

    fn keep(&self, address: IpAddr, content: &[u8]) -> Option<PathBuf> {
        let path = self.places.state.join(format!("damaged-lease-{address}"));
        let file = self.fs.open(&path, Open::Create(0o600)).ok()?;
        file.set_len(0).and_then(|()| file.write_at(content, 0)).ok()?;
        Some(path)
    }

    /// A lease that the journal does not know.
    fn take_over(&mut self, address: IpAddr, owner: &Owner, marker: Option<&Marker>) -> Result<(), Error> {
        let age = self.directory.age(address)?;
        let dead = marker.is_some_and(|marker| marker.is_older(age, self.now));
        if dead {
            self.directory.release(address)?;
            if self.by_address(address)?.is_some() {
                // A dead sandbox of nobody knows whom takes nothing from a pod that may come back.
                return Ok(());
            }
        }
        self.trim_holder(address, owner)?;
        let boot = if dead { String::new() } else { self.now.boot.clone() };
        let known = self
            .by_container(&owner.container, &owner.ifname)?
            .filter(|(_, binding)| binding.foreign && binding.state == State::Live && binding.boot == boot);
        if let Some((slot, mut binding)) = known {
            if !binding.addresses.contains(&address) {
                binding.addresses.push(address);
                self.commit(&Record::Bind { slot, binding })?;
            }
            return Ok(());
        }
        let id_only = owner.ifname.is_empty();
        let ifname = if id_only { USUAL_IFNAME } else { &owner.ifname };
        let identity = self.cached_pod(owner, ifname);
        let binding = Binding {
            identity: identity.unwrap_or_else(|| Identity::Container(owner.container.clone())),
            ifname: ifname.to_owned(),
            addresses: vec![address],
            container: owner.container.clone(),
            id_only,
            netns: String::new(),
            state: State::Live,
            why: Why::Adopted,
            boot,
            since: age.secs,
            since_up: self.now.uptime,
            born: age.secs,
            foreign: true,
        };
        let slot = self.free_slot()?;
        let (identity, ifname) = (binding.identity.clone(), binding.ifname.clone());
        self.commit(&Record::Bind { slot, binding })?;
        if dead || !matches!(identity, Identity::Pod { .. }) {
            return Ok(());
        }
        // As if the ADD had come through us: this is where the pod is at home now.
        let mut others = self.of_identity(&identity, &ifname)?;
        others.retain(|(other, _)| *other != slot);
        self.retire(&others)
    }

    /// A live binding one of whose addresses another program has leased since (its ADD died half-way, or a script
    /// removed the file) keeps the others: their files are there, and its sandbox may run.
    fn trim_holder(&mut self, address: IpAddr, owner: &Owner) -> Result<(), Error> {
        let Some((slot, mut holder)) = self.by_address(address)? else { return Ok(()) };
        let live = holder.class(&self.now.boot) == Class::Live && !owner.is_of(&holder);
        if live && holder.addresses.len() > 1 {
            holder.addresses.retain(|other| *other != address);
            self.commit(&Record::Bind { slot, binding: holder })?;
        }
        Ok(())
    }

    /// Whose a container was, as libcni wrote it down when it made the attachment.
    fn cached_pod(&self, owner: &Owner, ifname: &str) -> Option<Identity> {
        let name = format!("{}-{}-{ifname}", self.places.network, owner.container);
        let bytes = fs::read(self.fs, &self.places.cni_cache.join(name), MAX_CACHED).ok()?;
        let Json::Object(cached) = Json::parse(&bytes).ok()? else { return None };
        let args = cached.into_iter().find(|(key, _)| key == "cniArgs")?.1;
        let Json::List(pairs) = args else { return None };
        let value = |wanted: &str| {
            pairs.iter().find_map(|pair| match pair {
                Json::List(words) => match words.as_slice() {
                    [Json::Str(key), Json::Str(value)] if key == wanted && !value.is_empty() => {
                        Some(value.clone())
                    }
                    _ => None,
                },
                _ => None,
            })
        };
        Some(Identity::Pod {
            namespace: value("K8S_POD_NAMESPACE")?,
            name: value("K8S_POD_NAME")?,
            uid: value("K8S_POD_UID").unwrap_or_default(),
        })
    }

    /// Live bindings whose lease file somebody removed are parked. The runtime may have sent a DEL through stock
    /// host-local; or a script swept the directory under running sandboxes, whose namespaces then still stand.
    fn park_vanished(&mut self) -> Result<(), Error> {
        for slot in self.slots(Class::Live)? {
            let Some(binding) = self.binding(slot)? else { continue };
            let mut there = Vec::new();
            for address in &binding.addresses {
                if self.directory.is_held_by(*address, &binding.container, binding.file_ifname())? {
                    there.push(*address);
                }
            }
            if there.len() == binding.addresses.len() {
                continue;
            }
            if binding.foreign && binding.netns.is_empty() && !there.is_empty() {
                // Of another program's sandbox nothing but its files tells whether it runs: it has what has one.
                self.commit(&Record::Bind { slot, binding: Binding { addresses: there, ..binding } })?;
                continue;
            }
            // A lease of ours that is there in part is a half-done change: what is left of it goes too.
            for address in there {
                self.directory.release(address)?;
            }
            // Nobody can ask for the address of a container of which only the id is known.
            let nobodys = binding.foreign && binding.pod().is_none();
            let parked = Binding {
                state: if nobodys { State::Gone } else { State::Parked },
                why: Why::FileRemoved,
                since: self.now.wall,
                since_up: self.now.uptime,
                ..binding
            };
            self.commit(&Record::Bind { slot, binding: parked })?;
        }
        Ok(())
    }

    /// OpenYurt's reservations say which pod an address is for; afterwards the journal says it.
    fn adopt_reservations(&mut self, found: &[(IpAddr, String, String, String)]) -> Result<(), Error> {
        if found.is_empty() {
            return Ok(());
        }
        for (address, namespace, pod, _) in found {
            let identity =
                Identity::Pod { namespace: namespace.clone(), name: pod.clone(), uid: String::new() };
            match self.by_address(*address)? {
                Some((slot, binding)) if binding.pod().is_none() => {
                    self.commit(&Record::Bind { slot, binding: Binding { identity, ..binding } })?;
                }
                // The journal knows better: the address has been another pod's since.
                Some(_) => {}
                None => self.reserve(*address, identity)?,
            }
        }
        // Only when it is safe in the journal may the old record go.
        self.flush_now()?;
        for (.., name) in found {
            self.directory.remove(&self.directory.path.join(name))?;
        }
        Ok(())
    }

    fn reserve(&mut self, address: IpAddr, identity: Identity) -> Result<(), Error> {
        let other_family = |binding: &Binding| {
            binding.why == Why::OpenYurt
                && binding.addresses.iter().all(|one| one.is_ipv4() != address.is_ipv4())
        };
        let half = self.of_identity(&identity, USUAL_IFNAME)?.into_iter().find(|(_, one)| other_family(one));
        if let Some((slot, mut binding)) = half {
            binding.addresses.push(address);
            return self.commit(&Record::Bind { slot, binding });
        }
        let binding = Binding {
            identity,
            ifname: USUAL_IFNAME.to_owned(),
            addresses: vec![address],
            container: String::new(),
            id_only: true,
            netns: String::new(),
            state: State::Parked,
            why: Why::OpenYurt,
            boot: self.now.boot.clone(),
            since: self.now.wall,
            since_up: self.now.uptime,
            born: self.now.wall,
            foreign: true,
        };
        self.commit(&Record::Bind { slot: self.free_slot()?, binding })
    }
}
