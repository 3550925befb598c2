use super::*;
use crate::transcode::{to_json, to_protobuf};

const LIST: &str = r#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"77","continue":"t","remainingItemCount":5},"items":[{"metadata":{"name":"a","namespace":"x"},"data":{"k":"1"}},{"metadata":{"name":"b","namespace":"x"}}]}"#;

fn both() -> [(Vec<u8>, Encoding); 2] {
    [
        (LIST.as_bytes().to_vec(), Encoding::Json),
        (to_protobuf(LIST.as_bytes()).unwrap().bytes, Encoding::Protobuf),
    ]
}

#[test]
fn a_list_is_cut_into_objects_that_know_their_kind() {
    for (bytes, encoding) in both() {
        let list = List::parse(&bytes, encoding).unwrap();
        assert_eq!((&*list.api_version, &*list.kind), ("v1", "ConfigMapList"));
        let meta = ListMeta { resource_version: "77".into(), continue_token: "t".into(), remaining: Some(5) };
        assert_eq!(list.meta, meta);
        let names: Vec<_> = list.items.iter().map(|item| (item.kind().to_owned(), item.name())).collect();
        assert_eq!(names, [("ConfigMap".to_owned(), "a".into()), ("ConfigMap".to_owned(), "b".into())]);
        let alone = list.items[0].to_bytes();
        let alone = Object::parse(&alone, encoding).unwrap();
        assert_eq!((alone.kind(), alone.api_version(), &*alone.namespace()), ("ConfigMap", "v1", "x"));
    }
}

#[test]
fn a_list_is_put_together_again_to_the_same_bytes() {
    for (bytes, encoding) in both() {
        let list = List::parse(&bytes, encoding).unwrap();
        let mut writer = ListWriter::new(&list.api_version, &list.kind, &list.meta, encoding, bytes.len());
        for (nth, item) in list.items.iter().enumerate() {
            // As a store would have it: an object on its own.
            let alone = item.to_bytes();
            if nth == 0 {
                writer.push(&Object::parse(&alone, encoding).unwrap());
            } else {
                writer.push_stored(&alone).unwrap();
            }
        }
        let again = writer.finish();
        assert_eq!(again.strip_suffix(b"\n").unwrap_or(&again), bytes);
    }
}

#[test]
fn an_empty_list_has_an_empty_array_in_json() {
    let empty = |encoding| ListWriter::new("v1", "PodList", &ListMeta::default(), encoding, 0).finish();
    let json = empty(Encoding::Json);
    assert_eq!(json, b"{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[]}\n");
    assert_eq!(to_json(&empty(Encoding::Protobuf)).unwrap().bytes, json.trim_ascii_end());
    for (bytes, encoding) in [(json, Encoding::Json), (empty(Encoding::Protobuf), Encoding::Protobuf)] {
        assert!(List::parse(&bytes, encoding).unwrap().items.is_empty());
    }
    assert!(List::parse(br#"{"items":null}"#, Encoding::Json).unwrap().items.is_empty());
}

#[test]
fn items_go_without_their_type_wherever_it_stands() {
    for object in [
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"},"x":1}"#,
        r#" { "apiVersion" : "v1" , "kind" : "Pod" , "metadata":{"name":"a"},"x":1} "#,
        r#"{"kind":"Pod","metadata":{"name":"a"},"apiVersion":"v1","x":1}"#,
        r#"{"metadata":{"name":"a"},"x":1,"kind":"Pod","apiVersion":"v1"}"#,
        r#"{"metadata":{"name":"a"},"x":1}"#,
    ] {
        let mut writer = ListWriter::new("v1", "PodList", &ListMeta::default(), Encoding::Json, 0);
        writer.push_stored(object.as_bytes()).unwrap();
        writer.push_stored(br#"{"kind":"Pod","apiVersion":"v1"}"#).unwrap();
        let list = String::from_utf8(writer.finish()).unwrap();
        assert!(list.ends_with("\"items\":[{\"metadata\":{\"name\":\"a\"},\"x\":1},{}]}\n"), "{list}");
    }
    let mut writer = ListWriter::new("v1", "PodList", &ListMeta::default(), Encoding::Protobuf, 0);
    assert!(writer.push_stored(b"{}").is_err());
}

#[test]
fn items_of_custom_kinds_say_their_own_kind() {
    let list = br#"{"apiVersion":"e.com/v1","items":[{"apiVersion":"e.com/v1","kind":"Widget","metadata":{"name":"w"}}],"kind":"WidgetList","metadata":{"resourceVersion":"9"}}"#;
    let list = List::parse(list, Encoding::Json).unwrap();
    assert_eq!((list.items[0].kind(), &*list.items[0].name()), ("Widget", "w"));
    let mut writer = ListWriter::new("e.com/v1", "WidgetList", &list.meta, Encoding::Json, 0);
    writer.push(&list.items[0]);
    assert_eq!(
        writer.finish(),
        b"{\"kind\":\"WidgetList\",\"apiVersion\":\"e.com/v1\",\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[{\"apiVersion\":\"e.com/v1\",\"kind\":\"Widget\",\"metadata\":{\"name\":\"w\"}}]}\n"
    );
}

#[test]
fn p4_a_list_that_is_broken_is_refused_and_never_shorter() {
    for broken in [
        r#"{"items":[{"metadata":{}},"#,
        r#"{"items":[{"metadata":{}} {"metadata":{}}]}"#,
        r#"{"items":[{},1]}"#,
        r#"{"items":[{},]}"#,
        r#"{"items":[{},x,{}]}"#,
        r#"{"items":{}}"#,
        r#"{"kind":"PodList"}"#,
        "[]",
        "",
    ] {
        assert!(List::parse(broken.as_bytes(), Encoding::Json).is_err(), "{broken}");
    }
    let (protobuf, _) = &both()[1];
    assert!(List::parse(&proto::envelope("v1", "Pod", b""), Encoding::Protobuf).is_err());
    for cut in 0..protobuf.len() - 4 {
        assert!(List::parse(&protobuf[..cut], Encoding::Protobuf).is_err() || cut < 4, "{cut}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(raw in proptest::collection::vec(0_u8..=255, 0..100), json in r#"[{}\[\]:,"a ]{0,40}"#) {
        let _ = List::parse(&raw, Encoding::Protobuf);
        let _ = List::parse(&proto::envelope("v1", "PodList", &raw), Encoding::Protobuf);
        let _ = List::parse(json.as_bytes(), Encoding::Json);
        let _ = List::parse(format!(r#"{{"items":[{json}"#).as_bytes(), Encoding::Json);
    }
}
