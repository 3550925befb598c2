//! Of which type an object is: no write can change that.

use serde_json::{Map, Value};
use wire::Status;
use wire::gotext::quote;
use wire::status::Cause;

use crate::write::{Write, invalid, invalid_patch, nameless, text_of};

/// What says of which type an object is.
pub(crate) const TYPE: [&str; 2] = ["kind", "apiVersion"];

/// Whether one of them is there but is no text.
pub(crate) fn has_no_text(object: &Map<String, Value>) -> bool {
    TYPE.into_iter().filter_map(|name| object.get(name)).any(|value| !value.is_string() && !value.is_null())
}

/// Why the type is not the present one.
pub(crate) enum WrongType {
    /// Without a version the API server reads the object as its own inner form, and finds nothing in it.
    Nameless(Status),
    Other(String),
}

impl WrongType {
    /// The answer; `quoted` is the patched object.
    pub(crate) fn to_status(&self, quoted: &str) -> Status {
        match self {
            WrongType::Nameless(status) => status.clone(),
            WrongType::Other(why) => invalid_patch(quoted, why),
        }
    }
}

/// The type cannot be patched; the kind may be left out.
pub(crate) fn check_type(
    object: &Map<String, Value>,
    current: &Value,
    write: &Write<'_>,
) -> Result<(), WrongType> {
    let given = |name: &str| object.get(name).filter(|value| !value.is_null() && *value != "");
    for name in TYPE {
        if let Some(value) = given(name).filter(|value| Some(*value) != current.get(name)) {
            return Err(WrongType::Other(format!("{name} cannot become {value}")));
        }
    }
    given("apiVersion").map(drop).ok_or_else(|| WrongType::Nameless(nameless(write.resource)))
}

/// The same for custom resources, which are read without a type, and judged later; a status has none.
pub(crate) fn check_custom_type(
    said: &Map<String, Value>,
    current: &Value,
    write: &Write<'_>,
) -> Result<(), Status> {
    let text = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default();
    let (kind, version) = (text("kind"), text("apiVersion"));
    if version.is_empty() {
        let why = "Object 'apiVersion' is missing in 'object has no apiVersion field'";
        return Err(Status::internal_error(why));
    }
    if write.resource.subresource == "status" {
        return Ok(());
    }
    let must = |name: &str| {
        let wanted = text_of(current, name);
        (text(name) != wanted).then(|| invalid(name, &quote(text(name)), &format!("must be {wanted}")))
    };
    let causes: Vec<Cause> = TYPE.into_iter().filter_map(must).collect();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid(group, kind, &write.resource.name, causes)) }
}
