//! Any request line and headers: what is refused is refused as a Status that both encodings can carry, and a query that is
//! sent on says the same as the one that came.

#![no_main]

use edgekeep_fuzz::seeds;
use libfuzzer_sys::fuzz_target;
use wire::media::{Served, body, for_status, negotiate, negotiate_stream, patch};
use wire::request::Query;
use wire::{Encoding, ListOptions, Request, Status};

fuzz_target!(
    init: seeds(&[
        b"GET\n/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dn1&timeoutSeconds=437\napplication/json;as=Table;v=v1;g=meta.k8s.io",
        b"PATCH\n/api/v1/namespaces/a/pods/b/status\napplication/strategic-merge-patch+json; charset=\"x\"",
        b"GET\n/apis/apps/v1/watch/namespaces/a/deployments/b?resourceVersionMatch=Exact\n*/*;q=0.1, application/vnd.kubernetes.protobuf",
    ]),
    |data: &[u8]| {
        let text = String::from_utf8_lossy(data);
        let mut lines = text.splitn(3, '\n');
        let [method, target, header] = [(); 3].map(|()| lines.next().unwrap_or_default());
        match Request::parse(method, target) {
            Ok(request) => {
                let sent_on = request.query.rewritten(|_, value| Some(value.to_owned()));
                assert_eq!(Query::parse(&sent_on), request.query);
                match ListOptions::of(&request) {
                    Ok(options) => {
                        let label = options.label_selector.to_string();
                        assert_eq!(label.parse(), Ok(options.label_selector));
                    }
                    Err(status) => check(&status, &[400, 422]),
                }
            }
            Err(status) => check(&status, &[400, 500]),
        }
        for served in [Served::BuiltIn, Served::Custom] {
            for chosen in [negotiate(header, served), negotiate_stream(header, served)] {
                if let Err(status) = chosen {
                    check(&status, &[406]);
                }
            }
            if let Err(status) = patch(header, served) {
                check(&status, &[415]);
            }
        }
        if let Err(status) = body(header) {
            check(&status, &[415]);
        }
        let _ = for_status(header);
    }
);

fn check(status: &Status, codes: &[u16]) {
    assert!(codes.contains(&status.code), "{status:?}");
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        assert_eq!(Status::decode(&status.encode(encoding), encoding).as_ref(), Some(status));
    }
}
