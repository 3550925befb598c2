//! Scopes: which objects of a resource a read is about.

use std::fmt;

use wire::{FieldSelector, LabelSelector, ListOptions};

use crate::object::Header;
use crate::resource::Key;

/// A namespace and selectors.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Scope {
    /// The namespace; empty for all of them and for what has none.
    pub namespace: Box<str>,
    /// Objects with these labels.
    pub labels: LabelSelector,
    /// Objects with these fields.
    pub fields: FieldSelector,
}

/// Fields that an object keeps for as long as it is: one that leaves a set chosen by these alone was deleted. A pod gets
/// its node once and never another.
const LASTING: [&str; 3] = ["metadata.name", "metadata.namespace", "spec.nodeName"];

impl Scope {
    /// The scope of a list or watch in a namespace.
    pub fn of(namespace: &str, options: &ListOptions) -> Scope {
        let (labels, fields) = (options.label_selector.clone(), options.field_selector.clone());
        Scope { namespace: namespace.into(), labels, fields }
    }

    /// The scope of one object.
    pub fn single(key: &Key) -> Scope {
        Scope {
            namespace: key.namespace().into(),
            fields: FieldSelector::name(key.name()),
            ..Scope::default()
        }
    }

    /// Whether every object of this scope is in `wider` too.
    pub fn is_within(&self, wider: &Scope) -> bool {
        (wider.namespace.is_empty() || wider.namespace == self.namespace)
            && self.labels.is_within(&wider.labels)
            && self.fields.is_within(&wider.fields)
    }

    /// Whether an object is in the scope.
    pub fn takes(&self, header: &Header) -> bool {
        (self.namespace.is_empty() || *self.namespace == *header.key.namespace())
            && self.labels.matches(|label| header.label(label))
            && self.fields.matches(|field| header.field(field))
    }

    /// Whether every object of this key is in the scope, whatever else it says.
    pub fn takes_any(&self, key: &Key) -> bool {
        Scope::single(key).is_within(self)
    }

    /// Whether an object of this key may be in the scope.
    pub fn may_take(&self, key: &Key) -> bool {
        (self.namespace.is_empty() || *self.namespace == *key.namespace())
            && self.fields.exact("metadata.name").is_none_or(|name| name == key.name())
    }

    /// Whether an object that is reported as gone from this scope no longer exists. Else it may only have changed.
    pub fn is_lasting(&self) -> bool {
        self.labels.is_empty() && self.fields.terms().iter().all(|term| LASTING.contains(&&*term.field))
    }

    /// The one key that can be in the scope, if there is one.
    pub(crate) fn only_key(&self) -> Option<Key> {
        // Without a namespace the name may stand in each of them.
        let name = self.fields.exact("metadata.name").filter(|_| !self.namespace.is_empty())?;
        Some(Key::new(&self.namespace, name))
    }

    /// The scope as a record's key has it.
    pub(crate) fn to_text(&self) -> String {
        format!("{}\0{}\0{}", self.namespace, self.labels, self.fields)
    }

    pub(crate) fn from_text(text: &str) -> Option<Scope> {
        let mut parts = text.splitn(3, '\0');
        let namespace = parts.next()?.into();
        let labels = parts.next()?.parse().ok()?;
        let fields = parts.next()?.parse().ok()?;
        Some(Scope { namespace, labels, fields })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = if self.namespace.is_empty() { "all namespaces" } else { &self.namespace };
        f.write_str(namespace)?;
        if !self.labels.is_empty() {
            write!(f, ", labels {}", self.labels)?;
        }
        if !self.fields.is_empty() {
            write!(f, ", fields {}", self.fields)?;
        }
        Ok(())
    }
}
