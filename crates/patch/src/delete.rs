//! What a DELETE does to an object (`apiserver:pkg/registry/rest/delete.go`, `pkg/registry/generic/registry/store.go`).

use serde_json::Value;
use wire::Status;
use wire::gotext::quote;
use wire::status::{Cause, GroupResource};

use crate::write::Write;
use crate::{metadata, node_restriction, time};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// The options of a DELETE that decide what becomes of the object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteOptions {
    /// How long, in seconds, it may take to end; pods only.
    pub grace_period_seconds: Option<i64>,
    /// The uid that the object must have.
    pub uid: Option<String>,
    /// The resourceVersion that the object must have.
    pub resource_version: Option<String>,
    /// `Orphan`, `Background` or `Foreground`.
    pub propagation_policy: Option<String>,
    /// The older form of the policy `Orphan`.
    pub orphan_dependents: Option<bool>,
}

impl DeleteOptions {
    /// Reads the options from the JSON form of their body; a body that is none of an object says nothing.
    pub fn of(body: &Value) -> DeleteOptions {
        let text = |holder: Option<&Value>, name: &str| {
            holder.and_then(|holder| holder.get(name)).and_then(Value::as_str).map(str::to_owned)
        };
        let preconditions = body.get("preconditions");
        DeleteOptions {
            grace_period_seconds: body.get("gracePeriodSeconds").and_then(Value::as_i64),
            uid: text(preconditions, "uid"),
            resource_version: text(preconditions, "resourceVersion"),
            propagation_policy: text(Some(body), "propagationPolicy"),
            orphan_dependents: body.get("orphanDependents").and_then(Value::as_bool),
        }
    }
}

/// What a DELETE leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Deletion {
    /// The object is gone. This is the last of it.
    Removed(Value),
    /// The object stays, with deletionTimestamp, until its finalizers are gone and its time is over. The caller sets
    /// its new resourceVersion.
    Marked(Value),
    /// The object is being deleted already, and no later than was asked for now.
    Pending(Value),
}

/// Deletes the present object at `now`, seconds since 1970.
///
/// Pods are given time to end: until it is over they stay, unless it is zero, they are bound to no node, or they have
/// ended already. Everything else goes at once. Whatever has finalizers stays in any case.
///
/// # Errors
/// 403 by NodeRestriction, 409 for preconditions that do not hold, 422 for options that contradict each other.
pub fn delete(
    current: &Value,
    write: &Write<'_>,
    options: &DeleteOptions,
    now: i64,
) -> Result<Deletion, Status> {
    node_restriction::delete(current, write)?;
    check_options(options)?;
    check_preconditions(current, write, options)?;
    let mut object = current.clone();
    let grace = match graceful(&mut object, write, options, now) {
        Grace::Pending => return Ok(Deletion::Pending(object)),
        Grace::None => None,
        Grace::Seconds(seconds) => Some(seconds),
    };
    let finalizers = finalizers(current, options);
    let has_finalizers = !finalizers.is_empty();
    metadata::set(&mut object, "finalizers", has_finalizers.then(|| finalizers.into()));
    match (grace, has_finalizers) {
        (None, true) => {
            mark(&mut object, now);
            Ok(Deletion::Marked(object))
        }
        (Some(seconds), has_finalizers) if has_finalizers || seconds > 0 => Ok(Deletion::Marked(object)),
        _ => Ok(Deletion::Removed(object)),
    }
}

fn check_options(options: &DeleteOptions) -> Result<(), Status> {
    const POLICIES: [&str; 3] = ["Foreground", "Background", "Orphan"];
    let Some(policy) = options.propagation_policy.as_deref() else { return Ok(()) };
    let mut causes = Vec::new();
    let mut refuse = |reason: &str, message: String| {
        let field = "propagationPolicy".to_owned();
        causes.push(Cause { reason: reason.to_owned(), message, field });
    };
    if options.orphan_dependents.is_some() {
        let why = "orphanDependents and deletionPropagation cannot be both set";
        refuse("FieldValueInvalid", format!("Invalid value: {}: {why}", quote(policy)));
    }
    if !POLICIES.contains(&policy) {
        let supported = r#"supported values: "Foreground", "Background", "Orphan", "nil""#;
        refuse("FieldValueNotSupported", format!("Unsupported value: {}: {supported}", quote(policy)));
    }
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", causes)) }
}

fn check_preconditions(current: &Value, write: &Write<'_>, options: &DeleteOptions) -> Result<(), Status> {
    let checks = [
        ("UID", &options.uid, "uid", "deleted and then recreated"),
        ("ResourceVersion", &options.resource_version, "resourceVersion", "modified"),
    ];
    let kind = current.get("kind").and_then(Value::as_str).unwrap_or_default();
    let of = GroupResource { group: &write.resource.group, resource: kind };
    for (word, asked, name, fate) in checks {
        let present = metadata::text(current, name);
        if let Some(asked) = asked.as_ref().filter(|asked| *asked != present) {
            let why = format!(
                "the {word} in the precondition ({asked}) does not match the {word} in record ({present}). The object might have been {fate}"
            );
            return Err(Status::conflict(of, metadata::text(current, "name"), &why));
        }
    }
    Ok(())
}

enum Grace {
    /// The resource knows no such thing, or it was given already.
    None,
    /// It was given already, and is no longer than was asked for.
    Pending,
    /// This much of it is now noted in the object.
    Seconds(i64),
}

/// Gives a pod time to end.
fn graceful(object: &mut Value, write: &Write<'_>, options: &DeleteOptions, now: i64) -> Grace {
    if (write.resource.group.as_str(), write.resource.resource.as_str()) != ("", "pods") {
        return Grace::None;
    }
    // From release 1.24 on, a negative time is the shortest one.
    let asked = options.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
    if metadata::is_deleting(object) {
        let given = metadata::number(object, "deletionGracePeriodSeconds").unwrap_or(0);
        return match asked {
            _ if given == 0 => Grace::None,
            Some(asked) if asked < given => shorten(object, given, asked, now),
            _ => Grace::Pending,
        };
    }
    let seconds = pod_grace(object, asked);
    note(object, now.saturating_add(seconds), seconds);
    count_generation(object);
    Grace::Seconds(seconds)
}

/// Moves the end forward; not into the past, and what was to be graceful stays so.
fn shorten(object: &mut Value, given: i64, asked: i64, now: i64) -> Grace {
    let end = time::parse(metadata::text(object, "deletionTimestamp")).unwrap_or(now);
    let end = end.saturating_sub(given).saturating_add(asked);
    let (end, seconds) = if end < now { (now, asked.min(1)) } else { (end, asked) };
    note(object, end, seconds);
    Grace::Seconds(seconds)
}

fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let field = |path| pod.pointer(path);
    let is_bound = field("/spec/nodeName").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    let has_ended = field("/status/phase").is_some_and(|phase| phase == "Failed" || phase == "Succeeded");
    if !is_bound || has_ended {
        return 0;
    }
    let own = field("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    asked.or(own).map_or(0, |seconds| if seconds < 0 { 1 } else { seconds })
}

fn note(object: &mut Value, end: i64, seconds: i64) {
    metadata::set(object, "deletionTimestamp", Some(time::format(end).into()));
    metadata::set(object, "deletionGracePeriodSeconds", Some(seconds.into()));
}

/// Marks what knows no time to end: it ends when its finalizers are gone.
fn mark(object: &mut Value, now: i64) {
    let marked = time::parse(metadata::text(object, "deletionTimestamp"));
    if !metadata::is_deleting(object) {
        count_generation(object);
    }
    note(object, marked.map_or(now, |marked| marked.min(now)), 0);
}

fn count_generation(object: &mut Value) {
    if let Some(generation) = metadata::number(object, "generation").filter(|generation| *generation > 0) {
        metadata::set(object, "generation", Some(generation.saturating_add(1).into()));
    }
}

/// The finalizers after the delete: those that tell the garbage collector what to do with dependents come and go with
/// the policy, all others stay.
fn finalizers(current: &Value, options: &DeleteOptions) -> Vec<String> {
    let has = |name: &str| {
        metadata::finalizers(current).find(|own| [ORPHAN, FOREGROUND].contains(own)) == Some(name)
    };
    let (orphan, foreground) = match (options.orphan_dependents, options.propagation_policy.as_deref()) {
        (Some(orphan), _) => (orphan, false),
        (None, Some(policy)) => (policy == "Orphan", policy == "Foreground"),
        (None, None) => (has(ORPHAN), has(FOREGROUND)),
    };
    let own = metadata::finalizers(current).filter(|name| ![ORPHAN, FOREGROUND].contains(name));
    let added = [(orphan, ORPHAN), (foreground, FOREGROUND)].into_iter().filter(|(added, _)| *added);
    let all: Vec<String> = own.chain(added.map(|(_, name)| name)).map(str::to_owned).collect();
    let before: std::collections::BTreeSet<&str> = metadata::finalizers(current).collect();
    let after: std::collections::BTreeSet<&str> = all.iter().map(String::as_str).collect();
    if before == after { metadata::finalizers(current).map(str::to_owned).collect() } else { all }
}
