//! Any CNI_ARGS: what the strict reading takes the lenient one takes too, and alike.

#![no_main]

use cni::Args;
use cni::args::MAX_POD_VALUE;
use edgekeep_fuzz::seeds;
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: seeds(&[
        b"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=1-2",
        b"IP=10.0.0.9/24",
        b"IgnoreUnknown=true;IP=fd00::1;A=b=c;;",
    ]),
    |data: &[u8]| {
        let text = String::from_utf8_lossy(data);
        let lenient = Args::lenient(&text);
        let pod = [&lenient.namespace, &lenient.pod, &lenient.uid];
        assert!(pod.into_iter().flatten().all(|value| (1..=MAX_POD_VALUE).contains(&value.len())));
        match Args::strict(&text) {
            Ok(args) => {
                assert_eq!(args, lenient);
                let parts = [("K8S_POD_NAMESPACE", &args.namespace), ("K8S_POD_NAME", &args.pod), ("K8S_POD_UID", &args.uid)];
                let mut again = String::from("IgnoreUnknown=1");
                for (key, value) in parts {
                    again.extend(value.iter().map(|value| format!(";{key}={value}")));
                }
                again.extend(args.ip.map(|ip| format!(";IP={ip}")));
                assert_eq!(Args::strict(&again).expect("its own words"), args);
            }
            Err(error) => assert!(matches!(error.code, 4 | 999) && !error.msg.is_empty()),
        }
    }
);
