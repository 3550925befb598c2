//! The cells of each kind.

use std::collections::BTreeSet;

use super::{Cell, age, network, pod, workload};
use crate::json::Node;
use crate::schema::Kind;

/// The cells of an object, and the conditions of its row as JSON, if it has any.
pub(super) fn row(kind: Option<Kind>, object: Node<'_, '_>, now: i64) -> (Vec<Cell>, Option<&'static str>) {
    let cells = match kind.map(|kind| (kind.group(), kind.name())) {
        Some(("", "Pod")) => return pod::row(object, now),
        Some(("", "Node")) => node(object, now),
        Some(("", "Service")) => network::service(object, now),
        Some(("", "Endpoints")) => network::endpoints(object, now),
        Some(("discovery.k8s.io", "EndpointSlice")) => network::endpoint_slice(object, now),
        Some(("" | "events.k8s.io", "Event")) => event(object, now),
        Some(("", "ConfigMap")) => {
            let count = members(object, &["data"]) + members(object, &["binaryData"]);
            vec![name(object), count.into(), age(object, now)]
        }
        Some(("", "Secret")) => {
            vec![
                name(object),
                text(object, &["type"]).into(),
                members(object, &["data"]).into(),
                age(object, now),
            ]
        }
        Some(("", "Namespace")) => {
            vec![name(object), text(object, &["status", "phase"]).into(), age(object, now)]
        }
        Some(("apps", "Deployment")) => workload::deployment(object, now),
        Some(("apps", "DaemonSet")) => workload::daemon_set(object, now),
        Some(("apps", "StatefulSet")) => workload::stateful_set(object, now),
        Some(("apps", "ReplicaSet")) => workload::replica_set(object, now),
        Some(("batch", "Job")) => workload::job(object, now),
        Some(("coordination.k8s.io", "Lease")) => {
            vec![name(object), text(object, &["spec", "holderIdentity"]).into(), age(object, now)]
        }
        _ => vec![name(object), age(object, now)],
    };
    (cells, None)
}

/// The value at a path.
pub(super) fn at<'t, 'a>(object: Node<'t, 'a>, path: &[&str]) -> Option<Node<'t, 'a>> {
    path.iter().try_fold(object, |object, key| object.member(key)).filter(|value| !value.is_null())
}

/// The text at a path; empty where there is none.
pub(super) fn text(object: Node<'_, '_>, path: &[&str]) -> String {
    at(object, path).and_then(Node::text).unwrap_or_default().into_owned()
}

/// The text at a path, or what stands for its absence.
pub(super) fn text_or(object: Node<'_, '_>, path: &[&str], absent: &str) -> String {
    Some(text(object, path)).filter(|text| !text.is_empty()).unwrap_or_else(|| absent.to_owned())
}

/// The number at a path, if there is one.
pub(super) fn number(object: Node<'_, '_>, path: &[&str]) -> Option<i64> {
    std::str::from_utf8(at(object, path)?.raw()).ok()?.parse().ok()
}

/// The number at a path; 0 where there is none.
pub(super) fn count(object: Node<'_, '_>, path: &[&str]) -> i64 {
    number(object, path).unwrap_or(0)
}

/// Whether `true` stands at a path.
pub(super) fn is_true(object: Node<'_, '_>, path: &[&str]) -> bool {
    at(object, path).is_some_and(|value| value.first_byte() == b't')
}

/// The elements of the list at a path.
pub(super) fn list<'t, 'a>(object: Node<'t, 'a>, path: &[&str]) -> impl Iterator<Item = Node<'t, 'a>> {
    at(object, path).into_iter().flat_map(Node::elements)
}

/// The texts of the list at a path.
pub(super) fn texts(object: Node<'_, '_>, path: &[&str]) -> Vec<String> {
    list(object, path).filter_map(|value| value.text().map(std::borrow::Cow::into_owned)).collect()
}

fn members(object: Node<'_, '_>, path: &[&str]) -> i64 {
    at(object, path).map_or(0, |map| i64::try_from(map.members().count()).unwrap_or(i64::MAX))
}

/// The first element of a list whose `type` is this.
pub(super) fn of_type<'t, 'a>(object: Node<'t, 'a>, path: &[&str], kind: &str) -> Option<Node<'t, 'a>> {
    list(object, path).find(|element| text(*element, &["type"]) == kind)
}

/// Whether the first condition of this type is true.
pub(super) fn condition(object: Node<'_, '_>, kind: &str) -> bool {
    of_type(object, &["status", "conditions"], kind).is_some_and(|found| text(found, &["status"]) == "True")
}

pub(super) fn name(object: Node<'_, '_>) -> Cell {
    text(object, &["metadata", "name"]).into()
}

pub(super) fn age(object: Node<'_, '_>, now: i64) -> Cell {
    age::since(at(object, &["metadata", "creationTimestamp"]), now).into()
}

fn node(object: Node<'_, '_>, now: i64) -> Vec<Cell> {
    let info = |field, absent| text_or(object, &["status", "nodeInfo", field], absent);
    let address = |kind| {
        let found = of_type(object, &["status", "addresses"], kind);
        found.map_or_else(|| "<none>".to_owned(), |address| text(address, &["address"]))
    };
    let ready =
        of_type(object, &["status", "conditions"], "Ready").map(|ready| text(ready, &["status"]) == "True");
    let mut status = match ready {
        Some(true) => "Ready",
        Some(false) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if is_true(object, &["spec", "unschedulable"]) {
        status.push_str(",SchedulingDisabled");
    }
    let mut kernel = info("kernelVersion", "<unknown>");
    let architecture = info("architecture", "");
    if !architecture.is_empty() {
        kernel.push_str(&format!(" ({architecture})"));
    }
    vec![
        name(object),
        status.into(),
        node_roles(object).into(),
        age(object, now),
        info("kubeletVersion", "").into(),
        address("InternalIP").into(),
        address("ExternalIP").into(),
        info("osImage", "<unknown>").into(),
        kernel.into(),
        info("containerRuntimeVersion", "<unknown>").into(),
    ]
}

fn node_roles(object: Node<'_, '_>) -> String {
    let labels = at(object, &["metadata", "labels"]).into_iter().flat_map(Node::members);
    let roles: BTreeSet<String> = labels
        .filter_map(|(key, value)| {
            let key = key.text()?;
            let role = match key.strip_prefix("node-role.kubernetes.io/") {
                Some(role) => role.to_owned(),
                None if key == "kubernetes.io/role" => value.text()?.into_owned(),
                None => return None,
            };
            Some(role).filter(|role| !role.is_empty())
        })
        .collect();
    let roles = Vec::from_iter(roles).join(",");
    if roles.is_empty() { "<none>".to_owned() } else { roles }
}

/// An event of either group: the newer one has other names for some fields.
fn event(object: Node<'_, '_>, now: i64) -> Vec<Cell> {
    let either = |first: &[&str], second: &[&str]| {
        Some(text(object, first)).filter(|text| !text.is_empty()).unwrap_or_else(|| text(object, second))
    };
    let time = |first: &str, second: &str| at(object, &[first]).or_else(|| at(object, &[second]));
    let first = time("firstTimestamp", "deprecatedFirstTimestamp").or_else(|| at(object, &["eventTime"]));
    let last = time("lastTimestamp", "deprecatedLastTimestamp").or(first);
    let series = at(object, &["series"]);
    let last = series.map_or(last, |series| at(series, &["lastObservedTime"]));
    let count = match series {
        Some(series) => count(series, &["count"]),
        None => match count(object, &["count"]).max(count(object, &["deprecatedCount"])) {
            // One of the newer group counts itself only when it happens again.
            0 => 1,
            count => count,
        },
    };
    let about = |field| either(&["involvedObject", field], &["regarding", field]);
    let target = match (about("kind").to_lowercase(), about("name")) {
        (kind, name) if name.is_empty() => kind,
        (kind, name) => format!("{kind}/{name}"),
    };
    let or = |first: String, second: String| if first.is_empty() { second } else { first };
    let component = either(&["source", "component"], &["deprecatedSource", "component"]);
    let component = or(component, either(&["reportingComponent"], &["reportingController"]));
    let instance = either(&["source", "host"], &["deprecatedSource", "host"]);
    let source = match or(instance, text(object, &["reportingInstance"])) {
        instance if instance.is_empty() => component,
        instance => format!("{component}, {instance}"),
    };
    vec![
        age::since(last, now).into(),
        text(object, &["type"]).into(),
        text(object, &["reason"]).into(),
        target.into(),
        about("fieldPath").into(),
        source.into(),
        either(&["message"], &["note"]).trim().into(),
        age::since(first, now).into(),
        count.into(),
        name(object),
    ]
}
