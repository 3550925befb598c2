//! The `Content-Type` of bodies.

use super::{Encoding, JSON, PROTOBUF, YAML};
use crate::status::Status;

/// In which form the body of a create, update or delete came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// An object in an encoding of ours.
    Object(Encoding),
    /// YAML: the API server takes it, the hub only hands it on.
    Yaml,
}

/// Judges the `Content-Type` of a create, update or delete; empty or absent means JSON. 415 for anything unknown, CBOR
/// included, whereupon client-go falls back to JSON.
pub fn body(content_type: &str) -> Result<Body, Status> {
    if content_type.is_empty() {
        return Ok(Body::Object(Encoding::Json));
    }
    match parse(content_type).as_deref() {
        Some(JSON) => Ok(Body::Object(Encoding::Json)),
        Some(PROTOBUF) => Ok(Body::Object(Encoding::Protobuf)),
        Some(YAML) => Ok(Body::Yaml),
        _ => Err(Status::unsupported_media_type(&[JSON, YAML, PROTOBUF])),
    }
}

/// What a PATCH body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own; built-in kinds only.
    Strategic,
    /// Server-side apply.
    Apply,
}

/// The media types of patches, in the order in which the API server names them.
pub const PATCH_TYPES: [(&str, Patch); 4] = [
    ("application/json-patch+json", Patch::Json),
    ("application/merge-patch+json", Patch::Merge),
    ("application/strategic-merge-patch+json", Patch::Strategic),
    ("application/apply-patch+yaml", Patch::Apply),
];

/// Judges the `Content-Type` of a PATCH: compared as it stands, up to the first semicolon. 415 for anything unknown,
/// and for a strategic merge patch of a custom resource.
pub fn patch(content_type: &str, served: super::Served) -> Result<Patch, Status> {
    let known = || {
        PATCH_TYPES
            .into_iter()
            .filter(move |(_, patch)| served == super::Served::BuiltIn || *patch != Patch::Strategic)
    };
    let media_type = match content_type.find(';') {
        Some(end) if end > 0 => content_type.get(..end).unwrap_or_default(),
        _ => content_type,
    };
    known().find(|(name, _)| *name == media_type).map(|(_, patch)| patch).ok_or_else(|| {
        let accepted: Vec<&str> = known().map(|(name, _)| name).collect();
        Status::unsupported_media_type(&accepted)
    })
}

/// The media type in lower case, if the header is well formed (RFC 9110, section 8.3.1).
fn parse(header: &str) -> Option<String> {
    let (media_type, mut rest) = header.split_once(';').unwrap_or((header, ""));
    let media_type = media_type.trim().to_ascii_lowercase();
    let (kind, subtype) = media_type.split_once('/')?;
    if !is_token(kind) || !is_token(subtype) {
        return None;
    }
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Some(media_type);
        }
        let (name, after) = rest.split_once('=')?;
        if !is_token(name.trim_end()) {
            return None;
        }
        let after = match after.strip_prefix('"') {
            Some(quoted) => skip_quoted(quoted)?,
            None => {
                let end = after.find([';', ' ', '\t']).unwrap_or(after.len());
                let (value, after) = after.split_at_checked(end)?;
                if !is_token(value) {
                    return None;
                }
                after
            }
        };
        rest = match after.trim_start() {
            "" => "",
            after => after.strip_prefix(';')?,
        };
    }
}

/// What follows the closing quote.
fn skip_quoted(text: &str) -> Option<&str> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return text.get(at + 1..),
            _ => {}
        }
    }
    None
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
