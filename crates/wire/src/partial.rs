//! Metadata-only forms: `PartialObjectMetadata` and its list, of objects of any kind.

use crate::json::scan;
use crate::list::{ListMeta, ListWriter};
use crate::media::{Encoding, MetaVersion};
use crate::object::Object;
use crate::proto;
use crate::schema::{Kind, Message};
use crate::transcode::{Error, Transcoded, message_to_json, message_to_protobuf};

const KIND: &str = "PartialObjectMetadata";
const LIST: &str = "PartialObjectMetadataList";

/// The metadata of an object as an object of its own.
pub fn metadata_only(
    object: &Object<'_>,
    version: MetaVersion,
    encoding: Encoding,
) -> Result<Transcoded, Error> {
    let mut bytes = Vec::new();
    let complete = match encoding {
        Encoding::Json => push_json(object, version, &mut bytes)?,
        Encoding::Protobuf => {
            let mut raw = Vec::new();
            let complete = push_message(object, &mut raw)?;
            bytes = proto::envelope(version.api_version(), KIND, &raw);
            complete
        }
    };
    Ok(Transcoded { bytes, complete })
}

/// The metadata of several objects as a list.
pub fn metadata_list<'a>(
    objects: impl IntoIterator<Item = &'a Object<'a>>,
    meta: &ListMeta,
    version: MetaVersion,
    encoding: Encoding,
) -> Result<Transcoded, Error> {
    let mut writer = ListWriter::new(version.api_version(), LIST, meta, encoding, 0);
    let mut complete = true;
    let mut item = Vec::new();
    for object in objects {
        item.clear();
        // In JSON the items say their kind, other than those of most lists.
        complete &= match encoding {
            Encoding::Json => push_json(object, version, &mut item)?,
            Encoding::Protobuf => push_message(object, &mut item)?,
        };
        writer.push_raw(&item);
    }
    Ok(Transcoded { bytes: writer.finish(), complete })
}

/// Appends it in JSON; the result says whether every field was carried over.
pub(crate) fn push_json(object: &Object<'_>, version: MetaVersion, out: &mut Vec<u8>) -> Result<bool, Error> {
    out.extend_from_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"");
    out.extend_from_slice(version.api_version().as_bytes());
    out.extend_from_slice(b"\",\"metadata\":");
    let complete = match object.encoding() {
        Encoding::Protobuf => message_to_json(object_meta()?, object.meta_message(), None, out)?,
        Encoding::Json => {
            out.extend_from_slice(json_metadata(object).unwrap_or(b"{}"));
            true
        }
    };
    out.push(b'}');
    Ok(complete)
}

/// Appends the message, which holds nothing but the metadata.
fn push_message(object: &Object<'_>, out: &mut Vec<u8>) -> Result<bool, Error> {
    match object.encoding() {
        Encoding::Protobuf => {
            proto::push_bytes(out, 1, object.meta_message());
            Ok(true)
        }
        Encoding::Json => {
            let mut meta = Vec::new();
            let complete =
                message_to_protobuf(object_meta()?, json_metadata(object).unwrap_or(b"{}"), &mut meta)?;
            proto::push_bytes(out, 1, &meta);
            Ok(complete)
        }
    }
}

fn json_metadata<'a>(object: &Object<'a>) -> Option<&'a [u8]> {
    let body = object.body();
    let metadata = body.get(scan::find(body, &["metadata"])?)?;
    metadata.starts_with(b"{").then_some(metadata)
}

pub(crate) fn object_meta() -> Result<Message, Error> {
    let meta =
        Kind::find("meta.k8s.io", "v1", KIND).and_then(|kind| kind.message().field("metadata")?.message());
    meta.ok_or(Error::UnknownKind { api_version: "meta.k8s.io/v1".to_owned(), kind: KIND.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::List;
    use crate::transcode::{to_json, to_protobuf};

    const POD: &str = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","labels":{"k":"v"}},"spec":{"nodeName":"n"}}"#;
    const EXPECTED: &str = r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"a","labels":{"k":"v"}}}"#;

    #[test]
    fn the_metadata_stands_alone_in_every_pair_of_encodings() {
        let protobuf = to_protobuf(POD.as_bytes()).unwrap().bytes;
        for (bytes, from) in [(POD.as_bytes(), Encoding::Json), (&protobuf, Encoding::Protobuf)] {
            let object = Object::parse(bytes, from).unwrap();
            let json = metadata_only(&object, MetaVersion::V1, Encoding::Json).unwrap();
            assert_eq!((String::from_utf8(json.bytes).unwrap().as_str(), json.complete), (EXPECTED, true));
            let protobuf = metadata_only(&object, MetaVersion::V1, Encoding::Protobuf).unwrap();
            assert_eq!(protobuf.bytes, to_protobuf(EXPECTED.as_bytes()).unwrap().bytes);
        }
    }

    #[test]
    fn a_list_of_them_says_the_kind_of_its_items_in_json() {
        let widget = br#"{"kind":"Widget","apiVersion":"e.com/v1","metadata":{"name":"w"}}"#;
        let objects = [POD.as_bytes(), widget].map(|bytes| Object::parse(bytes, Encoding::Json).unwrap());
        let meta = ListMeta { resource_version: "5".to_owned(), ..ListMeta::default() };
        let list = |encoding| metadata_list(&objects, &meta, MetaVersion::V1beta1, encoding).unwrap().bytes;
        let json = String::from_utf8(list(Encoding::Json)).unwrap();
        assert!(json.starts_with(r#"{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1beta1","metadata":{"resourceVersion":"5"},"items":[{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1beta1","metadata":{"name":"a","#), "{json}");
        let protobuf = list(Encoding::Protobuf);
        let read = List::parse(&protobuf, Encoding::Protobuf).unwrap();
        assert_eq!(read.items.iter().map(Object::name).collect::<Vec<_>>(), ["a", "w"]);
        assert_eq!(read.items[1].kind(), "PartialObjectMetadata");
        assert!(to_json(&protobuf).unwrap().complete);
    }
}
