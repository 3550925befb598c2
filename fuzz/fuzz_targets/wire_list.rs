//! Any list body: what is cut into items is put together again to a list with the same items.

#![no_main]

use edgekeep_fuzz::{objects, seeds};
use libfuzzer_sys::fuzz_target;
use wire::{Encoding, List, ListWriter, Object};

fuzz_target!(
    init: {
        let mut lists = Vec::new();
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            let objects = objects(encoding);
            let mut writer = ListWriter::new("v1", "PodList", &wire::ListMeta::default(), encoding, 0);
            for object in &objects {
                writer.push(&Object::parse(object, encoding).expect("a seed is an object"));
            }
            lists.push(writer.finish());
        }
        seeds(&lists.iter().map(Vec::as_slice).collect::<Vec<_>>());
    },
    |data: &[u8]| {
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            let Ok(list) = List::parse(data, encoding) else { continue };
            let mut writer = ListWriter::new(&list.api_version, &list.kind, &list.meta, encoding, data.len());
            for item in &list.items {
                let alone = item.to_bytes();
                writer.push(&Object::parse(&alone, encoding).expect("an item is an object"));
            }
            let again = writer.finish();
            let again = List::parse(&again, encoding).expect("what was written can be read");
            assert_eq!(again.meta, list.meta);
            assert_eq!(again.items.len(), list.items.len());
            for (item, other) in list.items.iter().zip(&again.items) {
                assert_eq!(item.header(), other.header());
            }
        }
    }
);
