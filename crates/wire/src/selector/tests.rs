use super::*;
use crate::media::Encoding;
use crate::object::Object;
use crate::schema::Kind;

fn label(selector: &str) -> Result<String, String> {
    selector.parse().map(|selector: LabelSelector| selector.to_string())
}

fn field(selector: &str) -> Result<String, String> {
    selector.parse().map(|selector: FieldSelector| selector.to_string())
}

#[test]
fn label_selectors_are_read_and_written_in_one_form() {
    let cases = [
        ("", ""),
        (" \t\r\n", ""),
        ("a", "a"),
        ("!a", "!a"),
        ("! a , b", "!a,b"),
        ("b=1,a==2", "a==2,b=1"),
        ("a=", "a="),
        ("a==", "a=="),
        ("a!=b", "a!=b"),
        ("a=,b", "a=,b"),
        ("a in(c,b,b)", "a in (b,c)"),
        ("a in ()", "a in ()"),
        ("a in (,)", "a in ()"),
        ("a in (b,)", "a in (,b)"),
        ("a in (,,b)", "a in (,b)"),
        ("a notin (in,notin)", "a notin (in,notin)"),
        ("in in (in)", "in in (in)"),
        ("notin=in", "notin=in"),
        ("a>1,a<3", "a>1,a<3"),
        ("example.com/a=b", "example.com/a=b"),
        ("a\0 what follows a zero byte is not read", "a"),
        ("!service.kubernetes.io/headless", "!service.kubernetes.io/headless"),
    ];
    for (selector, written) in cases {
        assert_eq!(label(selector).as_deref(), Ok(written), "{selector}");
        assert_eq!(label(written).as_deref(), Ok(written), "{written}");
    }
}

#[test]
fn label_selectors_that_are_none_are_refused_in_the_api_servers_words() {
    let name = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let cases = [
        (",a", "found ',', expected: !, identifier, or 'end of string'".to_owned()),
        ("a,", "found '', expected: identifier after ','".to_owned()),
        ("a,,b", "found ',', expected: identifier after ','".to_owned()),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt".to_owned()),
        ("a=b c", "found 'c', expected: ',' or 'end of string'".to_owned()),
        ("!", "unable to parse requirement: found '', expected: identifier".to_owned()),
        ("!a in (b)", "found 'in', expected: ',' or 'end of string'".to_owned()),
        ("a in b", "unable to parse requirement: found 'b' expected: '('".to_owned()),
        ("a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier".to_owned()),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'".to_owned()),
        ("a in (b,", "unable to parse requirement: found '', expected: ',', or identifier".to_owned()),
        ("a=!b", "unable to parse requirement: found '!', expected: identifier".to_owned()),
        ("a===b", "unable to parse requirement: found '=', expected: identifier".to_owned()),
        ("-a", format!("unable to parse requirement: <nil>: Invalid value: \"-a\": {name}")),
        ("a/b/c", format!(
            "unable to parse requirement: <nil>: Invalid value: \"a/b/c\": a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
            name.trim_start_matches("name part ")
        )),
        ("/", format!("unable to parse requirement: <nil>: Invalid value: \"/\": prefix part must be non-empty; name part must be non-empty; {name}")),
        ("a>x", "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer".to_owned()),
        ("a=b_", "unable to parse requirement: values[0][a]: Invalid value: \"b_\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')".to_owned()),
    ];
    for (selector, message) in cases {
        assert_eq!(label(selector), Err(message), "{selector}");
    }
}

#[test]
fn p4_label_selectors_take_what_the_api_server_would_take() {
    let labels = |key: &str| match key {
        "app" => Some("web"),
        "tier" => Some(""),
        "rank" => Some("7"),
        _ => None,
    };
    let takes = |selector: &str| selector.parse::<LabelSelector>().unwrap().matches(labels);
    for selector in [
        "",
        "app",
        "!none",
        "app=web",
        "app==web",
        "app!=x",
        "none!=x",
        "app in (web,x)",
        "app notin (x)",
        "none notin (x)",
        "tier=",
        "tier",
        "rank>6",
        "rank<8",
        "app=web,rank>6,!none",
        "tier in (,x)",
    ] {
        assert!(takes(selector), "{selector}");
    }
    for selector in [
        "!app",
        "none",
        "app=x",
        "app!=web",
        "none=x",
        "none=",
        "app in (x)",
        "none in (x)",
        "app notin (web)",
        "rank>7",
        "rank<7",
        "app>1",
        "none<1",
        "app=web,none",
        "tier in (x)",
    ] {
        assert!(!takes(selector), "{selector}");
    }
}

#[test]
fn field_selectors_are_read_and_written_in_one_form() {
    let cases = [
        ("", ""),
        (",,", ""),
        ("=", ""),
        ("b=1,a==2", "a=2,b=1"),
        ("a!=b", "a!=b"),
        ("a=", "a="),
        ("a!=", "a!="),
        (r"a=x\,y\=z\\", r"a=x\,y\=z\\"),
        ("spec.clusterIP!=None", "spec.clusterIP!=None"),
        ("a!b=c", "a!b=c"),
    ];
    for (selector, written) in cases {
        assert_eq!(field(selector).as_deref(), Ok(written), "{selector}");
    }
}

#[test]
fn field_selectors_that_are_none_are_refused_in_the_api_servers_words() {
    let cases = [
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        ("b=1,a", "invalid selector: 'b=1,a'; can't understand 'a'"),
        ("a!b", "invalid selector: 'a!b'; can't understand 'a!b'"),
        ("a===b", "invalid field selector: unescaped character in value: 61"),
        (r"a=\b", r"invalid field selector: invalid escape sequence: \b"),
        (r"a=b\", r"invalid field selector: invalid escape sequence: \"),
    ];
    for (selector, message) in cases {
        assert_eq!(field(selector), Err(message.to_owned()), "{selector}");
    }
}

#[test]
fn p4_field_selectors_compare_text_and_a_missing_field_is_empty() {
    let fields = |path: &str| if path == "spec.nodeName" { "n1" } else { "" };
    let takes = |selector: &str| selector.parse::<FieldSelector>().unwrap().matches(fields);
    for selector in [
        "",
        "spec.nodeName=n1",
        "spec.nodeName!=n2",
        "status.phase=",
        "status.phase!=Failed,spec.nodeName=n1",
    ] {
        assert!(takes(selector), "{selector}");
    }
    for selector in ["spec.nodeName=n2", "spec.nodeName!=n1", "status.phase!=", "spec.nodeName=n1,a=b"] {
        assert!(!takes(selector), "{selector}");
    }
}

#[test]
fn p8_a_selector_is_within_another_only_if_it_has_all_its_terms() {
    let within = |narrow: &str, wide: &str| {
        let parse = |text: &str| text.parse::<LabelSelector>().unwrap();
        parse(narrow).is_within(&parse(wide))
    };
    assert!(within("a=b", "") && within("a=b,c", "a in (b)") && within("a!=b", "a notin (b)"));
    assert!(
        !within("", "a=b") && !within("a=c", "a=b") && !within("a in (b,c)", "a=b") && !within("a", "!a")
    );
    let field = |text: &str| text.parse::<FieldSelector>().unwrap();
    assert!(field("a=b,c=d").is_within(&field("c==d")));
    assert!(!field("c!=d").is_within(&field("c=d")));
}

fn resolved(group: &str, version: &str, kind: &str, selector: &str) -> Result<String, String> {
    let kind = Kind::find(group, version, kind);
    let selector: FieldSelector = selector.parse().unwrap();
    selector.resolve(kind).map(|selector| selector.to_string()).map_err(|status| status.message)
}

#[test]
fn fields_that_a_kind_does_not_have_are_refused_in_the_api_servers_words() {
    let core = |kind, selector| resolved("", "v1", kind, selector);
    for (kind, selector) in [
        ("Pod", "metadata.name=a,metadata.namespace=b,spec.nodeName=c,status.podIPs=d"),
        ("Node", "metadata.name=a,spec.unschedulable=true"),
        ("Service", "spec.clusterIP!=None"),
        ("ConfigMap", "metadata.name=a,metadata.namespace=b"),
        ("Event", "involvedObject.uid=a,source=b"),
    ] {
        assert_eq!(core(kind, selector).as_deref(), Ok(selector));
    }
    assert_eq!(core("Pod", "spec.host=a").as_deref(), Ok("spec.nodeName=a"));
    assert_eq!(core("Pod", "spec.x=a").unwrap_err(), "field label not supported: spec.x");
    assert_eq!(
        core("Node", "metadata.namespace=a").unwrap_err(),
        "field label not supported: metadata.namespace"
    );
    assert_eq!(
        core("ConfigMap", "data=a").unwrap_err(),
        "\"data\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    );
    assert_eq!(resolved("batch", "v1", "Job", "a=b").unwrap_err(), "field label \"a\" not supported for Job");
    assert_eq!(
        resolved("resource.k8s.io", "v1", "ResourceSlice", "a=b").unwrap_err(),
        "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: a"
    );
    assert_eq!(
        resolved("events.k8s.io", "v1", "Event", "regarding.name=a").as_deref(),
        Ok("regarding.name=a")
    );
    assert!(resolved("events.k8s.io", "v1", "Event", "involvedObject.name=a").is_err());
    // A custom kind.
    assert_eq!(resolved("example.com", "v1", "Widget", "metadata.name=a").as_deref(), Ok("metadata.name=a"));
    assert_eq!(
        resolved("example.com", "v1", "Widget", "spec.a=b").unwrap_err(),
        "field label not supported: spec.a"
    );
}

#[test]
fn p4_fields_are_taken_from_objects_in_both_encodings() {
    let cases = [
        (
            r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"b"},"spec":{"nodeName":"n","hostNetwork":true},"status":{"phase":"Running","podIP":"1.1.1.1","podIPs":[{"ip":"2.2.2.2"}]}}"#,
            "metadata.name=a,metadata.namespace=b,spec.nodeName=n,spec.hostNetwork=true,status.phase=Running,status.podIP=2.2.2.2,status.podIPs=",
            &[
                "spec.nodeName!=n",
                "status.phase=",
                "status.podIP=1.1.1.1",
                "spec.hostNetwork=false",
                "status.podIPs=2.2.2.2",
            ][..],
        ),
        (
            r#"{"kind":"Pod","apiVersion":"v1","status":{"podIP":"1.1.1.1"}}"#,
            "status.podIP=1.1.1.1,spec.hostNetwork=false,spec.nodeName=,status.phase!=Failed",
            &["spec.hostNetwork=", "metadata.name=a"],
        ),
        (r#"{"kind":"Node","apiVersion":"v1"}"#, "spec.unschedulable=false", &["spec.unschedulable=true"]),
        (
            r#"{"kind":"Service","apiVersion":"v1","spec":{"clusterIP":"None"}}"#,
            "spec.clusterIP=None",
            &["spec.clusterIP!=None"],
        ),
        (r#"{"kind":"Secret","apiVersion":"v1","type":"Opaque"}"#, "type=Opaque", &["type!=Opaque"]),
        (
            r#"{"kind":"Event","apiVersion":"v1","involvedObject":{"name":"p"},"reportingComponent":"kubelet"}"#,
            "involvedObject.name=p,source=kubelet,reportingComponent=kubelet",
            &["source="],
        ),
        (
            r#"{"kind":"Event","apiVersion":"events.k8s.io/v1","regarding":{"name":"p"},"reportingController":"k"}"#,
            "regarding.name=p,reportingController=k",
            &["reason=x"],
        ),
        (
            r#"{"kind":"Job","apiVersion":"batch/v1","status":{"succeeded":2}}"#,
            "status.successful=2",
            &["status.successful=0"],
        ),
        (r#"{"kind":"Job","apiVersion":"batch/v1"}"#, "status.successful=0", &["status.successful="]),
        (
            r#"{"kind":"ResourceSlice","apiVersion":"resource.k8s.io/v1","spec":{"nodeName":"n","driver":"d"}}"#,
            "spec.driver=d,spec.nodeName=n",
            &["spec.nodeName="],
        ),
    ];
    for (json, taken, left) in cases {
        let protobuf = crate::transcode::to_protobuf(json.as_bytes()).unwrap().bytes;
        for (bytes, encoding) in [(json.as_bytes(), Encoding::Json), (&protobuf, Encoding::Protobuf)] {
            let object = Object::parse(bytes, encoding).unwrap();
            let takes = |selector: &str| {
                selector
                    .parse::<FieldSelector>()
                    .unwrap()
                    .resolve(object.known_kind())
                    .unwrap()
                    .takes(&object)
            };
            assert!(takes(taken), "{taken} {encoding:?}");
            for selector in left {
                assert!(!takes(selector), "{selector} {encoding:?}");
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_label_selector_panics_and_what_is_read_reads_back(text in "[a-c/.\\-_ ,!=<>()0-9\u{0}\u{e9}]{0,24}|.{0,40}") {
        if let Ok(selector) = text.parse::<LabelSelector>() {
            proptest::prop_assert_eq!(selector.to_string().parse(), Ok(selector));
        }
    }

    #[test]
    fn no_field_selector_panics_and_what_is_read_reads_back(text in "[a-c.,!=\\\\\u{e9}]{0,24}|.{0,40}") {
        if let Ok(selector) = text.parse::<FieldSelector>() {
            let again: FieldSelector = selector.to_string().parse().unwrap();
            proptest::prop_assert!(again.is_within(&selector) && selector.is_within(&again));
        }
    }
}
