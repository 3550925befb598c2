//! Pods: how many containers are ready, and the one word that says how it stands with them.

use super::cells::{age, at, condition, count, is_true, list, name, number, of_type, text, text_or};
use super::{Cell, age as ages};
use crate::json::Node;

const SUCCEEDED: &str = r#"[{"type":"Completed","status":"True","reason":"Succeeded","message":"The pod has completed successfully."}]"#;
const FAILED: &str =
    r#"[{"type":"Completed","status":"True","reason":"Failed","message":"The pod failed."}]"#;

/// Cells, and the conditions of the row for a pod that has ended.
pub(super) fn row(pod: Node<'_, '_>, now: i64) -> (Vec<Cell>, Option<&'static str>) {
    let phase = text(pod, &["status", "phase"]);
    let conditions = match phase.as_str() {
        "Succeeded" => Some(SUCCEEDED),
        "Failed" => Some(FAILED),
        _ => None,
    };
    let Summary { ready, total, word, restarts, last_restart } = summary(pod, &phase);
    let restarts = match last_restart {
        Some(last) if restarts != 0 => format!("{restarts} ({} ago)", ages::human(now.saturating_sub(last))),
        _ => restarts.to_string(),
    };
    let ip = list(pod, &["status", "podIPs"]).next().map(|ip| text(ip, &["ip"])).filter(|ip| !ip.is_empty());
    let cells = vec![
        name(pod),
        format!("{ready}/{total}").into(),
        word.into(),
        restarts.into(),
        age(pod, now),
        ip.unwrap_or_else(|| text_or(pod, &["status", "podIP"], "<none>")).into(),
        text_or(pod, &["spec", "nodeName"], "<none>").into(),
        text_or(pod, &["status", "nominatedNodeName"], "<none>").into(),
        readiness_gates(pod).into(),
    ];
    (cells, conditions)
}

fn readiness_gates(pod: Node<'_, '_>) -> String {
    let gates = || list(pod, &["spec", "readinessGates"]);
    let open = gates().filter(|gate| condition(pod, &text(*gate, &["conditionType"]))).count();
    match gates().count() {
        0 => "<none>".to_owned(),
        all => format!("{open}/{all}"),
    }
}

struct Summary {
    ready: usize,
    total: usize,
    word: String,
    restarts: i64,
    /// Seconds since 1970.
    last_restart: Option<i64>,
}

/// How the init containers stand.
struct Init {
    /// Ready ones among those that go on running beside the others.
    ready: usize,
    /// What keeps the pod from starting, if anything does.
    word: Option<String>,
    restarts: i64,
    last_restart: Option<i64>,
    /// The same of those only that go on running.
    sidecar_restarts: i64,
    sidecar_last_restart: Option<i64>,
}

fn summary(pod: Node<'_, '_>, phase: &str) -> Summary {
    let mut word = text_or(pod, &["status", "reason"], phase);
    let scheduled = list(pod, &["status", "conditions"]).filter(|c| text(*c, &["type"]) == "PodScheduled");
    if scheduled.into_iter().any(|condition| text(condition, &["reason"]) == "SchedulingGated") {
        "SchedulingGated".clone_into(&mut word);
    }
    let init = init_containers(pod);
    let sidecars = list(pod, &["spec", "initContainers"]).filter(|container| is_sidecar(*container)).count();
    let mut summary = Summary {
        ready: init.ready,
        total: list(pod, &["spec", "containers"]).count() + sidecars,
        word,
        restarts: init.restarts,
        last_restart: init.last_restart,
    };
    let initializing = init.word.is_some();
    if let Some(word) = init.word {
        summary.word = word;
    }
    if !initializing || condition(pod, "Initialized") {
        (summary.restarts, summary.last_restart) = (init.sidecar_restarts, init.sidecar_last_restart);
        containers(pod, &mut summary);
    }
    if at(pod, &["metadata", "deletionTimestamp"]).is_some() {
        if text(pod, &["status", "reason"]) == "NodeLost" {
            "Unknown".clone_into(&mut summary.word);
        } else if !matches!(phase, "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut summary.word);
        }
    }
    summary
}

fn is_sidecar(container: Node<'_, '_>) -> bool {
    text(container, &["restartPolicy"]) == "Always"
}

/// When the run before the present one ended.
fn last_end(status: Node<'_, '_>) -> Option<i64> {
    ages::seconds(at(status, &["lastState", "terminated", "finishedAt"]))
}

fn init_containers(pod: Node<'_, '_>) -> Init {
    let mut init = Init {
        ready: 0,
        word: None,
        restarts: 0,
        last_restart: None,
        sidecar_restarts: 0,
        sidecar_last_restart: None,
    };
    let specs = || list(pod, &["spec", "initContainers"]);
    for (nth, status) in list(pod, &["status", "initContainerStatuses"]).enumerate() {
        let own_name = text(status, &["name"]);
        let sidecar = specs().any(|spec| text(spec, &["name"]) == own_name && is_sidecar(spec));
        let restarts = count(status, &["restartCount"]);
        init.restarts += restarts;
        init.last_restart = init.last_restart.max(last_end(status));
        if sidecar {
            init.sidecar_restarts += restarts;
            init.sidecar_last_restart = init.sidecar_last_restart.max(last_end(status));
        }
        let terminated = at(status, &["state", "terminated"]);
        if terminated.is_some_and(|terminated| count(terminated, &["exitCode"]) == 0) {
            continue;
        }
        if sidecar && is_true(status, &["started"]) {
            init.ready += usize::from(is_true(status, &["ready"]));
            continue;
        }
        let waiting = text(status, &["state", "waiting", "reason"]);
        init.word = Some(match terminated {
            Some(terminated) => format!("Init:{}", end_word(terminated)),
            None if !matches!(waiting.as_str(), "" | "PodInitializing") => format!("Init:{waiting}"),
            None => format!("Init:{nth}/{}", specs().count()),
        });
        break;
    }
    init
}

/// Why a container ended.
fn end_word(terminated: Node<'_, '_>) -> String {
    let reason = text(terminated, &["reason"]);
    match number(terminated, &["signal"]).filter(|signal| *signal != 0) {
        _ if !reason.is_empty() => reason,
        Some(signal) => format!("Signal:{signal}"),
        None => format!("ExitCode:{}", count(terminated, &["exitCode"])),
    }
}

/// Adds what the containers say; the first one has the last word.
fn containers(pod: Node<'_, '_>, summary: &mut Summary) {
    let statuses: Vec<_> = list(pod, &["status", "containerStatuses"]).collect();
    let mut running = false;
    let mut error = None;
    for status in statuses.into_iter().rev() {
        summary.restarts += count(status, &["restartCount"]);
        summary.last_restart = summary.last_restart.max(last_end(status));
        let waiting = text(status, &["state", "waiting", "reason"]);
        if !waiting.is_empty() {
            summary.word = waiting;
        } else if let Some(terminated) = at(status, &["state", "terminated"]) {
            summary.word = end_word(terminated);
            if count(terminated, &["exitCode"]) != 0 {
                error = Some(summary.word.clone());
            }
        } else if is_true(status, &["ready"]) && at(status, &["state", "running"]).is_some() {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.word == "Completed" {
        let ready = of_type(pod, &["status", "conditions"], "Ready");
        let ready = ready.is_some_and(|ready| text(ready, &["status"]) == "True");
        match error {
            _ if running && ready => "Running".clone_into(&mut summary.word),
            Some(error) => summary.word = error,
            None if running => "NotReady".clone_into(&mut summary.word),
            None => {}
        }
    }
}
