//! Text as Go's library writes it, because error messages quote it.

use std::fmt::Write;

/// The text in double quotes as Go's `%q` writes it.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if c.is_ascii_control() => push_escape(&mut out, c, 'x', 2),
            c if !is_print(c) && u32::from(c) > 0xffff => push_escape(&mut out, c, 'U', 8),
            c if !is_print(c) => push_escape(&mut out, c, 'u', 4),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn push_escape(out: &mut String, c: char, letter: char, width: usize) {
    let written = write!(out, "\\{letter}{:0width$x}", u32::from(c));
    debug_assert!(written.is_ok(), "a String takes all that is written to it");
}

/// Near to Go's `unicode.IsPrint`: no controls, no spaces but the ordinary one, nothing that is not a character.
fn is_print(c: char) -> bool {
    let invisible = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{f0000}'..)
        || u32::from(c) & 0xfffe == 0xfffe;
    !c.is_control() && (c == ' ' || !c.is_whitespace()) && !invisible
}

/// What is wrong with a whole number, in the words of Go's `strconv`; `None` where nothing is.
pub(crate) fn parse_int64(text: &str) -> Result<i64, String> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let reason = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.ParseInt: parsing {}: {reason}", quote(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_go_quotes_it() {
        assert_eq!(quote("a\"b\\c"), r#""a\"b\\c""#);
        assert_eq!(quote("\0\n\t\u{7f}\u{7}"), r#""\x00\n\t\x7f\a""#);
        assert_eq!(
            quote("grün \u{a0}\u{85}\u{2028}\u{e000}\u{10ffff}"),
            r#""grün \u00a0\u0085\u2028\ue000\U0010ffff""#
        );
    }

    #[test]
    fn a_number_that_is_none_is_named_in_gos_words() {
        assert_eq!(parse_int64("-7"), Ok(-7));
        assert_eq!(parse_int64("+7"), Ok(7));
        assert_eq!(parse_int64("").unwrap_err(), "strconv.ParseInt: parsing \"\": invalid syntax");
        assert_eq!(parse_int64("5s").unwrap_err(), "strconv.ParseInt: parsing \"5s\": invalid syntax");
        assert_eq!(
            parse_int64("9223372036854775808").unwrap_err(),
            "strconv.ParseInt: parsing \"9223372036854775808\": value out of range"
        );
    }
}
