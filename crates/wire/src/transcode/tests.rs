use super::*;
use crate::proto::{push_bytes, push_message, push_string, push_varint_field};

fn json(object: &[u8]) -> String {
    String::from_utf8(to_json(object).unwrap().bytes).unwrap()
}

fn field_and_text(error: Error) -> (String, String) {
    match error {
        Error::Malformed { field, what } => (field, what),
        other => panic!("{other}"),
    }
}

/// A message without envelope, as JSON without apiVersion and kind.
fn message(kind: &str, raw: &[u8]) -> Result<String, Error> {
    let mut out = Vec::new();
    let found = Kind::find("", "v1", kind).unwrap().message();
    message_to_json(found, raw, None, &mut out).map(|_| String::from_utf8(out).unwrap())
}

#[test]
fn an_empty_object_shows_what_is_written_even_when_it_is_zero() {
    let empty = |kind: &str| json(&proto::envelope("v1", kind, b""));
    assert_eq!(
        empty("Pod"),
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{},"spec":{"containers":null},"status":{}}"#
    );
    assert_eq!(empty("Secret"), r#"{"kind":"Secret","apiVersion":"v1","metadata":{}}"#);
    assert_eq!(
        empty("Event"),
        r#"{"kind":"Event","apiVersion":"v1","metadata":{},"involvedObject":{},"source":{},"firstTimestamp":null,"lastTimestamp":null,"eventTime":null,"reportingComponent":"","reportingInstance":""}"#
    );
    let slice = json(&proto::envelope("discovery.k8s.io/v1", "EndpointSlice", b""));
    assert_eq!(
        slice,
        r#"{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{},"addressType":"","endpoints":null,"ports":null}"#
    );
}

#[test]
fn an_empty_list_has_an_empty_array_of_items() {
    assert_eq!(
        json(&proto::envelope("v1", "PodList", b"")),
        r#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}"#
    );
}

#[test]
fn zeros_that_protobuf_must_have_are_written() {
    let made = to_protobuf(br#"{"apiVersion":"v1","kind":"ConfigMap"}"#).unwrap();
    let meta = b"\x0a\x00\x12\x00\x1a\x00\x22\x00\x2a\x00\x32\x00\x38\x00\x42\x00";
    let mut raw = Vec::new();
    push_bytes(&mut raw, 1, meta);
    assert_eq!(made.bytes, proto::envelope("v1", "ConfigMap", &raw));
    assert!(made.complete);
}

#[test]
fn null_is_as_good_as_nothing() {
    let with = to_protobuf(
        br#"{"apiVersion":"v1","kind":"Pod","metadata":{"creationTimestamp":null,"labels":null},"spec":null,"status":{"podIPs":null,"startTime":null}}"#,
    );
    let without = to_protobuf(br#"{"apiVersion":"v1","kind":"Pod"}"#);
    assert_eq!(with, without);
}

#[test]
fn of_members_and_map_keys_that_stand_twice_the_last_counts() {
    let twice = br#"{"kind":"ConfigMap","apiVersion":"v1","data":{"b":"1","a":"2","b":"3"},"metadata":{"name":"x"},"metadata":{"name":"y"}}"#;
    let made = json(&to_protobuf(twice).unwrap().bytes);
    assert_eq!(
        made,
        r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"y"},"data":{"a":"2","b":"3"}}"#
    );

    let mut raw = Vec::new();
    for (key, value) in [("b", "1"), ("a", "2"), ("b", "3")] {
        push_message(&mut raw, 2, |out| {
            push_string(out, 1, key);
            push_string(out, 2, value);
        });
    }
    assert_eq!(message("ConfigMap", &raw).unwrap(), r#"{"metadata":{},"data":{"a":"2","b":"3"}}"#);
}

#[test]
fn p5_fields_outside_the_table_are_noticed_in_both_encodings_at_any_depth() {
    let complete = |json: &[u8]| to_protobuf(json).unwrap().complete;
    assert!(complete(br#"{"kind":"Pod","apiVersion":"v1","spec":{"volumes":[{"name":"a","emptyDir":{}}]}}"#));
    assert!(!complete(br#"{"kind":"Pod","apiVersion":"v1","new":1}"#));
    assert!(!complete(br#"{"kind":"Pod","apiVersion":"v1","spec":{"volumes":[{"name":"a","newDir":{}}]}}"#));
    assert!(!complete(br#"{"kind":"Pod","apiVersion":"v1","spec":{"kind":"x"}}"#));
    // A claim template has apiVersion and kind in JSON only, which is no loss.
    assert!(complete(
        br#"{"kind":"StatefulSet","apiVersion":"apps/v1","spec":{"volumeClaimTemplates":[{"kind":"PersistentVolumeClaim","apiVersion":"v1"}]}}"#
    ));

    let mut raw = Vec::new();
    push_message(&mut raw, 1, |out| push_varint_field(out, 1000, 1));
    let object = proto::envelope("v1", "Pod", &raw);
    assert!(!to_json(&object).unwrap().complete);
    assert_eq!(has_unknown_fields(&object, Encoding::Protobuf), Ok(true));
    assert_eq!(has_unknown_fields(&proto::envelope("a/v1", "B", b""), Encoding::Protobuf), Ok(true));
}

#[test]
fn p4_the_empty_cluster_name_of_servers_up_to_1_23_is_no_field_that_is_newer_than_the_table() {
    let object = |number: u32, value: &[u8]| {
        let mut raw = Vec::new();
        push_message(&mut raw, 1, |out| push_bytes(out, number, value));
        proto::envelope("v1", "Pod", &raw)
    };
    assert!(to_json(&object(15, b"")).unwrap().complete);
    assert_eq!(has_unknown_fields(&object(15, b""), Encoding::Protobuf), Ok(false));
    assert!(
        !to_json(&object(15, b"edge")).unwrap().complete,
        "it was never used; what it says would be lost"
    );
    assert!(!to_json(&object(16, b"")).unwrap().complete, "an empty message may mean something");
}

#[test]
fn values_of_the_wrong_kind_are_refused_with_their_place() {
    let refused = |json: &str| {
        let object = format!(r#"{{"kind":"Pod","apiVersion":"v1",{json}}}"#);
        field_and_text(to_protobuf(object.as_bytes()).unwrap_err())
    };
    let cases = [
        (r#""spec":[]"#, "spec", "an object is wanted, an array stands there"),
        (r#""spec":{"containers":{}}"#, "spec.containers", "an array is wanted, an object stands there"),
        (
            r#""spec":{"containers":[{},{"name":1}]}"#,
            "spec.containers[1].name",
            "a string is wanted, a number stands there",
        ),
        (
            r#""spec":{"priority":1.5}"#,
            "spec.priority",
            "a whole number of 32 bits is wanted, a number stands there",
        ),
        (
            r#""spec":{"priority":2147483648}"#,
            "spec.priority",
            "a whole number of 32 bits is wanted, a number stands there",
        ),
        (
            r#""spec":{"hostNetwork":"x"}"#,
            "spec.hostNetwork",
            "true or false is wanted, a string stands there",
        ),
        (
            r#""metadata":{"labels":{"a":{}}}"#,
            "metadata.labels.a",
            "a string is wanted, an object stands there",
        ),
        (r#""status":{"startTime":"now"}"#, "status.startTime", "\"now\" is no time of RFC 3339"),
    ];
    for (json, field, what) in cases {
        assert_eq!(refused(json), (field.to_owned(), what.to_owned()));
    }
    let secret = to_protobuf(br#"{"kind":"Secret","apiVersion":"v1","data":{"a":"%"}}"#).unwrap_err();
    assert!(secret.to_string().starts_with("the object cannot be read: data.a: it is no base64"), "{secret}");
    assert_eq!(secret.to_status().code, 400);
}

#[test]
fn protobuf_of_the_wrong_kind_is_refused_with_its_place() {
    let refused = |raw: &[u8]| field_and_text(message("Pod", raw).unwrap_err());
    assert_eq!(refused(b"\x08\x01"), ("metadata".to_owned(), "the field has another wire type".to_owned()));
    assert_eq!(refused(b"\x0a\x00\x0a\x00"), ("metadata".to_owned(), "a field stands twice".to_owned()));
    assert_eq!(refused(b"\x0a\x05"), (String::new(), "a field is cut off".to_owned()));
    assert_eq!(refused(b"\x12\x02\x12\x05"), ("spec".to_owned(), "a field is cut off".to_owned()));
    let capacity = |text: &[u8; 3]| {
        message("Node", &[b"\x1a\x0e\x0a\x0c\x0a\x03cpu\x12\x05\x0a\x03", &text[..]].concat())
            .map_err(field_and_text)
    };
    assert!(capacity(b"10m").is_ok_and(|json| json.contains(r#""capacity":{"cpu":"10m"}"#)));
    let none = Err(("status.capacity.cpu".to_owned(), "a quantity is wanted".to_owned()));
    assert_eq!(capacity(b"1\x10m"), none);
}

#[test]
fn a_kind_that_is_not_built_in_is_named() {
    let unknown = to_protobuf(br#"{"kind":"Widget","apiVersion":"example.com/v1"}"#).unwrap_err();
    assert_eq!(unknown.to_string(), r#"no kind "Widget" is registered for version "example.com/v1""#);
    assert!(matches!(to_protobuf(b"[]"), Err(Error::UnknownKind { .. })));
    // Options of requests come under any group.
    let options = proto::envelope("storage.k8s.io/v1", "DeleteOptions", b"\x08\x00");
    assert_eq!(
        json(&options),
        r#"{"kind":"DeleteOptions","apiVersion":"storage.k8s.io/v1","gracePeriodSeconds":0}"#
    );
}

#[test]
fn numbers_times_and_texts_stand_as_the_api_server_writes_them() {
    let object = br#"{"kind":"Node","apiVersion":"v1","metadata":{"name":"n","creationTimestamp":"2020-01-01T02:00:00+02:00"},"status":{"capacity":{"cpu":2,"memory":"1Gi"},"images":[{"names":["<a>"],"sizeBytes":9007199254740993}]}}"#;
    let made = json(&to_protobuf(object).unwrap().bytes);
    assert_eq!(
        made,
        r#"{"kind":"Node","apiVersion":"v1","metadata":{"name":"n","creationTimestamp":"2020-01-01T00:00:00Z"},"spec":{},"status":{"capacity":{"cpu":"2","memory":"1Gi"},"daemonEndpoints":{"kubeletEndpoint":{"Port":0}},"nodeInfo":{"machineID":"","systemUUID":"","bootID":"","kernelVersion":"","osImage":"","containerRuntimeVersion":"","kubeletVersion":"","kubeProxyVersion":"","operatingSystem":"","architecture":""},"images":[{"names":["\u003ca\u003e"],"sizeBytes":9007199254740993}]}}"#
    );
    let lease = br#"{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","spec":{"renewTime":"2020-01-01T00:00:00.1234567Z"}}"#;
    let made = json(&to_protobuf(lease).unwrap().bytes);
    assert!(made.ends_with(r#""spec":{"renewTime":"2020-01-01T00:00:00.123456Z"}}"#), "{made}");
    // What a microsecond cannot say is not on the wire either.
    assert_eq!(to_protobuf(lease).unwrap().bytes, to_protobuf(made.as_bytes()).unwrap().bytes);
}

#[test]
fn a_packed_list_of_numbers_is_read_like_one_that_is_not() {
    let kind = Kind::find("", "v1", "PodSecurityContext");
    assert!(kind.is_none(), "it is a message, not a kind");
    let context = Kind::find("", "v1", "Pod").unwrap().message().field("spec").unwrap().message().unwrap();
    let context = context.field("securityContext").unwrap().message().unwrap();
    for raw in [&b"\x20\x01\x20\xac\x02"[..], b"\x22\x03\x01\xac\x02"] {
        let mut out = Vec::new();
        message_to_json(context, raw, None, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"supplementalGroups":[1,300]}"#);
    }
}

/// A schema within a schema, so deep.
fn nested_schema(depth: usize) -> String {
    let mut schema = "{}".to_owned();
    for _ in 0..depth {
        schema = format!(r#"{{"not":{schema}}}"#);
    }
    format!(
        r#"{{"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1","spec":{{"versions":[{{"schema":{{"openAPIV3Schema":{schema}}}}}]}}}}"#
    )
}

#[test]
fn nesting_has_an_end() {
    let made = to_protobuf(nested_schema(60).as_bytes()).unwrap();
    assert!(json(&made.bytes).contains(r#"{"not":{"not":"#));
    let (_, what) = field_and_text(to_protobuf(nested_schema(200).as_bytes()).unwrap_err());
    assert_eq!(what, "it is nested too deeply");
    let mut raw = Vec::new();
    for _ in 0..200 {
        let inner = std::mem::take(&mut raw);
        push_bytes(&mut raw, 28, &inner);
    }
    let mut object = Vec::new();
    push_message(&mut object, 2, |out| {
        push_message(out, 7, |out| push_message(out, 4, |out| push_bytes(out, 1, &raw)));
    });
    let object = proto::envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", &object);
    assert!(to_json(&object).is_err());
    let deep = "[".repeat(1_000_000);
    assert!(to_protobuf(deep.as_bytes()).is_err());
}

#[test]
fn p10_a_small_object_cannot_become_a_large_one() {
    // Two bytes of protobuf for some hundred of JSON each.
    let raw: Vec<u8> = std::iter::repeat_n([0x12, 0x00], 400_000).flatten().collect();
    let mut out = Vec::new();
    let pods = Kind::find("", "v1", "PodList").unwrap().message();
    assert_eq!(message_to_json(pods, &raw, None, &mut out), Err(Error::TooLarge));
    assert!(out.len() < 16 << 20, "{}", out.len());
    let items = "{},".repeat(600_000);
    let list = format!(r#"{{"kind":"PodList","apiVersion":"v1","items":[{items}{{}}]}}"#);
    assert_eq!(to_protobuf(list.as_bytes()), Err(Error::TooLarge));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(raw in proptest::collection::vec(0_u8..=255, 0..200), at in 0_usize..400) {
        let kind = Kind::all().nth(at % Kind::all().count()).unwrap();
        let object = proto::envelope(&kind.api_version(), kind.name(), &raw);
        if let Ok(made) = to_json(&object) {
            proptest::prop_assert!(serde_json::from_slice::<serde_json::Value>(&made.bytes).is_ok());
            proptest::prop_assert!(to_protobuf(&made.bytes).is_ok());
        }
        let _ = to_protobuf(&raw);
        let _ = to_json(&raw);
    }

    #[test]
    fn no_json_panics(text in r#"\{"kind":"(Pod|Event|Secret)","apiVersion":"v1"(,"(metadata|spec|status|data|eventTime|containers)":(\{\}|\[\]|null|1|"x"|\{"(name|labels|containers|podIPs)":(\[\{\}\]|\{\}|"y")\}))?\}"#) {
        if let Ok(made) = to_protobuf(text.as_bytes()) {
            let back = to_json(&made.bytes).unwrap();
            proptest::prop_assert_eq!(to_protobuf(&back.bytes).unwrap().bytes, made.bytes);
        }
    }
}
