//! Strings of JSON.

use std::borrow::Cow;

use super::NotJson;
use super::tape::check;

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

/// Appends a JSON string of bytes that ought to be UTF-8; what is not becomes U+FFFD.
pub fn push_lossy(out: &mut Vec<u8>, text: &[u8]) {
    push_string(out, &String::from_utf8_lossy(text));
}

/// What stands between the quotes, without escapes. Half a surrogate pair and bytes that are no UTF-8 become U+FFFD.
pub fn unescape(inner: &[u8]) -> Cow<'_, str> {
    if !inner.contains(&b'\\') {
        return String::from_utf8_lossy(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        let escape = rest.get(at + 1).copied();
        rest = rest.get(at + 2..).unwrap_or_default();
        match escape {
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'b') => out.push(0x08),
            Some(b'f') => out.push(0x0c),
            Some(b'u') => {
                let (c, after) = unicode(rest);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
            other => out.extend(other),
        }
    }
    out.extend_from_slice(rest);
    let text = String::from_utf8(out);
    Cow::Owned(text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// The character that four hexadecimal digits stand for, or eight with `\u` between them, and what follows.
fn unicode(text: &[u8]) -> (char, &[u8]) {
    let unit = |text: &[u8]| {
        let digits = std::str::from_utf8(text.get(..4)?).ok()?;
        u32::from_str_radix(digits, 16).ok()
    };
    let after = text.get(4..).unwrap_or_default();
    let first = unit(text).unwrap_or(0xfffd);
    if (0xd800..0xdc00).contains(&first) {
        let second =
            after.strip_prefix(b"\\u").and_then(unit).filter(|second| (0xdc00..0xe000).contains(second));
        if let Some(second) = second {
            let c = char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            return (c.unwrap_or('\u{fffd}'), after.get(6..).unwrap_or_default());
        }
    }
    (char::from_u32(first).unwrap_or('\u{fffd}'), after)
}

/// Appends a document without space between its values, escaped as Go escapes it; refused if it is no JSON. Bytes in its
/// strings that are no UTF-8 become U+FFFD.
pub fn compact(out: &mut Vec<u8>, document: &[u8]) -> Result<(), NotJson> {
    check(document)?;
    let document = String::from_utf8_lossy(document);
    let document = document.as_bytes();
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in document.iter().enumerate() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' if !in_string => continue,
            b'<' | b'>' | b'&' => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&hex(*byte));
                continue;
            }
            0xa8 | 0xa9 if at >= 2 && document.get(at - 2..at) == Some(b"\xe2\x80") => {
                out.truncate(out.len().saturating_sub(2));
                out.extend_from_slice(if *byte == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                continue;
            }
            b'"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && *byte == b'\\' && !escaped;
        out.push(*byte);
    }
    Ok(())
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    [digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_with_every_escape() {
        let cases = [
            (r"plain", "plain"),
            (r#"a\"\\\/\b\f\n\r\t\u0041z"#, "a\"\\/\u{8}\u{c}\n\r\tAz"),
            (r"\ud83d\ude00", "😀"),
            (r"\ud83dx", "\u{fffd}x"),
            (r"\ude00\ud83d", "\u{fffd}\u{fffd}"),
            (r"\ud83d\u0041", "\u{fffd}A"),
        ];
        for (inner, text) in cases {
            assert_eq!(unescape(inner.as_bytes()), text);
        }
        assert_eq!(unescape(b"a\xffb"), "a\u{fffd}b");
    }

    #[test]
    fn a_compact_document_has_no_space_between_values_and_gos_escapes() {
        let mut out = Vec::new();
        compact(&mut out, "{ \"a b\" :\n[1, \"<\\\" \u{2028}&\"] }".as_bytes()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a b":[1,"\u003c\" \u2028\u0026"]}"#);
        assert!(compact(&mut Vec::new(), b"{").is_err());
        let mut out = Vec::new();
        compact(&mut out, b"\"a\xff\"").unwrap();
        assert_eq!(out, "\"a\u{fffd}\"".as_bytes());
    }

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
