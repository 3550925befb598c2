//! Any bytes as a patch of any form, a PUT or the options of a DELETE: an object that names itself as before, or an
//! answer; never a panic, and nothing out of proportion.
//!
//! The first byte says what the others are, and of which release the rules are.

#![no_main]

use edgekeep_fuzz::seeds;
use libfuzzer_sys::fuzz_target;
use patch::{DeleteOptions, Form, Outcome, Release, Served, Write};
use serde_json::{Value, json};
use wire::schema::Kind;
use wire::{Resource, Status};

fuzz_target!(
    init: seeds(&[
        b"\x00{\"metadata\":{\"uid\":\"u\",\"finalizers\":null},\"status\":{\"$setElementOrder/conditions\":[{\"type\":\"Ready\"}],\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"},{\"$patch\":\"delete\",\"type\":\"A\"}],\"podIPs\":[{\"ip\":\"10.0.0.2\"},{\"$patch\":\"replace\"}]}}",
        b"\x10{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"x/a\"],\"labels\":{\"$patch\":\"replace\",\"$retainKeys\":[\"a\"]}}}",
        b"\x01{\"metadata\":{\"resourceVersion\":\"7\",\"labels\":{\"a\":null}},\"status\":{\"phase\":[null,{\"a\":null}]}}",
        b"\x02[{\"op\":\"test\",\"path\":\"/metadata/uid\",\"value\":\"u\"},{\"op\":\"copy\",\"from\":\"/status\",\"path\":\"/status/conditions/-\"},{\"op\":\"move\",\"from\":\"/spec\",\"path\":\"/a~1b\"}]",
        b"\x03{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"uid\":\"u\"},\"status\":{\"podIP\":\"10.0.0.1\"}}",
        b"\x04{\"gracePeriodSeconds\":0,\"preconditions\":{\"uid\":\"u\"},\"propagationPolicy\":\"Foreground\"}",
    ]),
    |data: &[u8]| {
        let Some((first, body)) = data.split_first() else { return };
        let pod = pod();
        let resource = Resource {
            version: "v1".to_owned(),
            namespace: "shop".to_owned(),
            resource: "pods".to_owned(),
            name: "web".to_owned(),
            subresource: if first & 8 == 0 { "status" } else { "" }.to_owned(),
            ..Resource::default()
        };
        let release = Release::minor(if first & 16 == 0 { 36 } else { 20 });
        let kind = Kind::find("", "v1", "Pod").expect("a kind of the table");
        let served = if first & 32 == 0 { Served::BuiltIn(kind) } else { Served::Custom { status: true } };
        let write = Write { resource: &resource, served, release, node: (first & 64 != 0).then_some("edge") };
        let json = || serde_json::from_slice::<Value>(body).unwrap_or_default();
        match first & 7 {
            0 => judge(&pod, body, patch::patch(&pod, &write, Form::Strategic, body)),
            1 => judge(&pod, body, patch::patch(&pod, &write, Form::Merge, body)),
            2 => judge(&pod, body, patch::patch(&pod, &write, Form::Json, body)),
            3 => judge(&pod, body, patch::update(&pod, &write, json())),
            4 => drop(patch::delete(&pod, &write, &DeleteOptions::of(&json()), 1_700_000_000)),
            _ => {
                let (old, new) = (json(), pod);
                let difference = patch::diff(&old, &new);
                if let (Value::Object(mut object), Value::Object(difference)) = (old, difference) {
                    patch::merge::apply(&mut object, difference, Release::default());
                    assert_eq!(Value::Object(object), new);
                }
            }
        }
    }
);

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"},
            "finalizers": ["x/a", "x/b"], "deletionTimestamp": "2026-01-02T03:04:05Z", "deletionGracePeriodSeconds": 0},
        "spec": {"nodeName": "edge", "containers": [{"name": "c", "resources": {}}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "False"}, {"type": "A", "status": "True"}]}
    })
}

fn judge(pod: &Value, body: &[u8], outcome: Result<Outcome, Status>) {
    match outcome {
        Ok(outcome) => {
            let object = outcome.object();
            for name in ["name", "namespace", "uid", "resourceVersion", "deletionTimestamp"] {
                assert_eq!(object["metadata"][name], pod["metadata"][name], "{name}");
            }
            // Copies may add three megabytes, and a value may be written at most a few times as long as it was sent.
            assert!(object.to_string().len() < patch::json_patch::MAX_COPIED + 100 * (body.len() + 1000));
        }
        Err(status) => assert!(status.code >= 400 && !status.message.is_empty()),
    }
}
