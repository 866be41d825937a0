//! Numbers for people: three digits and a unit. Machines read JSON.

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
    fn times_and_rates_read_well() {
        let cases =
            [(0.25, "0.2 s"), (59.0, "59 s"), (135.0, "2 min 15 s"), (19_200.0, "5 h 20 min"), (273_600.0, "3 d 4 h")];
        for (seconds, expected) in cases {
            assert_eq!(duration(seconds), expected);
        }
        assert_eq!(rate(600.0 * 1024.0), "+35.2 MiB/min");
        assert_eq!(rate(0.0), "0 B/day");
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
