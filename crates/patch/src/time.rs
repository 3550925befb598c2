//! Moments as objects hold them: RFC 3339 in UTC, to the second.

const DAY: i64 = 86_400;

/// A number of seconds since 1970 as text; the years 0 to 9999 are all there are.
pub(crate) fn format(seconds: i64) -> String {
    let seconds = seconds.clamp(-62_167_219_200, 253_402_300_799);
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let (hour, minute, second) =
        (seconds.rem_euclid(DAY) / 3600, seconds.rem_euclid(3600) / 60, seconds.rem_euclid(60));
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The same text read; `None` for anything in another form.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u16>().ok().map(i64::from);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let seconds =
        days(year, month, day) * DAY + number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    (format(seconds) == text).then_some(seconds)
}

/// The moment as Go prints it in error messages.
pub(crate) fn go(text: &str) -> String {
    format!("{} +0000 UTC", text.trim_end_matches('Z').replace('T', " "))
}

/// Days since 1970 of a date. Years are taken to begin in March, so that a leap day is a year's last one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 719_469
}

/// Year, month and day of a number of days since 1970.
fn date(number: i64) -> (i64, i64, i64) {
    let mut year = 1970 + number.div_euclid(366).min(number.div_euclid(365));
    while days(year + 1, 1, 1) <= number {
        year += 1;
    }
    let months = (1..=12).rev();
    let month = months.into_iter().find(|month| days(year, *month, 1) <= number).unwrap_or(1);
    (year, month, number - days(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_were_written() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_795_527_784, "2026-11-24T13:43:04Z"),
            (-62_167_219_200, "0000-01-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(format(seconds), text);
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
        for day in (-719_000..2_900_000).step_by(97) {
            let text = format(day * DAY + 17);
            assert_eq!(parse(&text), Some(day * DAY + 17), "{text}");
        }
        for wrong in [
            "",
            "2026-11-24T13:43:04",
            "2026-02-30T00:00:00Z",
            "2026-11-24T13:43:04+01:00",
            "2026-13-01T00:00:00Z",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(go("2026-11-24T13:43:04Z"), "2026-11-24 13:43:04 +0000 UTC");
    }
}
