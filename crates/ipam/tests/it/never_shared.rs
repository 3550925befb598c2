//! P2: no two live sandboxes share an address, whatever a runtime forgets to say.

use std::collections::BTreeSet;

use crate::node::{Node, ip};

#[test]
fn p2_a_pod_whose_old_sandbox_may_still_run_gets_a_fresh_address() {
    let node = Node::new();
    let network = node.dual();
    let old = node.up(&network, "web", "old");
    // No DEL, and the namespace still stands.
    let new = node.up(&network, "web", "new");
    assert!(old.iter().all(|address| !new.contains(address)), "{old:?} {new:?}");
    // The late DEL of the old one releases only what the old one has.
    node.down(&network, "web", "old");
    node.about("CHECK", &network, "web", "new").run().silent();
    // From now on the new ones are home.
    node.down(&network, "web", "new");
    assert_eq!(node.up(&network, "web", "newer"), new);
}

#[test]
fn p1_after_a_reboot_a_pod_is_where_it_was_last_not_where_a_late_del_was_for() {
    let mut node = Node::new();
    let network = node.dual();
    node.up(&network, "web", "old");
    let new = node.up(&network, "web", "new");
    node.down(&network, "web", "old");
    node.reboot();
    assert_eq!(node.up(&network, "web", "newer"), new);
}

#[test]
fn p2_a_sandbox_forgotten_by_gc_whose_namespace_stands_keeps_its_address() {
    let node = Node::new();
    let mut network = node.dual();
    let old = node.up(&network, "web", "old");
    network["cni.dev/valid-attachments"] = serde_json::json!([]);
    node.call("GC", &network).run().silent();
    assert!(node.lease_files().is_empty());
    let new = node.up(&network, "web", "new");
    assert_ne!(new, old, "the old sandbox may still run");
    // Nor does anybody else get it, not even when all else is gone.
    for n in 0..11 {
        assert!(!node.up(&network, &format!("p{n}"), &format!("p{n}")).contains(&old[0]));
    }
    node.add(&network, "late", "late").refused();
    node.kill("old");
    assert_eq!(node.up(&network, "late", "late")[0], old[0]);
}

#[test]
fn p2_lease_files_swept_away_under_running_sandboxes_give_nobody_their_addresses() {
    let node = Node::new();
    let network = node.small();
    let mut live: BTreeSet<_> =
        (0..6).map(|n| node.up(&network, &format!("p{n}"), &format!("c{n}"))[0]).collect();
    for (address, _) in node.lease_files() {
        std::fs::remove_file(node.leases().join(address.to_string())).unwrap();
    }
    for n in 0..7 {
        let got = node.up(&network, &format!("new{n}"), &format!("n{n}"))[0];
        assert!(live.insert(got), "{got} is in use");
    }
    node.add(&network, "one-more", "m").refused();
    // A sandbox whose namespace is gone makes room.
    node.kill("c3");
    assert_eq!(node.up(&network, "one-more", "m"), [ip("10.1.0.5")]);
}

#[test]
fn p2_a_whole_directory_removed_under_running_sandboxes_gives_nobody_their_addresses() {
    let node = Node::new();
    let network = node.dual();
    let old = node.up(&network, "web", "c1");
    node.wipe_data();
    assert_ne!(node.up(&network, "db", "c2"), old);
    // The sandbox can still be taken down, and its pod come home.
    node.down(&network, "web", "c1");
    assert_eq!(node.up(&network, "web", "c3"), old);
}

#[test]
fn p2_a_lease_that_another_program_made_is_respected() {
    let node = Node::new();
    let network = node.small();
    node.up(&network, "web", "c1");
    node.plant("10.1.0.3", "someone\r\neth0");
    node.plant("10.1.0.4", "old-form");
    assert_eq!(node.up(&network, "db", "c2"), [ip("10.1.0.5")]);
    let call = node.about("ADD", &network, "x", "c3").env("CNI_ARGS", "IP=10.1.0.4");
    assert_eq!(call.run().refused().0, 999);
}

#[test]
fn p2_an_address_is_not_given_out_again_as_long_as_its_holder_lives_however_full_the_pool_is() {
    let node = Node::new();
    let network = node.small();
    let all: BTreeSet<_> =
        (0..13).map(|n| node.up(&network, &format!("p{n}"), &format!("c{n}"))[0]).collect();
    assert_eq!(all.len(), 13);
    let said = node.add(&network, "one-more", "m");
    said.assert_refused(
        999,
        "failed to allocate for range 0: no IP addresses available in range set: 10.1.0.1-10.1.0.14",
    );
    assert_eq!(node.lease_files().len(), 13);
}

#[test]
fn p2_a_data_directory_that_moves_under_running_sandboxes_gives_nobody_their_addresses() {
    let node = Node::new();
    let old = node.small();
    let mut new = node.small();
    new["ipam"]["dataDir"] = serde_json::json!(node.dir.join("moved"));
    let mut live: BTreeSet<_> =
        (0..5).map(|n| node.up(&old, &format!("p{n}"), &format!("c{n}"))[0]).collect();
    for n in 0..8 {
        // Some calls still come with the old configuration.
        let network = if n % 3 == 0 { &old } else { &new };
        let got = node.up(network, &format!("new{n}"), &format!("n{n}"))[0];
        assert!(live.insert(got), "{got} is in use");
    }
    node.add(&new, "one-more", "m").refused();
    node.down(&old, "p2", "c2");
    assert_eq!(node.up(&new, "p2", "c2-again"), [ip("10.1.0.4")]);
}

#[test]
fn p2_a_journal_that_lost_what_it_knew_of_this_boot_gives_no_running_sandbox_away() {
    let mut node = Node::new();
    let network = node.small();
    let home = node.up(&network, "web", "c1");
    node.reboot();
    assert_eq!(node.up(&network, "web", "c2"), home);
    // The disk damages the record of the homecoming: the journal knows of earlier boots alone.
    let path = node.state().join("journal");
    let mut journal = std::fs::read(&path).unwrap();
    let at = journal.windows(2).rposition(|bytes| bytes == b"c2").unwrap();
    journal[at] ^= 1;
    std::fs::write(&path, journal).unwrap();
    std::fs::remove_dir_all(node.run_dir()).unwrap();
    let mut others = BTreeSet::new();
    for n in 0..14 {
        let answer = node.add(&network, &format!("p{n}"), &format!("n{n}"));
        if answer.exit == Some(0) {
            others.extend(answer.addresses());
        }
    }
    assert!(!others.is_empty() && !others.contains(&home[0]), "{home:?} {others:?}");
}

#[test]
fn p2_a_foreign_lease_that_loses_one_of_its_files_keeps_the_address_of_the_other() {
    let node = Node::new();
    let network = node.dual();
    node.plant("10.1.0.2", "cold\r\neth0");
    node.plant("fd00::2", "cold\r\neth0");
    node.up(&network, "web", "c1");
    std::fs::remove_file(node.leases().join("10.1.0.2")).unwrap();
    for n in 0..10 {
        assert!(!node.up(&network, &format!("p{n}"), &format!("n{n}")).contains(&ip("fd00::2")));
    }
    assert!(node.leases().join("fd00::2").exists());
}
