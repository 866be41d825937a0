//! Times of dumps: RFC 3339 in UTC to seconds since 1970 and back. No time zones, no leap seconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970 of `2026-11-25T22:01:02.345Z`; `None` for any other shape.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (time.next()?.parse::<u32>().ok()?, time.next()?.parse::<u32>().ok()?);
    let second = time.next()?.parse::<f64>().ok().filter(|second| (0.0..61.0).contains(second))?;
    if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59
    {
        return None;
    }
    Some(days(year, month, day) as f64 * 86_400.0 + f64::from(hour * 3600 + minute * 60) + second)
}

/// Seconds since 1970 of a file's time.
pub(crate) fn of_file(time: SystemTime) -> Option<f64> {
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
}

/// The system's form of seconds since 1970.
pub(crate) fn to_system(seconds: f64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// `2026-11-25 22:01:02 UTC`.
pub(crate) fn display(seconds: f64) -> String {
    let whole = seconds.floor().clamp(0.0, 253_402_300_799.0) as i64;
    let (year, month, day) = date(whole.div_euclid(86_400));
    let rest = whole.rem_euclid(86_400);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// `22:01 UTC`, seen from a moment of about the same time; `2026-11-25 22:01 UTC` from a later day.
pub(crate) fn clock(seconds: f64, now: f64) -> String {
    let text = display(seconds);
    let (date, time) = text.split_once(' ').unwrap_or(("", &text));
    let minute = time.get(..5).unwrap_or(time);
    if now - seconds < 43_200.0 { format!("{minute} UTC") } else { format!("{date} {minute} UTC") }
}

/// Days since 1970 of a date of the Gregorian calendar; years begin in March, so that the leap day
/// is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// The date of a day since 1970.
fn date(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, of_year - (153 * month_from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown() {
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some(0.0));
        // `date -u -d 2026-11-25T22:01:02Z +%s`
        assert_eq!(parse("2026-11-25T22:01:02.5Z"), Some(1_795_644_062.5));
        assert_eq!(display(1_795_644_062.5), "2026-11-25 22:01:02 UTC");
        assert_eq!(clock(1_795_644_062.5, 1_795_644_100.0), "22:01 UTC");
        assert_eq!(clock(1_795_644_062.5, 1_795_944_100.0), "2026-11-25 22:01 UTC");
        assert_eq!(display(951_782_400.0), "2000-02-29 00:00:00 UTC");
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in ["", "Z", "2026-11-25", "2026-13-25T00:00:00Z", "2026-11-25T24:00:00Z", "2026-11-25T00:00:00+01:00"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes under Miri")]
    fn every_day_of_four_centuries_survives_the_round_trip() {
        for day in -10_000..140_000 {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }
}
