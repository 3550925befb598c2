//! Create, update, patch and delete, as the API server's generic registry does them
//! (`apiserver:pkg/registry/generic/registry/store.go`).

use std::sync::Arc;

use serde_json::{Value, json};
use wire::Status;
use wire::media::{Patch, Served};
use wire::status::{Cause, GroupResource};

use super::kinds::Kind;
use super::object::{finalizers, map, meta, terminating, text, timestamp};
use super::store::Key;
use super::world::World;
use super::{patches, rules};

/// What a DELETE may say.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    grace: Option<i64>,
    uid: Option<String>,
    resource_version: Option<String>,
}

impl DeleteOptions {
    /// From a body, which may be nothing, and the query's `gracePeriodSeconds`.
    pub fn read(body: &Value, query: &wire::request::Query) -> Self {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let in_query = query.first("gracePeriodSeconds").and_then(|text| text.parse().ok());
        Self {
            grace: body.get("gracePeriodSeconds").and_then(Value::as_i64).or(in_query),
            uid: text("/preconditions/uid"),
            resource_version: text("/preconditions/resourceVersion"),
        }
    }
}

/// What is left to show of a deleted object.
#[derive(Debug, Clone)]
pub enum Deleted {
    /// The object as it was when it was deleted, or as it stays until it is.
    Object(Arc<Value>),
    /// A success without an object.
    Status(Status),
}

fn of(kind: &Kind) -> GroupResource<'_> {
    GroupResource { group: &kind.group, resource: &kind.resource }
}

/// Makes an object in `namespace`.
///
/// # Errors
/// As the API server refuses it.
pub fn create(
    world: &mut World,
    kind: &Kind,
    namespace: &str,
    mut object: Value,
) -> Result<Arc<Value>, Status> {
    type_fits(kind, &mut object)?;
    place(kind, namespace, &mut object)?;
    if !matches!(text(&object, "metadata.resourceVersion").as_str(), "" | "0") {
        return Err(Status::failure(500, "", "resourceVersion should not be set on objects to be created"));
    }
    let mut name = text(&object, "metadata.name");
    let prefix = text(&object, "metadata.generateName");
    if name.is_empty() && prefix.is_empty() {
        let cause = Cause {
            reason: "FieldValueRequired".into(),
            message: "Required value: name or generateName is required".into(),
            field: "metadata.name".into(),
        };
        return Err(Status::invalid(&kind.group, &kind.kind, "", vec![cause]));
    }
    if name.is_empty() {
        name = format!("{prefix}{}", world.suffix());
        meta(&mut object).insert("name".into(), name.as_str().into());
    }
    if kind.namespaced && world.store.get(&World::namespace_key(namespace)).is_none() {
        return Err(Status::not_found(GroupResource { group: "", resource: "namespaces" }, namespace));
    }
    let key = world.key(kind, namespace, &name);
    if world.store.get(&key).is_some() {
        return Err(Status::already_exists(of(kind), &name));
    }
    rules::on_create(kind, &mut object);
    let (uid, now) = (world.uid(), timestamp(world.now));
    meta(&mut object).insert("uid".into(), uid.into());
    meta(&mut object).insert("creationTimestamp".into(), now.into());
    Ok(world.store.put(key, &object))
}

/// The type that a body names must be the one of the path; a body may leave it out.
fn type_fits(kind: &Kind, object: &mut Value) -> Result<(), Status> {
    let (own, version) = (text(object, "kind"), text(object, "apiVersion"));
    let fits = |given: &str, expected: &str| given.is_empty() || given == expected;
    if !fits(&own, &kind.kind) || !fits(&version, &kind.api_version()) {
        return Err(Status::bad_request(format!(
            "{own} in version {} cannot be handled as a {}: converting ({version}.{own}) to ({}.{}): unknown conversion",
            wire::gotext::quote(&version),
            kind.kind,
            kind.api_version(),
            kind.kind,
        )));
    }
    map(object).insert("kind".into(), kind.kind.as_str().into());
    map(object).insert("apiVersion".into(), kind.api_version().into());
    Ok(())
}

fn place(kind: &Kind, namespace: &str, object: &mut Value) -> Result<(), Status> {
    let given = text(object, "metadata.namespace");
    if !kind.namespaced {
        meta(object).remove("namespace");
        return Ok(());
    }
    if !given.is_empty() && given != namespace {
        return Err(Status::bad_request(format!(
            "the namespace of the object ({given}) does not match the namespace on the request ({namespace})"
        )));
    }
    meta(object).insert("namespace".into(), namespace.into());
    Ok(())
}

/// Replaces an object or its status; true where a PUT made it.
///
/// # Errors
/// As the API server refuses it.
pub fn update(
    world: &mut World,
    kind: &Kind,
    key: &Key,
    subresource: &str,
    mut object: Value,
) -> Result<(Arc<Value>, bool), Status> {
    type_fits(kind, &mut object)?;
    name_fits(key, &object)?;
    place(kind, &key.namespace, &mut object)?;
    let Some(old) = world.store.get(key) else {
        if kind.create_on_update && subresource.is_empty() {
            return create(world, kind, &key.namespace, object).map(|object| (object, true));
        }
        return Err(Status::not_found(of(kind), &key.name));
    };
    let (given, uid) = (text(&object, "metadata.uid"), text(&old, "metadata.uid"));
    if !given.is_empty() && given != uid {
        let path = if kind.namespaced { format!("{}/{}", key.namespace, key.name) } else { key.name.clone() };
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{}/{path}, ResourceVersion: 0, AdditionalErrorMsg: \
             Precondition failed: UID in precondition: {given}, UID in object meta: {uid}",
            kind.resource
        );
        return Err(Status::conflict(of(kind), &key.name, &why));
    }
    version_fits(kind, &key.name, &text(&object, "metadata.resourceVersion"), &old)?;
    store_update(world, kind, key, subresource, &old, object).map(|object| (object, false))
}

fn name_fits(key: &Key, object: &Value) -> Result<(), Status> {
    let name = text(object, "metadata.name");
    if name == key.name {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "the name of the object ({name}) does not match the name on the URL ({})",
        key.name
    )))
}

fn version_fits(kind: &Kind, name: &str, given: &str, old: &Value) -> Result<(), Status> {
    if matches!(given, "" | "0") {
        if kind.unconditional {
            return Ok(());
        }
        let cause = Cause {
            reason: "FieldValueInvalid".into(),
            message: "Invalid value: 0x0: must be specified for an update".into(),
            field: "metadata.resourceVersion".into(),
        };
        return Err(Status::invalid(&kind.group, &kind.resource, name, vec![cause]));
    }
    if given.parse::<u64>().is_err() {
        let quoted = wire::gotext::quote(given);
        let message = format!("strconv.ParseUint: parsing {quoted}: invalid syntax");
        return Err(Status::failure(500, "", message));
    }
    if given == text(old, "metadata.resourceVersion") { Ok(()) } else { Err(Status::stale(of(kind), name)) }
}

/// Writes the next state of an object, unless it is the present one; deletes it where only finalizers kept it.
fn store_update(
    world: &mut World,
    kind: &Kind,
    key: &Key,
    subresource: &str,
    old: &Arc<Value>,
    mut object: Value,
) -> Result<Arc<Value>, Status> {
    rules::on_update(kind, subresource, old, &mut object)?;
    super::object::carry_meta(old, &mut object, "resourceVersion");
    if object == **old {
        return Ok(Arc::clone(old));
    }
    let grace = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    if terminating(&object) && finalizers(&object).is_empty() && grace.unwrap_or(0) == 0 {
        world.store.delete(key);
        return Ok(Arc::new(object));
    }
    Ok(world.store.put(key.clone(), &object))
}

/// Changes an object or its status by a patch.
///
/// # Errors
/// As the API server refuses it: a wrong uid with 422, a wrong resourceVersion with 409.
pub fn patch(
    world: &mut World,
    kind: &Kind,
    key: &Key,
    subresource: &str,
    how: Patch,
    body: &[u8],
) -> Result<Arc<Value>, Status> {
    let old = world.store.get(key).ok_or_else(|| Status::not_found(of(kind), &key.name))?;
    let mut object = patches::apply(kind, how, &old, body)?;
    type_fits(kind, &mut object)?;
    name_fits(key, &object)?;
    place(kind, &key.namespace, &mut object)?;
    version_fits_patch(kind, &key.name, &text(&object, "metadata.resourceVersion"), &old)?;
    let given = text(&object, "metadata.uid");
    if !given.is_empty() && given != text(&old, "metadata.uid") {
        let cause = Cause {
            reason: "FieldValueInvalid".into(),
            message: format!("Invalid value: {}: field is immutable", wire::gotext::quote(&given)),
            field: "metadata.uid".into(),
        };
        return Err(rules::twice(kind, &key.name, cause));
    }
    store_update(world, kind, key, subresource, &old, object)
}

/// A patch without a resourceVersion never conflicts, whatever the kind asks of a PUT.
fn version_fits_patch(kind: &Kind, name: &str, given: &str, old: &Value) -> Result<(), Status> {
    if matches!(given, "" | "0") { Ok(()) } else { version_fits(kind, name, given, old) }
}

/// What kind of patches a kind takes.
pub fn served(kind: &Kind) -> Served {
    if kind.custom { Served::Custom } else { Served::BuiltIn }
}

/// Deletes an object, or begins to.
///
/// # Errors
/// 404; 409 for a precondition that does not hold.
pub fn delete(world: &mut World, kind: &Kind, key: &Key, options: &DeleteOptions) -> Result<Deleted, Status> {
    let old = world.store.get(key).ok_or_else(|| Status::not_found(of(kind), &key.name))?;
    preconditions(kind, &key.name, options, &old)?;
    if kind.resource == "pods" && kind.group.is_empty() {
        return Ok(Deleted::Object(delete_pod(world, key, options, &old)));
    }
    if finalizers(&old).is_empty() {
        world.store.delete(key);
        return Ok(Deleted::Status(Status::deleted(of(kind), &key.name, &text(&old, "metadata.uid"))));
    }
    if terminating(&old) {
        return Ok(Deleted::Object(old));
    }
    Ok(Deleted::Object(mark(world, key, &old, 0)))
}

fn preconditions(kind: &Kind, name: &str, options: &DeleteOptions, old: &Value) -> Result<(), Status> {
    let of = GroupResource { group: &kind.group, resource: &kind.kind };
    let uid = text(old, "metadata.uid");
    if let Some(given) = options.uid.as_ref().filter(|given| **given != uid) {
        let why = format!(
            "the UID in the precondition ({given}) does not match the UID in record ({uid}). The object might have been \
             deleted and then recreated"
        );
        return Err(Status::conflict(of, name, &why));
    }
    let version = text(old, "metadata.resourceVersion");
    if let Some(given) = options.resource_version.as_ref().filter(|given| **given != version) {
        let why = format!(
            "the ResourceVersion in the precondition ({given}) does not match the ResourceVersion in record ({version}). \
             The object might have been modified"
        );
        return Err(Status::conflict(of, name, &why));
    }
    Ok(())
}

/// A pod gets time to end, unless nothing of it can run (`pkg/registry/core/pod/strategy.go`, CheckGracefulDelete).
fn delete_pod(world: &mut World, key: &Key, options: &DeleteOptions, old: &Arc<Value>) -> Arc<Value> {
    let own = old.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(30);
    let ended = matches!(text(old, "status.phase").as_str(), "Succeeded" | "Failed");
    let cannot_run = text(old, "spec.nodeName").is_empty() || ended;
    let asked = options.grace.unwrap_or(own).max(0);
    let grace = if cannot_run { 0 } else { asked };
    let granted = old.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    if granted.is_some_and(|granted| options.grace.is_none_or(|_| grace >= granted)) && granted != Some(0) {
        return Arc::clone(old);
    }
    let marked = if granted == Some(0) { Arc::clone(old) } else { mark(world, key, old, grace) };
    if grace == 0 && finalizers(&marked).is_empty() {
        world.store.delete(key);
    }
    marked
}

fn mark(world: &mut World, key: &Key, old: &Value, grace: i64) -> Arc<Value> {
    let mut object = old.clone();
    let at = timestamp(world.now + grace);
    meta(&mut object).insert("deletionTimestamp".into(), at.into());
    meta(&mut object).insert("deletionGracePeriodSeconds".into(), json!(grace));
    world.store.put(key.clone(), &object)
}
