//! Whatever the formatting: only the one word changes, and the way back gives the same bytes. Whatever the bytes: what
//! is not understood stays.

use proptest::prelude::*;

use super::super::plan::{ConfFile, Held, plan, understand};
use super::super::rules::As;
use super::super::undo::{Kept, undo};
use super::{bin_dir, node, testdata};

const NAMES: [&str; 9] = [
    "bridge.conf",
    "bridge.conflist",
    "ptp.conflist",
    "macvlan.conf",
    "flannel.conflist",
    "flannel-typed.conf",
    "cilium-delegated.conflist",
    "10-kuberouter.conflist",
    "multus.conf",
];

/// The document with other blanks between its tokens.
fn reformatted(text: &str, blanks: &[String]) -> String {
    let mut blanks = blanks.iter().cycle();
    let (mut out, mut inside, mut escaped) = (String::new(), false, false);
    for char in text.chars() {
        if inside {
            out.push(char);
            inside = escaped || char != '"';
            escaped = !escaped && char == '\\';
            continue;
        }
        match char {
            ' ' | '\t' | '\r' | '\n' => {}
            '{' | '}' | '[' | ']' | ':' | ',' => {
                out.push_str(blanks.next().unwrap());
                out.push(char);
                out.push_str(blanks.next().unwrap());
            }
            _ => {
                out.push(char);
                inside = char == '"';
            }
        }
    }
    out
}

fn adopted(bytes: Vec<u8>) -> Option<(Vec<u8>, Vec<u8>)> {
    let bins = vec![bin_dir(Held::Absent, Held::Foreign)];
    let mut plan = plan(&node("/etc/cni/net.d", "10-x.conf", bytes, bins), As::Auto);
    plan.files.remove(0).change.map(|change| (change.old, change.new))
}

fn file(bytes: Vec<u8>) -> ConfFile {
    ConfFile { path: "/etc/cni/net.d/10-x.conf".into(), runtime: true, content: Ok(bytes), mode: 0o600 }
}

proptest! {
    #[test]
    fn there_and_back_gives_the_same_bytes_whatever_the_formatting(
        name in prop::sample::select(&NAMES[..]),
        blanks in prop::collection::vec("[ \t\r\n]{0,3}", 1..40),
    ) {
        let text = reformatted(&String::from_utf8(testdata(name)).unwrap(), &blanks);
        let (before, after) = adopted(text.clone().into_bytes()).unwrap();
        prop_assert_eq!(&before, text.as_bytes());
        prop_assert_eq!(adopted(after.clone()), None);

        let kept = Kept { before: before.clone(), after: after.clone(), mode: 0o600 };
        let back = undo(&file(after.clone()), Some(&kept)).unwrap().change.unwrap();
        prop_assert_eq!((back.new, back.mode), (before.clone(), 0o600));

        // Without the copy: the same but for an `ipam` that flannel's configuration did not have.
        let back = undo(&file(after), None).unwrap().change.unwrap().new;
        if !text.contains("flannel") || name == "flannel-typed.conf" {
            prop_assert_eq!(back, before);
        } else {
            prop_assert!(understand(&back).is_ok());
        }
    }

    #[test]
    fn random_bytes_stay(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(adopted(bytes.clone()), None);
        prop_assert!(undo(&file(bytes), None).is_none());
    }

    #[test]
    fn a_damaged_configuration_stays_or_changes_in_the_one_word(
        name in prop::sample::select(&NAMES[..]),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = testdata(name);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Some((old, new)) = adopted(bytes.clone()) {
            prop_assert_eq!(&old, &bytes);
            let (old, new) = (String::from_utf8(old).unwrap(), String::from_utf8(new).unwrap());
            // Nothing but additions, and those are our word or an `ipam` that says it.
            let new = new.replace("edgekeep-ipam", "host-local");
            let mut rest = new.chars();
            prop_assert!(old.chars().all(|char| rest.any(|other| other == char)), "{}\n{}", old, new);
            prop_assert!(new == old || new.len() < old.len() + 60);
        }
    }
}
