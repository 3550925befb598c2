//! A PUT: the present object replaced by another one (`apiserver:pkg/endpoints/handlers/update.go`).

use serde_json::{Map, Value};
use wire::gotext::quote;
use wire::schema::Kind;
use wire::{Resource, Status};

use crate::object_type::{TYPE, check_custom_type, has_no_text};
use crate::write::{Outcome, Served, Write, check_name, finish, match_namespace, text_of};
use crate::{metadata, normal};

/// Where the API server's own kinds are registered, in its words.
const SCHEME: &str = "\"pkg/api/legacyscheme/scheme.go:30\"";

/// Replaces the present object by the body of a PUT, which is JSON whatever form it came in.
///
/// # Errors
/// As [`patch()`](crate::patch()); also 409 for a uid that is not the present one.
pub fn update(current: &Value, write: &Write<'_>, body: Value) -> Result<Outcome, Status> {
    let kind = text_of(current, "kind");
    let unrecognized = |why: &str| {
        Status::bad_request(format!("the object provided is unrecognized (must be of type {kind}): {why}"))
    };
    let Value::Object(said) = body else { return Err(unrecognized("it is no JSON object")) };
    if has_no_text(&said) {
        return Err(unrecognized("couldn't get version/kind"));
    }
    check_served(&said, kind, write)?;
    let mut members = said.clone();
    for name in TYPE {
        members.extend(current.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    let mut both = normal::of(Value::Object(members), current, write.served, write.release)
        .map_err(|error| refuse(text_or(&said, "kind", kind), &write.resource.version, kind, &error))?;
    if write.release.checks_namespace_first() {
        match_namespace(&mut both.object, write.resource)?;
    }
    check_name(&both.object, write.resource)?;
    check_uid(&both.object, current, write)?;
    if matches!(write.served, Served::Custom { .. }) {
        check_custom_type(&said, current, write)?;
    }
    finish(current, both, write)
}

fn text_or<'o>(object: &'o Map<String, Value>, name: &str, otherwise: &'o str) -> &'o str {
    object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).unwrap_or(otherwise)
}

fn refuse(kind: &str, version: &str, wanted: &str, why: &str) -> Status {
    let version = quote(version);
    Status::bad_request(format!("{kind} in version {version} cannot be handled as a {wanted}: {why}"))
}

/// The body's type must be the request's. A built-in kind may be left out.
fn check_served(said: &Map<String, Value>, kind: &str, write: &Write<'_>) -> Result<(), Status> {
    let expected = write.resource.api_version();
    let is_custom = matches!(write.served, Served::Custom { .. });
    // Seen of 1.36, not of 1.20: a custom resource says its version itself.
    let otherwise = if is_custom && write.release.validates_fields() { "" } else { &*expected };
    let (said_kind, said_version) = (text_or(said, "kind", kind), text_or(said, "apiVersion", otherwise));
    let version = said_version.rsplit('/').next().unwrap_or_default();
    if is_custom && text_or(said, "kind", "").is_empty() {
        return Err(refuse(kind, version, kind, "unmarshalerDecoder: Object 'Kind' is missing"));
    }
    if !is_custom && Kind::of(said_version, said_kind).is_none() {
        let (quoted_kind, quoted_version) = (quote(said_kind), quote(said_version));
        let why =
            format!("no kind {quoted_kind} is registered for version {quoted_version} in scheme {SCHEME}");
        return Err(refuse(said_kind, version, kind, &why));
    }
    if said_version != expected {
        return Err(Status::bad_request(format!(
            "the API version in the data ({said_version}) does not match the expected API version ({expected})"
        )));
    }
    if !is_custom && said_kind != kind {
        return Err(refuse(said_kind, version, kind, "it is another kind"));
    }
    Ok(())
}

fn check_uid(object: &Value, current: &Value, write: &Write<'_>) -> Result<(), Status> {
    let (uid, present) = (metadata::text(object, "uid"), metadata::text(current, "uid"));
    if uid.is_empty() || uid == present {
        return Ok(());
    }
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
         failed: UID in precondition: {uid}, UID in object meta: {present}",
        storage_key(write)
    );
    Err(Status::conflict(write.resource.group_resource(), &write.resource.name, &why))
}

/// Where the API server keeps the object, which it tells whoever gets its uid wrong.
fn storage_key(write: &Write<'_>) -> String {
    let Resource { group, namespace, resource, name, .. } = write.resource;
    let place = match (write.served, resource.as_str()) {
        (Served::Custom { .. }, resource) => format!("{group}/{resource}"),
        (Served::BuiltIn(_), "nodes") if group.is_empty() => "minions".to_owned(),
        (Served::BuiltIn(_), "services") if group.is_empty() => "services/specs".to_owned(),
        (Served::BuiltIn(_), "endpoints") if group.is_empty() => "services/endpoints".to_owned(),
        (Served::BuiltIn(_), resource) => resource.to_owned(),
    };
    let slash = if namespace.is_empty() { "" } else { "/" };
    format!("/registry/{place}/{namespace}{slash}{name}")
}
