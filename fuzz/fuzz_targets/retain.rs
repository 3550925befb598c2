//! Any bytes as the policy file of the node: a policy within its bounds, or an error that names the file.

#![no_main]

use std::time::Duration;

use cni::retain::{Keys, NodeFile, Policy};
use edgekeep_fuzz::seeds;
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: seeds(&[
        br#"{"hold":"7d","key":"uid","reclaim":"never","maxGone":5,"repeatAdd":"error","ipAnnotation":"a/b","lockTimeout":"30s","stateDir":"/s","runDir":"/r"}"#,
        br#"{"hold":"forever","key":"name","reclaim":"pressure","repeatAdd":"same","ipAnnotation":"","lockTimeout":"1m30s"}"#,
        br#"{"hold":"1h30m500ms","maxGone":4294967295}"#,
    ]),
    |data: &[u8]| match NodeFile::parse("/etc/x.json", data) {
        Ok(file) => {
            for path in [&file.state_dir, &file.run_dir].into_iter().flatten() {
                assert!(path.starts_with('/') && !path.contains('\0'));
            }
            let policy = Policy::resolve(&Keys::default(), &file.keys);
            assert!((Duration::from_secs(1)..=Duration::from_secs(110)).contains(&policy.lock_timeout));
            assert_ne!(policy.ip_annotation.as_deref(), Some(""));
            assert_eq!(Policy::resolve(&file.keys, &Keys::default()), policy);
        }
        Err(error) => assert!(error.code == 7 && error.msg.contains("/etc/x.json"), "{error:?}"),
    }
);
