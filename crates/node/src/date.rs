//! Moments as people and kubelet's file names write them, in UTC.

/// Year, month, day, hour, minute and second of a moment, in seconds since 1970.
fn civil(secs: u64) -> (u64, u64, u64, u64, u64, u64) {
    // Years are counted from March, so that the day that some years have more is their last one.
    let days = secs / 86400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day, secs / 3600 % 24, secs / 60 % 60, secs % 60)
}

/// `2026-11-24 13:15:58 UTC`.
pub fn shown(secs: u64) -> String {
    let (year, month, day, hour, minute, second) = civil(secs);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// `2026-11-24-13-15-58`, as in the names of the certificates that kubelet writes.
pub fn in_file_name(secs: u64) -> String {
    let (year, month, day, hour, minute, second) = civil(secs);
    format!("{year}-{month:02}-{day:02}-{hour:02}-{minute:02}-{second:02}")
}

/// The moment that the API server writes as `2026-11-24T13:15:58Z`, in seconds since 1970; `None` if it is none.
pub fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let fields = |text: &str, mark: char| {
        let mut parts = text.split(mark).map(|part| part.parse::<u64>().ok());
        let all = (parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(all)
    };
    let (year, month, day) = fields(date, '-')?;
    let (hour, minute, second) = fields(time.split('.').next()?, ':')?;
    let sane = (1970..10_000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !sane || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // As in `civil`, years begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_written() {
        for secs in [0, 951_782_399, 951_782_400, 1_795_526_158, 4_107_542_400, 7_258_118_399] {
            let text = shown(secs).replacen(' ', "T", 1).replace(" UTC", "Z");
            assert_eq!(parse(&text), Some(secs), "{text}");
        }
        assert_eq!(parse("2026-11-24T13:15:58.250Z"), Some(1_795_526_158));
        for odd in [
            "",
            "Z",
            "2026-11-24",
            "2026-11-24T13:15:58",
            "2026-13-24T13:15:58Z",
            "1969-01-01T00:00:00Z",
            "2026-11-24T13:15Z",
            "2026-11-24T25:15:58Z",
            "99999999999999999999-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn moments_are_written_as_date_does() {
        for (secs, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_795_526_158, "2026-11-24 13:15:58 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (7_258_118_399, "2199-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(shown(secs), text);
        }
        assert_eq!(in_file_name(1_795_526_158), "2026-11-24-13-15-58");
    }
}
