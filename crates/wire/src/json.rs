//! JSON as the API server writes it.

/// Appends a JSON string with the escapes of Go's encoder: `<`, `>`, `&` and the two line separators of Unicode are
/// escaped too.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x08 => b"\\b",
            0x0c => b"\\f",
            0x00..=0x1f | b'<' | b'>' | b'&' => b"",
            0xa8 | 0xa9 if at >= 2 && bytes.get(at - 2..at) == Some(b"\xe2\x80") => {
                out.extend_from_slice(bytes.get(plain..at - 2).unwrap_or_default());
                out.extend_from_slice(if *byte == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                plain = at + 1;
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(bytes.get(plain..at).unwrap_or_default());
        if escape.is_empty() {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&hex(*byte));
        } else {
            out.extend_from_slice(escape);
        }
        plain = at + 1;
    }
    out.extend_from_slice(bytes.get(plain..).unwrap_or_default());
    out.push(b'"');
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    [digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_gos_encoder_does() {
        let mut out = Vec::new();
        push_string(&mut out, "a\"\\\u{8}\u{c}\n\r\t\u{1}\u{7f}<&>\u{2028}x\u{2029}ü\u{1f600}");
        let text = String::from_utf8(out).unwrap();
        let expected =
            r#""a\"\\\b\f\n\r\t\u0001"#.to_owned() + "\u{7f}" + r"\u003c\u0026\u003e\u2028x\u2029ü😀" + "\"";
        assert_eq!(text, expected);
        assert_eq!(
            serde_json::from_str::<String>(&text).unwrap(),
            "a\"\\\u{8}\u{c}\n\r\t\u{1}\u{7f}<&>\u{2028}x\u{2029}ü\u{1f600}"
        );
    }
}
