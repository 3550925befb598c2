use super::*;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

fn chosen(accept: &str) -> Option<(&'static str, Form)> {
    negotiate(accept, Served::BuiltIn).ok().map(|accepted| (accepted.media_type, accepted.form))
}

#[test]
fn clients_get_the_form_that_they_ask_for() {
    let v1 = MetaVersion::V1;
    let object = Form::Object;
    let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let cases: [(&str, &str, Form); 20] = [
        ("", JSON, object),
        ("*/*", JSON, object),
        ("*", JSON, object),
        ("application/*", JSON, object),
        ("application/json", JSON, object),
        (" application/json ", JSON, object),
        ("application/json; charset=utf-8", JSON, object),
        ("application/yaml", YAML, object),
        // kubelet
        ("application/vnd.kubernetes.protobuf,application/json", PROTOBUF, object),
        // CoreDNS
        ("application/vnd.kubernetes.protobuf, */*", PROTOBUF, object),
        // kubectl get
        (
            &format!("{TABLE},application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"),
            JSON,
            Form::Table(v1),
        ),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", JSON, Form::Table(MetaVersion::V1beta1)),
        // metadata informers
        (&format!("{metadata},application/json"), PROTOBUF, Form::MetadataList(v1)),
        ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", JSON, Form::Metadata(v1)),
        ("application/cbor, application/json;q=0.9", JSON, object),
        ("text/html, application/vnd.kubernetes.protobuf;q=0.1", PROTOBUF, object),
        ("application/json;q=0.1, application/vnd.kubernetes.protobuf;q=0.2", PROTOBUF, object),
        ("application/json;stream=watch", JSON, object),
        ("application/json;sv=v1", JSON, object),
        ("application/json;as=Node;g=meta.k8s.io;v=v1,application/json", JSON, object),
    ];
    for (accept, media_type, form) in cases {
        assert_eq!(chosen(accept), Some((media_type, form)), "{accept}");
    }
}

#[test]
fn what_cannot_be_given_is_406_with_what_can() {
    let impossible = [
        "text/html",
        "application/cbor",
        "application/cbor-seq",
        "application",
        "application/",
        "application/json/x",
        "*/json",
        "application/json;stream=other",
        "application/json;sv=v2",
        "application/json;as=Table",
        "application/json;as=Table;v=v2;g=meta.k8s.io",
        "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io",
        "application/yaml;stream=watch",
        ",",
    ];
    for accept in impossible {
        let status = negotiate(accept, Served::BuiltIn).unwrap_err();
        assert_eq!(status.code, 406, "{accept}");
        assert_eq!(
            status.message,
            "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
        );
    }
}

#[test]
fn the_order_is_the_api_servers_with_its_quirks() {
    // More particular goes before less so, whatever its quality, if it stands behind it.
    assert_eq!(chosen("*/*, application/vnd.kubernetes.protobuf;q=0.1").unwrap().0, PROTOBUF);
    // Quality 0 is not a refusal.
    assert_eq!(chosen("application/json;q=0").unwrap().0, JSON);
    // A quality that is no number is 0.
    assert_eq!(chosen("application/yaml;q=x,application/json;q=0.1").unwrap().0, JSON);
    // Equal ones stay as they stand.
    assert_eq!(chosen("application/yaml,application/json").unwrap().0, YAML);
    // Of two parameters with one name the later counts.
    assert_eq!(
        chosen("application/json;as=Node;as=Table;v=v1;g=meta.k8s.io").unwrap().1,
        Form::Table(MetaVersion::V1)
    );
    // A parameter with two equals signs is none.
    assert_eq!(chosen("application/json;as=a=b").unwrap(), (JSON, Form::Object));
}

#[test]
fn a_watch_is_streamed_in_json_or_protobuf_only() {
    let stream = |accept| negotiate_stream(accept, Served::BuiltIn);
    assert_eq!(stream("application/json;stream=watch").unwrap().stream_content_type(), "application/json");
    assert_eq!(
        stream("application/vnd.kubernetes.protobuf;stream=watch,application/json")
            .unwrap()
            .stream_content_type(),
        "application/vnd.kubernetes.protobuf;stream=watch"
    );
    assert_eq!(
        stream("application/yaml").unwrap_err().message,
        "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
    );
}

#[test]
fn custom_resources_have_protobuf_for_their_metadata_only() {
    let custom = |accept| negotiate(accept, Served::Custom).map(|accepted| accepted.encoding);
    assert_eq!(custom("application/vnd.kubernetes.protobuf,application/json"), Ok(Encoding::Json));
    assert_eq!(custom("application/vnd.kubernetes.protobuf").unwrap_err().code, 406);
    assert_eq!(
        custom("application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"),
        Ok(Encoding::Protobuf)
    );
}

#[test]
fn a_status_finds_an_encoding_for_everybody() {
    assert_eq!(for_status("application/vnd.kubernetes.protobuf;stream=watch"), Encoding::Protobuf);
    assert_eq!(for_status("application/vnd.kubernetes.protobuf,application/json"), Encoding::Protobuf);
    for accept in ["", "text/html", "application/cbor", TABLE] {
        assert_eq!(for_status(accept), Encoding::Json);
    }
}

#[test]
fn bodies_are_json_protobuf_or_yaml_and_cbor_is_415() {
    assert_eq!(body(""), Ok(Body::Object(Encoding::Json)));
    assert_eq!(body("Application/JSON; charset=\"u;\\\"tf\" ; a=b;"), Ok(Body::Object(Encoding::Json)));
    assert_eq!(body("application/vnd.kubernetes.protobuf"), Ok(Body::Object(Encoding::Protobuf)));
    assert_eq!(body("application/yaml"), Ok(Body::Yaml));
    let wrong = [
        "application/cbor",
        "text/plain",
        "application",
        "application/json; charset",
        "application/json; charset=\"",
        "application/json; a=b c",
        "a b/c",
        "application/json;;",
    ];
    for content_type in wrong {
        let status = body(content_type).unwrap_err();
        assert_eq!(status.code, 415, "{content_type}");
        assert_eq!(
            status.message,
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"
        );
    }
}

#[test]
fn patches_are_told_apart_and_custom_resources_know_no_strategic_one() {
    let strategic = "application/strategic-merge-patch+json";
    assert_eq!(patch(strategic, Served::BuiltIn), Ok(Patch::Strategic));
    assert_eq!(patch("application/json-patch+json; charset=utf-8", Served::Custom), Ok(Patch::Json));
    assert_eq!(patch("application/apply-patch+yaml", Served::Custom), Ok(Patch::Apply));
    assert_eq!(
        patch(strategic, Served::Custom).unwrap_err().message,
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    );
    for wrong in ["", "application/json", "application/apply-patch+cbor", ";", "APPLICATION/JSON-PATCH+JSON"]
    {
        assert_eq!(patch(wrong, Served::BuiltIn).unwrap_err().code, 415, "{wrong}");
    }
}
