//! A client that keeps a set as client-go's reflector does, and complains about everything that is odd.

use std::collections::BTreeMap;

use view::{Change, Identity, Key, ResourceId, Scope, WatcherId};
use wire::request::VersionMatch;
use wire::{ListOptions, Status};

use crate::oracle::{Check, Got, broken};

#[derive(Debug)]
pub struct Client {
    pub who: Identity,
    pub resource: ResourceId,
    pub scope: Scope,
    /// Whether it begins with a watch that lists.
    pub watch_list: bool,
    /// What it has.
    pub store: BTreeMap<Key, Got>,
    /// The version it goes on from.
    pub rv: Option<u64>,
    pub synced: bool,
    pub watch: Option<WatcherId>,
    /// What a watch that lists has told before its end.
    state: Option<BTreeMap<Key, Got>>,
    /// The newest content of each object that it was shown.
    newest: BTreeMap<String, u64>,
    /// The newest content of each object that it got by its name, or in a list of what is overlaid.
    got: BTreeMap<String, u64>,
    pub relists: usize,
    /// Whether it got an empty list from the cloud that the hub did not believe, so that it cannot go on from there.
    pub is_excused: bool,
    /// The last view RV that a change in this watch had.
    last: u64,
    /// Whether versions of the cloud have begun anew since it began: what is the same may be told once more.
    anew: bool,
    /// Whether the version it goes on from is one of a cloud that was restored since.
    outlived: bool,
    /// Whether it has the cloud's own answer to a list, of a resource with the cloud's versions. The hub has that only under each
    /// name until its stream gets there, and a hub that is killed meanwhile may know nothing of it: a list from what the
    /// hub has may go back, as one of an API server may (resourceVersion 0: "any").
    direct: bool,
}

impl Client {
    pub fn new(who: &str, resource: &ResourceId, scope: &Scope, watch_list: bool) -> Client {
        Client {
            who: Identity::new(who),
            resource: resource.clone(),
            scope: scope.clone(),
            watch_list,
            store: BTreeMap::new(),
            rv: None,
            synced: false,
            watch: None,
            state: None,
            newest: BTreeMap::new(),
            got: BTreeMap::new(),
            relists: 0,
            is_excused: false,
            last: 0,
            anew: false,
            outlived: false,
            direct: false,
        }
    }

    /// The machine was switched off.
    pub fn forget(&mut self) {
        let anew = self.anew;
        *self = Client::new(self.who.as_str(), &self.resource, &self.scope, self.watch_list);
        self.anew = anew;
    }

    /// Versions of the cloud have begun anew; until all is quiet, old and new ones may be told.
    pub fn versions_began(&mut self) {
        (self.anew, self.outlived) = (true, self.rv.is_some());
    }

    /// The cloud is at this revision. Where that is above a version from before it was restored, nobody can tell that this
    /// is not one of its own: whoever goes on from it misses things, at an API server too, and who restores an etcd is
    /// told to restart what reads from it (Kubernetes, "Operating etcd clusters").
    pub fn is_overtaken(&self, revision: u64) -> bool {
        self.outlived && !self.resource.is_overlaid() && self.rv.is_some_and(|rv| rv <= revision)
    }

    /// All is quiet.
    pub fn rest(&mut self) {
        if std::mem::take(&mut self.anew) {
            self.newest.clear();
            self.got.clear();
        }
    }

    fn options(&self) -> ListOptions {
        ListOptions {
            label_selector: self.scope.labels.clone(),
            field_selector: self.scope.fields.clone(),
            ..ListOptions::default()
        }
    }

    /// What it asks for a list with, if it needs one.
    pub fn list_options(&self, after_gone: bool) -> ListOptions {
        let resource_version = if after_gone { String::new() } else { "0".to_owned() };
        ListOptions { resource_version, limit: 500, ..self.options() }
    }

    pub fn watch_options(&self) -> ListOptions {
        let resource_version = self.rv.map_or(String::new(), |rv| rv.to_string());
        let with_state = self.watch_list && !self.synced;
        ListOptions {
            watch: true,
            allow_watch_bookmarks: true,
            timeout_seconds: Some(300),
            send_initial_events: with_state.then_some(true),
            version_match: with_state.then_some(VersionMatch::NotOlderThan),
            resource_version,
            ..self.options()
        }
    }

    pub fn needs_list(&self) -> bool {
        !self.synced && !self.watch_list
    }

    pub fn connected(&mut self, watch: WatcherId) {
        self.watch = Some(watch);
        self.last = 0;
        self.state = (self.watch_list && !self.synced).then(BTreeMap::new);
    }

    pub fn disconnected(&mut self) {
        (self.watch, self.state) = (None, None);
    }

    /// 410.
    pub fn expired(&mut self) {
        self.disconnected();
        self.relists += 1;
        (self.rv, self.synced, self.outlived) = (None, false, false);
        if std::mem::take(&mut self.direct) {
            self.newest.clear();
        }
    }

    pub fn refused(&mut self, status: &Status) -> Check {
        match status.code {
            503 => Ok(()),
            410 => {
                self.expired();
                Ok(())
            }
            code => broken("code", format!("{} was refused with {code}", self.who.as_str())),
        }
    }

    /// The cloud itself answered its list.
    pub fn listed_by_the_cloud(&mut self, items: Vec<Got>, rv: u64) -> Check {
        self.listed(items, rv)?;
        self.direct = true;
        Ok(())
    }

    pub fn listed(&mut self, items: Vec<Got>, rv: u64) -> Check {
        for item in &items {
            self.is_newest(item)?;
            if self.resource.is_overlaid() {
                self.read(&self.resource.clone(), item)?;
            }
        }
        self.store = items.into_iter().map(|item| (item.key.clone(), item)).collect();
        (self.rv, self.synced, self.outlived) = (Some(rv), true, false);
        Ok(())
    }

    pub fn is_newest(&mut self, got: &Got) -> Check {
        let newest = self.newest.entry(got.uid.clone()).or_default();
        if got.content < *newest && !self.anew {
            return broken("older", format!("{} was shown {got:?} after {newest}", self.who.as_str()));
        }
        *newest = got.content;
        Ok(())
    }

    /// It got an object by its name. Its watch may be behind that, for it is told one thing after the other.
    pub fn read(&mut self, resource: &ResourceId, got: &Got) -> Check {
        let own = resource.is_overlaid() && *resource == self.resource;
        let told = self.newest.get(&got.uid).filter(|_| own).copied();
        let before = self.got.get(&got.uid).copied().max(told).unwrap_or_default();
        if got.content < before && !self.anew {
            return broken("older", format!("{} got {got:?} after {before}", self.who.as_str()));
        }
        self.got.insert(got.uid.clone(), got.content);
        Ok(())
    }

    pub fn event(&mut self, change: Option<Change>, got: Got) -> Check {
        if change != Some(Change::Deleted) {
            self.is_newest(&got)?;
        }
        if let Some(change) = change {
            self.in_order(change, &got)?;
        }
        let rv = got.rv;
        let store = self.state.as_mut().unwrap_or(&mut self.store);
        match change {
            Some(Change::Deleted) => store.remove(&got.key),
            _ => store.insert(got.key.clone(), got),
        };
        self.direct &= self.state.is_some();
        self.rv = if self.state.is_some() { self.rv } else { Some(rv) };
        Ok(())
    }

    /// A change must fit what it changes: no gap, no duplicate. While the state is told, what changed meanwhile may
    /// come as a change of what was not told. Of resources with the cloud's versions a deletion may come twice.
    fn in_order(&mut self, change: Change, got: &Got) -> Check {
        let overlaid = self.resource.is_overlaid();
        if overlaid && got.rv <= self.last {
            return broken("order", format!("{} got {got:?} after {}", self.who.as_str(), self.last));
        }
        self.last = got.rv;
        let telling = self.state.is_some();
        let had = self.state.as_ref().unwrap_or(&self.store).get(&got.key);
        let fits = match (change, had) {
            (Change::Added, None) => true,
            // The client may have what it has from the cloud, ahead of the hub.
            (Change::Added, Some(had)) => {
                telling || (!overlaid && had.uid == got.uid && had.content <= got.content)
            }
            (Change::Modified, None) => telling,
            (Change::Modified, Some(had)) => {
                // What a list showed ahead of its version is told once more in its order; informers drop it.
                let same = had.content == got.content && !overlaid;
                had.uid == got.uid && (had.content < got.content || same || telling || self.anew)
            }
            // One that the hub does not know may have come and gone in between.
            (Change::Deleted, Some(had)) => had.uid == got.uid || !overlaid,
            (Change::Deleted, None) => telling || !overlaid,
        };
        if fits {
            return Ok(());
        }
        broken(
            "gap",
            format!("{} of {} had {had:?} and got {change:?} {got:?}", self.who.as_str(), self.resource),
        )
    }

    pub fn bookmark(&mut self, rv: u64, end_of_state: bool) -> Check {
        if rv == 0 {
            return broken("zero", format!("{} got a bookmark without a version", self.who.as_str()));
        }
        match (self.state.take(), end_of_state) {
            (Some(state), true) => (self.store, self.synced) = (state, true),
            (Some(_), false) => return broken("bookmark", "a bookmark before the end of the state".into()),
            (None, true) if self.watch_list => {
                return broken("bookmark", "the state ended that was not asked for".into());
            }
            (None, _) => {}
        }
        self.rv = Some(rv);
        Ok(())
    }
}
