//! Where in the API a value stands, and what merging it there means.

use wire::schema::{Field, Message, Shape};

use super::Error;

/// What a value is by the API's types.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// An object with known fields.
    Message(Message),
    /// An object with any keys.
    Map,
    /// A list.
    List,
    /// Anything else.
    Value,
}

/// A field of the object at a place.
pub(super) struct Member {
    /// What its value, or an element of its list, is.
    pub place: Place,
    field: Field,
}

/// How a list is merged.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    /// What an element is.
    pub place: Place,
    /// Whether it is merged at all; else the patch's replaces it.
    pub merges: bool,
    /// By which member elements are told apart.
    pub key: Option<&'static str>,
}

impl Place {
    fn kind(self) -> &'static str {
        match self {
            Place::Message(_) => "struct",
            Place::Map => "map",
            Place::List => "slice",
            Place::Value => "string",
        }
    }

    /// The field of this name.
    pub(super) fn field(self, name: &str) -> Result<Member, Error> {
        let Place::Message(message) = self else {
            let kind = self.kind();
            let what = format!("merging an object in json but data type is not struct, instead is: {kind}");
            return Err(Error::Other(what));
        };
        let field = message.field(name).ok_or_else(|| {
            Error::Other(format!(
                "unable to find api field in struct for the json field {}",
                wire::gotext::quote(name)
            ))
        })?;
        let place = match (field.shape(), field.message()) {
            (Shape::Message, Some(message)) => Place::Message(message),
            (Shape::Map, _) => Place::Map,
            (Shape::List, _) => Place::List,
            _ => Place::Value,
        };
        Ok(Member { place, field })
    }

    /// The field of this name, which must be a list.
    pub(super) fn list(self, name: &str) -> Result<List, Error> {
        let Member { place, field } = self.field(name)?;
        if !matches!(place, Place::List) {
            let kind = self.kind();
            return Err(Error::Other(format!("expected slice or array type, but got: {kind}")));
        }
        let place = field.message().map_or(Place::Value, Place::Message);
        Ok(List { place, merges: field.merges(), key: field.merge_key() })
    }
}
