//! A file that is replaced, and what a power cut, an end of the process and a full disk leave of it.

// A test: where something is not there that must be, to end at that line is the answer.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use durable::place::replace_file;
use testkit::power_cut::{Fault, PowerCutFs};

#[test]
fn a_file_that_is_replaced_is_the_old_one_or_the_new_one_whenever_it_ends() {
    let path = Path::new("/etc/x.conf");
    for n in 0..20 {
        for seed in 0..20 {
            let fs = PowerCutFs::new();
            fs.write(path, b"old").unwrap();
            fs.settle();
            fs.fail_after(n, Fault::DeathHalfway(seed));
            let done = replace_file(&fs, path, b"the new one", 0o644).is_ok();
            fs.power_cut(seed);
            let now = fs.read(path).unwrap();
            assert!(now == b"the new one" || now == b"old" && !done, "call {n}, seed {seed}: {now:?}");
            let next = fs.process();
            replace_file(&next, path, b"next", 0o644).unwrap();
            assert_eq!(
                (fs.read(path).unwrap(), fs.list("/etc").unwrap()),
                (b"next".to_vec(), vec!["x.conf".into()])
            );
        }
    }
}

#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    let fs = PowerCutFs::new();
    fs.write("/etc/x.conf", b"old").unwrap();
    fs.fail_after(0, Fault::NoSpace);
    assert!(replace_file(&fs, Path::new("/etc/x.conf"), &[b'x'; 4096], 0o644).is_err());
    assert_eq!(
        (fs.read("/etc/x.conf").unwrap(), fs.list("/etc").unwrap()),
        (b"old".to_vec(), vec!["x.conf".into()])
    );
}
