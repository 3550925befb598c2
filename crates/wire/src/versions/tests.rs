use super::*;
use crate::object::last_field;
use crate::proto::{self, FieldValue};
use crate::schema::Kind;
use crate::transcode::{message_to_protobuf, to_json, to_protobuf};

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

const POD: &str = "/api/v1/namespaces/a/pods/p";
const EVENTS: &str = "/api/v1/namespaces/a/events";

fn request(line: &str) -> Request {
    let (method, target) = line.split_once(' ').unwrap();
    Request::parse(method, target).unwrap()
}

/// `5` becomes `500`, anything else is unknown.
fn map<'a>(line: &str, content_type: &str, body: &'a [u8]) -> Result<Cow<'a, [u8]>, NotMapped> {
    map_versions(&request(line), content_type, body, &mut |version| {
        (version == "5").then(|| "500".to_owned())
    })
}

/// What becomes of a body in JSON.
fn mapped(line: &str, content_type: &str, body: &str) -> String {
    String::from_utf8(map(line, content_type, body.as_bytes()).unwrap().into_owned()).unwrap()
}

/// What becomes of an object in protobuf, both ends written as JSON.
fn mapped_protobuf(line: &str, object: &str) -> String {
    let body = to_protobuf(object.as_bytes()).unwrap().bytes;
    let changed = map(line, "application/vnd.kubernetes.protobuf", &body).unwrap();
    String::from_utf8(to_json(&changed).unwrap().bytes).unwrap()
}

/// In both encodings `5` becomes `500` and nothing else changes; what is not known is refused.
fn is_mapped(line: &str, object: &str) {
    let wanted = object.replace("\"5\"", "\"500\"");
    assert_ne!(object, wanted);
    assert_eq!(mapped(line, "application/json", object), wanted, "{line}");
    assert_eq!(mapped(line, "", object), wanted, "{line}");
    let whole = |json: &str| to_json(&to_protobuf(json.as_bytes()).unwrap().bytes).unwrap().bytes;
    assert_eq!(mapped_protobuf(line, object).as_bytes(), whole(&wanted), "{line}");

    let foreign = object.replace("\"5\"", "\"6\"");
    let refusal = Err(NotMapped::Unknown { version: "6".to_owned() });
    assert_eq!(map(line, "application/json", foreign.as_bytes()), refusal, "{line}");
    let foreign = to_protobuf(foreign.as_bytes()).unwrap().bytes;
    assert_eq!(map(line, "application/vnd.kubernetes.protobuf", &foreign), refusal, "{line}");
}

/// The body goes on as it came, without a copy.
fn is_left(line: &str, content_type: &str, body: &[u8]) {
    let left = map(line, content_type, body).unwrap();
    assert!(matches!(left, Cow::Borrowed(same) if same == body), "{line} {}", String::from_utf8_lossy(body));
}

#[test]
fn the_numbers_of_each_place_are_those_of_its_names() {
    let kinds = [
        ("v1", "Pod", OBJECT),
        ("v1", "Binding", OBJECT),
        ("discovery.k8s.io/v1", "EndpointSlice", OBJECT),
        ("v1", "DeleteOptions", OPTIONS),
        ("policy/v1", "Eviction", EVICTION),
        ("policy/v1beta1", "Eviction", EVICTION),
        ("v1", "Event", INVOLVED),
        ("v1", "Event", CORE_RELATED),
        ("events.k8s.io/v1", "Event", REGARDING),
        ("events.k8s.io/v1", "Event", RELATED),
        ("events.k8s.io/v1beta1", "Event", REGARDING),
        ("events.k8s.io/v1beta1", "Event", RELATED),
    ];
    for (api_version, kind, place) in kinds {
        let mut json = format!("\"{kind}\"");
        for name in place.names.iter().rev() {
            json = format!("{{\"{name}\":{json}}}");
        }
        let message = Kind::of(api_version, kind).unwrap().message();
        let mut raw = Vec::new();
        assert!(message_to_protobuf(message, json.as_bytes(), &mut raw).unwrap());
        let envelope = proto::envelope(api_version, kind, &raw);
        let inner = |message, number: &u32| match last_field(message, *number) {
            Some(FieldValue::Bytes(content)) => Some(content),
            _ => None,
        };
        let found = place.numbers.iter().try_fold(&envelope[proto::MAGIC.len()..], inner);
        assert_eq!(found, Some(kind.as_bytes()), "{kind} {:?}", place.names);
    }
}

#[test]
fn the_version_of_an_object_that_is_put_is_mapped() {
    for line in [
        "PUT /api/v1/namespaces/a/pods/p",
        "PUT /api/v1/namespaces/a/pods/p/status",
        "PUT /api/v1/namespaces/a/pods/p/ephemeralcontainers",
    ] {
        is_mapped(
            line,
            r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","resourceVersion":"5"},"spec":{"nodeName":"5x"}}"#,
        );
    }
    is_mapped(
        "PUT /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n",
        r#"{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{"name":"n","resourceVersion":"5"},"spec":{"leaseDurationSeconds":40}}"#,
    );
}

#[test]
fn a_change_touches_nothing_but_the_text_of_the_version() {
    let body = " {\"b\" : 1e400, \"metadata\":\t{ \"resourceVersion\"\n:\"5\" , \"labels\":{\"resourceVersion\":\"5\"}}, \"metadata2\":{\"resourceVersion\":\"5\"}, \"\\u0061\":\"\\u2028<\"} \n";
    let wanted = body.replacen("\"5\"", "\"500\"", 1);
    assert_eq!(mapped(&format!("PUT {POD}"), "application/json", body), wanted);
}

#[test]
fn fields_of_protobuf_that_nobody_knows_stay() {
    let object = |version: &str| {
        let mut meta = Vec::new();
        proto::push_string(&mut meta, 900, "new");
        proto::push_string(&mut meta, 6, version);
        proto::push_varint_field(&mut meta, 6, 5);
        proto::push_string(&mut meta, 1, "p");
        let mut raw = Vec::new();
        proto::push_string(&mut raw, 800, "newer");
        proto::push_bytes(&mut raw, 1, &meta);
        proto::push_varint_field(&mut raw, 801, 7);
        let mut object = proto::envelope("v9/x", "Unknown", &raw);
        proto::push_string(&mut object, 700, "newest");
        object
    };
    let line = format!("PUT {POD}");
    let before = object("5");
    let changed = map(&line, "application/vnd.kubernetes.protobuf", &before).unwrap();
    assert_eq!(changed, object("500"));
}

#[test]
fn no_version_and_version_zero_stay() {
    for version in
        [r#""""#, r#""0""#, r#""00""#, "null", "5", "5.0", "true", "[\"5\"]", "{\"resourceVersion\":\"5\"}"]
    {
        let body = format!(r#"{{"metadata":{{"name":"p","resourceVersion":{version}}}}}"#);
        is_left(&format!("PUT {POD}"), "application/json", body.as_bytes());
        for patch in [MERGE, STRATEGIC, APPLY] {
            is_left(&format!("PATCH {POD}"), patch, body.as_bytes());
        }
        let body = format!(r#"[{{"op":"test","path":"/metadata/resourceVersion","value":{version}}}]"#);
        is_left(&format!("PATCH {POD}"), JSON_PATCH, body.as_bytes());
        let body = format!(r#"{{"preconditions":{{"resourceVersion":{version}}}}}"#);
        is_left(&format!("DELETE {POD}"), "application/json", body.as_bytes());
    }
    for body in [
        "{}",
        "[]",
        "null",
        r#"{"metadata":null}"#,
        r#"{"metadata":{}}"#,
        r#"{"metadata":[]}"#,
        r#"[{"metadata":{"resourceVersion":"5"}}]"#,
    ] {
        is_left(&format!("PUT {POD}"), "application/json", body.as_bytes());
        is_left(&format!("PATCH {POD}"), MERGE, body.as_bytes());
        is_left(&format!("DELETE {POD}"), "application/json", body.as_bytes());
    }
    for raw in
        [&b""[..], b"\x0a\x00", b"\x0a\x02\x32\x00", b"\x0a\x03\x32\x010", b"\x0a\x02\x30\x05", b"\x08\x01"]
    {
        let body = proto::envelope("v1", "Pod", raw);
        is_left(&format!("PUT {POD}"), "application/vnd.kubernetes.protobuf", &body);
    }
}

#[test]
fn the_version_in_a_merge_or_strategic_patch_is_mapped() {
    for (patch, before) in [
        (MERGE, r#"{"metadata":{"resourceVersion":"5","labels":{"a":null}}}"#),
        (
            STRATEGIC,
            r#"{"metadata":{"uid":"u","resourceVersion":"5"},"status":{"$setElementOrder/conditions":[{"type":"Ready"}]}}"#,
        ),
        (STRATEGIC, r#"{"metadata":{"$patch":"replace","resourceVersion":"5"}}"#),
        ("application/merge-patch+json; charset=utf-8", r#"{"metadata":{"resourceVersion":"5"}}"#),
    ] {
        let wanted = before.replace("\"5\"", "\"500\"");
        assert_eq!(mapped(&format!("PATCH {POD}/status"), patch, before), wanted);
        let foreign = before.replace("\"5\"", "\"6\"");
        let refused = map(&format!("PATCH {POD}"), patch, foreign.as_bytes());
        assert_eq!(refused, Err(NotMapped::Unknown { version: "6".to_owned() }));
    }
}

#[test]
fn each_of_several_members_with_one_key_is_mapped() {
    let before = r#"{"metadata":{"resourceVersion":"5","resourceVersion":"5"},"metadata":{"resource\u0056ersion":"5"},"\u006detadata":{"resourceVersion":"\u0035"}}"#;
    let wanted = before.replace("\"5\"", "\"500\"").replace(r#""\u0035""#, "\"500\"");
    assert_eq!(mapped(&format!("PUT {POD}"), "application/json", before), wanted);
    // Not even the one that Go would not read may be foreign.
    let before = r#"{"metadata":{"resourceVersion":"6","resourceVersion":"5"}}"#;
    assert!(map(&format!("PUT {POD}"), "application/json", before.as_bytes()).is_err());

    let twice = proto::envelope("v1", "Pod", b"\x0a\x06\x32\x015\x32\x015\x12\x00\x0a\x03\x32\x015");
    let wanted = proto::envelope("v1", "Pod", b"\x0a\x0a\x32\x03500\x32\x03500\x12\x00\x0a\x05\x32\x03500");
    let line = format!("PUT {POD}");
    assert_eq!(map(&line, "application/vnd.kubernetes.protobuf", &twice).unwrap(), wanted);
}

#[test]
fn keys_are_told_apart_by_case() {
    // As Go's decoder of Kubernetes does (`sigs.k8s.io/json`).
    let body =
        r#"{"Metadata":{"resourceVersion":"6"},"metadata":{"ResourceVersion":"6","resourceversion":"6"}}"#;
    is_left(&format!("PUT {POD}"), "application/json", body.as_bytes());
}

#[test]
fn the_versions_in_a_json_patch_are_mapped_wherever_their_paths_lead() {
    for before in [
        r#"[{"op":"test","path":"/metadata/resourceVersion","value":"5"}]"#,
        r#"[{"op":"add","path":"/metadata/resourceVersion","value":"5"},{"op":"replace","value":"5","path":"/metadata/resourceVersion"}]"#,
        r#"[{"op":"replace","path":"/metadata","value":{"name":"p","resourceVersion":"5"}}]"#,
        r#"[{"op":"test","path":"","value":{"metadata":{"resourceVersion":"5"}}}]"#,
        // What the API server's library makes of it.
        r#"[{"op":"test","path":"x/metadata/resourceVersion","value":"5"}]"#,
        r#"[{"op":"test","path":"\/metadata\u002fresource\u0056ersion","value":"5"}]"#,
        r#"[{"op":"test","path":"/spec","path":"/metadata/resourceVersion","value":"5","value":"5"}]"#,
        r#"[{"path":"/spec/nodeName","op":"add","value":"n"},{"op":"test","path":"/metadata","value":{"resourceVersion":"5"}}]"#,
    ] {
        let wanted = before.replace("\"5\"", "\"500\"");
        assert_ne!(before, wanted);
        assert_eq!(mapped(&format!("PATCH {POD}"), JSON_PATCH, before), wanted);
        let foreign = before.replace("\"5\"", "\"6\"");
        let refused = map(&format!("PATCH {POD}"), JSON_PATCH, foreign.as_bytes());
        assert_eq!(refused, Err(NotMapped::Unknown { version: "6".to_owned() }), "{before}");
    }
}

#[test]
fn what_a_json_patch_does_elsewhere_stays() {
    for body in [
        r#"[{"op":"add","path":"/metadata/labels/resourceVersion","value":"5"}]"#,
        r#"[{"op":"add","path":"/metadata~1resourceVersion","value":"5"}]"#,
        r#"[{"op":"add","path":"/metadata/resource~0Version","value":"5"}]"#,
        r#"[{"op":"add","path":"/metadata/resourceVersion/0","value":"5"}]"#,
        r#"[{"op":"add","path":"//metadata/resourceVersion","value":"5"}]"#,
        r#"[{"op":"add","path":"/metadata/","value":{"resourceVersion":"5"}}]"#,
        r#"[{"op":"add","path":"metadata","value":{"resourceVersion":"5"}}]"#,
        r#"[{"op":"add","path":"/spec","value":{"resourceVersion":"5","metadata":{"resourceVersion":"5"}}}]"#,
        r#"[{"op":"copy","from":"/metadata/resourceVersion","path":"/metadata/annotations/a"}]"#,
        r#"[{"op":"remove","path":"/metadata/resourceVersion"}]"#,
        r#"[{"op":"test","value":"5"},{"op":"test","path":null,"value":"5"},{"op":"test","path":7,"value":"5"},5,null,[]]"#,
        r#"[{"op":"test","path":"/metadata/resourceVersion","path":"/spec","value":"5"}]"#,
        r#"{"op":"test","path":"/metadata/resourceVersion","value":"5"}"#,
    ] {
        is_left(&format!("PATCH {POD}"), JSON_PATCH, body.as_bytes());
    }
}

#[test]
fn an_apply_patch_is_mapped_in_json_and_passes_in_yaml_without_a_version() {
    let line = format!("PATCH {POD}?fieldManager=m");
    let before = r#" {"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","resourceVersion":"5"}} "#;
    assert_eq!(mapped(&line, APPLY, before), before.replace("\"5\"", "\"500\""));
    for yaml in [
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  annotations: {a: \"b\\n\\\"c\\\\d\"}\nspec: {}\n",
        "{a: 1}",
        "metadata: {name: C:\\path!}",
        ": [ broken",
    ] {
        is_left(&line, APPLY, yaml.as_bytes());
        is_left(&format!("PUT {POD}"), "application/yaml", yaml.as_bytes());
    }
    let utf16: Vec<u8> =
        "\u{feff}metadata: {resourceVersion: 5}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for yaml in [
        &b"metadata: {resourceVersion: \"5\"}"[..],
        b"metadata: {\"resource\\x56ersion\": \"5\"}",
        b"metadata: {\"resource\\u0056ersion\": \"5\"}",
        b"metadata: {\"resource\\U00000056ersion\": \"5\"}",
        b"metadata: {\"resource\\\n  Version\": \"5\"}",
        b"metadata: {\"resource\\\r\n  Version\": \"5\"}",
        "metadata: {\"resource\\\u{2028}Version\": \"5\"}".as_bytes(),
        b"metadata: {!!binary cmVzb3VyY2VWZXJzaW9u: \"5\"}",
        b"metadata: {!<tag:yaml.org,2002:binary> cmVzb3VyY2VWZXJzaW9u: \"5\"}",
        b"%TAG !y! tag:yaml.org,2002:\n---\nmetadata: {!y!binary cmVzb3VyY2VWZXJzaW9u: \"5\"}",
        b"metadata: {name: \xff}",
        &utf16,
    ] {
        assert_eq!(map(&line, APPLY, yaml), Err(NotMapped::Yaml), "{}", String::from_utf8_lossy(yaml));
        assert_eq!(map(&format!("PUT {POD}"), "application/yaml", yaml), Err(NotMapped::Yaml));
    }
}

#[test]
fn the_precondition_of_a_delete_is_mapped_under_the_options_of_any_group_or_none() {
    for line in [
        "DELETE /api/v1/namespaces/a/pods/p",
        "DELETE /api/v1/namespaces/a/pods",
        "DELETE /apis/discovery.k8s.io/v1/namespaces/a/endpointslices?labelSelector=a%3Db",
    ] {
        for api_version in ["v1", "meta.k8s.io/v1", "storage.k8s.io/v1", "policy/v1beta1"] {
            is_mapped(
                line,
                &format!(
                    r#"{{"kind":"DeleteOptions","apiVersion":"{api_version}","gracePeriodSeconds":0,"preconditions":{{"uid":"u","resourceVersion":"5"}}}}"#
                ),
            );
        }
    }
    let nameless = |version: &[u8]| {
        let mut preconditions = Vec::new();
        proto::push_bytes(&mut preconditions, 2, version);
        let mut raw = Vec::new();
        proto::push_bytes(&mut raw, 2, &preconditions);
        proto::envelope("", "", &raw)
    };
    let body = nameless(b"5");
    let changed = map(&format!("DELETE {POD}"), "application/vnd.kubernetes.protobuf", &body).unwrap();
    assert_eq!(changed, nameless(b"500"));
    is_left(&format!("DELETE {POD}"), "", b"");
    is_left(&format!("DELETE {POD}"), "text/plain", b"");
}

#[test]
fn the_precondition_of_an_eviction_is_mapped() {
    for api_version in ["policy/v1", "policy/v1beta1"] {
        is_mapped(
            &format!("POST {POD}/eviction"),
            &format!(
                r#"{{"kind":"Eviction","apiVersion":"{api_version}","metadata":{{"name":"p","resourceVersion":"9"}},"deleteOptions":{{"preconditions":{{"resourceVersion":"5"}}}}}}"#
            ),
        );
    }
}

#[test]
fn the_version_of_a_binding_is_mapped() {
    for line in [format!("POST {POD}/binding"), "POST /api/v1/namespaces/a/bindings".to_owned()] {
        is_mapped(
            &line,
            r#"{"kind":"Binding","apiVersion":"v1","metadata":{"name":"p","uid":"u","resourceVersion":"5"},"target":{"kind":"Node","name":"n","resourceVersion":"9"}}"#,
        );
    }
}

#[test]
fn bodies_without_a_version_of_their_object_go_on_unread() {
    let body = br#"{"metadata":{"resourceVersion":"6"},"preconditions":{"resourceVersion":"6"}"#;
    for line in [
        "POST /api/v1/namespaces/a/pods",
        "POST /api/v1/namespaces/a/events",
        "POST /api/v1/namespaces/a/serviceaccounts/s/token",
        "GET /api/v1/namespaces/a/pods",
        "GET /api/v1/namespaces/a/pods/p",
        "PUT /api/v1/namespaces/a/pods/p/proxy/metadata",
        "POST /api/v1/namespaces/a/pods/p/proxy",
        "PATCH /api/v1/nodes/n/proxy/x",
        "DELETE /api/v1/namespaces/a/services/s/proxy/x",
        "PUT /api/v1/proxy/namespaces/a/services/s/x",
        "POST /api/v1/namespaces/a/pods/p/exec",
        "PUT /openapi/v2",
    ] {
        is_left(line, "text/plain", body);
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_the_api_servers_code() {
    let line = format!("PUT {POD}");
    let pod = request(&line).resource.unwrap();
    let status = |line: &str, content_type: &str, body: &[u8]| {
        map(line, content_type, body).unwrap_err().to_status(&pod)
    };
    for broken in [&b"{"[..], b"k8s\0", b"{\"metadata\":{\"resourceVersion\":\"5\"}}x"] {
        assert_eq!(status(&line, "application/json", broken).code, 400);
    }
    for broken in
        [&b"{}"[..], b"k8s", b"k8s\0\x12", b"k8s\0\x12\x05\x0a\x03\x32\x05a", b"k8s\0\x12\x02\x0a\x07"]
    {
        assert_eq!(status(&line, "application/vnd.kubernetes.protobuf", broken).code, 400, "{broken:?}");
    }
    assert_eq!(status(&line, "application/cbor", b"{}").code, 415);
    assert_eq!(status(&line, APPLY, b"{}").code, 415);
    assert_eq!(status("PATCH /api/v1/nodes/n", "application/apply-patch+cbor", b"{}").code, 415);
    assert_eq!(status("PATCH /api/v1/nodes/n", "application/json", b"{}").code, 415);
    assert_eq!(status(&line, "application/yaml", b"a: !!b c").code, 415);
    let conflict = status(&line, "", br#"{"metadata":{"resourceVersion":"6"}}"#);
    assert_eq!((conflict.code, conflict.reason.as_str()), (409, "Conflict"));
    assert!(conflict.message.contains("pods \"p\""), "{}", conflict.message);
}

/// The references of which it was asked, as `kind apiVersion namespace/name uid version`, and what became of the body. Pods
/// and their `5` are known.
fn references(line: &str, content_type: &str, body: &[u8]) -> (Vec<String>, Vec<u8>) {
    let mut asked = Vec::new();
    let mut map = |of: &Reference, version: &str| {
        asked.push(format!(
            "{} {} {}/{} {} {version}",
            of.kind, of.api_version, of.namespace, of.name, of.uid
        ));
        (of.kind == "Pod" && version == "5").then(|| "500".to_owned())
    };
    let changed = map_references(&request(line), content_type, body, &mut map).unwrap().into_owned();
    (asked, changed)
}

#[test]
fn the_versions_of_what_an_event_refers_to_are_mapped_or_made_empty() {
    let core = r#"{"kind":"Event","apiVersion":"v1","metadata":{"name":"e","resourceVersion":"5"},"involvedObject":{"kind":"Pod","namespace":"a","name":"p","uid":"u","apiVersion":"v1","resourceVersion":"5","fieldPath":"f"},"reason":"R","related":{"kind":"Node","name":"n","resourceVersion":"5"}}"#;
    let new = |version: &str| {
        core.replace("\"v1\",\"metadata", &format!("\"events.k8s.io/{version}\",\"metadata"))
            .replace("involvedObject", "regarding")
    };
    let wanted = |event: &str| {
        event
            .replace(r#""resourceVersion":"5","fieldPath""#, r#""resourceVersion":"500","fieldPath""#)
            .replace(r#""n","resourceVersion":"5""#, r#""n","resourceVersion":"""#)
    };
    for (path, event) in [
        (EVENTS, core.to_owned()),
        ("/apis/events.k8s.io/v1/namespaces/a/events", new("v1")),
        ("/apis/events.k8s.io/v1beta1/namespaces/a/events", new("v1beta1")),
    ] {
        for line in [format!("POST {path}"), format!("PUT {path}/e")] {
            let all = ["Pod v1 a/p u 5", "Node  /n  5"];
            let (asked, changed) = references(&line, "application/json", event.as_bytes());
            assert_eq!(
                (asked.as_slice(), changed),
                (&all.map(str::to_owned)[..], wanted(&event).into_bytes())
            );

            let protobuf = |json: &str| to_protobuf(json.as_bytes()).unwrap().bytes;
            let body = protobuf(&event);
            let (asked, changed) = references(&line, "application/vnd.kubernetes.protobuf", &body);
            assert_eq!((asked.as_slice(), changed), (&all.map(str::to_owned)[..], protobuf(&wanted(&event))));
        }
    }
}

#[test]
fn the_patch_of_an_event_is_mapped_as_far_as_it_says_whose_version_it_is() {
    let line = format!("PATCH {EVENTS}/e");
    let whole = r#"{"count":2,"involvedObject":{"kind":"Pod","name":"p","resourceVersion":"5"}}"#;
    for patch in [MERGE, STRATEGIC, APPLY] {
        let (asked, changed) = references(&line, patch, whole.as_bytes());
        assert_eq!(asked, ["Pod  /p  5"]);
        assert_eq!(changed, whole.replace("\"5\"", "\"500\"").into_bytes());
    }
    let operations = r#"[{"op":"add","path":"/involvedObject","value":{"kind":"Pod","name":"p","resourceVersion":"5"}},{"op":"replace","path":"/related/resourceVersion","value":"5"}]"#;
    let wanted = operations.replacen("\"5\"", "\"500\"", 1).replace("\"5\"", "\"\"");
    let (asked, changed) = references(&line, JSON_PATCH, operations.as_bytes());
    assert_eq!(asked, ["Pod  /p  5", "  /  5"]);
    assert_eq!(String::from_utf8(changed).unwrap(), wanted);
    let counts = br#"{"count":2,"lastTimestamp":"2026-01-01T00:00:00Z","message":"m"}"#;
    assert_eq!(references(&line, STRATEGIC, counts), (Vec::new(), counts.to_vec()));
}

#[test]
fn members_may_stand_in_any_order() {
    let event = r#"{"related":{"resourceVersion":"6","kind":"Node"},"involvedObject":{"resourceVersion":"5","kind":"Pod"}}"#;
    let (_, changed) = references(&format!("POST {EVENTS}"), "application/json", event.as_bytes());
    assert_eq!(changed, event.replace("\"6\"", "\"\"").replace("\"5\"", "\"500\"").into_bytes());
}

#[test]
fn only_events_refer_to_others() {
    let body = br#"{"involvedObject":{"resourceVersion":"5"},"regarding":{"resourceVersion":"5"}}"#;
    for line in [
        "POST /api/v1/namespaces/a/pods",
        "PUT /apis/e.com/v1/namespaces/a/events/e",
        "DELETE /api/v1/namespaces/a/events/e",
        "GET /api/v1/namespaces/a/events/e",
    ] {
        assert_eq!(references(line, "application/json", body), (Vec::new(), body.to_vec()), "{line}");
    }
}

#[test]
fn depth_and_size_are_no_matter() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(9_000), "]".repeat(9_000));
    is_left(&format!("PUT {POD}"), "application/json", deep.as_bytes());
    let too_deep = "[".repeat(1_000_000);
    assert!(map(&format!("PUT {POD}"), "application/json", too_deep.as_bytes()).is_err());
    // Each holder is read once, however many versions it has.
    let many = "\"resourceVersion\":\"5\",".repeat(100_000);
    let event = format!(r#"{{"involvedObject":{{{many}"kind":"Pod"}}}}"#);
    let (asked, changed) = references(&format!("POST {EVENTS}"), "application/json", event.as_bytes());
    assert_eq!((asked.len(), changed.len()), (100_000, event.len() + 200_000));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic_and_what_is_mapped_stays_mapped(
        raw in proptest::collection::vec(0_u8..=255, 0..60),
        json in r#"(\[|\{|\]|\}|,|:|"metadata":|"resourceVersion":|"5"|"path":"/metadata",|"value":){0,12}"#,
    ) {
        let envelope = proto::envelope("v1", "Pod", &raw);
        let bodies: [(&str, &str, &[u8]); 6] = [
            ("PUT", "application/json", json.as_bytes()),
            ("PUT", "application/vnd.kubernetes.protobuf", &envelope),
            ("PUT", "application/vnd.kubernetes.protobuf", &raw),
            ("PATCH", JSON_PATCH, json.as_bytes()),
            ("PATCH", APPLY, json.as_bytes()),
            ("DELETE", "application/yaml", &raw),
        ];
        for (method, content_type, body) in bodies {
            let request = request(&format!("{method} {POD}"));
            let Ok(mapped) = map_versions(&request, content_type, body, &mut |_| Some("7".to_owned())) else { continue };
            let again = map_versions(&request, content_type, &mapped, &mut |version| (version == "7").then(|| "7".to_owned()));
            proptest::prop_assert!(matches!(again, Ok(Cow::Borrowed(_))));
        }
    }
}
