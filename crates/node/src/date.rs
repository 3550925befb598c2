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

#[cfg(test)]
mod tests {
    use super::*;

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
