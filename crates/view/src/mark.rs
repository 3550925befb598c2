//! Sync marks: what is known of which set of objects, and on whose word.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::object::Header;
use crate::resource::Key;
use crate::scope::Scope;
use crate::version::{CloudRv, Shown};

/// Who reads: a verified user with uid and groups, in a form that the executor keeps stable over restarts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(Arc<str>);

impl Identity {
    /// The identity of this name.
    pub fn new(name: &str) -> Identity {
        Identity(name.into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What was asked for when a mark was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asked {
    /// A list or a watch: it covers GET, LIST and WATCH inside its scope.
    Set,
    /// A GET: it covers this name and nothing else.
    Single,
}

/// What is known of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The scope.
    pub scope: Scope,
    /// What was asked for.
    pub asked: Asked,
    /// Whether it was read completely, and nothing of it was lost since.
    pub complete: bool,
    /// Up to which version of the cloud it was read, if it can be read on from there.
    pub position: Option<CloudRv>,
    /// Clients below this version cannot be told what they missed.
    pub since: Shown,
    /// Whether objects are known to have left it of which nothing else says so; that is forgotten with the hub.
    pub excludes: bool,
    /// To whom the cloud granted it.
    pub readers: BTreeSet<Identity>,
    /// Between these versions it was not followed but read anew, where versions are the cloud's: of what came and went in between
    /// nothing is known. Of several such times the last.
    pub skipped: (Shown, Shown),
}

impl Mark {
    /// Its state was read at this version; up to the other its clients had been told everything.
    pub(crate) fn read_anew(&mut self, rv: CloudRv, told: Shown) {
        if told < Shown::cloud(rv) {
            self.skipped = (told, Shown::cloud(rv));
        }
        self.position = self.position.max(Some(rv));
    }

    fn skips(&self, version: Shown) -> bool {
        self.skipped.0 < version && version < self.skipped.1
    }

    /// Up to which version of the cloud the set's clients are told everything, where versions are the cloud's.
    pub(crate) fn told(&self) -> Shown {
        self.position.map_or(self.since, |position| self.since.max(Shown::cloud(position)))
    }
}

/// The marks of a resource.
#[derive(Debug, Default)]
pub(crate) struct Marks(Vec<Mark>);

impl Marks {
    pub fn iter(&self) -> impl Iterator<Item = &Mark> {
        self.0.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Mark> {
        self.0.iter_mut()
    }

    /// How many there are of single names.
    pub fn singles(&self) -> usize {
        self.0.iter().filter(|mark| mark.asked == Asked::Single).count()
    }

    pub fn find(&self, scope: &Scope, asked: Asked) -> Option<&Mark> {
        self.0.iter().find(|mark| mark.scope == *scope && mark.asked == asked)
    }

    /// The mark of a scope, made if there is none.
    pub fn entry(&mut self, scope: &Scope, asked: Asked) -> &mut Mark {
        let found = self.0.iter().position(|mark| mark.scope == *scope && mark.asked == asked);
        let place = found.unwrap_or_else(|| {
            let (scope, readers) = (scope.clone(), BTreeSet::new());
            let since = Shown::stored(0);
            self.0.push(Mark {
                scope,
                asked,
                complete: false,
                position: None,
                since,
                excludes: false,
                readers,
                skipped: (since, since),
            });
            self.0.len() - 1
        });
        // The place was found or made above.
        #[allow(clippy::indexing_slicing, reason = "it is there")]
        &mut self.0[place]
    }

    /// The mark that vouches for a set: the one read furthest among those that cover it.
    pub fn covering(&self, scope: &Scope) -> Option<&Mark> {
        let covers = |mark: &&Mark| mark.asked == Asked::Set && mark.complete && scope.is_within(&mark.scope);
        self.0.iter().filter(covers).max_by_key(|mark| mark.position)
    }

    /// Whether a set was read anew when the cloud was past this version, and not up to there before.
    pub fn skips(&self, scope: &Scope, version: Shown) -> bool {
        self.0.iter().any(|mark| mark.skips(version) && scope.is_within(&mark.scope))
    }

    /// Whether every change of a set after this version was counted: by one of the marks that cover it, which has been followed
    /// through whatever others skipped.
    pub fn count(&self, scope: &Scope, version: Shown) -> bool {
        let covers = |mark: &&Mark| mark.asked == Asked::Set && mark.complete && scope.is_within(&mark.scope);
        let skipped = self.0.iter().filter(covers).filter(|mark| mark.skips(version));
        let end = skipped.map(|mark| mark.skipped.1).max();
        let counts = |mark: &Mark| {
            version >= mark.since && !mark.skips(version) && end.is_none_or(|end| mark.told() >= end)
        };
        self.0.iter().filter(covers).any(counts)
    }

    /// Whether an object of this name would be known if there were one.
    pub fn know(&self, key: &Key) -> bool {
        self.0.iter().any(|mark| mark.complete && mark.scope.takes_any(key))
    }

    /// Whether somebody may read a set.
    pub fn grant_set(&self, who: &Identity, scope: &Scope) -> bool {
        self.of(who).any(|mark| mark.asked == Asked::Set && scope.is_within(&mark.scope))
    }

    /// Whether somebody may read an object of which this is known.
    pub fn grant_object(&self, who: &Identity, header: &Header) -> bool {
        self.of(who).any(|mark| mark.scope.takes(header))
    }

    /// Whether somebody may know that there is no object of this name.
    pub fn grant_absence(&self, who: &Identity, key: &Key) -> bool {
        self.of(who).any(|mark| mark.scope.takes_any(key))
    }

    fn of<'a>(&'a self, who: &'a Identity) -> impl Iterator<Item = &'a Mark> {
        self.0.iter().filter(move |mark| mark.readers.contains(who))
    }

    /// The cloud refused a read: ends what the same right stood for. Returns the marks that changed.
    ///
    /// A refused GET ends that name only: the node authorizer refuses the GET of a pod that is gone. A refused list ends
    /// every list that it was part of, or that was part of it.
    pub fn revoke(&mut self, who: &Identity, scope: &Scope, asked: Asked) -> Vec<Mark> {
        let mut changed = Vec::new();
        for mark in self.0.iter_mut().filter(|mark| mark.asked == asked) {
            let same = match asked {
                Asked::Single => mark.scope == *scope,
                Asked::Set => mark.scope.is_within(scope) || scope.is_within(&mark.scope),
            };
            if same && mark.readers.remove(who) {
                changed.push(mark.clone());
            }
        }
        changed
    }
}
