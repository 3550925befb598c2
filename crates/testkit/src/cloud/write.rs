//! Create, update, patch and delete, as the API server's generic registry does them
//! (`apiserver:pkg/registry/generic/registry/store.go`). What becomes of an object is `patch`'s to say; here it is found
//! and stored.

use std::sync::Arc;

use patch::{DeleteOptions, Deletion, Form, Outcome, Served, Write};
use serde_json::Value;
use wire::media::Patch;
use wire::status::{Cause, GroupResource};
use wire::{Resource, Status};

use super::kinds::Kind;
use super::object::{map, meta, text, timestamp};
use super::store::Key;
use super::world::World;
use super::{encoding, rules};

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
    let object = encoding::normal(&object).map_err(|error| error.to_status())?;
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

/// Whose write it is, and through which path: what the rules of updates depend on.
#[derive(Debug, Clone, Copy)]
pub struct Through<'a> {
    /// The kind.
    pub kind: &'a Kind,
    /// The resource in the path.
    pub of: &'a Resource,
    /// The node whose kubelet writes, if one does.
    pub node: Option<&'a str>,
}

impl Through<'_> {
    fn with<T>(
        &self,
        world: &World,
        work: impl FnOnce(&Write<'_>) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let served = match self.kind.known() {
            Some(known) => Served::BuiltIn(known),
            None => Served::Custom { status: self.kind.status },
        };
        let release = patch::Release::minor(world.release.minor());
        work(&Write { resource: self.of, served, release, node: self.node })
    }

    fn absent(&self) -> Status {
        Status::not_found(self.of.group_resource(), &self.of.name)
    }
}

/// Replaces an object or its status; true where a PUT made it.
///
/// # Errors
/// As the API server refuses it.
pub fn update(
    world: &mut World,
    through: Through<'_>,
    key: &Key,
    object: Value,
) -> Result<(Arc<Value>, bool), Status> {
    let kind = through.kind;
    let Some(old) = world.store.get(key) else {
        if kind.create_on_update && through.of.subresource.is_empty() {
            return create(world, kind, &key.namespace, object).map(|object| (object, true));
        }
        return Err(through.absent());
    };
    let outcome = through.with(world, |write| patch::update(&old, write, object))?;
    store(world, through, key, &old, outcome).map(|object| (object, false))
}

/// Changes an object or its status by a patch.
///
/// # Errors
/// As the API server refuses it: a wrong uid with 422, a wrong resourceVersion with 409.
pub fn patch(
    world: &mut World,
    through: Through<'_>,
    key: &Key,
    how: Patch,
    body: &[u8],
) -> Result<Arc<Value>, Status> {
    let old = world.store.get(key).ok_or_else(|| through.absent())?;
    let form = Form::of(how).ok_or_else(|| {
        let known: Vec<&str> = wire::media::PATCH_TYPES.iter().take(3).map(|(name, _)| *name).collect();
        Status::unsupported_media_type(&known)
    })?;
    let outcome = through.with(world, |write| patch::patch(&old, write, form, body))?;
    store(world, through, key, &old, outcome)
}

/// Writes the next state of an object, unless it is the present one; deletes it where only finalizers kept it.
fn store(
    world: &mut World,
    through: Through<'_>,
    key: &Key,
    old: &Arc<Value>,
    outcome: Outcome,
) -> Result<Arc<Value>, Status> {
    if key.is_in("", "pods", "") && through.of.subresource.is_empty() {
        rules::pod_spec_stays(old, outcome.object())?;
    }
    match outcome {
        Outcome::Removed(object) => {
            world.store.delete(key);
            Ok(Arc::new(object))
        }
        Outcome::Stored(object) if object == **old => Ok(Arc::clone(old)),
        Outcome::Stored(object) => Ok(world.store.put(key.clone(), &object)),
    }
}

/// What kind of patches and encodings a kind takes.
pub fn served(kind: &Kind) -> wire::media::Served {
    if kind.custom { wire::media::Served::Custom } else { wire::media::Served::BuiltIn }
}

/// Deletes an object, or begins to.
///
/// # Errors
/// 404; 409 for a precondition that does not hold.
pub fn delete(
    world: &mut World,
    through: Through<'_>,
    key: &Key,
    options: &DeleteOptions,
) -> Result<Deleted, Status> {
    let old = world.store.get(key).ok_or_else(|| through.absent())?;
    let now = world.now;
    let pod = key.is_in("", "pods", "");
    Ok(match through.with(world, |write| patch::delete(&old, write, options, now))? {
        Deletion::Pending(_) => Deleted::Object(old),
        Deletion::Marked(object) if object == *old => Deleted::Object(old),
        Deletion::Marked(object) => Deleted::Object(world.store.put(key.clone(), &object)),
        // A pod is seen once more, with no time left, before it is gone.
        Deletion::Removed(object) if pod => {
            let last = if object == *old { old } else { world.store.put(key.clone(), &object) };
            world.store.delete(key);
            Deleted::Object(last)
        }
        Deletion::Removed(_) => {
            world.store.delete(key);
            removed(&through, key, &old)
        }
    })
}

/// How the removal of an object is answered.
fn removed(through: &Through<'_>, key: &Key, old: &Value) -> Deleted {
    let uid = text(old, "metadata.uid");
    Deleted::Status(Status::deleted(through.of.group_resource(), &key.name, &uid))
}

/// What a DELETE would be answered (`dryRun`).
///
/// # Errors
/// As [`delete`].
pub fn try_delete(
    world: &mut World,
    through: Through<'_>,
    key: &Key,
    options: &DeleteOptions,
) -> Result<Deleted, Status> {
    let old = world.store.get(key).ok_or_else(|| through.absent())?;
    let now = world.now;
    Ok(match through.with(world, |write| patch::delete(&old, write, options, now))? {
        Deletion::Removed(_) if !key.is_in("", "pods", "") => removed(&through, key, &old),
        _ => Deleted::Object(old),
    })
}

/// The options of a DELETE: its body, which may be nothing, and the query.
pub fn delete_options(body: &Value, query: &wire::request::Query) -> DeleteOptions {
    let mut options = DeleteOptions::of(body);
    let grace = query.first("gracePeriodSeconds").and_then(|text| text.parse().ok());
    options.grace_period_seconds = options.grace_period_seconds.or(grace);
    let policy = query.first("propagationPolicy").map(str::to_owned);
    options.propagation_policy = options.propagation_policy.or(policy);
    options
}
