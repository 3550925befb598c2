//! The world of a run: what happens next, and what must be true when nothing happens any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use testkit::rng::Rng;
use view::{Answer, Ask, Asked, Frame, Identity, Key, Limits, Listing, Next, ResourceId, Scope, StreamId};
use wire::request::GetOptions;

use crate::Sabotage;
use crate::client::Client;
use crate::cloud::{Cloud, Place};
use crate::disk::Disk;
use crate::faults::Faults;
use crate::hub::{Hub, rv};
use crate::oracle::{Check, Got, Oracle, broken};

pub struct World {
    pub rng: Rng,
    pub now: Duration,
    pub faults: Faults,
    pub cloud: Cloud,
    pub link: bool,
    /// Whether etcd was restored since all was quiet.
    pub was_restored: bool,
    pub hub: Hub,
    pub clients: Vec<Client>,
    /// Who may not read at the moment what they may read otherwise.
    pub denied: BTreeSet<String>,
    pub oracle: Oracle,
    pub log: Vec<String>,
}

fn pods() -> ResourceId {
    ResourceId::new("", "v1", "pods", "")
}

fn services() -> ResourceId {
    ResourceId::new("", "v1", "services", "")
}

fn slices() -> ResourceId {
    ResourceId::new("discovery.k8s.io", "v1", "endpointslices", "")
}

fn claims() -> ResourceId {
    ResourceId::new("", "v1", "persistentvolumeclaims", "")
}

fn scope(namespace: &str, labels: &str, fields: &str) -> Scope {
    Scope { namespace: namespace.into(), labels: labels.parse().unwrap(), fields: fields.parse().unwrap() }
}

/// Who may read what.
fn rights() -> Vec<(&'static str, ResourceId, Scope)> {
    vec![
        ("kubelet", pods(), scope("", "", "spec.nodeName=n1")),
        ("flannel", pods(), scope("", "", "")),
        ("dns", pods(), scope("", "", "status.phase!=Succeeded")),
        ("app", pods(), scope("a", "", "")),
        ("kubelet", services(), scope("", "", "")),
        ("proxy", services(), scope("", "!headless", "")),
        ("app", services(), scope("a", "", "")),
        ("proxy", slices(), scope("", "!headless", "")),
        ("dns", slices(), scope("", "", "")),
    ]
}

/// The identity that may read nothing.
const INTRUDER: &str = "intruder";

impl World {
    pub fn new(seed: u64, sabotage: Sabotage, mut faults: Faults) -> World {
        let mut rng = Rng::new(seed);
        // A damaged record may be the one by which a restored cloud is known.
        let which = rng.chance(50);
        (faults.damage, faults.restores) =
            (faults.damage && which, faults.restores && !(which && faults.damage));
        let short = faults.short && rng.chance(30);
        let limits = if short { Limits { events: 5, bytes: 1 << 20 } } else { Limits::default() };
        let hub = Hub::start(Disk::default(), sabotage, limits);
        let mut clients = Vec::new();
        for (who, resource, scope) in rights() {
            if rng.chance(75) {
                clients.push(Client::new(who, &resource, &scope, rng.chance(60)));
            }
        }
        let intruder = Client::new(INTRUDER, &pods(), &scope("", "", ""), true);
        clients.push(intruder);
        World {
            rng,
            now: Duration::from_secs(1),
            faults,
            cloud: Cloud::new(),
            link: false,
            was_restored: false,
            hub,
            clients,
            denied: BTreeSet::new(),
            oracle: Oracle::default(),
            log: Vec::new(),
        }
    }

    pub fn note(&mut self, text: impl Into<String>) {
        self.log.push(text.into());
    }

    fn may(&self, who: &Identity, resource: &ResourceId, scope: &Scope) -> bool {
        let granted = |(name, of, wide): &(&str, ResourceId, Scope)| {
            *name == who.as_str() && of == resource && scope.is_within(wide)
        };
        !self.denied.contains(who.as_str()) && rights().iter().any(granted)
    }

    fn place(&mut self) -> Place {
        let resource = self.rng.pick(&[pods(), pods(), services(), services(), slices(), claims()]).clone();
        let (namespace, name) = (*self.rng.pick(&["a", "b"]), *self.rng.pick(&["x", "y", "z"]));
        (resource, Key::new(namespace, name))
    }

    pub fn step(&mut self) -> Check {
        self.now += Duration::from_millis(self.rng.below(3000));
        match self.rng.below(100) {
            0..20 => self.cloud_step(),
            20..45 => self.deliver_some()?,
            45..55 => self.hub.write(&mut self.rng),
            55..65 => {
                let client = self.rng.index(self.clients.len());
                self.connect(client)?;
            }
            65..85 => {
                let (client, most) = (self.rng.index(self.clients.len()), 1 + self.rng.index(5));
                self.pull(client, most)?;
            }
            85..90 => self.read_one()?,
            90..93 => self.write_one()?,
            _ => self.fault()?,
        }
        self.hub.view.tick(self.now);
        self.carry_out()
    }

    fn carry_out(&mut self) -> Check {
        // Whatever happens, only sometimes the hub dies before it has done everything.
        if self.faults.kills && self.rng.chance(1) {
            let most = self.rng.index(3);
            self.hub.carry_out(most)?;
            self.kill();
        }
        self.hub.carry_out(usize::MAX)
    }

    fn cloud_step(&mut self) {
        let place = self.place();
        match self.rng.below(10) {
            _ if !self.cloud.things.contains_key(&place) => self.cloud.create(&place, &mut self.rng),
            0..3 => {
                self.cloud.delete(&place);
                if self.rng.chance(40) {
                    self.cloud.create(&place, &mut self.rng);
                }
            }
            3..9 => self.cloud.change(&place, &mut self.rng),
            _ => self.cloud.idle(3),
        }
        let uid = self.cloud.things.get(&place).map_or("-", |thing| &thing.uid).to_owned();
        self.note(format!("cloud {}: {} {} is {uid}", self.cloud.revision, place.0, place.1));
        let stays = self.oracle.stays.get(&place).is_some_and(|was| *was == uid);
        if !stays {
            self.oracle.stays.remove(&place);
        }
    }

    fn deliver_some(&mut self) -> Check {
        for _ in 0..self.rng.below(4) {
            let ids: Vec<StreamId> = self.hub.feeds.keys().copied().collect();
            if self.link && !ids.is_empty() {
                let id = *self.rng.pick(&ids);
                self.deliver(id)?;
            }
        }
        Ok(())
    }

    pub fn deliver(&mut self, id: StreamId) -> Result<bool, crate::oracle::Violation> {
        let Some(feed) = self.hub.feeds.get(&id) else { return Ok(false) };
        let allowed = self.may(&feed.open.identity, &feed.open.resource, &feed.open.scope);
        let random = self.rng.next_u64();
        let before = format!("  {id:?} of {} {}: {:?}", feed.open.resource, feed.open.scope, feed.stage);
        self.note(before.chars().take(110).collect::<String>());
        let did = self.hub.deliver(id, &self.cloud, allowed, self.now, random);
        self.hub.carry_out(usize::MAX)?;
        Ok(did)
    }

    fn ask<'a>(&mut self, who: &'a Identity, resource: &'a ResourceId, fresh: bool) -> Ask<'a> {
        let random = self.rng.next_u64();
        Ask {
            who,
            resource,
            granted: false,
            fresh,
            patient: !random.is_multiple_of(4),
            now: self.now,
            random,
        }
    }

    /// A client that has no watch tries to get one.
    fn connect(&mut self, at: usize) -> Check {
        if self.clients[at].watch.is_some() {
            return Ok(());
        }
        if self.clients[at].is_overtaken(self.cloud.revision) {
            self.clients[at].expired();
        }
        let client = &self.clients[at];
        let (who, resource, scope) = (client.who.clone(), client.resource.clone(), client.scope.clone());
        if client.needs_list() {
            let options = client.list_options(client.relists > 0);
            let ask = self.ask(&who, &resource, false);
            let answer = self.hub.view.list(ask, &scope.namespace, &options);
            return self.take_list(at, answer, true);
        }
        let options = client.watch_options();
        let ask = self.ask(&who, &resource, false);
        let answer = self.hub.view.watch(ask, &scope.namespace, &options);
        let text =
            format!("{} watches {resource} {scope} from {:?}: ", who.as_str(), options.resource_version);
        if who.as_str() != INTRUDER {
            self.note(text + &format!("{answer:?}").chars().take(60).collect::<String>());
        }
        match answer {
            Answer::Watch(id) => self.clients[at].connected(id),
            Answer::WatchError(status) => self.clients[at].refused(&status)?,
            Answer::Refuse(status) => self.clients[at].refused(&status)?,
            Answer::Verify if self.link => self.verified(&who, &resource, &scope),
            Answer::Await if self.link => {}
            answer => return broken("answer", format!("{answer:?}, link {}", self.link)),
        }
        Ok(())
    }

    /// The cloud was asked whether it grants a set.
    fn verified(&mut self, who: &Identity, resource: &ResourceId, scope: &Scope) {
        if self.may(who, resource, scope) {
            self.hub.view.granted(who, resource, scope);
        } else {
            self.hub.view.refused(who, resource, scope, Asked::Set);
        }
    }

    fn take_list(&mut self, at: usize, answer: Answer, first: bool) -> Check {
        let client = &self.clients[at];
        let (who, resource, scope) = (client.who.clone(), client.resource.clone(), client.scope.clone());
        match answer {
            Answer::List(listing) => self.listed(at, &listing),
            Answer::Refuse(status) => self.clients[at].refused(&status),
            Answer::Verify if self.link && first => {
                self.verified(&who, &resource, &scope);
                Ok(())
            }
            // It asks again, or has waited long enough.
            Answer::Await if self.link && first && self.rng.chance(80) => Ok(()),
            Answer::Forward | Answer::Await if self.link && first => {
                if !self.may(&who, &resource, &scope) {
                    self.hub.view.refused(&who, &resource, &scope, Asked::Set);
                    return Ok(());
                }
                let revision = self.cloud.revision;
                let state = self.cloud.state(&resource, &scope);
                let objects = state.iter().map(|(key, thing)| thing.object(&resource, key)).collect();
                self.hub.has_doubted = false;
                self.hub.view.took_list(&who, &resource, &scope, objects, rv(revision));
                self.hub.carry_out(usize::MAX)?;
                self.clients[at].is_excused |= self.hub.has_doubted;
                if !resource.is_overlaid() {
                    let item = |(key, thing): (Key, crate::cloud::Thing)| Got {
                        key,
                        uid: thing.uid,
                        rv: thing.rv,
                        content: thing.rv,
                    };
                    let items: Vec<Got> = state.into_iter().map(item).collect();
                    let told: Vec<String> = items
                        .iter()
                        .map(|item| format!("{} {} {}", item.key, item.uid, item.content))
                        .collect();
                    self.note(format!(
                        "  {} of {resource} lists from the cloud at {revision}: {}",
                        who.as_str(),
                        told.join(", ")
                    ));
                    return self.clients[at].listed_by_the_cloud(items, revision);
                }
                let options = self.clients[at].list_options(true);
                let ask = self.ask(&who, &resource, true);
                let answer = self.hub.view.list(ask, &scope.namespace, &options);
                self.take_list(at, answer, false)
            }
            answer => broken("answer", format!("{answer:?} to a list, link {}", self.link)),
        }
    }

    fn listed(&mut self, at: usize, listing: &Listing) -> Check {
        if !self.hub.view.has_passed(&listing.after) {
            if self.rng.chance(30) {
                // Its client goes away.
                return Ok(());
            }
            self.hub.carry_out(usize::MAX)?;
            self.hub.write_everything();
        }
        let (resource, scope) = (self.clients[at].resource.clone(), self.clients[at].scope.clone());
        if listing.rv.get() == 0 {
            return broken("zero", "a list has no version".into());
        }
        let mut items = Vec::new();
        for object in &listing.objects {
            // Of another version by now: it would be asked for again.
            let Some(got) = self.hub.got(&resource, object) else { return Ok(()) };
            self.oracle.shown(&resource, &got, false)?;
            items.push(got);
        }
        let who = self.clients[at].who.as_str().to_owned();
        let told: Vec<String> =
            items.iter().map(|item| format!("{} {} {}", item.key, item.uid, item.content)).collect();
        self.note(format!("  {who} of {resource} lists at {}: {}", listing.rv, told.join(", ")));
        self.nothing_hidden(&resource, &scope, &items)?;
        self.clients[at].listed(items, listing.rv.get())
    }

    fn nothing_hidden(&self, resource: &ResourceId, scope: &Scope, items: &[Got]) -> Check {
        let has: BTreeSet<&Key> = items.iter().map(|item| &item.key).collect();
        for ((of, key), uid) in &self.oracle.stays {
            let thing = self.cloud.things.get(&(of.clone(), key.clone()));
            let lasting = scope.is_lasting();
            let is_in = thing.is_some_and(|thing| thing.uid == *uid && thing.is_in(of, key, scope));
            if of == resource && lasting && is_in && !has.contains(key) {
                return self.oracle.absent(resource, key);
            }
        }
        Ok(())
    }

    fn pull(&mut self, at: usize, most: usize) -> Result<(), crate::oracle::Violation> {
        let Some(id) = self.clients[at].watch else { return Ok(()) };
        let resource = self.clients[at].resource.clone();
        let pulled = self.hub.view.pull(id, self.now, most);
        for frame in pulled.frames {
            let text = match &frame {
                Frame::State(object) => format!("{} {}", object.header.key, object.header.rv),
                Frame::Event(event, change) => format!("{change:?} {} at {}", event.key, event.shown),
                Frame::Bookmark { rv, .. } => format!("bookmark {rv}"),
                Frame::Error(status) => status.message.clone(),
            };
            let who = self.clients[at].who.as_str().to_owned();
            self.note(format!("  {who} of {resource} is told {text}"));
            if self.clients[at].who.as_str() == INTRUDER {
                return broken("P8", format!("{frame:?} went to one who may read nothing"));
            }
            match frame {
                Frame::State(object) => {
                    if let Some(got) = self.hub.got(&resource, &object) {
                        self.oracle.shown(&resource, &got, false)?;
                        self.clients[at].event(None, got)?;
                    }
                }
                Frame::Event(event, change) => {
                    let object = event.object(change).unwrap();
                    let got = self.hub.got(&resource, object).unwrap();
                    let gone = change == view::Change::Deleted;
                    self.oracle.shown(&resource, &got, gone)?;
                    if got.rv != event.shown.get() {
                        return broken("number", format!("{got:?} is shown at {}", event.shown));
                    }
                    self.clients[at].event(Some(change), got)?;
                }
                Frame::Bookmark { rv, end_of_state } => {
                    let before = self.clients[at].synced;
                    self.clients[at].bookmark(rv.get(), end_of_state)?;
                    if !before && self.clients[at].synced {
                        let scope = self.clients[at].scope.clone();
                        let items: Vec<Got> = self.clients[at].store.values().cloned().collect();
                        self.nothing_hidden(&resource, &scope, &items)?;
                    }
                }
                Frame::Error(status) => self.clients[at].refused(&status)?,
            }
        }
        if pulled.next == Next::End {
            self.clients[at].disconnected();
        }
        Ok(())
    }

    /// Somebody gets one object.
    fn read_one(&mut self) -> Check {
        let (resource, key) = self.place();
        let at = self.rng.index(self.clients.len());
        let who = self.clients[at].who.clone();
        let resource_version = if self.rng.chance(50) { String::new() } else { "0".to_owned() };
        let options = GetOptions { resource_version };
        let ask = self.ask(&who, &resource, false);
        let answer = self.hub.view.get(ask, &key, &options);
        let text = format!("{} gets {resource} {key}: {answer:?}", who.as_str());
        if !matches!(answer, Answer::Forward) {
            self.note(text.chars().take(160).collect::<String>());
        }
        // Claims are read one by one, by kubelet, which may.
        let scope = Scope::single(&key);
        let claim = resource == claims() && who.as_str() == "kubelet";
        let thing = self.cloud.things.get(&(resource.clone(), key.clone())).cloned();
        let in_right = rights().iter().any(|(name, of, wide)| {
            *name == who.as_str()
                && *of == resource
                && thing.as_ref().is_some_and(|thing| thing.is_in(&resource, &key, wide))
        });
        match answer {
            Answer::Object { object, after } if self.hub.view.has_passed(&after) => {
                if who.as_str() == INTRUDER {
                    return broken("P8", format!("{object:?} went to one who may read nothing"));
                }
                let Some(got) = self.hub.got(&resource, &object) else { return Ok(()) };
                self.oracle.shown(&resource, &got, false)?;
                self.clients[at].read(&resource, &got)?;
            }
            // A name whose last bearer is known to be gone is absent for whoever could read that one (wire.md §1.5), though
            // one that they may not read has it now.
            Answer::Refuse(status) if status.code == 404 && !in_right => {}
            Answer::Refuse(status) if status.code == 404 => self.oracle.absent(&resource, &key)?,
            Answer::Refuse(status) if status.code == 503 && !self.link => {}
            Answer::Forward if self.link => {
                let may = !self.denied.contains(who.as_str()) && (claim || in_right);
                match thing {
                    Some(thing) if may => {
                        self.hub.view.took_object(&who, &resource, thing.object(&resource, &key));
                    }
                    None if claim => self.hub.view.took_absence(&who, &resource, &key),
                    _ => self.hub.view.refused(&who, &resource, &scope, Asked::Single),
                }
            }
            Answer::Object { .. } => {}
            answer => return broken("answer", format!("{answer:?} to a get, link {}", self.link)),
        }
        Ok(())
    }

    /// A client writes through the hub, and reads what it wrote.
    fn write_one(&mut self) -> Check {
        let place = self.place();
        if !self.link || !self.cloud.things.contains_key(&place) {
            return Ok(());
        }
        self.cloud.change(&place, &mut self.rng);
        let (resource, key) = &place;
        let thing = self.cloud.things[&place].clone();
        self.note(format!("{resource} {key} is written at {}", thing.rv));
        self.hub.view.wrote(resource, thing.object(resource, key));
        let who = Identity::new("operator");
        let ask = Ask { granted: true, ..self.ask(&who, resource, true) };
        let options = GetOptions::default();
        match self.hub.view.get(ask, key, &options) {
            Answer::Object { object, .. } if object.header.rv.get() >= thing.rv => Ok(()),
            // Versions have begun anew and the hub has not noticed yet.
            _ if self.hub.young => Ok(()),
            answer => broken("own write", format!("{answer:?} after {}", thing.rv)),
        }
    }

    /// Lets everything come to rest, and looks.
    pub fn quiet(&mut self, round: usize) -> Check {
        self.note(format!("quiet {round}"));
        self.denied.clear();
        self.set_link(true);
        for minute in 0..12 {
            self.now += Duration::from_secs(61);
            if minute == 6 {
                self.time_out();
            }
            self.hub.view.tick(self.now);
            for _ in 0..200 {
                self.hub.carry_out(usize::MAX)?;
                self.hub.write_everything();
                let ids: Vec<StreamId> = self.hub.feeds.keys().copied().collect();
                let mut did = false;
                for id in ids {
                    did |= self.deliver(id)?;
                }
                if !did {
                    break;
                }
            }
            for at in 0..self.clients.len() {
                self.connect(at)?;
                self.pull(at, 1000)?;
            }
            self.cloud.idle(1);
        }
        self.hub.write_everything();
        self.everybody_has_the_truth()?;
        let live: BTreeMap<Place, String> =
            self.cloud.things.iter().map(|(place, thing)| (place.clone(), thing.uid.clone())).collect();
        self.oracle.quiet(live);
        self.was_restored = false;
        self.clients.iter_mut().for_each(Client::rest);
        Ok(())
    }

    /// The API server ends every stream after some minutes. That shows only where the hub did not believe what one told.
    fn time_out(&mut self) {
        for id in std::mem::take(&mut self.hub.doubted) {
            let random = self.rng.next_u64();
            self.hub.break_stream(id, self.now, random);
        }
    }

    fn everybody_has_the_truth(&self) -> Check {
        for client in self.clients.iter().filter(|client| client.who.as_str() != INTRUDER) {
            let truth: Vec<(Key, String, u64)> = self
                .cloud
                .state(&client.resource, &client.scope)
                .into_iter()
                .map(|(key, thing)| (key, thing.uid, thing.rv))
                .collect();
            let has: Vec<(Key, String, u64)> =
                client.store.values().map(|got| (got.key.clone(), got.uid.clone(), got.content)).collect();
            if truth != has || !client.synced {
                let who = client.who.as_str();
                let text =
                    format!("{who} of {} {} has {has:?}, true is {truth:?}", client.resource, client.scope);
                return broken("differs", text);
            }
        }
        Ok(())
    }

    pub fn nobody_relisted(&self) -> Check {
        match self.clients.iter().find(|client| client.relists > usize::from(client.is_excused)) {
            Some(client) => broken("relist", format!("{} of {}", client.who.as_str(), client.resource)),
            None => Ok(()),
        }
    }
}
