//! Any resolv.conf: words without white space, and written down again they are read alike.

#![no_main]

use std::fmt::Write;

use edgekeep_fuzz::seeds;
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: seeds(&[
        b"nameserver 10.0.0.1\nnameserver fd00::1\nsearch a.b c.d\noptions ndots:5 edns0\ndomain x\n",
        b"# comment\n; another\n\tnameserver\t1.1.1.1 ignored\r\nsearch\n",
    ]),
    |data: &[u8]| {
        let Ok(dns) = cni::resolv::parse("/r", data) else { return };
        let mut text = String::new();
        for nameserver in &dns.nameservers {
            writeln!(text, "nameserver {nameserver}").expect("a string");
        }
        for (key, words) in [("search", &dns.search), ("options", &dns.options)] {
            for word in words {
                assert!(!word.is_empty() && !word.contains(char::is_whitespace));
                writeln!(text, "{key} {word}").expect("a string");
            }
        }
        writeln!(text, "domain {}", dns.domain).expect("a string");
        // A byte that is no UTF-8 is written as three, so that a line can outgrow the limit of the second reading.
        if let Ok(again) = cni::resolv::parse("/r", text.as_bytes()) {
            assert_eq!(again, dns);
        }
    }
);
