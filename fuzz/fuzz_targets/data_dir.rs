//! Any files in host-local's directory: they are taken over, mended or left alone, and a whole lease of somebody else
//! is never handed out.
//!
//! The input is a list of files: a byte for the kind of name, one for what it is made of, one for the length of the
//! content, the content.

#![no_main]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use edgekeep_fuzz::{DATA, Node, machine, seeds};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: seeds(&[
        b"\x00\x02\x09abc\r\neth0\x00\x03\x03def\x00\x04\x00",
        b"\x01\x05\x09abc\r\neth0\x00\x05\x09abc\r\neth0",
        b"\x02\x06\x00\x02\x07\x00\x03\x00\x0810.1.0.5",
        b"\x04\x06\x02notes\x05\x02",
    ]),
    |data: &[u8]| {
        let fs = machine();
        let mut files = data;
        while let Some((name, content, rest)) = file(files) {
            // Names that no file can have are refused by the system.
            let _ = fs.write(Path::new(DATA).join(name), content);
            files = rest;
        }
        let mut node = Node::new(fs);
        let foreign = whole_leases(&node);
        let ours = |content: &Vec<u8>| content.windows(7).any(|part| part == b"sandbox");
        if foreign.values().any(ours) {
            return;
        }
        for (pod, container) in [("pod-a", "sandbox-a"), ("pod-b", "sandbox-b")] {
            if let Ok(addresses) = node.add(pod, container) {
                assert!(addresses.iter().all(|address| !foreign.contains_key(address)), "P2: {addresses:?}");
            }
        }
        for (address, content) in &foreign {
            assert_eq!(node.lease(*address).as_ref(), Some(content), "the lease of somebody else");
        }
        let _ = (node.del("sandbox-a"), node.del("sandbox-b"));
        node.check_promises();
    }
);

fn file(data: &[u8]) -> Option<(String, &[u8], &[u8])> {
    let ([kind, what, len], rest) = data.split_first_chunk::<3>()?;
    let (content, rest) = rest.split_at(usize::from(*len).min(rest.len()));
    Some(match kind % 5 {
        0 => (format!("10.1.0.{what}"), content, rest),
        1 => (format!("fd00::{what:x}"), content, rest),
        2 => (format!("10.1.0.{what}_ns_pod-{what}"), content, rest),
        3 => (format!("last_reserved_ip.{what}"), content, rest),
        _ => {
            let (name, content) = content.split_at(usize::from(*what).min(content.len()));
            let name = String::from_utf8_lossy(name).replace(['/', '\0'], "");
            (
                if matches!(name.as_str(), "" | "." | ".." | "lock") { "x".to_owned() } else { name },
                content,
                rest,
            )
        }
    })
}

/// Addresses whose files are leases in one of the two forms that host-local has ever written.
fn whole_leases(node: &Node) -> BTreeMap<IpAddr, Vec<u8>> {
    let names = node.fs.list(DATA).expect("the directory");
    let leases = names.iter().filter_map(|name| {
        let address: IpAddr = name.parse().ok().filter(|address: &IpAddr| address.to_string() == *name)?;
        let content = node.lease(address)?;
        let text = str::from_utf8(&content).ok()?;
        let (id, ifname) = text.split_once("\r\n").unwrap_or((text, "eth0"));
        let word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (word(id) && word(ifname)).then_some((address, content))
    });
    leases.collect()
}
