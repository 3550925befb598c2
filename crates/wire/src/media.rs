//! Media types: in which form an answer must stand, and in which form a body came.
//!
//! The rules are the API server's, quirks included (`apiserver:pkg/endpoints/handlers/negotiation`, its parser of
//! `Accept` is munnerz/goautoneg): a clause of quality 0 still counts, and a clause that is more particular goes before
//! one that is less so, whatever their qualities, where both stand next to each other. CBOR is never offered.

mod accept;
mod content;

#[cfg(test)]
mod tests;

pub use accept::{Clause, clauses};
pub use content::{Body, PATCH_TYPES, Patch, body, patch};

use crate::status::Status;

/// JSON's media type.
pub const JSON: &str = "application/json";
/// YAML's media type. Where it is asked for, JSON is the answer: JSON is YAML.
pub const YAML: &str = "application/yaml";
/// The media type of Kubernetes' protobuf.
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// How an object stands in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Encoding {
    /// JSON.
    Json,
    /// Kubernetes' protobuf with its envelope.
    Protobuf,
}

/// What kind of resource is asked for: custom ones have no protobuf but that of their metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// A resource of a built-in kind.
    BuiltIn,
    /// A custom resource.
    Custom,
}

/// What the answer holds in place of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The object itself.
    Object,
    /// A `Table` of meta.k8s.io: what kubectl prints.
    Table(MetaVersion),
    /// A `PartialObjectMetadata`.
    Metadata(MetaVersion),
    /// A `PartialObjectMetadataList`.
    MetadataList(MetaVersion),
}

/// A version of the group meta.k8s.io.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaVersion {
    /// v1
    V1,
    /// v1beta1
    V1beta1,
}

impl MetaVersion {
    /// `meta.k8s.io/v1` or `meta.k8s.io/v1beta1`.
    pub fn api_version(self) -> &'static str {
        match self {
            MetaVersion::V1 => "meta.k8s.io/v1",
            MetaVersion::V1beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// The form in which to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// How to encode the answer.
    pub encoding: Encoding,
    /// The media type to name: [`JSON`], [`YAML`] or [`PROTOBUF`].
    pub media_type: &'static str,
    /// What the answer holds.
    pub form: Form,
    /// Whether it is to be indented for people.
    pub pretty: bool,
}

impl Accepted {
    /// JSON, the object itself: what a caller gets who asks for nothing, and how errors go to one who asks for the
    /// impossible.
    pub const DEFAULT: Accepted =
        Accepted { encoding: Encoding::Json, media_type: JSON, form: Form::Object, pretty: false };

    /// The `Content-Type` of an answer that is no stream.
    pub fn content_type(&self) -> &'static str {
        self.media_type
    }

    /// The `Content-Type` of a watch.
    pub fn stream_content_type(&self) -> &'static str {
        match self.encoding {
            Encoding::Json => JSON,
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        }
    }
}

/// Chooses the form of an answer. `accept` is the first `Accept` header, empty for none. 406 if nothing fits.
pub fn negotiate(accept: &str, served: Served) -> Result<Accepted, Status> {
    choose(accept, served).ok_or_else(|| Status::not_acceptable(&[JSON, YAML, PROTOBUF]))
}

/// Chooses the form of a watch. 406 if nothing fits; YAML cannot be streamed.
pub fn negotiate_stream(accept: &str, served: Served) -> Result<Accepted, Status> {
    choose(accept, served).filter(|accepted| accepted.media_type != YAML).ok_or_else(|| {
        Status::not_acceptable(&[
            "application/json;stream=watch",
            "application/vnd.kubernetes.protobuf;stream=watch",
        ])
    })
}

/// How to encode a [`Status`] for a caller with this `Accept` header: never refused.
pub fn for_status(accept: &str) -> Encoding {
    let plain: Vec<Clause<'_>> =
        clauses(accept).into_iter().map(|clause| Clause { params: Vec::new(), ..clause }).collect();
    first_match(&plain, Served::BuiltIn).map_or(Encoding::Json, |accepted| accepted.encoding)
}

fn choose(accept: &str, served: Served) -> Option<Accepted> {
    if accept.is_empty() {
        return Some(Accepted::DEFAULT);
    }
    first_match(&clauses(accept), served)
}

fn first_match(clauses: &[Clause<'_>], served: Served) -> Option<Accepted> {
    const OFFERS: [(&str, &str, Encoding); 3] = [
        ("json", JSON, Encoding::Json),
        ("yaml", YAML, Encoding::Json),
        ("vnd.kubernetes.protobuf", PROTOBUF, Encoding::Protobuf),
    ];
    clauses.iter().find_map(|clause| {
        OFFERS.into_iter().filter(|(subtype, ..)| clause.takes("application", subtype)).find_map(
            |(_, media_type, encoding)| {
                accept_params(&clause.params, Accepted { encoding, media_type, ..Accepted::DEFAULT }, served)
            },
        )
    })
}

/// Judges the parameters of a clause for one of the media types that it takes.
fn accept_params(params: &[(&str, &str)], offer: Accepted, served: Served) -> Option<Accepted> {
    let of = |name: &str| params.iter().rev().find(|(param, _)| *param == name).map(|(_, value)| *value);
    let stream = of("stream").unwrap_or_default();
    if !(stream.is_empty() || stream == "watch" && offer.media_type != YAML) {
        return None;
    }
    // The version of the server's group; v1 is the only one.
    if !matches!(of("sv"), None | Some("" | "v1")) {
        return None;
    }
    let form = match (of("as"), of("g"), of("v")) {
        (None, None, None) => Form::Object,
        (kind, group, version) => {
            convert(kind.unwrap_or_default(), group.unwrap_or_default(), version.unwrap_or_default())?
        }
    };
    let protobuf = offer.encoding == Encoding::Protobuf;
    let possible = match form {
        Form::Object => !protobuf || served == Served::BuiltIn,
        Form::Table(_) => !protobuf,
        Form::Metadata(_) | Form::MetadataList(_) => true,
    };
    possible.then_some(Accepted { form, pretty: of("pretty") == Some("1"), ..offer })
}

fn convert(kind: &str, group: &str, version: &str) -> Option<Form> {
    let version = match (group, version) {
        ("meta.k8s.io", "v1") => MetaVersion::V1,
        ("meta.k8s.io", "v1beta1") => MetaVersion::V1beta1,
        _ => return None,
    };
    match kind {
        "Table" => Some(Form::Table(version)),
        "PartialObjectMetadata" => Some(Form::Metadata(version)),
        "PartialObjectMetadataList" => Some(Form::MetadataList(version)),
        _ => None,
    }
}
