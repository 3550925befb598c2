//! Any body of a write: each version in it is replaced, and nothing else of it changes.
//!
//! The first line is the request's, the second its media type, all after it the body.

#![no_main]

use std::borrow::Cow;

use edgekeep_fuzz::{objects, seeds};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use wire::versions::{NotMapped, map_references, map_versions};
use wire::{Encoding, Request};

fuzz_target!(
    init: {
        let mut all: Vec<Vec<u8>> = [
            "PUT /api/v1/nodes/n\napplication/json\n{\"metadata\":{\"resourceVersion\":\"5\"}}",
            "PATCH /api/v1/nodes/n/status\napplication/strategic-merge-patch+json\n{\"metadata\":{\"resourceVersion\":\"5\"}}",
            "PATCH /api/v1/nodes/n\napplication/apply-patch+yaml\nmetadata: {\"a\\x62\": !!binary YQ==}",
            "PATCH /api/v1/namespaces/a/events/e\napplication/json-patch+json\n[{\"op\":\"test\",\"path\":\"/metadata/resourceVersion\",\"value\":\"5\"},{\"op\":\"add\",\"path\":\"/involvedObject\",\"value\":{\"kind\":\"Pod\",\"resourceVersion\":\"5\"}}]",
            "DELETE /api/v1/nodes/n\n\n{\"preconditions\":{\"resourceVersion\":\"5\"}}",
            "POST /api/v1/namespaces/a/pods/p/eviction\n\n{\"deleteOptions\":{\"preconditions\":{\"resourceVersion\":\"5\"}}}",
            "POST /apis/events.k8s.io/v1/namespaces/a/events\n\n{\"regarding\":{\"kind\":\"Pod\",\"resourceVersion\":\"5\"},\"related\":{\"resourceVersion\":\"6\"}}",
        ]
        .map(|seed| seed.as_bytes().to_vec())
        .to_vec();
        for object in objects(Encoding::Protobuf) {
            let head = b"PUT /api/v1/namespaces/a/events/b\napplication/vnd.kubernetes.protobuf\n";
            all.push([&head[..], &object].concat());
        }
        seeds(&all.iter().map(Vec::as_slice).collect::<Vec<_>>());
    },
    |data: &[u8]| {
        let mut lines = data.splitn(3, |byte| *byte == b'\n');
        let [line, content_type, body] = [(); 3].map(|()| lines.next().unwrap_or_default());
        let (line, content_type) = (String::from_utf8_lossy(line), String::from_utf8_lossy(content_type));
        let Some((method, target)) = line.split_once(' ') else { return };
        let Ok(request) = Request::parse(method, target) else { return };

        match put(&request, &content_type, body, None) {
            Ok(kept) => assert!(matches!(kept, Cow::Borrowed(same) if same == body), "nothing was to be changed"),
            Err(error) => return refused(&request, &error),
        }
        let mapped = put(&request, &content_type, body, Some("77")).expect("the same body can be read again");
        let again = put(&request, &content_type, &mapped, Some("77")).expect("what was changed can be read");
        assert!(matches!(again, Cow::Borrowed(_)), "each version is the new one");
        same_but_for_versions(body, &mapped);

        let Ok(mapped) = map_references(&request, &content_type, body, &mut |_, _| Some("77".to_owned())) else {
            return;
        };
        same_but_for_versions(body, &mapped);
        let emptied = map_references(&request, &content_type, &mapped, &mut |_, version| {
            assert_eq!(version, "77");
            None
        });
        let emptied = emptied.expect("what was changed can be read");
        map_references(&request, &content_type, &emptied, &mut |_, _| panic!("there is none left"))
            .expect("what was changed can be read");
    }
);

/// The body with one version in place of each, or with each as it is.
fn put<'a>(
    request: &Request,
    content_type: &str,
    body: &'a [u8],
    version: Option<&str>,
) -> Result<Cow<'a, [u8]>, NotMapped> {
    map_versions(request, content_type, body, &mut |own| Some(version.unwrap_or(own).to_owned()))
}

fn refused(request: &Request, error: &NotMapped) {
    let resource = request.resource.clone().expect("only bodies of resources are read");
    let status = error.to_status(&resource);
    assert!([400, 415].contains(&status.code) && !status.message.is_empty(), "{status:?}");
}

/// JSON, read by somebody else's reader, says the same but for versions.
fn same_but_for_versions(before: &[u8], after: &[u8]) {
    if let Ok(mut before) = serde_json::from_slice::<Value>(before) {
        let mut after = serde_json::from_slice::<Value>(after).expect("JSON stays JSON");
        blank(&mut before);
        blank(&mut after);
        assert_eq!(before, after);
    }
}

/// Takes the text out of what may be a version.
fn blank(value: &mut Value) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(blank),
        Value::Object(members) => {
            for (key, member) in members {
                if member.is_string() && matches!(key.as_str(), "resourceVersion" | "value") {
                    *member = Value::Null;
                }
                blank(member);
            }
        }
        _ => {}
    }
}
