use super::*;
use crate::transcode::to_protobuf;

const POD: &str = r#" {"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-0","generateName":"w","namespace":"a","uid":"u-1","resourceVersion":"41","generation":3,"deletionTimestamp":"2020-01-01T00:00:00Z","labels":{"app":"web","tier":""},"annotations":{"k":"v\n","a":"\u0062"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"StatefulSet","name":"web","uid":"u-2","controller":true},{"apiVersion":"v1","kind":"Node","name":"n","uid":"u-3"}],"finalizers":["f1","f2"]},"spec":{"nodeName":"n1","hostNetwork":true,"priority":-5,"containers":[{"name":"c","ports":[{"containerPort":80}]}],"volumes":[{"name":"v","secret":{"secretName":"s"}}]},"status":{"phase":"Running","podIPs":[{"ip":"10.0.0.1"},{"ip":"fd00::1"}]}} "#;

/// One object in both encodings.
fn both(json: &str) -> [(Vec<u8>, Encoding); 2] {
    [
        (json.as_bytes().to_vec(), Encoding::Json),
        (to_protobuf(json.as_bytes()).unwrap().bytes, Encoding::Protobuf),
    ]
}

#[test]
fn a_header_says_the_same_in_both_encodings() {
    for (bytes, encoding) in both(POD) {
        let object = Object::parse(&bytes, encoding).unwrap();
        assert_eq!((object.api_version(), object.kind()), ("v1", "Pod"));
        let header = object.header();
        let [namespace, name, uid, version] =
            [&header.namespace, &header.name, &header.uid, &header.resource_version];
        assert_eq!([&**namespace, name, uid, version], ["a", "web-0", "u-1", "41"]);
        assert_eq!((header.generation, header.deleting), (3, true));
        assert_eq!(
            (header.label("app"), header.label("tier"), header.label("x")),
            (Some("web"), Some(""), None)
        );
        assert_eq!(
            [object.name(), object.namespace(), object.uid(), object.resource_version()],
            ["web-0", "a", "u-1", "41"]
        );
        assert_eq!(object.version(), ("u-1".into(), "41".into()));
    }
}

#[test]
fn the_rest_of_the_metadata_is_read_on_demand() {
    for (bytes, encoding) in both(POD) {
        let object = Object::parse(&bytes, encoding).unwrap();
        assert_eq!(object.annotation("k").as_deref(), Some("v\n"));
        assert_eq!(object.annotation("a").as_deref(), Some("b"));
        assert_eq!(object.annotations().len(), 2);
        assert_eq!(object.label("app").as_deref(), Some("web"));
        assert_eq!(object.finalizers(), ["f1", "f2"]);
        let owners = object.owner_references();
        assert_eq!(
            (owners[0].kind.as_str(), owners[0].uid.as_str(), owners[0].controller),
            ("StatefulSet", "u-2", true)
        );
        assert_eq!((owners[1].name.as_str(), owners[1].controller), ("n", false));
    }
}

#[test]
fn an_object_without_metadata_has_an_empty_header() {
    for (bytes, encoding) in both(r#"{"kind":"Pod","apiVersion":"v1"}"#) {
        let object = Object::parse(&bytes, encoding).unwrap();
        assert_eq!(object.header(), Header::default());
        assert!(object.owner_references().is_empty() && object.annotation("k").is_none());
    }
    let null_deletion = br#"{"metadata":{"deletionTimestamp":null}}"#;
    assert!(!Object::parse(null_deletion, Encoding::Json).unwrap().header().deleting);
}

#[test]
fn fields_are_found_by_their_path() {
    let cases: [(&[&str], Option<&str>); 13] = [
        (&["spec", "nodeName"], Some("n1")),
        (&["spec", "hostNetwork"], Some("true")),
        (&["spec", "priority"], Some("-5")),
        (&["status", "phase"], Some("Running")),
        (&["status", "podIPs", "ip"], Some("10.0.0.1")),
        (&["spec", "containers", "ports", "containerPort"], Some("80")),
        (&["spec", "volumes", "secret", "secretName"], Some("s")),
        (&["metadata", "name"], Some("web-0")),
        (&["spec"], None),
        (&["spec", "containers"], None),
        (&["spec", "nodeName", "x"], None),
        (&["spec", "none"], None),
        (&["none", "none"], None),
    ];
    for (bytes, encoding) in both(POD) {
        let object = Object::parse(&bytes, encoding).unwrap();
        for (path, value) in cases {
            assert_eq!(object.text(path).as_deref(), value, "{path:?} {encoding:?}");
        }
    }
}

#[test]
fn a_resource_version_is_spliced_in_and_nothing_else_changes() {
    for version in ["7", "1234567890123456789", ""] {
        for (bytes, encoding) in both(POD) {
            let spliced = with_resource_version(&bytes, encoding, version).unwrap();
            assert_eq!(Object::parse(&spliced, encoding).unwrap().resource_version(), version);
            assert_eq!(with_resource_version(&spliced, encoding, "41").unwrap(), bytes);
        }
    }
}

#[test]
fn a_resource_version_is_put_where_there_was_none() {
    for json in [
        r#"{"kind":"Pod","apiVersion":"v1"}"#,
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{}}"#,
        r#"{"kind":"Pod","apiVersion":"v1","metadata":null}"#,
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}"#,
        "{}",
    ] {
        let spliced = with_resource_version(json.as_bytes(), Encoding::Json, "5").unwrap();
        serde_json::from_slice::<serde_json::Value>(&spliced).unwrap();
        if !json.contains("null") {
            assert_eq!(Object::parse(&spliced, Encoding::Json).unwrap().resource_version(), "5", "{json}");
        }
    }
    // A message whose fields were written by somebody else: absent, or without any metadata at all.
    for raw in [&b""[..], b"\x0a\x00", b"\x0a\x03\x0a\x01a", b"\x0a\x02\x38\x01\x12\x00", b"\x12\x00"] {
        let object = proto::envelope("v1", "Pod", raw);
        let spliced = with_resource_version(&object, Encoding::Protobuf, "5").unwrap();
        assert_eq!(Object::parse(&spliced, Encoding::Protobuf).unwrap().resource_version(), "5", "{raw:?}");
    }
}

#[test]
fn a_resource_version_is_put_where_its_number_belongs() {
    let object = proto::envelope("v1", "Pod", b"\x0a\x09\x0a\x01a\x38\x07\x72\x02f1\x12\x00");
    let expected = proto::envelope("v1", "Pod", b"\x0a\x0c\x0a\x01a\x32\x01\x35\x38\x07\x72\x02f1\x12\x00");
    assert_eq!(with_resource_version(&object, Encoding::Protobuf, "5").unwrap(), expected);
}

#[test]
fn unknown_fields_survive_a_splice() {
    let mut meta = Vec::new();
    proto::push_string(&mut meta, 1, "a");
    proto::push_string(&mut meta, 6, "1");
    proto::push_string(&mut meta, 900, "new");
    let mut raw = Vec::new();
    proto::push_bytes(&mut raw, 1, &meta);
    proto::push_string(&mut raw, 800, "newer");
    let mut object = proto::envelope("v9/x", "Unknown", &raw);
    proto::push_string(&mut object, 700, "newest");
    let spliced = with_resource_version(&object, Encoding::Protobuf, "12345").unwrap();
    assert_eq!(with_resource_version(&spliced, Encoding::Protobuf, "1").unwrap(), object);
}

#[test]
fn what_is_no_object_is_refused() {
    for json in ["", "[]", "1", "{", "null"] {
        assert!(Object::parse(json.as_bytes(), Encoding::Json).is_err(), "{json}");
        assert!(with_resource_version(json.as_bytes(), Encoding::Json, "1").is_err(), "{json}");
    }
    assert!(Object::parse(b"{}", Encoding::Protobuf).is_err());
    let twice = proto::envelope("v1", "Pod", b"\x0a\x00\x0a\x00");
    assert!(with_resource_version(&twice, Encoding::Protobuf, "1").is_err());
}

#[test]
fn an_item_and_an_object_become_each_other() {
    for (bytes, encoding) in both(POD.trim()) {
        let object = Object::parse(&bytes, encoding).unwrap();
        let item = object.to_item().into_owned();
        let again = match encoding {
            Encoding::Json => Object::json_item(&item, "v1", "Pod").unwrap().to_bytes(),
            Encoding::Protobuf => Object::message("v1".into(), "Pod".into(), &item).to_bytes(),
        };
        assert_eq!(again, bytes);
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(raw in proptest::collection::vec(0_u8..=255, 0..120), json in "[{}\\[\\]:,\"a-e\\\\ n0]{0,60}") {
        let json = format!(r#"{{"metadata":{{{json}"#);
        let envelope = proto::envelope("v1", "Pod", &raw);
        for (bytes, encoding) in [(json.as_bytes(), Encoding::Json), (&envelope, Encoding::Protobuf), (&raw, Encoding::Protobuf)] {
            if let Ok(object) = Object::parse(bytes, encoding) {
                let _ = (object.header(), object.owner_references(), object.finalizers(), object.annotations());
                let _ = (object.text(&["spec", "nodeName"]), object.to_bytes(), object.to_item());
                let _ = with_resource_version(bytes, encoding, "1");
            }
        }
    }
}
