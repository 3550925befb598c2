//! Numbers as Go's encoder writes them.

use std::io::Write;

/// Appends a floating point number: the shortest digits that read back as it, with an exponent only below 1e-6 and
/// from 1e21 on. `false` for what JSON has no word for.
pub fn push_float(out: &mut Vec<u8>, value: f64) -> bool {
    if !value.is_finite() {
        return false;
    }
    let size = value.abs();
    let written = if size != 0.0 && !(1e-6..1e21).contains(&size) {
        // Go writes the sign of a positive exponent.
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => write!(out, "{digits}e+{exponent}"),
            _ => write!(out, "{text}"),
        }
    } else {
        write!(out, "{value}")
    };
    written.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_go_writes_them() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (100.0, "100"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.25e22, "-1.25e+22"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-9, "1.5e-9"),
        ];
        for (value, text) in cases {
            let mut out = Vec::new();
            assert!(push_float(&mut out, value));
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
        assert!(!push_float(&mut Vec::new(), f64::NAN));
    }
}
