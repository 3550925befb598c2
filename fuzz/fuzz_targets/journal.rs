//! Any bytes as a journal: nothing panics, nothing hangs, and the promises hold for whoever comes next.
//!
//! The first byte says how the others become a file: as they are, as the payloads of whole frames (a checksum would
//! keep the fuzzer out of the records for ever), or laid over a journal that the program wrote itself.

#![no_main]

use std::path::Path;

use durable::fs::{File, Fs, Open};
use durable::journal::Journal;
use edgekeep_fuzz::{Node, STATE, machine, seeds};
use libfuzzer_sys::fuzz_target;
use testkit::power_cut::PowerCutFs;

const FILE: &str = "/state/net/journal";

fuzz_target!(
    init: seeds(&[
        b"\x00",
        b"\x00EDGEKEEP\x01\0\0\0\0\0\0\0",
        // An address of the pool bound to a pod that lives under this boot; its end; facts about the network.
        b"\x01\x4d\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x06\0boot-1\x01\x01\0d\x05\0pod-x\0\0\x04\0eth0\x01\0c\0\0\x01\x04\x0a\x01\0\x02\x05\x02\0\0\0\0\x06\x03\0\0\0\0\0",
        b"\x02\x40\0EKfr",
        b"\x02\x80\x01\xff\xff\xff\xff\xff\xff\xff\xff",
    ]),
    |data: &[u8]| {
        let Some((how, data)) = data.split_first() else { return };
        let mut node = match how % 3 {
            0 => raw(data),
            1 => framed(data),
            _ => laid_over(data),
        };
        node.check_promises();
    }
);

fn raw(data: &[u8]) -> Node {
    let fs = machine();
    fs.write(FILE, data).expect("a simulated disk");
    Node::new(fs)
}

/// Payloads, each behind its length.
fn framed(mut data: &[u8]) -> Node {
    let fs = machine();
    let journal = Journal::replace(&fs, Path::new(STATE), 5, |writer| {
        while let Some((len, rest)) = data.split_first() {
            let (payload, rest) = rest.split_at(usize::from(*len).min(rest.len()));
            writer.add(payload)?;
            data = rest;
        }
        Ok(())
    });
    drop(journal.expect("a simulated disk"));
    Node::new(fs)
}

/// An offset, and what stands there instead.
fn laid_over(data: &[u8]) -> Node {
    let mut node = written();
    if let Some((offset, bytes)) = data.split_first_chunk() {
        let offset = u64::from(u16::from_le_bytes(*offset)) % 4096;
        let file = node.fs.open(Path::new(FILE), Open::Write).expect("a journal");
        file.write_at(bytes, offset).expect("a simulated disk");
    }
    node.reboot();
    node
}

/// A node on which some pods have been.
fn written() -> Node {
    let fs: PowerCutFs = machine();
    let mut node = Node::new(fs);
    for n in 0..4 {
        node.add(&format!("old-{n}"), &format!("old-sandbox-{n}")).expect("an empty pool");
    }
    node.del("old-sandbox-1").expect("a DEL");
    node
}
