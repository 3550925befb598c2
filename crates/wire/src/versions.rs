//! The resourceVersions in the bodies of writes, replaced on their way to the cloud.
//!
//! A client that reads overlaid resources writes with the versions that it was shown. [`map_versions`] hands each one that
//! is about the object of the request to the caller; [`map_references`] does so for those of the objects that an Event is
//! about. Nothing else of a body changes, not by a byte, and a body in which nothing has to change is given back as it came.
//!
//! A version that a client gave for something else and a JSON patch then moves or copies to where a version stands is
//! passed over; so is every body that is not for the API server itself (`proxy`, `exec`…).

mod json;
mod protobuf;
mod yaml;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use crate::json::NotJson;
use crate::media::{self, Body, Encoding, Patch, Served};
use crate::proto::Malformed;
use crate::request::{Request, Resource, Verb};
use crate::status::Status;

/// A kind of place where a resourceVersion stands.
struct Place {
    /// The names in JSON that lead to it.
    names: &'static [&'static str],
    /// The numbers in protobuf that lead to it, from the envelope on, whose second field is the object.
    numbers: &'static [u32],
}

const OBJECT: Place = Place { names: &["metadata", "resourceVersion"], numbers: &[2, 1, 6] };
const OPTIONS: Place = Place { names: &["preconditions", "resourceVersion"], numbers: &[2, 2, 2] };
const EVICTION: Place =
    Place { names: &["deleteOptions", "preconditions", "resourceVersion"], numbers: &[2, 2, 2, 2] };
/// In an Event of the core group.
const INVOLVED: Place = Place { names: &["involvedObject", "resourceVersion"], numbers: &[2, 2, 6] };
const CORE_RELATED: Place = Place { names: &["related", "resourceVersion"], numbers: &[2, 13, 6] };
/// In an Event of events.k8s.io, of any version.
const REGARDING: Place = Place { names: &["regarding", "resourceVersion"], numbers: &[2, 8, 6] };
const RELATED: Place = Place { names: &["related", "resourceVersion"], numbers: &[2, 9, 6] };

/// What an Event refers to. Texts that the body does not say are empty; the patch of an Event says the fewest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reference {
    /// The kind's name: `Pod`.
    pub kind: String,
    /// `v1` or `group/version`.
    pub api_version: String,
    /// Namespace; empty for what has none.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

/// Why a body must not go on as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotMapped {
    /// The caller had nothing to put in place of a version: 409.
    Unknown {
        /// The version that the client sent.
        version: String,
    },
    /// The body is not what its media type says: 400. What is wrong with it.
    Malformed(String),
    /// YAML in which a version may stand; where, only a reader of YAML could tell: 415.
    Yaml,
    /// A media type that is not known: 415 with the known ones.
    MediaType(Box<Status>),
}

impl NotMapped {
    /// The answer to the client.
    pub fn to_status(&self, resource: &Resource) -> Status {
        match self {
            NotMapped::Unknown { .. } => Status::stale(resource.group_resource(), &resource.name),
            NotMapped::Malformed(_) => Status::bad_request(self.to_string()),
            NotMapped::Yaml => Status::failure(415, "UnsupportedMediaType", self.to_string()),
            NotMapped::MediaType(status) => Status::clone(status),
        }
    }
}

impl fmt::Display for NotMapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotMapped::Unknown { version } => {
                write!(f, "the resourceVersion \"{version}\" in the body is none that this node's hub gave out")
            }
            NotMapped::Malformed(what) => write!(f, "the body cannot be read: {what}"),
            NotMapped::Yaml => f.write_str(
                "the body is YAML in which a resourceVersion may stand, and this node's hub replaces those in JSON only: \
                 send it as JSON, which its media type allows too",
            ),
            NotMapped::MediaType(status) => f.write_str(&status.message),
        }
    }
}

impl std::error::Error for NotMapped {}

impl From<Malformed> for NotMapped {
    fn from(error: Malformed) -> NotMapped {
        NotMapped::Malformed(error.0.to_owned())
    }
}

impl From<NotJson> for NotMapped {
    fn from(error: NotJson) -> NotMapped {
        NotMapped::Malformed(error.to_string())
    }
}

/// What becomes of the versions that are found.
trait Change {
    /// Begins with the versions of one holder, a text of which is read by its name in JSON or its number in protobuf.
    fn enter(&mut self, text: &dyn Fn(&str, u32) -> String);

    /// What to put in place of a version.
    fn version(&mut self, version: &str) -> Result<String, NotMapped>;
}

/// The body of a write with each resourceVersion that is about the object of the request replaced by what `map` gives: that
/// of a PUT, of a patch of any form, of the preconditions of a DELETE or an eviction, of a binding. An object that is
/// created has none.
///
/// No version and version zero stay, which the API server reads as none (`apiserver:pkg/storage/api_object_versioner.go`),
/// and so does what is no text, which it refuses. The preconditions of a DELETE of a collection hold for each of its
/// objects; there `map` should give nothing. `content_type` is the first such header, empty for none.
///
/// The object is the one that the request names, but for a POST to `bindings`, whose body alone names the pod.
///
/// # Errors
/// [`NotMapped::Unknown`] where `map` gives nothing, the others for a body that cannot be looked into.
pub fn map_versions<'a>(
    request: &Request,
    content_type: &str,
    body: &'a [u8],
    map: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Cow<'a, [u8]>, NotMapped> {
    let places: &[Place] = match (&request.verb, addressee(request)) {
        (Verb::Update | Verb::Patch, Some(_)) => &[OBJECT],
        (Verb::Delete | Verb::DeleteCollection, Some(_)) => &[OPTIONS],
        (Verb::Create, Some(("", "pods", "eviction"))) => &[EVICTION],
        // Its metadata says which pod is to be bound, of which uid and version (`pkg/registry/core/pod/storage`).
        (Verb::Create, Some(("", "pods", "binding") | ("", "bindings", ""))) => &[OBJECT],
        _ => &[],
    };
    change(request, content_type, body, places, &mut OfObject { map })
}

/// The body of a write of an Event, in any of its API versions, with each resourceVersion of an object that it refers to
/// replaced by what `map` gives for it, or made empty, which is as good as none, where `map` gives nothing.
///
/// # Errors
/// For a body that cannot be looked into; never [`NotMapped::Unknown`].
pub fn map_references<'a>(
    request: &Request,
    content_type: &str,
    body: &'a [u8],
    map: &mut dyn FnMut(&Reference, &str) -> Option<String>,
) -> Result<Cow<'a, [u8]>, NotMapped> {
    let places: &[Place] = match (&request.verb, addressee(request)) {
        (Verb::Create | Verb::Update | Verb::Patch, Some(("", "events", ""))) => &[INVOLVED, CORE_RELATED],
        (Verb::Create | Verb::Update | Verb::Patch, Some(("events.k8s.io", "events", ""))) => {
            &[REGARDING, RELATED]
        }
        _ => &[],
    };
    change(request, content_type, body, places, &mut OfReference { map, reference: Reference::default() })
}

/// Group, resource and subresource, if the body is for the API server itself and no stream or request of somebody else's.
fn addressee(request: &Request) -> Option<(&str, &str, &str)> {
    let Resource { group, resource, subresource, .. } = request.resource.as_ref()?;
    let passes_on = matches!(subresource.as_str(), "proxy" | "exec" | "attach" | "portforward");
    (!passes_on).then_some((group, resource, subresource))
}

fn change<'a>(
    request: &Request,
    content_type: &str,
    body: &'a [u8],
    places: &[Place],
    change: &mut dyn Change,
) -> Result<Cow<'a, [u8]>, NotMapped> {
    if places.is_empty() || body.is_empty() {
        return Ok(Cow::Borrowed(body));
    }
    let unknown = |status| NotMapped::MediaType(Box::new(status));
    if request.verb == Verb::Patch {
        return match media::patch(content_type, Served::BuiltIn).map_err(unknown)? {
            Patch::Json => json::change_operations(body, places, change),
            Patch::Merge | Patch::Strategic => json::change(body, places, change),
            Patch::Apply => yaml::change(body, places, change),
        };
    }
    match media::body(content_type).map_err(unknown)? {
        Body::Object(Encoding::Json) => json::change(body, places, change),
        Body::Object(Encoding::Protobuf) => protobuf::change(body, places, change),
        Body::Yaml => yaml::change(body, places, change),
    }
}

/// Whether the API server reads it as no version at all.
fn is_none(version: &str) -> bool {
    version.bytes().all(|byte| byte == b'0')
}

struct OfObject<'m> {
    map: &'m mut dyn FnMut(&str) -> Option<String>,
}

impl Change for OfObject<'_> {
    fn enter(&mut self, _text: &dyn Fn(&str, u32) -> String) {}

    fn version(&mut self, version: &str) -> Result<String, NotMapped> {
        (self.map)(version).ok_or_else(|| NotMapped::Unknown { version: version.to_owned() })
    }
}

struct OfReference<'m> {
    map: &'m mut dyn FnMut(&Reference, &str) -> Option<String>,
    /// Whose versions come now.
    reference: Reference,
}

impl Change for OfReference<'_> {
    fn enter(&mut self, text: &dyn Fn(&str, u32) -> String) {
        self.reference = Reference {
            kind: text("kind", 1),
            namespace: text("namespace", 2),
            name: text("name", 3),
            uid: text("uid", 4),
            api_version: text("apiVersion", 5),
        };
    }

    fn version(&mut self, version: &str) -> Result<String, NotMapped> {
        Ok((self.map)(&self.reference, version).unwrap_or_default())
    }
}
