use super::*;

const PODS: GroupResource<'static> = GroupResource { group: "", resource: "pods" };
const SLICES: GroupResource<'static> =
    GroupResource { group: "discovery.k8s.io", resource: "endpointslices" };

fn json(status: &Status) -> String {
    String::from_utf8(status.encode(Encoding::Json)).unwrap()
}

#[test]
fn a_status_in_json_has_the_members_and_the_order_of_the_api_server() {
    assert_eq!(
        json(&Status::not_found(PODS, "web-0")),
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods \"web-0\" not found","reason":"NotFound","details":{"name":"web-0","kind":"pods"},"code":404}"#
            .to_owned()
            + "\n"
    );
    assert_eq!(
        json(&Status::resource_version_too_large(9, 5)),
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Timeout: Too large resource version: 9, current: 5","reason":"Timeout","details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],"retryAfterSeconds":1},"code":504}"#
            .to_owned()
            + "\n"
    );
    assert_eq!(
        json(&Status::deleted(SLICES, "a", "u")),
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","details":{"name":"a","group":"discovery.k8s.io","kind":"endpointslices","uid":"u"}}"#
            .to_owned()
            + "\n"
    );
}

#[test]
fn messages_are_the_api_servers() {
    let cases = [
        (Status::already_exists(SLICES, "a"), 409, r#"endpointslices.discovery.k8s.io "a" already exists"#),
        (
            Status::stale(PODS, "a"),
            409,
            r#"Operation cannot be fulfilled on pods "a": the object has been modified; please apply your changes to the latest version and try again"#,
        ),
        (Status::forbidden(PODS, "", "no"), 403, "pods is forbidden: no"),
        (Status::forbidden(PODS, "a", "no"), 403, r#"pods "a" is forbidden: no"#),
        (
            Status::method_not_allowed(PODS, "bind"),
            405,
            r#"bind is not supported on resources of kind "pods""#,
        ),
        (Status::too_large("limit is 3145728"), 413, "Request entity too large: limit is 3145728"),
        (Status::internal_error("x"), 500, "Internal error occurred: x"),
    ];
    for (status, code, message) in cases {
        assert_eq!((status.code, status.message.as_str()), (code, message));
    }
}

#[test]
fn several_causes_stand_in_brackets_and_the_same_one_only_once() {
    let cause = |field: &str| Cause {
        reason: "FieldValueForbidden".to_owned(),
        message: "Forbidden: no".to_owned(),
        field: field.to_owned(),
    };
    let message = |causes| Status::invalid("meta.k8s.io", "ListOptions", "", causes).message;
    assert_eq!(message(vec![]), r#"ListOptions.meta.k8s.io "" is invalid"#);
    assert_eq!(
        message(vec![cause("a"), cause("a")]),
        r#"ListOptions.meta.k8s.io "" is invalid: a: Forbidden: no"#
    );
    assert_eq!(
        message(vec![cause("a"), cause("b")]),
        r#"ListOptions.meta.k8s.io "" is invalid: [a: Forbidden: no, b: Forbidden: no]"#
    );
}

#[test]
fn p8_what_is_forbidden_is_said_without_markup() {
    assert_eq!(
        forbidden_text("<a>", "list", "", "pods/log", ""),
        r#"User "&lt;a&gt;" cannot list resource "pods/log" in API group "" at the cluster scope"#
    );
    assert!(forbidden_text("a", "get", "", "pods", "x").ends_with(r#"in the namespace "x""#));
}

#[test]
fn a_status_in_protobuf_writes_every_field_that_is_no_pointer() {
    let body = Status { code: 7, ..Status::failure(0, "R", "M") }.encode(Encoding::Protobuf);
    let mut expected = b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Status\x12".to_vec();
    let message = b"\x0a\x06\x0a\x00\x12\x00\x1a\x00\x12\x07Failure\x1a\x01M\x22\x01R\x30\x07";
    expected.push(u8::try_from(message.len()).unwrap());
    expected.extend_from_slice(message);
    expected.extend_from_slice(b"\x1a\x00\x22\x00");
    assert_eq!(body, expected);
}

#[test]
fn a_status_is_read_back_from_both_encodings_and_the_table_writes_the_same() {
    let cause = Cause { reason: "R".to_owned(), message: "M".to_owned(), field: "F".to_owned() };
    let all = [
        Status::not_found(SLICES, "a"),
        Status::deleted(PODS, "a", "u"),
        Status::invalid("", "Pod", "a", vec![cause.clone(), cause]),
        Status::resource_version_too_large(9, 5),
        Status::expired("gone"),
        Status::timeout("x"),
    ];
    for status in all {
        let [json, protobuf] = [Encoding::Json, Encoding::Protobuf].map(|encoding| status.encode(encoding));
        assert_eq!(Status::decode(&json, Encoding::Json).as_ref(), Some(&status));
        assert_eq!(Status::decode(&protobuf, Encoding::Protobuf).as_ref(), Some(&status));
        assert_eq!(transcode::to_protobuf(&json).unwrap().bytes, protobuf);
        assert_eq!(transcode::to_json(&protobuf).unwrap().bytes, json.trim_ascii_end());
    }
    assert_eq!(Status::decode(br#"{"kind":"Pod"}"#, Encoding::Json), None);
    assert_eq!(Status::decode(b"k8s", Encoding::Protobuf), None);
}
