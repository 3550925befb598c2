//! Any selector: what is read can be written and read again, and takes the same objects.

#![no_main]

use edgekeep_fuzz::seeds;
use libfuzzer_sys::fuzz_target;
use wire::schema::Kind;
use wire::{FieldSelector, LabelSelector};

const LABELS: [(&str, &str); 4] = [("a", "b"), ("n", "5"), ("e", ""), ("example.com/x", "y")];

fuzz_target!(
    init: seeds(&[
        b"a in (b,c),!d,n>4,n<6,example.com/x notin (z)",
        b"app=web,tier!=back,e==",
        b"metadata.name=a,spec.nodeName!=n\\,1,status.phase=Running",
    ]),
    |data: &[u8]| {
        let text = String::from_utf8_lossy(data);
        let label = |key: &str| LABELS.iter().find(|(own, _)| *own == key).map(|(_, value)| *value);
        if let Ok(selector) = text.parse::<LabelSelector>() {
            let again: LabelSelector = selector.to_string().parse().expect("what was written can be read");
            assert_eq!(again, selector);
            assert_eq!(again.matches(label), selector.matches(label));
            assert!(again.is_within(&selector));
        }
        if let Ok(selector) = text.parse::<FieldSelector>() {
            let again: FieldSelector = selector.to_string().parse().expect("what was written can be read");
            assert!(again.is_within(&selector) && selector.is_within(&again));
            for kind in [Kind::find("", "v1", "Pod"), Kind::find("", "v1", "Event"), None] {
                if let Ok(resolved) = selector.resolve(kind) {
                    assert_eq!(resolved.terms().len(), selector.terms().len());
                }
            }
        }
    }
);
