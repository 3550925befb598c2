//! Quantities in the one form in which the API server writes them (`apimachinery:pkg/api/resource/quantity.go`).

use std::borrow::Cow;

/// So many digits are reckoned with; a longer number stands as it was written, which the API server does not always do.
const MOST_DIGITS: usize = 18;
/// Of what is smaller the API server makes so much.
const NANO: i32 = -9;
/// What the API server makes of a larger number with a binary suffix.
const LARGEST: u128 = i64::MAX as u128;
const SI: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// A text as it stands, taken apart.
struct Parts<'t> {
    is_negative: bool,
    /// Digits before the point, without zeros at their beginning but for one.
    whole: &'t str,
    /// Digits after the point.
    fraction: &'t str,
    suffix: Suffix,
}

#[derive(Clone, Copy)]
enum Suffix {
    /// A letter that stands for a power of ten.
    Si(i32),
    /// An exponent of ten, written as one.
    Exponent(i32),
    /// A power of 1024.
    Binary(usize),
}

/// Whether the API server takes this for a quantity.
pub(super) fn is_one(text: &str) -> bool {
    Parts::of(text).is_some()
}

/// The form in which the API server writes a quantity that is written so; `None` where it is none.
pub(super) fn canonical(text: &str) -> Option<Cow<'_, str>> {
    let parts = Parts::of(text)?;
    if parts.whole.len() + parts.fraction.len() > MOST_DIGITS || parts.stands(text) {
        return Some(text.into());
    }
    Some(parts.written().map_or(text.into(), |written| {
        let sign = if parts.is_negative && written != "0" { "-" } else { "" };
        format!("{sign}{written}").into()
    }))
}

impl<'t> Parts<'t> {
    fn of(text: &'t str) -> Option<Self> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let number = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(number);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if text.is_empty() || fraction.contains('.') {
            return None;
        }
        let whole = match whole.trim_start_matches('0') {
            "" => "0",
            digits => digits,
        };
        Some(Self { is_negative: text.starts_with('-'), whole, fraction, suffix: Suffix::of(suffix)? })
    }

    fn digits(&self) -> String {
        format!("{}{}", self.whole, self.fraction)
    }

    /// Whether the API server takes the text for the one form without looking closer. It is not always.
    fn stands(&self, text: &str) -> bool {
        let digits = self.digits();
        if text == "0" {
            return true;
        }
        match self.suffix {
            Suffix::Si(exponent) | Suffix::Exponent(exponent) => {
                let scale = exponent.saturating_sub_unsigned(places(self.fraction));
                scale >= NANO && scale % 3 == 0 && !digits.ends_with("000") && !digits.starts_with('0')
            }
            Suffix::Binary(power) => {
                // As many digits as are reckoned with there.
                let room = 15_usize.checked_sub(digits.len() + power * 3 + 1).is_some();
                let is_odd = digits.parse::<u128>().is_ok_and(|number| number % 8 != 0);
                room && self.fraction.is_empty() && is_odd
            }
        }
    }

    /// The form, without a sign; `None` for what is too large to be reckoned with here.
    fn written(&self) -> Option<String> {
        let mut number: u128 = self.digits().parse().ok()?;
        let mut exponent = 0_i32.checked_sub_unsigned(places(self.fraction))?;
        match self.suffix {
            Suffix::Si(ten) | Suffix::Exponent(ten) => exponent = exponent.checked_add(ten)?,
            Suffix::Binary(power) => number <<= power * 10,
        }
        if exponent < NANO {
            let tens = 10_u128.checked_pow((NANO - exponent).unsigned_abs());
            number = tens.map_or(u128::from(number > 0), |tens| number.div_ceil(tens));
            exponent = NANO;
        }
        if number == 0 {
            return Some("0".to_owned());
        }
        while number.is_multiple_of(10) {
            (number, exponent) = (number / 10, exponent + 1);
        }
        if let Suffix::Binary(_) = self.suffix {
            let tens = 10_u128.checked_pow(exponent.unsigned_abs())?;
            let (whole, is_whole) = match exponent {
                0.. => (number.checked_mul(tens)?, true),
                _ => (number / tens, false),
            };
            if whole >= LARGEST || (is_whole && whole >= 1024) {
                return binary(whole.min(LARGEST));
            }
        }
        while exponent % 3 != 0 {
            (number, exponent) = (number.checked_mul(10)?, exponent - 1);
        }
        match self.suffix {
            Suffix::Exponent(_) if exponent == 0 => Some(number.to_string()),
            Suffix::Exponent(_) => Some(format!("{number}e{exponent}")),
            _ => {
                // Beyond its suffixes the API server writes none.
                let suffix = usize::try_from(exponent / 3 + 3).ok().and_then(|at| SI.get(at));
                Some(format!("{number}{}", suffix.unwrap_or(&"")))
            }
        }
    }
}

impl Suffix {
    fn of(text: &str) -> Option<Self> {
        if let Some(at) = SI.iter().position(|suffix| *suffix == text) {
            return i32::try_from(at).ok().map(|at| Self::Si((at - 3) * 3));
        }
        if let Some(power) = BINARY.iter().position(|suffix| *suffix == text) {
            return Some(Self::Binary(power));
        }
        let exponent = text.strip_prefix(['e', 'E'])?;
        exponent.parse().ok().map(Self::Exponent)
    }
}

fn places(fraction: &str) -> u32 {
    u32::try_from(fraction.len()).unwrap_or(u32::MAX)
}

fn binary(mut number: u128) -> Option<String> {
    let mut power = 0;
    while number.is_multiple_of(1024) {
        (number, power) = (number / 1024, power + 1);
    }
    BINARY.get(power).map(|suffix| format!("{number}{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Kubernetes 1.36 makes of each.
    const MADE: [(&str, &str); 34] = [
        ("0", "0"),
        ("00", "0"),
        ("-0", "0"),
        ("0.0", "0"),
        ("4.0", "4"),
        ("1.5", "1500m"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("1.", "1."),
        ("+5", "+5"),
        ("-05", "-05"),
        ("007", "007"),
        ("-1.5", "-1500m"),
        ("100m", "100m"),
        ("1500m", "1500m"),
        ("1000m", "1"),
        ("1000", "1k"),
        ("1000.0", "1k"),
        ("1e3", "1e3"),
        ("1000e3", "1e6"),
        ("1e19", "10e18"),
        ("1e-10", "1e-9"),
        ("0.0000000001", "1n"),
        ("1.23456789012345678", "1234567891n"),
        ("1000.0E", "1"),
        ("1024Ki", "1Mi"),
        ("1536Mi", "1536Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("0.1Ki", "102400m"),
        ("1.1Ki", "1126400m"),
        ("8Ei", "9223372036854775807"),
        ("1048576.0000000001Pi", "9223372036854775807"),
        ("k", "0"),
    ];

    #[test]
    fn a_quantity_is_written_as_the_api_server_writes_it() {
        for (text, canonical_text) in MADE {
            assert_eq!(canonical(text).as_deref(), Some(canonical_text), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in ["", "x", "1x", "1.2.3", "1 Gi", "1ki", "--1", "e", "1e", "1e1.5", "Gi1", "0x10"] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }

    #[test]
    fn the_one_form_is_its_own_and_what_is_too_long_stays_as_it_was_written() {
        for (_, written) in MADE {
            assert_eq!(canonical(written).as_deref(), Some(written));
        }
        let long = "5372560107.0000000001Pi";
        assert_eq!(canonical(long).as_deref(), Some(long));
    }
}
