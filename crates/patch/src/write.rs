//! A patch of one object, and what happens to every object that is to replace the present one.

use serde_json::Value;
use wire::gotext::quote;
use wire::schema::Kind;
use wire::status::{Cause, GroupResource};
use wire::{Resource, Status};

use crate::normal::Both;
use crate::object_type::{TYPE, check_custom_type, check_type, has_no_text};
use crate::release::Release;
use crate::{
    convert, decode, json_patch, merge, metadata, node_restriction, normal, strategic, strategy, text,
};

/// What serves the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// The API server itself.
    BuiltIn(Kind),
    /// A custom resource.
    Custom {
        /// Whether its definition has the subresource `status`.
        status: bool,
    },
}

/// What a write is about, and by whose rules it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// The resource that the request names.
    pub resource: &'a Resource,
    /// What serves it.
    pub served: Served,
    /// The cloud's release.
    pub release: Release,
    /// The node whose kubelet writes, by its certificate; the admission plugin NodeRestriction holds for it.
    pub node: Option<&'a str>,
}

/// The media types of patches that can be applied here. Server-side apply needs a memory of who owns which field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// `application/json-patch+json`.
    Json,
    /// `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
}

impl Form {
    /// The form of a patch whose media type was judged; `None` for server-side apply.
    pub fn of(patch: wire::media::Patch) -> Option<Form> {
        match patch {
            wire::media::Patch::Json => Some(Form::Json),
            wire::media::Patch::Merge => Some(Form::Merge),
            wire::media::Patch::Strategic => Some(Form::Strategic),
            wire::media::Patch::Apply => None,
        }
    }
}

/// What a write leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The object is now this one. Where it equals the present one, nothing is stored and its resourceVersion stays;
    /// else the caller sets the new one.
    Stored(Value),
    /// The object, which was being deleted, has lost its last finalizer and is gone. This is the last of it, and the
    /// answer.
    Removed(Value),
}

impl Outcome {
    /// The object that is the answer.
    pub fn object(&self) -> &Value {
        match self {
            Outcome::Stored(object) | Outcome::Removed(object) => object,
        }
    }
}

/// Applies a patch to the present object.
///
/// # Errors
/// The API server's answer: 400 for a body that cannot be read or names another object, 403 by NodeRestriction, 409
/// for a resourceVersion that is not the present one, 413 and 422 for what cannot be applied or would not be valid,
/// 415 for a strategic merge patch of a custom resource, 500 where the API server has no better word.
pub fn patch(current: &Value, write: &Write<'_>, form: Form, body: &[u8]) -> Result<Outcome, Status> {
    let patched = match (form, write.served) {
        (Form::Strategic, Served::Custom { .. }) => {
            let custom = wire::media::Served::Custom;
            return Err(wire::media::patch(wire::media::PATCH_TYPES[2].0, custom).err().unwrap_or_default());
        }
        (Form::Strategic, Served::BuiltIn(kind)) => strategic_patch(current, write, kind, body)?,
        (Form::Merge, _) => {
            let mut object = current.as_object().cloned().unwrap_or_default();
            merge::apply(&mut object, decode::merge_patch(body, write.release)?, write.release);
            read(Value::Object(object), current, write)?
        }
        (Form::Json, _) => {
            let operations = decode::json_patch(body, write.release)?;
            let object =
                json_patch::apply(current.clone(), &operations).map_err(|_| strategic::unprocessable())?;
            read(object, current, write)?
        }
    };
    finish(current, patched, write)
}

fn strategic_patch<'a>(
    current: &'a Value,
    write: &Write<'_>,
    kind: Kind,
    body: &[u8],
) -> Result<Both<'a>, Status> {
    let patch = decode::strategic_patch(body, write.release)?;
    let object = current.as_object().cloned().unwrap_or_default();
    let said = patch.clone();
    let quoted = || text::go(&Value::Object(said.clone()));
    let mut object =
        strategic::apply(object, patch, kind.message(), write.release).map_err(|error| error.to_status())?;
    if has_no_text(&object) {
        return Err(invalid_patch(&quoted(), "kind and apiVersion are text"));
    }
    // The type is that of the request, whatever the patch says.
    object.insert("kind".to_owned(), kind.name().into());
    object.insert("apiVersion".to_owned(), kind.api_version().into());
    normal::of(Value::Object(object), current, write.served, write.release)
        .map_err(|error| invalid_patch(&quoted(), &error))
}

/// Reads what a patch in JSON made of an object.
fn read<'a>(mut object: Value, current: &'a Value, write: &Write<'_>) -> Result<Both<'a>, Status> {
    let quoted = object.to_string();
    let Some(members) = object.as_object_mut() else { return Err(invalid_patch(&quoted, "it is no object")) };
    if has_no_text(members) {
        return Err(invalid_patch(&quoted, "couldn't get version/kind"));
    }
    let said = members.clone();
    match write.served {
        Served::BuiltIn(_) => check_type(&said, current, write).map_err(|why| why.to_status(&quoted))?,
        Served::Custom { .. } if said.get("kind").is_none_or(|kind| kind.is_null() || kind == "") => {
            return Err(invalid_patch(&quoted, "Object 'Kind' is missing"));
        }
        Served::Custom { .. } => {}
    }
    for name in TYPE {
        members.extend(current.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    let both = normal::of(object, current, write.served, write.release)
        .map_err(|error| invalid_patch(&quoted, &error))?;
    if matches!(write.served, Served::Custom { .. })
        && let Err(wrong) = check_custom_type(&said, current, write)
    {
        if write.release.validates_fields() {
            // Seen of 1.36, not of 1.20: who comes too late hears that first.
            check_version(&both.current, &both.object, write)?;
        }
        return Err(wrong);
    }
    Ok(both)
}

pub(crate) fn invalid_patch(value: &str, why: &str) -> Status {
    Status::invalid("", "", "", vec![invalid("patch", &quote(value), why)])
}

pub(crate) fn invalid(field: &str, value: &str, why: &str) -> Cause {
    Cause {
        reason: "FieldValueInvalid".to_owned(),
        message: format!("Invalid value: {value}: {why}"),
        field: field.to_owned(),
    }
}

pub(crate) fn text_of<'o>(object: &'o Value, name: &str) -> &'o str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// What happens to every object that is to replace the present one, once it is read.
pub(crate) fn finish(present: &Value, both: Both<'_>, write: &Write<'_>) -> Result<Outcome, Status> {
    let resource = write.resource;
    let Both { mut object, current } = both;
    let current = &*current;
    if write.release.checks_namespace_first() {
        match_namespace(&mut object, resource)?;
    }
    check_name(&object, resource)?;
    convert::read(&mut object, resource);
    node_restriction::update(current, &object, write)?;
    let stale = check_version(current, &object, write).err();
    if let Some(stale) = stale.clone().filter(|_| !is_judged_first(write)) {
        return Err(stale);
    }
    match_namespace(&mut object, resource)?;
    metadata::keep(&mut object, current, "generation");
    strategy::prepare(&mut object, current, write);
    metadata::restore(&mut object, current);
    metadata::keep(&mut object, current, "resourceVersion");
    let causes = metadata::refused(&object, current);
    if !causes.is_empty() {
        let kind = text_of(current, "kind");
        return Err(Status::invalid(&resource.group, kind, &resource.name, causes));
    }
    if let Some(stale) = stale {
        return Err(stale);
    }
    let grace_is_over = metadata::number(current, "deletionGracePeriodSeconds").unwrap_or(0) == 0;
    let is_free = metadata::finalizers(&object).next().is_none();
    if metadata::is_deleting(current) && is_free && grace_is_over {
        return Ok(Outcome::Removed(object));
    }
    Ok(Outcome::Stored(if object == *current { present.clone() } else { object }))
}

/// Whether what is wrong with an object is found before its resourceVersion is looked at.
fn is_judged_first(write: &Write<'_>) -> bool {
    let Resource { group, resource, subresource, .. } = write.resource;
    let is_service = group.is_empty() && resource == "services" && subresource.is_empty();
    is_service && !write.release.stores_services_as_all()
}

/// The name in the body must be that in the path (`checkName` in the API server's `handlers/rest.go`).
pub(crate) fn check_name(object: &Value, resource: &Resource) -> Result<(), Status> {
    let (name, namespace) = (metadata::text(object, "name"), metadata::text(object, "namespace"));
    let wanted = &resource.name;
    if name.is_empty() {
        return Err(nameless(resource));
    }
    if name != wanted {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({wanted})"
        )));
    }
    if !resource.namespace.is_empty() && !namespace.is_empty() && namespace != resource.namespace {
        return Err(Status::bad_request(format!(
            "the namespace of the object ({namespace}) does not match the namespace on the request ({})",
            resource.namespace
        )));
    }
    Ok(())
}

pub(crate) fn nameless(resource: &Resource) -> Status {
    let why = "was undeterminable: name must be provided";
    Status::bad_request(format!("the name of the object ({} based on URL) {why}", resource.name))
}

/// The namespace is the request's; a body may leave it out, not change it. What has none loses any.
pub(crate) fn match_namespace(object: &mut Value, resource: &Resource) -> Result<(), Status> {
    // A namespace is no object inside of itself.
    let wanted = if resource.resource == "namespaces" { "" } else { resource.namespace.as_str() };
    let found = metadata::text(object, "namespace");
    if found == wanted {
        return Ok(());
    }
    if !found.is_empty() && !wanted.is_empty() {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(why));
    }
    metadata::set(object, "namespace", Some(wanted).filter(|name| !name.is_empty()).map(Value::from));
    Ok(())
}

/// A resourceVersion in the body must be the present one. None at all means whichever is the present one, where the
/// resource allows that.
fn check_version(current: &Value, object: &Value, write: &Write<'_>) -> Result<(), Status> {
    let GroupResource { group, resource } = write.resource.group_resource();
    let name = &write.resource.name;
    let (asked, present) = (version(object)?, version(current)?);
    match asked {
        0 if strategy::allows_unconditional_update(write) => Ok(()),
        0 => {
            let cause = invalid("metadata.resourceVersion", "0x0", "must be specified for an update");
            Err(Status::invalid(group, resource, name, vec![cause]))
        }
        asked if asked == present => Ok(()),
        _ => Err(Status::stale(write.resource.group_resource(), name)),
    }
}

fn version(object: &Value) -> Result<u64, Status> {
    let text = metadata::text(object, "resourceVersion");
    if text.is_empty() {
        return Ok(0);
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().map_err(|_| {
        let why = if is_number { "value out of range" } else { "invalid syntax" };
        Status::failure(500, "", format!("strconv.ParseUint: parsing {}: {why}", quote(text)))
    })
}
