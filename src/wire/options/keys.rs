//! The keys of our options, one table: how each is read, and which values it may have. Complaints use jemalloc's words.

use super::complaint::{Complaint, Used};
use super::values::{Allocator, Growth, MAX_BT, Options};

/// How one key is read.
pub(super) enum Setter {
    /// Where the switch is.
    Bool(for<'s> fn(&'s mut Options<'_>) -> &'s mut bool),
    /// Its bounds, and how it is read and written.
    Number(Bounds, fn(&Options<'_>) -> i64, fn(&mut Options<'_>, i64)),
    Text(for<'a> fn(&mut Options<'a>, &'a [u8])),
    /// `prof_dump_growth`: bytes or percent.
    Growth,
    /// `prof_dump_signal`: one that no Java VM uses.
    Signal,
    /// `prof_allocator`: own or keep.
    Allocator,
    /// Not acted on, which is said unless the value is this one.
    Unsupported(&'static [u8]),
}

/// The numbers that an option takes.
pub(super) struct Bounds {
    low: i64,
    high: i64,
    /// A number beyond a bound becomes the bound, as in jemalloc; of other options it is refused.
    clips: bool,
    /// The bounds in words.
    allowed: &'static str,
}

impl Bounds {
    const fn new(low: i64, high: i64, allowed: &'static str) -> Bounds {
        Bounds { low, high, clips: true, allowed }
    }
}

const LG: Bounds = Bounds::new(0, 63, "a whole number from 0 to 63");
const INTERVAL: Bounds = Bounds { clips: false, ..Bounds::new(-1, 63, "a whole number from 0 to 63, or -1 for none") };
const FRAMES: Bounds = Bounds::new(1, MAX_BT as i64, "a whole number from 1 to 512");
const SECONDS: Bounds = Bounds::new(0, i64::MAX, "a number of seconds");
const BYTES: Bounds = Bounds::new(0, i64::MAX, "a number of bytes");
const SECONDS_OR_NONE: Bounds = Bounds::new(0, i64::MAX, "a number of seconds, or 0 for none");
const DUMPS: Bounds = Bounds::new(0, i64::MAX, "a number of dumps, or 0 for any");
const BYTES_OR_ANY: Bounds = Bounds::new(0, i64::MAX, "a number of bytes, or 0 for any");
const OVERHEAD: Bounds = Bounds::new(0, 100, "a percentage from 1 to 100, or 0 for no limit");
const WATERMARK: Bounds = Bounds::new(0, 100, "a percentage from 1 to 100, or 0 for none");
const REGION: Bounds = Bounds::new(1 << 20, 16 << 30, "a number of bytes from 1 MiB to 16 GiB");

/// The one table of keys that are ours; all others are jemalloc's.
pub(super) const KEYS: &[(&[u8], Setter)] = &[
    (b"prof", Setter::Bool(|o| &mut o.prof)),
    (b"prof_active", Setter::Bool(|o| &mut o.prof_active)),
    (b"prof_accum", Setter::Bool(|o| &mut o.prof_accum)),
    (b"prof_final", Setter::Bool(|o| &mut o.prof_final)),
    (b"prof_prefix", Setter::Text(|o, text| o.prof_prefix = text)),
    (b"prof_exe", Setter::Text(|o, text| o.prof_exe = text)),
    (b"prof_arg", Setter::Text(|o, text| o.prof_arg = text)),
    (b"prof_exec", Setter::Bool(|o| &mut o.prof_exec)),
    (b"prof_fork", Setter::Bool(|o| &mut o.prof_fork)),
    (b"lg_prof_sample", Setter::Number(LG, |o| o.lg_prof_sample.into(), |o, n| o.lg_prof_sample = n as u32)),
    (
        b"lg_prof_interval",
        Setter::Number(
            INTERVAL,
            |o| o.lg_prof_interval.map_or(-1, i64::from),
            |o, n| o.lg_prof_interval = u32::try_from(n).ok(),
        ),
    ),
    (b"prof_bt_max", Setter::Number(FRAMES, |o| o.prof_bt_max as i64, |o, n| o.prof_bt_max = n as usize)),
    (b"prof_gdump", Setter::Bool(|o| &mut o.prof_gdump)),
    (b"prof_leak", Setter::Bool(|o| &mut o.prof_leak)),
    (b"prof_leak_error", Setter::Bool(|o| &mut o.prof_leak_error)),
    (b"prof_pid_namespace", Setter::Bool(|o| &mut o.prof_pid_namespace)),
    (b"prof_sys_thread_name", Setter::Bool(|o| &mut o.prof_sys_thread_name)),
    (b"prof_thread_active_init", Setter::Bool(|o| &mut o.prof_thread_active_init)),
    (b"prof_log", Setter::Unsupported(b"false")),
    (b"prof_recent_alloc_max", Setter::Unsupported(b"0")),
    (b"prof_stats", Setter::Unsupported(b"false")),
    (b"prof_time_resolution", Setter::Unsupported(b"default")),
    (b"prof_unbias", Setter::Unsupported(b"true")),
    (b"prof_min_seconds", Setter::Number(SECONDS, |o| o.prof_min_seconds as i64, |o, n| o.prof_min_seconds = n as u64)),
    (b"prof_min_bytes", Setter::Number(BYTES, |o| o.prof_min_bytes as i64, |o, n| o.prof_min_bytes = n as u64)),
    (b"prof_allocator", Setter::Allocator),
    (b"prof_java", Setter::Bool(|o| &mut o.prof_java)),
    (b"prof_deepbind", Setter::Bool(|o| &mut o.prof_deepbind)),
    (b"prof_keeper", Setter::Bool(|o| &mut o.prof_keeper)),
    (b"prof_usdt", Setter::Bool(|o| &mut o.prof_usdt)),
    (
        b"prof_max_overhead",
        Setter::Number(OVERHEAD, |o| o.prof_max_overhead as i64, |o, n| o.prof_max_overhead = n as u64),
    ),
    (
        b"prof_dump_seconds",
        Setter::Number(SECONDS, |o| o.prof_dump_seconds as i64, |o, n| o.prof_dump_seconds = n as u64),
    ),
    (b"prof_dump_growth", Setter::Growth),
    (b"prof_dump_rss", Setter::Number(BYTES, |o| o.prof_dump_rss as i64, |o, n| o.prof_dump_rss = n as u64)),
    (b"prof_dump_signal", Setter::Signal),
    (b"prof_dump_trim", Setter::Bool(|o| &mut o.prof_dump_trim)),
    (
        b"prof_mirror_seconds",
        Setter::Number(SECONDS_OR_NONE, |o| o.prof_mirror_seconds as i64, |o, n| o.prof_mirror_seconds = n as u64),
    ),
    (b"prof_max_dumps", Setter::Number(DUMPS, |o| o.prof_max_dumps as i64, |o, n| o.prof_max_dumps = n as u64)),
    (
        b"prof_max_dump_bytes",
        Setter::Number(BYTES_OR_ANY, |o| o.prof_max_dump_bytes as i64, |o, n| o.prof_max_dump_bytes = n as u64),
    ),
    (
        b"prof_min_free_bytes",
        Setter::Number(BYTES, |o| o.prof_min_free_bytes as i64, |o, n| o.prof_min_free_bytes = n as u64),
    ),
    (
        b"prof_dump_watermark",
        Setter::Number(WATERMARK, |o| o.prof_dump_watermark as i64, |o, n| o.prof_dump_watermark = n as u64),
    ),
    (
        b"prof_region_bytes",
        Setter::Number(REGION, |o| o.prof_region_bytes as i64, |o, n| o.prof_region_bytes = n as usize),
    ),
];

/// Sets one key.
pub(super) fn set<'a>(
    options: &mut Options<'a>,
    setter: &Setter,
    key: &'a [u8],
    value: &'a [u8],
    complain: &mut dyn FnMut(Complaint<'a>),
) {
    const INVALID: &str = "Invalid conf value";
    match setter {
        Setter::Bool(place) => {
            let place = place(options);
            match value {
                b"true" => *place = true,
                b"false" => *place = false,
                _ => {
                    let used = Used::Bool(*place);
                    complain(Complaint::BadValue { words: INVALID, key, value, allowed: "true or false", used });
                }
            }
        }
        Setter::Number(Bounds { low, high, clips, allowed }, get, put) => {
            let wanted = number(value);
            let nearest = wanted.map(|wanted| wanted.clamp(*low, *high));
            if let Some(nearest) = nearest.filter(|_| *clips || nearest == wanted) {
                put(options, nearest);
            }
            if wanted.is_none() || nearest != wanted {
                let words = if wanted.is_some() { "Out-of-range conf value" } else { INVALID };
                complain(Complaint::BadValue { words, key, value, allowed, used: Used::Number(get(options)) });
            }
        }
        Setter::Text(put) => put(options, value),
        Setter::Growth => match growth(value) {
            Some(growth) => options.prof_dump_growth = growth,
            None => {
                let (allowed, used) = ("a number of bytes, or of percent: 20%", options.prof_dump_growth.used());
                complain(Complaint::BadValue { words: INVALID, key, value, allowed, used });
            }
        },
        Setter::Signal => match number(value).filter(|&n| n == 0 || is_free_signal(n)) {
            Some(n) => options.prof_dump_signal = n as i32,
            None => {
                let used = Used::Number(options.prof_dump_signal.into());
                complain(Complaint::BadValue { words: INVALID, key, value, allowed: FREE_SIGNALS, used });
            }
        },
        Setter::Allocator => match value {
            b"own" => options.prof_allocator = Allocator::Own,
            b"keep" => options.prof_allocator = Allocator::Keep,
            _ => {
                let used = Used::Word(if options.prof_allocator == Allocator::Keep { "keep" } else { "own" });
                complain(Complaint::BadValue { words: INVALID, key, value, allowed: "own or keep", used });
            }
        },
        Setter::Unsupported(harmless) => {
            if value != *harmless {
                complain(Complaint::Unsupported { key });
            }
        }
    }
}

fn growth(text: &[u8]) -> Option<Growth> {
    let (digits, of) = match text.strip_suffix(b"%") {
        Some(digits) => (digits, Growth::Percent as fn(u64) -> Growth),
        None => (text, Growth::Bytes as fn(u64) -> Growth),
    };
    let number = u64::try_from(number(digits)?).ok()?;
    Some(if number == 0 { Growth::None } else { of(number) })
}

/// Signals that neither HotSpot nor libc uses (`os::signal` of its sources, and 32 and 33).
const FREE_SIGNALS: &str = "10 (SIGUSR1), 16, 30, 34 to 64: those that no Java VM uses; or 0 for none";

fn is_free_signal(number: i64) -> bool {
    matches!(number, 10 | 16 | 30 | 34..=64)
}

/// A number as `strtoimax` reads it in base 0: decimal, `0x` hexadecimal or `0` octal.
fn number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let magnitude = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        i64::from_str_radix(hex, 16).ok()?
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8).ok()?
    } else {
        digits.parse().ok()?
    };
    Some(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `heaptap help options` prints is a table of the same keys.
    #[test]
    fn every_key_stands_in_the_page_about_options() {
        let page = include_str!("../../cli/OPTIONS.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
        let told: Vec<&str> = rows.flat_map(|cell| cell.split('`')).collect();
        for (key, setter) in KEYS {
            let key = std::str::from_utf8(key).unwrap();
            let is_told = matches!(setter, Setter::Unsupported(_)) || told.contains(&key);
            assert!(is_told, "{key} has no row in src/cli/OPTIONS.md");
        }
    }
}
