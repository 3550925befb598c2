//! Which pods the cloud deletes during an outage, and after how long.
//!
//! The cloud taints a node that it does not hear of, and a controller deletes the pods that do not tolerate the taint, or no longer
//! (`pkg/controller/tainteviction` of Kubernetes 1.36, `pkg/controller/nodelifecycle/scheduler` before).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::finding::{Area, Finding, Gravity};
use super::pod::{Pod, each, text};

/// The taint of a node that the cloud does not hear of.
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// The taint of a node whose kubelet says that it is not ready, as after a boot.
const NOT_READY: &str = "node.kubernetes.io/not-ready";

const TO_DO: &str = "run `edgekeep cloud manifests`: it prints what the cluster needs so that pods outlast an outage; docs/eviction.md says \
                     what helps pods that are there already";

/// For how long a pod outlasts its node's being tainted, in seconds; `None`: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Limits {
    /// As unreachable.
    pub unreachable: Option<u64>,
    /// As not ready.
    pub not_ready: Option<u64>,
}

impl Limits {
    /// Those of a pod. One that stands for a static pod has none: kubelet makes it again. Nor has one that is being deleted
    /// anyhow; one that has finished has: its record goes.
    pub fn of(pod: Pod<'_>) -> Limits {
        if pod.is_static() || pod.is_deleted() {
            return Limits::default();
        }
        Limits { unreachable: tolerates(pod, UNREACHABLE), not_ready: tolerates(pod, NOT_READY) }
    }
}

/// For how long a pod tolerates a taint with the effect NoExecute and no value. The first toleration that fits decides.
fn tolerates(pod: Pod<'_>, taint: &str) -> Option<u64> {
    let fits = |toleration: &&Value| {
        let is = |pointer: &str, wanted: &str| matches!(text(toleration, pointer), own if own.is_empty() || own == wanted);
        let operator = match text(toleration, "/operator") {
            "Exists" => true,
            "" | "Equal" => text(toleration, "/value").is_empty(),
            _ => false,
        };
        is("/effect", "NoExecute") && is("/key", taint) && operator
    };
    let Some(toleration) = each(pod.0, "/spec/tolerations").find(fits) else { return Some(0) };
    let seconds = toleration.get("tolerationSeconds").filter(|seconds| !seconds.is_null())?;
    // Nothing and less is at once.
    Some(seconds.as_u64().unwrap_or(0))
}

/// The pods that an outage deletes, by seconds, as `namespace/name` in their order.
pub fn struck<'a>(pods: impl IntoIterator<Item = (String, &'a Limits)>) -> BTreeMap<u64, Vec<String>> {
    let mut struck: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (title, limits) in pods {
        if let Some(seconds) = limits.unreachable {
            struck.entry(seconds).or_default().push(title);
        }
    }
    struck.values_mut().for_each(|titles| titles.sort());
    struck
}

/// What is to be said of these pods: good to know, for it is no matter of a boot.
pub fn findings<'a>(pods: impl IntoIterator<Item = Pod<'a>>) -> Vec<Finding> {
    let limits: Vec<(String, Limits)> = pods.into_iter().map(|pod| (pod.title(), Limits::of(pod))).collect();
    let struck = struck(limits.iter().map(|(title, limits)| (title.clone(), limits)));
    let of_outage = struck.into_iter().map(|(seconds, titles)| {
        let what = match seconds {
            0 => "any outage that the cloud notices".to_owned(),
            seconds => format!("an outage of more than {seconds} seconds"),
        };
        let why = format!(
            "{seconds} s after the cloud has taken the node for unreachable (by default after 50 s without a word) it deletes these pods: \
             they run on here until the link is back, and end then"
        );
        Finding::new(Area::Outage, Gravity::Note, what, why).of(titles).to_do(TO_DO)
    });
    let mut found: Vec<Finding> = of_outage.collect();
    // The link is back and kubelet not ready yet: short, as a rule.
    let mut slow: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (title, limits) in limits {
        if let Limits { unreachable: None, not_ready: Some(seconds) } = limits {
            slow.entry(seconds).or_default().push(title);
        }
    }
    found.extend(slow.into_iter().map(|(seconds, titles)| {
        let what = format!("a boot after which kubelet is not ready for more than {seconds} seconds");
        let why = "the cloud then deletes these pods, if it can be reached: they tolerate an unreachable node, and no node that is not \
                   ready";
        Finding::new(Area::Outage, Gravity::Note, what, why).of(titles).to_do(TO_DO)
    }));
    found
}

/// For programs, by seconds.
pub fn to_json(struck: &BTreeMap<u64, Vec<String>>) -> Value {
    struck.iter().map(|(seconds, pods)| json!({ "afterSeconds": seconds, "pods": pods })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(tolerations: Value) -> Limits {
        Limits::of(Pod(&json!({ "spec": { "tolerations": tolerations } })))
    }

    fn tolerance(key: &str, seconds: Option<i64>) -> Value {
        let mut one = json!({ "key": key, "operator": "Exists", "effect": "NoExecute" });
        if let Some(seconds) = seconds {
            one["tolerationSeconds"] = json!(seconds);
        }
        one
    }

    #[test]
    fn a_pod_outlasts_what_it_tolerates_for_as_long_as_it_does() {
        let both = |unreachable, not_ready| Limits { unreachable, not_ready };
        let usual = json!([tolerance(NOT_READY, Some(300)), tolerance(UNREACHABLE, Some(300))]);
        assert_eq!(limits(usual), both(Some(300), Some(300)));
        assert_eq!(limits(json!([])), both(Some(0), Some(0)));
        assert_eq!(limits(json!([{ "operator": "Exists" }])), both(None, None));
        assert_eq!(limits(json!([tolerance(UNREACHABLE, None)])), both(None, Some(0)));
        assert_eq!(limits(json!([tolerance(UNREACHABLE, Some(-1))])), both(Some(0), Some(0)));
        // What fits no taint of these: another effect, another value, an operator that compares.
        for other in [
            json!({ "key": UNREACHABLE, "operator": "Exists", "effect": "NoSchedule" }),
            json!({ "key": UNREACHABLE, "value": "x" }),
            json!({ "key": UNREACHABLE, "operator": "Gt", "value": "1" }),
        ] {
            assert_eq!(limits(json!([other])), both(Some(0), Some(0)));
        }
        // Without an operator it is Equal, and the taints have no value.
        assert_eq!(limits(json!([{ "key": UNREACHABLE }])), both(None, Some(0)));
    }

    #[test]
    fn the_first_toleration_that_fits_decides() {
        let finite_first = json!([tolerance(UNREACHABLE, Some(300)), { "operator": "Exists" }]);
        assert_eq!(limits(finite_first), Limits { unreachable: Some(300), not_ready: None });
        let endless_first = json!([{ "operator": "Exists" }, tolerance(UNREACHABLE, Some(300))]);
        assert_eq!(limits(endless_first), Limits::default());
    }

    #[test]
    fn static_pods_and_those_that_are_being_deleted_are_not_struck() {
        let mirror = json!({ "metadata": { "annotations": { "kubernetes.io/config.mirror": "h" } } });
        let deleted = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } });
        for pod in [mirror, deleted] {
            assert_eq!(Limits::of(Pod(&pod)), Limits::default());
        }
    }

    #[test]
    fn pods_are_named_by_the_time_after_which_they_are_deleted() {
        let pod = |name: &str, tolerations: Value| json!({ "metadata": { "namespace": "shop", "name": name }, "spec": { "tolerations": tolerations } });
        let half = json!([tolerance(UNREACHABLE, None), tolerance(NOT_READY, Some(60))]);
        let usual = json!([tolerance(UNREACHABLE, Some(300)), tolerance(NOT_READY, Some(300))]);
        let pods = [
            pod("b", usual.clone()),
            pod("a", usual),
            pod("c", json!([])),
            pod("d", half),
            pod("e", json!([{ "operator": "Exists" }])),
        ];
        let found = findings(pods.iter().map(Pod));
        let named: Vec<(&str, Vec<String>)> =
            found.iter().map(|one| (one.what.as_str(), one.pods.clone())).collect();
        assert_eq!(
            named,
            [
                ("any outage that the cloud notices", vec!["shop/c".to_owned()]),
                ("an outage of more than 300 seconds", vec!["shop/a".to_owned(), "shop/b".to_owned()]),
                (
                    "a boot after which kubelet is not ready for more than 60 seconds",
                    vec!["shop/d".to_owned()]
                ),
            ]
        );
        assert!(found.iter().all(|one| one.gravity == Gravity::Note && !one.to_do.is_empty()));
    }
}
