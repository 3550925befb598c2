//! Messages with a form of their own in JSON: quantities, times, numbers that may be texts, raw JSON.
//!
//! `push_…` appends JSON made of a message's content, `write_…` a message's content made of JSON; nothing given stands
//! for the zero value. Where a form stands is said in `apimachinery:pkg/apis/meta/v1/time.go`, `…/micro_time.go`,
//! `…/time_proto.go`, `pkg/util/intstr` and `pkg/api/resource`.

use super::to_protobuf::wants;
use super::{Error, quantity};
use crate::json::{self, Node};
use crate::proto::{self, FieldValue, Fields};

/// Text of a quantity, as the API server put it. Like it, this takes none that is none (`…/resource/quantity_proto.go`).
pub(super) fn push_quantity(raw: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let text = first_bytes(raw)?.filter(|text| !text.is_empty()).unwrap_or(b"0");
    if !std::str::from_utf8(text).is_ok_and(quantity::is_one) {
        return Err(Error::malformed("a quantity is wanted"));
    }
    json::push_lossy(out, text);
    Ok(())
}

pub(super) fn write_quantity(value: Option<Node<'_, '_>>, out: &mut Vec<u8>) -> Result<(), Error> {
    let Some(value) = value else {
        proto::push_string(out, 1, "0");
        return Ok(());
    };
    let text = match value.first_byte() {
        b'"' => value.text().unwrap_or_default(),
        b'-' | b'0'..=b'9' => String::from_utf8_lossy(value.raw()),
        _ => return Err(wants(value, "a quantity")),
    };
    let written = quantity::canonical(text.trim()).ok_or_else(|| wants(value, "a quantity"))?;
    proto::push_string(out, 1, &written);
    Ok(())
}

pub(super) fn push_int_or_string(raw: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let (mut is_text, mut number, mut text): (_, _, &[u8]) = (false, 0, b"");
    for field in Fields::new(raw) {
        match field? {
            (1, FieldValue::Varint(kind)) => is_text = kind != 0,
            (2, FieldValue::Varint(value)) => number = to_i32(value),
            (3, FieldValue::Bytes(value)) => text = value,
            _ => return Err(Error::malformed("it is neither a number nor a string")),
        }
    }
    if is_text {
        json::push_lossy(out, text);
    } else {
        out.extend_from_slice(number.to_string().as_bytes());
    }
    Ok(())
}

pub(super) fn write_int_or_string(value: Option<Node<'_, '_>>, out: &mut Vec<u8>) -> Result<(), Error> {
    let (is_text, number, text) = match value {
        None => (0, 0, std::borrow::Cow::Borrowed("")),
        Some(value) => match value.text() {
            Some(text) => (1, 0, text),
            None => {
                let number =
                    std::str::from_utf8(value.raw()).ok().and_then(|number| number.parse::<i32>().ok());
                (0, number.ok_or_else(|| wants(value, "a whole number or a string"))?, "".into())
            }
        },
    };
    proto::push_varint_field(out, 1, is_text);
    proto::push_varint_field(out, 2, i64::from(number).cast_unsigned());
    proto::push_string(out, 3, &text);
    Ok(())
}

/// JSON as it stands in the message, checked, without space between its values; `null` for none.
pub(super) fn push_raw(raw: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    match first_bytes(raw)? {
        None | Some(b"") => out.extend_from_slice(b"null"),
        Some(document) => json::compact(out, document)?,
    }
    Ok(())
}

pub(super) fn write_raw(value: Option<Node<'_, '_>>, out: &mut Vec<u8>) -> Result<(), Error> {
    if let Some(value) = value {
        let start = proto::begin(out, 1);
        push_without_space(value.raw(), out);
        proto::end(out, start);
    }
    Ok(())
}

/// A document that was checked before, without space between its values, its strings as they are.
fn push_without_space(document: &[u8], out: &mut Vec<u8>) {
    let (mut in_string, mut escaped) = (false, false);
    for byte in document {
        if in_string || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            out.push(*byte);
        }
        if *byte == b'"' && !escaped {
            in_string = !in_string;
        }
        escaped = in_string && *byte == b'\\' && !escaped;
    }
}

pub(super) fn push_time(raw: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    push_moment(raw, false, out)
}

pub(super) fn push_micro_time(raw: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    push_moment(raw, true, out)
}

/// RFC 3339 in UTC; no content at all is the zero time, `null`.
fn push_moment(raw: &[u8], micros: bool, out: &mut Vec<u8>) -> Result<(), Error> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields::new(raw) {
        match field? {
            (1, FieldValue::Varint(value)) => seconds = value.cast_signed(),
            (2, FieldValue::Varint(value)) => nanos = to_i32(value),
            _ => return Err(Error::malformed("it is no time")),
        }
    }
    if raw.is_empty() {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    if !(0..=9999).contains(&year) || !(0..1_000_000_000).contains(&nanos) {
        return Err(Error::malformed("it is a time that cannot be written"));
    }
    let second = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = format!("\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if micros {
        text.push_str(&format!(".{:06}", nanos / 1000));
    }
    text.push_str("Z\"");
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

pub(super) fn write_time(value: Option<Node<'_, '_>>, out: &mut Vec<u8>) -> Result<(), Error> {
    write_moment(value, false, out)
}

pub(super) fn write_micro_time(value: Option<Node<'_, '_>>, out: &mut Vec<u8>) -> Result<(), Error> {
    write_moment(value, true, out)
}

fn write_moment(value: Option<Node<'_, '_>>, micros: bool, out: &mut Vec<u8>) -> Result<(), Error> {
    let Some(value) = value else { return Ok(()) };
    let text = value.text().ok_or_else(|| wants(value, "a time"))?;
    let (seconds, nanos) =
        parse_rfc3339(&text).ok_or_else(|| Error::malformed(format!("\"{text}\" is no time of RFC 3339")))?;
    // Year 1 is Go's zero.
    if (seconds, nanos) == (-62_135_596_800, 0) {
        return Ok(());
    }
    proto::push_varint_field(out, 1, seconds.cast_unsigned());
    proto::push_varint_field(out, 2, if micros { u64::from(nanos / 1000 * 1000) } else { 0 });
    Ok(())
}

/// A time of RFC 3339 as seconds since 1970 and nanoseconds.
pub(crate) fn parse_rfc3339(text: &str) -> Option<(i64, u32)> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let byte = |at: usize| text.as_bytes().get(at).copied();
    let separators = [byte(4)?, byte(7)?, byte(10)?, byte(13)?, byte(16)?];
    if separators != *b"--T::" {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let valid = (1..=12).contains(&month) && (1..=month_days(year, month)).contains(&day);
    if !valid || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let len = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let digits = fraction.get(..len.min(9)).filter(|digits| !digits.is_empty())?;
        nanos = format!("{digits:0<9}").parse().ok()?;
        rest = fraction.get(len..)?;
    }
    let offset = match rest.as_bytes() {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let start = text.len() - 5;
            let (hours, minutes) = (number(start, start + 2)?, number(start + 3, start + 5)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 3600 + minutes * 60) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    Some((days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset, nanos))
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970 of a date; years begin in March, so that the leap day is the last one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a number of days since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// The content of a message's first field, if it stands there.
fn first_bytes(raw: &[u8]) -> Result<Option<&[u8]>, Error> {
    let mut content = None;
    for field in Fields::new(raw) {
        match field? {
            (1, FieldValue::Bytes(bytes)) => content = Some(bytes),
            _ => return Err(Error::malformed("it has a field that it cannot have")),
        }
    }
    Ok(content)
}

/// The low 32 bits, as Go's decoder takes a number that is too large.
#[allow(clippy::cast_possible_truncation, reason = "the rest is not looked at there either")]
pub(super) fn to_i32(number: u64) -> i32 {
    (number as u32).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted_in_days_and_back() {
        for day in (-719_162..2_932_896).step_by(17) {
            let (year, month, date) = civil(day);
            assert_eq!(days(year, month, date), day);
            assert!((1..=month_days(year, month)).contains(&date));
        }
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
    }

    #[test]
    fn times_are_read_with_fractions_and_offsets() {
        assert_eq!(parse_rfc3339("2008-01-01T01:01:01Z"), Some((1_199_149_261, 0)));
        assert_eq!(parse_rfc3339("2008-01-01T03:01:01+02:00"), Some((1_199_149_261, 0)));
        assert_eq!(parse_rfc3339("2007-12-31T23:31:01-01:30"), Some((1_199_149_261, 0)));
        assert_eq!(parse_rfc3339("1969-12-31T23:59:59.5Z"), Some((-1, 500_000_000)));
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00.0000010009Z"), Some((0, 1000)));
        for wrong in [
            "",
            "2008",
            "2008-01-01",
            "2008-01-01T01:01:01",
            "2008-01-01 01:01:01Z",
            "2008-13-01T01:01:01Z",
            "2007-02-29T01:01:01Z",
            "2008-01-01T24:01:01Z",
            "2008-01-01T01:01:60Z",
            "2008-01-01T01:01:01.Z",
            "2008-01-01T01:01:01+2:00",
            "2008-01-01T01:01:01+24:00",
            "+008-01-01T01:01:01Z",
            "2008-01-01T01:01:01Zé",
            "é008-01-01T01:01:01Z",
        ] {
            assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
        }
    }
}
