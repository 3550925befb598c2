//! Whether two answers are the same one.

use patch::{Outcome, Release, Served, Write};
use serde_json::Value;
use wire::schema::Kind;
use wire::transcode::{message_to_json, message_to_protobuf};
use wire::{Encoding, Status};

use crate::api::Answer;

/// Members that the API server fills in where a write left them out; `patch` leaves that to it.
const DEFAULTS: [&str; 32] = [
    "protocol",
    "targetPort",
    "sessionAffinity",
    "type",
    "clusterIP",
    "clusterIPs",
    "nodePort",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "dnsPolicy",
    "restartPolicy",
    "schedulerName",
    "securityContext",
    "terminationGracePeriodSeconds",
    "revisionHistoryLimit",
    "progressDeadlineSeconds",
    "maxSurge",
    "maxUnavailable",
    "priority",
    "hostPort",
    "preemptionPolicy",
    "enableServiceLinks",
    "strategy",
    "rollingUpdate",
    "replicas",
    "serviceAccount",
    "hostPath",
    "externalTrafficPolicy",
    "internalTrafficPolicy",
    "ipFamilies",
    "ipFamilyPolicy",
];

/// What two answers have to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Both took it, with the same result.
    Taken,
    /// Both refused it, in the same words.
    Refused,
    /// Both refused it with the same code and reason; the words are not ours to know.
    RefusedInOtherWords,
    /// The API server panicked; what we say then is for us to know.
    Stumbled,
    /// The API server found a value that is not valid; such are not looked for here.
    NotValid,
    /// They differ.
    Differs,
}

/// Judges; the text says what differs.
pub fn judge(ours: &Result<Outcome, Status>, answer: &Answer, write: &Write<'_>) -> (Verdict, String) {
    match ours {
        _ if answer.code == 500 && answer.body.is_null() => (Verdict::Stumbled, String::new()),
        // Go reads an array of numbers as bytes, too.
        Err(status) if status.message.contains("base64 is wanted, an array") => {
            (Verdict::NotValid, String::new())
        }
        Err(status) if status.code == 409 && is_service(answer) => (Verdict::NotValid, String::new()),
        _ if is_own(answer) => (Verdict::NotValid, String::new()),
        Ok(outcome) if answer.is_success() => {
            let differences = differences(&plain(outcome.object(), write), &plain(&answer.body, write));
            if differences.is_empty() {
                (Verdict::Taken, String::new())
            } else {
                (Verdict::Differs, differences.join("\n"))
            }
        }
        Ok(_) if is_about_values(answer) => (Verdict::NotValid, String::new()),
        Ok(_) => (Verdict::Differs, format!("they: {} {}", answer.code, answer.body)),
        Err(status) if answer.is_success() => {
            (Verdict::Differs, format!("we: {} {}, they took it", status.code, status.message))
        }
        Err(status) => refusals(status, answer),
    }
}

fn refusals(status: &Status, answer: &Answer) -> (Verdict, String) {
    let ours: Value = serde_json::from_slice(&status.encode(Encoding::Json)).unwrap_or_default();
    let theirs = &answer.body;
    let text =
        |status: &Value, name: &str| status.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let report = || format!("we: {ours}\nthey: {} {theirs}", answer.code);
    if status.code != answer.code || text(&ours, "reason") != text(theirs, "reason") {
        return (Verdict::Differs, report());
    }
    let (our_words, their_words) = (text(&ours, "message"), text(theirs, "message"));
    if our_words == their_words {
        let details = |status: &Value, name: &str| status.pointer(&format!("/details/{name}")).cloned();
        let differs =
            ["name", "group", "kind"].iter().any(|name| details(&ours, name) != details(theirs, name));
        return if differs { (Verdict::Differs, report()) } else { (Verdict::Refused, String::new()) };
    }
    if is_unknowable(&our_words, &their_words) {
        return (Verdict::RefusedInOtherWords, String::new());
    }
    (Verdict::Differs, report())
}

/// Words that quote Go's types or parser: the code and the reason are what is promised.
fn is_unknowable(ours: &str, theirs: &str) -> bool {
    const BEGINNINGS: [&str; 6] = [
        " \"\" is invalid: patch: Invalid value: ",
        "unable to find api field in struct",
        "invalid character",
        "EOF",
        "the object provided is unrecognized",
        "unexpected",
    ];
    let invalid = BEGINNINGS.first().copied().unwrap_or_default();
    if ours.starts_with(invalid) {
        return theirs.starts_with(invalid);
    }
    let body = " cannot be handled as a ";
    if let Some((kind, _)) = ours.split_once(body) {
        return theirs.split_once(body).is_some_and(|(their_kind, _)| kind == their_kind);
    }
    // More than one member is wrong: those that values alone make so are known to the API server only.
    let first = |text: &str| {
        text.split(": [").next().and_then(|text| text.split(" is invalid").next()).map(str::to_owned)
    };
    if ours.contains(" is invalid: ") && theirs.contains(" is invalid: ") {
        return first(ours) == first(theirs);
    }
    BEGINNINGS.iter().any(|beginning| theirs.starts_with(beginning))
}

/// Whether the API server refused a value, not the write.
fn is_about_values(answer: &Answer) -> bool {
    let causes = answer.body.pointer("/details/causes").and_then(Value::as_array);
    let about_metadata = |field: &str| {
        let names = [
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ];
        field == "patch" || names.iter().any(|name| field == format!("metadata.{name}"))
    };
    answer.code == 422
        && causes.is_some_and(|causes| {
            let field =
                |cause: &Value| cause.get("field").and_then(Value::as_str).unwrap_or_default().to_owned();
            !causes.is_empty() && !causes.iter().any(|cause| about_metadata(&field(cause)))
        })
}

/// Whether it is an answer of old releases' own way with Services: they look for other faults first.
fn is_service(answer: &Answer) -> bool {
    told(answer).starts_with("Service ")
}

fn told(answer: &Answer) -> &str {
    answer.body.get("message").and_then(Value::as_str).unwrap_or_default()
}

/// Whether the API server stumbled over what a quantity looks like, or wants what only old Services want.
fn is_own(answer: &Answer) -> bool {
    let told = told(answer);
    let service = "Invalid value: \"\": must be specified for an update";
    told.contains("quantities must match")
        || told.contains("unable to parse quantity")
        || is_service(answer) && told.contains(service)
}

/// Without what only the storing server knows, and in the form of the table: an older release writes other zeros.
fn plain(object: &Value, write: &Write<'_>) -> Value {
    let mut object = match write.served {
        Served::BuiltIn(kind) if write.release < Release::default() => {
            in_table_form(object, kind).unwrap_or_else(|| object.clone())
        }
        _ => object.clone(),
    };
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in ["resourceVersion", "managedFields"] {
            metadata.remove(name);
        }
    }
    object
}

fn in_table_form(object: &Value, kind: Kind) -> Option<Value> {
    let (mut protobuf, mut json) = (Vec::new(), Vec::new());
    message_to_protobuf(kind.message(), object.to_string().as_bytes(), &mut protobuf).ok()?;
    message_to_json(kind.message(), &protobuf, Some((&kind.api_version(), kind.name())), &mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

/// What differs. A generation is not counted where the API server filled in defaults: they may be what was there before.
fn differences(ours: &Value, theirs: &Value) -> Vec<String> {
    let mut found = Found::default();
    compare(ours, theirs, "", &mut found);
    found.differences.retain(|difference| !found.defaults || !difference.starts_with(".metadata.generation"));
    found.differences
}

#[derive(Default)]
struct Found {
    differences: Vec<String>,
    /// Whether there were members that the API server filled in.
    defaults: bool,
}

fn is_zero(value: &Value) -> bool {
    value == 0 || value == ""
}

fn compare(ours: &Value, theirs: &Value, path: &str, found: &mut Found) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (name, value) in theirs {
                match ours.get(name) {
                    // The admission plugin DefaultTolerationSeconds adds to them.
                    _ if path == ".spec" && name == "tolerations" => {}
                    // A Service's addresses are the API server's to keep in order.
                    _ if path == ".spec" && name == "clusterIPs" => {}
                    Some(ours) if DEFAULTS.contains(&name.as_str()) && is_zero(ours) => found.defaults = true,
                    Some(ours) => compare(ours, value, &format!("{path}.{name}"), found),
                    None if DEFAULTS.contains(&name.as_str()) => found.defaults = true,
                    None => found.differences.push(format!("{path}.{name}: only they have {value}")),
                }
            }
            for (name, value) in ours.iter().filter(|(name, _)| !theirs.contains_key(*name)) {
                // A default that nothing needs any more is taken away.
                if path == ".spec" && name == "externalTrafficPolicy" && value == "Cluster" {
                    found.defaults = true;
                    continue;
                }
                found.differences.push(format!("{path}.{name}: only we have {value}"));
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                compare(ours, theirs, &format!("{path}[{at}]"), found);
            }
        }
        // Go writes whole floats without a point.
        (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => {}
        (ours, theirs) if ours == theirs => {}
        (ours, theirs) => found.differences.push(format!("{path}: we have {ours}, they have {theirs}")),
    }
}
