//! Any bytes as a kubeconfig: a way to a cluster or one error of one line; and what was read says nothing it must not.

#![no_main]

use std::path::Path;

use edgekeep_fuzz::seeds;
use libfuzzer_sys::fuzz_target;
use node::kubeconfig::{Access, Credential, Source};

fuzz_target!(
    init: seeds(&[
        b"current-context: c\ncontexts:\n- name: c\n  context: {cluster: k, user: u}\nclusters:\n- name: k\n  cluster: {server: 'https://h:1', certificate-authority-data: Y2E=}\nusers:\n- name: u\n  user:\n    client-certificate: a.pem\n    client-key: a.pem\n",
        br#"{"current-context":"c","contexts":[{"name":"c","context":{"cluster":"k","user":"u"}}],"clusters":[{"name":"k","cluster":{"server":"https://h"}}],"users":[{"name":"u","user":{"tokenFile":"/t"}}]}"#,
        b"a: &x [1, *x]\nb: {<<: *x, ? k : v}\n---\n- >-\n  folded\n  text\n- |+\n  literal\n...\n",
        b"users: [{name: u, user: {exec: {command: x}, token: t, as: a}}]\n",
    ]),
    |data: &[u8]| {
        let Ok(text) = std::str::from_utf8(data) else { return };
        let access = match Access::parse(text, Path::new("/etc/kubernetes")) {
            Ok(access) => access,
            Err(why) => {
                assert!(!why.is_empty());
                return;
            }
        };
        assert!(access.server.starts_with("https://") || access.server.starts_with("http://"));
        if let Credential::Certificate { cert, key } = &access.credential {
            for source in [cert, key] {
                assert!(!matches!(source, Source::File(path) if !path.is_absolute()), "{source:?}");
            }
        }
        if let Credential::Token(token) = &access.credential {
            assert!(!token.is_empty());
        }
    }
);
