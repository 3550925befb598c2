//! Deployments and their kin, and jobs.

use super::cells::{age, at, condition, count, list, name, number, text, texts};
use super::{Cell, age as ages};
use crate::json::Node;
use crate::selector::{LabelSelector, Operator, Requirement};

pub(super) fn deployment(object: Node<'_, '_>, now: i64) -> Vec<Cell> {
    let mut cells = vec![
        name(object),
        ready_of_desired(object).into(),
        count(object, &["status", "updatedReplicas"]).into(),
        count(object, &["status", "availableReplicas"]).into(),
        age(object, now),
    ];
    cells.extend(containers(object));
    cells.push(
        selector(object).map_or_else(|| "<invalid>".to_owned(), |selector| selector.to_string()).into(),
    );
    cells
}

pub(super) fn daemon_set(object: Node<'_, '_>, now: i64) -> Vec<Cell> {
    let status = |field| Cell::from(count(object, &["status", field]));
    let mut cells = vec![
        name(object),
        status("desiredNumberScheduled"),
        status("currentNumberScheduled"),
        status("numberReady"),
        status("updatedNumberScheduled"),
        status("numberAvailable"),
        format_map(at(object, &["spec", "template", "spec", "nodeSelector"])).into(),
        age(object, now),
    ];
    cells.extend(containers(object));
    cells.push(format_selector(object).into());
    cells
}

pub(super) fn stateful_set(object: Node<'_, '_>, now: i64) -> Vec<Cell> {
    let mut cells = vec![name(object), ready_of_desired(object).into(), age(object, now)];
    cells.extend(containers(object));
    cells
}

pub(super) fn replica_set(object: Node<'_, '_>, now: i64) -> Vec<Cell> {
    let mut cells = vec![
        name(object),
        desired(object).into(),
        count(object, &["status", "replicas"]).into(),
        count(object, &["status", "readyReplicas"]).into(),
        age(object, now),
    ];
    cells.extend(containers(object));
    cells.push(format_selector(object).into());
    cells
}

pub(super) fn job(object: Node<'_, '_>, now: i64) -> Vec<Cell> {
    let succeeded = count(object, &["status", "succeeded"]);
    let completions =
        match (number(object, &["spec", "completions"]), count(object, &["spec", "parallelism"])) {
            (Some(wanted), _) => format!("{succeeded}/{wanted}"),
            (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
            (None, _) => format!("{succeeded}/1"),
        };
    let start = ages::seconds(at(object, &["status", "startTime"]));
    let end = ages::seconds(at(object, &["status", "completionTime"])).unwrap_or(now);
    let duration = start.map_or_else(String::new, |start| ages::human(end.saturating_sub(start)));
    let deleting = at(object, &["metadata", "deletionTimestamp"]).is_some();
    let status = match () {
        () if condition(object, "Complete") => "Complete",
        () if condition(object, "Failed") => "Failed",
        () if deleting => "Terminating",
        () if condition(object, "Suspended") => "Suspended",
        () if condition(object, "FailureTarget") => "FailureTarget",
        () if condition(object, "SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    };
    let mut cells = vec![name(object), status.into(), completions.into(), duration.into(), age(object, now)];
    cells.extend(containers(object));
    cells.push(format_selector(object).into());
    cells
}

/// Replicas that are wanted: one where nothing is said.
fn desired(object: Node<'_, '_>) -> i64 {
    number(object, &["spec", "replicas"]).unwrap_or(1)
}

fn ready_of_desired(object: Node<'_, '_>) -> String {
    format!("{}/{}", count(object, &["status", "readyReplicas"]), desired(object))
}

/// Names and images of the containers of the template.
fn containers(object: Node<'_, '_>) -> [Cell; 2] {
    ["name", "image"].map(|field| {
        let containers = list(object, &["spec", "template", "spec", "containers"]);
        let texts: Vec<String> = containers.map(|container| text(container, &[field])).collect();
        texts.join(",").into()
    })
}

/// A map of labels as a selector.
pub(super) fn format_map(map: Option<Node<'_, '_>>) -> String {
    let selector = LabelSelector::from_requirements(equals(map).collect());
    if selector.is_empty() { "<none>".to_owned() } else { selector.to_string() }
}

fn format_selector(object: Node<'_, '_>) -> String {
    match selector(object) {
        None => "<error>".to_owned(),
        Some(selector) if selector.is_empty() => "<none>".to_owned(),
        Some(selector) => selector.to_string(),
    }
}

/// `spec.selector` as it would be written in a query.
fn selector(object: Node<'_, '_>) -> Option<LabelSelector> {
    let expressions = list(object, &["spec", "selector", "matchExpressions"]).map(|expression| {
        let operator = match text(expression, &["operator"]).as_str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            _ => return None,
        };
        let mut values = texts(expression, &["values"]);
        values.sort();
        Some(Requirement { key: text(expression, &["key"]), operator, values })
    });
    let labels = equals(at(object, &["spec", "selector", "matchLabels"])).map(Some);
    Some(LabelSelector::from_requirements(labels.chain(expressions).collect::<Option<_>>()?))
}

fn equals(map: Option<Node<'_, '_>>) -> impl Iterator<Item = Requirement> {
    map.into_iter().flat_map(Node::members).filter_map(|(key, value)| {
        let values = vec![value.text()?.into_owned()];
        Some(Requirement { key: key.text()?.into_owned(), operator: Operator::Equals, values })
    })
}
