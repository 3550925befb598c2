//! `edgekeep outbox` through the real program, with a hub that is played.

// A test: where something is not there that must be, to end at that line is the answer.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, thread};

use serde_json::{Value, json};

/// A hub that holds this, and answers what it is asked.
struct Hub {
    dir: PathBuf,
    all: Value,
}

impl Hub {
    fn new(entries: &Value) -> Hub {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("edgekeep-outbox-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let standing = json!({"states": 3, "events": 1, "bytes": 15_000, "limitBytes": 16 << 20, "alarm": false,
            "since": "2026-11-29T18:00:00Z", "oldestSeconds": 7500, "eventsGivenUp": 0});
        Hub { dir, all: json!({"time": "2026-11-29T20:05:00Z", "entries": entries, "standing": standing}) }
    }

    /// What the program says with these arguments, and what the hub was asked.
    fn say(&self, words: &[&str]) -> (i32, String, Vec<String>) {
        let socket = self.dir.join("admin.sock");
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let all = self.all.clone();
        let served = thread::spawn(move || {
            let mut asked = Vec::new();
            loop {
                let (stream, _) = listener.accept().unwrap();
                match serve(stream, &all) {
                    Some(one) => asked.push(one),
                    None => return asked,
                }
            }
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgekeep"));
        let Output { status, stdout, stderr } =
            command.arg("outbox").args(words).arg("--admin-socket").arg(&socket).output().unwrap();
        // The end.
        UnixStream::connect(&socket).unwrap().write_all(b"\r\n\r\n").unwrap();
        let said = String::from_utf8([stdout, stderr].concat()).unwrap();
        (status.code().unwrap(), said, served.join().unwrap())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Answers one request; gives its first line and its body.
fn serve(mut stream: UnixStream, all: &Value) -> Option<String> {
    let (mut request, mut chunk) = (String::new(), [0; 512]);
    loop {
        let read = stream.read(&mut chunk).unwrap();
        request += std::str::from_utf8(&chunk[..read]).unwrap();
        let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
        if head.is_empty() {
            return None;
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() < length.map_or(0, |length| length.parse().unwrap()) {
            continue;
        }
        let line = head.lines().next().unwrap().to_owned();
        let (code, answer) = match line.as_str() {
            "GET /outbox HTTP/1.0" => (200, all.to_string()),
            "GET /outbox/e1 HTTP/1.0" => (200, json!({"status": {"podIP": "10.0.0.9"}}).to_string()),
            "POST /outbox/drop HTTP/1.0" if body.contains("\"e2\"") => (409, "more was written\n".to_owned()),
            "POST /outbox/drop HTTP/1.0" => (200, all["entries"][0].to_string()),
            _ => (404, "not here\n".to_owned()),
        };
        stream.write_all(format!("HTTP/1.0 {code} X\r\n\r\n{answer}").as_bytes()).unwrap();
        return Some(format!("{line} {body}").trim().to_owned());
    }
}

fn entry(id: &str, object: (&str, &str, &str, &str), writer: &str, what: Value) -> Value {
    let (api, resource, namespace, name) = object;
    json!({"id": id, "apiVersion": api, "resource": resource, "namespace": namespace, "name": name, "uid": format!("u-{id}"),
        "what": what, "writer": writer, "since": "2026-11-29T18:00:00Z", "last": "2026-11-29T18:10:00Z",
        "ageSeconds": 7500, "writes": 2, "bytes": 6144, "waitsFor": "link", "why": null})
}

/// A hub with some of everything.
fn hub() -> Hub {
    let state = || json!({"kind": "state"});
    let flannel = "system:serviceaccount:kube-flannel:flannel";
    Hub::new(&json!([
        entry("e1", ("v1", "pods", "shop", "web-0"), "kubelet", state()),
        entry("e2", ("v1", "nodes", "", "edge-1"), "kubelet", state()),
        entry(
            "e3",
            ("v1", "nodes", "", "edge-1"),
            flannel,
            json!({"kind": "members", "annotations": ["a", "b"], "conditions": []})
        ),
        entry("e4", ("storage.k8s.io/v1", "csinodes", "", "edge-1"), "kubelet", json!({"kind": "object"})),
        entry("e5", ("v1", "events", "shop", "web-0.17"), "kubelet", json!({"kind": "event", "count": 9})),
    ]))
}

#[test]
fn p9_what_waits_is_shown_by_object_writer_age_and_size() {
    let (code, said, _) = hub().say(&[]);
    assert_eq!(code, 0, "{said}");
    let lines: Vec<String> =
        said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [
            "OBJECT WHAT AS SINCE WRITES SIZE WAITS FOR",
            "pods/shop/web-0 status kubelet 2h 2 6144 B the link",
            "nodes/edge-1 status kubelet 2h 2 6144 B the link",
            "nodes/edge-1 2 annotations system:serviceaccount:kube-flannel:flannel 2h 2 6144 B the link",
            "csinodes.storage.k8s.io/edge-1 whole object kubelet 2h 2 6144 B the link",
            "events/shop/web-0.17 event, 9 times kubelet 2h 2 6144 B the link",
            "",
            "3 states and 1 event wait since 2h, 14 KiB of 16 MiB",
        ]
    );
    let hub = hub();
    let (code, said, _) = hub.say(&["-o", "json"]);
    assert_eq!((code, serde_json::from_str::<Value>(&said).unwrap()), (0, hub.all.clone()));
}

#[test]
fn p9_what_is_to_be_told_of_an_object_is_shown_as_the_node_has_it() {
    let (code, said, _) = hub().say(&["show", "pods/shop/web-0"]);
    assert_eq!(
        (code, serde_json::from_str::<Value>(&said).unwrap()["status"]["podIP"].clone()),
        (0, json!("10.0.0.9"))
    );
    let (code, said, _) = hub().say(&["show", "pods/shop/other"]);
    assert_eq!(code, 1);
    assert!(said.contains("nothing of pods/shop/other waits"), "{said}");
}

#[test]
fn p5_a_drop_names_one_entry_as_it_was_seen_and_gives_the_reason() {
    let (code, said, asked) = hub().say(&["drop", "pods/shop/web-0", "--reason", "it hangs"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("dropped: pods/shop/web-0: status as kubelet, 2 writes"), "{said}");
    let told: Value =
        serde_json::from_str(asked[1].strip_prefix("POST /outbox/drop HTTP/1.0 ").unwrap()).unwrap();
    assert_eq!(told, json!({"id": "e1", "writes": 2, "reason": "it hangs"}));
}

#[test]
fn p5_nothing_is_dropped_by_a_dry_run_or_without_a_reason_or_where_it_is_not_clear_what() {
    let is_asked_only = |asked: &[String]| asked.iter().all(|one| one.starts_with("GET "));
    for (words, expected, says) in [
        (
            &["drop", "pods/shop/web-0", "--reason", "x", "--dry-run"][..],
            0,
            "would be dropped: pods/shop/web-0",
        ),
        (&["drop", "pods/shop/web-0"], 2, "--reason"),
        (&["drop", "pods/shop/web-0", "--reason", ""], 2, "--reason"),
        (&["drop", "nodes/edge-1", "--reason", "x"], 1, "--as 'system:serviceaccount:kube-flannel:flannel'"),
        (&["drop", "pods/web-0", "--reason", "x"], 1, "nothing of pods/web-0 waits"),
    ] {
        let (code, said, asked) = hub().say(words);
        assert_eq!(code, expected, "{words:?}: {said}");
        assert!(said.contains(says), "{words:?}: {said}");
        assert!(is_asked_only(&asked), "{words:?}: {asked:?}");
    }
    // What the hub refuses is no success.
    let (code, said, _) = hub().say(&["drop", "nodes/edge-1", "--as", "kubelet", "--reason", "x"]);
    assert_eq!((code, said.trim()), (1, "edgekeep: nodes/edge-1: more was written"));
}

#[test]
fn a_hub_that_does_not_answer_is_named_with_what_to_do() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgekeep"));
    let output = command.args(["outbox", "--admin-socket", "/nonexistent/admin.sock"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("is edgekeep-hub.service running?"));
}
