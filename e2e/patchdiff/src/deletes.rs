//! Deletes: every combination of what decides about them.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use patch::{DeleteOptions, Deletion, Release, Served, Write, delete};
use serde_json::{Value, json};
use wire::Resource;
use wire::schema::Kind;

use crate::api::{Answer, Api, Request};
use crate::compare::Verdict;
use crate::subject::NODE;

const PODS: &str = "/api/v1/namespaces/patchdiff/pods";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// How far the API server's clock and the moment of judging may be apart, in seconds.
const SLACK: i64 = 5;

/// Deletes pods and says how often the API server did something else.
///
/// # Errors
///
/// The API server cannot be asked.
pub fn run(api: &mut Api, release: Release, counts: &mut BTreeMap<(String, Verdict), u64>) -> Result<u64> {
    let mut differences = 0;
    let mut number = 0;
    for finalizers in [json!([]), json!(["example.com/x"])] {
        for bound in [true, false] {
            for phase in ["Pending", "Running", "Succeeded"] {
                for options in options() {
                    number += 1;
                    let name = format!("delete-{number}");
                    prepare(api, &name, &finalizers, bound, phase)?;
                    // Twice: the second one finds what the first one left.
                    for turn in 0..2 {
                        let Some(report) = one(api, &name, release, &options)? else { continue };
                        let verdict = if report.is_empty() { Verdict::Taken } else { Verdict::Differs };
                        *counts.entry(("pods deleted".to_owned(), verdict)).or_default() += 1;
                        if !report.is_empty() {
                            differences += 1;
                            println!(
                                "--- delete {turn} of a {phase} pod, {finalizers}, bound: {bound}, {options}\n{report}"
                            );
                        }
                    }
                    let free = json!({"metadata": {"finalizers": null}});
                    let path = format!("{PODS}/{name}");
                    send(api, "PATCH", &path, STRATEGIC, &free)?;
                    send(api, "DELETE", &path, "application/json", &json!({"gracePeriodSeconds": 0}))?;
                }
            }
        }
    }
    Ok(differences)
}

fn options() -> Vec<Value> {
    vec![
        json!({}),
        json!({"gracePeriodSeconds": 0}),
        json!({"gracePeriodSeconds": 7}),
        json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "$uid"}}),
        json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "other"}}),
        json!({"preconditions": {"resourceVersion": "1"}}),
        json!({"propagationPolicy": "Foreground"}),
        json!({"propagationPolicy": "Orphan", "gracePeriodSeconds": 0}),
        json!({"propagationPolicy": "Never"}),
    ]
}

fn prepare(api: &mut Api, name: &str, finalizers: &Value, bound: bool, phase: &str) -> Result<()> {
    let node = if bound { NODE } else { "" };
    let pod = json!({
        "metadata": {"name": name, "finalizers": finalizers},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}
    });
    api.create(PODS, &pod)?;
    let status = json!({"status": {"phase": phase}});
    send(api, "PATCH", &format!("{PODS}/{name}/status"), STRATEGIC, &status).map(drop)
}

fn send(api: &mut Api, method: &str, path: &str, content_type: &str, body: &Value) -> Result<Answer> {
    let body = body.to_string();
    api.send(&Request { method, path, content_type, node: None, body: body.as_bytes() })
}

/// What differs; empty if nothing does, none if the pod is gone already.
fn one(api: &mut Api, name: &str, release: Release, options: &Value) -> Result<Option<String>> {
    let path = format!("{PODS}/{name}");
    let Ok(current) = api.get(&path) else { return Ok(None) };
    let uid = current.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    let options: Value = serde_json::from_str(&options.to_string().replace("$uid", uid))?;
    let resource = Resource {
        version: "v1".to_owned(),
        namespace: "patchdiff".to_owned(),
        resource: "pods".to_owned(),
        name: name.to_owned(),
        ..Resource::default()
    };
    let Some(kind) = Kind::find("", "v1", "Pod") else { return Ok(None) };
    let write = Write { resource: &resource, served: Served::BuiltIn(kind), release, node: None };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let ours = delete(&current, &write, &DeleteOptions::of(&options), now);
    let answer = send(api, "DELETE", &path, "application/json", &options)?;
    let there = api.get(&path).ok();
    let same = match &ours {
        Err(status) => {
            let message = answer.body.get("message").and_then(Value::as_str).unwrap_or_default();
            status.code == answer.code && status.message == message
        }
        Ok(Deletion::Removed(last)) => answer.is_success() && there.is_none() && is_like(last, &answer.body),
        Ok(Deletion::Marked(left) | Deletion::Pending(left)) => {
            answer.is_success() && there.as_ref().is_some_and(|there| is_like(left, there))
        }
    };
    Ok(Some(if same {
        String::new()
    } else {
        format!("we: {ours:?}\nthey: {} {}", answer.code, answer.body)
    }))
}

/// Whether finalizers and marks are the same, the moment taken roughly.
fn is_like(ours: &Value, theirs: &Value) -> bool {
    let same = |name: &str| {
        let pointer = format!("/metadata/{name}");
        ours.pointer(&pointer) == theirs.pointer(&pointer)
    };
    let moment = |object: &Value| {
        object.pointer("/metadata/deletionTimestamp").and_then(Value::as_str).and_then(second_of_day)
    };
    let near = match (moment(ours), moment(theirs)) {
        (Some(ours), Some(theirs)) => {
            (ours - theirs).rem_euclid(86_400).min((theirs - ours).rem_euclid(86_400)) <= SLACK
        }
        (None, None) => true,
        _ => false,
    };
    near && ["finalizers", "deletionGracePeriodSeconds", "uid", "name"].iter().all(|name| same(name))
}

fn second_of_day(moment: &str) -> Option<i64> {
    let number = |from: usize, to: usize| moment.get(from..to)?.parse::<i64>().ok();
    Some(number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?)
}
