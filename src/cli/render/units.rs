//! Numbers for people: three digits and a unit. Machines read JSON.

use crate::cli::profile::metric::Metric;

const BINARY: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `64.9 MiB`. Negative numbers keep their sign.
pub(crate) fn bytes(value: f64) -> String {
    let mut scaled = value.abs();
    let mut unit = 0;
    while scaled >= 1023.5 && unit + 1 < BINARY.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    let sign = if value <= -0.5 { "-" } else { "" };
    let digits = match scaled {
        _ if unit == 0 => 0,
        small if small < 9.995 => 2,
        middle if middle < 99.95 => 1,
        _ => 0,
    };
    format!("{sign}{scaled:.digits$} {}", BINARY.get(unit).unwrap_or(&"B"))
}

/// `+64.9 MiB`; a change that rounds to nothing is `0 B`.
pub(crate) fn change(value: f64) -> String {
    if value >= 0.5 { format!("+{}", bytes(value)) } else { bytes(value) }
}

/// How amounts are written: bytes, or numbers of objects where those are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    is_count: bool,
}

impl Unit {
    /// That of a measure.
    pub(crate) fn of(metric: Metric) -> Unit {
        Unit { is_count: metric.is_count() }
    }

    /// The unit of what stands beside the amounts: objects beside bytes, and bytes beside objects.
    pub(crate) fn other(self) -> Unit {
        Unit { is_count: !self.is_count }
    }

    /// `64.9 MiB`; `3,104`.
    pub(crate) fn amount(self, value: f64) -> String {
        if self.is_count { count(value) } else { bytes(value) }
    }

    /// `+64.9 MiB`; `-3,104`.
    pub(crate) fn change(self, value: f64) -> String {
        match self.is_count {
            true if value >= 0.5 => format!("+{}", count(value)),
            true if value <= -0.5 => format!("-{}", count(-value)),
            true => count(0.0),
            false => change(value),
        }
    }

    /// `+33.8 MiB/min`; `+120/h`.
    pub(crate) fn rate(self, per_second: f64) -> String {
        if !self.is_count {
            return rate(per_second);
        }
        let units = [(1.0, "s"), (60.0, "min"), (3600.0, "h"), (86_400.0, "day")];
        let good = units.iter().find(|(seconds, _)| per_second.abs() * seconds >= 10.0).unwrap_or(&units[3]);
        format!("{}/{}", self.change(per_second * good.0), good.1)
    }

    /// `+33.8 MiB/min ± 2.1 MiB`: with the bound of its error.
    pub(crate) fn rate_within(self, per_second: f64, error: f64) -> String {
        let text = self.rate(per_second);
        if error <= 0.0 {
            return text;
        }
        let scale = match text.rsplit('/').next() {
            Some("s") => 1.0,
            Some("min") => 60.0,
            Some("h") => 3600.0,
            _ => 86_400.0,
        };
        format!("{text} ± {}", self.amount(error * scale))
    }

    /// `4,943 objects`, `1 object`; `189 MiB`.
    pub(crate) fn named(self, value: f64) -> String {
        match self.is_count {
            true if value < 1.5 => "1 object".to_owned(),
            true => format!("{} objects", count(value)),
            false => bytes(value),
        }
    }
}

/// `3,104`.
pub(crate) fn count(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `73.6 %`.
pub(crate) fn share(value: f64) -> String {
    format!("{:.1} %", value * 100.0)
}

/// `3.2 s`, `2 min 15 s`, `5 h 20 min`, `3 d 4 h`.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    let whole = seconds.round() as u64;
    match whole {
        0..60 if seconds < 9.95 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3600 % 24),
    }
}

/// `2.1 s`, `46 min`, `1.3 h`, `12 d`: a duration that is known to some percent only.
pub(crate) fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    let (value, unit) = match seconds {
        _ if seconds < 0.1 => (seconds * 1000.0, "ms"),
        _ if seconds < 60.0 => (seconds, "s"),
        _ if seconds < 3600.0 => (seconds / 60.0, "min"),
        _ if seconds < 86_400.0 => (seconds / 3600.0, "h"),
        _ => (seconds / 86_400.0, "d"),
    };
    if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// Reads `90s`, `30min`, `2h`, `1.5 d`: seconds.
pub(crate) fn parse_duration(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}` is no duration: write 90s, 30min, 2h, 1d");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.trim().split_at_checked(digits).ok_or_else(wrong)?;
    let seconds = match unit.trim() {
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    Ok(number.parse::<f64>().map_err(|_| wrong())? * seconds)
}

/// `33.8 MiB/min`: a rate in the unit in which its number is easy to read.
pub(crate) fn rate(bytes_per_second: f64) -> String {
    let mib = 1024.0 * 1024.0;
    let units = [(1.0, "s"), (60.0, "min"), (3600.0, "h"), (86_400.0, "day")];
    let good = units.iter().find(|(seconds, _)| bytes_per_second.abs() * seconds >= mib).unwrap_or(&units[3]);
    format!("{}/{}", change(bytes_per_second * good.0), good.1)
}

/// Reads `64MiB`, `512K`, `1.5 GiB`, `4096`: binary units, as they are printed.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_uppercase();
    let power = match unit.trim_end_matches('B').trim_end_matches('I') {
        "" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return Err(format!("`{text}` is no size: write 64MiB, 512K, 1.5GiB")),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{text}` is no size: write 64MiB, 512K, 1.5GiB"))?;
    Ok((number * 1024f64.powi(power)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        let cases = [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (1000.0, "1000 B"),
            (1023.9, "1.00 KiB"),
            (131_072.0, "128 KiB"),
            (68_052_582.0, "64.9 MiB"),
            (1e12, "931 GiB"),
            (-2048.0, "-2.00 KiB"),
            (1e30, "867361737988 EiB"),
        ];
        for (value, expected) in cases {
            assert_eq!(bytes(value), expected);
        }
        assert_eq!(change(2048.0), "+2.00 KiB");
        assert_eq!(change(-0.2), "0 B");
        assert_eq!((count(3104.4), count(12.0), count(1_234_567.0)), ("3,104".into(), "12".into(), "1,234,567".into()));
    }

    #[test]
    fn objects_are_counted_where_they_are_measured() {
        let unit = Unit::of(Metric::InuseCount);
        assert_eq!(
            (unit.amount(3104.4), unit.change(-3104.0), unit.change(0.2)),
            ("3,104".into(), "-3,104".into(), "0".into())
        );
        assert_eq!((unit.rate(2.0), unit.rate(0.001)), ("+120/min".into(), "+86/day".into()));
        assert_eq!((unit.named(1.2), unit.other().named(2048.0)), ("1 object".into(), "2.00 KiB".into()));
        assert_eq!(Unit::of(Metric::AllocBytes).rate(0.0), "0 B/day");
    }

    #[test]
    fn times_and_rates_read_well() {
        let cases =
            [(0.25, "0.2 s"), (59.0, "59 s"), (135.0, "2 min 15 s"), (19_200.0, "5 h 20 min"), (273_600.0, "3 d 4 h")];
        for (seconds, expected) in cases {
            assert_eq!(duration(seconds), expected);
        }
        assert_eq!(rate(600.0 * 1024.0), "+35.2 MiB/min");
        assert_eq!(rate(0.0), "0 B/day");
        let bytes = Unit::of(Metric::InuseBytes);
        assert_eq!(bytes.rate_within(600.0 * 1024.0, 60.0 * 1024.0), "+35.2 MiB/min ± 3.52 MiB");
    }

    #[test]
    fn ages_are_rough() {
        let cases = [(0.0021, "2.1 ms"), (0.54, "0.5 s"), (2749.0, "46 min"), (4700.0, "1.3 h"), (1e6, "12 d")];
        for (seconds, expected) in cases {
            assert_eq!(age(seconds), expected);
        }
    }

    #[test]
    fn durations_are_read() {
        let cases = [("90s", 90.0), ("30min", 1800.0), ("2h", 7200.0), ("1.5 d", 129_600.0), ("7", 7.0), ("5m", 300.0)];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text), Ok(expected), "{text}");
        }
        assert!(["", "h", "5 weeks", "-1s", "1.2.3s"].iter().all(|text| parse_duration(text).is_err()));
    }

    #[test]
    fn sizes_are_read_as_they_are_printed() {
        let cases = [("64MiB", 64 << 20), ("512K", 512 << 10), ("1.5 GiB", 3 << 29), ("4096", 4096), ("7b", 7)];
        for (text, expected) in cases {
            assert_eq!(parse_size(text), Ok(expected), "{text}");
        }
        assert!(["", "MiB", "5 apples", "1.2.3K", "-1"].iter().all(|text| parse_size(text).is_err()));
    }
}
