//! Random requests, selectors and headers, judged as the API server's own code judged them: see `oracle/requests`.
//!
//! The lines come from a file that `EDGEKEEP_WIRE_REQUESTS` names; without it there is nothing to compare with.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails fails the test")]

use wire::media::{Form, Served, negotiate};
use wire::{FieldSelector, LabelSelector, ListOptions, Request};

#[test]
fn the_api_server_and_we_judge_every_request_alike() {
    let Some(path) = std::env::var_os("EDGEKEEP_WIRE_REQUESTS") else {
        eprintln!("not checked: crates/wire/oracle/requests says how to make the lines");
        return;
    };
    let lines = std::fs::read_to_string(path).unwrap();
    let mut compared = 0;
    for line in lines.lines() {
        let [what, input, outcome]: [String; 3] = serde_json::from_str(line).unwrap();
        assert_eq!(ours(&what, &input), outcome, "{what} {input:?}");
        compared += 1;
    }
    assert!(compared > 0, "there are no lines to compare with");
    eprintln!("{compared} compared");
}

fn ours(what: &str, input: &str) -> String {
    match what {
        "label" => outcome(input.parse::<LabelSelector>().map(|selector| selector.to_string())),
        "field" => outcome(input.parse::<FieldSelector>().map(|selector| selector.to_string())),
        "accept" => outcome(negotiated(input)),
        "request" => request(input),
        "list" => list(input),
        other => panic!("{other} is nothing that can be compared"),
    }
}

fn outcome(result: Result<String, String>) -> String {
    result.unwrap_or_else(|error| format!("ERR {error}"))
}

fn negotiated(accept: &str) -> Result<String, String> {
    let chosen = negotiate(accept, Served::BuiltIn).map_err(|status| status.message)?;
    let named = |kind, version: wire::media::MetaVersion| {
        format!("{kind}.{}", version.api_version().trim_start_matches("meta.k8s.io/"))
    };
    let form = match chosen.form {
        Form::Object => String::new(),
        Form::Table(version) => named("Table", version),
        Form::Metadata(version) => named("PartialObjectMetadata", version),
        Form::MetadataList(version) => named("PartialObjectMetadataList", version),
    };
    Ok(format!("{} {form} {}", chosen.media_type, chosen.pretty))
}

fn request(line: &str) -> String {
    let (method, target) = line.split_once(' ').unwrap();
    let Ok(request) = Request::parse(method, target) else { return "ERR".to_owned() };
    let verb = request.verb.as_str();
    match request.resource {
        None => format!("{verb} NON {}", request.path),
        Some(r) => [verb, &r.group, &r.version, &r.namespace, &r.resource, &r.name, &r.subresource].join("|"),
    }
}

/// The options without the name in the path, which the API server joins to them later.
fn list(line: &str) -> String {
    let (method, target) = line.split_once(' ').unwrap();
    let mut request = Request::parse(method, target).unwrap();
    if let Some(resource) = &mut request.resource {
        resource.name.clear();
    }
    let options = match ListOptions::of(&request) {
        Ok(options) => options,
        Err(status) => return format!("ERR {} {}", status.code, status.message),
    };
    let or_nil = |text: Option<String>| text.unwrap_or_else(|| "nil".to_owned());
    [
        options.label_selector.to_string(),
        options.field_selector.to_string(),
        options.watch.to_string(),
        options.allow_watch_bookmarks.to_string(),
        options.resource_version,
        options.version_match.map_or_else(String::new, |version_match| format!("{version_match:?}")),
        or_nil(options.timeout_seconds.map(|seconds| seconds.to_string())),
        options.limit.to_string(),
        options.continue_token,
        or_nil(options.send_initial_events.map(|send| send.to_string())),
    ]
    .join("|")
}
