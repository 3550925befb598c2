//! GET, LIST and the beginning of WATCH, as the API server answers them.
//!
//! What is served from where: a GET or LIST at "" reads etcd, at "0" and at N the watch cache; a LIST of an exact
//! moment reads etcd's past (`apiserver:pkg/storage/cacher`, `…/etcd3/store.go`).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use wire::request::{GetOptions, VersionMatch};
use wire::{ListOptions, Request, Status};

use super::fields::Selection;
use super::kinds::Kind;
use super::store::{Key, Objects, Store};
use super::watch::Watch;
use super::{Release, object};

/// A list, before it is encoded.
#[derive(Debug, Clone)]
pub struct List {
    /// The moment that it shows.
    pub revision: u64,
    /// The objects, in the order of their keys.
    pub items: Vec<Arc<Value>>,
    /// Where to go on.
    pub continue_token: Option<String>,
    /// How many more there are, where that is known.
    pub remaining: Option<usize>,
}

impl List {
    /// What is said of it as a whole.
    pub fn meta(&self) -> wire::ListMeta {
        wire::ListMeta {
            resource_version: self.revision.to_string(),
            continue_token: self.continue_token.clone().unwrap_or_default(),
            remaining: self.remaining.and_then(|remaining| i64::try_from(remaining).ok()),
        }
    }
}

/// What goes wrong where a number does not parse, in Go's words.
fn parse_version(text: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| {
        let why = if digits { "value out of range" } else { "invalid syntax" };
        let quoted = wire::gotext::quote(text);
        format!("resourceVersion: Invalid value: {quoted}: strconv.ParseUint: parsing {quoted}: {why}")
    })
}

/// As the API server answers an error of its own storage that is none of its statuses.
fn internal(message: String) -> Status {
    Status::failure(500, "", message)
}

/// 504 while the watch cache has not read up to `asked`.
fn fresh_enough(store: &Store, asked: u64) -> Result<(), Status> {
    let current = store.cached_revision();
    if asked > current { Err(Status::resource_version_too_large(asked, current)) } else { Ok(()) }
}

/// One object.
///
/// # Errors
/// 404; 504 for a resourceVersion that is not reached.
pub fn get(store: &Store, key: &Key, request: &Request) -> Result<Arc<Value>, Status> {
    let version = GetOptions::of(request).resource_version;
    let found = if version.is_empty() {
        store.get(key)
    } else {
        fresh_enough(store, parse_version(&version).map_err(internal)?)?;
        store.cached().get(key).cloned()
    };
    let of = wire::status::GroupResource { group: &key.group, resource: &key.resource };
    found.ok_or_else(|| Status::not_found(of, &key.name))
}

/// A list.
///
/// # Errors
/// 400 for options that cannot be read, 410 for a moment that is forgotten, 504 for one that is still to come. Pages of a
/// forgotten moment are [`expired_page`]'s.
pub fn list(
    store: &Store,
    kind: &Kind,
    namespace: &str,
    options: &ListOptions,
    release: Release,
) -> Result<List, Status> {
    let selection = Selection::new(kind, namespace, options)?;
    let version = options.resource_version.as_str();
    let limit = usize::try_from(options.limit).unwrap_or(0);
    if !options.continue_token.is_empty() {
        if !matches!(version, "" | "0") {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let (revision, start) = read_token(&options.continue_token).map_err(Status::bad_request)?;
        let revision = revision.unwrap_or(store.revision());
        let objects = store.objects_at(revision).unwrap_or_default();
        return Ok(page(&objects, &selection, namespace, (revision, &start), limit));
    }
    if version.is_empty() {
        return Ok(page(store.objects(), &selection, namespace, (store.revision(), ""), limit));
    }
    let asked = parse_version(version)
        .map_err(|why| Status::bad_request(format!("invalid resource version: {why}")))?;
    let exact = match options.version_match {
        Some(VersionMatch::Exact) => true,
        Some(VersionMatch::NotOlderThan) => false,
        None => limit > 0 && asked > 0,
    };
    if exact {
        let objects = exactly(store, asked, release)?;
        return Ok(page(&objects, &selection, namespace, (asked, ""), limit));
    }
    fresh_enough(store, asked)?;
    // The watch cache knows no pages.
    let limit = if asked == 0 { 0 } else { limit };
    Ok(page(&store.cached(), &selection, namespace, (store.cached_revision(), ""), limit))
}

fn exactly(store: &Store, asked: u64, release: Release) -> Result<Objects, Status> {
    if asked > store.revision() {
        return Err(match release {
            Release::V1_20 => internal("etcdserver: mvcc: required revision is a future revision".into()),
            _ => Status::resource_version_too_large(asked, store.revision()),
        });
    }
    let text = "The resourceVersion for the provided list is too old.";
    store.objects_at(asked).ok_or_else(|| Status::expired(text))
}

/// What is left of a page, from the key `start` on.
fn page(
    objects: &Objects,
    selection: &Selection,
    namespace: &str,
    (revision, start): (u64, &str),
    limit: usize,
) -> List {
    let relative = |key: &Key| match namespace {
        "" if !key.namespace.is_empty() => format!("{}/{}", key.namespace, key.name),
        _ => key.name.clone(),
    };
    let all: Vec<(String, &Arc<Value>)> = objects
        .iter()
        .filter(|(key, object)| selection.covers(key) && selection.takes(object))
        .map(|(key, object)| (relative(key), object))
        .filter(|(key, _)| key.as_str() >= start)
        .collect();
    let shown = if limit == 0 { all.len() } else { limit.min(all.len()) };
    let items = all[..shown].iter().map(|(_, object)| Arc::clone(object)).collect();
    let more = all.len() - shown;
    let continue_token = (more > 0).then(|| token(Some(revision), &format!("{}\0", all[shown - 1].0)));
    let remaining = (more > 0 && selection.takes_all()).then_some(more);
    List { revision, items, continue_token, remaining }
}

/// A continue token; without a revision it goes on at whatever there is then.
fn token(revision: Option<u64>, start: &str) -> String {
    let revision = revision.map_or(json!(-1), Value::from);
    URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start}).to_string())
}

fn read_token(token: &str) -> Result<(Option<u64>, String), String> {
    let wrong = |why: &str| format!("invalid continue token: continue key is not valid: {why}");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|e| wrong(&e.to_string()))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|e| wrong(&e.to_string()))?;
    if value["v"] != "meta.k8s.io/v1" || value["rv"] == 0 {
        return Err(wrong("incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
    }
    Ok((value["rv"].as_u64(), object::text(&value, "start")))
}

/// The 410 for a page of a moment that is forgotten: it says how to go on at the present one, without consistency.
pub fn expired_page(store: &Store, options: &ListOptions) -> Option<Value> {
    let (revision, start) = read_token(&options.continue_token).ok()?;
    if revision.is_none_or(|at| store.objects_at(at).is_some()) {
        return None;
    }
    let text = "The provided continue parameter is too old to display a consistent list result. You can start a new list \
                without the continue parameter, or use the continue token in this response to retrieve the remainder of \
                the results. Continuing with the provided token results in an inconsistent list - objects that were \
                created, modified, or deleted between the time the first chunk was returned and now may show up in the \
                list.";
    Some(json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {"continue": token(None, &start)}, "status": "Failure",
        "message": text, "reason": "Expired", "code": 410,
    }))
}

/// The beginning of a watch.
///
/// # Errors
/// 504 for a resourceVersion that is not reached.
pub fn watch(
    store: &Store,
    kind: &Kind,
    namespace: &str,
    request: &Request,
    options: &ListOptions,
    release: Release,
) -> Result<Watch, Status> {
    let selection = Selection::new(kind, namespace, options)?;
    let version = options.resource_version.as_str();
    let asked = if version.is_empty() { 0 } else { parse_version(version).map_err(internal)? };
    let initial = options.send_initial_events == Some(true);
    let explicit = request.query.first("sendInitialEvents").is_some();
    let mut watch = Watch::new(kind.clone(), selection, options, store.starts);
    if initial {
        fresh_enough(store, asked)?;
        watch.begin_with(&store.cached(), store.cached_revision(), release != Release::V1_20);
    } else if explicit && asked == 0 {
        watch.begin_after(store.cached_revision());
    } else if asked < store.remembered() {
        watch.expire(asked, store.remembered());
    } else {
        watch.begin_after(asked);
    }
    Ok(watch)
}

/// What a server before watch-list says to it; clients then list.
///
/// # Errors
/// 422 in its words.
pub fn refuse_match(request: &Request) -> Result<(), Status> {
    if request.query.first("resourceVersionMatch").is_none_or(str::is_empty) {
        return Ok(());
    }
    let cause = |detail: &str| wire::status::Cause {
        reason: "FieldValueForbidden".into(),
        message: format!("Forbidden: {detail}"),
        field: "resourceVersionMatch".into(),
    };
    let mut causes = vec![cause("resourceVersionMatch is forbidden for watch")];
    if request.query.first("resourceVersion").is_none_or(str::is_empty) {
        causes.push(cause("resourceVersionMatch is forbidden unless resourceVersion is provided"));
    }
    Err(Status::invalid("meta.k8s.io", "ListOptions", "", causes))
}
